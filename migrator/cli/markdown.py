"""What `report` answers -> a page of Markdown."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

from migrator.cli.dangers import each_danger, waits_in_words
from migrator.cli.tables import details
from migrator.display import visible, with_short_checksums
from migrator.report import at_work_in_words, findings_left_out


def as_markdown(answer: dict[str, Any]) -> str:
    """What `report` answers, see `commands.report`, as a page with headings and tables.

    What there is nothing of has no heading.
    """
    unseen, busy = answer["log_unseen"], at_work_in_words(answer["at_work"])
    parts = [
        f"# Migrations of {code(answer['database'])}\n",
        f"{text(answer['verdict'])}\n",
        f"{text(busy)}\n" if busy else "",
        "".join(f"- {name}: {code(answer[key])}\n" for name, key in _FACTS if answer[key]),
        _part("Findings", _table(_FINDING, map(_finding, answer["findings"]))),
        f"… {more} more\n" if (more := findings_left_out(answer)) else "",
        _part("What the pending files do to tables in use", _dangers(answer.get("preflight"))),
        _part("Dirty migrations", _table(_DIRTY, map(_dirty, answer["dirty"]))),
        _part("Migrations", _table(_MIGRATION, map(_migration, answer["migrations"]))),
        _part("Requirements", _mermaid(answer["graph"])),
        _part("Log", f"{text(unseen)}\n" if unseen else _table(_LOG, map(_line, answer["log"]))),
    ]
    return "\n".join(part for part in parts if part)


def _part(heading: str, body: str) -> str:
    return f"## {heading}\n\n{body}" if body else ""


def _mermaid(graph: str) -> str:
    return f"```mermaid\n{graph}```\n" if "[" in graph else ""


def fleet_as_markdown(answer: dict[str, Any]) -> str:
    """What `fleet` answers: how many at which version, which failed and why, which are behind."""
    failed = [one for one in answer["outcomes"] if one["exit_code"]]
    done = [one for one in answer["outcomes"] if not one["exit_code"]]
    behind = [one for one in done if one["pending"]]
    blocked = [one for one in done if one["verdict"]]
    parts = [
        "# Migrations of the fleet\n",
        "".join(f"- {name}: {answer[name]}\n" for name in _COUNTS),
        _part(
            "Versions",
            _table(_VERSION, ([code(v["version"]), str(v["members"])] for v in answer["versions"])),
        ),
        _part("Failed", _table(_FAILED, map(_failed, failed))),
        _part(
            "Would fail", _table(_BLOCKED, ([*_who(one), text(one["verdict"])] for one in blocked))
        ),
        _part("Behind", _table(_BEHIND, map(_behind, behind))),
        _part("Not run", _table(("member",), ([code(name)] for name in answer["not_run"]))),
    ]
    return "\n".join(part for part in parts if part)


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
    words = " ".join(visible(str(value)).split())
    fence = "`" * (1 + max(map(len, re.findall("`+", words)), default=0))
    blank = " " if words.startswith("`") or words.endswith("`") else ""
    return f"{fence}{blank}{words}{blank}{fence}"


def _escaped(words: str) -> str:
    """What would be markup; an underscore within a word is none."""
    escaped = re.sub(r"([\\`*\[\]~#]|(?<![A-Za-z0-9_])_+|_+(?![A-Za-z0-9_]))", _backslashed, words)
    return escaped.replace("&", "&amp;").replace("<", "&lt;")


def _backslashed(found: re.Match[str]) -> str:
    return "".join(f"\\{char}" for char in found[0])


def _moment(value: object) -> str:
    """A time to the second."""
    return re.sub(r"(:\d\d)\.\d+", r"\1", text(value))


_FACTS = (
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


def _dangers(found: dict[str, Any] | None) -> str:
    """What pending files do to tables in use; empty where nothing is known."""
    if found is None:
        return ""
    rows = [_danger(name, row) for name, row in each_danger(found)]
    rows += [
        [code(one["file"]), "", "", text(one["problem"]), "", text(one["remedy"])]
        for one in found["other"]
    ]
    return _table(_DANGER, rows)


def _danger(name: str, row: dict[str, Any]) -> list[str]:
    way = f"Allowed: {row['reason']}" if row.get("reason") else row["remedy"]
    said = [row["relation"], row["size"], row["does"], waits_in_words(row), way]
    place = code(f"{row['file']}:{row['line']}")
    return [f"{place} {name}{row['class']}".replace("advice, advice", "advice"), *map(text, said)]


_DANGER = ("file", "table", "size", "what it does", "who is shut out, by estimate", "safe way")


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
        _moment(row.get("applied_at") or ""),
        "" if spent is None else str(spent),
    ]


def _line(line: dict[str, Any]) -> list[str]:
    spent = line["execution_time_ms"]
    return [
        _moment(line["at"]),
        text(line["event"]),
        code(line["version"]),
        code(line["runner"]),
        "" if spent is None else str(spent),
        text(line["reason"] or ""),
        text(details(line["detail"])),
    ]


def _table(names: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [f"| {' | '.join(map(_cell, row))} |\n" for row in rows]
    if not lines:
        return ""
    return f"| {' | '.join(names)} |\n|{' --- |' * len(names)}\n{''.join(lines)}"


def _cell(words: str) -> str:
    """A bar ends a cell, within code too."""
    return words.replace("|", "\\|")
