"""The text of one migration -> the script that is sent, or all that is wrong with it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import TYPE_CHECKING

from migrator.durations import parse_duration
from migrator.model import NATIVE, Allow, Danger, Finding, Migration
from migrator.report import shorten

if TYPE_CHECKING:
    from migrator.sql.marks import Placed
    from migrator.sql.parts import Part
    from migrator.sql.statements import Directive, Problem


@dataclass(frozen=True, slots=True)
class Requirement:
    """One word of a `-- migrator: requires` line."""

    version: str
    line: int  #: 1-based


@dataclass(frozen=True, slots=True)
class Script:
    """One migration, split and checked: what a flight needs of it."""

    migration: Migration
    parts: tuple[Part, ...]  #: what to send, message by message
    statements: int  #: how many
    whole: bool  #: there is one part, all of the text, which goes along with our own statements
    lock_timeout_ms: int | None = None  #: None where no directive says so; 0 is no limit
    statement_timeout_ms: int | None = None
    transactional: bool = True  #: False under a `-- migrator: no-transaction` line
    requires: tuple[Requirement, ...] = ()
    floor: bool = False  #: True under a `-- migrator: floor` line
    allows: tuple[Allow, ...] = ()  #: under `-- migrator: allow` lines
    warnings: tuple[Finding, ...] = ()  #: what it does otherwise than a reader may expect


def understand(migration: Migration) -> tuple[Script | None, tuple[Finding, ...]]:
    """The migration split and its directives read; or no script, and all that is wrong with it."""
    # Imported here: it costs 4 ms, and a run with nothing pending splits nothing.
    from migrator.sql.effects import alone_refusals
    from migrator.sql.own_transaction import taken_as_ours
    from migrator.sql.parts import lay_out, texts
    from migrator.sql.statements import Problem, only_alone, refusals, surprises

    layout = lay_out(migration.pieces)
    timeouts: dict[str, int] = {}
    flags = {directive.text for directive in layout.directives}
    alone = _ALONE in flags or migration.alone
    alone = alone or (not migration.repeatable and only_alone(layout.special, layout.statements))
    pieces = migration.pieces
    layout = layout if alone else taken_as_ours(layout, pieces)
    refused = alone_refusals(texts(pieces)) if alone else refusals(layout.special)
    wrong = [*layout.problems, *refused]
    wrong += _two_ways(migration, layout.marks, layout.statements)
    wrong += _placeholders(migration) if migration.placeholders else ()
    for directive in layout.directives:
        name, _, value = directive.text.replace("\t", " ").partition(" ")
        if not directive.exact and _meant(directive.text) is None:
            continue
        late = layout.begins is not None and directive.start > layout.begins
        if reason := _wrong(name, value, late=late, again=name in timeouts):
            wrong.append(Problem(directive.line, *reason))
        elif name in _FLAGS and migration.repeatable:
            wrong.append(Problem(directive.line, *_OF_VERSIONED[name]))
        elif name not in _MANY:
            timeouts[name] = 0 if name in _FLAGS else parse_duration(value)
    if wrong:
        return None, _findings(migration, wrong)
    if not layout.statements and migration.format == NATIVE:
        return None, (Finding(migration.file, *EMPTY),)
    limits = timeouts.get("lock-timeout"), timeouts.get("statement-timeout")
    parts = layout.parts, layout.statements, layout.whole
    requires = _requirements(layout.directives)
    allows = tuple(allow for one in layout.directives if (allow := _allow(one)))
    warnings = _findings(migration, surprises(layout.special))
    floor, more = _FLOOR in flags, (allows, warnings)
    return Script(migration, *parts, *limits, not alone, requires, floor, *more), ()


def has_undo(migration: Migration) -> bool:
    """Whether its .down.sql holds a statement; an untouched template is no undo."""
    return migration.rollback_sql is not None and holds_statement((migration.rollback_sql,))


def holds_statement(pieces: Iterable[str]) -> bool:
    """Whether there is anything in a text to be run, or to be refused."""
    from migrator.sql.scanner import scan
    from migrator.sql.statements import Problem, Statement

    return any(isinstance(found, Statement | Problem) for found in scan(pieces))


def sets_floor(migration: Migration) -> bool:
    """Whether an image must hold this file once it is applied, even if it has other faults."""
    from migrator.sql.scanner import scan
    from migrator.sql.statements import Directive, Statement

    head = takewhile(lambda found: not isinstance(found, Statement), scan(migration.pieces))
    return any(isinstance(found, Directive) and found.text == _FLOOR for found in head)


def read_requirements(migration: Migration) -> tuple[Requirement, ...]:
    """What the file requires, even if it has other faults, and even if it is applied."""
    from migrator.sql.parts import lay_out

    return _requirements(lay_out(migration.pieces).directives)


def _two_ways(migration: Migration, marks: Sequence[Placed], statements: int) -> Iterator[Problem]:
    """Why a file that holds the other way as well cannot run."""
    from migrator.config import FOLDER_FORMATS
    from migrator.sql.marks import Counts, Half, other_half
    from migrator.sql.statements import Problem

    other, place = Half.DOWN, f"{migration.version}.down.sql"
    if migration.file == place:
        other, place = Half.UP, f"{migration.version}.sql"
    if mark := other_half(marks, statements, other):
        problem = f"`{shorten(mark.text, 60)}` is a mark of {mark.marks.tool or 'another tool'}"
        remedy = f"Move the {other.value} half to {place} and remove the marks."
        if mark.marks.counts is not Counts.ALWAYS:
            problem += ", and a statement follows it"
            remedy += " Of a heading that means nothing of the kind, change the words."
        if migration.repeatable:
            remedy = f"Remove the {other.value} half and the marks: a repeatable has no undo."
        elif mark.marks.tool in FOLDER_FORMATS:
            remedy += f" Or set FOLDER_FORMAT={mark.marks.tool}, if all files are of that tool."
        yield Problem(mark.line, f"{problem}: up and down would both run", remedy)


def _placeholders(migration: Migration) -> Iterator[Problem]:
    """The first placeholder of each way: in comments and strings too, as the tool has it."""
    from migrator.sql.statements import Problem

    for text, where in (
        ("".join(migration.pieces), ""),
        (migration.rollback_sql or "", "its undo: "),
    ):
        found = re.search(r"(?<!\$)(?:\$\$)*(\$\{[^}\n]*\}?)", text)
        if found:
            line = text.count("\n", 0, found.start()) + 1
            problem = f"{where}the placeholder {shorten(found[1], 40)} is not supported"
            yield Problem(line, problem, "Write the value into the file.")


def _requirements(directives: Iterable[Directive]) -> tuple[Requirement, ...]:
    return tuple(
        Requirement(version, directive.line)
        for directive in directives
        for name, *versions in [directive.text.split() or [""]]
        if name == _REQUIRES
        for version in versions
    )


def _read_allow(value: str) -> tuple[Danger, str, str] | None:
    """CLASS RELATION "reason", or None; a relation may be * for any."""
    danger, _, rest = value.strip().partition(" ")
    relation, quote, reason = rest.rpartition('"')[0].partition(' "')
    classes = {known.value: known for known in Danger if known is not Danger.ADVICE}
    if danger not in classes or not (relation.strip() and quote and reason.strip()):
        return None
    return classes[danger], relation.strip(), reason.strip()


def _allow(directive: Directive) -> Allow | None:
    name, _, value = directive.text.replace("\t", " ").partition(" ")
    found = _read_allow(value) if name == _ALLOW else None
    return Allow(directive.line, *found) if found else None


def _findings(migration: Migration, problems: Iterable[Problem]) -> tuple[Finding, ...]:
    found = sorted((p.line, p.problem, p.remedy) for p in problems)
    return tuple(Finding(migration.file, p, r, line) for line, p, r in found)


EMPTY = (
    "holds no statement: nothing would be run, and the file would be called applied",
    "Write its SQL, or `SELECT;` where nothing is to be done.",
)
ALLOW_REMEDY = (
    'Write `allow CLASS RELATION "reason"`; the classes are '
    + ", ".join(known.value for known in Danger if known is not Danger.ADVICE)
    + "."
)
_FLAGS = _ALONE, _FLOOR = "no-transaction", "floor"
_TIMEOUTS = ("lock-timeout", "statement-timeout")
_REQUIRES = "requires"
_ALLOW = "allow"
_MANY = (_REQUIRES, _ALLOW)  # these may be given several times
_KNOWN = (*_FLAGS, *_TIMEOUTS, *_MANY)
_OF_VERSIONED = {
    _ALONE: ("a repeatable runs in a transaction", "Make it a versioned migration, NNN_name.sql."),
    _FLOOR: ("a repeatable sets no floor", "Put the line into a versioned migration."),
}


def _meant(text: str) -> str | None:
    """The directive that these words begin with, however its parts are joined."""
    letters = "".join(filter(str.isalpha, text.lower()))
    return next((name for name in _KNOWN if letters.startswith(name.replace("-", ""))), None)


def _wrong(name: str, value: str, *, late: bool, again: bool) -> tuple[str, str] | None:
    """Why this directive cannot be used, and the remedy."""
    if name not in _KNOWN:
        remedy = f"This version knows {', '.join(_KNOWN)}."
        if meant := _meant(f"{name} {value}"):
            remedy = f"Did you mean {meant}? {remedy}"
        return f'"{name}" is not a directive', remedy
    if late:
        return f"the directive {name} comes after a statement", "Move it to the top of the file."
    if name == _REQUIRES:
        problem = f"the directive {name} names no version"
        return None if value.strip() else (problem, "Name one: requires VERSION.")
    if name == _ALLOW:
        problem = f"the directive {name} needs a class, a relation and a reason in quotes"
        return None if _read_allow(value) else (problem, ALLOW_REMEDY)
    if again:
        return f"the directive {name} is given twice", "Remove one of them."
    if name in _FLAGS:
        return (f"the directive {name} takes no words", f"Write {name} alone.") if value else None
    try:
        parse_duration(value)
    except ValueError as error:
        return f"{name}: {error}", "Correct the duration."
    return None
