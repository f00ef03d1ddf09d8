"""What the history keeps for the way back: undo texts, and what became of an undo."""

from __future__ import annotations

from migrator.history.fence import DECLARE, Access, Owners
from migrator.history.guard import looking
from migrator.history.place import Place, marker
from migrator.history.questions import asked
from migrator.plan.progress import ROLLED_BACK
from migrator.plan.undo import Kept
from migrator.postgres.quoting import do, first, literal
from migrator.postgres.session import Session

#: A table that an older job left may have no column for the undo: hence to_jsonb; and rows of
#: unknown time, which count as the oldest.
READ_KEPT = """SELECT version::text, dense_rank() OVER (ORDER BY applied_at NULLS FIRST)::int,
       to_jsonb(h) ->> 'rollback_sql'
  FROM {history} AS h"""
FIND_UNDO = """SELECT EXISTS (SELECT FROM {history} WHERE version = {version}), (
  SELECT (detail ->> 'execution_time_ms')::int FROM {log}
   WHERE run_id = {run_id} AND version = {version} AND event = {event}
   ORDER BY id DESC LIMIT 1)"""


def read_kept(session: Session, place: Place, lock_timeout_ms: int) -> dict[str, Kept]:
    """The undo and the place in the order of application, by version.

    The table is there and this role sees all its rows: `read_history` has seen to that.
    """
    check = asked([place.tables[0]], place.server_version, Access.READ, Owners.ANY)
    query = READ_KEPT.format(history=place.history)
    limits = f"SET LOCAL lock_timeout = {lock_timeout_ms}"
    text = first(marker(place, "reads its tables"), limits, do(check, DECLARE), query)
    return {version: Kept(rank, sql) for version, rank, sql in session.send(text)}


def find_undo(session: Session, place: Place, version: str) -> tuple[str | None, int] | None:
    """The run that has undone `version`, "" for another than ours; looked up under the lock.

    None when the version is still in the history. Raises ServerError with HELD as `find_run`.
    """
    find = FIND_UNDO.format(
        history=place.history,
        log=place.log,
        version=literal(version),
        run_id=literal(place.run_id),
        event=literal(ROLLED_BACK),
    )
    remains, spent = session.send(looking(place, version, find))[0]
    if remains:
        return None
    return (place.run_id, spent) if spent is not None else ("", 0)
