"""Events -> lines on stderr, JSON or text; and the hiding of secrets."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import select
import time
from collections.abc import Sequence
from typing import Any, TextIO, cast

from migrator.config import LogFormat, LogLevel
from migrator.model import Event, Tell
from migrator.report import in_words

HIDDEN = "***"
#: A string in whatever quotes, within a string of its own too.
QUOTED = r"(?:(?:E|U&)?'+(?:[^'\\]|\\.|'')*'*|(\$\w*\$).*?(?:\2|\Z))"
#: What shows a password that is not one of ours: a sign of it, the pattern, what is left of it.
#: The patterns are compiled when their sign is first met.
PATTERNS = (
    # postgresql://user:password@host, where a pasted password may hold blanks; and other URLs
    ("://", r"(?i)(postgres[\w+]*://[^:@/\n]*:)(?!PASSWORD@HOST).*@", rf"\1{HIDDEN}@"),
    ("://", r"(\w+://[^\s:@/]*:)(?!PASSWORD@HOST)\S*@", rf"\1{HIDDEN}@"),
    # password=… of a connection string or a URL's query
    ("password", r"(?i)(password=)[^\s'\"&]+", rf"\1{HIDDEN}"),
    # CREATE ROLE … PASSWORD '…'; and MySQL's way, which PostgreSQL refuses
    ("password", rf"(?is)(\bpassword\s*(?:=\s*)?){QUOTED}", rf"\1'{HIDDEN}'"),
    ("identified", rf"(?is)(\bidentified\s+by\s+)(?:{QUOTED}|\S+)", rf"\1'{HIDDEN}'"),
)
#: Fields whose values are the job's own words, names and numbers, which no password gets into:
#: a short password that is part of such a word must not garble it, nor be guessed from that.
OWN = frozenset(
    (
        *("applied", "applied_at", "command", "created", "current", "drifted", "instead", "kind"),
        *("backend_type", "locktype", "mode", "phase", "unit", "wait_event"),
        *("late", "migrator", "missing", "parameters", "pending", "reason"),
        *("rolled_back", "run_id", "schema", "setting", "sqlstate", "state", "target", "type"),
        *("version", "would_undo"),
    )
)


class Hider:
    """Takes passwords out of whatever is printed."""

    def __init__(self, secrets: Sequence[str] = ()) -> None:
        self.secrets = list(secrets)

    def __call__(self, value: Any, *, own: bool = False) -> Any:
        """`value` with every secret in its texts replaced; keys are ours and stay.

        In the job's `own` words only what looks like a password by its surroundings is.
        """
        if isinstance(value, str):
            for secret in () if own else sorted(self.secrets, key=len, reverse=True):
                value = value.replace(secret, HIDDEN)
            low = value.lower()
            for sign, pattern, rest in PATTERNS:
                if sign in low:
                    value = re.sub(pattern, rest, value)
            return value
        if isinstance(value, dict):
            return {key: self(item, own=key in OWN) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [self(item, own=own) for item in value]
        return value


def make_tell(
    stream: TextIO, log_format: LogFormat, level: LogLevel, run_id: str, hide: Hider
) -> Tell:
    """A `tell` that writes each event of at least `level` as one line to `stream`."""
    text = log_format is LogFormat.TEXT or (log_format is LogFormat.AUTO and stream.isatty())
    unhurried = _Unhurried(stream)
    out = cast(TextIO, unhurried)
    handler = _ProgressHandler(out) if text else logging.StreamHandler(out)
    handler.setFormatter(_TextFormatter() if text else _json_formatter(run_id))
    logger = logging.Logger("migrator", level.value.upper())
    logger.addHandler(handler)

    def tell(event: Event) -> None:
        number = logging.getLevelNamesMapping()[event.level.upper()]
        logger.log(number, event.name, extra={"fields": hide(event.fields)})
        if lines := unhurried.missed:
            unhurried.missed = 0
            tell(Event("lines.lost", "warning", {"lines": lines}))

    return tell


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
        fields: dict[str, Any] = dict(record.__dict__["fields"])
        error = fields.pop("error", None) if record.msg == "run.finished" else None
        if error is not None:
            return _error_text(fields, error)
        if record.msg == "run.finished":
            return f"done: {fields['command']}, {fields['outcome']}, in {fields['duration_ms']} ms"
        if record.msg == "migration.failed":  # told in full by run.finished
            fields = {"version": fields["version"], "sqlstate": fields.get("sqlstate")}
        if "version" in fields:
            fields.pop("file", None)  # it says no more to a person
        if "blockers" in fields:
            fields["blockers"] = [in_words(blocker) for blocker in fields["blockers"]]
        words = [str(fields.pop(name)) for name in ("version",) if fields.get(name)]
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


def _error_text(result: dict[str, Any], error: dict[str, Any]) -> str:
    """The end of a failed run, as somebody reads it at three in the morning."""
    lines = [f"\nFAILED ({error['type']}, exit code {result['exit_code']})", error["message"]]
    if error.get("source_line") is not None:
        lines += [f"    {error['source_line']}", f"    {error['caret']}"]
    for finding in result.get("findings", ()):
        place = finding["file"] + (f":{finding['line']}" if finding["line"] else "")
        lines.append(f"  - {place}: {finding['problem']}. {finding['remedy']}")
    labels = {"detail": "detail", "hint": "hint", "context": "inside", "holder": "holder"}
    lines += [f"  {label}: {error[name]}" for name, label in labels.items() if error.get(name)]
    lines += [f"  database: {result['outcome']}", f"  what to do: {error['remedy']}"]
    if error.get("traceback"):
        lines.append(error["traceback"])
    return "\n".join(lines)


def _says(value: Any) -> bool:
    return value not in (None, "", [], {})


def _short(value: Any) -> str:
    if isinstance(value, dict):
        return ",".join(str(item) for item in value.values())
    if isinstance(value, list):
        return ",".join(_short(item) for item in value)
    text = str(value)
    return f'"{text}"' if " " in text else text
