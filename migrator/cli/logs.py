"""Events -> lines on stderr, JSON or text; each on one line, without secrets, and not too many."""

from __future__ import annotations

import contextlib
import logging
import os
import select
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any, TextIO, cast

from migrator.config import LogFormat, LogLevel
from migrator.display import escaped_json, visible, visible_lines, visible_text
from migrator.masking import Hider
from migrator.model import Event, Tell
from migrator.report import findings_left_out, in_words

#: How many notices of one migration and level are shown; the rest is counted.
NOTICES = 200


def make_tell(
    stream: TextIO, log_format: LogFormat, level: LogLevel, run_id: str, hide: Hider
) -> Tell:
    """A `tell` that writes each event of at least `level` as one line to `stream`.

    An event below the level costs nothing.
    """
    text = log_format is LogFormat.TEXT or (log_format is LogFormat.AUTO and stream.isatty())
    unhurried = _Unhurried(stream)
    out = cast(TextIO, unhurried)
    handler = _ProgressHandler(out) if text else logging.StreamHandler(out)
    handler.setFormatter(_TextFormatter() if text else _json_formatter(run_id))
    logger = logging.Logger("migrator", level.value.upper())
    logger.addHandler(handler)
    levels = logging.getLevelNamesMapping()
    notices = _Notices()

    def tell(event: Event) -> None:
        number = levels[event.level.upper()]
        if not logger.isEnabledFor(number):
            return
        for line in notices.admit(event):
            logger.log(levels[line.level.upper()], line.name, extra={"fields": hide(line.fields)})
        if lines := unhurried.missed:
            unhurried.missed = 0
            tell(Event("lines.lost", "warning", {"lines": lines}))

    return tell


class _Notices:
    """Lets the first NOTICES of a migration pass, and says how many more there were."""

    def __init__(self) -> None:
        self._seen: Counter[tuple[str, str]] = Counter()
        self._left_out: Counter[tuple[str, str]] = Counter()

    def admit(self, event: Event) -> Iterator[Event]:
        """What is to be said: `event`, and before it what was left out since, once that is over."""
        if event.name == "migration.notice":
            key = str(event.fields.get("version")), event.level
            self._seen[key] += 1
            if self._seen[key] > NOTICES:
                self._left_out[key] += 1
                return
        elif event.name != "migration.progress":
            for (version, level), number in self._left_out.items():
                fields = {"version": version, "notice": f"… {number} more", "more": number}
                yield Event("migration.notice", level, fields)
            self._left_out.clear()
        yield event


def _json_formatter(run_id: str) -> logging.Formatter:
    from pythonjsonlogger.json import JsonFormatter  # dear to import, and not needed for text

    class Formatter(JsonFormatter):
        def process_log_record(self, log_data: dict[str, Any]) -> dict[str, Any]:
            fields = log_data.pop("fields")
            return {
                "timestamp": log_data["timestamp"].isoformat(timespec="milliseconds"),
                "level": log_data["levelname"].lower(),
                "event": log_data["message"],
                "run_id": run_id,
                **fields,
            }

        def format(self, record: logging.LogRecord) -> str:
            return escaped_json(super().format(record))

    return Formatter(["levelname", "message"], timestamp=True, json_ensure_ascii=False)


#: For so long a line waits for a reader who has stopped reading; it is lost then, and so is each
#: line after it until he reads again. A run that waited for him would hold its locks, deaf.
READER_SECONDS = 1.0
PIPE_BYTES = 4096  # what a pipe that says it is ready takes at once (POSIX, PIPE_BUF)


class _Unhurried:
    """A stream that waits for its reader, but not for ever."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._lost = 0
        self.missed = 0  #: how many lines were lost before the newest, which was not
        self._torn = False  # the last line that was written is not whole
        try:
            self._file: int | None = stream.fileno()
        except (OSError, ValueError, AttributeError):
            self._file = None  # no file: a test's own

    def isatty(self) -> bool:
        return self._stream.isatty()

    def flush(self) -> None:
        """Nothing is kept back."""

    def write(self, text: str) -> None:
        if self._file is None:
            self._stream.write(text)
            return
        self._stream.flush()
        data = ("\n" * self._torn + text).encode(errors="backslashreplace")
        self._torn = False
        ends = time.monotonic() + (0 if self._lost else READER_SECONDS)
        for at in range(0, len(data), PIPE_BYTES):
            seconds = max(0.0, ends - time.monotonic())
            if not select.select([], [self._file], [], seconds)[1]:
                self._lost += 1
                self._torn = at > 0
                return
            os.write(self._file, data[at : at + PIPE_BYTES])
        self.missed, self._lost = self._lost, 0


class _TextFormatter(logging.Formatter):
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
        if record.msg == "migration.failed":  # told in full by run.finished
            fields = {"version": fields["version"], "sqlstate": fields.get("sqlstate")}
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


class _ProgressHandler(logging.StreamHandler[TextIO]):
    """Keeps the line of a migration that is under way open until the next line replaces it."""

    open_line = False

    def emit(self, record: logging.LogRecord) -> None:
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
    """The end of a failed run, as somebody reads it at three in the morning."""
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
        return ",".join(visible(str(item)) for item in value.values())
    if isinstance(value, list):
        return ",".join(_short(item) for item in value)
    text = visible(str(value))
    return f'"{text}"' if " " in text else text
