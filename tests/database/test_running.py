"""Several runners, busy tables, lost connections and stops, against a real server."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import traceback
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from migrator.history.guard import lock_key
from migrator.history.read import History, read_history
from tests.builders import chain, write_folder
from tests.conftest import Database, MakeProxy
from tests.job import ROOT, Job, run_job, until
from tests.proxy import Cut


def test_a_connection_cut_between_two_looks_is_opened_anew(
    database: Database, proxy: MakeProxy, tmp_path: Path
) -> None:
    cutter = proxy(database)
    cutter.cut_at(b"migrator.answer", Cut.SENT)
    result = run_job(cutter.through(database.url), write_folder(tmp_path, chain(2)))
    assert (result.code, result.applied) == (0, ["001_step", "002_step"]), result.stderr


def test_a_connection_cut_while_the_tables_are_made_is_opened_anew(
    database: Database, proxy: MakeProxy, tmp_path: Path
) -> None:
    cutter = proxy(database)
    cutter.cut_at(b"CREATE TABLE IF NOT EXISTS", Cut.DONE)
    result = run_job(cutter.through(database.url), write_folder(tmp_path, chain(2)))
    assert (result.code, result.applied) == (0, ["001_step", "002_step"]), result.stderr


def test_wait_ends_when_another_run_has_applied_all(database: Database, tmp_path: Path) -> None:
    folder = write_folder(tmp_path, chain(2))
    waiter = Job(database.url, folder, "wait")
    ours = "SELECT 1 FROM pg_stat_activity WHERE application_name = 'migrator/tester'"
    until(lambda: database.query(ours))
    assert run_job(database.url, folder).code == 0
    result = waiter.result()
    assert (result.code, result.report["outcome"]) == (0, "nothing to do")


def test_wait_gives_up_with_24(database: Database, tmp_path: Path) -> None:
    result = run_job(database.url, write_folder(tmp_path, chain(1)), "wait", WAIT_TIMEOUT="300ms")
    assert result.code == 24
    assert "001_step" in result.error["message"]


def test_wait_gives_up_in_time_while_the_history_is_locked(
    database: Database, tmp_path: Path
) -> None:
    assert run_job(database.url, write_folder(tmp_path, chain(1))).code == 0
    with closing(database.connect()) as holder:
        holder.autocommit = False
        holder.cursor().execute("LOCK TABLE schema_migrations")
        result = run_job(database.url, tmp_path, "wait", WAIT_TIMEOUT="300ms")
        assert result.code == 24, result.stderr
        assert "could not be read within WAIT_TIMEOUT" in result.error["message"]
        deadline = run_job(database.url, tmp_path, "wait", DEADLINE="300ms")
        assert (deadline.code, deadline.error["stopped_by"]) == (23, "DEADLINE")
    assert run_job(database.url, tmp_path, "wait").code == 0


def test_what_cannot_be_looked_up_after_a_lost_commit_is_unknown(
    database: Database, proxy: MakeProxy, tmp_path: Path
) -> None:
    """The answer to COMMIT is lost, and from then on nobody can be reached."""
    gate = database.connect()
    gate.cursor().execute("SELECT pg_advisory_lock(42)")
    body = "CREATE TABLE t1 ();\nSELECT pg_advisory_xact_lock_shared(42);\n"
    cutter = proxy(database)
    cutter.cut_at(b"CREATE TABLE t1", Cut.DONE)
    folder = write_folder(tmp_path, {"001_a.sql": body})
    job = Job(cutter.through(database.url), folder, CONNECT_TIMEOUT="1s")
    until(lambda: database.query("SELECT 1 FROM pg_locks WHERE NOT granted"))
    cutter.refuse()
    gate.close()
    result = job.result()
    assert (result.code, result.applied) == (20, []), result.stderr
    assert result.report["outcome"].startswith("unknown")
    assert database.query("SELECT version FROM schema_migrations") == [("001_a",)]


def test_a_history_that_can_never_be_what_was_read_is_not_planned_for_ever(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "migrator.history.seen.Seen.expected", lambda seen, coming: [("0" * 64, None)]
    )
    result = run_job(database.url, write_folder(tmp_path, chain(1)))
    assert (result.code, result.events.count("plan.made")) == (1, 6)
    assert database.query("SELECT to_regclass('t1')") == [(None,)]


def test_a_repair_that_the_guard_never_lets_pass_ends_too(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was repeated for ever: 461 times in 4 s."""
    folder = write_folder(tmp_path, chain(1))
    monkeypatch.setattr("migrator.commands.repair.head", lambda rows: "0" * 64)
    result = run_job(database.url, folder, "repair", "--applied", "001_step", "--reason", "why")
    assert (result.code, result.events.count("repair.assuming")) == (1, 6)
    assert database.query("SELECT count(*) FROM schema_migrations") == [(0,)]


