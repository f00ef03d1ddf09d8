"""What the bench asks: one function, and one table of its answer, each."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import time
import zlib
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from itertools import repeat
from pathlib import Path

from bench.ground import (
    COPY,
    INSERT,
    ROWS,
    Ground,
    Script,
    gaps_ms,
    job,
    large,
    psql,
    python,
    small,
)
from bench.measure import Figure, Spent, cpu_ms, race, wall_ms
from bench.report import section, verdict
from migrator.sql.parts import lay_out

FILES = 40
SEED_MB = 200
#: Milliseconds added to each round trip, and how many rounds are run at that distance.
DISTANCES = {0: 8, 20: 3, 80: 2}
FLOOR, STEPS, JOB = "psql, a message a file", "psql, a message a statement", "`up`"

DRIVER, NO_OP = "`import psycopg2`", "`up`, nothing pending"
MANY_FILES = "the same, 1000 files"
#: How many times the CPU of importing psycopg2 a run may take.
NO_OP_AIMS = {NO_OP: 1.7, MANY_FILES: 2.0}
IMPORTS = {
    "nothing": "pass",
    DRIVER: "import psycopg2",
    "`import psycopg2, pythonjsonlogger.json`": "import psycopg2, pythonjsonlogger.json",
}


def tracking(ground: Ground) -> str:
    """What a migration costs with `up`, and with psql."""
    rows: list[list[str]] = []
    for added_ms, rounds in DISTANCES.items():
        results = race(_programs(ground, added_ms), rounds)
        gaps = {
            name: Figure(gap for _, found in runs for gap in found)
            for name, runs in results.items()
        }
        for name, runs in results.items():
            over_ms = gaps[name].lower_quartile - gaps[FLOOR].lower_quartile
            row = [f"{added_ms} ms: {name}", str(wall_ms(spent for spent, _ in runs))]
            row += [f"{gaps[name].lower_quartile:.2f} ({gaps[name].median:.2f})"]
            row += [f"{over_ms:+.2f}" if name != FLOOR else ""]
            rows.append([*row, verdict(over_ms, 5, " ms") if name == JOB else ""])
    return section(
        "Tracking cost of a migration",
        f"""
Milliseconds for {FILES} files of two statements each (CREATE TABLE, INSERT) into a new database;
{_listed(DISTANCES.values())} rounds, the contenders in turn. The whole run: least (median). One
migration: lower quartile (median) of what passed from one to the next, by clock_timestamp() in
their own INSERT, so that start-up does not count; "over" compares the quartiles. psql is one
process, `psql -X -q -f 0001… -f 0002…`; its copies of the files stand between BEGIN and COMMIT. The
floor has the statements of a copy joined by `\\;` into one message, so that a file costs it one
round trip as it does the job; the other sends them one by one, as people write them. The distance
is a proxy that holds every packet back for half of it; 0 ms is without the proxy.""",
        ("added round trip: contender", "whole run", "one migration", "over", "aim"),
        rows,
    )


def no_op(ground: Ground) -> str:
    """What a run costs that finds nothing to do."""
    contenders = _imports()
    contenders[NO_OP] = ground.migrated(3).again
    contenders[MANY_FILES] = ground.migrated(1000).again
    results = race(contenders, rounds=25)
    base = cpu_ms(results[DRIVER]).least
    rows = []
    for name, runs in results.items():
        ratio = cpu_ms(runs).least / base
        aim = verdict(ratio, NO_OP_AIMS[name], " x") if name in NO_OP_AIMS else ""
        rows.append([name, str(wall_ms(runs)), str(cpu_ms(runs)), f"{ratio:.2f} x", aim])
    return section(
        "A run with nothing pending",
        """
