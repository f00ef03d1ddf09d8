"""What a format says of a folder: which files, in which order, and what of a file runs.

The rules and their sources are in docs/formats.md.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from types import MappingProxyType

from migrator.model import Finding, Rank, parts_of

#: The text of a small file that is no migration; empty where there is none.
Read = Callable[[str], str]
#: What takes the place of a mark by which a tool leaves out its transaction.
OUTSIDE = "-- migrator: no-transaction"
WITH_VALUES = "-- migrator: placeholders"  #: the same of one that puts values in
#: What no version may hold: it is part of comments, of log lines and of what people type.
_UNFIT = re.compile(r"[^\w.+@ -]")


@dataclass(frozen=True, slots=True)
class Pick:
    """One migration, as far as names show it; paths begin below the folder."""

    version: str
    up: str
    down: str | None = None  #: a file of its own with the undo
    alone: bool = False  #: what is beside the file takes it out of the transaction
    down_alone: bool = False  #: the same of the undo's file
    placeholders: bool = False  #: ${name} in it stands for a value
    down_filled: bool = False  #: the same of the undo's file alone
    rank: Rank | None = None  #: as in a Migration


@dataclass(frozen=True, slots=True)
class Cut:
    """What of a file's text runs. What does not is blank, so that lines keep their numbers."""

    up: str
    down: str | None = None


@dataclass(frozen=True, slots=True)
class Section:
    """One of several migrations in a file; what is not of it is blank."""

    version: str
    up: str
    down: str | None
    text: str  #: what its checksum is of


class WrongTextError(Exception):
    """The tool would not run this text, or we not as it does; words as in a Finding."""

    def __init__(self, problem: str, remedy: str, line: int | None = None) -> None:
        super().__init__(problem)
        self.problem, self.remedy, self.line = problem, remedy, line


class Format(ABC):
    """One tool's folder. A format reads nothing itself, and holds no state."""

    name: str
    #: The files of a new migration, by the ends of their names, with their first texts; none where
    #: the tool's own generator must write them.
    new: Mapping[str, str] = MappingProxyType({})
    #: Whether the tool takes the files by their names as text, where we compare numbers.
    by_text = False
    #: Whether the tool knows a migration by its whole name, so that a number may occur twice.
    by_name = False
    #: Whether the tool refuses, or runs, any file of SQL whose name we do not know.
    strict = False
    #: Whether a file's text is more than what runs: then `cut` is called.
    cuts = False
    #: Whether files at any depth count; `pick` then finds what of them does not run, too.
    deep = False
    #: Whether its claim is certain, so that no other format needs to be compared with it.
    sure = False
    #: Whether a file holds several migrations: then `parts` is called.
    several = False
    #: What a new migration's version begins with before its number.
    letter = ""
    #: Whether there are files R__name.sql that run whenever they changed.
    repeatables = False
    #: Files that run around the migrations of a run, with their moments.
    hooks: Mapping[str, str] = MappingProxyType({})
    #: By whose rule values are put into the files, FLYWAY or GOOSE; None: by none.
    placeholders: str | None = None

    @abstractmethod
    def claims(self, names: Sequence[str], read: Read) -> bool:
        """Whether this is surely a folder of the tool."""

    @abstractmethod
    def pick(self, names: Sequence[str], read: Read) -> tuple[list[Pick], list[Finding]]:
        """The migrations, in any order, and what is wrong with the names."""

    def proved(
        self, names: Sequence[str], read: Read, data: Callable[[str], Iterable[bytes]]
    ) -> list[Finding]:
        """What does not fit the hashes that the tool keeps beside the files; `data` is theirs."""
        return []

    def left_out(self, names: Sequence[str]) -> set[str]:
        """Numbered files of SQL that the tool knows, and does not run."""
        return set()

    def cut(self, text: str) -> Cut:
        """What of a migration's text runs; of an undo's own file it is `up` as well.

        Raises WrongTextError.
        """
        return Cut(text)

    def parts(self, pick: Pick, text: str) -> list[Section]:
        """The migrations of a file, in their order. Raises WrongTextError."""
        return [Section(pick.version, text, None, text)]


def numbered(form: Format, picks: Iterable[Pick]) -> tuple[list[Pick], list[Finding]]:
    """The picks, and the findings on their numbers and versions."""
    keys = [((parts_of(pick.version), pick.version), pick) for pick in picks]
    keys.sort(key=lambda pair: pair[0])
    findings = []
    for _, pick in keys:
        if unfit := _UNFIT.search(composed(pick.version)):
            problem = f"the name holds {unfit[0]!r}, which no version may hold"
            findings.append(Finding(pick.up, problem, "Rename it with letters, digits and _."))
    for ((number_before, _), before), ((number, _), pick) in pairwise(keys):
        if number_before == number and not (form.by_name and _in_any_order(before, pick)):
            problem = f"{before.up} has the same number"
            findings.append(Finding(pick.up, problem, "Give one of them another number."))
        elif form.by_text and before.version > pick.version:
            findings.append(
                Finding(
                    pick.up,
                    f"{form.name} compares names as text and runs it before {before.up}, "
                    "whose number is lower",
                    "Give both numbers of one width.",
                )
            )
    return [pick for _, pick in keys], findings


def _in_any_order(first: Pick, second: Pick) -> bool:
    """Whether `first` comes first by bytes, as it does here, and by the rules of languages too."""
    names = [pick.version.lower().replace("_", " ") for pick in (first, second)]
    return names[0] < names[1]


def composed(version: str) -> str:
    """The version as it is recorded: an accented letter is one character on every system."""
    if version.isascii():
        return version
    import unicodedata  # dear to import, and seldom needed

    return unicodedata.normalize("NFC", version)


def fitting(pattern: str, names: Iterable[str]) -> Iterator[str]:
    """The names that fit as a whole. This is as fast as it can be, which counts at 1000 files."""
    return filter(re.compile(pattern).fullmatch, names)


def top(names: Iterable[str]) -> list[str]:
    """The names of files that lie in the folder itself."""
    return [name for name in names if "/" not in name]


def blank(text: str) -> str:
    """As many lines as `text` has, with nothing in them."""
    return "\n" * text.count("\n")


def line_of(text: str, offset: int) -> int:
    """The 1-based line of `offset`."""
    return text.count("\n", 0, offset) + 1


def has_repeatables(names: Iterable[str]) -> bool:
    """Whether there is one by our own rules, which no tool here has."""
    return any(name.startswith("R__") and name.endswith(".sql") for name in top(names))


def first_sql(names: Iterable[str], read: Read) -> str:
    """The text of the first numbered file, in which a tool's mark would be."""
    names = top(names)
    first = min(names, default="")
    if not _is_numbered_sql(first):
        first = min(filter(_is_numbered_sql, names), default="")
    return read(first) if first else ""


def _is_numbered_sql(name: str) -> bool:
    return name[:1].isdigit() and name.endswith(".sql")
