"""`migrator.apply`, as a test suite calls it: from threads, asyncio and fixtures."""

from __future__ import annotations

import asyncio
import io
import logging
import os
import re
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg2
import psycopg2.extras
import pytest
from psycopg2 import extensions

import migrator
from migrator import Event
from migrator.config import OnLate
from tests.builders import write_folder
from tests.conftest import Database, MakeServer, in_charge
from tests.job import until
from tests.pages import ROOT

GOOD = {"001_one.sql": "CREATE TABLE one (a int);\n", "002_two.sql": "CREATE TABLE two (a int);\n"}
SLOW = {"001_slow.sql": "SELECT pg_sleep(600);\n"}
PAGE = (ROOT / "docs" / "python.md").read_text()


def test_it_returns_the_report(database: Database, tmp_path: Path) -> None:
    folder = write_folder(tmp_path, GOOD)
    report = migrator.apply(database.url, folder)
    assert [done.version for done in report.applied] == ["001_one", "002_two"]
    assert (report.exit_code, report.outcome, report.current) == (0, "2 applied", "002_two")
    again = migrator.apply(database.url, str(folder))
    assert (again.applied, again.outcome) == ((), "nothing to do")


def test_it_raises_our_errors_with_the_report_so_far(database: Database, tmp_path: Path) -> None:
    folder = write_folder(tmp_path, {**GOOD, "003_bad.sql": "\nSELECT nothing;\n"})
    with pytest.raises(migrator.StatementError, match="nothing") as caught:
        migrator.apply(database.url, folder)
    error = caught.value
    assert (error.details["version"], error.details["line"]) == ("003_bad", 2)
    assert (error.details["sqlstate"], error.exit_code) == ("42703", 15)
    assert error.remedy
    assert error.report is not None
    assert [done.version for done in error.report.applied] == ["001_one", "002_two"]


def test_findings_are_those_of_the_run(database: Database, tmp_path: Path) -> None:
    folder = write_folder(tmp_path, {"001_a.sql": "SELECT 1;\n", "001_b.sql": "SELECT 1;\n"})
    with pytest.raises(migrator.SourceError) as caught:
        migrator.apply(database.url, folder)
    assert {finding.file for finding in caught.value.findings} <= {"001_a.sql", "001_b.sql"}
    assert caught.value.findings


def test_settings_are_given_by_name_and_in_their_own_types(
    database: Database, tmp_path: Path
) -> None:
    folder = write_folder(tmp_path / "good", GOOD)
    late = write_folder(tmp_path / "late", {**GOOD, "000_late.sql": "CREATE TABLE late ();\n"})
    migrator.apply(
        database.url, folder, search_path=["public"], lock_timeout="500ms", statement_timeout=0
    )
    with pytest.raises(migrator.LateError):
        migrator.apply(database.url, late)
    report = migrator.apply(database.url, late, on_late=OnLate.APPLY, sync_supabase_history=False)
    assert [done.version for done in report.applied] == ["000_late"]


@pytest.mark.parametrize("name", ["lock_timout", "log_format", "termination_log", "database_url"])
def test_a_setting_that_means_nothing_here_is_refused(tmp_path: Path, name: str) -> None:
    settings: dict[str, Any] = {name: "x"}
    with pytest.raises(migrator.ConfigError, match=f"unknown settings: {name}") as caught:
        migrator.apply("postgresql://h/d", tmp_path, **settings)
    assert "lock_timeout" in caught.value.remedy


