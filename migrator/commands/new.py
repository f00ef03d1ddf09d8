"""`new`: the only command that writes files."""

from __future__ import annotations

from functools import partial

from migrator.apply.run import Run
from migrator.commands.table import Output
from migrator.database.tries import read_tables
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
        unseen = _unseen(run, version)
        made, target = rename(folder, version, today)
        run.outcome = f"{version} is now {target}"
        if unseen is not None:
            _warn(run, target, unseen, f"`repair --rename {version} {target} --reason WHY`")
    else:
        made, run.outcome = create(
            folder, name or "", today, run.config.folder_format, repeatable=repeatable
        )
    return {"created": made}


def _unseen(run: Run, version: str) -> str | None:
    """What is to be known of a database that has it applied, or may have; None where it has not."""
    if not run.config.targets:
        return "whether it is applied was not seen: no DATABASE_URL names a database"
    query = partial(read_history, lock_timeout_ms=run.config.lock_timeout)
    try:
        rows = read_tables(run.link, query).rows
    except StoppedError:
        raise
    except MigratorError as error:
        return f"whether it is applied was not seen: {error.message}"
    applied = any(row.version == version for row in rows)
    return f"the database has it applied as {version}" if applied else None


def _warn(run: Run, version: str, problem: str, command: str) -> None:
    remedy = f"For each database that has it applied: {command}."
    fields = {"file": f"{version}.sql", "problem": problem, "remedy": remedy}
    run.link.tell(Event("plan.warning", "warning", fields))
