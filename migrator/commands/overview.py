"""What several commands show of a database beside the folder."""

from __future__ import annotations

from typing import Any

from migrator.apply.run import Run
from migrator.apply.view import View, refuse_started
from migrator.errors import MigratorError
from migrator.model import Finding, Migration, Order, Phase
from migrator.plan.order import Graph
from migrator.sql.script import Script


def judged(
    run: Run, view: View, migrations: tuple[Migration, ...]
) -> tuple[tuple[MigratorError, ...], tuple[Finding, ...], tuple[Script, ...]]:
    """All that `up` would fail with, what the files have to it beyond the plan, and the scripts.

    These are none where `up` would not come to run them.
    """
    if run.config.adopt is not None and not view.history.started:
        from migrator.adopt.adopt import foresee_adoption  # once in the life of a database

        try:
            view = foresee_adoption(run, migrations, view)
        except MigratorError as error:
            return (error,), error.findings, ()
    failures = list(view.decision.failures)
    found: tuple[Finding, ...] = ()
    scripts: tuple[Script, ...] = ()
    if view.undoing:
        failures.append(view.undo_error())
    try:
        scripts = run.understand(view, migrations)
        refuse_started(scripts, view)
        if not failures:
            run.foresee(view.history, scripts)
    except MigratorError as error:
        failures.append(error)
        found = error.findings
    return tuple(failures), found, () if failures else scripts


def half_done_files(run: Run, view: View) -> tuple[Finding, ...]:
    """A finding for each file of which some batches are committed: how far it has come."""
    if not view.batching:
        return ()
    from migrator.batches.look import advances  # for such files alone

    known = advances(run, view.batching)
    said = {version: f": {advance.words}" for version, advance in known.items()}
    return tuple(
        Finding(
            f"{v}.sql", f"is started and not finished{said.get(v, '')}", "Run `up`; it goes on."
        )
        for v in view.batching
    )


def graph_of(run: Run, view: View, migrations: tuple[Migration, ...]) -> Graph:
    rows = states(run, view)
    return Graph([(row["version"], row["state"]) for row in rows], run.needs(migrations))


def states(run: Run, view: View) -> list[dict[str, Any]]:
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
    posts = run.posts((*plan.pending, *plan.held))
    for migration in (*plan.pending, *plan.held):
        if migration.version not in applied:  # a repeatable that ran has its row already
            shown = {
                "version": migration.version,
                "state": states[migration.version],
                "kind": migration.kind.value,
            }
            if migration.version in posts:
                shown["phase"] = Phase.POST.value
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
