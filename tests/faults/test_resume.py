"""No-transaction migrations that are killed at every boundary, and what the next run makes of them.

In the end the catalog is that of a run which nobody has interrupted.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import psycopg2
import pytest

from tests.builders import write_folder
from tests.catalog import Catalog, read_catalog
from tests.conftest import Database, MakeProxy, create_database, drop_database, in_charge
from tests.job import Job, Result, run_job, until
from tests.postgres import Address
from tests.proxy import Cut

SETUP = """
CREATE TABLE t (a int, b text, parted int);
INSERT INTO t SELECT n, 'text ' || n, 1 FROM generate_series(1, 1000) AS n;
CREATE INDEX old ON t (b);
CREATE TABLE parent (a int) PARTITION BY LIST (a);
CREATE TABLE child PARTITION OF parent FOR VALUES IN (1);
CREATE TYPE mood AS ENUM ('sad');
CREATE MATERIALIZED VIEW seen AS SELECT a FROM t;
CREATE UNIQUE INDEX seen_a ON seen (a);
CREATE TABLE steps (n int);
"""
KINDS = {
    "create index": "CREATE INDEX CONCURRENTLY new ON t (a)",
    "create unique index": 'CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS "New" ON ONLY t'
    " (lower(b), (a + 1) DESC) INCLUDE (parted) WHERE a > 1",
    "drop index": "DROP INDEX CONCURRENTLY old",
    "reindex index": "REINDEX INDEX CONCURRENTLY old",
    "reindex table": "REINDEX (VERBOSE) TABLE CONCURRENTLY t",
    "reindex schema": "REINDEX (CONCURRENTLY) SCHEMA public",
    "add value": "ALTER TYPE mood ADD VALUE 'glad'",
    "detach": "ALTER TABLE parent DETACH PARTITION child CONCURRENTLY",
    "vacuum": "VACUUM (ANALYZE) t",
    "alter system": "ALTER SYSTEM SET log_min_messages = 'warning'",
    "refresh": "REFRESH MATERIALIZED VIEW CONCURRENTLY seen",
    "create database": "CREATE DATABASE {dbname}_more",
    "drop database": "DROP DATABASE {dbname}_gone",
    "insert": "INSERT INTO steps VALUES (0)",
}
INTENT, OUTCOME = b'"before":', b'"how": "ran"'
FINISH = b"rollback_sql, kind, run_id)"
RUNNING = (
    "SELECT pid FROM pg_stat_activity WHERE query LIKE '/* migrator:%%' || %s || '%%'"
    " AND state = 'active' AND pid <> pg_backend_pid()"
)


@dataclass(frozen=True)
class Case:
    """A database, the folder for it, and the statement in the middle."""

    database: Database
    folder: Path
    statement: str

    def holds(self) -> tuple[Catalog, list[tuple[object, ...]], list[tuple[object, ...]]]:
        """All that may differ from an uninterrupted run: catalog, steps, other databases."""
        with closing(self.database.connect()) as session:
            catalog = read_catalog(session)
        name = self.database.dbname
        others = "SELECT replace(datname, %s, '') FROM pg_database WHERE datname LIKE %s"
        return (
            catalog,
            self.database.query("SELECT n FROM steps ORDER BY n"),
            self.database.query(others, name, f"{name}%"),
        )


def a_case(server: Address, tmp_path: Path, kind: str) -> Case:
    database = create_database(server)
    database.query(SETUP)
    if kind == "drop database":
        database.query(f"CREATE DATABASE {database.dbname}_gone")
    statement = KINDS[kind].format(dbname=database.dbname)
    text = (
        "-- migrator: no-transaction\nSET search_path = public;\nINSERT INTO steps VALUES (1);\n"
        f"{statement};\nINSERT INTO steps VALUES (2);\n"
    )
    folder = write_folder(tmp_path / database.dbname, {"001_alone.sql": text})
    assert run_job(database.url, write_folder(tmp_path / "none", {})).code == 0
    return Case(database, folder, statement)


def drop_case(case: Case) -> None:
    for suffix in ("_more", "_gone"):
        drop_database(Database(case.database.server, case.database.dbname + suffix, ""))
    drop_database(case.database)


@pytest.fixture(params=KINDS)
def cases(server: Address, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[list[Case]]:
    """Two databases alike, for one kind of statement: to interrupt one, and to compare with."""
    made = [a_case(server, tmp_path, request.param) for _ in range(2)]
    yield made
    for case in made:
        drop_case(case)
    if request.param == "alter system":
        in_charge(server).query("ALTER SYSTEM RESET log_min_messages")


@pytest.mark.parametrize(
    ("needle", "moment"),
    [
        pytest.param(b"INSERT INTO steps VALUES (1)", Cut.DONE, id="before the statement's intent"),
        pytest.param(None, Cut.BEFORE, id="before it is sent"),
        pytest.param(None, Cut.SENT, id="while it runs, or just after"),
        pytest.param(None, Cut.DONE, id="done and not recorded"),
        pytest.param(OUTCOME, Cut.DONE, id="recorded, before the next one"),
        pytest.param(FINISH, Cut.BEFORE, id="before the history's row"),
        pytest.param(FINISH, Cut.DONE, id="after the history's row"),
    ],
)
def test_a_run_killed_at_any_boundary_is_settled_by_the_next(
    cases: list[Case], proxy: MakeProxy, needle: bytes | None, moment: Cut
) -> None:
    interrupted, whole = cases
    assert run_job(whole.database.url, whole.folder).code == 0
    cutter = proxy(interrupted.database)
    jobs: list[Job] = []
    cutter.cut_at(
        needle or b"*/ " + interrupted.statement.encode(), moment, lambda: jobs[0].process.kill()
    )
    jobs.append(Job(cutter.through(interrupted.database.url), interrupted.folder))
    assert jobs[0].result().code == -signal.SIGKILL
    result = run_job(interrupted.database.url, interrupted.folder)
    assert result.code == 0, result.stderr
    assert interrupted.holds() == whole.holds()
    history = "SELECT version, kind, checksum IS NULL FROM schema_migrations"
    assert interrupted.database.query(history) == [("001_alone", "versioned", False)]


def test_a_connection_lost_at_any_boundary_is_settled_by_the_same_run(
    cases: list[Case], proxy: MakeProxy
) -> None:
    interrupted, whole = cases
    assert run_job(whole.database.url, whole.folder).code == 0
    cutter = proxy(interrupted.database)
    cutter.cut_at(b"*/ " + interrupted.statement.encode(), Cut.DONE)
    result = run_job(cutter.through(interrupted.database.url), interrupted.folder)
    assert (result.code, result.applied) == (0, ["001_alone"]), result.stderr
    assert [line["reason"] for line in result.of("migration.retry")] == ["lost"]
    assert interrupted.holds() == whole.holds()
