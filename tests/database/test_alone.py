"""No-transaction migrations on a real server: what runs, on which session, and what is refused."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import psycopg2
import pytest

from migrator.history.journal import take_lock
from migrator.history.place import Limits
from migrator.sql import effects
from tests.builders import PLACE, write_folder
from tests.conftest import Database, MakePgBouncer, MakeProxy
from tests.job import Job, Listener, run_job, run_listening, until
from tests.pgbouncer import PgBouncer
from tests.proxy import Cut, Proxy

ALONE = "-- migrator: no-transaction\n"
TABLE = {"001_table.sql": "CREATE TABLE t (a int, b text);\n"}
INDEX = {"002_index.sql": f"{ALONE}CREATE INDEX CONCURRENTLY t_a ON t (a);\n"}
VALID = "SELECT indexrelid::regclass::text, indisvalid FROM pg_index WHERE indrelid = 't'::regclass"
VERSIONS = "SELECT version FROM schema_migrations ORDER BY version"
LOG = "SELECT event, detail FROM schema_migrations_log WHERE version = %s ORDER BY id"
LOCKS = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'"


@pytest.fixture
def writer(database: Database) -> Iterator[Any]:
    """A transaction that may have written t: every concurrent build on t waits for it."""
    database.query(TABLE["001_table.sql"])
    connection = database.connect()
    connection.autocommit = False
    connection.cursor().execute("LOCK TABLE t IN ROW EXCLUSIVE MODE")
    yield connection
    connection.close()


def test_a_no_transaction_file_runs_between_others_and_is_recorded(
    database: Database, tmp_path: Path
) -> None:
    files = {**TABLE, **INDEX, "003_last.sql": "CREATE TABLE last ();"}
    result = run_job(database.url, write_folder(tmp_path, files))
    assert (result.code, result.applied) == (0, ["001_table", "002_index", "003_last"])
    assert database.query(VALID) == [("t_a", True)]
    rows = database.query(LOG, "002_index")
    assert [event for event, _ in rows] == ["intent", "outcome", "applied"]
    intent, outcome, applied = (detail for _, detail in rows)
    assert (intent["statement"], intent["line"], intent["before"]) == (1, 2, {})
    assert (outcome["how"], outcome["sha256"]) == ("ran", intent["sha256"])
    assert applied["execution_time_ms"] == outcome["execution_time_ms"]
    assert "CREATE INDEX" not in json.dumps([outcome, applied])
    assert database.query(LOCKS) == [(0,)]


def test_without_the_directive_the_line_to_add_is_said(database: Database, tmp_path: Path) -> None:
    text = "CREATE TABLE t (a int);\nCREATE INDEX CONCURRENTLY i ON t (a);"
    result = run_job(database.url, write_folder(tmp_path, {"001_a.sql": text}))
    assert result.code == 10
    [finding] = result.report["findings"]
    assert finding["problem"] == "CREATE INDEX CONCURRENTLY cannot run inside a transaction"
    assert "`-- migrator: no-transaction`" in finding["remedy"]


def test_a_file_of_one_such_statement_needs_no_directive(
    database: Database, tmp_path: Path
) -> None:
    database.query("CREATE TABLE t (a int)")
    folder = write_folder(tmp_path, {"001_a.sql": "CREATE INDEX CONCURRENTLY i ON t (a);"})
    result = run_job(database.url, folder)
    assert result.applied == ["001_a"], result.stderr
    assert database.query("SELECT indisvalid FROM pg_index WHERE indexrelid = 'i'::regclass") == [
        (True,)
    ]


def test_role_search_path_and_settings_of_the_file_last_to_its_end_and_no_further(
    database: Database, tmp_path: Path
) -> None:
    role = f"{database.dbname}_role"
    database.query(f"CREATE ROLE {role}; CREATE SCHEMA s AUTHORIZATION {role}")
    text = (
        f"{ALONE}SET ROLE {role};\nSET search_path = s;\nSET statement_timeout = '1h';\n"
        "CREATE TABLE t (a int);\nCREATE INDEX CONCURRENTLY i ON t (a);\nVACUUM t;\n"
    )
    check = "DO $$ BEGIN ASSERT current_user = session_user AND current_schema = 'public'; END $$"
    files = {"001_role.sql": text, "002_next.sql": check}
    result = run_job(database.url, write_folder(tmp_path, files))
    assert result.code == 0, result.stderr
    assert database.query("SELECT relowner::regrole::text FROM pg_class WHERE relname = 'i'") == [
        (role,)
    ]
    database.query(f"DROP OWNED BY {role}; DROP ROLE {role}")


def test_a_login_that_is_given_another_role_at_once_runs_such_files_as_that(
    database: Database, tmp_path: Path
) -> None:
    """By ALTER ROLE … SET role; it may do nothing as itself, as it does not inherit."""
    owner, login = f"{database.dbname}_owner", f"{database.dbname}_login"
    database.query(
        f"CREATE ROLE {owner}; GRANT CREATE ON SCHEMA public TO {owner};"
        f"CREATE ROLE {login} LOGIN NOINHERIT PASSWORD 'x' IN ROLE {owner};"
        f"ALTER ROLE {login} SET role = {owner}"
    )
    files = {**TABLE, "002_index.sql": f"{ALONE}SET ROLE NONE;\nSET ROLE {owner};\n"}
    files["002_index.sql"] += "CREATE INDEX CONCURRENTLY t_a ON t (a);\nVACUUM t;\n"
    result = run_job(database.as_user(login, "x").url, write_folder(tmp_path, files))
    assert (result.code, result.applied) == (0, ["001_table", "002_index"]), result.stderr
    database.query(f"DROP OWNED BY {owner}; DROP ROLE {login}, {owner}")


def test_a_file_that_was_stopped_gets_its_settings_again(
    database: Database, proxy: MakeProxy, tmp_path: Path
) -> None:
    database.query("CREATE SCHEMA s")
    text = f"{ALONE}SET search_path = s;\nCREATE TABLE t (a int);\nCREATE TABLE u (a int);\n"
    folder = write_folder(tmp_path, {"001_path.sql": text})
    cutter = proxy(database)
    cutter.cut_at(b"CREATE TABLE u", Cut.BEFORE)
    assert run_job(cutter.through(database.url), folder).code == 0
    assert database.query("SELECT to_regclass('s.t')::text, to_regclass('s.u')::text") == [
        ("s.t", "s.u")
    ]


def test_a_refused_statement_leaves_the_others_standing_and_the_rest_may_be_mended(
    database: Database, tmp_path: Path
) -> None:
    text = f"{ALONE}CREATE TABLE t (a int);\nINSERT INTO t\n  SELECT 1/0;\nCREATE TABLE u ();\n"
    folder = write_folder(tmp_path, {"001_a.sql": text})
    result = run_job(database.url, folder)
    assert result.code == 15
    assert (result.error["line"], result.error["sqlstate"]) == (3, "22012")
    assert result.report["outcome"] == ("001_a is not finished; done and committed: statement 1")
    [shown] = json.loads(run_job(database.url, folder, "status", "--json").stdout)["migrations"]
    assert shown["state"] == "dirty"
    assert run_job(database.url, folder, "verify").code == 14
    write_folder(folder, {"001_a.sql": text.replace("1/0", "1")})
    assert run_job(database.url, folder).code == 0
    assert database.query("SELECT a FROM t") == [(1,)]


def test_a_refused_first_statement_leaves_nothing_dirty(database: Database, tmp_path: Path) -> None:
    folder = write_folder(tmp_path, {"001_a.sql": f"{ALONE}VACUUM nothing;\n"})
    result = run_job(database.url, folder)
    assert (result.code, result.error["line"], result.error["column"]) == (15, 2, 1)
    assert result.report["outcome"] == "001_a is not applied, and nothing of it is left"
    assert run_job(database.url, folder, "verify").code == 24


def test_a_file_that_takes_long_to_be_taken_apart_keeps_its_session(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half a second stands for the minute that the session may be silent."""
    monkeypatch.setattr("migrator.history.journal.LIVELY", "SET idle_session_timeout = 500")
    text = f"{ALONE}CREATE TABLE t (a int);\nSELECT 1/0;\n" + "SELECT 1;\n" * 40_000
    folder = write_folder(tmp_path, {"001_a.sql": text})
    for _ in range(2):
        result = run_job(database.url, folder)
        assert (result.code, result.error["sqlstate"]) == (15, "22012"), result.stderr
        assert result.of("migration.retry") == []
    [(begun,)] = database.query("SELECT count(*) FROM schema_migrations_log WHERE event = 'failed'")
    assert begun == 2


