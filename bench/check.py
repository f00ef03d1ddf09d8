"""`python -m bench.check`: what `check` finds, misses and costs, beside squawk in the same run.

The files are those of tests/corpus.py, each upon the same base, with large live tables. squawk is
its package of npm, put into .local/squawk; its rules about style and timeouts are left out.
"""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from migrator.cli.main import main as migrator
from tests.corpus import BASE, DANGERS, ROWS, SAFE
from tests.postgres import NoServerError, Server, binary, run_as_plain_user

SQUAWK = Path(".local/squawk")
#: What is taste, or settled by the job itself: timeouts, names, types.
NOT_DANGERS = (
    *("prefer-robust-stmts", "require-timeout-settings", "prefer-text-field"),
    *("prefer-bigint-over-int", "prefer-bigint-over-smallint", "prefer-identity"),
    *("prefer-timestamp-tz", "identifier-too-long"),
)
ORDERS = 20_000
LIMIT = "200kB"


@dataclass(frozen=True)
class Score:
    """What a tool said of all files."""

    caught: int
    named: int | None  #: by the right class; None where the tool has other classes
    missed: Sequence[str]
    false_alarms: Sequence[str]
    ms: float  #: for each file


def main() -> int:
    try:
        with tempfile.TemporaryDirectory() as place:
            server = Server.create(Path(place, "server"))
            server.start()
            try:
                print(_report(server, Path(place)))
            finally:
                server.remove()
    except NoServerError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def _report(server: Server, place: Path) -> str:
    version = run_as_plain_user([str(binary("postgres")), "--version"], directory=Path("/"))
    own = _own(server, place)
    lines = [
        f"# check beside squawk\n\n{version.stdout.strip()}, load {os.getloadavg()[0]:.1f}.\n",
        f"| | caught of {len(DANGERS)} | of the right class | false alarms of {len(SAFE)} "
        "| ms a file |",
        "|---|---|---|---|---|",
        _row("migrator check", own),
    ]
    if (found := _squawk(place)) is not None:
        lines.append(_row(found[0], found[1]))
    else:
        lines.append("\nsquawk is not available: npm cannot install squawk-cli here.")
    lines += _named("migrator check", own)
    lines += _named(*found) if found else []
    return "\n".join(lines)


def _row(name: str, score: Score) -> str:
    named = "" if score.named is None else str(score.named)
    alarms = len(score.false_alarms)
    return f"| {name} | {score.caught} | {named} | {alarms} | {score.ms:.1f} |"


def _named(name: str, score: Score) -> list[str]:
    return [
        f"\n{name} missed: {', '.join(score.missed) or 'nothing'}.",
        f"{name} raised false alarms on: {', '.join(score.false_alarms) or 'nothing'}.",
    ]


def _own(server: Server, place: Path) -> Score:
    """One run for each file, as each is a release of its own; the time is of one run over all."""
    superuser = server.url("postgres")
    _psql(superuser, "CREATE DATABASE live")
    live = server.url("live")
    folder = place / "own"
    folder.mkdir()
    (folder / "001_base.sql").write_text(BASE)
    _job(folder, "up", DATABASE_URL=live)
    _psql(live, ROWS.format(n=ORDERS), "ANALYZE")
    caught, named, missed, alarms = 0, 0, [], []
    for what, danger, sql in (*DANGERS, *((what, None, sql) for what, sql in SAFE)):
        (folder / "002_next.sql").write_text(sql + "\n")
        answer = _job(folder, "check", "--json", DATABASE_URL=live, SHADOW_DATABASE_URL=superuser)
        classes = {one["class"] for one in answer["findings"]}
        if danger is None:
            alarms += [what] if classes else []
            continue
        caught, named = caught + bool(classes), named + (danger in classes)
        missed += [] if classes else [what]
    return Score(caught, named, missed, alarms, _ms_a_file(place / "many", superuser))


def _psql(url: str, *texts: str) -> None:
    words = [word for text in texts for word in ("-c", text)]
    run_as_plain_user([str(binary("psql")), "-qX", "-d", url, *words], directory=Path("/"))


def _ms_a_file(folder: Path, shadow: str) -> float:
    """What a further file costs: the safe files, several times over, traced in one run."""
    folder.mkdir()
    (folder / "001_base.sql").write_text(BASE)
    sizes, spent = (20, 120), []
    for size in sizes:
        for number in range(size):
            text = (
                f"CREATE TABLE t{number} (id bigint PRIMARY KEY, n int);\n"
                f"CREATE INDEX i{number} ON t{number} (n);\n"
                f"ALTER TABLE orders ADD COLUMN c{number} int;\n"
            )
            (folder / f"{number + 2:03}_t.sql").write_text(text)
        words = ("check", "--json", "--all", "--assume-small")
        runs = [_timed(folder, *words, SHADOW_DATABASE_URL=shadow) for _ in range(3)]
        spent.append(min(runs))
    return (spent[1] - spent[0]) * 1000 / (sizes[1] - sizes[0])


def _timed(folder: Path, *words: str, **settings: str) -> float:
    started = time.perf_counter()
    _job(folder, *words, **settings)
    return time.perf_counter() - started


def _job(folder: Path, *words: str, **settings: str) -> dict[str, list[dict[str, str]]]:
    stdout, stderr = io.StringIO(), io.StringIO()
    environment = {"MIGRATIONS_DIR": str(folder), "PREFLIGHT_SIZE": LIMIT, **settings}
    code = migrator(list(words), environment, stdout, stderr)
    if code not in {0, 17}:
        raise SystemExit(stderr.getvalue())
    found: dict[str, list[dict[str, str]]] = json.loads(stdout.getvalue() or "{}")
    return found


def _squawk(place: Path) -> tuple[str, Score] | None:
    program = SQUAWK / "node_modules" / ".bin" / "squawk"
    if not program.exists():
        install = ["npm", "install", "--silent", "--prefix", str(SQUAWK), "squawk-cli"]
        try:
            subprocess.run(install, check=True, capture_output=True)
        except (OSError, subprocess.CalledProcessError):
            return None
    version = subprocess.run([program, "--version"], capture_output=True, text=True, check=True)
    folder = place / "squawk"
    folder.mkdir()
    cases = [(what, danger, sql) for what, danger, sql in DANGERS]
    cases += [(what, "", sql) for what, sql in SAFE]
    for number, (_, _, sql) in enumerate(cases):
        (folder / f"{number:03}.sql").write_text(sql + "\n")
    files = sorted(folder.glob("*.sql"))
    words = [str(program.resolve()), "--reporter", "Json", "--exclude", ",".join(NOT_DANGERS)]
    one_run = [*words, "--assume-in-transaction"]
    started = time.perf_counter()
    done = subprocess.run([*one_run, *map(str, files)], capture_output=True, text=True, check=False)
    seconds = time.perf_counter() - started
    told = {Path(one["file"]).stem for one in json.loads(done.stdout)}
    caught, missed, alarms = 0, [], []
    for number, (what, danger, _) in enumerate(cases):
        flagged = f"{number:03}" in told
        if danger:
            caught += flagged
            missed += [] if flagged else [what]
        elif flagged:
            alarms.append(what)
    score = Score(caught, None, missed, alarms, seconds * 1000 / len(cases))
    return version.stdout.strip(), score


if __name__ == "__main__":
    sys.exit(main())
