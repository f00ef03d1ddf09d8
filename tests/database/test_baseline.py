"""Declaring what a database holds: what is written, what is refused, and what --check finds."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.builders import write_folder
from tests.conftest import Database, MakePgBouncer, MakeProxy, MakeSupabase
from tests.job import ROOT, Job, Result, run_job
from tests.proxy import Cut
from tests.ways import WAYS, way_to

FILES = {
    f"{n:03}_t{n}{end}": text
    for n in (1, 2, 3)
    for end, text in (
        (".sql", f"CREATE TABLE t{n} (id int PRIMARY KEY, name text NOT NULL);\n"),
        (".down.sql", f"DROP TABLE t{n};\n"),
    )
}
ROWS = """SELECT version, kind, rollback_sql, execution_time_ms, checksum IS NOT NULL, run_id::text
  FROM schema_migrations ORDER BY version"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_folder(tmp_path / "files", FILES)


def by_hand(database: Database, *numbers: int) -> None:
    """What the files make, made without them."""
    for n in numbers:
        database.query(FILES[f"{n:03}_t{n}.sql"])


def findings(result: Result) -> list[str]:
    return [found["problem"] for found in result.report["findings"]]


def test_what_is_there_is_recorded_and_the_rest_is_applied(
    database: Database, folder: Path
) -> None:
    by_hand(database, 1, 2)
    result = run_job(database.url, folder, "baseline", "--at", "002_t2", "--json")
    assert result.code == 0, result.stderr
    assert json.loads(result.stdout)["baseline"] == ["001_t1", "002_t2"]
    assert result.report["outcome"] == "2 recorded as baseline"
    run_id = result.report["run_id"]
    assert database.query(ROWS) == [
        ("001_t1", "baseline", "DROP TABLE t1;\n", None, True, run_id),
        ("002_t2", "baseline", "DROP TABLE t2;\n", None, True, run_id),
    ]
    log = "SELECT version, run_id::text FROM schema_migrations_log WHERE event = 'baseline'"
    assert database.query(log) == [("001_t1", run_id), ("002_t2", run_id)]
    assert result.of("history.baselined")[0]["count"] == 2
    assert run_job(database.url, folder).applied == ["003_t3"]
    assert run_job(database.url, folder, "verify").code == 0


def test_what_was_never_run_here_can_be_undone_where_a_text_is_there(
    database: Database, folder: Path
) -> None:
    by_hand(database, 1, 2)
    (folder / "001_t1.down.sql").unlink()
    assert run_job(database.url, folder, "baseline", "--at", "002_t2").code == 0
    result = run_job(database.url, folder, "rollback")
    assert (result.code, findings(result)) == (
        12,
        ["it was recorded by `baseline` and never run here, and no undo is stored"],
    )
    result = run_job(database.url, folder, "rollback", "--steps", "1")
    assert (result.code, database.query("SELECT to_regclass('t2')")) == (0, [(None,)])


def test_a_declared_migration_sets_its_floor(database: Database, folder: Path) -> None:
    file = folder / "002_t2.sql"
    file.write_text("-- migrator: floor\n" + file.read_text())
    assert run_job(database.url, folder, "baseline", "--at", "002_t2").code == 0
    floors = "SELECT version FROM schema_migrations WHERE floor"
    assert database.query(floors) == [("002_t2",)]
    older = write_folder(folder.parent / "older", {"001_t1.sql": FILES["001_t1.sql"]})
    assert run_job(database.url, older).code == 12


def test_a_second_baseline_of_the_same_is_none(database: Database, folder: Path) -> None:
    for outcome in ("2 recorded as baseline", "nothing to do"):
        result = run_job(database.url, folder, "baseline", "--at", "002_t2.sql")
        assert (result.code, result.report["outcome"]) == (0, outcome)
    log = "SELECT count(*) FROM schema_migrations_log WHERE event = 'baseline'"
    assert database.query(log) == [(2,)]


@pytest.mark.parametrize(
    ("first", "words", "message"),
    [
        (["up"], ["--at", "002_t2"], "the history is not empty: the newest applied is 003_t3"),
        (
            ["baseline", "--at", "001_t1"],
            ["--at", "002_t2"],
            "the history is not empty: the newest applied is 001_t1",
        ),
        (["status"], ["--at", "009_t9"], "there is no versioned 009_t9.sql in the folder"),
        (["status"], [], "`baseline` takes --at VERSION"),
    ],
)
def test_what_is_no_beginning_is_refused(
    database: Database, folder: Path, first: list[str], words: list[str], message: str
) -> None:
    assert run_job(database.url, folder, *first).code == 0
    result = run_job(database.url, folder, "baseline", *words)
    assert (result.code, result.error["message"]) == (2, message)


@pytest.mark.parametrize("way", WAYS)
def test_it_works_through_every_way_of_pooling(
    database: Database, pgbouncer: MakePgBouncer, folder: Path, way: str
) -> None:
    url = way_to(database, pgbouncer, way)
    assert run_job(url, folder, "baseline", "--at", "003_t3").code == 0
    assert run_job(url, folder, "verify").code == 0
    assert database.query("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'") == [(0,)]


@pytest.mark.parametrize("moment", list(Cut), ids=lambda moment: moment.name)
def test_a_connection_cut_at_a_baseline_is_settled_by_looking(
    database: Database, proxy: MakeProxy, folder: Path, moment: Cut
) -> None:
    cutter = proxy(database)
    cutter.cut_at(b"'baseline'", moment)
    result = run_job(cutter.through(database.url), folder, "baseline", "--at", "003_t3")
    assert (result.code, cutter.needle) == (0, None), result.stderr
    assert result.report["outcome"] == "3 recorded as baseline"
    log = "SELECT count(*) FROM schema_migrations_log WHERE event = 'baseline'"
    assert database.query(log) == [(3,)]


