"""The statements of a no-transaction file as steps: what each is called, what is asked of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from migrator.errors import DirtyError
from migrator.history.journal import sha256
from migrator.history.message import Message
from migrator.no_transaction.settle import Sight, Verdict
from migrator.plan.progress import Intent, Progress, Way
from migrator.sql.effects import Act, Effect, effect_of
from migrator.sql.parts import texts
from migrator.sql.script import Script
from migrator.sql.statements import Statement


@dataclass(frozen=True, slots=True)
class FileStatement:
    """One statement of the file."""

    script: Script
    number: int  #: from 1 on
    statement: Statement
    text: str
    effect: Effect

    @property
    def version(self) -> str:
        return self.script.migration.version

    @property
    def line(self) -> int:
        """In the file as it is written."""
        return self.script.place(self.statement.line)[0]

    @property
    def sha256(self) -> str:
        """Of the text without what may not be shown: of a short password it would say too much."""
        filled = self.script.filled
        return sha256(self.text if filled is None else filled.without_secrets(self.text))

    @property
    def what(self) -> str:
        """In words: no text of the file, which may hold a password."""
        return " ".join(filter(None, (self.statement.words, ".".join(self.effect.name))))

    @property
    def where(self) -> str:
        place = f"{self.script.migration.file}:{self.line}"
        return f"{place}: statement {self.number} of {self.script.statements} ({self.what})"

    @property
    def fields(self) -> dict[str, Any]:
        """What every log line about it says."""
        return {
            "version": self.version,
            "statement": self.number,
            "statements": self.script.statements,
            "what": self.what,
        }

    def intent(self, run_id: str, before: Sight) -> Intent:
        """What is written before it is sent."""
        effect = self.effect.as_json()
        return Intent(
            self.number, run_id, self.sha256, self.what, self.line, effect, before.as_json()
        )

    def message(self, text: str, starts: int, results_before: int = 0) -> Message:
        """`text`, in which the statement begins at `starts`, as errors are located in."""
        return Message(
            text.encode(),
            results_before=results_before,
            body_starts=starts,
            body_ends=starts + len(self.text),
            line=self.statement.line,
            column=self.statement.column,
            statements=1,
        )


def steps(script: Script) -> Iterator[FileStatement]:
    """All statements of a file that was found fit to run outside a transaction."""
    for number, (statement, text) in enumerate(texts(script.pieces), 1):
        effect = effect_of(text, statement.kind) or Effect(Act.ASK)
        yield FileStatement(script, number, statement, text, effect)


#: The command that goes on with what was interrupted.
COMMAND_OF = {Way.FORTH: "up", Way.BACK: "rollback"}


def outcome_of(version: str, progress: Progress) -> str:
    """What a migration or its undo has come to, for the person on call."""
    done = ", ".join(map(str, sorted(progress.done)))
    back = progress.way is Way.BACK
    if not progress.started:
        if back:
            return f"{version} is still applied, and nothing of it was undone"
        return f"{version} is not applied, and nothing of it is left"
    parts = [f"{f'the undo of {version}' if back else version} is not finished"]
    if done:
        parts.append(f"done and committed: statement {done}")
    if progress.interrupted is not None:
        parts.append(f"statement {progress.interrupted.number} is to be settled")
    return "; ".join(parts)


def undecided(step: FileStatement, verdict: Verdict, way: Way = Way.FORTH) -> DirtyError:
    """What only a person can answer, with the two commands that answer it."""
    version = step.version
    return DirtyError(
        f"{step.where} was interrupted: has it taken effect? Seen: {verdict.seen}",
        remedy=f"If it has: `repair --done {version} --reason WHY`, which goes on after it. If "
        f"it has not, once nothing of it is left: `repair --retry {version} --reason WHY`, "
        f"which lets the next `{COMMAND_OF[way]}` run it again.",
        version=version,
        file=step.script.migration.file,
        line=step.line,
        seen=verdict.seen,
    )


def in_the_way(step: FileStatement, verdict: Verdict, found: Sight) -> DirtyError:
    """An INVALID index that was there before, which the statement would pass over."""
    return DirtyError(
        f"{step.where}: {verdict.seen}; the statement would pass it over",
        remedy=f"DROP INDEX CONCURRENTLY {found.name}, or fix it with REINDEX INDEX CONCURRENTLY; "
        "then run again.",
        version=step.version,
        file=step.script.migration.file,
        line=step.line,
        seen=verdict.seen,
    )


def escaped(kept_by: int | None) -> str:
    """What to do about a lock that was lost; `kept_by` is the pooler's backend that may keep it."""
    remedy = (
        "DIRECT_URL must bypass the pooler or reach it in session mode; and the file may not "
        "release the lock."
    )
    if kept_by is None:
        return remedy
    return (
        f"{remedy} The pooler's backend {kept_by} may keep the lock, which other runners wait for: "
        f"once it is idle, `SELECT pg_terminate_backend({kept_by})`."
    )


def check_settled(script: Script, progress: Progress) -> None:
    """DirtyError when a statement that was interrupted has been taken out of the file since."""
    intent = progress.interrupted
    if intent is None:
        return
    version, file = script.migration.version, script.migration.file
    raise DirtyError(
        f"{file}: statement {intent.number} ({intent.what}) was interrupted, and the file has it "
        "no more: what has it left?",
        remedy=f"Restore it, and the next `{COMMAND_OF[progress.way]}` settles it; or, once "
        f"nothing of it is left: `repair --retry {version} --reason WHY`, which goes on without "
        "it.",
        version=version,
        file=file,
    )


def check_unchanged(script: Script, progress: Progress) -> None:
    """DirtyError when what has run is not what the file says; the rest may have been fixed."""
    if not progress.done:
        return
    texts = {step.number: step.sha256 for step in steps(script) if step.number in progress.done}
    version, file = script.migration.version, script.migration.file
    back = progress.way is Way.BACK
    whole = "is there again" if back else "has taken effect"
    nothing = "is left" if back else "has"
    for number, digest in sorted(progress.done.items()):
        if texts.get(number) != digest:
            raise DirtyError(
                f"{file}: statement {number} has run, and the file has changed it since",
                remedy=f"Restore the file; or `repair --applied {version} --reason WHY` when all "
                f"of {'the migration' if back else 'it'} {whole}, "
                f"`repair --not-applied {version} --reason WHY` when nothing of it {nothing}.",
                version=version,
                file=file,
            )


def tampered(script: Script, what: str, outcome: str) -> DirtyError:
    """The file has changed our own tables, on which all depends that is known of it."""
    return DirtyError(
        f"{script.migration.file}: the file changed migrator's own history: {what}",
        remedy="Take that out of the file, or keep the history out of its reach, "
        "in a schema of its own: --migrations-schema NAME (MIGRATIONS_SCHEMA). Restore what the "
        "history lost, from a backup or with `repair`, before the next run.",
        version=script.migration.version,
        outcome=outcome,
    )
