"""The text of a file, piece by piece -> its statements, by the rules of psql's psqlscan.l.

Like psql this looks at tokens alone: quotes, comments, parentheses, the words that open and
close a routine's BEGIN ATOMIC body. Variables (`:name`) are left alone. No more of the text is
kept (`window`) than the token at hand, so that a file may be larger than the memory.

    state                 where it is kept    what may follow
    between statements    start is None       a comment, a directive, `;`, a command of psql: the
                                              same state; any other token: first tokens
    first tokens          head grows          settled, once they decide the class; the end
    settled               settled             long runs of tokens; a word's end that matters is
                                              read again (closely); the end
    in parentheses        depth > 0           `;` belongs to the statement
    in a routine's body   blocks > 0          `;` belongs to the statement
    quoted text, comment  the method itself   the state before it; at the end of the text a problem
    the end               finish              `;` in none of these, or the end of the text:
                                              between statements; after a COPY its rows first
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from migrator.display import regex
from migrator.sql.marks import Counts, Mark, find_mark
from migrator.sql.statements import (
    FIRST,
    LETTER,
    LETTER_DIGIT,
    LETTER_DIGIT_DOLLAR,
    WITHOUT_CREATE,
    Directive,
    Found,
    Problem,
    Skipped,
    Statement,
    classed,
    lookalike,
    upper,
)
from migrator.sql.window import Window


def scan(pieces: Iterable[str]) -> Iterator[Found]:
    """What the text holds, in its order; the pieces may be cut anywhere.

    Raises nothing of its own. Past an unterminated quote or comment nothing is read.
    """
    return _Scanner(pieces).scan()


_BLANK = " \t\n\r\f\v"
_BLANKS = r"[ \t\n\r\f\v]*+"
_WORD = rf"(?![eE]'){LETTER}{LETTER_DIGIT_DOLLAR}*+"
_PLAIN = rf"""
    [\x00-\x20!#%&*+,.:<=>?@\[\]^`{{|}}~\x7f]++
  | \$?[0-9]++(?:{LETTER}{LETTER_DIGIT_DOLLAR}*+)?
  | -(?!-) | /(?!\*) | '[^']*+' | "[^"]*+"
