"""The journal of no-transaction migrations: what is written before and after each statement.

Its lines are rows of schema_migrations_log; docs/design.md section 5. A statement that cannot run
in a transaction has an intent before it and an outcome after it; any other one commits together
with its outcome. Counts of statements begin at 1, as people count.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from migrator.history.fence import DECLARE, Access, Write
from migrator.history.guard import (
    SPENT,
    head_check,
    head_query,
    our_lock,
    present,
    still_locked,
    try_lock,
)
from migrator.history.place import Limits, Place, as_role, marker, settings
from migrator.history.proof import TAMPERED, keep, remains, untouched, writing
from migrator.history.questions import asked
from migrator.history.rows import MS, log_row
from migrator.plan.progress import (
    EVENTS,
    FAILED,
    INTENT,
    OUTCOME,
    ROLLBACK_FAILED,
    How,
    Intent,
    Way,
)
from migrator.postgres.quoting import CLEAN, HERE, UTF8, do, first, identifier, literal

if TYPE_CHECKING:
    from migrator.sql.effects import Effect


def lines_query(log: str, which: str) -> str:
    """All lines of the journal that fit `which`, oldest first, as one JSON array."""
    events = ", ".join(literal(event) for event in EVENTS)
    return LINES.format(log=log, events=events, which=which)


def statement_marker(run_id: str, version: str, number: int) -> str:
    """What a statement begins with, so that an orphan can be known by it."""
    return f"/* migrator:{run_id}:{version}:{number} */ "


def traced(traceparent: str | None) -> str:
    """A comment behind that marker, which another run must find as it is."""
    return "" if traceparent is None else f"/* traceparent={traceparent} */ "


def sha256(text: str) -> str:
    """Of a statement's text, 64 hex digits."""
    return hashlib.sha256(text.encode()).hexdigest()


LINES = """SELECT coalesce(jsonb_agg(
    jsonb_build_array(l.version, l.event, l.run_id, l.detail) ORDER BY l.id), '[]')
  FROM {log} AS l WHERE l.event IN ({events}) AND {which}"""
#: Whatever role and search_path the file has set: for our own statements, until their message
#: or transaction ends.
AS_OURSELVES = (
    "SET LOCAL SESSION AUTHORIZATION DEFAULT",
    "SET LOCAL role TO DEFAULT",  # as RESET ROLE: ALTER ROLE … SET role may have given another
    UTF8,
    HERE,
)
#: From the first statement on; before it a large file is taken apart, which may last. Nothing else
#: ends a frozen runner's hold of the lock: its kernel still answers keepalives.
LIVELY = "SET idle_session_timeout = 60000"
DROP_LOCK = """SELECT CASE WHEN held.pid = pg_backend_pid() THEN pg_advisory_unlock_all()::text
            WHEN activity.state = 'idle' THEN pg_terminate_backend(held.pid)::text END
  FROM pg_locks AS held LEFT JOIN pg_stat_activity AS activity ON activity.pid = held.pid
 WHERE {ours} AND held.pid = {pid}"""
NOT_LOCKED = "this session does not hold the lock that it took"
#: What a statement that goes alone may have done to the log is seen once it is done.
INTENT_REMAINS = """  IF NOT EXISTS (SELECT FROM {log} AS l
                  WHERE l.version = {version} AND l.event = 'intent' AND l.run_id = {run_id}) THEN
    RAISE EXCEPTION USING ERRCODE = '{tampered}', MESSAGE = 'rows of the log were deleted';
  END IF;
"""
#: The same of the history, whose head no statement of a file may change.
HEAD_REMAINS = """  IF ({query}) <> '{head}' THEN
    RAISE EXCEPTION USING ERRCODE = '{tampered}', MESSAGE = 'rows were changed';
  END IF;
"""
#: The settings that the file has made stay in force for its next statement.
KEPT = """  PERFORM pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);
{keep}  PERFORM pg_catalog.set_config('search_path', migrator_path, true);
"""
KEPT_DECLARE = (
    f"{DECLARE}  migrator_path pg_catalog.text := pg_catalog.current_setting('search_path');\n"
)
SPENT_MS = "SELECT nullif(current_setting('migrator.ms', true), '')::bigint"
PATIENCE = """SELECT pg_catalog.set_config('lock_timeout', '{instead}', false)
  FROM pg_catalog.pg_settings
 WHERE name OPERATOR(pg_catalog.=) 'lock_timeout' AND setting OPERATOR(pg_catalog.=) '{before}'"""
