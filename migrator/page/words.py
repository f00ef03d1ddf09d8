"""Texts of others as parts of a page: escaped, and with commands that can be copied."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from functools import lru_cache

from migrator.commands.table import COMMANDS
from migrator.display import visible, with_short_checksums

#: What is said of a state or an event by its colour, and by a sign for those who see none.
GOOD, WAITING, BAD, NEUTRAL = "good", "waiting", "bad", "plain"
TONES = {
    **dict.fromkeys(("applied", "hook", "baselined", "adopted", "repaired"), GOOD),
    **dict.fromkeys(("pending", "late", "held", "deferred", "intent", "hook_owed"), WAITING),
    **dict.fromkeys(("drifted", "missing", "dirty", "unknown"), BAD),
    **dict.fromkeys(("failed", "rollback_failed", "hook_failed"), BAD),
}


def esc(value: object) -> str:
    """A text of others, in the page or in an attribute."""
    return _escaped(str(value))


@lru_cache(maxsize=4096)  # a log says the same of many lines
def _escaped(text: str) -> str:
    return html.escape(visible(" ".join(with_short_checksums(text).split())))


def name(value: object) -> str:
    """A name in a line of text, which it turns round in no script."""
    text = esc(value)
    return text if text.isascii() else f"<bdi>{text}</bdi>"


def said(value: object) -> str:
    """Words with commands between back-ticks, which can be copied; a mere name is code alone."""
    pieces = re.split("(?<!`)`([^`]+)`(?!`)", str(value))
    return "".join(_code(p) if place % 2 else _words(p) for place, p in enumerate(pieces))


def _code(text: str) -> str:
    return command(text) if " " in text else f"<code>{esc(text)}</code>"


def _words(text: str) -> str:
    """As `esc`, with the blanks at its ends."""
    before, after = " " * text[:1].isspace(), " " * text[-1:].isspace()
    return f"{before}{esc(text)}{after}"


def command(text: str) -> str:
    """A command or a statement, with a button that copies it."""
    typed = esc(text)
    if text.partition(" ")[0] in COMMANDS:
        typed = f"migrator {typed}"
    return (
        f'<span class="copy"><code>{typed}</code>'
        f'<button type="button" aria-label="Copy: {typed}">Copy</button></span>'
    )


def badge(state: str, tone: str | None = None) -> str:
    return f'<span class="badge {tone or TONES.get(state, NEUTRAL)}">{esc(state)}</span>'


def table(caption: str, heads: Sequence[str], rows: Iterable[Sequence[str]], kind: str = "") -> str:
    """A table of cells that are HTML already; the first one of a row is its head."""
    lines = [
        f'<tr><th scope="row">{row[0]}</th>'
        + "".join(
            f'<td data-head="{esc(head)}">{cell}</td>'
            for head, cell in zip(heads[1:], row[1:], strict=True)
        )
        + "</tr>"
        for row in rows
    ]
    head = "".join(f'<th scope="col">{esc(name)}</th>' for name in heads)
    return (
        f'<div class="wide" role="region" tabindex="0" aria-label="{esc(caption)}">'
        f'<table class="{kind}"><caption>{esc(caption)}</caption><thead><tr>{head}</tr></thead>'
        f"<tbody>{''.join(lines)}</tbody></table></div>"
    )


def moment(value: object) -> datetime | None:
    """A time of RFC 3339 in UTC; None for another text."""
    try:
        found = datetime.fromisoformat(str(value))
    except ValueError:
        return None
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)


def clock(value: object) -> str:
    """A time to the second."""
    found = moment(value)
    return esc(value) if found is None else f"{found:%Y-%m-%d %H:%M:%S} UTC"


def since(value: object, taken_at: object) -> str:
    """A time, and how long before the page was made that was."""
    began, ended = moment(value), moment(taken_at)
    if began is None or ended is None or ended < began:
        return clock(value)
    return f"{clock(value)}, {took((ended - began).total_seconds() * 1000)} before this page"


def took(ms: float | None) -> str:
    """A time that passed."""
    if ms is None:
        return ""
    if ms < 1000:
        return f"{ms:.0f} ms"
    if ms < 60_000:
        return f"{ms / 1000:.1f} s"
    minutes, seconds = divmod(round(ms / 1000), 60)
    hours, minutes = divmod(minutes, 60)
    if hours >= 48:
        return f"{hours // 24} days"
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {seconds} s"
