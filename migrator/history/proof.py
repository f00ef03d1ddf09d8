"""What proves that just our rows were written: questions before and after a file, and each write.

docs/design.md section 12.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Sequence

from migrator.errors import AccessError
from migrator.history.fence import CLASS_SHAPE, COLUMN_SHAPE, Table, Write, table_oid
from migrator.postgres.quoting import literal

UNWRITTEN = "MG006"  #: a row was not written as it was sent: a trigger has changed or dropped it
TAMPERED = "MG007"  #: the file has changed our own tables
#: The tables' oids: by their names, which needs HERE, or by the catalog, which needs no right on
#: the schema.
LOOK_UP = """  migrator_history := {history};
  migrator_log := {log};
"""
CATALOG_OID = """(SELECT c.oid FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
    WHERE n.nspname = {schema} AND c.relname = {name})"""
#: What a transaction has done to the tables so far: their oids, and counters of rows. Counters are
#: exact as differences within one transaction; what was rolled back to a savepoint counts too
#: [M: 14, 15, 18].
STATE = """ARRAY[{history}::bigint, {log}::bigint,
    pg_stat_get_xact_tuples_inserted({history}), pg_stat_get_xact_tuples_updated({history}),
    pg_stat_get_xact_tuples_deleted({history}), pg_stat_get_xact_tuples_inserted({log}),
    pg_stat_get_xact_tuples_updated({log}), pg_stat_get_xact_tuples_deleted({log})]"""
OIDS, HISTORY_ROWS, LOG_ROWS = (1, 2), (3, 4, 5), (6, 7, 8)  # places in it
SHAPE = """(SELECT {classes}
      FROM pg_class AS c WHERE c.oid IN (migrator_history, migrator_log))
    || (SELECT {columns}
      FROM pg_attribute AS a
     WHERE a.attrelid IN (migrator_history, migrator_log) AND a.attnum > 0)"""
#: It begins with the run's id, which no file knows: what a file SETs there is no answer of ours.
#: Of when the file began there is no other record: all flights of a message have the
#: transaction_timestamp() of the first [M].
KEEP = """  migrator_kept := set_config('migrator.before', {run_id} || {state}::text || ' '
    || coalesce(migrator_rows::text, '') || ' '
    || extract(epoch FROM clock_timestamp())::text || ' '
    || coalesce(migrator_tally::text, '') || ' ' || {shape}, true);
"""
KEEP_COUNT = """  IF current_setting('track_counts') <> 'on' THEN
    migrator_rows := (SELECT count(*) FROM {log});
  END IF;
"""
#: When what `keep` kept was kept; `lost`, another time, where a file has lost that.
BEGAN = """  migrator_began := CASE
    WHEN starts_with(current_setting('migrator.before', true), {run_id}) THEN
      to_timestamp(split_part(current_setting('migrator.before', true), ' ', 3)::float8)
    ELSE {lost} END;
"""
#: The tally that was kept, or another or none where a file has changed it: that may cost the run no
#: more than a flight. What is no number is not sent: there may be no way to convert it to UTF8.
KEPT_TALLY = """substring(split_part(current_setting('migrator.before', true), ' ', 4)
      FROM '^-?[0-9]{1,40}$')"""
RIGHTS = """(has_table_privilege(migrator_history, 'INSERT')
     AND has_table_privilege(migrator_log, 'INSERT')
     AND has_table_privilege(migrator_history, 'SELECT')
     AND has_table_privilege(migrator_log, 'SELECT'))"""
REMAINS = """  IF migrator_history IS NULL OR migrator_log IS NULL THEN
    RAISE EXCEPTION USING ERRCODE = '{code}', MESSAGE = 'dropped or renamed';
  END IF;
  IF NOT {rights} THEN
    RAISE EXCEPTION USING ERRCODE = '{code}', MESSAGE = 'rights on it were revoked';
  END IF;
"""
#: Our own lock, the proof that the transaction is still ours; and whether the transaction holds one
#: on our tables without which nothing of their shape can change. The function is what pg_locks
#: shows: to look through a view costs more.
LOCKS = """  SELECT coalesce(bool_or({ours}), false), coalesce(bool_or(held.locktype = 'relation'
           AND held.relation IN (migrator_history, migrator_log)
           AND held.mode IN ('ShareLock', 'ShareRowExclusiveLock', 'ExclusiveLock',
                             'AccessExclusiveLock')), false)
    INTO migrator_held, migrator_altered
    FROM pg_lock_status() AS held WHERE held.pid = pg_backend_pid() AND held.granted;
