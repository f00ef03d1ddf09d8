"""`up`: the loop over what is pending."""

from __future__ import annotations

from migrator.apply.run import Run
from migrator.commands.source import read_folder
from migrator.commands.table import Output


def up(run: Run) -> Output:
    """Apply every pending migration, lowest version first, then changed repeatables."""
    run.apply_pending(read_folder(run))
    return {}
