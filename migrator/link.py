"""The session for as long as a run lasts: opened, opened anew, waited for, sent again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from migrator.config import Config
from migrator.connect import open_session
from migrator.database import LostError, ServerError, Session
from migrator.durations import limit_seconds
from migrator.errors import AccessError, BusyError
from migrator.flight import HELD, MOVED, Place
from migrator.lock import as_holder, wait_until_free
from migrator.model import Event, Tell
from migrator.watch import Watch, retry

T = TypeVar("T")

#: Rolled back whole and safe to send again: lock not available, deadlock, serialization failure.
BUSY = frozenset({"55P03", "40P01", "40001"})
READ_ONLY = "25006"
HISTORY = "the history's tables"  #: stands for a version while they are read or prepared


class MovedError(Exception):
    """Another runner changed the history since it was read: read and plan again."""


class TablesBusyError(Exception):
    """A flight was rolled back for want of a lock."""

    def __init__(self, error: ServerError) -> None:
        super().__init__(str(error))
        self.error = error


@dataclass
class Link:
    """What a run speaks to the database through."""

    config: Config
    run_id: str
    runner: str  #: application_name, migrator/<pod or host>
    watch: Watch
    tell: Tell
    _session: Session | None = None

    @property
    def session(self) -> Session:
        """The session, opened when first needed or after it was lost."""
        if self._session is None:
            self._session = open_session(
                self.config.targets,
                self.runner,
                self.config.connect_timeout,
                self.watch,
                self.tell,
            )
        return self._session

    @property
    def place(self) -> Place:
        version = self.session.server_version
        return Place(self.config.migrations_schema, self.runner, self.run_id, version)

    def lost(self) -> None:
        """The session is of no more use; the next one is opened when needed."""
        self._session = None

    def close(self) -> None:
        """Let go of the session; on a stop roll back what is open first."""
        if self._session is not None:
            if self.watch.stopped_by:
                self._session.abandon()
            self._session.close()
            self._session = None

    def when_free(self, send: Callable[[], T]) -> T:
        """Do `send` until no other runner holds the lock; LockedError after WAIT_TIMEOUT."""
        config = self.config
        while True:
            try:
                return send()
            except ServerError as error:
                if error.refusal.sqlstate != HELD:
                    raise
                fields = {"holder": as_holder(error.refusal.detail), "waited_ms": 0}
            self.tell(Event("lock.waiting", "info", fields))
            schema = config.migrations_schema
            wait_until_free(self.session, schema, config.wait_timeout, self.watch, self.tell)

    def settle(self, error: ServerError) -> None:
        """After a refusal: give the session back clean, and raise what it means for the run.

        Returns when the refusal concerns the file; HELD rises as it is.
        """
        self.session.tidy()
        sqlstate = error.refusal.sqlstate
        if sqlstate == HELD:
            raise error
        if sqlstate == MOVED:
            raise MovedError from error
        if sqlstate in BUSY:
            raise TablesBusyError(error) from error
        if sqlstate == READ_ONLY:
            raise AccessError(
                f"the server is read-only: {error.refusal.message}",
                remedy="Connect to the primary; on Supabase, leave read-only mode first.",
            ) from error

    def retrying(self, what: str, send: Callable[[], T]) -> T:
        """Do `send` again after locks were refused; BusyError after LOCK_RETRY_TIMEOUT."""

        def tell_retry(error: TablesBusyError, attempt: int) -> None:
            refusal = error.error.refusal
            fields = {
                "version": what,
                "attempt": attempt,
                "reason": "busy",
                "sqlstate": refusal.sqlstate,
                "error": refusal.message,
            }
            self.tell(Event("migration.retry", "warning", fields))

        try:
            return retry(
                send,
                self.watch,
                lambda: limit_seconds(self.config.lock_retry_timeout),
                TablesBusyError,
                tell_retry,
            )
        except TablesBusyError as error:
            refusal = error.error.refusal
            raise BusyError(
                f"{what}: locks were not to be had within LOCK_RETRY_TIMEOUT: {refusal.message}",
                version=what,
                sqlstate=refusal.sqlstate,
                outcome="nothing was changed"
                if what == HISTORY
                else f"{what} was rolled back and is not applied",
            ) from error

    def reconnecting(self, send: Callable[[], T]) -> T:
        """Do `send`, which may be repeated, on new connections while the old one gets lost."""

        def anew() -> T:
            try:
                return send()
            except LostError:
                self.lost()
                raise

        def tell_retry(error: LostError, attempt: int) -> None:
            fields = {"reason": "lost", "attempt": attempt, "error": str(error)}
            self.tell(Event("connection.retry", "warning", fields))

        limit = self.config.connect_timeout
        return retry(anew, self.watch, lambda: limit_seconds(limit), LostError, tell_retry)
