"""docs/troubleshooting.md speaks in the code's own words."""

from __future__ import annotations

import ast
import json
import re
import shlex
from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest

from migrator import errors
from migrator.cli.words import read_words
from migrator.commands.table import COMMANDS
from migrator.postgres.connect_failures import MESSAGES
from migrator.refusals.remedies import REMEDIES
from tests.pages import ROOT, TROUBLESHOOTING, error_classes, section, table, told_events

PAGE = TROUBLESHOOTING.read_text()
FAULTS = [
    *("Competition", "Overtaken", "Killed", "Lost packets", "Cut at COMMIT"),
    *("A body that crashes its backend", "Stop", "Dead network", "Deadline"),
    *("Busy tables", "Blockers", "Narration", "Timeouts", "Batches"),
]
HARD = table(PAGE, "Hard connections")


def texts() -> Iterator[str]:
    """Every text of the code, as a pattern: what is filled in may be anything."""
    for path in (ROOT / "migrator").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield re.sub(r"\\\{\w*\\\}", ".+", re.escape(node.value))
            elif isinstance(node, ast.JoinedStr):
                parts = (str(part.value) for part in node.values if isinstance(part, ast.Constant))
                if sum(map(len, parts)) >= 8:  # else it says nothing of its own
                    yield "".join(
                        re.escape(str(part.value)) if isinstance(part, ast.Constant) else ".+"
                        for part in node.values
                    )


@cache
def patterns() -> list[re.Pattern[str]]:
    return [re.compile(pattern, re.DOTALL) for pattern in set(texts())]


def is_ours(text: str) -> bool:
    return any(pattern.fullmatch(text) for pattern in patterns())


def parts(heading: str) -> dict[str, str]:
    """What stands under each heading of the third level there."""
    pieces = re.split(r"^### (.*)$", section(PAGE, heading), flags=re.MULTILINE)
    return dict(zip(pieces[1::2], pieces[2::2], strict=True))


