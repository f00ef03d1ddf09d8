"""`plan`: what `up` would do; it is shown even where `up` would refuse to run."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from migrator.apply.run import Run, View, refuse_started
from migrator.commands.overview import graph_of, half_done_files
from migrator.commands.report_rules import owing
from migrator.commands.source import read_folder
from migrator.commands.table import Output
from migrator.errors import SourceError
from migrator.model import Migration, Phase
from migrator.sql.script import Script, has_undo


def plan(run: Run, *, to: str | None, graph: bool) -> Output:
    """Show what `up` would do, and fail where it would; changes nothing."""
    run.to = to
    migrations = read_folder(run)
    view = _foreseen(run, migrations)
    run.warn((*view.decision.warnings, *half_done_files(run, view), *owing(run.owed)))
    wrong: SourceError | None = None
    try:
        run.understand(view, migrations)
    except SourceError as error:
        wrong = error
    run.shown |= {
        "format": view.format,
        "would_apply": _would_apply(run, view),
        "deferred": list(run.deferred),
        "at_work": view.history.at_work,
    }
    if graph:
        run.shown["graph"] = graph_of(run, view, migrations)
    view.decision.raise_failures([wrong] if wrong else [])
    if wrong:
        raise wrong
    view.raise_dirty()
    scripts = tuple(_scripts(run, view))
    refuse_started(scripts, view)
    run.foresee(view.history, scripts)
    return run.shown


def _foreseen(run: Run, migrations: tuple[Migration, ...]) -> View:
    """The view that `up` would have, after it had adopted another tool's history."""
    view = run.look(migrations, at_work=True)
    if run.config.adopt is None:
        return view
    from migrator.adopt.adopt import foresee_adoption  # once in the life of a database

    return foresee_adoption(run, migrations, view)


def _would_apply(run: Run, view: View) -> list[dict[str, Any]]:
    """A row for each pending file, in the order of a run as far as that is known."""
    files = {migration.version: migration for migration in view.decision.run}
    posts = run.posts(view.decision.run)
    rows = []
    for version in run.pending:
        script = run.script(files[version])
        row = {
            "version": version,
            "file": files[version].file,
            "statements": script.statements if script else None,
            "undo": has_undo(files[version]),
        }
        if version in posts:
            row["phase"] = Phase.POST.value
        rows.append(row)
    return rows


def _scripts(run: Run, view: View) -> Iterator[Script]:
    for migration in view.decision.run:
        if script := run.script(migration):
            yield script
