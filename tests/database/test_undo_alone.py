"""Undos that cannot run in a transaction: on which session, what is recorded, what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.builders import write_folder
from tests.conftest import Database, MakePgBouncer
from tests.job import Result, run_job

ALONE = "-- migrator: no-transaction\n"
DOWN = f"{ALONE}DROP INDEX CONCURRENTLY t_a;\n"
FILES = {
    "001_table.sql": "CREATE TABLE t (a int, b text);\n",
    "001_table.down.sql": "DROP TABLE t;\n",
    "002_index.sql": f"{ALONE}CREATE INDEX CONCURRENTLY t_a ON t (a);\n",
    "002_index.down.sql": DOWN,
}
INDEX = "SELECT to_regclass('t_a')::text"
LOG = "SELECT event, detail FROM schema_migrations_log WHERE version = '002_index' ORDER BY id"
LOCKS = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'"


@pytest.fixture
def folder(database: Database, tmp_path: Path) -> Path:
    """The folder, applied."""
    made = write_folder(tmp_path / "migrations", FILES)
    assert run_job(database.url, made).code == 0
    return made


def undone(result: Result) -> list[str]:
    return [done["version"] for done in result.report["rolled_back"]]


def test_the_stored_undo_runs_outside_a_transaction_and_the_migration_again(
    database: Database, folder: Path, tmp_path: Path
) -> None:
    old = write_folder(tmp_path / "old", {"001_table.sql": FILES["001_table.sql"]})
    for _ in range(2):
        result = run_job(database.url, old, "rollback", "--to", "001_table")
        assert (result.code, undone(result)) == (0, ["002_index"]), result.stderr
        assert database.query(INDEX) == [(None,)]
        assert database.query(LOCKS) == [(0,)]
        assert run_job(database.url, folder).applied == ["002_index"]
        assert database.query(INDEX) == [("t_a",)]
    lines = database.query(LOG)
    way = [(event, detail.get("way")) for event, detail in lines]
    there = [("intent", None), ("outcome", None), ("applied", None)]
    back = [("intent", "back"), ("outcome", "back"), ("rolled_back", None)]
    assert way == [*there, *back, *there, *back, *there]
    detail = lines[5][1]
    assert (detail["from"], detail["kind"]) == ("stored", "versioned")
    assert detail["execution_time_ms"] == lines[4][1]["execution_time_ms"]


def test_both_ways_of_undoing_go_in_one_run(database: Database, folder: Path) -> None:
    result = run_job(database.url, folder, "rollback")
    assert (result.code, undone(result)) == (0, ["002_index", "001_table"])
    assert database.query("SELECT to_regclass('t')") == [(None,)]


def test_behind_a_pooler_of_which_nothing_is_known_nothing_is_undone(
    database: Database, folder: Path, pgbouncer: MakePgBouncer
) -> None:
    pooled = pgbouncer(database, pool_mode="transaction", pool_size=1).url(database.dbname)
    before = database.query("SELECT count(*) FROM schema_migrations_log")
    for words in ((), ("--plan",)):
        result = run_job(pooled, folder, "rollback", *words)
        assert result.code == 2
        assert "Set DIRECT_URL" in result.error["remedy"]
    assert database.query(INDEX) == [("t_a",)]
    assert database.query("SELECT count(*) FROM schema_migrations_log") == before
    direct = run_job(pooled, folder, "rollback", DIRECT_URL=database.url)
    assert (direct.code, undone(direct)) == (0, ["002_index", "001_table"])


def test_a_refused_statement_leaves_what_ran_and_the_rest_may_be_mended(
    database: Database, folder: Path
) -> None:
    text = f"{DOWN}DROP TABLE nothing;\n"
    (folder / "002_index.down.sql").write_text(text)
    result = run_job(database.url, folder, "rollback", "--from-files")
    assert (result.code, result.error["line"]) == (15, 3)
    assert result.report["outcome"] == (
        "the undo of 002_index is not finished; done and committed: statement 1; "
        "not tried: 001_table"
    )
    assert result.error["remedy"] == "Fix 002_index.down.sql and run again."
    assert database.query(LOG)[-1][0] == "rollback_failed"
    assert run_job(database.url, folder).code == 14
    (folder / "002_index.down.sql").write_text(f"{ALONE}DROP TABLE IF EXISTS nothing;\n")
    changed = run_job(database.url, folder, "rollback", "--from-files")
    assert changed.code == 14
    assert "statement 1 has run, and the file has changed it since" in changed.error["message"]
    (folder / "002_index.down.sql").write_text(f"{DOWN}DROP TABLE IF EXISTS nothing;\n")
    result = run_job(database.url, folder, "rollback", "--from-files")
    assert (result.code, undone(result)) == (0, ["002_index", "001_table"])


def test_a_first_statement_that_is_refused_leaves_the_migration_applied(
    database: Database, folder: Path
) -> None:
    database.query("DROP INDEX t_a")
    result = run_job(database.url, folder, "rollback")
    assert result.code == 15
    assert result.report["outcome"] == (
        "002_index is still applied, and nothing of it was undone; not tried: 001_table"
    )
    assert run_job(database.url, folder, "verify").code == 0


def test_what_a_migration_left_in_the_journal_is_none_of_its_undo_s(
    database: Database, tmp_path: Path
) -> None:
    files = {
        "001_table.sql": f"{ALONE}CREATE TABLE t (a int);\nSELECT 1/0;\n",
        "001_table.down.sql": f"{ALONE}DROP TABLE t;\n",
    }
    folder = write_folder(tmp_path, files)
    assert run_job(database.url, folder).code == 15
    assert run_job(database.url, folder, "baseline", "--at", "001_table").code == 0
    result = run_job(database.url, folder, "rollback", "--steps", "1")
    assert (result.code, undone(result)) == (0, ["001_table"]), result.stderr
    assert database.query("SELECT to_regclass('t')") == [(None,)]


def test_the_history_of_the_supabase_cli_is_kept_in_step(
    supabase: Database, tmp_path: Path
) -> None:
    supabase.query(
        """CREATE SCHEMA IF NOT EXISTS supabase_migrations;
           CREATE TABLE IF NOT EXISTS supabase_migrations.schema_migrations
               (version text PRIMARY KEY, statements text[], name text)"""
    )
    folder = write_folder(tmp_path, FILES)
    assert run_job(supabase.url, folder, SYNC_SUPABASE_HISTORY="on").code == 0
    words = ("rollback", "--to", "001_table")
    assert run_job(supabase.url, folder, *words, SYNC_SUPABASE_HISTORY="on").code == 0
    kept = "SELECT version FROM supabase_migrations.schema_migrations"
    assert supabase.query(kept) == [("001",)]


def test_a_rehearsal_proves_an_undo_outside_a_transaction(
    database: Database, tmp_path: Path
) -> None:
    folder = write_folder(tmp_path, FILES)
    result = run_job(None, folder, "rehearse", SHADOW_DATABASE_URL=database.url)
    assert result.code == 0, result.stderr
    assert [line["result"] for line in result.of("migration.rehearsed")] == [
        "undone and made again"
    ] * 2
