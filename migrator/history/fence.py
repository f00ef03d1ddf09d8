"""What is asked before our tables are read or written: can foreign code run, who may forge rows?

Both questions are asked in the message that reads or writes, under a lock that keeps the tables'
owner from changing the answer; docs/design.md section 12. ROW EXCLUSIVE keeps CREATE TRIGGER out,
ACCESS SHARE does not.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, NamedTuple

from migrator.errors import AccessError
from migrator.postgres.quoting import identifier, literal

UNTRUSTED = "MG005"  #: SQLSTATE of our own: an object that another role controls is in the way
UNWRITTEN = "MG006"  #: a row was not written as it was sent: a trigger has changed or dropped it
TAMPERED = "MG007"  #: the file has changed our own tables


OWN = ("schema_migrations", "schema_migrations_log")  #: what our tables are called


class Access(Enum):
    """What is done with a table, and the lock that the questions are asked under."""

    READ = "ACCESS SHARE"
    WRITE = "ROW EXCLUSIVE"


class Owners(Enum):
    """Whose tables will do."""

    TRUSTED = "of a role that is trusted, as any row may be acted upon"
    OF_SCHEMA = "of the schema's owner too, as a person judges what is read there"
    ANY = "of any role, as nothing depends on the rows"


class Table(NamedTuple):
    """A table that messages of ours read or write."""

    schema: str
    name: str

    @property
    def quoted(self) -> str:
        name = self.name if self.name in OWN else identifier(self.name)
        return f"{identifier(self.schema)}.{name}"

    def __str__(self) -> str:
        return f"{self.schema}.{self.name}"


class Write(NamedTuple):
    """A statement of ours that changes rows, and how many it must change."""

    sql: str  #: one statement, or several of PL/pgSQL of which the last one that ran counts
    rows: int | None = 1  #: that it reports; None: any number
    history: int = 0  #: rows of schema_migrations that it inserts, updates or deletes
    log: int = 0  #: rows of schema_migrations_log that it inserts


@dataclass(frozen=True, slots=True)
class Distrust:
    """What is wrong with tables, as `question` answers it."""

    code: tuple[Mapping[str, str], ...] = ()  #: table, what, owner of what could run as us
    owners: tuple[Mapping[str, Any], ...] = ()  #: table, owner, owns_schema: who could forge rows

    @classmethod
    def of(cls, answer: Mapping[str, Any]) -> Distrust:
        return cls(tuple(answer["code"]), tuple(answer["owners"]))

    def refuse_code(self, tables: Collection[str] = ()) -> None:
        """AccessError when code of another role could run, in one of `tables` or in any."""
        found = [one for one in self.code if not tables or one["table"] in tables]
        if found:
            raise _refused_code(found)

    def refuse_owners(self, owners: Owners = Owners.TRUSTED) -> None:
        """AccessError when a role for which `owners` does not do may write any row."""
        if owners is Owners.OF_SCHEMA and self.believable:
            return
        if self.owners and owners is not Owners.ANY:
            raise _refused_owner(self.owners[0])

    @property
    def believable(self) -> bool:
        """Whether what the journal says may be acted upon: no stranger can have written it."""
        return not self.code and all(one["owns_schema"] for one in self.owners)


def explain(detail: str | None) -> AccessError:
    """The refusal UNTRUSTED as the error that ends the run."""
    with contextlib.suppress(ValueError, KeyError, TypeError):  # a file may raise our SQLSTATE
        found = Distrust.of(json.loads(detail or ""))
        if found.code:
            return _refused_code(found.code)
        if found.owners:
            return _refused_owner(found.owners[0])
    return AccessError("the history's tables cannot be trusted")


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


def question(tables: Sequence[Table], server_version: int, access: Access) -> str:
    """A query of one JSON value for `Distrust.of`; empty lists: these tables can be trusted.

    It evaluates nothing that belongs to them, and needs HERE. A table that is not there has
    nothing wrong with it.
    """
    names = ", ".join(f"({literal(table.schema)}, {literal(table.name)})" for table in tables)
    return question_of(f"VALUES {names}", server_version, access)


def question_of(names: str, server_version: int, access: Access) -> str:
    """As `question`, of the tables whose schemas and names the query `names` gives."""
    inherits = "m.inherit_option" if server_version >= 160000 else "member.rolinherit"
    # a default is evaluated by a write alone, a virtual column by a read
    evaluated = "true" if access is Access.WRITE else "d.attgenerated = 'v'"
    triggers = TRIGGERS if access is Access.WRITE else ""
    return QUESTION.format(
        names=names,
        inherits=inherits,
        evaluated=evaluated,
        writes="true" if access is Access.WRITE else "false",
        usual=USUAL,
        triggers=triggers,
    )


def plain(tables: Sequence[Table], access: Access) -> str:
    """A query of one boolean: whether `question` need not be asked. Needs HERE."""
    oids = ", ".join(_oid(table) for table in tables)
    no_triggers = " AND NOT c.relhastriggers" if access is Access.WRITE else ""
    return PLAIN.format(count=len(tables), no_triggers=no_triggers, oids=oids, usual=USUAL)


def asked(
    tables: Sequence[Table],
    server_version: int,
    access: Access,
    owners: Owners = Owners.TRUSTED,
) -> str:
    """The questions as statements of a block, which raise UNTRUSTED.

    The lock is taken first, and the answer is read by a statement of its own: with the snapshot
    of the one before it could be out of date.
    """
    locked = ", ".join(table.quoted for table in tables)
    trouble = "migrator_found->'code' <> '[]'"
    if owners is Owners.TRUSTED:
        trouble += " OR migrator_found->'owners' <> '[]'"
    if owners is Owners.OF_SCHEMA:
        trouble += """ OR migrator_found->'owners' @? '$[*] ? (@.owns_schema == false)'"""
    return ASKED.format(
        locked=locked,
        mode=access.value,
        plain=plain(tables, access),
        question=literal(question(tables, server_version, access)),
        trouble=trouble,
        code=UNTRUSTED,
    )


#: For the blocks that `asked`, `untouched` and `writing` stand in.
DECLARE = """  migrator_found jsonb;
  migrator_before jsonb;
  migrator_rows bigint;
  migrator_ms bigint;
  migrator_plain boolean;