def test_what_has_run_may_not_be_changed(database: Database, tmp_path: Path) -> None:
    text = f"{ALONE}CREATE TABLE t (a int);\nSELECT 1/0;\n"
    folder = write_folder(tmp_path, {"001_a.sql": text})
    assert run_job(database.url, folder).code == 15
    write_folder(folder, {"001_a.sql": text.replace("(a int)", "(b int)")})
    result = run_job(database.url, folder)
    assert result.code == 14
    assert "statement 1 has run, and the file has changed it since" in result.error["message"]
    write_folder(folder, {"001_a.sql": "CREATE TABLE t (a int);\n"})
    result = run_job(database.url, folder)
    assert result.code == 14
    assert "now it is none" in result.error["message"]


def test_a_unique_index_over_duplicates_is_refused_and_leaves_no_invalid_index(
    database: Database, tmp_path: Path
) -> None:
    database.query("CREATE TABLE t (a int); INSERT INTO t VALUES (1), (1)")
    text = f"{ALONE}CREATE UNIQUE INDEX CONCURRENTLY t_a ON t (a);\n"
    folder = write_folder(tmp_path, {"001_a.sql": text})
    result = run_job(database.url, folder)
    assert (result.code, result.error["sqlstate"]) == (15, "23505")
    assert database.query(VALID) == []
    database.query("DELETE FROM t")
    assert run_job(database.url, folder).code == 0
    assert database.query(VALID) == [("t_a", True)]


