"""The guards hold against hostile and careless files: one body for each way out."""

from __future__ import annotations

from pathlib import Path

import psycopg2
import pytest

from migrator.history.guard import lock_key
from migrator.model import Finding, Migration
from migrator.sql.parts import lay_out
from migrator.sql.script import Script
from tests.builders import write_folder
from tests.conftest import Database, MakePgBouncer
from tests.job import Job, run_job, until
from tests.ways import way_to

ROLES = ("DROP ROLE IF EXISTS nobody_much", "CREATE ROLE nobody_much")
NEXT = {"002_next.sql": "CREATE TABLE public.witness AS SELECT current_user AS who, 1 AS n;\n"}

CARELESS = [
    pytest.param("SET ROLE nobody_much;", id="SET ROLE"),
    pytest.param("SET LOCAL ROLE nobody_much;", id="SET LOCAL ROLE"),
    pytest.param("SET SESSION AUTHORIZATION nobody_much;", id="SET SESSION AUTHORIZATION"),
    pytest.param("SELECT set_config('search_path', '', false);", id="pg_dump's search_path"),
    pytest.param("SET search_path = evil, pg_catalog;", id="poisoned search_path"),
    pytest.param(
        """CREATE FUNCTION public.clock_timestamp() RETURNS timestamptz LANGUAGE sql
             AS $$ SELECT 'epoch'::timestamptz $$;
           CREATE FUNCTION public.pg_backend_pid() RETURNS int LANGUAGE sql AS 'SELECT 0';
           SET search_path = public, pg_catalog;""",
        id="functions planted in public",
    ),
    pytest.param(
        """CREATE FUNCTION public.never(varchar, varchar) RETURNS boolean LANGUAGE sql
             AS 'SELECT false';
           CREATE FUNCTION public.never(text, text) RETURNS boolean LANGUAGE sql AS 'SELECT false';
           CREATE OPERATOR public.= (LEFTARG = varchar, RIGHTARG = varchar, FUNCTION = never);
           CREATE OPERATOR public.= (LEFTARG = text, RIGHTARG = text, FUNCTION = public.never);
           CREATE OPERATOR public.<> (LEFTARG = text, RIGHTARG = text, FUNCTION = public.never);
           SET search_path = public, pg_catalog;""",
        id="operators planted in public",
    ),
    pytest.param("RESET ALL;", id="RESET ALL"),
    pytest.param("DISCARD TEMP; DISCARD PLANS;", id="DISCARD"),
    pytest.param(
        "CREATE TEMP TABLE schema_migrations (version text); CREATE TEMP TABLE pg_locks (pid int);"
        "SET search_path = pg_temp, pg_catalog;",
        id="temp tables of our names",
    ),
    pytest.param("SET default_transaction_isolation = 'repeatable read';", id="default isolation"),
    pytest.param("SET row_security = off;", id="row_security"),
    pytest.param("SET statement_timeout = '1ms'; RESET statement_timeout;", id="timeouts"),
    pytest.param("SET client_min_messages = error;", id="client_min_messages"),
    pytest.param("SET DateStyle = 'German'; SET TimeZone = 'Asia/Kathmandu';", id="date style"),
    pytest.param("SAVEPOINT s; SELECT 1; ROLLBACK TO s;", id="savepoint"),
    pytest.param("DECLARE c CURSOR WITH HOLD FOR SELECT 1; LISTEN x;", id="cursor and LISTEN"),
    pytest.param("SELECT pg_advisory_lock(1);", id="a session lock"),
    pytest.param("PREPARE leak AS SELECT 1;", id="PREPARE"),
    pytest.param("SET application_name = 'somebody else';", id="application_name"),
]


