"""What comes before and behind a file: the runners' lock, and the history as it was seen.

Statements and pieces of blocks; `flight` puts a migration between them. docs/design.md section 4.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from typing import Any

from migrator.history.fence import DECLARE, Access, Owners, Table, Write
from migrator.history.place import Limits, Place, marker, settings
from migrator.history.proof import keep, locks, writing
from migrator.history.questions import asked
from migrator.history.tally_rules import Tally, tally_of_rows, tally_query, tally_sum
from migrator.postgres.quoting import (
    CLEAN,
    HERE,
    ISOLATION,
    TAIL,
    do,
    literal,
)

MOVED = "MG001"  #: SQLSTATE of our own: the history is not what the plan saw
HELD = "MG002"  #: another runner holds the lock; DETAIL says which, as JSON
ESCAPED = "MG003"  #: the file ended the transaction that it was run in
AT_WORK = "another runner is at work on the file"  #: the message of HELD in a group
#: `marker` is what our message begins with, nothing where another's statement is the newest there,
#: and null where the server does not show it. No backslash: a pooled session may read it as C does.
HOLDER = """SELECT jsonb_build_object(
    'pid', held.pid,
    'application_name', activity.application_name,
    'since', to_char(activity.xact_start AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'),
    'prepared_transaction', prepared.gid,
    'marker', CASE WHEN activity.query <> '<insufficient privilege>'
      THEN coalesce(substring(activity.query from '^/[*] migrator[^*]+[*]/'), '') END)
  FROM pg_locks AS held
  LEFT JOIN pg_stat_activity AS activity ON activity.pid = held.pid
  LEFT JOIN pg_locks AS own ON held.pid IS NULL AND own.locktype = 'transactionid'
   AND own.pid IS NULL AND own.virtualtransaction = held.virtualtransaction
  LEFT JOIN pg_prepared_xacts AS prepared ON prepared.transaction = own.transactionid
 WHERE {ours} AND held.granted
 LIMIT 1"""
#: Our advisory lock in pg_locks: a bigint key is split over classid and objid, objsubid 1.
OUR_LOCK = """held.locktype = 'advisory' AND held.objsubid = 1
   AND held.classid = {high}::oid AND held.objid = {low}::oid"""
#: For the locks of others; this backend's are all of this database.
IN_DATABASE = "held.database = (SELECT oid FROM pg_database WHERE datname = current_database())"
HEAD_OF_ROWS = """encode(sha256(convert_to(coalesce(string_agg(
    version::text || E'\\t' || coalesce(checksum::text, '') || E'\\n', ''
    ORDER BY version::text COLLATE "C"), ''), 'UTF8')), 'hex')"""
HEAD = "SELECT {head}\n  FROM {history}{besides}"
#: Rows that a head leaves out, as they may come at any moment.
BESIDES = """
 WHERE (version::text COLLATE "C", coalesce(checksum::text, '') COLLATE "C")
       NOT IN (VALUES {rows})"""
TRY_LOCK = """  IF NOT {take}({key}) THEN
    RAISE EXCEPTION USING ERRCODE = '{held}', MESSAGE = '{message}',
      DETAIL = coalesce(({holder})::text, '{{}}');
  END IF;
"""
#: A table that is gone is the history of another runner's, or of nobody: read it again.
PRESENT = """  IF to_regclass({history}) IS NULL OR to_regclass({log}) IS NULL THEN
    RAISE EXCEPTION USING ERRCODE = '{moved}', MESSAGE = 'the history is not there';
  END IF;
"""
HEAD_CHECK = """  IF ({query}) <> '{head}' THEN
    RAISE EXCEPTION USING ERRCODE = '{moved}', MESSAGE = 'the history has moved';
  END IF;
"""
#: As HEAD_CHECK, once the tally of the same rows is known too; later that alone is looked at.
FIND_BOTH = """  SELECT {head}, {tally}
    INTO migrator_kept, migrator_tally FROM {history};
"""
TALLY_CHECK = """  migrator_tally := ({query});
  IF migrator_tally <> {expected} THEN
    RAISE EXCEPTION USING ERRCODE = '{moved}', MESSAGE = 'the history has moved';
  END IF;
"""
STILL_LOCKED = """  IF NOT migrator_held THEN
    RAISE EXCEPTION USING ERRCODE = '{escaped}', MESSAGE = '{message}';
  END IF;
"""
SPENT = "(extract(epoch FROM clock_timestamp() - {since}) * 1000)::integer"
SIGN = "migrator-flight: "
#: By it the server hands over the answers that it has kept back: the leg before is committed.
NEXT = SIGN + "next"
FLUSH = f"  RAISE INFO USING MESSAGE = '{NEXT}';\n"
BEGIN = "BEGIN ISOLATION LEVEL READ COMMITTED"
#: While it is on, PostgreSQL parses all of a block before it runs it, and again what is run: of our
#: own that is a tenth of what a flight costs [M: 15]. The file has the login's own setting.
UNCHECKED, CHECKED = (
    f"SET LOCAL check_function_bodies {value}" for value in ("= off", "TO DEFAULT")
)
#: What is between two legs, in a transaction of its own, so that the next one begins with the
#: login's own defaults. It begins at once: behind a statement that took a snapshot outside of one,
#: BEGIN refuses to set the isolation level where the default is another [M].
BETWEEN = ("BEGIN", *TAIL, "COMMIT")


#: The others of a group: their versions and checksums, which may be recorded at any moment.
Beside = Sequence[tuple[str, str]]


def lock_key(schema: str) -> int:
    """The advisory lock's key, frozen: two releases in one cluster must exclude each other."""
    digest = hashlib.sha256(f"migrator:{schema}".encode()).digest()
    return int.from_bytes(digest[:8], "big", signed=True)


def own_key(schema: str, version: str) -> int:
    """The key of one version of a group: no two runners are at work on it."""
    return lock_key(f"{schema}\nversion\n{version}")


def closing_key(schema: str) -> int:
    """The key under which the closing halves of a group come one after another."""
    return lock_key(f"{schema}\nclosing")


def head(rows: Iterable[tuple[str, str | None]]) -> str:
    """What HEAD gives for a history of these (version, checksum) rows, in any order."""
    return str(hashed(rows)[0].hexdigest())


def hashed(rows: Iterable[tuple[str, str | None]]) -> tuple[Any, bytes]:
    """The hash that a head is the digest of, and the version that comes last."""
    lines = sorted((version.encode(), (checksum or "").encode()) for version, checksum in rows)
    return hashlib.sha256(b"".join(map(head_line, lines))), lines[-1][0] if lines else b""


def head_line(row: tuple[bytes, bytes]) -> bytes:
    """What HEAD has of a row."""
    return b"%b\t%b\n" % row


def opening(
    place: Place,
    limits: Limits,
    what: str,
    seen: str | None = None,
    *,
    tally: Tally | None = None,
    tables: Sequence[Table] | None = None,
    owners: Owners = Owners.TRUSTED,
    behind: bool = False,
    beside: Beside | None = None,
) -> list[str]:
    """The reset, BEGIN, the limits and the guard; with `seen`, the head that the history must have.

    With `tally` that, instead of the head.

    `what` is under way comes first, where pg_stat_activity shows it. The guard takes the runners'
    lock and asks both questions of `tables`, ours and no other unless they are given. `behind`
    another leg of the same message its answers are flushed, and how the session reads text is
    known. `beside` others of a group the runners' lock is shared, and it is said that it was taken.
    """
    chosen = place.tables if tables is None else tables
    checks = ""
    if chosen:
        checks += asked(chosen, place.server_version, Access.WRITE, owners)
    if set(place.tables) <= set(chosen):
        checks = present(place) + checks
    if seen is not None and beside is None:
        checks += unmoved(place, seen, tally)
    elif seen is not None and beside is not None:
        checks += head_check(place, seen, beside)
    if set(place.tables) <= set(chosen):
        # lines of the log that others of a group write are none of a file's
        checks += keep(*place.tables, place.run_id, count=beside is None)
    reset, *more = BETWEEN if behind else CLEAN
    lock = try_lock(place, "pg_try_advisory_xact_lock")
    if beside is not None:
        lock = _shared_locks(place, what)
        checks += FLUSH
    guarded = _guarded(place, limits, lock + checks, FLUSH if behind else "")
    return [f"{marker(place, what)} {reset}", *more, BEGIN, *guarded]


def looking(place: Place, what: str, query: str, tables: Sequence[Table] = ()) -> str:
    """`query` under the runners' lock, when our tables run no code of others; its rows come back.

    Nor do `tables`, which it reads beside ours.

    Refused with HELD while another holds the lock, with MOVED where the tables are not there.
    """
    checks = present(place)
    checks += asked((*place.tables, *tables), place.server_version, Access.READ, Owners.ANY)
    begin = (f"{marker(place, what)} {CLEAN[0]}", *CLEAN[1:], ISOLATION)
    lock = try_lock(place, "pg_try_advisory_xact_lock")
    return ";\n".join((*begin, *_guarded(place, Limits(), lock + checks), query))


def present(place: Place) -> str:
    """Statements of a block that raise MOVED when the tables are not there."""
    return PRESENT.format(history=literal(place.history), log=literal(place.log), moved=MOVED)


def _guarded(place: Place, limits: Limits, checks: str, before: str = "") -> list[str]:
    guard = do(before + checks, DECLARE)
    local = (f"SET LOCAL {value}" for value in settings(place, limits))
    return [HERE, UNCHECKED, *local, guard]


def _shared_locks(place: Place, version: str) -> str:
    """The runners' lock, shared with the others of a group; and that of the version alone."""
    own = own_key(place.schema, version)
    shared = try_lock(place, "pg_try_advisory_xact_lock_shared")
    return shared + _try_lock("pg_try_advisory_xact_lock", own, AT_WORK)


def try_lock(place: Place, take: str) -> str:
    """Statements of a block that take the runners' lock by the function `take`, or raise HELD."""
    return _try_lock(take, lock_key(place.schema), "another runner holds the lock")


def _try_lock(take: str, key: int, message: str) -> str:
    return TRY_LOCK.format(
        take=take,
        key=key,
        held=HELD,
        message=message,
        holder=_holder_of(key),
    )


def head_check(place: Place, seen: str, besides: Beside = ()) -> str:
    """Statements of a block that raise MOVED when the history's head is not `seen`."""
    return HEAD_CHECK.format(query=head_query(place.history, besides), head=seen, moved=MOVED)


def closing_check(place: Place, seen: str, besides: Beside) -> str:
    """Statements of a closing block that let others of a group end first, and ask once more.

    Another runner may have started another group on the same head. The lock is waited for without
    a limit, as it is held for the time of a COMMIT.
    """
    take = "  PERFORM set_config('lock_timeout', '0', true);\n"
    take += f"  PERFORM pg_advisory_xact_lock({closing_key(place.schema)});\n"
    return take + head_check(place, seen, besides)


def unmoved(place: Place, seen: str, tally: Tally | None) -> str:
    """Statements of a block that raise MOVED when the history is not as the run expects it.

    From there on its tally is known, and is of just the rows that were looked at.
    """
    if tally is not None:
        expected = tally_sum(place, tally)
        return TALLY_CHECK.format(query=tally_query(place), expected=expected, moved=MOVED)
    both = FIND_BOTH.format(head=HEAD_OF_ROWS, tally=tally_of_rows(place), history=place.history)
    return both + HEAD_CHECK.format(query="migrator_kept", head=seen, moved=MOVED)


def still_locked(place: Place, message: str) -> str:
    """Statements of a block that raise ESCAPED when this backend does not hold the lock."""
    held = STILL_LOCKED.format(escaped=ESCAPED, message=message)
    return locks(*place.tables, _lock_of(lock_key(place.schema))) + held


def write(place: Place, writes: Sequence[Write]) -> str:
    """A block that writes, and raises UNWRITTEN unless just that was written."""
    return do(writing(*place.tables, writes), DECLARE)


def head_query(history: str, besides: Beside = ()) -> str:
    """What the database says of the history; `head` says the same of rows, but `besides`."""
    rows = ", ".join(f"({literal(one)}, {literal(other)})" for one, other in besides)
    besides_sql = BESIDES.format(rows=rows) if rows else ""
    return HEAD.format(head=HEAD_OF_ROWS, history=history, besides=besides_sql)


def holder_query(schema: str) -> str:
    """One row of JSON for the session that holds the lock, no row when it is free.

    A prepared transaction can hold it too: it has no pid, but a name. What its name is worth is
    for `at_work.identified` to say.
    """
    return _holder_of(lock_key(schema))


def our_lock(schema: str) -> str:
    """The condition under which a row `held` of pg_locks is the runners' lock."""
    return f"{_lock_of(lock_key(schema))}\n   AND {IN_DATABASE}"


def _holder_of(key: int) -> str:
    return HOLDER.format(ours=f"{_lock_of(key)}\n   AND {IN_DATABASE}")


def _lock_of(key: int) -> str:
    high, low = divmod(key % 2**64, 2**32)
    return OUR_LOCK.format(high=high, low=low)
