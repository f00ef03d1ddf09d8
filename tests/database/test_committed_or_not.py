"""What was rolled back is never called applied, whatever the count of answers makes it look like.

A rule gives several answers for one statement, so that a refusal before COMMIT may look like one
behind it; and while another session locks the history, the row cannot be looked at.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psycopg2
import pytest
from psycopg2.extras import wait_select

from tests.builders import write_folder
from tests.conftest import Database
from tests.gate import GATE, WAITS, gate
from tests.job import Job, Result, until

MANY = "; ".join(f"SELECT {n}" for n in range(1, 16))
RULES = {
    "DO ALSO": f"CREATE RULE many AS ON INSERT TO t DO ALSO ({MANY})",
    "DO INSTEAD": f"CREATE RULE many AS ON INSERT TO t DO INSTEAD ({MANY})",
}
TABLES = """
CREATE TABLE t (a int);
CREATE TABLE p (id int PRIMARY KEY);
CREATE TABLE c (p int REFERENCES p DEFERRABLE INITIALLY DEFERRED);
"""
ANSWERS = "INSERT INTO t VALUES (0);\n"
ORPHAN = "INSERT INTO c VALUES (1);\n"
#: Where the refusal comes: at SET CONSTRAINTS, and at COMMIT, at which such a cursor is read.
REFUSED = {
    "a deferred constraint": ORPHAN,
    "a cursor that is kept": "DECLARE kept CURSOR WITH HOLD FOR SELECT 1 / n FROM"
    " (SELECT count(*) FROM p) AS p (n);\n",
}
PATIENT = "-- migrator: lock-timeout 60s\n"  #: at the gate; whatever looks at the history is brief
WITNESS = "CREATE TABLE witness ();\n"
QUEUED = "SELECT 1 FROM pg_locks WHERE NOT granted AND mode = 'AccessExclusiveLock'"
BRIEFLY = {
    "LOCK_TIMEOUT": "200ms",
    "LOCK_RETRY_TIMEOUT": "1s",
    "CONNECT_TIMEOUT": "2s",
    "WAIT_TIMEOUT": "2s",
}
STATE = "SELECT version, checksum FROM schema_migrations ORDER BY version"


@contextmanager
def history_taken_at_once(database: Database) -> Iterator[None]:
    """Within, another session gets the history for itself as soon as the flight is over."""
    connection = psycopg2.connect(database.url, async_=1)
    wait_select(connection)
    connection.cursor().execute(
        "BEGIN; LOCK TABLE schema_migrations, schema_migrations_log IN ACCESS EXCLUSIVE MODE"
    )
    until(lambda: database.query(QUEUED))
    yield
    connection.close()


@pytest.fixture(params=RULES)
def ruled(request: pytest.FixtureRequest, database: Database) -> Database:
    database.query(TABLES + RULES[request.param])
    return database


def first(database: Database, folder: Path, files: dict[str, str]) -> Path:
    """The folder with a first migration, which is applied, as all of `files` will be."""
    base = write_folder(folder, {"001_first.sql": "SELECT 1;\n"} | files)
    job = Job(database.url, base)
    assert job.result().code == 0
    return base


def let_fail_while_the_history_is_taken(
    database: Database, folder: Path, *words: str, number: signal.Signals | None = None
) -> Result:
    """The result of a run whose flight waits at its gate until the history is spoken for."""
    with ExitStack() as taken:
        with gate(database):
            job = Job(database.url, folder, *words, **BRIEFLY)
            until(lambda: database.query(WAITS))
            taken.enter_context(history_taken_at_once(database))
            if number is not None:
                job.process.send_signal(number)
                return job.result()
        return job.result()


@pytest.mark.parametrize("refused", REFUSED)
@pytest.mark.parametrize("file", ["002_second.sql", "R__second.sql"])
def test_a_migration_that_was_refused_before_its_commit_is_not_applied(
    ruled: Database, tmp_path: Path, refused: str, file: str
) -> None:
    folder = first(ruled, tmp_path, {})
    before = ruled.query(STATE)
    write_folder(folder, {file: PATIENT + WITNESS + ANSWERS + REFUSED[refused] + GATE})
    result = let_fail_while_the_history_is_taken(ruled, folder)
    assert result.applied == [], result.report
    assert "migration.applied" not in result.events
    assert result.code in {15, 20, 22}
    assert ruled.query(STATE) == before
    assert ruled.query("SELECT to_regclass('witness')") == [(None,)]
    ruled.query("INSERT INTO p VALUES (1)")  # nothing is refused any more
    again = Job(ruled.url, folder).result()
    assert (again.code, again.applied) == (0, [file.removesuffix(".sql")])


@pytest.mark.parametrize("refused", REFUSED)
def test_an_undo_that_was_refused_before_its_commit_is_not_rolled_back(
    ruled: Database, tmp_path: Path, refused: str
) -> None:
    down = PATIENT + "DROP TABLE witness;\n" + ANSWERS + REFUSED[refused] + GATE
    folder = first(ruled, tmp_path, {"002_b.sql": WITNESS, "002_b.down.sql": down})
    before = ruled.query(STATE)
    result = let_fail_while_the_history_is_taken(ruled, folder, "rollback", "--steps", "1")
    assert result.report["rolled_back"] == [], result.report
    assert "migration.undone" not in result.events
    assert result.code in {15, 20, 22}
    assert ruled.query(STATE) == before
    assert ruled.query("SELECT to_regclass('witness') IS NOT NULL") == [(True,)]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_at_the_commit_does_not_make_it_one(
    ruled: Database, tmp_path: Path, number: signal.Signals
) -> None:
    """The cursor that is kept waits within COMMIT, which the cancel ends."""
    folder = first(ruled, tmp_path, {})
    cursor = "DECLARE kept CURSOR WITH HOLD FOR " + GATE
    write_folder(folder, {"002_b.sql": PATIENT + WITNESS + ANSWERS + cursor})
    result = let_fail_while_the_history_is_taken(ruled, folder, number=number)
    assert (result.code, result.applied) == (23, []), result.report
    assert "migration.applied" not in result.events
    assert ruled.query("SELECT version FROM schema_migrations") == [("001_first",)]
    assert ruled.query("SELECT to_regclass('witness')") == [(None,)]


def test_what_was_committed_is_applied_with_such_rules_too(ruled: Database, tmp_path: Path) -> None:
    first(ruled, tmp_path, {"002_b.sql": WITNESS + ANSWERS})
    assert ruled.query("SELECT count(*) FROM schema_migrations") == [(2,)]
