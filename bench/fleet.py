"""`python -m bench.fleet [--databases 1000] [--jobs 1,4,8]`: one command for many databases.

Beside it, over the same databases: a shell loop around the job, and one around dbmate, whose
program npm brings into .local/dbmate. The loops are `xargs -P`. Each contender has files of its
own; with one pending file each round adds one to its folder.
"""

from __future__ import annotations

import argparse
import os
import shlex
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench import dbmate
from bench.ground import ENTRYPOINT, PATH, Ground
from bench.measure import FailedError, Spent, spend
from bench.report import section, title
from tests.postgres import NoServerError, Server

APPLIED = 3  #: files of each folder before the first round
TEXT = "CREATE TABLE {name}_{number} (id bigint PRIMARY KEY, at timestamptz NOT NULL);\n"
BOTH = "-- migrate:up\n{}\n-- migrate:down\n"


@dataclass
class Contender:
    """A way to apply a folder to all databases."""

    name: str
    folder: Path
    run: Callable[[Path, int], Spent]  #: by the folder, so many at once
    text: str = "{}"  #: how its files hold what they do
    files: int = 0

    def add(self) -> None:
        self.files += 1
        text = self.text.format(TEXT.format(name=self.folder.name, number=self.files))
        (self.folder / f"{self.files:04}_add_table.sql").write_text(text)


def main() -> int:
    parser = argparse.ArgumentParser(prog="bench.fleet", description=__doc__)
    parser.add_argument("--databases", type=int, default=1000)
    parser.add_argument("--jobs", default="1,4,8")
    parser.add_argument("--only", default="fleet,dbmate,loop", help="which of these")
    options = parser.parse_args()
    jobs = [int(number) for number in options.jobs.split(",")]
    try:
        with tempfile.TemporaryDirectory() as place:
            server = Server.create(Path(place, "server"), durable=False)
            server.start()
            try:
                only = options.only.split(",")
                _report(Ground(server, Path(place)), Path(place), options.databases, jobs, only)
            finally:
                server.remove()
    except (FailedError, NoServerError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def _report(
    ground: Ground, place: Path, count: int, jobs: Sequence[int], only: Sequence[str]
) -> None:
    urls = place / "urls"
    urls.write_text("".join(f"{ground.new_database(str(n))}\n" for n in range(count)))
    contenders = [_fleet(urls, place)]
    if (peer := _dbmate(urls, place)) is None:
        print("dbmate is not available: npm cannot install it here.\n")
    else:
        contenders.append(peer)
    contenders.append(_loop(urls, place))
    contenders = [one for one in contenders if one.folder.name in only]
    for one in contenders:
        one.folder.mkdir()
        for _ in range(APPLIED):
            one.add()
        one.run(one.folder, max(jobs))
    print(title("Fleet"), flush=True)
    for pending, what in ((0, "Nothing pending"), (1, "One file pending")):
        rows = [_row(one, count, number, pending) for one in contenders for number in jobs]
        method = (
            "Seconds until the last database is done, milliseconds of CPU (user and system) of all "
            "processes but the server's for each database, and megabytes of the largest process. "
            "One run each."
        )
        columns = ("", "at once", "s", "ms of CPU a database", "MB")
        print(section(f"{what} in {count} databases", method, columns, rows), flush=True)


def _row(one: Contender, count: int, number: int, pending: int) -> list[str]:
    for _ in range(pending):
        one.add()
    spent = one.run(one.folder, number)
    load = os.getloadavg()[0]
    print(f"{one.name} {number}: {spent.wall_ms / 1000:.1f} s, load {load:.1f}", file=sys.stderr)
    return [
        one.name,
        str(number),
        f"{spent.wall_ms / 1000:.1f}",
        f"{spent.cpu_ms / count:.1f}",
        f"{spent.peak_mb:.0f}",
    ]


def _fleet(urls: Path, place: Path) -> Contender:
    def run(folder: Path, number: int) -> Spent:
        words = ("fleet", "up", "--targets", str(urls), "--jobs", str(number))
        return spend([sys.executable, str(ENTRYPOINT), *words], _settings(folder))

    return Contender("`fleet up`", place / "fleet", run)


def _loop(urls: Path, place: Path) -> Contender:
    def run(folder: Path, number: int) -> Spent:
        words = (sys.executable, str(ENTRYPOINT), "up")
        return _each(urls, number, words, _settings(folder))

    return Contender("a loop around `up`", place / "loop", run)


def _dbmate(urls: Path, place: Path) -> Contender | None:
    if not dbmate.is_there():
        return None

    def run(folder: Path, number: int) -> Spent:
        words = ("--migrations-table", "dbmate", "-d", str(folder), "--no-dump-schema", "migrate")
        return _each(
            urls, number, (str(dbmate.PROGRAM.resolve()), *words), {**PATH, "HOME": str(place)}
        )

    return Contender("a loop around dbmate", place / "dbmate", run, BOTH)


def _settings(folder: Path) -> Mapping[str, str]:
    own = {"MIGRATIONS_DIR": str(folder), "MIGRATIONS_SCHEMA": folder.name}
    return {**PATH, **own, "TERMINATION_LOG": "", "LOG_FORMAT": "json"}


def _each(urls: Path, number: int, words: Sequence[str], settings: Mapping[str, str]) -> Spent:
    loop = ("xargs", "-a", str(urls), "-n", "1", "-P", str(number), "sh", "-c")
    one = f"DATABASE_URL=$0 exec {shlex.join(words)}"
    return spend(["/usr/bin/env", *loop, one], settings)


if __name__ == "__main__":
    sys.exit(main())
