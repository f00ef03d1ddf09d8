"""Whether a run is traced, by which ids, and what its events come to."""

from __future__ import annotations

from typing import Any

import pytest

from migrator.history.at_work import identified
from migrator.history.place import Place, marker
from migrator.model import Event
from migrator.telemetry.context_rules import (
    TraceContext,
    foreign_protocol,
    header_secrets,
    is_sent,
    parent_of,
)
from migrator.telemetry.spans_rules import MOST_SPANS, Spans
from tests.builders import RUN_ID

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
TRACEPARENT = f"00-{TRACE}-{SPAN}-01"
ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"


@pytest.mark.parametrize(
    ("text", "parent"),
    [
        pytest.param(f" {TRACEPARENT}\n", TraceContext(TRACE, SPAN), id="well-formed"),
        pytest.param(TRACEPARENT[:-2] + "00", TraceContext(TRACE, SPAN, "00"), id="not sampled"),
        pytest.param("", None, id="empty"),
        pytest.param(TRACEPARENT.replace(TRACE, "0" * 32), None, id="no trace"),
        pytest.param(TRACEPARENT.replace(SPAN, "0" * 16), None, id="no span"),
        pytest.param("ff" + TRACEPARENT[2:], None, id="another version"),
        pytest.param(TRACEPARENT + " */ DROP", None, id="more than that"),
        pytest.param(TRACEPARENT.upper(), None, id="upper case"),
    ],
)
def test_traceparent(text: str, parent: TraceContext | None) -> None:
    assert parent_of({"TRACEPARENT": text}) == parent
    if parent:
        assert parent.traceparent == text.strip()


@pytest.mark.parametrize(
    ("environment", "sent"),
    [
        pytest.param({}, False, id="nothing"),
        pytest.param({ENDPOINT: "http://c:4318"}, True, id="an endpoint"),
        pytest.param({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://c/v1"}, True, id="of traces"),
        pytest.param({"OTEL_SERVICE_NAME": "m"}, False, id="no endpoint"),
        pytest.param({ENDPOINT: "http://c", "OTEL_SDK_DISABLED": "true"}, False, id="disabled"),
        pytest.param({ENDPOINT: "http://c", "OTEL_TRACES_EXPORTER": "none"}, False, id="none"),
        pytest.param(
            {ENDPOINT: "http://c", "OTEL_TRACES_EXPORTER": "console,otlp"}, True, id="two"
        ),
    ],
)
def test_what_asks_for_spans(environment: dict[str, str], sent: bool) -> None:
    assert is_sent(environment) is sent


def test_a_protocol_that_is_not_spoken() -> None:
    assert foreign_protocol({}) is None
    assert foreign_protocol({"OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf"}) is None
    assert foreign_protocol({"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}) == "grpc"


def test_headers_are_secret() -> None:
    assert header_secrets({"OTEL_EXPORTER_OTLP_HEADERS": "a=s3cret, b=other,,c="}) == (
        "s3cret",
        "other",
    )


def told(*events: tuple[str, dict[str, Any]]) -> Spans:
    spans = Spans(RUN_ID, 0)
    for at, (name, fields) in enumerate(events, 1):
        spans.hear(Event(name, "info", fields), at)
    return spans


def ended(**more: Any) -> tuple[str, dict[str, Any]]:
    result = {"exit_code": 0, "error": None, "target": "u@h:5432/d", "command": "up"}
    return "run.finished", {**result, **more}


UP = ("run.started", {"command": "up"})
WHERE = {"server.address": "h", "server.port": 5432, "db.namespace": "d"}


def test_a_run_and_its_migrations() -> None:
    spans = told(
        UP,
        ("connection.retry", {"reason": "silent", "attempt": 1, "error": "SELECT secret"}),
        ("migration.started", {"version": "001_a", "file": "001_a.sql"}),
        ("migration.retry", {"version": "001_a", "reason": "busy", "detail": "a row"}),
        ("migration.applied", {"version": "001_a", "execution_time_ms": 7}),
        ("plan.made", {"pending": []}),
        ended(),
    )
    assert (spans.run.name, spans.run.start, spans.run.end, spans.run.error) == (
        "migrator up",
        0,
        7,
        None,
    )
    assert spans.run.events == [("connection.retry", 2, {"reason": "silent", "attempt": 1})]
    (one,) = spans.migrations
    assert (one.name, one.start, one.end, one.error) == ("apply 001_a", 3, 5, None)
    assert one.events == [("migration.retry", 4, {"reason": "busy"})]
    assert one.attributes == {
        **WHERE,
        **{"db.system.name": "postgresql", "db.operation.name": "apply"},
        **{"migrator.version": "001_a", "migrator.attempts": 2, "migrator.execution_time_ms": 7},
    }
    assert spans.run.attributes == {
        **WHERE,
        **{"db.system.name": "postgresql", "db.operation.name": "up", "process.exit.code": 0},
        "migrator.run_id": RUN_ID,
    }


def test_a_refusal_is_named_by_its_sqlstate() -> None:
    error = {"type": "StatementError", "sqlstate": "42P01", "message": "SELECT secret"}
    spans = told(
        UP,
        ("undo.started", {"version": "001_a"}),
        ("migration.failed", {"version": "001_a", **error}),
        ended(exit_code=15, error=error, target=None),
    )
    (one,) = spans.migrations
    for span in (spans.run, one):
        assert span.error == span.attributes["db.response.status_code"] == "42P01"
        assert "secret" not in str(span)
        assert "server.address" not in span.attributes
    assert one.name == "undo 001_a"


def test_what_is_open_ends_with_the_run() -> None:
    stopped = {"type": "StoppedError", "message": "stopped by SIGTERM"}
    spans = told(
        UP,
        ("migration.applied", {"version": "000_settled"}),
        ("migration.started", {"version": "001_a"}),
        ended(exit_code=23, error=stopped, target="h/d"),
    )
    (one,) = spans.migrations
    assert (one.end, one.error, spans.run.error) == (4, "StoppedError", "StoppedError")
    assert "server.port" not in one.attributes


def test_a_run_that_ends_before_it_starts() -> None:
    spans = told(ended(exit_code=2, error={"type": "ConfigError"}, target=None, command=""))
    assert (spans.run.name, spans.run.error) == ("migrator ?", "ConfigError")


@pytest.mark.parametrize("fails", [True, False])
def test_there_are_not_too_many_and_the_failed_one_is_among_them(fails: bool) -> None:
    events = [UP]
    for number in range(MOST_SPANS + 10):
        version = {"version": f"{number:03}_a"}
        end = "migration.failed" if fails and number == MOST_SPANS + 9 else "migration.applied"
        events += [
            ("migration.started", version),
            (end, {**version, **({"sqlstate": "42601"} if end == "migration.failed" else {})}),
        ]
    spans = told(*events, ended())
    assert len(spans.migrations) == MOST_SPANS - 1
    assert spans.run.attributes["migrator.spans_dropped"] == 11
    assert (spans.migrations[-1].error == "42601") is fails


def test_a_marker_leads_to_the_trace_and_still_to_the_run() -> None:
    place = Place("public", "migrator/pod", RUN_ID, 150018, None, TRACEPARENT)
    mark = marker(place, "001_a")
    assert mark == f"/* migrator 001_a, run {RUN_ID}, traceparent={TRACEPARENT} */"
    found = identified({"pid": 1, "marker": mark, "application_name": "migrator/pod"})
    assert (found["version"], found["run_id"]) == ("001_a", RUN_ID)
