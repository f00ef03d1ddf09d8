"""Applies a folder of SQL to PostgreSQL, once and in order.

For Python programs, such as test suites (docs/python.md): `apply`, what it returns and raises.

The rooms, in the order of a run. A file uses its own room and those below it.

__main__        `migrator` and `python -m migrator`
cli             words -> command; terminal, JSON lines, exit code
page            the answer of `report` as a page to look at, without a network
telemetry       events -> the spans of a trace, sent when the run is over
commands        one function for each command, and the rules beside it
adopt           the histories of other tools, and taking one over
preflight       what pending files do to tables in use, and whether it matters
scratch         scratch databases, and snapshots of what a database holds
parallel        files of a group, which run at once
batches         files that run in many small transactions
no_transaction  files whose statements cannot share a transaction
apply           one migration as one guarded message; the loop over pending ones
supabase        the history of Supabase's CLI, written beside ours
database        the sessions of a run, and the tries of each message
refusals        why PostgreSQL refused a statement, and what to do about it
history         our two tables: guard, rows, log
plan            folder beside history -> what is to be done (pure)
folder          files on disk -> migrations
sql             text -> statements -> script (pure)
config          the settings
postgres        the driver's room: connect, session, retry, stop, blockers
model, errors, durations, report, display, masking: the hall, which every room uses
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import os
    from collections.abc import Callable

    from migrator.errors import (
        AccessError,
        BusyError,
        ConfigError,
        DirtyError,
        DriftError,
        FleetError,
        LateError,
        LockedError,
        MigratorError,
        MissingError,
        PendingError,
        PolicyError,
        RefusedError,
        SourceError,
        StatementError,
        StoppedError,
        TransientError,
        UnreachableError,
    )
    from migrator.model import Event, Finding
    from migrator.report import Done, Report

__version__ = "0.1.0"
__all__ = [
    "AccessError",
    "BusyError",
    "ConfigError",
    "DirtyError",
    "Done",
    "DriftError",
    "Event",
    "Finding",
    "FleetError",
    "LateError",
    "LockedError",
    "MigratorError",
    "MissingError",
    "PendingError",
    "PolicyError",
    "RefusedError",
    "Report",
    "SourceError",
    "StatementError",
    "StoppedError",
    "TransientError",
    "UnreachableError",
    "apply",
]


def apply(
    url: str,
    folder: str | os.PathLike[str] = "migrations",
    *,
    on_event: Callable[[Event], object] | None = None,
    **settings: object,
) -> Report:
    """Apply every pending migration of `folder` to the database that `url` names.

    `settings` are those of the job in lower case (lock_timeout="500ms", on_late="apply"); none is
    taken from the environment. `on_event` is called with each event of the log, in this thread;
    without it nothing is logged. Raises a MigratorError, with the report so far in `report`.

    The job runs in a process of its own, so this may be called from any thread, several times at
    once, and from asyncio by `asyncio.to_thread`; it changes nothing in the caller's process.
    """
    from migrator.cli.child import apply_in_child  # `import migrator` is cheap

    return apply_in_child(url, str(folder), on_event, settings)


def __getattr__(name: str) -> Any:
    """The classes of __all__, imported when first asked for."""
    if name not in __all__:
        raise AttributeError(f"module 'migrator' has no attribute {name!r}")
    from migrator import errors, model, report

    return next(vars(file)[name] for file in (errors, model, report) if name in vars(file))


class _Callable(ModuleType):
    """The room `migrator.apply`, once it is imported: called, it is the function of that name."""

    def __call__(self, *words: Any, **settings: Any) -> Report:
        return _apply(*words, **settings)


class _Package(ModuleType):
    """This package; an import of the room must not take the function's name away."""

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "apply" and isinstance(value, ModuleType):
            value.__class__ = _Callable
        super().__setattr__(name, value)


_apply = apply
sys.modules[__name__].__class__ = _Package
