"""The tools of others: those of npm are installed once into .local/peers, from the lock file."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import NoReturn

import pytest

from tests.pages import ROOT
from tests.peers.tools import PEERS, Peer

INSTALLED = ROOT / ".local" / "peers"
WISHED = ("package.json", "package-lock.json")


def without(what: str) -> NoReturn:
    """Skip the test for want of a tool, or fail it where the index of packages is a must."""
    if os.environ.get("REQUIRE_INDEX") == "1":
        pytest.fail(f"REQUIRE_INDEX=1, but {what}")
    pytest.skip(what)


def is_installed() -> bool:
    """Whether what lies there is what the lock file wishes for."""
    here = Path(__file__).parent
    return all(
        (INSTALLED / name).exists()
        and (INSTALLED / name).read_bytes() == (here / name).read_bytes()
        for name in WISHED
    )


@pytest.fixture(scope="session")
def npm_tools() -> Path:
    """Where npm has put the tools; their own scripts are not run."""
    if not is_installed():
        npm = shutil.which("npm")
        if npm is None:
            without("npm was not found, which brings the tools: apt-get install npm")
        shutil.rmtree(INSTALLED, ignore_errors=True)
        INSTALLED.mkdir(parents=True)
        for name in reversed(WISHED):  # `npm ci` fails where one is missing
            shutil.copy(Path(__file__).parent / name, INSTALLED)
        words = ["ci", "--ignore-scripts", "--no-audit", "--no-fund"]
        done = subprocess.run(
            [npm, *words], cwd=INSTALLED, capture_output=True, text=True, check=False
        )
        if done.returncode:
            shutil.rmtree(INSTALLED)
            without(f"npm cannot install the tools:\n{done.stderr}")
    return INSTALLED / "node_modules"


@pytest.fixture(params=PEERS)
def peer(request: pytest.FixtureRequest) -> Peer:
    """A tool, and where its program is."""
    made = PEERS[request.param]
    if made.program:
        return made.at(request.getfixturevalue("npm_tools"))
    if shutil.which(made.name) is None:
        without(f"{made.name} was not found: apt-get install {made.name} (Debian)")
    return made
