"""The Supabase CLI's history kept in step, so that `supabase migration list` agrees with ours."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from itertools import pairwise

from migrator.history.fence import Table, Write
from migrator.postgres.quoting import literal
from migrator.sql.parts import GROUP_CHARS
from migrator.sql.scanner import scan
from migrator.sql.statements import Data, Statement

TABLE = Table("supabase_migrations", "schema_migrations")
#: Of its columns those that are written, and by which it is found again; early CLIs had the first.
MIRRORED_COLUMNS = ("version", "name", "statements")
DELETE_MIRRORED = "DELETE FROM {table} WHERE version = {version}"
_BLANKS = " \t\n\r\f\v"


def mirrored(version: str, pieces: Iterable[str], columns: Collection[str]) -> Write:
    """The statement that records a migration there as well, in the `columns` that the table has.

    Run again it changes nothing but those columns. A text over GROUP_CHARS is left out, as it
    would double the message, and one with the rows of a COPY, which the CLI cannot run; it
    compares versions only.
    """
    digits, _, name = version.partition("_")
    values = {"version": literal(digits), "name": literal(name)}
    text = _short(pieces)
    found = None if text is None else split(text)
    if found is not None:
        values["statements"] = _array(found)
    written = [column for column in MIRRORED_COLUMNS if column in columns and column in values]
    changes = [f"{name} = EXCLUDED.{name}" for name in written if name != "version"]
    text = (
        f"INSERT INTO {TABLE.quoted} ({', '.join(written)})\n"
        f"VALUES ({', '.join(values[name] for name in written)})\n"
        f"ON CONFLICT (version) DO {'UPDATE SET ' + ', '.join(changes) if changes else 'NOTHING'}"
    )
    return Write(text, 1 if changes else None)


def forgotten(version: str) -> Write:
    """The statement that takes a migration out there as well."""
    digits = literal(version.partition("_")[0])
    return Write(DELETE_MIRRORED.format(table=TABLE.quoted, version=digits), None)


def split(text: str) -> tuple[str, ...] | None:
    """The text as the CLI keeps it (2.117): a comment goes with the statement that follows it.

    What is left behind the last semicolon is a part of its own. None for a text with rows of a
    COPY.
    """
    found = list(scan((text,)))
    if any(isinstance(one, Data) for one in found):
        return None
    statements = [one for one in found if isinstance(one, Statement)]
    ends = [0, *(_terminated(text, statement.end) for statement in statements), len(text)]
    pieces = (text[a:b].lstrip(";" + _BLANKS).rstrip(_BLANKS) for a, b in pairwise(ends))
    return tuple(part for part in pieces if part)


def _short(pieces: Iterable[str]) -> str | None:
    """The whole text, unless it is too long."""
    text = ""
    for piece in pieces:
        text += piece
        if len(text) > GROUP_CHARS:
            return None
    return text


def _terminated(text: str, end: int) -> int:
    """Where the semicolon is that ends the statement; comments may come before it."""
    marks = re.compile(r"--[^\n]*|/\*.*?\*/|;", re.DOTALL).finditer(text, end)
    return next((mark.start() for mark in marks if mark.group() == ";"), len(text))


def _array(values: Sequence[str]) -> str:
    return "ARRAY[" + ", ".join(map(literal, values)) + "]::text[]"
