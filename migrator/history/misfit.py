"""A table that an older job left and that does not take our rows; or one that was changed since."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from migrator.errors import AccessError
from migrator.history.place import Place
from migrator.postgres.quoting import identifier
from migrator.postgres.refusal import Refusal

NO_VALUE = "23502"
#: What each column must be able to hold.
WIDE = {
    "version": "varchar(255)",
    "checksum": "varchar(64)",
    "execution_time_ms": "integer",
    "rollback_sql": "text",
    "kind": "text",
}


def is_misfit(refusal: Refusal, place: Place) -> bool:
    """Whether a refusal of our own INSERT is of the table: a type, a length or a constraint.

    Rows of ours may go into another tool's history too, whose table may have the same name.
    """
    of_type = refusal.sqlstate[:2] in {"22", "23"} or refusal.sqlstate == "42804"
    return of_type and refusal.schema in {None, place.schema}


def names_ours(refusal: Refusal, place: Place) -> bool:
    """Whether a refusal names a table of ours, or was in a statement that does.

    A COMMIT is refused too, for what the file has put off; and rules may answer so often that this
    seems to come after the file.
    """
    names = {table.name for table in place.tables}
    return refusal.table in names or any(name in (refusal.context or "") for name in names)


def misfit(
    place: Place, refusal: Refusal, outcome: str, columns: Collection[str] = WIDE, **details: Any
) -> AccessError:
    """What a run ends with when a table of the history does not take our rows."""
    table = refusal.table or place.tables[0].name
    return AccessError(
        f"{place.schema}.{table} does not take the rows of this job: "
        f"{refusal.sqlstate} {refusal.message}",
        remedy=f"As its owner: ALTER TABLE {identifier(place.schema)}.{table} "
        f"{_cure(refusal, columns)}; "
        "then run again.",
        outcome=outcome,
        **details,
    )


def _cure(refusal: Refusal, columns: Collection[str]) -> str:
    if refusal.sqlstate == NO_VALUE and refusal.column == "applied_at":
        return "ALTER applied_at SET DEFAULT CURRENT_TIMESTAMP"
    if refusal.sqlstate == NO_VALUE and refusal.column:
        return f"ALTER {identifier(refusal.column)} DROP NOT NULL"
    if refusal.constraint:
        return f"DROP CONSTRAINT {identifier(refusal.constraint)}"
    return ", ".join(f"ALTER {name} TYPE {wide}" for name, wide in WIDE.items() if name in columns)
