"""Which character of a file the encoding of the database lacks."""

from __future__ import annotations

import codecs
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from migrator.errors import SourceError
from migrator.model import Migration

#: Where Python calls an encoding otherwise than PostgreSQL does.
PYTHON_NAMES = {"WIN": "cp", "KOI8": "koi8-"}


class Strange(NamedTuple):
    """A character that the database cannot hold, and where it is."""

    file: str
    line: int
    column: int
    char: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


def find_strange(migration: Migration, encoding: str) -> Strange | None:
    """The first in the file, or else in its undo, which travels along; None where none is found."""
    for begin, name in PYTHON_NAMES.items():
        encoding = encoding.replace(begin, name)
    try:
        codecs.lookup(encoding)
    except LookupError:
        return None
    found = _first(migration.file, migration.pieces, encoding)
    return found or _first(migration.undo_file, (migration.rollback_sql or "",), encoding)


def refuse_encoding(files: Sequence[str], encoding: str | None) -> None:
    """Names with other letters than ASCII are compared, and sorted, as UTF-8 alone."""
    if encoding != "UTF8":
        raise SourceError(
            f"the database's encoding is {encoding}, and these names have letters that are not "
            f"ASCII: {', '.join(files)}",
            remedy="Rename them with a to z, or use a database whose encoding is UTF8.",
        )


def _first(file: str, pieces: Iterable[str], encoding: str) -> Strange | None:
    line, column = 1, 1
    for text in pieces:
        try:
            text.encode(encoding)
            end = len(text)
        except UnicodeEncodeError as error:
            end = error.start
        before = text[:end]
        column = end - before.rindex("\n") if "\n" in before else column + end
        line += before.count("\n")
        if end < len(text):
            return Strange(file, line, column, text[end])
    return None
