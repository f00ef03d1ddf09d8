"""What a file of SQL is made of: its statements and their class, by their first tokens.

A file is sent as it is; its statements are found (`scanner`) so that what cannot run there is
refused before anything runs. tests/database/test_classes.py holds the classes against a server.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum

from migrator.display import regex
from migrator.sql.marks import Mark


class StatementKind(Enum):
    """What a statement means for a file that runs in one transaction."""

    PLAIN = "plain"
    COPY_IN = "copy in"  #: COPY … FROM STDIN; its rows follow in the file
    TRANSACTION_CONTROL = "transaction control"  #: it would end our transaction
    TRANSACTION_MODE = "transaction mode"  #: it asks for another transaction than ours
    NON_TRANSACTIONAL = "non-transactional"  #: PostgreSQL refuses it inside a transaction
    REFUSED_COPY = "refused copy"  #: to the client, or of binary data
    REFUSED_SETTING = "refused setting"  #: it changes how the text after it is read
    NEXT_SESSION = "next session"  #: it sets what the sessions after this one begin with


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement, from its first token to its last, without the semicolon.

    Offsets, here and below, are in characters of the file's text.
    """

    start: int  #: offset of its first character
    end: int  #: offset after its last one; comments and blanks around it are left out
    line: int  #: 1-based line of `start`
    column: int  #: 1-based column of `start`
    kind: StatementKind
    words: str  #: what it is, CREATE INDEX CONCURRENTLY; the first word of a PLAIN one


@dataclass(frozen=True, slots=True)
class Data:
    """The rows of the COPY before it, whole lines, without the line `\\.` that ends them."""

    start: int
    end: int
    line: int


@dataclass(frozen=True, slots=True)
class Skipped:
    """A \\restrict or \\unrestrict command: pg_dump writes it for psql, and it is not sent."""

    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Directive:
    """One `-- migrator:` comment, not yet understood."""

    start: int
    line: int
    text: str  #: what follows the colon
    exact: bool = True  #: False under `-- Migrator:`, which may be a heading with a name


@dataclass(frozen=True, slots=True)
class Problem:
    """One reason why the text cannot be sent; words as in a Finding."""

    line: int
    problem: str
    remedy: str


Found = Statement | Data | Skipped | Directive | Mark | Problem


def refusals(statements: Iterable[Statement]) -> tuple[Problem, ...]:
    """Why a file that runs in one transaction cannot hold these statements."""
    return tuple(
        Problem(statement.line, f"{statement.words} {problem}", remedy)
        for statement in statements
        if statement.kind in _REFUSALS
        for problem, remedy in [_refusal(statement)]
    )


def surprises(statements: Iterable[Statement]) -> tuple[Problem, ...]:
    """What these statements do otherwise than a reader may expect; they can run."""
    return tuple(
        Problem(statement.line, f"{statement.words} {_LATER[0]}", _LATER[1])
        for statement in statements
        if statement.kind is StatementKind.NEXT_SESSION
    )


def only_alone(special: Iterable[Statement], statements: int) -> bool:
    """Whether a file of so many statements holds only such as cannot run in a transaction."""
    kinds = [statement.kind for statement in special]
    return kinds.count(StatementKind.NON_TRANSACTIONAL) == statements > 0


def lookalike(line: int, column: int, sign: str) -> Problem:
    """A character that looks like a blank, a quote or a dash, and is a letter to PostgreSQL."""
    import unicodedata  # dear to import, and seldom needed

    name = unicodedata.name(sign, "a control character")
    return Problem(
        line,
        f"U+{ord(sign):04X} ({name}) in column {column} is a letter to PostgreSQL: it would be "
        "part of a name",
        "Put the plain blank, quote or sign in its place; a name that is to hold it goes in "
        "double quotes.",
    )


def position(text: str, offset: int) -> tuple[int, int]:
    """The 1-based line and column, in characters, of `offset`."""
    return text.count("\n", 0, offset) + 1, offset - text.rfind("\n", 0, offset)


def classed(head: list[str]) -> tuple[StatementKind, str]:
    """The class of a statement with these first tokens, and what to call it."""
    first = upper(head[0])
    if regex(FIRST).fullmatch(first):
        line = " ".join(map(_looks, regex(_PART).findall(" ".join(head))))
        for kind, pattern, words in _CLASSES:
            if found := regex(pattern).match(line):
                return kind, found.expand(words)
    # one letter is no command, but the beginning of a bit string
    return StatementKind.PLAIN, first if len(first) > 1 and first.isidentifier() else ""


def upper(word: str) -> str:
    """As PostgreSQL folds keywords: ASCII alone, so that a dotless i makes no BEGIN."""
    return word.upper() if word.isascii() else word


