"""PostgreSQL refuses in a transaction what `scan` calls non-transactional, and nothing else."""

from __future__ import annotations

from contextlib import closing

import psycopg2
import pytest

from migrator.sql.scanner import scan
from migrator.sql.statements import Statement, StatementKind
from tests.conftest import Database

SETUP = """
CREATE TABLE t (a int PRIMARY KEY);
CREATE INDEX i ON t (a);
CREATE TABLE whole (a int) PARTITION BY LIST (a);
CREATE TABLE part PARTITION OF whole FOR VALUES IN (1);
CREATE TYPE e AS ENUM ('one');
CREATE MATERIALIZED VIEW m AS SELECT 1 AS a;
CREATE UNIQUE INDEX ON m (a);
"""
# Run before the statement, in its transaction: CREATE SUBSCRIPTION that asks no other server.
SUBSCRIPTION = """
CREATE SUBSCRIPTION s CONNECTION 'dbname=none' PUBLICATION p, q
WITH (connect = false, slot_name = 's');
ALTER SUBSCRIPTION s ENABLE;
"""
NOT_IN_A_TRANSACTION = "25001"
REFUSED = [
    "CREATE INDEX CONCURRENTLY ON t (a)",
    "create unique index /* ; */ concurrently if not exists x on t (a)",
    "DROP INDEX CONCURRENTLY i",
    "DROP INDEX CONCURRENTLY IF EXISTS nothing",
    "REINDEX TABLE CONCURRENTLY t",
    "REINDEX INDEX CONCURRENTLY i",
    "REINDEX (VERBOSE) TABLE CONCURRENTLY t",
    "REINDEX (CONCURRENTLY) TABLE t",
    "REINDEX (VERBOSE, CONCURRENTLY on) INDEX i",
    "REINDEX (CONCURRENTLY 1, VERBOSE) INDEX i",
    "REINDEX SCHEMA public",
    "REINDEX (VERBOSE) SCHEMA public",
    "REINDEX (CONCURRENTLY false) SCHEMA public",
    "REINDEX DATABASE {database}",
    "REINDEX SYSTEM {database}",
    "VACUUM",
    "VACUUM t",
    "VACUUM (ANALYZE, VERBOSE) t",
    "VACUUM FULL t",
    "CLUSTER",
    "CLUSTER VERBOSE",
    "ALTER TABLE whole DETACH PARTITION part CONCURRENTLY",
    'ALTER TABLE IF EXISTS public . "whole" DETACH PARTITION public.part CONCURRENTLY',
    "CREATE DATABASE other",
    "DROP DATABASE IF EXISTS other",
    "ALTER DATABASE {database} SET TABLESPACE pg_default",
    "ALTER DATABASE {database} TABLESPACE pg_default",
    "CREATE TABLESPACE x LOCATION '/nowhere'",
    "DROP TABLESPACE IF EXISTS x",
    "ALTER SYSTEM SET work_mem = '4MB'",
    "ALTER SYSTEM RESET ALL",
    "DISCARD ALL",
    "CREATE SUBSCRIPTION s CONNECTION 'dbname=none' PUBLICATION p",
    "CREATE SUBSCRIPTION s CONNECTION 'dbname=none' PUBLICATION p, q WITH (enabled = false)",
    SUBSCRIPTION + "ALTER SUBSCRIPTION s REFRESH PUBLICATION",
    SUBSCRIPTION + "ALTER SUBSCRIPTION s SET PUBLICATION r",
    SUBSCRIPTION + "ALTER SUBSCRIPTION s ADD PUBLICATION r WITH (copy_data = false)",
    SUBSCRIPTION + "ALTER SUBSCRIPTION s DROP PUBLICATION p",
]
TAKEN = [
    "CREATE INDEX ON t (a)",
    'CREATE INDEX "concurrently" ON t (a)',
    "DROP INDEX i",
    "REINDEX TABLE t",
    "REINDEX (VERBOSE) TABLE t",
    "REINDEX (CONCURRENTLY false) TABLE t",
    "REINDEX (VERBOSE, CONCURRENTLY 'off') INDEX i",
    "REINDEX (CONCURRENTLY 0) INDEX i",
    "REFRESH MATERIALIZED VIEW CONCURRENTLY m",
    "ALTER TYPE e ADD VALUE 'two'",
    "ALTER TABLE whole DETACH PARTITION part",
    "CLUSTER t USING t_pkey",
    "CLUSTER VERBOSE t USING t_pkey",
    "ANALYZE",
    "CHECKPOINT",
    "DISCARD TEMP",
    "DISCARD PLANS",
    "ALTER DATABASE {database} SET work_mem = '4MB'",
    "ALTER DATABASE {database} CONNECTION LIMIT 5",
    "ALTER TABLE t SET TABLESPACE pg_default",
    "CREATE SUBSCRIPTION s CONNECTION 'dbname=none' PUBLICATION p WITH (connect = false)",
    SUBSCRIPTION + "ALTER SUBSCRIPTION s SET PUBLICATION r WITH (refresh = false)",
    SUBSCRIPTION + "ALTER SUBSCRIPTION s DISABLE",
    "LISTEN x",
    "LOCK TABLE t",
    "SAVEPOINT x; ROLLBACK TO x; ROLLBACK WORK TO SAVEPOINT x; RELEASE x",
    "SAVEPOINT x; ROLLBACK TRANSACTION TO x",
    "PREPARE transaction AS SELECT 1",
    "SET TRANSACTION ISOLATION LEVEL READ COMMITTED",
    "SET client_encoding = 'utf-8'; SET NAMES 'UTF8'; SET standard_conforming_strings TO on",
]


def sqlstate(database: Database, sql: str) -> str | None:
    """What the last of these statements ends with when they run in one transaction."""
    with closing(database.connect()) as connection, connection.cursor() as cursor:
        cursor.execute(SETUP)
        cursor.execute("BEGIN")
        try:
            cursor.execute(sql)
        except psycopg2.Error as error:
            return error.pgcode
    return None


def statements(sql: str) -> list[Statement]:
    return [found for found in scan((sql,)) if isinstance(found, Statement)]


@pytest.mark.parametrize("sql", REFUSED)
def test_what_the_server_refuses_in_a_transaction_is_known(sql: str, database: Database) -> None:
    sql = sql.format(database=database.dbname)
    assert statements(sql)[-1].kind is StatementKind.NON_TRANSACTIONAL
    assert sqlstate(database, sql) == NOT_IN_A_TRANSACTION


@pytest.mark.parametrize("sql", TAKEN)
def test_what_the_server_takes_in_a_transaction_is_plain(sql: str, database: Database) -> None:
    sql = sql.format(database=database.dbname)
    assert {statement.kind for statement in statements(sql)} == {StatementKind.PLAIN}
    assert sqlstate(database, sql) is None


@pytest.mark.parametrize(
    "sql",
    [
        "COMMIT",
        "commit work and no chain",
        "END",
        "ROLLBACK",
        "ROLLBACK AND CHAIN",
        "ABORT",
        "COMMIT; BEGIN",
        "COMMIT; START TRANSACTION READ WRITE",
    ],
)
def test_what_ends_a_transaction_is_known(sql: str, database: Database) -> None:
    kinds = {statement.kind for statement in statements(sql)}
    assert kinds == {StatementKind.TRANSACTION_CONTROL}
    with closing(database.connect()) as connection, connection.cursor() as cursor:
        cursor.execute("BEGIN; SELECT pg_advisory_xact_lock(7)")
        cursor.execute(sql)
        cursor.execute(
            "SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()"
        )
        assert not cursor.fetchall()
