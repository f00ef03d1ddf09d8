"""Reads files for their meaning: the pending ones before any is run, others for what they need."""

from __future__ import annotations

from collections.abc import Sequence

from migrator.errors import SourceError
from migrator.model import Finding, Migration, Placeholders
from migrator.plan.order import Needs, arrange, unmet
from migrator.plan.policy import Decision
from migrator.postgres.stop import Watch
from migrator.sql.script import Script, read_requirements, understand


class ScriptReader:
    """The files of one folder; each is read once, however often a run plans anew."""

    def __init__(self, watch: Watch, values: Placeholders) -> None:
        self._watch, self._values = watch, values
        self._scripts: dict[str, Script] = {}
        self._needs: dict[str, tuple[str, ...]] = {}

    def understand(
        self, decision: Decision, folder: Sequence[Migration], known: Sequence[str]
    ) -> tuple[Script, ...]:
        """What is to be run, in the order that it needs; `known` are the history's versions.

        Raises SourceError with all that is wrong with all of these files.
        """
        findings: list[Finding] = []
        for migration in decision.run:
            if migration.version not in self._scripts:
                with self._watch.thinking():
                    script, found = understand(migration, self._values)
                findings += found
                if script is not None:
                    self._scripts[migration.version] = script
        findings += self._unmet(decision, {*known, *(migration.version for migration in folder)})
        if findings:
            files = len({finding.file for finding in findings})
            message = f"{_count(len(findings), 'problem')} in {_count(files, 'pending file')}"
            raise SourceError(message, findings=findings)
        needs = {
            version: [requirement.version for requirement in script.requires]
            for version, script in self._scripts.items()
        }
        arranged = arrange(decision.run, needs)
        return tuple(self._scripts[migration.version] for migration in arranged)

    def script(self, migration: Migration) -> Script | None:
        """The file as it was understood; None where it was not."""
        return self._scripts.get(migration.version)

    def needs(self, wanted: Sequence[Migration], folder: Sequence[Migration]) -> Needs:
        """What the files of `wanted` require, and what these require, applied or not."""
        files = {migration.version: migration for migration in folder}
        queue = [migration.version for migration in wanted]
        while queue:
            version = queue.pop()
            if version in files and version not in self._needs:
                with self._watch.thinking():
                    found = read_requirements(files[version])
                self._needs[version] = tuple(requirement.version for requirement in found)
                queue += self._needs[version]
        return self._needs

    def _unmet(self, decision: Decision, known: set[str]) -> tuple[Finding, ...]:
        """What is wrong with the requirements of all these files, of those with faults too."""
        requirements = {}
        for migration in decision.run:
            script = self._scripts.get(migration.version)
            with self._watch.thinking():
                found = script.requires if script else read_requirements(migration)
            requirements[migration.version] = found
        skipped = {migration.version for migration in decision.skipped}
        return unmet(decision.run, requirements, known, skipped)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" + ("" if number == 1 else "s")
