"""What may end a wait: a signal, the deadline, a limit."""

from __future__ import annotations

import contextlib
import math
import os
import select
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, Protocol

import psycopg2
from psycopg2 import extensions

from migrator.errors import StoppedError
from migrator.postgres.cancel import STOPS, Canceller

Ends = tuple[list[Any], list[Any]]  # what is waited for: to be read from, to be written to

#: How long the clean-up after a stop may take.
TIDY_SECONDS = 0.5


class TimeIsUpError(Exception):
    """A limit that we set ourselves on one wait has passed."""


class Companion(Protocol):
    """Somebody who does a thing of his own while a statement is waited for."""

    def step(self, began: float) -> tuple[list[Any], list[Any], float]:
        """Go on within the wait that `began` then (time.monotonic), never blocking or raising.

        What he waits for himself: to read from, to write to, and for how many seconds at most.
        """


class Watch:
    """What may end a wait: a signal, the run's deadline, or a limit on the wait itself.

    psycopg2 holds signals back while libpq waits, so libpq never waits here: `wait` is its wait
    callback, for every connection of the process.
    """

    def __init__(self, deadline_seconds: float | None = None) -> None:
        self.stopped_by: str | None = None  #: SIGTERM, SIGINT or DEADLINE
        self._ends = None if deadline_seconds is None else time.monotonic() + deadline_seconds
        self._limit: float | None = None
        self._failure: Exception | None = None
        self._connecting = False
        self._deaf = self._closed = self._thinking = False
        self._companion: tuple[float, Callable[[], Companion]] | None = None
        self._woken, self._wake = os.pipe()
        os.set_blocking(self._wake, False)
        extensions.set_wait_callback(self.wait)

    def close(self) -> None:
        """Give psycopg2 back its own way of waiting."""
        self._closed = True
        extensions.set_wait_callback(None)
        os.close(self._woken)
        os.close(self._wake)

    def stop(self, reason: str) -> None:
        """Ask for the end; safe in a signal handler."""
        self.stopped_by = self.stopped_by or reason
        if self._closed:
            return
        with contextlib.suppress(BlockingIOError):
            os.write(self._wake, b"x")
        if self._thinking:
            raise self.stopped()

    @contextlib.contextmanager
    def thinking(self) -> Iterator[None]:
        """Within, a signal or the deadline raises StoppedError at once.

        For code in the main thread that holds nothing to let go.
        """
        self._thinking = True  # first: a signal between the two would be noticed by neither
        try:
            self.check()
            with self._alarm():
                yield
        finally:
            self._thinking = False

    def check(self) -> None:
        """Raise StoppedError once somebody asked for the end or the deadline has passed."""
        if self._deaf:
            return
        if self._ends is not None and time.monotonic() >= self._ends:
            self.stop("DEADLINE")
        if self.stopped_by:
            raise self.stopped()

    @property
    def seconds_left(self) -> float:
        """Until the deadline; infinite without one."""
        return math.inf if self._ends is None else self._ends - time.monotonic()

    def stopped(self) -> StoppedError:
        return StoppedError(f"stopped by {self.stopped_by}", stopped_by=self.stopped_by)

    def sleep(self, seconds: float) -> None:
        """Sleep, unless stopped; then StoppedError."""
        until = time.monotonic() + seconds
        self.check()
        while (left := until - time.monotonic()) > 0:
            select.select([self._woken], [], [], self._shortest(left))
            self.check()

    def join(self, thread: threading.Thread, seconds: float) -> bool:
        """Wait for a thread to end; False when it has not in this time."""
        until = time.monotonic() + seconds
        while thread.is_alive() and (left := until - time.monotonic()) > 0:
            thread.join(min(left, 0.05))
            self.check()
        return not thread.is_alive()

    @contextlib.contextmanager
    def limited(self, seconds: float) -> Iterator[None]:
        """Within, a wait of psycopg2's ends after `seconds`, and with it the connection."""
        before = self._limit
        self._limit = min(time.monotonic() + seconds, before or math.inf)
        try:
            yield
        finally:
            self._limit = before

    @contextlib.contextmanager
    def connecting(self, seconds: float) -> Iterator[None]:
        """As `limited`; a stop ends the wait at once, as there is nothing to cancel."""
        self._connecting = True
        try:
            with self.limited(seconds):
                yield
        finally:
            self._connecting = False

    @contextlib.contextmanager
    def cleaning_up(self) -> Iterator[None]:
        """As `limited` for TIDY_SECONDS, and deaf to stops: one has been heard already."""
        self._deaf = True
        try:
            with self.limited(TIDY_SECONDS):
                yield
        finally:
            self._deaf = False

    @contextlib.contextmanager
    def accompanied(self, after: float, get: Callable[[], Companion]) -> Iterator[None]:
        """Within, whom `get` gives goes along with each wait that lasts over `after` seconds."""
        before, self._companion = self._companion, (after, get)
        try:
            yield
        finally:
            self._companion = before

    def wait(self, connection: Any) -> None:
        """psycopg2's wait callback: until the connection has what it waits for.

        On a stop the statement is cancelled on the server and its end awaited for
        CANCEL_SECONDS. Once connected, a failure is kept for `take_failure` and the socket shut
        down, so that psycopg2 ends by itself: with an exception pending it would call libpq,
        and libpq our hook, which may not run then.
        """
        try:
            self._wait(connection)
        except Exception as error:
            if self._connecting:
                raise
            self._failure = error
            _shut_down(connection)

    def take_failure(self) -> Exception | None:
        """Why the last wait ended the connection, None if it did not."""
        failure, self._failure = self._failure, None
        return failure

    @contextlib.contextmanager
    def _alarm(self) -> Iterator[None]:
        """Within, the deadline comes as a signal does."""
        if self._ends is None:
            yield
            return
        before = signal.signal(signal.SIGALRM, lambda *_: self.stop("DEADLINE"))
        signal.setitimer(signal.ITIMER_REAL, max(0.001, self._ends - time.monotonic()))
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)

    def work(self, connection: Any, do: Callable[[], None]) -> None:
        """Do what refuses a wait callback and blocks inside libpq: COPY. Raises what it raises.

        It is done in a thread, so that a stop is heard here and ends it as it ends `wait`.
        """
        failures: list[BaseException] = []
        done, doing = os.pipe()

        def work() -> None:
            signal.pthread_sigmask(signal.SIG_BLOCK, STOPS)
            try:
                do()
            except BaseException as error:
                failures.append(error)
            finally:
                os.close(doing)

        thread = threading.Thread(target=work, daemon=True)
        extensions.set_wait_callback(None)
        try:
            thread.start()
            self._until(connection, lambda: ([done], []) if not _readable(done) else None)
        except Exception as error:
            self._failure = error
            _shut_down(connection)
        finally:
            thread.join()
            os.close(done)
            extensions.set_wait_callback(self.wait)
        if failures:
            raise failures[0]

    def _wait(self, connection: Any) -> None:
        def busy() -> Ends | None:
            state = connection.poll()
            reading = [connection] if state == extensions.POLL_READ else []
            writing = [connection] if state == extensions.POLL_WRITE else []
            return None if state == extensions.POLL_OK else (reading, writing)

        self._until(connection, busy)

    def _until(self, connection: Any, busy: Callable[[], Ends | None]) -> None:
        """Wait as long as `busy` names what to read from or write to; a stop cancels it."""
        began = time.monotonic()
        canceller: Canceller | None = None
        try:
            while (ends := busy()) is not None:
                reading, writing = ends
                seconds = 0.05 if canceller else 60.0
                if not (canceller or self._deaf):
                    reads, writes, seconds = self._go_along(began)
                    reading = [*reading, self._woken, *reads]
                    writing = [*writing, *writes]
                select.select(reading, writing, [], self._shortest(seconds))
                if self._limit is not None and time.monotonic() >= self._limit:
                    raise TimeIsUpError
                try:
                    self.check()
                except StoppedError:
                    if self._connecting or (canceller and canceller.over()):
                        raise
                    canceller = canceller or Canceller(connection)
                    canceller.go_on()
        finally:
            if canceller:
                canceller.end()

    def _go_along(self, began: float) -> tuple[list[Any], list[Any], float]:
        """A step of the companion, once it is time for him; see `Companion.step`."""
        if self._companion is None or self._connecting:
            return [], [], 60.0
        after, get = self._companion
        left = began + after - time.monotonic()
        return ([], [], left) if left > 0 else get().step(began)

    def _shortest(self, seconds: float) -> float:
        seconds = min(seconds, 60.0)  # select takes no infinity
        for limit in (self._limit, self._ends):
            if limit is not None and not (limit is self._ends and self.stopped_by):
                seconds = min(seconds, max(0.0, limit - time.monotonic()))
        return seconds


def _readable(end: int) -> bool:
    return bool(select.select([end], [], [], 0)[0])


def _shut_down(connection: Any) -> None:
    with contextlib.suppress(OSError, psycopg2.Error):
        ours = socket.socket(fileno=os.dup(connection.fileno()))
        with ours:
            ours.shutdown(socket.SHUT_RDWR)
