"""Events as lines, for a machine and for a person; and what is taken out of both."""

from __future__ import annotations

import io
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from migrator.cli.logs import make_tell
from migrator.config import LogFormat, LogLevel
from migrator.masking import Hider
from migrator.model import Event


class Terminal(io.StringIO):
    """A stream that a person looks at."""

    def isatty(self) -> bool:
        return True


def told(
    *events: Event,
    stream: io.StringIO | None = None,
    log_format: LogFormat = LogFormat.AUTO,
    level: LogLevel = LogLevel.DEBUG,
    hide: Hider | None = None,
) -> str:
    stream = stream or io.StringIO()
    tell = make_tell(stream, log_format, level, "run-1", hide or Hider())
    for event in events:
        tell(event)
    return stream.getvalue()


def test_a_line_is_one_json_object() -> None:
    fields = {"version": "001_a", "execution_time_ms": 5, "none": None, "list": ["é", "a\nb"]}
    text = told(Event("migration.applied", "warning", fields))
    assert text.count("\n") == 1
    line = json.loads(text)
    written = datetime.fromisoformat(line.pop("timestamp"))
    assert written.utcoffset() == timedelta(0)
    assert abs(datetime.now(UTC) - written) < timedelta(minutes=1)
    assert line == {
        "level": "warning",
        "event": "migration.applied",
        "run_id": "run-1",
        "version": "001_a",
        "execution_time_ms": 5,
        "none": None,
        "list": ["é", "a\nb"],
    }


@pytest.mark.parametrize(
    ("log_format", "stream", "is_json"),
    [
        pytest.param(LogFormat.AUTO, io.StringIO, True, id="by itself, into a file"),
        pytest.param(LogFormat.AUTO, Terminal, False, id="by itself, on a terminal"),
        pytest.param(LogFormat.JSON, Terminal, True, id="JSON on a terminal"),
        pytest.param(LogFormat.TEXT, io.StringIO, False, id="text into a file"),
    ],
)
def test_the_format_follows_the_reader(
    log_format: LogFormat, stream: type[io.StringIO], is_json: bool
) -> None:
    text = told(Event("run.started"), stream=stream(), log_format=log_format)
    assert text.startswith("{") == is_json


@pytest.mark.parametrize(
    ("level", "events"),
    [
        pytest.param(LogLevel.DEBUG, ["debug", "info", "warning", "error"], id="debug"),
        pytest.param(LogLevel.INFO, ["info", "warning", "error"], id="info"),
        pytest.param(LogLevel.WARNING, ["warning", "error"], id="warning"),
        pytest.param(LogLevel.ERROR, ["error"], id="error"),
    ],
)
def test_a_level_keeps_the_lesser_ones_out(level: LogLevel, events: list[str]) -> None:
    text = told(*(Event(f"x.{word.value}", word.value) for word in LogLevel), level=level)
    assert [json.loads(line)["level"] for line in text.splitlines()] == events


def in_text(*events: Event, stream: io.StringIO | None = None) -> str:
    """The text without the times of its lines."""
    text = told(*events, stream=stream, log_format=LogFormat.TEXT)
    return "\n".join(line[10:] if line[2:3] == ":" else line for line in text.split("\n"))


