"""Who is in our way: a second connection looks while the first one waits.

PostgreSQL's 55P03 names nobody, and blockers can be seen only while we wait for them. The second
connection is opened when a statement has waited for a while, never blocks (psycopg2's asynchronous
connections know no wait callback), and the run does without where none is available.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any

import psycopg2
from psycopg2 import extensions

from migrator.durations import Rhythm
from migrator.model import Event, Tell
from migrator.postgres.quoting import first, kept_alive, literal
from migrator.postgres.session import ServerError, Session

#: How long the second connection may take to open, and to answer.
ANSWER_SECONDS = 5.0
#: For so long a line that is due waits for the answer that belongs to it.
GRACE_SECONDS = 1.0
#: How long another session's transaction may have been open before it is warned about.
OPEN_SECONDS = 60

#: What a backend `other` is called. A pooler lends one that bears a runner's name: the name counts
#: while a runner's message is the newest there.
BACKEND_NAME = """CASE WHEN other.application_name NOT LIKE 'migrator/%'
      OR other.query LIKE '/* migrator%' THEN nullif(other.application_name, '') END"""
#: One backend of pg_stat_activity as `other`. Never its query, which holds literals. What the
#: role may not see is null, and left out.
WHO = f"""jsonb_strip_nulls(jsonb_build_object(
    'pid', other.pid,
    'application_name', {BACKEND_NAME},
    'user', other.usename,
    'state', other.state,
    'backend_type', nullif(other.backend_type, 'client backend'),
    'open_seconds', extract(epoch FROM clock_timestamp() - other.xact_start)::integer))"""
#: What our statement waits for, who blocks it, how far it has come. A prepared transaction is
#: pid 0 to pg_blocking_pids; a row lock shows its table only in the tuple lock held beside it.
LOOK = """SELECT jsonb_strip_nulls(jsonb_build_object(
  'wait_event', own.wait_event_type || ': ' || own.wait_event,
  'waits_for', (
    SELECT jsonb_build_object(
             'locktype', wanted.locktype, 'mode', wanted.mode,
             'relation', coalesce(wanted.relation, row.relation)::regclass::text)
      FROM pg_locks AS wanted
      LEFT JOIN pg_locks AS row ON row.pid = own.pid AND row.locktype = 'tuple' AND row.granted
     WHERE wanted.pid = own.pid AND NOT wanted.granted
     LIMIT 1),
  'blockers', (
    SELECT jsonb_agg({who})
      FROM pg_stat_activity AS other
     WHERE other.pid = ANY (pg_blocking_pids(own.pid))),
  'prepared_blockers', (
    SELECT jsonb_agg(jsonb_build_object('prepared_transaction', prepared.gid, 'user',
             prepared.owner, 'open_seconds',
             extract(epoch FROM clock_timestamp() - prepared.prepared)::integer))
      FROM pg_prepared_xacts AS prepared
      JOIN pg_locks AS itself ON itself.locktype = 'transactionid'
       AND itself.transactionid = prepared.transaction
     WHERE 0 = ANY (pg_blocking_pids(own.pid))
       AND EXISTS (SELECT FROM pg_locks AS held JOIN pg_locks AS wanted
                       ON wanted.pid = own.pid AND NOT wanted.granted
                      AND (held.relation = wanted.relation
                           OR held.transactionid = wanted.transactionid)
                    WHERE held.granted AND held.pid IS NULL
                      AND held.virtualtransaction = itself.virtualtransaction)),
  'progress', (
    SELECT jsonb_build_object(
             'command', now.command, 'phase', now.phase, 'relation', now.relid::regclass::text,
             'percent', round(100.0 * now.done / nullif(now.total, 0), 1),
             'done', now.done, 'total', nullif(now.total, 0), 'unit', now.unit)
      FROM (
        SELECT pid, command, phase, relid,
               CASE WHEN lockers_total > 0 THEN lockers_done
                    WHEN blocks_total > 0 THEN blocks_done ELSE tuples_done END,
               CASE WHEN lockers_total > 0 THEN lockers_total
                    WHEN blocks_total > 0 THEN blocks_total ELSE tuples_total END,
               CASE WHEN lockers_total > 0 THEN 'transactions'
                    WHEN blocks_total > 0 THEN 'blocks' ELSE 'rows' END
          FROM pg_stat_progress_create_index
        UNION ALL
        SELECT pid, command, type, relid,
               CASE WHEN bytes_total > 0 THEN bytes_processed ELSE tuples_processed END,
               bytes_total,
               CASE WHEN bytes_total > 0 THEN 'bytes' ELSE 'rows' END
          FROM pg_stat_progress_copy
        UNION ALL
        SELECT pid, 'VACUUM', phase, relid, heap_blks_scanned, heap_blks_total, 'blocks'
          FROM pg_stat_progress_vacuum
        UNION ALL
        SELECT pid, command, phase, relid,
               CASE WHEN heap_blks_total > 0 THEN heap_blks_scanned ELSE heap_tuples_scanned END,
               heap_blks_total,
               CASE WHEN heap_blks_total > 0 THEN 'blocks' ELSE 'rows' END
          FROM {rewrites}
        UNION ALL
        SELECT pid, 'ANALYZE', phase, relid, sample_blks_scanned, sample_blks_total, 'blocks'
          FROM pg_stat_progress_analyze
      ) AS now (pid, command, phase, relid, done, total, unit)
     WHERE now.pid = own.pid
     LIMIT 1)))
  FROM pg_stat_activity AS own
 WHERE own.state = 'active' AND own.backend_type = 'client backend'
   AND own.pid <> pg_backend_pid() AND strpos(left(own.query, 400), {run_id}) > 0
 LIMIT 1"""
#: Transactions that have been open for long and hold a lock on a table, the oldest first.
OPEN_TRANSACTIONS = """SELECT jsonb_agg(found.who ORDER BY found.since) FROM (
  SELECT {who} || jsonb_build_object('relations', held.relations), other.xact_start
    FROM pg_stat_activity AS other
    JOIN LATERAL ({relations} AND lock.pid = other.pid) AS held ON held.relations IS NOT NULL
   WHERE other.pid <> pg_backend_pid() AND other.datname = current_database()
     AND other.xact_start < clock_timestamp() - interval '{seconds} seconds'
  UNION ALL
  SELECT jsonb_build_object('prepared_transaction', prepared.gid, 'user', prepared.owner,
           'open_seconds', extract(epoch FROM clock_timestamp() - prepared.prepared)::integer,
           'relations', held.relations), prepared.prepared
    FROM pg_prepared_xacts AS prepared
    JOIN pg_locks AS itself ON itself.locktype = 'transactionid' AND itself.pid IS NULL
     AND itself.transactionid = prepared.transaction
    JOIN LATERAL ({relations} AND lock.pid IS NULL
      AND lock.virtualtransaction = itself.virtualtransaction) AS held
      ON held.relations IS NOT NULL
   WHERE prepared.database = current_database()
     AND prepared.prepared < clock_timestamp() - interval '{seconds} seconds'
) AS found (who, since)"""
RELATIONS = """SELECT jsonb_agg(DISTINCT named.oid::regclass::text) AS relations
  FROM pg_locks AS lock JOIN pg_class AS named ON named.oid = lock.relation
 WHERE lock.locktype = 'relation' AND lock.granted AND named.relkind IN ('r', 'p', 'm')
   AND named.relnamespace NOT IN ('pg_catalog'::regnamespace, 'information_schema'::regnamespace)
   AND lock.database = (SELECT oid FROM pg_database WHERE datname = current_database())"""


def read_open_transactions(session: Session) -> list[dict[str, Any]]:
    """Whose transactions are older than OPEN_SECONDS and hold locks on tables; a DDL statement
    may have to wait for each of them. Raises whatever `Session.send` raises.
    """
    query = OPEN_TRANSACTIONS.format(who=WHO, relations=RELATIONS, seconds=OPEN_SECONDS)
    limit = "SET LOCAL statement_timeout = 5000"
    rows = session.send(first("/* migrator looks for old transactions */", limit, query))
    return [dict(found) for found in rows[0][0] or []]


def read_seen(session: Session, run_id: str) -> dict[str, Any]:
    """What the statement of a run at work waits for, behind whom, and how far it has come.

    Nothing where it cannot be seen.
    """
    try:
        query = look_query(session.server_version, run_id)
        rows = session.send(first("/* migrator looks at a run */", query))
    except ServerError:
        session.tidy()
        return {}
    found = dict(rows[0][0]) if rows else {}
    prepared = found.pop("prepared_blockers", [])
    return {**found, "blockers": [*found.get("blockers", []), *prepared]}


def look_query(server_version: int, run_id: str) -> str:
    """LOOK for a server of this version; from 19 on CLUSTER and VACUUM FULL are forms of REPACK."""
    rewrites = "pg_stat_progress_" + ("repack" if server_version >= 190000 else "cluster")
    return LOOK.format(who=WHO, run_id=literal(run_id), rewrites=rewrites)


class Observer:
    """Looks after the statements of one run, over a connection of its own; Watch's companion.

    Says `migration.progress` for a slow statement, and keeps whom it saw in its way for the line
    about the refusal.
    """

    def __init__(
        self,
        session: Callable[[], Session],
        what: str,
        rhythm: Rhythm,
        run_id: str,
        tell: Tell,
        unavailable: str | None = None,
    ) -> None:
        """Look after the statements of `what` that are sent over whatever `session()` is.

        `unavailable` says why there is no second connection, if that is known already.
        """
        self.unavailable = unavailable
        self.what = what  #: whose statement it is that is under way
        self._session, self._rhythm, self._tell = session, rhythm, tell
        query = look_query(session().server_version, run_id)
        limit = "SET LOCAL statement_timeout = 4000"
        self._query = first("/* migrator observes */", limit, query)
        self._connection: Any = None
        self._cursor: Any = None
        self._busy_since: float | None = None  # opening or asking since then
        self._state = extensions.POLL_OK
        self._opened = self._failed_before = False
        self._began = math.nan  # the wait at hand
        self._shown = True  # our statement was seen at the last look
        self._stale = False  # what is asked was asked in a wait before
        self._seen: dict[str, Any] | None = None
        self._free_since = math.inf  # a look saw that what is in _seen was waited for no more

    def end(self) -> None:
        """Close the second connection; the next slow statement opens another."""
        self._drop()

    def take_seen(self) -> dict[str, Any]:
        """Who was in the way just before a lock was refused, for the log; or why it is unknown."""
        seen, self._seen = self._seen, None
        if seen is not None and time.monotonic() - self._free_since < GRACE_SECONDS:
            return seen  # the newest look may have come when the refusal was on its way
        why = self.unavailable or "the wait was too short to look"
        if self._busy_since is not None:
            why = "the second connection was not answered while we waited"
        elif not self._shown:
            why = "the server does not show our statement (track_activities, or its query's size)"
        return {"blockers_unknown": why}

    def step(self, began: float) -> tuple[list[Any], list[Any], float]:
        """Go on with what is under way, or begin what is due; see `watch.Companion`."""
        if began != self._began:
            self._began, self._stale, self._seen = began, True, None
            if self._busy_since is not None:  # nobody has listened since the wait before
                self._busy_since = time.monotonic()
            self._look_at, self._tell_at = self._rhythm.first_look, self._rhythm.first_progress
        waited = time.monotonic() - began
        try:
            self._advance(waited)
        except Exception as error:  # whatever it is, the migration must not fail for it
            self._failed(error, waited)
        if self._busy_since is not None:
            reading = [self._connection] if self._state == extensions.POLL_READ else []
            writing = [self._connection] if self._state == extensions.POLL_WRITE else []
            left = self._busy_since + ANSWER_SECONDS - time.monotonic()
            return reading, writing, max(0.0, min(left, self._tell_at + GRACE_SECONDS - waited))
        return [], [], max(0.0, self._due() - waited)

    def _due(self) -> float:
        """When to look or to report next, in seconds of the wait."""
        return self._tell_at if self.unavailable else min(self._look_at, self._tell_at)

    def _advance(self, waited: float) -> None:
        if self._busy_since is None and waited >= self._due():
            if self.unavailable:
                self._say({}, waited)
                return
            self._ask()
        while self._busy_since is not None:
            self._state = self._connection.poll()
            if self._state != extensions.POLL_OK:
                if time.monotonic() >= self._busy_since + ANSWER_SECONDS:
                    raise TimeoutError(f"no answer within {ANSWER_SECONDS:.0f} s")
                if waited >= self._tell_at + GRACE_SECONDS:
                    self._say({}, waited)
                return
            self._busy_since = None
            if self._cursor is not None and not self._stale:
                row = self._cursor.fetchone()
                self._cursor = None
                self._failed_before = False
                self._shown = row is not None
                self._heard(row[0] if row else {}, waited)
            else:  # just opened, or what it saw was a wait before this one
                self._opened = True
                self._ask()

    def _ask(self) -> None:
        """Open the connection, or ask over the one that is open."""
        self._busy_since, self._stale = time.monotonic(), False
        if self._connection is None:
            self._connection = self._session().another()
        else:
            self._cursor = self._connection.cursor()
            pid = self._connection.info.backend_pid
            self._cursor.execute(kept_alive(self._query, pid))

    def _heard(self, found: dict[str, Any], waited: float) -> None:
        """Keep whom our statement waits for, and report how far it has come when that is due."""
        blockers = found.pop("blockers", []) + found.pop("prepared_blockers", [])
        if "waits_for" in found:
            found["blockers"] = blockers
            self._seen = {"waits_for": found["waits_for"], "blockers": blockers}
            self._free_since = math.inf
        else:
            self._free_since = min(self._free_since, time.monotonic())
        self._look_at = waited + self._rhythm.look
        if waited >= self._tell_at:
            self._say(found, waited)

    def _say(self, found: dict[str, Any], waited: float) -> None:
        self._tell_at = waited + self._rhythm.progress
        fields = {"version": self.what, "running_ms": round(waited * 1000), **found}
        self._tell(Event("migration.progress", "info", fields))

    def _failed(self, error: Exception, waited: float) -> None:
        """Open another connection for one that was lost; else do without from here on."""
        lost = self._opened and not isinstance(error, TimeoutError)
        again = lost and not self._failed_before
        self._failed_before = True
        self._drop()
        if again:
            self._look_at = waited + self._rhythm.look
        else:
            reason = str(error).strip().partition("\n")[0] or type(error).__name__
            self.unavailable = f"no second connection: {reason}"
            self._tell(Event("observer.unavailable", "info", {"error": reason}))

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        self._cursor = self._busy_since = None
        self._opened = False
        if connection is not None:
            try:
                connection.close()
            except psycopg2.Error:  # it was gone already
                return
