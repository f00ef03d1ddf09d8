"""What a command answers -> text for a person."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from migrator.cli.cells import Screen, cells, pad, wrapped
from migrator.cli.dangers import dangers_text
from migrator.cli.phrases import COLOUR_OF, spent, words
from migrator.display import visible, visible_text
from migrator.model import NATIVE
from migrator.report import at_work_in_words, findings_left_out, for_people, shorten

_Answer = dict[str, Any]


def as_text(command: str, answer: _Answer, result: _Answer, screen: Screen) -> str:
    """What a command answers on stdout, for a person; empty where the log has said it all."""
    if command == "status":
        busy = at_work_in_words(answer.get("at_work"))
        head = _lines(screen, answer.get("verdict"), _format(answer), busy)
        return head + _table(answer.get("migrations", []), screen) + _findings(result, screen)
    if command == "plan":
        return _planned(answer, screen, "" if result.get("exit_code") else "nothing to do\n")
    show = _ANSWERS.get(command)
    return show(answer, screen) if show else ""


def undo_text(rows: list[_Answer], screen: Screen) -> str:
    """What would be undone, in its order, each with the SQL that would run."""
    lines = []
    for row in rows:
        count = "1 statement" if row["statements"] == 1 else f"{row['statements']} statements"
        name = visible(row["version"])
        where = "the stored undo"
        if row["from"] != "stored":
            where = f"the undo of the folder, {name}.down.sql"
        when = screen.time(str(row["applied_at"]))
        lines.append(f"{name} ({row['kind']}, {when}): {where}, {count}")
        text = row["sql"].expandtabs(4).replace("\r\n", "\n").rstrip("\n")
        lines += [f"    {visible(line)}".rstrip() for line in text.split("\n") if text]
        if row["pending_again"]:
            names = visible(", ".join(row["pending_again"]))
            lines.append(f"  then pending again, until the next `up`: {names}")
    return "".join(f"{line}\n" for line in lines) or "nothing to undo\n"


_VALUE_CHARS = {"waited": 300}  #: of a detail that are shown; of others 80


def details(detail: dict[str, Any]) -> str:
    """What a line of the log says beyond its columns, for a person."""
    return ", ".join(
        f"{visible(name)} {shorten(words(value), _VALUE_CHARS.get(name, 80))}"
        for name, value in for_people(detail).items()
    )


#: What the columns are called that a person reads otherwise than a machine.
_NAMES = {"execution_time_ms": "took", "applied_at": "applied at"}


def _table(
    rows: list[_Answer],
    screen: Screen,
    empty: str = "no migrations\n",
    below: Mapping[str, Callable[[Any], str]] = MappingProxyType({}),
) -> str:
    """One line for each row; where that is wider than the screen, its further cells below it.

    `below` are the fields that have no column, with their words.
    """
    if not rows:
        return empty
    names = list(dict.fromkeys(name for row in rows for name in row if name not in below))
    names = [name for name in names if any(row.get(name) not in (None, "") for row in rows)]
    heads = [_head(name, screen) for name in names]
    lines = [[_cell(name, row.get(name), screen) for name in names] for row in rows]
    widths = [max(map(cells, column)) for column in zip(heads, *lines, strict=True)]
    fits = sum(widths) + 2 * len(widths) - 2 <= screen.columns
    shown = ["  ".join(map(pad, heads, widths)).rstrip()] if fits else []
    for row, line in zip(rows, lines, strict=True):
        shown += [_row(line, widths, screen)] if fits else _block(heads, line, screen)
        more = ", ".join(filter(None, (say(row.get(name)) for name, say in below.items())))
        shown += [wrapped(more, screen.columns, "    ", "    ")] if more else []
    return "".join(f"{line}\n" for line in shown)


def _row(line: Sequence[str], widths: Sequence[int], screen: Screen) -> str:
    padded = [pad(cell, width)[len(cell) :] for cell, width in zip(line, widths, strict=True)]
    painted = [screen.paint(cell, COLOUR_OF.get(cell)) for cell in line]
    return "  ".join(map(str.__add__, painted, padded)).rstrip()


def _block(heads: Sequence[str], line: Sequence[str], screen: Screen) -> list[str]:
    """A row that is wider than the screen: its first cell, and below it the others."""
    said = ", ".join(
        cell if cell in COLOUR_OF else f"{head} {cell}"
        for head, cell in zip(heads[1:], line[1:], strict=True)
        if cell
    )
    if not said:
        return [line[0]]
    first = said.partition(", ")[0]
    shown = wrapped(said, screen.columns, "  ", "  ")[2 + len(first) :]
    return [line[0], f"  {screen.paint(first, COLOUR_OF.get(first))}{shown}"]


def _head(name: str, screen: Screen) -> str:
    zone = f" ({screen.zone.tzname(None)})" if name in _TIMES else ""
    return _NAMES.get(name, name.replace("_", " ")) + zone


_TIMES = frozenset({"at", "applied_at", "taken_at"})


def _cell(name: str, value: Any, screen: Screen) -> str:
    if name in _TIMES and value:
        return visible(screen.time(str(value)))
    if name == "execution_time_ms" and isinstance(value, int):
        return spent(value)
    return "" if value is None else words(value)


def _checked(answer: _Answer, screen: Screen) -> str:
    """What `check` found, the worst first; or the same as a program wants it."""
    if "formatted" in answer:
        return visible_text(str(answer["formatted"]))
    parts = (("", "findings"), ("", "advice"), ("allowed: ", "allowed"))
    lines = [
        f"{screen.place(one['file'])}:{one['line']}: {said}{one['class']}: {one['message']}. "
        + (f"Reason: {one['reason']}." if "reason" in one else one["remedy"])
        for said, part in parts
        for one in answer.get(part, ())
    ]
    return _lines(screen, *lines)


def _locks(found: Sequence[Mapping[str, str]] | None) -> str:
    """What an undo shuts to writers."""
    said = ", ".join(f"{one['relation']} {one['lock']}" for one in found or ())
    return visible(f"the undo locks {said}") if said else ""


def _log(lines: list[_Answer], screen: Screen) -> str:
    said: dict[str, Callable[[Any], str]] = {
        "run_id": lambda _: "",
        "reason": lambda reason: words(reason or ""),
        "detail": lambda detail: details(detail or {}),
    }
    return _table(lines, screen, "nothing is recorded yet\n", said)


def _reported(answer: _Answer, screen: Screen) -> str:
    """The whole state, a page of it, or where a page is."""
    if "html" in answer:
        return f"{words(answer['html'])}\n"
    return visible_text(answer["markdown"]) if "markdown" in answer else _whole(answer, screen)


def _whole(answer: _Answer, screen: Screen) -> str:
    """What `report` answers, part by part."""
    names = ("database", "server", "history", "folder", "format", "migrator", "taken_at", "newest")
    facts = ((name.replace("_", " "), _cell(name, answer[name], screen)) for name in names)
    unseen = answer["log_unseen"]
    parts = [
        "".join(f"{name:<10}{cell}".rstrip() + "\n" for name, cell in facts),
        _lines(screen, answer["verdict"], at_work_in_words(answer["at_work"])),
        _table(answer["migrations"], screen),
        _findings(answer, screen),
        dangers_text(answer.get("preflight"), screen),
        _table(answer["dirty"], screen, ""),
        _lines(screen, unseen) if unseen else _log(answer["log"], screen),
    ]
    return "\n".join(part for part in parts if part)


def _findings(answer: _Answer, screen: Screen) -> str:
    lines = []
    for finding in answer["findings"]:
        place = screen.place(finding["file"])
        place += f":{finding['line']}" if finding.get("line") else ""
        text = visible(f"{place}: {finding['problem']}. {finding['remedy']}")
        lines.append(wrapped(text, screen.columns, "  "))
    if more := findings_left_out(answer):
        lines.append(f"… {more} more")
    return "".join(f"{line}\n" for line in lines)


def _planned(answer: _Answer, screen: Screen, empty: str) -> str:
    if "graph" in answer:
        return visible_text(str(answer["graph"]))
    if "sql" in answer:
        return "\n".join(_statements(file) for file in answer["sql"]) or empty
    adopted = _table(answer.get("adoption", []), screen, "")
    names = ", ".join(answer.get("deferred", ()))
    later = f"left for later: {names}" if names else ""
    more = _lines(screen, later, _format(answer), at_work_in_words(answer.get("at_work")))
    table = _table(answer.get("would_apply", []), screen, empty, _BESIDE)
    harm = dangers_text(answer.get("preflight"), screen)
    return adopted + table + more + (harm and f"\n{harm}")


def _statements(file: _Answer) -> str:
    """A file as it would be sent, statement by statement."""
    lines = [f"-- {file['file']}\n"]
    for text in file["sql"]:
        written = text.strip().expandtabs(4)
        lines.append(visible_text(written if written.endswith(";") else f"{written};") + "\n")
    return "".join(lines)


#: What `plan` says of a file below its row: what is not so of most.
_BESIDE: dict[str, Callable[[Any], str]] = {
    "transaction": lambda found: "outside of a transaction" if found is False else "",
    "repeatable": lambda found: "repeatable" if found else "",
    "requires": lambda found: f"requires {words(found)}" if found else "",
    "locks": lambda found: (
        "locks " + ", ".join(f"{words(name)} ({lock})" for name, lock in found) if found else ""
    ),
}


def _format(answer: _Answer) -> str:
    """Whose rules the folder follows, where they are not our own."""
    found = answer.get("format")
    return f"the folder is read as {found}" if found not in (None, NATIVE) else ""


def _lines(screen: Screen, *texts: str | None) -> str:
    said = (wrapped(visible(text), screen.columns, "  ") for text in texts if text)
    return "".join(f"{line}\n" for line in said)


def _undone(answer: _Answer, screen: Screen) -> str:
    return undo_text(answer["would_undo"], screen) if "would_undo" in answer else ""


#: What the commands answer with, as text.
_ANSWERS: dict[str, Callable[[_Answer, Screen], str]] = {
    "up": lambda answer, screen: _table(answer.get("adoption", []), screen, ""),
    "adopt": lambda answer, screen: _table(answer.get("adoption", []), screen),
    "rollback": _undone,
    "rehearse": lambda answer, screen: _table(
        answer["rehearsed"], screen, below={"undo_locks": _locks}
    ),
    "check": _checked,
    "dump": lambda answer, _screen: f"{words(answer['schema'])}\n",
    "history": lambda answer, screen: _log(answer.get("log", []), screen),
    "report": _reported,
    "repair": lambda answer, screen: (
        wrapped(f"assumed: {words(answer['assumed'])}", screen.columns, "  ") + "\n"
    ),
    "fleet": lambda answer, screen: (
        visible_text(answer["markdown"])
        if "markdown" in answer
        else _table(answer["versions"], screen, "no member is done\n")
    ),
    "new": lambda answer, _screen: "".join(f"{words(path)}\n" for path in answer["created"]),
}
