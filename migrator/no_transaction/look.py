"""What the catalog shows of a statement's object; docs/design.md section 5."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from migrator.history.journal import AS_OURSELVES
from migrator.no_transaction.settle import Sight, read_sight
from migrator.postgres.blockers import BACKEND_NAME
from migrator.postgres.quoting import identifier, literal
from migrator.postgres.session import ServerError, Session
from migrator.sql.effects import Act, Effect

#: The names mean what they mean to the file, under its role and search_path; all that follows is
#: asked as ourselves. A message without BEGIN is a transaction of its own.
RESOLVE = """SELECT pg_catalog.set_config('migrator.name', coalesce({name}, ''), true),
       pg_catalog.set_config('migrator.on', coalesce({on}, ''), true)"""
REGCLASS = "pg_catalog.to_regclass({text})::pg_catalog.oid::pg_catalog.text"
NAMED = "nullif(current_setting('migrator.name'), '')::oid"
ON = "nullif(current_setting('migrator.on'), '')::oid"

#: Each session that holds or awaits a lock that a build or ALTER TABLE has on these tables;
#: VACUUM and ANALYZE have the same, and build nothing.
BUILDERS = """(SELECT coalesce(jsonb_agg(DISTINCT
      coalesce({name}, other.backend_type, 'a session') || ' (pid ' || l.pid || ')'), '[]')
  FROM pg_locks AS l LEFT JOIN pg_stat_activity AS other ON other.pid = l.pid
 WHERE l.locktype = 'relation' AND l.pid <> pg_backend_pid()
   AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
   AND l.mode IN ('ShareUpdateExclusiveLock', 'ShareLock', 'ShareRowExclusiveLock',
                  'ExclusiveLock', 'AccessExclusiveLock')
   AND l.pid NOT IN (SELECT pid FROM pg_stat_progress_vacuum
                      UNION ALL SELECT pid FROM pg_stat_progress_analyze)
   AND l.relation IN ({tables}))"""
ORPHANS = """(SELECT coalesce(jsonb_agg(DISTINCT
      coalesce(nullif(a.application_name, ''), 'a session') || ' (pid ' || a.pid || ')'), '[]')
  FROM pg_stat_activity AS a
 WHERE a.state = 'active' AND a.pid <> pg_backend_pid() AND strpos(a.query, {marker}) = 1)"""
INDEX = """SELECT jsonb_build_object(
    'oid', i.oid::bigint,
    'name', quote_ident(n.nspname) || '.' || quote_ident(i.relname),
    'index', x.indexrelid IS NOT NULL,
    'valid', x.indisvalid,
    'definition', pg_get_indexdef(x.indexrelid),
    'orphans', {orphans},
    'busy', {busy})
  FROM (SELECT) AS one
  LEFT JOIN pg_class AS i ON {which}
  LEFT JOIN pg_namespace AS n ON n.oid = i.relnamespace
  LEFT JOIN pg_index AS x ON x.indexrelid = i.oid"""
#: An index lies in its table's schema.
BY_TABLE = """i.relname = {name}
   AND i.relnamespace = (SELECT relnamespace FROM pg_class WHERE oid = {on})"""
PARTITION = """SELECT jsonb_build_object(
    'oid', c.oid::bigint,
    'name', quote_ident(n.nspname) || '.' || quote_ident(c.relname),
    'attached', h.inhrelid IS NOT NULL,
    'pending', h.inhdetachpending,
    'orphans', {orphans},
    'busy', {busy})
  FROM (SELECT) AS one
  LEFT JOIN pg_class AS c ON c.oid = {named}
  LEFT JOIN pg_namespace AS n ON n.oid = c.relnamespace
  LEFT JOIN pg_inherits AS h ON h.inhrelid = c.oid AND h.inhparent = {on}"""
SHARED = """SELECT jsonb_build_object(
    'oid', (SELECT oid::bigint FROM {catalog} WHERE {column} = {name}), 'orphans', {orphans})"""
#: INVALID indexes of these tables, of their partitions and of their TOAST tables. A partitioned
#: index may be INVALID for want of a partition's, and REINDEX has no part in that.
INVALID = """WITH tables AS MATERIALIZED (
  SELECT unnest(ARRAY[c.oid, c.reltoastrelid]) AS oid FROM pg_class AS c WHERE {which}),
invalid AS MATERIALIZED (
  SELECT i.oid, quote_ident(n.nspname) || '.' || quote_ident(i.relname) AS name, x.indrelid
    FROM pg_index AS x JOIN pg_class AS i ON i.oid = x.indexrelid
    JOIN pg_namespace AS n ON n.oid = i.relnamespace
   WHERE NOT x.indisvalid AND i.relkind = 'i' AND x.indrelid IN (SELECT oid FROM tables))
