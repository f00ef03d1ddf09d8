"""`verify`: a gate that fails unless all is well; with --base, without a database.

With --schema the live catalog is compared with what the applied files make.
"""

from __future__ import annotations

from migrator.apply.run import Run
from migrator.apply.view import View
from migrator.commands.source import read_full_folder
from migrator.commands.table import Output
from migrator.config import COLON, OnFinding, OnLate, folders_of
from migrator.errors import ConfigError, DriftError, LateError, PendingError
from migrator.model import Event, Migration
from migrator.plan.plan import behind
from migrator.sql.script import Script


def verify(run: Run, *, base: str | None, schema: bool, ignore: str | None) -> Output:
    """Fail unless all is applied and nothing has drifted, whatever the policies let pass.

    With --base, offline: fail when the folder has a file that is older than the newest of REF.
    With --schema: fail when the database holds anything else than the applied files make.
    """
    if ignore is not None and not schema:
        raise ConfigError("--ignore goes with --schema", remedy="Write `verify --schema` too.")
    if base is not None:
        return _verify_base(run, base)
    late = OnLate.APPLY if run.config.on_late is OnLate.SKIP else run.config.on_late
    run.config = run.config._replace(on_drift=OnFinding.FAIL, on_late=late)
    migrations = read_full_folder(run)
    view, _ = _check_pending(run, migrations)
    if schema and view.rows:
        _verify_schema(run, view, migrations, ignore)
    if run.pending:
        raise PendingError(f"pending: {', '.join(run.pending)}")
    if run.owed:
        raise PendingError(f"owed: {run.owed}, which has not run since migrations were applied")
    return run.shown


def _verify_schema(
    run: Run, view: View, migrations: tuple[Migration, ...], ignore: str | None
) -> None:
    """DriftError when the database is not what its applied files make."""
    from migrator.adopt.tools import TRACKERS
    from migrator.scratch.drift import compare_live
    from migrator.scratch.drift_rules import split_patterns

    tables = {tracker.table for tracker in TRACKERS.values()}
    drift = compare_live(run, view, migrations, ignored=split_patterns(ignore), tables=tables)
    run.shown = {"differences": drift.as_dicts()}
    for level, texts in (("warning", drift.warned), ("info", drift.usual)):
        for problem in texts:
            fields = {"file": "the database", "problem": problem, "remedy": NOT_COUNTED}
            run.link.tell(Event("plan.warning", level, fields))
    findings = drift.as_findings()
    if findings:
        many = "" if len(findings) == 1 else "s"
        raise DriftError(
            f"the database is not what its applied files make: {len(findings)} difference{many}",
            findings=findings,
            remedy=TAKE_BACK,
        )
    run.outcome = "the database holds what its applied files make"


NOT_COUNTED = "See whether it is meant; it does not fail `verify --schema`."
TAKE_BACK = (
    "Put what is meant into a migration that also runs where it is there already, and take the "
    "rest back. What others own is left out by its name or its schema: "
    "`verify --schema --ignore NAMES`."
)


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
