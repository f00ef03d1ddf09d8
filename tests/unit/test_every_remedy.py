"""What every remedy of the code has in common."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import migrator
from migrator.config import SETTINGS

FILES = sorted(Path(migrator.__file__).parent.rglob("*.py"))
#: Versions of no folder, which a text must not quote as if they were of the reader's.
INVENTED = re.compile(r"\b\d{3}_(?:add_orders|seed_data|orders|initial_schema)\b")
#: A command without the back-ticks by which the pages say that it can be typed.
BARE = re.compile(r"\b(?:adopt|baseline|new|repair|rollback|verify) --[a-z]")


def words(node: ast.expr) -> str:
    """The text of a literal, of an f-string, and of what is said in one case or another."""
    constants = (part for part in ast.walk(node) if isinstance(part, ast.Constant))
    return "".join(part.value for part in constants if isinstance(part.value, str))


def remedies(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.keyword) and node.arg == "remedy":
            yield words(node.value)
        elif isinstance(node, ast.Assign) and any(
            isinstance(target, ast.Name) and target.id.lower() in {"remedy", "remedies"}
            for target in node.targets
        ):
            for value in node.value.values if isinstance(node.value, ast.Dict) else [node.value]:
                yield words(value)
        elif isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Finding":
            yield from (words(argument) for argument in node.args[2:3])


@pytest.mark.parametrize("path", FILES, ids=str)
def test_a_remedy_names_the_flag_beside_the_variable(path: Path) -> None:
    lacking = [
        (setting.flag, text)
        for text in remedies(path)
        for setting in SETTINGS
        if re.search(rf"\b{setting.name}\b", text) and setting.flag not in text
    ]
    assert lacking == []


@pytest.mark.parametrize("path", FILES, ids=str)
def test_a_command_in_a_remedy_has_back_ticks(path: Path) -> None:
    texts = (text for text in remedies(path) if BARE.search(re.sub("`[^`]*`", "", text)))
    assert list(texts) == []


def test_remedies_are_found() -> None:
    assert sum(len(list(remedies(path))) for path in FILES) > 100


@pytest.mark.parametrize("path", FILES, ids=str)
def test_no_text_quotes_an_invented_version(path: Path) -> None:
    tree = ast.parse(path.read_text())
    documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
    said = {
        ast.get_docstring(node, clean=False)
        for node in ast.walk(tree)
        if isinstance(node, documented)
    }
    texts = [n.value for n in ast.walk(tree) if isinstance(n, ast.Constant)]
    assert [t for t in texts if isinstance(t, str) and t not in said and INVENTED.search(t)] == []
