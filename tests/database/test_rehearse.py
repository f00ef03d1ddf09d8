"""The proof of undo: what passes, what is found, and what a scratch database may be."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.builders import write_folder
from tests.conftest import Database, MakePgBouncer, create_database, drop_database, in_charge
from tests.job import ROOT, Job, Result, run_job, until
from tests.postgres import Address

LEFT = "SELECT datname FROM pg_database WHERE datname LIKE 'migrator_rehearsal_%'"
GOOD = {
    "001_a.sql": "CREATE TABLE a (id int, name text);\n",
    "001_a.down.sql": "DROP TABLE a;\n",
    "002_b.sql": "INSERT INTO a VALUES (1, 'x');\nCREATE INDEX a_name ON a (name);\n",
    "002_b.down.sql": "DROP INDEX a_name;\nDELETE FROM a WHERE id = 1;\n",
}


def rehearse(url: str, folder: Path, *words: str, **settings: str) -> Result:
    return run_job(None, folder, "rehearse", *words, SHADOW_DATABASE_URL=url, **settings)


def problems(result: Result) -> list[tuple[str, str]]:
    return [(found["file"], found["problem"]) for found in result.report["findings"]]


def test_the_shipped_migrations_are_undone_whole(database: Database) -> None:
    result = rehearse(database.url, ROOT / "migrations")
    assert result.code == 0, result.stderr
    assert [(line["version"], line["result"]) for line in result.of("migration.rehearsed")] == [
        ("001_initial_schema", "undone and made again"),
        ("002_seed_data", "undone and made again"),
        ("003_invoice_processing_fields", "undone and made again"),
    ]
    assert in_charge(database.server).query(LEFT) == []


def test_the_shipped_migrations_are_undone_whole_on_supabase(supabase: Database) -> None:
    """In a database that its plain `postgres` makes; Supabase's roles are there."""
    result = rehearse(supabase.url, ROOT / "migrations")
    assert (result.code, in_charge(supabase.server).query(LEFT)) == (0, []), result.stderr


