"""The comments by which other tools keep the way up and the way down in one file.

Here such a file would run as a whole: what it makes would be gone, and its row would say applied.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from functools import cache


class Half(Enum):
    """What a mark begins."""

    UP = "up"
    DOWN = "down"


@dataclass(frozen=True, slots=True)
class Marks:
    """How a tool marks the two ways: patterns for a comment without the dashes it begins with.

    They are wider than the tool's own rule, in capitals or small letters and with any text behind
    them: what it would miss by a blank would run here as well.
    """

    tool: str  #: empty where no tool is known by them
    up: str
    down: str
    sure: bool = True  #: nobody else writes such a comment; else only what follows it decides


# A line that says no more than the way: `-- Down`, `-- [up]`, `--- UNDO ---`, `-- down migration`;
# or a remark in brackets: `-- Down (rollback)`. Behind a colon there may be the SQL as a note.
_BARE = (
    r"[\W_]*+(?:(?:migrations?|section)\W+)?(?:{})"
    r"(?:\W+(?:migrations?|scripts?|sql|part|section))?(?:\s*\(.*\))?[\W_]*$"
)
_BACK = "downs?|undo|roll-?back|down-?grade|revert|reverse|backwards?"

_NONE = r"(?!)"  # the tool has one mark: up is what is above it

TWO_WAY = (
    Marks("dbmate", r"migrate:up\b", r"migrate:down\b"),
    Marks("goose", r"\+goose\s+up\b", r"\+goose\s+down\b"),
    Marks("sql-migrate", r"\+migrate\s+up\b", r"\+migrate\s+down\b"),
    Marks("micrate", r"\+micrate\s+up\b", r"\+micrate\s+down\b"),
    Marks("tern", _NONE, r"create above / drop below\b"),
    Marks("MyBatis Migrations", _NONE, r"//\s*@undo\b"),
    Marks("rambler", r"rambler\s+up\b", r"rambler\s+down\b"),
    Marks("shmig", r"={4}\s*up\s*={4}", r"={4}\s*down\s*={4}"),
    Marks("Play", r".*!ups\b", r".*!downs\b"),
    Marks("Atlas", r"atlas:txtar\b", r"down\.sql\s+--\s*$"),  # its first line; then its parts
    Marks("node-pg-migrate", r"up\s+migration\b", r"down\s+migration\b", sure=False),
    Marks("", _BARE.format("ups?"), _BARE.format(_BACK), sure=False),
)

# One of these is in every mark: looking for them first halves the time that comments take.
_WORDS = ("up", "down", "undo", "roll", "drop below", "txtar", "rever", "backward")


@dataclass(frozen=True, slots=True)
class Mark:
    """One comment that is a mark."""

    line: int
    text: str  #: as it is written
    half: Half
    marks: Marks  #: the row of the table


def find_mark(comment: str) -> tuple[Half, Marks] | None:
    """What a `--` comment begins, by the first row of the table that fits."""
    small = comment.lower()
    found = _pattern().match(comment) if any(word in small for word in _WORDS) else None
    if found is None:
        return None
    half, _, row = (found.lastgroup or "").partition("_")
    return Half(half), TWO_WAY[int(row)]


def other_half(marks: Sequence[tuple[Mark, int]], statements: int, other: Half) -> Mark | None:
    """The mark for which a file may not run whose half `other` is not to run; None if it may.

    Each mark comes with how many of the file's `statements` are before it. One that is sure is
    enough, a mark of `other` rather than its counterpart. Else a statement must follow the one of
    `other`, before the counterpart: a heading over comments does no harm.
    """
    sure = [mark for mark, _ in marks if mark.marks.sure]
    if sure:
        return next((mark for mark in sure if mark.half is other), sure[0])
    for place, (mark, before) in enumerate(marks):
        ends = (count for later, count in marks[place + 1 :] if later.half is not other)
        if mark.half is other and next(ends, statements) > before:
            return mark
    return None


@cache  # compiled when first used: a run with nothing pending scans nothing
def _pattern() -> re.Pattern[str]:
    ways = (
        f"(?P<{half.value}_{row}>{pattern})"
        for row, marks in enumerate(TWO_WAY)
        for half, pattern in ((Half.UP, marks.up), (Half.DOWN, marks.down))
    )
    return re.compile(rf"--[\s-]*+(?:{'|'.join(ways)})", re.IGNORECASE)
