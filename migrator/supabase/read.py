"""Reads what the Supabase CLI's table has, for a run that keeps it in step."""

from __future__ import annotations

from migrator.errors import AccessError
from migrator.history.other_tables import look_for_tables
from migrator.history.place import Place
from migrator.postgres.session import Session
from migrator.supabase.mirror_rules import MIRRORED_COLUMNS, TABLE


def read_mirror(session: Session, place: Place, lock_timeout_ms: int) -> tuple[str, ...]:
    """The columns that there are to keep in step with the Supabase CLI; none without its table.

    Raises AccessError for a role that may not write there, and ServerError.
    """
    schema, name = TABLE
    found = look_for_tables(session, place, lock_timeout_ms, name)
    table = next((table for table in found["tables"] if table["schema"] == schema), None)
    if table is None:
        return ()
    if not table["reads"] or not table["writes"]:
        raise AccessError(
            f"SYNC_SUPABASE_HISTORY is on, and the role {found['role']} may not write {TABLE}",
            remedy="Run as the owner of that table, or give "
            "--sync-supabase-history off (SYNC_SUPABASE_HISTORY).",
        )
    return tuple(column for column in MIRRORED_COLUMNS if column in table["columns"])
