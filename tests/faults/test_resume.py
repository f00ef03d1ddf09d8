"""No-transaction migrations that are killed at every boundary, and what the next run makes of them.

In the end the catalog is that of a run which nobody has interrupted.
"""

from __future__ import annotations

import json
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg2
import pytest

from migrator.history.rows import RECORD
from migrator.scratch.snapshot import Snapshot
from tests.builders import write_folder
from tests.catalog import read_catalog
from tests.conftest import Database, MakeProxy, create_database, drop_database, in_charge
from tests.job import Job, Listener, run_job, run_listening, until
from tests.postgres import Address
from tests.proxy import Cut

SETUP = """
CREATE TABLE t (a int, b text, parted int);
INSERT INTO t SELECT n, 'text ' || n, 1 FROM generate_series(1, 1000) AS n;
CREATE INDEX old ON t (b);
CREATE TABLE parent (a int) PARTITION BY LIST (a);
CREATE TABLE child PARTITION OF parent FOR VALUES IN (1);
CREATE TYPE mood AS ENUM ('sad');
CREATE MATERIALIZED VIEW seen AS SELECT a FROM t;
CREATE UNIQUE INDEX seen_a ON seen (a);
CREATE TABLE steps (n int);
"""
KINDS = {
    "create index": "CREATE INDEX CONCURRENTLY new ON t (a)",
    "create unique index": 'CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS "New" ON ONLY t'
    " (lower(b), (a + 1) DESC) INCLUDE (parted) WHERE a > 1",
    "drop index": "DROP INDEX CONCURRENTLY old",
    "reindex index": "REINDEX INDEX CONCURRENTLY old",
    "reindex table": "REINDEX (VERBOSE) TABLE CONCURRENTLY t",
    "reindex schema": "REINDEX (CONCURRENTLY) SCHEMA public",
    "add value": "ALTER TYPE mood ADD VALUE 'glad'",
    "detach": "ALTER TABLE parent DETACH PARTITION child CONCURRENTLY",
    "vacuum": "VACUUM (ANALYZE) t",
    "alter system": "ALTER SYSTEM SET log_min_messages = 'warning'",
    "refresh": "REFRESH MATERIALIZED VIEW CONCURRENTLY seen",
    "create database": "CREATE DATABASE {dbname}_more",
    "drop database": "DROP DATABASE {dbname}_gone",
    "insert": "INSERT INTO steps VALUES (0)",
}
#: What only the message of an outcome holds, and only that of the history's row.
OUTCOME, FINISH = b'"how": "ran"', RECORD.splitlines()[1].strip().encode()
#: What commits together with its outcome stands behind a block of ours, all else behind the mark.
ATOMIC = ("ALTER TYPE", "REFRESH", "INSERT")
RUNNING = (
    "SELECT pid FROM pg_stat_activity WHERE query LIKE '/* migrator:%%' || %s || '%%'"
    " AND state = 'active' AND pid <> pg_backend_pid()"
)


def sent_as(statement: str) -> bytes:
    """What only the message of a file's statement holds."""
    return (b"$;\n" if statement.startswith(ATOMIC) else b"*/ ") + statement.encode()


@dataclass(frozen=True)
class Case:
    """A database, the folder for it, and the statement in the middle."""

    database: Database
    folder: Path
    statement: str

    def holds(self) -> tuple[Snapshot, list[tuple[object, ...]], list[tuple[object, ...]]]:
        """All that may differ from an uninterrupted run: catalog, steps, other databases."""
        with closing(self.database.connect()) as session:
            catalog = read_catalog(session)
        name = self.database.dbname
        others = "SELECT replace(datname, %s, '') FROM pg_database WHERE datname LIKE %s ORDER BY 1"
        return (
            catalog,
            self.database.query("SELECT n FROM steps ORDER BY n"),
            self.database.query(others, name, f"{name}%"),
        )


