"""The frozen records of the field; docs/design.md says what each word means."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping
from enum import Enum
from functools import cache
from typing import Any, NamedTuple


class Kind(Enum):
    """How a row came into the history."""

    VERSIONED = "versioned"
    REPEATABLE = "repeatable"
    BASELINE = "baseline"
    ADOPTED = "adopted"


class Phase(Enum):
    """When a file runs: before the new code is out, or after; of a run, which of these it runs."""

    PRE = "pre"
    POST = "post"
    ALL = "all"


class Danger(Enum):
    """The classes of what a statement may do to a table in use."""

    REWRITE = "rewrite"  #: all rows are written anew
    SCAN = "scan"  #: all rows are read under a lock that keeps others out
    HELD = "held"  #: a lock of an earlier statement keeps all others out during a slow one
    MASS = "mass"  #: many rows are changed in one transaction
    FAILS = "fails"  #: it fails as soon as there is a row
    DESTROY = "destroy"  #: data is gone afterwards
    BREAKS = "breaks"  #: what runs today finds a name no more
    LOCKS = "locks"  #: several tables are locked one after the other
    ADVICE = "advice"  #: shown, never counted


class Allow(NamedTuple):
    """One line `-- migrator: allow CLASS RELATION "reason"`."""

    line: int  #: 1-based
    danger: Danger
    relation: str  #: as SQL writes it, or * for any
    reason: str

    def covers(self, danger: Danger, relation: str) -> bool:
        """Whether it speaks of this; a name without a schema is one of public."""
        names = {"*", relation, relation.removeprefix("public.")}
        return self.danger is danger and self.relation in names


NATIVE = "native"  #: the format of a folder that follows our own rules
BEFORE, AFTER = "before", "after"  #: the moments of hooks, and the versions that the log has
#: Files that run around the migrations of a run, by their names in small letters.
HOOKS = {"before.sql": BEFORE, "after.sql": AFTER}
FLYWAY, GOOSE = "flyway", "goose"  #: whose rule a text with placeholders follows
#: What decides between equal numbers before the version does: the further parts of a number, 1.2
#: has (2,); the path of a file that holds several migrations; and the place among those.
Rank = tuple[tuple[int, ...], str, float]
#: Versioned migrations by number, rank and version, then repeatables by rank and name.
Order = tuple[bool, int, tuple[int, ...], str, float, str]
_PLAIN: Rank = (), "", 0
#: A number in parts behind a letter: V1.2__orders, V1_2__orders, B3__all.
_PARTS = r"[VB]([0-9]+(?:[._][0-9]+)*)(?:__|\Z)"


_DATED, _DIGITS = r"(\d{4})-(\d\d)-(\d\d)-(\d{6})_", r"\d+"


def is_repeatable(version: str) -> bool:
    """Whether the version is that of a repeatable, R__totals: the name alone says so."""
    return version.startswith("R__")


def runs_last(version: str) -> bool:
    """Whether it runs after all that is versioned; one that shares its file keeps its place."""
    return is_repeatable(version) and ":" not in version


def number_of(version: str) -> int:
    """The version's leading digits as a number, -1 without any.

    A date with hyphens, as Diesel writes it, is one number: 2023-01-01-000000_users. Of a number in
    parts it is the first; a migration that shares its file with others has none.
    """
    if ":" in version:
        return -1
    digits = version.partition("_")[0]
    if digits.isdecimal() and digits.isascii():  # as most are: patterns count at 1000 files
        return int(digits)
    if parts := _in_parts(version):
        return parts[0]
    if dated := re.match(_DATED, version, re.ASCII):
        return int("".join(dated.groups()))
    found = re.match(_DIGITS, version, re.ASCII)
    return int(found[0]) if found else -1


def rank_of(version: str) -> Rank:
    """What of its rank the version itself says; of a migration in a file of several its path."""
    if ":" in version:
        return (), f"{version.partition(':')[0]}.sql", math.inf
    further = _in_parts(version)[1:]
    while further and not further[-1]:  # 1.0 is 1
        further = further[:-1]
    return (further, "", 0) if further else _PLAIN


@cache  # asked several times of each version
def _in_parts(version: str) -> tuple[int, ...]:
    """The parts of a number behind a letter; none of any other version."""
    found = re.match(_PARTS, version) if version.startswith(("V", "B")) else None
    return tuple(map(int, found[1].replace("_", ".").split("."))) if found else ()


def parts_of(version: str) -> tuple[int, ...]:
    """The version's number with all its parts: 1, 10 of V1.10__orders."""
    return number_of(version), *rank_of(version)[0]


def is_base(version: str) -> bool:
    """Whether it is that of a baseline file of Flyway's, B3__all."""
    return version.startswith("B") and number_of(version) >= 0


@cache  # asked several times of each version, and of its file and its row alike
def _order(version: str, number: int, rank: Rank | None) -> Order:
    return (runs_last(version), number, *(rank or rank_of(version)), version)


