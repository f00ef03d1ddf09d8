"""The way into this room for a run that applies files, which costs others no import."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from migrator.apply.run import Run
    from migrator.model import Migration
    from migrator.sql.script import Script


def preflight(run: Run, scripts: Sequence[Script], migrations: Sequence[Migration]) -> None:
    """As `pass_gate`."""
    from migrator.preflight.gate import pass_gate  # a run with nothing pending does not need it

    pass_gate(run, scripts, migrations)