"""
ASKED = """  LOCK TABLE {locked} IN {mode} MODE;
  IF NOT coalesce(({plain}), false) THEN
    EXECUTE {question} INTO migrator_found;
  END IF;
  IF {trouble} THEN
    RAISE EXCEPTION USING ERRCODE = '{code}', DETAIL = migrator_found::text,
      MESSAGE = 'the history''s tables cannot be trusted';
  END IF;
"""
#: The defaults that we give our columns, as PostgreSQL prints them under HERE.
USUAL = """'CURRENT_TIMESTAMP', 'now()', 'clock_timestamp()', 'false',
  '''versioned''::text', '''{}''::jsonb'"""
#: Whether all of the tables are our own and as we make them: then nothing more is to be asked, and
#: PostgreSQL need not plan the long question, which costs it 20 ms [M: 15]. Flags of pg_class may
#: say yes too often, never too seldom; an oid from 16384 on is not one of PostgreSQL's own.
PLAIN = """SELECT count(*) = {count} AND bool_and(
      c.relkind = 'r' AND NOT c.relhasrules AND NOT c.relhassubclass AND c.relchecks = 0
      AND NOT c.relispartition
      AND pg_get_userbyid(c.relowner) = current_user AND NOT row_security_active(c.oid){no_triggers}
      AND NOT EXISTS (SELECT FROM pg_attribute AS a
                       WHERE a.attrelid = c.oid AND a.attnum > 0 AND a.atttypid >= 16384)
      AND NOT EXISTS (SELECT FROM pg_attrdef AS d
                       WHERE d.adrelid = c.oid
                         AND pg_get_expr(d.adbin, d.adrelid) <> ALL (ARRAY[{usual}]))
      AND NOT EXISTS (SELECT FROM pg_index AS i
                       WHERE i.indrelid = c.oid AND (i.indexprs IS NOT NULL
                          OR i.indpred IS NOT NULL OR i.indisexclusion))
      AND NOT EXISTS (SELECT FROM pg_statistic_ext AS s WHERE s.stxrelid = c.oid))
  FROM pg_class AS c WHERE c.oid IN ({oids})"""