SINCE_INTENT = """(SELECT (extract(epoch FROM clock_timestamp() - max(l.at)) * 1000)::bigint
  FROM {log} AS l WHERE l.version = {version} AND l.event = 'intent')"""


def take_lock(place: Place, limits: Limits) -> str:
    """Take the runners' lock for the session, or be refused with HELD; the backend's pid.

    It is the session's first message. What holds for the whole session goes along: without
    keepalives of ours the server would keep the lock of a client that is gone for as long as its
    own let it.
    """
    lock = do(try_lock(place, "pg_try_advisory_lock"))
    begin = f"{marker(place, 'takes its lock')} {CLEAN[0]}"
    settled = (*CLEAN[1:], *_lasting(place, limits))
    return ";\n".join((begin, *settled, _message([lock, "SELECT pg_backend_pid()"])))


def drop_lock(place: Place, pid: int) -> str:
    """Let go of our lock on a backend that a pooler took away from us, or end that, if idle.

    No row comes back once it holds the lock no more.
    """
    query = DROP_LOCK.format(ours=our_lock(place.schema), pid=pid)
    return first(marker(place, "frees its lock"), query)


def read_progress(place: Place, version: str, seen: str) -> str:
    """Refused with MOVED when the history's head is not `seen`; else the version's lines."""
    checks = asked(place.tables, place.server_version, Access.WRITE) + head_check(place, seen)
    check = do(_still_locked(place) + present(place) + checks, DECLARE)
    return _message([check, lines_query(place.log, f"l.version = {literal(version)}")])


def intend(place: Place, version: str, intent: Intent, way: Way = Way.FORTH) -> str:
    """Record what is about to be done; refused with ESCAPED when the lock is not ours."""
    detail = {
        "statement": intent.number,
        "what": intent.what,
        "line": intent.line,
        "sha256": intent.sha256,
        "effect": intent.effect,
        "before": intent.before,
        **_said(way),
    }
    return _recording(place, [log_row(place, version, INTENT, detail)])


def conclude(
    place: Place,
    version: str,
    number: int,
    digest: str,
    how: How,
    seen: str,
    way: Way = Way.FORTH,
) -> str:
    """Record that a statement is done; the server's ms since its intent come back, if it ran.

    Refused with TAMPERED when the history's head is not `seen`, or the intent is gone.
    """
    detail = {"statement": number, "sha256": digest, "how": how.value, **_said(way)}
    words = {"log": place.log, "version": literal(version), "tampered": TAMPERED}
    checks = HEAD_REMAINS.format(query=head_query(place.history), head=seen, tampered=TAMPERED)
    spent = "NULL"
    if how is How.RAN:
        checks += INTENT_REMAINS.format(**words, run_id=literal(place.run_id))
        spent = SINCE_INTENT.format(**words)
    return _recording(place, [_outcome(place, version, detail)], checks + _spent(spent), SPENT_MS)


def fail(
    place: Place, version: str, number: int, detail: dict[str, Any], way: Way = Way.FORTH
) -> str:
    """Record that a statement failed; `undone` in `detail` says that nothing of it is left.

    Nor of an interrupted one of its number.
    """
    event = FAILED if way is Way.FORTH else ROLLBACK_FAILED
    line = log_row(place, version, event, {"statement": number, **detail})
    return _message([do(_asked(place) + writing(*place.tables, [line]), DECLARE)])


