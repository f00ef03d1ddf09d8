"""The proof of undo: each migration up, down and up again, on a scratch database.

Each undo is traced as `check` traces a file: what it would lock is a part of the answer.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

from migrator.apply.run import Run
from migrator.commands.rollback import plan_undo, roll_back
from migrator.commands.source import read_full_folder
from migrator.commands.table import Output
from migrator.database.tries import ask
from migrator.errors import AccessError, MigratorError, SourceError, UnreachableError
from migrator.model import Danger, Event, Finding, Migration
from migrator.plan.undo import Origin, Wish
from migrator.preflight.facts import Traced
from migrator.preflight.judge import judge_files
from migrator.preflight.live import look_at
from migrator.preflight.trace import trace
from migrator.scratch.scratch import scratch_run
from migrator.scratch.snapshot import Snapshot, differences
from migrator.scratch.snapshot_query import read_snapshot
from migrator.sql.script import Script, has_undo

UP, DOWN = "Fix {0}, so that it makes the same again.", "Fix {0}, so that it undoes the whole."


def rehearse(run: Run) -> Output:
    """Prove each undo on a scratch database: up, down, up again, and nothing is left or lost."""
    done = rehearse_all(run, read_full_folder(run))
    without = [row["version"] for row in done if row["result"] == "no undo"]
    run.outcome = f"{len(done) - len(without)} undone and made again on a scratch database"
    if without:
        run.outcome += f"; no undo: {', '.join(without)}"
    return {"rehearsed": done}


def rehearse_all(run: Run, migrations: tuple[Migration, ...]) -> list[dict[str, Any]]:
    """Apply, undo and apply again each migration; in the end undo all, if that can be.

    Where there are repeatables, that is done with them in place, and all is applied again. After
    each step what the database holds is compared with what it held before. A row for each
    migration is the answer. Raises SourceError with all differences, and whatever keeps a
    migration or an undo from running, with the differences up to there.
    """
    findings: list[Finding] = []
    undos: list[tuple[Traced, Script]] = []
    with scratch_run(run) as trial:
        try:
            rows = list(_rehearse_each(run, trial, migrations, findings, undos))
        except MigratorError as error:
            error.findings = (*error.findings, *findings)
            error.details["outcome"] = "nothing but a scratch database was touched"
            raise
    if findings:
        files = ", ".join(dict.fromkeys(finding.file for finding in findings))
        raise SourceError(f"an undo is not the whole way back: {files}", findings=findings)
    if run.config.targets and undos:
        run.warn(_harm(run, undos))
    return rows


def _undo_locks(
    trial: Run, migrations: tuple[Migration, ...], undos: list[tuple[Traced, Script]]
) -> list[dict[str, str]] | None:
    """What the undo of the last of these shuts to writers; None of one outside a transaction."""
    [script] = plan_undo(trial, migrations, Wish(steps=1), Origin.STORED).scripts
    if not script.transactional:
        return None
    [traced] = trace(trial, [script], keep=False)
    undos.append((traced, script))
    return [{"relation": name, "lock": lock} for name, lock in traced.locks]


def _harm(run: Run, undos: list[tuple[Traced, Script]]) -> Iterator[Finding]:
    """What the undos would do to live tables beyond what an undo is for; it fails nothing."""
    traced = [one for one, _ in undos]
    scripts = [script for _, script in undos]
    allows = {script.migration.file: script.allows for script in scripts}
    try:
        seen = look_at(run.link, traced, scripts)
    except (UnreachableError, AccessError) as error:
        yield Finding("rehearse", f"the sizes of tables are not known: {error.message}", UNSIZED)
        return
    limit, version = run.config.preflight_size, seen.server_version
    judged = judge_files(traced, seen.sizes, limit, allows, version, apart=True)
    yield from (h.as_finding() for h in judged.counted if h.fact.danger not in MEANT)


UNSIZED = "The undos are proved all the same; without DATABASE_URL nothing is asked."
#: An undo takes things away.
MEANT = frozenset({Danger.DESTROY, Danger.BREAKS})


def _rehearse_each(
    run: Run,
    trial: Run,
    migrations: tuple[Migration, ...],
    findings: list[Finding],
    undos: list[tuple[Traced, Script]],
) -> Iterator[dict[str, Any]]:
    view = trial.look(migrations)
    migrations = tuple(script.migration for script in trial.understand(view, migrations))
    trial.prepare(view.history)
    before = _look(trial)
    repeatables: dict[str, Snapshot] = {}  # by file, what there was once it had run
    for count, migration in enumerate(migrations, 1):
        until_here, known = migrations[:count], len(findings)
        trial.apply_pending(until_here)
        made, result = _look(trial), "repeatable" if migration.repeatable else "no undo"
        if has_undo(migration):
            made = _there_and_back(trial, until_here, before, made, findings)
            result = "undone and made again" if len(findings) == known else "differs"
        row: dict[str, Any] = {"version": migration.version, "result": result}
        fields = {**row, "step": count, "steps": len(migrations)}
        run.link.tell(Event("migration.rehearsed", "info", fields))
        if migration.repeatable:
            repeatables[migration.file] = made
        before = made
        if result == "undone and made again":
            row["undo_locks"] = _undo_locks(trial, until_here, undos)
        yield row
    without = [not has_undo(m) for m in reversed(migrations) if not m.repeatable]
    steps = [*without, True].index(True)
    if findings or not steps:
        return
    if repeatables:
        findings += _back_with_repeatables(trial, migrations, steps, repeatables, before)
    elif steps == len(migrations):
        # what was given empty is empty again
        roll_back(trial, migrations, Wish(steps=steps), Origin.STORED, sure=True)


def _back_with_repeatables(
    trial: Run,
    migrations: tuple[Migration, ...],
    steps: int,
    made: dict[str, Snapshot],
    last: Snapshot,
) -> list[Finding]:
    """Undo what can be undone with all repeatables in place, and apply all again.

    A repeatable may have run before the last migration, so that `last` is none of those `made`.
    """
    roll_back(trial, migrations, Wish(steps=steps), Origin.STORED, sure=True)
    trial.apply_pending(migrations)
    files = list(made)
    found = []
    for difference in differences(last, _look(trial)):
        key = (difference.item.kind, difference.item.name)
        file = next((file for file in files if key in made[file]), files[-1])
        words = difference.in_words("the first time", "after all was undone and applied again")
        found.append(Finding(file, words, UP.format(file)))
    return found


def _there_and_back(
    trial: Run,
    migrations: tuple[Migration, ...],
    before: Snapshot,
    made: Snapshot,
    findings: list[Finding],
) -> Snapshot:
    """Undo and apply again the last of these; add what differs, return what there is then."""
    up, down = migrations[-1].file, migrations[-1].undo_file
    roll_back(trial, migrations, Wish(steps=1), Origin.STORED, sure=True)
    findings += _compare(down, DOWN, before, _look(trial), f"before {up}", f"after {down}")
    trial.apply_pending(migrations)
    again = _look(trial)
    findings += _compare(up, UP, made, again, "the first time", "the second time")
    return again


def _look(trial: Run) -> Snapshot:
    return ask(trial.link, partial(read_snapshot, rows=True))


def _compare(
    file: str, remedy: str, first: Snapshot, second: Snapshot, before: str, now: str
) -> list[Finding]:
    return [
        Finding(file, difference.in_words(before, now), remedy.format(file))
        for difference in differences(first, second)
    ]