#: Trusted are the current role, superusers, the database's owner, and the roles whose rights the
#: current one has by inheritance. pg_has_role is of no use here: it says yes to any superuser, and
#: to a role that may merely grant the role. Pinned functions, which PostgreSQL itself brought, have
#: no entries in pg_depend; some of them run SQL that is given as text, such as query_to_xml.
QUESTION = """WITH RECURSIVE own (oid) AS (
  SELECT r.oid FROM pg_roles AS r WHERE r.rolname = current_user
  UNION
  SELECT m.roleid FROM own JOIN pg_auth_members AS m ON m.member = own.oid
    JOIN pg_roles AS member ON member.oid = m.member
   WHERE {inherits}
), trusted (oid) AS MATERIALIZED (
  SELECT oid FROM own
  UNION SELECT r.oid FROM pg_roles AS r WHERE r.rolsuper OR r.rolname = 'pg_database_owner'
  UNION SELECT d.datdba FROM pg_database AS d WHERE d.datname = current_database()
), ours AS MATERIALIZED (
  SELECT c.oid, c.relkind, c.relowner, n.nspowner, n.nspname || '.' || c.relname AS name
    FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
   WHERE (n.nspname, c.relname) IN ({names})
), parts (tab, class, oid, what, text) AS (
  SELECT o.oid, 'pg_attrdef'::regclass, e.oid, 'the column ' || d.attname,
         pg_get_expr(e.adbin, e.adrelid)
    FROM ours AS o JOIN pg_attrdef AS e ON e.adrelid = o.oid
    JOIN pg_attribute AS d ON d.attrelid = o.oid AND d.attnum = e.adnum
   WHERE {evaluated}
  UNION ALL
  SELECT o.oid, 'pg_constraint'::regclass, k.oid, 'the constraint ' || k.conname,
         CASE k.contype WHEN 'c' THEN pg_get_constraintdef(k.oid) END
    FROM ours AS o JOIN pg_constraint AS k ON k.conrelid = o.oid
  UNION ALL
  SELECT o.oid, 'pg_class'::regclass, i.indexrelid, 'the index ' || c.relname, NULL
    FROM ours AS o JOIN pg_index AS i ON i.indrelid = o.oid
    JOIN pg_class AS c ON c.oid = i.indexrelid
  UNION ALL
  SELECT o.oid, 'pg_statistic_ext'::regclass, s.oid, 'the statistics ' || s.stxname, NULL
    FROM ours AS o JOIN pg_statistic_ext AS s ON s.stxrelid = o.oid
  UNION ALL
  SELECT o.oid, 'pg_policy'::regclass, p.oid, 'the policy ' || p.polname, NULL
    FROM ours AS o JOIN pg_policy AS p ON p.polrelid = o.oid
   WHERE o.relkind IN ('r', 'p') AND row_security_active(o.oid){triggers}
), code (tab, what, owner) AS MATERIALIZED (
  SELECT o.oid, CASE o.relkind WHEN 'v' THEN 'it is a view'
                  WHEN 'm' THEN 'it is a materialized view'
                  WHEN 'f' THEN 'it is a foreign table' ELSE 'it is no table' END, o.relowner
    FROM ours AS o WHERE o.relkind NOT IN ('r', 'p')
  UNION ALL
  SELECT o.oid, 'it is a partition, or partitioned by an expression', o.relowner
    FROM ours AS o JOIN pg_class AS c ON c.oid = o.oid
    LEFT JOIN pg_partitioned_table AS p ON p.partrelid = o.oid
   WHERE c.relispartition OR p.partexprs IS NOT NULL
  UNION ALL
  SELECT o.oid, 'the rule ' || r.rulename, o.relowner
    FROM ours AS o JOIN pg_rewrite AS r ON r.ev_class = o.oid WHERE o.relkind IN ('r', 'p')
  UNION ALL
  SELECT o.oid, 'the child table ' || c.relname, c.relowner
    FROM ours AS o JOIN pg_inherits AS h ON h.inhparent = o.oid
    JOIN pg_class AS c ON c.oid = h.inhrelid WHERE o.relkind IN ('r', 'p')
  UNION ALL
  SELECT o.oid, 'the column ' || a.attname || ' has the type ' || format_type(t.oid, NULL),
         t.typowner
    FROM ours AS o JOIN pg_attribute AS a ON a.attrelid = o.oid
    JOIN pg_type AS t ON t.oid = a.atttypid
   WHERE a.attnum > 0 AND NOT a.attisdropped
     AND t.typnamespace <> 'pg_catalog'::regnamespace
  UNION ALL
  SELECT o.oid, 'the policy ' || p.polname, o.relowner
    FROM ours AS o JOIN pg_policy AS p ON p.polrelid = o.oid
   WHERE o.relkind IN ('r', 'p') AND row_security_active(o.oid)
     AND EXISTS (SELECT FROM unnest(p.polroles) AS r
                  WHERE CASE WHEN r = 0 THEN true
                             ELSE pg_has_role(current_user, r, 'USAGE') END)
     AND NOT (coalesce(pg_get_expr(p.polqual, o.oid), 'true') IN ('true', 'false')
              AND coalesce(pg_get_expr(p.polwithcheck, o.oid), 'true') IN ('true', 'false'))
  UNION ALL
  SELECT parts.tab, parts.what || ' calls ' || f.oid::regprocedure::text, f.proowner
    FROM parts JOIN pg_depend AS d ON d.classid = parts.class AND d.objid = parts.oid
    LEFT JOIN pg_operator AS p ON d.refclassid = 'pg_operator'::regclass AND p.oid = d.refobjid
    JOIN pg_proc AS f ON f.oid = CASE WHEN d.refclassid = 'pg_proc'::regclass THEN d.refobjid
                                      ELSE p.oprcode END
   WHERE f.proowner NOT IN (SELECT oid FROM trusted)
  UNION ALL
  SELECT parts.tab, parts.what || ' may run SQL of its own', o.relowner
    FROM parts JOIN ours AS o ON o.oid = parts.tab
   WHERE parts.text ~ 'to_xml|ts_stat|ts_rewrite'
      OR ({writes} AND o.relowner NOT IN (SELECT oid FROM trusted)
          AND parts.text <> ALL (ARRAY[{usual}]))
  UNION ALL
  SELECT parts.tab, parts.what || ' uses the type ' || format_type(t.oid, NULL), t.typowner
    FROM parts JOIN pg_depend AS d ON d.classid = parts.class AND d.objid = parts.oid
     AND d.refclassid = 'pg_type'::regclass
    JOIN pg_type AS t ON t.oid = d.refobjid
   WHERE t.typowner NOT IN (SELECT oid FROM trusted)
)
SELECT jsonb_build_object(
  'code', (SELECT coalesce(jsonb_agg(DISTINCT jsonb_build_object(
               'table', o.name, 'what', c.what, 'owner', pg_get_userbyid(c.owner))), '[]')
             FROM code AS c JOIN ours AS o ON o.oid = c.tab),
  'owners', (SELECT coalesce(jsonb_agg(jsonb_build_object(
                 'table', o.name, 'owner', pg_get_userbyid(o.relowner), 'role', current_user,
                 'owns_schema', o.relowner = o.nspowner) ORDER BY o.name), '[]')
               FROM ours AS o WHERE o.relowner NOT IN (SELECT oid FROM trusted)))"""
