"""What a person says to `repair` -> what is assumed from now on, and what records it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from migrator.errors import ConfigError
from migrator.folder.version_rules import find_version
from migrator.history import rows
from migrator.history.fence import Write
from migrator.history.place import Place
from migrator.model import Applied, Migration
from migrator.no_transaction.steps import COMMAND_OF
from migrator.plan.plan import Plan, short
from migrator.plan.progress import Answer, Progress
from migrator.sql.script import sets_floor

#: The flags of `repair`, each with the answer that it gives.
ANSWERS = {
    "applied": Answer.APPLIED,
    "not_applied": Answer.NOT_APPLIED,
    "done": Answer.DONE,
    "retry": Answer.RETRY,
    "accept_checksum": Answer.ACCEPT,
    "rename": Answer.RENAME,
}
ASSUMED = {
    Answer.APPLIED: "all of {version} has taken effect; it is recorded as applied and never run",
    Answer.NOT_APPLIED: "nothing of {version} is in the database; `up` runs all of it",
    Answer.DONE: "statement {number} of {version} ({what}) has taken effect; `{by}` goes on "
    "after it",
    Answer.RETRY: "statement {number} of {version} ({what}) has left nothing behind; `{by}` "
    "runs it",
    Answer.ACCEPT: "the database has what {file} says now; the checksum {old_checksum} gives way "
    "to {new_checksum}",
    Answer.RENAME: "{version} and {new} are one migration, whose text has the checksum {checksum}; "
    "the history has it as {new} from now on",
}


@dataclass(frozen=True, slots=True)
class Claim:
    """What a person said of one migration, and why."""

    answer: Answer
    version: str
    reason: str
    new: str = ""  #: the version that a renamed one has now


@dataclass(frozen=True, slots=True)
class Known:
    """What is known when the answer comes."""

    migrations: Sequence[Migration]  #: the folder
    plan: Plan
    dirty: Mapping[str, Progress]  #: what has started and is not in the history
    place: Place
    undoing: Mapping[str, Progress] = field(default_factory=dict)  #: whose undo has started
    batching: Mapping[str, Progress] = field(default_factory=dict)  #: some batches are committed
    has_cursors: bool = True  #: the table is there that says how many
    again: Sequence[str] = ()  #: repeatables that run again, if nothing of the version is left


@dataclass(frozen=True, slots=True)
class Assumption:
    """An answer that fits what is known."""

    words: str
    fields: dict[str, str]  #: the same for a machine, beside the version
    records: tuple[Write, ...]  #: what records it, the log's line among them


def given_answer(answers: Mapping[str, str | Sequence[str] | None], reason: str | None) -> Claim:
    """The one answer that was given; ConfigError for none or several, or without a reason."""
    given = [(ANSWERS[name], value) for name, value in answers.items() if value is not None]
    if len(given) != 1 or not (reason or "").strip():
        flags = ", ".join(f"--{name.replace('_', '-')}" for name in ANSWERS)
        raise ConfigError(
            "`repair` takes one answer and a reason",
            remedy=f"Give one of {flags} with the version, and --reason WHY.",
        )
    [(answer, value)] = given
    named = [value] if isinstance(value, str) else value
    version, *new = (name.removesuffix(".sql") for name in named)
    return Claim(answer, version, reason or "", *new)


def resolve(known: Known, claim: Claim) -> Claim:
    """`claim` with whole versions where a number alone was given, 3 for 003_orders.

    Raises ConfigError where several have that number.
    """
    applied = [row.version for row in known.plan.applied]
    files = [migration.version for migration in known.migrations]
    started = [*known.dirty, *known.undoing, *known.batching]
    candidates = {
        Answer.APPLIED: [*files, *known.undoing],
        Answer.NOT_APPLIED: [*applied, *known.dirty, *known.batching],
        Answer.DONE: started,
        Answer.RETRY: started,
        Answer.ACCEPT: applied,
        Answer.RENAME: [row.version for row in (*known.plan.missing, *known.plan.ahead)],
    }[claim.answer]
    pending = [migration.version for migration in known.plan.pending]
    version = find_version(claim.version, dict.fromkeys(candidates))
    return replace(claim, version=version, new=find_version(claim.new, pending))


def assume(known: Known, claim: Claim) -> Assumption:
    """What the answer comes to; ConfigError when it does not fit what is known."""
    changes, fields = _RULES[claim.answer](known, claim)
    words = ASSUMED[claim.answer].format(version=claim.version, **fields)
    if known.again:
        words += f"; the next `up` also runs {', '.join(known.again)} again"
    version = claim.new or claim.version
    if claim.new:
        fields = {"was": claim.version, **fields}
    line = rows.answer(known.place, version, claim.answer, claim.reason, words, **fields)
    return Assumption(words, fields, (*changes, line))


def afterwards(known: Known, claim: Claim) -> tuple[Applied, ...]:
    """The rows of the history once the answer is recorded."""
    files = {migration.version: migration for migration in known.migrations}
    rows = {row.version: row for row in known.plan.applied}
    row, file = rows.get(claim.version), files.get(claim.new or claim.version)
    for version in known.again:
        rows.pop(version, None)
    if claim.answer is Answer.NOT_APPLIED:
        rows.pop(claim.version, None)
    elif claim.answer is Answer.APPLIED and file and row is None:
        rows[file.version] = Applied(file.version, file.number, file.checksum, rank=file.rank)
    elif claim.answer is Answer.ACCEPT and file and row:
        rows[file.version] = row._replace(checksum=file.checksum, floor=sets_floor(file))
    elif claim.answer is Answer.RENAME and file and row:
        del rows[claim.version]
        rows[file.version] = row._replace(version=file.version, number=file.number, rank=file.rank)
    return tuple(sorted(rows.values(), key=lambda row: row.order))


_Ruled = tuple[list[Write], dict[str, str]]  # the changes of the history, and what is known


def _applied(known: Known, claim: Claim) -> _Ruled:
    if claim.version in known.undoing:  # it is recorded, and its undo is given up
        return [*_without_cursor(known, claim), *_run_again(known, claim)], {}
    _check_versioned(known, claim.version)
    migration = _pending(known, claim.version)
    floor = sets_floor(migration)
    row = rows.record(known.place, migration, "NULL", floor=floor)
    return [row, *_without_cursor(known, claim)], {}


def in_batches(known: Known, version: str) -> bool:
    """Whether some batches of it, or of its undo, are committed."""
    found = known.batching.get(version) or known.undoing.get(version)
    return found is not None and found.batches is not None


def _without_cursor(known: Known, claim: Claim) -> list[Write]:
    """What is committed of its batches counts no more."""
    if not (in_batches(known, claim.version) and known.has_cursors):
        return []
    from migrator.batches.cursor import ended  # for such files alone

    return [ended(known.place, claim.version, rows=None)]


def _not_applied(known: Known, claim: Claim) -> _Ruled:
    recorded = any(row.version == claim.version for row in known.plan.applied)
    if not recorded and claim.version not in {*known.dirty, *known.batching}:
        raise _unfitting(f"{claim.version} is neither applied nor started")
    forgotten = [rows.forget(known.place, claim.version)] if recorded else []
    return [*forgotten, *_without_cursor(known, claim), *_run_again(known, claim)], {}


def _run_again(known: Known, claim: Claim) -> list[Write]:
    """What they made may have been lost with what was taken back."""
    return list(rows.forget_repeatables(known.place, claim.version, known.again))


def _interrupted(known: Known, claim: Claim) -> _Ruled:
    progress = known.dirty.get(claim.version) or known.undoing.get(claim.version)
    if progress is None or progress.interrupted is None:
        raise _unfitting(f"no statement of {claim.version} was interrupted")
    number, what = str(progress.interrupted.number), progress.interrupted.what
    return [], {"number": number, "what": what, "by": COMMAND_OF[progress.way]}


def _accepted(known: Known, claim: Claim) -> _Ruled:
    row = next((row for row in known.plan.applied if row.version == claim.version), None)
    if row is None:
        raise _unfitting(f"{claim.version} is not applied")
    _check_versioned(known, claim.version)
    migration = next((m for m in known.migrations if m.version == claim.version), None)
    if migration is None:
        raise _unfitting(f"this folder has no file for {claim.version}")
    if row.checksum is not None and migration not in known.plan.drifted:
        raise _unfitting(f"{migration.file} has not changed since it was applied")
    fields = {
        "file": migration.file,
        "old_checksum": row.checksum or "none",
        "new_checksum": migration.checksum,
    }
    return [rows.accept(known.place, migration, floor=sets_floor(migration))], fields


def _renamed(known: Known, claim: Claim) -> _Ruled:
    gone = (*known.plan.missing, *known.plan.ahead)
    row = next((row for row in gone if row.version == claim.version), None)
    if row is None:
        raise _unfitting(f"{claim.version} is not an applied migration whose file is gone")
    _check_versioned(known, claim.new)
    if claim.version in known.undoing:
        raise _unfitting(f"the undo of {claim.version} was started and is not finished")
    migration = _pending(known, claim.new)
    if claim.new in {*known.dirty, *known.batching}:
        raise _unfitting(f"{claim.new} was started as a migration of its own")
    if row.checksum not in (migration.checksum, migration.raw_checksum):
        raise ConfigError(
            f"{migration.file} has not the text of {claim.version}: recorded "
            f"{short(row.checksum)}, file {short(migration.checksum)}",
            remedy="Give the file the text that was applied, or restore the old file; a change "
            "goes into a new migration.",
        )
    fields = {"new": claim.new, "checksum": migration.checksum}
    return [rows.rename_row(known.place, claim.version, claim.new)], fields


_RULES: dict[Answer, Callable[[Known, Claim], _Ruled]] = {
    Answer.APPLIED: _applied,
    Answer.NOT_APPLIED: _not_applied,
    Answer.DONE: _interrupted,
    Answer.RETRY: _interrupted,
    Answer.ACCEPT: _accepted,
    Answer.RENAME: _renamed,
}


def _check_versioned(known: Known, version: str) -> None:
    if any(m.version == version and m.repeatable for m in known.migrations):
        raise _unfitting(f"{version} is a repeatable, which may run again at any time")


def _pending(known: Known, version: str) -> Migration:
    for migration in known.plan.pending:
        if migration.version == version:
            return migration
    raise _unfitting(f"{version} is not a pending migration of this folder")


def _unfitting(message: str) -> ConfigError:
    return ConfigError(message, remedy="`status` shows which versions there are, and their states.")
