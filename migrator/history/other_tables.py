"""The tables of other tools: how those called schema_migrations differ, where each lies."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from migrator.history.place import Place, marker
from migrator.postgres.quoting import CLEAN, HERE, ISOLATION, literal
from migrator.postgres.session import Session

ADOPT = {"golang-migrate": "golang-migrate", "dbmate": "dbmate", "the Supabase CLI": "supabase"}
#: How the tables of other tools that are called schema_migrations are distinguished.
FOREIGN: tuple[tuple[Callable[[dict[str, str], bool], bool], str], ...] = (
    (lambda c, _: c.get("version") == "bigint" and "dirty" in c, "golang-migrate"),
    (lambda c, _: c.get("version") == "bigint" and "inserted_at" in c, "Ecto"),
    (lambda c, rails: set(c) == {"version"} and rails, "Rails"),
    (lambda c, _: set(c) == {"version"}, "dbmate"),
    (lambda c, _: {"version", "statements"} <= set(c), "the Supabase CLI"),
)
#: Every table of that name outside the system's schemas, with what must be known of it; and the
#: login role's own search_path, which is taken before ours is set.
LOOK_PATH = """SELECT pg_catalog.set_config('migrator.path',
  pg_catalog.array_to_json(pg_catalog.current_schemas(false))::pg_catalog.text, true)"""
LOOK_TABLES = """SELECT jsonb_build_object(
  'path', current_setting('migrator.path')::jsonb,
  'database', current_database(),
  'role', current_user,
  'tables', (
    SELECT coalesce(jsonb_agg(jsonb_build_object(
             'schema', n.nspname,
             'table', c.relname,
             'reads', has_table_privilege(c.oid, 'SELECT')
                  AND has_schema_privilege(n.oid, 'USAGE'),
             'writes', has_table_privilege(c.oid, 'INSERT')
                   AND has_table_privilege(c.oid, 'UPDATE')
                   AND has_schema_privilege(n.oid, 'USAGE'),
             'hidden', row_security_active(c.oid),
             'owner', pg_get_userbyid(c.relowner),
             'beside', (SELECT coalesce(jsonb_agg(o.relname), '[]') FROM pg_class AS o
                         WHERE o.relnamespace = c.relnamespace AND o.relkind = 'r'),
             'columns', (SELECT coalesce(jsonb_object_agg(
                                  a.attname, format_type(a.atttypid, NULL)), '{{}}')
                           FROM pg_attribute AS a
                          WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped))
             ORDER BY n.nspname, c.relname), '[]')
      FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
     WHERE c.relname IN ({tables}) AND c.relkind IN ('r', 'p')
       AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'))"""


def tool_of(columns: dict[str, str], *, rails: bool) -> tuple[str, str | None] | None:
    """Which tool has a schema_migrations of these columns, and what `adopt --from` calls it."""
    tool = next((name for test, name in FOREIGN if test(columns, rails)), None)
    return None if tool is None else (tool, ADOPT.get(tool))


def look_for_tables(
    session: Session, place: Place, lock_timeout_ms: int, *tables: str
) -> dict[str, Any]:
    """Every table of these names, and the login role's search_path, in one round trip."""
    # the login role's own search_path is read by qualified names, before ours is set
    text = ";\n".join(
        (
            f"{marker(place, 'looks for the tables of another tool')} {CLEAN[0]}",
            *CLEAN[1:],
            ISOLATION,
            LOOK_PATH,
            HERE,
            *look_limits(lock_timeout_ms),
            LOOK_TABLES.format(tables=", ".join(map(literal, tables))),
        )
    )
    found: dict[str, Any] = session.send(text)[0][0]
    return found


def look_limits(lock_timeout_ms: int) -> tuple[str, ...]:
    return f"SET LOCAL lock_timeout = {lock_timeout_ms}", "SET LOCAL statement_timeout = 0"
