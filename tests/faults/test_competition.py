"""Any number of runners, in each way of pooling, and what they leave on pooled connections."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import psycopg2
import psycopg2.extensions
import pytest

from migrator.history.guard import lock_key
from tests.builders import chain, write_folder
from tests.conftest import Database, MakePgBouncer, MakeProxy
from tests.gate import GATE, WAITS, assert_applied_once, files_with_gate, gate
from tests.job import Job, run_job, until
from tests.ways import FILES, LENGTH, WAYS, way_to

#: Once it has asked something: a backend that is ended before that is no connection yet.
WAITER = """
SELECT pid FROM pg_stat_activity WHERE application_name = 'migrator/tester' AND query <> ''
"""


@pytest.mark.parametrize("files", FILES)
@pytest.mark.parametrize("way", WAYS)
def test_eight_runners_apply_each_migration_once_and_in_order(
    database: Database, pgbouncer: MakePgBouncer, tmp_path: Path, way: str, files: str
) -> None:
    url = way_to(database, pgbouncer, way)
    folder = write_folder(tmp_path, chain(LENGTH))
    with closing(database.connect()) as holder:
        holder.cursor().execute(f"SELECT pg_advisory_lock({lock_key('public')})")
        jobs = [Job(url, folder, FILES_PER_FLIGHT=files) for _ in range(8)]
        for job in jobs:  # else one could be through before the others have begun
            job.hear("lock.waiting")
    assert_applied_once(database, [job.result() for job in jobs], LENGTH)


@pytest.mark.parametrize("way", WAYS)
def test_a_waiter_names_the_holder_and_gives_up_with_21(
    database: Database, pgbouncer: MakePgBouncer, tmp_path: Path, way: str
) -> None:
    url = way_to(database, pgbouncer, way)
    folder = write_folder(tmp_path, chain(1))
    with ExitStack() as stack:
        connection = database.connect()
        stack.callback(connection.close)
        connection.cursor().execute("SET application_name = 'migrator/the-other'")
        mark = "/* migrator 001_step, run 00000000-0000-0000-0000-000000000000 */"
        connection.cursor().execute(f"{mark} SELECT pg_advisory_lock({lock_key('public')})")
        result = run_job(url, folder, WAIT_TIMEOUT="400ms")
    assert result.code == 21
    assert result.of("lock.waiting")[0]["holder"]["application_name"] == "migrator/the-other"
    assert "migrator/the-other" in result.error["message"]
    assert len(result.of("lock.waiting")) > 1  # it polls
    assert run_job(url, folder).code == 0


def test_wait_timeout_is_for_all_of_a_wait_however_often_the_lock_comes_free(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The poll finds it free each time, and each time somebody else is sooner."""
    monkeypatch.setattr("migrator.history.lock_wait.read_holder", lambda session, schema: None)
    with closing(database.connect()) as connection:
        connection.cursor().execute(f"SELECT pg_advisory_lock({lock_key('public')})")
        result = run_job(database.url, write_folder(tmp_path, chain(1)), WAIT_TIMEOUT="700ms")
    assert result.code == 21
    waited = [line["waited_ms"] for line in result.of("lock.waiting")]
    assert waited == sorted(waited)


def test_a_waiter_sends_its_file_when_the_lock_is_free_and_not_at_each_poll(
    database: Database, proxy: MakeProxy, tmp_path: Path
) -> None:
    """Each refused flight would stand in the server's log, as long as it is."""
    assert run_job(database.url, write_folder(tmp_path, chain(1))).code == 0
    counting = proxy(database)
    with closing(database.connect()) as holder:
        holder.cursor().execute(f"SELECT pg_advisory_lock({lock_key('public')})")
        folder = write_folder(tmp_path, {"002_step.sql": f"SELECT 1; -- {'x' * 500_000}"})
        job = Job(counting.through(database.url), folder)
        job.hear("lock.waiting")
        until(lambda: counting.flights > 8)
    result = job.result()
    assert (result.code, result.applied) == (0, ["002_step"]), result.stderr
    assert len(result.of("lock.waiting")) >= 5
    assert 2 * 500_000 < counting.bytes_up < 3 * 500_000


