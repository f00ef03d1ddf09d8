"""What a refused statement is told as: place, cause, and what it means for the database."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.builders import write_folder
from tests.conftest import Database
from tests.job import run_job


@pytest.mark.parametrize(
    ("sql", "sqlstate", "line", "column", "caret_at"),
    [
        pytest.param("SELECT 1;\nSELECT nope;\n", "42703", 2, 8, "nope", id="with a position"),
        pytest.param("SELECT 1;\n\n  SELEC 2;\n", "42601", 3, 3, "SELEC", id="raw syntax error"),
        pytest.param("SELECT 1;\nCREATE TABLE x (a int", "42601", 2, 22, "", id="at the end"),
        pytest.param("SELECT 'ä€😀' AS a, nope;\n", "42703", 1, 20, "nope", id="in characters"),
        pytest.param(
            "CREATE TABLE u (a int PRIMARY KEY);\nINSERT INTO u VALUES (1);\n\n"
            "/* again */ INSERT INTO u\n  VALUES (1);\nSELECT 2;\n",
            "23505", 4, 13, "INSERT", id="no position: the statement's first line",
        ),
        pytest.param(
            "SELECT 1;\nDO $$\nBEGIN\n  PERFORM 1;\n  PERFORM 1/0;\nEND $$;\n",
            "22012", 5, 3, "PERFORM 1/0", id="inside a DO block",
        ),
        pytest.param(
            "DO $$ BEGIN NULL; END $$;\nDO $x$ BEGIN\n\n  RAISE EXCEPTION 'no';\nEND $x$;\n",
            "P0001", 4, 3, "RAISE", id="inside the second of two DO blocks",
        ),
        pytest.param(
            "DO $$\nBEGIN\n  IF true THEN\n    SELEC 1;\n  END IF;\nEND $$;\n",
            "42601", 4, 5, "SELEC", id="syntax error inside a DO block",
        ),
        pytest.param(
            "CREATE FUNCTION f() RETURNS int LANGUAGE sql AS $$\n  SELECT nope;\n$$;\n",
            "42703", 2, 10, "nope", id="inside a function's definition",
        ),
    ],
)  # fmt: skip
def test_a_refused_statement_has_a_place(
    database: Database,
    tmp_path: Path,
    sql: str,
    sqlstate: str,
    line: int,
    column: int,
    caret_at: str,
) -> None:
    folder = write_folder(tmp_path, {"001_a.sql": sql})
    error = run_job(database.url, folder).error
    assert (error["sqlstate"], error["line"], error["column"]) == (sqlstate, line, column)
    assert error["source_line"] == sql.split("\n")[line - 1]
    assert error["source_line"][len(error["caret"]) - 1 :].startswith(caret_at)
    assert error["message"].startswith(f"001_a.sql:{line}:{column}: ERROR {sqlstate}: ")


def test_an_error_inside_a_function_names_the_function_and_its_line(
    database: Database, tmp_path: Path
) -> None:
    sql = """CREATE FUNCTION f(n int) RETURNS int LANGUAGE plpgsql AS $$
BEGIN
  RETURN 1 / n;