"""
_TOKENS = rf"""
    (?P<word>{_WORD})
  | (?P<opened>\()
  | (?P<closed>\))
  | (?P<semicolon>;)
  | (?P<escaped>[eE]')
  | (?P<dollar>\$(?:{LETTER}{LETTER_DIGIT}*)?\$)
  | (?P<comment>--[^\n\r]*)
  | (?P<block>/\*)
  | (?P<backslash>\\[^\n\r]*)
  | (?P<quote>['"])
  | (?P<other>.)
"""
# What changes nothing is taken in runs. `re` keeps a state for each repetition of a group: hence
# the bounds. No text can be taken in two ways: so a failure is found in linear time.
_CAREFUL = (
    rf"{_BLANKS}(?:(?P<run>(?:{_PLAIN} | [uU]&(?=['\"]) | [bBnNxX](?=')){{1,100}}) | {_TOKENS})"
)
# Once the first word has settled a statement's class, words and whole rows of an INSERT are taken
# without a look at each. With an e before a quote, or a digit before a $, it matters which word
# ends there: `edge` looks back.
_ESCAPED_TEXT = rf"(?<!{LETTER_DIGIT_DOLLAR})[eE]'[^'\\]*+(?:\\.[^'\\]*+){{0,50}}'"
_ESCAPED = rf"{_ESCAPED_TEXT}(?!['\s-])"
_DULL = rf"""
    [^eE0-9$'"()\\;/-]++ | [eE]++(?!') | [0-9]++(?!\$) | '[^']*+' | "[^"]*+"
  | -(?!-) | /(?!\*) | {_ESCAPED} | (?<={LETTER})\${LETTER_DIGIT_DOLLAR}*+(?!')
"""
_QUICK = rf"""{_BLANKS}(?:
    (?P<run>(?: {_DULL} | \((?: {_DULL} | \((?:{_DULL}){{0,50}}\) ){{0,50}}\) ){{1,50}})
  | (?P<edge>[eE]++' | [0-9]++\$ | (?<={LETTER})\$)
  | {_TOKENS}
)"""
_BLOCK_EDGE = r"/\*|\*/"
_SHORT_BLOCK = r"/\*(?:(?!/\*|\*/).){0,90}+\*/"  # no longer than a quoted text's head
# What matters in E'…': an escape, '', a quote that goes on behind a line end, the last quote.
# psql reads line by line and takes the third for the last; the server's reading is the true one.
_ESCAPED_EDGE = r"\\.|''?"
_GAP = r"(?:[ \t\n\r\f\v]++|--[^\n\r]*+){1,100}"
_LINE_END = r"[\n\r]"
_DIRECTIVE = r"--[ \t]*(migrator)[ \t]*:(.*)"
# Characters that look like a blank, a quote, a dash or nothing. To PostgreSQL they are letters.
_LOOKALIKE = "[\x80-\xa0\xab\xad\xb4\xbb\u037e\u1680\u180e\u2000-\u2015\u2018-\u201f\u2028-\u202f"
_LOOKALIKE += (
    "\u2032-\u2037\u2039\u203a\u205f-\u206f\u2212\u3000-\u3002\ufeff\uff01-\uff0f\uff1a-\uff20]"
)
_UNQUOTED = rf"""{_ESCAPED_TEXT}|'[^']*+'|"[^"]*+"|(?P<lookalike>{_LOOKALIKE})"""
_JOINERS = "\u200c\u200d"  # within a word of some scripts they are part of its spelling
_LOOKALIKES = 100  # that are reported of a file
_RESTRICT = r"\\(?:un)?restrict[ \t]+[A-Za-z0-9]+[ \t]*"
_ROUTINE = {
    f"CREATE {replace}{routine}"
    for replace in ("", "OR REPLACE ")
    for routine in ("FUNCTION", "PROCEDURE")
}
_INCLUDE = "Put that file's text in its place, or give the file a number of its own in the folder."
#: What to write for commands of psql that have a counterpart here.
_INSTEAD = {
    "\\c": WITHOUT_CREATE,
    "\\connect": WITHOUT_CREATE,
    "\\copy": "Write `COPY … FROM stdin;`, the rows below it, and a line `\\.` after them.",
    "\\gexec": "Write `DO $$ BEGIN EXECUTE …; END $$;` for what it makes and runs.",
    "\\i": _INCLUDE,
    "\\include": _INCLUDE,
    "\\include_relative": _INCLUDE,
    "\\ir": _INCLUDE,
}
_WITH_DATA = {"COPY ... FROM STDIN", "COPY BINARY"}
_HEAD_CHARS = 100  # of a quoted text or a comment; no class and no mark depends on more


class _Scanner:
    """One pass over one text. Its methods read the tokens they are named after."""

    def __init__(self, pieces: Iterable[str]) -> None:
        self.window = Window(pieces)
        self.firm = 0  # offset in the file of the end of a token: no word goes on behind it
        self.closed_at = -1  # offset in the file of the newest semicolon that ended a statement
        self.looked = 0  # offset in the file up to which lookalikes have been searched for
        self.lookalikes = 0  # lines that hold one
        self.lookalike_line = 0  # the newest of them
        self.closely = False  # the next token is to be read carefully
        self.found: list[Found] = []
        self.begin()

    def begin(self) -> None:
        """Forget the statement at hand."""
        self.start: int | None = None
        self.place = (0, 0)
        self.end = 0  # offset behind its newest token
        self.depth = 0  # open parentheses
        self.head: list[str] = []  # its first tokens; the first alone when that settles its class
        self.settled = False
        self.words: list[str] = []  # its first four words
        self.routine = False  # they begin a function or procedure
        self.blocks = 0  # open BEGIN and CASE in the routine's body

    def scan(self) -> Iterator[Found]:
        careful, quick = (regex(r, re.DOTALL | re.VERBOSE) for r in (_CAREFUL, _QUICK))
        readers = {name: getattr(self, name) for name in (*careful.groupindex, "edge")}
        window = self.window
        while True:
            reads = quick if self.settled and not self.closely else careful
            if token := reads.match(window.text, window.pos, window.stop):
                kind = token.lastgroup or ""
                at, window.pos = token.span(kind)
                if self.closely:
                    self.closely, self.firm = False, window.base + window.pos
                readers[kind](at, token[kind])
            else:
                window.pos = window.stop
                if not window.more():
                    break
            if self.found:
                yield from self.found
                self.found.clear()
        self.finish()
        yield from self.found

    def run(self, at: int, text: str) -> None:
        self.plain(at, text)
        if not text.isascii() and regex(_LOOKALIKE).search(text):
            self.look(at, at + len(text))

    def look(self, at: int, end: int) -> None:
        """Report what is outside quotes and looks like a sign or a blank, once in a line."""
        window = self.window
        start = max(at, self.looked - window.base)
        for found in regex(_UNQUOTED).finditer(window.text, start, end):
            place, sign = found.start(), found["lookalike"]
            if not sign or self.lookalikes >= _LOOKALIKES or self.joins(place, sign):
                continue
            line, column = window.place_of(place)
            if line != self.lookalike_line:
                self.lookalike_line, self.lookalikes = line, self.lookalikes + 1
                self.found.append(lookalike(line, column, sign))
        self.looked = window.base + end

    def joins(self, at: int, sign: str) -> bool:
        text = self.window.text
        return sign in _JOINERS and text[at - 1 : at] > "\x7f" and text[at + 1 : at + 2] > "\x7f"

    def plain(self, at: int, text: str) -> None:
        window = self.window
        if self.start is None:
            self.start, self.place = window.base + at, window.place_of(at)
            self.head.append(text)
            if window.resume is not None:
                problem = "this statement would run after the rows of the COPY on its line"
                self.problem(self.place, problem, "Put it on a line of its own, after the rows.")
            self.settled = not regex(FIRST).fullmatch(upper(text))
        elif self.settled:
            pass
        elif len(self.head) < (64 if self.depth else 128):
            self.head.append(text)
        elif not self.depth and not self.routine:
            self.settled = True
        self.end = window.base + at + len(text.rstrip(_BLANK))

    other = plain

    def edge(self, at: int, text: str) -> None:
        """Read on from the beginning of the word that ends here."""
        window, goes_on = self.window, regex(LETTER_DIGIT_DOLLAR).match
        firm = max(self.firm - window.base, 0)
        while at > firm and goes_on(window.text, at - 1):
            at -= 1
        window.pos, self.closely = at, True

    def word(self, at: int, text: str) -> None:
        """Track BEGIN … END as psql does: only in CREATE [OR REPLACE] FUNCTION | PROCEDURE."""
        self.run(at, text)
        if self.settled:
            return
        if len(self.words) < 4:
            self.words.append(upper(text))
            self.routine = " ".join(self.words[:2]) in _ROUTINE or " ".join(self.words) in _ROUTINE
        if self.routine and not self.depth:
            word = upper(text)
            if word == "BEGIN" or (word == "CASE" and self.blocks):
                self.blocks += 1
            elif word == "END" and self.blocks:
                self.blocks -= 1

    def opened(self, at: int, text: str) -> None:
        self.plain(at, text)
        self.depth += 1

    def closed(self, at: int, text: str) -> None:
        self.depth = max(self.depth - 1, 0)
        self.plain(at, text)

    def semicolon(self, at: int, text: str) -> None:
        if self.depth or self.blocks:
            self.plain(at, text)
        else:
            self.closed_at = self.window.base + at
            self.finish()

    def escaped(self, at: int, text: str) -> None:
        self.plain(at, "''")
        window, place = self.window, self.window.place_of(at)
        while True:
            edge = regex(_ESCAPED_EDGE).search(window.text, window.pos, window.stop)
            if edge is None:
                window.pos = window.stop
                if not window.more():
                    return self.unterminated(place, "quoted string")
            elif edge.group() != "'":
                window.pos = edge.end()
            elif (gap := self.gap(edge.end())) == window.stop and window.more(edge.start()):
                window.pos = 0
            elif self.goes_on(edge.end(), gap):
                window.pos = gap + 1
            else:
                window.pos = edge.end()
                return self.ended()

    def gap(self, at: int) -> int:
        """Behind the blanks and comments that begin at `at`."""
        window = self.window
        while found := regex(_GAP).match(window.text, at, window.stop):
            at = found.end()
        return at

    def goes_on(self, at: int, gap: int) -> bool:
        """Whether a quote behind a gap with a line's end goes on with what ended at `at`."""
        window = self.window
        quote = window.text.startswith("'", gap, window.stop)
        return quote and regex(_LINE_END).search(window.text, at, gap) is not None

    def dollar(self, at: int, text: str) -> None:
        self.plain(at, "''")
        self.until(text, self.window.place_of(at), f"dollar-quoted string ({text})")

    def quote(self, at: int, text: str) -> None:
        """A quote that does not end in the window."""
        window = self.window
        if window.stop - at < _HEAD_CHARS and window.more(at):
            window.pos = 0
            return
        self.plain(at, text + window.text[at + 1 : min(at + _HEAD_CHARS, window.stop)] + text)
        what = "quoted string" if text == "'" else "quoted identifier"
        self.until(text, window.place_of(at), what)

    def until(self, end: str, place: tuple[int, int], what: str) -> None:
        """Read up to the `end` of a quoted text."""
        if self.window.find(end):
            self.ended()
        else:
            self.unterminated(place, what)

    def ended(self) -> None:
        """A quoted text ends here."""
        self.firm = self.end = self.window.base + self.window.pos

    def comment(self, at: int, text: str) -> None:
        window = self.window
        if window.pos == window.stop and window.more(at):
            window.pos = 0  # it may go on
        elif found := regex(_DIRECTIVE, re.IGNORECASE).fullmatch(text):
            line, _ = window.place_of(at)
            exact = found[1] == "migrator"
            self.found.append(Directive(window.base + at, line, found[2].strip(), exact))
        else:
            self.mark(at, text.rstrip())

    def mark(self, at: int, comment: str) -> None:
        """Note a comment that begins a half of a file of two ways."""
        if mark := find_mark(comment):
            half, marks = mark
            line, column = self.window.place_of(at)
            begins = self.window.base + at - column + 1  # offset of the line
            alone = self.start is None and self.closed_at < begins
            if alone or marks.counts is Counts.ALWAYS:
                self.found.append(Mark(line, " ".join(comment.split()), half, marks))

    def block(self, at: int, text: str) -> None:
        window, place, depth = self.window, self.window.place_of(at), 1
        if short := regex(_SHORT_BLOCK).match(window.text, at, window.stop):
            self.mark(at, short.group())
        elif window.stop - at < _HEAD_CHARS and window.more(at):
            window.pos = 0  # it may be short
            return None
        while depth:
            edge = regex(_BLOCK_EDGE).search(window.text, window.pos, window.stop)
            if edge:
                depth += 1 if edge.group() == "/*" else -1
                window.pos = edge.end()
            else:
                window.pos = window.stop
                if not window.more():
                    return self.problem(place, "this comment is never closed", "Close it with */.")
        return None

    def backslash(self, at: int, text: str) -> None:
        window = self.window
        if window.pos == window.stop and window.more(at):
            window.pos = 0  # it may go on
        elif regex(_RESTRICT).fullmatch(text):
            self.found.append(Skipped(window.base + at, window.base + window.pos))
        else:
            command, place = text.split()[0], window.place_of(at)
            problem = f"{command} is a command of psql, not SQL"
            remedy = _INSTEAD.get(command, "Remove it, or write it in SQL.")
            if command.startswith("\\;"):
                problem, remedy = "\\; separates statements in psql alone", "Write ; instead."
            self.problem(place, problem, remedy)

    def unterminated(self, place: tuple[int, int], what: str) -> None:
        self.end = self.window.base + self.window.stop
        remedy = "Close this or an earlier quote: behind one that is missing, texts and SQL swap."
        self.problem(place, f"this {what} is never closed", remedy)

    def problem(self, place: tuple[int, int], problem: str, remedy: str) -> None:
        self.found.append(Problem(place[0], problem, remedy))

    def finish(self) -> None:
        """The statement at hand, if there is one, ends here."""
        if self.start is None:
            return
        kind, words = classed(self.head)
        self.found.append(Statement(self.start, self.end, *self.place, kind, words))
        if words in _WITH_DATA:
            self.found.append(self.window.rows())
        self.begin()
