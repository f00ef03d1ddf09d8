"""`-- migrator: batches TABLE by KEY [size N]`, and what a file may hold under that line."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from migrator.postgres.quoting import identifier
from migrator.sql.effects import names, strings
from migrator.sql.parts import Layout, texts
from migrator.sql.statements import Problem, StatementKind

FROM, UPTO = "migrator.from", "migrator.upto"  #: the settings that a batch reads its bounds from
MOST_ROWS = 1_000_000  #: of one batch
WRITES = {"update", "delete", "insert"}
_NAME = r"""(?:"(?:[^"]|"")+"|[^\W\d][\w$]*)"""
_VALUE = re.compile(
    rf"({_NAME}(?:\s*\.\s*{_NAME})?)\s+by\s+({_NAME})(?:\s+size\s+([0-9]{{1,9}}))?", re.IGNORECASE
)

BATCHES_TAKE = "the directive batches needs a table and the column to walk it by"
BATCHES_REMEDY = "Write `batches TABLE by KEY` or `batches TABLE by KEY size ROWS`."
OF_ALONE = (
    "batches and no-transaction exclude each other: each batch is a transaction",
    "Remove one of the two lines.",
)
WHAT_BATCHES = (
    "a file in batches holds one statement: UPDATE, DELETE or INSERT ... SELECT",
    "Put everything else into files of its own, before or after this one.",
)
NO_BOUNDS = (
    "the statement does not name both bounds of a batch, so each batch would change all rows",
    "Add to its WHERE: KEY BETWEEN current_setting('migrator.from')::TYPE AND "
    "current_setting('migrator.upto')::TYPE.",
)


@dataclass(frozen=True, slots=True)
class Batches:
    """What the line says."""

    line: int  #: 1-based
    table: tuple[str, ...]  #: with its schema, where it gives one; as the server folds names
    key: str  #: the column
    size: int | None = None  #: rows of a batch; None: by the time that the last one took

    @property
    def quoted(self) -> str:
        """The table, as SQL."""
        return ".".join(map(identifier, self.table))


def read_batches(value: str, line: int) -> Batches | None:
    """TABLE by KEY [size N], or None."""
    found = _VALUE.fullmatch(value.strip())
    if not found:
        return None
    [table], [(key,)] = names(found[1]), names(found[2])
    size = int(found[3]) if found[3] else None
    if size is not None and not 1 <= size <= MOST_ROWS:
        return None
    return Batches(line, table, key, size)


def batch_problems(batches: Batches, layout: Layout, pieces: Iterable[str]) -> Iterator[Problem]:
    """Why the statement of a file cannot run in batches; BEGIN and COMMIT of its own aside."""
    found = [
        (statement, text)
        for statement, text in (texts(pieces) if layout.statements == 1 else ())
        if statement.kind is StatementKind.PLAIN
    ]
    if len(found) != 1:
        yield Problem(batches.line, *WHAT_BATCHES)
        return
    [(statement, text)] = found
    words = [name[0] for name in names(text) if len(name) == 1]
    first = words[0] if words else ""
    writes = first in WRITES or (first == "with" and bool(WRITES & set(words)))
    if not writes or (first == "insert" and "select" not in words):
        yield Problem(statement.line, *WHAT_BATCHES)
    elif not {FROM, UPTO} <= set(strings(text)):
        yield Problem(statement.line, *NO_BOUNDS)
