"""`history`: the newest lines of the log."""

from __future__ import annotations

from migrator.apply.run import Run
from migrator.commands.overview import log_line
from migrator.commands.source import above_zero
from migrator.commands.table import Output

LOG_LINES = 50  #: that are shown


def history(run: Run, *, limit: str | None) -> Output:
    """Show the log: who did what when, how long it took, and why; changes nothing."""
    lines = run.read_log(above_zero("limit", limit) if limit else LOG_LINES)
    return {"log": [log_line(line) for line in lines]}
