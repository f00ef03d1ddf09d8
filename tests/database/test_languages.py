"""Servers that do not answer in English: numbers, names and structure decide, never words."""

from __future__ import annotations

import atexit
from collections.abc import Iterator
from pathlib import Path

import psycopg2
import pytest

from migrator.postgres import connect_failures
from tests.builders import write_folder
from tests.conftest import (
    BOOTSTRAP,
    Database,
    MakePgBouncer,
    MakeStub,
    create_database,
    drop_database,
    in_charge,
    without,
)
from tests.job import Job, Result, run_job, until
from tests.locales import of_debian, speak
from tests.pooler_stub import Forward, Refuse
from tests.postgres import (
    NoServerError,
    Server,
    binary,
    run_as_plain_user,
    throw_away_directory,
)

#: In Japanese the words of a CONTEXT have another order.
LOCALES = ("de_DE", "ja_JP")
ROLES = """
CREATE ROLE plain LOGIN PASSWORD 'right';
CREATE ROLE barred LOGIN PASSWORD 'right';
CREATE ROLE group_only PASSWORD 'right';
CREATE ROLE full LOGIN PASSWORD 'right' CONNECTION LIMIT 0;
CREATE ROLE laden LOGIN PASSWORD 'right';
ALTER ROLE laden SET session_preload_libraries = 'no_such_library';
"""
SOON = {"CONNECT_TIMEOUT": "1s"}


