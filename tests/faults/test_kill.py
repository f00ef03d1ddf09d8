"""kill -9 at every stage of a flight, cut connections, lost packets, crashed backends."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import psycopg2
import pytest

from migrator.adopt.tools import TRACKERS
from tests.builders import chain, write_folder
from tests.conftest import (
    Database,
    MakePgBouncer,
    MakeProxy,
    MakeServer,
    create_database,
    in_charge,
)
from tests.gate import WAITS, assert_applied_once, files_with_gate, gate
from tests.job import Job, Result, run_job, until
from tests.outage import dropped
from tests.postgres import Server
from tests.proxy import Cut
from tests.switching import LEFT
from tests.ways import FILES, LENGTH, WAYS, way_to

Ask = Callable[[str], list[tuple[Any, ...]]]


#: Backends that a runner of this database has.
AT_WORK = """SELECT count(*) FROM pg_stat_activity
 WHERE datname = current_database() AND application_name LIKE 'migrator/%'"""


def kill(job: Job) -> Result:
    """kill -9, and what it had logged by then."""
    job.process.kill()
    stdout, stderr = job.process.communicate(timeout=60)
    return Result(job.process.wait(), stderr, stdout)


def applied_before(result: Result) -> list[str]:
    return [line["version"] for line in result.of("migration.applied")]


@pytest.mark.parametrize("way", WAYS)
def test_killed_before_it_sends(
    database: Database, pgbouncer: MakePgBouncer, proxy: MakeProxy, tmp_path: Path, way: str
) -> None:
    url = way_to(database, pgbouncer, way)
    held = proxy(url)
    held.hold_at(b"CREATE TABLE t2 ")
    folder = write_folder(tmp_path, chain(3))
    job = Job(held.through(url), folder)
    until(lambda: held.holding)
    killed = kill(job)
    held.cut()
    held.let_go()
    result = run_job(url, folder)
    assert applied_before(killed) == ["001_step"]
    assert (result.code, result.applied) == (0, ["002_step", "003_step"])


@pytest.mark.parametrize("files", FILES)
@pytest.mark.parametrize("way", WAYS)
def test_killed_in_the_body(
    database: Database, pgbouncer: MakePgBouncer, tmp_path: Path, way: str, files: str
) -> None:
    """The orphan still waits at the gate: the server ends it by itself, or the pooler has it
    ended, and the next run finds nothing half done.
    """
    url = way_to(database, pgbouncer, way)
    folder = write_folder(tmp_path, files_with_gate(3, at=2))
    with gate(database):
        job = Job(url, folder, LOCK_TIMEOUT="0", FILES_PER_FLIGHT=files)  # the gate is a lock
        until(lambda: database.query(WAITS))
        kill(job)
        until(lambda: not database.query(WAITS))  # client_connection_check_interval
        assert database.query("SELECT to_regclass('t2')") == [(None,)]
    result = run_job(url, folder)
    assert (result.code, result.applied) == (0, ["002_step", "003_step"]), result.stderr
    assert database.query("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'") == [(0,)]


@pytest.mark.parametrize("way", WAYS)
def test_killed_before_it_reads_the_answer(
    database: Database, pgbouncer: MakePgBouncer, tmp_path: Path, way: str
) -> None:
    url = way_to(database, pgbouncer, way)
    folder = write_folder(tmp_path, files_with_gate(3, at=2))
    with gate(database):
        job = Job(url, folder, LOCK_TIMEOUT="0")  # the gate is a lock
        until(lambda: database.query(WAITS))
        job.process.send_signal(signal.SIGSTOP)
    until(lambda: database.query("SELECT 1 FROM schema_migrations WHERE version = '002_step'"))
    killed = kill(job)
    assert applied_before(killed) == ["001_step"]
    result = run_job(url, folder)
    assert (result.code, result.applied) == (0, ["003_step"]), result.stderr


AT_COMMIT = "SELECT pid FROM pg_stat_activity WHERE wait_event = 'SyncRep'"


def a_database_without_its_standby(own_server: MakeServer, folder: Path) -> Database:
    """COMMIT waits for a standby that does not come: it is durable, and nobody has been told.

    000_a is applied before that begins.
    """
    server = own_server()
    server.start()
    in_charge(server).query("ALTER SYSTEM SET synchronous_standby_names = 'nobody'")
    server.stop()
    server.start()  # a reload would come into force at a moment that cannot be seen
    database = create_database(server)
    assert run_job(database.url, write_folder(folder, {"000_a.sql": "SELECT"})).code == 0
    database.query(f"ALTER DATABASE {database.dbname} SET synchronous_commit = 'on'")
    return database


def do_without_standby(database: Database) -> None:
    database.query("ALTER SYSTEM RESET synchronous_standby_names")
    database.query("SELECT pg_reload_conf()")


def recorded(database: Database) -> list[str]:
    rows = database.query("SELECT version FROM schema_migrations ORDER BY applied_at")
    return [version for (version,) in rows]


@pytest.mark.parametrize("way", WAYS)
def test_killed_at_commit(
    own_server: MakeServer, pgbouncer: MakePgBouncer, tmp_path: Path, way: str
) -> None:
    database = a_database_without_its_standby(own_server, tmp_path)
    url = way_to(database, pgbouncer, way)
    folder = write_folder(tmp_path, chain(2))
    job = Job(url, folder)
    until(lambda: database.query(AT_COMMIT))
    kill(job)
    second = Job(url, folder)
    second.hear("lock.waiting")  # the orphan holds the lock until its COMMIT ends
    do_without_standby(database)
    result = second.result()
    assert (result.code, result.applied) == (0, ["002_step"]), result.stderr
    assert recorded(database) == ["000_a", "001_step", "002_step"]


def test_a_connection_cut_while_commit_hangs_is_settled_by_looking_under_the_lock(
    own_server: MakeServer, proxy: MakeProxy, tmp_path: Path
) -> None:
    """A look without the lock would come too early: it would find no row, and send all again."""
    database = a_database_without_its_standby(own_server, tmp_path)
    cutter = proxy(database)
    files = chain(2)
    files["001_step.sql"] += f"-- {'x' * 100_000}\n"
    job = Job(cutter.through(database.url), write_folder(tmp_path, files))
    until(lambda: database.query(AT_COMMIT))
    cutter.reset()
    cutter.cut()
    job.hear("lock.waiting")
    assert recorded(database) == ["000_a"]
    do_without_standby(database)
    result = job.result()
    assert (result.code, result.applied) == (0, ["001_step", "002_step"]), result.stderr
    assert [line["losses"] for line in result.of("migration.retry")] == [1]
    assert cutter.bytes_up < 100_000  # it was not sent again
    assert recorded(database) == ["000_a", "001_step", "002_step"]


@pytest.mark.parametrize("files", FILES)
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("moment", list(Cut))
def test_a_connection_cut_at_the_flight_is_settled_by_looking(
    database: Database,
    pgbouncer: MakePgBouncer,
    proxy: MakeProxy,
    tmp_path: Path,
    moment: Cut,
    way: str,
    files: str,
) -> None:
    """COMMIT is part of the message: it is cut before it is forwarded, behind it, and answered."""
    url = way_to(database, pgbouncer, way)
    cutter = proxy(url)
    cutter.cut_at(b"CREATE TABLE t2 ", moment)
    folder = write_folder(tmp_path, chain(LENGTH))
    result = run_job(cutter.through(url), folder, FILES_PER_FLIGHT=files)
    assert [line["reason"] for line in result.of("migration.retry")] == ["lost"]
    assert_applied_once(database, [result], LENGTH)
    assert recorded(database) == [f"{n:03}_step" for n in range(1, LENGTH + 1)]


def test_a_connection_cut_at_a_commit_of_its_own_message_is_settled_by_looking(
    database: Database, proxy: MakeProxy, tmp_path: Path
) -> None:
    """A body of several messages: COMMIT comes in the last one."""
    big = "CREATE TABLE big (t text);\n" + f"INSERT INTO big VALUES ('{'x' * 600_000}');\n" * 3
    for moment in (Cut.BEFORE, Cut.SENT, Cut.DONE):
        cutter = proxy(database)
        cutter.cut_at(b"SET CONSTRAINTS ALL IMMEDIATE", moment)
        schema = f"h_{moment.name.lower()}"
        folder = write_folder(tmp_path / schema, {"001_a.sql": big.replace("big", f"b{schema}")})
        result = run_job(cutter.through(database.url), folder, MIGRATIONS_SCHEMA=schema)
        assert (result.code, result.applied) == (0, ["001_a"]), result.stderr
        assert database.query(f"SELECT count(*) FROM b{schema}") == [(3,)]
        assert [line["reason"] for line in result.of("migration.retry")] == ["lost"]


def test_a_look_at_a_standby_proves_nothing_and_is_done_again(
    own_server: MakeServer, proxy: MakeProxy, tmp_path: Path
) -> None:
    """A failover in the middle of a flight: the standby answers before it is promoted."""
    server = own_server()
    server.start()
    database = create_database(server)
    cutter = proxy(database)

    def fail_over() -> None:
        server.stop()
        (server.data / "standby.signal").touch()
        server.start()
        cutter.upstream = (server.host, server.port)

    cutter.cut_at(b"CREATE TABLE t2", Cut.BEFORE, fail_over)
    job = Job(cutter.through(database.url), write_folder(tmp_path, chain(3)))
    job.hear("connection.retry", error="the server that answers is a standby")
    in_charge(server).query("SELECT pg_promote()")
    assert_applied_once(database, [job.result()], 3)


@contextmanager
def flight_at_a_gate(server: Server, folder: Path) -> Iterator[tuple[Database, Job, Ask]]:
    """A run over TCP that waits in its second file, and a way to ask the server by its socket.

    At the end the gate opens.
    """
    database = create_database(server)
    url = f"postgresql:///{database.dbname}?host={server.directory}&port={server.port}"
    with closing(psycopg2.connect(url, user=database.user)) as inside:
        inside.autocommit = True

        def ask(sql: str) -> list[tuple[Any, ...]]:
            with inside.cursor() as cursor:
                cursor.execute(sql)
                return cursor.fetchall()

        ask("SELECT pg_advisory_lock(42)")
        job = Job(database.url, write_folder(folder, files_with_gate(3, at=2)), LOCK_TIMEOUT="0")
        until(lambda: ask(WAITS))
        yield database, job, ask


def test_when_packets_are_lost_and_the_run_lives_it_goes_on_by_itself(
    own_server: MakeServer, tmp_path: Path
) -> None:
    """Both sides give the connection up by their keepalives, and the run opens another."""
    server = own_server()
    server.start()
    with flight_at_a_gate(server, tmp_path) as (database, job, _), dropped(server.port):
        job.hear("migration.retry", timeout=120, reason="lost")
    result = job.result()
    assert_applied_once(database, [result], 3)
    assert len(result.of("plan.made")) == 1


def test_when_packets_are_lost_the_server_ends_the_orphan_by_its_own_keepalives(
    own_server: MakeServer, tmp_path: Path
) -> None:
    """Nothing arrives any more on either side."""
    server = own_server()
    server.start()
    with flight_at_a_gate(server, tmp_path) as (database, job, ask), dropped(server.port):
        kill(job)
        until(lambda: not ask(WAITS), timeout=60)
        assert ask("SELECT to_regclass('t2')") == [(None,)]
    result = run_job(database.url, tmp_path)
    assert (result.code, result.applied) == (0, ["002_step", "003_step"]), result.stderr


def can_ask(database: Database) -> bool:
    """Whether the server takes connections again."""
    try:
        return bool(database.query("SELECT 1"))
    except psycopg2.OperationalError:
        return False


@pytest.mark.parametrize(
    ("directive", "outcome"),
    [("", "not applied"), ("-- migrator: no-transaction\n", "not finished")],
)
def test_a_body_that_ends_its_backend_every_time_stops_after_five_attempts(
    database: Database, tmp_path: Path, directive: str, outcome: str
) -> None:
    body = f"{directive}SELECT pg_terminate_backend(pg_backend_pid());"
    result = run_job(database.url, write_folder(tmp_path, {"001_a.sql": body}))
    assert result.code == 15
    assert result.report["outcome"] == f"001_a was {outcome} when last looked at; see `status`"
    assert len(result.of("migration.retry")) == 5
    assert database.query("SELECT count(*) FROM schema_migrations") == [(0,)]


@pytest.mark.parametrize("commits", ["on", "off"])
def test_a_body_that_crashes_the_server_every_time_stops_after_five_attempts(
    own_server: MakeServer, tmp_path: Path, commits: str
) -> None:
    """kill -9 of its own backend: PostgreSQL ends all others and recovers, each time. With
    synchronous_commit off it has forgotten the history's tables, too.
    """
    server = own_server()
    server.start()
    database = create_database(server)
    database.query(f"ALTER DATABASE {database.dbname} SET synchronous_commit = '{commits}'")
    slow = "ALTER SYSTEM SET wal_writer_delay = '10s'"
    database.query("CHECKPOINT")
    database.query(slow)
    database.query("SELECT pg_reload_conf()")
    body = "CREATE TABLE a ();\nCOPY (SELECT 1) TO PROGRAM 'cat > /dev/null; kill -9 $PPID';"
    result = run_job(database.url, write_folder(tmp_path, {"001_a.sql": body}))
    assert result.code == 15, result.stderr
    assert len(result.of("migration.retry")) == 5
    until(lambda: can_ask(database))
    assert result.applied == []
    assert database.query("SELECT to_regclass('a')") == [(None,)]
    assert run_job(database.url, write_folder(tmp_path, {"001_a.sql": "SELECT 1"})).code == 0


def test_what_a_crash_took_with_it_is_made_anew(own_server: MakeServer, tmp_path: Path) -> None:
    """With synchronous_commit off a crash takes the newest commits along, whole."""
    server = own_server()
    server.start()
    database = create_database(server)
    database.query("CHECKPOINT")
    # it reads what it is given: else the server may call the pipe broken
    program = "cat > /dev/null; [ -e %s ] || { touch %s; kill -9 $PPID; }"
    body = f"CREATE TABLE a ();\nCOPY (SELECT 1) TO PROGRAM '{program}'"
    flag = server.directory / "crashed"
    files = {"001_a.sql": body.replace("%s", str(flag)), "002_b.sql": "CREATE TABLE b ()"}
    database.query(f"ALTER DATABASE {database.dbname} SET synchronous_commit = 'off'")
    database.query("ALTER SYSTEM SET wal_writer_delay = '10s'")
    database.query("SELECT pg_reload_conf()")
    result = run_job(database.url, write_folder(tmp_path, files))
    assert (result.code, result.applied) == (0, ["001_a", "002_b"]), result.stderr
    assert flag.exists()
    assert len(result.of("history.prepared")) == 2  # the first had not reached the disk


@pytest.mark.parametrize("tool", ["goose", "liquibase", "prisma"])
def test_killed_while_it_adopts_all_is_adopted_or_nothing(
    database: Database, proxy: MakeProxy, tmp_path: Path, tool: str
) -> None:
    """The message is at the server and waits for a table: the orphan ends, or goes on to COMMIT."""
    left = LEFT[tool]
    database.query(left.sql)
    folder, table = left.lay(tmp_path / "m"), TRACKERS[tool].table
    held = proxy(database.url)
    held.hold_at(b"/* migrator adopts the history of")
    job = Job(held.through(database.url), folder, ADOPT=tool)
    until(lambda: held.holding)
    with closing(database.connect()) as other, other.cursor() as cursor:
        other.autocommit = False
        cursor.execute(f"LOCK TABLE {table}")
        held.let_go()
        waits = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
        until(lambda: database.query(waits) == [(1,)])
        kill(job)
        other.rollback()
    until(lambda: database.query(AT_WORK) == [(0,)])
    kept = database.query("SELECT count(*) FROM schema_migrations WHERE kind = 'adopted'")
    assert kept in ([(0,)], [(2,)])
    result = run_job(database.url, folder, ADOPT=tool)
    assert (result.code, result.applied) == (0, [left.versions[2]]), result.stderr
    rows = database.query("SELECT version, kind FROM schema_migrations WHERE kind = 'adopted'")
    assert sorted(rows) == [(version, "adopted") for version in sorted(left.versions[:2])]
