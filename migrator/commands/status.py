"""`status`: every migration and its state, and what `up` would come to."""

from __future__ import annotations

from migrator.apply.run import Run
from migrator.commands.overview import half_done_files, judged, states
from migrator.commands.report_rules import owing, unfinished, verdict, way_out
from migrator.commands.source import read_folder
from migrator.commands.table import Output


def status(run: Run) -> Output:
    """Show every migration and its state, and what is wrong; changes nothing."""
    migrations = read_folder(run)
    view = run.look(migrations, at_work=True)
    failures, run.found, _ = judged(run, view, migrations)
    run.found += tuple(unfinished(view.dirty, view.undoing, view.history.at_work))
    run.found += (*half_done_files(run, view), *owing(run.owed))
    said = verdict(failures, view.dirty, run.pending, run.owed, run.deferred)
    if failures:  # the verdict says why
        run.outcome = f"`up` would end with {failures[0].exit_code}"
    return {
        "verdict": said + way_out(failures),
        "format": view.format,
        "at_work": view.history.at_work,
        "migrations": states(run, view),
    }