@pytest.fixture(scope="module", params=LOCALES)
def speaker(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """A server that answers in the language of this locale.

    Debian's server has message catalogues; those of `make test-matrix` have none.
    """
    if not of_debian(binary("postgres")):
        pytest.skip("needs a server with message catalogues: Debian's, which PG_BIN hides")
    try:
        server = Server.create(throw_away_directory(), BOOTSTRAP)
        atexit.register(server.remove)
        # where the server's user may read
        speak(server, request.param, server.directory / "locales")
    except NoServerError as error:
        without("a server with Debian's message catalogues", error)
    hba = server.data / "pg_hba.conf"
    hba.write_text("host all barred 127.0.0.1/32 reject\n" + hba.read_text())
    in_charge(server).query(ROLES)
    in_charge(server).query("SELECT pg_reload_conf()")
    yield server
    server.remove()
    atexit.unregister(server.remove)


@pytest.fixture
def foreign(speaker: Server) -> Iterator[Database]:
    """A fresh database there."""
    made = create_database(speaker)
    yield made
    drop_database(made)


def apply(database: Database, folder: Path, sql: str, **settings: str) -> Result:
    return run_job(database.url, write_folder(folder, {"001_a.sql": sql}), **settings)


def test_the_server_does_not_answer_in_english(foreign: Database) -> None:
    with pytest.raises(psycopg2.errors.UndefinedTable) as caught:
        foreign.query("TABLE nope")
    assert "does not exist" not in str(caught.value)


@pytest.mark.parametrize(
    ("user", "password", "reason", "remedy"),
    [
        ("plain", "wrong", "login", connect_failures.LOGIN),
        ("nobody_of_that_name", "x", "login", connect_failures.LOGIN),
        ("group_only", "right", "login", connect_failures.LOGIN),
        ("barred", "right", "tls", connect_failures.TLS_WANTED),
        ("laden", "right", "session", connect_failures.LIBRARY),
    ],
)
def test_a_refused_login_is_tried_once(
    user: str, password: str, reason: str, remedy: str, foreign: Database, tmp_path: Path
) -> None:
    result = run_job(foreign.as_user(user, password).url, tmp_path, **SOON)
    assert (result.code, result.error["reason"]) == (16, reason)
    assert (result.error["remedy"], result.of("connection.retry")) == (remedy, [])


def test_a_database_that_is_missing_or_closed_is_named(foreign: Database, tmp_path: Path) -> None:
    missing = run_job(foreign.url + "_not", tmp_path, **SOON)
    assert (missing.code, missing.error["reason"]) == (16, "database")
    foreign.query(f"REVOKE CONNECT ON DATABASE {foreign.dbname} FROM PUBLIC")
    closed = run_job(foreign.as_user("plain", "right").url, tmp_path, **SOON)
    assert (closed.code, closed.error["remedy"]) == (16, connect_failures.NO_CONNECT)
    assert (missing.of("connection.retry"), closed.of("connection.retry")) == ([], [])


def test_a_server_without_room_is_tried_again(foreign: Database, tmp_path: Path) -> None:
    result = run_job(foreign.as_user("full", "right").url, tmp_path, **SOON)
    assert (result.code, result.error["reason"]) == (20, "full")
    assert result.of("connection.retry")


def test_a_pooler_that_drops_the_number_is_said_to_pass_words_on(
    foreign: Database, pgbouncer: MakePgBouncer, tmp_path: Path
) -> None:
    """PgBouncer 1.18 gives 08P01 to all that its server says: its words are all there is."""
    pooler = pgbouncer(foreign, users={"plain": "wrong"})
    result = run_job(pooler.url(foreign.dbname, "plain"), tmp_path, **SOON)
    assert (result.code, result.error["reason"]) == (20, "pooler")
    assert result.error["remedy"] == connect_failures.PASSED_ON_WORDS


def test_a_warning_is_shown_and_a_notice_is_not(foreign: Database, tmp_path: Path) -> None:
    sql = "DO $$BEGIN RAISE WARNING 'rows: %', 3; RAISE NOTICE 'no'; END$$"
    result = apply(foreign, tmp_path, sql)
    shown = [(line["level"], line["notice"]) for line in result.of("migration.notice")]
    counted = ("info", "1 not shown; LOG_LEVEL=debug shows them")
    assert (result.code, shown) == (0, [("warning", "rows: 3"), counted])


def test_a_timeout_is_no_cancel_of_somebodys(foreign: Database, tmp_path: Path) -> None:
    result = apply(foreign, tmp_path, "SELECT pg_sleep(60)", STATEMENT_TIMEOUT="100ms")
    assert (result.code, result.error["sqlstate"]) == (15, "57014")
    assert result.error["remedy"].startswith("STATEMENT_TIMEOUT=100ms cut it: raise that")


def test_a_timeout_outside_a_transaction_is_none_either(foreign: Database, tmp_path: Path) -> None:
    sql = "-- migrator: no-transaction\n-- migrator: statement-timeout 100ms\nSELECT pg_sleep(60)"
    result = apply(foreign, tmp_path, sql)
    assert (result.code, result.error["sqlstate"]) == (15, "57014")
    assert "`-- migrator: statement-timeout 100ms` cut it" in result.error["remedy"]


def test_a_cancel_of_somebodys_is_no_timeout(foreign: Database, tmp_path: Path) -> None:
    folder = write_folder(tmp_path, {"001_a.sql": "SELECT pg_sleep(60)"})
    job = Job(foreign.url, folder, STATEMENT_TIMEOUT="1h")
    sleeping = "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event = 'PgSleep'"
    until(lambda: foreign.query(sleeping))
    result = job.result()
    assert (result.code, result.error["sqlstate"]) == (15, "57014")
    assert "cancelled the statement" in result.error["remedy"]


@pytest.mark.parametrize(
    ("before", "sql", "remedy"),
    [
        ("CREATE TABLE t ()", "CREATE TABLE t ()", "This database was made before migrator."),
        ("", "DO $$BEGIN RAISE 'no' USING HINT = 'x', ERRCODE = '42501'; END$$", "Do what the"),
        ("", "DO $$BEGIN EXECUTE 'VACUUM'; END$$", "Take the statement out of the function or DO"),
        ("", "SET nope = 1", "Take the line out: this server has no such setting."),
        ("CREATE TABLE t ()", "DROP TABLE t", "public.t belongs to"),
    ],
)
def test_a_remedy_hangs_on_no_words(
    before: str, sql: str, remedy: str, foreign: Database, tmp_path: Path
) -> None:
    foreign.query(before or "SELECT")
    foreign.query("GRANT ALL ON SCHEMA public TO plain")
    result = apply(foreign.as_user("plain", "right"), tmp_path, sql)
    assert result.error["remedy"].startswith(remedy), result.error


@pytest.mark.parametrize(
    ("rows", "line"),
    [
        pytest.param("1\ta\nx\tb\n", 4, id="a bad value"),
        pytest.param("1\ta\n2\tb\n3\n", 5, id="a row that is too short"),
        pytest.param("1\ta\n2\tb\n2\tb\n", 5, id="a row that is there already"),
    ],
)
def test_the_line_of_a_copied_row_is_named(
    rows: str, line: int, foreign: Database, tmp_path: Path
) -> None:
    sql = f'CREATE TABLE "T 2" (a2 int PRIMARY KEY, b text);\nCOPY public."T 2" FROM stdin;\n{rows}'
    result = apply(foreign, tmp_path, sql)
    assert (result.code, result.error["line"]) == (15, line)


def test_the_line_of_a_do_block_is_named(foreign: Database, tmp_path: Path) -> None:
    sql = "SELECT 1;\nDO $$\nBEGIN\n  RAISE 'no';\nEND$$;"
    result = apply(foreign, tmp_path, sql)
    assert (result.code, result.error["line"]) == (15, 4)


def test_a_copied_row_is_not_shown(foreign: Database, tmp_path: Path) -> None:
    sql = "CREATE TABLE t (a int CHECK (a < 5), b text);\nCOPY t FROM stdin;\n7\thunter2hunter2\n"
    result = apply(foreign, tmp_path, sql)
    assert (result.code, result.error["sqlstate"]) == (15, "23514")
    assert "hunter2" not in result.stderr + str(foreign.query("TABLE schema_migrations_log"))


@pytest.mark.parametrize(
    ("prepared", "schema", "remedy"),
    [
        ("REVOKE ALL ON SCHEMA public FROM PUBLIC", "public", "GRANT USAGE, CREATE ON SCHEMA"),
        ("GRANT USAGE ON SCHEMA public TO plain", "public", "GRANT USAGE, CREATE ON SCHEMA"),
        ("SELECT", "app", "CREATE SCHEMA"),
    ],
)
def test_the_right_that_is_missing_is_asked_for(
    prepared: str, schema: str, remedy: str, foreign: Database, tmp_path: Path
) -> None:
    foreign.query(prepared)
    folder = write_folder(tmp_path, {"001_a.sql": "SELECT 1"})
    login = foreign.as_user("plain", "right")
    result = run_job(login.url, folder, MIGRATIONS_SCHEMA=schema)
    assert (result.code, remedy in result.error["remedy"]) == (16, True), result.error


def test_a_standby_that_takes_nobody_yet_is_tried_again(speaker: Server, tmp_path: Path) -> None:
    in_charge(speaker).query("ALTER SYSTEM SET hot_standby = off")
    speaker.stop()
    signal = speaker.data / "standby.signal"
    run_as_plain_user(["touch", str(signal)], directory=speaker.directory)
    speaker.start()
    result = run_job(in_charge(speaker).url, tmp_path, **SOON)
    speaker.stop()
    signal.unlink()
    speaker.start()
    assert (result.code, result.error["reason"]) == (20, "starting")


RUSSIAN = "система баз данных запускается"


@pytest.mark.parametrize("encoding", ["utf-8", "koi8-r"])
def test_a_start_in_any_language_is_waited_for(
    encoding: str, database: Database, stub: MakeStub, tmp_path: Path
) -> None:
    """Before the login a server writes in the encoding of its own locale."""
    starting = Refuse(RUSSIAN, "57P03", severity="ВАЖНО", encoding=encoding)
    server = stub(starting, Forward.to(database))
    url = database.url.replace(f":{database.port}/", f":{server.port}/")
    result = run_job(url, tmp_path)
    assert (result.code, server.connections) == (0, 2)
    assert result.of("connection.retry")[0]["reason"] == "starting"


@pytest.mark.parametrize(
    ("sqlstate", "reason"),
    [("28P01", "login"), ("3D000", "database"), ("P0001", "session"), ("42704", "session")],
)
def test_a_refusal_in_any_language_is_tried_once(
    sqlstate: str, reason: str, stub: MakeStub, tmp_path: Path
) -> None:
    server = stub(Refuse("нет", sqlstate, severity="ВАЖНО", encoding="koi8-r"))
    result = run_job(server.url(), tmp_path)
    assert (result.code, result.error["reason"], server.connections) == (16, reason, 1)
