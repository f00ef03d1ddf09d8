"""`up`: the loop over what is pending."""

from __future__ import annotations

from migrator.apply.run import Run
from migrator.commands.source import read_folder
from migrator.commands.table import Output


def up(run: Run, *, to: str | None) -> Output:
    """Apply every pending migration, lowest version first, then changed repeatables.

    With --to, up to and with that version; what follows stays pending. PHASE=pre passes over the
    files of the post phase, and PHASE=post applies these alone.
    """
    run.to = to
    if run.config.adopt is None:
        run.apply_pending(read_folder(run))
    else:
        from migrator.adopt.adopt import adopt_first  # once in the life of a database

        run.apply_pending(read_folder(run), adopt_first)
    return run.shown
