"""Reads what a database holds: a snapshot of the users' schemas, without what extensions brought.

Not read: what docs/design.md lists in section 11, and the order of a table's columns, which no undo
can bring back.
"""

from __future__ import annotations

from typing import Any

from migrator.batches.cursor import cursor_table
from migrator.history.place import Place, marker
from migrator.history.status_view import status_view
from migrator.postgres.quoting import first, literal
from migrator.postgres.session import Session
from migrator.scratch.snapshot import Snapshot, make_snapshot

#: Each gives kind, schema, the relation or type that it is a part of, name, facts. {grants:…} and
#: the like are filled in by `_filled`. What only newer servers have is no fact where it is as in
#: older ones, so that two versions can be compared.
#: What the server itself brought has oids below 16384 (FirstNormalObjectId, access/transam.h).
PARTS = (
    """SELECT 'extension', NULL, NULL, quote_ident(extname),
       jsonb_build_object('version', extversion, 'schema', extnamespace::regnamespace::text)
  FROM pg_extension""",
    """SELECT 'schema', quote_ident(nspname), NULL, quote_ident(nspname),
       jsonb_build_object('owner', {role:nspowner}, 'grants', {grants:nspacl:n:nspowner})
  FROM pg_namespace AS n WHERE nspname <> 'information_schema' AND nspname !~ '^pg_'
   AND NOT EXISTS (SELECT FROM pg_depend WHERE deptype = 'e' AND objid = n.oid
                      AND classid = 'pg_namespace'::regclass)""",
    """SELECT CASE c.relkind WHEN 'v' THEN 'view' WHEN 'm' THEN 'materialized view'
                      WHEN 'S' THEN 'sequence' WHEN 'f' THEN 'foreign table'
                      WHEN 'c' THEN 'composite type' ELSE 'table' END,
       c.relnamespace::regnamespace::text,
       (SELECT refobjid::regclass::text FROM pg_depend
         WHERE c.relkind = 'S' AND classid = 'pg_class'::regclass AND objid = c.oid
           AND refclassid = 'pg_class'::regclass AND deptype IN ('a', 'i')),
       c.oid::regclass::text,
       jsonb_strip_nulls(jsonb_build_object(
         'owner', {role:c.relowner},
         'grants', CASE WHEN c.relkind = 'S' THEN {grants:c.relacl:s:c.relowner}
                        ELSE {grants:c.relacl:r:c.relowner} END,
         'row level security', CASE WHEN c.relkind IN ('r', 'p') THEN c.relrowsecurity END,
         'row level security forced', CASE WHEN c.relkind IN ('r', 'p')
                                           THEN c.relforcerowsecurity END,
         'persistence', c.relpersistence,
         'options', to_jsonb(c.reloptions),
         'partition key', pg_get_partkeydef(c.oid),
         'partition bound', pg_get_expr(c.relpartbound, c.oid),
         'parents', (SELECT jsonb_agg(inhparent::regclass::text ORDER BY inhseqno)
                       FROM pg_inherits WHERE inhrelid = c.oid),
         'replica identity', CASE WHEN c.relkind IN ('r', 'p') THEN c.relreplident END,
         'definition', CASE WHEN c.relkind IN ('v', 'm') THEN pg_get_viewdef(c.oid) END,
         'sequence', (SELECT to_jsonb(s) - 'seqrelid' - 'seqtypid'
                             || jsonb_build_object('type', seqtypid::regtype::text)
                        FROM pg_sequence AS s WHERE seqrelid = c.oid)))
  FROM pg_class AS c
 WHERE {ours:c:relnamespace} AND c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S', 'c')""",
    """SELECT 'column', c.relnamespace::regnamespace::text, c.oid::regclass::text,
       c.oid::regclass::text || '.' || quote_ident(a.attname),
       jsonb_build_object(
         'type', format_type(a.atttypid, a.atttypmod), 'not null', a.attnotnull,
         {not_null:n}
         'default', pg_get_expr(d.adbin, d.adrelid), 'identity', a.attidentity,
         'generated', a.attgenerated,
         'collation', nullif(a.attcollation, t.typcollation)::regcollation,
         'grants', {grants:a.attacl:c:c.relowner})
  FROM pg_attribute AS a
  JOIN pg_class AS c ON c.oid = a.attrelid
  JOIN pg_type AS t ON t.oid = a.atttypid
  LEFT JOIN pg_attrdef AS d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
  LEFT JOIN pg_constraint AS n
    ON n.conrelid = a.attrelid AND n.contype = 'n' AND n.conkey[1] = a.attnum
 WHERE {ours:c:relnamespace} AND c.relkind IN ('r', 'p', 'v', 'm', 'f', 'c')
   AND a.attnum > 0 AND NOT a.attisdropped""",
    """SELECT 'constraint', k.connamespace::regnamespace::text, place.name,
       place.name || '.' || quote_ident(k.conname),
       jsonb_build_object('definition', pg_get_constraintdef(k.oid), 'validated', k.convalidated)
  FROM pg_constraint AS k
  LEFT JOIN pg_class AS c ON c.oid = k.conrelid
  LEFT JOIN pg_type AS t ON t.oid = k.contypid
 CROSS JOIN LATERAL (SELECT CASE WHEN k.contypid = 0 THEN c.oid::regclass::text
                                 ELSE t.oid::regtype::text END AS name) AS place
 WHERE k.contype <> 'n'
   AND CASE WHEN k.contypid = 0 THEN {ours:c:relnamespace} ELSE {ours:t:typnamespace} END""",
    """SELECT 'index', c.relnamespace::regnamespace::text, c.oid::regclass::text,
       i.indexrelid::regclass::text,
       jsonb_build_object('definition', pg_get_indexdef(i.indexrelid), 'valid', i.indisvalid)
  FROM pg_index AS i JOIN pg_class AS c ON c.oid = i.indrelid WHERE {ours:c:relnamespace}""",
    """SELECT CASE t.typtype WHEN 'e' THEN 'enum' WHEN 'd' THEN 'domain' ELSE 'range' END,
       t.typnamespace::regnamespace::text, NULL, t.oid::regtype::text,
       jsonb_strip_nulls(jsonb_build_object(
         'owner', {role:t.typowner}, 'grants', {grants:t.typacl:T:t.typowner},
         'labels', (SELECT jsonb_agg(enumlabel ORDER BY enumsortorder)
                      FROM pg_enum WHERE enumtypid = t.oid),
         'type', CASE WHEN t.typtype = 'd' THEN format_type(t.typbasetype, t.typtypmod) END,
         'not null', CASE WHEN t.typtype = 'd' THEN t.typnotnull END,
         {not_null:n}
         'default', t.typdefault,
         'subtype', (SELECT rngsubtype::regtype::text FROM pg_range WHERE rngtypid = t.oid)))
  FROM pg_type AS t
  LEFT JOIN pg_constraint AS n ON n.contypid = t.oid AND n.contype = 'n'
 WHERE {ours:t:typnamespace} AND t.typtype IN ('e', 'd', 'r')""",
    """SELECT CASE p.prokind WHEN 'p' THEN 'procedure' WHEN 'a' THEN 'aggregate'
                      ELSE 'function' END,
       p.pronamespace::regnamespace::text,
       (SELECT coalesce((SELECT rngtypid FROM pg_range WHERE rngmultitypid = refobjid),
                        refobjid)::regtype::text FROM pg_depend  -- a range makes some
         WHERE classid = 'pg_proc'::regclass AND objid = p.oid AND deptype = 'i'
           AND refclassid = 'pg_type'::regclass),
       p.oid::regprocedure::text,
       jsonb_build_object(
         'owner', {role:p.proowner}, 'grants', {grants:p.proacl:f:p.proowner},
         'definition', CASE WHEN p.prokind <> 'a' THEN pg_get_functiondef(p.oid)
                            ELSE pg_get_function_result(p.oid) END)
  FROM pg_proc AS p WHERE {ours:p:pronamespace}""",
    """SELECT 'trigger', c.relnamespace::regnamespace::text, c.oid::regclass::text,
       c.oid::regclass::text || '.' || quote_ident(t.tgname),
       jsonb_build_object('definition', pg_get_triggerdef(t.oid), 'enabled', t.tgenabled)
  FROM pg_trigger AS t JOIN pg_class AS c ON c.oid = t.tgrelid
 WHERE {ours:c:relnamespace} AND NOT t.tgisinternal""",
    """SELECT 'rule', c.relnamespace::regnamespace::text, c.oid::regclass::text,
       c.oid::regclass::text || '.' || quote_ident(r.rulename),
       jsonb_build_object('definition', pg_get_ruledef(r.oid), 'enabled', r.ev_enabled)
  FROM pg_rewrite AS r JOIN pg_class AS c ON c.oid = r.ev_class
 WHERE {ours:c:relnamespace} AND r.rulename <> '_RETURN'""",
    """SELECT 'policy', c.relnamespace::regnamespace::text, c.oid::regclass::text,
       c.oid::regclass::text || '.' || quote_ident(p.polname),
       jsonb_build_object(
         'permissive', p.polpermissive, 'command', p.polcmd,
         'roles', (SELECT jsonb_agg(CASE WHEN r = 0 THEN 'PUBLIC' ELSE r::regrole::text END
                                    ORDER BY r::regrole::text) FROM unnest(p.polroles) AS r),
         'using', pg_get_expr(p.polqual, p.polrelid),
         'with check', pg_get_expr(p.polwithcheck, p.polrelid))
  FROM pg_policy AS p JOIN pg_class AS c ON c.oid = p.polrelid WHERE {ours:c:relnamespace}""",
    """SELECT 'statistics', s.stxnamespace::regnamespace::text, c.oid::regclass::text,
       s.stxnamespace::regnamespace::text || '.' || quote_ident(s.stxname),
       jsonb_build_object('definition', pg_get_statisticsobjdef(s.oid))
  FROM pg_statistic_ext AS s JOIN pg_class AS c ON c.oid = s.stxrelid
 WHERE {ours:c:relnamespace}""",
    """SELECT 'default privileges', CASE WHEN d.defaclnamespace <> 0
                                  THEN d.defaclnamespace::regnamespace::text END,
       NULL, concat_ws(' ', 'of', {role:d.defaclrole}, 'for', CASE d.defaclobjtype
           WHEN 'r' THEN 'tables' WHEN 'S' THEN 'sequences' WHEN 'f' THEN 'functions'
           WHEN 'T' THEN 'types' WHEN 'n' THEN 'schemas' ELSE d.defaclobjtype::text END,
           'in ' || nullif(d.defaclnamespace, 0)::regnamespace::text),
       jsonb_build_object('grants', {grants:d.defaclacl:r:d.defaclrole})
  FROM pg_default_acl AS d""",
    """SELECT 'event trigger', NULL, NULL, quote_ident(e.evtname),
       jsonb_build_object('owner', {role:e.evtowner}, 'event', e.evtevent,
                          'function', e.evtfoid::regproc::text, 'enabled', e.evtenabled,
                          'tags', to_jsonb(e.evttags))
  FROM pg_event_trigger AS e
 WHERE NOT EXISTS (SELECT FROM pg_depend WHERE deptype = 'e' AND objid = e.oid
                      AND classid = 'pg_event_trigger'::regclass)""",
    """SELECT 'publication', NULL, NULL, quote_ident(p.pubname),
       to_jsonb(p) - 'oid' - 'pubname' - 'pubowner' - 'pubgencols' || jsonb_build_object(
         'owner', {role:p.pubowner}, 'generated columns', nullif(to_jsonb(p)->>'pubgencols', 'n'),
         'tables', (SELECT coalesce(jsonb_agg(prrelid::regclass::text
                                              ORDER BY prrelid::regclass::text), '[]')
                      FROM pg_publication_rel WHERE prpubid = p.oid))
  FROM pg_publication AS p""",
    """SELECT 'comment on ' || thing.type, thing.schema, CASE d.classoid
           WHEN 'pg_class'::regclass THEN d.objoid::regclass::text
           WHEN 'pg_constraint'::regclass THEN (SELECT conrelid::regclass::text
              FROM pg_constraint WHERE oid = d.objoid AND conrelid <> 0) END,
       thing.identity, jsonb_build_object('text', d.description)
  FROM pg_description AS d, pg_identify_object(d.classoid, d.objoid, d.objsubid) AS thing
 WHERE d.objoid >= 16384""",
)
#: Rows are counted, as what an undo of data brings back cannot be seen otherwise.
ROW_COUNTS = """SELECT 'rows', c.relnamespace::regnamespace::text, c.oid::regclass::text,
       c.oid::regclass::text, jsonb_build_object('count', (xpath('/row/n/text()', query_to_xml(
           format('SELECT count(*) AS n FROM %s', c.oid::regclass), false, true, '')))[1]::text)
  FROM pg_class AS c WHERE {ours:c:relnamespace} AND c.relkind = 'r'"""