def a_case(server: Address, tmp_path: Path, kind: str) -> Case:
    database = create_database(server)
    database.query(SETUP)
    if kind == "drop database":
        database.query(f"CREATE DATABASE {database.dbname}_gone")
    statement = KINDS[kind].format(dbname=database.dbname)
    text = (
        "-- migrator: no-transaction\nSET search_path = public;\nINSERT INTO steps VALUES (1);\n"
        f"{statement};\nINSERT INTO steps VALUES (2);\n"
    )
    folder = write_folder(tmp_path / database.dbname, {"001_alone.sql": text})
    assert run_job(database.url, write_folder(tmp_path / "none", {})).code == 0
    return Case(database, folder, statement)


def drop_case(case: Case) -> None:
    for suffix in ("_more", "_gone"):
        drop_database(Database(case.database.server, case.database.dbname + suffix, ""))
    drop_database(case.database)


@pytest.fixture(params=KINDS)
def cases(server: Address, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[list[Case]]:
    """Two databases alike, for one kind of statement: to interrupt one, and to compare with."""
    made = [a_case(server, tmp_path, request.param) for _ in range(2)]
    yield made
    for case in made:
        drop_case(case)
    if request.param == "alter system":
        in_charge(server).query("ALTER SYSTEM RESET log_min_messages")


@pytest.mark.parametrize(
    ("needle", "moment"),
    [
        pytest.param(b"INSERT INTO steps VALUES (1)", Cut.DONE, id="before the statement's intent"),
        pytest.param(None, Cut.BEFORE, id="before it is sent"),
        pytest.param(None, Cut.SENT, id="while it runs, or just after"),
        pytest.param(None, Cut.DONE, id="done and not recorded"),
        pytest.param(OUTCOME, Cut.DONE, id="recorded, before the next one"),
        pytest.param(FINISH, Cut.BEFORE, id="before the history's row"),
        pytest.param(FINISH, Cut.DONE, id="after the history's row"),
    ],
)
def test_a_run_killed_at_any_boundary_is_settled_by_the_next(
    cases: list[Case], proxy: MakeProxy, needle: bytes | None, moment: Cut
) -> None:
    interrupted, whole = cases
    assert run_job(whole.database.url, whole.folder).code == 0
    cutter = proxy(interrupted.database)
    jobs: list[Job] = []
    cutter.cut_at(needle or sent_as(interrupted.statement), moment, lambda: jobs[0].process.kill())
    jobs.append(Job(cutter.through(interrupted.database.url), interrupted.folder))
    assert jobs[0].result().code == -signal.SIGKILL
    result = run_job(interrupted.database.url, interrupted.folder)
    assert result.code == 0, result.stderr
    assert interrupted.holds() == whole.holds()
    history = "SELECT version, kind, checksum IS NULL FROM schema_migrations"
    assert interrupted.database.query(history) == [("001_alone", "versioned", False)]


def test_a_connection_lost_at_any_boundary_is_settled_by_the_same_run(
    cases: list[Case], proxy: MakeProxy
) -> None:
    interrupted, whole = cases
    assert run_job(whole.database.url, whole.folder).code == 0
    cutter = proxy(interrupted.database)
    cutter.cut_at(sent_as(interrupted.statement), Cut.DONE)
    result = run_job(cutter.through(interrupted.database.url), interrupted.folder)
    assert (result.code, result.applied) == (0, ["001_alone"]), result.stderr
    assert [line["reason"] for line in result.of("migration.retry")] == ["lost"]
    assert interrupted.holds() == whole.holds()


#: What waits for older transactions, so that it can be caught while it runs, and how.
SLOW = ["create index", "create unique index", "drop index", "reindex table", "detach"]


@pytest.fixture(params=SLOW)
def slow_cases(
    server: Address, tmp_path: Path, request: pytest.FixtureRequest
) -> Iterator[list[Case]]:
    made = [a_case(server, tmp_path, request.param) for _ in range(2)]
    yield made
    for case in made:
        drop_case(case)


Hold = Callable[..., Any]


@pytest.fixture
def hold() -> Iterator[Hold]:
    """Open a transaction that may have written the tables: what is concurrent waits for it."""
    with ExitStack() as stack:

        def start(database: Database, mode: str = "ROW EXCLUSIVE") -> Any:
            connection = database.connect()
            stack.callback(connection.close)
            connection.autocommit = False
            connection.cursor().execute(f"LOCK TABLE t, parent IN {mode} MODE")
            return connection

        yield start


def running(case: Case) -> list[tuple[Any, ...]]:
    """The backend that runs the statement and waits."""
    return case.database.query(RUNNING, case.statement.replace("%", "%%"))


LOCKED = (
    "SELECT 1 FROM pg_locks WHERE locktype = 'advisory'"
    " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
)
STATE = "SELECT indexrelid, indisvalid FROM pg_index WHERE indexrelid = to_regclass('new')"
Kill = Callable[[str], Case]


def verdicts(result: Any) -> list[str]:
    return [line["verdict"] for line in result.of("statement.settled")]


@pytest.fixture
def killed(server: Address, tmp_path: Path, proxy: MakeProxy) -> Iterator[Callable[[str], Case]]:
    """A run that was killed when it was about to send its statement: the intent is written."""
    made: list[Case] = []

    def kill(kind: str) -> Case:
        case = a_case(server, tmp_path, kind)
        made.append(case)
        cutter = proxy(case.database)
        jobs: list[Job] = []
        needle = sent_as(case.statement)
        cutter.cut_at(needle, Cut.BEFORE, lambda: jobs[0].process.kill())
        jobs.append(Job(cutter.through(case.database.url), case.folder))
        assert jobs[0].result().code == -signal.SIGKILL
        until(lambda: not case.database.query(LOCKED))
        return case

    yield kill
    for case in made:
        drop_case(case)


def test_a_backend_that_is_ended_in_mid_statement_is_settled_by_the_same_run(
    slow_cases: list[Case], hold: Hold
) -> None:
    interrupted, whole = slow_cases
    assert run_job(whole.database.url, whole.folder).code == 0
    holder = hold(interrupted.database)
    job = Job(interrupted.database.url, interrupted.folder)
    [(pid,)] = until(lambda: running(interrupted))
    interrupted.database.query("SELECT pg_terminate_backend(%s)", pid)
    holder.close()
    result = job.result()
    assert (result.code, result.applied) == (0, ["001_alone"]), result.stderr
    assert interrupted.holds() == whole.holds()


@pytest.mark.parametrize("kind", ["reindex index", "reindex table", "reindex schema"])
def test_what_a_reindex_leaves_after_its_swap_is_dropped(
    server: Address, tmp_path: Path, hold: Hold, kind: str
) -> None:
    interrupted, whole = (a_case(server, tmp_path, kind) for _ in range(2))
    assert run_job(whole.database.url, whole.folder).code == 0
    reader = hold(interrupted.database, "ACCESS SHARE")
    job = Job(interrupted.database.url, interrupted.folder)
    until(lambda: interrupted.database.query("SELECT 1 FROM pg_class WHERE relname = 'old_ccold'"))
    [(pid,)] = until(lambda: running(interrupted))
    interrupted.database.query("SELECT pg_terminate_backend(%s)", pid)
    reader.close()
    result = job.result()
    assert result.code == 0, result.stderr
    assert "clean up" in verdicts(result)
    assert interrupted.holds() == whole.holds()
    for case in (interrupted, whole):
        drop_case(case)


def test_a_server_that_is_gone_in_mid_statement_leaves_what_the_next_run_settles(
    killed: Kill, hold: Hold, proxy: MakeProxy
) -> None:
    case = killed("create index")
    holder = hold(case.database)
    cutter = proxy(case.database)
    job = Job(cutter.through(case.database.url), case.folder, CONNECT_TIMEOUT="500ms")
    [(pid,)] = until(lambda: running(case))
    cutter.refuse()
    case.database.query("SELECT pg_terminate_backend(%s)", pid)
    result = job.result()
    assert result.code == 20
    assert result.report["outcome"].startswith("unknown: 001_alone was lost while it ran")
    holder.close()
    assert run_job(case.database.url, case.folder).code == 0


def test_a_stop_in_mid_statement_is_23_at_once_and_settled_by_the_next_run(
    slow_cases: list[Case], hold: Hold
) -> None:
    interrupted, whole = slow_cases
    assert run_job(whole.database.url, whole.folder).code == 0
    holder = hold(interrupted.database)
    job = Job(interrupted.database.url, interrupted.folder)
    until(lambda: running(interrupted))
    job.process.send_signal(signal.SIGTERM)
    stopped = job.result()
    assert stopped.code == 23
    assert stopped.report["outcome"] == (
        "001_alone is not finished; done and committed: statement 2; statement 3 is to be settled"
    )
    assert not running(interrupted)
    holder.close()
    result = run_job(interrupted.database.url, interrupted.folder)
    assert result.code == 0, result.stderr
    assert len(result.of("statement.settled")) >= 1
    assert interrupted.holds() == whole.holds()


def test_an_orphan_is_waited_for_and_found_to_have_done_it(
    slow_cases: list[Case], hold: Hold, proxy: MakeProxy
) -> None:
    interrupted, whole = slow_cases
    assert run_job(whole.database.url, whole.folder).code == 0
    holder = hold(interrupted.database)
    network = proxy(interrupted.database)
    killed = Job(network.through(interrupted.database.url), interrupted.folder)
    until(lambda: running(interrupted))
    job = Job(interrupted.database.url, interrupted.folder)
    job.hear("lock.waiting")
    network.blackhole()  # the server ends an orphan within 5 s once it sees the connection closed
    killed.process.kill()
    killed.result()
    assert running(interrupted)
    holder.close()
    until(lambda: not running(interrupted))
    network.cut()
    result = job.result()
    assert result.code == 0, result.stderr
    assert interrupted.holds() == whole.holds()


def test_an_index_that_somebody_has_built_just_so_meanwhile_is_taken_for_done(
    killed: Kill,
) -> None:
    case = killed("create index")
    case.database.query("CREATE INDEX new ON t USING btree (a ASC)")
    before = case.database.query(STATE)
    result = run_job(case.database.url, case.folder)
    assert (result.code, verdicts(result)) == (0, ["done"]), result.stderr
    assert case.database.query(STATE) == before


@pytest.mark.parametrize(
    ("built", "seen"),
    [
        ("CREATE INDEX new ON t (b)", "public.new is valid, of another definition than the file's"),
        ("CREATE UNIQUE INDEX new ON t (a)", "public.new is valid, of another definition"),
        ("CREATE INDEX new ON steps (n)", "public.new is valid, of another definition"),
        ("CREATE TABLE new (a int)", "public.new is there, and is no index"),
    ],
)
def test_an_object_of_the_name_that_is_not_the_file_s_is_never_touched(
    killed: Kill, built: str, seen: str
) -> None:
    case = killed("create index")
    case.database.query(built)
    oid = case.database.query("SELECT to_regclass('new')::oid")
    result = run_job(case.database.url, case.folder)
    assert result.code == 14
    assert result.error["type"] == "DirtyError"
    assert seen in result.error["message"]
    for command in ("repair --done 001_alone --reason", "repair --retry 001_alone --reason"):
        assert command in result.error["remedy"]
    assert case.database.query("SELECT to_regclass('new')::oid") == oid
    assert case.database.query("SELECT count(*) FROM schema_migrations") == [(0,)]


def test_an_invalid_index_of_another_definition_is_not_dropped(killed: Kill) -> None:
    case = killed("create index")
    case.database.query("INSERT INTO t VALUES (1, 'again', 1)")
    with closing(case.database.connect()) as connection, pytest.raises(psycopg2.Error):
        connection.cursor().execute("CREATE UNIQUE INDEX CONCURRENTLY new ON t (a)")
    before = case.database.query(STATE)
    assert run_job(case.database.url, case.folder).code == 14
    assert case.database.query(STATE) == before != []


def test_an_invalid_index_of_the_file_s_definition_is_built_again(killed: Kill, hold: Hold) -> None:
    case = killed("create index")
    holder = hold(case.database)
    with closing(case.database.connect()) as connection:
        connection.cursor().execute("SET lock_timeout = '10ms'")
        with pytest.raises(psycopg2.Error):
            connection.cursor().execute("CREATE INDEX CONCURRENTLY new ON t (a)")
    holder.close()
    [(oid, valid)] = case.database.query(STATE)
    assert not valid
    result = run_job(case.database.url, case.folder)
    assert (result.code, verdicts(result)) == (0, ["clean up", "run again"]), result.stderr
    [(rebuilt, valid)] = case.database.query(STATE)
    assert valid
    assert rebuilt != oid


def test_somebody_else_s_running_build_is_waited_for_and_never_dropped(
    killed: Kill, hold: Hold
) -> None:
    case = killed("create index")
    holder = hold(case.database)
    builder = case.database.connect()
    pid = builder.info.backend_pid
    thread = threading.Thread(
        target=lambda: builder.cursor().execute("CREATE INDEX CONCURRENTLY new ON t (a)")
    )
    thread.start()
    [(oid, valid)] = until(lambda: case.database.query(STATE))
    assert not valid
    given_up = run_job(case.database.url, case.folder, WAIT_TIMEOUT="300ms")
    assert given_up.code == 21
    assert f"pid {pid}" in given_up.error["message"]
    job = Job(case.database.url, case.folder)
    job.hear("statement.settled", verdict="wait")
    assert case.database.query(STATE) == [(oid, False)]
    holder.close()
    thread.join()
    builder.close()
    assert job.result().code == 0
    assert case.database.query(STATE) == [(oid, True)]


def test_leftovers_of_somebody_else_s_running_reindex_are_not_dropped(
    killed: Kill, hold: Hold
) -> None:
    case = killed("reindex table")
    holder = hold(case.database)
    builder = case.database.connect()
    thread = threading.Thread(
        target=lambda: builder.cursor().execute("REINDEX INDEX CONCURRENTLY old")
    )
    thread.start()
    leftover = "SELECT indexrelid FROM pg_index WHERE indexrelid = to_regclass('old_ccnew')"
    before = until(lambda: case.database.query(leftover))
    assert run_job(case.database.url, case.folder, WAIT_TIMEOUT="300ms").code == 21
    assert case.database.query(leftover) == before
    holder.close()
    thread.join()
    builder.close()
    assert run_job(case.database.url, case.folder).code == 0


def test_a_statement_that_the_catalog_cannot_tell_of_is_asked_about(
    database: Database, proxy: MakeProxy, tmp_path: Path
) -> None:
    database.query("CREATE TABLE steps (n int)")
    loop = "DO $$ BEGIN INSERT INTO steps VALUES (1); COMMIT; INSERT INTO steps VALUES (2); END $$"
    text = f"-- migrator: no-transaction\n{loop};\nINSERT INTO steps VALUES (3);\n"
    folder = write_folder(tmp_path, {"001_loop.sql": text})
    assert run_job(database.url, write_folder(tmp_path / "none", {})).code == 0
    cutter = proxy(database)
    cutter.cut_at(b"*/ DO $$", Cut.BEFORE)
    result = run_job(cutter.through(database.url), folder)
    assert result.code == 14
    assert result.error["message"] == (
        "001_loop.sql:2: statement 1 of 2 (DO) was interrupted: has it taken effect? Seen: the "
        "catalog cannot show what this statement has done"
    )
    for command in ("up", "plan", "verify"):
        assert run_job(database.url, folder, command).code == 14
    [shown] = json.loads(run_job(database.url, folder, "status", "--json").stdout)["migrations"]
    assert shown == {"version": "001_loop", "state": "dirty", "kind": "versioned"}
    answered = run_job(
        database.url, folder, "repair", "--retry", "001_loop", "--reason", "no row of it is there"
    )
    assert answered.code == 0, answered.stderr
    assert answered.stdout.startswith("assumed: statement 1 of 001_loop (DO) has left nothing")
    assert run_job(database.url, folder).code == 0
    assert database.query("SELECT n FROM steps ORDER BY n") == [(1,), (2,), (3,)]


def test_a_statement_that_a_person_has_seen_done_is_not_run_again(
    database: Database, proxy: MakeProxy, tmp_path: Path
) -> None:
    database.query("CREATE TABLE steps (n int)")
    loop = "DO $$ BEGIN INSERT INTO steps VALUES (1); COMMIT; INSERT INTO steps VALUES (2); END $$"
    text = f"-- migrator: no-transaction\n{loop};\nINSERT INTO steps VALUES (3);\n"
    folder = write_folder(tmp_path, {"001_loop.sql": text})
    cutter = proxy(database)
    cutter.cut_at(b"*/ DO $$", Cut.DONE)
    assert run_job(cutter.through(database.url), folder).code == 14
    words = ("repair", "--done", "001_loop", "--reason", "both rows are there")
    assert run_job(database.url, folder, *words).code == 0
    assert run_job(database.url, folder).code == 0
    assert database.query("SELECT n FROM steps ORDER BY n") == [(1,), (2,), (3,)]


def test_an_interrupted_statement_that_the_file_has_no_more_is_not_forgotten(
    killed: Kill,
) -> None:
    case = killed("create index")
    file = case.folder / "001_alone.sql"
    file.write_text(file.read_text().partition(case.statement)[0])
    result = run_job(case.database.url, case.folder)
    assert result.code == 14, result.stderr
    assert result.error["message"] == (
        "001_alone.sql: statement 3 (CREATE INDEX CONCURRENTLY new) was interrupted, and the file "
        "has it no more: what has it left?"
    )
    assert result.report["outcome"].endswith("statement 3 is to be settled")
    words = ("repair", "--retry", "001_alone", "--reason", "there is no such index")
    assert run_job(case.database.url, case.folder, *words).code == 0
    result = run_job(case.database.url, case.folder)
    assert (result.code, result.applied) == (0, ["001_alone"]), result.stderr


@pytest.mark.parametrize("number", [2, 3])
def test_a_set_that_is_refused_leaves_an_interrupted_statement_to_be_asked_about(
    database: Database, proxy: MakeProxy, tmp_path: Path, number: int
) -> None:
    """Also where the file has changed since, and the SET has got the number of the other."""
    setting, role = "SET search_path = public;\n" * (number - 2), f"{database.dbname}_owner"
    database.query(
        f"CREATE TABLE steps (n int); CREATE ROLE {role}; GRANT INSERT ON steps TO {role};"
        "CREATE PROCEDURE backfill() LANGUAGE plpgsql"
        " AS $$ BEGIN INSERT INTO steps VALUES (1); COMMIT; END $$"
    )
    alone, work = "-- migrator: no-transaction\n", f"SET ROLE {role};\nCALL backfill();\n"
    folder = write_folder(tmp_path, {"001_a.sql": f"{alone}{work}"})
    assert run_job(database.url, write_folder(tmp_path / "none", {})).code == 0
    cutter = proxy(database)
    jobs: list[Job] = []
    cutter.cut_at(b"*/ CALL", Cut.DONE, lambda: jobs[0].process.kill())
    jobs.append(Job(cutter.through(database.url), folder))
    assert jobs[0].result().code == -signal.SIGKILL
    until(lambda: not database.query(LOCKED))
    write_folder(folder, {"001_a.sql": f"{alone}{setting}{work}"})
    database.query(f"ALTER ROLE {role} RENAME TO {role}_gone")
    refused = run_job(database.url, folder)
    assert refused.code == 15
    assert refused.report["outcome"] == "001_a is not finished; statement 2 is to be settled"
    database.query(f"ALTER ROLE {role}_gone RENAME TO {role}")
    assert run_job(database.url, folder).code == 14
    assert database.query("SELECT n FROM steps") == [(1,)]
    database.query(f"DROP OWNED BY {role}; DROP ROLE {role}")


@pytest.mark.parametrize(
    "needle",
    [
        pytest.param(b"$;\nCREATE TABLE done", id="a statement that commits with its outcome"),
        pytest.param(b'"what": "VACUUM"', id="an intent"),
        pytest.param(FINISH, id="the history's row"),
    ],
)
def test_what_a_stop_on_a_dead_network_may_leave_to_commit_is_unknown(
    database: Database, proxy: MakeProxy, tmp_path: Path, needle: bytes
) -> None:
    text = "-- migrator: no-transaction\nCREATE TABLE done ();\nVACUUM done;\n"
    folder = write_folder(tmp_path, {"001_a.sql": text})
    assert run_job(database.url, write_folder(tmp_path / "none", {})).code == 0
    network = proxy(database)
    network.hold_at(needle)
    job = Job(network.through(database.url), folder)
    until(lambda: network.holding)
    job.process.send_signal(signal.SIGTERM)
    stopped = job.result()
    network.let_go()
    assert stopped.code == 23
    assert stopped.report["outcome"] == (
        "unknown: 001_a was running, and the server did not answer any more; see `status`"
    )


@pytest.mark.parametrize("lost", [False, True])
def test_until_the_journal_has_been_read_what_is_left_of_a_file_is_unknown(
    database: Database, proxy: MakeProxy, tmp_path: Path, lost: bool
) -> None:
    """Of one that an earlier run has left half done, and that this one has lost and begun anew."""
    text = "-- migrator: no-transaction\nCREATE TABLE done ();\nSELECT 1/0;\n"
    folder = write_folder(tmp_path, {"001_a.sql": text})
    network = proxy(database)
    if lost:
        assert run_job(database.url, write_folder(tmp_path / "none", {})).code == 0
        network.cut_at(b"$;\nSELECT 1/0", Cut.BEFORE, lambda: network.hold_at(b"history has moved"))
    else:
        assert run_job(database.url, folder).code == 15
        network.hold_at(b"history has moved")
    job = Job(network.through(database.url), folder)
    until(lambda: network.holding)
    job.process.send_signal(signal.SIGTERM)
    stopped = job.result()
    assert stopped.code == 23
    assert stopped.report["outcome"] == (
        "unknown: how far 001_a has come was not read; see `status`"
    )


def test_a_journal_that_is_too_busy_to_be_read_says_nothing_of_what_is_left(
    database: Database, tmp_path: Path
) -> None:
    text = "-- migrator: no-transaction\nCREATE TABLE done ();\nSELECT 1/0;\n"
    folder = write_folder(tmp_path, {"001_a.sql": text})
    assert run_job(database.url, folder).code == 15
    with closing(database.connect()) as holder:
        holder.autocommit = False
        lock = "LOCK TABLE schema_migrations_log"
        listener = Listener("migration.started", lambda: holder.cursor().execute(lock))
        limits = {"LOCK_TIMEOUT": "50ms", "LOCK_RETRY_TIMEOUT": "100ms"}
        result = run_listening(listener, database.url, folder, **limits)
    assert result.code == 22
    assert result.report["outcome"] == "unknown: how far 001_a has come was not read; see `status`"
