"""The commands: each is a function whose docstring is its help text."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from migrator.config import OnFinding, OnLate
from migrator.errors import ConfigError, PendingError, SourceError
from migrator.model import Event, Migration
from migrator.parse import Script
from migrator.plan import Plan
from migrator.runner import Run, wait_for_all
from migrator.source import read_source

if TYPE_CHECKING:
    from pathlib import Path

Answer = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Command:
    """A word of the command line."""

    do: Callable[..., Answer]  #: (run, *words) -> what goes to stdout, beside the report
    words: tuple[str, ...] = ()  #: the names of the words that follow the command
    needs_database: bool = True

    @property
    def help(self) -> str:
        return (self.do.__doc__ or "").strip()


def up(run: Run) -> Answer:
    """Apply every pending migration, lowest version first."""
    run.apply_pending(_source(run))
    return {}


def status(run: Run) -> Answer:
    """Show every migration and its state, and what is wrong; changes nothing."""
    view = run.look(_source(run))
    return {"migrations": _states(view.plan)}


def plan(run: Run) -> Answer:
    """Show what `up` would do, and fail where it would; changes nothing."""
    return {
        "would_apply": [
            {
                "version": script.migration.version,
                "file": script.migration.file,
                "statements": script.statements,
                "undo": script.migration.rollback_sql is not None,
            }
            for script in _checked(run, _source(run))
        ]
    }


def verify(run: Run) -> Answer:
    """Fail unless all is applied and nothing has drifted, whatever the policies let pass."""
    late = OnLate.APPLY if run.config.on_late is OnLate.SKIP else run.config.on_late
    run.config = replace(run.config, on_drift=OnFinding.FAIL, on_late=late)
    _checked(run, _full_source(run))
    if run.pending:
        raise PendingError(f"pending: {', '.join(run.pending)}")
    return {}


def wait(run: Run) -> Answer:
    """Poll until the database holds every migration of the folder; for an initContainer."""
    wait_for_all(run, _full_source(run))
    return {}


def new(run: Run, name: str) -> Answer:
    """Create the next migration's file and its .down.sql."""
    if not re.fullmatch("[a-z0-9_]+", name):
        raise ConfigError(
            f"{name} cannot be a migration's name",
            remedy="Use lower-case letters, digits and _, such as add_orders.",
        )
    from pathlib import Path  # the only command that writes files

    folder = Path(run.config.migrations_dir)
    with _writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    migrations = read_source(run.config.migrations_dir)
    digits = migrations[-1].version.partition("_")[0] if migrations else "000"
    version = f"{_next(digits, run)}_{name}"
    paths = [folder / f"{version}.sql", folder / f"{version}.down.sql"]
    texts = (
        f"-- {version}: what it is for\n\n",
        f"-- Undoes {version}. Say here what data is lost.\n\n",
    )
    for path, text in zip(paths, texts, strict=True):
        with _writing(path), path.open("x", encoding="utf-8") as file:
            file.write(text)
    run.outcome = f"{len(paths)} files created"
    return {"created": [str(path) for path in paths]}


COMMANDS = {
    "up": Command(up),
    "status": Command(status),
    "plan": Command(plan),
    "verify": Command(verify),
    "wait": Command(wait),
    "new": Command(new, words=("NAME",), needs_database=False),
}


def _source(run: Run) -> tuple[Migration, ...]:
    """The folder; one without a single migration is warned about."""
    migrations = read_source(run.config.migrations_dir)
    if not migrations:
        run.link.tell(
            Event("source.empty", "warning", {"migrations_dir": run.config.migrations_dir})
        )
    return migrations


def _full_source(run: Run) -> tuple[Migration, ...]:
    """The folder, for commands that say all is well: of an empty one nobody knows."""
    migrations = _source(run)
    if not migrations:
        raise SourceError(
            f"no migration in {run.config.migrations_dir}",
            remedy="Set MIGRATIONS_DIR to the folder of migrations, or copy the files there.",
        )
    return migrations


@contextlib.contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ConfigError(
            f"{path} cannot be made: {error.strerror}",
            remedy="Set MIGRATIONS_DIR to a folder that you may write to, or choose another name.",
        ) from error


def _checked(run: Run, migrations: tuple[Migration, ...]) -> tuple[Script, ...]:
    """What is pending, read and understood; raises what would keep `up` from running it."""
    view = run.look(migrations)
    run.warn(view)
    view.decision.raise_failures()
    return run.understand(view.decision.run)


def _states(plan: Plan) -> list[dict[str, Any]]:
    """One row for each version in the folder or in the history, rising."""
    drifted = {migration.version for migration in plan.drifted}
    late = {migration.version for migration in plan.late}
    gone = {row.version for row in (*plan.missing, *plan.ahead)}
    rows: list[tuple[tuple[int, str], dict[str, Any]]] = []
    for row in plan.applied:
        state = "applied"
        if row.version in drifted:
            state = "drifted"
        elif row.version in gone:
            state = "missing"
        shown = {
            "version": row.version,
            "state": state,
            "kind": row.kind.value,
            "applied_at": row.applied_at,
            "execution_time_ms": row.execution_time_ms,
        }
        rows.append(((row.number, row.version), shown))
    for migration in plan.pending:
        state = "late" if migration.version in late else "pending"
        shown = {"version": migration.version, "state": state}
        rows.append(((migration.number, migration.version), shown))
    return [shown for _, shown in sorted(rows, key=lambda row: row[0])]


def _next(digits: str, run: Run) -> str:
    """The number after `digits`, as wide; a folder of timestamps goes on with the present one."""
    if len(digits) == 14:
        return max(run.started_at.strftime("%Y%m%d%H%M%S"), str(int(digits) + 1))
    return str(int(digits) + 1).zfill(len(digits))
