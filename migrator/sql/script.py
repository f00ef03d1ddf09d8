"""The text of one migration -> the script that is sent, or all that is wrong with it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import takewhile
from typing import TYPE_CHECKING, Any, NamedTuple

from migrator.durations import parse_duration
from migrator.model import (
    FLYWAY,
    HOOKS,
    NATIVE,
    Allow,
    Danger,
    Finding,
    Migration,
    Phase,
    Placeholders,
)
from migrator.report import shorten

if TYPE_CHECKING:
    from migrator.sql.asserts import Assertion
    from migrator.sql.batched import Batches
    from migrator.sql.filled import Filled
    from migrator.sql.in_parts import InParts
    from migrator.sql.marks import Placed
    from migrator.sql.parts import Layout, Part
    from migrator.sql.statements import Directive, Problem


class Requirement(NamedTuple):
    """One word of a `-- migrator: requires` line."""

    version: str
    line: int  #: 1-based


class Script(NamedTuple):
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
    let_pass: Sequence[dict[str, Any]] = ()  #: what the gate found, and `allows` allow
    delay: dict[str, Any] | None = None  #: what has held it up, for its line of the log
    filled: Filled | None = None  #: the text with values in it, where it has placeholders
    batches: Batches | None = None  #: under a `-- migrator: batches` line
    asserts: tuple[Assertion, ...] = ()  #: under `-- migrator: assert` lines
    parallel: str | None = None  #: the name of its group, under a `-- migrator: parallel` line
    group: str | None = None  #: the first pending version of that, once the order is known

    @property
    def pieces(self) -> Iterable[str]:
        """The text as it is sent. The migration's own has its placeholders."""
        return self.migration.pieces if self.filled is None else self.filled

    def place(self, line: int, column: int = 1) -> tuple[int, int]:
        """Where in the file a place of what is sent was written."""
        line, column = (line, column) if self.filled is None else self.filled.place(line, column)
        return line + self.migration.first_line - 1, column


def understand(
    migration: Migration, values: Placeholders | None = None
) -> tuple[Script | None, tuple[Finding, ...]]:
    """The migration split and its directives read; or no script, and all that is wrong with it.

    `values` take the place of placeholders, where the file has any.
    """
    # Imported here: it costs 4 ms, and a run with nothing pending splits nothing.
    from migrator.sql.effects import alone_refusals, recorded_secrets
    from migrator.sql.own_transaction import taken_as_ours
    from migrator.sql.parts import lay_out, texts
    from migrator.sql.statements import only_alone, refusals, surprises

    layout = lay_out(migration.pieces)
    pieces, filled = migration.pieces, _filled(migration, layout.directives, values)
    unfilled = _findings(migration, filled.problems) if filled else ()
    if unfilled := (*unfilled, *_undo_problems(migration, values)):
        return None, unfilled
    if filled is not None:
        layout, pieces = lay_out(filled), filled
    flags = {directive.text for directive in layout.directives}
    alone = _ALONE in flags or migration.alone
    alone = alone or (not migration.repeatable and only_alone(layout.special, layout.statements))
    layout = layout if alone else taken_as_ours(layout, pieces)
    timeouts, wrong = _directives(layout, migration)
    wrong += [*layout.problems, *(alone_refusals(texts(pieces)) if alone else [])]
    wrong += [] if alone else refusals(layout.special)
    wrong += _two_ways(migration, layout.marks, layout.statements)
    if alone and filled is not None:
        wrong += recorded_secrets(texts(pieces), filled.secrets)
    if in_parts := _in_parts(layout.directives):
        wrong += in_parts.problems(layout, pieces, alone=alone)
    parallel, of_group = _grouped(layout, alone=alone, in_parts=in_parts)
    wrong += of_group
    if wrong:
        return None, _findings(migration, wrong, filled)
    empty = not layout.statements
    if empty and migration.format == NATIVE:
        return None, (Finding(migration.file, *(EMPTY_UNDO if migration.undoes else EMPTY)),)
    limits = timeouts.get("lock-timeout"), timeouts.get("statement-timeout")
    parts = layout.parts, layout.statements, layout.whole
    requires = _requirements(layout.directives, filled)
    allows = tuple(allow for one in layout.directives if (allow := _allow(one, filled)))
    warnings = _findings(migration, surprises(layout.special), filled)
    warnings += (Finding(migration.file, *EMPTY_OF_OTHERS),) if empty else ()
    warnings += _of_liquibase(migration)
    floor, more = _FLOOR in flags, (allows, warnings)
    made = Script(migration, *parts, *limits, not alone, requires, floor, *more, filled=filled)
    made = made._replace(parallel=parallel) if parallel else made
    return made._replace(**in_parts._asdict()) if in_parts else made, ()


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


