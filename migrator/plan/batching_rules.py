"""What the committed batches of a file forbid."""

from __future__ import annotations

from migrator.errors import DirtyError, DriftError, PendingError
from migrator.model import Migration


def changed_midway(migration: Migration) -> DriftError:
    """The file, or the undo, has changed since its first batch was committed."""
    version = migration.version
    again = "let all of the new text run from the start, once that does no harm: "
    again += f"`repair --not-applied {version} --reason WHY`."
    if migration.undoes:
        again = "give the undo up, once all of the migration is there again: "
        again += f"`repair --applied {version} --reason WHY`."
    return DriftError(
        f"{migration.file}: it has changed since its first batch was committed",
        remedy=f"Restore the file, and run again: it goes on where it was. Or {again}",
        version=version,
        file=migration.file,
    )


def cursor_lost(migration: Migration) -> DirtyError:
    """Some batches are committed, and how many is not known any more."""
    version = migration.version
    answers = f"`repair --applied {version} --reason WHY` once all of it has taken effect; or "
    answers += f"`repair --not-applied {version} --reason WHY`, which lets all of it run again."
    if migration.undoes:
        answers = f"`repair --applied {version} --reason WHY` once all of the migration is there "
        answers += f"again, `repair --not-applied {version} --reason WHY` once nothing of it is."
    return DirtyError(
        f"{migration.file}: some batches are committed, and its row of schema_migrations_cursor is "
        "gone",
        remedy=f"Restore it from a backup, or from where the history was before. Or: {answers}",
        version=version,
        file=migration.file,
    )


def renamed_midway(migration: Migration, before: str) -> DirtyError:
    """The text is that of a version of which some batches are committed."""
    version = migration.version
    return DirtyError(
        f"{migration.file}: its text is that of {before}, of which some batches are committed",
        remedy=f"Give the file its old name, {before}, and run again: it goes on where it was. To "
        f"let all of it run from the start: `repair --not-applied {before} --reason WHY`.",
        version=version,
        file=migration.file,
    )


def half_done_need(migration: Migration, need: str) -> PendingError:
    """What is required is left for a later run, and some of its batches are committed."""
    return PendingError(
        f"{migration.file}: requires {need}, which is of the post phase and not finished",
        remedy=f"Run `up --phase all --to {need}`: it goes on where it was. Then run again.",
        version=migration.version,
        file=migration.file,
    )