def atomic(
    place: Place,
    version: str,
    number: int,
    digest: str,
    seen: str,
    way: Way = Way.FORTH,
    run_as: str | None = None,
) -> tuple[list[str], str]:
    """What goes before and after a statement that is committed together with its outcome.

    Without BEGIN the whole message is one transaction; the server's ms come back. Refused with
    TAMPERED when the statement changes our tables, whose head is `seen`.
    """
    detail = {"statement": number, "sha256": digest, "how": How.RAN.value, **_said(way)}
    kept = do(KEPT.format(keep=keep(*place.tables, place.run_id, count=False)), KEPT_DECLARE)
    unlike = f"({head_query(place.history)}) <> {literal(seen)}"
    checks = untouched(*place.tables, place.run_id, unlike)
    checks += _spent(SPENT.format(since="transaction_timestamp()"))
    after = _recording(place, [_outcome(place, version, detail)], checks, SPENT_MS)
    mark = statement_marker(place.run_id, version, number)
    return (
        [f"{mark}{traced(place.traceparent)}{kept}", *as_role(run_as)],
        f"\n;\nSET CONSTRAINTS ALL IMMEDIATE;\n{after}",
    )


def take_role(place: Place, role: str) -> str:
    """Let the session run what follows as `role`; refused with ESCAPED when the lock is not ours.

    For a statement that goes alone: until `drop_role`.
    """
    return f"{_message([do(_still_locked(place), DECLARE)])};\nSET ROLE {identifier(role)}"


DROP_ROLE = "RESET ROLE"


def drop_index(name: str) -> str:
    """Drop what an interrupted build left; `name` as Sight has it."""
    return f"DROP INDEX CONCURRENTLY IF EXISTS {name}"


def finalize(effect: Effect) -> str:
    """End a DETACH PARTITION CONCURRENTLY that was interrupted."""
    on, name = (".".join(map(identifier, parts)) for parts in (effect.on, effect.name))
    return f"ALTER TABLE {on} DETACH PARTITION {name} FINALIZE"


def finish(place: Place, writes: Sequence[Write], seen: str) -> str:
    """What is recorded of a file, and what goes with it, once its last statement is done."""
    return _recording(place, writes, head_check(place, seen))


def patience(lock_timeout_ms: int, instead_ms: int) -> str:
    """Let the session wait longer for locks, unless the file has set a limit of its own."""
    return PATIENCE.format(before=lock_timeout_ms, instead=instead_ms)


def _lasting(place: Place, limits: Limits) -> list[str]:
    """What is SET for the whole session."""
    values = [*settings(place, limits), "idle_session_timeout = 0"]
    if limits.search_path:
        values.append(f"search_path = {', '.join(map(identifier, limits.search_path))}")
    return [f"SET {value}" for value in values]


def _said(way: Way) -> dict[str, str]:
    """What the detail of a line says of its way."""
    return {} if way is Way.FORTH else {"way": way.value}


def _still_locked(place: Place) -> str:
    return still_locked(place, NOT_LOCKED)


def _asked(place: Place) -> str:
    return remains(*place.tables) + asked(place.tables, place.server_version, Access.WRITE)


def _spent(expression: str) -> str:
    return f"  {MS} := {expression};\n  PERFORM set_config('migrator.ms', {MS}::text, true);\n"


def _outcome(place: Place, version: str, detail: dict[str, Any]) -> Write:
    """The INSERT of an outcome, with the ms that the block has."""
    known = literal(json.dumps(detail))
    written = f"{known}::jsonb || jsonb_build_object('execution_time_ms', {MS})"
    return log_row(place, version, OUTCOME, written)


def _recording(place: Place, writes: Sequence[Write], checks: str = "", *queries: str) -> str:
    """A message that writes when the lock is ours, and our tables run no code of others."""
    block = _still_locked(place) + _asked(place) + checks + writing(*place.tables, writes)
    return _message([do(block, DECLARE), *queries])


def _message(statements: Sequence[str]) -> str:
    """One implicit transaction of our own statements; the last one's rows come back."""
    return ";\n".join((*AS_OURSELVES, *statements))
