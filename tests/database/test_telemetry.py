"""Traces of real runs, taken by a collector and read by OpenTelemetry's own classes."""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Status

from tests.builders import write_folder
from tests.collector import Collector, collector, values
from tests.conftest import Database
from tests.job import Job, Result, run_job, until
from tests.postgres import Server
from tests.wire import Wire

TRACE, ABOVE = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
TRACEPARENT = f"00-{TRACE}-{ABOVE}-01"
SECRET = "s3cret-of-the-collector"
WORD = "word_that_no_span_holds"


def settings(endpoint: str, **more: str) -> dict[str, str]:
    named = {"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint, "TRACEPARENT": TRACEPARENT}
    return {**named, "OTEL_EXPORTER_OTLP_HEADERS": f"x-token={SECRET}", **more}


def run_traced(url: str, folder: Path, *words: str, **environment: str) -> Result:
    """In a process of its own, as the SDK reads the environment itself."""
    return Job(url, folder, *words, **environment).result()


def assert_nothing_is_given_away(found: Collector, result: Result) -> None:
    for body in found.bodies:
        assert WORD.encode() not in body
        assert b"CREATE TABLE" not in body
    assert SECRET not in result.stderr + result.stdout


def test_an_applied_run(database: Database, tmp_path: Path) -> None:
    files = {
        "001_a.sql": f"CREATE TABLE {WORD} (q text);\n"
        f"INSERT INTO {WORD} SELECT query FROM pg_stat_activity WHERE pid = pg_backend_pid();",
        "002_b.sql": f"-- migrator: no-transaction\nCREATE INDEX CONCURRENTLY i ON {WORD} (q);",
    }
    with collector() as found:
        result = run_traced(
            database.url,
            write_folder(tmp_path, files),
            **settings(found.url, OTEL_RESOURCE_ATTRIBUTES="deployment.environment.name=test"),
        )
    assert result.code == 0, result.stderr
    assert {line["trace_id"] for line in result.lines} == {TRACE}
    assert not result.of("telemetry.failed")
    assert set(found.spans) == {"migrator up", "apply 001_a", "apply 002_b"}
    own, first = found.spans["migrator up"], found.spans["apply 001_a"]
    assert found.headers[0]["x-token"] == SECRET
    assert (own.trace_id.hex(), own.parent_span_id.hex()) == (TRACE, ABOVE)
    assert {span.parent_span_id for n, span in found.spans.items() if span is not own} >= {
        own.span_id
    }
    assert first.start_time_unix_nano < first.end_time_unix_nano <= own.end_time_unix_nano
    run_id = result.lines[0]["run_id"]
    where = {"server.address": database.server.host, "server.port": database.port}
    assert values(own.attributes) == {
        **where,
        **{"db.system.name": "postgresql", "db.namespace": database.dbname},
        **{"db.operation.name": "up", "migrator.run_id": run_id, "process.exit.code": 0},
    }
    assert (
        values(first.attributes).items()
        >= {
            **{"migrator.version": "001_a", "migrator.attempts": 1, "db.operation.name": "apply"},
        }.items()
    )
    assert found.resource["service.name"] == "migrator"
    assert found.resource["deployment.environment.name"] == "test"
    [(query,)] = database.query(f"SELECT q FROM {WORD}")
    marker = f"/* migrator 001_a, run {run_id}, traceparent=00-{TRACE}-{own.span_id.hex()}-01 */ "
    assert query.startswith(marker)
    assert_nothing_is_given_away(found, result)


def test_a_refused_run(database: Database, tmp_path: Path) -> None:
    files = {"001_a.sql": "CREATE TABLE a ();", "002_b.sql": f"SELECT '{WORD}'::int"}
    with collector() as found:
        result = run_traced(database.url, write_folder(tmp_path, files), **settings(found.url))
    assert result.code == 15
    assert set(found.spans) == {"migrator up", "apply 001_a", "apply 002_b"}
    for name in ("migrator up", "apply 002_b"):
        span = found.spans[name]
        assert span.status.code == Status.STATUS_CODE_ERROR
        assert values(span.attributes)["error.type"] == "22P02"
        assert values(span.attributes)["db.response.status_code"] == "22P02"
    assert found.spans["apply 001_a"].status.code == Status.STATUS_CODE_UNSET
    assert values(found.spans["migrator up"].attributes)["process.exit.code"] == 15
    assert_nothing_is_given_away(found, result)


def test_the_servers_log_of_a_refusal_leads_to_the_trace(
    database: Database, tmp_path: Path
) -> None:
    if not isinstance(database.server, Server):
        pytest.skip("the log of TEST_DATABASE_URL's server is not here")
    folder = write_folder(tmp_path, {"001_a.sql": f"DROP TABLE {WORD}"})
    with collector() as found:
        result = run_traced(database.url, folder, **settings(found.url))
    assert result.code == 15
    span = found.spans["migrator up"].span_id.hex()
    log = database.server.log.read_text(errors="replace")
    told = log.partition(f'table "{WORD}" does not exist\n')[2]
    assert (
        f"/* migrator 001_a, run {result.report['run_id']}, traceparent=00-{TRACE}-{span}" in told
    )


def test_a_stopped_run_is_over_before_its_spans_and_waits_half_a_second_for_them(
    database: Database, tmp_path: Path
) -> None:
    database.query("CREATE TABLE held ()")
    other = database.connect()
    other.autocommit = False
    other.cursor().execute("LOCK held")
    folder = write_folder(tmp_path / "m", {"001_a.sql": "DROP TABLE held"})
    termination = tmp_path / "termination-log"
    termination.touch()
    with collector(silent=True) as found:
        given = settings(found.url, TERMINATION_LOG=str(termination))
        job = Job(database.url, folder, LOCK_TIMEOUT="60s", **given)
        waits = "SELECT 1 FROM pg_stat_activity WHERE datname = %s AND wait_event_type = 'Lock'"
        until(lambda: database.query(waits, database.dbname))
        job.process.send_signal(signal.SIGTERM)
        until(lambda: found.bodies)
        assert json.loads(termination.read_text())["exit_code"] == 23
        job.hear("run.finished")
        result = job.result()
    other.close()
    assert result.code == 23
    assert result.lines[-1]["event"] == "telemetry.failed"
    assert result.lines[-1]["error"] == "no answer within 0.5 s"


def test_a_stopped_run_with_a_retry(database: Database, tmp_path: Path) -> None:
    database.query("CREATE TABLE held ()")
    other = database.connect()
    other.autocommit = False
    with other.cursor() as cursor:
        cursor.execute("LOCK held")
    folder = write_folder(tmp_path, {"001_a.sql": "DROP TABLE held"})
    with collector() as found:
        job = Job(database.url, folder, LOCK_TIMEOUT="50ms", **settings(found.url))
        waits = "SELECT 1 FROM pg_stat_activity WHERE datname = %s AND wait_event_type = 'Lock'"
        for _ in range(2):
            until(lambda: database.query(waits, database.dbname))
            until(lambda: not database.query(waits, database.dbname))
        job.process.send_signal(signal.SIGTERM)
        result = job.result()
    other.close()
    assert result.code == 23
    span = found.spans["apply 001_a"]
    assert values(span.attributes)["error.type"] == "StoppedError"
    assert int(values(span.attributes)["migrator.attempts"]) >= 2
    assert (
        values(span.events[0].attributes).items() >= {"reason": "busy", "sqlstate": "55P03"}.items()
    )
    assert {event.name for event in span.events} >= {"migration.retry"}


@pytest.mark.parametrize("kind", ["silent", "refuses", "503"])
def test_a_collector_that_fails_changes_no_exit_code(
    kind: str, database: Database, tmp_path: Path
) -> None:
    folder = write_folder(tmp_path, {"001_a.sql": "SELECT 1"})
    with collector(503, silent=kind == "silent") as found, socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))  # and does not listen
        endpoint = f"http://127.0.0.1:{closed.getsockname()[1]}" if kind == "refuses" else found.url
        result = run_traced(database.url, folder, "up", "--json", **settings(endpoint))
    assert result.code == 0
    assert [line["event"] for line in result.lines][-2:] == ["run.finished", "telemetry.failed"]
    (failed,) = result.of("telemetry.failed")
    assert failed["level"] == "warning"
    if kind == "silent":
        assert re.match(r"no answer within 2 s|.*timed? ?out", failed["error"], re.IGNORECASE)
    assert_nothing_is_given_away(found, result)


