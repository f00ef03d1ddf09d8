"""How far a no-transaction migration has come: the lines of its journal, folded.

line                        what is known after it
intent                      the statement was sent, or was about to be: interrupted
outcome                     it is done; nothing is interrupted
failed, rollback_failed     with `undone` nothing is left of it; else as before
repaired: done, retry       the interrupted one is done, or may run again
repaired otherwise, applied, rolled_back      a clean journal
batching                    the first batch of a file is committed; the cursor says how many more
intent or outcome of the other way            a clean journal of that way, then as above
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from enum import Enum
from typing import Any, NamedTuple

#: What a line of the journal says; the value is in the log's column `event`.
INTENT, OUTCOME, FAILED, REPAIRED = "intent", "outcome", "failed", "repaired"
ROLLED_BACK, ROLLBACK_FAILED = "rolled_back", "rollback_failed"
FORGOTTEN = "forgotten"  #: of a repeatable that is pending again; the journal reads no such line
HOOK, HOOK_OWED, HOOK_FAILED = "hook", "hook_owed", "hook_failed"  #: the journal reads none
BATCHING = "batching"  #: of a file in batches
EVENTS = (INTENT, OUTCOME, FAILED, REPAIRED, "applied", ROLLED_BACK, ROLLBACK_FAILED, BATCHING)


class Answer(Enum):
    """What a person said to `repair` about a migration."""

    APPLIED = "applied"  #: all of the file has taken effect
    NOT_APPLIED = "not applied"  #: nothing of it has
    DONE = "done"  #: the interrupted statement has taken effect
    RETRY = "retry"  #: the interrupted statement has not, and may be run again
    ACCEPT = "checksum accepted"  #: the file was changed on purpose after it was applied
    RENAME = "renamed"  #: the file was given another name after it was applied


class Way(Enum):
    """What a line is part of; a line without a `way` in its detail is FORTH."""

    FORTH = "forth"  #: the migration
    BACK = "back"  #: its undo


class How(Enum):
    """How a statement came to be done."""

    RAN = "ran"
    SETTLED = "settled"  #: it was interrupted, and found to have taken effect


class Line(NamedTuple):
    """One line of the journal."""

    version: str
    event: str  #: one of EVENTS
    run_id: str
    detail: dict[str, Any]


class Intent(NamedTuple):
    """A statement that was started and of which no outcome is known."""

    number: int
    run_id: str
    sha256: str  #: of the statement's text
    what: str  #: in words, CREATE INDEX CONCURRENTLY public.orders_day
    line: int  #: of the file
    effect: dict[str, Any]  #: an Effect as JSON
    before: dict[str, Any]  #: what the catalog showed of its object before


class Progress(NamedTuple):
    """How far a migration that is not in the history has come, or the undo of one that is."""

    done: Mapping[int, str] = {}  #: number -> SHA-256 of its text
    spent_ms: int = 0
    interrupted: Intent | None = None
    way: Way = Way.FORTH
    batches: str | None = None  #: of a file in batches: the checksum of its text when it began

    @property
    def started(self) -> bool:
        return bool(self.done) or self.interrupted is not None or self.batches is not None

    def undone(self, number: int) -> Progress:
        """After a refusal of statement `number` that left nothing: of no other it says anything."""
        if self.interrupted is None or self.interrupted.number != number:
            return self
        return self._replace(interrupted=None)


def fold(lines: Iterable[Line]) -> dict[str, Progress]:
    """The progress of each version, from its lines in the order in which they were written."""
    found: dict[str, Progress] = {}
    for line in lines:
        found[line.version] = _after(found.get(line.version, Progress()), line)
    return {version: progress for version, progress in found.items() if progress.started}


def read_lines(rows: Iterable[Sequence[Any]]) -> list[Line]:
    """The rows that `lines_query` gives."""
    return [Line(version, event, run_id, detail) for version, event, run_id, detail in rows]


def _after(progress: Progress, line: Line) -> Progress:
    detail = line.detail
    number = int(detail.get("statement", 0))
    if line.event in {INTENT, OUTCOME} and Way(detail.get("way", "forth")) is not progress.way:
        progress = Progress(way=Way(detail.get("way", "forth")))  # the other one is over
    if line.event == BATCHING:
        return Progress(way=Way(detail.get("way", "forth")), batches=detail["checksum"])
    spent, way = progress.spent_ms, progress.way
    if line.event == INTENT:
        intent = Intent(
            number,
            line.run_id,
            detail["sha256"],
            detail["what"],
            detail["line"],
            detail["effect"],
            detail["before"],
        )
        return Progress(progress.done, spent, intent, way)
    if line.event == OUTCOME:
        spent += int(detail.get("execution_time_ms") or 0)
        return Progress({**progress.done, number: detail["sha256"]}, spent, None, way)
    if line.event in {FAILED, ROLLBACK_FAILED}:
        return progress.undone(number) if detail.get("undone") else progress
    answer = Answer(detail["answer"]) if line.event == REPAIRED else Answer.APPLIED
    if answer is Answer.DONE and progress.interrupted is not None:
        done = {**progress.done, progress.interrupted.number: progress.interrupted.sha256}
        return Progress(done, spent, None, way)
    if answer in {Answer.DONE, Answer.RETRY}:
        return Progress(progress.done, spent, None, way)
    return Progress()
