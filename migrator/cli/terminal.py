"""Events -> text for a person, on a terminal or in a file."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from migrator.cli.cells import Screen, cells, pad, wrapped
from migrator.cli.phrases import COLOUR_OF, phrase, spent
from migrator.display import visible, visible_lines, visible_text
from migrator.errors import DriftError
from migrator.report import findings_left_out, in_words

#: What `run.finished` says again, and more of it.
SAID_BY_THE_END = frozenset({"migration.failed", "run.stopped"})
#: The columns before a phrase: the time, and one word.
TIME, WORD = 10, 11
#: On a narrower screen the further lines of a phrase begin at the left.
NARROW = 60


class TextFormatter(logging.Formatter):
    """Lines for a person: the local time, a word, and a phrase; the first one names the zone."""

    def __init__(self, screen: Callable[[], Screen]) -> None:
        super().__init__()
        self._screen, self._zone = screen, ""

    def format(self, record: logging.LogRecord) -> str:
        """One event, in one line or several; without the last line end."""
        fields: dict[str, Any] = dict(record.__dict__["fields"])
        if record.msg == "run.finished":
            return self._end(fields)
        word, said = phrase(record.msg, record.levelname.lower(), fields, self._screen())
        zone = self.formatTime(record, "%Z%z")
        if zone != self._zone:
            self._zone, said = zone, f"{said} (times: {_name(zone)})"
        warned = "yellow" if record.levelno >= logging.WARNING else None
        return self._line(record, word, said, COLOUR_OF.get(word, warned))

    def running(self, record: logging.LogRecord, ago: str) -> str:
        """What began with the event, and how long it has been; one line, of any width."""
        fields = dict(record.__dict__["fields"])
        _, said = phrase(record.msg, record.levelname.lower(), fields, self._screen())
        return visible(f"{self._head(record, 'running')}{said}, {ago}")

    def _head(self, record: logging.LogRecord, word: str) -> str:
        return f"{self.formatTime(record, '%H:%M:%S')}  {pad(word, WORD - 1)} "

    def _line(self, record: logging.LogRecord, word: str, said: str, colour: str | None) -> str:
        """A phrase behind the time of its event."""
        screen = self._screen()
        head = self._head(record, word)
        indent = " " * (TIME + WORD if screen.columns >= NARROW else 2)
        text = wrapped(visible_text(said), screen.columns, indent, head)
        return text[:TIME] + screen.paint(word, colour) + text[TIME + len(word) :]

    def _end(self, result: dict[str, Any]) -> str:
        screen = self._screen()
        if result.get("error") is not None:
            text = visible_text(_error_text(result, result["error"], screen))
            return text.replace("FAILED", screen.paint("FAILED", COLOUR_OF["failed"]), 1)
        outcome = f"{result['command']}, {visible(result['outcome'])}"
        text = visible_text(f"{outcome}, in {spent(result['duration_ms'])}")
        done = screen.paint("done", COLOUR_OF["done"])
        return done + wrapped(text, screen.columns, "  ", "done: ")[4:]


def _name(zone: str) -> str:
    """CET+0100 as CET; a zone without a name, -03-0300, as UTC-03:00."""
    name, offset = zone[:-5], zone[-5:]
    return name if name.isalpha() else f"UTC{offset[:3]}:{offset[3:]}"


#: What the further lines of a text of several begin with in the error's block, where none of ours
#: begins so.
CONTINUED = "  | "


def _error_text(result: dict[str, Any], error: dict[str, Any], screen: Screen) -> str:
    """The end of a failed run, as the person on call reads it at three in the morning."""
    if error.get("stopped_by") == "no":  # the answer to our question: nothing has failed
        return visible(f"stopped: {result['outcome']}")
    lines = [f"\nFAILED ({error['type']}, exit code {result['exit_code']})"]
    lines += _folded(located(error["message"], screen), screen, "    ")
    if error.get("source_line") is not None:
        lines += source(error["source_line"], len(error["caret"]) - 1, screen.columns - 4)
    answered = (result.get("command"), error["type"]) == ("check", "PolicyError")  # on stdout
    for finding in () if answered else result.get("findings", ()):
        place = screen.place(visible(finding["file"]))
        place += f":{finding['line']}" if finding["line"] else ""
        words = visible(f"{finding['problem']}. {finding['remedy']}")
        lines.append(wrapped(f"{place}: {words}", screen.columns, "    ", "  - "))
    if (more := findings_left_out(result)) and not answered:
        lines.append(f"  - … {more} more")
    labels = {"detail": "detail", "hint": "hint", "context": "inside"}
    said = {label: error[name] for name, label in labels.items() if error.get(name)}
    if error.get("holder"):
        said["holder"] = in_words(error["holder"])
    remedy = error["remedy"]
    if result.get("findings") and remedy == DriftError.remedy:  # each of them has its own
        remedy = "For each file what is said of it."
    said |= {"database": result["outcome"], "what to do": remedy}
    for label, text in said.items():
        lines += _folded(str(text), screen, "    ", f"  {label}: ")
    if error.get("traceback"):
        lines.append(visible_lines(error["traceback"], CONTINUED))
    return "\n".join(lines)


def located(message: str, screen: Screen) -> str:
    """A message with the folder before the file that it begins with."""
    file, colon, rest = message.partition(":")
    return message if " " in file else f"{screen.place(file)}{colon}{rest}"


def source(line: str, at: int, width: int) -> tuple[str, str]:
    """A line of a file, and a mark under the character `at`; of a long line what is near it."""
    before, behind = (visible(part.expandtabs(4)) for part in (line[:at], line[at:]))
    left = 0
    while cells(before[left:]) > width * 2 // 3:
        left += 1
    before, kept = before[left:], len(behind)
    while kept and cells(before) + cells(behind[:kept]) > width:
        kept -= 1
    return f"    {before}{behind[:kept]}", f"    {' ' * cells(before)}^"


def _folded(text: str, screen: Screen, indent: str, lead: str = "") -> list[str]:
    """The lines of a text: its own are marked, those that a narrow screen makes are indented."""
    first, *others = (visible(line) for line in text.split("\n"))
    lines = [wrapped(first, screen.columns, indent, lead)]
    return [*lines, *(wrapped(line, screen.columns, CONTINUED, CONTINUED) for line in others)]