def test_an_invalid_index_that_was_there_before_is_never_passed_over(
    database: Database, writer: Any, tmp_path: Path
) -> None:
    build = "CREATE INDEX CONCURRENTLY IF NOT EXISTS t_a ON t (a)"
    with_timeout = database.connect()
    with_timeout.cursor().execute("SET lock_timeout = '10ms'")
    with pytest.raises(Exception, match="lock timeout"):
        with_timeout.cursor().execute(build)
    with_timeout.close()
    folder = write_folder(tmp_path, {"001_a.sql": f"{ALONE}{build};\n"})
    writer.close()
    result = run_job(database.url, folder)
    assert result.code == 14
    assert "public.t_a is INVALID, and was there before this migration" in result.error["message"]
    assert "DROP INDEX CONCURRENTLY public.t_a" in result.error["remedy"]
    assert database.query(VALID) == [("t_a", False)]
    database.query("DROP INDEX t_a")
    assert run_job(database.url, folder).code == 0
    assert database.query(VALID) == [("t_a", True)]


def test_reindex_does_not_pass_over_an_invalid_index_in_silence(
    database: Database, writer: Any, tmp_path: Path
) -> None:
    connection = database.connect()
    connection.cursor().execute("SET lock_timeout = '10ms'")
    with pytest.raises(Exception, match="lock timeout"):
        connection.cursor().execute("CREATE INDEX CONCURRENTLY t_a ON t (a)")
    connection.close()
    writer.close()
    text = f"{ALONE}REINDEX TABLE CONCURRENTLY t;\n"
    folder = write_folder(tmp_path, {"001_a.sql": text})
    result = run_job(database.url, folder)
    assert result.code == 14
    assert "INVALID, and passed over: public.t_a" in result.error["message"]
    database.query("REINDEX INDEX CONCURRENTLY t_a")
    assert run_job(database.url, folder).code == 0


def test_a_build_waits_for_longer_than_lock_timeout(
    database: Database, writer: Any, tmp_path: Path
) -> None:
    """What is built concurrently keeps nobody waiting while it waits."""
    folder = write_folder(tmp_path, {"001_a.sql": INDEX["002_index.sql"]})
    job = Job(database.url, folder, LOCK_TIMEOUT="20ms", PROGRESS_INTERVAL="50ms")
    lines = iter(job.process.stderr or ())
    assert any('"migration.progress"' in line and '"CREATE INDEX' in line for line in lines)
    writer.close()
    result = job.result()
    assert result.code == 0, result.stderr
    assert "migration.retry" not in result.events


