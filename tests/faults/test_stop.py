"""SIGTERM, SIGINT and the deadline, in every state of a run and on dead networks.

The one promise about time that is asserted: a stop takes 2 s, on a dead network 6 s.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from time import monotonic

import pytest

from migrator.history.guard import lock_key
from tests.builders import write_folder
from tests.conftest import (
    Database,
    MakePgBouncer,
    MakeProxy,
    MakeStub,
    create_database,
    drop_database,
    throw_away,
)
from tests.gate import GATE, WAITS, gate
from tests.job import ROOT, Job, Listener, Result, run_job, run_listening, until
from tests.outage import ESTABLISHED, SYN_SENT, NameServer, dropped, frozen, knocks
from tests.pooler_stub import Do, Refuse
from tests.postgres import Address
from tests.proxy import Cut
from tests.ways import WAYS, way_to

STOP_SECONDS, DEAD_SECONDS = 2.0, 6.0  # what is promised
DEADLINE = {"DEADLINE": "3s"}  # enough to come into any of the states
DEADLINE_SECONDS = 3.0
FILES = {
    "001_a.sql": "CREATE TABLE a ();\n",
    "002_b.sql": "CREATE TABLE b ();\nSELECT pg_sleep(600);\n",
}
RUNNING = (
    "SELECT pid FROM pg_stat_activity"
    " WHERE query LIKE %s AND state = 'active' AND pid <> pg_backend_pid()"
)
OURS = "SELECT pid FROM pg_stat_activity WHERE application_name = 'migrator/tester'"
OBSERVES = "SELECT pid FROM pg_stat_activity WHERE query LIKE '/* migrator observes */%'"
TABLES = "SELECT to_regclass('a') IS NOT NULL, to_regclass('b') IS NOT NULL"
UNTOUCHED = "nothing was changed"
STANDS = "applied by this run and committed: 001_a"
FULL_FOR_LONG = Refuse("(ECIRCUITBREAKER) failed to retrieve database credentials")  # waits 30 s

By = signal.Signals | None  #: None is the deadline
EACH_WAY = pytest.mark.parametrize(
    "by", [signal.SIGTERM, signal.SIGINT, None], ids=["SIGTERM", "SIGINT", "DEADLINE"]
)


def stop(job: Job, by: By, seconds: float = STOP_SECONDS) -> Result:
    """The result of a run that is told to stop, or whose deadline comes, in the promised time."""
    if by is None:
        result = job.result()
        first, *_, last = (datetime.fromisoformat(line["timestamp"]) for line in result.lines)
        assert (last - first).total_seconds() - DEADLINE_SECONDS <= seconds, result.stderr
        return result
    job.process.send_signal(by)
    return job.result(timeout=seconds)


def is_told(result: Result, by: By, outcome: str, termination_log: Path) -> None:
    """The code, the log and the termination log say who stopped it and what stands."""
    assert result.code == 23, result.stderr
    (stopped,) = result.of("run.stopped")
    assert stopped["stopped_by"] == (by.name if by else "DEADLINE")
    assert stopped["outcome"] == result.report["outcome"] == outcome
    left = json.loads(termination_log.read_text())
    assert (left["exit_code"], left["outcome"], left["applied"]) == (
        23,
        outcome,
        result.report["applied"],
    )


@pytest.fixture
def termination_log(tmp_path: Path) -> Path:
    """The file that a kubelet makes and mounts."""
    file = tmp_path / "termination-log"
    file.touch()
    return file


@pytest.fixture
def job(termination_log: Path, tmp_path: Path) -> Callable[..., Job]:
    """Start runs: `job(url, "wait", by=SIGTERM)`; by None is by the deadline, which is set then."""

    def start(
        url: str,
        *words: str,
        by: By,
        files: Mapping[str, str] = FILES,
        inside: Sequence[str] = (),
    ) -> Job:
        settings = {"TERMINATION_LOG": str(termination_log), **({} if by else DEADLINE)}
        folder = write_folder(tmp_path / "migrations", files)
        return Job.inside(inside, url, folder, *words, **settings)

    return start


StartJob = Callable[..., Job]


@contextmanager
def held(database: Database) -> Iterator[None]:
    """Within, another runner has the lock."""
    with closing(database.connect()) as connection:
        connection.cursor().execute(f"SELECT pg_advisory_lock({lock_key('public')})")
        yield


@EACH_WAY
def test_while_connecting(stub: MakeStub, job: StartJob, termination_log: Path, by: By) -> None:
    silent = stub(Do.KEEP_SILENT)
    run = job(silent.url(), by=by)
    until(lambda: silent.startups)
    is_told(stop(run, by), by, UNTOUCHED, termination_log)


@EACH_WAY
def test_while_backing_off(stub: MakeStub, job: StartJob, termination_log: Path, by: By) -> None:
    run = job(stub(FULL_FOR_LONG).url(), by=by)
    run.hear("connection.retry")
    is_told(stop(run, by), by, UNTOUCHED, termination_log)


@EACH_WAY
def test_while_waiting_for_the_lock(
    database: Database, job: StartJob, termination_log: Path, by: By
) -> None:
    with held(database):
        run = job(database.url, by=by)
        run.hear("lock.waiting")
        is_told(stop(run, by), by, UNTOUCHED, termination_log)
    assert database.query(TABLES) == [(False, False)]


@EACH_WAY
def test_in_a_statement_which_is_cancelled_and_rolled_back(
    database: Database, job: StartJob, termination_log: Path, by: By
) -> None:
    run = job(database.url, by=by)
    until(lambda: database.query(RUNNING, "%migrator 002_b%"))
    result = stop(run, by)
    is_told(result, by, f"002_b was rolled back; {STANDS}", termination_log)
    assert result.applied == ["001_a"]
    until(lambda: not database.query(RUNNING, "%migrator 002_b%"))
    assert database.query(TABLES) == [(True, False)]
    assert database.query("SELECT version FROM schema_migrations") == [("001_a",)]


@pytest.mark.parametrize("way", WAYS[1:])
def test_in_a_statement_behind_a_pooler_which_passes_the_cancel_on(
    database: Database,
    pgbouncer: MakePgBouncer,
    job: StartJob,
    termination_log: Path,
    way: str,
) -> None:
    """Known to be rolled back: the server has answered the cancel."""
    run = job(way_to(database, pgbouncer, way), by=signal.SIGTERM)
    until(lambda: database.query(RUNNING, "%migrator 002_b%"))
    outcome = f"002_b was rolled back; {STANDS}"
    is_told(stop(run, signal.SIGTERM), signal.SIGTERM, outcome, termination_log)
    until(lambda: not database.query(RUNNING, "%migrator 002_b%"))
    assert database.query(TABLES) == [(True, False)]


@pytest.mark.parametrize("way", WAYS)
def test_on_the_way_to_a_server_that_does_not_know_yet_what_to_cancel(
    database: Database,
    pgbouncer: MakePgBouncer,
    proxy: MakeProxy,
    job: StartJob,
    termination_log: Path,
    way: str,
) -> None:
    """The message comes after two cancels have come to nothing, and is ended by the next."""
    url = way_to(database, pgbouncer, way)
    slow = proxy(url)
    slow.hold_at(b"CREATE TABLE b ")
    run = job(slow.through(url), by=signal.SIGTERM)
    until(lambda: slow.holding)
    before = slow.connections
    run.process.send_signal(signal.SIGTERM)
    until(lambda: slow.connections == before + 2)
    slow.let_go()
    result = run.result(timeout=STOP_SECONDS)
    is_told(result, signal.SIGTERM, f"002_b was rolled back; {STANDS}", termination_log)
    until(lambda: not database.query(RUNNING, "%migrator 002_b%"))
    assert database.query(TABLES) == [(True, False)]


@EACH_WAY
def test_while_waiting_in_wait(
    database: Database, job: StartJob, termination_log: Path, by: By
) -> None:
    run = job(database.url, "wait", by=by)
    run.hear("migrations.waiting")
    is_told(stop(run, by), by, UNTOUCHED, termination_log)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_between_migrations(
    database: Database, termination_log: Path, tmp_path: Path, number: signal.Signals
) -> None:
    said = 0.0

    def say() -> None:
        nonlocal said
        said = monotonic()
        signal.raise_signal(number)

    folder = write_folder(tmp_path / "migrations", FILES)
    listener = Listener("migration.applied", say)
    result = run_listening(listener, database.url, folder, TERMINATION_LOG=str(termination_log))
    assert monotonic() - said < STOP_SECONDS
    stands = f"{STANDS}; nothing was left half done"
    is_told(result, number, stands, termination_log)
    assert result.applied == ["001_a"]
    assert [line["version"] for line in result.of("migration.started")] == ["001_a"]
    assert database.query(TABLES) == [(True, False)]


@EACH_WAY
def test_while_files_are_split(
    database: Database, job: StartJob, termination_log: Path, by: By
) -> None:
    """Splitting this much takes longer than the deadline and the time for a stop together."""
    big = "".join(f"CREATE TABLE t{n} (id int, a text, b text);\n" for n in range(500_000))
    run = job(database.url, by=by, files={"001_a.sql": big})
    run.hear("plan.made")
    is_told(stop(run, by), by, UNTOUCHED, termination_log)


#: Begins as `python entrypoint.py` does, and sends itself the signal when
#: migrator.cli.main is imported.
SIGNALLED_EARLY = """
import os, runpy, sys

