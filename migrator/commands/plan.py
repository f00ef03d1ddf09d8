"""`plan`: what `up` would do; it is shown even where `up` would refuse to run."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from migrator.apply.run import Run
from migrator.apply.view import View, refuse_started
from migrator.commands.overview import graph_of, half_done_files
from migrator.commands.report_rules import owing
from migrator.commands.source import read_folder
from migrator.commands.table import Output
from migrator.config import Preflight
from migrator.errors import SourceError
from migrator.model import Migration, Phase
from migrator.sql.script import Script, has_undo


def plan(run: Run, *, to: str | None, graph: bool, sql: bool) -> Output:
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
    if sql:
        run.shown["sql"] = [_written(script) for script in _scripts(run, view)]
    view.decision.raise_failures([wrong] if wrong else [])
    if wrong:
        raise wrong
    view.raise_dirty()
    scripts = tuple(_scripts(run, view))
    refuse_started(scripts, view)
    run.foresee(view.history, scripts)
    if scripts and run.config.preflight is not Preflight.OFF:
        _judge(run, scripts, migrations)
    return run.shown


def _judge(run: Run, scripts: tuple[Script, ...], migrations: tuple[Migration, ...]) -> None:
    """Show what `up` would judge by the facts; raises what it would end with."""
    from migrator.preflight.gate import look_ahead  # only where something is pending

    found = look_ahead(run, scripts, migrations)
    run.shown["preflight"] = found.as_dict()
    for row in run.shown["would_apply"]:
        locks = found.locks.get(row["version"])
        row["locks"] = None if locks is None else [list(pair) for pair in locks]
    if refusal := found.refusal:
        raise refusal


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
            "transaction": script.transactional if script else None,
            "repeatable": files[version].repeatable,
            "requires": [one.version for one in script.requires] if script else [],
            "locks": None,
        }
        if script and script.parallel:
            row["parallel"] = script.parallel
        if version in posts:
            row["phase"] = Phase.POST.value
        rows.append(row)
    return rows


def _written(script: Script) -> dict[str, Any]:
    """A file with its statements, without passwords and the rows of COPY."""
    from migrator.sql.parts import texts  # for those who want to read them
    from migrator.sql.sensitive import masked

    shown = [masked(text) for _, text in texts(script.pieces)]
    if filled := script.filled:
        shown = [filled.without_secrets(text) for text in shown]
    return {"version": script.migration.version, "file": script.migration.file, "sql": shown}


def _scripts(run: Run, view: View) -> Iterator[Script]:
    for migration in view.decision.run:
        if script := run.script(migration):
            yield script
