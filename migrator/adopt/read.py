"""Reads what other tools left: where their table lies, and its rows."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from migrator.adopt.message import (
    SAME_CLOCK,
    asked_of,
    digest_query,
    foreign_holder_query,
    rows_query,
)
from migrator.adopt.readings import Row
from migrator.adopt.tools import Tracker
from migrator.adopt.whose_rules import ForeignTable, choose_spot, choose_tool, nothing_left
from migrator.errors import AccessError
from migrator.history.distrust import UNTRUSTED, Distrust, explain
from migrator.history.fence import DECLARE, Access
from migrator.history.other_tables import look_for_tables, look_limits
from migrator.history.place import Place, marker
from migrator.history.questions import question
from migrator.postgres.quoting import do, first, literal
from migrator.postgres.session import ServerError, Session


def find_spot(
    session: Session,
    place: Place,
    tracker: Tracker,
    wanted: tuple[str, str] | None,
    lock_timeout_ms: int,
) -> ForeignTable:
    """Where the tool's table lies, in one round trip.

    Raises ConfigError when it is not there or looks otherwise, AccessError for a role that may not
    read it or does not see all its rows, and ServerError.
    """
    name = wanted[1] if wanted else tracker.table
    found = look_for_tables(session, place, lock_timeout_ms, name)
    spot = choose_spot(tracker, found, wanted, place.schema)
    _check_readable(spot, found)
    return spot


def find_history(
    session: Session, place: Place, trackers: Sequence[Tracker], lock_timeout_ms: int
) -> tuple[Tracker, ForeignTable] | None:
    """Which of these tools has a history here, and where; None in a database without tables.

    Raises ConfigError where that cannot be said, else as `find_spot`.
    """
    names = {tracker.table for tracker in trackers}
    found = look_for_tables(session, place, lock_timeout_ms, *sorted(names))
    chosen = choose_tool(trackers, found, place.schema)
    if chosen is None:
        schemas = ", ".join(map(literal, dict.fromkeys([*found["path"], "public"])))
        query = MADE.format(schemas=schemas, ours=literal(place.schema))
        limits = look_limits(lock_timeout_ms)
        message = first(marker(place, "looks whether the database is new"), *limits, query)
        nothing_left(trackers, session.send(message)[0][0])
        return None
    _check_readable(chosen[1], found)
    return chosen


def _check_readable(spot: ForeignTable, found: dict[str, Any]) -> None:
    where = spot.schema, spot.table
    table = next(t for t in found["tables"] if (t["schema"], t["table"]) == where)
    if not table["reads"] or table["hidden"]:
        what = "does not see all rows of" if table["reads"] else "may not read"
        raise AccessError(
            f"the role {found['role']} {what} {spot}, which belongs to {table['owner']}",
            remedy="Run as the owner of that table, if it is what you mean.",
        )


#: A table that is neither of our history nor of an extension.
MADE = """SELECT min(n.nspname || '.' || c.relname)
  FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
 WHERE c.relkind IN ('r', 'p') AND n.nspname IN ({schemas})
   AND (n.nspname <> {ours} OR c.relname !~ '^schema_migrations(_log|_cursor)?$')
   AND NOT EXISTS (SELECT FROM pg_depend AS d
                    WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid
                      AND d.deptype = 'e')"""


def read_rows(
    session: Session, place: Place, spot: ForeignTable, lock_timeout_ms: int
) -> tuple[list[Row], str, Distrust]:
    """The rows of that table, their digest for the guard of the flight, and who may forge them.

    Raises AccessError when code of others could run, and ServerError.
    """
    asks = question([spot.place], place.server_version, Access.READ)
    query = f"SELECT ({rows_query(spot)}), ({digest_query(spot)}), ({asks})"
    message = first(
        marker(place, "reads the history of another tool"),
        *look_limits(lock_timeout_ms),
        SAME_CLOCK,
        do(asked_of(spot, place), DECLARE),
        query,
    )
    try:
        text, digest, doubts = session.send(message)[0]
    except ServerError as error:
        if error.refusal.sqlstate == UNTRUSTED:
            raise explain(error.refusal.detail) from error
        raise
    rows: list[Row] = json.loads(text)
    return rows, digest, Distrust.of(doubts)


def read_foreign_holder(
    session: Session, place: Place, tracker: Tracker, spot: ForeignTable, lock_timeout_ms: int
) -> Any:
    """Who holds the other tool's lock, as `as_holder` takes it; None where nobody does."""
    asks = f"SELECT ({foreign_holder_query(tracker, spot)})"
    what = marker(place, "looks whether another tool is at work")
    return session.send(first(what, *look_limits(lock_timeout_ms), asks))[0][0]
