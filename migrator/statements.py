"""The text of a migration -> its statements and their class, by the rules of psql's psqlscan.l.

A file is sent whole; its statements are found so that what cannot run there is refused before
anything runs. Like psql this looks at tokens alone: quotes, comments, parentheses, the words
that open and close a routine's BEGIN ATOMIC body. Variables (`:name`) are left alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from functools import cache


class StatementKind(Enum):
    """What a statement means for a file that runs in one transaction."""

    PLAIN = "plain"
    TRANSACTION_CONTROL = "transaction control"  #: it would end our transaction
    NON_TRANSACTIONAL = "non-transactional"  #: PostgreSQL refuses it inside a transaction
    COPY_DATA = "copy data"  #: COPY from or to the client
    REFUSED_SETTING = "refused setting"  #: it changes how the text after it is read


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement, from its first token to its last, without the semicolon."""

    start: int  #: offset of its first character
    end: int  #: offset after its last one; comments and blanks around it are left out
    line: int  #: 1-based line of `start`
    kind: StatementKind
    words: str  #: what it is, CREATE INDEX CONCURRENTLY; the first word of a PLAIN one


@dataclass(frozen=True, slots=True)
class Directive:
    """One `-- migrator:` comment, not yet understood."""

    start: int
    line: int
    text: str  #: what follows the colon


@dataclass(frozen=True, slots=True)
class Problem:
    """One reason why the text cannot be sent; words as in a Finding."""

    line: int
    problem: str
    remedy: str


@dataclass(frozen=True, slots=True)
class Scan:
    """All that one text holds, in its order."""

    sql: str  #: the text to send: \\restrict and \\unrestrict are blanked out, offsets stay true
    statements: tuple[Statement, ...]
    directives: tuple[Directive, ...]
    problems: tuple[Problem, ...]


def scan(text: str) -> Scan:
    """Split `text`; never raises. Past an unterminated quote or comment nothing is read."""
    return _Scanner(text).scan()


def refusals(statements: Iterable[Statement]) -> tuple[Problem, ...]:
    """Why a file that runs in one transaction cannot hold these statements."""
    return tuple(
        Problem(statement.line, f"{statement.words} {problem}", remedy)
        for statement in statements
        if statement.kind is not StatementKind.PLAIN
        for problem, remedy in [_refusal(statement)]
    )


def position(text: str, offset: int) -> tuple[int, int]:
    """The 1-based line and column, in characters, of `offset`."""
    return text.count("\n", 0, offset) + 1, offset - text.rfind("\n", 0, offset)


def line_text(text: str, line: int) -> str:
    """The 1-based `line` of `text`, without its line end."""
    return text.split("\n", line)[line - 1]


_BLANKS = r"[ \t\n\r\f\v]*+"
# To PostgreSQL every byte from 0x80 on is a letter. The sets say what is none: `re` takes ten
# times as long to compile one that names all of Unicode.
_LETTER = r"[^\x00-@\[-^`{-\x7f]"
_LETTER_DIGIT = r"[^\x00-/:-@\[-^`{-\x7f]"
_LETTER_DIGIT_DOLLAR = r"[^\x00-#%-/:-@\[-^`{-\x7f]"
_WORD = rf"(?![eE]'){_LETTER}{_LETTER_DIGIT_DOLLAR}*+"
_PLAIN = rf"""
    [\x00-\x20!#%&*+,.:<=>?@\[\]^`{{|}}~\x7f]++
  | \$?[0-9]++(?:{_LETTER}{_LETTER_DIGIT_DOLLAR}*+)?
  | -(?!-) | /(?!\*) | '[^']*+' | "[^"]*+"
"""
_TOKENS = rf"""
    (?P<word>{_WORD})
  | (?P<opened>\()
  | (?P<closed>\))
  | (?P<semicolon>;)
  | (?P<escaped>[eE]')
  | (?P<dollar>\$(?:{_LETTER}{_LETTER_DIGIT}*)?\$)
  | (?P<comment>--[^\n\r]*)
  | (?P<block>/\*)
  | (?P<backslash>\\[^\n\r]*)
  | (?P<quote>['"])
  | (?P<other>.)
"""
# What changes nothing is taken in runs. Once the first word has settled a statement's class, the
# quick way takes words too, and whole rows of an INSERT. `re` keeps a state for each repetition
# of a group: hence the bounds. No text can be taken in two ways: so a failure is found in linear
# time.
_CAREFUL = (
    rf"{_BLANKS}(?:(?P<run>(?:{_PLAIN} | [uU]&(?=['\"]) | [bBnNxX](?=')){{1,100}}) | {_TOKENS})"
)
_DULL = rf"{_PLAIN} | {_WORD} | [eE]'[^'\\]*+(?:\\.[^'\\]*+){{0,50}}'(?!['\s-])"
_QUICK = rf"""{_BLANKS}(?:
    (?P<run>(?: {_DULL} | \((?: {_DULL} | \((?:{_DULL}){{0,50}}\) ){{0,50}}\) ){{1,50}})
  | {_TOKENS}
)"""
_BLOCK_EDGE = r"/\*|\*/"
# What matters in E'…': an escape, '', a quote that goes on behind a line end, the last quote.
# psql reads line by line and takes the third for the last; the server's reading is the true one.
_ESCAPED_EDGE = r"\\.|'(?:'|(?:[ \t\f\v]|--[^\n\r]*+)*[\n\r](?:[ \t\n\r\f\v]|--[^\n\r]*+[\n\r])*')?"
_DIRECTIVE = r"--[ \t]*migrator[ \t]*:(.*)"
_RESTRICT = r"\\(?:un)?restrict[ \t]+[A-Za-z0-9]+[ \t]*"
_COPY_END = r"(?m:^\\\.\r?$)\n?"


