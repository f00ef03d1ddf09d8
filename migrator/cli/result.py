"""What a command came to -> its report, its last events and the termination log."""

from __future__ import annotations

import os
from typing import Any

from migrator.apply.run import Run
from migrator.cli.small_files import write_at_once
from migrator.config import first_folder
from migrator.errors import (
    DriftError,
    LateError,
    MigratorError,
    MissingError,
    SourceError,
    StatementError,
    StoppedError,
)
from migrator.model import Event, Tell
from migrator.report import Report, fit, what_is_undone, what_remains

TERMINATION_LOG_BYTES = 4096  # what Kubernetes reads of it
ROOT = __file__.removesuffix("/migrator/cli/result.py")  #: where the image has entrypoint.py
#: What a change of a file may put right, and what it takes when the image carries the files.
ABOUT_FILES = (SourceError, DriftError, MissingError, LateError, StatementError)
BUILD = "The image carries the files: to change one, build the image again."


def report_of(
    command: str, run_id: str, run: Run | None, error: Exception | None, duration_ms: int
) -> Report:
    """What a run came to; `run` is None when it ended before there was one."""
    view = run.view if run else None
    findings = (*view.decision.findings, *run.found) if run and view else ()
    exit_code, described = 0, None
    if isinstance(error, MigratorError):
        exit_code, described = error.exit_code, _described(error, run)
        findings = (*error.findings, *(view.decision.warnings if view else ()))
    elif error is not None:
        exit_code, described = 1, _described_bug(error)
    return Report(
        command=command,
        run_id=run_id,
        exit_code=exit_code,
        outcome=_outcome(command, run, error),
        target=run.link.target if run else None,
        applied=tuple(run.applied) if run else (),
        rolled_back=tuple(run.rolled_back) if run else (),
        pending=(*run.pending, *run.deferred) if run else (),
        current=run.current if run else None,
        findings=findings,
        error=described,
        duration_ms=duration_ms,
    )


def _described(error: MigratorError, run: Run | None) -> dict[str, Any]:
    details = {name: value for name, value in error.details.items() if name != "outcome"}
    named = {"type": type(error).__name__, "message": error.message}
    return {**named, "remedy": _remedy(error, run), **details}


def _described_bug(error: Exception) -> dict[str, Any]:
    import traceback

    return {
        "type": type(error).__name__,
        "message": f"a bug in migrator: {error}",
        "remedy": "Report it with this log; `status` shows what is applied.",
        "traceback": "".join(traceback.format_exception(error)),
    }


def _outcome(command: str, run: Run | None, error: Exception | None) -> str:
    """What became of the database, in words."""
    applied = [done.version for done in run.applied] if run else []
    undone = [done.version for done in run.rolled_back] if run else []
    if isinstance(error, MigratorError):
        remains = [what_remains(applied)] if applied else []
        remains += [what_is_undone(undone)] if undone else []
        return _failed(error.details.get("outcome"), "; ".join(remains))
    if error is not None:
        return "unknown: a bug in migrator ended the run; see `status`"
    if run and run.outcome:
        return run.outcome
    later = f"; left for later: {', '.join(run.deferred)}" if run and run.deferred else ""
    if run and command != "up" and run.pending:
        return f"{len(run.pending)} pending{later}"
    return (f"{len(applied)} applied" if applied else "nothing to do") + later


def _remedy(error: MigratorError, run: Run | None) -> str:
    """What to do; with what a change of a file takes where the image carries the files."""
    if run and isinstance(error, ABOUT_FILES) and _in_image(run.config.migrations_dir):
        return f"{error.remedy} {BUILD}"
    return error.remedy


def _in_image(places: str) -> bool:
    """Whether the folder is a part of our image: what is mounted lies on another device."""
    from pathlib import Path  # dear to import, and needed after a failure alone

    try:
        root, folder = Path(ROOT), Path(first_folder(places))
        return (root / ".image").exists() and folder.stat().st_dev == root.stat().st_dev
    except OSError:
        return False


def _failed(said: str | None, remains: str) -> str:
    """What became of the database in a run that failed, with all of it that remains."""
    if not remains:
        return said or "nothing was changed"
    if said is None:
        return f"{remains}; nothing was left half done"
    return said if remains in said else f"{said}; {remains}"


def tell_end(tell: Tell, error: Exception | None, result: dict[str, Any]) -> None:
    if isinstance(error, StatementError):
        tell(Event("migration.failed", "error", result["error"]))
    if isinstance(error, StoppedError):
        fields = {"stopped_by": error.details["stopped_by"], "outcome": result["outcome"]}
        tell(Event("run.stopped", "warning", fields))
    tell(Event("run.finished", "error" if error else "info", result))


def write_termination_log(path: str, result: dict[str, Any], tell: Tell) -> None:
    """What Kubernetes shows of a pod that has ended; only where the file is there already."""
    if not path or not os.path.exists(path):  # noqa: PTH110 - every run pays for it
        return
    try:
        write_at_once(path, fit(result, TERMINATION_LOG_BYTES).encode())
    except OSError as error:
        fields = {"path": path, "error": error.strerror}
        tell(Event("termination_log.failed", "warning", fields))
