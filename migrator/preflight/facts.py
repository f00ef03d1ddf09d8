"""What a file does to relations that were there before it. Facts know no sizes.

A relation has the name that it had before the file ran, as SQL writes it: public.orders.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from migrator.model import Danger, Migration

#: PostgreSQL's table locks, the weakest first, as the manual names them (13.3.1).
LOCK_NAMES = (
    *("ACCESS SHARE", "ROW SHARE", "ROW EXCLUSIVE", "SHARE UPDATE EXCLUSIVE"),
    *("SHARE", "SHARE ROW EXCLUSIVE", "EXCLUSIVE", "ACCESS EXCLUSIVE"),
)
RANK = {lock: rank for rank, lock in enumerate(LOCK_NAMES)}
#: From here on a lock keeps writers out.
NO_WRITES = RANK["SHARE"]
NOBODY_ELSE = "ACCESS EXCLUSIVE"


@dataclass(frozen=True, slots=True)
class Fact:
    """One thing that one statement does to one relation."""

    line: int  #: 1-based, of the statement
    words: str  #: what the statement is: ALTER TABLE
    danger: Danger
    relation: str
    what: str = ""  #: the column, label, constraint or new name that it is about
    lock: str = ""  #: the strongest on `relation` by then; empty where that cannot be seen
    also: tuple[str, ...] = ()  #: other relations that are shut to writers meanwhile
    reads: tuple[str, ...] = ()  #: of HELD and LOCK_NAMES: what is read in full, or locked next
    indexes: int = 0  #: of `relation`
    sure: bool = True  #: False: PostgreSQL's own counters do not show it
    empties: bool = False  #: no row is left in `relation`
    #: What the statement made or changed of it, by what a remedy calls it: index, constraint, …
    names: tuple[tuple[str, str], ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "line": self.line,
            "words": self.words,
            "class": self.danger.value,
            "relation": self.relation,
            "what": self.what,
            "lock": self.lock,
            "also": list(self.also),
            "reads": list(self.reads),
            "indexes": self.indexes,
            "sure": self.sure,
            "empties": self.empties,
            "names": dict(self.names),
        }


@dataclass(frozen=True, slots=True)
class Traced:
    """What the trace of one file saw."""

    version: str
    file: str
    facts: tuple[Fact, ...]
    creates: tuple[str, ...] = ()  #: relations that were not there before it
    renames: tuple[tuple[str, str], ...] = ()  #: before, after
    #: Relations that were there before and are shut to writers, at least, with the strongest lock.
    locks: tuple[tuple[str, str], ...] = ()


def as_fact(found: Mapping[str, Any]) -> Fact:
    """What `as_dict` made; raises LookupError, TypeError or ValueError for anything else."""
    return Fact(
        int(found["line"]),
        str(found["words"]),
        Danger(found["class"]),
        str(found["relation"]),
        str(found["what"]),
        str(found["lock"]),
        tuple(map(str, found["also"])),
        tuple(map(str, found["reads"])),
        int(found["indexes"]),
        bool(found["sure"]),
        bool(found["empties"]),
        tuple((str(name), str(value)) for name, value in found["names"].items()),
    )


FACTS_FORMAT = 2  #: of a facts file; another one is void


def as_file(
    traced: Traced, migration: Migration, before: str, values: str | None = None
) -> dict[str, Any]:
    """What is written of a file.

    `before` is the head of all earlier ones, `values` the digest of what its placeholders made.
    """
    return {
        "format": FACTS_FORMAT,
        "version": traced.version,
        "checksum": migration.checksum,
        "before": before,
        "values": values,
        "facts": [fact.as_dict() for fact in traced.facts],
        "creates": list(traced.creates),
        "renames": [list(pair) for pair in traced.renames],
        "locks": [list(pair) for pair in traced.locks],
    }


def as_traced(
    found: Mapping[str, Any], migration: Migration, before: str, values: str | None = None
) -> Traced:
    """What was written of this file; ValueError when it was written of another text.

    Also LookupError or TypeError, for what was never written by us.
    """
    names = ("format", "version", "checksum", "before", "values")
    expected = (FACTS_FORMAT, migration.version, migration.checksum, before, values)
    if tuple(found[name] for name in names) != expected:
        raise ValueError("written of another text")
    return Traced(
        migration.version,
        migration.file,
        tuple(map(as_fact, found["facts"])),
        tuple(map(str, found["creates"])),
        tuple((str(old), str(new)) for old, new in found["renames"]),
        tuple((str(name), str(lock)) for name, lock in found["locks"]),
    )
