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
from enum import Enum, auto
from typing import Any, Protocol

import psycopg2
from psycopg2 import extensions

from migrator.errors import StoppedError
from migrator.postgres.cancel import STOPS, Canceller

Ends = tuple[list[Any], list[Any]]  # what is waited for: to be read from, to be written to

#: How long the clean-up after a stop may take.
CLEANUP_SECONDS = 0.5


class TimeIsUpError(Exception):
    """A limit that we set ourselves on one wait has passed."""


class State(Enum):
    """What the process is at when a stop comes.

    state                   a stop                            a wait that fails
    WAITING                 cancels the statement             ends the connection; `take_failure`
    CONNECTING              ends the wait, as there is        is raised
                            nothing to cancel
    CLEANING_UP             is not heard: one was before      ends the connection; `take_failure`
    CONNECTING_TO_CLEAN_UP  is not heard                      is raised
    THINKING                raises StoppedError at once       there is none
    CLOSED                  is noted                          there is none

    The first is where each of the others begins and ends, but for the fourth, which is within the
    third, and the last, which does not end.
    """

    WAITING = auto()
    CONNECTING = auto()
    CLEANING_UP = auto()
    CONNECTING_TO_CLEAN_UP = auto()
    THINKING = auto()
    CLOSED = auto()


CONNECTS = (State.CONNECTING, State.CONNECTING_TO_CLEAN_UP)
CLEANS_UP = (State.CLEANING_UP, State.CONNECTING_TO_CLEAN_UP)


class Companion(Protocol):
    """What does a thing of its own while a statement is waited for."""

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
        self.stopped_by: str | None = None  #: SIGTERM, SIGINT, DEADLINE or what `bounded` says
        self._ends = None if deadline_seconds is None else time.monotonic() + deadline_seconds
        self._ends_by = "DEADLINE"
        self._limit: float | None = None
        self._failure: Exception | None = None
        self._state = State.WAITING
        self._companion: tuple[float, Callable[[], Companion]] | None = None
        self._began = 0.0  # the wait at hand (time.monotonic)
        self._woken, self._wake = os.pipe()
        os.set_blocking(self._wake, False)
        extensions.set_wait_callback(self.wait)

    def close(self) -> None:
        """Give psycopg2 back its own way of waiting."""
        self._state = State.CLOSED
        extensions.set_wait_callback(None)
        os.close(self._woken)
        os.close(self._wake)

    def stop(self, reason: str) -> None:
        """Ask for the end; safe in a signal handler."""
        self.stopped_by = self.stopped_by or reason
        if self._state is State.CLOSED:
            return
        with contextlib.suppress(BlockingIOError):
            os.write(self._wake, b"x")
        if self._state is State.THINKING:
            raise self.stopped()

    @contextlib.contextmanager
    def thinking(self) -> Iterator[None]:
        """Within, a signal or the deadline raises StoppedError at once.

        For code in the main thread that holds nothing to let go.
        """
        # the state first: a signal between the two would be noticed by neither
        with self._at(State.THINKING):
            self.check()
            with self._alarm():
                yield

    def check(self) -> None:
        """Raise StoppedError once the end was asked for or the deadline has passed."""
        if self._state in CLEANS_UP:
            return
        if self._ends is not None and time.monotonic() >= self._ends:
            self.stop(self._ends_by)
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
    def bounded(self, seconds: float, by: str) -> Iterator[None]:
        """Within, all that is waited for ends after `seconds` as at a deadline, stopped `by`."""
        before = self._ends, self._ends_by
        ends = time.monotonic() + seconds
        if ends < (math.inf if self._ends is None else self._ends):
            self._ends, self._ends_by = ends, by
        try:
            yield
        finally:
            self._ends, self._ends_by = before

    @contextlib.contextmanager
    def connecting(self, seconds: float) -> Iterator[None]:
        """As `limited`; a stop ends the wait at once, as there is nothing to cancel."""
        cleans_up = self._state in CLEANS_UP
        state = State.CONNECTING_TO_CLEAN_UP if cleans_up else State.CONNECTING
        with self._at(state), self.limited(seconds):
            yield

    @contextlib.contextmanager
    def cleaning_up(self) -> Iterator[None]:
        """As `limited` for CLEANUP_SECONDS, and deaf to stops: one has been heard already."""
        with self._at(State.CLEANING_UP), self.limited(CLEANUP_SECONDS):
            yield

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
            if self._state in CONNECTS:
                raise
            self._failure = error
            _shut_down(connection)

    def attend(self, group: Any, busy: Callable[[], Ends | None]) -> None:
        """Wait for connections that nothing else waits for, as long as `busy` names any.

        On a stop `group` cancels all that is under way, within the time of `wait`. Raises
        StoppedError where something is left then.
        """
        self._until(group, busy)

    def restart(self) -> None:
        """Within a wait: what is waited for from here on is another thing."""
        self._began = time.monotonic()

    def take_failure(self) -> Exception | None:
        """Why the last wait ended the connection, None if it did not."""
        failure, self._failure = self._failure, None
        return failure

    @contextlib.contextmanager
    def _at(self, state: State) -> Iterator[None]:
        before, self._state = self._state, state
        try:
            yield
        finally:
            self._state = before

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
        self._began = time.monotonic()
        canceller: Canceller | None = None
        try:
            while (ends := busy()) is not None:
                reading, writing = ends
                seconds = 0.05 if canceller else 60.0
                if not (canceller or self._state in CLEANS_UP):
                    reads, writes, seconds = self._go_along()
                    reading = [*reading, self._woken, *reads]
                    writing = [*writing, *writes]
                select.select(reading, writing, [], self._shortest(seconds))
                if self._limit is not None and time.monotonic() >= self._limit:
                    raise TimeIsUpError
                try:
                    self.check()
                except StoppedError:
                    if self._state in CONNECTS or (canceller and canceller.over()):
                        raise
                    canceller = canceller or Canceller(connection)
                    canceller.go_on()
        finally:
            if canceller:
                canceller.end()

    def _go_along(self) -> tuple[list[Any], list[Any], float]:
        """A step of the companion, once it is time for him; see `Companion.step`."""
        if self._companion is None or self._state in CONNECTS:
            return [], [], 60.0
        after, get = self._companion
        left = self._began + after - time.monotonic()
        return ([], [], left) if left > 0 else get().step(self._began)

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