QUERY = """SELECT coalesce(jsonb_agg(jsonb_build_array(kind, schema, part_of, name, facts)), '[]')
  FROM ({parts}) AS item (kind, schema, part_of, name, facts)
 WHERE coalesce(part_of, name) NOT IN (coalesce(to_regclass({history})::text, ''),
                                       coalesce(to_regclass({log})::text, ''),
                                       coalesce(to_regclass({cursor})::text, ''),
                                       coalesce(to_regclass({view})::text, ''))"""

USER_OBJECT = r"""{0}.{1}::regnamespace::text <> 'information_schema'
   AND {0}.{1}::regnamespace::text !~ '^pg_'
   AND NOT EXISTS (SELECT FROM pg_depend WHERE deptype = 'e' AND objid = {0}.oid
                      AND classid = {0}.tableoid)"""
ROLE = "CASE WHEN {0} = current_user::regrole THEN 'the login role' ELSE pg_get_userbyid({0}) END"
#: A NOT NULL is a constraint of its own from 18 on, and of a domain from 17 on: one that is valid,
#: inherited, enforced and named by the server is no more than `not null`.
NOT_NULL = """'not null not valid', CASE WHEN NOT {0}.convalidated THEN true END,
         'not null no inherit', CASE WHEN {0}.connoinherit THEN true END,
         'not null not enforced', CASE WHEN to_jsonb({0})->>'conenforced' = 'false' THEN true END,
         'not null name', CASE WHEN {0}.conname !~ '_not_null[0-9]*$' THEN {0}.conname END,"""
