"""The way into this room, which costs a run without such files no import."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from migrator.apply.run import Run
    from migrator.history.seen import Seen
    from migrator.report import Done
    from migrator.sql.script import Script


def batched(run: Run, script: Script, seen: Seen) -> Done:
    """As `run_batches`."""
    from migrator.batches.run import run_batches  # seldom needed

    return run_batches(run, script, seen)
