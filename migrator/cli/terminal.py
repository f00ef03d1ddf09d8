"""Events -> text for a person, on a terminal or in a file."""

from __future__ import annotations

import contextlib
import logging
from typing import Any, TextIO

from migrator.display import visible, visible_lines, visible_text
from migrator.report import findings_left_out, in_words


class TextFormatter(logging.Formatter):
    """Aligned text for a person: time, event, version, and the rest as name=value."""

    def format(self, record: logging.LogRecord) -> str:
        return visible_text(self._format(record))  # whatever a line is made of

    def _format(self, record: logging.LogRecord) -> str:
        fields: dict[str, Any] = dict(record.__dict__["fields"])
        error = fields.pop("error", None) if record.msg == "run.finished" else None
        if error is not None:
            return _error_text(fields, error)
        if record.msg == "run.finished":
            outcome = visible(fields["outcome"])
            return f"done: {fields['command']}, {outcome}, in {fields['duration_ms']} ms"
        if "version" in fields:
            fields.pop("file", None)  # it says no more to a person
        if "blockers" in fields:
            fields["blockers"] = [in_words(blocker) for blocker in fields["blockers"]]
        words = [visible(str(fields.pop(name))) for name in ("version",) if fields.get(name)]
        if "step" in fields:
            words.append(f"{fields.pop('step')} of {fields.pop('steps')}")
        if "execution_time_ms" in fields:
            words.append(f"{fields.pop('execution_time_ms')} ms")
        words += [f"{name}={_short(value)}" for name, value in fields.items() if _says(value)]
        mark = {"WARNING": "! ", "ERROR": "! "}.get(record.levelname, "")
        return f"{self.formatTime(record, '%H:%M:%S')}  {record.msg:<20} {mark}{' '.join(words)}"


#: What `run.finished` says again, and more of it.
SAID_BY_THE_END = frozenset({"migration.failed", "run.stopped"})


class ProgressHandler(logging.StreamHandler[TextIO]):
    """Keeps the line of a migration that is under way open until the next line replaces it."""

    open_line = False

    def emit(self, record: logging.LogRecord) -> None:
        if record.msg in SAID_BY_THE_END:
            return
        with contextlib.suppress(OSError):  # nobody reads any more: no reason to stop a run
            self._write(record)

    def _write(self, record: logging.LogRecord) -> None:
        line = self.format(record)
        terminal = self.stream.isatty()
        if self.open_line:
            self.stream.write("\r\x1b[K")
        self.open_line = terminal and record.msg in {"migration.started", "undo.started"}
        self.stream.write(line + (" …" if self.open_line else "\n"))
        self.flush()


#: What the further lines of a text of several begin with in the error's block, where none of ours
#: begins so.
CONTINUED = "  | "


def _error_text(result: dict[str, Any], error: dict[str, Any]) -> str:
    """The end of a failed run, as the person on call reads it at three in the morning."""
    if error.get("stopped_by") == "no":  # the answer to our question: nothing has failed
        return visible(f"stopped: {result['outcome']}")
    message = visible_lines(error["message"], CONTINUED)
    lines = [f"\nFAILED ({error['type']}, exit code {result['exit_code']})", message]
    if error.get("source_line") is not None:
        source = "\t".join(map(visible, error["source_line"].split("\t")))
        lines += [f"    {source}", f"    {error['caret']}"]
    for finding in result.get("findings", ()):
        place = visible(finding["file"]) + (f":{finding['line']}" if finding["line"] else "")
        words = visible(f"{finding['problem']}. {finding['remedy']}")
        lines.append(f"  - {place}: {words}")
    if more := findings_left_out(result):
        lines.append(f"  - … {more} more")
    labels = {"detail": "detail", "hint": "hint", "context": "inside"}
    said = {label: error[name] for name, label in labels.items() if error.get(name)}
    if error.get("holder"):
        said["holder"] = in_words(error["holder"])
    said |= {"database": result["outcome"], "what to do": error["remedy"]}
    lines += [f"  {label}: {visible_lines(str(text), CONTINUED)}" for label, text in said.items()]
    if error.get("traceback"):
        lines.append(visible_lines(error["traceback"], CONTINUED))
    return "\n".join(lines)


def _says(value: Any) -> bool:
    return value not in (None, "", [], {})


def _short(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{visible(str(name))} {_short(item)}" for name, item in value.items())
    if isinstance(value, list):
        return ",".join(_short(item) for item in value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    text = visible(str(value))
    return f'"{text}"' if " " in text else text