def test_a_build_that_gives_up_is_dropped_and_tried_again(
    database: Database, writer: Any, tmp_path: Path
) -> None:
    text = "-- migrator: lock-timeout 50ms\n" + INDEX["002_index.sql"]
    job = Job(database.url, write_folder(tmp_path, {"001_a.sql": text}))
    lines = iter(job.process.stderr or ())
    assert any('"migration.retry"' in line for line in lines)
    writer.close()
    result = job.result()
    assert result.code == 0, result.stderr
    assert database.query(VALID) == [("t_a", True)]


def test_a_build_that_never_gets_its_locks_is_22_and_settled_by_the_next_run(
    database: Database, writer: Any, tmp_path: Path
) -> None:
    text = "-- migrator: lock-timeout 50ms\n" + INDEX["002_index.sql"]
    folder = write_folder(tmp_path, {"001_a.sql": text})
    result = run_job(database.url, folder, LOCK_RETRY_TIMEOUT="300ms")
    assert result.code == 22
    assert result.report["outcome"] == "001_a is not finished; statement 1 is to be settled"
    writer.close()
    assert run_job(database.url, folder).code == 0
    assert database.query(VALID) == [("t_a", True)]


def test_a_build_that_has_waited_for_all_of_lock_retry_timeout_is_not_tried_again(
    database: Database, writer: Any, tmp_path: Path
) -> None:
    folder = write_folder(tmp_path, {"001_a.sql": INDEX["002_index.sql"]})
    result = run_job(database.url, folder, LOCK_TIMEOUT="50ms", LOCK_RETRY_TIMEOUT="300ms")
    assert result.code == 22
    assert "migration.retry" not in result.events
    writer.close()
    assert run_job(database.url, folder).code == 0
    assert database.query(VALID) == [("t_a", True)]


def test_a_build_without_a_limit_for_locks_waits_beyond_lock_retry_timeout(
    database: Database, writer: Any, tmp_path: Path
) -> None:
    folder = write_folder(tmp_path, {"001_a.sql": INDEX["002_index.sql"]})
    job = Job(database.url, folder, LOCK_TIMEOUT="0", LOCK_RETRY_TIMEOUT="50ms")
    waits = (
        "SELECT 1 FROM pg_locks JOIN pg_stat_activity USING (pid) WHERE locktype = 'virtualxid'"
        " AND NOT granted AND clock_timestamp() - query_start > interval '300ms'"
    )
    until(lambda: database.query(waits))
    writer.close()
    result = job.result()
    assert (result.code, result.of("migration.retry")) == (0, []), result.stderr
    assert database.query(VALID) == [("t_a", True)]


def test_statement_timeout_is_the_file_s_own(database: Database, tmp_path: Path) -> None:
    slow = f"{ALONE}SELECT pg_sleep(0.2);\n"
    folder = write_folder(tmp_path, {"001_a.sql": slow})
    assert run_job(database.url, folder, STATEMENT_TIMEOUT="50ms").code == 0
    limited = f"-- migrator: statement-timeout 50ms\n{slow}"
    result = run_job(database.url, write_folder(folder, {"002_b.sql": limited}))
    assert (result.code, result.error["sqlstate"]) == (15, "57014")
    assert "-- migrator: statement-timeout 50ms" in result.error["remedy"]


def test_whoever_gets_the_lock_has_what_frees_it_on_a_dead_network_and_nobody_else(
    database: Database,
) -> None:
    text = take_lock(PLACE, Limits(search_path=("s",)))
    set_to = "SELECT current_setting('tcp_keepalives_idle'), current_setting('search_path')"
    with closing(database.connect()) as first, closing(database.connect()) as second:
        with first.cursor() as cursor:
            cursor.execute(text)
            cursor.execute(set_to)
            assert cursor.fetchall() == [("10", "s")]
        with second.cursor() as cursor:
            cursor.execute(set_to)
            before = cursor.fetchall()
            with pytest.raises(psycopg2.Error, match="another runner holds the lock"):
                cursor.execute(text)
            cursor.execute(set_to)
            assert cursor.fetchall() == before != [("10", "s")]


