"""The comments by which other tools keep the way up and the way down in one file.

Here such a file would run as a whole: what it makes would be gone, and its row would say applied.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import Enum
from functools import cache


class Half(Enum):
    """What a mark begins."""

    UP = "up"
    DOWN = "down"


class Counts(Enum):
    """When a comment that fits is a mark."""

    ALWAYS = "nobody but the tool writes it"
    BEFORE_A_STATEMENT = "it says no more than the way, and a statement follows"
    BEFORE_AN_UNDO = "a text goes on behind the way: see `_is_undo`"


@dataclass(frozen=True, slots=True)
class Marks:
    """How a tool marks the two ways: patterns for a comment without the signs it begins with.

    They are wider than the tool's own rule, in capitals or small letters and with any text behind
    them: what it would miss by a blank would run here as well.
    """

    tool: str  #: empty where no tool is known by them
    up: str
    down: str
    counts: Counts = Counts.ALWAYS


# A line that says no more than the way: `-- Down`, `-- [up]`, `--- UNDO ---`, `-- down migration`;
# or a remark in brackets: `-- Down (rollback)`.
_BARE = (
    r"[\W_]*+(?:(?:migrations?|section)\W+)?(?:{})"
    r"(?:\W+(?:migrations?|scripts?|sql|part|section))?(?:\s*\(.*\))?[\W_]*$"
)
_BACK = "downs?|undo|roll-?back|down-?grade|revert|reverse|backwards?"
# The way, a colon or a dash, and words that go on: `-- DOWN: drop the table`. One that ends with a
# semicolon is the SQL itself, as a note.
_WORDED = (
    r"[\W_]*+(?:{})(?:\W+(?:migrations?|scripts?|sql|part|section))?"
    r"(?:\s*:|\s+[-=\u2013\u2014]+>?(?=\s))(?=.*\w)(?!.*;\s*$)"
)

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
    Marks("node-pg-migrate", r"up\s+migration\b", r"down\s+migration\b", Counts.BEFORE_A_STATEMENT),
    Marks("", _BARE.format("ups?"), _BARE.format(_BACK), Counts.BEFORE_A_STATEMENT),
    Marks("", _WORDED.format("ups?"), _WORDED.format(_BACK), Counts.BEFORE_AN_UNDO),
)

#: What an undo of statements begins with, and what the way up of an undo's.
_OPPOSITE = {
    Half.DOWN: frozenset({"DROP", "DELETE", "TRUNCATE", "ALTER", "REVOKE"}),
    Half.UP: frozenset({"CREATE", "INSERT", "ALTER", "GRANT"}),
}

# One of these is in every mark: looking for them first halves the time that comments take.
_WORDS = ("up", "down", "undo", "roll", "drop below", "txtar", "rever", "backward")


@dataclass(frozen=True, slots=True)
class Mark:
    """One comment that is a mark."""

    line: int
    text: str  #: as it is written, in one line
    half: Half
    marks: Marks  #: the row of the table


@dataclass(frozen=True, slots=True)
class Placed:
    """A mark among the statements of its file."""

    mark: Mark
    before: int  #: how many statements are above it
    follows: str = ""  #: the first word of the one below it


def find_mark(comment: str) -> tuple[Half, Marks] | None:
    """What a comment begins, by the first row of the table that fits.

    One in /* */ may be spread over lines if it has words in one of them. No tool reads it, so it
    counts as a line of a person's does.
    """
    small = comment.lower()
    if not any(word in small for word in _WORDS):
        return None
    block = comment.startswith("/*")
    said = comment.strip("/*- \t\r\n") if block else comment.lstrip("- \t")
    found = None if block and "\n" in said else _pattern().match(said)
    if found is None:
        return None
    half, _, row = (found.lastgroup or "").partition("_")
    marks = TWO_WAY[int(row)]
    if block and marks.counts is Counts.ALWAYS:
        marks = replace(marks, counts=Counts.BEFORE_A_STATEMENT)
    return Half(half), marks


def other_half(marks: Sequence[Placed], statements: int, other: Half) -> Mark | None:
    """The mark for which a file may not run whose half `other` is not to run; None if it may.

    One that always counts is enough, a mark of `other` rather than its counterpart. Else one of the
    file's `statements` must follow the one of `other`, before the counterpart: a heading over
    comments does no harm.
    """
    sure = [placed.mark for placed in marks if placed.mark.marks.counts is Counts.ALWAYS]
    if sure:
        return next((mark for mark in sure if mark.half is other), sure[0])
    ends, found = statements, None
    opposite = [place for place, placed in enumerate(marks) if placed.mark.half is not other]
    for place, placed in reversed(list(enumerate(marks))):
        if placed.mark.half is not other:
            ends = placed.before
        elif ends > placed.before and _is_undo(
            placed, other, bool(opposite and opposite[0] < place)
        ):
            found = placed.mark
    return found


def _is_undo(placed: Placed, other: Half, below_counterpart: bool) -> bool:
    """Whether the statement below a mark of `other` is of that half.

    `-- Down: 3 % of rows` over an UPDATE is a person's remark. The same words are a mark below
    their counterpart, or between statements and what takes such back.
    """
    if placed.mark.marks.counts is Counts.BEFORE_A_STATEMENT or below_counterpart:
        return True
    return placed.before > 0 and placed.follows in _OPPOSITE[other]


@cache  # compiled when first used: a run with nothing pending scans nothing
def _pattern() -> re.Pattern[str]:
    ways = (
        f"(?P<{half.value}_{row}>{pattern})"
        for row, marks in enumerate(TWO_WAY)
        for half, pattern in ((Half.UP, marks.up), (Half.DOWN, marks.down))
    )
    return re.compile("|".join(ways), re.IGNORECASE)
