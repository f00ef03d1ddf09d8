"""How far each file in batches has come: the rows of the cursor's table, and what writes them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

from migrator.history.fence import Table, Write
from migrator.history.place import Place
from migrator.history.rows import MS, log_row
from migrator.plan.progress import BATCHING, Way
from migrator.postgres.quoting import literal

CURSOR_NAME = "schema_migrations_cursor"

MAKE = """CREATE TABLE {cursor} (
    version  varchar(255) PRIMARY KEY,
    checksum varchar(64) NOT NULL,
    last     pg_catalog.text NOT NULL,
    rows     bigint NOT NULL,
    total    bigint,
    batches  bigint NOT NULL,
    spent_ms bigint NOT NULL,
    run_id   pg_catalog.uuid NOT NULL,
    at       pg_catalog.timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp()
)"""
#: As `cursor_head` has it of rows.
CURSOR_HEAD = """SELECT encode(sha256(convert_to(coalesce(string_agg(
    version::text || E'\\t' || checksum::text || E'\\t' || last || E'\\t' || rows || E'\\t'
    || batches || E'\\n', '' ORDER BY version::text COLLATE "C"), ''), 'UTF8')), 'hex')
  FROM {cursor}"""
ROWS = """SELECT version::text, checksum::text, last, rows, total, batches, spent_ms, run_id::text
  FROM {cursor} ORDER BY version"""
BEGIN_CURSOR = """INSERT INTO {cursor}
    (version, checksum, last, rows, total, batches, spent_ms, run_id)
VALUES ({version}, {checksum}, {last}, {rows}, {total}, 1, {ms}, {run_id})"""
MOVE_CURSOR = """UPDATE {cursor}
   SET last = {last}, rows = {rows}, total = {total}, batches = batches + 1,
       spent_ms = spent_ms + {ms}, run_id = {run_id}, at = clock_timestamp()
 WHERE version = {version}"""
END_CURSOR = "DELETE FROM {cursor} WHERE version = {version}"


@dataclass(frozen=True, slots=True)
class Cursor:
    """One row: what is committed of a file that is not finished."""

    version: str
    checksum: str  #: of the text that began
    last: str  #: the key up to which all batches are committed
    rows: int  #: that they walked
    total: int | None  #: of the table, as its statistics have it
    batches: int
    spent_ms: int
    run_id: str  #: of the newest batch


def cursor_table(place: Place) -> Table:
    return Table(place.schema, CURSOR_NAME)


def cursor_head(rows: Iterable[Cursor]) -> str:
    """What CURSOR_HEAD gives for a table of these rows, in any order."""
    lines = sorted(
        (row.version.encode(), f"{row.checksum}\t{row.last}\t{row.rows}\t{row.batches}\n".encode())
        for row in rows
    )
    return hashlib.sha256(b"".join(b"%b\t%b" % line for line in lines)).hexdigest()


def moved(place: Place, before: Cursor | None, after: Cursor, way: Way) -> tuple[Write, ...]:
    """That a batch is done which is not the last; the first one begins the journal."""
    words = {
        "cursor": cursor_table(place).quoted,
        "version": literal(after.version),
        "checksum": literal(after.checksum),
        "last": literal(after.last),
        "rows": after.rows,
        "total": "NULL" if after.total is None else after.total,
        "ms": MS,
        "run_id": literal(place.run_id),
    }
    if before is not None:
        return (Write(MOVE_CURSOR.format(**words)),)
    detail = {"checksum": after.checksum}
    if way is not Way.FORTH:
        detail["way"] = way.value
    line = log_row(place, after.version, BATCHING, detail)
    return Write(BEGIN_CURSOR.format(**words)), line


def ended(place: Place, version: str, rows: int | None = 1) -> Write:
    """That nothing of a file is to be done any more, or all of it again."""
    text = END_CURSOR.format(cursor=cursor_table(place).quoted, version=literal(version))
    return Write(text, rows)