def test_two_runners_apply_a_no_transaction_file_once(database: Database, tmp_path: Path) -> None:
    text = f"{ALONE}INSERT INTO t VALUES (1);\nVACUUM t;\nCREATE INDEX CONCURRENTLY i ON t (a);\n"
    folder = write_folder(
        tmp_path,
        {
            **TABLE,
            "002_a.sql": text,
            **{"003_b.sql": f"{ALONE}INSERT INTO t VALUES (2);\nVACUUM t;\n"},
        },
    )
    jobs = [Job(database.url, folder) for _ in range(4)]
    results = [job.result() for job in jobs]
    assert [result.code for result in results] == [0] * 4, [r.stderr for r in results]
    applied = sorted(version for result in results for version in result.applied)
    assert applied == ["001_table", "002_a", "003_b"]
    assert database.query("SELECT a FROM t ORDER BY a") == [(1,), (2,)]
    assert database.query(LOCKS) == [(0,)]


def test_a_build_does_not_wait_for_another_runner_that_waits_for_it(
    database: Database, writer: Any, tmp_path: Path
) -> None:
    folder = write_folder(tmp_path, {"001_a.sql": INDEX["002_index.sql"]})
    builder = Job(database.url, folder)
    until(lambda: database.query(VALID))
    waiter = Job(database.url, folder)
    lines = iter(waiter.process.stderr or ())
    assert any('"lock.waiting"' in line for line in lines)
    writer.close()
    assert [builder.result().code, waiter.result().code] == [0, 0]
    assert database.query(VALID) == [("t_a", True)]


def test_a_stop_between_two_runs_leaves_no_lock(
    database: Database, writer: Any, tmp_path: Path
) -> None:
    folder = write_folder(tmp_path, {"001_a.sql": INDEX["002_index.sql"]})
    job = Job(database.url, folder)
    until(lambda: database.query(VALID))
    job.process.send_signal(signal.SIGTERM)
    assert job.result().code == 23
    assert database.query(LOCKS) == [(0,)]


def test_behind_a_pooler_of_which_nothing_is_known_nothing_is_run(
    database: Database, pgbouncer: MakePgBouncer, tmp_path: Path
) -> None:
    pooler = pgbouncer(database, pool_mode="transaction", pool_size=1)
    folder = write_folder(tmp_path, {**TABLE, **INDEX})
    result = run_job(pooler.url(database.dbname), folder)
    assert result.code == 2
    assert "Set DIRECT_URL" in result.error["remedy"]
    assert database.query("SELECT to_regclass('t'), to_regclass('schema_migrations')") == [
        (None, None)
    ]
    assert run_job(pooler.url(database.dbname), folder, "plan").code == 2


@pytest.mark.parametrize("way", ["direct", "session mode"])
def test_direct_url_is_trusted_as_it_is_given(
    database: Database, pgbouncer: MakePgBouncer, tmp_path: Path, way: str
) -> None:
    pooler = pgbouncer(database, pool_mode="transaction", pool_size=1)
    direct = database.url
    if way == "session mode":
        direct = pgbouncer(database, pool_mode="session", pool_size=1).url(database.dbname)
    folder = write_folder(tmp_path, {**TABLE, **INDEX, "003_c.sql": "CREATE TABLE last ()"})
    result = run_job(pooler.url(database.dbname), folder, DIRECT_URL=direct)
    assert result.code == 0, result.stderr
    assert database.query(VALID) == [("t_a", True)]
    assert database.query(LOCKS) == [(0,)]


def test_a_direct_url_that_keeps_no_session_is_found_out_before_the_statement(
    database: Database, pgbouncer: MakePgBouncer, tmp_path: Path
) -> None:
    settings = {"server_round_robin": 1}
    pooler = pgbouncer(database, pool_mode="transaction", pool_size=2, settings=settings)
    url = pooler.url(database.dbname)
    assert run_job(database.url, write_folder(tmp_path / "a", TABLE)).code == 0
    clients = [psycopg2.connect(url) for _ in range(2)]
    for client in clients:  # one server connection each, which the pool then uses by turns
        client.cursor().execute("SELECT 1")
    for client in clients:
        client.rollback()
        client.close()
    folder = write_folder(tmp_path / "b", {**TABLE, **INDEX})
    result = run_job(url, folder, DIRECT_URL=url)
    assert result.code == 2, result.stderr
    assert "does not hold the lock that it took" in result.error["message"]
    assert database.query(VALID) == []
    until(lambda: database.query(LOCKS) == [(0,)])


