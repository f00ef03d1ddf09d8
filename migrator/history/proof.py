"""What proves that just our rows were written: questions before and after a file, and each write.

docs/design.md section 12.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Sequence

from migrator.errors import AccessError
from migrator.history.fence import Table, Write, table_oid
from migrator.postgres.quoting import literal

UNWRITTEN = "MG006"  #: a row was not written as it was sent: a trigger has changed or dropped it
TAMPERED = "MG007"  #: the file has changed our own tables
#: What a transaction has done to the tables so far: their oids and files, and counters of rows.
#: Counters are exact as differences within one transaction; what was rolled back to a savepoint
#: counts too [M: 14, 15, 18].
STATE = """jsonb_build_array({oids},
    pg_relation_filenode({history}), pg_relation_filenode({log}),
    pg_stat_get_xact_tuples_inserted({history}), pg_stat_get_xact_tuples_updated({history}),
    pg_stat_get_xact_tuples_deleted({history}), pg_stat_get_xact_tuples_inserted({log}),
    pg_stat_get_xact_tuples_updated({log}), pg_stat_get_xact_tuples_deleted({log}))"""
CATALOG_OID = """(SELECT c.oid FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
    WHERE n.nspname = {schema} AND c.relname = {name})"""
FILES, HISTORY_ROWS, LOG_ROWS = (0, 1, 2, 3), (4, 5, 6), (7, 8, 9)  # places in it
SHAPE = """(SELECT string_agg(concat_ws(' ', a.attname, a.atttypid, a.atttypmod, a.attnotnull,
                               c.relchecks, c.relowner, c.relrowsecurity, c.relforcerowsecurity),
                     ', ' ORDER BY c.oid, a.attnum)
    FROM pg_class AS c JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0
   WHERE c.oid IN ({oids}))"""
KEEP = """  PERFORM set_config('migrator.before', ({state})::text, true),
    set_config('migrator.shape', {shape}, true);
"""
KEEP_COUNT = """  IF current_setting('track_counts') <> 'on' THEN
    PERFORM set_config('migrator.logged', (SELECT count(*) FROM {log})::text, true);
  END IF;
"""
REMAINS = """  IF {history_oid} IS NULL OR {log_oid} IS NULL THEN
    RAISE EXCEPTION USING ERRCODE = '{code}', MESSAGE = 'dropped or renamed';
  END IF;
  IF NOT (has_table_privilege({history_oid}, 'INSERT') AND has_table_privilege({log_oid}, 'INSERT')
     AND has_table_privilege({history_oid}, 'SELECT') AND has_table_privilege({log_oid}, 'SELECT'))
  THEN
    RAISE EXCEPTION USING ERRCODE = '{code}', MESSAGE = 'rights on it were revoked';
  END IF;
"""
#: Equal counters prove that nothing was done; other ones do not prove that something was, nor do
#: any where counting is off. Then the rows are looked at: their head, and whether this transaction
#: has written one, whose xmin then is not older than it.
UNTOUCHED = """  migrator_before := nullif(current_setting('migrator.before', true), '')::jsonb;
  migrator_found := {state};
  IF {moved} THEN
    RAISE EXCEPTION USING ERRCODE = '{code}', MESSAGE = 'truncated, or put in another''s place';
  END IF;
  IF nullif(current_setting('migrator.shape', true), '') <> {shape} THEN
    RAISE EXCEPTION USING ERRCODE = '{code}', MESSAGE = 'altered';
  END IF;
  IF migrator_before IS DISTINCT FROM migrator_found
     OR current_setting('track_counts') <> 'on' THEN
    EXECUTE {changed} INTO migrator_plain;
    IF migrator_plain
       OR coalesce(migrator_before->{deleted}, '0') <> migrator_found->{deleted} THEN
      RAISE EXCEPTION USING ERRCODE = '{code}', MESSAGE = 'rows were changed';
    END IF;
  END IF;
"""
#: Texts that are seldom run are strings here: what stands in a block is parsed each time.
ROWS_CHANGED = """SELECT ({head_query}) <> '{head}'
    OR EXISTS (SELECT FROM {history} AS row WHERE {ours})
    OR EXISTS (SELECT FROM {log} AS row WHERE {ours})
    OR NOT EXISTS (SELECT FROM {log})
    OR coalesce(nullif(current_setting('migrator.logged', true), '')::bigint
                <> (SELECT count(*) FROM {log}), false)"""
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
PROVED = """  migrator_found := {state};
  IF current_setting('track_counts') = 'on' AND NOT coalesce(
       {written}, false) THEN
    EXECUTE {blame} INTO migrator_found;
    RAISE EXCEPTION USING ERRCODE = '{code}', MESSAGE = 'not the rows that were sent were written',
      DETAIL = migrator_found::text;
  END IF;
"""
CHANGED = "(migrator_found->>{0})::bigint - (migrator_before->>{0})::bigint"


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


def keep(history: Table, log: Table, *, count: bool = True) -> str:
    """Statements of a block that remember, until the transaction ends, what `untouched` asks.

    They read no row, but for the `count` of the log's where the server does no counting; without
    that they need no right on the schema, as the role at work may be the file's.
    """
    by_name = (
        (table_oid(history), table_oid(log))
        if count
        else (_catalog_oid(history), _catalog_oid(log))
    )
    text = KEEP.format(state=_state(*by_name), shape=_shape(*by_name))
    return text + KEEP_COUNT.format(log=log.quoted) if count else text


def remains(history: Table, log: Table) -> str:
    """Statements of a block that raise TAMPERED when the tables are gone, or our rights on them."""
    return REMAINS.format(history_oid=table_oid(history), log_oid=table_oid(log), code=TAMPERED)


def untouched(history: Table, log: Table, head_query: str, head: str) -> str:
    """Statements of a block that raise TAMPERED when the file has changed our tables.

    `head_query` gives the history's head, which must still be `head`; `keep` came before the file.
    """
    changed = ROWS_CHANGED.format(
        history=history.quoted, log=log.quoted, head_query=head_query, head=head, ours=OF_OURS
    )
    moved = " OR ".join(f"migrator_before->{at} <> migrator_found->{at}" for at in FILES)
    return remains(history, log) + UNTOUCHED.format(
        state=_state(table_oid(history), table_oid(log)),
        shape=_shape(table_oid(history), table_oid(log)),
        moved=moved,
        deleted=LOG_ROWS[-1],
        changed=literal(changed),
        code=TAMPERED,
    )


def writing(history: Table, log: Table, writes: Sequence[Write], *, known: bool = False) -> str:
    """Statements of a block that write, and raise UNWRITTEN unless just that was written.

    What the transaction has done so far is `known` right behind `untouched`.
    """
    state = _state(table_oid(history), table_oid(log))
    blame = literal(BLAME.format(schema=literal(history.schema)))
    text = "" if known else f"  migrator_found := {state};\n"
    text += "  migrator_before := migrator_found;\n"
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
    return text + PROVED.format(state=state, written=written, code=UNWRITTEN, blame=blame)


def _state(history: str, log: str) -> str:
    """Of two tables, by expressions that give their oids."""
    return STATE.format(oids=f"({history})::bigint, ({log})::bigint", history=history, log=log)


def _shape(history: str, log: str) -> str:
    return SHAPE.format(oids=f"{history}, {log}")


def _catalog_oid(table: Table) -> str:
    return CATALOG_OID.format(schema=literal(table.schema), name=literal(table.name))
