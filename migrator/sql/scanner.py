"""The text of a file, piece by piece -> its statements, by the rules of psql's psqlscan.l.

Like psql this looks at tokens alone: quotes, comments, parentheses, the words that open and
close a routine's BEGIN ATOMIC body. Variables (`:name`) are left alone. No more of the text is
kept than the token at hand, so that a file may be larger than the memory.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from migrator.sql.statements import (
    FIRST,
    LETTER,
    LETTER_DIGIT,
    LETTER_DIGIT_DOLLAR,
    Data,
    Directive,
    Found,
    Problem,
    Skipped,
    Statement,
    classed,
    regex,
    upper,
)


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
# without looking at each. Where an e stands before a quote, or a digit before a $, it matters
# which word that ends: `edge` looks back.
_ESCAPED = rf"(?<!{LETTER_DIGIT_DOLLAR})[eE]'[^'\\]*+(?:\\.[^'\\]*+){{0,50}}'(?!['\s-])"
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
# What matters in E'…': an escape, '', a quote that goes on behind a line end, the last quote.
# psql reads line by line and takes the third for the last; the server's reading is the true one.
_ESCAPED_EDGE = r"\\.|'(?:'|(?:[ \t\f\v]|--[^\n\r]*+)*[\n\r](?:[ \t\n\r\f\v]|--[^\n\r]*+[\n\r])*')?"
_NOTHING = r"(?:[ \t\n\r\f\v]|--[^\n\r]*+)*+"
_DIRECTIVE = r"--[ \t]*migrator[ \t]*:(.*)"
# Comments by which another tool parts up from down: here both parts would run.
_MARK = r"--[^\S\n]*(migrate:(?:up|down)\b|\+(?:goose|micrate|migrate)\b).*"
_RESTRICT = r"\\(?:un)?restrict[ \t]+[A-Za-z0-9]+[ \t]*"
_DATA_END = r"\n()\\\.\r?\n"
_DATA_END_OF_FILE = r"\n()\\\.\r?\Z"
_ROUTINE = {
    f"CREATE {replace}{routine}"
    for replace in ("", "OR REPLACE ")
    for routine in ("FUNCTION", "PROCEDURE")
}
_WITH_DATA = {"COPY ... FROM STDIN", "COPY BINARY"}
_CUTS = (" ", "\n", ",", ";")  # no token but a quote or comment goes on behind these
_HEAD_CHARS = 100  # of a quoted text; no class depends on more


class _Scanner:
    """One pass over one text. Its methods read the tokens they are named after.

    `text` is a window: `pos` stands behind the newest token, `stop` is where the next ones must
    end, at the end of the file or behind one of _CUTS. The rest of a line that holds a COPY is
    read after its data, as psql does: then `stop` is the line's end, `resume` where the text goes
    on behind the data, and `dropped` how many characters and lines of them left the window.
    """

    def __init__(self, pieces: Iterable[str]) -> None:
        self.pieces = iter(pieces)
        self.text = ""
        self.pos = self.stop = 0
        self.base = 0  # offset in the file of the window's first character
        self.ended = False  # there are no more pieces
        self.resume: int | None = None
        self.dropped = (0, 0)
        self.firm = 0  # where a quoted text ended: no word goes on behind it
        self.closely = False  # the next token is to be read carefully
        self.counted = (0, 1, 0)  # in the window; its line; the offset of that line's beginning
        self.found: list[Found] = []
        self.begin()

    def begin(self) -> None:
        """Forget the statement at hand."""
        self.start: int | None = None
        self.place = (0, 0)
        self.last = (0, "")  # where its newest token begins, and that token
        self.depth = 0  # open parentheses
        self.head: list[str] = []  # its first tokens; the first alone when that settles its class
        self.settled = False
        self.words: list[str] = []  # its first four words
        self.routine = False  # they begin a function or procedure
        self.blocks = 0  # open BEGIN and CASE in the routine's body

    def scan(self) -> Iterator[Found]:
        careful, quick = (regex(r, re.DOTALL | re.VERBOSE) for r in (_CAREFUL, _QUICK))
        readers = {name: getattr(self, name) for name in (*careful.groupindex, "edge")}
        while True:
            reads = quick if self.settled and not self.closely else careful
            if token := reads.match(self.text, self.pos, self.stop):
                self.closely = False
                kind = token.lastgroup or ""
                at, self.pos = token.span(kind)
                readers[kind](at, token[kind])
            else:
                self.pos = self.stop
                if not self.more():
                    break
            if self.found:
                yield from self.found
                self.found.clear()
        self.finish()
        yield from self.found

    def run(self, at: int, text: str) -> None:
        if self.start is None:
            self.start, self.place = self.base + at, self.place_of(at)
            self.head.append(text)
            if self.resume is not None:
                problem = "this statement would run after the data of the COPY on its line"
                self.problem(self.place, problem, "Begin a new line behind the semicolon.")
            self.settled = not regex(FIRST).fullmatch(upper(text))
        elif self.settled:
            pass
        elif len(self.head) < (64 if self.depth else 128):
            self.head.append(text)
        elif not self.depth and not self.routine:
            self.settled = True
        self.last = self.base + at, text

    other = run

    def edge(self, at: int, text: str) -> None:
        """Read on from the beginning of the word that ends here."""
        while at > self.firm and regex(LETTER_DIGIT_DOLLAR).match(self.text, at - 1):
            at -= 1
        self.pos, self.firm, self.closely = at, at + 1, True

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
        self.run(at, text)
        self.depth += 1

    def closed(self, at: int, text: str) -> None:
        self.depth = max(self.depth - 1, 0)
        self.run(at, text)

    def semicolon(self, at: int, text: str) -> None:
        if self.depth or self.blocks:
            self.run(at, text)
        else:
            self.finish()

    def escaped(self, at: int, text: str) -> None:
        self.run(at, "''")
        place = self.place_of(at)
        while True:
            edge = regex(_ESCAPED_EDGE).search(self.text, self.pos, self.stop)
            if edge is None:
                self.pos = self.stop
                if not self.more():
                    return self.unterminated(place, "quoted string")
            elif edge.group() != "'":
                self.pos = edge.end()
            elif self.open_ended(edge.end()) and self.more(edge.start()):
                self.pos = 0
            else:
                self.pos = self.firm = edge.end()
                self.last = self.base + self.pos, ""
                return None

    def open_ended(self, at: int) -> bool:
        """Whether a string that ends here may go on behind the window, after a line's end."""
        return regex(_NOTHING).fullmatch(self.text, at, self.stop) is not None

    def dollar(self, at: int, text: str) -> None:
        self.run(at, "''")
        self.until(text, self.place_of(at), f"dollar-quoted string ({text})")

    def quote(self, at: int, text: str) -> None:
        """A quote that does not end in the window."""
        if self.stop - at < _HEAD_CHARS and self.more(at):
            self.pos = 0
            return
        self.run(at, text + self.text[at + 1 : min(at + _HEAD_CHARS, self.stop)] + text)
        what = "quoted string" if text == "'" else "quoted identifier"
        self.until(text, self.place_of(at), what)

    def until(self, end: str, place: tuple[int, int], what: str) -> None:
        """Read up to `end`, which no window's end cuts apart."""
        while (at := self.text.find(end, self.pos, self.stop)) < 0:
            self.pos = self.stop
            if not self.more():
                return self.unterminated(place, what)
        self.pos = self.firm = at + len(end)
        self.last = self.base + self.pos, ""
        return None

    def comment(self, at: int, text: str) -> None:
        if self.pos == self.stop and self.more(at):
            self.pos = 0  # it may go on
        elif found := regex(_DIRECTIVE, re.IGNORECASE).fullmatch(text):
            line, _ = self.place_of(at)
            self.found.append(Directive(self.base + at, line, found[1].strip()))
        elif self.start is None and (mark := regex(_MARK, re.IGNORECASE).fullmatch(text)):
            self.problem(
                self.place_of(at),
                f"{mark[1]} is a mark of another tool, and the parts it tells apart would all run",
                "Put the down part into NNN_name.down.sql and take the marks out.",
            )

    def block(self, at: int, text: str) -> None:
        depth, place = 1, self.place_of(at)
        while depth:
            edge = regex(_BLOCK_EDGE).search(self.text, self.pos, self.stop)
            if edge:
                depth += 1 if edge.group() == "/*" else -1
                self.pos = edge.end()
            else:
                self.pos = self.stop
                if not self.more():
                    return self.problem(place, "this comment is never closed", "Close it with */.")
        return None

    def backslash(self, at: int, text: str) -> None:
        if self.pos == self.stop and self.more(at):
            self.pos = 0  # it may go on
        elif regex(_RESTRICT).fullmatch(text):
            self.found.append(Skipped(self.base + at, self.base + self.pos))
        else:
            problem = f"{text.split()[0]} is a command of psql, not SQL"
            self.problem(self.place_of(at), problem, "Remove it, or say it in SQL.")

    def unterminated(self, place: tuple[int, int], what: str) -> None:
        self.last = self.base + self.stop, ""
        self.problem(place, f"this {what} is never closed", "Close it.")

    def problem(self, place: tuple[int, int], problem: str, remedy: str) -> None:
        self.found.append(Problem(place[0], problem, remedy))

    def finish(self) -> None:
        """The statement at hand, if there is one, ends here."""
        if self.start is None:
            return
        at, token = self.last
        end = at + len(token.rstrip(_BLANK))
        kind, words = classed(self.head)
        self.found.append(Statement(self.start, end, *self.place, kind, words))
        if words in _WITH_DATA:
            self.skip_data()
        self.begin()

    def skip_data(self) -> None:
        """Like psql, read the rest of this line as SQL and the next ones, up to `\\.`, as data."""
        line, _ = self.place_of(self.pos)
        if self.resume is None:
            while not (ends := self.text.find("\n", self.pos) + 1) and self.append():
                pass
            self.stop = self.resume = ends or len(self.text)
        line += self.text.count("\n", self.pos, self.resume) + self.dropped[1]
        start = self.base + self.resume + self.dropped[0]
        at = self.resume - 1  # the end of a line
        while (end := regex(_DATA_END).search(self.text, at)) is None:
            at = self.drop_data(self.resume)
            if not self.append():
                end = regex(_DATA_END_OF_FILE).search(self.text, at)
                break
        stop, behind = (end.start(1), end.end()) if end else (len(self.text), len(self.text))
        self.found.append(Data(start, self.base + stop + self.dropped[0], line))
        self.resume = behind

    def drop_data(self, start: int) -> int:
        """Let go of the data in the window from `start` on; where to look for their end then."""
        newline = self.text.rfind("\n", max(start - 1, len(self.text) - 4))  # half of their end
        kept = newline + 1 if newline >= 0 else len(self.text)
        chars, lines = self.dropped
        self.dropped = chars + kept - start, lines + self.text.count("\n", start, kept)
        self.text = self.text[:start] + self.text[kept:]
        return start - 1 if newline >= 0 else start

    def cross(self, resume: int) -> None:
        """Go on behind the data of a COPY, once the rest of its line is read."""
        line, _ = self.place_of(self.stop)
        chars, lines = self.dropped
        lines += self.text.count("\n", self.stop, resume)
        self.base += chars + resume - self.stop
        self.text = self.text[: self.stop] + self.text[resume:]
        self.counted = self.stop, line + lines, self.base + self.stop
        self.resume, self.dropped = None, (0, 0)

    def more(self, keep: int | None = None) -> bool:
        """Move `stop` on, and let go of what stands before `keep`, else before `pos`.

        False at the end of the text. What is kept is at least doubled: so the time that is spent
        on a token of any length grows with the length alone.
        """
        if self.resume is not None:
            self.cross(self.resume)
        keep = self.pos if keep is None else keep
        wanted = 2 * self.stop - keep
        pieces, end, stop = [], len(self.text), _cut(self.text, self.stop)
        while not self.ended and (not stop or end < wanted):
            piece = next(self.pieces, None)
            if piece is None:
                self.ended = True
            else:
                stop = end + cut if (cut := _cut(piece)) else stop
                end += len(piece)
                pieces.append(piece)
        stop = end if self.ended else stop
        if stop <= self.stop:
            return False
        line, column = self.place_of(keep)
        self.base += keep
        self.text = "".join((self.text[keep:], *pieces))
        self.counted = 0, line, self.base - column + 1
        self.pos, self.stop, self.firm = self.pos - keep, stop - keep, max(0, self.firm - keep)
        return True

    def append(self) -> bool:
        """Put one more piece into the window, whose `stop` stays; False when there is none."""
        piece = next(self.pieces, None)
        self.ended = piece is None
        self.text += piece or ""
        return piece is not None

    def place_of(self, at: int) -> tuple[int, int]:
        """The line and column of `at`, which is never less than at the call before."""
        before, line, begins = self.counted
        if lines := self.text.count("\n", before, at):
            line, begins = line + lines, self.base + self.text.rfind("\n", before, at) + 1
        self.counted = at, line, begins
        return line, self.base + at - begins + 1


def _cut(text: str, start: int = 0) -> int:
    """Behind the last of _CUTS from `start` on; 0 when there is none."""
    return max(text.rfind(sign, start) for sign in _CUTS) + 1
