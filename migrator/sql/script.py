"""The folder's names and bytes -> migrations; one migration's text -> a script; or findings."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import takewhile
from typing import TYPE_CHECKING

from migrator.durations import parse_duration
from migrator.model import Finding, Migration
from migrator.plan.order import Requirement
from migrator.sql.text import Text, read_text

if TYPE_CHECKING:
    from migrator.sql.parts import Part
    from migrator.sql.statements import Directive

_NAME = re.compile(r"(?P<version>(?:(?P<number>[0-9]+)_|R__)[a-z0-9_]+)(?P<down>\.down)?\.sql")


@dataclass(frozen=True, slots=True)
class Script:
    """One migration, split and understood: what a flight needs of it."""

    migration: Migration
    parts: tuple[Part, ...]  #: what to send, message by message
    statements: int  #: how many; none in a file of comments, which is applied all the same
    whole: bool  #: there is one part, all of the text, which goes along with our own statements
    lock_timeout_ms: int | None = None  #: None where no directive says so; 0 is no limit
    statement_timeout_ms: int | None = None
    transactional: bool = True  #: False under a `-- migrator: no-transaction` line
    requires: tuple[Requirement, ...] = ()
    floor: bool = False  #: True under a `-- migrator: floor` line


def gather(
    files: Iterable[tuple[str, bytes | Iterable[bytes] | Finding]],
) -> tuple[tuple[Migration, ...], tuple[Finding, ...]]:
    """The migrations in their order; or none, and all that is wrong with the folder.

    `files` are the names that end in .sql, in whatever case, each with its bytes, a large one's
    in blocks that can be read again, or with why they cannot be read. A version fits 255
    characters, because no file system allows longer names.
    """
    read = {file: _read(file, data) for file, data in files}
    names = [name for file in read if (name := _NAME.fullmatch(file))]
    findings = [text for text in read.values() if isinstance(text, Finding)] + _unpaired(names)
    if findings:
        return (), tuple(sorted(findings, key=lambda finding: finding.file))
    texts = {file: text for file, text in read.items() if not isinstance(text, Finding)}
    migrations = [_migration(name, texts) for name in names if not name["down"]]
    return tuple(sorted(migrations, key=lambda m: m.order)), ()


def versions(names: Iterable[str]) -> tuple[str, ...]:
    """The numbered versions that these file names stand for, in order, whatever else is wrong."""
    found = [name for file in names if (name := _NAME.fullmatch(file)) and name["number"]]
    ups = sorted((int(name["number"]), name["version"]) for name in found if not name["down"])
    return tuple(version for _, version in ups)


def understand(migration: Migration) -> tuple[Script | None, tuple[Finding, ...]]:
    """The migration split and its directives read; or no script, and all that is wrong with it."""
    # Imported here: it costs 4 ms, and a run with nothing pending splits nothing.
    from migrator.sql.effects import alone_refusals
    from migrator.sql.parts import lay_out, texts
    from migrator.sql.statements import refusals

    layout = lay_out(migration.pieces)
    timeouts: dict[str, int] = {}
    flags = {directive.text for directive in layout.directives}
    alone = _ALONE in flags
    pieces = migration.pieces
    refused = alone_refusals(texts(pieces)) if alone else refusals(layout.special)
    wrong = [(p.line, p.problem, p.remedy) for p in (*layout.problems, *refused)]
    for directive in layout.directives:
        name, _, value = directive.text.replace("\t", " ").partition(" ")
        late = layout.begins is not None and directive.start > layout.begins
        if reason := _wrong(name, value, late=late, again=name in timeouts):
            wrong.append((directive.line, *reason))
        elif name in _FLAGS and migration.repeatable:
            wrong.append((directive.line, *_OF_VERSIONED[name]))
        elif name != _REQUIRES:
            timeouts[name] = 0 if name in _FLAGS else parse_duration(value)
    if wrong:
        return None, tuple(Finding(migration.file, p, r, line) for line, p, r in sorted(wrong))
    limits = timeouts.get("lock-timeout"), timeouts.get("statement-timeout")
    parts = layout.parts, layout.statements, layout.whole
    requires = _requirements(layout.directives)
    return Script(migration, *parts, *limits, not alone, requires, _FLOOR in flags), ()


def sets_floor(migration: Migration) -> bool:
    """Whether an image must hold this file once it is applied, whatever else is wrong with it."""
    from migrator.sql.scanner import scan
    from migrator.sql.statements import Directive, Statement

    head = takewhile(lambda found: not isinstance(found, Statement), scan(migration.pieces))
    return any(isinstance(found, Directive) and found.text == _FLOOR for found in head)


def read_requirements(migration: Migration) -> tuple[Requirement, ...]:
    """What the file requires, whatever else may be wrong with it, and applied or not."""
    from migrator.sql.parts import lay_out

    return _requirements(lay_out(migration.pieces).directives)


def _requirements(directives: Iterable[Directive]) -> tuple[Requirement, ...]:
    return tuple(
        Requirement(version, directive.line)
        for directive in directives
        for name, *versions in [directive.text.split() or [""]]
        if name == _REQUIRES
        for version in versions
    )


def _read(file: str, data: bytes | Iterable[bytes] | Finding) -> Text | Finding:
    if not _NAME.fullmatch(file):
        return _misnamed(file)
    return data if isinstance(data, Finding) else read_text(data, file)


def _misnamed(file: str) -> Finding:
    return Finding(
        file,
        "the name fits no pattern, so that the file would be lost",
        "Call it NNN_name.sql, NNN_name.down.sql or R__name.sql, with a-z, 0-9 and _ in the name.",
    )


def _unpaired(names: Iterable[re.Match[str]]) -> list[Finding]:
    """Two files with one number; a down file without its up file, or of a repeatable."""
    ups = {name["version"]: name for name in names if not name["down"]}
    by_number: dict[int, str] = {}
    findings = []
    for version in sorted(version for version, name in ups.items() if name["number"]):
        other = by_number.setdefault(int(ups[version]["number"]), version)
        if other != version:
            problem = f"{other}.sql has the same number"
            findings.append(Finding(f"{version}.sql", problem, "Give one of them another number."))
    for name in names:
        if name["down"] and not name["number"]:
            problem = "a repeatable has no undo"
            remedy = "Remove it; what undoes a repeatable is its older text."
            findings.append(Finding(name.string, problem, remedy))
        elif name["down"] and name["version"] not in ups:
            problem = f"there is no {name['version']}.sql that it could undo"
            findings.append(Finding(name.string, problem, "Restore that file or remove this one."))
    return findings


def _migration(name: re.Match[str], texts: dict[str, Text]) -> Migration:
    text = texts[name.string]
    down = texts.get(f"{name['version']}.down.sql")
    return Migration(
        version=name["version"],
        number=int(name["number"] or -1),
        file=name.string,
        pieces=text.pieces,
        checksum=text.checksum,
        raw_checksum=text.raw_checksum,
        rollback_sql="".join(down.pieces) if down else None,
    )


_FLAGS = _ALONE, _FLOOR = "no-transaction", "floor"
_TIMEOUTS = ("lock-timeout", "statement-timeout")
_REQUIRES = "requires"
_KNOWN = (*_FLAGS, *_TIMEOUTS, _REQUIRES)
_LATER = ("allow",)  # of the design, not of this version
_OF_VERSIONED = {
    _ALONE: ("a repeatable runs in a transaction", "Make it a versioned migration, NNN_name.sql."),
    _FLOOR: ("a repeatable sets no floor", "Put the line into a versioned migration."),
}


def _wrong(name: str, value: str, *, late: bool, again: bool) -> tuple[str, str] | None:
    """Why this directive cannot be followed, and the remedy."""
    if name in _LATER:
        return f"the directive {name} is not supported by this version", "Remove it."
    if name not in _KNOWN:
        known = ", ".join(_KNOWN)
        return f'"{name}" is not a directive', f"This version knows {known}."
    if late:
        return f"the directive {name} stands after a statement", "Move it to the top of the file."
    if name == _REQUIRES:
        problem = f"the directive {name} names no version"
        return None if value.strip() else (problem, "Name one: requires 002_seed_data.")
    if again:
        return f"the directive {name} is given twice", "Remove one of them."
    if name in _FLAGS:
        return (f"the directive {name} takes no words", f"Write {name} alone.") if value else None
    try:
        parse_duration(value)
    except ValueError as error:
        return f"{name}: {error}", "Correct the duration."
    return None
