"""Liquibase's formatted SQL: several changesets in a file, each a migration of its own."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

from migrator.folder.formats.delimiter import with_semicolons
from migrator.folder.formats.format import OUTSIDE, Format, Pick, Read, Section, WrongTextError
from migrator.model import Finding

_HEADER = re.compile(r"\s*--\s*liquibase\s+formatted\s+sql\b[ \t]*([^\n]*)", re.IGNORECASE)
_CHANGESET = re.compile(
    r"\s*--\s*changeset\s+(\"[^\"]+\"|[^:]+?)\s*:\s*(\"[^\"]+\"|\S+)(.*)", re.IGNORECASE
)
_MARK = re.compile(
    r"\s*--\s*(changeset\b|property(?=\s+\S*:)|include(?:All)?(?=\s+\w+:)|ignoreLines\b|"
    r"preconditions?\b\S*)",
    re.IGNORECASE,
)
_ROLLBACK = re.compile(r"\s*--\s*rollback(?:[ \t]+(.*))?", re.IGNORECASE)
_BLOCK = re.compile(r"\s*/\*\s*liquibase\s+rollback\s*(.*)", re.IGNORECASE)
_ATTRIBUTE = re.compile(r"(\w+):(\"[^\"]*\"|\S+)")
#: One dash: Liquibase refuses it.
_SLIP = re.compile(r"\s*-\s*(?:changeset\s+\S|rollback\s)", re.IGNORECASE)
#: Attributes that change nothing of what a changeset does here.
_HARMLESS = frozenset(
    {"stripcomments", "splitstatements", "rollbacksplitstatements", "created", "author"}
)
#: The values with which other attributes say nothing.
_DEFAULTS = {
    "runalways": "false",
    "failonerror": "true",
    "ignore": "false",
    "enddelimiter": ";",
    "rollbackenddelimiter": ";",
}
_REMEDIES = {
    "runalways": "Make it runOnChange, or run it in a job of its own.",
    "context": "Run all changesets, or keep those of a context in a folder of its own.",
    "labels": "Run all changesets, or keep those of a label in a folder of its own.",
    "dbms": "Remove the changeset, or keep those of other databases in a folder of their own.",
}
_NOTHING = ("", "not required", "empty")
#: What a version holds of a path, an author and an id as it is; the rest becomes _.
_UNFIT = re.compile(r"[^\w.+@/-]+", re.ASCII)
MOST_CHARS = 255  #: of a version


def changeset_version(path: str, author: str, identity: str, *, on_change: bool = False) -> str:
    """The version of a changeset: db/001_orders:alice:1, and R__ before it with runOnChange."""
    stem = path[:-4] if path.lower().endswith(".sql") else path
    parts = (_UNFIT.sub("_", part).strip("_") for part in (stem, author, identity))
    return f"{'R__' if on_change else ''}{':'.join(parts)}"


class Liquibase(Format):
    """Files that begin with `--liquibase formatted sql`, in the order of their paths."""

    name = "liquibase"
    new = MappingProxyType(
        {".sql": "--liquibase formatted sql\n\n--changeset migrator:{name}\n\n--rollback empty\n"}
    )
    deep = True
    sure = True
    several = True

    def claims(self, names: Sequence[str], read: Read) -> bool:
        found = sorted(name for name in names if name.lower().endswith(".sql"))
        return any(_HEADER.match(read(name)) for name in found[:5])

    def claims_any(self, names: Sequence[str], read: Read) -> bool:
        """The same by whichever file: for a folder that is no other's, where all are read once."""
        return any(_HEADER.match(read(name)) for name in names if name.lower().endswith(".sql"))

    def pick(self, names: Sequence[str], read: Read) -> tuple[list[Pick], list[Finding]]:
        findings = []
        for name in names:
            small = name.lower()
            if small.endswith((".xml", ".yaml", ".yml", ".json")) and is_changelog(read(name)):
                problem = "is a changelog that is no SQL, and those are not read"
                remedy = "Name the folder of SQL files alone; they run in the order of their paths."
                findings.append(Finding(name, problem, remedy))
        found = sorted(name for name in names if name.lower().endswith(".sql"))
        return [Pick(name, name, placeholders=True) for name in found], findings

    def parts(self, pick: Pick, text: str) -> list[Section]:
        return [changeset.part(pick.up) for changeset in _changesets(text)]


def is_changelog(text: str) -> bool:
    """Whether a text is a changelog in XML, YAML or JSON."""
    return bool(re.search(r"<databaseChangeLog\b|^\s*\"?databaseChangeLog\"?\s*:", text, re.M))


@dataclass(slots=True)
class _Changeset:
    """One changeset, line by line."""

    author: str
    identity: str
    attributes: str
    line: int  #: 1-based, of its mark
    up: list[str] = field(default_factory=list)
    down: list[str] = field(default_factory=list)
    text: list[str] = field(default_factory=list)

    def take(self, line: str, up: str = "", down: str = "") -> None:
        self.text.append(line)
        self.up.append(up)
        self.down.append(down)

    def part(self, path: str) -> Section:
        says = {
            name.lower(): value.strip('"') for name, value in _ATTRIBUTE.findall(self.attributes)
        }
        if ":" in _ATTRIBUTE.sub("", self.attributes):
            problem = f"Liquibase does not read all of {self.attributes.strip()!r}"
            raise WrongTextError(problem, "Write each attribute as name:value.", self.line)
        alone = says.pop("runintransaction", "true").lower() == "false"
        on_change = says.pop("runonchange", "false").lower() == "true"
        delimiter = says.pop("enddelimiter", ";")
        says = {key: value for key, value in says.items() if not _says_nothing(key, value)}
        for key in says:
            short = "context" if key.startswith("context") else key
            remedy = _REMEDIES.get(
                short, f"Remove {key}, if the changeset runs without it as well."
            )
            raise WrongTextError(f"{key} is not supported", remedy, self.line)
        version = changeset_version(path, self.author, self.identity, on_change=on_change)
        if len(version) > MOST_CHARS:
            problem = f"path, author and id have more than {MOST_CHARS} characters together"
            raise WrongTextError(problem, "Move the file to a folder of a shorter path.", self.line)
        first = OUTSIDE if alone else ""
        above = "\n" * (self.line - 1)
        up = _delimited("\n".join(self.up), delimiter, self.line)
        down = "\n".join(self.down)
        undo = None if on_change or not down.strip() else f"{above}{first}\n{down}"
        text = "\n".join(self.text).rstrip()
        return Section(version, f"{above}{first}\n{up}", undo, text)