@cache  # compiled when first used: a run with nothing pending scans nothing
def _regex(pattern: str, flags: int = re.DOTALL) -> re.Pattern[str]:
    return re.compile(pattern, flags)


class _Scanner:
    """One pass over one text. Its methods read the tokens they are named after."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.statements: list[Statement] = []
        self.directives: list[Directive] = []
        self.problems: list[Problem] = []
        self.blanked: list[tuple[int, int]] = []
        self.counted = (0, 1)  # an offset and its line: each line end is counted once
        self.pos, self.stop = 0, len(text)
        self.resume: int | None = None  # behind the data of a COPY, whose own line ends at `stop`
        self.begin()

    def begin(self) -> None:
        """Forget the statement at hand."""
        self.start: int | None = None
        self.line = 0
        self.last = 0  # end of its newest token
        self.depth = 0  # open parentheses
        self.head: list[str] = []  # its first tokens; the first alone when that settles its class
        self.settled = False
        self.words: list[str] = []  # its first four words
        self.routine = False  # they begin a function or procedure
        self.blocks = 0  # open BEGIN and CASE in the routine's body

    def scan(self) -> Scan:
        careful, quick = (_regex(r, re.DOTALL | re.VERBOSE) for r in (_CAREFUL, _QUICK))
        readers = {name: getattr(self, name) for name in careful.groupindex}
        while True:
            token = (quick if self.settled else careful).match(self.text, self.pos, self.stop)
            if token:
                kind = token.lastgroup or ""
                at, self.pos = token.span(kind)
                readers[kind](at, token[kind])
            elif self.resume is not None:
                self.pos, self.stop, self.resume = self.resume, len(self.text), None
            else:
                break
        self.finish()
        return Scan(
            self.sent(), tuple(self.statements), tuple(self.directives), tuple(self.problems)
        )

    def run(self, at: int, text: str) -> None:
        self.last = self.pos
        if self.start is None:
            self.start, self.line = at, self.line_of(at)
            self.head.append(text)
            self.settled = not _regex(_FIRST).fullmatch(_upper(text))
        elif len(self.head) < (64 if self.depth else 128):
            self.head.append(text)
        elif not self.depth and not self.routine:
            self.settled = True

    other = run

    def word(self, at: int, text: str) -> None:
        """Track BEGIN … END as psql does: only in CREATE [OR REPLACE] FUNCTION | PROCEDURE."""
        self.run(at, text)
        if self.settled:
            return
        if len(self.words) < 4:
            self.words.append(_upper(text))
            self.routine = " ".join(self.words[:2]) in _ROUTINE or " ".join(self.words) in _ROUTINE
        if self.routine and not self.depth:
            word = _upper(text)
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
        for edge in _regex(_ESCAPED_EDGE).finditer(self.text, self.pos, self.stop):
            if edge.group() == "'":
                self.last = self.pos = edge.end()
                return
        self.unterminated(at, "quoted string")

    def dollar(self, at: int, text: str) -> None:
        self.run(at, "''")
        end = self.text.find(text, self.pos, self.stop)
        if end < 0:
            self.unterminated(at, f"dollar-quoted string ({text})")
        else:
            self.last = self.pos = end + len(text)

    def quote(self, at: int, text: str) -> None:
        self.run(at, text)
        self.unterminated(at, "quoted string" if text == "'" else "quoted identifier")

    def comment(self, at: int, text: str) -> None:
        if found := _regex(_DIRECTIVE, re.IGNORECASE).fullmatch(text):
            self.directives.append(Directive(at, self.line_of(at), found[1].strip()))

    def block(self, at: int, text: str) -> None:
        depth = 1
        for edge in _regex(_BLOCK_EDGE).finditer(self.text, self.pos, self.stop):
            depth += 1 if edge.group() == "/*" else -1
            if not depth:
                self.pos = edge.end()
                return
        self.pos = self.stop
        self.problem(at, "this comment is never closed", "Close it with */.")

    def backslash(self, at: int, text: str) -> None:
        if _regex(_RESTRICT).fullmatch(text):
            self.blanked.append((at, self.pos))
            return
        problem = f"{text.split()[0]} is a command of psql, not SQL"
        self.problem(at, problem, "Remove it, or say it in SQL.")

    def unterminated(self, at: int, what: str) -> None:
        self.last = self.pos = self.stop
        self.problem(at, f"this {what} is never closed", "Close it.")

    def problem(self, at: int, problem: str, remedy: str) -> None:
        self.problems.append(Problem(self.line_of(at), problem, remedy))

    def finish(self) -> None:
        """The statement at hand, if there is one, ends here."""
        if self.start is None:
            return
        end = self.start + len(self.text[self.start : self.last].rstrip(" \t\n\r\f\v"))
        kind, words = _classed(self.head)
        self.statements.append(Statement(self.start, end, self.line, kind, words))
        if words == _COPY_IN:
            self.skip_data()
        self.begin()

    def skip_data(self) -> None:
        """Like psql, read the rest of this line as SQL and the next ones, up to `\\.`, as data."""
        if self.resume is None:
            self.resume = self.text.find("\n", self.pos) + 1 or len(self.text)
            self.stop = self.resume
        end = _regex(_COPY_END).search(self.text, self.resume)
        self.resume = end.end() if end else len(self.text)

    def line_of(self, offset: int) -> int:
        """The line of `offset`, which is never less than at the call before."""
        before, line = self.counted
        self.counted = offset, line + self.text.count("\n", before, offset)
        return self.counted[1]

    def sent(self) -> str:
        text = self.text
        for start, end in self.blanked:
            text = text[:start] + " " * (end - start) + text[end:]
        return text


_ROUTINE = {
    f"CREATE {replace}{routine}"
    for replace in ("", "OR REPLACE ")
    for routine in ("FUNCTION", "PROCEDURE")
}
_COPY_IN, _COPY_OUT = "COPY ... FROM STDIN", "COPY ... TO STDOUT"
_CONTROL, _ALONE = StatementKind.TRANSACTION_CONTROL, StatementKind.NON_TRANSACTIONAL
_COPY, _SETTING = StatementKind.COPY_DATA, StatementKind.REFUSED_SETTING
_OPTIONS = r"(?:\( [^)]* \) )?"
_FALSE = r"'?(?:FALSE|OFF|0)'? "
_SET = r"SET (?:SESSION |LOCAL )?"

# Kind, how the first tokens look (each as in `_looks`, a blank between them), what to call it
# (\g<0>: as it stands). What only the catalog can tell is left to PostgreSQL: whether CLUSTER or
# REINDEX names a partitioned table, whether DROP SUBSCRIPTION drops a slot.
# tests/database/test_classes.py holds each line against a server.
_CLASSES = (
    (_CONTROL, r"(?:BEGIN|START|COMMIT|END|ABORT)\b", r"\g<0>"),
    (_CONTROL, r"ROLLBACK\b(?! (?:(?:WORK|TRANSACTION) )?TO\b)", r"\g<0>"),
    (_CONTROL, r"PREPARE TRANSACTION(?= ')", r"\g<0>"),
    (_ALONE, r"(?:CREATE (?:UNIQUE )?|DROP )INDEX CONCURRENTLY\b", r"\g<0>"),
    (_ALONE, r"(?:CREATE|DROP) (?:DATABASE|TABLESPACE)\b", r"\g<0>"),
    (_ALONE, r"(?:VACUUM|ALTER SYSTEM|DISCARD ALL)\b", r"\g<0>"),
    (_ALONE, r"CLUSTER(?: VERBOSE| \( [^)]* \))?$", "CLUSTER of all tables"),
    (_ALONE, rf"REINDEX {_OPTIONS}(DATABASE|SYSTEM|SCHEMA)\b", r"REINDEX \1"),
    (_ALONE, rf"REINDEX {_OPTIONS}\w+ CONCURRENTLY\b", "REINDEX CONCURRENTLY"),
    (_ALONE, rf"REINDEX \( (?:[^)]* , )?CONCURRENTLY (?!{_FALSE})", "REINDEX CONCURRENTLY"),
    (
        _ALONE,
        r"ALTER TABLE .* DETACH PARTITION .* CONCURRENTLY$",
        "ALTER TABLE ... DETACH PARTITION ... CONCURRENTLY",
    ),
    (_ALONE, r"ALTER DATABASE \S+ (?:.* )?TABLESPACE \S", "ALTER DATABASE ... SET TABLESPACE"),
    (_ALONE, rf"CREATE SUBSCRIPTION\b(?!.* (?:CONNECT|CREATE_SLOT) = {_FALSE})", r"\g<0>"),
    (
        _ALONE,
        rf"ALTER SUBSCRIPTION \S+ (REFRESH|\w+ PUBLICATION)\b(?!.* REFRESH = {_FALSE})",
        r"ALTER SUBSCRIPTION ... \1",
    ),
    (_COPY, r"COPY (?!\()(?:(?! FROM ).)* FROM STD(?:IN|OUT)\b", _COPY_IN),
    (_COPY, r"COPY (?:\( .* \)|(?:(?! TO ).)*) TO STD(?:IN|OUT)\b", _COPY_OUT),
    (
        _SETTING,
        rf"{_SET}\W?CLIENT_ENCODING\W? (?:TO|=) (?!(?:'?(?:UTF8|UNICODE)'?|DEFAULT)$)",
        "SET client_encoding",
    ),
    (_SETTING, rf"{_SET}NAMES (?!(?:'(?:UTF8|UNICODE)'|DEFAULT)$)", "SET NAMES"),
    (
        _SETTING,
        rf"{_SET}\W?STANDARD_CONFORMING_STRINGS\W? (?:TO|=) (?!(?:'?(?:ON|TRUE|YES|1)'?|DEFAULT)$)",
        "SET standard_conforming_strings",
    ),
)
# The first words of _CLASSES; any other statement is PLAIN.
_FIRST = (
    "ABORT|ALTER|BEGIN|CLUSTER|COMMIT|COPY|CREATE|DISCARD|DROP|END|PREPARE|REINDEX|ROLLBACK|SET|"
    "START|VACUUM"
)


def _classed(head: list[str]) -> tuple[StatementKind, str]:
    """The class of a statement with these first tokens, and what to call it."""
    first = _upper(head[0])
    if _regex(_FIRST).fullmatch(first):
        line = " ".join(map(_looks, _regex(_PART).findall(" ".join(head))))
        for kind, pattern, words in _CLASSES:
            if found := _regex(pattern).match(line):
                return kind, found.expand(words)
    return StatementKind.PLAIN, first if first.isidentifier() else ""


_REFUSALS = {
    StatementKind.TRANSACTION_CONTROL: (
        "would end or begin a transaction",
        "Remove it: the whole file already runs in one transaction.",
    ),
    StatementKind.NON_TRANSACTIONAL: (
        "cannot run inside a transaction",
        "Put the line `-- migrator: no-transaction` at the top of the file, best of a file that "
        "holds nothing else.",
    ),
    StatementKind.COPY_DATA: (
        "is not supported by this version",
        "Write INSERT statements.",
    ),
    StatementKind.REFUSED_SETTING: (
        "would change how the text after it is read",
        "Remove it: files are UTF-8 and their strings standard conforming.",
    ),
}


def _refusal(statement: Statement) -> tuple[str, str]:
    problem, remedy = _REFUSALS[statement.kind]
    if statement.words == _COPY_OUT:
        remedy = "Remove it: a migration has nobody to send rows to."
    return problem, remedy


_PART = rf"""'[^']*'|"[^"]*"|{_LETTER_DIGIT}{_LETTER_DIGIT_DOLLAR}*|\S"""


def _looks(part: str) -> str:
    """A word in capitals, what is quoted without its blanks, a sign as it is."""
    if part[0] in "'\"":
        return part[0] + re.sub(r"\W", "", part).upper() + part[0]
    return _upper(part)


def _upper(word: str) -> str:
    """As PostgreSQL folds keywords: ASCII alone, so that a dotless i makes no BEGIN."""
    return word.upper() if word.isascii() else word
