"""Undoes what was applied, one flight for each migration, what was applied last first."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from migrator.apply.direction import Applying, Undoing
from migrator.apply.failed_line import logging_busy
from migrator.apply.run import Run
from migrator.apply.send import check_time
from migrator.apply.view import View
from migrator.commands.rollback_rules import (
    DEPENDED_ON,
    dependents,
    half_done,
    remedy,
    remedy_for,
    what_it_means,
)
from migrator.commands.source import above_zero, read_folder
from migrator.commands.table import Output
from migrator.database.tries import read_tables, until_unmoved
from migrator.errors import ConfigError, MigratorError, StatementError, StoppedError
from migrator.history.read import History
from migrator.history.seen import Seen
from migrator.history.undo_texts import read_kept
from migrator.model import Applied, Event, Migration
from migrator.no_transaction.run import apply_alone
from migrator.plan.plan import make_plan
from migrator.plan.second_history import nothing_here
from migrator.plan.undo import Origin, UndoPlan, UndoStep, Wish, check_started, make_undo
from migrator.report import Done


def rollback(
    run: Run, *, to: str | None, steps: str | None, plan: bool, from_files: bool, yes: bool
) -> Output:
    """Undo what the last run applied, or with --to and --steps more; --plan only shows it."""
    if to and steps:
        raise ConfigError("--to and --steps exclude each other", remedy="Give one of them.")
    wish = Wish(to and to.removesuffix(".sql"), above_zero("steps", steps) if steps else None)
    origin = Origin.FILE if from_files else Origin.STORED
    if plan:
        found = plan_undo(run, read_folder(run), wish, origin)
        run.outcome = f"{len(found.steps)} would be rolled back"
        return {"would_undo": [step.as_dict() for step in found.steps]}
    roll_back(run, read_folder(run), wish, origin, sure=yes)
    run.outcome = f"{len(run.rolled_back)} rolled back" if run.rolled_back else "nothing to undo"
    return {}


def plan_undo(run: Run, migrations: tuple[Migration, ...], wish: Wish, origin: Origin) -> UndoPlan:
    """What would be undone, with warnings logged and every reason against it raised."""
    view = run.look(migrations)
    if view.second:
        raise nothing_here(view.second)
    plan = _plan(run, migrations, view.history, wish, origin)
    run.find_sessions(plan.scripts)
    return plan


def roll_back(
    run: Run, migrations: tuple[Migration, ...], wish: Wish, origin: Origin, *, sure: bool
) -> None:
    """Undo what `wish` means, however often others move the history meanwhile.

    A person at a terminal is asked first, unless `sure`; and again when there is more to undo
    than was shown. Without one a wish for the last run or some steps is refused then
    (ConfigError): it was another run or other steps that were meant.
    """
    shown: frozenset[str] | None = None

    def undo(view: View) -> None:
        nonlocal shown
        view.history.distrust.refuse_owners()
        if view.second:
            raise nothing_here(view.second)
        plan = _plan(run, migrations, view.history, wish, origin)
        if shown is None or not plan.versions <= shown:
            _agree(run, plan, wish, shown, sure=sure)
            shown = plan.versions
        if plan.steps:
            run.find_sessions(plan.scripts)
            run.prepare(view.history)
        _undo_all(run, migrations, plan, view.history)

    until_unmoved(partial(run.look, migrations), undo)
    run.direction = Applying()


def _plan(
    run: Run, migrations: tuple[Migration, ...], history: History, wish: Wish, origin: Origin
) -> UndoPlan:
    kept = {}
    if history.rows:
        query = partial(read_kept, lock_timeout_ms=run.config.lock_timeout)
        kept = read_tables(run.link, query)
    rows = [row for row in history.rows if row.version in kept]  # one may have gone meanwhile
    with run.link.watch.thinking():
        choices = origin, run.config.on_drift, run.config.placeholders
        plan = make_undo(rows, kept, migrations, wish, *choices)
    fields: dict[str, Any] = {"would_undo": [step.row.version for step in plan.steps]}
    run.link.tell(Event("plan.made", "info", {**fields, "applied_count": len(rows)}))
    run.warn(plan.warnings)
    plan.raise_failures()
    check_started(plan, wish, history.undoing)
    if plan.steps and history.batching:
        raise half_done(history.batching)
    return plan


def _agree(
    run: Run, plan: UndoPlan, wish: Wish, shown: frozenset[str] | None, *, sure: bool
) -> None:
    """Raise unless this is what was meant."""
    if shown is not None and wish.to is None:
        added = ", ".join(sorted(plan.versions - shown))
        raise ConfigError(
            f"another run has applied {added} meanwhile, and what was to be undone is not the last "
            "any more",
            remedy="See `rollback --plan`; say which version is to stay: `rollback --to VERSION`.",
        )
    if sure or not plan.steps:
        return
    rows = [step.as_dict() for step in plan.steps]
    if not run.ask("Undo this?", {"would_undo": rows}):
        raise StoppedError("stopped at the question", stopped_by="no", remedy="Nothing to do.")


def _undo_all(
    run: Run, migrations: tuple[Migration, ...], plan: UndoPlan, history: History
) -> None:
    seen = Seen(history.seen())
    run.sync.look()
    for number, step in enumerate(plan.steps, 1):
        version, file = step.row.version, step.script.migration.file
        run.direction = Undoing(step)
        check_time(run.link, step.script, run.direction.called.format(version))
        fields = {"version": version, "file": file, "step": number, "steps": len(plan.steps)}
        run.link.tell(Event("undo.started", "info", {**fields, "from": step.origin.value}))
        try:
            with logging_busy(run.link, run.direction):
                done = _undo(run, step, seen)
        except MigratorError as error:
            if isinstance(error, StatementError):
                untried = [later.row.version for later in plan.steps[number:]]
                _explain(error, step, untried)
                ran = {row.version for row in history.rows}
                _name_repeatables(error, step, [m for m in migrations if m.version in ran])
            raise
        gone = {version, *step.again}
        for name in gone & seen.keys():
            del seen[name]
        run.rolled_back.append(done)
        run.link.go_on()
        run.link.check_encoding()
        run.pending = _pending(
            run, migrations, gone, [r for r in history.rows if r.version in seen]
        )
        fields = {"version": version, "file": file, "execution_time_ms": done.execution_time_ms}
        run.link.tell(Event("migration.undone", "info", fields))
        for repeatable in step.again:
            fields = {"version": repeatable, "file": f"{repeatable}.sql", "undone": version}
            run.link.tell(Event("repeatable.forgotten", "info", fields))


def _pending(
    run: Run, migrations: tuple[Migration, ...], gone: set[str], left: Sequence[Applied]
) -> tuple[str, ...]:
    """What is pending now; repeatables are held while the database is ahead of the folder."""
    known = {*run.pending, *gone}
    return tuple(m.version for m in make_plan(migrations, left).pending if m.version in known)


def _undo(run: Run, step: UndoStep, seen: Seen) -> Done:
    if step.script.batches:
        return run.batched(run, step.script, seen)
    if step.script.transactional:
        return run.fly(step.script, seen)
    also = run.direction.also(run.sync, step.script.migration)
    return apply_alone(run.link, step.script, seen.items(), also, run.direction)


def _explain(error: StatementError, step: UndoStep, untried: list[str]) -> None:
    """Say what a refusal means for the way back: the words for a migration say the contrary."""
    if error.remedy == StatementError.remedy:
        error.remedy = remedy(step)
    outcome = error.details.get("outcome")
    error.details["outcome"] = what_it_means(step, error.details.get("sqlstate"), untried, outcome)


def _name_repeatables(error: StatementError, step: UndoStep, applied: Sequence[Migration]) -> None:
    """Where something of a repeatable is in the way, say so, instead of PostgreSQL's CASCADE."""
    if error.details.get("sqlstate") != DEPENDED_ON:
        return
    texts = {m.file: "".join(m.pieces) for m in applied if m.repeatable}
    if found := dependents(error.details.get("detail"), texts):
        error.remedy = remedy_for(step, found)
        error.details.pop("hint", None)
