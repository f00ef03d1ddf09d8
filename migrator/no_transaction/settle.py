"""An interrupted statement, and what the catalog shows of its object now -> what to do about it.

Nothing is guessed: what the catalog cannot show is asked of a person. Sights are what
`migrator.no_transaction.look` saw, before the statement was sent and found.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from typing import Any

from migrator.sql.effects import Act, Effect


class Next(Enum):
    """What an interrupted statement calls for."""

    DONE = "done"  #: it has taken effect
    AGAIN = "run again"  #: it has left nothing behind, or may be done twice
    CLEAN = "clean up"  #: drop what it left, then look again
    FINALIZE = "finalize"  #: end the DETACH that it began, then look again
    WAIT = "wait"  #: another session is at work on the object: look again later
    ASK = "ask"  #: a person must say whether it has taken effect


@dataclass(frozen=True, slots=True)
class Index:
    """One index in the catalog."""

    oid: int
    name: str  #: with its schema, quoted as SQL wants it

    @property
    def transient(self) -> bool:
        """Whether it bears a name that REINDEX CONCURRENTLY gives to what it works with."""
        return re.search(r'_cc(?:new|old)\d*"?$', self.name) is not None


@dataclass(frozen=True, slots=True)
class Sight:
    """What the catalog shows of a statement's object. None and () where it says nothing."""

    oid: int | None = None  #: of the object; None = there is none of that name
    name: str = ""  #: with its schema, quoted as SQL wants it
    index: bool = False  #: whether it is an index at all
    valid: bool = False  #: an index's indisvalid
    definition: str | None = None  #: an index's, as pg_get_indexdef prints it
    attached: bool = False  #: a partition's, and `pending` while its DETACH is not finished
    pending: bool = False
    invalid: tuple[Index, ...] = ()  #: REINDEX: INVALID indexes of the tables that it concerns
    orphans: tuple[str, ...] = ()  #: sessions that still run the interrupted statement
    busy: tuple[str, ...] = ()  #: sessions at work on the object, application_name and pid
    matches: bool | None = None  #: whether an index is what the statement makes; None = unproven

    def as_json(self) -> dict[str, Any]:
        """What the journal keeps of it."""
        found = {
            "oid": self.oid,
            "name": self.name,
            "index": self.index,
            "valid": self.valid,
            "definition": self.definition,
            "attached": self.attached,
            "pending": self.pending,
            "invalid": [[index.oid, index.name] for index in self.invalid],
        }
        return {key: value for key, value in found.items() if value}


@dataclass(frozen=True, slots=True)
class Verdict:
    """What to do, and what was seen that says so."""

    next: Next
    seen: str  #: one phrase
    drop: tuple[str, ...] = ()  #: CLEAN: the indexes, as Sight has their names


def read_sight(values: dict[str, Any]) -> Sight:
    """The sight that JSON of these values stands for, `as_json` or the catalog's own."""
    known: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list) else value
        for key, value in values.items()
        if value is not None
    }
    known["invalid"] = tuple(Index(oid, name) for oid, name in known.get("invalid", ()))
    return Sight(**known)


def settle(effect: Effect, before: Sight, found: Sight) -> Verdict:
    """What an interrupted statement calls for. Pure: opens and raises nothing."""
    if found.orphans:
        return Verdict(Next.WAIT, f"it still runs: {', '.join(found.orphans)}")
    if effect.act is Act.ASK:
        return Verdict(Next.ASK, "the catalog cannot show what this statement has done")
    if effect.act is Act.REPEAT:
        return Verdict(Next.AGAIN, "it may be done twice")
    return _RULES[effect.act](effect, before, found)


def settle_first(effect: Effect, found: Sight) -> Verdict:
    """What a statement that was never started calls for: AGAIN, which is to run it, WAIT or ASK."""
    if effect.act is Act.ASK:
        return Verdict(Next.AGAIN, "it was never started")
    return settle(effect, found, found)


def settle_changed(effect: Effect, before: Sight, found: Sight) -> Verdict:
    """As `settle`, when the file's statement is no longer the one that was interrupted."""
    verdict = settle(effect, before, found)
    if verdict.next in {Next.AGAIN, Next.WAIT}:
        return verdict
    seen = f"{verdict.seen}; and the file's statement has changed since"
    return Verdict(Next.ASK, seen)


def confirm(effect: Effect, found: Sight) -> Verdict:
    """Whether a statement that PostgreSQL has answered well has done what it says: DONE or ASK.

    CREATE INDEX CONCURRENTLY IF NOT EXISTS passes over whatever bears the name, an INVALID index
    too; REINDEX CONCURRENTLY passes over INVALID indexes, unless they are named.
    """
    if effect.act is Act.CREATE_INDEX and not (found.index and found.valid):
        return Verdict(Next.ASK, _described(found))
    passed_over = tuple(index for index in found.invalid if not index.transient)
    if passed_over:
        return Verdict(Next.ASK, f"INVALID, and passed over: {_named(passed_over)}")
    return Verdict(Next.DONE, "PostgreSQL has answered")