@pytest.mark.parametrize("end", ["", "SELECT 1/0;"], ids=["a success", "a failure"])
def test_a_lock_that_a_direct_url_leaves_behind_is_freed(
    database: Database, pgbouncer: MakePgBouncer, proxy: MakeProxy, tmp_path: Path, end: str
) -> None:
    """The pooler gives another backend for the message that lets go."""
    pooler = pgbouncer(database, pool_mode="transaction", pool_size=2)
    url = pooler.url(database.dbname)
    assert run_job(database.url, write_folder(tmp_path, TABLE)).code == 0
    network = proxy(pooler)
    network.hold_at(b"UNLISTEN")
    direct = network.through(url)
    files = {name: sql + end for name, sql in INDEX.items()}
    job = Job(direct, write_folder(tmp_path, files), DIRECT_URL=direct)
    until(lambda: network.holding)
    [(holder,)] = database.query("SELECT pid FROM pg_locks WHERE locktype = 'advisory'")
    others = {}
    for _ in range(2):  # both of the pool's backends, of which the lock's is kept
        other = psycopg2.connect(url)
        with other.cursor() as cursor:
            cursor.execute("SELECT pg_backend_pid()")
            [(pid,)] = cursor.fetchall()
        others[pid] = other
    borrower = others.pop(holder)
    [free] = others
    others[free].rollback()
    network.let_go()
    asked = "SELECT 1 FROM pg_stat_activity WHERE pid = %s AND query LIKE '%%frees its lock%%'"
    until(lambda: database.query(asked, free))
    for client in (borrower, others[free]):
        client.rollback()
        client.close()
    result = job.result()
    assert database.query(LOCKS) == [(0,)]
    if end:
        assert (result.code, result.error["type"]) == (15, "StatementError"), result.stderr
    else:
        assert (result.code, result.error["type"]) == (2, "ConfigError"), result.stderr
        assert result.report["outcome"] == "all of 002_index is done and recorded"
        assert "in session mode" in result.error["remedy"]


@pytest.mark.parametrize("given_back", [True, False])
def test_a_pooler_s_backend_that_keeps_the_lock_is_ended_when_nobody_uses_it_any_more(
    database: Database,
    pgbouncer: MakePgBouncer,
    proxy: MakeProxy,
    tmp_path: Path,
    given_back: bool,
) -> None:
    pooler = pgbouncer(database, pool_mode="transaction", pool_size=2)
    url = pooler.url(database.dbname)
    assert run_job(database.url, write_folder(tmp_path, TABLE)).code == 0
    network = proxy(pooler)
    network.hold_at(b"history has moved")
    direct = network.through(url)
    job = Job(direct, write_folder(tmp_path, INDEX), DIRECT_URL=direct)
    until(lambda: network.holding)
    [(holder,)] = database.query("SELECT pid FROM pg_locks WHERE locktype = 'advisory'")
    others = {}
    for _ in range(2):  # both of the pool's backends, of which the lock's is kept
        other = psycopg2.connect(url)
        with other.cursor() as cursor:
            cursor.execute("SELECT pg_backend_pid()")
            [(pid,)] = cursor.fetchall()
        others[pid] = other
    borrower = others.pop(holder)
    [free] = others
    others[free].rollback()
    network.let_go()
    asked = "SELECT 1 FROM pg_stat_activity WHERE pid = %s AND query LIKE '%%frees its lock%%'"
    until(lambda: database.query(asked, free))
    assert database.query(LOCKS) == [(1,)]
    if given_back:
        borrower.rollback()
    result = job.result()
    assert result.code == 2, result.stderr
    assert database.query(LOCKS) == [(0 if given_back else 1,)]
    assert (f"pg_terminate_backend({holder})" in result.error["remedy"]) is not given_back
    borrower.rollback()
    for client in (borrower, others[free]):
        client.close()


def test_a_file_that_releases_the_lock_is_stopped(database: Database, tmp_path: Path) -> None:
    text = f"{ALONE}SELECT pg_advisory_unlock_all();\nCREATE TABLE t ();\n"
    result = run_job(database.url, write_folder(tmp_path, {"001_a.sql": text}))
    assert result.code == 2
    assert "may not release the lock" in result.error["remedy"]
    assert database.query("SELECT to_regclass('t')") == [(None,)]


