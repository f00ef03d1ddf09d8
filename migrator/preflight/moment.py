"""What one question between two statements showed, and the names of what two of them differ in."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from migrator.preflight.facts import RANK


@dataclass(frozen=True, slots=True)
class Relation:
    """A table, a view or an index at one moment."""

    name: str  #: with its schema, as SQL writes it
    kind: str  #: pg_class.relkind
    filenode: int | None
    table: int | None  #: of an index
    scans: int = 0  #: of this transaction: sequential ones of a table, all of an index
    columns: str = ""  #: of an index, as SQL writes them; empty where it has expressions or a WHERE
    unique: bool = False  #: of an index


@dataclass(frozen=True, slots=True)
class Column:
    """A column at one moment."""

    name: str
    dropped: bool
    required: bool  #: NOT NULL, and nothing gives it a value
    not_null: bool = False
    type: str = ""


@dataclass(frozen=True, slots=True)
class Constraint:
    """A constraint of a table at one moment."""

    table: int
    name: str  #: as SQL writes it
    kind: str  #: pg_constraint.contype
    validated: bool
    columns: str = ""  #: as SQL writes them
    definition: str = ""  #: of a foreign key, which holds nothing but names
    refers: int = 0  #: the table that a foreign key refers to


@dataclass(frozen=True, slots=True)
class Moment:
    """What one question between two statements showed; by oid."""

    relations: Mapping[int, Relation]
    columns: Mapping[int, Mapping[int, Column]]
    labels: Mapping[int, tuple[str, str]]  #: of enums: the type, the label
    locks: Mapping[int, int]  #: the rank of our own strongest
    counted: bool  #: track_counts is on
    constraints: Mapping[int, Constraint] = field(default_factory=dict)


def read_moment(found: Mapping[str, Any], before: Moment | None = None) -> Moment:
    """The answer to `look_query.MOMENT_QUERY`; to CHANGES_QUERY upon the moment before.

    What is locked and has no row any more was dropped.
    """
    locks: dict[int, int] = {}
    for oid, mode in found["locks"] or ():
        rank = _rank(mode)
        locks[oid] = max(rank, locks.get(oid, rank))
    untouched = {} if before is None else before.relations
    relations = {oid: known for oid, known in untouched.items() if oid not in locks}
    known_columns = {} if before is None else before.columns
    columns = {oid: known for oid, known in known_columns.items() if oid not in locks}
    columns |= {
        int(oid): {int(number): Column(*values) for number, values in each.items()}
        for oid, each in (found["columns"] or {}).items()
    }
    relations |= {int(oid): Relation(*values) for oid, values in (found["relations"] or {}).items()}
    known = {} if before is None else before.constraints
    constraints = {oid: kept for oid, kept in known.items() if kept.table not in locks}
    constraints |= {int(oid): Constraint(*v) for oid, v in (found["constraints"] or {}).items()}
    return Moment(
        relations,
        columns,
        {int(oid): (kind, label) for oid, (kind, label) in (found["labels"] or {}).items()},
        locks,
        bool(found["counted"]),
        constraints,
    )


def names_between(before: Moment, after: Moment, oid: int) -> tuple[tuple[str, str], ...]:
    """What a statement made or changed of a relation, by what a remedy calls it.

    Of several things of a kind the first one.
    """
    found: dict[str, str] = {}
    for name, value in (
        *_of_index(before, after, oid),
        *_of_constraint(before, after, oid),
        *_of_column(before, after, oid),
    ):
        if value:
            found.setdefault(name, value)
    return tuple(found.items())


def _of_constraint(before: Moment, after: Moment, oid: int) -> Iterator[tuple[str, str]]:
    """Of a new or newly valid one; of a foreign key, on either side."""
    for number, found in after.constraints.items():
        was = before.constraints.get(number)
        new = was is None or (found.validated and not was.validated)
        if not new or oid not in (found.table, found.refers) or found.kind == "n":
            continue
        yield "constraint", found.name
        yield "kind", CONSTRAINT_KINDS.get(found.kind, "")
        yield "columns", found.columns
        yield "definition", found.definition
        yield "table", after.relations[found.table].name


def _of_index(before: Moment, after: Moment, oid: int) -> Iterator[tuple[str, str]]:
    for number, found in after.relations.items():
        if found.table == oid and number not in before.relations:
            yield "index", bare_name(found.name)
            yield "columns", found.columns
            yield "unique", "UNIQUE" if found.unique else ""


def _of_column(before: Moment, after: Moment, oid: int) -> Iterator[tuple[str, str]]:
    known = before.columns.get(oid, {})
    for number, found in after.columns.get(oid, {}).items():
        was = known.get(number)
        changed = was is None or was.type != found.type or was.not_null != found.not_null
        if changed and not found.dropped:
            yield "column", found.name
            yield "type", found.type


#: By pg_constraint.contype.
CONSTRAINT_KINDS = {
    "u": "UNIQUE",
    "p": "PRIMARY KEY",
    "x": "EXCLUDE",
    "f": "FOREIGN KEY",
    "c": "CHECK",
}


def bare_name(name: str) -> str:
    """A name without its schema, as SQL writes it."""
    found = re.search(r'(?:"(?:[^"]|"")*"|[^".]+)\Z', name)
    return found[0] if found else name


def _rank(mode: str) -> int:
    """Of a mode as pg_locks has it: ShareUpdateExclusiveLock."""
    words = re.findall("[A-Z][a-z]+", mode.removesuffix("Lock"))
    return RANK.get(" ".join(words).upper(), 0)