def is_post(migration: Migration) -> bool:
    """Whether the file is of the post phase, even if it has other faults."""
    from migrator.sql.scanner import scan
    from migrator.sql.statements import Directive, Statement

    head = takewhile(lambda found: not isinstance(found, Statement), scan(migration.pieces))
    return any(
        isinstance(found, Directive) and found.text.split() == [_PHASE, Phase.POST.value]
        for found in head
    )


def group_of(migration: Migration) -> str | None:
    """The name of the file's group, even if it has other faults, and even if it is applied."""
    from migrator.sql.grouped import find_group
    from migrator.sql.parts import lay_out

    found = find_group(lay_out(migration.pieces).directives)
    return found[0] if found else None


def read_requirements(migration: Migration) -> tuple[Requirement, ...]:
    """What the file requires, even if it has other faults, and even if it is applied."""
    from migrator.sql.parts import lay_out

    return _requirements(lay_out(migration.pieces).directives)


def _directives(layout: Layout, migration: Migration) -> tuple[dict[str, int], list[Problem]]:
    """The values of the directives that have one, in ms, and what is wrong with any."""
    from migrator.sql.statements import Problem

    timeouts: dict[str, int] = {}
    wrong = []
    for directive in layout.directives:
        name, _, value = directive.text.replace("\t", " ").partition(" ")
        if not directive.exact and _meant(directive.text) is None:
            continue
        late = layout.begins is not None and directive.start > layout.begins
        if reason := _wrong(name, value, late=late, again=name in timeouts):
            wrong.append(Problem(directive.line, *reason))
        elif name in _OF_VERSIONED and migration.repeatable:
            wrong.append(Problem(directive.line, *_OF_VERSIONED[name]))
        elif name == _PHASE and (migration.undoes or migration.version in HOOKS.values()):
            wrong.append(Problem(directive.line, *_OF_MIGRATIONS))
        elif name == _PARALLEL and (migration.undoes or migration.version in HOOKS.values()):
            wrong.append(Problem(directive.line, *_ONE_BY_ONE))
        elif name == _BATCHES and migration.version in HOOKS.values():
            wrong.append(Problem(directive.line, *_OF_FILES))
        elif name not in _MANY:
            timeouts[name] = 0 if name not in _TIMEOUTS else parse_duration(value)
    return timeouts, wrong


def _filled(
    migration: Migration, directives: Sequence[Directive], values: Placeholders | None
) -> Filled | None:
    """The text with values in it; None where it has no placeholders."""
    asked = any(directive.text == _PLACEHOLDERS for directive in directives)
    rule = migration.placeholders or (FLYWAY if asked else None)
    if rule is None:
        return None
    from migrator.sql.filled import Filled

    filled = Filled(migration.pieces, rule, values or Placeholders())
    return filled or None


def _undo_problems(migration: Migration, values: Placeholders | None) -> Iterator[Finding]:
    """What is wrong with the placeholders of the undo, which is understood when it is to run."""
    text = migration.rollback_sql or ""
    if "$" not in text or not (migration.placeholders or _PLACEHOLDERS in text):
        return
    from migrator.sql.parts import lay_out

    filled = _filled(migration._replace(pieces=(text,)), lay_out((text,)).directives, values)
    file, first_line = migration.undo_file, (migration.undo_from or ("", 1))[1]
    of_undo = migration._replace(file=file, first_line=first_line)
    yield from _findings(of_undo, filled.problems if filled else ())


def _two_ways(migration: Migration, marks: Sequence[Placed], statements: int) -> Iterator[Problem]:
    """Why a file that holds the other way as well cannot run."""
    from migrator.config import FOLDER_FORMATS
    from migrator.sql.marks import Counts, Half, other_half
    from migrator.sql.statements import Problem

    other, place = Half.DOWN, f"{migration.version}.down.sql"
    if migration.undoes:
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


def _of_liquibase(migration: Migration) -> tuple[Finding, ...]:
    """A warning of a file that is formatted for Liquibase, and is read as one of ours."""
    if migration.format == NATIVE and for_liquibase(migration):
        return (Finding(migration.file, *FORMATTED, 1),)
    return ()


def for_liquibase(migration: Migration) -> bool:
    """Whether the file begins with the line by which Liquibase knows its own."""
    start = next(iter(migration.pieces), "")[:HEADER_CHARS].lower()
    if "liquibase" not in start:  # as in most: a pattern counts at 1000 files
        return False
    return bool(re.match(r"\s*--\s*liquibase\s+formatted\s+sql\b", start))