def _create_index(effect: Effect, before: Sight, found: Sight) -> Verdict:
    if found.oid is None:
        return Verdict(Next.AGAIN, "there is no such index")
    seen = _described(found)
    if found.index and not found.valid and found.busy:
        return Verdict(Next.WAIT, f"{seen}, at work on its table: {', '.join(found.busy)}")
    if found.oid == before.oid:  # not ours; without IF NOT EXISTS PostgreSQL says so itself
        if effect.lenient and found.index and not found.valid:
            return Verdict(Next.ASK, f"{seen}, and was there before this migration")
        return Verdict(Next.AGAIN, f"{seen}, as before")
    if not found.index:
        return Verdict(Next.ASK, seen)
    if found.matches is None:
        return Verdict(Next.ASK, f"{seen}; whether it is this file's cannot be proved")
    if not found.matches:
        return Verdict(
            Next.ASK, f"{seen}, of another definition than the file's: {found.definition}"
        )
    if found.valid:
        return Verdict(Next.DONE, f"{seen} and as the file defines it")
    return Verdict(Next.CLEAN, seen, (found.name,))


def _drop_index(_effect: Effect, before: Sight, found: Sight) -> Verdict:
    if found.oid is None and before.oid is not None:
        return Verdict(Next.DONE, f"{before.name} is gone")
    if found.oid == before.oid:
        return Verdict(Next.AGAIN, f"{_described(found)}, as before")
    return Verdict(Next.ASK, f"{_described(found)}, and is another one than before")


def _reindex(_effect: Effect, before: Sight, found: Sight) -> Verdict:
    left = _since(before, found)
    if not left:
        return Verdict(Next.AGAIN, "no unfinished index is left, and REINDEX may be done twice")
    if found.busy:
        return Verdict(Next.WAIT, f"at work on its tables: {', '.join(found.busy)}")
    return Verdict(Next.CLEAN, _left(left), tuple(index.name for index in left))


def _detach(_effect: Effect, before: Sight, found: Sight) -> Verdict:
    if found.oid != before.oid:
        return Verdict(Next.ASK, "there is no such table any more, or another one of its name")
    if before.pending or not before.attached or (found.attached and not found.pending):
        return Verdict(Next.AGAIN, "as before")
    if found.busy:
        return Verdict(Next.WAIT, f"at work on the partition: {', '.join(found.busy)}")
    if found.pending:
        return Verdict(Next.FINALIZE, f"the DETACH of {found.name} is pending")
    return Verdict(Next.DONE, f"{found.name} is detached")


def _create(effect: Effect, before: Sight, found: Sight) -> Verdict:
    if found.oid in {None, before.oid}:
        return Verdict(Next.AGAIN, "it is not there" if found.oid is None else "as before")
    if before.oid is None:
        return Verdict(Next.DONE, f"the {effect.what} {effect.name[0]} is there")
    return Verdict(Next.ASK, f"the {effect.what} {effect.name[0]} is another one than before")


def _drop(effect: Effect, before: Sight, found: Sight) -> Verdict:
    if found.oid is None and before.oid is not None:
        return Verdict(Next.DONE, f"the {effect.what} {effect.name[0]} is gone")
    if found.oid == before.oid:
        return Verdict(Next.AGAIN, "as before")
    return Verdict(Next.ASK, f"the {effect.what} {effect.name[0]} is another one than before")


_RULES = {
    Act.CREATE_INDEX: _create_index,
    Act.DROP_INDEX: _drop_index,
    Act.REINDEX: _reindex,
    Act.DETACH: _detach,
    Act.CREATE: _create,
    Act.DROP: _drop,
}


def _since(before: Sight, found: Sight) -> tuple[Index, ...]:
    """The unfinished indexes that a REINDEX CONCURRENTLY left since `before`."""
    old = {index.oid for index in before.invalid}
    return tuple(index for index in found.invalid if index.oid not in old and index.transient)


def _described(found: Sight) -> str:
    if found.oid is None:
        return "there is no such index"
    if not found.index:
        return f"{found.name} is there, and is no index"
    return f"{found.name} is {'valid' if found.valid else 'INVALID'}"


def _left(indexes: tuple[Index, ...]) -> str:
    return f"unfinished: {_named(indexes)}"


def _named(indexes: tuple[Index, ...]) -> str:
    return ", ".join(index.name for index in indexes)