def log_lines() -> list[dict[str, Any]]:
    blocks = re.findall(r"^```json\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    return [json.loads(line) for block in blocks for line in block.splitlines()]


LINES = log_lines()
CODES = {int(heading.partition(" ")[0]): heading for heading in parts("Exit codes")}


def test_the_page_has_a_section_for_each_exit_code() -> None:
    named = {code: CODES[code].partition(" · ")[2] for code in CODES if code > 1}
    assert named == error_classes()
    assert {0, 1} < set(CODES)


@pytest.mark.parametrize("code", [code for code in CODES if code > 1])
def test_each_exit_code_has_its_line_its_meaning_and_its_remedy(code: int) -> None:
    text = parts("Exit codes")[CODES[code]]
    lines = [json.loads(line) for line in re.findall(r"^\{.*\}$", text, re.MULTILINE)]
    kind = getattr(errors, error_classes()[code])
    assert [(line["exit_code"], line["error"]["type"]) for line in lines] == [(code, kind.__name__)]
    assert "**Database**" in text
    assert kind.remedy in " ".join(text.partition("**Do**")[2].split())


def test_the_page_has_a_section_for_each_fault() -> None:
    assert list(parts("Faults")) == FAULTS
    for text in parts("Faults").values():
        assert "```json" in text or "exit 137" in text
        assert "**Database**" in text
        assert "**Do**" in text


def test_the_log_lines_of_the_page_are_the_jobs_own() -> None:
    assert {line["event"] for line in LINES} <= told_events()
    errors_shown = [line["error"] for line in LINES if isinstance(line.get("error"), dict)]
    assert len(errors_shown) > 10
    remedies = [line["remedy"] for line in (*LINES, *errors_shown) if "remedy" in line]
    problems = [found["problem"] for line in LINES for found in line.get("findings", ())]
    assert [text for text in (*remedies, *problems) if not is_ours(text)] == []
    outcomes = [line["outcome"] for line in LINES if "outcome" in line]
    strangers = [
        part
        for text in outcomes
        if not is_ours(text)
        for part in text.split("; ")
        if not is_ours(part)
    ]
    assert strangers == []


def test_the_reasons_of_the_page_are_the_codes_own() -> None:
    shown = {line["reason"] for line in LINES if "reason" in line} | {row[2] for row in HARD}
    assert [reason for reason in shown if not is_ours(reason)] == []


def test_every_reason_of_a_failed_connection_has_a_row_with_its_remedy() -> None:
    rows = {(row[2], row[4]) for row in HARD}
    assert {verdict.reason for _, verdict in MESSAGES} <= {reason for reason, _ in rows}
    assert [remedy for _, remedy in rows if remedy and not is_ours(remedy)] == []


def test_the_page_has_the_table_of_remedies() -> None:
    def shown(text: str) -> str:
        return re.sub(r"\{(\w+)\}", lambda found: found[1].upper(), text).replace("`", "")

    assert table(PAGE, "What PostgreSQL refused") == [
        [", ".join(sorted(row.sqlstates)) or "any", row.when, shown(row.text)] for row in REMEDIES
    ]
    assert f"the\nremedy is: {errors.StatementError.remedy}" in PAGE


#: A command in a text of the code that is no docstring: `repair --applied VERSION --reason WHY`.
COMMAND = re.compile(rf"`((?:{'|'.join(COMMANDS)})(?: [^`]*)?)`")


def commands() -> set[str]:
    """Every command that a text of the code names; what is filled in stands as X."""
    found: set[str] = set()
    for path in (ROOT / "migrator").rglob("*.py"):
        tree = ast.parse(path.read_text())
        words = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
        for node in ast.walk(tree):
            if isinstance(node, ast.JoinedStr):
                parts = [
                    part.value if isinstance(part, ast.Constant) else "X" for part in node.values
                ]
                found |= set(COMMAND.findall("".join(map(str, parts))))
            elif isinstance(node, ast.Constant) and id(node) not in words:
                found |= set(COMMAND.findall(str(node.value)))
    return {re.sub(r"\{\w+\}", "X", command) for command in found}


def test_every_command_that_a_remedy_names_can_be_typed() -> None:
    found = commands()
    assert {"up", "repair --applied X --reason WHY", "rollback --to VERSION"} <= found
    for command in found:
        name, *_ = shlex.split(command)
        assert read_words(shlex.split(command)).command == name


def test_the_page_shows_how_to_run_every_command_that_a_remedy_names() -> None:
    def form(command: str) -> str:
        """The command and its flags, whatever they are given."""
        return " ".join(word for word in command.split() if word == word.lower())

    shown = {form(text) for text in re.findall(r"`([a-z][^`]*)`", section(PAGE, "Run a command"))}
    named = {form(command) for command in commands() if "--" in command}
    assert {form for form in named if not any(form in other for other in shown)} == set()


def test_in_kubernetes_a_command_of_the_page_can_be_typed() -> None:
    lines = re.findall(r"^.*k8s/run .*$", section(PAGE, "Run a command"), re.MULTILINE)
    shown = [shlex.split(line.partition("k8s/run ")[2], comments=True) for line in lines[1:]]
    assert len(shown) >= 4
    for words in shown:
        command = words[2:] if words[0] == "-n" else words
        assert read_words(command).command == command[0]


def test_every_section_that_the_page_points_to_is_there() -> None:
    headings = re.findall(r"^#+ (.*)$", PAGE, re.MULTILINE)
    anchors = {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}
    reference = (ROOT / "docs" / "reference.md").read_text()
    pointed_to = re.findall(r"\]\(#([\w-]+)\)", PAGE)
    pointed_to += re.findall(r"troubleshooting\.md#([\w-]+)", reference)
    assert len(pointed_to) > 10
    assert [anchor for anchor in pointed_to if anchor not in anchors] == []
