"""Reads what other tools left: where their table lies, its rows, the CLI's history to keep up."""

from __future__ import annotations

import json
from typing import Any

from migrator.adopt.rules import SAME_CLOCK, Spot, asked_of, choose_spot, digest_query, rows_query
from migrator.adopt.tools import Row, Tracker
from migrator.apply.supabase_history_rules import COLUMNS, TABLE
from migrator.errors import AccessError
from migrator.history.fence import DECLARE, UNTRUSTED, Access, Distrust, explain, question
from migrator.history.place import Place, marker
from migrator.postgres.quoting import CLEAN, HERE, ISOLATION, do, first, literal
from migrator.postgres.session import ServerError, Session

#: Every table of that name outside the system's schemas, with what must be known of it; and the
#: login role's own search_path, which is taken before ours is set.
LOOK_PATH = """SELECT pg_catalog.set_config('migrator.path',
  pg_catalog.array_to_json(pg_catalog.current_schemas(false))::pg_catalog.text, true)"""
LOOK = """SELECT jsonb_build_object(
  'path', current_setting('migrator.path')::jsonb,
  'database', current_database(),
  'role', current_user,
  'tables', (
    SELECT coalesce(jsonb_agg(jsonb_build_object(
             'schema', n.nspname,
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
             ORDER BY n.nspname), '[]')
      FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
     WHERE c.relname = {table} AND c.relkind IN ('r', 'p')
       AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'))"""


def find_spot(
    session: Session,
    place: Place,
    tracker: Tracker,
    wanted: tuple[str, str] | None,
    lock_timeout_ms: int,
) -> Spot:
    """Where the tool's table lies, in one round trip.

    Raises ConfigError when it is not there or looks otherwise, AccessError for a role that may not
    read it or does not see all its rows, and ServerError.
    """
    found = _look(session, place, wanted[1] if wanted else tracker.table, lock_timeout_ms)
    spot = choose_spot(tracker, found, wanted, place.schema)
    table = next(table for table in found["tables"] if table["schema"] == spot.schema)
    if not table["reads"] or table["hidden"]:
        what = "does not see all rows of" if table["reads"] else "may not read"
        raise AccessError(
            f"the role {found['role']} {what} {spot}, which belongs to {table['owner']}",
            remedy="Run as the owner of that table, if it is what you mean.",
        )
    return spot


def read_rows(
    session: Session, place: Place, spot: Spot, lock_timeout_ms: int
) -> tuple[list[Row], str, Distrust]:
    """The rows of that table, their digest for the guard of the flight, and who may forge them.

    Raises AccessError when code of others could run, and ServerError.
    """
    asks = question([spot.place], place.server_version, Access.READ)
    query = f"SELECT ({rows_query(spot)}), ({digest_query(spot)}), ({asks})"
    message = first(
        marker(place, "reads the history of another tool"),
        *_limits(lock_timeout_ms),
        SAME_CLOCK,
        do(asked_of(spot, place), DECLARE),
        query,
    )
    try:
        text, digest, doubts = session.send(message)[0]
    except ServerError as error:
        if error.refusal.sqlstate == UNTRUSTED:
            raise explain(error.refusal.detail) from error
        raise
    rows: list[Row] = json.loads(text)
    return rows, digest, Distrust.of(doubts)


def read_mirror(session: Session, place: Place, lock_timeout_ms: int) -> tuple[str, ...]:
    """The columns that there are to keep in step with the Supabase CLI; none without its table.

    Raises AccessError for a role that may not write there, and ServerError.
    """
    schema, name = TABLE
    found = _look(session, place, name, lock_timeout_ms)
    table = next((table for table in found["tables"] if table["schema"] == schema), None)
    if table is None:
        return ()
    if not table["reads"] or not table["writes"]:
        raise AccessError(
            f"SYNC_SUPABASE_HISTORY is on, and the role {found['role']} may not write {TABLE}",
            remedy="Run as the owner of that table, or set SYNC_SUPABASE_HISTORY=off.",
        )
    return tuple(column for column in COLUMNS if column in table["columns"])


def _look(session: Session, place: Place, table: str, lock_timeout_ms: int) -> dict[str, Any]:
    # the login role's own search_path is read by qualified names, before ours is set
    text = ";\n".join(
        (
            f"{marker(place, 'looks for the tables of another tool')} {CLEAN[0]}",
            *CLEAN[1:],
            ISOLATION,
            LOOK_PATH,
            HERE,
            *_limits(lock_timeout_ms),
            LOOK.format(table=literal(table)),
        )
    )
    found: dict[str, Any] = session.send(text)[0][0]
    return found


def _limits(lock_timeout_ms: int) -> tuple[str, ...]:
    return f"SET LOCAL lock_timeout = {lock_timeout_ms}", "SET LOCAL statement_timeout = 0"
