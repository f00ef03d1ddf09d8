"""What is to be undone, in which order, and why it may not be; docs/design.md section 11."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from migrator.config import OnFinding
from migrator.errors import (
    ConfigError,
    DirtyError,
    DriftError,
    MigratorError,
    MissingError,
    SourceError,
)
from migrator.folder.version_rules import find_version
from migrator.model import NATIVE, Applied, Finding, Kind, Migration, Placeholders
from migrator.plan.batching_rules import changed_midway
from migrator.plan.progress import Progress
from migrator.plan.repeatables import Again, announced, pending_again
from migrator.sql.script import Script, holds_statement, read_requirements, understand
from migrator.sql.sensitive import masked

TEXT_LINES = 8  #: of an undo that a plan shows


class Origin(Enum):
    """Where the text of an undo is taken from."""

    STORED = "stored"  #: from the history, as the file was when the migration was applied
    FILE = "file"  #: NNN_name.down.sql as it is in the folder now


@dataclass(frozen=True, slots=True)
class Wish:
    """How much is to be undone; with neither, what the last run applied."""

    to: str | None = None  #: the version that stays, and with it everything older
    steps: int | None = None


@dataclass(frozen=True, slots=True)
class Kept:
    """What the history keeps of a migration beyond `Applied`."""

    place: int  #: rises with the moment of application; the same for one moment
    rollback_sql: str | None


@dataclass(frozen=True, slots=True)
class UndoStep:
    """One migration that is to be undone."""

    row: Applied
    script: Script  #: the undo, read and understood
    origin: Origin
    again: Again = field(default_factory=dict)  #: repeatables that are pending once it is undone

    def as_dict(self) -> dict[str, Any]:
        """For the answer of --plan."""
        text = masked("".join(self.script.migration.pieces))
        return {
            "version": self.row.version,
            "kind": self.row.kind.value,
            "applied_at": self.row.applied_at,
            "statements": self.script.statements,
            "from": self.origin.value,
            "undo": beginning(text),
            "sql": text,
            "pending_again": list(self.again),
        }


@dataclass(frozen=True, slots=True)
class UndoPlan:
    """What is to be undone, judged."""

    steps: tuple[UndoStep, ...] = ()  #: in the order in which they are undone
    warnings: tuple[Finding, ...] = ()
    failures: tuple[MigratorError, ...] = ()  #: each with its findings; empty = go

    @property
    def versions(self) -> frozenset[str]:
        return frozenset(step.row.version for step in self.steps)

    @property
    def scripts(self) -> tuple[Script, ...]:
        return tuple(step.script for step in self.steps)

    def raise_failures(self) -> None:
        """Raise the first failure, carrying the findings of all of them."""
        if self.failures:
            message = "; ".join(failure.message for failure in self.failures)
            findings = [finding for failure in self.failures for finding in failure.findings]
            raise type(self.failures[0])(message, findings=findings, remedy=REFUSED)


REFUSED = "See to what is listed; nothing was undone."


def make_undo(
    rows: Sequence[Applied],
    kept: Mapping[str, Kept],
    folder: Sequence[Migration],
    wish: Wish,
    origin: Origin = Origin.STORED,
    on_drift: OnFinding = OnFinding.FAIL,
    values: Placeholders | None = None,
) -> UndoPlan:
    """What `wish` means for a history of these rows, and all that is in its way.

    `values` take the place of placeholders, which what is stored has as the file does.

    Opens nothing. Raises ConfigError when the wish names what is not there.
    """
    files = {migration.version: migration for migration in folder}
    targets = _targets(rows, kept, wish)
    versioned = [row for row in targets if not row.repeatable]
    lacking = [] if versioned else [_stays(row) for row in targets]
    drifted: list[Finding] = []
    wrong = list(_still_required(rows, versioned, files))
    places = {version: row.place for version, row in kept.items()}
    again = pending_again(rows, places, [row.version for row in versioned], folder)
    steps = []
    for row in versioned:
        stored = _undo_text(kept[row.version].rollback_sql)
        file = files[row.version].rollback_sql if row.version in files else None
        own = _undo_text(file)
        text, other = (own, stored) if origin is Origin.FILE else (stored, own)
        if text is None:
            empty = file is not None and own is None
            lacking.append(_lacking(row, _place(row, files), origin, other, empty=empty))
            continue
        if origin is Origin.STORED and own not in (None, stored):
            drifted.append(_drifted(_place(row, files)[0], on_drift))
        named = files.get(row.version, folder[0] if folder else None)
        down = _down(row, text, named)
        script, found = understand(down, values)
        wrong += found
        if script is not None:
            steps.append(UndoStep(row, script, origin, again[row.version]))
    warnings = [found for version, which in again.items() for found in announced(version, which)]
    if on_drift is OnFinding.WARN:
        warnings, drifted = warnings + drifted, []
    failures = tuple(
        error(f"{label}: {_names(found)}", findings=found)
        for error, label, found in (
            (MissingError, "there is no undo for", lacking),
            (DriftError, "the stored undo is not the file's", drifted),
            (SourceError, "the undo cannot be run", wrong),
        )
        if found
    )
    return UndoPlan(tuple(steps), tuple(warnings), failures)


def check_started(plan: UndoPlan, wish: Wish, started: Mapping[str, Progress]) -> None:
    """DirtyError for an undo that began outside a transaction and would not go on so."""
    stays = [version for version in started if version not in plan.versions]
    if wish.to is not None and stays:
        raise DirtyError(
            f"undone in part, and to stay: {', '.join(stays)}",
            remedy="Name an older version, and the undo goes on; or give it up, once all of the "
            "migration is there again: `repair --applied VERSION --reason WHY`.",
        )
    for step in plan.steps:
        version, file = step.row.version, step.script.migration.file
        began = started.get(version)
        if began is not None and began.batches is not None:
            if began.batches != step.script.migration.checksum:
                raise changed_midway(step.script.migration)
        elif step.script.transactional and began is not None:
            raise DirtyError(
                f"{file}: it began as a no-transaction file and is not finished, and now it is "
                "none",
                remedy="Run the text that it began with; or say what it has come to: "
                f"`repair --applied {version} --reason WHY` once all of {version} is there again, "
                f"`repair --not-applied {version} --reason WHY` once nothing of it is left.",
                version=version,
            )


def beginning(sql: str) -> str:
    """The comment that a text begins with, else its first lines; TEXT_LINES at most."""
    lines = sql.strip().splitlines()
    comment = next((n for n, line in enumerate(lines) if not line.startswith("--")), len(lines))
    shown = lines[: min(comment or 3, TEXT_LINES)]
    return "\n".join([*shown, "…"] if len(shown) < (comment or len(lines)) else shown)


def _targets(rows: Sequence[Applied], kept: Mapping[str, Kept], wish: Wish) -> tuple[Applied, ...]:
    """The rows that are to go, what was applied last first."""
    newest_first = sorted(rows, key=lambda row: (kept[row.version].place, row.order), reverse=True)
    versioned = [row for row in newest_first if not row.repeatable]
    if wish.to is not None:
        to = find_version(wish.to, [row.version for row in reversed(versioned)])
        stays = next((row for row in versioned if row.version == to), None)
        if stays is None:
            names = ", ".join(row.version for row in reversed(versioned[:5])) or "none"
            raise ConfigError(
                f"{wish.to} is not applied; the last ones that are: {names}",
                remedy="Name an applied version, which then stays; `status` shows them.",
            )
        return tuple(row for row in versioned if row.order > stays.order)
    if wish.steps is not None:
        if wish.steps > len(versioned):
            raise ConfigError(
                f"--steps {wish.steps} asks for more than the {len(versioned)} that are applied",
                remedy="Ask for fewer; `status` shows them.",
            )
        return tuple(versioned[: wish.steps])
    last = newest_first[:1]
    if last and last[0].run_id is not None:
        return tuple(row for row in newest_first if row.run_id == last[0].run_id)
    return tuple(last)


def _still_required(
    rows: Sequence[Applied], targets: Sequence[Applied], files: Mapping[str, Migration]
) -> Iterator[Finding]:
    """Applied migrations that stay and say that they need one that goes; repeatables run again."""
    gone = {row.version for row in targets}
    for row in rows:
        if row.version in gone or row.version not in files or row.repeatable:
            continue
        for version in dict.fromkeys(r.version for r in read_requirements(files[row.version])):
            if version in gone:
                yield Finding(
                    files[row.version].file,
                    f"is applied and requires {version}, which was to be undone",
                    "Have it undone, too: see `rollback --plan --to VERSION`.",
                )


def _undo_text(text: str | None) -> str | None:
    """None of one without a statement, such as an untouched template."""
    return text if text is not None and holds_statement((text,)) else None


def _down(row: Applied, text: str, named: Migration | None) -> Migration:
    """The undo of `row` as something that flies.

    `named` is the file of the version; any other file of its folder where there is none.
    """
    checksum = hashlib.sha256(text.encode()).hexdigest()
    file, first_line = f"{row.version}.down.sql", 1
    if named and named.version == row.version:
        file, first_line = named.undo_file, named.undo_from[1] if named.undo_from else 1
    return Migration(
        version=row.version,
        number=row.number,
        file=file,
        pieces=(text,),
        checksum=checksum,
        raw_checksum=checksum,
        placeholders=named.placeholders if named else None,
        undoes=True,
        first_line=first_line,
    )


def _stays(row: Applied) -> Finding:
    return Finding(
        f"{row.version}.sql",
        "is a repeatable, which has no undo, and stays as the last run left it",
        "Put its older text back and run `up`; to undo an older run: `rollback --to VERSION`.",
    )


def _place(row: Applied, files: Mapping[str, Migration]) -> tuple[str, str]:
    """The file that holds the undo, or would, and how it is written there."""
    file = files.get(row.version)
    if file is None or file.format == NATIVE:
        name = file.undo_file if file else f"{row.version}.down.sql"
        return name, f"Write {name}"
    return file.file, f"Write its undo as {file.format} has it"


def _lacking(
    row: Applied, place: tuple[str, str], origin: Origin, other: str | None, *, empty: bool
) -> Finding:
    """`other` is the text of the other origin; `empty`: the file is there, without a statement."""
    name, write = place
    if empty:
        write = f"Write the undo into {name} (`SELECT;` where nothing is to be undone)"
    if origin is Origin.FILE:
        problem = "the file holds no statement" if empty else "the folder has no such file"
        remedy = "Leave --from-files out, to run the one that is stored."
        if other is None:
            problem, remedy = f"{problem}, and none is stored", f"{write}."
        return Finding(name, problem, remedy)
    problem = {
        Kind.BASELINE: "it was recorded by `baseline` and never run here, and no undo is stored",
        Kind.ADOPTED: "it was taken over from another tool, and no undo is stored",
    }.get(row.kind, "no undo was stored when it was applied")
    if other is not None:
        return Finding(name, problem, "Give --from-files, to run the file of the folder.")
    if empty:
        problem += ", and the file holds no statement"
    remedy = f"{write} and give --from-files; or undo it with a new migration."
    return Finding(name, problem, remedy)


def _drifted(name: str, on_drift: OnFinding) -> Finding:
    if on_drift is OnFinding.WARN:
        problem = "the file is not what was stored when it was applied; the stored text is run"
        return Finding(name, problem, "Give --from-files to run the file instead.")
    return Finding(
        name,
        "the file is not what was stored when it was applied",
        "Say which is to be run: --on-drift warn (ON_DRIFT=warn) for the stored text, --from-files "
        "for the file.",
    )


def _names(findings: Sequence[Finding]) -> str:
    return ", ".join(dict.fromkeys(finding.file for finding in findings))
