"""Facts that travel with the files: one file for each migration, in a folder of their own.

A single file for all would be a merge conflict between any two branches. What a facts file says is
void when the text of its migration, or of any earlier one, has changed since, or when placeholders
made another text of it. It has names, lines and locks, and nothing of the statements beyond their
first words.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path

from migrator.config import first_folder
from migrator.errors import ConfigError
from migrator.history.guard import head
from migrator.model import Migration
from migrator.preflight.facts import Traced, as_file, as_traced
from migrator.preflight.values_rules import UNSURE, digest_of_values
from migrator.sql.script import Script

FOLDER = ".preflight"  #: in the first folder of migrations, where no file of it is one
BYTES = 5_000_000  #: that are read of a facts file


def place_of_facts(folder: str, migration: Migration) -> Path:
    """Where the facts of a migration lie."""
    return _facts(folder) / (migration.version.replace("/", "~") + ".json")


def _facts(places: str) -> Path:
    return Path(first_folder(places), FOLDER)


def head_before(migrations: Sequence[Migration], migration: Migration) -> str:
    """What all files say that come before this one."""
    earlier = (m for m in migrations if m.order < migration.order)
    return head((m.version, m.checksum) for m in earlier)


def read_stored(
    folder: str, migrations: Sequence[Migration], wanted: Iterable[Script]
) -> Iterator[Traced]:
    """The facts of those of `wanted` that have valid ones."""
    if not _facts(folder).is_dir():
        return
    for script in wanted:
        migration, values = script.migration, digest_of_values(script)
        try:
            if values == UNSURE:
                continue
            with place_of_facts(folder, migration).open("rb") as file:
                found = json.loads(file.read(BYTES))
            yield as_traced(found, migration, head_before(migrations, migration), values)
        except (OSError, LookupError, TypeError, ValueError, RecursionError, AttributeError):
            continue  # there are none, or they are of another text


def lacking_facts(
    folder: str, scripts: Sequence[Script], wanted: Collection[str]
) -> frozenset[str]:
    """The versions from the first one on that is wanted or has no valid facts.

    A file is traced upon all that come before it, so those behind it are traced, too.
    """
    migrations = [script.migration for script in scripts]
    valid = {one.version for one in read_stored(folder, migrations, scripts)}
    due = [m.order for m in migrations if m.version in wanted or m.version not in valid]
    return frozenset(m.version for m in migrations if due and m.order >= min(due))


def write_stored(
    folder: str,
    migrations: Sequence[Migration],
    traced: Sequence[Traced],
    scripts: Sequence[Script],
) -> int:
    """Write the facts of these, and remove those of files that are gone; how many were written.

    Raises ConfigError when the folder cannot be written.
    """
    files = {script.migration.version: script for script in scripts}
    try:
        _facts(folder).mkdir(exist_ok=True)
        kept = {place_of_facts(folder, migration) for migration in migrations}
        for path in _facts(folder).glob("*.json"):
            if path not in kept:
                path.unlink()
        for one in traced:
            script, migration = files[one.version], files[one.version].migration
            before, values = head_before(migrations, migration), digest_of_values(script)
            found = as_file(one, migration, before, values)
            _replace(place_of_facts(folder, migration), json.dumps(found, indent=1) + "\n")
    except OSError as error:
        raise ConfigError(
            f"the facts cannot be written into {_facts(folder)}: {error.strerror}",
            remedy="Run `check --write` where the folder may be written: at the build of the "
            "image, or in CI.",
        ) from error
    return len(traced)


def _replace(path: Path, text: str) -> None:
    """Whole, or not at all."""
    beside = path.with_suffix(".new")
    beside.write_text(text, encoding="utf-8")
    beside.replace(path)
