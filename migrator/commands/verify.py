"""`verify`: a gate that fails unless all is well; with --base, without a database."""

from __future__ import annotations

from dataclasses import replace

from migrator.apply.run import Run, View
from migrator.commands.source import read_full_folder
from migrator.commands.table import Output
from migrator.config import COLON, OnFinding, OnLate, folders_of
from migrator.errors import LateError, PendingError
from migrator.model import Migration
from migrator.plan.plan import behind
from migrator.sql.script import Script


def verify(run: Run, *, base: str | None) -> Output:
    """Fail unless all is applied and nothing has drifted, whatever the policies let pass.

    With --base, offline: fail when the folder has a file that is older than the newest of REF.
    """
    if base is not None:
        return _verify_base(run, base)
    late = OnLate.APPLY if run.config.on_late is OnLate.SKIP else run.config.on_late
    run.config = replace(run.config, on_drift=OnFinding.FAIL, on_late=late)
    _check_pending(run, read_full_folder(run))
    if run.pending:
        raise PendingError(f"pending: {', '.join(run.pending)}")
    if run.owed:
        raise PendingError(f"owed: {run.owed}, which has not run since migrations were applied")
    return {}


def _check_pending(run: Run, migrations: tuple[Migration, ...]) -> tuple[View, tuple[Script, ...]]:
    """What is pending, read and understood; raises what would keep `up` from running it."""
    view = run.look(migrations)
    run.warn(view.decision.warnings)
    view.decision.raise_failures()
    scripts = run.understand(view, migrations)
    view.raise_dirty()
    return view, scripts


def _verify_base(run: Run, ref: str) -> Output:
    from migrator.folder.git import read_names_at

    migrations = read_full_folder(run)
    places = run.config.migrations_dir
    folders = folders_of(places) if COLON in places else ()
    found = behind(migrations, read_names_at(places, ref), folders)
    if found:
        files = ", ".join(finding.file for finding in found)
        raise LateError(
            f"new files are older than what {ref} has: {files}",
            findings=found,
            remedy="Give each a number above those: `new --renumber VERSION`.",
        )
    run.outcome = f"no file is older than what {ref} has"
    return {}
