"""What needs what -> an order, and the cycles in it; docs/design.md section 2."""

from __future__ import annotations

import heapq
from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

from migrator.model import Finding, Migration, is_repeatable
from migrator.sql.script import Requirement

#: Versions -> what each of them requires. What is not in it requires nothing.
Needs = Mapping[str, Sequence[str]]


class Graph(NamedTuple):
    """What requires what, to be drawn."""

    states: Sequence[tuple[str, str]]  #: versions with their states, in their order
    needs: Needs


def arrange(migrations: Sequence[Migration], needs: Needs) -> tuple[Migration, ...]:
    """`migrations`, each after what it requires of them, otherwise in their own order.

    A file that requires a later one waits for it; nothing else moves. Those of a cycle, and what
    requires them, are left out.
    """
    places = {migration.version: place for place, migration in enumerate(migrations)}
    waiting = {
        version: {need for need in needs.get(version, ()) if need in places} for version in places
    }
    needed_by: dict[str, list[str]] = {}
    for version, unmet in waiting.items():
        for need in unmet:
            needed_by.setdefault(need, []).append(version)
    ready = [place for version, place in places.items() if not waiting[version]]
    arranged = []
    while ready:
        migration = migrations[heapq.heappop(ready)]
        arranged.append(migration)
        for version in needed_by.get(migration.version, ()):
            waiting[version].discard(migration.version)
            if not waiting[version]:
                heapq.heappush(ready, places[version])
    return tuple(arranged)


def cycles(migrations: Sequence[Migration], needs: Needs) -> tuple[tuple[str, ...], ...]:
    """Every version that comes to require itself, by way of which others: (001_a, 003_c, 001_a).

    Of cycles that share a file one is reported.
    """
    found: list[tuple[str, ...]] = []
    left = list(migrations)
    while True:
        arranged = {migration.version for migration in arrange(left, needs)}
        left = [migration for migration in left if migration.version not in arranged]
        if not left:
            return tuple(found)
        cycle = _cycle({migration.version: None for migration in left}, needs)
        found.append((*cycle, cycle[0]))
        left = [migration for migration in left if migration.version not in cycle]


def _cycle(versions: Collection[str], needs: Needs) -> list[str]:
    """One cycle among `versions`, each of which requires another or itself; its first one first."""
    path: list[str] = []
    version = next(iter(versions))
    while version not in path:
        path.append(version)
        version = next(need for need in needs[version] if need in versions)
    cycle = path[path.index(version) :]
    first = next(known for known in versions if known in cycle)
    start = cycle.index(first)
    return cycle[start:] + cycle[:start]


def closure(version: str, needs: Needs) -> frozenset[str]:
    """`version` and all that it comes to require."""
    found, queue = {version}, [version]
    while queue:
        for need in needs.get(queue.pop(), ()):
            if need not in found:
                found.add(need)
                queue.append(need)
    return frozenset(found)


def unmet(
    pending: Sequence[Migration],
    requirements: Mapping[str, Sequence[Requirement]],
    known: Collection[str],
    skipped: Collection[str],
    deferred: Collection[str] = (),
) -> tuple[Finding, ...]:
    """All that is wrong with what pending files require, by file.

    `known` are the versions of the folder and of the history, `skipped` those that are late and
    left out, `deferred` those that are left for a later run.
    """
    findings = []
    lines = {
        (version, requirement.version): requirement.line
        for version, found in requirements.items()
        for requirement in reversed(found)
    }
    for migration in pending:
        for requirement in requirements.get(migration.version, ()):
            if reason := _unmet(migration, requirement.version, known, skipped, deferred):
                findings.append(Finding(migration.file, *reason, requirement.line))
    needs = {version: [need.version for need in found] for version, found in requirements.items()}
    files = {migration.version: migration.file for migration in pending}
    for cycle in cycles(pending, needs):
        findings.append(
            Finding(
                files[cycle[0]],
                f"requires itself: {' -> '.join(cycle)}",
                "Remove one of these `requires`.",
                lines[cycle[0], cycle[1]],
            )
        )
    return tuple(findings)


def _unmet(
    migration: Migration,
    need: str,
    known: Collection[str],
    skipped: Collection[str],
    deferred: Collection[str],
) -> tuple[str, str] | None:
    """Why `migration` cannot require this, and the remedy."""
    if need not in known:
        stem = need.removesuffix(".sql")
        meant = [v for v in sorted(known) if v == stem or v.partition("_")[0] == stem]
        problem = f"requires {need}, which is neither in the folder nor applied"
        return problem, f"Write {meant[0]}." if meant else _name_one(known)
    if is_repeatable(need) and not migration.repeatable:
        problem = f"requires {need}, but repeatables run after all versioned migrations"
        return (
            problem,
            f"Make {migration.version} a repeatable, or move the statements that need it to one.",
        )
    if need in skipped:
        problem = f"requires {need}, which is late and skipped by ON_LATE=skip"
        return problem, (
            f"Give --on-late apply (ON_LATE=apply), or {need} a number above the newest applied: "
            f"`new --renumber {need}`."
        )
    if need in deferred:
        problem = f"requires {need}, which is of the post phase and not applied"
        return problem, (
            f"Apply that one before: `up --phase all --to {need}`. If this file can wait, give it "
            "the line `-- migrator: phase post`, too."
        )
    return None


def _name_one(known: Collection[str]) -> str:
    """A remedy with a real version, where there is any."""
    newest = max((version for version in known if not is_repeatable(version)), default="")
    example = f", such as {newest}" if newest else ""
    return f"Name a version of the folder{example}."