@pytest.mark.parametrize("body", ["SELECT 1", "-- migrator: no-transaction\nVACUUM"])
def test_a_waiter_that_loses_its_connection_goes_on_waiting(
    database: Database, tmp_path: Path, body: str
) -> None:
    """However often: it has sent nothing that could be lost, and no file is held to blame."""
    assert run_job(database.url, write_folder(tmp_path, chain(1))).code == 0
    with closing(database.connect()) as holder:
        holder.cursor().execute(f"SELECT pg_advisory_lock({lock_key('public')})")
        # its polls come ever later: the last loss comes longer after the first than this limit
        settings = {"CONNECT_TIMEOUT": "3s", "WAIT_TIMEOUT": "30s"}
        folder = write_folder(tmp_path, {"002_step.sql": body})
        job = Job(database.url, folder, **settings)
        job.hear("lock.waiting")
        ended: list[int] = []  # each is listed for a moment longer
        for attempt in range(1, 6):
            (pid,) = until(lambda: [p for (p,) in database.query(WAITER) if p not in ended])
            database.query("SELECT pg_terminate_backend(%s)", pid)
            ended.append(pid)
            job.hear("connection.retry", reason="lost", attempt=attempt)
        holder_pid = holder.info.backend_pid
    result = job.result()
    assert (result.code, result.applied) == (0, ["002_step"]), result.stderr
    assert result.of("migration.retry") == []
    assert {line["holder"]["pid"] for line in result.of("lock.waiting")} == {holder_pid}


@contextmanager
def a_full_pool(
    database: Database, pgbouncer: MakePgBouncer, mode: str, patience_seconds: int = 1
) -> Iterator[str]:
    """Within, another session has the only connection of a pool that waits for so long: its URL."""
    settings = {"query_wait_timeout": patience_seconds}
    pooler = pgbouncer(database, pool_mode=mode, pool_size=1, settings=settings)
    url = pooler.url(database.dbname)
    with closing(until(partial(connected, url))) as greedy:
        greedy.cursor().execute("SELECT 1")  # in a transaction that stays open
        yield url


def connected(url: str) -> psycopg2.extensions.connection | None:
    """None when the pooler gave up: on a busy machine its own login takes longer than a second."""
    try:
        return psycopg2.connect(url)
    except psycopg2.OperationalError:
        return None


FULL_MODES = pytest.mark.parametrize("mode", ["session", "transaction"])


@FULL_MODES
def test_a_full_pool_is_waited_for_however_often_the_pooler_gives_up(
    database: Database, pgbouncer: MakePgBouncer, tmp_path: Path, mode: str
) -> None:
    """For longer than CONNECT_TIMEOUT: another runner may be long at work on the connection."""
    folder = write_folder(tmp_path, chain(2))
    with a_full_pool(database, pgbouncer, mode) as url:
        job = Job(url, folder, CONNECT_TIMEOUT="1s")
        job.hear("connection.retry", reason="full", attempt=3)
    assert_applied_once(database, [job.result()], 2)


def test_for_a_file_that_needs_a_session_a_full_pool_is_waited_for_too(
    database: Database, pgbouncer: MakePgBouncer, tmp_path: Path
) -> None:
    folder = write_folder(tmp_path, {"001_a.sql": "-- migrator: no-transaction\nVACUUM"})
    with a_full_pool(database, pgbouncer, "session") as url:
        job = Job(None, folder, DIRECT_URL=url, CONNECT_TIMEOUT="1s")
        job.hear("connection.retry", reason="full", attempt=3)
    result = job.result()
    assert (result.code, result.applied) == (0, ["001_a"]), result.stderr


@FULL_MODES
def test_a_pool_that_stays_full_is_21(
    database: Database, pgbouncer: MakePgBouncer, tmp_path: Path, mode: str
) -> None:
    with a_full_pool(database, pgbouncer, mode) as url:
        result = run_job(url, write_folder(tmp_path, chain(1)), WAIT_TIMEOUT="2s")
    assert result.code == 21
    spare = "no connection to spare within WAIT_TIMEOUT: FATAL:  query_wait_timeout"
    assert spare in result.error["message"]
    assert result.report["outcome"] == "nothing was changed"


@FULL_MODES
def test_a_queue_without_an_end_is_21_too(
    database: Database, pgbouncer: MakePgBouncer, tmp_path: Path, mode: str
) -> None:
    """For longer than CONNECT_TIMEOUT: the pooler answers the login by itself."""
    settings = {"CONNECT_TIMEOUT": "2s", "LOCK_TIMEOUT": "100ms", "WAIT_TIMEOUT": "5s"}
    with a_full_pool(database, pgbouncer, mode, patience_seconds=0) as url:
        result = run_job(url, write_folder(tmp_path, chain(1)), **settings)
    assert result.code == 21, result.stderr
    assert "no connection to spare within WAIT_TIMEOUT" in result.error["message"]