@pytest.mark.parametrize("body", CARELESS)
def test_whatever_a_file_leaves_behind_it_is_recorded_and_nothing_leaks(
    database: Database, pgbouncer: MakePgBouncer, tmp_path: Path, body: str
) -> None:
    for sql in ROLES:
        database.query(sql)
    pooler = pgbouncer(database, pool_mode="transaction", pool_size=1)
    folder = write_folder(tmp_path, {"001_body.sql": body, **NEXT})
    result = run_job(pooler.url(database.dbname), folder)
    assert (result.code, result.applied) == (0, ["001_body", "002_next"]), result.stderr
    assert database.query("SELECT version FROM public.schema_migrations ORDER BY 1") == [
        ("001_body",),
        ("002_next",),
    ]
    assert database.query("SELECT who FROM public.witness") == [(database.user,)]
    assert leftovers(pooler.url(database.dbname)) == leftovers(database.url)
    assert database.query("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'") == [(0,)]


LEFT = (
    "SELECT current_user, session_user, current_setting('search_path'),"
    " current_setting('row_security'), current_setting('default_transaction_isolation'),"
    " current_setting('client_min_messages'), current_setting('statement_timeout'),"
    " current_setting('lock_timeout'), to_regclass('pg_temp.schema_migrations') IS NULL,"
    " (SELECT count(*) FROM pg_catalog.pg_cursors WHERE name = 'c'),"
    " (SELECT count(*) FROM pg_catalog.pg_listening_channels()),"
    " (SELECT count(*) FROM pg_catalog.pg_prepared_statements WHERE from_sql)"
)


def leftovers(url: str) -> object:
    """What the pool's next client finds in the session that the job used."""
    connection = psycopg2.connect(url)
    try:
        connection.autocommit = True
        cursor = connection.cursor()
        cursor.execute(LEFT)
        return cursor.fetchone()
    finally:
        connection.close()


def test_a_database_whose_default_is_repeatable_read_is_migrated(
    database: Database, tmp_path: Path
) -> None:
    for level in ("repeatable read", "serializable"):
        database.query(
            f"ALTER DATABASE {database.dbname} SET default_transaction_isolation = '{level}'"
        )
        folder = write_folder(
            tmp_path / level, {f"{len(level)}_a.sql": "SHOW transaction_isolation"}
        )
        assert run_job(database.url, folder, ON_MISSING="warn", ON_LATE="apply").code == 0


def test_a_deferred_constraint_fails_before_the_history_row_is_written(
    database: Database, tmp_path: Path
) -> None:
    database.query("CREATE TABLE p (id int PRIMARY KEY)")
    database.query("CREATE TABLE c (p int REFERENCES p DEFERRABLE INITIALLY DEFERRED)")
    folder = write_folder(tmp_path, {"001_a.sql": "INSERT INTO c VALUES (1);"})
    result = run_job(database.url, folder)
    assert (result.code, result.error["sqlstate"]) == (15, "23503")
    assert database.query("SELECT count(*) FROM schema_migrations") == [(0,)]


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(
            "CREATE PROCEDURE p() LANGUAGE plpgsql AS $$BEGIN COMMIT; END$$; CALL p();",
            id="procedure",
        ),
        pytest.param("DO $$BEGIN COMMIT; END$$;", id="DO"),
    ],
)
def test_an_inner_commit_is_refused_by_the_server(
    database: Database, tmp_path: Path, body: str
) -> None:
    folder = write_folder(tmp_path, {"001_a.sql": "CREATE TABLE a ();" + body})
    result = run_job(database.url, folder)
    assert (result.code, result.error["sqlstate"]) == (15, "2D000")
    assert database.query("SELECT to_regclass('a')") == [(None,)]


def blind(migration: Migration, _values: object) -> tuple[Script, tuple[Finding, ...]]:
    layout = lay_out(migration.pieces)
    return Script(migration, layout.parts, layout.statements, layout.whole), ()


@pytest.mark.parametrize("escape", ["COMMIT", "ROLLBACK", "COMMIT; BEGIN", "COMMIT AND CHAIN"])
def test_a_transaction_that_was_ended_by_the_file_is_seen_even_if_the_scanner_missed_it(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, escape: str
) -> None:
    """The scanner refuses these; here it is made blind, so that the guard alone must see it."""
    monkeypatch.setattr("migrator.apply.scripts.understand", blind)
    folder = write_folder(tmp_path, {"001_a.sql": f"CREATE TABLE a ();\n{escape};\nSELECT 1;\n"})
    result = run_job(database.url, folder)
    assert (result.code, result.error["sqlstate"]) == (15, "MG003")
    assert "COMMIT is committed" in result.error.get("outcome", result.report["outcome"])
    assert database.query("SELECT count(*) FROM schema_migrations") == [(0,)]
    assert database.query("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'") == [(0,)]