def _says_nothing(key: str, value: str) -> bool:
    if key == "dbms":
        return bool({"postgresql", "all"} & {name.strip() for name in value.lower().split(",")})
    return key in _HARMLESS or _DEFAULTS.get(key) == value.lower()


def _delimited(text: str, delimiter: str, line: int) -> str:
    """The text with semicolons in the place of endDelimiter at ends of lines."""
    if delimiter in (";", r"\n;"):
        return text
    if re.search(r"[\\\[\](){}*+?.^$|]", delimiter):
        problem = f"endDelimiter:{delimiter} is a pattern, which is not supported"
        raise WrongTextError(problem, "Write a delimiter without special characters.", line)
    anywhere = [(m.start(), m.end()) for m in re.finditer(re.escape(delimiter), text, re.I)]
    ends = rf"{re.escape(delimiter)}(?=[ \t]*(?:\n|\Z))"
    at_end = [(m.start(), m.end()) for m in re.finditer(ends, text, re.I)]
    if len(anywhere) != len(at_end):
        problem = f"the delimiter {delimiter} is within a line, too"
        raise WrongTextError(problem, "Write a delimiter that nothing else holds.", line)
    return with_semicolons(text, at_end)


def _changesets(text: str) -> list[_Changeset]:
    lines = text.split("\n")
    first = next((n for n, line in enumerate(lines) if line.strip()), 0)
    header = _HEADER.fullmatch(lines[first])
    if header is None:
        raise WrongTextError(
            "it does not begin with `--liquibase formatted sql`: Liquibase runs it as one "
            "changeset without a name",
            "Write that line and a changeset above it, or move the file out of the folder.",
            first + 1,
        )
    if header[1].strip():
        problem = f"{header[1].strip()} in the first line is not supported"
        raise WrongTextError(problem, "Remove it.", first + 1)
    found: list[_Changeset] = []
    for number, line, in_block in _lines(lines, first + 1):
        if found and not in_block and not line.lstrip().startswith("-"):  # as most lines are
            found[-1].take(line, up=line)
        else:
            _line(found, number, line, in_block=in_block)
    _check_names(found)
    return found


def _lines(lines: Sequence[str], first: int) -> Iterator[tuple[int, str, bool]]:
    """The lines from `first` on, 1-based, and whether each is of a block of rollback."""
    inside = False
    for number, line in enumerate(lines[first:], first + 1):
        begins = "/*" in line and bool(_BLOCK.fullmatch(line))
        yield number, line, inside or begins
        inside = (inside or begins) and "*/" not in line


def _line(found: list[_Changeset], number: int, line: str, *, in_block: bool) -> None:
    """Give the line to the changeset that it belongs to, or begin one."""
    mark = _MARK.match(line)
    if mark and mark[1].lower() == "changeset":
        name = _CHANGESET.fullmatch(line)
        if name is None:
            problem = "Liquibase cannot read this changeset's name"
            raise WrongTextError(problem, "Write --changeset author:id.", number)
        author, identity, rest = name.groups()
        found.append(_Changeset(author.strip('"'), identity.strip('"'), rest, number))
        found[-1].text.append(line)
        return
    if mark:
        raise WrongTextError(f"--{mark[1]} is not supported", "Remove it.", number)
    if _SLIP.match(line):
        raise WrongTextError("Liquibase takes marks with two dashes alone", "Write --.", number)
    if not found:
        if line.strip() and not line.lstrip().startswith("--"):
            problem = "Liquibase does not run what is above the first changeset"
            raise WrongTextError(problem, "Write a --changeset above it.", number)
        return
    if in_block:
        words = _BLOCK.fullmatch(line)
        undo = (words[1] if words else line).partition("*/")[0]
    elif words := _ROLLBACK.fullmatch(line):
        undo = (words[1] or "").rstrip()
        if re.match(r"changesetid\s*:", undo, re.IGNORECASE):
            problem = "a rollback that names another changeset is not supported"
            raise WrongTextError(problem, "Write out its SQL.", number)
        undo = "SELECT;" if undo.lower() in _NOTHING[1:] else undo
    else:
        found[-1].take(line, up=line)
        return
    found[-1].take(line, down=undo)


def _check_names(found: Sequence[_Changeset]) -> None:
    seen: set[str] = set()
    for one in found if len(found) > 1 else ():
        name = changeset_version("", one.author, one.identity)
        if name in seen:
            problem = f"{one.author}:{one.identity} is in this file twice"
            raise WrongTextError(problem, "Give one of them another id.", one.line)
        seen.add(name)
    if not found:
        raise WrongTextError(
            "it holds no changeset: Liquibase would run nothing", "Write --changeset author:id.", 1
        )
