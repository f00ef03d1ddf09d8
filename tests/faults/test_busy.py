"""Busy tables: who is in the way, against real blockers."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from threading import Thread
from time import monotonic
from types import SimpleNamespace
from typing import Any

import psycopg2
import pytest

from migrator.durations import Rhythm
from migrator.history.guard import lock_key
from migrator.model import Event
from migrator.postgres.blockers import OPEN_SECONDS, Observer
from tests.builders import RUN_ID, write_folder
from tests.conftest import Database, MakePgBouncer
from tests.gate import GATE, WAITS, gate
from tests.job import Job, Result, run_job, run_listening, until

BODY = "CREATE TABLE before ();\nALTER TABLE hot ADD COLUMN x int;\n"
WAITING = "SELECT 1 FROM pg_locks WHERE relation = 'hot'::regclass AND NOT granted"
LOCKED = {"locktype": "relation", "mode": "AccessExclusiveLock", "relation": "public.hot"}
#: Two attempts of 2 s, half of which is left for the look; in the second the connection is open.
TWICE = {"LOCK_TIMEOUT": "2s", "LOCK_RETRY_TIMEOUT": "1s"}

Block = Callable[..., Any]


@pytest.fixture
def block(database: Database) -> Iterator[Block]:
    """`block("SELECT * FROM hot")` opens a transaction as psql/<n>; closed with the test."""
    database.query("CREATE TABLE hot (id int)")
    with ExitStack() as stack:

        def start(sql: str, name: str = "psql") -> Any:
            connection = database.connect()
            stack.callback(connection.close)
            connection.autocommit = False
            connection.cursor().execute(f"SET application_name = '{name}'; {sql}")
            return connection

        yield start


def pid_of(connection: Any) -> int:
    return int(connection.info.backend_pid)


def test_a_busy_table_is_retried_whole_until_it_is_free(
    database: Database, block: Block, tmp_path: Path
) -> None:
    reader = block("SELECT * FROM hot")
    job = Job(database.url, write_folder(tmp_path, {"001_a.sql": BODY}), LOCK_TIMEOUT="50ms")
    until(lambda: database.query(WAITING))
    until(lambda: not database.query(WAITING))  # it gave up: readers do not queue behind it
    reader.close()
    result = job.result()
    assert (result.code, result.applied) == (0, ["001_a"]), result.stderr
    assert {line["sqlstate"] for line in result.of("migration.retry")} == {"55P03"}


def test_a_table_that_stays_busy_is_22(database: Database, block: Block, tmp_path: Path) -> None:
    reader = block("SELECT * FROM hot")
    folder = write_folder(tmp_path, {"001_a.sql": BODY})
    result = run_job(database.url, folder, **TWICE)
    assert result.code == 22
    assert result.report["outcome"] == "001_a was rolled back and is not applied"
    assert database.query("SELECT to_regclass('before')") == [(None,)]
    assert result.error["blockers"][0]["pid"] == pid_of(reader)
    assert f"public.hot is held or awaited by psql (pid {pid_of(reader)}" in result.error["message"]
    [end] = re.findall("`(.*?)`", result.error["remedy"])
    assert end == f"SELECT pg_terminate_backend({pid_of(reader)})"
    database.query(end)
    assert run_job(database.url, folder).code == 0


def refused(result: Result) -> list[dict[str, Any]]:
    """The refusals, of which the first may be over before there is a second connection."""
    first, *others = [*result.of("migration.retry"), result.error]
    assert others
    assert "blockers" in first or "blockers_unknown" in first
    return others


def test_each_refusal_says_who_blocks_but_not_what_he_asked(
    database: Database, block: Block, tmp_path: Path
) -> None:
    readers = [block("SELECT 'literal' FROM hot", f"app-{n}") for n in range(2)]
    folder = write_folder(tmp_path, {"001_a.sql": BODY})
    aged = "SELECT 1 FROM pg_stat_activity WHERE pid = %s AND xact_start < now() - interval '1s'"
    until(lambda: all(database.query(aged, pid_of(reader)) for reader in readers))
    settings = {"LOCK_TIMEOUT": "2s", "LOCK_RETRY_TIMEOUT": "4s"}
    result = run_job(database.url, folder, **settings)
    assert result.code == 22
    assert len(refused(result)) >= 2
    for line in refused(result):
        assert line["waits_for"] == LOCKED
        found = sorted(line["blockers"], key=lambda blocker: str(blocker["application_name"]))
        for n, (blocker, reader) in enumerate(zip(found, readers, strict=True)):
            assert blocker.pop("open_seconds") >= 1
            assert blocker == {
                "pid": pid_of(reader),
                "application_name": f"app-{n}",
                "user": database.user,
                "state": "idle in transaction",
            }
    assert "literal" not in result.stderr


def test_a_row_lock_names_its_table_too(database: Database, block: Block, tmp_path: Path) -> None:
    database.query("INSERT INTO hot VALUES (1)")
    block("UPDATE hot SET id = 2")
    folder = write_folder(tmp_path, {"001_a.sql": "UPDATE hot SET id = 3;"})
    result = run_job(database.url, folder, **TWICE)
    assert result.code == 22
    assert all("waits_for" in line for line in refused(result)), result.stderr
    assert {line["waits_for"]["locktype"] for line in refused(result)} == {"transactionid"}
    assert {line["waits_for"]["relation"] for line in refused(result)} == {"public.hot"}


def test_the_historys_table_that_is_locked_after_the_commit_is_no_refusal(
    database: Database, tmp_path: Path
) -> None:
    """Somebody gets it as our COMMIT lets it go, before the answer has read the row's ms."""
    folder = write_folder(tmp_path, {"001_a.sql": f"CREATE TABLE a ();\n{GATE}"})
    lock = "LOCK TABLE schema_migrations IN ACCESS EXCLUSIVE MODE"
    queued = "SELECT 1 FROM pg_locks WHERE relation = 'schema_migrations'::regclass AND NOT granted"
    with closing(database.connect()) as keeper:
        keeper.autocommit = False
        locking = Thread(target=keeper.cursor().execute, args=(lock,))
        with gate(database):
            job = Job(database.url, folder, LOCK_TIMEOUT="0")
            until(lambda: database.query(WAITS))
            locking.start()
            until(lambda: database.query(queued))
        result = job.result()
        locking.join()
    assert (result.code, result.applied) == (0, ["001_a"]), result.stderr
    assert result.of("migration.retry") == []
    assert database.query("SELECT version FROM schema_migrations") == [("001_a",)]


