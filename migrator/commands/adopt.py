"""`adopt`: the words of the command line for the room of that name."""

from __future__ import annotations

from migrator.adopt.adopt import adopt_history
from migrator.apply.run import Run
from migrator.commands.source import read_full_folder
from migrator.commands.table import Output


def adopt(run: Run, *, from_: str | None, table: str | None, plan: bool) -> Output:
    """Take over the history of another tool, with proof of what it ran where there is one."""
    return adopt_history(run, read_full_folder(run), from_, table, only_plan=plan)