def test_transaction_control_is_refused_before_anything_runs(
    database: Database, tmp_path: Path
) -> None:
    folder = write_folder(tmp_path, {"001_a.sql": "CREATE TABLE a ();\nCOMMIT;\n"})
    result = run_job(database.url, folder)
    assert (result.code, result.report["findings"][0]["line"]) == (10, 2)


def test_a_history_that_moved_since_it_was_read_is_planned_again(
    database: Database, tmp_path: Path
) -> None:
    """The first file holds the runner; meanwhile another runner's row appears."""
    files = {
        "001_a.sql": "CREATE TABLE public.gate ();\nSELECT pg_advisory_xact_lock_shared(42);\n",
        "002_b.sql": "CREATE TABLE public.b ();\n",
    }
    folder = write_folder(tmp_path, files)
    holder = database.connect()
    holder.cursor().execute("SELECT pg_advisory_lock(42)")
    job = Job(database.url, folder)
    waiting = "SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
    until(lambda: database.query(waiting))
    database.query("INSERT INTO schema_migrations (version) VALUES ('002_b')")
    holder.close()
    result = job.result()
    assert (result.code, result.applied) == (0, ["001_a"]), result.stderr
    assert result.events.count("plan.made") == 2
    assert database.query("SELECT to_regclass('b')") == [(None,)]


def test_a_prepared_transaction_that_holds_the_lock_is_named(
    database: Database, tmp_path: Path
) -> None:
    if database.query("SHOW max_prepared_transactions") == [("0",)]:
        pytest.skip("the server allows no prepared transactions")
    connection = database.connect()
    cursor = connection.cursor()
    cursor.execute(f"BEGIN; SELECT pg_advisory_xact_lock({lock_key('public')})")
    cursor.execute("PREPARE TRANSACTION 'left behind'")
    try:
        folder = write_folder(tmp_path, {"001_a.sql": "SELECT 1"})
        result = run_job(database.url, folder, WAIT_TIMEOUT="300ms")
        assert result.code == 21
        assert result.error["holder"]["prepared_transaction"] == "left behind"
    finally:
        cursor.execute("ROLLBACK PREPARED 'left behind'")
        connection.close()


@pytest.mark.parametrize("default", ["on", "off"])
def test_a_file_has_the_logins_own_check_of_functions(
    database: Database, tmp_path: Path, default: str
) -> None:
    """Our own blocks turn it off for themselves."""
    database.query(f"ALTER DATABASE {database.dbname} SET check_function_bodies = {default}")
    broken = "CREATE FUNCTION f() RETURNS int LANGUAGE plpgsql AS 'BEGIN RETURN 1 +; END'"
    result = run_job(database.url, write_folder(tmp_path, {"001_a.sql": broken}))
    assert result.code == (15 if default == "on" else 0), result.stderr


@pytest.mark.parametrize("way", ["direct", "transaction, pool of one"])
def test_the_logins_own_limits_count_neither_one_nor_all_of_them(
    database: Database, pgbouncer: MakePgBouncer, tmp_path: Path, way: str
) -> None:
    """Each takes longer, and all of them together many times as long."""
    names = ["statement_timeout", "idle_in_transaction_session_timeout"]
    if database.query("SHOW server_version_num") >= [("170000",)]:
        names.append("transaction_timeout")
    for name in names:
        database.query(f"ALTER DATABASE \"{database.dbname}\" SET {name} = '200ms'")
    files = {f"{n:03}_x.sql": "SELECT pg_sleep(0.25);\n" for n in range(1, 9)}
    url = way_to(database, pgbouncer, way)
    result = run_job(url, write_folder(tmp_path, files), FILES_PER_FLIGHT="16")
    assert (result.code, len(result.applied)) == (0, 8), result.stderr
    assert result.of("migration.retry") == []