def test_a_prepared_transaction_is_named(database: Database, tmp_path: Path) -> None:
    if database.query("SHOW max_prepared_transactions") == [("0",)]:
        pytest.skip("needs max_prepared_transactions: unset TEST_DATABASE_URL")
    database.query("CREATE TABLE hot (id int)")
    name = f"left by {database.dbname}"
    database.query(f"BEGIN; LOCK TABLE hot; PREPARE TRANSACTION '{name}'")
    try:
        folder = write_folder(tmp_path, {"001_a.sql": BODY})
        result = run_job(database.url, folder, **TWICE)
    finally:
        database.query(f"ROLLBACK PREPARED '{name}'")
    assert result.code == 22
    assert f"`ROLLBACK PREPARED '{name}'`" in result.error["remedy"]
    assert {line["blockers"][0]["prepared_transaction"] for line in refused(result)} == {name}


@pytest.mark.parametrize("size", [1, 5])
def test_behind_a_pooler_the_second_connection_is_one_of_the_pool_or_none(
    database: Database, pgbouncer: MakePgBouncer, block: Block, tmp_path: Path, size: int
) -> None:
    block("SELECT * FROM hot")
    pooler = pgbouncer(database, pool_mode="transaction", pool_size=size)
    folder = write_folder(tmp_path, {"001_a.sql": BODY})
    result = run_job(pooler.url(database.dbname), folder, **TWICE)
    assert result.code == 22
    if size == 1:
        assert "second connection was not answered" in result.error["blockers_unknown"]
    else:
        assert result.error["waits_for"] == LOCKED
    assert result.of("observer.unavailable") == []


