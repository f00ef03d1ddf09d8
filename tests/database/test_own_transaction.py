"""Files that begin and end a transaction of their own, as other folders and dumps have them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.builders import write_folder
from tests.conftest import Database, create_database, drop_database
from tests.job import run_job
from tests.programs import as_new_as_the_server, dump, dump_whole, feed_to_psql

WRAPPED = """-- a table
BEGIN;
CREATE TABLE a (id int);
INSERT INTO a VALUES (1);
{}
COMMIT;
"""
ROW = f"INSERT INTO a SELECT 2 WHERE '{'x' * 1000}' IS NOT NULL;\n"
TABLES = "SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY 1"
HISTORY = ["schema_migrations", "schema_migrations_log"]


def tables(database: Database) -> list[str]:
    return [name for (name,) in database.query(TABLES) if name not in HISTORY]


@pytest.mark.parametrize(
    ("more", "rows"),
    [
        pytest.param("", 1, id="in one message"),
        pytest.param(ROW * 1500, 1501, id="in several"),
        pytest.param("COPY a FROM stdin;\n5\n6\n\\.\n", 3, id="with rows"),
    ],
)
def test_it_is_applied_as_it_is(database: Database, tmp_path: Path, more: str, rows: int) -> None:
    text = WRAPPED.format(more)
    folder = write_folder(tmp_path / "m", {"001_a.sql": text})
    result = run_job(database.url, folder)
    assert result.applied == ["001_a"], result.stderr
    assert result.of("migration.notice") == []
    assert database.query("SELECT count(*) FROM a") == [(rows,)]
    checksum = hashlib.sha256(text.encode()).hexdigest()
    assert database.query("SELECT checksum FROM schema_migrations") == [(checksum,)]
    assert run_job(database.url, folder, "verify").code == 0


@pytest.mark.parametrize("before", ["", ROW * 1500], ids=["in one message", "in several"])
@pytest.mark.parametrize(
    ("statement", "column"),
    [
        pytest.param("SELECT 1 FROM nobody;", 15, id="with a position"),
        pytest.param("SELECT 1 / 0;", 1, id="without one"),
    ],
)
def test_a_fault_has_its_own_place_and_leaves_nothing(
    database: Database, tmp_path: Path, before: str, statement: str, column: int
) -> None:
    text = WRAPPED.format(before + statement)
    result = run_job(database.url, write_folder(tmp_path / "m", {"001_a.sql": text}))
    assert result.code == 15
    assert (result.error["line"], result.error["column"]) == (5 + before.count("\n"), column)
    assert result.error["source_line"] == statement
    assert tables(database) == []


def test_an_undo_may_have_it_too(database: Database, tmp_path: Path) -> None:
    files = {"001_a.sql": WRAPPED.format(""), "001_a.down.sql": "BEGIN;\nDROP TABLE a;\nCOMMIT;\n"}
    folder = write_folder(tmp_path / "m", files)
    assert run_job(database.url, folder).code == 0
    back = run_job(database.url, folder, "rollback")
    assert back.code == 0, back.stderr
    assert tables(database) == []
    assert run_job(None, folder, "rehearse", SHADOW_DATABASE_URL=database.url).code == 0


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("BEGIN;\nCREATE TABLE a (i int);\nCOMMIT;\nSELECT 1;\n", "BEGIN would end or begin a"),
        ("BEGIN ISOLATION LEVEL SERIALIZABLE;\nSELECT 1;\nCOMMIT;\n", "BEGIN ISOLATION LEVEL"),
        ("SET TRANSACTION ISOLATION LEVEL SERIALIZABLE;\nSELECT 1;\n", "SET TRANSACTION ISOLATION"),
        ("SET TRANSACTION READ ONLY;\nSELECT 1;\n", "SET TRANSACTION READ ONLY asks for another"),
        ("-- migrator: no-transaction\nSET TRANSACTION READ ONLY;\nVACUUM;\n", "SET TRANSACTION"),
    ],
)
def test_what_asks_for_another_transaction_is_refused_by_plan(
    database: Database, tmp_path: Path, text: str, problem: str
) -> None:
    folder = write_folder(tmp_path / "m", {"001_a.sql": text})
    for command in ("plan", "up"):
        result = run_job(database.url, folder, command)
        assert (result.code, tables(database)) == (10, []), result.stderr
        assert result.report["findings"][0]["problem"].startswith(problem)


@pytest.mark.parametrize(
    "sql",
    [
        "SET TRANSACTION READ WRITE",
        "SET TRANSACTION ISOLATION LEVEL READ COMMITTED",
        "SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL SERIALIZABLE, READ ONLY",
        "SET default_transaction_read_only = on",
    ],
)
def test_what_does_not_concern_the_files_transaction_passes(
    database: Database, tmp_path: Path, sql: str
) -> None:
    level = "CREATE TABLE level AS SELECT current_setting('transaction_isolation') AS level;\n"
    files = {"001_a.sql": f"{sql};\nCREATE TABLE a (i int);\n", "002_b.sql": level}
    result = run_job(database.url, write_folder(tmp_path / "m", files))
    assert result.code == 0, result.stderr
    assert database.query("SELECT level FROM level") == [("read committed",)]


@pytest.fixture
def others(database: Database) -> Iterator[tuple[Database, Database]]:
    """Two empty databases on the same server."""
    made = create_database(database.server), create_database(database.server)
    yield made
    for one in made:
        drop_database(one)


def test_a_dump_with_large_objects_becomes_the_same_database_as_by_psql(
    database: Database, others: tuple[Database, Database], tmp_path: Path
) -> None:
    if not as_new_as_the_server("pg_dump", database):
        pytest.skip("pg_dump is older than the server, and dumps no newer one than itself")
    ours, by_psql = others
    for number in range(7001, 7004):
        database.query(f"SELECT lo_from_bytea({number}, convert_to(repeat('é', 40000), 'UTF8'))")
    database.query("CREATE TABLE a AS SELECT 1 AS id")
    text = dump_whole(database)
    assert "\nBEGIN;\n" in text
    folder = write_folder(tmp_path / "m", {"001_dump.sql": text})
    result = run_job(ours.url, folder)
    assert result.code == 0, result.stderr
    feed_to_psql(by_psql, folder / "001_dump.sql")
    assert dump(ours) == dump(by_psql) == dump(database)
