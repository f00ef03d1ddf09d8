"""Statements that deal in secrets, their literals, and what a server quotes of them.

SECURITY.md says what is shown by design.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from migrator.display import regex
from migrator.masking import HIDDEN, Span, occurrences, replaced
from migrator.sql.scanner import scan
from migrator.sql.statements import Statement

#: What a statement names that deals in secrets; each may be part of a longer name.
NAMES = (
    *("passw", "pwd", "secret", "crypt", "pgp_", "hmac", "gen_salt", "identified", "credential"),
    *("token", "bearer", "apikey", "api_key", "api-key", "accesskey", "access_key", "private_key"),
    *("jwt", "vault.", "pgsodium", "dblink"),
)
#: Words that are too common by themselves, and what makes a secret of them.
FORMS = {
    "server": r"\b(?:create|alter)\s{1,50}server\b",
    "mapping": r"\buser\s{1,50}mapping\b",
    "subscription": r"\b(?:create|alter)\s{1,50}subscription\b",
    "digest": r"\bdigest\s{0,50}\(",
}
#: A shorter literal is hidden only where it is quoted whole.
LITERAL_BY_VALUE_CHARS = 6
#: A piece of a literal that is quoted is hidden from this length on.
PIECE_CHARS = 3
#: With more literals, or longer ones, no text is searched for each: all that is quoted is hidden.
LITERALS, LITERAL_CHARS = 200, 100_000
DEPTH = 3  #: of strings within strings that are read
MASK = f"'{HIDDEN}'"

_OPENED = r"""--[^\n]*+|/\*|(?P<escaped>(?<![^\W_])E')|(?P<plain>')|(?P<name>")
  |(?P<dollar>\$(?:[^\W\d]\w{0,62})?\$)"""
_ROUTINE = r"\s*(?:DO|CREATE\s+(?:OR\s+REPLACE\s+)?(?:FUNCTION|PROCEDURE))\b"
_ESCAPES = r"\\(?:x([0-9A-Fa-f]{1,2})|u([0-9A-Fa-f]{4})|U([0-9A-Fa-f]{8})|([0-7]{1,3})|(.))"
_CONTROLS = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}
#: How a text quotes, in the languages that PostgreSQL speaks; and what DETAIL has in parentheses.
_QUOTED = (r'"([^"]*+)"', r"'([^']*+)'", "«([^»]*+)»", "»([^«]*+)«", "„([^“”]*+)[“”]")
_QUOTED_ALSO = ("“([^”]*+)”", "`([^`']*+)[`']", r"\(([^()]*+)\)", "「([^」]*+)」")


@dataclass(frozen=True, slots=True)
class Literal:
    """A string of a statement: where it is written, quotes included, and its value."""

    start: int
    end: int
    value: str


@dataclass(frozen=True, slots=True)
class Secrets:
    """What the server may quote of statements that deal in secrets."""

    values: tuple[str, ...] = ()
    too_many: bool = False  #: then whatever is quoted may be one of them

    def also(self, values: tuple[str, ...]) -> Secrets:
        """These, and values that are secret whatever the statement is; the server folds names."""
        forms = (form for value in values for form in {value, value.lower()})
        return replace(self, values=(*self.values, *forms)) if values else self

    def spans(self, text: str, end: int) -> Iterator[Span]:
        """What of `text` is a secret, or a quoted piece of one, and begins before `end`."""
        for value in self.values:
            if len(value) >= LITERAL_BY_VALUE_CHARS:
                yield from occurrences(text, value, end)
        if not (self.values or self.too_many):
            return
        for pattern in (*_QUOTED, *_QUOTED_ALSO):
            for found in regex(pattern).finditer(text):
                if found.start() >= end:
                    break
                if self._quotes(found[1]):
                    yield Span(*found.span(1))

    def _quotes(self, piece: str) -> bool:
        if self.too_many or piece in self.values:
            return bool(piece)
        return len(piece) >= PIECE_CHARS and any(piece in value for value in self.values)


def mentions(text: str | None) -> bool:
    """Whether a text names what deals in secrets."""
    if not text:
        return False
    low = text.lower()  # a search for a plain word is a hundred times as fast as a pattern's
    return any(name in low for name in NAMES) or any(
        word in low and regex(form, re.IGNORECASE).search(text) is not None
        for word, form in FORMS.items()
    )


def secrets_of(texts: Iterable[str]) -> Secrets:
    """The values of all literals of these statements, and of those within them."""
    values: dict[str, None] = {}
    total = 0
    for text in texts:
        for value in _values(text, 0):
            if value in values:
                continue
            total += len(value)
            if len(values) >= LITERALS or total > LITERAL_CHARS:
                return Secrets(too_many=True)
            values[value] = None
    return Secrets(tuple(values))


def spans(sql: str, more: Iterable[Statement] = ()) -> tuple[Span, ...]:
    """Where a file's text has literals of statements that deal in secrets.

    The literals of `more`, statements of the text, are included.
    """
    chosen = {statement.start: statement for statement in more}
    if mentions(sql):
        chosen |= {s.start: s for s in statements(sql) if mentions(sql[s.start : s.end])}
    return tuple(
        Span(statement.start + literal.start, statement.start + literal.end, MASK)
        for statement in chosen.values()
        for literal in literals(sql[statement.start : statement.end])
    )


def masked(sql: str) -> str:
    """A file's text without the literals of statements that deal in secrets."""
    return replaced(sql, spans(sql), len(sql))[0]


def statements(sql: str) -> list[Statement]:
    """The statements of a part of a file."""
    return [found for found in scan((sql,)) if isinstance(found, Statement)]


def literals(statement: str) -> Iterator[Literal]:
    """The strings of a statement; in the body of a routine or a DO block those of the body.

    A dollar quote counts behind a word too, where PostgreSQL takes it for a part of the word:
    PASSWORD$$hunter2$$.
    """
    return _literals(statement, 0, len(statement), is_code=runs_code(statement))


def runs_code(statement: str) -> bool:
    """Whether it is a DO block or makes a routine."""
    return regex(_ROUTINE, re.IGNORECASE).match(statement) is not None


def _literals(text: str, start: int, stop: int, *, is_code: bool) -> Iterator[Literal]:
    at = start
    while opened := regex(_OPENED, re.IGNORECASE | re.VERBOSE).search(text, at, stop):
        kind = opened.lastgroup
        inner = opened.end()
        if kind is None:
            at = inner if opened[0] != "/*" else _end_of_comment(text, inner, stop)
        elif kind == "name":
            at = _end(text, '"', inner, stop)[1]
        elif kind == "dollar":
            closes, at = _end(text, opened[0], inner, stop)
            if is_code:
                yield from _literals(text, inner, closes, is_code=False)
            else:
                yield Literal(opened.start(), at, text[inner:closes])
        else:
            closes, at = _end_of_string(text, inner, stop, escapes=kind == "escaped")
            value = text[inner:closes].replace("''", "'")
            if kind == "escaped":
                value = regex(_ESCAPES, re.DOTALL).sub(_unescaped, value)
            yield Literal(opened.start(), at, value)


def _values(text: str, depth: int) -> Iterator[str]:
    found = literals(text) if depth == 0 else _literals(text, 0, len(text), is_code=False)
    for literal in found:
        if any(char.isalnum() for char in literal.value):
            yield literal.value
            raw = text[literal.start + 1 : literal.end - 1]
            if raw != literal.value and text[literal.start] == "'":
                yield raw  # as a text quotes it that quotes the statement
            if depth < DEPTH:
                yield from _values(literal.value, depth + 1)


def _end(text: str, sign: str, at: int, stop: int) -> tuple[int, int]:
    """Where `sign` is found: its start and its end; `stop` twice when there is none."""
    found = text.find(sign, at, stop)
    return (stop, stop) if found < 0 else (found, found + len(sign))


def _end_of_comment(text: str, at: int, stop: int) -> int:
    depth = 1
    while depth and (edge := regex(r"/\*|\*/").search(text, at, stop)):
        depth += 1 if edge[0] == "/*" else -1
        at = edge.end()
    return stop if depth else at


def _end_of_string(text: str, at: int, stop: int, *, escapes: bool) -> tuple[int, int]:
    edges = regex(r"\\.|''|'" if escapes else "''|'", re.DOTALL)
    while edge := edges.search(text, at, stop):
        if edge[0] == "'":
            return edge.start(), edge.end()
        at = edge.end()
    return stop, stop


def _unescaped(found: re.Match[str]) -> str:
    short, four, eight, octal, char = found.groups()
    if char is not None:
        return _CONTROLS.get(char, char)
    number = int(short or four or eight, 16) if not octal else int(octal, 8) & 0xFF
    return chr(number) if 0 < number < 0x110000 else ""


def masked_line(
    text: str, start: int, end: int, hidden: Sequence[Span], at: int
) -> tuple[str, int]:
    """`text` from `start` to `end` without what is hidden; where `at` is in that."""
    inside = [
        Span(max(span.start, start) - start, min(span.end, end) - start, span.instead)
        for span in hidden
        if span.start < end and span.end > start
    ]
    line, place = text[start:end], at - start
    covering = next((span for span in inside if span.start <= place < span.end), None)
    before, _ = replaced(line, inside, covering.start if covering else place)
    return replaced(line, inside, len(line))[0], len(before)
