"""What the findings of a plan do to a run, by its policies, and how they are reported."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from migrator.config import OnFinding, OnLate
from migrator.errors import DriftError, LateError, MigratorError, MissingError, SourceError
from migrator.model import Applied, Finding, Migration
from migrator.plan.plan import Plan, short


class Policy(NamedTuple):
    """What each kind of finding does to a run."""

    on_drift: OnFinding = OnFinding.FAIL
    on_missing: OnFinding | None = None  #: None: fail for what is older than our newest, else warn
    on_late: OnLate = OnLate.FAIL


class Decision(NamedTuple):
    """A plan, judged."""

    run: tuple[Migration, ...]  #: what is to be applied; what it requires may change the order
    skipped: tuple[Migration, ...]  #: late, and left out by the policy
    deferred: tuple[Migration, ...]  #: pending, and left for a later run: by --to or by the phase
    warnings: tuple[Finding, ...]
    failures: tuple[MigratorError, ...]  #: each with its findings; empty = go

    @property
    def findings(self) -> tuple[Finding, ...]:
        """All that was found, what fails the run first."""
        return (*(f for failure in self.failures for f in failure.findings), *self.warnings)

    def raise_failures(self, others: Sequence[MigratorError] = ()) -> None:
        """Raise the first failure, carrying the findings of all of them and of `others`."""
        if self.failures:
            failures = (*self.failures, *others)
            message = "; ".join(failure.message for failure in failures)
            findings = [finding for failure in failures for finding in failure.findings]
            first = failures[0]
            raise type(first)(message, findings=findings, remedy=first.remedy)


LABELS: dict[type[MigratorError], str] = {
    DriftError: "applied files have changed",
    MissingError: "applied migrations have no file",
    SourceError: "the order by number is not the order by text",
    LateError: "pending migrations are older than the newest applied",
}


def decide(
    plan: Plan,
    policy: Policy,
    passed_over: tuple[Finding, ...] = (),
    deferred: tuple[Migration, ...] = (),
) -> Decision:
    """What to run and what to warn about under `policy`; raises nothing.

    `passed_over` are files of the folder that are no migrations, and may be meant to be.

    A floor comes first: an image below it ends with that, whatever else does not fit it.
    """
    failures: list[MigratorError] = []
    warnings: list[Finding] = []
    if plan.below_floor:
        failures.append(too_old(plan))
    for error, found, fails in (
        (DriftError, _drift(plan), policy.on_drift is OnFinding.FAIL),
        (MissingError, _missing(plan), policy.on_missing is not OnFinding.WARN),
        (MissingError, _ahead(plan), policy.on_missing is OnFinding.FAIL),
        (SourceError, plan.turned, True),
        (LateError, _late(plan, policy.on_late), policy.on_late is OnLate.FAIL),
    ):
        if not found:
            continue
        if fails:
            files = ", ".join(finding.file for finding in found)
            failures.append(error(f"{LABELS[error]}: {files}", findings=found))
        else:
            warnings += found
    warnings += (*_held(plan), *_gone(plan), *plan.turned_before, *passed_over)
    skipped = plan.late if policy.on_late is OnLate.SKIP else ()
    run = tuple(migration for migration in plan.pending if migration not in (*skipped, *deferred))
    return Decision(run, skipped, deferred, tuple(warnings), tuple(failures))


def too_old(plan: Plan) -> MissingError:
    """What an image that is below a floor fails with, whatever ON_MISSING says."""
    found = tuple(
        Finding(
            row.version,
            f"is a floor, applied {row.applied_at or 'once'} by run {row.run_id or 'unknown'}, "
            f"and this image does not hold it{_same_text(plan, row)}",
            _if_renamed(plan, row.version, "Deploy an image that holds it."),
        )
        for row in plan.below_floor
    )
    return MissingError(
        "this image is too old for the database, which needs at least one that holds "
        f"{plan.below_floor[-1].version}",
        findings=found,
        remedy="Deploy such an image; --on-missing warn (ON_MISSING) does not let a floor pass.",
    )


def _same_text(plan: Plan, row: Applied) -> str:
    file = plan.renamed.get(row.version)
    return f"; {file.file}, which is pending, has the same text" if file else ""


def _if_renamed(plan: Plan, version: str, else_: str) -> str:
    """The remedy for an applied version without a file, or for the pending file of its text."""
    for old, migration in plan.renamed.items():
        if version in (old, migration.version):
            command = f"`repair --rename {old} {migration.version} --reason WHY`"
            return f"If it was renamed: {command}. Else: {else_}"
    return else_


def _drift(plan: Plan) -> tuple[Finding, ...]:
    return tuple(
        Finding(
            migration.file,
            f"changed after it was applied: recorded {short(_recorded(plan, migration))}, "
            f"file {short(migration.checksum)}",
            "Restore it from version control; put the change in a new migration. If it was "
            "changed on purpose, and the database has what it says now: "
            f"`repair --accept-checksum {migration.version} --reason WHY`.",
        )
        for migration in plan.drifted
    )


def _recorded(plan: Plan, migration: Migration) -> str | None:
    return next(row.checksum for row in plan.applied if row.version == migration.version)


def _missing(plan: Plan) -> tuple[Finding, ...]:
    return tuple(
        Finding(
            row.version,
            f"is applied, but the folder has no file for it{_same_text(plan, row)}",
            _if_renamed(
                plan,
                row.version,
                "Restore the file from version control, or let it pass: --on-missing warn "
                "(ON_MISSING=warn).",
            ),
        )
        for row in plan.missing
        if not row.floor
    )


def _ahead(plan: Plan) -> tuple[Finding, ...]:
    return tuple(
        Finding(
            row.version,
            "is applied and newer than anything in the folder: the image is older than the "
            f"database{_same_text(plan, row)}",
            _if_renamed(
                plan,
                row.version,
                "Deploy an image that holds it, when the older one was not meant.",
            ),
        )
        for row in plan.ahead
        if not row.floor
    )


def _late(plan: Plan, on_late: OnLate) -> tuple[Finding, ...]:
    newest = plan.newest.version if plan.newest else ""
    what = {OnLate.SKIP: "; it is skipped", OnLate.APPLY: "; ON_LATE lets it pass"}
    return tuple(
        Finding(
            migration.file,
            f"is pending, but older than {newest}, which is applied" + what.get(on_late, ""),
            _if_renamed(
                plan,
                migration.version,
                f"Give it a number above that: `new --renumber {migration.version}`; or "
                "choose --on-late apply or --on-late skip (ON_LATE).",
            ),
        )
        for migration in plan.late
    )


def _held(plan: Plan) -> tuple[Finding, ...]:
    return tuple(
        Finding(
            migration.file,
            "is not what ran last, and is not run: the database is ahead of the folder, whose "
            "repeatables may be older than what is there",
            f"Deploy an image that holds {plan.ahead[-1].version}.",
        )
        for migration in plan.held
    )


def _gone(plan: Plan) -> tuple[Finding, ...]:
    return tuple(
        Finding(
            row.version,
            "is a repeatable that ran, and the folder has no file for it; what it made stays",
            "Restore the file; or drop what it made in a new migration and forget its row by "
            f"`repair --not-applied {row.version} --reason WHY`.",
        )
        for row in plan.gone
    )
