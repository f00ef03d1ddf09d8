"""The last line of a terminal while a migration is under way, with a clock that moves.

shown      what the line shows                  next
nothing    no migration is under way            a start: running
running    the start, and how long ago it was   its end replaces it: nothing
                                                anything else: it is written above it, after the
                                                start itself where that was not yet: running
"""

from __future__ import annotations

import contextlib
import logging
import signal
import threading
import time
from collections.abc import Callable
from typing import Protocol

from migrator.cli.cells import Screen, cut
from migrator.cli.phrases import spent
from migrator.cli.terminal import SAID_BY_THE_END, TextFormatter

STARTS = frozenset({"migration.started", "undo.started"})
FINISHES = frozenset({"migration.applied", "migration.undone", "run.finished"})
TICK_SECONDS = 1.0
ERASE = "\r\x1b[K"


class Paper(Protocol):
    """Where lines are written."""

    def write(self, text: str) -> None:
        """Write a text, which is waited for."""

    def touch(self, text: str) -> None:
        """Write a text if that takes no wait."""


class LineHandler(logging.Handler):
    """Writes each event; on a terminal the start of a migration is the running line."""

    def __init__(self, paper: Paper, screen: Callable[[], Screen]) -> None:
        super().__init__()
        self._paper, self._screen, self._text = paper, screen, TextFormatter(screen)
        self.setFormatter(self._text)
        self._running: logging.LogRecord | None = None
        self._kept = False  # the start has a line of its own above the running one
        self._over: threading.Event | None = None

    def emit(self, record: logging.LogRecord) -> None:
        """Under the handler's lock."""
        if record.msg in SAID_BY_THE_END:
            return
        with contextlib.suppress(OSError):  # nobody reads any more: no reason to stop a run
            self._write(record)

    def tick(self) -> None:
        """Show how long it has been by now."""
        self.acquire()
        try:
            if self._running is not None:
                self._paper.touch(self._line(self._running))
        finally:
            self.release()

    def _write(self, record: logging.LogRecord) -> None:
        if record.msg in STARTS and self._screen().moving:
            self._begin(record)
        elif self._running is None:
            self._paper.write(f"{self.format(record)}\n")
        elif record.msg in FINISHES:
            self._end()
            self._paper.write(f"{ERASE}{self.format(record)}\n")
        else:
            start = "" if self._kept else f"{self.format(self._running)}\n"
            self._kept = True
            line = f"{ERASE}{start}{self.format(record)}\n"
            self._paper.write(line + self._line(self._running))

    def _begin(self, record: logging.LogRecord) -> None:
        self._end()
        self._running, self._kept, self._over = record, False, threading.Event()
        self._began = time.monotonic()
        self._paper.write(self._line(record))
        threading.Thread(target=self._go_on, args=(self._over,), daemon=True).start()

    def _end(self) -> None:
        self._running = None
        if self._over is not None:
            self._over.set()

    def _go_on(self, over: threading.Event) -> None:
        """Signals are for the thread that waits: one that came here would not wake it."""
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        while not over.wait(TICK_SECONDS):
            with contextlib.suppress(OSError):
                self.tick()

    def _line(self, start: logging.LogRecord) -> str:
        """One line, however narrow the window is: of a second one a part would stay."""
        seconds = int(time.monotonic() - self._began)
        text = self._text.running(start, spent(seconds * 1000) if seconds else "…")
        return ERASE + cut(text, self._screen().columns - 1)
