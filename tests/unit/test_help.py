"""The help: a first page of one screen, a page for each command, and one for the settings."""

from __future__ import annotations

import io
import re
import shlex

import pytest

from migrator.cli.help import CODES, PAGES, help_page
from migrator.cli.main import main
from migrator.cli.words import COMMON, TOPICS, read_words
from migrator.commands.table import COMMANDS
from migrator.config import SETTINGS, URLS
from tests.pages import error_classes

TEXT_PAGES = ["", "settings", *COMMANDS]


def shown(*argv: str) -> str:
    stdout, stderr = io.StringIO(), io.StringIO()
    assert (main(argv, {}, stdout, stderr), stderr.getvalue()) == (0, "")
    return stdout.getvalue()


def test_the_first_page_is_one_screen_with_the_commands_first() -> None:
    lines = shown("--help").splitlines()
    assert len(lines) <= 24
    named = [line.split()[0] for line in lines if line.startswith("  ")]
    assert named[: len(COMMANDS)] == list(COMMANDS)
    assert shown("help") == shown("-h") == shown("--lock-timeout", "2s", "--help")


@pytest.mark.parametrize("page", TEXT_PAGES)
def test_a_page_fits_80_columns(page: str) -> None:
    assert [line for line in help_page(page).splitlines() if len(line) > 80] == []


def test_every_command_has_a_page() -> None:
    assert list(PAGES) == list(COMMANDS)
    assert set(CODES) - {0, 1} == set(error_classes())


@pytest.mark.parametrize("command", COMMANDS)
def test_the_page_of_a_command_shows_its_own_options_and_no_others(command: str) -> None:
    page = shown(command, "--help")
    assert page == shown("help", command) == shown("--help", command)
    options, _, _ = page.partition("examples:\n")
    own = {f"--{option.name}" for option in COMMANDS[command].options}
    assert set(re.findall(r"^  (--[\w-]+)", options, re.MULTILINE)) == own
    known = own | set(COMMON) | {setting.flag for setting in SETTINGS}
    assert set(re.findall(r"--[a-z][\w-]+", page)) <= known


@pytest.mark.parametrize("command", COMMANDS)
def test_each_example_of_a_page_can_be_typed(command: str) -> None:
    for line, _ in PAGES[command].examples:
        assert read_words(shlex.split(line)).command == command


def test_the_plan_of_a_command_is_shown_for_every_command_that_has_it() -> None:
    takers = [name for name, command in COMMANDS.items() if "plan" in str(command.options)]
    assert [name for name in COMMANDS if "--plan" in help_page(name)] == takers
    assert takers == ["rollback", "adopt"]


def test_the_settings_have_a_page_of_their_own() -> None:
    page = shown("help", "settings")
    assert [name for name in (*URLS, *(s.name for s in SETTINGS)) if f"  {name} " not in page] == []


def test_a_slip_on_the_way_to_help_is_named() -> None:
    assert read_words(["rollback", "--too", "--help"]).page == "rollback"
    assert {read_words(["help", topic]).page for topic in TOPICS} == set(TOPICS)
