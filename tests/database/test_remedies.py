"""What a refusal says to do, done as it stands: the run is green then."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.builders import write_folder
from tests.conftest import (
    Database,
    MakePgBouncer,
    create_database,
    drop_database,
)
from tests.job import Job, Result, run_job, until

ALONE = "-- migrator: no-transaction\n"
PARTITIONED = (
    "CREATE TABLE p (a int) PARTITION BY RANGE (a); CREATE INDEX p_a ON p (a);"
    "CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (9);"
)
COMMITS = "CREATE PROCEDURE commits() LANGUAGE plpgsql AS $$ BEGIN COMMIT; END $$;"
ENUM = "CREATE TYPE mood AS ENUM ('sad'); CREATE TABLE moods (m mood);"


def apply(database: Database, folder: Path, files: dict[str, str], **settings: str) -> Result:
    for old in folder.glob("*.sql"):
        old.unlink()
    return run_job(database.url, write_folder(folder, files), **settings)


@pytest.mark.parametrize(
    ("before", "sql", "sqlstate", "remedy", "fixed"),
    [
        pytest.param(
            PARTITIONED,
            {"001_a.sql": "REINDEX TABLE p;"},
            "25001",
            "Move the statement to a file of its own that begins with the line "
            "`-- migrator: no-transaction`.",
            {"001_a.sql": f"{ALONE}REINDEX TABLE p;"},
            id="REINDEX of a partitioned table",
        ),
        pytest.param(
            COMMITS,
            {"001_a.sql": "CALL commits();"},
            "2D000",
            "Move the statement to a file of its own that begins with the line "
            "`-- migrator: no-transaction`.",
            {"001_a.sql": f"{ALONE}CALL commits();"},
            id="CALL of what commits",
        ),
        pytest.param(
            "",
            {"R__a.sql": "DO $$ BEGIN COMMIT; END $$;"},
            "2D000",
            "A repeatable runs in a transaction: move the statement to a versioned file that "
            "begins with the line `-- migrator: no-transaction`.",
            {"001_a.sql": f"{ALONE}DO $$ BEGIN COMMIT; END $$;"},
            id="DO that commits, in a repeatable",
        ),
        pytest.param(
            "",
            {"001_a.sql": "DO $$ BEGIN EXECUTE 'VACUUM'; END $$;"},
            "25001",
            "Take the statement out of the function or DO block, and put it into a file of its "
            "own that begins with the line `-- migrator: no-transaction`.",
            {"001_a.sql": f"{ALONE}VACUUM;"},
            id="VACUUM in a DO block",
        ),
        pytest.param(
            ENUM,
            {"001_a.sql": "ALTER TYPE mood ADD VALUE 'ok';\nINSERT INTO moods VALUES ('ok');"},
            "55P04",
            "Make two files: a value of an enum can be used once the file that adds it has "
            "committed. Move what uses it to the next one.",
            {"001_a.sql": "ALTER TYPE mood ADD VALUE 'ok';",
             "002_b.sql": "INSERT INTO moods VALUES ('ok');"},
            id="a new value of an enum",
        ),
        pytest.param(
            "",
            {"001_a.sql": "SET no_such_setting_of_a_newer_server = 0;\nSELECT 1;"},
            "42704",
            "Take the line out: this server has no such setting. A newer pg_dump writes it; dump "
            "with the one of the server's own version.",
            {"001_a.sql": "SELECT 1;"},
            id="SET of a newer server's",
        ),
        pytest.param(
            "CREATE VIEW v AS SELECT 1",
            {"R__v.sql": "CREATE VIEW v AS SELECT 1 AS one;"},
            "42P07",
            "Write it so that it can run again: CREATE OR REPLACE, or DROP … IF EXISTS before it.",
            {"R__v.sql": "DROP VIEW IF EXISTS v; CREATE VIEW v AS SELECT 1 AS one;"},
            id="a repeatable that runs once only",
        ),
        pytest.param(
            "CREATE TABLE t ()",
            {"001_a.sql": "DO $$ BEGIN IF to_regclass('t') IS NOT NULL THEN RAISE EXCEPTION 'no' "
             "USING ERRCODE = '53100', HINT = 'Drop t.'; END IF; END $$;"},
            "53100",
            "Do what the hint says, then run again.",
            {"000_a.sql": "DROP TABLE t;"},
            id="a RAISE with a HINT",
        ),
        pytest.param(
            "",
            {"001_a.sql": "CREATE TABLE t ();\nCREATE TABLE t ();"},
            "42P07",
            "Fix the file and run again.",
            {"001_a.sql": "CREATE TABLE t ();"},
            id="a file that makes a table twice",
        ),
    ],
)  # fmt: skip
def test_the_remedy_as_it_stands_leads_to_a_green_run(
    before: str,
    sql: dict[str, str],
    sqlstate: str,
    remedy: str,
    fixed: dict[str, str],
    database: Database,
    tmp_path: Path,
) -> None:
    database.query(before or "SELECT")
    result = apply(database, tmp_path, sql)
    assert (result.code, result.error["sqlstate"]) == (15, sqlstate), result.stderr
    assert result.error["remedy"] == remedy
    assert database.query("SELECT count(*) FROM schema_migrations") == [(0,)]
    assert apply(database, tmp_path, fixed).code == 0


def test_advice_to_remove_commit_leads_to_no_unsafe_value(
    database: Database, tmp_path: Path
) -> None:
    database.query(ENUM)
    files = {
        "001_a.sql": "ALTER TYPE mood ADD VALUE 'ok';\nCOMMIT;\nINSERT INTO moods VALUES ('ok');"
    }
    result = apply(database, tmp_path, files)
    [finding] = result.report["findings"]
    assert (result.code, finding["line"]) == (10, 2)
    assert "such as a new value of an enum, goes into a file of its own" in finding["remedy"]


def test_a_commit_under_an_exception(database: Database, tmp_path: Path) -> None:
    database.query(COMMITS)
    sql = "DO $$ BEGIN CALL commits(); EXCEPTION WHEN undefined_table THEN NULL; END $$;"
    result = apply(database, tmp_path, {"001_a.sql": ALONE + sql})
    assert (result.code, result.error["sqlstate"]) == (15, "2D000"), result.stderr
    assert (
        "`repair --retry 001_a --reason WHY` once nothing of it is left" in result.error["remedy"]
    )
    fixed = {"001_a.sql": f"{ALONE}DO $$ BEGIN CALL commits(); END $$;"}
    assert apply(database, tmp_path, fixed).code == 14
    words = ("repair", "--retry", "001_a", "--reason", "nothing is left")
    assert run_job(database.url, tmp_path, *words).code == 0
    assert run_job(database.url, tmp_path).code == 0


def test_an_undo_that_cannot_run_in_a_transaction(database: Database, tmp_path: Path) -> None:
    database.query(PARTITIONED)
    undo = {"001_a.sql": "SELECT 1;", "001_a.down.sql": "REINDEX TABLE p;"}
    assert apply(database, tmp_path, undo).code == 0
    result = run_job(database.url, tmp_path, "rollback")
    assert (result.code, result.error["sqlstate"]) == (15, "25001")
    assert result.error["remedy"] == (
        "Let 001_a.down.sql begin with the line `-- migrator: no-transaction`, then run "
        "`rollback --from-files`."
    )
    (tmp_path / "001_a.down.sql").write_text(f"{ALONE}REINDEX TABLE p;")
    assert run_job(database.url, tmp_path, "rollback", "--from-files").code == 0


FROM_BEFORE = "This database was made before migrator."


@pytest.mark.parametrize(
    ("made", "sqlstate"),
    [
        ("CREATE TABLE t (a int)", "42P07"),
        ("CREATE VIEW v AS SELECT 1", "42P07"),
        ("CREATE SCHEMA s", "42P06"),
        ("CREATE TYPE e AS ENUM ('a')", "42710"),
        ("CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'", "42723"),
        ("CREATE POLICY p ON old", "42710"),
        ("CREATE INDEX i ON old (a)", "42P07"),
        ("ALTER TABLE old ADD CONSTRAINT c CHECK (a > 0)", "42710"),
        ("ALTER TABLE old ADD COLUMN b int", "42701"),
        ("ALTER TABLE old ADD PRIMARY KEY (a)", "42P16"),
        ("CREATE TYPE c AS (a int, b text)", "42710"),
        ("CREATE COLLATION deep (provider = icu, locale = 'de')", "42710"),
        ("CREATE PUBLICATION changes FOR TABLE old", "42710"),
        ("CREATE STATISTICS s ON a, (a + 1) FROM old", "42710"),
        ("CREATE CONVERSION c FOR 'LATIN1' TO 'UTF8' FROM iso8859_1_to_utf8", "42710"),
        ("CREATE EXTENSION tablefunc", "42710"),
        ("CREATE FOREIGN DATA WRAPPER w", "42710"),
        ("CREATE RULE r AS ON INSERT TO old DO ALSO NOTIFY old", "42710"),
        (
            "CREATE TRIGGER g BEFORE UPDATE ON old FOR EACH ROW "
            "EXECUTE FUNCTION suppress_redundant_updates_trigger()",
            "42710",
        ),
        ("DO $$\nBEGIN\n  PERFORM 1;\n  CREATE TABLE t (a int);\nEND $$", "42P07"),
        (f"{ALONE}CREATE TABLE t (a int)", "42P07"),
        (f"{ALONE}CREATE INDEX CONCURRENTLY i ON old (a)", "42P07"),
    ],
)
@pytest.mark.parametrize("search_path", ["", "elsewhere"])
def test_a_database_from_before_is_recognised(
    made: str, sqlstate: str, search_path: str, database: Database, tmp_path: Path
) -> None:
    """With SEARCH_PATH the names of the files are those of that schema."""
    with closing(database.connect()) as connection, connection.cursor() as cursor:
        cursor.execute("CREATE SCHEMA elsewhere")
        cursor.execute(f"SET search_path = {search_path or 'public'}")
        cursor.execute("CREATE TABLE old (a int)")
        cursor.execute(made)
    files = {"001_a.sql": made}
    result = apply(database, tmp_path, files, SEARCH_PATH=search_path)
    assert (result.code, result.error["sqlstate"]) == (15, sqlstate), result.stderr
    assert result.error["remedy"].startswith(FROM_BEFORE)


def test_a_database_from_before_is_taken_over_as_the_remedy_says(
    database: Database, tmp_path: Path, scratch: Database
) -> None:
    files = {"001_a.sql": "CREATE TABLE t (a int);", "002_b.sql": "CREATE TABLE u (a int);"}
    database.query(files["001_a.sql"])
    result = apply(database, tmp_path, files)
    assert "set SHADOW_DATABASE_URL to a server where" in result.error["remedy"]
    assert "`baseline --at VERSION --check`" in result.error["remedy"]
    words = ("baseline", "--at", "001_a", "--check")
    taken = run_job(database.url, tmp_path, *words, SHADOW_DATABASE_URL=scratch.url)
    assert taken.code == 0, taken.stderr
    assert run_job(database.url, tmp_path).applied == ["002_b"]


def test_what_is_there_later_is_recorded_as_the_remedy_says(
    database: Database, tmp_path: Path
) -> None:
    database.query("CREATE TABLE t (a int)")
    files = {"001_a.sql": "SELECT 1;", "002_b.sql": "CREATE TABLE t (a int);"}
    result = apply(database, tmp_path, files)
    assert "`repair --applied 002_b --reason WHY`" in result.error["remedy"]
    words = ("repair", "--applied", "002_b", "--reason", "by hand")
    assert run_job(database.url, tmp_path, *words).code == 0
    assert run_job(database.url, tmp_path).report["outcome"] == "nothing to do"


def test_what_a_new_database_has_is_no_sign_of_an_older_one(
    database: Database, roles: Roles, tmp_path: Path
) -> None:
    result = apply(database, tmp_path, {"001_a.sql": "CREATE SCHEMA public;"})
    assert (result.code, result.error["sqlstate"]) == (15, "42P06")
    assert result.error["remedy"] == "Fix the file and run again."
    for of_postgresql, sqlstate in (
        ("CREATE SCHEMA information_schema;", "42P06"),
        ("CREATE EXTENSION plpgsql;", "42710"),
        ("CREATE LANGUAGE plpgsql HANDLER plpgsql_call_handler;", "42710"),
    ):
        result = apply(database, tmp_path, {"001_a.sql": of_postgresql})
        assert (result.code, result.error["sqlstate"]) == (15, sqlstate), result.stderr
        assert result.error["remedy"] == "Fix the file and run again."
    result = apply(database, tmp_path, {"001_a.sql": f"CREATE ROLE {roles.owner};"})
    assert (result.code, result.error["sqlstate"]) == (15, "42710")
    assert result.error["remedy"].startswith("A role belongs to the whole server")


@pytest.mark.parametrize(
    "twice",
    [
        "CREATE VIEW v AS SELECT * FROM old",
        "CREATE INDEX i ON old (a)",
        "CREATE PUBLICATION changes FOR TABLE old",
        "CREATE TABLE t (LIKE old)",
    ],
)
def test_what_the_file_makes_twice_over_an_older_table_is_no_sign_of_an_older_database(
    database: Database, tmp_path: Path, twice: str
) -> None:
    database.query("CREATE TABLE old (a int)")
    result = apply(database, tmp_path, {"001_a.sql": f"{twice};\n{twice};"})
    assert (result.code, result.error["line"]) == (15, 2)
    assert result.error["remedy"] == "Fix the file and run again."


@dataclass(frozen=True)
class Roles:
    """Two roles of a test, which the whole server has."""

    owner: str
    runner: str


@pytest.fixture
def roles(database: Database) -> Iterator[Roles]:
    made = Roles(f"Owner of {database.dbname}", f"runner_{database.dbname}")
    quoted = Roles(f'"{made.owner}"', made.runner)
    database.query(f"CREATE ROLE {quoted.owner}; CREATE ROLE {made.runner} LOGIN PASSWORD 'x'")
    database.query(f"GRANT USAGE, CREATE ON SCHEMA public TO {made.runner}, {quoted.owner}")
    yield quoted
    in_database = f"DROP OWNED BY {quoted.owner}, {made.runner} CASCADE"
    database.query(f"{in_database}; DROP ROLE {quoted.owner}, {made.runner}")


@pytest.fixture
def scratch(database: Database) -> Iterator[Database]:
    made = create_database(database.server)
    yield made
    drop_database(made)


THEIRS = "CREATE TABLE t (a int PRIMARY KEY); ALTER TABLE t OWNER TO {owner}"


@pytest.mark.parametrize(
    ("before", "sql", "command"),
    [
        pytest.param(THEIRS, "ALTER TABLE t ADD b int", "GRANT {owner} TO {runner}", id="table"),
        pytest.param(
            THEIRS, "CREATE INDEX CONCURRENTLY i ON t (a)", "GRANT {owner} TO {runner}", id="alone"
        ),
        pytest.param(THEIRS, "DROP TABLE t", "GRANT {owner} TO {runner}", id="drop"),
        pytest.param(
            THEIRS,
            "DO $$ BEGIN\n  PERFORM 1;\n  ALTER TABLE t ADD b int;\nEND $$",
            "GRANT {owner} TO {runner}",
            id="in a DO block",
        ),
        pytest.param(
            "CREATE FUNCTION f(a int) RETURNS int LANGUAGE sql AS 'SELECT 1';"
            "ALTER FUNCTION f OWNER TO {owner}",
            "CREATE OR REPLACE FUNCTION f(a int) RETURNS int LANGUAGE sql AS 'SELECT 2'",
            "GRANT {owner} TO {runner}",
            id="function",
        ),
        pytest.param(
            "CREATE TYPE e AS ENUM ('a'); ALTER TYPE e OWNER TO {owner}",
            "ALTER TYPE e ADD VALUE 'b'",
            "GRANT {owner} TO {runner}",
            id="type",
        ),
        pytest.param(
            "CREATE TABLE t (a int)",
            "CREATE POLICY p ON t",
            "ALTER TABLE public.t OWNER TO {runner}",
            id="a superuser's",
        ),
        pytest.param(
            "CREATE TABLE t (a int)",
            "SELECT a FROM public.t",
            "GRANT SELECT ON TABLE public.t TO {runner}",
            id="privilege",
        ),
        pytest.param(
            "CREATE TABLE t (a int PRIMARY KEY)",
            "CREATE TABLE u (a int REFERENCES t)",
            "GRANT REFERENCES ON TABLE public.t TO {runner}",
            id="references",
        ),
        pytest.param(
            "CREATE SCHEMA z",
            "CREATE TABLE IF NOT EXISTS z.u ()",
            "GRANT USAGE, CREATE ON SCHEMA z TO {runner}",
            id="schema",
        ),
        pytest.param(
            "", "CREATE SCHEMA z", "GRANT CREATE ON DATABASE {dbname} TO {runner}", id="database"
        ),
    ],
)  # fmt: skip
def test_a_right_is_granted_as_the_remedy_says(
    before: str, sql: str, command: str, database: Database, roles: Roles, tmp_path: Path
) -> None:
    words = {"owner": roles.owner, "runner": roles.runner, "dbname": database.dbname}
    database.query(before.format(**words) or "SELECT")
    runner = database.as_user(roles.runner, "x")
    files = {"001_a.sql": f"{ALONE if 'CONCURRENTLY' in sql else ''}{sql};"}
    result = apply(runner, tmp_path, files)
    assert (result.code, result.error["sqlstate"]) == (15, "42501"), result.stderr
    assert re.findall("`(.*?)`", result.error["remedy"]) == [command.format(**words)]
    database.query(command.format(**words))
    again = apply(runner, tmp_path, files)
    assert again.code == 0, again.stderr


def test_a_role_that_was_granted_without_its_rights(
    database: Database, roles: Roles, tmp_path: Path
) -> None:
    database.query(THEIRS.format(owner=roles.owner))
    database.query(f"ALTER ROLE {roles.runner} NOINHERIT")
    database.query(f"GRANT {roles.owner} TO {roles.runner}")
    runner = database.as_user(roles.runner, "x")
    result = apply(runner, tmp_path, {"001_a.sql": "DROP TABLE t;"})
    assert (result.code, result.error["sqlstate"]) == (15, "42501"), result.stderr
    [command] = re.findall("`(.*?)`", result.error["remedy"])
    database.query(command)
    assert run_job(runner.url, tmp_path).code == 0


def sleeper(database: Database) -> Callable[[], object]:
    cancel = (
        "SELECT pg_cancel_backend(pid) FROM pg_stat_activity "
        "WHERE wait_event = 'PgSleep' AND datname = current_database()"
    )
    return lambda: database.query(cancel)


@pytest.mark.parametrize("alone", [False, True])
def test_who_cancelled_is_told_apart(
    alone: bool, database: Database, roles: Roles, tmp_path: Path
) -> None:
    runner = database.as_user(roles.runner, "x")
    database.query(f"ALTER ROLE {roles.runner} SET statement_timeout = '77ms'")
    head = ALONE if alone else ""
    result = apply(runner, tmp_path, {"001_a.sql": f"{head}RESET ALL;\nSELECT pg_sleep(60);"})
    assert (result.code, result.error["sqlstate"]) == (15, "57014"), result.stderr
    assert "lets the role's own (77ms) act by RESET" in result.error["remedy"]
    job = Job(runner.url, write_folder(tmp_path, {"001_a.sql": f"{head}SELECT pg_sleep(60);"}))
    until(sleeper(database))
    assert job.result().error["remedy"].startswith("Another session cancelled the statement (pg_c")


def test_behind_a_pooler_it_may_have_been_the_pooler(
    database: Database, pgbouncer: MakePgBouncer, tmp_path: Path
) -> None:
    url = pgbouncer(database).url(database.dbname)
    job = Job(url, write_folder(tmp_path, {"001_a.sql": "SELECT pg_sleep(60);"}))
    until(sleeper(database))
    assert "or the pooler did by a limit of its own" in job.result().error["remedy"]