SELECT jsonb_build_object(
    'invalid', (SELECT coalesce(jsonb_agg(jsonb_build_array(oid::bigint, name) ORDER BY name), '[]')
                  FROM invalid),
    'orphans', {orphans},
    'busy', {busy})"""
#: The tables that REINDEX concerns, by what it is to rebuild.
SCOPES = {
    "index": """c.oid IN (SELECT x.indrelid FROM pg_index AS x
                 WHERE x.indexrelid = {named}
                    OR x.indexrelid IN (SELECT relid FROM pg_partition_tree({named})))""",
    "table": "c.oid = {named} OR c.oid IN (SELECT relid FROM pg_partition_tree({named}))",
    "schema": "c.relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = {name})",
    "database": "c.relkind IN ('r', 'm', 'p')",
}
#: The same index on an empty table of the same columns: what PostgreSQL itself makes of the
#: statement, to be compared as PostgreSQL prints it. Rolled back.
EXPECTED = """BEGIN ISOLATION LEVEL READ COMMITTED;
{resolve};
CREATE TEMPORARY TABLE {table} (LIKE {on});
CREATE {unique}INDEX {name} ON pg_temp.{table} {definition}
;
{ours};
SELECT found.indisunique = made.indisunique AND found.indrelid = {on_oid}
   AND substr(pg_get_indexdef(found.indexrelid),
              strpos(pg_get_indexdef(found.indexrelid), ' USING '))
     = substr(pg_get_indexdef(made.indexrelid),
              strpos(pg_get_indexdef(made.indexrelid), ' USING '))
  FROM pg_index AS found, pg_index AS made
 WHERE found.indexrelid = {found}
   AND made.indexrelid = (SELECT oid FROM pg_class WHERE relname = {relname}
                             AND relnamespace = pg_my_temp_schema())"""


def look(
    session: Session, effect: Effect, marker: str | None = None, before: Sight | None = None
) -> Sight:
    """What the catalog shows of the effect's object now.

    With `marker` sessions that still run the statement are looked for; with `before` an index
    that has appeared since is compared with the statement's. Raises what `Session.send` raises.
    """
    orphans = "'[]'::jsonb" if marker is None else ORPHANS.format(marker=literal(marker.strip()))
    query = _query(effect, orphans)
    rows = session.send(";\n".join((_resolve(effect), *AS_OURSELVES, query)))
    sight = read_sight(rows[0][0])
    if before is None or effect.act is not Act.CREATE_INDEX or not sight.index:
        return sight
    if sight.oid == before.oid:
        return sight
    return replace(sight, matches=_matches(session, effect, sight))


def _query(effect: Effect, orphans: str) -> str:
    name = literal(effect.name[-1] if effect.name else "")
    values: dict[str, Any] = {"named": NAMED, "on": ON, "name": name, "orphans": orphans}
    if effect.act is Act.CREATE_INDEX:
        which = BY_TABLE.format(**values)
        return INDEX.format(**values, which=which, busy=_busy("x.indrelid"))
    if effect.act is Act.DROP_INDEX:
        which = f"i.oid = {NAMED}"
        return INDEX.format(**values, which=which, busy=_busy("x.indrelid"))
    if effect.act is Act.DETACH:
        return PARTITION.format(**values, busy=_busy(f"{NAMED}, {ON}"))
    if effect.act is Act.REINDEX:
        which = SCOPES[effect.what].format(**values)
        busy = _busy("SELECT indrelid FROM invalid")
        return INVALID.format(**values, which=which, busy=busy)
    if effect.act in {Act.CREATE, Act.DROP}:
        catalog, column = {
            "database": ("pg_database", "datname"),
            "tablespace": ("pg_tablespace", "spcname"),
        }[effect.what]
        return SHARED.format(**values, catalog=catalog, column=column)
    return f"SELECT jsonb_build_object('orphans', {orphans})"


def _busy(tables: str) -> str:
    return BUILDERS.format(name=BACKEND_NAME, tables=tables)


def _matches(session: Session, effect: Effect, sight: Sight) -> bool | None:
    """Whether the index is what the statement makes; None when that cannot be found out."""
    if not effect.definition:
        return None
    on = ".".join(map(identifier, effect.on))
    text = EXPECTED.format(
        table=identifier(effect.on[-1]),
        on=on,
        unique="UNIQUE " if effect.unique else "",
        name=identifier(effect.name[-1]),
        definition=effect.definition,
        ours=";\n".join(AS_OURSELVES),
        resolve=_resolve(effect),
        on_oid=ON,
        found=sight.oid,
        relname=literal(effect.name[-1]),
    )
    try:
        rows = session.send(text)
        return bool(rows[0][0]) if rows else None
    except ServerError:
        return None
    finally:
        if session.alive:
            session.send("ROLLBACK")


def _resolve(effect: Effect) -> str:
    return RESOLVE.format(name=_regclass(effect.name), on=_regclass(effect.on))


def _regclass(name: tuple[str, ...]) -> str:
    if not name:
        return "NULL"
    return REGCLASS.format(text=literal(".".join(map(identifier, name))))
