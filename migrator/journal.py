"""The journal of no-transaction migrations: what is written before and after each statement.

Its lines are rows of schema_migrations_log; docs/design.md section 5. A statement that cannot run
in a transaction has an intent before it and an outcome after it; any other one commits together
with its outcome. Counts of statements begin at 1, as people count.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import TYPE_CHECKING, Any

from migrator.flight import (
    ESCAPED,
    HELD,
    MOVED,
    SPENT,
    Limits,
    Place,
    Record,
    head_query,
    holder_query,
    identifier,
    literal,
    lock_key,
    log_row,
    our_lock,
    settings,
)

if TYPE_CHECKING:
    from migrator.effects import Effect
    from migrator.model import Migration
    from migrator.parse import Script

#: What a line of the journal says; the value stands in the log's column `event`.
INTENT, OUTCOME, FAILED, REPAIRED = "intent", "outcome", "failed", "repaired"
ROLLED_BACK, ROLLBACK_FAILED = "rolled_back", "rollback_failed"
EVENTS = (INTENT, OUTCOME, FAILED, REPAIRED, "applied", ROLLED_BACK, ROLLBACK_FAILED)


class Answer(Enum):
    """What a person told `repair` about a migration."""

    APPLIED = "applied"  #: all of the file has taken effect
    NOT_APPLIED = "not applied"  #: nothing of it has
    DONE = "done"  #: the interrupted statement has taken effect
    RETRY = "retry"  #: the interrupted statement has not, and may be run again
    ACCEPT = "checksum accepted"  #: the file was changed on purpose after it was applied
    RENAME = "renamed"  #: the file was given another name after it was applied


class Way(Enum):
    """What a line is part of; a line without a `way` in its detail is FORTH."""

    FORTH = "forth"  #: the migration
    BACK = "back"  #: its undo


class How(Enum):
    """How a statement came to be done."""

    RAN = "ran"
    SETTLED = "settled"  #: it was interrupted, and found to have taken effect


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the journal."""

    version: str
    event: str  #: one of EVENTS
    run_id: str
    detail: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Intent:
    """A statement that was begun and of which no outcome is known."""

    number: int
    run_id: str
    sha256: str  #: of the statement's text
    what: str  #: in words, CREATE INDEX CONCURRENTLY public.orders_day
    line: int  #: of the file
    effect: dict[str, Any]  #: an Effect as JSON
    before: dict[str, Any]  #: what the catalog showed of its object before


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a migration that is not in the history has come, or the undo of one that is."""

    done: dict[int, str] = field(default_factory=dict)  #: number -> SHA-256 of its text
    spent_ms: int = 0
    interrupted: Intent | None = None
    way: Way = Way.FORTH

    @property
    def begun(self) -> bool:
        return bool(self.done) or self.interrupted is not None

    def undone(self, number: int) -> Progress:
        """After a refusal of statement `number` that left nothing: of no other it says anything."""
        if self.interrupted is None or self.interrupted.number != number:
            return self
        return replace(self, interrupted=None)


def fold(lines: Iterable[Line]) -> dict[str, Progress]:
    """The progress of each version, from its lines in the order in which they were written."""
    found: dict[str, Progress] = {}
    for line in lines:
        found[line.version] = _after(found.get(line.version, Progress()), line)
    return {version: progress for version, progress in found.items() if progress.begun}


def read_lines(rows: Iterable[Sequence[Any]]) -> list[Line]:
    """The rows that `lines_query` gives."""
    return [Line(version, event, run_id, detail) for version, event, run_id, detail in rows]


def lines_query(log: str, which: str) -> str:
    """All lines of the journal that fit `which`, oldest first, as one JSON array."""
    events = ", ".join(literal(event) for event in EVENTS)
    return LINES.format(log=log, events=events, which=which)


def marker(run_id: str, version: str, number: int) -> str:
    """What a statement begins with, so that an orphan can be known by it."""
    return f"/* migrator:{run_id}:{version}:{number} */ "


def sha256(text: str) -> str:
    """Of a statement's text, 64 hex digits."""
    return hashlib.sha256(text.encode()).hexdigest()


LINES = """SELECT coalesce(jsonb_agg(
    jsonb_build_array(l.version, l.event, l.run_id, l.detail) ORDER BY l.id), '[]')
  FROM {log} AS l WHERE l.event IN ({events}) AND {which}"""
