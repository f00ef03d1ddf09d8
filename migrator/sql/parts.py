"""The text of a file -> the parts that are sent one by one: groups of statements, COPYs."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from operator import itemgetter

from migrator.display import regex
from migrator.sql.marks import Mark, Placed
from migrator.sql.scanner import scan
from migrator.sql.statements import (
    Data,
    Directive,
    Found,
    Problem,
    Statement,
    StatementKind,
)

#: A text longer than this goes in several messages: 200 MB took 786 MB of memory in one message
#: and 28 MB in groups.
GROUP_CHARS = 1_000_000
#: PostgreSQL takes no message of more than 1 GB (MaxAllocSize, utils/memutils.h).
STATEMENT_CHARS = 1_000_000_000
_SHOWN = r"[^\n]"  # a line end stays, so that the lines behind it keep their numbers


@dataclass(frozen=True, slots=True)
class Part:
    """What one message carries of a file: whole statements, or one COPY with its rows."""

    start: int  #: offset in the file's text, in characters
    end: int
    line: int  #: 1-based, of `start`
    column: int
    statements: int  #: how many
    skipped: tuple[tuple[int, int], ...] = ()  #: offsets in the file of what is sent as blanks
    data: Data | None = None  #: the rows that follow its COPY


@dataclass(frozen=True, slots=True)
class Layout:
    """A file, divided into the parts that are sent."""

    parts: tuple[Part, ...]
    statements: int
    whole: bool  #: there is one part, all of the text
    begins: int | None  #: offset of the first statement
    ends: int  #: offset behind the last one
    directives: tuple[Directive, ...]
    marks: tuple[Placed, ...]  #: among the statements, BEGIN and COMMIT aside
    special: tuple[Statement, ...]  #: those that are not PLAIN
    problems: tuple[Problem, ...]


def lay_out(pieces: Iterable[str], limit: int = GROUP_CHARS) -> Layout:
    """Divide a text; one of up to `limit` characters and without rows is one part.

    A longer one becomes groups of about `limit`; a single longer statement is a part of its own.
    """
    groups = _Groups(limit)
    length = 0

    def counted() -> Iterator[str]:
        nonlocal length
        for piece in pieces:
            length += len(piece)
            yield piece

    for found in scan(counted()):
        groups.add(found)
    return groups.layout(length)


def texts(pieces: Iterable[str]) -> Iterator[tuple[Statement, str]]:
    """Each statement of a text, and what is sent of it."""
    parts = lay_out(pieces, limit=-1).parts  # one for each statement
    reader = TextReader(pieces)
    statements = (found for found in scan(pieces) if isinstance(found, Statement))
    for statement, part in zip(statements, parts, strict=True):
        yield statement, b"".join(reader.encoded(part)).decode()


class TextReader:
    """A text once more, from its beginning to its end."""

    def __init__(self, pieces: Iterable[str]) -> None:
        self._pieces = iter(pieces)
        self._piece = ""
        self._start = 0  # offset of `_piece`

    def take(self, start: int, end: int) -> Iterator[str]:
        """The characters from `start` to `end`; what lies before them is no longer available."""
        while start < end:
            ahead = start - self._start
            if ahead >= len(self._piece):
                self._start += len(self._piece)
                self._piece = next(self._pieces)
                continue
            taken = self._piece[ahead : ahead + end - start]
            start += len(taken)
            yield taken

    def encoded(self, part: Part) -> Iterator[bytes]:
        """What is sent of a part's statements."""
        at = part.start
        for start, end in part.skipped:
            yield from (piece.encode() for piece in self.take(at, start))
            yield from (regex(_SHOWN).sub(" ", piece).encode() for piece in self.take(start, end))
            at = end
        yield from (piece.encode() for piece in self.take(at, part.end))


class _Groups:
    """What has been found so far, and the group that is growing."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.parts: list[Part] = []
        self.statements = 0
        self.begins: int | None = None
        self.directives: list[Directive] = []
        self.marks: list[Placed] = []
        self.followed = 0  # how many of them have a statement below
        self.control = 0  # statements that begin or end a transaction
        self.special: list[Statement] = []
        self.problems: list[Problem] = []
        self.skipped: list[tuple[int, int]] = []
        self.first: Statement | None = None  # of the group
        self.end = self.count = 0

    def add(self, found: Found) -> None:
        if isinstance(found, Statement):
            self.add_statement(found)
        elif isinstance(found, Data):
            self.close(found)
        elif isinstance(found, Directive):
            self.directives.append(found)
        elif isinstance(found, Mark):
            self.marks.append(Placed(found, self.statements - self.control))
        elif isinstance(found, Problem):
            self.problems.append(found)
        else:
            self.skipped.append((found.start, found.end))

    def add_statement(self, found: Statement) -> None:
        if self.begins is None:
            self.begins = found.start
        if found.kind is not StatementKind.PLAIN:
            self.special.append(found)
        if found.kind is StatementKind.TRANSACTION_CONTROL:
            self.control += 1
        else:
            word, _, _ = found.words.partition(" ")
            followed = (replace(placed, follows=word) for placed in self.marks[self.followed :])
            self.marks[self.followed :] = followed
            self.followed = len(self.marks)
        if found.end - found.start > STATEMENT_CHARS:
            problem = "this statement is longer than the 1 GB that PostgreSQL takes at once"
            self.problems.append(Problem(found.line, problem, "Write several statements, or COPY."))
        if self.first and (
            found.end - self.first.start > self.limit or found.kind is StatementKind.COPY_IN
        ):
            self.close()
        self.first = self.first or found
        self.end = found.end
        self.count += 1
        self.statements += 1

    def close(self, data: Data | None = None) -> None:
        if self.first is None:
            return
        start, end = self.first.start, self.end
        behind = bisect_right(self.skipped, end, key=itemgetter(1))
        own = slice(bisect_left(self.skipped, start, key=itemgetter(0)), behind)
        skipped = tuple(self.skipped[own])
        place = self.first.line, self.first.column
        self.parts.append(Part(start, end, *place, self.count, skipped, data))
        self.first, self.count = None, 0

    def layout(self, length: int) -> Layout:
        self.close()
        whole = length <= self.limit and not any(part.data for part in self.parts)
        if whole:
            self.parts = [Part(0, length, 1, 1, self.statements, tuple(self.skipped))]
        return Layout(
            tuple(self.parts),
            self.statements,
            whole,
            self.begins,
            self.end,
            tuple(self.directives),
            tuple(self.marks),
            tuple(self.special),
            tuple(self.problems),
        )