@pytest.mark.parametrize(
    ("event", "line"),
    [
        pytest.param(
            Event("plan.made", "info", {"pending": ["001_a", "002_b"], "applied_count": 0}),
            "plan.made            pending=001_a,002_b applied_count=0\n",
            id="names and values",
        ),
        pytest.param(
            Event(
                "migration.applied", "info", {"execution_time_ms": 5, "file": "f", "version": "v"}
            ),
            "migration.applied    v 5 ms\n",
            id="the version first, and its file not at all",
        ),
        pytest.param(
            Event("migration.started", "info", {"version": "v", "step": 2, "steps": 3}),
            "migration.started    v 2 of 3\n",
            id="how far it has come",
        ),
        pytest.param(
            Event("x.y", "info", {"a": None, "b": "", "c": [], "d": {}, "e": False}),
            "x.y                  e=no\n",
            id="nothing of what says nothing",
        ),
        pytest.param(
            Event("x.y", "warning", {"error": "no route"}),
            'x.y                  ! error="no route"\n',
            id="a warning",
        ),
        pytest.param(
            Event(
                "run.finished", "info", {"command": "up", "outcome": "2 applied", "duration_ms": 7}
            ),
            "done: up, 2 applied, in 7 ms\n",
            id="the end",
        ),
        pytest.param(
            Event("migration.failed", "error", {"version": "001_a", "message": "m", "line": 3}),
            "",
            id="a failure, of which the end says all",
        ),
        pytest.param(
            Event("x.y", "info", {"progress": {"done": 529, "unit": "blocks"}}),
            "x.y                  progress=done 529, unit blocks\n",
            id="what is nested, with its keys",
        ),
        pytest.param(
            Event(
                "run.finished",
                "error",
                {"outcome": "nothing was changed", "error": {"stopped_by": "no"}},
            ),
            "stopped: nothing was changed\n",
            id="a no at the question",
        ),
    ],
)
def test_a_line_of_text(event: Event, line: str) -> None:
    assert in_text(event) == line


RESULT: dict[str, Any] = {
    "exit_code": 15,
    "outcome": "001_a was rolled back",
    "findings": [
        {"file": "001_a.sql", "line": 3, "problem": "is odd", "remedy": "Fix it."},
        {"file": "002_b", "line": None, "problem": "is gone", "remedy": "Find it."},
    ],
    "error": {
        "type": "StatementError",
        "message": "001_a.sql:3:8: ERROR 42703: no column",
        "source_line": "SELECT nope",
        "caret": "       ^",
        "hint": "Perhaps another.",
        "detail": None,
        "remedy": "Fix the file.",
        "traceback": "Traceback: …",
    },
}


def test_a_failure_is_told_whole_in_text() -> None:
    assert in_text(Event("run.finished", "error", RESULT)) == (
        "\nFAILED (StatementError, exit code 15)\n"
        "001_a.sql:3:8: ERROR 42703: no column\n"
        "    SELECT nope\n"
        "           ^\n"
        "  - 001_a.sql:3: is odd. Fix it.\n"
        "  - 002_b: is gone. Find it.\n"
        "  hint: Perhaps another.\n"
        "  database: 001_a was rolled back\n"
        "  what to do: Fix the file.\n"
        "Traceback: …\n"
    )


def test_a_failure_without_a_place_is_told_in_text() -> None:
    error = {"type": "LockedError", "message": "held", "remedy": "Wait."}
    result = {"exit_code": 21, "outcome": "nothing was changed", "error": error}
    assert in_text(Event("run.finished", "error", result)) == (
        "\nFAILED (LockedError, exit code 21)\nheld\n"
        "  database: nothing was changed\n  what to do: Wait.\n"
    )


def test_a_terminal_shows_what_is_under_way_on_one_line() -> None:
    started = Event("migration.started", "info", {"version": "001_a"})
    applied = Event("migration.applied", "info", {"version": "001_a"})
    text = in_text(started, applied, stream=Terminal())
    before, _, after = text.partition("\r\x1b[K")
    assert before == "migration.started    001_a …"
    assert after[10:] == "migration.applied    001_a\n"
    assert "\r" not in in_text(started, applied)


@pytest.mark.parametrize("log_format", [LogFormat.JSON, LogFormat.TEXT])
def test_no_event_shows_a_secret(log_format: LogFormat) -> None:
    event = Event("x.y", "error", {"error": "for s3cret", "findings": [{"file": "s3cret"}]})
    text = told(event, log_format=log_format, hide=Hider(["s3cret"]))
    assert "***" in text
    assert "s3cret" not in text
