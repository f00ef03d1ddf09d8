"""A dump of pg_dump's as the first migration: the same database as psql makes of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psycopg2
import pytest

from tests.builders import write_folder
from tests.conftest import FIXTURES, Database, MakePgBouncer, create_database, drop_database
from tests.job import run_job
from tests.programs import as_new_as_the_server, dump, dump_whole, feed_to_psql

WAYS = {
    "COPY": (),
    "INSERT": ("--inserts",),
    "rows": ("--rows-per-insert=100", "--column-inserts"),
    "the schema alone": ("--schema-only",),
    "clean": ("--clean", "--if-exists"),
    "no owners": ("--no-owner", "--no-privileges", "--disable-triggers"),
}
#: After it, and what must be as on a fresh connection.
SECOND = """CREATE TABLE second (a int);
CREATE TABLE settings AS SELECT name, setting FROM pg_settings WHERE source = 'session';
"""


@pytest.fixture
def lived_in(database: Database) -> Database:
    if not as_new_as_the_server("pg_dump", database):
        pytest.skip("pg_dump is older than the server, and dumps no newer one than itself")
    database.query((FIXTURES / "lived_in.sql").read_text())
    return database


@pytest.fixture
def others(database: Database) -> Iterator[tuple[Database, Database]]:
    """Two empty databases on the same server."""
    made = create_database(database.server), create_database(database.server)
    yield made
    for one in made:
        drop_database(one)


@pytest.mark.parametrize("words", WAYS.values(), ids=WAYS)
def test_a_dump_becomes_the_same_database_as_by_psql(
    lived_in: Database, others: tuple[Database, Database], tmp_path: Path, words: tuple[str, ...]
) -> None:
    ours, by_psql = others
    text = dump_whole(lived_in, *words)
    folder = write_folder(tmp_path / "m", {"001_dump.sql": text})
    result = run_job(ours.url, folder)
    assert result.code == 0, result.stderr
    feed_to_psql(by_psql, folder / "001_dump.sql")
    assert dump(ours) == dump(by_psql)
    if "--schema-only" not in words:
        assert dump(ours) == dump(lived_in)


@pytest.mark.parametrize("pooled", [False, True], ids=["direct", "pooled"])
def test_nothing_of_a_dump_reaches_the_next_migration(
    lived_in: Database,
    others: tuple[Database, Database],
    pgbouncer: MakePgBouncer,
    tmp_path: Path,
    pooled: bool,
) -> None:
    """A dump empties search_path, and sets row_security, timeouts and more."""
    ours, alone = others
    pooler = pgbouncer(ours, pool_mode="transaction", pool_size=1)
    url = pooler.url(ours.dbname) if pooled else ours.url
    text = dump_whole(lived_in)
    assert "set_config('search_path', '', false)" in text
    assert "SET row_security = off" in text
    files = {"001_dump.sql": text, "002_second.sql": SECOND}
    result = run_job(url, write_folder(tmp_path / "both", files))
    assert result.applied == ["001_dump", "002_second"], result.stderr
    assert run_job(alone.url, write_folder(tmp_path / "one", {"002_second.sql": SECOND})).code == 0
    settings = "SELECT * FROM public.settings ORDER BY name"
    assert ours.query(settings) == alone.query(settings)
    assert run_job(url, tmp_path / "both", "verify").code == 0
    assert session_of(url) == session_of(alone.url)


def session_of(url: str) -> list[tuple[str, str]]:
    """What the next client of a connection finds set, of what a dump sets."""
    with closing(psycopg2.connect(url)) as connection, connection.cursor() as cursor:
        cursor.execute(
            """SELECT name, setting FROM pg_settings
                WHERE name ~ 'timeout|search_path|row_security|method|xml|check_function|messages'
                ORDER BY name"""
        )
        return cursor.fetchall()
