"""Facts and the sizes of the live tables -> what matters, for a person who can do something.

A relation that is not there on the live database is new there, and nothing can be done to it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from migrator.model import Allow, Danger, Finding
from migrator.preflight.facts import Fact, Traced
from migrator.preflight.texts import (
    duration,
    how_long,
    measure,
    message_of,
    safe_way,
    shut_out,
    what_it_does,
)

#: Whether a danger counts by the size of the table; the others count as soon as there is a row.
BY_SIZE = frozenset({Danger.REWRITE, Danger.SCAN, Danger.MASS, Danger.LOCKS, Danger.HELD})
#: What these do, they do to rows: where there is none, it is nothing.
OF_ROWS = frozenset({Danger.REWRITE, Danger.SCAN, Danger.MASS, Danger.FAILS})
#: Of these one line a file is enough.
ONCE_A_FILE = (Danger.HELD, Danger.LOCKS)


@dataclass(frozen=True, slots=True)
class Size:
    """A relation of the live database."""

    bytes: int | None  #: of its heap; None: nobody may say, or nobody was asked
    rows: int | None = None  #: as PostgreSQL estimates it
    toast: int = 0  #: bytes that a rewrite writes besides
    filled: bool = True  #: False: it has no row
    writes: float | None = None  #: rows a second, seen between two looks; None: not looked at

    def at_least(self, limit: int, *, toast: bool = False) -> bool:
        """Whether it counts as big; what is unknown does."""
        return self.bytes is None or self.bytes + (self.toast if toast else 0) >= limit


UNMEASURED = Size(None)
SMALL = Size(0)


@dataclass(frozen=True, slots=True)
class Sizes:
    """What is known of the live database."""

    by_name: Mapping[str, Size]
    otherwise: Size | None = None  #: of what is not named there; None: it does not exist
    #: Rows that a statement changes by the live planner, by file and line; with the whole table's.
    changes: Mapping[tuple[str, int], int] = field(default_factory=dict)

    def with_writes(self, rates: Mapping[str, float]) -> Sizes:
        """The same, with the rows that are written in a second."""
        known = {name: rate for name, rate in rates.items() if name in self.by_name}
        changed = {name: replace(self.by_name[name], writes=rate) for name, rate in known.items()}
        return replace(self, by_name={**self.by_name, **changed})

    def of(self, name: str) -> Size | None:
        return self.by_name.get(name, self.otherwise)

    def changed_rows(self, file: str, line: int) -> int | None:
        return self.changes.get((file, line))


@dataclass(frozen=True, slots=True)
class Hazard:
    """One fact that matters on the live database."""

    file: str
    fact: Fact
    size: Size
    message: str
    remedy: str
    changed: int | None = None  #: rows that change, as the live planner expects
    seconds: tuple[float, float] | None = None  #: at best and at worst

    def as_dict(self) -> dict[str, Any]:
        """As `check --json` has it."""
        return {
            "file": self.file,
            "line": self.fact.line,
            "class": self.fact.danger.value,
            "relation": self.fact.relation,
            "message": self.message,
            "remedy": self.remedy,
        }

    def as_row(self) -> dict[str, Any]:
        """The same with the message in its parts, for a table."""
        size = self.size
        return {
            **self.as_dict(),
            "does": what_it_does(self.fact, self.changed),
            "size": measure(size.bytes, size.rows, size.writes),
            "shut_out": shut_out(self.fact),
            "how_long": how_long(self.seconds) if self.seconds else "",
        }

    def as_finding(self) -> Finding:
        return Finding(self.file, self.message, self.remedy, self.fact.line)


@dataclass(frozen=True, slots=True)
class Judged:
    """All that is to be said of the pending files."""

    counted: tuple[Hazard, ...]  #: what stops `up` under PREFLIGHT=fail
    advice: tuple[Hazard, ...] = ()  #: shown, never counted
    allowed: tuple[tuple[Hazard, Allow], ...] = ()  #: let pass by a line of the file
    unused: tuple[Finding, ...] = ()  #: allows that meet nothing; they count, too

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What counts, as an error carries it."""
        return (*(hazard.as_finding() for hazard in self.counted), *self.unused)

    @property
    def sure_to_fail(self) -> tuple[Hazard, ...]:
        return tuple(hazard for hazard in self.counted if hazard.fact.danger is Danger.FAILS)


def judge_files(
    traced: Sequence[Traced],
    sizes: Sizes,
    limit: int,
    allows: Mapping[str, Sequence[Allow]],
    server_version: int,
    *,
    apart: bool = False,
) -> Judged:
    """What of these files' facts matters, where tables count as big from `limit` bytes on.

    The files are pending together: what one makes is new to the next, unless each is to be seen
    `apart`. `allows` are those of each file.
    """
    counted: list[Hazard] = []
    advice: list[Hazard] = []
    allowed: list[tuple[Hazard, Allow]] = []
    unused: list[Finding] = []
    release = _Release()
    for one in traced:
        release = _Release() if apart else release
        facts = tuple(release.old(one.facts))
        matter = [
            fact
            for fact in facts
            if _matters(fact, one.file, sizes, limit)
            and not (fact.danger in OF_ROWS and release.is_empty(fact, facts))
        ]
        for fact in _fewer(matter, sizes):
            hazard = _hazard(one.file, fact, sizes, server_version)
            allow = next((a for a in allows.get(one.file, ()) if _covers(a, fact)), None)
            if fact.danger is Danger.ADVICE:
                advice.append(hazard)
            elif allow:
                allowed.append((hazard, allow))
            else:
                counted.append(hazard)
        unused += _unused(one, allows.get(one.file, ()))
        release.add(one, facts)
    return Judged(tuple(counted), tuple(advice), tuple(allowed), tuple(unused))


