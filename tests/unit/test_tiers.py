"""Two tiers of tests: what the gate leaves out, `.ci/full` runs."""

from __future__ import annotations

import itertools
import os
import re
import subprocess
import sys
import tomllib

import pytest

from tests.pages import ROOT
from tests.tiers import to_spare
from tests.ways import WAYS

GATE, FULL = ((ROOT / ".ci" / name).read_text() for name in ("run", "full"))
#: What a test holds that depends on the version of the server.
VERSIONED = re.compile(r"server_version|read_catalog|Snapshot|pg_dump|as_new_as_the_server")


@pytest.mark.parametrize("sizes", [(1,), (7,), (2, 2), (14, 7), (3, 9, 4), (24, 1, 2)])
def test_each_value_of_a_grid_stays_in_the_gate(sizes: tuple[int, ...]) -> None:
    grid = [[str(n) for n in point] for point in itertools.product(*map(range, sizes))]
    spared = set(to_spare(grid))
    kept = [point for n, point in enumerate(grid) if n not in spared]
    for place, size in enumerate(sizes):
        assert {point[place] for point in kept} == set(map(str, range(size)))
    assert len(kept) <= max(sizes) + sum(sizes) // 2


def test_the_values_of_a_long_grid_meet_all_those_of_a_short_one() -> None:
    grid = [[a, b] for a in "abcdefgh" for b in "xy"]
    spared = set(to_spare(grid))
    met = [point[1] for n, point in enumerate(grid) if n not in spared]
    assert sorted(met) == ["x"] * 4 + ["y"] * 4


def test_a_value_that_is_marked_full_is_left_out_and_each_other_one_stays() -> None:
    file = "tests/faults/test_chaos.py"
    gate, whole = collected(file, *GATED), collected(file)
    ways = [
        {name.partition("[")[2].rpartition("-")[0] for name in names} for names in (gate, whole)
    ]
    assert ways == [{"direct", "transaction, pool of one"}, set(WAYS)]
    assert {name.rpartition("-")[2] for name in gate} == {"1]", "16]"}


def test_nothing_is_spared_of_a_test_without_a_second_parameter() -> None:
    assert to_spare([]) == []
    assert to_spare([["a"], ["b"], ["c"]]) == []


def test_the_grid_of_a_real_test_is_thinned_and_loses_no_value() -> None:
    file = "tests/database/test_own_codes.py"
    whole, gate, rest = (collected(file, *words) for words in ([], GATED, ["-m", "full"]))
    assert sorted(gate + rest) == sorted(whole)
    assert 0 < len(gate) < len(whole) / 5
    for half in (0, 2):
        values, kept = ({name.rpartition("-")[half] for name in names} for names in (whole, gate))
        assert kept == values


GATED = ["-m", "not full"]


def collected(file: str, *words: str) -> list[str]:
    command = [sys.executable, "-m", "pytest", "--collect-only", "--quiet", file, *words]
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST_")}
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return [line for line in done.stdout.splitlines() if "::" in line]


@pytest.mark.parametrize("words", ["test", "test-matrix VERSIONS=newest"])
def test_make_leaves_out_what_is_full_unless_it_is_asked_for(words: str) -> None:
    assert "-m 'not full'" in made(words)
    for more in ("FULL=1", "ARGS=tests/unit/test_tiers.py::test_x"):
        assert "not full" not in made(words, more)


@pytest.mark.parametrize("words", ["cov", "faults"])
def test_coverage_and_repetitions_leave_nothing_out(words: str) -> None:
    assert "not full" not in made(words)


def made(words: str, *more: str) -> str:
    """The commands that make would run."""
    command = ["make", "--dry-run", "--always-make", *words.split(), *more]
    environment = {"PATH": os.environ["PATH"]}
    return subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    ).stdout


def test_the_full_run_asks_for_all() -> None:
    assert "\nexport FULL=1\n" in FULL
    assert "FULL=" not in GATE
    for words in ("make check", "make test", "make test-matrix", "make faults", "make cov"):
        assert re.search(rf"^{words}\b", FULL, re.MULTILINE), words
    assert "VERSIONS=" not in FULL
    assert "MATRIX=" not in FULL


def test_the_gate_runs_each_test_once() -> None:
    """The unit tests beside the types and the images, and all others after that."""
    assert re.search(r"^make .*\bcheck unit\b", GATE, re.MULTILINE)
    assert 'make test ARGS="--ignore tests/unit"\n' in GATE


def test_a_file_that_depends_on_the_version_runs_on_the_newest_in_the_gate() -> None:
    listed = re.search(r"^DEPENDING_ON_THE_VERSION=\((.*?)\)", GATE, re.MULTILINE | re.DOTALL)
    assert listed
    names = {f"test_{name}.py" for name in listed[1].split()}
    files = {path.name: path.read_text() for path in (ROOT / "tests" / "database").glob("*.py")}
    assert names <= files.keys()
    # one that has a stub alone meets no server
    asked = {name: text for name, text in files.items() if "Database" in text}
    assert {name for name, text in asked.items() if VERSIONED.search(text)} <= names


def test_what_is_the_same_on_any_version_is_left_out_on_the_newest_alone() -> None:
    words = "-m 'not full and not any_version'"
    assert f'VERSIONS=newest MATRIX="${{files[*]/%/.py}}" ARGS="{words}"\n' in GATE
    assert GATE.count("any_version") == 1
    assert "any_version" not in FULL


def test_the_tools_of_others_run_in_the_full_tier_alone() -> None:
    assert ("\nmake peers\n" in FULL, "make peers" in GATE) == (True, False)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert "peers" in project["tool"]["pytest"]["ini_options"]["norecursedirs"]
    assert collected("tests/peers")