"""
#: Equal counters prove that nothing was done; other ones do not prove that something was, nor do
#: any where counting is off, or what was kept is lost, as after RESET ALL. Then the rows are looked
#: at: their head, and whether this transaction has written one, whose xmin then is not older than
#: it. What is within the first IF costs a usual flight nothing: it is not even parsed.
UNTOUCHED = """  migrator_now := {state};
  IF migrator_altered OR current_setting('track_counts') <> 'on'
     OR starts_with(current_setting('migrator.before', true),
                    {run_id} || migrator_now::text || ' ') IS NOT TRUE
     OR NOT {rights} THEN
{remains}    migrator_kept := current_setting('migrator.before', true);
    IF starts_with(migrator_kept, {run_id}) IS NOT TRUE THEN
      migrator_kept := NULL;
    END IF;
    migrator_before := substr(split_part(migrator_kept, ' ', 1), length({run_id}) + 1)::bigint[];
    IF {moved} THEN
      RAISE EXCEPTION USING ERRCODE = '{code}', MESSAGE = 'another table is in its place';
    END IF;
    IF migrator_altered THEN
      IF substr(migrator_kept, length(split_part(migrator_kept, ' ', 1))
           + length(split_part(migrator_kept, ' ', 2))
           + length(split_part(migrator_kept, ' ', 3))
           + length(split_part(migrator_kept, ' ', 4)) + 5) IS DISTINCT FROM {shape} THEN
        RAISE EXCEPTION USING ERRCODE = '{code}', MESSAGE = 'truncated or altered';
      END IF;
    END IF;
    IF migrator_before IS DISTINCT FROM migrator_now
       OR current_setting('track_counts') <> 'on' THEN
      EXECUTE {changed} INTO migrator_plain
        USING nullif(split_part(migrator_kept, ' ', 2), '')::bigint;
      IF migrator_plain OR coalesce(migrator_before[{deleted}], 0) <> migrator_now[{deleted}] THEN
        RAISE EXCEPTION USING ERRCODE = '{code}', MESSAGE = 'rows were changed';
      END IF;
    END IF;
  END IF;
"""
#: Texts that are seldom run are strings here: what is in a block is parsed each time.
ROWS_CHANGED = """SELECT {unlike}
    OR EXISTS (SELECT FROM {history} AS row WHERE {ours})
    OR EXISTS (SELECT FROM {log} AS row WHERE {ours})
    OR NOT EXISTS (SELECT FROM {log})
    OR coalesce($1 <> (SELECT count(*) FROM {log}), false)"""
#: A row that is visible, and whose writer is still in progress, is of this transaction.
OF_OURS = """CASE WHEN age(row.xmin) <= age(pg_current_xact_id()::xid) THEN
      pg_xact_status((pg_current_xact_id()::text::bigint
        - (age(row.xmin) - age(pg_current_xact_id()::xid)))::text::xid8) = 'in progress'
    ELSE false END"""
WRITTEN = """  {sql};
  GET DIAGNOSTICS migrator_rows = ROW_COUNT;
  IF migrator_rows <> {rows} THEN
    EXECUTE {blame} INTO migrator_found;
    RAISE EXCEPTION USING ERRCODE = '{code}', MESSAGE = 'a row was not written',
      DETAIL = migrator_found::text;
  END IF;
"""
BLAME = """SELECT jsonb_build_object('schema', {schema}, 'triggers', (
         SELECT jsonb_agg(g.tgname || ' on ' || c.relname ORDER BY g.tgname, c.relname)
           FROM pg_trigger AS g JOIN pg_class AS c ON c.oid = g.tgrelid
           JOIN pg_namespace AS n ON n.oid = c.relnamespace
          WHERE n.nspname = {schema} AND NOT g.tgisinternal
            AND c.relname IN ('schema_migrations', 'schema_migrations_log')))"""
PROVED = """  migrator_now := {state};
  IF current_setting('track_counts') = 'on' AND NOT coalesce(
       {written}, false) THEN
    EXECUTE {blame} INTO migrator_found;
    RAISE EXCEPTION USING ERRCODE = '{code}', MESSAGE = 'not the rows that were sent were written',
      DETAIL = migrator_found::text;
  END IF;
