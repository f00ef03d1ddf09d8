"""`-- migrator: parallel NAME`, and what a file may hold under that line."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from migrator.sql.parts import Layout
from migrator.sql.statements import Directive, Problem

_NAME = re.compile(r"[^\W\d][\w-]{0,62}", re.ASCII)

GROUP_TAKES = "the directive parallel needs the name of a group"
GROUP_REMEDY = "Write `parallel NAME`, with a name of letters, digits, _ and -."
OF_NO_TRANSACTION = (
    "a file of a group runs in a transaction, and this one does not",
    "Remove the line parallel: this file runs by itself, before or after the group.",
)
IN_BATCHES = (
    "batches and parallel exclude each other: each batch needs the runners' lock for itself",
    "Remove one of the two lines.",
)
COPIES = (
    "a file of a group holds no COPY FROM stdin, whose rows keep the run busy",
    "Remove the line parallel, or write the rows as INSERT.",
)


def read_group(value: str) -> str | None:
    """NAME, or None."""
    name = value.strip()
    return name if _NAME.fullmatch(name) else None


def find_group(directives: Sequence[Directive]) -> tuple[str, int] | None:
    """The name and the line, where there is one that can be read."""
    for directive in directives:
        word, _, value = directive.text.replace("\t", " ").partition(" ")
        if word == "parallel" and (name := read_group(value)):
            return name, directive.line
    return None


def group_problems(line: int, layout: Layout, *, alone: bool, batches: bool) -> Iterator[Problem]:
    """Why a file cannot run beside others; `alone` are those under no-transaction."""
    if alone:
        yield Problem(line, *OF_NO_TRANSACTION)
    elif batches:
        yield Problem(line, *IN_BATCHES)
    yield from (Problem(part.line, *COPIES) for part in layout.parts if part.data)
