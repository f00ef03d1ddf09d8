"""`up`: the loop over what is pending."""

from __future__ import annotations

from migrator.apply.run import Before, Run
from migrator.commands.source import read_folder
from migrator.commands.table import Output
from migrator.errors import PendingError


def up(run: Run, *, to: str | None) -> Output:
    """Apply every pending migration, lowest version first, then changed repeatables.

    With --to, up to and with that version; what follows stays pending. PHASE=pre passes over the
    files of the post phase, and PHASE=post applies these alone.
    """
    run.to = to
    before: Before | None = None
    if run.config.adopt is not None:
        from migrator.adopt.adopt import adopt_first  # once in the life of a database

        before = adopt_first
    try:
        run.apply_pending(read_folder(run), before)
    except PendingError as error:
        from migrator.commands.overview import half_done_files  # needed only then

        if found := half_done_files(run, run.view) if run.view else ():
            error.details["outcome"] = "; ".join(f"{one.file} {one.problem}" for one in found)
        raise
    return run.shown