@pytest.fixture
def shared_pooler(database: Database, pgbouncer: MakePgBouncer) -> Iterator[dict[int, PgBouncer]]:
    """What stands for Supabase's shared pooler: 6543 in transaction mode, 5432 in session mode."""
    poolers = {
        6543: pgbouncer(database, pool_mode="transaction", pool_size=1),
        5432: pgbouncer(database, pool_mode="session", pool_size=1),
    }
    with ExitStack() as stack:
        for port, pooler in poolers.items():
            proxy = Proxy("127.0.0.1", pooler.port, listen=("127.0.65.43", port))
            stack.callback(proxy.stop)
        yield poolers


def test_from_port_6543_of_supabase_s_pooler_such_files_go_to_5432(
    database: Database, shared_pooler: dict[int, PgBouncer], tmp_path: Path
) -> None:
    del shared_pooler
    url = (
        "postgresql://supabase_admin:pooled@aws-0-eu-west-1.pooler.supabase.com:6543/"
        f"{database.dbname}?hostaddr=127.0.65.43&sslmode=disable"
    )
    files = {**TABLE, **INDEX, "003_c.sql": "CREATE TABLE last ()"}
    result = run_job(url, write_folder(tmp_path, files))
    assert (result.code, len(result.applied)) == (0, 3), result.stderr
    [rerouted] = result.of("connection.rerouted")
    assert ":6543/" in rerouted["target"]
    assert ":5432/" in rerouted["instead"]
    assert result.events.index("connection.rerouted") < result.events.index("migration.started")
    assert database.query(VALID) == [("t_a", True)]
    assert database.query(LOCKS) == [(0,)]


@pytest.mark.parametrize("moment", [Cut.BEFORE, Cut.DONE])
def test_the_role_that_supabase_gives_may_do_all_of_it(
    supabase: Database, proxy: MakeProxy, tmp_path: Path, moment: Cut
) -> None:
    """It is no superuser, and sees nothing of what other roles do."""
    cutter = proxy(supabase)
    cutter.cut_at(b"*/ CREATE INDEX CONCURRENTLY", moment)
    folder = write_folder(tmp_path, {**TABLE, **INDEX})
    result = run_job(cutter.through(supabase.url), folder)
    assert (result.code, result.applied) == (0, ["001_table", "002_index"]), result.stderr
    verdict = "run again" if moment is Cut.BEFORE else "done"
    assert [line["verdict"] for line in result.of("statement.settled")] == [verdict]
    assert supabase.query(VALID) == [("t_a", True)]


@pytest.mark.parametrize(
    ("table", "when", "outcome"),
    [
        (
            "schema_migrations_log",
            "NEW.event = 'outcome'",
            "002_index is not finished; statement 1 is to be settled",
        ),
        (
            "schema_migrations",
            "NEW.version = '002_index'",
            "002_index is not finished; done and committed: statement 1",
        ),
    ],
)
def test_what_stands_is_said_when_it_cannot_be_recorded(
    database: Database, tmp_path: Path, table: str, when: str, outcome: str
) -> None:
    folder = write_folder(tmp_path, TABLE)
    assert run_job(database.url, folder).code == 0
    database.query(
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        " RAISE EXCEPTION USING ERRCODE = '53100', MESSAGE = 'the disk is full'; END $$;"
        f"CREATE TRIGGER refuse BEFORE INSERT ON {table}"
        f" FOR EACH ROW WHEN ({when}) EXECUTE FUNCTION refuse()"
    )
    result = run_job(database.url, write_folder(folder, INDEX))
    assert (result.code, result.report["outcome"]) == (16, outcome)
    assert "53100: the disk is full" in result.error["message"]
    assert database.query(VALID) == [("t_a", True)]
    database.query(f"DROP TRIGGER refuse ON {table}")
    assert run_job(database.url, folder).code == 0


def test_what_stands_is_said_when_the_file_changes_under_the_run(
    database: Database, tmp_path: Path
) -> None:
    filler = "-- a line of a file that is too large to be kept in memory\n" * 10_000
    text = f"{ALONE}CREATE TABLE one ();\n{filler}CREATE TABLE two ();\n"
    folder = write_folder(tmp_path, {"001_a.sql": text})
    changed = text.replace("two", "2nd")
    listener = Listener("statement.done", lambda: write_folder(folder, {"001_a.sql": changed}))
    result = run_listening(listener, database.url, folder)
    assert (result.code, result.error["type"]) == (10, "SourceError")
    assert result.report["outcome"] == "001_a is not finished; done and committed: statement 1"