def test_make_rehearse_brings_its_own_server() -> None:
    words = [sys.executable, str(ROOT / "tests" / "postgres.py"), "scratch", "--"]
    done = subprocess.run(
        [*words, sys.executable, str(ROOT / "entrypoint.py"), "rehearse"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout.count("undone and made again")) == (0, 3), done.stderr


def test_the_answer_says_what_was_proven(database: Database, tmp_path: Path) -> None:
    folder = write_folder(tmp_path, {**GOOD, "003_c.sql": "CREATE TABLE c (id int);\n"})
    result = rehearse(database.url, folder, "--json")
    answer = json.loads(result.stdout)
    assert answer["rehearsed"] == [
        {
            **{"version": "001_a", "result": "undone and made again"},
            "undo_locks": [{"relation": "public.a", "lock": "ACCESS EXCLUSIVE"}],
        },
        {
            **{"version": "002_b", "result": "undone and made again"},
            "undo_locks": [{"relation": "public.a", "lock": "ACCESS EXCLUSIVE"}],
        },
        {"version": "003_c", "result": "no undo"},
    ]
    assert answer["outcome"] == "2 undone and made again on a scratch database; no undo: 003_c"
    assert (answer["applied"], answer["rolled_back"]) == ([], [])
    assert "migration.applied" not in result.events


def test_what_an_undo_would_do_to_a_large_table_is_a_warning(
    database: Database, tmp_path: Path
) -> None:
    files = {
        **GOOD,
        "003_c.sql": "ALTER TABLE a ALTER id TYPE bigint;\n",
        "003_c.down.sql": "ALTER TABLE a ALTER id TYPE int;\n",
        "004_d.sql": "-- migrator: no-transaction\nCREATE INDEX CONCURRENTLY d ON a (id);\n",
        "004_d.down.sql": "-- migrator: no-transaction\nDROP INDEX CONCURRENTLY d;\n",
    }
    folder = write_folder(tmp_path, files)
    assert run_job(database.url, folder).code == 0
    database.query("INSERT INTO a SELECT i, 'x' FROM generate_series(1, 20000) AS i")
    shadow = {"SHADOW_DATABASE_URL": in_charge(database.server).url, "PREFLIGHT_SIZE": "100kB"}
    result = run_job(database.url, folder, "rehearse", "--json", **shadow)
    assert result.code == 0, result.stderr
    rows = json.loads(result.stdout)["rehearsed"]
    locks = [row["undo_locks"] for row in rows]
    shut = [{"relation": "public.a", "lock": "ACCESS EXCLUSIVE"}]
    assert locks == [shut, shut, shut, None]
    [warning] = [line for line in result.of("plan.warning") if line["file"] == "003_c.down.sql"]
    assert warning["problem"].startswith("ALTER TABLE rewrites public.a")
    nowhere = "postgresql://u@127.0.0.1:1/d"
    result = run_job(nowhere, folder, "rehearse", CONNECT_TIMEOUT="300ms", **shadow)
    assert (result.code, result.stdout.count("undone and made again")) == (0, 4), result.stderr
    assert any(
        "sizes of tables are not known" in line["problem"] for line in result.of("plan.warning")
    )
    text = run_job(database.url, folder, "rehearse", **shadow).stdout
    assert "the undo locks public.a ACCESS EXCLUSIVE" in text


def test_files_are_rehearsed_in_the_order_in_which_they_are_applied(
    database: Database, tmp_path: Path
) -> None:
    files = {
        "001_a.sql": "-- migrator: requires 002_b\nALTER TABLE b ADD COLUMN a int;\n",
        "001_a.down.sql": "ALTER TABLE b DROP COLUMN a;\n",
        "002_b.sql": "CREATE TABLE b (id int);\n",
        "002_b.down.sql": "DROP VIEW IF EXISTS v;\nDROP TABLE b;\n",
        "003_c.sql": "-- migrator: no-transaction\nCREATE INDEX CONCURRENTLY c ON b (id);\n",
        "003_c.down.sql": "DROP INDEX c;\n",
        "R__v.sql": "CREATE OR REPLACE VIEW v AS SELECT id FROM b;\n",
    }
    result = rehearse(database.url, write_folder(tmp_path, files), LOG_LEVEL="debug")
    assert result.code == 0, result.stderr
    assert [(line["version"], line["result"]) for line in result.of("migration.rehearsed")] == [
        ("002_b", "undone and made again"),
        ("001_a", "undone and made again"),
        ("003_c", "undone and made again"),
        ("R__v", "repeatable"),
    ]
    (tmp_path / "002_b.sql").write_text("-- migrator: requires 001_a\n" + files["002_b.sql"])
    assert rehearse(database.url, tmp_path).code == 10


VIEW = "CREATE OR REPLACE VIEW v AS SELECT id FROM a;\n"


@pytest.mark.parametrize(
    ("files", "code", "said"),
    [
        pytest.param({"R__v.sql": VIEW}, 15, "R__v.sql made what depends on it", id="in the way"),
        pytest.param(
            {"R__v.sql": VIEW, "001_a.down.sql": "DROP TABLE a CASCADE;\n"}, 0, "", id="made again"
        ),
        pytest.param(
            {"R__v.sql": "CREATE VIEW v AS SELECT 1;\n"},
            15,
            "R__v.sql:1:1: ERROR 42P07",
            id="runs only once",
        ),
        pytest.param(
            {"R__v.sql": "CREATE TABLE IF NOT EXISTS v AS SELECT 1;\nINSERT INTO v VALUES (2);\n"},
            10,
            "rows public.v differs: count 2 the first time, 3 after all was undone and applied",
            id="adds rows each time",
        ),
    ],
)
def test_repeatables_are_in_place_when_all_is_undone_and_applied_again(
    database: Database, tmp_path: Path, files: dict[str, str], code: int, said: str
) -> None:
    result = rehearse(database.url, write_folder(tmp_path, {**GOOD, **files}))
    assert (result.code, said in json.dumps(result.report)) == (code, True), result.stderr
    assert in_charge(database.server).query(LEFT) == []


@pytest.mark.parametrize(
    ("files", "found"),
    [
        pytest.param(
            {"001_a.down.sql": "DROP TABLE a;\nCREATE TYPE e AS ENUM ('a');\n"},
            [
                (
                    "001_a.down.sql",
                    "enum public.e is there after 001_a.down.sql, and not before 001_a.sql",
                ),
                ("001_a.sql", "enum public.e is there the second time, and not the first time"),
            ],
            id="something is left",
        ),
        pytest.param(
            {
                "001_a.sql": "CREATE TABLE a (id int, name text);\n"
                "GRANT CREATE ON SCHEMA public TO pg_monitor;\n"
            },
            [
                (
                    "001_a.down.sql",
                    "schema public differs: grants: pg_monitor CREATE only after 001_a.down.sql",
                )
            ],
            id="something was there before and is other",
        ),
        pytest.param(
            {"002_b.down.sql": "DROP INDEX a_name;\n"},
            [
                (
                    "002_b.down.sql",
                    "rows public.a differs: count 0 before 002_b.sql, 1 after 002_b.down.sql",
                ),
                (
                    "002_b.sql",
                    "rows public.a differs: count 1 the first time, 2 the second time",
                ),
            ],
            id="data is left, and doubled the second time",
        ),
        pytest.param(
            {
                "002_b.sql": "DO $$ BEGIN IF to_regclass('mark') IS NULL THEN "
                "CREATE INDEX a_name ON a (name); END IF; END $$;\n"
                "CREATE TABLE IF NOT EXISTS mark ();\n",
                "002_b.down.sql": "DROP INDEX a_name;\n",
            },
            [
                (
                    "002_b.down.sql",
                    "table public.mark is there after 002_b.down.sql, and not before 002_b.sql",
                ),
                (
                    "002_b.sql",
                    "index public.a_name is there the first time, and not the second time",
                ),
            ],
            id="what is left keeps the second time from making the same",
        ),
    ],
)
def test_a_difference_is_laid_to_the_file_and_named(
    database: Database, tmp_path: Path, files: dict[str, str], found: list[tuple[str, str]]
) -> None:
    result = rehearse(database.url, write_folder(tmp_path, {**GOOD, **files}))
    assert (result.code, result.error["type"]) == (10, "SourceError")
    assert [
        problem for problem in problems(result) if not problem[1].startswith("rows public.mark")
    ] == found
    assert in_charge(database.server).query(LEFT) == []


def test_an_undo_that_fails_says_where_and_leaves_no_database(
    database: Database, tmp_path: Path
) -> None:
    folder = write_folder(
        tmp_path, {**GOOD, "002_b.down.sql": "DROP INDEX a_name;\nDROP TABLE x;\n"}
    )
    result = rehearse(database.url, folder)
    assert result.code == 15
    assert result.error["message"].startswith("002_b.down.sql:2:1: ERROR 42P01")
    assert result.report["outcome"] == "nothing but a scratch database was touched"
    assert in_charge(database.server).query(LEFT) == []


def test_a_stopped_rehearsal_leaves_no_database(database: Database, tmp_path: Path) -> None:
    folder = write_folder(tmp_path, {"001_a.sql": "SELECT pg_sleep(600);\n"})
    job = Job(
        None,
        folder,
        "rehearse",
        SHADOW_DATABASE_URL=database.url,
        LOG_LEVEL="debug",
    )
    job.hear("migration.started")
    ((name,),) = in_charge(database.server).query(LEFT)
    job.process.send_signal(signal.SIGTERM)
    result = job.result()
    assert (result.code, result.report["outcome"]) == (
        23,
        "nothing but a scratch database was touched",
    )
    told = [(line["scratch"],) for line in result.of("scratch.left")]  # for want of time
    assert in_charge(database.server).query(LEFT) == told
    if told:
        in_charge(database.server).query(f"DROP DATABASE {name} WITH (FORCE)")


def test_a_plain_role_drops_the_database_though_others_are_in_it(
    database: Database, tmp_path: Path
) -> None:
    """Such as an autovacuum worker: to end it by force is a superuser's right."""
    charge = in_charge(database.server)
    role = f"plain_{database.dbname}"
    charge.query(f"CREATE ROLE {role} LOGIN CREATEDB PASSWORD 'x'")
    folder = write_folder(tmp_path, {"001_a.sql": "SELECT pg_sleep(600);\n"})
    url = charge.as_user(role, "x").url
    job = Job(None, folder, "rehearse", SHADOW_DATABASE_URL=url, LOG_LEVEL="debug")
    job.hear("migration.started")
    ((name,),) = charge.query(LEFT)
    theirs = Database(database.server, name, charge.user, charge.password).connect()
    own = Database(database.server, name, role, "x").connect()
    of_job = f"FROM pg_stat_activity WHERE usename = '{role}'"
    asleep = f"SELECT pg_cancel_backend(pid) {of_job} AND wait_event = 'PgSleep'"
    until(lambda: charge.query(asleep))
    until(lambda: charge.query(f"SELECT 1 {of_job} AND query LIKE '%DROP DATABASE%'"))
    theirs.close()
    result = job.result()
    own.close()
    assert (result.code, result.of("scratch.left")) == (15, []), result.stderr
    assert charge.query(LEFT) == []
    charge.query(f"DROP ROLE {role}")


def test_without_a_scratch_database_nothing_is_rehearsed(tmp_path: Path) -> None:
    result = run_job(None, write_folder(tmp_path, GOOD), "rehearse")
    assert (result.code, result.error["message"]) == (2, "no scratch database is named")
    assert "SHADOW_DATABASE_URL" in result.error["remedy"]


@pytest.fixture
def given(database: Database) -> Iterator[Database]:
    """An empty database for a role that may create none."""
    role = f"tester_of_{database.dbname}"
    database.query(f"CREATE ROLE {role} LOGIN PASSWORD 'secret'")
    database.query(f"GRANT ALL ON SCHEMA public TO {role}")
    yield database.as_user(role, "secret")
    database.query(f"DROP OWNED BY {role}; DROP ROLE {role}")


def test_a_role_that_may_create_none_uses_the_empty_one_again_and_again(
    given: Database, tmp_path: Path
) -> None:
    folder = write_folder(tmp_path, GOOD)
    for _ in range(2):
        result = rehearse(given.url, folder)
        assert result.code == 0, result.stderr
        assert given.query("SELECT to_regclass('a'), count(*) FROM schema_migrations") == [
            (None, 0)
        ]


@pytest.mark.parametrize(
    ("made", "named"),
    [
        ("CREATE TABLE precious (id int)", "table public.precious"),
        ("CREATE SCHEMA precious", "schema precious"),
        ("CREATE TYPE precious AS ENUM ('a')", "enum public.precious"),
    ],
)
def test_a_database_that_holds_anything_is_never_touched(
    given: Database, tmp_path: Path, made: str, named: str
) -> None:
    given.as_superuser().query(made)
    result = rehearse(given.url, write_folder(tmp_path, GOOD))
    assert result.code == 2
    assert result.error["message"].endswith(f"is not empty, and was not touched; it has {named}")
    assert given.query("SELECT to_regclass('a'), to_regclass('schema_migrations')") == [
        (None, None)
    ]


def test_a_history_is_something_too(given: Database, tmp_path: Path) -> None:
    folder = write_folder(tmp_path, {"001_a.sql": "SELECT 1;\n"})
    assert run_job(given.url, folder).code == 0
    assert "it has 001_a" in rehearse(given.url, folder).error["message"]


def test_the_database_that_is_migrated_is_no_scratch_database(
    given: Database, pgbouncer: MakePgBouncer, tmp_path: Path
) -> None:
    folder = write_folder(tmp_path, GOOD)
    pooler = pgbouncer(given)
    by_the_pooler = pooler.url(given.dbname, given.user)
    for target, shadow in (
        (given.url, given.url),
        (given.url, given.url.replace("127.0.0.1", "localhost")),
        (by_the_pooler, given.url),
    ):
        result = run_job(target, folder, "rehearse", SHADOW_DATABASE_URL=shadow)
        assert (result.code, result.error["message"]) == (
            2,
            "SHADOW_DATABASE_URL names the database that is migrated",
        )
    assert given.query("SELECT to_regclass('a'), to_regclass('schema_migrations')") == [
        (None, None)
    ]


def test_another_database_of_the_same_server_is_one(
    given: Database, server: Address, tmp_path: Path
) -> None:
    target = create_database(server)
    result = run_job(
        target.url, write_folder(tmp_path, GOOD), "rehearse", SHADOW_DATABASE_URL=given.url
    )
    drop_database(target)
    assert result.code == 0, result.stderr


def test_no_password_of_the_scratch_database_is_shown(tmp_path: Path, given: Database) -> None:
    url = given.url.replace("secret", "Tr0ub4dor")
    result = rehearse(url, write_folder(tmp_path, GOOD), LOG_LEVEL="debug")
    assert result.code == 16
    assert "Tr0ub4dor" not in result.stderr + result.stdout
