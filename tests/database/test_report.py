"""`report` on a real server: the whole state, as far as the role may see it."""

from __future__ import annotations

import json
from pathlib import Path

from tests.builders import write_folder
from tests.conftest import Database, MakePgBouncer
from tests.job import run_job

FILES = {
    "001_a.sql": "-- migrator: floor\nCREATE TABLE a ();",
    "002_b.sql": "SELECT 2;",
    "004_d.sql": "SELECT 4;",
}
BROKEN = "-- migrator: no-transaction\nCREATE TABLE e ();\nSELECT 1/0;"


def in_trouble(url: str, folder: Path) -> None:
    """One drifted, one missing, one late, one dirty, one that cannot be run."""
    assert run_job(url, write_folder(folder, FILES)).code == 0
    assert run_job(url, write_folder(folder, {"005_e.sql": BROKEN})).code == 15
    (folder / "002_b.sql").unlink()
    changed = {"004_d.sql": "changed", "003_c.sql": "SELECT 3;", "006_f.sql": "VACUUM; SELECT 6;"}
    write_folder(folder, changed)


def test_report_shows_the_whole_state_and_changes_nothing(
    database: Database, tmp_path: Path
) -> None:
    in_trouble(database.url, tmp_path)
    before = database.query("SELECT count(*) FROM schema_migrations_log")
    answer = json.loads(run_job(database.url, tmp_path, "report", "--json").stdout)
    states = {row["version"]: row["state"] for row in answer["migrations"]}
    assert states == {
        **{"001_a": "applied", "002_b": "missing", "003_c": "late", "004_d": "drifted"},
        **{"005_e": "dirty", "006_f": "pending"},
    }
    assert [found["file"] for found in answer["findings"]] == [
        *("004_d.sql", "002_b", "003_c.sql", "006_f.sql")
    ]
    assert answer["verdict"].startswith("`up` would end with 11 (DriftError): ")
    assert "cannot be run" not in answer["verdict"]
    [dirty] = answer["dirty"]
    assert (dirty["version"], dirty["done"]) == ("005_e", "statement 1")
    assert [line["event"] for line in answer["log"]][-2:] == ["outcome", "failed"]
    text = run_job(database.url, tmp_path, "report").stdout
    assert "004_d    drifted" in text
    assert "division by zero" in text
    assert database.query("SELECT count(*) FROM schema_migrations_log") == before


def test_report_makes_a_page_of_it_through_a_pooler_on_supabase_too(
    supabase: Database, pgbouncer: MakePgBouncer, tmp_path: Path
) -> None:
    in_trouble(supabase.url, tmp_path)
    pooler = pgbouncer(supabase, pool_mode="transaction", pool_size=1)
    result = run_job(
        pooler.url(supabase.dbname, "postgres", "postgres"), tmp_path, "report", "--markdown"
    )
    assert result.code == 0
    page = result.stdout
    assert page.startswith(f"# Migrations of `postgres@127.0.0.1:{pooler.port}/{supabase.dbname}`")
    assert "`repair --accept-checksum 004_d --reason WHY`" in page
    assert "| `001_a` | applied | versioned, floor |" in page
    assert '"003_c<br/>late"]:::late\n' in page
    assert "## Log\n\n| at | event |" in page


def test_the_newest_twenty_lines_of_the_log_are_shown(database: Database, tmp_path: Path) -> None:
    files = {f"{number:03}_a.sql": "SELECT 1;" for number in range(1, 31)}
    assert run_job(database.url, write_folder(tmp_path, files)).code == 0
    log = json.loads(run_job(database.url, tmp_path, "report", "--json").stdout)["log"]
    assert [line["version"] for line in log] == [f"{number:03}_a" for number in range(11, 31)]


def test_a_reader_of_the_history_is_told_that_the_log_is_not_shown(
    database: Database, tmp_path: Path
) -> None:
    database.query("DROP ROLE IF EXISTS reader")
    database.query("CREATE ROLE reader LOGIN PASSWORD 'x'")
    try:
        folder = write_folder(tmp_path, FILES)
        assert run_job(database.url, folder, HISTORY_READERS="reader").code == 0
        reader = database.as_user("reader", "x").url
        result = run_job(reader, folder, "report", "--markdown")
    finally:
        database.query("DROP OWNED BY reader; DROP ROLE reader")
    assert result.code == 0
    assert "| `001_a` | applied |" in result.stdout
    assert "the log is not shown, and whether a migration is dirty is not known" in result.stdout


def test_a_database_without_a_history_has_a_report_too(database: Database, tmp_path: Path) -> None:
    result = run_job(database.url, write_folder(tmp_path, FILES), "report", "--markdown")
    assert result.code == 0
    assert "`up` would apply 001_a, 002_b, 004_d." in result.stdout
