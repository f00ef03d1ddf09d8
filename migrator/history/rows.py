"""The rows of the history and of its log: each statement of ours that writes one, once."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from migrator.history.fence import Write
from migrator.history.place import Place
from migrator.plan.progress import FORGOTTEN, REPAIRED, ROLLED_BACK
from migrator.postgres.quoting import literal

if TYPE_CHECKING:
    from migrator.model import Kind, Migration
    from migrator.plan.progress import Answer
    from migrator.plan.undo import Origin
    from migrator.sql.script import Script

#: In the block that records a flight: when the file began, and the ms that it took since.
BEGAN_AT, MS = "migrator_began", "migrator_ms"
NOW = "CURRENT_TIMESTAMP"
RECORD = """INSERT INTO {history}
    (version, applied_at, execution_time_ms, checksum, rollback_sql, kind, run_id, floor)
VALUES ({version}, {began}, {spent}, {checksum}, {rollback_sql}, 'versioned', {run_id}, {floor})"""
RECORD_NOT_RUN = """INSERT INTO {history} (version, checksum, rollback_sql, kind, run_id, floor)
VALUES {rows}"""
#: No ON CONFLICT: a table that an older job left may lack the key. The lock replaces it.
RECORD_REPEATABLE = """IF EXISTS (SELECT FROM {history} WHERE version = {version}) THEN
    UPDATE {history}
       SET applied_at = {began}, execution_time_ms = {spent}, checksum = {checksum},
           kind = 'repeatable', run_id = {run_id}
     WHERE version = {version};
  ELSE
    INSERT INTO {history} (version, applied_at, execution_time_ms, checksum, kind, run_id)
    VALUES ({version}, {began}, {spent}, {checksum}, 'repeatable', {run_id});
  END IF"""
RECORD_LOG = """INSERT INTO {log} (run_id, version, event, runner, detail)
VALUES ({run_id}, {version}, {event}, {runner}, {detail})"""


def applied(
    script: Script, place: Place, spent_ms: str = MS, left: int | str | None = None
) -> tuple[Write, ...]:
    """That `script` has run: its row of the history, and the log's line.

    `spent_ms` is an SQL expression; so many are `left` pending, as far as is known: a
    number, or an expression.
    """
    migration = script.migration
    version = literal(migration.version)
    checksum = literal(migration.checksum)
    allowed = ""
    if script.let_pass:
        allowed = f", 'allowed', {literal(json.dumps(list(script.let_pass)))}::jsonb"
    pending = "" if left is None else f", 'pending', {left}"
    detail = (
        f"jsonb_build_object('execution_time_ms', {spent_ms}, 'checksum', {checksum}, "
        f"'format', {literal(migration.format)}{allowed}{pending}){held_up(script)}"
    )
    row = (RECORD_REPEATABLE if migration.repeatable else RECORD).format(
        history=place.history,
        version=version,
        began=BEGAN_AT if spent_ms == MS else NOW,
        spent=spent_ms,
        checksum=checksum,
        rollback_sql=literal(migration.rollback_sql),
        run_id=literal(place.run_id),
        floor=script.floor,
    )
    return Write(row, history=1), log_row(place, migration.version, "applied", detail)


def held_up(script: Script) -> str:
    """What is added to the detail of its line where something was in the way."""
    return f" || {literal(json.dumps(script.delay))}::jsonb" if script.delay else ""


def log_row(place: Place, version: str | None, event: str, detail: dict[str, Any] | str) -> Write:
    """The INSERT of a line of schema_migrations_log; a str `detail` is an SQL expression."""
    written = literal(json.dumps(detail)) if isinstance(detail, dict) else detail
    text = RECORD_LOG.format(
        log=place.log,
        run_id=literal(place.run_id),
        version=literal(version),
        event=literal(event),
        runner=literal(place.runner),
        detail=written,
    )
    return Write(text, log=1)


DELETE = "DELETE FROM {history} WHERE version = {version}"
RENAME = "UPDATE {history} SET version = {new} WHERE version = {version}"
ACCEPT = "UPDATE {history} SET checksum = {checksum}, floor = {floor} WHERE version = {version}"


def record(place: Place, migration: Migration, spent_ms: str, *, floor: bool) -> Write:
    """The INSERT of the history's row; `spent_ms` is an SQL expression."""
    text = RECORD.format(
        history=place.history,
        version=literal(migration.version),
        began=NOW,
        spent=spent_ms,
        checksum=literal(migration.checksum),
        rollback_sql=literal(migration.rollback_sql),
        run_id=literal(place.run_id),
        floor=floor,
    )
    return Write(text, history=1)