def test_a_flight_in_a_poolers_queue_is_not_held_to_be_lost(
    database: Database, pgbouncer: MakePgBouncer, proxy: MakeProxy, tmp_path: Path
) -> None:
    """The other runner is at work on the only connection for longer than the pooler waits."""
    settings = {"query_wait_timeout": 1}
    pooler = pgbouncer(database, pool_mode="transaction", pool_size=1, settings=settings)
    url = pooler.url(database.dbname)
    held = proxy(url)
    held.hold_at(b"CREATE TABLE t1 ")
    folder = write_folder(tmp_path, files_with_gate(2, at=1))
    second = Job(held.through(url), folder)
    until(lambda: held.holding)
    with gate(database):
        first = Job(url, folder, LOCK_TIMEOUT="0")
        until(lambda: database.query(WAITS))
        held.let_go()
        second.hear("connection.retry", reason="full", attempt=6)  # five losses would be 15
    results = [first.result(), second.result()]
    assert_applied_once(database, results, 2)
    assert [result.of("migration.retry") for result in results] == [[], []]


NOT_KNOWN = "a session whose name is not known"


@pytest.mark.parametrize("name", ["web", "migrator/the-other"])
@pytest.mark.parametrize("way", ["direct", "transaction"])
def test_a_holder_whose_name_is_not_proved_is_given_none(
    database: Database, pgbouncer: MakePgBouncer, tmp_path: Path, way: str, name: str
) -> None:
    """A pooler's backend keeps the lock, and the name of the client that used it last."""
    url = way_to(database, pgbouncer, way)
    assert run_job(url, write_folder(tmp_path, chain(1))).code == 0
    folder = write_folder(tmp_path, chain(2))
    lock = f"SELECT pg_advisory_lock({lock_key('public')})"
    with closing(psycopg2.connect(url)) as lent:
        with lent.cursor() as cursor:  # in a transaction: the backend is not lent to the waiter
            cursor.execute(f"{lock}; SET application_name = '{name}'")
        pid = lent.info.backend_pid if way == "direct" else holder_of_the_lock(database)
        result = run_job(url, folder, WAIT_TIMEOUT="100ms")
        looked = run_job(url, folder, "status", "--json")
    database.query("SELECT pg_terminate_backend(%s)", pid)
    assert result.code == 21
    assert f"held by {NOT_KNOWN} (pid {pid})" in result.error["message"]
    seen = {"pid": pid, "who": NOT_KNOWN}
    for found in (result.error["holder"], result.of("lock.waiting")[0]["holder"]):
        assert {key: found[key] for key in found if key != "since"} == seen
    found = json.loads(looked.stdout)["at_work"]
    assert {key: found[key] for key in found if key != "since"} == seen


def holder_of_the_lock(database: Database) -> int:
    query = "SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND database = %s::oid"
    [(oid,)] = database.query("SELECT oid FROM pg_database WHERE datname = current_database()")
    [(pid,)] = database.query(query, oid)
    assert isinstance(pid, int)
    return pid


@pytest.mark.parametrize("way", ["direct", "transaction"])
@pytest.mark.parametrize(
    ("sql", "named"),
    [
        pytest.param(GATE, "migrator/tester", id="a flight"),
        pytest.param(
            f"SET application_name = 'web';\n{GATE}",
            "a runner whose name is not known",
            id="renamed",
        ),
    ],
)
def test_a_runner_at_work_is_named_by_its_message(
    database: Database, pgbouncer: MakePgBouncer, tmp_path: Path, way: str, sql: str, named: str
) -> None:
    """Its backend bore the name of another client before."""
    url = way_to(database, pgbouncer, way)
    with closing(psycopg2.connect(url)) as other:
        other.cursor().execute("SET application_name = 'web'")
        other.commit()
    folder = write_folder(tmp_path, {"001_slow.sql": sql})
    with gate(database):
        first = Job(url, folder, LOCK_TIMEOUT="0")
        run_id = first.hear("run.started")["run_id"]
        until(lambda: database.query(WAITS))
        waiter = run_job(url, folder, WAIT_TIMEOUT="100ms")
    assert first.result().code == 0
    assert waiter.code == 21
    assert f"held by {named} (pid " in waiter.error["message"]
    holder = waiter.error["holder"]
    assert (holder["version"], holder["run_id"]) == ("001_slow", run_id)


def test_another_history_in_the_same_database_does_not_wait(
    database: Database, tmp_path: Path
) -> None:
    connection = database.connect()
    connection.cursor().execute(f"SELECT pg_advisory_lock({lock_key('public')})")
    folder = write_folder(tmp_path, chain(1))
    assert run_job(database.url, folder, MIGRATIONS_SCHEMA="other").code == 0
    connection.close()


