"""`new`: the only command that writes files."""

from __future__ import annotations

from functools import partial

from migrator.apply.run import Run
from migrator.apply.tries import read_tables
from migrator.commands.table import Output
from migrator.errors import ConfigError, MigratorError, StoppedError
from migrator.folder.create import create, rename, version_in
from migrator.history.read import read_history
from migrator.model import Event


def new(run: Run, name: str | None = None, *, repeatable: bool, renumber: str | None) -> Output:
    """Create the next migration's file and its .down.sql, or give a late one the next number."""
    if (name is None) == (renumber is None) or (repeatable and renumber):
        raise ConfigError("`new` takes a NAME, or --renumber VERSION", remedy="Give one of them.")
    folder, today = run.config.migrations_dir, run.started_at
    if renumber:
        version = version_in(folder, renumber)
        _check_not_applied(run, version)
        made, run.outcome = rename(folder, version, today)
    else:
        made, run.outcome = create(
            folder, name or "", today, run.config.folder_format, repeatable=repeatable
        )
    return {"created": made}


def _check_not_applied(run: Run, version: str) -> None:
    """ConfigError when the database has applied it; a warning where that cannot be seen."""
    if not run.config.targets:
        _warn_unseen(run, version, "no DATABASE_URL names a database")
        return
    query = partial(read_history, lock_timeout_ms=run.config.lock_timeout)
    try:
        rows = read_tables(run.link, query).rows
    except StoppedError:
        raise
    except MigratorError as error:
        _warn_unseen(run, version, error.message)
        return
    if any(row.version == version for row in rows):
        raise ConfigError(
            f"{version} is applied: under another name it would be missing, and run again",
            remedy=f"Leave it as it is. If it must have another name: rename its files by hand, "
            f"then, for each database, `repair --rename {version} NEW --reason WHY`.",
        )


def _warn_unseen(run: Run, version: str, why: str) -> None:
    problem = f"whether it is applied was not seen: {why}"
    remedy = "See `status` for each database: a file that is applied keeps its name."
    fields = {"file": f"{version}.sql", "problem": problem, "remedy": remedy}
    run.link.tell(Event("plan.warning", "warning", fields))