def _requirements(
    directives: Iterable[Directive], filled: Filled | None = None
) -> tuple[Requirement, ...]:
    return tuple(
        Requirement(version, directive.line if filled is None else filled.place(directive.line)[0])
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


def _allow(directive: Directive, filled: Filled | None) -> Allow | None:
    name, _, value = directive.text.replace("\t", " ").partition(" ")
    found = _read_allow(value) if name == _ALLOW else None
    line = directive.line if filled is None else filled.place(directive.line)[0]
    return Allow(line, *found) if found else None


def _in_parts(directives: Sequence[Directive]) -> InParts | None:
    """What the lines of files that commit in parts say; None where there is none."""
    if not any(directive.text.startswith((_BATCHES, _ASSERT)) for directive in directives):
        return None
    from migrator.sql.in_parts import read_in_parts  # for such files alone

    return read_in_parts(directives)


def _grouped(
    layout: Layout, *, alone: bool, in_parts: InParts | None
) -> tuple[str | None, list[Problem]]:
    """The name of the file's group, and why it cannot be of one."""
    if not any(directive.text.startswith(_PARALLEL) for directive in layout.directives):
        return None, []
    from migrator.sql.grouped import find_group, group_problems  # for such files alone

    if (found := find_group(layout.directives)) is None:
        return None, []
    batches = in_parts is not None and in_parts.batches is not None
    return found[0], list(group_problems(found[1], layout, alone=alone, batches=batches))


def _findings(
    migration: Migration, problems: Iterable[Problem], filled: Filled | None = None
) -> tuple[Finding, ...]:
    """The problems in order, with the lines of the file as it is written."""
    found = sorted(
        (p.line if filled is None else filled.place(p.line)[0], p.problem, p.remedy)
        for p in problems
    )
    above = 1 - migration.first_line
    return tuple(Finding(migration.file, p, r, line - above) for line, p, r in found)


EMPTY = (
    "holds no statement: nothing would be run, and the file would be called applied",
    "Write its SQL, or `SELECT;` where nothing is to be done.",
)
HEADER_CHARS = 200  #: of a file, in search of what it says it is
FORMATTED = (
    "is formatted for Liquibase, whose changesets, attributes and rollbacks mean nothing here",
    "Set FOLDER_FORMAT=liquibase, if all files are Liquibase's; else remove that line.",
)
EMPTY_OF_OTHERS = (
    "holds no statement: it is recorded as applied, and a text that is written later is drift",
    "Write its SQL before it runs, if it is not meant to be empty.",
)
ALLOW_REMEDY = (
    'Write `allow CLASS RELATION "reason"`; the classes are '
    + ", ".join(known.value for known in Danger if known is not Danger.ADVICE)
    + "."
)
EMPTY_UNDO = (
    "holds no statement but BEGIN and COMMIT: nothing would be undone",
    "Write what undoes its migration, or `SELECT;` where nothing is to be done.",
)
_FLAGS = _ALONE, _FLOOR = "no-transaction", "floor"
_TIMEOUTS = ("lock-timeout", "statement-timeout")
_REQUIRES, _PLACEHOLDERS, _PHASE = "requires", "placeholders", "phase"
_WORDLESS = (*_FLAGS, _PLACEHOLDERS)
_ALLOW = "allow"
_BATCHES = "batches"
_ASSERT = "assert"
_PARALLEL = "parallel"
_MANY = (_REQUIRES, _ALLOW, _ASSERT)  # these may be given several times
_KNOWN = (*_WORDLESS, *_TIMEOUTS, *_MANY, _PHASE, _BATCHES, _PARALLEL)
_OF_VERSIONED = {
    _ALONE: ("a repeatable runs in a transaction", "Make it a versioned migration, NNN_name.sql."),
    _FLOOR: ("a repeatable sets no floor", "Put the line into a versioned migration."),
    _PARALLEL: (
        "repeatables run one after another",
        "Make it a versioned migration, NNN_name.sql.",
    ),
    _BATCHES: (
        "a repeatable runs in one transaction",
        "Make it a versioned migration, NNN_name.sql.",
    ),
}

_OF_MIGRATIONS = (
    "only a migration has a phase",
    "Remove the line: a hook runs around each run, and an undo whenever `rollback` comes to it.",
)


_ONE_BY_ONE = (
    "hooks and undos run one after another",
    "Remove the line parallel.",
)


_OF_FILES = (
    "a hook runs in one transaction",
    "Put the batches into a migration of its own.",
)


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
    if name in (_BATCHES, _ASSERT, _PHASE, _PARALLEL):
        return _wrong_value(name, value)
    if name in _WORDLESS:
        return (f"the directive {name} takes no words", f"Write {name} alone.") if value else None
    try:
        parse_duration(value)
    except ValueError as error:
        return f"{name}: {error}", "Correct the duration."
    return None


def _wrong_value(name: str, value: str) -> tuple[str, str] | None:
    """As `_wrong`, of directives that take words of their own."""
    if name == _PHASE:
        problem = f"the directive {name} takes {Phase.PRE.value} or {Phase.POST.value}"
        right = value.strip() in (Phase.PRE.value, Phase.POST.value)
        return None if right else (problem, f"Write {name} {Phase.POST.value}, or remove the line.")
    if name == _PARALLEL:
        from migrator.sql.grouped import GROUP_REMEDY, GROUP_TAKES, read_group

        return None if read_group(value) else (GROUP_TAKES, GROUP_REMEDY)
    from migrator.sql.in_parts import wrong_line  # for such files alone

    return wrong_line(name, value)
