"""What others ask of files in batches: how far they have come, and the bounds of all rows."""

from __future__ import annotations

from collections.abc import Collection
from typing import cast

from migrator.apply.run import Run
from migrator.batches.cursor import ROWS, Cursor, cursor_table
from migrator.batches.facts_rules import check_walked
from migrator.batches.message import Bounds, bounds_set, find_bounds, find_walked, read_cursors
from migrator.batches.pace_rules import Advance
from migrator.database.database import Link
from migrator.database.tries import ask
from migrator.history.place import Limits, Place
from migrator.postgres.session import ServerError, Session
from migrator.sql.batched import MOST_ROWS, Batches
from migrator.sql.script import Script


def advances(run: Run, versions: Collection[str]) -> dict[str, Advance]:
    """How far each of these has come; nothing of it to a role that may not read it."""
    limits = Limits(run.config.lock_timeout)

    def look(session: Session, place: Place) -> list[Cursor]:
        query = ROWS.format(cursor=cursor_table(place).quoted)
        try:
            return [Cursor(*row) for row in session.send(read_cursors(place, query, limits))]
        except ServerError:
            session.tidy()
            return []

    found = ask(run.link, look)
    return {
        row.version: Advance(row.rows, row.batches, row.total)
        for row in found
        if row.version in versions
    }


def whole_table(link: Link, script: Script, limits: Limits) -> list[str]:
    """Statements by which the file runs once, for all rows, as on a scratch database."""
    session = link.connect()
    place, batches = link.place_of(session), cast("Batches", script.batches)
    [(*facts, _)] = session.send(find_walked(place, batches, limits))
    walked = check_walked(script, batches, *facts)
    [(*ends, more)] = session.send(find_bounds(place, walked, None, MOST_ROWS, limits))
    return bounds_set(Bounds.of(walked, *ends, more=more))
