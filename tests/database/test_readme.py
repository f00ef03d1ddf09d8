"""The first screen of README.md, typed at a terminal in a fresh clone, prints what it shows."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from migrator.cli.env_file import PLACE_NAMES
from tests.conftest import without
from tests.laptop import DIRECTORY
from tests.pages import ROOT
from tests.postgres import NoServerError, binary
from tests.terminal import at_terminal, plain, seen

README = (ROOT / "README.md").read_text()
#: The installed packages are those of this run, however old its .venv is.
MAKE = 'make() { command make --no-print-directory --old-file=.venv/.runtime "$@"; }'
COLUMNS = 120  # nothing is wrapped
#: What another run has otherwise, and what stands for it.
VARIES = {
    r"\b\d\d:\d\d:\d\d\b": "TIME",
    r"\b\d{4}-\d\d-\d\d\b": "DATE",
    r"127\.0\.0\.1:\d+": "HOST:PORT",
    r"PostgreSQL \d[\w.]*": "PostgreSQL VERSION",
    r"migrator \d[\w.]*\w": "migrator VERSION",
    r"\b\d+(\.\d+)? m?s\b": "DURATION",
    r"\S+/psql": "psql",
}


@pytest.fixture
def clone() -> Iterator[Path]:
    """The tracked files, where the account of a server may enter; its server is removed."""
    try:
        binary("initdb")
    except NoServerError as error:
        without("a PostgreSQL server", error)
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    with tempfile.TemporaryDirectory(prefix="clone-") as parent:
        Path(parent).chmod(0o755)
        for name in filter(None, listed.stdout.split("\0")):
            (Path(parent) / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, Path(parent) / name)
        (Path(parent) / ".venv").symlink_to(sys.prefix)
        yield Path(parent)
        program = ROOT / "tests" / "postgres.py"
        subprocess.run([sys.executable, program, "stop", Path(parent) / DIRECTORY], check=True)


def block(language: str) -> str:
    """The page's first block in that language."""
    found = re.search(rf"^```{language}\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
    assert found, language
    return found[1]


def steady(printed: list[str]) -> list[str]:
    """Without what is another in each run."""
    text = "\n".join(printed).strip("\n")
    for pattern, word in VARIES.items():
        text = re.sub(pattern, word, text)
    return text.splitlines()


def typed(clone: Path, line: str) -> list[str]:
    """What a terminal shows after a line of the page was typed into its shell."""
    environment = {k: v for k, v in os.environ.items() if k not in PLACE_NAMES}
    code, written = at_terminal(
        ["bash", "-c", f"{MAKE}\n{line}"],
        {**environment, "TERM": "xterm", "YES": ""},
        columns=COLUMNS,
        cwd=clone,
    )
    assert code == 0, written
    return seen(plain(written), COLUMNS)


def test_the_first_screen_prints_what_it_shows(clone: Path) -> None:
    migration = block("sql")
    place = clone / migration.partition("\n")[0].removeprefix("-- ")
    *before, last = block("sh").splitlines()
    for line in before:
        typed(clone, line)
    assert sorted(path.name for path in place.parent.iterdir()) == [
        "001_add_orders.down.sql",
        "001_add_orders.sql",
    ]
    place.write_text(migration)
    assert steady(typed(clone, last)) == steady(block("text").splitlines())
    assert any("nothing to do; 1 applied" in line for line in typed(clone, last))
