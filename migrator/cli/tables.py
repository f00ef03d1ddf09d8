"""What a command answers -> text for a person."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from migrator.display import visible
from migrator.report import at_work_in_words, findings_left_out, shorten


def as_text(command: str, answer: dict[str, Any], result: dict[str, Any]) -> str:
    """What a command answers on stdout, for a person; empty where the log has said it all."""
    if command == "status":
        head = _lines(answer.get("verdict"), at_work_in_words(answer.get("at_work")))
        return head + _table(answer.get("migrations", [])) + _findings(result)
    if command == "plan":
        return _planned(answer, "" if result.get("exit_code") else "nothing to do\n")
    show = _ANSWERS.get(command)
    return show(answer) if show else ""


def undo_text(rows: list[dict[str, Any]]) -> str:
    """What would be undone, in its order, each with the SQL that would run."""
    lines = []
    for row in rows:
        count = "1 statement" if row["statements"] == 1 else f"{row['statements']} statements"
        name = visible(row["version"])
        where = "the stored undo"
        if row["from"] != "stored":
            where = f"the undo of the folder, {name}.down.sql"
        lines.append(f"{name} ({row['kind']}, {row['applied_at']}): {where}, {count}")
        text = row["sql"].expandtabs(4).replace("\r\n", "\n").rstrip("\n")
        lines += [f"    {visible(line)}".rstrip() for line in text.split("\n") if text]
        if row["pending_again"]:
            names = visible(", ".join(row["pending_again"]))
            lines.append(f"  then pending again, until the next `up`: {names}")
    return "".join(f"{line}\n" for line in lines) or "nothing to undo\n"


#: What of a log line's detail the next run reads, and no person.
_FOR_MACHINES = frozenset({"checksum", "sha256", "effect", "before"})


def details(detail: dict[str, Any]) -> str:
    """What a line of the log says beyond its columns, for a person."""
    return ", ".join(
        visible(f"{name} {shorten(str(value), 80)}")
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
        f"{facts}\n{_lines(answer['verdict'], at_work_in_words(answer['at_work']))}",
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


def _planned(answer: dict[str, Any], empty: str) -> str:
    if "graph" in answer:
        return str(answer["graph"])
    busy = at_work_in_words(answer.get("at_work"))
    return _table(answer.get("would_apply", []), empty) + _lines(busy)


def _lines(*texts: str | None) -> str:
    return "".join(f"{visible(text)}\n" for text in texts if text)


def _undone(answer: dict[str, Any]) -> str:
    return undo_text(answer["would_undo"]) if "would_undo" in answer else ""


#: What the commands answer with, as text.
_ANSWERS: dict[str, Callable[[dict[str, Any]], str]] = {
    "adopt": lambda answer: _table(answer.get("adoption", [])),
    "rollback": _undone,
    "rehearse": lambda answer: _table(answer["rehearsed"]),
    "history": lambda answer: _log(answer.get("log", [])),
    "report": lambda answer: str(answer["markdown"]) if "markdown" in answer else _whole(answer),
    "repair": lambda answer: f"assumed: {_cell(answer['assumed'])}\n",
    "new": lambda answer: "".join(f"{_cell(path)}\n" for path in answer["created"]),
}
