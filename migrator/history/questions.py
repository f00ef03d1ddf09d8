"""What is asked before our tables are read or written: can foreign code run, who may forge rows?

Both questions are asked in the message that reads or writes, under a lock that keeps the tables'
owner from changing the answer; docs/design.md section 12. ROW EXCLUSIVE keeps CREATE TRIGGER out,
ACCESS SHARE does not.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from migrator.history.distrust import UNTRUSTED
from migrator.history.fence import CLASS_SHAPE, COLUMN_SHAPE, Access, Owners, Table, table_oid
from migrator.postgres.quoting import literal


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
    if access is Access.WRITE and server_version < 150000:
        triggers += GENERATED
    return QUESTION.format(
        names=names,
        inherits=inherits,
        evaluated=evaluated,
        writes="true" if access is Access.WRITE else "false",
        usual=USUAL,
        triggers=triggers,
    )


def plain(count: int, access: Access, oids: str) -> str:
    """A query of `plain`: whether `question` need not be asked; and of `shape`. Needs HERE.

    `oids` gives an array of the `count` tables' oids.
    """
    no_triggers = " AND NOT c.relhastriggers" if access is Access.WRITE else ""
    only = f" FILTER (WHERE {{}} = ANY (({oids})[1:2]))"
    return PLAIN.format(
        count=count,
        no_triggers=no_triggers,
        oids=oids,
        usual=USUAL,
        class_shape=CLASS_SHAPE + only.format("c.oid"),
        column_shape=COLUMN_SHAPE + only.format("a.attrelid"),
    )


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
    return _asked(tuple(tables), server_version, access, owners)


@lru_cache(maxsize=8)  # the same in each flight, and a third of what its text costs to make
def _asked(tables: tuple[Table, ...], server_version: int, access: Access, owners: Owners) -> str:
    locked = ", ".join(table.quoted for table in tables)
    trouble = "migrator_found->'code' <> '[]'"
    if owners is Owners.TRUSTED:
        trouble += " OR migrator_found->'owners' <> '[]'"
    if owners is Owners.OF_SCHEMA:
        trouble += """ OR migrator_found->'owners' @? '$[*] ? (@.owns_schema == false)'"""
    return ASKED.format(
        locked=locked,
        mode=access.value,
        oids=", ".join(table_oid(table) for table in tables),
        plain=literal(plain(len(tables), access, "%1$L::oid[]")),
        question=literal(question(tables, server_version, access)),
        trouble=trouble,
        code=UNTRUSTED,
    )


ASKED = """  LOCK TABLE {locked} IN {mode} MODE;
  migrator_tables := ARRAY[{oids}];
  EXECUTE format({plain}, migrator_tables) INTO migrator_plain, migrator_shape;
  IF migrator_plain IS NOT TRUE THEN
    EXECUTE {question} INTO migrator_found;
    IF {trouble} THEN
      RAISE EXCEPTION USING ERRCODE = '{code}', DETAIL = migrator_found::text,
        MESSAGE = 'the history''s tables cannot be trusted';
    END IF;
  END IF;
"""
#: The defaults that we give our columns, as PostgreSQL prints them under HERE.
USUAL = """'CURRENT_TIMESTAMP', 'now()', 'clock_timestamp()', 'false',
  '''versioned''::text', '''{}''::jsonb'"""
#: Whether all of the tables are our own and as we make them: then nothing more is to be asked, and
#: PostgreSQL need not plan the long question, which costs it 20 ms [M: 15]. Flags of pg_class may
#: say yes too often, never too seldom; an oid from 16384 on is not one of PostgreSQL's own. The
#: shape of the first two tables comes along, as to plan its own query would cost a third as much.
#: As a string that has the oids in it this costs two thirds [M: 15]: its plan is for no others, and
#: is not kept.
PLAIN = """SELECT c.plain AND a.plain
    AND NOT EXISTS (SELECT FROM pg_attrdef AS d
                     WHERE d.adrelid = ANY ({oids})
                       AND pg_get_expr(d.adbin, d.adrelid) <> ALL (ARRAY[{usual}]))
    AND NOT EXISTS (SELECT FROM pg_index AS i
                     WHERE i.indrelid = ANY ({oids}) AND (i.indexprs IS NOT NULL
                        OR i.indpred IS NOT NULL OR i.indisexclusion))
    AND NOT EXISTS (SELECT FROM pg_statistic_ext AS s WHERE s.stxrelid = ANY ({oids})) AS plain,
    c.shape || a.shape AS shape
  FROM (SELECT count(*) = {count} AND bool_and(
                 c.relkind = 'r' AND NOT c.relhasrules AND NOT c.relhassubclass
                 AND c.relchecks = 0 AND NOT c.relispartition
                 AND pg_get_userbyid(c.relowner) = current_user
                 AND NOT row_security_active(c.oid){no_triggers}) AS plain,
               {class_shape} AS shape
          FROM pg_class AS c WHERE c.oid = ANY ({oids})) AS c,
       (SELECT bool_and(a.atttypid < 16384) AS plain, {column_shape} AS shape
          FROM pg_attribute AS a WHERE a.attrelid = ANY ({oids}) AND a.attnum > 0) AS a"""
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
#: Before 15 what a generated column calls depends on the column, not on its expression.
GENERATED = """
  UNION ALL
  SELECT o.oid, 'pg_class'::regclass, o.oid, 'a generated column', NULL FROM ours AS o"""
