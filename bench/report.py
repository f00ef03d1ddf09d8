"""Figures -> Markdown."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from migrator import __version__
from tests.postgres import binary, run_as_plain_user


def title(name: str) -> str:
    """What was measured, by which releases, and when."""
    version = run_as_plain_user([str(binary("postgres")), "--version"], directory=Path("/"))
    facts = (
        f"migrator {__version__}",
        f"Python {platform.python_version()}",
        version.stdout.strip(),
        f"{os.cpu_count()} processors, load {os.getloadavg()[0]:.1f}",
        f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
    )
    return f"# {name}\n\n{', '.join(facts)}.\n"


def section(title: str, method: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A heading, how it was measured, and a table; the first column is text, the rest numbers."""
    widths = [max(map(len, column)) for column in zip(columns, *rows, strict=True)]
    ruler = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    lines = [_line(columns, widths), _line(ruler, widths), *(_line(row, widths) for row in rows)]
    return "\n".join((f"## {title}", "", method.strip(), "", *lines, ""))


def verdict(value: float, aim: float, unit: str) -> str:
    """The aim, and whether `value` meets it."""
    return f"{aim:g}{unit}: {'met' if value <= aim else 'NOT MET'}"


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    first, *others = zip(cells, widths, strict=True)
    words = [first[0].ljust(first[1]), *(cell.rjust(width) for cell, width in others)]
    return f"| {' | '.join(words)} |"
