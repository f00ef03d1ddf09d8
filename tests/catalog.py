"""What a database holds, as values that two moments or two databases can be compared by."""

from __future__ import annotations

import json
from typing import Any

from psycopg2.extensions import connection

from migrator.scratch.snapshot import Snapshot, make_snapshot
from migrator.scratch.snapshot_query import snapshot_query
from tests.builders import PLACE


def read_catalog(session: connection) -> Snapshot:
    """Everything of the users' schemas but what extensions brought.

    See migrator/scratch/snapshot_query.py.
    """
    with session.cursor() as cursor:
        cursor.execute(snapshot_query(PLACE))
        ((rows,),) = cursor.fetchall()
    return make_snapshot(rows)


def read_rows(session: connection, schema: str = "public") -> dict[str, list[dict[str, Any]]]:
    """Every row of every table of the schema, in an order of their own."""
    with session.cursor() as cursor:
        cursor.execute("SELECT tablename FROM pg_tables WHERE schemaname = %s", (schema,))
        rows = {}
        for (table,) in cursor.fetchall():
            cursor.execute(f'SELECT to_jsonb(t) FROM "{schema}"."{table}" AS t')
            rows[table] = sorted((row for (row,) in cursor), key=json.dumps)
    return rows
