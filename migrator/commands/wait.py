"""`wait`: polls until a runner elsewhere has applied everything."""

from __future__ import annotations

from migrator.apply.run import Run, wait_for_all
from migrator.commands.source import read_full_folder
from migrator.commands.table import Output


def wait(run: Run) -> Output:
    """Poll until the database holds every migration of the folder; for an initContainer."""
    wait_for_all(run, read_full_folder(run))
    return {}