#: What is in force, whether it was granted or is so by default.
GRANTS = """(SELECT coalesce(jsonb_agg(line ORDER BY line), '[]') FROM (
             SELECT DISTINCT CASE WHEN g.grantee = {2} THEN 'owner' WHEN g.grantee = 0 THEN 'PUBLIC'
                                  ELSE pg_get_userbyid(g.grantee) END || ' ' || g.privilege_type
                    || CASE WHEN g.is_grantable THEN ' with grant option' ELSE '' END AS line
               FROM aclexplode(coalesce({0}, acldefault('{1}', {2}))) AS g) AS lines)"""


def read_snapshot(session: Session, place: Place, *, rows: bool = False) -> Snapshot:
    """All but the history's own tables; with `rows`, how many each table has, too."""
    return make_snapshot(session.send(snapshot_query(place, rows=rows))[0][0])


def snapshot_query(place: Place, *, rows: bool = False) -> str:
    """One row of one column: JSON as `make_snapshot` takes it."""
    parts = (*PARTS, ROW_COUNTS) if rows else PARTS
    query = QUERY.format(
        parts="\nUNION ALL\n".join(_filled(part) for part in parts),
        history=literal(place.history),
        log=literal(place.log),
        cursor=literal(cursor_table(place).quoted),
        view=literal(status_view(place)),
    )
    return first(marker(place, "looks at the catalog"), query)


def _filled(part: str) -> str:
    import re

    words: dict[str, Any] = {
        "ours": USER_OBJECT,
        "role": ROLE,
        "grants": GRANTS,
        "not_null": NOT_NULL,
    }

    def fill(found: re.Match[str]) -> str:
        name, *values = found[1].split(":")
        text: str = words[name].format(*values)
        return text

    return re.sub(r"\{([^{}]+)\}", fill, part)
