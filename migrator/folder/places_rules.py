"""Several folders in one setting, migrations:seeds/dev: their names, and what two of them share."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from migrator.model import Finding, Migration, is_base, parts_of


def shared(found: Mapping[str, Sequence[Migration]]) -> list[Finding]:
    """The numbers and versions that files of two folders have; `found` is by folder."""
    seen: dict[tuple[object, ...], tuple[str, str]] = {}
    findings = []
    for folder, migrations in found.items():
        for migration in migrations:
            number = _number(migration.version)
            other, file = seen.setdefault(number or (migration.version,), (folder, migration.file))
            if other != folder:
                problem = f"{file} has the same {'number' if number else 'name'}"
                remedy = f"Give one of them another {'number' if number else 'name'}."
                findings.append(Finding(migration.file, problem, remedy))
    return findings


def two_hooks(hooks: Iterable[Migration]) -> list[Finding]:
    """Hooks of one moment, of which only one can run."""
    seen: dict[str, str] = {}
    findings = []
    for hook in hooks:
        if (other := seen.setdefault(hook.version, hook.file)) != hook.file:
            problem = f"{other} is one of that moment, too"
            findings.append(Finding(hook.file, problem, "Write both into one of them."))
    return findings


def _number(version: str) -> tuple[object, ...]:
    """What no other folder may have of a version; () where the version itself is all."""
    numbers = parts_of(version)
    return () if numbers[0] < 0 else (is_base(version), *numbers)