class Finder:
    def find_spec(self, name, path, target=None):
        if name == "migrator.cli.main":
            os.kill(os.getpid(), int(os.environ["NUMBER"]))

sys.meta_path.insert(0, Finder())
sys.argv = sys.argv[1:]
sys.path.insert(0, os.path.dirname(sys.argv[0]))
runpy.run_path(sys.argv[0], run_name="__main__")
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_before_there_is_a_handler(
    database: Database, termination_log: Path, tmp_path: Path, number: signal.Signals
) -> None:
    """It is kept until there is one; by itself it would end the process, as PID 1 be lost."""
    environment = {
        **os.environ,
        "DATABASE_URL": database.url,
        "MIGRATIONS_DIR": str(write_folder(tmp_path / "migrations", FILES)),
        "TERMINATION_LOG": str(termination_log),
        "NUMBER": str(int(number)),
    }
    done = subprocess.run(
        [sys.executable, "-c", SIGNALLED_EARLY, str(ROOT / "entrypoint.py")],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    result = Result(done.returncode, done.stderr, done.stdout)
    is_told(result, number, UNTOUCHED, termination_log)
    assert database.query(TABLES) == [(False, False)]


TIDIES = (
    "SELECT query LIKE '%migrator 002_b%' FROM pg_stat_activity JOIN pg_locks USING (pid)"
    " WHERE relation = 'pg_depend'::regclass AND NOT granted"
)


@contextmanager
def tidying(database: Database, folder: Path) -> Iterator[Job]:
    """A run whose 002_b is committed, and whose clean-up, in the same message, waits.

    It drops a temporary table, and until the end somebody else keeps pg_depend from being written.
    """
    body = f"CREATE TABLE b ();\nCREATE TEMP TABLE t ();\n{GATE}"
    files = {"001_a.sql": "CREATE TABLE a ()", "002_b.sql": body, "003_c.sql": "SELECT 1"}
    with closing(database.connect()) as keeper:
        keeper.autocommit = False
        with gate(database):
            job = Job(database.url, write_folder(folder, files), LOCK_TIMEOUT="0")
            until(lambda: database.query(WAITS))
            keeper.cursor().execute("LOCK TABLE pg_depend IN SHARE MODE")
        until(lambda: database.query(TIDIES) == [(True,)])
        assert committed(database)
        yield job


def committed(database: Database) -> bool:
    """Whether 002_b stands in the history."""
    return bool(database.query("SELECT 1 FROM schema_migrations WHERE version = '002_b'"))


@pytest.mark.parametrize("lock", ["free", "taken by the next runner"])
def test_after_the_commit_the_migration_is_told_to_stand(
    database: Database, tmp_path: Path, lock: str
) -> None:
    """Also when nobody can look under the lock any more: COMMIT had been answered."""
    with tidying(database, tmp_path) as job, ExitStack() as stack:
        if lock != "free":
            stack.enter_context(held(database))
        job.process.send_signal(signal.SIGTERM)
        result = job.result(timeout=STOP_SECONDS)
    assert (result.code, result.applied) == (23, ["001_a", "002_b"]), result.stderr
    stands = "applied by this run and committed: 001_a, 002_b; nothing was left half done"
    assert result.report["outcome"] == stands
    assert database.query("SELECT 1 FROM schema_migrations WHERE version = '003_c'") == []


def test_a_cancel_by_somebody_else_after_the_commit_is_no_failure(
    database: Database, tmp_path: Path
) -> None:
    with tidying(database, tmp_path) as job:
        database.query(
            "SELECT pg_cancel_backend(pid) FROM pg_stat_activity"
            " WHERE application_name = 'migrator/tester' AND query LIKE '%migrator 002_b%'"
        )
        until(lambda: database.query(TIDIES) == [(False,)])  # it cleans up once more
    result = job.result()
    assert (result.code, result.applied) == (0, ["001_a", "002_b", "003_c"]), result.stderr
    events = database.query("SELECT event FROM schema_migrations_log WHERE version = '002_b'")
    assert events == [("applied",)]


def test_a_stop_while_the_row_behind_an_answered_commit_is_looked_for(
    database: Database, tmp_path: Path
) -> None:
    """The message's clean-up is cancelled by somebody else, is done over, and waits again."""
    with tidying(database, tmp_path) as job:
        database.query(
            "SELECT pg_cancel_backend(pid) FROM pg_stat_activity"
            " WHERE application_name = 'migrator/tester' AND query LIKE '%migrator 002_b%'"
        )
        until(lambda: database.query(TIDIES) == [(False,)])
        job.process.send_signal(signal.SIGTERM)
        result = job.result(timeout=STOP_SECONDS)
    assert (result.code, result.applied) == (23, ["001_a", "002_b"]), result.stderr
    stands = "applied by this run and committed: 001_a, 002_b; nothing was left half done"
    assert result.report["outcome"] == stands


def test_before_the_look_after_a_lost_commit_nobody_says_rolled_back(
    database: Database, proxy: MakeProxy, job: StartJob, termination_log: Path
) -> None:
    """The answer to COMMIT is lost, nobody can be reached, and then the stop comes."""
    gate = database.connect()
    gate.cursor().execute("SELECT pg_advisory_lock(42)")
    body = "CREATE TABLE b ();\nSELECT pg_advisory_xact_lock_shared(42);\n"
    cutter = proxy(database)
    cutter.cut_at(b"CREATE TABLE b", Cut.DONE)
    run = job(cutter.through(database.url), by=signal.SIGTERM, files={"002_b.sql": body})
    until(lambda: database.query("SELECT 1 FROM pg_locks WHERE NOT granted"))
    cutter.refuse()
    gate.close()
    run.hear("migration.retry")
    result = stop(run, signal.SIGTERM)
    unknown = "unknown: the connection was lost while 002_b ran; see `status`"
    is_told(result, signal.SIGTERM, unknown, termination_log)
    assert committed(database)


def test_twenty_stops_leave_the_pooler_alive(
    database: Database, pgbouncer: MakePgBouncer, tmp_path: Path
) -> None:
    """PgBouncer 1.18 dies when a cancel request is given up before it is answered."""
    pooler = pgbouncer(database, pool_mode="transaction", pool_size=2)
    folder = write_folder(tmp_path, {"001_a.sql": "SELECT pg_sleep(600)"})
    for _ in range(20):
        job = Job(pooler.url(database.dbname), folder)
        until(lambda: database.query(RUNNING, "%migrator 001_a%"))
        job.process.send_signal(signal.SIGTERM)
        result = job.result(timeout=STOP_SECONDS)
        assert (result.code, result.report["outcome"]) == (23, "001_a was rolled back")
    assert run_job(pooler.url(database.dbname), folder, "status").code == 0


SLEEP = "SELECT pg_sleep(600);"


@pytest.mark.alone
def test_when_nobody_reads_the_log_any_more(
    database: Database, tmp_path: Path, termination_log: Path
) -> None:
    """A full pipe must not keep a run from hearing, with its locks held."""
    chatter = "FOR n IN 1..1000 LOOP RAISE WARNING '%', repeat('x', 100); END LOOP"
    folder = write_folder(tmp_path / "m", {"001_a.sql": f"DO $$ BEGIN {chatter}; END $$; {SLEEP}"})
    reader, writer = os.pipe()
    with subprocess.Popen(
        [sys.executable, str(ROOT / "entrypoint.py")],
        env={
            **os.environ,
            "DATABASE_URL": database.url,
            "MIGRATIONS_DIR": str(folder),
            "TERMINATION_LOG": str(termination_log),
        },
        stderr=writer,
    ) as process:
        os.close(writer)
        until(lambda: database.query(RUNNING, "%migrator 001_a%"))
        until(lambda: database.query(f"{RUNNING} AND wait_event = 'PgSleep'", "%migrator 001_a%"))
        process.terminate()
        code = process.wait(timeout=2)
    os.close(reader)
    assert code == 23
    assert json.loads(termination_log.read_text())["outcome"] == "001_a was rolled back"
    until(lambda: not database.query(RUNNING, "%migrator 001_a%"))


@dataclass(frozen=True)
class Line:
    """A way to the database that can be killed."""

    database: Database
    url: str
    port: int
    connecting: str  #: how a connection to it hangs once it is dead: the state of its socket
    dead: Callable[[], AbstractContextManager[None]]


@pytest.fixture(scope="module")
def far_server() -> Iterator[Address]:
    """A server of these tests' own: what is dropped concerns nobody else."""
    yield from throw_away()


@pytest.fixture(params=["packets dropped both ways", "a frozen pooler"])
def line(
    request: pytest.FixtureRequest, far_server: Address, pgbouncer: MakePgBouncer
) -> Iterator[Line]:
    database = create_database(far_server)
    if request.param == "a frozen pooler":
        pooler = pgbouncer(database)
        url = pooler.url(database.dbname)
        yield Line(database, url, pooler.port, ESTABLISHED, lambda: frozen(pooler.pid))
    else:
        port = far_server.port
        yield Line(database, database.url, port, SYN_SENT, lambda: dropped(port))
    drop_database(database)


NO_SIGINT = pytest.mark.parametrize("by", [signal.SIGTERM, None], ids=["SIGTERM", "DEADLINE"])


@NO_SIGINT
def test_while_connecting_over_a_dead_network(
    line: Line, job: StartJob, termination_log: Path, by: By
) -> None:
    with line.dead():
        run = job(line.url, by=by)
        until(lambda: knocks(line.port, line.connecting))
        is_told(stop(run, by, DEAD_SECONDS), by, UNTOUCHED, termination_log)


@NO_SIGINT
def test_in_a_statement_over_a_dead_network(
    line: Line, job: StartJob, termination_log: Path, by: By
) -> None:
    run = job(line.url, by=by)
    until(lambda: line.database.query(RUNNING, "%migrator 002_b%"))
    until(lambda: line.database.query(OBSERVES))
    with line.dead():
        result = stop(run, by, DEAD_SECONDS)
    unknown = "unknown: 002_b was running, and the server did not answer any more"
    is_told(result, by, f"{unknown}; {STANDS}", termination_log)
    assert result.applied == ["001_a"]
    until(lambda: not line.database.query(RUNNING, "%migrator 002_b%"))  # the server ends it
    assert line.database.query(TABLES) == [(True, False)]
    assert line.database.query("SELECT version FROM schema_migrations") == [("001_a",)]


def test_in_a_body_of_many_messages_nothing_is_unknown(
    line: Line, job: StartJob, termination_log: Path
) -> None:
    """COMMIT comes in a message of its own, which was never sent."""
    rows = f"SELECT '{'x' * 700_000}';\n"
    files = {**FILES, "002_b.sql": rows + rows + "CREATE TABLE b ();\nSELECT pg_sleep(600);"}
    run = job(line.url, by=signal.SIGTERM, files=files)
    until(lambda: line.database.query(RUNNING, "%migrator 002_b%"))
    with line.dead():
        result = stop(run, signal.SIGTERM, DEAD_SECONDS)
    outcome = "002_b is not applied: its COMMIT was never sent"
    is_told(result, signal.SIGTERM, f"{outcome}; {STANDS}", termination_log)
    until(lambda: not line.database.query(RUNNING, "%migrator 002_b%"))
    assert line.database.query(TABLES) == [(True, False)]


@NO_SIGINT
def test_while_waiting_for_the_lock_over_a_dead_network(
    line: Line, job: StartJob, termination_log: Path, by: By
) -> None:
    with held(line.database):
        run = job(line.url, by=by)
        run.hear("lock.waiting")
        with line.dead():
            is_told(stop(run, by, DEAD_SECONDS), by, UNTOUCHED, termination_log)


@NO_SIGINT
def test_while_waiting_in_wait_over_a_dead_network(
    line: Line, job: StartJob, termination_log: Path, by: By
) -> None:
    run = job(line.url, "wait", by=by)
    run.hear("migrations.waiting")
    with line.dead():
        is_told(stop(run, by, DEAD_SECONDS), by, UNTOUCHED, termination_log)


@NO_SIGINT
def test_while_a_name_server_keeps_silent(
    job: StartJob, termination_log: Path, tmp_path: Path, by: By
) -> None:
    with closing(NameServer(lambda name: None)) as names:
        run = job("postgresql://u:s3cret@db.example/d", by=by, inside=names.inside(tmp_path))
        until(lambda: "db.example" in names.asked)
        is_told(stop(run, by, DEAD_SECONDS), by, UNTOUCHED, termination_log)