"""
CHANGED = "migrator_now[{0}] - migrator_before[{0}]"


def unwritten(detail: str | None) -> AccessError:
    """The refusal UNWRITTEN as the error that ends the run."""
    triggers: list[str] = []
    with contextlib.suppress(ValueError, AttributeError, TypeError):  # as above
        triggers = list(json.loads(detail or "").get("triggers") or [])
    if not triggers:
        return AccessError(
            "a row of the history was not written as it was sent",
            remedy="Find what changes or drops its rows, then run again.",
        )
    return AccessError(
        f"a row of the history was not written as it was sent; see the trigger {triggers[0]}",
        remedy="Drop that trigger, or let it pass on the rows of the history's tables: RETURN NEW "
        "(of a DELETE: RETURN OLD). Then run again.",
    )


_STATE = STATE.format(history="migrator_history", log="migrator_log")
_SHAPE = SHAPE.format(classes=CLASS_SHAPE, columns=COLUMN_SHAPE)


def keep(history: Table, log: Table, run_id: str, *, count: bool = True) -> str:
    """Statements of a block that remember, until the transaction ends, what `untouched` asks.

    With `count` they come right behind `asked` of these tables, and count the log's rows where the
    server does no counting. Without it they read no row and need no right on the schema, as the
    role at work may be the file's.
    """
    if count:
        state = STATE.format(history="migrator_tables[1]", log="migrator_tables[2]")
        kept = KEEP.format(state=state, shape="migrator_shape", run_id=literal(run_id))
        return KEEP_COUNT.format(log=log.quoted) + kept
    look_up = LOOK_UP.format(history=_catalog_oid(history), log=_catalog_oid(log))
    return look_up + KEEP.format(state=_STATE, shape=_SHAPE, run_id=literal(run_id))


def began(run_id: str, lost: str) -> str:
    """A statement of a block that finds when the file began; where it lost that, `lost`."""
    return BEGAN.format(run_id=literal(run_id), lost=lost)


def remains(history: Table, log: Table) -> str:
    """Statements of a block that raise TAMPERED when the tables are gone, or our rights on them."""
    return _look_up(history, log) + REMAINS.format(rights=RIGHTS, code=TAMPERED)


def locks(history: Table, log: Table, ours: str) -> str:
    """Statements of a block that find out whether this backend has the lock that is `ours`.

    And what `untouched` asks about locks on the tables.
    """
    return _look_up(history, log) + LOCKS.format(ours=ours)


def untouched(history: Table, log: Table, run_id: str, unlike: str) -> str:
    """Statements of a block that raise TAMPERED when the file has changed our tables.

    By the SQL of `unlike` the history is not as it was; `keep` came before the file, and `locks`
    behind it.
    """
    changed = ROWS_CHANGED.format(
        history=history.quoted, log=log.quoted, unlike=unlike, ours=OF_OURS
    )
    moved = " OR ".join(f"migrator_before[{at}] <> migrator_now[{at}]" for at in OIDS)
    return UNTOUCHED.format(
        state=_STATE,
        rights=RIGHTS,
        remains=REMAINS.format(rights=RIGHTS, code=TAMPERED),
        shape=_SHAPE,
        run_id=literal(run_id),
        moved=moved,
        deleted=LOG_ROWS[-1],
        changed=literal(changed),
        code=TAMPERED,
    )


def writing(history: Table, log: Table, writes: Sequence[Write], *, known: bool = False) -> str:
    """Statements of a block that write, and raise UNWRITTEN unless just that was written.

    What the transaction has done so far is `known` right behind `untouched`.
    """
    blame = literal(BLAME.format(schema=literal(history.schema)))
    text = "" if known else _look_up(history, log) + f"  migrator_now := {_STATE};\n"
    text += "  migrator_before := migrator_now;\n"
    for write in writes:
        if write.rows is None:
            text += f"  {write.sql};\n"
        else:
            text += WRITTEN.format(sql=write.sql, rows=write.rows, code=UNWRITTEN, blame=blame)
    changed = " + ".join(CHANGED.format(at) for at in HISTORY_ROWS)
    inserted, *others = (CHANGED.format(at) for at in LOG_ROWS)
    conditions = (
        f"{changed} = {sum(write.history for write in writes)}",
        f"{inserted} = {sum(write.log for write in writes)}",
        *(f"{other} = 0" for other in others),
    )
    written = "\n       AND ".join(conditions)
    return text + PROVED.format(state=_STATE, written=written, code=UNWRITTEN, blame=blame)


def _look_up(history: Table, log: Table) -> str:
    return LOOK_UP.format(history=table_oid(history), log=table_oid(log))


def _catalog_oid(table: Table) -> str:
    return CATALOG_OID.format(schema=literal(table.schema), name=literal(table.name))
