"""What a database holds, as values that two moments or two databases can be compared by."""

from __future__ import annotations

import json
from typing import Any

from psycopg2.extensions import connection

Catalog = dict[str, list[tuple[Any, ...]]]

#: Everything of the users' schemas but what extensions brought; no oid, and no order of columns.
QUERIES = {
    "extensions": """
        SELECT extname, extnamespace::regnamespace::text, extversion FROM pg_extension""",
    "schemas": """
        SELECT nspname, pg_get_userbyid(nspowner), {nspacl} FROM pg_namespace
         WHERE nspname <> 'information_schema' AND nspname NOT LIKE 'pg\\_%'""",
    "relations": """
        SELECT {relation}, relkind, pg_get_userbyid(relowner), relrowsecurity,
               relforcerowsecurity, reloptions, {relacl}
          FROM pg_class WHERE {ours: pg_class} AND relkind <> 'i'""",
    "columns": """
        SELECT {relation}, attname, format_type(atttypid, atttypmod), attnotnull, {attacl},
               pg_get_expr(adbin, adrelid), attidentity, attgenerated
          FROM pg_attribute JOIN pg_class ON pg_class.oid = attrelid
          LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
         WHERE {ours: pg_class} AND relkind IN ('r', 'p', 'v', 'm', 'f')
           AND attnum > 0 AND NOT attisdropped""",
    "constraints": """
        SELECT {relation}, conname, contype, convalidated, condeferrable,
               pg_get_constraintdef(pg_constraint.oid)
          FROM pg_constraint JOIN pg_class ON pg_class.oid = conrelid
         WHERE {ours: pg_class} AND contype <> 'n'""",
    "indexes": """
        SELECT {relation}, indisvalid, pg_get_indexdef(indexrelid)
          FROM pg_index JOIN pg_class ON pg_class.oid = indrelid WHERE {ours: pg_class}""",
    "types": """
        SELECT pg_type.oid::regtype::text, typtype, {typacl},
               ARRAY(SELECT enumlabel::text FROM pg_enum WHERE enumtypid = pg_type.oid
                      ORDER BY enumsortorder)
          FROM pg_type WHERE {ours: pg_type} AND typtype IN ('e', 'd', 'r')""",
    "functions": """
        SELECT pg_proc.oid::regprocedure::text, pg_get_functiondef(pg_proc.oid), {proacl}
          FROM pg_proc WHERE {ours: pg_proc} AND prokind <> 'a'""",
    "triggers": """
        SELECT pg_get_triggerdef(pg_trigger.oid), tgenabled FROM pg_trigger
         WHERE NOT tgisinternal""",
    "policies": "SELECT * FROM pg_policies",
    "views": """
        SELECT {relation}, pg_get_viewdef(pg_class.oid) FROM pg_class
         WHERE {ours: pg_class} AND relkind IN ('v', 'm')""",
    "sequences": """
        SELECT schemaname, sequencename, data_type::text, start_value, increment_by
          FROM pg_sequences""",
    "default privileges": """
        SELECT defaclrole::regrole::text, defaclnamespace::regnamespace::text, defaclobjtype,
               {defaclacl} FROM pg_default_acl""",
    "comments": """
        SELECT found.type, found.identity, description
          FROM pg_description, pg_identify_object(classoid, objoid, objsubid) AS found
         WHERE objoid >= 16384  -- FirstNormalObjectId, access/transam.h""",
}
OURS = """
    {namespace}::regnamespace::text <> 'information_schema'
    AND {namespace}::regnamespace::text NOT LIKE 'pg\\_%'
    AND NOT EXISTS (SELECT FROM pg_depend WHERE deptype = 'e'
                       AND classid = '{table}'::regclass AND objid = {table}.oid)"""
NAMESPACES = {"pg_class": "relnamespace", "pg_type": "typnamespace", "pg_proc": "pronamespace"}


def read_catalog(session: connection) -> Catalog:
    """Tables, types, constraints, grants, … of every user's schema, each list sorted."""
    with session.cursor() as cursor:
        cursor.execute("SHOW search_path")
        ((path,),) = cursor.fetchall()
        cursor.execute("SET search_path = pg_catalog")  # so that every name has its schema
        found: Catalog = {}
        for name, query in QUERIES.items():
            cursor.execute(_filled(query))
            found[name] = sorted(cursor.fetchall(), key=repr)
        cursor.execute("SELECT set_config('search_path', %s, false)", (path,))
    return found


def read_rows(session: connection, schema: str = "public") -> dict[str, list[dict[str, Any]]]:
    """Every row of every table of the schema, in an order of their own."""
    with session.cursor() as cursor:
        cursor.execute("SELECT tablename FROM pg_tables WHERE schemaname = %s", (schema,))
        rows = {}
        for (table,) in cursor.fetchall():
            cursor.execute(f'SELECT to_jsonb(t) FROM "{schema}"."{table}" AS t')
            rows[table] = sorted((row for (row,) in cursor), key=json.dumps)
    return rows


def _filled(query: str) -> str:
    for table, namespace in NAMESPACES.items():
        ours = OURS.replace("{namespace}", namespace).replace("{table}", table)
        query = query.replace(f"{{ours: {table}}}", ours)
    query = query.replace("{relation}", "pg_class.oid::regclass::text")
    for acl in ("nspacl", "relacl", "attacl", "typacl", "proacl", "defaclacl"):
        query = query.replace(f"{{{acl}}}", f"ARRAY(SELECT unnest({acl})::text ORDER BY 1)")
    return query
