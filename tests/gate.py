"""Migrations that wait where a test wants them to, and what must hold when all are through."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from tests.builders import chain
from tests.conftest import Database
from tests.job import Result, until

ADVISORY = (
    "locktype = 'advisory'"
    " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
)
GATE = "SELECT pg_advisory_xact_lock_shared(42);\n"
WAITS = "SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND objid = 42 AND NOT granted"


@contextmanager
def gate(database: Database) -> Iterator[None]:
    """Within, whatever comes to GATE waits there."""
    connection = database.connect()
    connection.cursor().execute("SELECT pg_advisory_lock(42)")
    try:
        yield
    finally:
        connection.close()


def files_with_gate(length: int, at: int) -> dict[str, str]:
    files = chain(length)
    name = f"{at:03}_step.sql"
    return {**files, name: files[name] + GATE}


def assert_applied_once(database: Database, results: Sequence[Result], length: int) -> None:
    versions = [f"{n:03}_step" for n in range(1, length + 1)]
    assert [result.code for result in results] == [0] * len(results), results[0].stderr
    assert sorted(v for result in results for v in result.applied) == versions
    rows = database.query("SELECT version FROM schema_migrations ORDER BY applied_at")
    assert [version for (version,) in rows] == versions
    log = "SELECT version FROM schema_migrations_log WHERE event = 'applied' ORDER BY id"
    assert [version for (version,) in database.query(log)] == versions
    # a flight whose connection was cut may begin now, and is refused under the lock
    until(lambda: not database.query(f"SELECT 1 FROM pg_locks WHERE {ADVISORY}"))