#: Whatever role and search_path the file has set: for our own statements, until their message
#: or transaction ends.
OURS = (
    "SET LOCAL SESSION AUTHORIZATION DEFAULT",
    "SET LOCAL role TO DEFAULT",  # as RESET ROLE: ALTER ROLE … SET role may have given another
    "SET LOCAL search_path = pg_catalog, pg_temp",
)
LOCK = """DO LANGUAGE plpgsql $migrator$
BEGIN
  IF NOT pg_try_advisory_lock({key}) THEN
    RAISE EXCEPTION USING ERRCODE = '{held}', MESSAGE = 'another runner holds the lock',
      DETAIL = coalesce(({holder})::text, '{{}}');
  END IF;
END $migrator$"""
#: From the first statement on; before it a large file is taken apart, which may last. Nothing else
#: ends a frozen runner's hold of the lock: its kernel still answers keepalives.
LIVELY = "SET idle_session_timeout = 60000"
DROP_LOCK = """SELECT CASE WHEN held.pid = pg_backend_pid() THEN pg_advisory_unlock_all()::text
            WHEN activity.state = 'idle' THEN pg_terminate_backend(held.pid)::text END
  FROM pg_locks AS held LEFT JOIN pg_stat_activity AS activity ON activity.pid = held.pid
 WHERE {ours} AND held.pid = {pid}"""
CHECK = """DO LANGUAGE plpgsql $migrator$
BEGIN
  IF ({query}) <> '{head}' THEN
    RAISE EXCEPTION USING ERRCODE = '{moved}', MESSAGE = 'the history has moved';
  END IF;
END $migrator$"""
STILL_LOCKED = """DO LANGUAGE plpgsql $migrator$
BEGIN
  IF NOT EXISTS (SELECT FROM pg_locks AS held
                  WHERE {ours} AND held.granted AND held.pid = pg_backend_pid()) THEN
    RAISE EXCEPTION USING ERRCODE = '{escaped}',
      MESSAGE = 'this session does not hold the lock that it took';
  END IF;
END $migrator$"""
PATIENCE = """SELECT pg_catalog.set_config('lock_timeout', '{instead}', false)
  FROM pg_catalog.pg_settings
 WHERE name OPERATOR(pg_catalog.=) 'lock_timeout' AND setting OPERATOR(pg_catalog.=) '{before}'"""
SINCE_INTENT = """(SELECT (extract(epoch FROM clock_timestamp() - max(l.at)) * 1000)::bigint
  FROM {log} AS l WHERE l.version = {version} AND l.event = 'intent')"""
RECORD = """INSERT INTO {history}
    (version, execution_time_ms, checksum, rollback_sql, kind, run_id, floor)
VALUES ({version}, {spent_ms}, {checksum}, {rollback_sql}, 'versioned', {run_id}, {floor})"""
FORGET = "DELETE FROM {history} WHERE version = {version}"
RENAME = "UPDATE {history} SET version = {new} WHERE version = {version}"
ACCEPT = "UPDATE {history} SET checksum = {checksum}, floor = {floor} WHERE version = {version}"


def take_lock(place: Place, limits: Limits) -> str:
    """Take the runners' lock for the session, or be refused with HELD; the backend's pid.

    What holds for the whole session goes along: without keepalives of ours the server would keep
    the lock of a client that is gone for as long as its own let it.
    """
    key, holder = lock_key(place.schema), holder_query(place.schema)
    lock = LOCK.format(key=key, held=HELD, holder=holder)
    return ";\n".join((*_lasting(place, limits), _message([lock, "SELECT pg_backend_pid()"])))


def drop_lock(place: Place, pid: int) -> str:
    """Let go of our lock on a backend that a pooler took away from us, or end that, if idle.

    No row comes back once it holds the lock no more.
    """
    return _message([DROP_LOCK.format(ours=our_lock(place.schema), pid=pid)])


def read_progress(place: Place, version: str, seen: str) -> str:
    """Refused with MOVED when the history's head is not `seen`; else the version's lines."""
    query = head_query(place.history)
    return _message(
        [
            _still_locked(place),
            CHECK.format(query=query, head=seen, moved=MOVED),
            lines_query(place.log, f"l.version = {literal(version)}"),
        ]
    )


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
    return _message([_still_locked(place), log_row(place, version, INTENT, detail)])


def conclude(
    place: Place, version: str, number: int, digest: str, how: How, way: Way = Way.FORTH
) -> str:
    """Record that a statement is done; the server's ms since its intent come back, if it ran."""
    detail = {"statement": number, "sha256": digest, "how": how.value, **_said(way)}
    spent = "NULL::bigint"
    if how is How.RAN:
        spent = SINCE_INTENT.format(log=place.log, version=literal(version))
    return _message([_still_locked(place), _outcome(place, version, detail, spent)])


def fail(
    place: Place, version: str, number: int, detail: dict[str, Any], way: Way = Way.FORTH
) -> str:
    """Record that a statement failed; `undone` in `detail` says that nothing of it is left.

    Nor of an interrupted one of its number.
    """
    event = FAILED if way is Way.FORTH else ROLLBACK_FAILED
    return _message([log_row(place, version, event, {"statement": number, **detail})])


def atomic(
    place: Place, version: str, number: int, text: str, way: Way = Way.FORTH
) -> tuple[str, str]:
    """What stands before and after a statement that is committed together with its outcome.

    Without BEGIN the whole message is one transaction; the server's ms come back.
    """
    detail = {"statement": number, "sha256": sha256(text), "how": How.RAN.value, **_said(way)}
    after = [
        "SET CONSTRAINTS ALL IMMEDIATE",
        *OURS,
        _still_locked(place),
        _outcome(place, version, detail, SPENT),
    ]
    return marker(place.run_id, version, number), "\n;\n" + ";\n".join(after)