def test_an_outcome_that_finds_the_log_busy_is_written_again_and_nothing_is_run_twice(
    database: Database, tmp_path: Path
) -> None:
    database.query(
        "CREATE TABLE steps (n int); CREATE PROCEDURE step() LANGUAGE plpgsql"
        " AS $$ BEGIN INSERT INTO steps VALUES (1); COMMIT; END $$"
    )
    folder = write_folder(tmp_path, {"001_a.sql": f"{ALONE}CALL step();\n"})
    with closing(database.connect()) as holder:
        holder.autocommit = False

        def lock() -> None:
            holder.cursor().execute("LOCK TABLE schema_migrations_log IN EXCLUSIVE MODE")
            listener.event, listener.act = "migration.retry", holder.rollback

        listener = Listener("statement.started", lock)
        result = run_listening(listener, database.url, folder, LOCK_TIMEOUT="50ms")
    assert result.code == 0, result.stderr
    assert result.events.count("migration.retry") == 1
    assert database.query("SELECT n FROM steps") == [(1,)]


PARTITIONED = """CREATE TABLE p (a int) PARTITION BY RANGE (a);
CREATE INDEX p_a ON p (a);
CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (9);"""


@pytest.fixture
def unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    """REINDEX as a statement of which nothing is known, as those of servers to come."""
    known = effects._Reader.plain_act

    def plain_act(reader: effects._Reader) -> effects.Act:
        first = reader.tokens[0].text
        return effects.Act.ATOMIC if first == "reindex" else known(reader)

    monkeypatch.setattr(effects._Reader, "plain_act", plain_act)


@pytest.mark.usefixtures("unknown")
def test_a_statement_that_is_refused_in_company_is_sent_alone(
    database: Database, tmp_path: Path
) -> None:
    database.query(PARTITIONED)
    sql = "-- migrator: no-transaction\nSELECT 1;\nREINDEX TABLE p;\nSELECT 2;\n"
    result = run_job(database.url, write_folder(tmp_path, {"001_a.sql": sql}))
    assert result.code == 0, result.stderr
    log = "SELECT event, detail->>'statement' FROM schema_migrations_log ORDER BY id"
    events = [event for event, number in database.query(log) if number == "2"]
    assert events == ["intent", "outcome"]


@pytest.mark.usefixtures("unknown")
def test_what_is_refused_alone_too_leaves_nothing_to_settle(
    database: Database, tmp_path: Path
) -> None:
    database.query(PARTITIONED)
    sql = "-- migrator: no-transaction\nREINDEX TABLE nothing_of_that_name;\n"
    result = run_job(database.url, write_folder(tmp_path, {"001_a.sql": sql}))
    assert (result.code, result.error["sqlstate"]) == (15, "42P01"), result.stderr
    sql = "-- migrator: no-transaction\nDO $$ BEGIN EXECUTE 'REINDEX TABLE p'; END $$;\n"
    result = run_job(database.url, write_folder(tmp_path, {"001_a.sql": sql}))
    assert (result.code, result.error["sqlstate"]) == (15, "25001"), result.stderr
    assert result.report["outcome"] == "001_a is not applied, and nothing of it is left"
    (tmp_path / "001_a.sql").write_text("-- migrator: no-transaction\nREINDEX TABLE p;\n")
    assert run_job(database.url, tmp_path).code == 0


@pytest.mark.usefixtures("unknown")
def test_what_was_sent_alone_and_interrupted_is_asked_about(
    database: Database, tmp_path: Path
) -> None:
    database.query(PARTITIONED)
    sql = "-- migrator: no-transaction\nREINDEX TABLE p;\n"
    folder = write_folder(tmp_path, {"001_a.sql": sql})
    with closing(database.connect()) as other, other.cursor() as cursor:
        cursor.execute("BEGIN; LOCK TABLE p1 IN ACCESS EXCLUSIVE MODE")
        result = run_job(database.url, folder, LOCK_TIMEOUT="100ms", LOCK_RETRY_TIMEOUT="100ms")
    assert (result.code, "has it taken effect?" in result.error["message"]) == (14, True)
    words = ("repair", "--retry", "001_a", "--reason", "nothing is left")
    assert run_job(database.url, folder, *words).code == 0
    assert run_job(database.url, folder).code == 0