def test_a_second_connection_that_is_ended_is_opened_once_more(
    database: Database, block: Block, tmp_path: Path
) -> None:
    reader = block("SELECT * FROM hot")
    folder = write_folder(tmp_path, {"001_a.sql": BODY})
    job = Job(database.url, folder, LOCK_TIMEOUT="1s")
    observers = "SELECT pid FROM pg_stat_activity WHERE query LIKE '/* migrator observes */%'"
    first = until(lambda: database.query(observers))
    job.hear("migration.retry", attempt=1)
    database.query("SELECT pg_terminate_backend(%s)", first[0][0])
    until(lambda: [row for row in database.query(observers) if row not in first])
    job.hear("migration.retry", lambda line: line["attempt"] > 1 and "blockers" in line)
    reader.close()
    result = job.result()
    assert result.code == 0
    assert result.of("observer.unavailable") == []


@pytest.fixture
def single(database: Database) -> Iterator[Database]:
    """The database for a role that may have one connection."""
    database.query("DROP ROLE IF EXISTS single")
    database.query("CREATE ROLE single LOGIN PASSWORD 'x' CONNECTION LIMIT 1")
    database.query(f'GRANT ALL ON DATABASE "{database.dbname}" TO single')
    database.query("GRANT ALL ON SCHEMA public TO single")
    yield database.as_user("single", "x")
    database.query("DROP OWNED BY single; DROP ROLE single")


NO_SECOND = "too many connections for role"


def test_without_a_second_connection_the_run_goes_on_and_says_so_once(
    database: Database, single: Database, block: Block, tmp_path: Path
) -> None:
    database.query("ALTER TABLE hot OWNER TO single")
    reader = block("SELECT * FROM hot")
    job = Job(single.url, write_folder(tmp_path, {"001_a.sql": BODY}), LOCK_TIMEOUT="300ms")
    told = job.hear("migration.retry", lambda line: NO_SECOND in line["blockers_unknown"])
    job.hear("migration.retry", attempt=told["attempt"] + 2)
    reader.close()
    result = job.result()
    assert (result.code, result.applied) == (0, ["001_a"]), result.stderr
    (unavailable,) = result.of("observer.unavailable")
    assert NO_SECOND in unavailable["error"]
    for line in result.of("migration.retry")[told["attempt"] :]:
        assert NO_SECOND in line["blockers_unknown"]


def test_for_the_next_slow_migration_it_is_not_said_again(single: Database, tmp_path: Path) -> None:
    files = {f"{n:03}_slow.sql": "SELECT pg_sleep(1.5)" for n in (1, 2)}
    result = run_job(single.url, write_folder(tmp_path, files), PROGRESS_INTERVAL="500ms")
    assert (result.code, result.applied) == (0, ["001_slow", "002_slow"]), result.stderr
    slow = {line["version"] for line in result.of("migration.progress")}
    assert slow == {"001_slow", "002_slow"}
    (unavailable,) = result.of("observer.unavailable")
    assert NO_SECOND in unavailable["error"]


@pytest.mark.parametrize("sqlstate", ["40P01", "40001"])
def test_deadlocks_and_serialization_failures_are_retried_the_same_way(
    database: Database, tmp_path: Path, sqlstate: str
) -> None:
    database.query("CREATE SEQUENCE tries")
    body = (
        "CREATE TABLE a ();\n"
        "DO $$ BEGIN IF nextval('tries') < 3 THEN"
        f" RAISE EXCEPTION USING ERRCODE = '{sqlstate}', MESSAGE = 'refused'; END IF; END $$;\n"
    )
    result = run_job(database.url, write_folder(tmp_path, {"001_a.sql": body}))
    assert (result.code, result.applied) == (0, ["001_a"]), result.stderr
    assert [line["sqlstate"] for line in result.of("migration.retry")] == [sqlstate] * 2


