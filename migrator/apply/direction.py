"""The two directions of a file: what is recorded of it, and by what it is known to be done."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Protocol

from migrator.history.read import find_run
from migrator.history.rows import MS, applied, undone
from migrator.plan.progress import ROLLBACK_FAILED, Way
from migrator.postgres.quoting import literal

if TYPE_CHECKING:
    from migrator.history.fence import Write
    from migrator.history.place import Place
    from migrator.model import Migration
    from migrator.plan.undo import UndoStep
    from migrator.postgres.session import Session
    from migrator.sql.script import Script
    from migrator.supabase.mirror import Sync

#: How many of these versions are applied.
APPLIED_AMONG = "SELECT count(*) FROM {history} WHERE version::text IN ({names})"


def count_left(pending: Sequence[str]) -> dict[str, int]:
    """How many of these are pending once one of them is applied, and those before it."""
    return {version: left for left, version in enumerate(reversed(pending))}


class Direction(Protocol):
    """What differs between a file that is applied and one that undoes another."""

    way: Way  #: as the journal has it
    called: str  #: what a file of this direction is called in words, around its version
    busy: str  #: what a refusal for want of locks means
    failed: str  #: the log's event when PostgreSQL has refused one
    left: Mapping[str, int]  #: how many are pending once a version is applied, where known

    def record(self, script: Script, place: Place, spent_ms: str = MS) -> tuple[Write, ...]:
        """The rows that are written in its transaction; `spent_ms` is an SQL expression."""

    def also(self, sync: Sync, migration: Migration) -> tuple[Write, ...]:
        """What goes along with them in the history of the Supabase CLI."""

    def find(self, session: Session, place: Place, version: str) -> tuple[str | None, int] | None:
        """The run that has done it, and its ms; None: it is not done."""


class Applying:
    """A migration is applied."""

    way = Way.FORTH
    called = "{}"
    busy = "{} was rolled back and is not applied"
    failed = "failed"

    def __init__(
        self,
        *,
        owing: Sequence[str] = (),
        pending: Sequence[str] = (),
        groups: Mapping[str, tuple[Sequence[str], int]] = MappingProxyType({}),
    ) -> None:
        self._owing = owing  # versions with the first of which the hook behind them is owed
        self.left: Mapping[str, int] = count_left(pending)
        self._groups = groups  # as `left_with_groups`

    def record(self, script: Script, place: Place, spent_ms: str = MS) -> tuple[Write, ...]:
        left = self._left(script.migration.version, place)
        if script.migration.version not in self._owing:
            return applied(script, place, spent_ms, left)
        from migrator.apply.hooks import owed  # for folders that have hooks

        return (*applied(script, place, spent_ms, left), owed(place))

    def _left(self, version: str, place: Place) -> int | str | None:
        """A number; an expression for a file of a group, whose others come in any order."""
        if version not in self._groups:
            return self.left.get(version)
        others, behind = self._groups[version]
        names = ", ".join(map(literal, others))
        there = APPLIED_AMONG.format(history=place.history, names=names)
        return f"{behind + len(others)} - ({there})"

    def also(self, sync: Sync, migration: Migration) -> tuple[Write, ...]:
        return sync.rows(migration)

    def find(self, session: Session, place: Place, version: str) -> tuple[str | None, int] | None:
        return find_run(session, place, version)


class Undoing:
    """A migration is undone by one step of a rollback."""

    way = Way.BACK
    called = "the undo of {}"
    busy = "the undo of {0} was rolled back, and {0} is still applied"
    failed = ROLLBACK_FAILED
    left: Mapping[str, int] = MappingProxyType({})

    def __init__(self, step: UndoStep) -> None:
        self._step = step

    def record(self, script: Script, place: Place, spent_ms: str = MS) -> tuple[Write, ...]:
        return undone(script, place, self._step.origin, spent_ms, tuple(self._step.again))

    def also(self, sync: Sync, migration: Migration) -> tuple[Write, ...]:
        return sync.undone(migration)

    def find(self, session: Session, place: Place, version: str) -> tuple[str | None, int] | None:
        from migrator.history.undo_texts import find_undo  # a rollback alone needs it

        return find_undo(session, place, version)
