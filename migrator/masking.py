"""Texts and values -> the same without passwords, cut to a length; docs/design.md section 13.

Every search here goes through a text once: what looks for an end that is not there remembers so,
and what is repeated is bounded or cannot be taken in two ways. A text that takes the square of
its length would hold a run back, deaf and with its locks.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from migrator.display import LENGTHS, SECRET_CHARS, TEXT_CHARS, regex, with_rest, without_rest

HIDDEN = "***"
#: A shorter password is hidden by its place alone: it is a part of too many words, which would be
#: garbled, and which it could be guessed from.
BY_VALUE_CHARS = 6
#: How many findings an event or a result lists; it has the number of all as `findings_count`.
FINDINGS = 100
#: Fields whose values are the job's own words, names and numbers, which no password gets into.
OWN_FIELDS = frozenset(
    (
        *("applied", "applied_at", "command", "created", "current", "drifted", "instead", "kind"),
        *("backend_type", "locktype", "mode", "phase", "unit", "wait_event"),
        *("late", "migrator", "missing", "parameters", "pending", "reason"),
        *("rolled_back", "run_id", "schema", "setting", "sqlstate", "state", "target", "type"),
        *("version", "would_undo"),
    )
)
NAME_BYTES = 63  #: of a name, which the server cuts there
#: How far behind the word `password` its value may begin.
GAP_CHARS = 400


class Span(NamedTuple):
    """A part of a text, and what is shown instead."""

    start: int
    end: int
    instead: str = HIDDEN


class Hider:
    """Takes passwords out of whatever is shown or stored, and then cuts it."""

    def __init__(self, secrets: Sequence[str] = (), values: Sequence[str] = ()) -> None:
        self.secrets = list(secrets)
        self.values = list(values)  #: of placeholders: hidden whatever their length

    def __call__(self, value: Any, *, own: bool = False, length: int | None = TEXT_CHARS) -> Any:
        """`value` with every text in it as `text` gives it; keys are ours and stay."""
        if isinstance(value, str):
            return self.text(value, own=own, length=length)
        if isinstance(value, dict):
            shown = {
                key: self(item, own=key in OWN_FIELDS, length=LENGTHS.get(key, length))
                for key, item in value.items()
            }
            findings = shown.get("findings")
            if isinstance(findings, list) and len(findings) > FINDINGS:
                shown["findings_count"] = len(findings)
                shown["findings"] = findings[:FINDINGS]
            return shown
        if isinstance(value, list | tuple):
            return [self(item, own=own, length=length) for item in value]
        return value

    def text(
        self,
        text: str,
        *,
        own: bool = False,
        length: int | None = TEXT_CHARS,
        more: Iterable[Span] = (),
    ) -> str:
        """`text` without its secrets, and at most about `length` characters of it.

        The secrets are found before it is cut, as half a password is no match: in `length`
        characters and as many more as the longest secret has. In the job's `own` words only what
        looks like a password by its place is one. `more` are parts to be hidden as well.
        """
        whole, left_out = without_rest(text)
        window = whole
        if length is not None and len(whole) > length:
            longest = max(SECRET_CHARS, 0, *map(len, self.secrets + self.values))
            window = whole[: length + longest]
        is_cut = left_out > 0 or len(window) < len(whole)
        spans = [*places(window, is_cut=is_cut), *more]
        if not own:
            spans += self._values(window)
        end = len(whole) if length is None else min(length, len(whole))
        shown, end = replaced(window, spans, end)
        return with_rest(shown, left_out + len(whole) - end)

    def _values(self, text: str) -> Iterator[Span]:
        for secret in {form for known in self.secrets if known for form in _forms(known)}:
            if len(secret) >= BY_VALUE_CHARS:
                yield from occurrences(text, secret)
            else:
                for found in occurrences(text, f":{secret}@"):
                    yield Span(found.start + 1, found.end - 1)
        for value in {form for known in self.values for form in _parts(known)}:
            word = re.escape(value)
            if len(value) < BY_VALUE_CHARS:  # a part of a longer word is not it
                word = rf"(?<!\w){word}(?!\w)"
            for place in regex(word, re.IGNORECASE).finditer(text):  # the server folds names
                yield Span(*place.span())


def _forms(secret: str) -> tuple[str, ...]:
    """As it is, as SQL has it in quotes, and as libpq does."""
    escaped = secret.replace("\\", "\\\\")
    return secret, secret.replace("'", "''"), escaped, escaped.replace("'", "\\'")


def _parts(value: str) -> Iterator[str]:
    """A value as texts quote it: whole, line by line, and as long as a name may be."""
    yield from _forms(value)
    if len(value.encode()) > NAME_BYTES:
        yield value.encode()[:NAME_BYTES].decode(errors="ignore")
    if "\n" in value:
        yield from (line for line in value.splitlines() if len(line.strip()) >= BY_VALUE_CHARS)


def occurrences(text: str, word: str, end: int | None = None) -> Iterator[Span]:
    """Where `word` occurs in `text`, and begins before `end`."""
    at = text.find(word)
    while at >= 0 and (end is None or at < end):
        yield Span(at, at + len(word))
        at = text.find(word, at + len(word))


def replaced(text: str, spans: Iterable[Span], end: int) -> tuple[str, int]:
    """`text` up to `end` with what replaces the spans, and how far of it that is.

    A span that begins before `end` is replaced whole; of spans that overlap the longest counts.
    """
    pieces, at = [], 0
    for start, stop, instead in _merged(spans):
        if start >= end:
            break
        pieces += [text[at:start], instead]
        at = stop
    pieces.append(text[at:end])
    return "".join(pieces), max(at, end)


def _merged(spans: Iterable[Span]) -> list[Span]:
    merged: list[Span] = []
    longest = 0
    for span in sorted(span for span in spans if span.start < span.end):
        if merged and span.start < merged[-1].end:
            last = merged[-1]
            wins = span.end - span.start > longest
            longest = max(longest, span.end - span.start)
            instead = span.instead if wins else last.instead
            merged[-1] = Span(last.start, max(last.end, span.end), instead)
        else:
            merged.append(span)
            longest = span.end - span.start
    return merged


def places(text: str, *, is_cut: bool = False) -> Iterator[Span]:
    """Where a password is by its surroundings, whatever it is.

    A password at the end of a text that `is_cut` may go on: it is one to the end.
    """
    if "://" in text:
        yield from _in_urls(text, is_cut=is_cut)
    low = text.lower()  # which may be of another length, and gives no place
    if "password" in low:
        yield from _behind_password(text)
    if "identified" in low:
        yield from _behind_identified(text)
    if "failing row contains" in low:
        yield from _failing_row(text, is_cut=is_cut)


def _in_urls(text: str, *, is_cut: bool) -> Iterator[Span]:
    """postgresql://user:password@host, and other URLs.

    A password that was pasted into one of PostgreSQL's may hold anything: it goes on to the last @
    of the line, or of the next one.
    """
    lines, runs = _LastAt(text, r"[^\n]*+"), _LastAt(text, r"\S*+")
    next_lines = _LastAt(text, r"[^\n]*+")
    at = text.find("://")
    while at >= 0:
        ours = regex(r"postgres[\w+]*+\Z", re.IGNORECASE).search(text[max(0, at - 30) : at])
        user = regex(r"[^:@/\n]*+:" if ours else r"[^\s:@/]*+:").match(text, at + 3)
        at += 3
        if user and not text.startswith("PASSWORD@HOST", user.end()):  # the form that we advise
            start = user.end()
            last, end = (lines if ours else runs).before(start)
            if last is None and ours:
                last, end = next_lines.before(min(end + 1, len(text)))
            if last is None and is_cut and end == len(text):
                last = end
            if last is not None:
                yield Span(start, last)
                at = last
        at = text.find("://", at)


class _LastAt:
    """Finds the last @ of a run of characters, and looks at no run twice."""

    def __init__(self, text: str, run: str) -> None:
        self._text, self._run = text, run
        self._start = self._end = -1
        self._last = -1

    def before(self, at: int) -> tuple[int | None, int]:
        """The last @ in the run that holds `at`, if it is not before `at`; where the run ends."""
        if not self._start <= at <= self._end:
            run = regex(self._run).match(self._text, at)
            self._start, self._end = at, run.end() if run else at
            self._last = self._text.rfind("@", at, self._end)
        return (self._last if self._last >= at else None), self._end


#: Blanks and comments, of whatever number.
FILL = r"(?:\s|/\*(?:[^*]|\*(?!/))*+\*/|--[^\n]*+\n)*+"
_GAP = rf"{FILL}(?P<sign>(?::=|=>|[=:]){FILL})?"
_NAMED = rf"""["']{FILL}(?:,|:=|=>|[=:]){FILL}"""
_OPENED = r"""(?:E|U&)?(?P<single>'+)|(?P<dollar>\$\w{0,63}\$)|(?P<double>")"""


def _behind_password(text: str) -> Iterator[Span]:
    """password=…, PASSWORD '…' in whatever quotes, "password": "…", 'password', '…'."""
    at = 0
    while found := regex("password", re.IGNORECASE).search(text, at):
        at = found.end()
        for span in (_behind_gap(text, at), _behind_name(text, at)):
            if span:
                yield span
                at = max(at, span.end)


def _behind_gap(text: str, at: int) -> Span | None:
    gap = regex(_GAP, re.DOTALL).match(text, at, at + GAP_CHARS)
    start = gap.end() if gap else at
    opened = regex(_OPENED, re.IGNORECASE).match(text, start)
    if opened and (start > at or not opened["double"]):  # "password" is a name
        return _quoted(text, opened)
    if gap and (gap["sign"] or "").startswith("="):
        value = regex(r"[^\s&]+").match(text, start)
        return Span(start, value.end()) if value else None
    return None


def _behind_name(text: str, at: int) -> Span | None:
    name = regex(_NAMED, re.DOTALL).match(text, at, at + GAP_CHARS)
    opened = regex(_OPENED, re.IGNORECASE).match(text, name.end()) if name else None
    return _quoted(text, opened) if opened else None


def _quoted(text: str, opened: re.Match[str]) -> Span:
    """The string that is opened there, in a string of its own perhaps; without an end, all."""
    at = opened.end()
    if opened["dollar"]:
        end = text.find(opened["dollar"], at)
        return Span(opened.start(), len(text) if end < 0 else end + len(opened["dollar"]), "'***'")
    if opened["double"]:
        while (edge := regex(r'\\.|"', re.DOTALL).search(text, at)) and edge[0] != '"':
            at = edge.end()
        return Span(opened.start(), edge.end() if edge else len(text), '"***"')
    # within a string each quote is doubled: an odd number of them ends what they began in
    while edge := regex(r"\\.|'+", re.DOTALL).search(text, at):
        at = edge.end()
        if edge[0][0] == "'" and len(edge[0]) % 2:
            break
    return Span(opened.start(), at if edge else len(text), "'***'")


def _behind_identified(text: str) -> Iterator[Span]:
    """MySQL's IDENTIFIED BY …, which PostgreSQL refuses."""
    at = 0
    while found := regex(r"identified\s{1,20}by\s{1,100}", re.IGNORECASE).search(text, at):
        at = found.end()
        if opened := regex(_OPENED, re.IGNORECASE).match(text, at):
            span = _quoted(text, opened)
        else:
            word = regex(r"\S*").match(text, at)
            span = Span(at, word.end() if word else at, "'***'")
        yield span
        at = max(at, span.end)


def _failing_row(text: str, *, is_cut: bool) -> Iterator[Span]:
    """The values of a row that a constraint refuses."""
    found = regex(r"failing row contains \(", re.IGNORECASE).search(text)
    if found:
        end = text.rfind(")", found.end())
        yield Span(found.end(), len(text) if is_cut or end < 0 else end)
