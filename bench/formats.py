"""`python -m bench.formats [--files 1000] [--rounds 9]`: a no-op run of each format, beside native.

A format of two files for each migration is compared with native ones that have undo files, too, and
one of a single file with both. The names fit no native folder, where another tool's may.
The files are recorded by `baseline`, so that what is measured is reading them.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

from bench.ground import ENTRYPOINT, PATH, Ground, job
from bench.measure import Spent, cpu_ms, race, spend
from bench.report import section, verdict
from tests.postgres import Server

UP = "CREATE TABLE table_{0} (id bigint PRIMARY KEY, at timestamptz NOT NULL);\n"
DOWN = "DROP TABLE table_{0};\n"
Files = Callable[[int], dict[str, str]]  # of one migration


def both(above: str, between: str, ending: str = "_add-table.sql") -> Files:
    text = f"{above}\n{UP}{between}\n{DOWN}"
    return lambda n: {f"{n:06}{ending}": text.format(n)}


def pair(up: str, down: str) -> Files:
    return lambda n: {up.format(f"{n:06}"): UP.format(n), down.format(f"{n:06}"): DOWN.format(n)}


def one(name: str, above: str = "") -> Files:
    return lambda n: {name.format(f"{n:06}"): above + UP.format(n)}


NATIVE, ALONE = "native", "native, no undo"
FORMATS: dict[str, Files] = {
    NATIVE: pair("{}_add_table.sql", "{}_add_table.down.sql"),
    ALONE: one("{}_add_table.sql"),
    "golang-migrate": pair("{}_add-table.up.sql", "{}_add-table.down.sql"),
    "dbmate": both("-- migrate:up", "-- migrate:down"),
    "goose": both("-- +goose Up", "-- +goose Down"),
    "sql-migrate": both("-- +migrate Up", "-- +migrate Down"),
    "micrate": both("-- +micrate Up", "-- +micrate Down"),
    "tern": both("-- a", "---- create above / drop below ----"),
    "node-pg-migrate": both("-- Up Migration", "-- Down Migration"),
    "supabase": one("20240101{}_Add-table.sql"),
    "sqlx": pair("{}_add-table.up.sql", "{}_add-table.down.sql"),
    "prisma": one("20240101{}_add/migration.sql"),
    "drizzle": one("{}_add.sql"),
    "diesel": pair("{}_add/up.sql", "{}_add/down.sql"),
    "graphile-migrate": one("committed/{}-add.sql", "--! Previous: -\n--! Hash: sha1:x\n\n"),
    "flyway": one("V{}__Add_table.sql"),
    "liquibase": one("{}_add.sql", "--liquibase formatted sql\n\n--changeset a:1\n"),
    "goose, native names": both("-- +goose Up", "-- +goose Down", "_add_table.sql"),
}
SETTINGS = {"sqlx": {"FOLDER_FORMAT": "sqlx"}}


def lay(folder: Path, name: str, count: int) -> str:
    """Write the folder; the version of its last file."""
    for number in range(1, count + 1):
        for path, text in FORMATS[name](number).items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_text(text)
    if name == "drizzle":
        tags = sorted(path.stem for path in folder.glob("*.sql"))
        (folder / "meta").mkdir()
        journal = {"entries": [{"tag": tag, "when": place} for place, tag in enumerate(tags)]}
        (folder / "meta/_journal.json").write_text(json.dumps(journal))
    last = sorted(FORMATS[name](count))[-1].removeprefix("committed/")
    version = last.partition("/")[0].removesuffix(".sql").removesuffix(".up")
    return f"{version}:a:1" if name == "liquibase" else version


def main() -> int:
    parser = argparse.ArgumentParser(prog="bench.formats", description=__doc__)
    parser.add_argument("--files", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=9)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        server = Server.create(Path(place) / "server", durable=False)
        server.start()
        try:
            print(measured(Ground(server, Path(place)), Path(place), options.files, options.rounds))
        finally:
            server.remove()
    return 0


def measured(ground: Ground, place: Path, count: int, rounds: int) -> str:
    contenders: dict[str, Callable[[], Spent]] = {}
    for name in FORMATS:
        folder = place / name
        folder.mkdir()
        last = lay(folder, name, count)
        url = ground.new_database(name)
        settings = {"MIGRATIONS_DIR": str(folder), "TERMINATION_LOG": "", **SETTINGS.get(name, {})}
        environment = {**PATH, "DATABASE_URL": url, **settings}
        spend([sys.executable, str(ENTRYPOINT), "baseline", "--at", last], environment)
        contenders[name] = partial(job, url, folder, **SETTINGS.get(name, {}))
    results = race(contenders, rounds)
    base, alone = (cpu_ms(results[name]).least for name in (NATIVE, ALONE))
    rows = []
    for name, runs in results.items():
        least = cpu_ms(runs).least
        lone = f"{least / alone:.2f} x" if len(FORMATS[name](1)) == 1 else ""
        rows.append(
            [
                name,
                str(cpu_ms(runs)),
                f"{least / base:.2f} x",
                lone,
                verdict(least / base, 1.3, " x"),
            ]
        )
    return section(
        f"Nothing pending in {count} files of each format",
        f"Milliseconds of CPU (user and system) of one process; least (median) of {rounds} rounds, "
        "the formats in turn.",
        ("format", "CPU", "of native", "of native without undo files", "aim"),
        rows,
    )


if __name__ == "__main__":
    sys.exit(main())