def test_a_real_deadlock_is_told_by_pids_and_retried(
    database: Database, block: Block, tmp_path: Path
) -> None:
    """The other one holds `other` and then wants `hot`, of which the migration has a part."""
    database.query("CREATE TABLE other (id int)")
    database.query(f"ALTER DATABASE \"{database.dbname}\" SET deadlock_timeout = '2s'")
    holder = block("SET deadlock_timeout = '1h'; SET statement_timeout = '30s'; LOCK TABLE other")
    pid = pid_of(holder)
    body = "LOCK TABLE hot; LOCK TABLE other;"
    job = Job(database.url, write_folder(tmp_path, {"001_a.sql": body}), LOCK_TIMEOUT="0")
    until(
        lambda: database.query(
            "SELECT 1 FROM pg_locks WHERE relation = 'other'::regclass AND NOT granted"
        )
    )
    holder.cursor().execute("LOCK TABLE hot")  # the migration's deadlock check ends this wait
    holder.close()
    result = job.result()
    assert (result.code, result.applied) == (0, ["001_a"]), result.stderr
    (retry,) = result.of("migration.retry")
    assert retry["sqlstate"] == "40P01"
    assert f"blocked by process {pid}." in retry["detail"]


def test_old_transactions_that_hold_locks_are_told_before_the_first_attempt(
    database: Database, block: Block, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("migrator.postgres.blockers.OPEN_SECONDS", 0)
    holder = block("LOCK TABLE hot IN SHARE MODE", "report")
    idle = block("SELECT 1", "harmless")  # a transaction that holds no table
    result = run_job(database.url, write_folder(tmp_path, {"001_a.sql": "SELECT 1"}))
    assert result.code == 0
    (found,) = result.of("transaction.open")
    assert (found["pid"], found["application_name"]) == (pid_of(holder), "report")
    assert (found["relations"], found["level"]) == (["public.hot"], "warning")
    assert result.events.index("transaction.open") < result.events.index("migration.started")
    idle.close()


def test_an_old_prepared_transaction_is_told_of_too(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if database.query("SHOW max_prepared_transactions") == [("0",)]:
        pytest.skip("needs max_prepared_transactions: unset TEST_DATABASE_URL")
    monkeypatch.setattr("migrator.postgres.blockers.OPEN_SECONDS", 0)
    name = f"forgotten in {database.dbname}"
    database.query("CREATE TABLE hot (id int)")
    database.query(f"BEGIN; LOCK TABLE hot IN SHARE MODE; PREPARE TRANSACTION '{name}'")
    try:
        result = run_job(database.url, write_folder(tmp_path, {"001_a.sql": "SELECT 1"}))
    finally:
        database.query(f"ROLLBACK PREPARED '{name}'")
    (found,) = result.of("transaction.open")
    assert (found["prepared_transaction"], found["relations"]) == (name, ["public.hot"])


def test_a_backend_with_a_runner_s_name_that_runs_no_message_of_a_runner_s_has_no_name(
    database: Database, block: Block, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a pooler lends it."""
    monkeypatch.setattr("migrator.postgres.blockers.OPEN_SECONDS", 0)
    lent = block("LOCK TABLE hot IN ACCESS EXCLUSIVE MODE", "migrator/gone")
    folder = write_folder(tmp_path, {"001_a.sql": BODY})
    result = run_job(database.url, folder, **TWICE)
    assert result.code == 22
    (blocker,) = result.error["blockers"]
    (old, *_) = result.of("transaction.open")
    for found in (blocker, old):
        assert (found["pid"], "application_name" in found) == (pid_of(lent), False)


def test_a_role_that_may_see_little_is_told_what_it_may_see(
    database: Database, block: Block, tmp_path: Path
) -> None:
    """Without pg_read_all_stats the state and the age of others' transactions are hidden."""
    database.query("DROP ROLE IF EXISTS plain")
    database.query("CREATE ROLE plain LOGIN PASSWORD 'x'")
    database.query("GRANT ALL ON SCHEMA public TO plain; ALTER TABLE hot OWNER TO plain")
    reader = block("SELECT * FROM hot")
    known = {"pid": pid_of(reader), "user": database.user, "application_name": "psql"}
    try:
        folder = write_folder(tmp_path, {"001_a.sql": BODY})
        result = run_job(database.as_user("plain", "x").url, folder, **TWICE)
    finally:
        reader.close()
        database.query("DROP OWNED BY plain CASCADE; DROP ROLE plain")
    assert (result.code, result.error["waits_for"]) == (22, LOCKED)
    assert result.error["blockers"] == [known]


def test_the_time_for_busy_tables_does_not_run_while_another_runner_works(
    database: Database, block: Block, tmp_path: Path
) -> None:
    reader = block("SELECT * FROM hot")
    folder = write_folder(tmp_path, {"001_a.sql": BODY})
    settings = {"LOCK_TIMEOUT": "300ms", "LOCK_RETRY_TIMEOUT": "1500ms"}
    job = Job(database.url, folder, **settings)
    job.hear("migration.retry")
    with closing(database.connect()) as runner:
        runner.cursor().execute(f"SELECT pg_advisory_lock({lock_key('public')})")
        job.hear("lock.waiting", lambda line: line["waited_ms"] > 1500)
    before = job.heard()
    job.hear("migration.retry", lambda line: line not in before)
    reader.close()
    assert job.result().code == 0


def test_a_look_that_comes_just_after_the_refusal_does_not_hide_what_was_seen(
    database: Database, block: Block
) -> None:
    reader = block("SELECT * FROM hot")

    def another() -> Any:
        return psycopg2.connect(database.url, async_=True)

    session: Any = SimpleNamespace(another=another, server_version=150000)
    told: list[Event] = []
    observer = Observer(lambda: session, "001_a", Rhythm(0, 0.01, 0, 0.01), RUN_ID, told.append)
    began = monotonic()

    def looks(waiting: bool) -> bool:
        observer.step(began)
        return bool(told) and ("waits_for" in told[-1].fields) is waiting

    with closing(database.connect()) as own:
        wanted = f"/* migrator 001_a, run {RUN_ID} */ ALTER TABLE hot ADD x int"
        thread = Thread(target=lambda: refused_by(own, wanted))
        thread.start()
        until(lambda: looks(waiting=True))
        database.query("SELECT pg_cancel_backend(%s)", own.info.backend_pid)
        thread.join()
    until(lambda: looks(waiting=False))
    assert observer.take_seen()["blockers"][0]["pid"] == pid_of(reader)
    observer.end()


def refused_by(connection: Any, sql: str) -> None:
    with pytest.raises(psycopg2.errors.QueryCanceled):
        connection.cursor().execute(sql)


class Rival(io.StringIO):
    """A log whose reader is sooner at the lock after each refusal, and lets go when waited for."""

    def __init__(self, connection: Any) -> None:
        super().__init__()
        self.cursor = connection.cursor()

    def write(self, text: str) -> int:
        if '"migration.retry"' in text:
            self.cursor.execute(f"SELECT pg_advisory_lock({lock_key('public')})")
        elif '"lock.waiting"' in text:
            self.cursor.execute(f"SELECT pg_advisory_unlock({lock_key('public')})")
        return super().write(text)


def test_the_time_for_busy_tables_comes_to_its_end_however_often_another_runner_is_sooner(
    database: Database, block: Block, tmp_path: Path
) -> None:
    """Nor do the tries count as waiting for him."""
    block("SELECT * FROM hot")
    folder = write_folder(tmp_path, {"001_a.sql": BODY})
    settings = {"LOCK_TIMEOUT": "500ms", "LOCK_RETRY_TIMEOUT": "3s", "WAIT_TIMEOUT": "2s"}
    with closing(database.connect()) as rival:
        result = run_listening(Rival(rival), database.url, folder, **settings)
    assert (result.code, result.error["type"]) == (22, "BusyError"), result.stderr
    # each try takes LOCK_TIMEOUT: after the first no more than six fit into the limit
    assert 2 <= len(result.of("migration.retry")) <= 7
    assert len(result.of("lock.waiting")) >= 2


def test_young_transactions_are_nothing_to_tell(
    database: Database, block: Block, tmp_path: Path
) -> None:
    block("LOCK TABLE hot IN SHARE MODE")
    result = run_job(database.url, write_folder(tmp_path, {"001_a.sql": "SELECT 1"}))
    assert (result.code, result.of("transaction.open")) == (0, [])


def test_a_transaction_is_old_after_a_minute() -> None:
    """The tests above make it shorter."""
    assert OPEN_SECONDS == 60
