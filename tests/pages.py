"""What a page of the documentation says, for the tests that compare it with the code."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from migrator import errors

ROOT = Path(__file__).parent.parent
TROUBLESHOOTING = ROOT / "docs" / "troubleshooting.md"


def section(text: str, heading: str) -> str:
    """What stands under a heading of the second level, up to the next one."""
    return text.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]


def table(text: str, heading: str) -> list[list[str]]:
    """The rows of the first table under a heading, cells without back-ticks."""
    rows = [line for line in section(text, heading).splitlines() if line.startswith("|")][2:]
    assert rows, heading
    return [[cell.strip().replace("`", "") for cell in row.strip("|").split("|")] for row in rows]


def error_classes() -> dict[int, str]:
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type)]
    codes = {vars(kind).get("exit_code", 0): kind.__name__ for kind in kinds}
    return {code: name for code, name in codes.items() if code > 1}


def told_events() -> set[str]:
    """The names of all events that the code makes: Event("noun.verb", …)."""
    return {
        str(node.args[0].value)
        for path in (ROOT / "migrator").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call)
        and getattr(node.func, "id", "") == "Event"
        and isinstance(node.args[0], ast.Constant)
    }


def shown_by(page: str) -> Iterator[tuple[str, str]]:
    """Each test that the page's table "What shows it" names, with the text of its file."""
    for _, sources in table(page, "What shows it"):
        assert "tests/" in sources or "](https://" in sources
        file = ""
        for file_named, test in re.findall(r"(tests/[\w/]+\.py)|\b(test_\w+)\b(?!\.py)", sources):
            if file_named:
                file = (ROOT / file_named).read_text()
            else:
                yield file, test
