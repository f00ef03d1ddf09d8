"""What a database holds, as values; and in what two moments or two databases differ."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

#: Facts that depend on who made a thing and where, not on the text that made it.
CIRCUMSTANCES = frozenset({"owner", "grants", "version", "schema"})
#: What a platform adds to a schema of the user's.
PLATFORM = frozenset({"default privileges", "extension"})
VALUE_CHARS = 200  #: of a fact, in a sentence
#: Whose definitions are never shown: a body, or an argument, may hold a password or a key.
BODIES = frozenset({"function", "procedure", "trigger"})


@dataclass(frozen=True, slots=True)
class Item:
    """One thing in a database: a column, a policy, the grants by default of a role, …"""

    kind: str  #: "column"
    name: str  #: with its schema, as SQL writes it: public.orders.id
    schema: str | None  #: where it lives; None for what lives in none
    of: str | None  #: the table, view or type that it is a part of
    facts: Mapping[str, Any]  #: all that is compared, by a word for people


#: By kind and name.
Snapshot = Mapping[tuple[str, str], Item]


class Change(Enum):
    """How a thing differs."""

    GONE = "is gone"
    NEW = "is new"
    CHANGED = "has changed"


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing that is in one of two snapshots alone, or other than in the first."""

    item: Item  #: as it is in the second, or in the first if it is gone
    change: Change
    facts: tuple[tuple[str, Any, Any], ...] = ()  #: those that differ: word, before, after

    def in_words(self, before: str = "before", after: str = "now") -> str:
        """What differs, for a person: `before` and `after` say what the two snapshots are of."""
        name = f"{self.item.kind} {self.item.name}"
        if self.change is Change.GONE:
            return f"{name} is there {before}, and not {after}"
        if self.change is Change.NEW:
            return f"{name} is there {after}, and not {before}"
        facts = (
            _fact(word, old, new, before, after) if fact_is_shown(self.item.kind, word) else word
            for word, old, new in self.facts
        )
        return f"{name} differs: {'; '.join(facts)}"

    @property
    def of_circumstance(self) -> bool:
        """Whether the platform or the login may be the reason, and no text that was run."""
        if self.change is Change.CHANGED:
            return all(word in CIRCUMSTANCES for word, _, _ in self.facts)
        return self.change is Change.NEW and self.item.kind in PLATFORM


def fact_is_shown(kind: str, word: str) -> bool:
    """Whether the values of a fact may be shown."""
    return word != "definition" or kind not in BODIES


def make_snapshot(rows: Iterable[Sequence[Any]]) -> Snapshot:
    """The items of rows as `catalog` reads them: kind, schema, of, name, facts."""
    items = (Item(kind, name, schema, of, facts) for kind, schema, of, name, facts in rows)
    return {(item.kind, item.name): item for item in items}


def differences(before: Snapshot, after: Snapshot) -> tuple[Difference, ...]:
    """All that differs, by kind and name; of a table that is gone or new the table alone."""
    found = [Difference(item, Change.GONE) for key, item in before.items() if key not in after]
    found += [Difference(item, Change.NEW) for key, item in after.items() if key not in before]
    whole = {difference.item.name for difference in found}
    found = [difference for difference in found if difference.item.of not in whole]
    for key in before.keys() & after.keys():
        if facts := _changed(before[key].facts, after[key].facts):
            found.append(Difference(after[key], Change.CHANGED, facts))
    return tuple(sorted(found, key=lambda difference: (difference.item.kind, difference.item.name)))


def schemas(snapshot: Snapshot) -> frozenset[str]:
    """The schemas that something lives in, but for the system's."""
    names = {item.schema for item in snapshot.values() if item.schema is not None}
    return frozenset(name for name in names if not name.startswith("pg_"))


def within(snapshot: Snapshot, names: Collection[str]) -> Snapshot:
    """What lives in these schemas, and extensions, whose schema is a matter of taste."""
    return {
        key: item
        for key, item in snapshot.items()
        if item.schema in names or item.kind == "extension"
    }


def _changed(
    before: Mapping[str, Any], after: Mapping[str, Any]
) -> tuple[tuple[str, Any, Any], ...]:
    words = dict.fromkeys((*before, *after))
    facts = ((word, before.get(word), after.get(word)) for word in words)
    return tuple(fact for fact in facts if fact[1] != fact[2])


def _fact(word: str, old: Any, new: Any, before: str, after: str) -> str:
    """One fact that differs; of a list only what the other has not."""
    if not (isinstance(old, list) and isinstance(new, list)):
        return f"{word} {_value(old)} {before}, {_value(new)} {after}"
    parts = [
        f"{', '.join(map(_value, some))} only {when}"
        for some, when in (
            ([value for value in old if value not in new], before),
            ([value for value in new if value not in old], after),
        )
        if some
    ]
    return f"{word}: {'; '.join(parts) or 'the same in another order'}"


def _value(value: Any) -> str:
    words = {None: "none", True: "yes", False: "no"}
    text = words[value] if value is None or isinstance(value, bool) else str(value)
    return text if len(text) <= VALUE_CHARS else f"{text[:VALUE_CHARS]}…"