Milliseconds of one process of one interpreter, byte code in place; CPU is user and system. Three
files and 1000, all applied, no distance. Least (median) of 25 rounds, the contenders in turn; the
ratio is that of the least CPU.""",
        ("contender", "wall", "CPU", "of psycopg2's CPU", "aim"),
        rows,
    )


def instructions(ground: Ground) -> str:
    """The same in instructions, which do not depend on the load of the machine."""
    title = "Instructions of a run with nothing pending"
    valgrind = shutil.which("valgrind")
    if valgrind is None:
        return f"## {title}\n\nSkipped: valgrind is not installed.\n"
    under = (valgrind, "--tool=callgrind", "--callgrind-out-file=/dev/null")
    spent = {name: python(text, *under) for name, text in IMPORTS.items()}
    spent[NO_OP] = ground.migrated(3).again(*under)
    counts = {name: _collected(one) for name, one in spent.items()}
    return section(
        title,
        "Millions in user space, as callgrind counts them; once each.",
        ("contender", "instructions", "of psycopg2's"),
        [
            [name, f"{count / 1e6:.1f}", f"{count / counts[DRIVER]:.2f} x"]
            for name, count in counts.items()
        ],
    )


def growth(ground: Ground) -> str:
    """What a run with nothing pending costs in a large folder."""
    few, many = ground.migrated(100), ground.migrated(1000)
    less, more = race({"100": few.again, "1000": many.again}, rounds=15).values()
    ratios = [figure(more).least / figure(less).least for figure in (wall_ms, cpu_ms)]
    each = [made.first.wall_ms / count for made, count in ((few, 100), (many, 1000))]
    return section(
        "Nothing pending in a large folder",
        f"""
Milliseconds, measured as above; least (median) of 15 rounds. Applying the files first, in one run
each, took {each[0]:.1f} ms a file for the 100 and {each[1]:.1f} ms a file for the 1000.""",
        ("contender", "wall", "CPU", "aim"),
        [
            ["100 files", str(wall_ms(less)), str(cpu_ms(less)), ""],
            ["1000 files", str(wall_ms(more)), str(cpu_ms(more)), ""],
            ["ratio", *(f"{x:.2f} x" for x in ratios), verdict(max(ratios), 1.3, " x")],
        ],
    )


def memory(ground: Ground) -> str:
    """How much memory runs of several kinds need at most."""
    ordinary: dict[str, Callable[[], Spent]] = {
        NO_OP: ground.migrated(3).again,
        "`up`, nothing pending of 1000 files": ground.migrated(1000).again,
        f"`up`, {FILES} small files": _up(ground, small(FILES)),
    }
    contenders: dict[str, Callable[[], Spent]] = {
        DRIVER: partial(python, IMPORTS[DRIVER]),
        **ordinary,
        "`up`, one file of 5 MB": _up(ground, large(5)),
    }
    rows = []
    for name, runs in race(contenders, rounds=3).items():
        peak_mb = max(run.peak_mb for run in runs)
        aim = verdict(peak_mb, 30, " MB") if name in ordinary else ""
        rows.append([name, f"{peak_mb:.1f}", aim])
    return section(
        "Peak memory",
        """
The largest resident set of the process, in 10^6 bytes; the most of 3 rounds. The large file has
50,000 INSERT statements.""",
        ("contender", "MB", "aim"),
        rows,
    )


def bulk(ground: Ground) -> str:
    """What a seed costs, beside psql on the same file."""
    rows = []
    for name, before, chunk, after, aim in (
        ("COPY", "COPY words FROM stdin;\n", COPY, "\\.\n", 1.15),
        ("INSERT, a row each", "", INSERT, "", 1.5),
        ("INSERT, 1000 rows each", "", ROWS, "", 1.5),
    ):
        folder = ground.seed(before, chunk, SEED_MB, after)
        ours, theirs = race(
            {JOB: _timed(ground, job, folder), "psql": _timed(ground, _psql_in_one, folder)},
            rounds=2,
        ).values()
        base = wall_ms(theirs).least
        rows.append([f"{name}: psql", str(wall_ms(theirs)), str(cpu_ms(theirs)), *_peak(theirs)])
        ratio = wall_ms(ours).least / base
        row = [f"{name}: {JOB}", str(wall_ms(ours)), str(cpu_ms(ours)), *_peak(ours)]
        rows.append([*row, f"{ratio:.2f} x", verdict(ratio, aim, " x")])
    return section(
        f"A seed of {SEED_MB} MB",
        """
