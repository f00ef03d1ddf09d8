"""What a run did -> Report; Report -> JSON, whole or cut to a size."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from migrator.display import as_json, visible

if TYPE_CHECKING:
    from migrator.model import Finding


@dataclass(frozen=True, slots=True)
class Done:
    """One migration that this run applied."""

    version: str
    execution_time_ms: int | None  #: None when it is not known, after a lost answer


@dataclass(frozen=True, slots=True)
class Report:
    """The result of a run, the same in the log, in the termination log and with --json."""

    command: str
    run_id: str
    exit_code: int = 0
    outcome: str = "nothing to do"  #: what happened to the database, one phrase
    applied: tuple[Done, ...] = ()  #: by this run, in order; these stand whatever came after
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


def what_stands(versions: Sequence[str]) -> str:
    """What a run applied before it failed, in the words of an outcome."""
    return f"applied by this run and standing: {', '.join(versions)}"


def what_is_undone(versions: Sequence[str]) -> str:
    """What a run undid before it failed, in the words of an outcome."""
    return f"undone by this run: {', '.join(versions)}"


def as_text(command: str, answer: dict[str, Any], result: dict[str, Any]) -> str:
    """What a command answers on stdout, for a person; empty where the log has said it all."""
    if command == "status":
        return _table(answer.get("migrations", [])) + _findings(result)
    show = _ANSWERS.get(command)
    return show(answer) if show else ""


def undo_text(rows: list[dict[str, Any]]) -> str:
    """What would be undone, in its order, each with what its text says of itself."""
    lines = []
    for row in rows:
        count = "1 statement" if row["statements"] == 1 else f"{row['statements']} statements"
        where = f"the {row['from']} undo" if row["from"] == "stored" else "the undo of the folder"
        name = visible(row["version"])
        lines.append(f"{name} ({row['kind']}, {row['applied_at']}): {where}, {count}")
        text = row["undo"].expandtabs(4).replace("\r\n", "\n")
        lines += [f"    {visible(line)}".rstrip() for line in text.split("\n") if text]
    return "".join(f"{line}\n" for line in lines) or "nothing to undo\n"


def blockers_in_words(seen: dict[str, Any]) -> str:
    """Whom an observer saw in the way, as the end of a sentence; empty where nobody was seen."""
    words = "; ".join(in_words(blocker) for blocker in seen.get("blockers", ()))
    relation = seen.get("waits_for", {}).get("relation")
    place = f" on {visible(relation)}" if relation else ""
    return f"; the lock{place} is held or awaited by {words}" if words else ""


def in_words(other: dict[str, Any]) -> str:
    """One other backend or prepared transaction, for a person."""
    name = other.get("application_name") or other.get("backend_type") or "somebody"
    if "prepared_transaction" in other:
        name = f"the prepared transaction {other['prepared_transaction']}"
    details = [f"{label}{other[key]}" for key, label in _DETAILS.items() if key in other]
    if "open_seconds" in other:
        details.append(f"transaction open for {other['open_seconds']} s")
    return visible(f"{name} ({', '.join(details)})" if details else name)


_DETAILS = {"pid": "pid ", "user": "user ", "state": ""}


#: What of a log line's detail the next run reads, and no person.
_FOR_MACHINES = frozenset({"checksum", "sha256", "effect", "before"})


def details(detail: dict[str, Any]) -> str:
    """What a line of the log says beyond its columns, for a person."""
    return ", ".join(
        visible(f"{name} {_shorten(str(value), 80)}")
        for name, value in detail.items()
        if name not in _FOR_MACHINES and value not in (None, [], "")
    )


def _table(
    rows: list[dict[str, Any]], empty: str = "no migrations\n", hidden: Sequence[str] = ()
) -> str:
    if not rows:
        return empty
    names = list(dict.fromkeys(name for row in rows for name in row if name not in hidden))
    names = [name for name in names if any(row.get(name) not in (None, "") for row in rows)]
    lines = [names, *([_cell(row.get(name)) for name in names] for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(names))]
    return "".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        + "\n"
        for line in lines
    )


def _cell(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "" if value is None else visible(str(value))


def _log(lines: list[dict[str, Any]]) -> str:
    return _table(
        [{**line, "detail": details(line["detail"])} for line in lines],
        "nothing is recorded yet\n",
        hidden=("run_id",),
    )


def _whole(answer: dict[str, Any]) -> str:
    """What `report` answers, part by part."""
    names = ("database", "server", "history", "folder", "migrator", "taken_at", "newest")
    facts = "".join(f"{name:<10}{_cell(answer[name])}\n" for name in names)
    log = f"{_cell(answer['log_unseen'])}\n" if answer["log_unseen"] else _log(answer["log"])
    parts = [
        f"{facts}\n{_cell(answer['verdict'])}\n",
        _table(answer["migrations"]),
        _findings(answer),
        _table(answer["dirty"], ""),
        log,
    ]
    return "\n".join(part for part in parts if part)


def _findings(answer: dict[str, Any]) -> str:
    lines = [
        visible(f"{finding['file']}: {finding['problem']}. {finding['remedy']}")
        for finding in answer["findings"]
    ]
    if more := findings_left_out(answer):
        lines.append(f"… {more} more")
    return "".join(f"{line}\n" for line in lines)


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
        return _shorten(value, text_limit)
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


def _shorten(text: str, limit: int | None) -> str:
    if limit is None or len(text) <= limit:
        return text
    half = (limit - 3) // 2
    return f"{text[:half]}...{text[len(text) - half :]}"


def _planned(answer: dict[str, Any]) -> str:
    if "graph" in answer:
        return str(answer["graph"])
    return _table(answer.get("would_apply", []), "nothing to do\n")


def _undone(answer: dict[str, Any]) -> str:
    return undo_text(answer["would_undo"]) if "would_undo" in answer else ""


#: What the commands answer with, as text.
_ANSWERS: dict[str, Callable[[dict[str, Any]], str]] = {
    "plan": _planned,
    "adopt": lambda answer: _table(answer.get("adoption", [])),
    "rollback": _undone,
    "rehearse": lambda answer: _table(answer["rehearsed"]),
    "history": lambda answer: _log(answer.get("log", [])),
    "report": lambda answer: str(answer["markdown"]) if "markdown" in answer else _whole(answer),
    "repair": lambda answer: f"assumed: {_cell(answer['assumed'])}\n",
    "new": lambda answer: "".join(f"{_cell(path)}\n" for path in answer["created"]),
}
