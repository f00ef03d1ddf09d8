"""psql and pg_dump, on a database of a test."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.conftest import Database
from tests.postgres import binary


def feed_to_psql(database: Database, file: Path) -> None:
    """Apply a file as people do, in one transaction that ends with its first error."""
    words = ("-X", "-q", "-v", "ON_ERROR_STOP=1", "-1", "-f", str(file))
    _run(database, "psql", *words, "-d", database.url)


def run_psql(database: Database, file: Path) -> None:
    """Run a file that says itself where transactions begin and end; its first error ends it."""
    _run(database, "psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "-f", str(file), "-d", database.url)


def dump(database: Database, *words: str) -> str:
    """The database as pg_dump writes it, without the history and what is new in each dump."""
    text = dump_whole(database, *words, "--exclude-table=public.schema_migrations*")
    return "".join(line for line in text.splitlines(keepends=True) if not line.startswith("\\"))


def dump_whole(database: Database, *words: str) -> str:
    """The database as pg_dump writes it."""
    return _run(database, "pg_dump", *words, "-d", database.url)


def as_new_as_the_server(program: str, database: Database) -> bool:
    """Whether psql or pg_dump knows all that the server does; major versions count."""
    command = [str(binary(program)), "--version"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    ((server,),) = database.query("SHOW server_version_num")
    return int(done.stdout.split()[2].partition(".")[0]) >= int(server) // 10000


def _run(database: Database, program: str, *words: str) -> str:
    done = subprocess.run(
        [str(binary(program)), *words],
        env={"PGPASSWORD": database.password or "", "PGCLIENTENCODING": "UTF8"},
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode()