Milliseconds for one file into a new database, by the job and by `psql -X -q -1 -f`, in turn; least
(median) of 2 rounds. Memory is the peak, in 10^6 bytes; the ratio is of the least wall times.""",
        ("contender", "wall", "client's CPU", "peak MB", "of psql's wall", "aim"),
        [[*row, "", ""][:6] for row in rows],
    )


def scanner(_ground: Ground) -> str:
    """How fast the text of a file is taken apart."""
    rows = []
    for name, chunk, count in (
        ("COPY", f"COPY words FROM stdin;\n{COPY}\\.\n", 200),
        ("INSERT, a row each", INSERT, 20),
        ("INSERT, 1000 rows each", ROWS, 200),
        ("CREATE TABLE", "".join(f"{text};\n" for _, texts in small(500) for text in texts), 20),
    ):
        began = time.perf_counter()
        lay_out(repeat(chunk, count))
        spent = time.perf_counter() - began
        rows.append([name, f"{len(chunk) * count / 1e6 / spent:.0f}"])
    return section(
        "The scanner",
        "10^6 characters a second, once each, in pieces of one chunk of the seeds above.",
        ("text", "MB/s"),
        rows,
    )


def image(_ground: Ground) -> str:
    """How large the image is."""
    name = os.environ.get("IMAGE", "migrator:local")
    docker = shutil.which("docker")
    if docker is None:
        return "## Image\n\nSkipped: there is no docker here.\n"
    asked = subprocess.run(
        [docker, "image", "inspect", "--format", "{{.Size}}", name],
        capture_output=True,
        text=True,
        check=False,
    )
    if asked.returncode != 0:
        return f"## Image\n\nSkipped: {asked.stderr.strip()}\n"
    size_mb = int(asked.stdout) / 1e6
    return section(
        "Image",
        f"{name}, in 10^6 bytes: as `docker image inspect` tells it, and `docker save | gzip`.",
        ("figure", "MB", "aim"),
        [
            ["size", f"{size_mb:.1f}", verdict(size_mb, 55, " MB")],
            ["compressed", f"{_compressed(docker, name) / 1e6:.1f}", ""],
        ],
    )


def _programs(ground: Ground, added_ms: int) -> dict[str, Callable[[], tuple[Spent, list[float]]]]:
    """Who applies the small files; each gives what it spent and the gaps between the files."""
    scripts = small(FILES)
    whole, single = ground.copies(scripts, "\\;\n"), ground.copies(scripts, ";\n")
    folder = ground.folder(scripts)
    programs: dict[str, Callable[[str], Spent]] = {
        FLOOR: lambda url: psql(url, whole),
        STEPS: lambda url: psql(url, single),
        JOB: lambda url: job(url, folder),
    }

    def timed(do: Callable[[str], Spent]) -> tuple[Spent, list[float]]:
        with ground.database(added_ms) as url:
            return do(url), gaps_ms(url, FILES)

    return {name: partial(timed, do) for name, do in programs.items()}


def _up(ground: Ground, scripts: Sequence[Script]) -> Callable[[], Spent]:
    """A run that applies `scripts` to a new database."""
    return _timed(ground, job, ground.folder(scripts))


def _timed(
    ground: Ground, program: Callable[[str, Path], Spent], folder: Path
) -> Callable[[], Spent]:
    def run() -> Spent:
        with ground.database() as url:
            return program(url, folder)

    return run


def _psql_in_one(url: str, folder: Path) -> Spent:
    return psql(url, sorted(folder.iterdir()), "-1")


def _peak(runs: Iterable[Spent]) -> list[str]:
    return [f"{max(run.peak_mb for run in runs):.1f}"]


def _imports() -> dict[str, Callable[[], Spent]]:
    return {name: partial(python, text) for name, text in IMPORTS.items()}


def _listed(numbers: Iterable[int]) -> str:
    return ", ".join(map(str, numbers))


def _collected(spent: Spent) -> int:
    found = re.search(r"Collected : (\d+)", spent.stderr)
    assert found, spent.stderr
    return int(found[1])


def _compressed(docker: str, name: str) -> int:
    """The bytes of `docker save | gzip`."""
    gzip = zlib.compressobj(wbits=31)
    with subprocess.Popen([docker, "save", name], stdout=subprocess.PIPE) as saved:
        assert saved.stdout is not None
        count = sum(
            len(gzip.compress(part)) for part in iter(partial(saved.stdout.read, 1 << 16), b"")
        )
    return count + len(gzip.flush())
