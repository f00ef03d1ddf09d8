"""What the whole state of a database and its folder comes to, in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from migrator.errors import MigratorError
from migrator.model import Finding
from migrator.plan.progress import Progress, Way


def verdict(
    failures: Sequence[MigratorError],
    dirty: Sequence[str],
    pending: Sequence[str],
    owed: str | None = None,
    deferred: Sequence[str] = (),
) -> str:
    """What the next `up` would come to, and what it would leave for a later one, in words."""
    dirty = [version for version in dirty if version not in deferred]
    later = f" Left for later: {', '.join(deferred)}." if deferred else ""
    return _coming(failures, dirty, pending, owed) + later


def _coming(
    failures: Sequence[MigratorError],
    dirty: Sequence[str],
    pending: Sequence[str],
    owed: str | None,
) -> str:
    if failures:
        first = failures[0]
        message = "; ".join(failure.message for failure in failures)
        return f"`up` would end with {first.exit_code} ({type(first).__name__}): {message}."
    if dirty:
        return f"`up` would settle what was interrupted and go on with {', '.join(dirty)}."
    if pending:
        return f"`up` would apply {', '.join(pending)}."
    if owed:
        return f"`up` would run {owed}, which is owed."
    return "`up` would have nothing to do."


def way_out(failures: Sequence[MigratorError]) -> str:
    """What to do about the first failure, where no finding says so; it follows the verdict."""
    return f" {failures[0].remedy}" if failures and not failures[0].findings else ""


def unfinished(
    dirty: Sequence[str], undoing: Sequence[str], at_work: Mapping[str, Any] | None
) -> list[Finding]:
    """A finding for each version that began outside a transaction and is not finished."""
    busy = (at_work or {}).get("version")
    found = []
    for version in dirty:
        remedy = "Run `up`: it settles by the catalog what was interrupted, and goes on."
        remedy = WAIT if version == busy else remedy
        found.append(Finding(f"{version}.sql", "was started and is not finished", remedy))
    for version in undoing:
        remedy = "Run `rollback`, which goes on; see `rollback --plan`."
        remedy = WAIT if version == busy else remedy
        problem = "was started and is not finished: the migration is undone in part"
        found.append(Finding(f"{version}.down.sql", problem, remedy))
    return found


def owing(owed: str | None) -> list[Finding]:
    """The finding on a hook that has not run since migrations were applied."""
    problem = "is owed: migrations were applied, and it has not run since"
    return [Finding(owed, problem, "Run `up`.")] if owed else []


WAIT = "Wait: a runner is at work on it."


def started_rows(dirty: Mapping[str, Progress], versions: Sequence[str]) -> list[dict[str, Any]]:
    """How far each of `versions` has come that began outside a transaction and is not finished."""
    rows = []
    for version in versions:
        progress = dirty[version]
        intent = progress.interrupted
        interrupted = "none: the next statement was not started"
        if intent is not None:
            where = f"line {intent.line}, run {intent.run_id}"
            interrupted = f"statement {intent.number} ({intent.what}), {where}"
        done = ", ".join(f"statement {number}" for number in sorted(progress.done)) or "nothing"
        if progress.way is Way.BACK:
            done = f"of its undo: {done}"
        rows.append({"version": version, "done": done, "interrupted": interrupted})
    return rows
