"""The other clients of a pool: what they leave behind for the job, and find after it."""

from __future__ import annotations

from contextlib import closing
from typing import Any

import psycopg2

#: What of a session outlives a transaction, and reaches a pool's next client. The block loads
#: plpgsql, which brings settings of its own.
STATE = """DO LANGUAGE plpgsql 'BEGIN END';
SELECT 'role', current_user::text UNION ALL
SELECT 'login', session_user::text UNION ALL
SELECT 'setting ' || name, setting FROM pg_catalog.pg_settings
 WHERE name <> 'application_name' UNION ALL
SELECT 'temp ' || relname, relkind::text FROM pg_catalog.pg_class
 WHERE relnamespace = pg_catalog.pg_my_temp_schema() UNION ALL
SELECT 'temp type ' || typname, typtype::text FROM pg_catalog.pg_type
 WHERE typnamespace = pg_catalog.pg_my_temp_schema() UNION ALL
SELECT 'cursor ' || name, statement FROM pg_catalog.pg_cursors WHERE is_holdable UNION ALL
SELECT 'channel ' || channel, '' FROM pg_catalog.pg_listening_channels() AS channel UNION ALL
SELECT 'statement ' || name, statement FROM pg_catalog.pg_prepared_statements
 WHERE from_sql UNION ALL
SELECT 'lock ' || objid, mode FROM pg_catalog.pg_locks
 WHERE locktype = 'advisory' AND pid = pg_catalog.pg_backend_pid()"""


def leave(url: str, sql: str) -> int:
    """Run `sql` as an application that then goes away without tidying up; its backend's pid."""
    with closing(psycopg2.connect(url, client_encoding="UTF8")) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_catalog.pg_backend_pid()")
            ((pid,),) = cursor.fetchall()
            cursor.execute(sql)
            return int(pid)


def ask(url: str, sql: str, encoding: str | None = "UTF8") -> list[tuple[Any, ...]]:
    """The rows that a client gets which speaks `encoding`; None: one that asks for none."""
    with closing(psycopg2.connect(url, client_encoding=encoding)) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(sql)
            return cursor.fetchall() if cursor.description else []


def state(url: str) -> dict[str, str]:
    """What the next client finds in its session."""
    return dict(ask(url, STATE))
