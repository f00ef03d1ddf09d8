"""The session for as long as a run lasts: opened, opened anew, waited for, sent again."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from migrator.config import Config
from migrator.display import held
from migrator.durations import Rhythm, limit_seconds
from migrator.errors import AccessError, BusyError, ConfigError, LockedError
from migrator.history.fence import UNTRUSTED, UNWRITTEN, explain, unwritten
from migrator.history.flight import HELD, MOVED, Place
from migrator.history.lock_wait import Wait, as_holder, read_holder
from migrator.masking import Hider
from migrator.model import Event, Tell
from migrator.postgres.connect import open_session
from migrator.postgres.session import LostError, MisreadError, PoolFullError, ServerError, Session
from migrator.postgres.stop import Watch, retry
from migrator.postgres.url import in_session_mode
from migrator.report import blockers_in_words

if TYPE_CHECKING:
    from migrator.apply.diagnosis import Refusal
    from migrator.postgres.blockers import Observer

T = TypeVar("T")

#: Rolled back whole and safe to send again: lock not available, deadlock, serialization failure.
LOCK_REFUSED, DEADLOCK = "55P03", "40P01"
BUSY = frozenset({LOCK_REFUSED, DEADLOCK, "40001"})
READ_ONLY = "25006"
#: How often one migration may lose its connection before it is held to be the reason.
LOSSES = 5
HISTORY = "the history's tables"  #: stands for a version while they are read or prepared


class MovedError(Exception):
    """Another runner changed the history since it was read: read and plan again."""


class TablesBusyError(Exception):
    """A flight was rolled back for want of a lock; `seen` is what is known of who holds it."""

    def __init__(self, error: ServerError, seen: dict[str, Any]) -> None:
        super().__init__(str(error))
        self.error, self.seen = error, seen


@dataclass
class Link:
    """What a run speaks to the database through."""

    config: Config
    run_id: str
    runner: str  #: application_name, migrator/<pod or host>
    watch: Watch
    tell: Tell
    _session: Session | None = None
    _observer: Observer | None = None  #: who looks after the wait at hand, once it is slow
    _unobservable: str | None = None  #: why no second connection is to be had
    _losses: dict[str, int] = field(default_factory=dict)  #: by version, of the whole run
    _busy: dict[str, float] = field(default_factory=dict)  #: seconds of tries, by what was tried
    _own: Session | None = None  #: the same as _session, where that will do
    _misread: bool = False  #: a session was given up for misreading our text
    _encoding: str = "UTF8"  #: how a session read texts when a flight was over
    hide: Hider = field(init=False)  #: for what is stored, or made of what is cut

    def __post_init__(self) -> None:
        self.hide = Hider(self.config.secrets)

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

    def own_session(self) -> Session:
        """A session that keeps what is SET on it and the locks it takes.

        It is direct, or behind a pooler in session mode: Supabase's shared one on port 5432, or
        what DIRECT_URL names. Raises ConfigError when none can be had, and what opening one raises.
        """
        if self._own is None or not self._own.alive:
            self._own = self.reconnecting(self._find_own)
        return self._own

    def _find_own(self) -> Session:
        session = self.session
        target = in_session_mode(session.target)
        if target is None and session.target.name != "DIRECT_URL" and not session.is_direct():
            raise ConfigError(
                f"{session.target} is a pooler of which nobody knows whether it keeps a session, "
                "and no-transaction files need one",
                remedy="Set DIRECT_URL to a URL that bypasses the pooler, or that reaches it in "
                "session mode.",
            )
        if target is None or target == session.target:
            return session
        fields = {
            "target": str(session.target),
            "instead": str(target),
            "reason": "no-transaction files need a session",
        }
        self.tell(Event("connection.rerouted", "info", fields))
        config = self.config
        return open_session((target,), self.runner, config.connect_timeout, self.watch, self.tell)

    @property
    def place(self) -> Place:
        version = self.session.server_version
        return Place(self.config.migrations_schema, self.runner, self.run_id, version)

    def losses(self, version: str) -> int:
        """How often a connection was lost while `version` ran."""
        return self._losses.get(version, 0)

    def count_loss(self, version: str, error: LostError) -> None:
        """One more, said."""
        losses = self._losses[version] = self.losses(version) + 1
        fields = {"version": version, "losses": losses, "error": str(error), "reason": "lost"}
        self.tell(Event("migration.retry", "warning", fields))

    def lost(self) -> None:
        """The session is of no more use; the next one is opened when needed.

        The second connection goes with it: it may be the only one that a pool has to spare.
        """
        self._session = None
        if self._observer is not None:
            self._observer.end()

    def lost_own(self) -> None:
        """As `lost`, of the session of its own; of the other one too, if that is gone as well."""
        if self._session is not None and not self._session.alive:
            self._session = None
        self._own = None

    def close(self) -> None:
        """Let go of the sessions; on a stop roll back what is open first."""
        for session in dict.fromkeys((self._own, self._session)):
            if session is not None:
                if self.watch.stopped_by:
                    session.abandon()
                session.close()
        self._session = self._own = None

    def when_free(self, send: Callable[[], T]) -> T:
        """Do `send` until no other runner holds the lock; LockedError after WAIT_TIMEOUT."""
        waiting: Wait | None = None
        while True:
            busy = sum(self._busy.values())
            try:
                return send()
            except ServerError as error:
                if error.refusal.sqlstate != HELD:
                    raise
                if waiting:
                    waiting.put_off(sum(self._busy.values()) - busy)
                waiting = waiting or Wait(self.config.wait_timeout, self.watch, self.tell)
                waiting.refused(as_holder(error.refusal.detail))
            waiting.until_free(self._holder)

    def _holder(self) -> dict[str, Any] | None:
        """Who holds the lock now; after a LostError the next look opens a session."""
        try:
            return read_holder(self.session, self.config.migrations_schema)
        except LostError:
            self.lost()
            raise

    def tell_notice(self, version: str, text: str) -> None:
        """What the server says while a file runs."""
        severity, _, message = held(text).strip().partition(":")
        level = "warning" if severity == "WARNING" else "debug"
        fields = {"version": version, "notice": message.strip()}
        self.tell(Event("migration.notice", level, fields))

    def read_back(self, encoding: str) -> None:
        """How the session reads texts once a flight is over; `check_encoding` judges it."""
        self._encoding = encoding

    def check_encoding(self) -> None:
        """AccessError when the last flight left a session that does not read UTF-8.

        A pooler may keep a SET of ours from the server. What is sent next would be garbled.
        """
        if self._encoding != "UTF8":
            raise AccessError(
                f"the session reads text as {self._encoding}, not UTF8",
                remedy="Connect without the pooler that changes client_encoding.",
            )

    def refuse_distrusted(self, error: ServerError, outcome: str) -> None:
        """AccessError when our tables cannot be trusted, or a row was not written as sent."""
        refusal = error.refusal
        if refusal.sqlstate in {UNTRUSTED, UNWRITTEN}:
            found = (explain if refusal.sqlstate == UNTRUSTED else unwritten)(refusal.detail)
            found.details["outcome"] = outcome
            raise found from error

    def settle(self, error: ServerError, outcome: str = "nothing was changed") -> None:
        """After a refusal: give the session back clean, and raise what it means for the run.

        Returns when the refusal concerns the file; HELD rises as it is.
        """
        busy = self.tables_busy(error)
        self.session.tidy()
        sqlstate = error.refusal.sqlstate
        if sqlstate == HELD:
            raise error
        if sqlstate == MOVED:
            raise MovedError from error
        self.refuse_distrusted(error, outcome)
        if sqlstate in BUSY:
            raise busy from error
        if sqlstate == READ_ONLY:
            raise AccessError(
                f"the server is read-only: {error.refusal.message}",
                remedy="Connect to the primary; on Supabase, leave read-only mode first.",
            ) from error

    def retrying(
        self,
        what: str,
        send: Callable[[], T],
        lock_timeout: int,
        outcome: str = "nothing was changed",
        spent: Callable[[], float] = float,
    ) -> T:
        """Do `send` again after locks were refused; BusyError after LOCK_RETRY_TIMEOUT.

        That is for all tries of `what` together, however often another runner is sooner. Each wait
        within that lasts goes along with an observer, who sees what blocks it: a wait for a lock
        is refused after `lock_timeout` ms. `outcome` is what a BusyError means, in words; `spent`
        gives the seconds of it that `send` has waited by itself before it was refused.
        """
        before = self._busy.get(what)
        began = None if before is None else time.monotonic()  # the first refusal begins it

        def left() -> float:
            nonlocal began
            now = time.monotonic()
            began = began or now
            limit = limit_seconds(self.config.lock_retry_timeout)
            return limit - (before or 0.0) - (now - began) - spent()

        def tell_retry(error: TablesBusyError, attempt: int) -> None:
            refusal = error.error.refusal
            fields = {
                "version": what,
                "attempt": attempt,
                "reason": "busy",
                "sqlstate": refusal.sqlstate,
                "error": refusal.message,
            }
            self.tell(Event("migration.retry", "warning", {**fields, **error.seen}))

        try:
            with self._observed(what, lock_timeout):
                result = retry(send, self.watch, left, TablesBusyError, tell_retry)
        except TablesBusyError as error:
            refusal = error.error.refusal
            raise BusyError(
                f"{what}: locks were not to be had within LOCK_RETRY_TIMEOUT: {refusal.message}"
                + blockers_in_words(error.seen),
                version=what,
                sqlstate=refusal.sqlstate,
                **error.seen,
                outcome=outcome,
            ) from error
        except ServerError as error:
            if began is not None and error.refusal.sqlstate == HELD:
                self._busy[what] = (before or 0.0) + time.monotonic() - began
            raise
        self._busy.pop(what, None)
        return result

    def reading(self, read: Callable[[], T]) -> T:
        """Do `read` of tables, again while they are busy or the connection gets lost."""

        def once() -> T:
            try:
                return read()
            except ServerError as error:
                self.settle(error)
                raise

        return self.retrying(HISTORY, lambda: self.reconnecting(once), self.config.lock_timeout)

    @contextlib.contextmanager
    def _observed(self, what: str, lock_timeout: int) -> Iterator[None]:
        """Within, a wait that lasts has an observer over a second connection."""
        rhythm = Rhythm.of(lock_timeout, self.config.progress_interval)

        def observer() -> Observer:
            if self._observer is None:
                from migrator.postgres.blockers import Observer  # only a slow run needs it

                self._observer = Observer(
                    lambda: self.session, what, rhythm, self.run_id, self.tell, self._unobservable
                )
            return self._observer

        try:
            with self.watch.accompanied(rhythm.first, observer):
                yield
        finally:
            if self._observer is not None:
                self._unobservable = self._observer.unavailable
                self._observer.end()
                self._observer = None

    def tables_busy(self, error: ServerError) -> TablesBusyError:
        """What a refusal for want of a lock is raised as, on whatever session it came."""
        return TablesBusyError(error, self._seen(error.refusal))

    def _seen(self, refusal: Refusal) -> dict[str, Any]:
        """Who was in the way, for the lines about a refusal; or why nobody can say."""
        if refusal.sqlstate == DEADLOCK:
            return {"detail": refusal.detail}  # pids and lock modes, no values
        if refusal.sqlstate != LOCK_REFUSED:
            return {}
        if self._observer is None:
            return {"blockers_unknown": self._unobservable or "the wait was too short to look"}
        return self._observer.take_seen()

    def admitted(self, send: Callable[[], T]) -> T:
        """Do `send` again while the pooler has no connection to the server to spare for it.

        In a small pool another runner has them all. LockedError after WAIT_TIMEOUT.
        """
        limit = self.config.wait_timeout

        def anew() -> T:
            try:
                return send()
            except MisreadError as error:
                self.lost()
                if self._misread:
                    raise AccessError(
                        f"the session would misread what is sent to it: {error}",
                        remedy="Let the application that shares the pool leave these settings "
                        "alone, or set DIRECT_URL to go around the pooler.",
                    ) from error
                self._misread = True
                raise
            except PoolFullError:
                self.lost()
                raise

        def tell_retry(error: PoolFullError, attempt: int) -> None:
            fields = {"reason": "full", "attempt": attempt, "error": str(error)}
            self.tell(Event("connection.retry", "warning", fields))

        try:
            return retry(anew, self.watch, lambda: limit_seconds(limit), PoolFullError, tell_retry)
        except PoolFullError as error:
            raise LockedError(
                f"the pooler had no connection to spare within WAIT_TIMEOUT: {error}",
                remedy="See who has them all: another runner, or the application. Raise the "
                "pool's size, or set DIRECT_URL to go around it.",
            ) from error

    def reconnecting(self, send: Callable[[], T]) -> T:
        """Do `send`, which may be repeated, on new connections while the old one gets lost."""

        def anew() -> T:
            try:
                return self.admitted(send)
            except LostError:
                self.lost()
                raise

        def tell_retry(error: LostError, attempt: int) -> None:
            fields = {"reason": "lost", "attempt": attempt, "error": str(error)}
            self.tell(Event("connection.retry", "warning", fields))

        limit = self.config.connect_timeout
        return retry(anew, self.watch, lambda: limit_seconds(limit), LostError, tell_retry)
