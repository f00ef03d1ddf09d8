"""The runners' lock, held on a session of its own while the statements of one file run.

It is a session-level lock: it keeps other runners out, and an orphan of our own too, which holds it
as long as it lives.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from migrator.apply.direction import Direction
from migrator.database.database import CONTENTION, Link
from migrator.database.tries import Cause, own_session, persist
from migrator.durations import limit_seconds
from migrator.errors import AccessError, ConfigError, MigratorError, StoppedError
from migrator.history import journal
from migrator.history.guard import ESCAPED
from migrator.history.place import Limits, marker
from migrator.history.proof import TAMPERED
from migrator.no_transaction.leftover_lock import free_lock, is_left
from migrator.no_transaction.steps import escaped, outcome_of, tampered
from migrator.plan.progress import Progress
from migrator.postgres.session import LostError, ServerError
from migrator.postgres.url import in_session_mode
from migrator.sql.script import Script

_T = TypeVar("_T")
Rows = list[tuple[Any, ...]]


class Hold:
    """One hold of the lock, and what is known of the file meanwhile."""

    def __init__(self, link: Link, script: Script, direction: Direction) -> None:
        self.link, self.script, self.config = link, script, link.config
        self.version, self.way = script.migration.version, direction.way
        self.session = own_session(link)
        self.place = link.place_of(self.session)
        self.progress = Progress(way=self.way)
        self.at = 0  #: the number of the statement that was sent last
        self._holder = 0  #: the server's pid of the backend that took the lock
        self._left_by = 0  #: the same, once it kept the lock that was given back
        self._freed = True  #: nobody keeps it any more
        self._called = direction.called.format(self.version)
        #: Why it is not known what there is of it; empty while `progress` is all of it.
        self.doubt = f"how far {self._called} has come was not read"

    @contextlib.contextmanager
    def taken(self) -> Iterator[None]:
        """Within, the lock is held; whatever ends the run says what it leaves behind.

        Raises ConfigError when a pooler has taken the session away, and so the lock with it.
        """
        with self._giving_back():
            self._take()
            try:
                with self._with_outcome():
                    yield
            except ServerError as error:
                if error.refusal.sqlstate != ESCAPED:
                    raise
                freed = free_lock(self.session, self.place, self._holder, self.link.watch)
                message = f"{self.version}: {error.refusal.message}"
                raise ConfigError(
                    message, remedy=escaped(None if freed else self._holder), outcome=self._outcome
                ) from error
        if self._left_by:
            raise ConfigError(
                f"{self._called}: the pooler kept the lock when it was given back",
                remedy=escaped(None if self._freed else self._left_by),
                outcome=f"all of {self._called} is done and recorded",
            )

    def _take(self) -> None:
        take = journal.take_lock(self.place, self.limits)

        def take_lock() -> Rows:
            self.session = own_session(self.link)  # a waiter may have lost the one before
            return self.session.send(take)

        [(self._holder,)] = persist(self.link, take_lock, (Cause.FULL, Cause.HELD))

    @property
    def keeps_session(self) -> bool:
        """Whether no other client can have the session before we let go of it."""
        direct = self._holder == self.session.backend_pid
        return direct or in_session_mode(self.session.target) is not None

    @property
    def _outcome(self) -> str:
        if self.doubt:
            return f"unknown: {self.doubt}; see `status`"
        return outcome_of(self.version, self.progress)

    @property
    def limits(self) -> Limits:
        """Limits of the file's own, or LOCK_TIMEOUT; STATEMENT_TIMEOUT is not for these files."""
        own = self.script.lock_timeout_ms
        lock_timeout = self.config.lock_timeout if own is None else own
        timeout = self.script.statement_timeout_ms or 0
        return Limits(lock_timeout, timeout, self.config.search_path)

    @contextlib.contextmanager
    def waiting_longer(self, may_wait: bool) -> Iterator[None]:
        """Within, wait longer for locks, where that keeps nobody waiting.

        A build that gives up because some transaction lasts for longer than LOCK_TIMEOUT would
        never end. A limit that the file sets itself stays in force.
        """
        short, long = self.limits.lock_timeout, self.config.lock_retry_timeout
        if not may_wait or limit_seconds(long) <= limit_seconds(short):
            yield
            return
        self.send(journal.patience(short, long))
        yield
        self.send(journal.patience(long, short))

    @contextlib.contextmanager
    def committing(self) -> Iterator[None]:
        """Around what commits by itself: without an answer it is unknown whether it has."""
        try:
            yield
        finally:
            if not self.session.alive:
                self.doubt = f"{self._called} was running, and the server did not answer any more"

    @contextlib.contextmanager
    def _with_outcome(self) -> Iterator[None]:
        """Whatever ends the run says what it leaves behind."""
        try:
            yield
        except StoppedError as error:
            error.details["outcome"] = self._outcome
            with contextlib.suppress(Exception), self.link.watch.cleaning_up():
                detail = {"message": str(error), "undone": False}
                self.session.send(journal.fail(self.place, self.version, self.at, detail, self.way))
            raise
        except MigratorError as error:
            error.details["outcome"] = self._outcome
            raise
        except ServerError as error:
            if error.refusal.sqlstate == ESCAPED:
                raise
            self.link.refuse_distrusted(error, self._outcome)
            if error.refusal.sqlstate == TAMPERED:
                raise tampered(self.script, error.refusal.message, self._outcome) from error
            raise AccessError(
                f"the server refused what the job itself needs: {error}", outcome=self._outcome
            ) from error

    @contextlib.contextmanager
    def _giving_back(self) -> Iterator[None]:
        """Give the lock and the session's settings back, whatever happened."""
        try:
            yield
        finally:
            if self.session.alive and not self.link.watch.stopped_by:
                with contextlib.suppress(LostError, ServerError, StoppedError):
                    self.session.tidy()
                if self._holder not in {0, self.session.backend_pid} and is_left(
                    self.session, self.place, self._holder
                ):
                    self._left_by = self._holder
                    self._freed = free_lock(self.session, self.place, self._holder, self.link.watch)

    def retried(self, send: Callable[[], _T], spent: Callable[[], float] = float) -> _T:
        limit = self.limits.lock_timeout
        return persist(self.link, send, (Cause.BUSY,), self.version, limit, spent=spent)

    def send(self, text: str) -> Rows:
        """A text of our own, by which others know the backend."""
        try:
            return self.session.send(f"{marker(self.place, self.version)} {text}")
        except ServerError as error:
            if error.refusal.sqlstate in CONTENTION:
                raise self.link.tables_busy(error) from error
            raise
