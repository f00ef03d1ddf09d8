"""Events -> lines on stderr, JSON or text; each on one line, without secrets, and not too many."""

from __future__ import annotations

import logging
import os
import select
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, TextIO, cast

from migrator.config import LogFormat, LogLevel
from migrator.masking import Hider
from migrator.model import Event, Tell

if TYPE_CHECKING:
    from migrator.cli.cells import Screen

#: What the server says beside its answers, and the field that names what it speaks of.
NOTICED = {"migration.notice": "version", "connection.notice": "target"}
#: How many notices of one migration and level are shown; the rest is counted.
NOTICES = 200
#: Events that come while a file is still under way.
WITHIN = {
    *("statement.started", "statement.done", "statement.settled", "batch.progress"),
    "migration.retry",
}


def make_tell(
    stream: TextIO,
    log_format: LogFormat,
    level: LogLevel,
    ids: Mapping[str, str],
    hide: Hider,
    screen: Callable[[], Screen],
) -> Tell:
    """A `tell` that writes each event of at least `level` to `stream`, as JSON on one line each.

    `ids` are on each JSON line: of the run, and of its trace.
    `screen` says what text is made for, as it is by now. An event below the level costs nothing;
    of a file's notices one line says how many they were.
    """
    text = log_format is LogFormat.TEXT or (log_format is LogFormat.AUTO and stream.isatty())
    unhurried = _Unhurried(stream)
    if text:
        from migrator.cli.running_line import LineHandler

        handler: logging.Handler = LineHandler(unhurried, screen)
    else:
        from migrator.cli.json_lines import EventFormatter  # dear to import

        handler = logging.StreamHandler(cast(TextIO, unhurried))
        handler.setFormatter(EventFormatter(ids))
    logger = logging.Logger("migrator", level.value.upper())
    logger.addHandler(handler)
    levels = logging.getLevelNamesMapping()
    notices = _Notices()

    def tell(event: Event) -> None:
        number = levels[event.level.upper()]
        if not logger.isEnabledFor(number):
            notices.leave_out(event)
            return
        for line in notices.admit(event):
            logger.log(levels[line.level.upper()], line.name, extra={"fields": hide(line.fields)})
        if lines := unhurried.missed:
            unhurried.missed = 0
            tell(Event("lines.lost", "warning", {"lines": lines}))

    return tell


class _Notices:
    """Lets the first NOTICES of a migration or a connection pass, and counts the rest."""

    def __init__(self) -> None:
        self._seen: Counter[tuple[str, str, str]] = Counter()
        self._left_out: Counter[tuple[str, str, str]] = Counter()
        self._unseen: Counter[str] = Counter()  #: of a version, below the level

    def leave_out(self, event: Event) -> None:
        """Count `event`, which is below the level."""
        if event.name == "migration.notice":
            self._unseen[str(event.fields.get("version"))] += 1

    def admit(self, event: Event) -> Iterator[Event]:
        """What is to be said: `event`, and before it what was left out since, once that is over."""
        if subject := NOTICED.get(event.name):
            key = event.name, str(event.fields.get(subject)), event.level
            self._seen[key] += 1
            if self._seen[key] > NOTICES:
                self._left_out[key] += 1
                return
        elif event.name != "migration.progress":
            for (name, subject, level), number in self._left_out.items():
                fields = {NOTICED[name]: subject, "notice": f"… {number} more", "more": number}
                yield Event(name, level, fields)
            self._left_out.clear()
            if event.name not in WITHIN:
                for version, number in self._unseen.items():
                    text = f"{number} not shown; LOG_LEVEL=debug shows them"
                    fields = {"version": version, "notice": text, "more": number}
                    yield Event("migration.notice", "info", fields)
                self._unseen.clear()
        yield event


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

    def touch(self, text: str) -> None:
        """Write a short text if it can be written at once; else it is no loss."""
        if self._file is None:
            self._stream.write(text)
        elif not self._lost and select.select([], [self._file], [], 0)[1]:
            os.write(self._file, text.encode(errors="backslashreplace"))

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
