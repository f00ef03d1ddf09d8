"""How long a release takes, beside psql and dbmate, near and far; and how long a writer waits."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path

import psycopg2

from bench import dbmate
from bench.ground import PATH, Ground, job, psql, small
from bench.measure import Spent, race, spend, wall_ms
from bench.report import section

#: Milliseconds added to each round trip, and how many rounds are run at that distance.
DISTANCES = {0: 5, 20: 2, 80: 1}
PSQL, PEER, JOB = "psql", "dbmate", "`up`"
ROWS = 2_000_000
UPDATE = "UPDATE orders SET total = quantity * 3"
BATCHED = (
    "-- migrator: batches orders by id\n" + UPDATE + " WHERE id BETWEEN"
    " current_setting('migrator.from')::bigint AND current_setting('migrator.upto')::bigint"
)

Run = Callable[[str], Spent]  #: on the database of a URL


def side_by_side(ground: Ground) -> str:
    """Whole runs: nothing pending, 20 files, 200 files."""
    rows = []
    for added_ms, rounds in DISTANCES.items():
        for name, count in (("nothing pending", 0), ("20 files", 20), ("200 files", 200)):
            contenders = {
                who: _timed(ground, run, added_ms, before if not count else None)
                for who, (run, before) in _contenders(ground, count or 3).items()
            }
            found = race(contenders, rounds if count < 200 else 1)
            rows.append([f"{name}, {added_ms} ms", *_compared(found)])
    return section(
        "Beside psql and dbmate",
        """
Milliseconds of a whole run by a process of its own: the least of its rounds, and in how many times
that of psql and of dbmate `up` does it. Files of two statements each (CREATE TABLE, INSERT), into a
new database. psql sends one message a file, with BEGIN and COMMIT in it, and keeps no history; with
nothing pending it asks for one row. The distance is a proxy that holds each packet back for half
of it; 0 ms is without the proxy.""",
        ("run, added round trip", PSQL, PEER, JOB, "of psql", "of dbmate"),
        rows,
    )


def backfill(ground: Ground) -> str:
    """How long a writer waits while all rows of a table are changed."""
    rows = []
    for name, text in (("one UPDATE", UPDATE), ("`batches`", BATCHED)):
        with ground.database() as url:
            _fill(url)
            folder = ground.written({"0001_backfill": text})
            with _writing(url) as waits:
                spent = job(url, folder)
        longest = max(waits)
        rows.append([name, f"{spent.wall_ms / 1000:.1f}", f"{longest * 1000:.0f}", str(len(waits))])
    return section(
        f"A backfill of {ROWS:,} rows",
        """
Seconds of the run, and the longest wait of a writer that updates one row after another meanwhile,
in milliseconds; once each.""",
        ("the file", "run", "longest wait", "writes"),
        rows,
    )


def _contenders(ground: Ground, count: int) -> dict[str, tuple[Run, Run]]:
    """Each with what it does to a new database, and what makes ready for a run with no work."""
    scripts = small(count)
    whole, folder = ground.copies(scripts, "\\;\n"), ground.folder(scripts)
    one = ground.written({"0001_one": "SELECT 1;\n"})
    found: dict[str, tuple[Run, Run]] = {
        PSQL: (lambda url: psql(url, whole), lambda url: psql(url, sorted(one.iterdir()))),
        JOB: (lambda url: job(url, folder), lambda url: job(url, folder)),
    }
    if dbmate.is_there():
        both = {
            version: "".join(("-- migrate:up\n", *(f"{t};\n" for t in texts), "-- migrate:down\n"))
            for version, texts in scripts
        }
        peer = partial(_dbmate, ground.written(both))
        found[PEER] = (peer, peer)
    return found


def _timed(ground: Ground, run: Run, added_ms: int, again: Run | None) -> Callable[[], Spent]:
    """On a new database; with `again` what that takes when `run` is done."""

    def timed() -> Spent:
        with ground.database(added_ms) as url:
            done = run(url)
            return done if again is None else again(url)

    return timed


def _compared(found: dict[str, list[Spent]]) -> list[str]:
    least = {who: wall_ms(runs).least for who, runs in found.items()}
    cells = [f"{least[who]:.0f}" if who in least else "" for who in (PSQL, PEER, JOB)]
    ratios = [f"{least[JOB] / least[who]:.2f}" if who in least else "" for who in (PSQL, PEER)]
    return [*cells, *ratios]


def _dbmate(folder: Path, url: str) -> Spent:
    words = ("--url", url, "--migrations-table", "dbmate", "-d", str(folder), "--no-dump-schema")
    return spend([str(dbmate.PROGRAM.resolve()), *words, "migrate"], {**PATH, "HOME": str(folder)})


def _fill(url: str) -> None:
    with closing(psycopg2.connect(url)) as connection:
        connection.autocommit = True
        cursor = connection.cursor()
        cursor.execute("CREATE TABLE orders (id bigint PRIMARY KEY, quantity int, total int)")
        cursor.execute(f"INSERT INTO orders SELECT g, 1, 0 FROM generate_series(1, {ROWS}) AS g")
        cursor.execute("ANALYZE orders")


@contextmanager
def _writing(url: str) -> Iterator[list[float]]:
    """Within, one row after another is updated; the list has the seconds of each."""
    waits: list[float] = []
    over = threading.Event()

    def write() -> None:
        with closing(psycopg2.connect(url)) as connection:
            connection.autocommit = True
            cursor, at = connection.cursor(), 1
            while not over.is_set():
                at = at * 7_919 % ROWS + 1
                began = time.monotonic()
                cursor.execute("UPDATE orders SET quantity = quantity + 1 WHERE id = %s", (at,))
                waits.append(time.monotonic() - began)
                over.wait(0.001)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        yield waits
    finally:
        over.set()
        writer.join()
