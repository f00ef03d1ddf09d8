"""Where the contenders run: a throw-away server, databases, folders of migrations, commands."""

from __future__ import annotations

import itertools
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg2
from psycopg2 import sql

from bench.measure import Spent, spend
from tests.postgres import Server, binary
from tests.proxy import Proxy

ENTRYPOINT = Path(__file__).parent.parent / "entrypoint.py"
PATH = {"PATH": os.environ.get("PATH", os.defpath)}

#: One migration: its version, and its statements without semicolons.
Script = tuple[str, Sequence[str]]


@dataclass(frozen=True, slots=True)
class Migrated:
    """A database to which a folder has been applied."""

    first: Spent  #: the run that applied it
    again: Callable[..., Spent]  #: a run that finds nothing pending; takes words to run it under


class Ground:
    """One server, and a directory for whatever the contenders read."""

    def __init__(self, server: Server, directory: Path) -> None:
        self.server = server
        self._directory = directory
        self._numbers = itertools.count(1)
        self._migrated: dict[int, Migrated] = {}

    @contextmanager
    def database(self, added_ms: int = 0) -> Iterator[str]:
        """The URL of a new database, `added_ms` of round trip away, which is dropped afterwards."""
        dbname = f"bench_{next(self._numbers)}"
        self._command("CREATE DATABASE {}", dbname)
        try:
            with self._at_distance(self._url(dbname), added_ms) as url:
                yield url
        finally:
            self._command("DROP DATABASE {} WITH (FORCE)", dbname)

    def new_database(self, name: str) -> str:
        """The URL of a database that lives as long as the server."""
        self._command("CREATE DATABASE {}", f"of_{name}")
        return self._url(f"of_{name}")

    def migrated(self, count: int) -> Migrated:
        """A database with `count` small migrations applied; made when first asked for."""
        if count not in self._migrated:
            self._command("CREATE DATABASE {}", f"migrated_{count}")
            url = self._url(f"migrated_{count}")
            folder = self.folder(small(count))
            first = job(url, folder)
            self._migrated[count] = Migrated(first, lambda *under: job(url, folder, *under))
        return self._migrated[count]

    def folder(self, scripts: Sequence[Script]) -> Path:
        """A folder of migrations, as the job takes them."""
        return self.written({v: "".join(f"{text};\n" for text in texts) for v, texts in scripts})

    def seed(self, before: str, chunk: str, megabytes: int, after: str) -> Path:
        """A folder with one migration: a table, and `chunk` so often that it has this size."""
        table = "CREATE TABLE words (id bigint, word text, at date);\n"
        folder = self.written({"0001_seed": table + before})
        with (folder / "0001_seed.sql").open("a") as file:
            file.writelines(itertools.repeat(chunk, megabytes * 1_000_000 // len(chunk)))
            file.write(after)
        return folder

    def copies(self, scripts: Sequence[Script], separator: str) -> list[Path]:
        """The same migrations for psql, each in a transaction of its own by BEGIN and COMMIT."""
        texts = {v: separator.join(("BEGIN", *texts, "COMMIT;\n")) for v, texts in scripts}
        return sorted(self.written(texts).iterdir())

    def written(self, texts: dict[str, str]) -> Path:
        """A folder of these texts, by their versions."""
        folder = self._directory / f"folder_{next(self._numbers)}"
        folder.mkdir()
        for version, text in texts.items():
            (folder / f"{version}.sql").write_text(text)
        return folder

    def _url(self, dbname: str) -> str:
        return self.server.url(dbname) + "?sslmode=disable"

    @contextmanager
    def _at_distance(self, url: str, added_ms: int) -> Iterator[str]:
        if not added_ms:
            yield url
            return
        proxy = Proxy(self.server.host, self.server.port, delay_seconds=added_ms / 2000)
        try:
            yield proxy.through(url)
        finally:
            proxy.stop()

    def _command(self, text: str, dbname: str) -> None:
        with closing(psycopg2.connect(self.server.url("postgres"))) as connection:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(sql.SQL(text).format(sql.Identifier(dbname)))


def small(count: int) -> list[Script]:
    """`count` migrations of two statements; each keeps the moment at which it ran."""
    return [
        (
            f"{number:04}_add_table",
            (
                f"CREATE TABLE table_{number} (id bigint PRIMARY KEY, at timestamptz NOT NULL)",
                f"INSERT INTO table_{number} (id, at) VALUES (1, clock_timestamp())",
            ),
        )
        for number in range(1, count + 1)
    ]


def gaps_ms(url: str, count: int) -> list[float]:
    """What passed between each of the `small(count)` migrations and the next."""
    tables = " UNION ALL ".join(f"SELECT at FROM table_{n}" for n in range(1, count + 1))
    with closing(psycopg2.connect(url)) as connection, connection.cursor() as cursor:
        cursor.execute(f"SELECT extract(epoch FROM at)::float8 FROM ({tables}) AS all_of_them")
        moments = sorted(row[0] for row in cursor.fetchall())
    return [(after - before) * 1000 for before, after in itertools.pairwise(moments)]


def large(megabytes: int) -> list[Script]:
    """One migration of this size: a table, and INSERT statements of 100 bytes each."""
    rows = (
        f"INSERT INTO words (id, word) VALUES ({number:8}, '{'x' * 50}')"
        for number in range(megabytes * 10_000)
    )
    return [("0001_fill_table", ("CREATE TABLE words (id bigint, word text)", *rows))]


#: Rows as pg_dump writes them: for COPY, row by row, and a thousand at once.
COPY = "".join(f"{n}\tthe word of number {n:09}\t2026-01-31\n" for n in range(10_000))
INSERT = "".join(
    f"INSERT INTO words VALUES ({n}, 'the word of number {n:09}', '2026-01-31');\n"
    for n in range(10_000)
)
ROWS = (
    "INSERT INTO words VALUES\n"
    + ",\n".join(f"({n}, 'the word of number {n:09}', '2026-01-31')" for n in range(1000))
    + ";\n"
)


def python(text: str, *under: str) -> Spent:
    """`python -c text`, by the interpreter that runs the job."""
    return spend([*under, sys.executable, "-c", text], PATH)


def job(url: str, folder: Path, *under: str, **more: str) -> Spent:
    """`up`, as a cluster runs it: its log goes into a pipe, in JSON."""
    settings = {"DATABASE_URL": url, "MIGRATIONS_DIR": str(folder), "TERMINATION_LOG": "", **more}
    return spend([*under, sys.executable, str(ENTRYPOINT), "up"], {**PATH, **settings})


def psql(url: str, files: Sequence[Path], *options: str) -> Spent:
    """One psql for all files."""
    words = [*options, *(word for file in files for word in ("-f", str(file)))]
    return spend([str(binary("psql")), "-X", "-q", "-v", "ON_ERROR_STOP=1", *words, url], PATH)
