"""Reads what other tools left: where their table lies, and its rows."""

from __future__ import annotations

import json

from migrator.adopt.rules import (
    SAME_CLOCK,
    ForeignTable,
    asked_of,
    choose_spot,
    digest_query,
    rows_query,
)
from migrator.adopt.tools import Row, Tracker
from migrator.errors import AccessError
from migrator.history.distrust import UNTRUSTED, Distrust, explain
from migrator.history.fence import DECLARE, Access
from migrator.history.other_tables import look_for_tables, look_limits
from migrator.history.place import Place, marker
from migrator.history.questions import question
from migrator.postgres.quoting import do, first
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
    found = look_for_tables(session, place, wanted[1] if wanted else tracker.table, lock_timeout_ms)
    spot = choose_spot(tracker, found, wanted, place.schema)
    table = next(table for table in found["tables"] if table["schema"] == spot.schema)
    if not table["reads"] or table["hidden"]:
        what = "does not see all rows of" if table["reads"] else "may not read"
        raise AccessError(
            f"the role {found['role']} {what} {spot}, which belongs to {table['owner']}",
            remedy="Run as the owner of that table, if it is what you mean.",
        )
    return spot


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