def without(judged: Judged, hazards: Sequence[Hazard]) -> Judged:
    """The same, but for these."""
    return replace(judged, counted=tuple(h for h in judged.counted if h not in hazards))


def advisable(
    traced: Sequence[Traced], *, supabase: bool, granted: Sequence[str]
) -> tuple[Traced, ...]:
    """The files without advice that is of no use there.

    Row level security and grants matter where a Data API shows the schema; a new table needs a
    grant where the role's default privileges, `granted`, give it none.
    """
    useless = set() if supabase else {"rls", "grants", "open"}
    useless |= {"grants"} if granted else set()
    return tuple(
        replace(one, facts=tuple(f for f in one.facts if not _is_advice(f, useless)))
        for one in traced
    )


def _is_advice(fact: Fact, about: set[str]) -> bool:
    return fact.danger is Danger.ADVICE and fact.what.partition(": ")[0] in about


class _Release:
    """What the files before this one have made, renamed and emptied."""

    def __init__(self) -> None:
        self.made: set[str] = set()
        self.names: dict[str, str] = {}  #: of today -> on the live database
        self.emptied: set[str] = set()

    def old(self, facts: Iterable[Fact]) -> Iterator[Fact]:
        """Facts about what the live database has, by the names that it has there."""
        for fact in facts:
            if fact.danger is Danger.ADVICE:
                yield fact
            elif fact.relation not in self.made:
                reads = (name for name in fact.reads if name not in self.made)
                found = tuple(self.names.get(name, name) for name in reads)
                name = self.names.get(fact.relation, fact.relation)
                yield replace(fact, relation=name, reads=found)

    def is_empty(self, fact: Fact, facts: Iterable[Fact]) -> bool:
        """Whether an earlier statement, of this file or another one, has left no row."""
        earlier = (f.relation for f in facts if f.empties and f.line < fact.line)
        return fact.relation in {*self.emptied, *earlier}

    def add(self, one: Traced, facts: Iterable[Fact]) -> None:
        for fact in facts:
            if fact.empties:
                self.emptied.add(fact.relation)
        moved = {new: self.names.get(old, old) for old, new in one.renames}
        self.made = (self.made | set(one.creates)) - set(moved)
        self.names |= moved


def _matters(fact: Fact, file: str, sizes: Sizes, limit: int) -> bool:
    size = sizes.of(fact.relation)
    if fact.danger is Danger.ADVICE:
        return True
    if size is None:
        return False
    if fact.danger in (Danger.HELD, Danger.LOCKS):
        others = [sizes.of(name) for name in fact.reads]
        big = any(other is not None and other.at_least(limit) for other in others)
        return big and (fact.danger is Danger.HELD or size.at_least(limit))
    if fact.danger is Danger.MASS:
        return _changes_much(fact, size, sizes.changed_rows(file, fact.line), limit)
    if fact.danger in BY_SIZE:
        return size.at_least(limit, toast=fact.danger is Danger.REWRITE)
    return size.filled


def _changes_much(fact: Fact, size: Size, rows: int | None, limit: int) -> bool:
    """By the live planner's rows where there are any, else by whether all rows were read."""
    if not size.at_least(limit):
        return False
    if rows is None or not size.rows or size.bytes is None:
        return fact.sure
    return rows * size.bytes / size.rows >= limit


def _fewer(facts: Sequence[Fact], sizes: Sizes) -> Iterator[Fact]:
    """One line a file of some dangers; and what fails at once does nothing else."""
    failing = {(fact.line, fact.relation) for fact in facts if fact.danger is Danger.FAILS}
    for fact in facts:
        if fact.danger is Danger.SCAN and (fact.line, fact.relation) in failing:
            continue
        if fact.danger in ONCE_A_FILE:
            same = [other for other in facts if other.danger is fact.danger]
            if fact is not max(same, key=lambda other: _weight(other, sizes)):
                continue
        yield fact


def _weight(fact: Fact, sizes: Sizes) -> float:
    found = (sizes.of(name) for name in fact.reads)
    return max((float("inf") if s.bytes is None else s.bytes for s in found if s), default=0)


def _hazard(file: str, fact: Fact, sizes: Sizes, server_version: int) -> Hazard:
    size = sizes.of(fact.relation) or UNMEASURED
    slow = max((s for name in fact.reads if (s := sizes.of(name))), key=_bytes, default=size)
    worked = slow if fact.danger is Danger.HELD else size
    taken = duration(fact, worked.bytes, worked.rows)
    rows = sizes.changed_rows(file, fact.line)
    message = message_of(fact, size.bytes, size.rows, taken, rows, size.writes)
    return Hazard(file, fact, size, message, safe_way(fact, server_version), rows, taken)


def _bytes(size: Size) -> float:
    return float("inf") if size.bytes is None else size.bytes


def _covers(allow: Allow, fact: Fact) -> bool:
    return allow.covers(fact.danger, fact.relation)


def _unused(one: Traced, allows: Iterable[Allow]) -> Iterator[Finding]:
    for allow in allows:
        if not any(_covers(allow, fact) for fact in one.facts):
            what = f"`allow {allow.danger.value} {allow.relation}` meets nothing in this file"
            yield Finding(one.file, what, "Remove the line.", allow.line)
