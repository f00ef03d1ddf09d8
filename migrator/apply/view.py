"""What one look at the database shows beside the folder, and what of it keeps `up` from running."""

from __future__ import annotations

from typing import Any, NamedTuple

from migrator.errors import ConfigError, DirtyError, SourceError
from migrator.history.read import History
from migrator.masking import FINDINGS
from migrator.model import Applied, Event
from migrator.plan.batching_rules import changed_midway
from migrator.plan.plan import Plan
from migrator.plan.policy import Decision
from migrator.sql.script import Script


class View(NamedTuple):
    """What one look at the database showed, beside the folder."""

    history: History
    plan: Plan
    decision: Decision
    format: str | None  #: whose rules the folder follows; None of an empty one
    changed: SourceError | None  #: they are others than those of what is applied

    @property
    def rows(self) -> tuple[Applied, ...]:
        """The history's."""
        return self.history.rows

    @property
    def second(self) -> ConfigError | None:
        """What a first run is refused with when another history holds its files."""
        return next((e for e in self.decision.failures if isinstance(e, ConfigError)), None)

    @property
    def dirty(self) -> tuple[str, ...]:
        """Versions that began outside a transaction and never finished, in order."""
        return tuple(m.version for m in self.plan.pending if m.version in self.history.dirty)

    @property
    def undoing(self) -> tuple[str, ...]:
        """Versions whose undo began outside a transaction and never finished, in order."""
        return tuple(
            row.version for row in self.history.rows if row.version in self.history.undoing
        )

    @property
    def batching(self) -> tuple[str, ...]:
        """Pending versions of which some batches are committed, in order."""
        return tuple(m.version for m in self.plan.pending if m.version in self.history.batching)

    def undo_error(self) -> DirtyError:
        """What keeps `up` from running anything while there are such."""
        return DirtyError(
            f"undone in part, and not finished: {', '.join(self.undoing)}",
            remedy="Run `rollback --steps 1`, or --to the version that is to stay: it settles by "
            "the catalog what was interrupted, and goes on. To give the undo up, once all of the "
            "migration is there again: `repair --applied VERSION --reason WHY`.",
        )

    def raise_dirty(self) -> None:
        """DirtyError for all of them, but those that are left for a later run."""
        if self.undoing:
            raise self.undo_error()
        deferred = [migration.version for migration in self.decision.deferred]
        if dirty := [version for version in self.dirty if version not in deferred]:
            raise DirtyError(f"started and not finished: {', '.join(dirty)}")


def plan_made(view: View) -> Event:
    plan = view.plan
    fields: dict[str, Any] = {
        "format": view.format,
        "pending": [migration.version for migration in view.decision.run],
        "deferred": [migration.version for migration in view.decision.deferred],
        "applied_count": len(plan.applied),
        "late": [migration.version for migration in plan.late],
        "held": [migration.version for migration in plan.held],
        "drifted": [migration.version for migration in plan.drifted],
        "missing": [row.version for row in (*plan.missing, *plan.ahead)],
    }
    for name in ("late", "held", "drifted", "missing"):
        if (count := len(fields[name])) > FINDINGS:
            fields |= {name: fields[name][:FINDINGS], f"{name}_count": count}
    return Event("plan.made", "info", {key: value for key, value in fields.items() if value})


def refuse_started(scripts: tuple[Script, ...], view: View) -> None:
    """What began outside a transaction cannot go on inside one; nor batches with another text."""
    dirty = frozenset(view.dirty)
    for script in scripts:
        version = script.migration.version
        began = view.history.batching.get(version)
        if began is not None and began.batches != script.migration.checksum:
            raise changed_midway(script.migration)
        if script.transactional and version in dirty:
            raise DirtyError(
                f"{script.migration.file}: it began as a no-transaction file and is not finished, "
                "and now it is none",
                remedy="Give it back its line `-- migrator: no-transaction`; or "
                f"`repair --not-applied {version} --reason WHY` once nothing of it is left.",
                version=version,
            )
