"""What a page of the documentation says, for the tests that compare it with the code."""

from __future__ import annotations

from pathlib import Path

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
