"""Tools that keep both ways in one file, between marks."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import NamedTuple

from migrator.folder.formats.format import (
    OUTSIDE,
    Cut,
    Format,
    Pick,
    Read,
    WrongTextError,
    blank,
    first_sql,
    fitting,
    has_repeatables,
    line_of,
    numbered,
    top,
)
from migrator.model import GOOSE, Finding


class Marked(Format):
    """Files NUMBER_name.sql with marks in lines of their own."""

    cuts = True
    pattern: str  #: of a numbered file's name
    sign: str  #: of a mark, wherever it is in a text

    def claims(self, names: Sequence[str], read: Read) -> bool:
        if not re.search(self.sign, first_sql(names, read)):
            return False
        return not (has_repeatables(names) or any(n.endswith(".down.sql") for n in top(names)))

    def pick(self, names: Sequence[str], read: Read) -> tuple[list[Pick], list[Finding]]:
        found = fitting(self.pattern, top(names))
        return numbered(self, (Pick(name.removesuffix(".sql"), name) for name in found))

    def _begin(self, text: str, mark: _Line, seen: list[str], up: str, down: str) -> None:
        """Take the mark into those `seen`: up and down once each, in this order."""
        if not seen and mark.start:
            _check_before(text, mark, self.name)
        if mark.says in seen or (mark.says == "down" and not seen):
            raise WrongTextError(
                f"{down if mark.says == 'down' else up} is not where {self.name} looks for it",
                f"Write {up} once, and {down} once below it.",
                line_of(text, mark.start),
            )
        seen.append(mark.says)


class _Line(NamedTuple):
    """A line that is a mark: where it begins and ends, and what it says."""

    start: int
    end: int
    says: str
    rest: str = ""


class _Halves:
    """Both halves of a text; what is in neither is blank in both.

    Comments above the first mark are of the way up: they may be directives.
    """

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._kept: dict[str, list[str]] = {"up": [], "down": []}
        self._half = ""

    def turn(self, mark: _Line, half: str, instead: str = "") -> None:
        """From `mark` on the text is of `half`; of the mark's line `instead` is left there."""
        self._keep(self._text[self._at : mark.start])
        self._at, self._half = mark.end, half
        self._kept[half].append(instead)

    def go_on(self, mark: _Line, instead: str, first: str = "") -> None:
        """Keep the text up to `mark`, whose line becomes `instead`; in `first` above all marks."""
        self._keep(self._text[self._at : mark.start])
        if instead:
            self._kept[self._half or first].append(instead)
        self._at = mark.end

    def _keep(self, text: str) -> None:
        if not text:
            return
        empty = blank(text)
        up = text if self._half == "up" else empty if self._half else _comments(text)
        self._kept["up"].append(up)
        self._kept["down"].append(text if self._half == "down" else empty)

    def cut(self) -> Cut:
        self._keep(self._text[self._at :])
        up, down = ("".join(self._kept[half]) for half in ("up", "down"))
        return Cut(up, down if down.strip() else None)


def _comments(text: str) -> str:
    """The lines that are comments; the others are blank."""
    lines = text.split("\n")
    return "\n".join(line if line.lstrip().startswith("--") else "" for line in lines)


def _lines(text: str, pattern: str) -> Iterator[_Line]:
    """The marks; the first group is what a mark says, the second what follows it.

    Only lines that hold a comment are set beside the pattern: most of a text is none.
    """
    match = re.compile(pattern).match
    at = text.find("--")
    while at >= 0:
        start, end = text.rfind("\n", 0, at) + 1, text.find("\n", at)
        end = len(text) if end < 0 else end
        if found := match(text, start, end):
            yield _Line(start, found.end(), *found.groups(""))
        at = text.find("--", end)


def _check_before(text: str, mark: _Line, tool: str) -> None:
    """Only comments and blank lines may be above the first mark."""
    for line, words in enumerate(text[: mark.start].split("\n"), 1):
        if words.strip() and not words.lstrip().startswith("--"):
            raise WrongTextError(
                f"{tool} takes only comments above its first mark",
                "Move it below the mark, or into a file of its own.",
                line,
            )


