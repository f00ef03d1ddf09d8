"""The folder of a run, as the commands read it."""

from __future__ import annotations

import re

from migrator.apply.run import Run
from migrator.config import COLON
from migrator.errors import ConfigError, SourceError
from migrator.folder.read import Source, read_source
from migrator.model import Event, Migration


def read_folder(run: Run) -> tuple[Migration, ...]:
    """The folder; one without a single migration is warned about."""
    with run.link.watch.thinking():
        source = _read(run.config.migrations_dir, run.config.folder_format)
    migrations, run.passed_over, run.hooks = source.migrations, source.warnings, source.hooks
    if not migrations:
        run.link.tell(
            Event("source.empty", "warning", {"migrations_dir": run.config.migrations_dir})
        )
    return migrations


def _read(places: str, wanted: str) -> Source:
    if COLON not in places:
        return read_source(places, wanted)
    from migrator.folder.several import read_sources  # for those who have several

    return read_sources(places, wanted)


def read_full_folder(run: Run) -> tuple[Migration, ...]:
    """The folder, for commands that say all is well: an empty one proves nothing."""
    migrations = read_folder(run)
    if not migrations:
        raise SourceError(
            f"no migration in {run.config.migrations_dir}",
            remedy="Name the folder of migrations, --migrations-dir FOLDER (MIGRATIONS_DIR), or "
            "copy the files there.",
        )
    return migrations


def above_zero(name: str, text: str) -> int:
    """The number that the option `name` gives."""
    if not re.fullmatch("[1-9][0-9]{0,8}", text):
        raise ConfigError(f"--{name} takes a number above 0", remedy=f"Write --{name} 1, or more.")
    return int(text)
