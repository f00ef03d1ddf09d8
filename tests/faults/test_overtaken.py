"""A runner that stalls while another one does its work cannot commit when it wakes."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from tests.builders import chain, write_folder
from tests.conftest import Database, MakePgBouncer, MakeProxy
from tests.gate import GATE, WAITS, assert_applied_once, files_with_gate, gate
from tests.job import Job, run_job, until
from tests.ways import FILES, WAYS, way_to


@pytest.mark.parametrize("files", FILES)
@pytest.mark.parametrize("way", WAYS)
def test_a_runner_that_is_frozen_in_a_body_finds_its_work_done(
    database: Database, pgbouncer: MakePgBouncer, tmp_path: Path, way: str, files: str
) -> None:
    url = way_to(database, pgbouncer, way)
    folder = write_folder(tmp_path, files_with_gate(4, at=2))
    with gate(database):
        frozen = Job(url, folder, LOCK_TIMEOUT="0", FILES_PER_FLIGHT=files)
        ((pid,),) = until(lambda: database.query(WAITS))
        frozen.process.send_signal(signal.SIGSTOP)
        database.query("SELECT pg_terminate_backend(%s)", pid)
        until(lambda: not database.query(WAITS))
    other = run_job(url, folder)
    frozen.process.send_signal(signal.SIGCONT)
    result = frozen.result()
    assert_applied_once(database, [result, other], 4)
    assert (result.applied, other.applied) == (
        ["001_step"],
        ["002_step", "003_step", "004_step"],
    )
    assert len(result.of("plan.made")) == 2  # it saw that the history moved


@pytest.mark.parametrize("way", WAYS)
def test_a_runner_that_is_frozen_between_two_flights_plans_again(
    database: Database, pgbouncer: MakePgBouncer, tmp_path: Path, way: str
) -> None:
    """Its second flight commits, and it does not hear of that until the others are done too."""
    url = way_to(database, pgbouncer, way)
    folder = write_folder(tmp_path, files_with_gate(4, at=2))
    with gate(database):
        frozen = Job(url, folder, LOCK_TIMEOUT="0")
        until(lambda: database.query(WAITS))
        frozen.process.send_signal(signal.SIGSTOP)
    until(lambda: database.query("SELECT 1 FROM schema_migrations WHERE version = '002_step'"))
    other = run_job(url, folder)
    assert other.applied == ["003_step", "004_step"]
    frozen.process.send_signal(signal.SIGCONT)
    result = frozen.result()
    assert_applied_once(database, [result, other], 4)
    assert len(result.of("plan.made")) == 2


def test_a_runner_that_is_frozen_outside_a_transaction_loses_its_session_and_goes_on(
    database: Database, tmp_path: Path
) -> None:
    """The file shortens the minute that the session may be idle."""
    text = (
        "-- migrator: no-transaction\nSET idle_session_timeout = '1s';\n"
        f"CREATE TABLE a ();\n{GATE}VACUUM a;\n"
    )
    folder = write_folder(tmp_path, {"001_a.sql": text})
    with gate(database):
        frozen = Job(database.url, folder, LOCK_TIMEOUT="0")
        until(lambda: database.query(WAITS))
        frozen.process.send_signal(signal.SIGSTOP)
    other = run_job(database.url, folder)  # waits until the server has ended the session
    assert (other.code, other.applied) == (0, ["001_a"]), other.stderr
    frozen.process.send_signal(signal.SIGCONT)
    result = frozen.result()
    assert (result.code, result.applied) == (0, []), result.stderr
    done = "SELECT detail->>'statement' FROM schema_migrations_log WHERE event = 'outcome'"
    assert database.query(f"{done} ORDER BY id") == [("2",), ("3",), ("4",)]


@pytest.mark.parametrize("files", FILES)
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("needle", [b"CREATE TABLE t1 ", b"CREATE TABLE t3 "])
def test_a_flight_that_is_late_on_the_way_is_refused_by_its_guard(
    database: Database,
    pgbouncer: MakePgBouncer,
    proxy: MakeProxy,
    tmp_path: Path,
    needle: bytes,
    way: str,
    files: str,
) -> None:
    """The message is sent, and reaches the server when another runner has done all of it."""
    url = way_to(database, pgbouncer, way)
    held = proxy(url)
    held.hold_at(needle)
    folder = write_folder(tmp_path, chain(4))
    late = Job(held.through(url), folder, FILES_PER_FLIGHT=files)
    until(lambda: held.holding)
    other = run_job(url, folder)
    held.let_go()
    assert_applied_once(database, [late.result(), other], 4)
    assert "004_step" in other.applied
