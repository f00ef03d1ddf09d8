"""schema_migrations_status: what a monitoring role may see of a history, and what it costs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import psycopg2
import pytest

from tests.builders import write_folder
from tests.conftest import Database
from tests.job import run_job

FILES = {"001_a.sql": "CREATE TABLE a ();", "002_b.sql": "CREATE TABLE b ();"}


def seen(database: Database, role: str) -> dict[str, Any]:
    """What the view shows to `role`."""
    with database.connect() as connection, connection.cursor() as cursor:
        cursor.execute(f"SET ROLE {role}")
        cursor.execute("SELECT to_jsonb(s) FROM public.schema_migrations_status AS s")
        [(row,)] = cursor.fetchall()
    return dict(row)


@pytest.fixture
def reader(database: Database) -> str:
    name = f"reader_{database.dbname}"
    database.query(f"CREATE ROLE {name}")
    return name


def test_a_reader_sees_how_things_are_and_no_text(
    database: Database, reader: str, tmp_path: Path
) -> None:
    settings = {"HISTORY_READERS": reader}
    folder = write_folder(tmp_path, FILES)
    assert run_job(database.url, folder, **settings).code == 0
    row = seen(database, reader)
    assert (row["applied"], row["current_version"], row["pending"]) == (2, "002_b", 0)
    assert (row["last_failure_code"], row["failing"]) == (None, False)
    assert row["last_success_at"] <= row["last_run_at"]
    more = {**FILES, "003_c.sql": "SELECT 's3cret'::int", "004_d.sql": "SELECT 1"}
    assert run_job(database.url, write_folder(tmp_path, more), **settings).code == 15
    row = seen(database, reader)
    assert (row["applied"], row["current_version"], row["pending"]) == (2, "002_b", 2)
    assert (row["last_failure_version"], row["last_failure_code"]) == ("003_c", "22P02")
    assert row["failing"]
    assert "s3cret" not in str(row)
    write_folder(tmp_path, {**more, "003_c.sql": "SELECT 1"})
    assert run_job(database.url, folder, **settings).code == 0
    row = seen(database, reader)
    assert (row["pending"], row["failing"], row["current_version"]) == (0, False, "004_d")
    with database.connect() as connection, connection.cursor() as cursor:
        cursor.execute(f"SET ROLE {reader}")
        with pytest.raises(psycopg2.errors.InsufficientPrivilege):
            cursor.execute("SELECT * FROM schema_migrations_log")


def test_it_comes_to_a_database_that_has_readers_already_and_only_once(
    database: Database, reader: str, tmp_path: Path
) -> None:
    folder = write_folder(tmp_path, FILES)
    settings = {"HISTORY_READERS": reader}
    assert run_job(database.url, folder, **settings).code == 0
    database.query("DROP VIEW schema_migrations_status")
    again = run_job(database.url, folder, **settings)
    assert (again.code, seen(database, reader)["applied"]) == (0, 2)
    prepared = "SELECT count(*) FROM schema_migrations_log WHERE event = 'history.prepared'"
    before = database.query(prepared)
    assert run_job(database.url, folder, **settings).code == 0
    assert database.query(prepared) == before


def test_without_readers_there_is_none(database: Database, tmp_path: Path) -> None:
    assert run_job(database.url, write_folder(tmp_path, FILES)).code == 0
    assert database.query("SELECT to_regclass('schema_migrations_status')") == [(None,)]


def test_the_api_of_a_platform_does_not_see_it(
    database: Database, reader: str, tmp_path: Path
) -> None:
    database.query("DO $$ BEGIN CREATE ROLE anon; EXCEPTION WHEN duplicate_object THEN END $$")
    database.query("ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT ALL ON TABLES TO anon")
    folder = write_folder(tmp_path, FILES)
    assert run_job(database.url, folder, HISTORY_READERS=reader).code == 0
    may = "SELECT has_table_privilege('anon', 'schema_migrations_status', 'SELECT')"
    assert database.query(may) == [(False,)]


def test_what_hinders_it_is_a_warning(database: Database, reader: str, tmp_path: Path) -> None:
    database.query("CREATE TYPE schema_migrations_status AS (a int)")
    folder = write_folder(tmp_path, FILES)
    result = run_job(database.url, folder, HISTORY_READERS=reader)
    assert result.code == 0, result.stderr
    (said,) = [line for line in result.of("connection.notice") if line["level"] == "warning"]
    assert "schema_migrations_status" in said["notice"]
    assert run_job(database.url, folder, "status", HISTORY_READERS=reader).code == 0


def test_it_is_no_drift(database: Database, reader: str, tmp_path: Path) -> None:
    folder = write_folder(tmp_path, FILES)
    settings = {
        "HISTORY_READERS": reader,
        "SHADOW_DATABASE_URL": database.server.url("postgres"),
    }
    assert run_job(database.url, folder, **settings).code == 0
    result = run_job(database.url, folder, "verify", "--schema", **settings)
    assert result.code == 0, result.stderr