def test_the_environment_sets_nothing(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {
        **{"DIRECT_URL": "postgresql://nowhere.invalid/d", "DATABASE_URL": "postgresql://x/y"},
        **{"MIGRATOR_DATABASE_URL": "postgresql://x/y", "MIGRATOR_NONSENSE": "1"},
        **{"ON_LATE": "never", "LOG_FORMAT": "text", "PGOPTIONS": "-c search_path=x"},
        **{"PYTHONWARNINGS": "error", "PYTHONSTARTUP": "/nowhere"},
    }.items():
        monkeypatch.setenv(name, value)
    report = migrator.apply(database.url, write_folder(tmp_path, GOOD))
    assert len(report.applied) == 2


def test_no_url_is_a_config_error(tmp_path: Path) -> None:
    with pytest.raises(migrator.ConfigError, match="no database is named"):
        migrator.apply("", tmp_path)


def test_events_go_to_a_callback_in_the_calling_thread_or_nowhere(
    database: Database, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = write_folder(tmp_path, GOOD)
    events: list[tuple[int, Event]] = []
    migrator.apply(
        database.url, folder, on_event=lambda e: events.append((threading.get_ident(), e))
    )
    assert {thread for thread, _ in events} == {threading.get_ident()}
    names = [event.name for _, event in events]
    assert names[0] == "run.started"
    assert names[-1] == "run.finished"
    assert names.count("migration.applied") == 2
    [first] = [e for _, e in events if e.name == "migration.applied"][:1]
    assert (first.level, first.fields["version"]) == ("info", "001_one")
    migrator.apply(database.url, folder)
    assert capfd.readouterr() == ("", "")


def test_an_error_of_the_callback_stops_the_run(database: Database, tmp_path: Path) -> None:
    def fail(event: Event) -> None:
        if event.name == "migration.started":
            raise LookupError("no more")

    with pytest.raises(LookupError):
        migrator.apply(database.url, write_folder(tmp_path, SLOW), on_event=fail)
    until(lambda: database.query(RUNNERS) == [(0,)])


RUNNERS = """
SELECT count(*) FROM pg_stat_activity
WHERE application_name LIKE 'migrator/%' AND datname = current_database()
"""


def test_the_deadline_of_a_call_holds(database: Database, tmp_path: Path) -> None:
    with pytest.raises(migrator.StoppedError):
        migrator.apply(database.url, write_folder(tmp_path, SLOW), deadline="1s")
    assert database.query("SELECT count(*) FROM schema_migrations") == [(0,)]


def test_a_process_that_dies_without_a_result_is_an_error_too(
    database: Database, tmp_path: Path
) -> None:
    pids: list[str] = []

    def kill(event: Event) -> None:
        if event.name == "migration.started":
            done = subprocess.run(
                ["pgrep", "-P", str(os.getpid()), "-f", "migrator up"],
                capture_output=True,
                text=True,
                check=True,
            )
            pids.extend(done.stdout.split())
            os.kill(int(pids[0]), signal.SIGKILL)

    with pytest.raises(migrator.MigratorError, match="without a result") as caught:
        migrator.apply(database.url, write_folder(tmp_path, SLOW), on_event=kill)
    assert type(caught.value) is migrator.MigratorError
    assert "migrator status" in caught.value.remedy


def test_nothing_in_the_callers_process_changes(database: Database, tmp_path: Path) -> None:
    numbers = sorted(signal.valid_signals())
    before = [signal.getsignal(number) for number in numbers]
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    callback = extensions.get_wait_callback()
    handlers = logging.getLogger().handlers[:]
    directory, modules = Path.cwd(), {"psycopg2.extras"} & set(sys.modules)
    migrator.apply(database.url, write_folder(tmp_path, GOOD))
    assert [signal.getsignal(number) for number in numbers] == before
    assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == mask
    assert extensions.get_wait_callback() is callback
    assert logging.getLogger().handlers == handlers
    assert (Path.cwd(), {"psycopg2.extras"} & set(sys.modules)) == (directory, modules)
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


def test_other_connections_of_the_caller_work_meanwhile(database: Database, tmp_path: Path) -> None:
    """Queries, COPY and large objects, in other threads, while two runs are at it."""
    over = threading.Event()
    rounds = {"query": 0, "copy": 0, "large object": 0}

    def query() -> None:
        with closing(database.connect()) as connection, connection.cursor() as cursor:
            while not over.is_set():
                cursor.execute("SELECT 1")
                rounds["query"] += 1

    def copy() -> None:
        with closing(database.connect()) as connection, connection.cursor() as cursor:
            cursor.execute("CREATE TEMP TABLE mine (a int)")
            while not over.is_set():
                cursor.copy_expert("COPY mine FROM STDIN", io.StringIO("1\n"))
                rounds["copy"] += 1

    def large_object() -> None:
        with closing(psycopg2.connect(database.url)) as connection:
            while not over.is_set():
                made: Any = connection.lobject(0, "w")
                made.close()
                connection.rollback()
                rounds["large object"] += 1

    folders = [
        write_folder(tmp_path / schema, {f"001_{schema}.sql": f"CREATE TABLE {schema} (a int);\n"})
        for schema in ("red", "blue")
    ]
    with ThreadPoolExecutor() as pool:
        theirs = [pool.submit(do) for do in (query, copy, large_object)]
        try:
            database.query("CREATE SCHEMA red; CREATE SCHEMA blue")
            runs = [
                pool.submit(migrator.apply, database.url, folder, migrations_schema=folder.name)
                for folder in folders
            ]
            done = [run.result() for run in runs]
            seen = dict(rounds)
            until(lambda: all(rounds[name] > seen[name] for name in seen))
        finally:
            over.set()
        for future in theirs:
            future.result()
    assert [len(report.applied) for report in done] == [1, 1]
    assert all(rounds.values()), rounds


def test_a_wait_callback_that_hands_others_through_would_still_refuse_them(
    database: Database,
) -> None:
    """Why there is a process, with psycopg2 as it is today: see migrator/cli/child.py."""
    with closing(database.connect()) as connection, connection.cursor() as cursor:
        cursor.execute("CREATE TEMP TABLE mine (a int)")
        extensions.set_wait_callback(psycopg2.extras.wait_select)
        try:
            with pytest.raises(psycopg2.ProgrammingError, match="asynchronous callback"):
                cursor.copy_expert("COPY mine FROM STDIN", io.StringIO("1\n"))
        finally:
            extensions.set_wait_callback(None)


def test_a_wait_callback_of_the_callers_own_is_left_alone(
    database: Database, tmp_path: Path
) -> None:
    used: list[object] = []

    def wait(connection: extensions.connection) -> None:
        used.append(connection)
        psycopg2.extras.wait_select(connection)

    copies = {"001_a.sql": "CREATE TABLE a (a int);\nCOPY a FROM stdin;\n1\n\\.\n"}
    extensions.set_wait_callback(wait)
    try:
        report = migrator.apply(database.url, write_folder(tmp_path, copies))
        assert extensions.get_wait_callback() is wait
    finally:
        extensions.set_wait_callback(None)
    assert len(report.applied) == 1
    assert used == []


def test_two_runs_at_once_on_one_database_apply_each_file_once(
    database: Database, tmp_path: Path
) -> None:
    folder = write_folder(tmp_path, GOOD)
    with ThreadPoolExecutor() as pool:
        reports = list(pool.map(lambda _: migrator.apply(database.url, folder), range(2)))
    applied = [done.version for report in reports for done in report.applied]
    assert sorted(applied) == ["001_one", "002_two"]


def test_it_runs_beside_an_event_loop(database: Database, tmp_path: Path) -> None:
    folder = write_folder(tmp_path, GOOD)

    async def main() -> tuple[int, int]:
        ticks = 0
        task = asyncio.create_task(asyncio.to_thread(migrator.apply, database.url, folder))
        while not task.done():
            await asyncio.sleep(0.01)
            ticks += 1
        return len(task.result().applied), ticks

    applied, ticks = asyncio.run(main())
    assert applied == 2
    assert ticks > 1


def test_ctrl_c_stops_the_job_and_is_raised(database: Database, tmp_path: Path) -> None:
    script = f"""
import migrator
try:
    migrator.apply({database.url!r}, {str(write_folder(tmp_path, SLOW))!r},
                   on_event=lambda event: print(event.name, flush=True))
except KeyboardInterrupt:
    print("interrupted", flush=True)
"""
    with subprocess.Popen(
        [sys.executable, "-c", script],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line == "migration.started\n":
                break
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does
        rest = process.stdout.read()
    assert "interrupted" in rest
    assert database.query(RUNNERS) == [(0,)]


def test_an_import_is_cheap() -> None:
    script = "import sys, migrator; print(sorted(m for m in sys.modules if 'psycopg2' in m "
    script += "or m.startswith('migrator')), hasattr(migrator, 'nothing'), migrator.BusyError)"
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout == "['migrator'] False <class 'migrator.errors.BusyError'>\n"


def test_every_public_name_is_there() -> None:
    assert {name for name in migrator.__all__ if not hasattr(migrator, name)} == set()
    kinds = {kind for kind in vars(migrator.errors).values() if isinstance(kind, type)}
    errors = {kind.__name__ for kind in kinds if issubclass(kind, migrator.MigratorError)}
    assert errors <= set(migrator.__all__)


def test_the_fixture_of_the_page_works(own_server: MakeServer, tmp_path: Path) -> None:
    server = own_server()
    server.start()
    blocks = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    [conftest] = [block for block in blocks if "@pytest.fixture" in block]
    [test] = [block for block in blocks if "def test_" in block]
    (tmp_path / "conftest.py").write_text(conftest)
    (tmp_path / "test_shop.py").write_text(test)
    (tmp_path / "migrations").symlink_to(ROOT / "migrations")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path)],
        cwd=tmp_path,
        env={
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "TEST_SERVER_URL": server.url("").rstrip("/"),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 passed" in done.stdout
    left = in_charge(server).query("SELECT datname FROM pg_database WHERE datname LIKE 'shop%'")
    assert left == []