def test_the_read_of_a_run_with_nothing_to_do_is_ten_calls_down(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From `main` to `read_history`; there were 18 calls, most of them of five retry loops."""
    folder = write_folder(tmp_path, chain(1))
    assert run_job(database.url, folder).code == 0
    calls: list[list[str]] = []

    def reading(*args: Any, **options: Any) -> History:
        frames = traceback.extract_stack()[:-1]
        names = [frame.name for frame in frames]
        calls.append(["read_history", *reversed(names)])
        return read_history(*args, **options)

    monkeypatch.setattr("migrator.apply.run.read_history", reading)
    assert run_job(database.url, folder).code == 0
    [names] = calls
    path = names[: names.index("main") + 1]
    assert len(path) <= 10, " ".join(path)


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_a_reader_who_has_gone_stops_nothing(
    database: Database, tmp_path: Path, log_format: str
) -> None:
    folder = write_folder(tmp_path, chain(3))
    environment = {
        **os.environ,
        "DATABASE_URL": database.url,
        "MIGRATIONS_DIR": str(folder),
        "LOG_FORMAT": log_format,
    }
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, str(ROOT / "entrypoint.py")]
    done = subprocess.run(command, env=environment, stdout=writer, stderr=writer, check=False)
    os.close(writer)
    assert done.returncode == 0
    assert database.query("SELECT count(*) FROM schema_migrations") == [(3,)]


def test_a_history_that_is_locked_for_a_while_is_read_later(
    database: Database, tmp_path: Path
) -> None:
    folder = write_folder(tmp_path, chain(1))
    assert run_job(database.url, folder).code == 0
    connection = database.connect()
    connection.autocommit = False
    connection.cursor().execute("LOCK TABLE schema_migrations IN ACCESS EXCLUSIVE MODE")
    settings = {"LOCK_TIMEOUT": "20ms", "LOCK_RETRY_TIMEOUT": "300ms"}
    result = run_job(database.url, folder, "verify", **settings)
    assert (result.code, result.report["outcome"]) == (22, "nothing was changed")
    job = Job(database.url, folder, "verify", LOCK_TIMEOUT="200ms")
    until(lambda: database.query("SELECT 1 FROM pg_locks WHERE NOT granted"))
    connection.close()
    assert job.result().code == 0


def test_the_time_for_busy_tables_begins_when_one_is_busy(
    database: Database, tmp_path: Path
) -> None:
    database.query("CREATE TABLE hot (id int)")
    assert run_job(database.url, write_folder(tmp_path, {"001_a.sql": "SELECT 1"})).code == 0
    holder, reader = database.connect(), database.connect()
    holder.cursor().execute(f"SELECT pg_advisory_lock({lock_key('public')})")
    reader.autocommit = False
    reader.cursor().execute("SELECT * FROM hot")
    folder = write_folder(tmp_path, {"002_b.sql": "ALTER TABLE hot ADD COLUMN x int"})
    settings = {"LOCK_TIMEOUT": "20ms", "LOCK_RETRY_TIMEOUT": "600ms"}
    waiter = Job(database.url, folder, **settings)
    lines = iter(waiter.process.stderr or ())
    waited = 0
    while waited < 1000:
        line = json.loads(next(lines))
        waited = line["waited_ms"] if line["event"] == "lock.waiting" else waited
    holder.close()
    result = waiter.result()
    reader.close()
    assert result.code == 22
    assert len(result.of("migration.retry")) > 1


def test_a_log_locked_since_does_not_hide_why_a_statement_was_refused(
    database: Database, tmp_path: Path
) -> None:
    assert run_job(database.url, write_folder(tmp_path, chain(1))).code == 0
    log = "relation = 'schema_migrations_log'::regclass"
    waits = f"SELECT FROM pg_locks WHERE {log} AND NOT granted"
    waited_for = (
        f"DO $$ BEGIN WHILE NOT EXISTS ({waits}) LOOP PERFORM pg_sleep(0.01); END LOOP; END $$"
    )
    job = Job(database.url, write_folder(tmp_path, {"002_b.sql": f"{waited_for};\nSELECT 1/0"}))
    until(
        lambda: database.query(
            f"SELECT 1 FROM pg_locks WHERE {log} AND granted AND mode = 'RowExclusiveLock'"
        )
    )
    # granted once the flight is rolled back, before the log's line of the failure is written
    connection = database.connect()
    connection.autocommit = False
    connection.cursor().execute("LOCK TABLE schema_migrations_log IN SHARE MODE")
    result = job.result()
    connection.close()
    assert (result.code, result.error["sqlstate"]) == (15, "22012")


def test_nothing_of_a_file_runs_while_the_log_cannot_be_written(
    database: Database, tmp_path: Path
) -> None:
    assert run_job(database.url, write_folder(tmp_path, chain(1))).code == 0
    connection = database.connect()
    connection.autocommit = False
    connection.cursor().execute("LOCK TABLE schema_migrations_log IN SHARE MODE")
    folder = write_folder(tmp_path, {"002_b.sql": "SELECT 1/0"})
    result = run_job(database.url, folder, LOCK_TIMEOUT="20ms", LOCK_RETRY_TIMEOUT="300ms")
    connection.close()
    assert result.code == 22, result.stderr
    assert result.report["outcome"] == "002_b was rolled back and is not applied"