END $$;
SELECT f(0);
"""
    error = run_job(database.url, write_folder(tmp_path, {"001_a.sql": sql})).error
    assert error["line"] == 5
    assert "function f(integer) line 3 at RETURN" in error["context"]


def test_it_says_what_stands_and_what_was_not_tried(database: Database, tmp_path: Path) -> None:
    files = {"001_a.sql": "CREATE TABLE a ()", "002_b.sql": "SELECT 1/0", "003_c.sql": "SELECT 1"}
    result = run_job(database.url, write_folder(tmp_path, files))
    assert result.code == 15
    assert result.report["outcome"] == (
        "002_b was rolled back; applied by this run and committed: 001_a; not tried: 003_c"
    )
    assert result.applied == ["001_a"]
    assert result.report["pending"] == ["002_b", "003_c"]
    again = run_job(database.url, tmp_path)
    assert "the database is at 001_a" in again.report["outcome"]


def test_detail_and_hint_are_told_but_the_log_table_keeps_no_row_values(
    database: Database, tmp_path: Path
) -> None:
    sql = "CREATE TABLE u (a text UNIQUE); INSERT INTO u VALUES ('told-row'), ('told-row');"
    error = run_job(database.url, write_folder(tmp_path, {"001_a.sql": sql})).error
    assert error["detail"] == "Key (a)=(told-row) already exists."
    assert error["constraint"] == "u_a_key"
    logged = database.query(
        "SELECT event, detail::text FROM schema_migrations_log ORDER BY id DESC"
    )
    assert logged[0][0] == "failed"
    assert '"23505"' in logged[0][1]
    assert "told-row" not in logged[0][1]


def test_a_right_that_the_body_lacks_is_15_and_one_that_we_lack_is_16(
    supabase: Database, tmp_path: Path
) -> None:
    folder = write_folder(tmp_path, {"001_a.sql": "CREATE TABLE auth.mine ();"})
    result = run_job(supabase.url, folder)
    assert (result.code, result.error["sqlstate"]) == (15, "42501")
    supabase.as_superuser().query("REVOKE CREATE ON SCHEMA public FROM postgres, PUBLIC")
    supabase.as_superuser().query("ALTER SCHEMA public OWNER TO supabase_admin")
    supabase.as_superuser().query(
        "DROP TABLE public.schema_migrations, public.schema_migrations_log"
    )
    result = run_job(supabase.url, folder)
    assert result.code == 16
    assert "schema public" in result.error["message"]


def test_a_password_in_a_refused_statement_is_not_shown(database: Database, tmp_path: Path) -> None:
    sql = "CREATE ROLE nosuch IN ROLE nosuch2 PASSWORD 'hunter2''s';\n"
    result = run_job(database.url, write_folder(tmp_path, {"001_a.sql": sql}))
    assert result.code == 15
    assert "hunter2" not in result.stderr
    assert result.error["source_line"].endswith("PASSWORD '***';")


def test_notices_are_told_as_they_are_raised(database: Database, tmp_path: Path) -> None:
    sql = "DO $$ BEGIN RAISE WARNING 'look out'; RAISE NOTICE 'by the way'; END $$;"
    result = run_job(database.url, write_folder(tmp_path, {"001_a.sql": sql}), LOG_LEVEL="debug")
    told = [(line["level"], line["notice"]) for line in result.of("migration.notice")]
    assert told == [("warning", "look out"), ("debug", "by the way")]


@pytest.mark.parametrize(
    ("sql", "notice"),
    [
        ("CREATE TABLE IF NOT EXISTS there (n int);", 'relation "there" already exists, skipping'),
        ("CREATE SCHEMA IF NOT EXISTS public;", 'schema "public" already exists, skipping'),
        (
            "ALTER TABLE there ADD COLUMN IF NOT EXISTS n int;",
            'column "n" of relation "there" already exists, skipping',
        ),
        (
            "CREATE EXTENSION IF NOT EXISTS plpgsql;",
            'extension "plpgsql" already exists, skipping',
        ),
        (
            f"CREATE TABLE {'x' * 70} (n int);",
            f'identifier "{"x" * 70}" will be truncated to "{"x" * 63}"',
        ),
    ],
    ids=["42P07", "42P06", "42701", "42710", "42622"],
)
@pytest.mark.parametrize("alone", [False, True], ids=["a flight", "no-transaction"])
def test_what_was_skipped_or_cut_is_shown_and_other_notices_are_counted(
    database: Database, tmp_path: Path, sql: str, notice: str, alone: bool
) -> None:
    database.query("CREATE TABLE there (n int)")
    first = "-- migrator: no-transaction\n" if alone else ""
    said = "DROP TABLE IF EXISTS gone; DROP TABLE IF EXISTS gone_too;\n"
    folder = write_folder(tmp_path, {"001_a.sql": first + sql + said, "002_b.sql": "SELECT 1;"})
    result = run_job(database.url, folder)
    assert result.code == 0, result.stderr
    shown = [line for line in result.lines if line["event"].endswith(".notice")]
    assert [(line["level"], line["notice"]) for line in shown] == [
        ("info", notice),
        ("info", "2 not shown; LOG_LEVEL=debug shows them"),
    ]
    assert (shown[1]["version"], shown[1]["more"]) == ("001_a", 2)


def test_the_policy_of_a_reader_with_a_long_name_says_nothing(
    database: Database, tmp_path: Path
) -> None:
    name = "é" * 31
    database.query(f'DROP ROLE IF EXISTS "{name}"')
    database.query(f'CREATE ROLE "{name}"')
    try:
        folder = write_folder(tmp_path, {"001_a.sql": "SELECT 1;"})
        result = run_job(database.url, folder, HISTORY_READERS=name)
        assert (result.code, result.of("connection.notice")) == (0, []), result.stderr
    finally:
        database.query(f'DROP OWNED BY "{name}"')
        database.query(f'DROP ROLE "{name}"')


def test_no_notice_is_lost_however_many_there_are(database: Database, tmp_path: Path) -> None:
    sql = "DO $$ BEGIN FOR n IN 1..80 LOOP RAISE WARNING 'w%', n; END LOOP; END $$;"
    result = run_job(database.url, write_folder(tmp_path, {"001_a.sql": sql}))
    assert [line["notice"] for line in result.of("migration.notice")] == [
        f"w{n}" for n in range(1, 81)
    ]


def test_a_commit_that_fails_is_no_commit_however_many_answers_came_before(
    database: Database, tmp_path: Path
) -> None:
    """A rule gives two answers for one statement; a cursor that is kept is read at COMMIT."""
    rule = "CREATE RULE r AS ON INSERT TO t DO ALSO (SELECT 1; SELECT 2)"
    files = {
        "001_a.sql": f"CREATE TABLE t (a int);\n{rule};\nINSERT INTO t VALUES (0);\n",
        "002_b.sql": "INSERT INTO t VALUES (0);\n"
        "DECLARE c CURSOR WITH HOLD FOR SELECT 1 / a FROM t;\n",
    }
    result = run_job(database.url, write_folder(tmp_path, files))
    assert (result.code, result.applied) == (15, ["001_a"]), result.stderr
    assert result.report["outcome"].startswith("002_b was rolled back")
    assert database.query("SELECT version FROM schema_migrations") == [("001_a",)]


@pytest.mark.parametrize(
    ("sql", "named"),
    [
        pytest.param("SELECT :v, :'w';", "`:v`, `:'w'`", id="psql"),
        pytest.param('SELECT * FROM :"t" WHERE a = :v;', '`:"t"`, `:v`', id="psql, quoted"),
        pytest.param("CREATE SCHEMA {{ name }};", "`{{ name }}`", id="a template"),
        pytest.param("CREATE SCHEMA ${name};", "`${name}`", id="another one"),
        pytest.param(
            "DO $$\nBEGIN\n  EXECUTE 'SELECT :v';\nEND $$;", "`:v`", id="inside a DO block"
        ),
    ],
)
def test_a_placeholder_that_nobody_filled_is_named(
    database: Database, tmp_path: Path, sql: str, named: str
) -> None:
    error = run_job(database.url, write_folder(tmp_path, {"001_a.sql": f"SELECT 1;\n{sql}"})).error
    assert error["sqlstate"] == "42601"
    assert f"Nothing is put in the place of {named} here" in error["remedy"]


def test_a_password_in_the_place_of_a_variable_is_not_named(
    database: Database, tmp_path: Path
) -> None:
    folder = write_folder(tmp_path, {"001_a.sql": "CREATE ROLE r PASSWORD :hunter2;"})
    result = run_job(database.url, folder)
    assert (result.code, "hunter2" in result.stderr) == (15, False)