# To PostgreSQL every byte from 0x80 on is a letter. The sets say what is none: `re` takes ten
# times as long to compile one that names all of Unicode.
LETTER = r"[^\x00-@\[-^`{-\x7f]"
LETTER_DIGIT = r"[^\x00-/:-@\[-^`{-\x7f]"
LETTER_DIGIT_DOLLAR = r"[^\x00-#%-/:-@\[-^`{-\x7f]"

_COPY_OUT = "COPY ... TO STDOUT"
_CONTROL, _ALONE = StatementKind.TRANSACTION_CONTROL, StatementKind.NON_TRANSACTIONAL
_MODE = StatementKind.TRANSACTION_MODE
_COPY, _SETTING = StatementKind.REFUSED_COPY, StatementKind.REFUSED_SETTING
_OPTIONS = r"(?:\( [^)]* \) )?"
_FALSE = r"'?(?:FALSE|OFF|0)'? "
_STDIN = r"STD(?:IN|OUT)\b"
_COPY_FROM = rf"COPY (?!\()(?:(?! FROM ).)* FROM {_STDIN}"
_SET = r"SET (?:SESSION |LOCAL )?"
# Modes that our transaction has, and any words at all.
_OUR_MODES = r"(?:(?: ,)? (?:ISOLATION LEVEL READ COMMITTED|READ WRITE))*$"
_ANY_WORDS = r"(?: \w+){1,4}"
_ON, _OFF = r"['\"]?(?:ON|TRUE|YES|1)['\"]?", r"\W?(?:OFF|FALSE|NO|0)\b"

# Kind, how the first tokens look (each as in `_looks`, a blank between them), what to call it
# (\g<0>: as it is written). What only the catalog knows is left to PostgreSQL: whether CLUSTER or
# REINDEX names a partitioned table, whether DROP SUBSCRIPTION drops a slot. REPACK and WAIT FOR are
# of PostgreSQL 19, and are read as its manual has them.
_CLASSES = (
    (_CONTROL, rf"(?:(BEGIN)(?: WORK| TRANSACTION)?|(START TRANSACTION)){_OUR_MODES}", r"\1\2"),
    (_CONTROL, r"(COMMIT|END|ABORT)(?: WORK| TRANSACTION)?(?: AND NO CHAIN)?$", r"\1"),
    (_MODE, rf"(?:BEGIN|START TRANSACTION){_ANY_WORDS}", r"\g<0>"),
    (_CONTROL, r"(BEGIN|START|COMMIT|END|ABORT)\b", r"\1 ..."),
    (_CONTROL, r"ROLLBACK\b(?! (?:(?:WORK|TRANSACTION) )?TO\b)", r"\g<0>"),
    (_CONTROL, r"PREPARE TRANSACTION(?= ')", r"\g<0>"),
    (_MODE, rf"{_SET}TRANSACTION(?!{_OUR_MODES}){_ANY_WORDS}", r"\g<0>"),
    (_MODE, rf"{_SET}\W?(TRANSACTION_ISOLATION)\W? (?:TO|=) (?!\W?READCOMMITTED)", r"SET \1"),
    (_MODE, rf"{_SET}\W?(TRANSACTION_READ_ONLY)\W? (?:TO|=) (?!{_OFF})", r"SET \1"),
    (_MODE, rf"{_SET}\W?(TRANSACTION_DEFERRABLE)\b", r"SET \1"),
    (_ALONE, r"(?:CREATE (?:UNIQUE )?|DROP )INDEX CONCURRENTLY\b", r"\g<0>"),
    (_ALONE, r"(?:CREATE|DROP) (?:DATABASE|TABLESPACE)\b", r"\g<0>"),
    (_ALONE, r"(?:VACUUM|ALTER SYSTEM|DISCARD ALL)\b", r"\g<0>"),
    (_ALONE, r"CLUSTER(?: VERBOSE| \( [^)]* \))?$", "CLUSTER of all tables"),
    (_ALONE, r"REPACK(?: \( [^)]* \))?(?: USING INDEX)?$", "REPACK of all tables"),
    (_ALONE, rf"REPACK \( (?:[^)]* , )?CONCURRENTLY (?!{_FALSE})", "REPACK (CONCURRENTLY)"),
    (_ALONE, r"WAIT FOR\b", r"\g<0>"),
    (_ALONE, rf"REINDEX {_OPTIONS}(DATABASE|SYSTEM|SCHEMA)\b", r"REINDEX \1"),
    (_ALONE, rf"REINDEX {_OPTIONS}\w+ CONCURRENTLY\b", "REINDEX CONCURRENTLY"),
    (_ALONE, rf"REINDEX \( (?:[^)]* , )?CONCURRENTLY (?!{_FALSE})", "REINDEX CONCURRENTLY"),
    (
        _ALONE,
        r"ALTER TABLE .* DETACH PARTITION .* CONCURRENTLY$",
        "ALTER TABLE ... DETACH PARTITION ... CONCURRENTLY",
    ),
    (
        StatementKind.NEXT_SESSION,
        r"ALTER (DATABASE|ROLE|USER) \S+ (?:IN DATABASE \S+ )?(SET|RESET) \"?SEARCH_PATH\b",
        r"ALTER \1 ... \2 search_path",
    ),
    (_ALONE, r"ALTER DATABASE \S+ (?:.* )?TABLESPACE \S", "ALTER DATABASE ... SET TABLESPACE"),
    (_ALONE, rf"CREATE SUBSCRIPTION\b(?!.* (?:CONNECT|CREATE_SLOT) = {_FALSE})", r"\g<0>"),
    (
        _ALONE,
        rf"ALTER SUBSCRIPTION \S+ (REFRESH|\w+ PUBLICATION)\b(?!.* REFRESH = {_FALSE})",
        r"ALTER SUBSCRIPTION ... \1",
    ),
    (_COPY, rf"COPY BINARY .* FROM {_STDIN}", "COPY BINARY"),
    (_COPY, rf"{_COPY_FROM} (?:WITH )?(?:BINARY\b|\( .*\bFORMAT \W?BINARY\b)", "COPY BINARY"),
    (StatementKind.COPY_IN, _COPY_FROM, "COPY ... FROM STDIN"),
    (_COPY, rf"COPY (?:\( .* \)|(?:(?! TO ).)*) TO {_STDIN}", _COPY_OUT),
    (
        _SETTING,
        rf"{_SET}\W?CLIENT_ENCODING\W? (?:TO|=) (?!(?:['\"]?(?:UTF8|UNICODE)['\"]?|DEFAULT)$)",
        "SET client_encoding",
    ),
    (_SETTING, rf"{_SET}NAMES (?!(?:'(?:UTF8|UNICODE)'|DEFAULT)$)", "SET NAMES"),
    (
        _SETTING,
        rf"{_SET}\W?STANDARD_CONFORMING_STRINGS\W? (?:TO|=) (?!(?:{_ON}|DEFAULT)$)",
        "SET standard_conforming_strings",
    ),
)
# The first words of _CLASSES; any other statement is PLAIN.
FIRST = (
    "ABORT|ALTER|BEGIN|CLUSTER|COMMIT|COPY|CREATE|DISCARD|DROP|END|PREPARE|REINDEX|REPACK|ROLLBACK|SET|"
    "START|VACUUM|WAIT"
)

