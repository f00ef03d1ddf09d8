"""docs/workflow.md: every command of the page is run, in its order, with the exit code it names."""

from __future__ import annotations

import re
import shlex
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from migrator.commands.table import COMMANDS
from tests.builders import write_folder
from tests.conftest import Database, create_database, drop_database
from tests.job import run_job
from tests.pages import ROOT, table

PAGE = (ROOT / "docs" / "workflow.md").read_text()
LINE = re.compile(r"^(laptop|production|ci)\$ (migrator|git) (.*?)(?: +# (\d+))?$", re.MULTILINE)
BASE = {f"{number:03}_step.sql": f"SELECT {number};" for number in (1, 2, 3)}
ORDERS = "CREATE TABLE orders (id bigint PRIMARY KEY);\n"


@dataclass
class Story:
    """A repository, a laptop's database and production's."""

    repository: Path
    urls: dict[str, str | None]

    @property
    def folder(self) -> Path:
        return self.repository / "migrations"

    def git(self, *words: str) -> None:
        identity = ["-c", "user.name=a", "-c", "user.email=a@example.com", "-c", "gc.auto=0"]
        done = subprocess.run(
            ["git", *identity, *words], cwd=self.repository, capture_output=True, text=True
        )
        assert done.returncode == 0, (words, done.stderr)

    def write(self, **files: str) -> None:
        write_folder(self.folder, {f"{name[1:]}.sql": text for name, text in files.items()})

    def run(self, where: str, program: str, words: str, code: str | None) -> None:
        if program == "git":
            self.git(*shlex.split(words))
            return
        result = run_job(self.urls[where], self.folder, *shlex.split(words))
        assert result.code == int(code or -1), (where, words, result.stderr)


def take_back(story: Story, database: Database) -> None:
    database.query("DROP TABLE orders")
    assert "004_add_orders" in (story.folder / "004_add_orders.down.sql").read_text()


def edits(story: Story, laptop: Database) -> dict[int | str, Callable[[], None]]:
    """What a person does after a command, as the page tells."""
    return {
        "migrator new add_orders": lambda: story.write(_004_add_orders=ORDERS),
        "migrator verify": lambda: story.write(_004_add_orders=f"-- what they are\n{ORDERS}"),
        "migrator repair --not-applied 004_add_orders --reason 'still writing it'": (
            lambda: take_back(story, laptop)
        ),
        "migrator new add_notes": lambda: apply_on_a_laptop_of_his_own(story, laptop),
        "git switch --create fix-totals v1": lambda: story.write(_006_fix_totals="SELECT 6;"),
        "migrator new drop_legacy": lambda: story.write(
            _007_drop_legacy="-- migrator: floor\nDROP TABLE notes;\n"
        ),
    }


def apply_on_a_laptop_of_his_own(story: Story, laptop: Database) -> None:
    """The colleague's own database, on which the file is applied as 004."""
    story.write(_004_add_notes="CREATE TABLE notes (id bigint);\n")
    laptop.query("DROP TABLE orders, schema_migrations, schema_migrations_log")
    assert run_job(laptop.url, story.folder).code == 0


def test_the_page_is_a_story_that_runs(database: Database, tmp_path: Path) -> None:
    production = create_database(database.server)
    story = Story(tmp_path, {"laptop": database.url, "production": production.url, "ci": None})
    write_folder(story.folder, BASE)
    story.git("init", "--initial-branch", "main")
    for words in (("add", "."), ("commit", "--message", "base")):
        story.git(*words)
    try:
        for url in (database.url, production.url):
            assert run_job(url, story.folder).code == 0
        hooks = edits(story, database)
        for where, program, words, code in LINE.findall(PAGE):
            story.run(where, program, words, code)
            if hook := hooks.pop(f"{program} {words}", None):
                hook()
        assert not hooks
        versions = "SELECT version FROM schema_migrations WHERE version > '004' ORDER BY 1"
        assert [version for (version,) in production.query(versions)] == [
            *("004_add_orders", "005_add_notes", "006_fix_totals", "007_drop_legacy")
        ]
    finally:
        drop_database(production)


def test_every_console_line_of_the_page_is_run_or_is_on_the_page_about_running() -> None:
    consoles = re.findall(r"^```console\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    lines = [line for text in consoles for line in text.splitlines()]
    assert len(lines) > 40
    assert [line for line in lines if not LINE.fullmatch(line)] == []
    running = (ROOT / "docs" / "running.md").read_text()
    shells = re.findall(r"^```sh\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    assert [line for text in shells for line in text.splitlines() if line not in running] == []


def test_every_answer_that_the_page_lists_is_one_of_repair() -> None:
    options = {option.name for option in COMMANDS["repair"].options} - {"reason"}
    cells = [row[1] for row in table(PAGE, "What a person knows")]
    named = {name for cell in cells for name in re.findall(r"repair --([\w-]+)", cell)}
    assert named == options
