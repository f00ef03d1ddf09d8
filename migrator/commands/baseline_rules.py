"""What a baseline declares as applied, and what it writes down; docs/design.md section 11."""

from __future__ import annotations

from collections.abc import Sequence

from migrator.errors import ConfigError
from migrator.folder.version_rules import find_version
from migrator.history.fence import Write
from migrator.history.place import Place
from migrator.history.rows import log_row, not_run
from migrator.model import Applied, Kind, Migration, is_base
from migrator.sql.script import Script

BASELINE = "baseline"  #: the log's event


def to_declare(
    migrations: Sequence[Migration], history: Sequence[Applied], at: str
) -> tuple[Migration, ...]:
    """What is to be declared: `at` and all that is older; nothing when that is recorded already.

    A Job may be started twice. Raises ConfigError when the folder has no such version, or when
    the history holds anything but this very baseline.
    """
    versioned = [m for m in migrations if not m.repeatable and not is_base(m.version)]
    at = find_version(at, [migration.version for migration in versioned])
    last = next((migration for migration in versioned if migration.version == at), None)
    if last is None:
        raise ConfigError(
            f"there is no versioned {at}.sql in the folder",
            remedy=f"Name a file of it, {versioned[-1].version}."
            if versioned
            else "Put the files there first.",
        )
    chosen = tuple(migration for migration in versioned if migration.order <= last.order)
    wanted = {(m.version, m.checksum, Kind.BASELINE) for m in chosen}
    if {(row.version, row.checksum, row.kind) for row in history} == wanted:
        return ()
    if history:
        raise ConfigError(
            f"the history is not empty: the newest applied is {history[-1].version}",
            remedy="A baseline begins a history; what is pending is applied by `up`.",
        )
    return chosen


def declared(_last: Script, place: Place, chosen: Sequence[Migration]) -> tuple[Write, ...]:
    """That `chosen` were there before: a row and a line of the log for each."""
    lines = (
        log_row(place, m.version, BASELINE, {"checksum": m.checksum, "format": m.format})
        for m in chosen
    )
    return not_run(place, chosen, Kind.BASELINE), *lines
