"""What reads another tool's history, and the one message that adopts it, as text."""

from __future__ import annotations

from collections.abc import Sequence

from migrator.adopt.rules import Adoption, Match
from migrator.adopt.tools import Tracker
from migrator.adopt.whose_rules import ForeignTable
from migrator.history.fence import DECLARE, Access, Owners, Table, Write
from migrator.history.guard import (
    HEAD_CHECK,
    HOLDER,
    IN_DATABASE,
    MOVED,
    OUR_LOCK,
    TRY_LOCK,
    opening,
    write,
)
from migrator.history.place import Limits, Place
from migrator.history.questions import asked
from migrator.history.rows import log_row, not_run
from migrator.model import Kind, Migration
from migrator.postgres.quoting import TAIL, do, identifier, literal

FOREIGN_HELD = (
    "MG004"  #: SQLSTATE of our own: the other tool holds its lock; DETAIL says which session
)


def rows_query(spot: ForeignTable) -> str:
    """All rows of the other tool's table as one JSON text, the same each time nothing changed."""
    parts = ", ".join(f"{literal(name)}, t.{identifier(name)}" for name in spot.columns)
    return FOREIGN_ROWS.format(parts=parts, table=spot.name)


def digest_query(spot: ForeignTable) -> str:
    """SHA-256 of that text, for the guard."""
    return DIGEST.format(rows=rows_query(spot))


def adopting(
    adoption: Adoption,
    tracker: Tracker,
    spot: ForeignTable,
    place: Place,
    limits: Limits,
    seen: tuple[str, str],
    also: Sequence[Write] = (),
    tables: Sequence[Table] = (),
) -> str:
    """The one message that writes `adoption.new`, when both histories are as they were `seen`.

    `seen` is the head of ours and the digest of the other's; `also` are more statements for the
    same transaction. The other tool's lock is tried, not waited for: FOREIGN_HELD.
    """
    head, digest = seen
    what = f"adopts the history of {tracker.name}"
    statements = opening(place, limits, what, head, tables=(*place.tables, *tables))
    if tracker.lock is not None:
        key = tracker.lock(spot.schema, spot.table, spot.database)
        statements.append(do(_try_lock(key)))
    if tracker.lock_table is not None:
        statements.append(do(_free(Table(spot.schema, tracker.lock_table), place), DECLARE))
    check = HEAD_CHECK.format(query=digest_query(spot), head=digest, moved=MOVED)
    statements += [SAME_CLOCK, do(asked_of(spot, place) + check, DECLARE)]
    writes = [
        row
        for match, migration in adoption.new
        for row in (not_run(place, [migration], Kind.ADOPTED), _log(match, migration, spot, place))
    ]
    statements += [write(place, (*writes, *also)), "COMMIT", *TAIL]
    return ";\n".join(statements)


def foreign_holder_query(tracker: Tracker, spot: ForeignTable) -> str:
    """Who holds the other tool's lock: no value where nobody does, or it has none."""
    if tracker.lock is None:
        return "NULL"
    return _holder(tracker.lock(spot.schema, spot.table, spot.database))


def asked_of(spot: ForeignTable, place: Place) -> str:
    """Whether code of others could run when the other tool's table is read; statements of a block.

    Its rows are another tool's, and who may forge them is not asked: they are proved otherwise.
    """
    return asked([spot.place], place.server_version, Access.READ, Owners.ANY)


#: Times become text, in the same way each time, and sort as text.
SAME_CLOCK = "SET LOCAL timezone = 'UTC';\nSET LOCAL bytea_output = 'hex'"
FOREIGN_ROWS = """SELECT coalesce(jsonb_agg(line ORDER BY line::text COLLATE "C"), '[]')::text
  FROM (SELECT jsonb_build_object({parts}) AS line FROM {table} AS t) AS lines"""
DIGEST = "SELECT encode(sha256(convert_to(({rows}), 'UTF8')), 'hex')"


def _log(match: Match, migration: Migration, spot: ForeignTable, place: Place) -> Write:
    entry = match.entry
    detail = {
        "from": spot.tool,
        "table": str(spot),
        "as": entry.key,
        "content": match.content.value,
        "evidence": str(entry.evidence) if entry.evidence else None,
        "applied_at": entry.at,
        "checksum": migration.checksum,
        "format": migration.format,
    }
    known = {name: value for name, value in detail.items() if value is not None}
    return log_row(place, migration.version, "adopted", known)


#: A lock that is a row: it cannot be taken while ours is held on its table.
FREE = """  IF to_regclass({name}) IS NOT NULL THEN
{asked}    IF has_table_privilege({name}, 'UPDATE') THEN
      LOCK TABLE {table} IN SHARE MODE;
    END IF;
    IF EXISTS (SELECT FROM {table} AS t WHERE t.locked) THEN
      RAISE EXCEPTION USING ERRCODE = '{held}', MESSAGE = 'the other tool is at work',
        DETAIL = (SELECT jsonb_build_object('who', min(t.lockedby)) FROM {table} AS t
                   WHERE t.locked)::text;
    END IF;
  END IF;
"""


def _free(table: Table, place: Place) -> str:
    """Statements of a block that raise FOREIGN_HELD while the row says that the tool is at work."""
    asks = asked([table], place.server_version, Access.READ, Owners.ANY)
    name = literal(table.quoted)
    return FREE.format(name=name, asked=asks, table=table.quoted, held=FOREIGN_HELD)


def _try_lock(key: int) -> str:
    return TRY_LOCK.format(
        take="pg_try_advisory_xact_lock",
        key=key,
        held=FOREIGN_HELD,
        message="the other tool is at work",
        holder=_holder(key),
    )


def _holder(key: int) -> str:
    high, low = divmod(key % 2**64, 2**32)
    lock = OUR_LOCK.format(high=high, low=low)
    return HOLDER.format(ours=f"{lock} AND {IN_DATABASE}")
