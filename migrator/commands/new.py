"""`new`: the only command that writes files."""

from __future__ import annotations

from migrator.apply.run import Run
from migrator.commands.table import Output
from migrator.errors import ConfigError
from migrator.folder.create import create, rename


def new(run: Run, name: str | None = None, *, repeatable: bool, renumber: str | None) -> Output:
    """Create the next migration's file and its .down.sql, or give a late one the next number."""
    if (name is None) == (renumber is None) or (repeatable and renumber):
        raise ConfigError("`new` takes a NAME, or --renumber VERSION", remedy="Give one of them.")
    folder, today = run.config.migrations_dir, run.started_at
    if renumber:
        made, run.outcome = rename(folder, renumber, today)
    else:
        made, run.outcome = create(
            folder, name or "", today, run.config.folder_format, repeatable=repeatable
        )
    return {"created": made}