TRIGGERS = """
  UNION ALL
  SELECT o.oid, 'pg_trigger'::regclass, g.oid, 'the trigger ' || g.tgname,
         pg_get_triggerdef(g.oid)
    FROM ours AS o JOIN pg_trigger AS g ON g.tgrelid = o.oid"""

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


def keep(history: Table, log: Table, *, count: bool = True) -> str:
    """Statements of a block that remember, until the transaction ends, what `untouched` asks.

    They read no row, but for the `count` of the log's where the server does no counting; without
    that they need no right on the schema, as the role at work may be the file's.
    """
    by_name = (_oid(history), _oid(log)) if count else (_catalog_oid(history), _catalog_oid(log))
    text = KEEP.format(state=_state(*by_name), shape=_shape(*by_name))
    return text + KEEP_COUNT.format(log=log.quoted) if count else text


def remains(history: Table, log: Table) -> str:
    """Statements of a block that raise TAMPERED when the tables are gone, or our rights on them."""
    return REMAINS.format(history_oid=_oid(history), log_oid=_oid(log), code=TAMPERED)


def untouched(history: Table, log: Table, head_query: str, head: str) -> str:
    """Statements of a block that raise TAMPERED when the file has changed our tables.

    `head_query` gives the history's head, which must still be `head`; `keep` came before the file.
    """
    changed = ROWS_CHANGED.format(
        history=history.quoted, log=log.quoted, head_query=head_query, head=head, ours=OF_OURS
    )
    moved = " OR ".join(f"migrator_before->{at} <> migrator_found->{at}" for at in FILES)
    return remains(history, log) + UNTOUCHED.format(
        state=_state(_oid(history), _oid(log)),
        shape=_shape(_oid(history), _oid(log)),
        moved=moved,
        deleted=LOG_ROWS[-1],
        changed=literal(changed),
        code=TAMPERED,
    )


def writing(history: Table, log: Table, writes: Sequence[Write], *, known: bool = False) -> str:
    """Statements of a block that write, and raise UNWRITTEN unless just that was written.

    What the transaction has done so far is `known` right behind `untouched`.
    """
    state = _state(_oid(history), _oid(log))
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


def _oid(table: Table) -> str:
    return f"to_regclass({literal(table.quoted)})::oid"


def _refused_code(found: Sequence[Mapping[str, str]]) -> AccessError:
    first = found[0]
    what = "; ".join(dict.fromkeys(f"{one['table']}: {one['what']}" for one in found[:5]))
    owners = ", ".join(dict.fromkeys(one["owner"] for one in found))
    return AccessError(
        f"code of {owners} could run here ({what}); nothing of it was evaluated",
        remedy=f"Find out who put that on {first['table']}. Drop it, or, if it is meant, have it "
        "owned by the role that runs the job; then run again.",
    )


def _refused_owner(found: Mapping[str, Any]) -> AccessError:
    table, owner, role = found["table"], identifier(found["owner"]), identifier(found["role"])
    return AccessError(
        f"{table} belongs to {found['owner']}, a role that {found['role']} has no reason to "
        "trust: it could have written any row",
        remedy=f"If that table is the history: GRANT {owner} TO {role}; or, as a superuser, "
        f"ALTER TABLE {table} OWNER TO {role}; else drop it. Then run again.",
    )