#: All that a file may leave on a session, as each pooled backend shows it of itself.
LEFT = """
SELECT pg_backend_pid(), jsonb_strip_nulls(jsonb_build_object(
  'locks', (SELECT jsonb_agg(locktype) FROM pg_locks
             WHERE pid = pg_backend_pid() AND locktype = 'advisory'),
  'settings', (SELECT jsonb_agg(name || '=' || setting) FROM pg_settings
                WHERE source = 'session' AND name NOT IN
                      ('application_name', 'client_encoding', 'DateStyle', 'TimeZone')),
  'role', nullif(current_user, session_user),
  'session_user', nullif(session_user, %s),
  'temp tables', (SELECT jsonb_agg(relname) FROM pg_class
                   WHERE relnamespace = pg_my_temp_schema()),
  'cursors', (SELECT jsonb_agg(name) FROM pg_cursors WHERE is_holdable),
  'statements', (SELECT jsonb_agg(name) FROM pg_prepared_statements WHERE from_sql),
  'channels', (SELECT jsonb_agg(channel) FROM pg_listening_channels() AS channel)))
"""
DIRTY = """
SET work_mem = '7MB'; SET statement_timeout = '9min'; SET search_path = nowhere;
SELECT set_config('lock_timeout', '8min', false);
CREATE TEMP TABLE leftover (id int);
SELECT pg_advisory_lock(4711);
LISTEN gossip;
PREPARE question AS SELECT 1;
DECLARE cursor_of_mine CURSOR WITH HOLD FOR SELECT 1;
SET ROLE guest;
SET SESSION AUTHORIZATION guest;
"""


def left_on_each(url: str, database: Database, size: int) -> dict[int, Any]:
    """What each of the `size` backends of a pool shows, asked in as many transactions at once."""
    found: dict[int, Any] = {}
    with ExitStack() as stack:
        for _ in range(size):
            connection = psycopg2.connect(url)
            stack.callback(connection.close)
            stack.callback(connection.rollback)  # else the pooler would end the backend too
            cursor = connection.cursor()
            cursor.execute(LEFT, (database.user,))
            found.update(cursor.fetchall())
    return found


@pytest.mark.parametrize("end", ["", "SELECT 1/0;"], ids=["a success", "a failure"])
@pytest.mark.parametrize("mode", ["session", "transaction"])
@pytest.mark.parametrize("round_robin", [0, 1])
def test_nothing_is_left_on_pooled_connections(
    database: Database,
    pgbouncer: MakePgBouncer,
    tmp_path: Path,
    mode: str,
    round_robin: int,
    end: str,
) -> None:
    """PgBouncer's own clean-up is off, so that what is left would be seen."""
    size = 3
    database.query("CREATE ROLE guest")
    try:
        settings = {"server_round_robin": round_robin, "server_reset_query": ""}
        pooler = pgbouncer(database, pool_mode=mode, pool_size=size, settings=settings)
        url = pooler.url(database.dbname)
        before = left_on_each(url, database, size)
        assert len(before) == size
        files = {**chain(4), "005_dirty.sql": DIRTY + end, "006_last.sql": "SELECT 1;"}
        results = [run_job(url, write_folder(tmp_path, files)) for _ in range(2)]
        assert {result.code for result in results} == {15 if end else 0}, results[0].stderr
        after = left_on_each(url, database, size)
    finally:
        database.query("DROP ROLE guest")
    assert set(after) == set(before)
    assert list(after.values()) == [{}] * size


@pytest.mark.parametrize("mode", ["session", "transaction"])
def test_nothing_is_left_on_pooled_connections_by_a_run_that_is_stopped(
    database: Database, pgbouncer: MakePgBouncer, tmp_path: Path, mode: str
) -> None:
    """A session's lock outlives the cancel and the roll-back.

    The backends are the same ones: the pooler ends one that comes back in a transaction.
    """
    pooler = pgbouncer(database, pool_mode=mode, pool_size=3, settings={"server_reset_query": ""})
    url = pooler.url(database.dbname)
    before = left_on_each(url, database, 3)
    assert len(before) == 3
    dirty = DIRTY.partition("SET ROLE")[0] + GATE
    with gate(database):
        job = Job(url, write_folder(tmp_path, {"001_dirty.sql": dirty}), LOCK_TIMEOUT="0")
        until(lambda: database.query(WAITS))
        job.process.send_signal(signal.SIGTERM)
        assert job.result().code == 23
    after = left_on_each(url, database, 3)
    assert set(after) == set(before)
    assert list(after.values()) == [{}] * 3


def test_what_a_pooled_connection_would_show_is_seen(
    database: Database, pgbouncer: MakePgBouncer
) -> None:
    """The test above can fail: the same file, run by hand, leaves all of it."""
    database.query("CREATE ROLE guest")
    try:
        settings = {"server_reset_query": ""}
        pooler = pgbouncer(database, pool_mode="session", pool_size=1, settings=settings)
        connection = psycopg2.connect(pooler.url(database.dbname))
        connection.autocommit = True
        connection.cursor().execute(DIRTY.partition("SET ROLE")[0])
        connection.close()
        (found,) = left_on_each(pooler.url(database.dbname), database, 1).values()
    finally:
        database.query("DROP ROLE guest")
    assert set(found) == {"locks", "settings", "temp tables", "cursors", "statements", "channels"}
