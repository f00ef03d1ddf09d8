"""Values in the place of placeholders; errors keep the places of the file as it is written."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from migrator.masking import HIDDEN
from migrator.model import GOOSE, Placeholders
from migrator.sql.placeholders import Braces, Cutter, Token
from migrator.sql.statements import Problem

#: A line and a column, both from 1 on.
_Place = tuple[int, int]


class _Filling(NamedTuple):
    written: _Place  #: where the placeholder is in the file
    written_end: _Place
    sent: _Place  #: where its value is in what is sent
    sent_end: _Place


class Filled:
    """A text with the values in it, the same each time that it is read.

    It is read once when it is made, so that all that is wrong with it is known.
    """

    def __init__(self, pieces: Iterable[str], rule: str, values: Placeholders) -> None:
        self._pieces, self._rule, self._values = pieces, rule, values
        self.problems: list[Problem] = []
        self._fillings: list[_Filling] = []  # in order
        written = sent = (1, 1)
        for text, token in self._tokens():
            ends = _behind(written, text)
            if token is None:
                sent = _behind(sent, text)
            else:
                sent, before = _behind(sent, token.text), sent
                self._fillings.append(_Filling(written, ends, before, sent))
                if token.problem:
                    problem, remedy = token.problem
                    where = f"column {written[1]}: {problem}"
                    self.problems.append(Problem(written[0], where, remedy))
            written = ends

    def __iter__(self) -> Iterator[str]:
        return (text if token is None else token.text for text, token in self._tokens())

    def __bool__(self) -> bool:
        """Whether anything is other than it is written."""
        return bool(self._fillings)

    @property
    def secrets(self) -> tuple[str, ...]:
        """The values that may not be shown, the longest first."""
        return self._values.secrets

    def without_secrets(self, text: str) -> str:
        """A part of what is sent without these values."""
        for value in self.secrets:
            text = text.replace(value, HIDDEN)
        return text

    @property
    def values(self) -> Mapping[str, str]:
        """All that there are, used or not."""
        return self._values.values

    @property
    def hidden(self) -> frozenset[str]:
        """The names of those that may not be shown."""
        return self._values.hidden

    def with_values(self, others: Mapping[str, str]) -> Filled:
        """The same text with these in the place of the values of their names."""
        return Filled(self._pieces, self._rule, Placeholders({**self.values, **others}))

    def place(self, line: int, column: int = 1, *, end: bool = False) -> _Place:
        """Where in the file a place of what is sent was written.

        A place within a value is that of the placeholder's beginning, or of its `end`.
        """
        at = line, column
        index = bisect_right(self._fillings, at, key=lambda filling: filling.sent) - 1
        if index < 0:
            return at
        filling = self._fillings[index]
        if at < filling.sent_end:
            return filling.written_end if end and at > filling.sent else filling.written
        above, before = filling.sent_end
        to_line, to_column = filling.written_end
        if line > above:
            return to_line + line - above, column
        return to_line, to_column + column - before

    def line(self, line: int) -> str:
        """A line of the file, as it is written."""
        found, at = [], 1
        for piece in self._pieces:
            lines = piece.split("\n")
            if at <= line < at + len(lines):
                found.append(lines[line - at])
            at += len(lines) - 1
            if at > line:
                break
        return "".join(found)

    def _tokens(self) -> Iterator[tuple[str, Token | None]]:
        """The text as it is written, cut where tokens begin and end."""
        cutter = self._cutter()
        rest = ""
        for piece in self._pieces:
            rest += piece
            tokens, end = cutter.cut(rest, is_end=False)
            yield from _cut_up(rest[:end], tokens)
            rest = rest[end:]
        tokens, end = cutter.cut(rest, is_end=True)
        yield from _cut_up(rest, tokens)

    def _cutter(self) -> Cutter:
        if self._rule == GOOSE:
            from migrator.sql.envsub import Envsub  # for files of goose alone

            return Envsub(self._values)
        return Braces(self._values)


def _cut_up(text: str, tokens: Iterable[Token]) -> Iterator[tuple[str, Token | None]]:
    at = 0
    for token in tokens:
        yield text[at : token.start], None
        yield text[token.start : token.end], token
        at = token.end
    yield text[at:], None


def _behind(place: _Place, text: str) -> _Place:
    """The place behind a text that begins at `place`."""
    lines = text.count("\n")
    if lines:
        return place[0] + lines, len(text) - text.rindex("\n")
    return place[0], place[1] + len(text)
