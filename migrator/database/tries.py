"""Every message is tried again by one table, and what has moved is planned again.

What may go wrong and pass by itself, the outermost first. A trouble of an outer row lets the rows
below it begin anew. `postgres.retry` is the loop; `until_unmoved` is the one for the last row.

    trouble  raised as         budget              event                        before the next try
    lost     LostError         CONNECT_TIMEOUT     connection.retry lost        connect anew
    full     PoolFullError     WAIT_TIMEOUT        connection.retry full        connect anew
    held     ServerError MG002 WAIT_TIMEOUT        lock.waiting                 poll until free
    busy     TablesBusyError   LOCK_RETRY_TIMEOUT  migration.retry busy         only a pause
    moved    MovedError        MOVES looks alike   plan.made                    look and plan again

What ends each: lost: UnreachableError or LostError; full and held: LockedError; busy: BusyError;
moved: RuntimeError, as then a guard of ours contradicts what we read. A lost connection is in the
table only for messages that may be sent twice; of others the caller finds out what became of them.

The errors that steer it. None leaves a run as it is; `cli` says the first two in words.

    Exception
    ├─ ServerError           PostgreSQL answered with an error; the session lives
    ├─ LostError             the connection ended; what was sent may have happened
    │  ├─ SilentError        no answer within a limit; of a session's first answer 20, or 21
    │  └─ PoolFullError      the pooler had no connection: nothing was sent
    │     └─ MisreadError    the session would misread our text: nothing was done; once, then 16
    ├─ TablesBusyError       `settle` makes it of 55P03, 40P01 and 40001: it was rolled back
    └─ MovedError            `settle` makes it of MG001: the history is not what was read
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Iterator, Sequence
from enum import Enum
from functools import partial
from typing import TYPE_CHECKING, Protocol, TypeVar

from migrator.database.database import Link, MovedError, TablesBusyError
from migrator.durations import Rhythm, limit_seconds
from migrator.errors import BusyError, LockedError, UnreachableError
from migrator.history.guard import HELD
from migrator.history.place import Place
from migrator.model import Applied, Event
from migrator.postgres.retry import Trouble, retry
from migrator.postgres.session import (
    LostError,
    MisreadError,
    PoolFullError,
    ServerError,
    Session,
    SilentError,
    expecting,
)
from migrator.report import blockers_in_words, how_to_end_blockers

if TYPE_CHECKING:
    from migrator.history.lock_wait import Wait

_T = TypeVar("_T")
Query = Callable[[Session, Place], _T]  #: what reads over a session, and may do so again

#: How often the history may be said to have moved and be found as it was.
MOVES = 5
HISTORY = "the history's tables"  #: stands for a version while they are read or prepared


class Cause(Enum):
    """The rows of the table that a message may be tried again by, the outermost first."""

    LOST = "lost"
    FULL = "full"
    HELD = "held"
    BUSY = "busy"


#: For what may be sent twice, for what may not, and for what needs no lock of any kind.
REPEATABLE = (Cause.LOST, Cause.FULL, Cause.HELD, Cause.BUSY)
ONCE = (Cause.FULL, Cause.HELD, Cause.BUSY)
CONNECTION = (Cause.LOST, Cause.FULL)


class Looked(Protocol):
    """What one look at the database showed."""

    @property
    def rows(self) -> Sequence[Applied]:
        """The history."""


_L = TypeVar("_L", bound=Looked)


def read_tables(link: Link, query: Query[_T]) -> _T:
    """What `query` reads of tables, again while they are busy or the connection gets lost."""
    effort = _Effort(link, HISTORY, link.config.lock_timeout)

    def once() -> _T:
        session = link.connect()
        with effort.accompanied(), _answering(link, session):
            try:
                return query(session, link.place_of(session))
            except ServerError as error:
                link.settle(error)
                raise

    with effort:
        return retry(once, link.watch, *effort.table((*CONNECTION, Cause.BUSY)))


def ask(link: Link, query: Query[_T], rows: Sequence[Cause] = CONNECTION) -> _T:
    """What `query` answers, again by these rows of the table; a refusal rises as it is."""

    def once() -> _T:
        session = link.connect()
        with _answering(link, session):
            return query(session, link.place_of(session))

    return persist(link, once, rows)


@contextlib.contextmanager
def _answering(link: Link, session: Session) -> Iterator[None]:
    """Within, an answer is read; a session's first has CONNECT_TIMEOUT and the time of a lock.

    Where a pooler may keep a message in its queue, it has WAIT_TIMEOUT. Raises UnreachableError,
    LockedError, or AccessError for an answer of another shape.
    """
    config = link.config
    if session.spoken:
        with expecting(session.target):
            yield
        return
    limit = config.wait_timeout if session.may_queue else config.connect_timeout
    try:
        seconds = limit_seconds(limit) + limit_seconds(config.lock_timeout)
        with link.watch.limited(seconds), expecting(session.target):
            yield
    except SilentError as error:
        link.lost()
        if session.may_queue:
            raise _still_full(error) from error
        raise UnreachableError(
            f"{session.target} accepted the login and gave no answer within CONNECT_TIMEOUT",
            remedy="See what the server, or the pooler in front of it, waits for; then run again.",
            reason="silent",
        ) from error


def persist(
    link: Link,
    send: Callable[[], _T],
    rows: Sequence[Cause],
    what: str | Callable[[], str] = HISTORY,
    lock_timeout: int = 0,
    outcome: str = "nothing was changed",
    spent: Callable[[], float] = float,
) -> _T:
    """Do `send`, and again by these rows of the table.

    With BUSY each try that lasts goes along with an observer, who sees what blocks it: a wait for
    a lock is refused after `lock_timeout` ms. `what`, `outcome` and `spent` are as `_Effort` says;
    where a message carries several things, `what` is asked for the one under way.
    """
    effort = _Effort(link, what, lock_timeout, outcome, spent)

    def accompanied() -> _T:
        with effort.accompanied():
            return send()

    once = accompanied if Cause.BUSY in rows else send
    with effort:
        return retry(once, link.watch, *effort.table(rows))


def own_session(link: Link) -> Session:
    """A session that keeps what is SET on it and the locks it takes.

    It is direct, or behind a pooler in session mode: Supabase's shared one on port 5432, or what
    DIRECT_URL names. Raises ConfigError when there is none, and what opening one raises.
    """
    if link.own is None or not link.own.alive:
        link.own = persist(link, link.find_own, CONNECTION)
    return link.own


def until_unmoved(look: Callable[[], _L], act: Callable[[_L], _T]) -> _T:
    """`act` on what `look` shows; look and act again after each MovedError.

    However often others move the history. RuntimeError when the guard has said MOVES times that it
    moved, and each time the next look found it as it was.
    """
    before: Sequence[Applied] | None = None
    unmoved = 0
    while unmoved < MOVES:
        seen = look()
        unmoved = unmoved + 1 if before == seen.rows else 0
        before = seen.rows
        with contextlib.suppress(MovedError):
            return act(seen)
    raise RuntimeError("the guard sees another history than the one that is read")


class _Effort:
    """One message and all its tries: the table's rows with their budgets, and what they keep.

    LOCK_RETRY_TIMEOUT is for all tries of `what` together, however often another runner takes the
    lock in between; `spent` gives the seconds of it that a try has waited by itself before it was
    refused. `outcome` is what a BusyError means, in words, with {} for it.
    """

    def __init__(
        self,
        link: Link,
        what: str | Callable[[], str],
        lock_timeout: int,
        outcome: str = "nothing was changed",
        spent: Callable[[], float] = float,
    ) -> None:
        self._link, self._outcome, self._spent = link, outcome, spent
        self._asked = what
        self._lock_timeout = lock_timeout
        self._waiting: Wait | None = None  #: for the runners' lock
        self._busy_since: float | None = None
        self._began = 0.0  #: the try at hand
        self._refused_at: float | None = None  #: the newest refusal, while a pause follows it

    def __enter__(self) -> None:
        """Nothing is started before something went wrong."""

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._link.end_observer()
        if kind is None:
            self._link.busy_seconds.pop(self._what, None)

    @property
    def _what(self) -> str:
        return self._asked if isinstance(self._asked, str) else self._asked()

    def accompanied(self) -> contextlib.AbstractContextManager[None]:
        """One try: within, a wait that lasts has an observer over a second connection.

        The first refusal begins the time for busy tables; once it runs, whole tries count.
        """
        self._began = time.monotonic()
        if self._refused_at is not None:
            self._link.delay.add(self._began - self._refused_at)
            self._refused_at = None
        if self._busy_since is None and self._what in self._link.busy_seconds:
            self._busy_since = self._began
        rhythm = Rhythm.of(self._lock_timeout, self._link.config.progress_interval)
        return self._link.watch.accompanied(
            rhythm.first, lambda: self._link.observer(self._what, rhythm)
        )

    def table(self, rows: Sequence[Cause]) -> tuple[Trouble, ...]:
        return tuple(_TABLE[row](self) for row in rows)

    def lost(self) -> Trouble:
        """A new connection, for as long as connecting itself may take."""
        return Trouble(
            LostError,
            lambda: limit_seconds(self._link.config.connect_timeout),
            partial(self._say_connection, "lost"),
            caught=self._drop,
        )

    def full(self) -> Trouble:
        """In a small pool another runner has all connections to the server."""
        return Trouble(
            PoolFullError,
            lambda: limit_seconds(self._link.config.wait_timeout),
            partial(self._say_connection, "full"),
            caught=self._drop,
            over=_still_full,
        )

    def held(self) -> Trouble:
        """Another runner is at work; the wait has an end of its own, LockedError."""
        return Trouble(
            ServerError,
            lambda: math.inf,
            self._wait_until_free,
            fits=lambda error: error.refusal.sqlstate == HELD,
            first_seconds=0.0,
            cap_seconds=0.0,
        )

    def busy(self) -> Trouble:
        """A lock on a table was refused, and with it the whole message."""
        return Trouble(
            *(TablesBusyError, self._busy_left, self._say_busy),
            caught=self._note_busy,
            over=self._still_busy,
        )

    def _note_busy(self, error: TablesBusyError) -> None:
        self._refused_at = time.monotonic()
        self._link.delay.add(self._refused_at - self._began, error.seen)

    def _drop(self, error: LostError) -> None:
        self._busy_since = None
        self._link.lost()
        if isinstance(error, MisreadError):
            self._link.give_up_misreading(error)

    def _say_connection(self, reason: str, error: LostError, attempt: int) -> None:
        fields = {"reason": reason, "attempt": attempt, "error": str(error)}
        self._link.tell(Event("connection.retry", "warning", fields))

    def _wait_until_free(self, error: ServerError, attempt: int) -> None:
        from migrator.history.lock_wait import Wait, as_holder  # for those who meet another runner

        link, ours = self._link, 0.0
        link.end_observer()
        if self._busy_since is not None:  # for so long the lock was ours, and tables were not
            ours = time.monotonic() - self._busy_since
            link.busy_seconds[self._what] = link.busy_seconds.get(self._what, 0.0) + ours
            self._busy_since = None
        if attempt == 1 or self._waiting is None:
            self._waiting = Wait(link.config.wait_timeout, link.watch, link.tell)
        else:
            self._waiting.put_off(ours)
        holder, began = as_holder(error.refusal.detail), time.monotonic()
        self._waiting.refused(holder)
        self._waiting.until_free(link.holder)
        link.delay.add(time.monotonic() - began, {"blockers": [holder] if holder else []})

    def _busy_left(self) -> float:
        now = time.monotonic()
        self._busy_since = self._busy_since or now
        spent = self._link.busy_seconds.get(self._what, 0.0) + now - self._busy_since
        return limit_seconds(self._link.config.lock_retry_timeout) - spent - self._spent()

    def _say_busy(self, error: TablesBusyError, attempt: int) -> None:
        refusal = error.error.refusal
        fields = {
            "version": self._what,
            "attempt": attempt,
            "reason": "busy",
            "sqlstate": refusal.sqlstate,
            "error": refusal.message,
        }
        self._link.tell(Event("migration.retry", "warning", {**fields, **error.seen}))

    def _still_busy(self, error: TablesBusyError) -> BusyError:
        refusal = error.error.refusal
        return BusyError(
            f"{self._what}: locks were not available within LOCK_RETRY_TIMEOUT: {refusal.message}"
            + blockers_in_words(error.seen),
            remedy=how_to_end_blockers(error.seen),
            version=self._what,
            sqlstate=refusal.sqlstate,
            **error.seen,
            outcome=self._outcome.format(self._what),
        )


_TABLE = {
    Cause.LOST: _Effort.lost,
    Cause.FULL: _Effort.full,
    Cause.HELD: _Effort.held,
    Cause.BUSY: _Effort.busy,
}


def _still_full(error: LostError) -> LockedError:
    return LockedError(
        f"the pooler had no connection to spare within WAIT_TIMEOUT: {error}",
        remedy="See who has them all: another runner, or the application. Raise the "
        "pool's size, or set DIRECT_URL to go around it.",
    )
