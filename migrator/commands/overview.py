"""What the commands that only look show of a database beside the folder."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from migrator import __version__
from migrator.apply.run import Run, View, refuse_begun
from migrator.commands.report_rules import begun, unfinished, verdict, way_out
from migrator.errors import AccessError, MigratorError, SourceError
from migrator.model import Finding, Migration, Order
from migrator.plan.order import Graph
from migrator.sql.script import Script, has_undo

REPORT_LINES = 20  #: of the log that `report` shows


def status_of(run: Run, migrations: tuple[Migration, ...]) -> dict[str, Any]:
    """What `status` answers; its outcome says what `up` would come to, where it would fail."""
    view = run.look(migrations, at_work=True)
    failures, run.found = _judged(run, view, migrations)
    run.found += tuple(unfinished(view.dirty, view.undoing, view.history.at_work))
    said = verdict(failures, view.dirty, run.pending)
    if failures:
        run.outcome = said.removesuffix(".")
    return {
        "verdict": said + way_out(failures),
        "format": view.format,
        "at_work": view.history.at_work,
        "migrations": states(view),
    }


def planned(run: Run, migrations: tuple[Migration, ...], *, graph: bool) -> dict[str, Any]:
    """What `plan` answers; it is shown even where `up` would refuse to run, which is raised."""
    view = run.look(migrations, at_work=True)
    run.warn(view.decision.warnings)
    wrong: SourceError | None = None
    try:
        run.understand(view, migrations)
    except SourceError as error:
        wrong = error
    run.shown = {
        "format": view.format,
        "would_apply": _would_apply(run, view),
        "at_work": view.history.at_work,
    }
    if graph:
        run.shown["graph"] = _graph(run, view, migrations)
    view.decision.raise_failures([wrong] if wrong else [])
    if wrong:
        raise wrong
    view.raise_dirty()
    run.foresee(view.history, tuple(_scripts(run, view)))
    return run.shown


def whole_state(run: Run, migrations: tuple[Migration, ...]) -> dict[str, Any]:
    """What `report` answers."""
    view = run.look(migrations, at_work=True)
    failures, found = _judged(run, view, migrations)
    findings = (*view.decision.findings, *found)
    said = verdict(failures, view.dirty, run.pending)
    run.outcome = said.removesuffix(".")
    log, unseen = _newest_lines(run)
    session = run.link.connect()
    server = divmod(session.server_version, 10_000)
    return {
        "database": str(session.target),
        "server": f"PostgreSQL {server[0]}.{server[1]}",
        "history": run.link.place_of(session).history,
        "folder": run.config.migrations_dir,
        "format": view.format,
        "migrator": __version__,
        "taken_at": run.started_at.isoformat(timespec="seconds"),
        "newest": run.current,
        "verdict": said + way_out(failures),
        "findings": [finding.as_dict() for finding in findings],
        "at_work": view.history.at_work,
        "dirty": begun(view.history.dirty | view.history.undoing, view.dirty + view.undoing),
        "migrations": states(view),
        "graph": _graph(run, view, migrations),
        "log": log,
        "log_unseen": unseen,
    }


def _judged(
    run: Run, view: View, migrations: tuple[Migration, ...]
) -> tuple[tuple[MigratorError, ...], tuple[Finding, ...]]:
    """All that `up` would fail with, and what the files have to it beyond the plan."""
    failures = list(view.decision.failures)
    found: tuple[Finding, ...] = ()
    if view.undoing:
        failures.append(view.undo_error())
    try:
        scripts = run.understand(view, migrations)
        refuse_begun(scripts, view)
        if not failures:
            run.foresee(view.history, scripts)
    except MigratorError as error:
        failures.append(error)
        found = error.findings
    return tuple(failures), found


def _would_apply(run: Run, view: View) -> list[dict[str, Any]]:
    """A row for each pending file, in the order of a run as far as that is known."""
    files = {migration.version: migration for migration in view.decision.run}
    rows = []
    for version in run.pending:
        script = run.script(files[version])
        row = {
            "version": version,
            "file": files[version].file,
            "statements": script.statements if script else None,
            "undo": has_undo(files[version]),
        }
        rows.append(row)
    return rows


def _scripts(run: Run, view: View) -> Iterator[Script]:
    for migration in view.decision.run:
        if script := run.script(migration):
            yield script


def _graph(run: Run, view: View, migrations: tuple[Migration, ...]) -> Graph:
    return Graph([(row["version"], row["state"]) for row in states(view)], run.needs(migrations))


def states(view: View) -> list[dict[str, Any]]:
    """One row for each version in the folder or in the history, in their order."""
    plan = view.plan
    states = {row.version: "applied" for row in plan.applied}
    for state, found in (
        ("drifted", plan.drifted),
        ("missing", (*plan.missing, *plan.ahead, *plan.gone)),
        ("pending", plan.pending),
        ("late", plan.late),
        ("held", plan.held),
    ):
        states |= {item.version: state for item in found}
    states |= dict.fromkeys(view.dirty + view.undoing, "dirty")
    rows: list[tuple[Order, dict[str, Any]]] = []
    applied = {row.version for row in plan.applied}
    for row in plan.applied:
        shown = {
            "version": row.version,
            "state": states[row.version],
            "kind": row.kind.value,
            "applied_at": row.applied_at,
            "execution_time_ms": row.execution_time_ms,
            "floor": row.floor or None,
        }
        rows.append((row.order, shown))
    for migration in (*plan.pending, *plan.held):
        if migration.version not in applied:  # a repeatable that ran has its row already
            shown = {
                "version": migration.version,
                "state": states[migration.version],
                "kind": migration.kind.value,
            }
            rows.append((migration.order, shown))
    return [shown for _, shown in sorted(rows, key=lambda row: row[0])]


def log_line(line: dict[str, Any]) -> dict[str, Any]:
    """One line of the log: what every event has, then what is known of this one."""
    detail = dict(line["detail"])
    names = ("at", "event", "version", "runner")
    shown = {name: line[name] for name in names}
    for name in ("execution_time_ms", "reason"):
        shown[name] = detail.pop(name, None)
    return {**shown, "run_id": line["run_id"], "detail": detail}


def _newest_lines(run: Run) -> tuple[list[dict[str, Any]], str | None]:
    """The newest lines of the log; none, and why, for a role that may not see them."""
    try:
        return [log_line(line) for line in run.read_log(REPORT_LINES)], None
    except AccessError as error:
        return [], (
            f"{error.message}: the log is not shown, and whether a migration is dirty is not "
            f"known. {error.remedy}"
        )
