"""How much of what is pending one run applies: up to a version, and of which phase."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from migrator.errors import ConfigError, PendingError
from migrator.folder.version_rules import find_version
from migrator.model import Applied, Finding, Migration, Phase
from migrator.plan.order import Needs
from migrator.plan.plan import Plan, place_of

OFFERED = 5  #: of the versions that --to could have meant


@dataclass(frozen=True, slots=True)
class Scope:
    """What a run is to apply; what is beyond is left for a later one."""

    to: str | None  #: the last version, as a person types it
    phase: Phase


def defer(
    plan: Plan,
    scope: Scope,
    posts: Collection[str],
    needs: Needs,
    folder: Sequence[Migration],
) -> tuple[Plan, tuple[Migration, ...], PendingError | None]:
    """The plan, in which nothing that is left for later is late; what is left; what fails the run.

    `posts` are the versions of the post phase, which runs when all of the pre phase is applied.
    Raises ConfigError when --to names what is neither in the folder nor applied.
    """
    beyond = set() if scope.to is None else _beyond(plan, scope.to, needs, folder)
    other = {m.version for m in plan.pending if not _is_of(scope.phase, m.version in posts)}
    deferred = tuple(m for m in plan.pending if m.version in beyond | other)
    plan = plan._replace(late=tuple(m for m in plan.late if m not in deferred))
    first = [m.version for m in deferred if m.version in other - beyond]
    if scope.phase is not Phase.POST or not first:
        return plan, deferred, None
    return (
        plan,
        deferred,
        PendingError(
            f"the post phase runs once the pre phase is applied; pending of it: {', '.join(first)}",
            remedy="Run `up --phase pre` (PHASE=pre) first.",
        ),
    )


def pre_warnings(
    plan: Plan, deferred: Sequence[Migration], floors: Sequence[str]
) -> tuple[Finding, ...]:
    """What may go wrong with a run of the pre phase; `floors` are files of it that set one."""
    problem = "sets a floor in the pre phase: pods of the older image that start again end with 12"
    remedy = "Move the line `-- migrator: floor` to a file of the post phase."
    found = [Finding(file, problem, remedy) for file in floors]
    if deferred and not plan.applied:
        problem = "is passed over by the pre phase of a new database: files behind it may need it"
        remedy = "Make a new database with all files in order: `up --phase all`."
        found.append(Finding(deferred[0].file, problem, remedy))
    return tuple(found)


def _is_of(phase: Phase, is_post: bool) -> bool:
    return phase is Phase.ALL or (phase is Phase.POST) == is_post


def _beyond(plan: Plan, to: str, needs: Needs, folder: Sequence[Migration]) -> set[str]:
    """What is pending behind --to. A repeatable runs when nothing versioned is left behind."""
    files = {migration.version: migration for migration in folder}
    recorded = {row.version: row for row in plan.applied}
    known: dict[str, Migration | Applied] = {**recorded, **files}
    version = find_version(to.removesuffix(".sql"), known)
    if version not in known:
        names = ", ".join([m.version for m in plan.pending][:OFFERED]) or "nothing"
        raise ConfigError(
            f"--to {to}: no such version is in the folder or applied; pending is {names}",
            remedy="Name a version as `status` shows it.",
        )
    last = place_of(known[version], needs, recorded, files)
    behind = {m for m in plan.pending if place_of(m, needs, recorded, files) > last}
    if not any(not m.repeatable for m in behind) and not known[version].repeatable:
        return set()
    return {migration.version for migration in behind}
