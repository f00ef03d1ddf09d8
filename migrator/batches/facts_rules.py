"""What was found of a table -> whether it can be walked in batches, and how."""

from __future__ import annotations

from migrator.batches.message import NOTHING_BETWEEN, Walked
from migrator.errors import SourceError
from migrator.model import Finding
from migrator.postgres.quoting import identifier
from migrator.sql.batched import Batches
from migrator.sql.script import Script

TYPES = "smallint, integer, bigint, uuid, text, varchar or timestamptz"


def check_walked(
    script: Script,
    batches: Batches,
    schema: str | None,
    table: str | None,
    kind: str | None,
    type_name: str | None,
    not_null: bool | None,
    unique: bool | None,
    rows: int | None,
) -> Walked:
    """The table and its key; SourceError where a walk by it would leave rows out, or never end."""
    named, key = ".".join(batches.table), batches.key
    if schema is None or table is None:
        problem = f"there is no table {named}", "Name it with its schema: batches SCHEMA.TABLE."
    elif kind not in {"r", "p"}:
        problem = f"{named} is no table", "Name the table whose rows are walked."
    elif type_name is None:
        problem = f"{named} has no column {key}", "Name a column with a unique index."
    elif type_name not in NOTHING_BETWEEN:
        problem = (
            f"{key} of {named} is {type_name}, by which no table is walked",
            f"Name a column of another type: {TYPES}.",
        )
    elif not unique:
        problem = (
            f"{key} of {named} has no unique index of its own",
            "Name the primary key, or create a unique index on this column in a file before.",
        )
    elif not not_null:
        problem = (
            f"{key} of {named} may be NULL, and rows without a key are never reached",
            f"Name the primary key, or set NOT NULL: ALTER TABLE {batches.quoted} "
            f"ALTER COLUMN {identifier(key)} SET NOT NULL.",
        )
    else:
        place = f"{identifier(schema)}.{identifier(table)}"
        return Walked(place, identifier(key), type_name, rows)
    file, version = script.migration.file, script.migration.version
    line = script.place(batches.line)[0]
    raise SourceError(
        f"{file}: {problem[0]}",
        findings=[Finding(file, *problem, line)],
        remedy=problem[1],
        version=version,
        outcome=f"no batch of {version} was started",
    )
