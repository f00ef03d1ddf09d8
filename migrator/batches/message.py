"""What is asked and sent around a batch: its table and key, its bounds, and the cursor's guard."""

from __future__ import annotations

from dataclasses import dataclass

from migrator.batches.cursor import CURSOR_HEAD, CURSOR_NAME, MAKE, cursor_table
from migrator.history.fence import DECLARE, Access, Owners
from migrator.history.flight import Around
from migrator.history.guard import MOVED, opening
from migrator.history.place import Limits, Place, as_role, marker
from migrator.history.proof import TAMPERED
from migrator.history.questions import asked
from migrator.postgres.quoting import HERE, TAIL, do, first, identifier, literal
from migrator.sql.batched import FROM, UPTO, Batches

#: Types that a table can be walked by, and bounds between which none of their values lies.
NOTHING_BETWEEN = {
    "smallint": ("1", "0"),
    "integer": ("1", "0"),
    "bigint": ("1", "0"),
    "uuid": ("ffffffff-ffff-ffff-ffff-ffffffffffff", "00000000-0000-0000-0000-000000000000"),
    "text": ("1", ""),
    "character varying": ("1", ""),
    "timestamp with time zone": ("infinity", "-infinity"),
}
#: The table is found as the file itself would find it, all else under HERE.
FIND_TABLE = """SELECT pg_catalog.set_config('migrator.table',
  coalesce(pg_catalog.to_regclass({table})::pg_catalog.oid::pg_catalog.text, ''), true)"""
FACTS = """SELECT n.nspname::text, c.relname::text, c.relkind::text,
       format_type(a.atttypid, NULL), a.attnotnull AND NOT EXISTS (
         SELECT FROM pg_constraint AS k
          WHERE k.conrelid = c.oid AND k.contype = 'n' AND k.conkey = ARRAY[a.attnum]
            AND NOT k.convalidated),
       EXISTS (SELECT FROM pg_index AS i
                WHERE i.indrelid = c.oid AND i.indisunique AND i.indisvalid
                  AND i.indnkeyatts = 1 AND i.indkey[0] = a.attnum AND i.indpred IS NULL),
       (SELECT CASE WHEN bool_and(p.reltuples >= 0) THEN sum(p.reltuples)::bigint END
          FROM pg_class AS p
         WHERE p.oid = c.oid AND p.relkind = 'r' OR c.relkind = 'p' AND p.relkind = 'r' AND p.oid IN
               (SELECT relid FROM pg_partition_tree(c.oid::regclass))),
       to_regclass({cursor}) IS NOT NULL
  FROM (SELECT nullif(current_setting('migrator.table'), '')::oid AS oid) AS named
  LEFT JOIN pg_class AS c ON c.oid = named.oid
  LEFT JOIN pg_namespace AS n ON n.oid = c.relnamespace
  LEFT JOIN pg_attribute AS a
    ON a.attrelid = c.oid AND a.attname = {key} AND a.attnum > 0 AND NOT a.attisdropped"""
#: Each as its type prints it for any reader: no setting of the session changes what it means.
PRINTED = ("SET LOCAL datestyle = 'ISO, YMD'", "SET LOCAL timezone = 'UTC'")
BOUNDS = """WITH batch AS MATERIALIZED (
  SELECT t.{key} AS key FROM {table} AS t{after} ORDER BY t.{key} LIMIT {size}
), ends AS (
  SELECT (SELECT key FROM batch ORDER BY key LIMIT 1) AS low,
         (SELECT key FROM batch ORDER BY key DESC LIMIT 1) AS high
)
SELECT low::text, high::text, (SELECT count(*) FROM batch),
       EXISTS (SELECT FROM {table} AS t WHERE t.{key} > ends.high)
  FROM ends"""
NOT_MADE = """  IF to_regclass({cursor}) IS NOT NULL THEN
    RAISE EXCEPTION USING ERRCODE = '{moved}', MESSAGE = 'a cursor was made';
  END IF;
"""
AS_SEEN = """  IF ({query}) <> '{head}' THEN
    RAISE EXCEPTION USING ERRCODE = '{code}', MESSAGE = '{message}';
  END IF;
"""
#: Without a strong lock of this transaction the table is the one that was asked about, and as it
#: was; a table that was put in its place has one.
STILL_OURS = """  IF to_regclass({cursor}) IS NULL OR EXISTS (
       SELECT FROM pg_locks AS held
        WHERE held.pid = pg_backend_pid() AND held.granted AND held.locktype = 'relation'
          AND held.relation = to_regclass({cursor})::oid
          AND held.mode IN ('ShareLock', 'ShareRowExclusiveLock', 'ExclusiveLock',
                            'AccessExclusiveLock')) THEN
    RAISE EXCEPTION USING ERRCODE = '{tampered}', MESSAGE = 'the table of cursors was altered';
  END IF;
"""
#: As the history's own are shut, `create.CLOSE`.
SHUT_OFF = """  api := (SELECT string_agg(quote_ident(rolname), ', ') FROM pg_roles
           WHERE rolname IN ('anon', 'authenticated', 'service_role'));
  IF api IS NOT NULL THEN
    EXECUTE format('REVOKE ALL ON %s FROM %s', {cursor}, api);
  END IF;
"""


