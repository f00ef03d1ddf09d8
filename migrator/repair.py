"""`repair`: a person's answer about one migration, recorded under the lock and never guessed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from migrator import journal
from migrator.database import LostError, ServerError
from migrator.errors import ConfigError, UnreachableError
from migrator.flight import TAIL, Limits, head, opening
from migrator.journal import Answer
from migrator.link import MovedError
from migrator.model import Event, Migration

if TYPE_CHECKING:
    from migrator.runner import Run, View

#: The flags of `repair`, each with the answer that it gives.
ANSWERS = {
    "applied": Answer.APPLIED,
    "not_applied": Answer.NOT_APPLIED,
    "done": Answer.DONE,
    "retry": Answer.RETRY,
}
ASSUMED = {
    Answer.APPLIED: "all of {version} has taken effect; it is recorded as applied and never run",
    Answer.NOT_APPLIED: "nothing of {version} is in the database; `up` runs all of it",
    Answer.DONE: "statement {number} of {version} ({what}) has taken effect; `up` goes on after it",
    Answer.RETRY: "statement {number} of {version} ({what}) has left nothing behind; `up` runs it",
}


@dataclass(frozen=True, slots=True)
class Told:
    """What a person said of one migration, and why."""

    answer: Answer
    version: str
    reason: str


def choose(answers: Mapping[str, str | None], reason: str | None) -> Told:
    """The one answer that was given; ConfigError for none or several, or without a reason."""
    given = [(ANSWERS[name], version) for name, version in answers.items() if version is not None]
    if len(given) != 1 or not (reason or "").strip():
        flags = ", ".join(f"--{name.replace('_', '-')}" for name in ANSWERS)
        raise ConfigError(
            "`repair` takes one answer and a reason",
            remedy=f"Give one of {flags} with the version, and --reason WHY.",
        )
    return Told(*given[0], reason or "")


def record_answer(run: Run, migrations: tuple[Migration, ...], told: Told) -> str:
    """Record the answer; what is assumed from now on, in words.

    Raises ConfigError when the answer does not fit what is recorded, LockedError, and what ends
    any run.
    """
    while True:
        view = run.look(migrations)
        run.prepare(view.history)
        assumed, text = _answered(run, view, told)
        fields = {
            "version": told.version,
            "answer": told.answer.value,
            "assumed": assumed,
            "why": told.reason,
        }
        run.link.tell(Event("repair.assuming", "warning", fields))
        send = partial(_send, run, text)
        try:
            busy = partial(run.link.retrying, told.version, send, run.config.lock_timeout)
            run.link.when_free(busy)
        except MovedError:
            continue
        except LostError as error:
            raise UnreachableError(
                f"the connection was lost while the answer was recorded: {error}",
                version=told.version,
                outcome=f"unknown: `status` shows the state of {told.version}",
            ) from error
        run.outcome = f"recorded: {assumed}"
        return assumed


def _answered(run: Run, view: View, told: Told) -> tuple[str, str]:
    """What the answer comes to, in words and as the message that records it."""
    version, answer = told.version, told.answer
    place = run.link.place
    pending = next((m for m in view.plan.pending if m.version == version), None)
    recorded = any(row.version == version for row in view.plan.applied)
    progress = view.history.dirty.get(version)
    interrupted = progress.interrupted if progress else None
    records = []
    values = {"version": version}
    if answer is Answer.APPLIED:
        if pending is None:
            raise _unfitting(f"{version} is not a pending migration of this folder")
        if pending.repeatable:
            raise _unfitting(f"{version} is a repeatable, which may run again at any time")
        records.append(journal.record(place, pending, "NULL"))
    elif answer is Answer.NOT_APPLIED:
        if not recorded and progress is None:
            raise _unfitting(f"{version} is neither applied nor begun")
        records.append(journal.forget(place, version))
    elif interrupted is None:
        raise _unfitting(f"no statement of {version} was interrupted")
    else:
        values |= {"number": str(interrupted.number), "what": interrupted.what}
    assumed = ASSUMED[answer].format(**values)
    records.append(journal.answer(place, version, answer, told.reason, assumed))
    begin = opening(
        place, Limits(run.config.lock_timeout), f"repair {version}", head(view.history.seen())
    )
    return assumed, ";\n".join((*begin, *records, "COMMIT", *TAIL))


def _send(run: Run, text: str) -> None:
    try:
        run.link.session.send(text)
    except ServerError as error:
        run.link.settle(error)
        raise


def _unfitting(message: str) -> ConfigError:
    return ConfigError(message, remedy="`status` shows which versions there are, and their states.")
