"""`make migrate` without a database: a server of the folder's own, which stays up."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from migrator.cli.env_file import PLACE_NAMES
from tests.conftest import without
from tests.job import until
from tests.laptop import DIRECTORY
from tests.pages import ROOT
from tests.postgres import NoServerError, binary, home

PROGRAM = ROOT / "tests" / "postgres.py"
#: Stands for the job: prints its word and its database, and exits as it is told.
COMMAND = """\
import os, sys, time
print(sys.argv[1], os.environ["DATABASE_URL"], flush=True)
time.sleep(float(os.environ.get("SLEEP", "0")))
sys.exit(int(os.environ.get("CODE", "0")))
"""


@pytest.fixture
def directory() -> Iterator[Path]:
    """Where the throw-away server lives; stopped and removed at the end."""
    try:
        binary("initdb")
    except NoServerError as error:
        without("a PostgreSQL server", error)
    with tempfile.TemporaryDirectory(prefix="throwaway-") as parent:
        Path(parent).chmod(0o755)
        (Path(parent) / "entrypoint.py").write_text(COMMAND)
        yield Path(parent) / DIRECTORY
        subprocess.run([sys.executable, PROGRAM, "stop", Path(parent) / DIRECTORY], check=True)


def start(directory: Path, **environment: str) -> subprocess.Popen[str]:
    kept: Mapping[str, str] = {k: v for k, v in os.environ.items() if k not in PLACE_NAMES}
    return subprocess.Popen(
        [sys.executable, "-m", "tests.laptop", "up"],
        cwd=directory.parents[1],
        env={**kept, "PYTHONPATH": str(ROOT), **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def run(directory: Path, **environment: str) -> tuple[int, list[str]]:
    process = start(directory, **environment)
    output, _ = process.communicate(timeout=60)
    return process.returncode, output.splitlines()


def test_the_server_stays_up_for_the_next_run_and_the_answer_says_how_to_reach_it(
    directory: Path,
) -> None:
    process = start(directory)
    answer, beside = process.communicate(timeout=60)
    url = answer.splitlines()[0].removeprefix("up ")
    assert (process.returncode, answer) == (0, f"up {url}\nstatus {url}\n")
    assert f"connect          {binary('psql')} {url}" in beside  # the answer may go into a file
    assert run(directory) == (0, answer.splitlines())


def test_the_command_decides_the_exit_code(directory: Path) -> None:
    code, said = run(directory, CODE="15")
    assert (code, "status" in "".join(said[:2])) == (15, False)


@pytest.mark.parametrize("name", ["DATABASE_URL", "MIGRATOR_DATABASE_URL"])
def test_a_database_of_the_users_own_is_used_as_it_is(directory: Path, name: str) -> None:
    url = "postgresql://me@localhost/mine"
    code, said = run(directory, **{"DATABASE_URL": "", name: url})
    assert (code, said) == (0, [f"up {url}" if name == "DATABASE_URL" else "up "])
    assert not directory.exists()


@pytest.mark.parametrize("made", ["unfinished", "data/postmaster.pid"])
def test_an_interrupted_start_leaves_nothing_half_done(directory: Path, made: str) -> None:
    """While the cluster is made, and while its server starts."""
    process = start(directory, SLEEP="60")
    until((home(directory) / made).exists)
    os.killpg(process.pid, signal.SIGINT)
    process.communicate(timeout=20)
    # before its own handlers stand, Python dies of the signal; later it says 130
    assert process.returncode in (130, -signal.SIGINT)
    assert not (home(directory) / "unfinished").exists()
    assert run(directory)[0] == 0


def test_a_missing_program_is_named_with_the_way_to_get_it() -> None:
    with pytest.raises(NoServerError, match=r"no-such-program .* apt-get install postgresql"):
        binary("no-such-program")
