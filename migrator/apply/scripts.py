"""Reads files for their meaning: the pending ones before any is run, others for what they need."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import TYPE_CHECKING

from migrator.errors import PendingError, SourceError
from migrator.model import Finding, Migration, Placeholders
from migrator.plan.batching_rules import half_done_need
from migrator.plan.order import Needs, arrange, unmet
from migrator.plan.plan import Plan, make_plan
from migrator.plan.policy import Decision
from migrator.postgres.stop import Watch
from migrator.sql.script import Script, group_of, is_post, read_requirements, understand

if TYPE_CHECKING:
    from migrator.plan.scope import Scope


class ScriptReader:
    """The files of one folder; each is read once, however often a run plans anew."""

    def __init__(self, watch: Watch, values: Placeholders) -> None:
        self._watch, self._values = watch, values
        self._scripts: dict[str, Script] = {}
        self._needs: dict[str, tuple[str, ...]] = {}
        self._posts: dict[str, bool] = {}

    def understand(
        self,
        decision: Decision,
        folder: Sequence[Migration],
        known: Sequence[str],
        later: Sequence[Migration] = (),
    ) -> tuple[Script, ...]:
        """What is to be run, in the order that it needs; `known` are the history's versions.

        Raises SourceError with all that is wrong with all of these files, and with those of
        `later`, which a later run of the same release applies.
        """
        findings: list[Finding] = []
        for migration in (*decision.run, *later):
            if migration.version not in self._scripts:
                with self._watch.thinking():
                    script, found = understand(migration, self._values)
                findings += found
                if script is not None:
                    self._scripts[migration.version] = script
        findings += self._unmet(decision, {*known, *(migration.version for migration in folder)})
        findings += self._form_groups(decision.run, folder)
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

    def refuse_unfinished(self, decision: Decision, started: Collection[str]) -> None:
        """PendingError for a file that requires one in batches which is left for a later run.

        `started` are those of which some batches are committed.
        """
        left = {m.version for m in decision.deferred}.intersection(started)
        needs = self.needs(decision.run, decision.run) if left else {}
        for migration in decision.run:
            for version in left.intersection(needs.get(migration.version, ())):
                raise half_done_need(migration, version)

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

    def posts(self, migrations: Iterable[Migration]) -> frozenset[str]:
        """Those of the post phase."""
        found = set()
        for migration in migrations:
            if migration.version not in self._posts:
                with self._watch.thinking():
                    self._posts[migration.version] = is_post(migration)
            if self._posts[migration.version]:
                found.add(migration.version)
        return frozenset(found)

    def narrow(
        self, plan: Plan, folder: Sequence[Migration], scope: Scope | None
    ) -> tuple[Plan, tuple[Migration, ...], PendingError | None]:
        """The plan by what files say, what is left for a later run, and what fails this one.

        Only where a file is late by its number, or not all of the folder is to run, are files read
        for it. Raises ConfigError when the scope names what is not there.
        """
        posts: frozenset[str] = frozenset()
        if plan.late:
            posts = self._late_posts(plan, folder)
            plan = make_plan(folder, plan.applied, self._group_needs(plan.late, folder), posts)
        if scope is None:
            return plan, (), None
        from migrator.plan.scope import defer  # seldom asked for

        posts |= self.posts(plan.pending)
        needs = self.needs(plan.pending, folder) if scope.to else {}
        return defer(plan, scope, posts, needs, folder)

    def _late_posts(self, plan: Plan, folder: Sequence[Migration]) -> frozenset[str]:
        """Which late files are of the post phase, and which applied ones behind them."""
        late = self.posts(plan.late)
        first = min((m.order for m in plan.late if m.version in late), default=None)
        if first is None:
            return late
        applied = {row.version for row in plan.applied}
        return late | self.posts(m for m in folder if m.version in applied and m.order > first)

    def _form_groups(
        self, pending: Sequence[Migration], folder: Sequence[Migration]
    ) -> tuple[Finding, ...]:
        """Note of each script of a group which it is of; what is wrong with any."""
        scripts = {m.version: s for m in pending if (s := self._scripts.get(m.version))}
        if not any(script.parallel for script in scripts.values()):
            return ()
        from migrator.plan.groups_rules import form_groups, needs_within  # for such folders

        groups = form_groups(folder, scripts, self._group_of)
        for version, group in groups.items():
            self._scripts[version] = scripts[version]._replace(group=group)
        return needs_within(groups, scripts)

    def _group_of(self, migration: Migration) -> str | None:
        if (script := self._scripts.get(migration.version)) is not None:
            return script.parallel
        with self._watch.thinking():
            return group_of(migration)

    def _group_needs(self, late: Sequence[Migration], folder: Sequence[Migration]) -> Needs:
        """What late files require; one of a group has the place of the last one of its group."""
        needs = dict(self.needs(late, folder))
        for migration in late:
            if self._group_of(migration) is not None:
                from migrator.plan.groups_rules import last_of_group  # for such folders

                last = last_of_group(folder, migration, self._group_of)
                needs[migration.version] = (*needs[migration.version], last)
        return needs

    def _unmet(self, decision: Decision, known: set[str]) -> tuple[Finding, ...]:
        """What is wrong with the requirements of all these files, of those with faults too."""
        requirements = {}
        for migration in decision.run:
            script = self._scripts.get(migration.version)
            with self._watch.thinking():
                found = script.requires if script else read_requirements(migration)
            requirements[migration.version] = found
        skipped = {migration.version for migration in decision.skipped}
        deferred = {migration.version for migration in decision.deferred}
        return unmet(decision.run, requirements, known, skipped, deferred)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" + ("" if number == 1 else "s")
