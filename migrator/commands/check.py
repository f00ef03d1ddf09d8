"""What pending files would do to tables in use: traced on a scratch database, judged by size."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from migrator.apply.run import Run
from migrator.commands.check_rules import (
    answer_of,
    check_format,
    chosen,
    formatted,
    refused,
)
from migrator.commands.dump import warn_of_schema
from migrator.commands.source import read_full_folder
from migrator.commands.table import Output
from migrator.errors import MigratorError, PolicyError
from migrator.folder.git import read_names_at
from migrator.model import Migration
from migrator.preflight.facts import Traced
from migrator.preflight.judge import SMALL, UNMEASURED, Judged, Sizes, advisable, judge_files
from migrator.preflight.live import Measures, Writes, count_writes, look_at
from migrator.preflight.store import lacking_facts, write_stored
from migrator.preflight.trace import trace
from migrator.scratch.scratch import scratch_run
from migrator.sql.script import Script

SCRATCH_ALONE = "nothing but a scratch database was touched"


def check(
    run: Run, *, base: str | None, all: bool, assume_small: bool, write: bool, format: str | None
) -> Output:
    """Show what pending files would do to tables in use: tried on a scratch database."""
    check_format(format)
    try:
        folder = read_full_folder(run)
    except MigratorError as error:
        run.shown = refused(error, run.config.migrations_dir, format)
        raise
    judged = check_pending(
        run, folder, base=base, every=all, small=assume_small, write=write, style=format
    )
    run.found = judged.findings
    return run.shown


def check_pending(
    run: Run,
    migrations: tuple[Migration, ...],
    *,
    base: str | None,
    every: bool,
    small: bool,
    write: bool,
    style: str | None,
) -> Judged:
    """Trace what is pending, and judge it; the answer is in `run.shown`.

    With `write`, what has no valid facts is traced too, and theirs are written.

    Raises PolicyError when something would stop `up` under PREFLIGHT=fail, and what a file is
    refused with on the scratch database.
    """
    wanted = _wanted(run, migrations, base, every=every)
    before = count_writes(run.link) if run.config.targets else None
    try:
        with scratch_run(run) as trial:
            traced, scripts, version = trace_wanted(trial, migrations, wanted, lacking=write)
            warn_of_schema(run, trial)
    except MigratorError as error:
        error.details["outcome"] = SCRATCH_ALONE
        run.shown = refused(error, run.config.migrations_dir, style)
        raise
    if write:
        write_stored(run.config.migrations_dir, migrations, traced, scripts)
        traced = tuple(one for one in traced if one.version in wanted)
        scripts = tuple(one for one in scripts if one.migration.version in wanted)
    judged = _judged(run, traced, scripts, version, before, every=every, small=small)
    run.shown = answer_of(traced, judged) | formatted(judged, run.config.migrations_dir, style)
    run.outcome = f"{len(traced)} checked; {SCRATCH_ALONE}"
    if judged.findings:
        files = ", ".join(dict.fromkeys(finding.file for finding in judged.findings))
        raise PolicyError(
            f"would harm tables in use: {files}", findings=judged.findings, outcome=SCRATCH_ALONE
        )
    return judged


def _wanted(
    run: Run, migrations: tuple[Migration, ...], base: str | None, *, every: bool
) -> frozenset[str]:
    """The versions to be checked."""
    if every:
        return frozenset(migration.version for migration in migrations)
    if base is not None:
        return chosen(migrations, read_names_at(run.config.migrations_dir, base))
    if run.config.targets:
        run.look(migrations)
        return frozenset(run.pending)
    newest = max(migrations, key=lambda m: (not m.repeatable, m.order))
    return frozenset({newest.version})


def trace_wanted(
    trial: Run, migrations: tuple[Migration, ...], wanted: Collection[str], *, lacking: bool
) -> tuple[tuple[Traced, ...], tuple[Script, ...], int]:
    """Apply what is not wanted, trace the rest; with the scripts and the server's version.

    What has no valid facts is wanted, too, where these are `lacking`.
    """
    view = trial.look(migrations)
    ordered = trial.understand(view, migrations)
    if lacking:
        wanted = lacking_facts(trial.config.migrations_dir, ordered, wanted)
    trial.prepare(view.history)
    earlier = tuple(s.migration for s in ordered if s.migration.version not in wanted)
    trial.apply_pending(earlier)
    scripts = tuple(script for script in ordered if script.migration.version in wanted)
    found = tuple(trace(trial, scripts))
    return found, scripts, trial.link.connect().server_version


def _judged(
    run: Run,
    traced: tuple[Traced, ...],
    scripts: Sequence[Script],
    version: int,
    before: Writes | None,
    *,
    every: bool,
    small: bool,
) -> Judged:
    """`before` are the writes that were counted before the trace, which takes a while."""
    allows = {script.migration.file: script.allows for script in scripts}
    if run.config.targets:
        seen = look_at(run.link, traced, scripts)
    else:
        sizes = Sizes({}, SMALL if small else UNMEASURED)
        seen = Measures(sizes, False, (), version, Writes(0, {}))
    useful = advisable(traced, supabase=seen.supabase, granted=seen.granted)
    limit = run.config.preflight_size
    rates = before.rates_until(seen.writes) if before else {}
    sizes = seen.sizes.with_writes(rates)
    return judge_files(useful, sizes, limit, allows, seen.server_version, apart=every)
