"""Declares what a database holds already: its rows are written, its files are not run."""

from __future__ import annotations

from functools import partial

from migrator.apply.direction import Applying
from migrator.apply.run import Run
from migrator.apply.view import View
from migrator.commands.baseline_rules import declared, to_declare
from migrator.commands.source import read_full_folder
from migrator.commands.table import Output
from migrator.database.tries import ask, until_unmoved
from migrator.errors import ConfigError, DriftError, MigratorError
from migrator.history.fence import Write
from migrator.history.place import Place
from migrator.history.rows import MS
from migrator.history.seen import Seen
from migrator.model import Event, Finding, Migration
from migrator.scratch.platform_rules import in_one_line, of_platform
from migrator.scratch.scratch import scratch_run
from migrator.scratch.snapshot import Snapshot, differences, schemas, within
from migrator.scratch.snapshot_query import read_snapshot
from migrator.sql.script import Script
from migrator.supabase.mirror import Sync


def baseline(run: Run, *, at: str | None, check: bool) -> Output:
    """Record all files up to --at as applied, without running them; --check compares first."""
    if at is None:
        raise ConfigError("`baseline` takes --at VERSION", remedy="Name the newest file it holds.")
    versions = declare(run, read_full_folder(run), at.removesuffix(".sql"), check=check)
    run.outcome = f"{len(versions)} recorded as baseline" if versions else "nothing to do"
    return {"baseline": versions}


class _Declaring(Applying):
    """Several migrations are recorded as applied by one flight, which runs nothing."""

    called = "the baseline"

    def __init__(self, chosen: tuple[Migration, ...]) -> None:
        self._chosen = chosen

    def record(self, script: Script, place: Place, spent_ms: str = MS) -> tuple[Write, ...]:
        return declared(script, place, self._chosen)

    def also(self, sync: Sync, _last: Migration) -> tuple[Write, ...]:
        return tuple(row for migration in self._chosen for row in sync.rows(migration))


def declare(run: Run, migrations: tuple[Migration, ...], at: str, *, check: bool) -> list[str]:
    """Record `at` and all that is older as applied; the versions, none when they are recorded.

    With `check` they are applied to a scratch database first, and what that then holds is
    compared: DriftError when the database is another. Raises what `to_declare` does, too.
    """
    checked = not check

    def record(view: View) -> list[str]:
        nonlocal checked
        chosen = to_declare(migrations, view.history.rows, at)
        if not chosen:
            return []
        if not checked:
            _check(run, chosen, migrations)
            checked = True  # once: what may move is the history, which must be empty again
        run.direction = _Declaring(chosen)
        run.prepare(view.history, coming=chosen)
        run.sync.look()
        run.fly(_nothing(chosen[-1]), Seen(view.history.seen()))
        fields = {"version": chosen[-1].version, "count": len(chosen)}
        run.link.tell(Event("history.baselined", "info", fields))
        return [migration.version for migration in chosen]

    return until_unmoved(partial(run.look, migrations), record)


def _nothing(last: Migration) -> Script:
    """What flies: no statement at all."""
    from migrator.sql.parts import lay_out

    empty = last._replace(pieces=("",))
    layout = lay_out(empty.pieces)
    return Script(empty, layout.parts, layout.statements, layout.whole)


def _check(run: Run, chosen: tuple[Migration, ...], migrations: tuple[Migration, ...]) -> None:
    """DriftError when the files do not make what the database holds.

    Only schemas in which the files make something are compared, as a platform has its own beside
    them. Owners, grants and versions depend on more than the files: they are warned about; what a
    platform grants by default is one line.
    """
    repeatables = tuple(migration for migration in migrations if migration.repeatable)
    newest = len(chosen) + len(repeatables) == len(migrations)
    made = _made(run, (*chosen, *repeatables) if newest else chosen)
    held = ask(run.link, read_snapshot)
    ours = schemas(made)
    findings, platform = [], []
    for difference in differences(within(made, ours), within(held, ours)):
        if of_platform(difference):
            platform.append(difference)
            continue
        words = difference.in_words("by the files", "in the database")
        if difference.of_circumstance:
            fields = {"file": difference.item.name, "problem": words, "remedy": CIRCUMSTANCE}
            run.link.tell(Event("plan.warning", "warning", fields))
        else:
            findings.append(Finding(difference.item.name, words, SAME))
    if platform:
        fields = {"file": "public", "problem": in_one_line(platform), "remedy": BY_DEFAULT}
        run.link.tell(Event("plan.warning", "info", fields))
    if findings:
        raise DriftError(
            f"the database is not what the files up to {chosen[-1].version} make: "
            f"{len(findings)} differences",
            findings=findings,
            remedy="Make them the same, or leave --check out and let what differs be.",
        )


BY_DEFAULT = (
    "Nothing is to be done: new tables had all grants until 30 October 2026 and have fewer since. "
    "Grants that an application needs, or must not have, belong in a migration."
)
CIRCUMSTANCE = "See whether it is meant; it does not fail the check."
SAME = "Change the files, the database, or the version that --at names."


def _made(run: Run, files: tuple[Migration, ...]) -> Snapshot:
    """What a scratch database holds once the files were applied to it."""
    with scratch_run(run) as trial:
        try:
            trial.apply_pending(files)
            return ask(trial.link, read_snapshot)
        except MigratorError as error:
            error.details["outcome"] = "nothing but a scratch database was touched"
            raise
