"""What the applied files make on a scratch database, beside what the database holds."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from migrator.apply.run import Run
from migrator.apply.view import View
from migrator.database.tries import ask
from migrator.errors import ConfigError, MigratorError, MissingError
from migrator.model import Applied, Migration
from migrator.scratch.drift_rules import Drift, find_drift, touched
from migrator.scratch.scratch import scratch_run
from migrator.scratch.snapshot import Snapshot
from migrator.scratch.snapshot_query import read_snapshot

Keys = Collection[tuple[str, str]]


def compare_live(
    run: Run,
    view: View,
    migrations: tuple[Migration, ...],
    *,
    ignored: Sequence[str],
    tables: Collection[str],
) -> Drift:
    """In what the database differs from what its history says that it holds.

    Files that were recorded and never ran here run there, too. What a repeatable makes that has
    changed since it ran is not compared, as its text of that time is not known. `ignored` and
    `tables` are as `find_drift` has them. Raises MissingError where a file is gone, ConfigError
    where the other server is of another version, and what keeps a file from running there.
    """
    _refuse_gone(view)
    rows = {row.version: row for row in view.rows}
    applied = tuple(m for m in migrations if m.version in rows and not _changed(m, rows))
    with scratch_run(run) as trial:
        refuse_other_version(run, trial)
        trial.hooks = run.hooks
        try:
            made, unsure = _make(trial, migrations, applied, rows)
        except MigratorError as error:
            error.details["outcome"] = "nothing but a scratch database was touched"
            raise
    held = ask(run.link, read_snapshot)
    home = run.config.migrations_schema
    return find_drift(made, held, ignored=ignored, tables=tables, unsure=unsure, home=home)


def _make(
    trial: Run,
    migrations: tuple[Migration, ...],
    applied: tuple[Migration, ...],
    rows: Mapping[str, Applied],
) -> tuple[Snapshot, Keys]:
    """What the applied files make; and what the next `up` changes by repeatables."""
    trial.apply_pending(applied)
    made = ask(trial.link, read_snapshot)
    changed = [m for m in migrations if m.version in rows and _changed(m, rows)]
    if not changed:
        return made, ()
    trial.apply_pending(tuple(m for m in migrations if not m.repeatable or m in applied))
    before = ask(trial.link, read_snapshot)
    trial.apply_pending(tuple(m for m in migrations if m not in changed) + tuple(changed))
    return made, touched(before, ask(trial.link, read_snapshot))


def _changed(migration: Migration, rows: Mapping[str, Applied]) -> bool:
    """Whether it is a repeatable whose text is not the one that ran."""
    return migration.repeatable and rows[migration.version].checksum != migration.checksum


def _refuse_gone(view: View) -> None:
    gone = [row.version for row in (*view.plan.missing, *view.plan.ahead)]
    if gone:
        raise MissingError(
            f"what applied files made cannot be known without them: {', '.join(gone)}",
            remedy="Run `verify --schema` with the folder of the image that applied them.",
        )


def refuse_other_version(run: Run, trial: Run) -> None:
    """Servers of two versions write the same view or constraint in two ways."""
    ours, theirs = (one.link.connect().server_version // 10_000 for one in (run, trial))
    if ours != theirs:
        raise ConfigError(
            f"the scratch database is on PostgreSQL {theirs}, and the database on {ours}",
            remedy=f"Let SHADOW_DATABASE_URL name a server of PostgreSQL {ours}, such as one of "
            f"`docker run --rm -e POSTGRES_PASSWORD=x -p 5433:5432 postgres:{ours}`: "
            "postgresql://postgres:x@127.0.0.1:5433/postgres.",
        )
