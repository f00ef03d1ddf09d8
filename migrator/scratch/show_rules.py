"""The query that shows a thing of a snapshot, for a person to run on either database.

It finds nothing, and fails nowhere, where the thing is gone.
"""

from __future__ import annotations

from migrator.postgres.quoting import literal
from migrator.scratch.snapshot import Item

_RELATION = (
    "SELECT relowner::regrole, relacl, relrowsecurity, relforcerowsecurity, relpersistence,"
    " reloptions FROM pg_class WHERE oid = to_regclass({name})"
)
_TYPE = "SELECT typowner::regrole, typacl, * FROM pg_type WHERE oid = to_regtype({name})"
_ROUTINE = (
    "SELECT pg_get_functiondef(oid), proowner::regrole, proacl FROM pg_proc"
    " WHERE oid = to_regprocedure({name})"
)
_VIEW = (
    "SELECT pg_get_viewdef(oid), relowner::regrole, relacl, reloptions FROM pg_class"
    " WHERE oid = to_regclass({name})"
)
#: By the kind of the thing. {part} is its name within what it is a part of, {of}.
_QUERIES = {
    "extension": "SELECT extversion, extnamespace::regnamespace FROM pg_extension"
    " WHERE quote_ident(extname) = {name}",
    "schema": "SELECT nspowner::regrole, nspacl FROM pg_namespace"
    " WHERE oid = to_regnamespace({name})",
    **dict.fromkeys(("table", "foreign table", "composite type"), _RELATION),
    **dict.fromkeys(("view", "materialized view"), _VIEW),
    "sequence": "SELECT * FROM pg_sequence JOIN pg_class ON oid = seqrelid"
    " WHERE seqrelid = to_regclass({name})",
    "column": "SELECT format_type(atttypid, atttypmod), attnotnull, attidentity, attgenerated,"
    " pg_get_expr(adbin, adrelid), attacl FROM pg_attribute"
    " LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum"
    " WHERE attrelid = to_regclass({of}) AND quote_ident(attname) = {part}",
    "constraint": "SELECT pg_get_constraintdef(oid), convalidated FROM pg_constraint"
    " WHERE (conrelid = to_regclass({of}) OR contypid = to_regtype({of}))"
    " AND quote_ident(conname) = {part}",
    "index": "SELECT pg_get_indexdef(indexrelid), indisvalid FROM pg_index"
    " WHERE indexrelid = to_regclass({name})",
    "enum": "SELECT enumlabel FROM pg_enum WHERE enumtypid = to_regtype({name})"
    " ORDER BY enumsortorder",
    **dict.fromkeys(("domain", "range"), _TYPE),
    **dict.fromkeys(("function", "procedure"), _ROUTINE),
    "aggregate": "SELECT * FROM pg_aggregate WHERE aggfnoid = to_regprocedure({name})",
    "trigger": "SELECT pg_get_triggerdef(oid), tgenabled FROM pg_trigger"
    " WHERE tgrelid = to_regclass({of}) AND quote_ident(tgname) = {part}",
    "rule": "SELECT pg_get_ruledef(oid), ev_enabled FROM pg_rewrite"
    " WHERE ev_class = to_regclass({of}) AND quote_ident(rulename) = {part}",
    "policy": "SELECT polpermissive, polcmd, polroles::regrole[], pg_get_expr(polqual, polrelid),"
    " pg_get_expr(polwithcheck, polrelid) FROM pg_policy"
    " WHERE polrelid = to_regclass({of}) AND quote_ident(polname) = {part}",
    "statistics": "SELECT pg_get_statisticsobjdef(oid) FROM pg_statistic_ext"
    " WHERE stxnamespace::regnamespace || '.' || quote_ident(stxname) = {name}",
    "default privileges": "SELECT defaclrole::regrole, defaclnamespace::regnamespace,"
    " defaclobjtype, defaclacl FROM pg_default_acl",
    "event trigger": "SELECT * FROM pg_event_trigger WHERE quote_ident(evtname) = {name}",
    "publication": "SELECT * FROM pg_publication LEFT JOIN pg_publication_tables USING (pubname)"
    " WHERE quote_ident(pubname) = {name}",
}
_COMMENT = (
    "SELECT description FROM pg_description AS d,"
    " pg_identify_object(d.classoid, d.objoid, d.objsubid) AS o"
    " WHERE o.type = {kind} AND o.identity = {name}"
)


def query_of(item: Item) -> str:
    """What shows the thing on a database, and nothing where it is not there."""
    comment = item.kind.removeprefix("comment on ")
    query = _QUERIES.get(item.kind, _COMMENT)
    of = item.of or ""
    return query.format(
        kind=literal(comment),
        name=literal(item.name),
        of=literal(of),
        part=literal(item.name.removeprefix(f"{of}.")),
    )