def drop_index(name: str) -> str:
    """Drop what an interrupted build left; `name` as Sight has it."""
    return f"DROP INDEX CONCURRENTLY IF EXISTS {name}"


def finalize(effect: Effect) -> str:
    """End a DETACH PARTITION CONCURRENTLY that was interrupted."""
    on, name = (".".join(map(identifier, parts)) for parts in (effect.on, effect.name))
    return f"ALTER TABLE {on} DETACH PARTITION {name} FINALIZE"


def finish(place: Place, script: Script, spent_ms: int, also: Sequence[str] = ()) -> str:
    """The history's row and the log's, and what goes with it, once the last statement is done."""
    migration = script.migration
    detail = {"execution_time_ms": spent_ms, "checksum": migration.checksum}
    return _message(
        [
            _still_locked(place),
            record(place, migration, str(spent_ms), floor=script.floor),
            log_row(place, migration.version, "applied", detail),
            *also,
        ]
    )


def finish_undo(place: Place, record: Record, also: Sequence[str] = ()) -> str:
    """What `finish` is to a migration, for its undo: `record` takes the history's row away."""
    return _message([_still_locked(place), *record.statements, *also])


def record(place: Place, migration: Migration, spent_ms: str, *, floor: bool) -> str:
    """The INSERT of the history's row; `spent_ms` is an SQL expression."""
    return RECORD.format(
        history=place.history,
        version=literal(migration.version),
        spent_ms=spent_ms,
        checksum=literal(migration.checksum),
        rollback_sql=literal(migration.rollback_sql),
        run_id=literal(place.run_id),
        floor=floor,
    )


def answer(
    place: Place, version: str, answered: Answer, reason: str, assumed: str, **more: str | None
) -> str:
    """The line that records what a person told `repair`, and `more` that a machine may read."""
    detail = {"answer": answered.value, "reason": reason, "assumed": assumed, **more}
    return log_row(place, version, REPAIRED, detail)


def forget(place: Place, version: str) -> str:
    """Take a version out of the history; the log keeps all that happened."""
    return FORGET.format(history=place.history, version=literal(version))


def accept(place: Place, migration: Migration, *, floor: bool) -> str:
    """Record of an applied migration the text that its file has now."""
    return ACCEPT.format(
        history=place.history,
        version=literal(migration.version),
        checksum=literal(migration.checksum),
        floor=floor,
    )


def rename(place: Place, version: str, new: str) -> str:
    """Move a row of the history to the version that its file has now."""
    return RENAME.format(history=place.history, version=literal(version), new=literal(new))


def patience(lock_timeout_ms: int, instead_ms: int) -> str:
    """Let the session wait longer for locks, unless the file has set a limit of its own."""
    return PATIENCE.format(before=lock_timeout_ms, instead=instead_ms)


def _after(progress: Progress, line: Line) -> Progress:
    detail = line.detail
    number = int(detail.get("statement", 0))
    if line.event in {INTENT, OUTCOME} and Way(detail.get("way", "forth")) is not progress.way:
        progress = Progress(way=Way(detail.get("way", "forth")))  # the other one is over
    spent, way = progress.spent_ms, progress.way
    if line.event == INTENT:
        intent = Intent(
            number,
            line.run_id,
            detail["sha256"],
            detail["what"],
            detail["line"],
            detail["effect"],
            detail["before"],
        )
        return Progress(progress.done, spent, intent, way)
    if line.event == OUTCOME:
        spent += int(detail.get("execution_time_ms") or 0)
        return Progress({**progress.done, number: detail["sha256"]}, spent, None, way)
    if line.event in {FAILED, ROLLBACK_FAILED}:
        return progress.undone(number) if detail.get("undone") else progress
    told = Answer(detail["answer"]) if line.event == REPAIRED else Answer.APPLIED
    if told is Answer.DONE and progress.interrupted is not None:
        done = {**progress.done, progress.interrupted.number: progress.interrupted.sha256}
        return Progress(done, spent, None, way)
    if told in {Answer.DONE, Answer.RETRY}:
        return Progress(progress.done, spent, None, way)
    return Progress()


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
    return STILL_LOCKED.format(ours=our_lock(place.schema), escaped=ESCAPED)


def _outcome(place: Place, version: str, detail: dict[str, Any], spent: str) -> str:
    """The INSERT of an outcome, with the ms that the expression `spent` gives."""
    known = literal(json.dumps(detail))
    written = f"{known}::jsonb || jsonb_build_object('execution_time_ms', {spent})"
    return log_row(place, version, OUTCOME, written) + " RETURNING detail->>'execution_time_ms'"


def _message(statements: Sequence[str]) -> str:
    """One implicit transaction of our own statements; the last one's rows come back."""
    return ";\n".join((*OURS, *statements))