def test_without_the_extra_one_warning_says_how_to_get_it(
    database: Database, tmp_path: Path
) -> None:
    folder = write_folder(tmp_path, {"001_a.sql": "SELECT 1"})
    script = (
        "import sys; sys.modules['opentelemetry.sdk'] = None; "
        "from migrator.cli.main import main; sys.exit(main(['up']))"
    )
    given = {"DATABASE_URL": database.url, "MIGRATIONS_DIR": str(folder), "LOG_FORMAT": "json"}
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={**given, **settings("http://127.0.0.1:9"), "TERMINATION_LOG": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("telemetry.failed") == 1
    assert "EXTRAS=otel" in done.stderr
    assert TRACE in done.stderr


def test_what_is_not_asked_for_is_not_imported(database: Database, tmp_path: Path) -> None:
    folder = write_folder(tmp_path, {"001_a.sql": "SELECT 1"})
    script = (
        "import sys; from migrator.cli.main import main; code = main(['up']); "
        "print([m for m in sys.modules if 'telemetry' in m or m in ('requests', 'google')]); "
        "sys.exit(code)"
    )
    given = {"DATABASE_URL": database.url, "MIGRATIONS_DIR": str(folder), "TERMINATION_LOG": ""}
    done = subprocess.run(
        [sys.executable, "-c", script], env=given, capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"


READING = ("status", "plan", "verify", "wait", "report", "history")


@pytest.mark.parametrize("command", READING)
def test_each_message_of_a_reading_command_has_the_trace(
    database: Database, tmp_path: Path, command: str
) -> None:
    folder = write_folder(tmp_path, {"001_a.sql": "CREATE TABLE a ()"})
    assert run_job(database.url, folder).code == 0
    wire = Wire(database.server)
    result = run_job(wire.through(database.url), folder, command, TRACEPARENT=TRACEPARENT)
    wire.stop()
    assert result.code == 0, result.stderr
    assert wire.queries
    assert [query.text[:300] for query in wire.queries if TRACEPARENT not in query.text] == []