class Dbmate(Marked):
    """dbmate: `-- migrate:up` and `-- migrate:down`, both in every file."""

    name = "dbmate"
    new = MappingProxyType({".sql": "-- migrate:up\n\n-- migrate:down\n"})
    by_text = True
    pattern = r"\d+.*\.sql"
    sign = r"(?m)^--[ \t]*migrate:(?:up|down)\b"

    def cut(self, text: str) -> Cut:
        halves = _Halves(text)
        seen: list[str] = []
        for mark in _lines(text, r"--[ \t]*migrate:(up|down)(?=\s|\Z)([^\n]*)"):
            self._begin(text, mark, seen, "migrate:up", "migrate:down")
            alone = "transaction:false" in mark.rest.split()
            halves.turn(mark, mark.says, OUTSIDE if alone else "")
        if seen != ["up", "down"]:
            lacks = "migrate:down" if seen else "migrate:up"
            raise WrongTextError(
                f"it has no `-- {lacks}`, which dbmate demands", f"Add `-- {lacks}`."
            )
        return halves.cut()


class Goose(Marked):
    """goose: `-- +goose Up`, `Down`, `NO TRANSACTION`, `StatementBegin`, `StatementEnd`, `ENVSUB`.

    What lies between ENVSUB ON and OFF is replaced when the file is to run: `sql/envsub.py`.
    """

    name = "goose"
    strict = True
    new = MappingProxyType({".sql": "-- +goose Up\n\n-- +goose Down\n"})
    pattern = r"\d+_.*\.sql"
    sign = r"(?m)^--.*\+goose\s"
    words = ("up", "down", "statementbegin", "statementend", "no transaction")
    switches = MappingProxyType({"envsub on": "-- +goose ENVSUB ON", "envsub off": ""})
    placeholders = GOOSE

    def cut(self, text: str) -> Cut:
        pattern = r"[ \t]*--[^\n]*?\+goose[ \t]*(.*?)[ \t\r]*(\Z)"
        marks = [mark._replace(says=mark.says.lower()) for mark in _lines(text, pattern)]
        alone = OUTSIDE if any(mark.says == "no transaction" for mark in marks) else ""
        halves = _Halves(text)
        seen: list[str] = []
        envsub = above_down = ""
        for mark in marks:
            if mark.says in self.switches:
                envsub = self.switches[mark.says]
                halves.go_on(mark, text[mark.start : mark.end], "up")
                continue
            if mark.says not in self.words:
                known = "Up, Down, StatementBegin, StatementEnd, NO TRANSACTION or ENVSUB ON or OFF"
                problem = f"goose knows no annotation {mark.says!r}"
                raise WrongTextError(problem, f"Write {known}.", line_of(text, mark.start))
            if mark.says in ("up", "down"):
                self._begin(text, mark, seen, "+goose Up", "+goose Down")
                halves.turn(mark, mark.says, alone)
                above_down = envsub  # the section goes on in the other half
            else:
                # a block needs no semicolon of its own
                halves.go_on(mark, ";" if mark.says == "statementend" else "")
        if not seen:
            raise WrongTextError(
                "it has no `-- +goose Up`, which goose demands", "Add `-- +goose Up`."
            )
        cut = halves.cut()
        if above_down and cut.down is not None:  # whose first line, that of a mark, is blank
            return replace(cut, down=f"{above_down}{cut.down}")
        return cut


class SqlMigrate(Marked):
    """sql-migrate: `-- +migrate Up` and `Down`, which may repeat; `notransaction` behind them."""

    name = "sql-migrate"
    strict = True
    new = MappingProxyType({".sql": "-- +migrate Up\n\n-- +migrate Down\n"})
    pattern = r"\d+.*\.sql"
    sign = r"(?m)^-- \+migrate (?:Up|Down)\b"
    prefix = "migrate"

    def cut(self, text: str) -> Cut:
        halves, seen = _Halves(text), False
        for mark in _lines(text, rf"-- \+{self.prefix} (\w+)([^\n]*)"):
            if mark.says not in ("Up", "Down") and mark.says.lower() in ("up", "down"):
                raise WrongTextError(
                    f"{self.name} does not take +{self.prefix} {mark.says} for a mark",
                    "Write Up and Down with one capital.",
                    line_of(text, mark.start),
                )
            if mark.says in ("Up", "Down"):
                seen = True
                alone = self.prefix == "migrate" and "notransaction" in mark.rest.split()
                halves.turn(mark, mark.says.lower(), OUTSIDE if alone else "")
            else:
                halves.go_on(mark, ";" if mark.says == "StatementEnd" else "")
        if not seen:
            lacks = f"-- +{self.prefix} Up"
            raise WrongTextError(
                f"it has no `{lacks}`: {self.name} would run nothing", f"Add `{lacks}`."
            )
        return halves.cut()


