"""What a run did -> Report; Report -> JSON, whole or cut to a size."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from migrator.display import as_json, visible

if TYPE_CHECKING:
    from migrator.model import Finding


class Done(NamedTuple):
    """One migration that this run applied."""

    version: str
    execution_time_ms: int | None  #: None when it is not known, after a lost answer


class Report(NamedTuple):
    """The result of a run, the same in the log, in the termination log and with --json."""

    command: str
    run_id: str
    exit_code: int = 0
    outcome: str = "nothing to do"  #: what happened to the database, one phrase
    target: str | None = None  #: the database, ROLE@HOST:PORT/DATABASE; None when none was sought
    applied: tuple[Done, ...] = ()  #: by this run, in order; these remain whatever came after
    rolled_back: tuple[Done, ...] = ()  #: undone by this run, in order
    pending: tuple[str, ...] = ()  #: versions that are not applied, in order
    current: str | None = None  #: the newest applied version
    findings: tuple[Finding, ...] = ()
    error: dict[str, Any] | None = None  #: type, message, remedy, and what is known beyond
    duration_ms: int = 0

    def as_dict(self) -> dict[str, Any]:
        """Plain values, in the order in which a person wants to read them."""
        found: dict[str, Any] = {
            "command": self.command,
            "exit_code": self.exit_code,
            "outcome": self.outcome,
            "target": self.target,
            "current": self.current,
            "applied": _timed(self.applied),
            "rolled_back": _timed(self.rolled_back),
            "pending": list(self.pending),
            "findings": [finding.as_dict() for finding in self.findings],
            "error": self.error,
            "run_id": self.run_id,
            "duration_ms": self.duration_ms,
        }
        return found


def _timed(entries: Sequence[Done]) -> list[dict[str, Any]]:
    return [{"version": e.version, "execution_time_ms": e.execution_time_ms} for e in entries]


def what_remains(versions: Sequence[str]) -> str:
    """What a run applied before it failed, in the words of an outcome."""
    return f"applied by this run and committed: {', '.join(versions)}"


def what_is_undone(versions: Sequence[str]) -> str:
    """What a run undid before it failed, in the words of an outcome."""
    return f"undone by this run: {', '.join(versions)}"


def blockers_in_words(seen: dict[str, Any]) -> str:
    """Whom an observer saw in the way, as the end of a sentence; empty where nobody was seen."""
    words = "; ".join(in_words(blocker) for blocker in seen.get("blockers", ()))
    relation = seen.get("waits_for", {}).get("relation")
    place = f" on {visible(relation)}" if relation else ""
    return f"; the lock{place} is held or awaited by {words}" if words else ""


#: What of the detail of a log's line the next run reads, and no person.
_FOR_MACHINES = frozenset({"checksum", "sha256", "effect", "before"})
_OF_A_WAIT = ("waited_ms", "waits_for", "blockers", "blockers_unknown")


def for_people(detail: dict[str, Any]) -> dict[str, Any]:
    """What a person reads of the detail of a log's line; a wait comes first, in words."""
    shown = {
        name: value
        for name, value in detail.items()
        if name not in _FOR_MACHINES and value not in (None, [], "")
    }
    try:
        words = _wait_in_words(detail)
    except (TypeError, AttributeError):  # another's line says what it likes
        return shown
    rest = {name: value for name, value in shown.items() if name not in _OF_A_WAIT}
    return {"waited": words, **rest} if words else shown


def _wait_in_words(detail: dict[str, Any]) -> str:
    """How long something was in the way of a migration, and who that was; or nothing."""
    if "waited_ms" not in detail:
        return ""
    relation = detail.get("waits_for", {}).get("relation")
    lock = f"the lock on {visible(relation)}" if relation else "a lock"
    ms = detail["waited_ms"]
    spent = f"{ms} ms" if ms < 1000 else f"{ms / 1000:.1f} s"
    words = "; ".join(in_words(blocker) for blocker in detail.get("blockers", ()))
    if words:
        return f"{spent} behind {words}" + (f", for {lock}" if relation else "")
    unknown = detail.get("blockers_unknown")
    return f"{spent} for {lock}" + (f"; by whom is unknown: {visible(unknown)}" if unknown else "")


def how_to_end_blockers(seen: dict[str, Any]) -> str | None:
    """The remedy with the statements that end whom an observer saw; None where nobody was seen."""
    ends = ", ".join(f"`{end}`" for end in map(how_to_end, seen.get("blockers", ())) if end)
    if not ends:
        return None
    return (
        f"Wait until the transaction in the way has ended, or end it: {ends}. Then run again. "
        "Where many short ones are in the way, raise --lock-timeout (LOCK_TIMEOUT)."
    )


def how_to_end(blocker: dict[str, Any]) -> str:
    """The statement that ends what is in the way; empty where nobody is known."""
    if "prepared_transaction" in blocker:
        name = visible(blocker["prepared_transaction"]).replace("'", "''")
        return f"ROLLBACK PREPARED '{name}'"
    return f"SELECT pg_terminate_backend({blocker['pid']})" if "pid" in blocker else ""


def in_words(other: dict[str, Any]) -> str:
    """One other backend or prepared transaction, for a person."""
    name = next(filter(None, map(other.get, _NAMES)), "an unnamed application")
    if "prepared_transaction" in other:
        name = f"the prepared transaction {other['prepared_transaction']}"
    details = [f"{label}{other[key]}" for key, label in _DETAILS.items() if key in other]
    if "open_seconds" in other:
        details.append(f"transaction open for {other['open_seconds']} s")
    return visible(f"{name} ({', '.join(details)})" if details else name)


_NAMES = ("application_name", "who", "backend_type")
_DETAILS = {"pid": "pid ", "user": "user ", "state": ""}


def at_work_in_words(found: dict[str, Any] | None) -> str:
    """Which runner is at work, on what and since when; empty where none is."""
    if not found:
        return ""
    version = f", on {found['version']}" if "version" in found else ""
    since = f", since {found['since']}" if "since" in found else ""
    return visible(f"at work: {in_words(found)}{version}{since}")


def findings_left_out(answer: dict[str, Any]) -> int:
    """How many findings there are beyond those that a result or an answer lists."""
    listed = len(answer.get("findings", ()))
    return max(0, int(answer.get("findings_count", listed)) - listed)


def fit(result: dict[str, Any], limit: int) -> str:
    """`result` as JSON of at most `limit` bytes of UTF-8, still valid and with its first facts.

    What is too long loses its middle first (long texts), then its tail (long lists, of which
    the count is kept as `<name>_count`).
    """
    for text_limit, list_limit in ((None, None), (600, 20), (300, 8), (120, 3), (60, 1), (24, 0)):
        text = as_json(_cut(result, text_limit, list_limit))
        if len(text.encode()) <= limit:
            return text
    return json.dumps({"exit_code": result.get("exit_code")})


def _cut(value: Any, text_limit: int | None, list_limit: int | None) -> Any:
    if isinstance(value, str):
        return shorten(value, text_limit)
    if isinstance(value, list):
        return [_cut(item, text_limit, list_limit) for item in value[:list_limit]]
    if isinstance(value, dict):
        found = {}
        for key, item in value.items():
            found[key] = _cut(item, text_limit, list_limit)
            if list_limit is not None and isinstance(item, list) and len(item) > list_limit:
                found[f"{key}_count"] = value.get(f"{key}_count", len(item))
        return found
    return value


def shorten(text: str, limit: int | None) -> str:
    if limit is None or len(text) <= limit:
        return text
    half = (limit - 3) // 2
    return f"{text[:half]}...{text[len(text) - half :]}"