def not_run(place: Place, migrations: Sequence[Migration], kind: Kind) -> Write:
    """The INSERT of rows for what this job has not run itself: it is declared, or adopted."""
    from migrator.sql.script import sets_floor

    rows = (
        f"({literal(m.version)}, {literal(m.checksum)}, {literal(m.rollback_sql)}, "
        f"{literal(kind.value)}, {literal(place.run_id)}, {sets_floor(m)})"
        for m in migrations
    )
    text = RECORD_NOT_RUN.format(history=place.history, rows=",\n  ".join(rows))
    return Write(text, len(migrations), history=len(migrations))


def answer(
    place: Place, version: str, answered: Answer, reason: str, assumed: str, **more: str | None
) -> Write:
    """The line that records what a person said to `repair`, and `more` that a machine may read."""
    detail = {"answer": answered.value, "reason": reason, "assumed": assumed, **more}
    return log_row(place, version, REPAIRED, detail)


def forget(place: Place, version: str) -> Write:
    """Take a version out of the history; the log keeps all that happened."""
    return Write(DELETE.format(history=place.history, version=literal(version)), history=1)


def accept(place: Place, migration: Migration, *, floor: bool) -> Write:
    """Record of an applied migration the text that its file has now."""
    text = ACCEPT.format(
        history=place.history,
        version=literal(migration.version),
        checksum=literal(migration.checksum),
        floor=floor,
    )
    return Write(text, history=1)


def rename_row(place: Place, version: str, new: str) -> Write:
    """Move a row of the history to the version that its file has now."""
    text = RENAME.format(history=place.history, version=literal(version), new=literal(new))
    return Write(text, history=1)


#: The row goes, and its facts into the log.
DELETE_ROW = """WITH gone AS (DELETE FROM {history} WHERE version = {version} RETURNING *)
INSERT INTO {log} (run_id, version, event, runner, detail)
SELECT {run_id}, version, {event}, {runner}, jsonb_build_object(
    'execution_time_ms', {spent}, 'from', {origin}, 'checksum', checksum, 'kind', kind,
    'applied_at', applied_at, 'applied_by', gone.run_id){held_up}
  FROM gone"""


#: The rows of repeatables that are pending again, and a line of the log for each.
FORGET_REPEATABLES = """WITH gone AS (
    DELETE FROM {history} WHERE version IN ({versions}) RETURNING *)
INSERT INTO {log} (run_id, version, event, runner, detail)
SELECT {run_id}, version, {event}, {runner}, jsonb_build_object(
    'undone', {undone}, 'checksum', checksum, 'kind', kind,
    'applied_at', applied_at, 'applied_by', gone.run_id)
  FROM gone"""


def undone(
    script: Script, place: Place, origin: Origin, spent_ms: str = MS, again: Sequence[str] = ()
) -> tuple[Write, ...]:
    """That the undo `script` has run: its row goes, the log gets a line.

    The repeatables of `again` are forgotten with it. `spent_ms` is an SQL expression.
    """
    words = {
        "history": place.history,
        "log": place.log,
        "version": literal(script.migration.version),
        "run_id": literal(place.run_id),
        "event": literal(ROLLED_BACK),
        "runner": literal(place.runner),
        "spent": spent_ms,
        "origin": literal(origin.value),
        "held_up": held_up(script),
    }
    forgotten = forget_repeatables(place, script.migration.version, again)
    return (Write(DELETE_ROW.format(**words), history=1, log=1), *forgotten)


def forget_repeatables(place: Place, undone: str, again: Sequence[str]) -> tuple[Write, ...]:
    """Have the repeatables of `again` run again, as `undone` may have taken anything along."""
    if not again:
        return ()
    text = FORGET_REPEATABLES.format(
        history=place.history,
        log=place.log,
        versions=", ".join(map(literal, again)),
        run_id=literal(place.run_id),
        event=literal(FORGOTTEN),
        runner=literal(place.runner),
        undone=literal(undone),
    )
    return (Write(text, rows=len(again), history=len(again), log=len(again)),)