class Migration(NamedTuple):
    """One file of migrations/, read and hashed; it knows of no database."""

    version: str  #: the file's stem, "007_add_orders" or "R__totals"; the key in the history
    number: int  #: its leading digits, 7; compared as a number, so 9 < 10; -1 of a repeatable
    file: str  #: the file's name, "007_add_orders.sql"
    pieces: Iterable[str]  #: the file's text as it is sent, cut anywhere; read again each time
    checksum: str  #: SHA-256 of the text with LF line ends and no BOM, 64 hex digits
    raw_checksum: str  #: SHA-256 of the file's bytes as they lie there, 64 hex digits
    rollback_sql: str | None = None  #: the text of 007_add_orders.down.sql, read alike
    alone: bool = False  #: what is beside the file says that it runs outside a transaction
    format: str = NATIVE  #: whose rules the folder follows; see docs/formats.md
    rank: Rank | None = None  #: what decides between equal numbers, where the version does not
    #: Whose rule its placeholders follow, FLYWAY or GOOSE; None: it has some under its directive.
    placeholders: str | None = None
    whole: Iterable[str] | None = None  #: all of the file, where `pieces` are a half of it
    #: In another tool's folder: the file of `rollback_sql`, and the number of its first line there.
    undo_from: tuple[str, int] | None = None
    undoes: bool = False  #: it is the undo of the version, as something that flies
    first_line: int = 1  #: in `file`, of the first line of the text

    @property
    def text(self) -> Iterable[str]:
        """All of the file, with LF line ends."""
        return self.pieces if self.whole is None else self.whole

    @property
    def undo_file(self) -> str:
        """The file that holds its undo, or would."""
        return self.undo_from[0] if self.undo_from else f"{self.file.removesuffix('.sql')}.down.sql"

    @property
    def repeatable(self) -> bool:
        """It runs again whenever its checksum changes."""
        return is_repeatable(self.version)

    @property
    def kind(self) -> Kind:
        """What its row in the history says."""
        return Kind.REPEATABLE if self.repeatable else Kind.VERSIONED

    @property
    def order(self) -> Order:
        """Its place among all migrations."""
        return _order(self.version, self.number, self.rank)


class Placeholders(NamedTuple):
    """The values of placeholders, by their names as `key` gives them."""

    values: Mapping[str, str] = {}
    hidden: frozenset[str] = frozenset()  #: names whose values are shown nowhere

    def __repr__(self) -> str:
        return f"Placeholders(hidden={self.hidden})"

    @staticmethod
    def key(name: str) -> str:
        """The name as it ends a variable's, APP_ROLE: tools differ in case and in signs."""
        return re.sub(r"\W", "_", name.upper())

    def find(self, name: str) -> str | None:
        """The value of a placeholder; None: there is none."""
        return self.values.get(self.key(name))

    def is_hidden(self, name: str) -> bool:
        """Whether the value is shown nowhere."""
        return self.key(name) in self.hidden

    @property
    def secrets(self) -> tuple[str, ...]:
        """The values that are shown nowhere, the longest first."""
        found = {self.values[name] for name in self.hidden} - {""}
        return tuple(sorted(found, key=lambda value: (-len(value), value)))


class Finding(NamedTuple):
    """One thing that is wrong with the folder or with the database's view of it."""

    file: str  #: the file's name, or the version where there is no file
    problem: str  #: what is wrong, one sentence without a full stop
    remedy: str  #: what to do about it, one sentence with a full stop
    line: int | None = None  #: 1-based, where the problem has a line

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for a report."""
        return {
            "file": self.file,
            "line": self.line,
            "problem": self.problem,
            "remedy": self.remedy,
        }

    def __str__(self) -> str:
        place = self.file if self.line is None else f"{self.file}:{self.line}"
        return f"{place}: {self.problem}. {self.remedy}"


class Applied(NamedTuple):
    """One row of the history."""

    version: str
    number: int  #: the version's leading digits; -1 when it has none
    checksum: str | None  #: NULL in rows of a table that an older job left
    kind: Kind = Kind.VERSIONED
    applied_at: str | None = None  #: RFC 3339, as the database printed it
    execution_time_ms: int | None = None
    run_id: str | None = None
    floor: bool = False  #: images that do not hold this migration are too old
    rank: Rank | None = None  #: that of its file, where the version does not say it

    @property
    def repeatable(self) -> bool:
        """It is the newest run of a repeatable."""
        return is_repeatable(self.version)

    @property
    def order(self) -> Order:
        """Its place among all migrations."""
        return _order(self.version, self.number, self.rank)


class Event(NamedTuple):
    """One thing that happened, said once; `name` is noun.verb, such as migration.applied."""

    name: str
    level: str = "info"  #: debug, info, warning or error
    fields: Mapping[str, Any] = {}


Tell = Callable[[Event], None]
