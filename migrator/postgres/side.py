"""One of several sessions that are waited for at once: it never blocks.

state     `step` gives                      next
opening   what the connection waits for     open; LostError: over
open      None                              `begin`: sent
sent      what the connection waits for     answered, which is open; what `Session.send` raises
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import psycopg2
from psycopg2 import extensions

from migrator.display import held
from migrator.postgres.libpq import Connection
from migrator.postgres.session import LostError, Session, expecting
from migrator.postgres.stop import Ends


class SideSession(Session):
    """A session whose answers come while others are waited for."""

    rows: list[tuple[Any, ...]]  #: of the last statement of the message that was answered
    _cursor: Any = None
    _sent = b""

    @property
    def is_waiting(self) -> bool:
        """Whether a message has no answer yet."""
        return self._cursor is not None

    @property
    def hears_commits(self) -> bool:
        """As `count_results`, once that was called."""
        return self._results.hears_commits

    def hear_commits(self, committed: Callable[[], int | None]) -> None:
        """As `hearing_commits`, until another is given."""
        self._results.committed = committed

    def begin(self, sent: bytes) -> None:
        """Send one message; `step` waits for its answer."""
        self._results.reset()
        self.rows, self._sent = [], sent
        self._connection.in_chunks = self._results.takes_rows
        try:
            self._cursor = self._connection.cursor()
            self._cursor.execute(sent)
        except psycopg2.Error as error:
            self._cursor = None
            raise self._after(error, self._sent) from error

    def step(self) -> Ends | None:
        """What is waited for; None when the message is answered. Raises what `send` raises."""
        try:
            ends = poll(self._connection)
        except psycopg2.Error as error:
            self._cursor = None
            raise self._after(error, self._sent) from error
        if ends is None and self._cursor is not None:
            cursor, self._cursor = self._cursor, None
            self.spoken = True
            with expecting(self.target):
                self.rows = cursor.fetchall() if cursor.description else []
            if not self.rows and self._results.value:
                self.rows = [self._results.value]
        return ends


class Side:
    """A connection by the way of a session that there was, and the session that it becomes."""

    def __init__(self, origin: Session) -> None:
        self._origin = origin
        self.session: SideSession | None = None  #: once it is open
        self._connection: Any = None

    def step(self) -> Ends | None:
        """What is waited for; None when there is nothing. Raises what `Session.send` raises."""
        if self.session is not None:
            return self.session.step()
        try:
            if self._connection is None:
                self._connection = self._origin.another(Connection)
            if (ends := poll(self._connection)) is not None:
                return ends
        except psycopg2.Error as error:
            raise LostError(held(str(error)).strip().partition("\n")[0]) from error
        self._connection.opened()
        self.session = self._origin.sister(SideSession, self._connection)
        self.session.count_results()
        return None

    def cancel(self) -> None:
        """Ask the server to end what is under way; blocks."""
        if self.session is not None:
            with contextlib.suppress(psycopg2.Error):
                self._connection.cancel()

    def close(self) -> None:
        """Whatever is under way; the server notices."""
        if self._connection is not None:
            with contextlib.suppress(psycopg2.Error):
                self._connection.close()


def poll(connection: Any) -> Ends | None:
    """A step of a connection that does not block: what it waits for, None when it is through."""
    state = connection.poll()
    if state == extensions.POLL_OK:
        return None
    return ([connection], []) if state == extensions.POLL_READ else ([], [connection])