def test_of_several_at_once_one_writes(database: Database, folder: Path) -> None:
    jobs = [Job(database.url, folder, "baseline", "--at", "003_t3") for _ in range(4)]
    outcomes = sorted(job.result().report["outcome"] for job in jobs)
    assert outcomes == ["3 recorded as baseline", *["nothing to do"] * 3]
    assert database.query("SELECT count(*) FROM schema_migrations") == [(3,)]


def check(database: Database, folder: Path, at: str = "002_t2") -> Result:
    shadow = database.as_superuser().url.replace(database.dbname, "postgres")
    return run_job(
        database.url, folder, "baseline", "--at", at, "--check", SHADOW_DATABASE_URL=shadow
    )


def test_a_database_that_the_files_would_make_passes_the_check(
    database: Database, folder: Path
) -> None:
    by_hand(database, 1, 2)
    result = check(database, folder)
    assert (result.code, result.report["outcome"]) == (0, "2 recorded as baseline"), result.stderr
    assert result.of("plan.warning") == []


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ("DROP TABLE t2", "table public.t2 is there by the files, and not in the database"),
        (
            "CREATE INDEX extra ON t1 (name)",
            "index public.extra is there in the database, and not by the files",
        ),
        (
            "ALTER TABLE t1 ALTER name DROP NOT NULL",
            "column public.t1.name differs: not null yes by the files, no in the database",
        ),
    ],
)
def test_a_database_that_is_another_is_not_recorded(
    database: Database, folder: Path, change: str, problem: str
) -> None:
    by_hand(database, 1, 2)
    database.query(change)
    result = check(database, folder)
    assert (result.code, findings(result)) == (11, [problem])
    assert database.query("SELECT to_regclass('schema_migrations')") == [(None,)]


def test_owners_and_grants_are_warned_about(database: Database, folder: Path) -> None:
    by_hand(database, 1, 2)
    database.query("CREATE SCHEMA of_the_platform; CREATE TABLE of_the_platform.t ()")
    database.query("GRANT SELECT ON t1 TO PUBLIC; ALTER TABLE t2 OWNER TO pg_monitor")
    result = check(database, folder)
    assert result.code == 0
    assert [line["problem"] for line in result.of("plan.warning")] == [
        "table public.t1 differs: grants: PUBLIC SELECT only in the database",
        "table public.t2 differs: owner the login role by the files, pg_monitor in the database",
    ]


def test_repeatables_are_part_of_what_the_newest_files_make(
    database: Database, folder: Path
) -> None:
    by_hand(database, 1, 2, 3)
    write_folder(folder, {"R__v.sql": "CREATE OR REPLACE VIEW v AS SELECT id FROM t1;\n"})
    missing = "view public.v is there by the files, and not in the database"
    assert findings(check(database, folder, "003_t3")) == [missing]
    database.query("CREATE VIEW v AS SELECT id FROM t1")
    assert check(database, folder, "003_t3").code == 0
    assert run_job(database.url, folder).applied == ["R__v"]


def test_files_that_do_not_run_fail_the_check(database: Database, folder: Path) -> None:
    (folder / "002_t2.sql").write_text("SELECT nothing_of_the_kind;\n")
    result = check(database, folder)
    assert (result.code, result.error["file"]) == (15, "002_t2.sql")
    assert result.report["outcome"] == "nothing but a scratch database was touched"
    assert database.query("SELECT to_regclass('schema_migrations')") == [(None,)]


def test_what_supabase_grants_by_default_is_not_the_users(
    supabase_database: MakeSupabase, folder: Path
) -> None:
    """Tables from before 30 October 2026 keep their grants, and new ones get fewer."""
    database = supabase_database(data_api="legacy")
    by_hand(database, 1)
    revoke = "ALTER DEFAULT PRIVILEGES IN SCHEMA public REVOKE SELECT, INSERT, UPDATE, DELETE"
    database.query(f"{revoke} ON TABLES FROM anon, authenticated, service_role")
    by_hand(database, 2)
    for table, more in (("t1", ""), ("t2", "table public.t2 differs: grants: anon")):
        if more:
            database.query(f"GRANT SELECT ON {table} TO anon")
        result = check(database, folder)
        assert result.code == 0, result.stderr
        [platform] = [line for line in result.of("plan.warning") if line["level"] == "info"]
        things = "public.t1" if more else "public.t1, public.t2"
        assert platform["problem"].endswith(f"service_role differ on {things}")
        others = [line["problem"] for line in result.of("plan.warning") if line != platform]
        grants = [problem for problem in others if "extension" not in problem]
        assert [problem.startswith(more) for problem in grants] == ([True] if more else [])
        database.query("DROP TABLE schema_migrations, schema_migrations_log")


@pytest.mark.parametrize("data_api", ["closed", "legacy"])
def test_the_shipped_files_are_what_supabase_holds_after_them(
    supabase_database: MakeSupabase, data_api: str
) -> None:
    """The files were run by hand, as psql does; grants by default are the platform's."""
    database = supabase_database(data_api=data_api)
    for file in sorted((ROOT / "migrations").glob("[0-9]*.sql")):
        if not file.name.endswith(".down.sql"):
            database.query(file.read_text())
    result = run_job(
        database.url,
        ROOT / "migrations",
        *("baseline", "--at", "003_invoice_processing_fields", "--check"),
        SHADOW_DATABASE_URL=database.as_superuser().url.replace(database.dbname, "postgres"),
    )
    assert (result.code, findings(result)) == (0, []), result.stderr
    assert run_job(database.url, ROOT / "migrations", "verify").code == 0
