"""The way into this room, which costs a run without groups no import."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from migrator.apply.run import Run
    from migrator.history.seen import Seen
    from migrator.sql.script import Script


def in_parallel(run: Run, scripts: Sequence[Script], steps: range, seen: Seen) -> None:
    """As `run_group`."""
    from migrator.parallel.run import run_group  # seldom needed

    run_group(run, scripts, steps, seen)