#: The words of what begins and ends a transaction that ours can stand for.
BEGINS, ENDS = frozenset({"BEGIN", "START TRANSACTION"}), frozenset({"COMMIT", "END"})

OTHER_MODE = (
    "asks for another transaction than the job's, which is READ COMMITTED and writes: its first "
    "statement must see what other runners have committed",
    "Leave that out; LOCK TABLE keeps what the file reads from changing meanwhile.",
)
_LATER = (
    "acts from the next session on: nothing behind it in this run sees it",
    "Name the schemas in what follows, or SET search_path there.",
)
#: For what `pg_dump --create` writes.
WITHOUT_CREATE = (
    "A dump: make it again, without --create. Else remove it: all of a run is in one database."
)
_REFUSALS = {
    StatementKind.TRANSACTION_CONTROL: (
        "would end or begin a transaction",
        "Remove it: the whole file already runs in one transaction. What must be committed before "
        "the rest of it, such as a new value of an enum, goes into a file of its own.",
    ),
    StatementKind.TRANSACTION_MODE: OTHER_MODE,
    StatementKind.NON_TRANSACTIONAL: (
        "cannot run inside a transaction",
        "Move it to a file of its own that begins with the line `-- migrator: no-transaction`.",
    ),
    StatementKind.REFUSED_COPY: (
        "reads binary rows, which a text file cannot hold",
        "Write the rows as text or CSV.",
    ),
    StatementKind.REFUSED_SETTING: (
        "would change how the text after it is read",
        "Remove it: files are UTF-8 and their strings are standard-conforming.",
    ),
}


def _refusal(statement: Statement) -> tuple[str, str]:
    problem, remedy = _REFUSALS[statement.kind]
    if statement.words in {"CREATE DATABASE", "DROP DATABASE"}:
        return problem, f"A dump: make it again, without --create. Else m{remedy[1:]}"
    if statement.words == _COPY_OUT:
        return "has no client that would receive its rows", "Remove it."
    return problem, remedy


_PART = rf"""'[^']*'|"[^"]*"|{LETTER_DIGIT}{LETTER_DIGIT_DOLLAR}*|\S"""


def _looks(part: str) -> str:
    """A word in capitals, what is quoted without its blanks, a sign as it is."""
    if part[0] in "'\"":
        return part[0] + re.sub(r"\W", "", part).upper() + part[0]
    return upper(part)
