"""What pending files do to tables in use, as `plan` and `report` answer it -> text and cells."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from migrator.cli.cells import Screen, wrapped
from migrator.display import visible

_Answer = dict[str, Any]
#: What the parts of the answer are called beside a finding.
SHOWN_PARTS = (("findings", ""), ("allowed", "allowed, "), ("advice", "advice, "))


def dangers_text(found: _Answer | None, screen: Screen) -> str:
    """Each with its place, and below it what it does, who is shut out and the safe way."""
    if not found:
        return ""
    lines: list[str] = []
    for name, row in each_danger(found):
        place = f"{screen.place(row['file'])}:{row['line']}"
        lines.append(_folded(f"{place}: {name}{_subject(row)}", screen, "  "))
        for label, text in _said(row):
            lines.append(_folded(text, screen, " " * 13, f"  {label:<11}"))
    for one in found["other"]:
        place = screen.place(one["file"]) + (f":{one['line']}" if one.get("line") else "")
        lines.append(_folded(f"{place}: {one['problem']}. {one['remedy']}", screen, "  "))
    return "".join(f"{line}\n" for line in ("what they do to tables in use:", *lines) if lines)


def each_danger(found: _Answer) -> Iterator[tuple[str, _Answer]]:
    """The rows of the answer, those that count first, each with what it is called."""
    for part, name in SHOWN_PARTS:
        for row in found[part]:
            yield name, row


def _subject(row: _Answer) -> str:
    size = f" ({row['size']})" if row["size"] else ""
    of = row["relation"] if row["class"] == "advice" else f"{row['class']} of {row['relation']}"
    return f"{of}{size}"


def _said(row: _Answer) -> Iterator[tuple[str, str]]:
    yield "does", row["does"]
    if waits := waits_in_words(row):
        yield "shut out", waits
    if row.get("reason"):
        yield "reason", row["reason"]
    else:
        yield "safe way", row["remedy"]


def waits_in_words(row: _Answer) -> str:
    """Who is shut out, and for how long by estimate."""
    return ", ".join(filter(None, (row["shut_out"], row["how_long"] and f"for {row['how_long']}")))


def _folded(text: str, screen: Screen, indent: str, lead: str = "") -> str:
    return wrapped(visible(text), screen.columns, indent, lead)