@dataclass(frozen=True, slots=True)
class Walked:
    """The table that is walked and the column that it is walked by."""

    table: str  #: as SQL, with its schema
    key: str  #: as SQL
    type: str
    rows: int | None  #: as far as the server's statistics know


@dataclass(frozen=True, slots=True)
class Bounds:
    """One batch: the rows whose keys lie between these, both of them included."""

    low: str
    high: str
    rows: int  #: when they were looked for
    is_last: bool  #: no row lay behind them then

    @classmethod
    def of(
        cls, walked: Walked, low: str | None, high: str | None, rows: int, *, more: bool | None
    ) -> Bounds:
        """As BOUNDS answers; where there is no row the statement runs once even so."""
        if low is None or high is None:
            low, high = NOTHING_BETWEEN[walked.type]
        return cls(low, high, rows, is_last=not more)


def find_walked(place: Place, batches: Batches, limits: Limits) -> str:
    """What the table and the key are, and whether there is a cursor's table."""
    path = ", ".join(map(identifier, limits.search_path)) or "DEFAULT"
    return first(
        marker(place, "looks for the table of batches"),
        f"SET LOCAL search_path TO {path}",
        *as_role(limits.run_as),
        FIND_TABLE.format(table=literal(batches.quoted)),
        *(("SET LOCAL role TO DEFAULT",) if limits.run_as else ()),  # ours is not shown to it
        HERE,
        FACTS.format(cursor=literal(cursor_table(place).quoted), key=literal(batches.key)),
    )


def find_bounds(place: Place, walked: Walked, last: str | None, size: int, limits: Limits) -> str:
    """The next batch behind the key `last`, from the start where that is None."""
    after = "" if last is None else f" WHERE t.{walked.key} > {literal(last)}::{walked.type}"
    words = {"table": walked.table, "key": walked.key, "after": after, "size": size}
    return first(
        marker(place, "looks for the next batch"),
        f"SET LOCAL lock_timeout = {limits.lock_timeout}",
        f"SET LOCAL statement_timeout = {limits.statement_timeout}",
        *PRINTED,
        *as_role(limits.run_as),
        BOUNDS.format(**words),
    )


def seen_as_file(place: Place, query: str, limits: Limits) -> str:
    """`query` with the search_path and the role of the file."""
    path = ", ".join(map(identifier, limits.search_path)) or "DEFAULT"
    return first(
        marker(place, "asserts"),
        f"SET LOCAL lock_timeout = {limits.lock_timeout}",
        f"SET LOCAL statement_timeout = {limits.statement_timeout}",
        f"SET LOCAL search_path TO {path}",
        *as_role(limits.run_as),
        query,
    )


def read_cursors(place: Place, query: str, limits: Limits) -> str:
    """What `query` reads of the cursor's table, which is there."""
    check = asked([cursor_table(place)], place.server_version, Access.READ)
    limit = f"SET LOCAL lock_timeout = {limits.lock_timeout}"
    return first(marker(place, "reads its cursor"), limit, do(check, DECLARE), query)


def make_cursors(place: Place, limits: Limits) -> str:
    """Make the cursor's table under the runners' lock, shut to others as the history is."""
    name = cursor_table(place).quoted
    check = asked([cursor_table(place)], place.server_version, Access.WRITE)
    statements = (
        *opening(place, limits, "prepares its cursor", owners=Owners.TRUSTED),
        "SET LOCAL search_path TO DEFAULT",
        MAKE.format(cursor=name),
        f"ALTER TABLE {name} ENABLE ROW LEVEL SECURITY",
        HERE,
        do(SHUT_OFF.format(cursor=literal(name)), "  api pg_catalog.text;\n"),
        do(check, DECLARE),
        "COMMIT",
        *TAIL,
    )
    return ";\n".join(statements)


def bounds_set(bounds: Bounds) -> list[str]:
    """Statements that hand a batch its bounds, until the transaction ends."""
    return [
        f"SELECT pg_catalog.set_config('{setting}', {literal(value)}, true)"
        for setting, value in ((FROM, bounds.low), (UPTO, bounds.high))
    ]


def around(place: Place, bounds: Bounds, cursor_seen: str | None) -> Around:
    """What a batch's flight does beside a usual one's.

    `cursor_seen` is the head of the cursor's table; None: there is no such table.
    """
    name = cursor_table(place).quoted
    settings = bounds_set(bounds)
    if cursor_seen is None:
        check = NOT_MADE.format(cursor=literal(name), moved=MOVED)
        return Around((do(check), *settings))
    query = CURSOR_HEAD.format(cursor=name)
    seen = AS_SEEN.format(query=query, head=cursor_seen, code=MOVED, message="the cursor has moved")
    still = STILL_OURS.format(cursor=literal(name), tampered=TAMPERED)
    message = f"rows of {CURSOR_NAME} were changed"
    still += AS_SEEN.format(query=query, head=cursor_seen, code=TAMPERED, message=message)
    return Around((do(seen), *settings), still, (cursor_table(place),))
