"""What the files make, as a text that is read in review: schema.sql beside the migrations."""

from __future__ import annotations

from migrator.apply.run import Run
from migrator.commands.source import read_full_folder
from migrator.commands.table import Output
from migrator.errors import ConfigError, MigratorError
from migrator.model import Finding
from migrator.scratch.dump_rules import in_what_it_differs
from migrator.scratch.pg_dump import read_schema, schema_path
from migrator.scratch.scratch import scratch_run


def dump(run: Run) -> Output:
    """Write schema.sql beside the migrations: what they make, on a scratch database."""
    migrations = read_full_folder(run)
    path = schema_path(run.config.migrations_dir)
    try:
        with scratch_run(run) as trial:
            trial.apply_pending(migrations)
            text = read_schema(run, trial)
    except MigratorError as error:
        error.details["outcome"] = "nothing but a scratch database was touched"
        raise
    try:
        changed = not path.exists() or path.read_text(encoding="utf-8", errors="replace") != text
        if changed:
            path.write_text(text, encoding="utf-8", newline="\n")
    except OSError as error:
        raise ConfigError(
            f"{path} cannot be written: {error.strerror}",
            remedy="Run `dump` where the folder beside the migrations may be written.",
        ) from error
    run.outcome = f"{path} is written" if changed else f"{path} was so already"
    return {"schema": str(path), "changed": changed}


def warn_of_schema(run: Run, trial: Run) -> None:
    """Where schema.sql is there: a warning when it is not what `trial` holds, all files applied."""
    path = schema_path(run.config.migrations_dir)
    if not path.is_file():
        return
    try:
        made = read_schema(run, trial)
    except ConfigError as error:
        problem: str | None = f"is not compared with what the files make: {error.message}"
    else:
        problem = in_what_it_differs(path.read_text(encoding="utf-8", errors="replace"), made)
    if problem:
        remedy = f"Run `dump` (`make schema`), and commit {path}."
        run.warn([Finding("the committed schema", problem, remedy)])