class Micrate(SqlMigrate):
    """micrate: the marks of sql-migrate by another name, always in a transaction."""

    name = "micrate"
    new = MappingProxyType({".sql": "-- +micrate Up\n\n-- +micrate Down\n"})
    pattern = r"\d+_.+\.sql"
    sign = r"(?m)^-- \+micrate (?:Up|Down)\b"
    prefix = "micrate"


class Tern(Marked):
    """tern: numbers from 1 without a gap, the undo below one mark; no templates."""

    name = "tern"
    new = MappingProxyType({".sql": "\n---- create above / drop below ----\n"})
    pattern = r"\d+_.+\.sql"
    sign = r"---- create above / drop below ----"

    def claims(self, names: Sequence[str], read: Read) -> bool:
        return any(self.sign in read(name) for name in self._files(names)[:5])

    def pick(self, names: Sequence[str], read: Read) -> tuple[list[Pick], list[Finding]]:
        picks, findings = super().pick(names, read)
        for place, pick in enumerate(picks, 1):
            number = int(pick.version.partition("_")[0])
            if number != place and not findings:
                problem = f"tern counts without a gap, and {place} is missing"
                findings.append(Finding(pick.up, problem, f"Give it the number {place}."))
        return picks, findings

    def cut(self, text: str) -> Cut:
        if "{{" in text:
            line = line_of(text, text.index("{{"))
            raise WrongTextError(
                "tern's templates are not supported", "Write out what {{ }} gives.", line
            )
        up, mark, down = text.partition(self.sign)
        below = blank(up) + down if mark else ""
        halves = [
            re.sub(r"(?m)^---- tern: disable-tx ----$", OUTSIDE, half) for half in (up, below)
        ]
        return Cut(halves[0] + blank(down), halves[1] if halves[1].strip() else None)

    def _files(self, names: Sequence[str]) -> list[str]:
        return sorted(fitting(self.pattern, top(names)))


class NodePgMigrate(Marked):
    """node-pg-migrate's SQL files: `-- Up Migration` and `-- Down Migration`, each at most once."""

    name = "node-pg-migrate"
    strict = True
    new = MappingProxyType({".sql": "-- Up Migration\n\n-- Down Migration\n"})
    pattern = r"\d+.*\.[sS][qQ][lL]"
    sign = r"(?mi)^\s*--[\s-]*(?:up|down)\s+migration"

    def pick(self, names: Sequence[str], read: Read) -> tuple[list[Pick], list[Finding]]:
        found = fitting(self.pattern, top(names))
        picks, findings = numbered(self, (Pick(name[:-4], name) for name in found))
        dated = [pick for pick in picks if re.match(r"\d{17}(?!\d)", pick.version)]
        if dated and len(dated) < len(picks):
            problem = "node-pg-migrate reads 17 digits as a date, and others as they are"
            findings.append(Finding(dated[0].up, problem, "Give all files numbers of one kind."))
        return picks, findings

    def cut(self, text: str) -> Cut:
        halves = _Halves(text)
        pattern = r"(?i)[ \t]*--[ \t-]*(up|down)[ \t]+migration([^\n]*)"
        found = [mark._replace(says=mark.says.lower()) for mark in _lines(text, pattern)]
        firsts = {mark.says: mark for mark in reversed(found)}  # only the first of each counts
        marks = sorted(firsts.values(), key=lambda mark: mark.start)
        if not marks or marks[0].says == "down":
            halves.turn(_Line(0, 0, "up"), "up")
        else:
            _check_before(text, marks[0], self.name)
        for mark in marks:
            halves.turn(mark, mark.says)
        return halves.cut()
