"""What `report` answers -> a page of Markdown."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

from migrator.cli.tables import details
from migrator.display import visible, with_short_checksums
from migrator.report import at_work_in_words, findings_left_out

NOTHING = "none\n"


def as_markdown(answer: dict[str, Any]) -> str:
    """What `report` answers, see `commands.report`, as a page with headings and tables."""
    log = _table(_LOG, map(_line, answer["log"]))
    parts = [
        f"# Migrations of {code(answer['database'])}\n",
        f"{text(answer['verdict'])}\n",
        *([f"{text(busy)}\n"] if (busy := at_work_in_words(answer["at_work"])) else []),
        _table(_FACTS, ([name, code(answer[key])] for name, key in _FACTS_SHOWN)),
        "## Findings\n",
        _table(_FINDING, map(_finding, answer["findings"])),
        *([f"… {more} more\n"] if (more := findings_left_out(answer)) else []),
        "## Dirty migrations\n",
        _table(_DIRTY, map(_dirty, answer["dirty"])),
        "## Migrations\n",
        _table(_MIGRATION, map(_migration, answer["migrations"])),
        "## Requirements\n",
        f"```mermaid\n{answer['graph']}```\n" if "[" in answer["graph"] else NOTHING,
        "## Log\n",
        f"{text(answer['log_unseen'])}\n" if answer["log_unseen"] else log,
    ]
    return "\n".join(parts)


def fleet_as_markdown(answer: dict[str, Any]) -> str:
    """What `fleet` answers: how many at which version, which failed and why, which are behind."""
    failed = [one for one in answer["outcomes"] if one["exit_code"]]
    done = [one for one in answer["outcomes"] if not one["exit_code"]]
    behind = [one for one in done if one["pending"]]
    blocked = [one for one in done if one["verdict"]]
    parts = [
        "# Migrations of the fleet\n",
        _table(("", ""), ([text(name), str(answer[name])] for name in _COUNTS)),
        "## Versions\n",
        _table(_VERSION, ([code(v["version"]), str(v["members"])] for v in answer["versions"])),
        "## Failed\n",
        _table(_FAILED, map(_failed, failed)),
        "## Would fail\n",
        _table(_BLOCKED, ([*_who(one), text(one["verdict"])] for one in blocked)),
        "## Behind\n",
        _table(_BEHIND, map(_behind, behind)),
        "## Not run\n",
        _table(("member",), ([code(name)] for name in answer["not_run"])),
    ]
    return "\n".join(parts)


def text(value: object) -> str:
    """`value` as words of a page or a cell, whatever characters it holds.

    What is between back-ticks, as names and commands do in our own texts, stays code.
    """
    said = visible(
        " ".join(with_short_checksums(str(value)).split())
    )  # a line end in prose is a blank
    pieces = re.split("(?<!`)`([^`]+)`(?!`)", said)
    words = (code(p) if place % 2 else _escaped(p) for place, p in enumerate(pieces))
    return " ".join("".join(words).split())


def code(value: object) -> str:
    """`value` as it is, as a name in a page or a cell; nothing for None."""
    if value is None:
        return ""
    words = " ".join(visible(str(value)).split()).replace("|", "\\|")
    fence = "`" * (1 + max(map(len, re.findall("`+", words)), default=0))
    blank = " " if words.startswith("`") or words.endswith("`") else ""
    return f"{fence}{blank}{words}{blank}{fence}"


def _escaped(words: str) -> str:
    escaped = re.sub(r"([\\`*_\[\]|~#])", r"\\\1", words)
    return escaped.replace("&", "&amp;").replace("<", "&lt;")


_FACTS = ("", "")
_FACTS_SHOWN = (
    ("at", "taken_at"),
    ("server", "server"),
    ("history", "history"),
    ("folder", "folder"),
    ("format", "format"),
    ("migrator", "migrator"),
    ("newest applied", "newest"),
)
_FINDING = ("file", "line", "problem", "what to do")
_DIRTY = ("version", "done", "interrupted")
_MIGRATION = ("version", "state", "kind", "applied at", "ms")
_LOG = ("at", "event", "version", "runner", "ms", "why", "detail")


_COUNTS = ("members", "done", "failed", "behind", "left")
_VERSION = ("version", "members")
_FAILED = ("member", "version", "code", "outcome", "why", "what to do")
_BLOCKED = ("member", "version", "why")
_BEHIND = ("member", "version", "pending", "first of them")


def _who(member: dict[str, Any]) -> list[str]:
    return [code(member["name"]), code(member["current"])]


def _failed(member: dict[str, Any]) -> list[str]:
    why = [text(member[name] or "") for name in ("outcome", "error", "remedy")]
    return [*_who(member), str(member["exit_code"]), *why]


def _behind(member: dict[str, Any]) -> list[str]:
    pending = member["pending"]
    return [*_who(member), str(len(pending)), code(pending[0])]


def _finding(found: dict[str, Any]) -> list[str]:
    line = "" if found["line"] is None else str(found["line"])
    return [code(found["file"]), line, text(found["problem"]), text(found["remedy"])]


def _dirty(row: dict[str, Any]) -> list[str]:
    return [code(row["version"]), text(row["done"]), text(row["interrupted"])]


def _migration(row: dict[str, Any]) -> list[str]:
    state = f"**{row['state']}**" if row["state"] != "applied" else row["state"]
    kind = f"{row.get('kind') or ''}{', floor' if row.get('floor') else ''}"
    kind += f", {row['phase']}" if row.get("phase") else ""
    spent = row.get("execution_time_ms")
    return [
        code(row["version"]),
        state,
        text(kind),
        text(row.get("applied_at") or ""),
        "" if spent is None else str(spent),
    ]


def _line(line: dict[str, Any]) -> list[str]:
    spent = line["execution_time_ms"]
    return [
        text(line["at"]),
        text(line["event"]),
        code(line["version"]),
        code(line["runner"]),
        "" if spent is None else str(spent),
        text(line["reason"] or ""),
        text(details(line["detail"])),
    ]


def _table(names: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [f"| {' | '.join(row)} |\n" for row in rows]
    if not lines:
        return NOTHING
    return f"| {' | '.join(names)} |\n|{' --- |' * len(names)}\n{''.join(lines)}"
