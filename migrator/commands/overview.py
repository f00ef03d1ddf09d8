"""What the commands that only look show of a database beside the folder."""

from __future__ import annotations

from typing import Any

from migrator import __version__
from migrator.apply.run import Run, View
from migrator.commands.report_rules import begun, verdict
from migrator.errors import AccessError, SourceError
from migrator.model import Migration, Order
from migrator.plan.order import Graph

REPORT_LINES = 20  #: of the log that `report` shows


def whole_state(run: Run, migrations: tuple[Migration, ...]) -> dict[str, Any]:
    """What `report` answers."""
    view = run.look(migrations)
    failures, findings = view.decision.failures, view.decision.findings
    try:
        run.understand(view, migrations)
    except SourceError as error:
        failures, findings = (*failures, error), (*findings, *error.findings)
    if view.undoing:
        failures = (*failures, view.undo_error())
    log, unseen = _newest_lines(run)
    session = run.link.connect()
    server = divmod(session.server_version, 10_000)
    return {
        "database": str(session.target),
        "server": f"PostgreSQL {server[0]}.{server[1]}",
        "history": run.link.place_of(session).history,
        "folder": run.config.migrations_dir,
        "migrator": __version__,
        "taken_at": run.started_at.isoformat(timespec="seconds"),
        "newest": run.current,
        "verdict": verdict(failures, view.dirty, run.pending),
        "findings": [finding.as_dict() for finding in findings],
        "dirty": begun(view.history.dirty | view.history.undoing, view.dirty + view.undoing),
        "migrations": (rows := states(view)),
        "graph": Graph([(row["version"], row["state"]) for row in rows], run.needs(migrations)),
        "log": log,
        "log_unseen": unseen,
    }


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
