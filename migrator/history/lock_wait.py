"""One runner at a time: waiting for the lock, by polling and outside a transaction.

A blocked pg_advisory_lock would hold a snapshot, and CREATE INDEX CONCURRENTLY elsewhere would
wait for that for ever.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable
from typing import Any

from migrator.display import visible
from migrator.durations import limit_seconds
from migrator.errors import LockedError
from migrator.history.at_work import NOT_KNOWN, identified
from migrator.history.guard import holder_query
from migrator.model import Event, Tell
from migrator.postgres.quoting import first
from migrator.postgres.retry import Trouble, retry
from migrator.postgres.session import LostError, Session
from migrator.postgres.stop import Watch


class _StillHeldError(Exception):
    """Another session holds the lock, for all that is known."""


class Wait:
    """One wait for the lock, which may come free and be taken by others many times.

    `timeout_ms` is for all of it; 0 is no limit.
    """

    def __init__(self, timeout_ms: int, watch: Watch, tell: Tell) -> None:
        self._began = time.monotonic()
        self._ends = self._began + limit_seconds(timeout_ms)
        self._watch, self._tell = watch, tell
        self._holder: dict[str, Any] = {}  #: as it was seen last
        self._losses = 0

    def refused(self, holder: dict[str, Any]) -> None:
        """Say who holds it; LockedError, naming him, when the time is up."""
        self._holder = holder
        waited_ms = round((time.monotonic() - self._began) * 1000)
        self._tell(Event("lock.waiting", "info", {"holder": holder, "waited_ms": waited_ms}))
        if time.monotonic() >= self._ends:
            raise LockedError(
                f"the lock was not free within WAIT_TIMEOUT; held by {describe(holder)}",
                holder=holder,
            )

    def put_off(self, seconds: float) -> None:
        """Do not count the seconds in which the lock was ours."""
        self._ends += seconds

    def until_free(self, look: Callable[[], dict[str, Any] | None]) -> None:
        """Poll until nobody holds the lock; `look` says who does.

        When `look` raises LostError it is asked again, over a connection that it opens anew: a
        waiter has sent nothing that could be lost. Raises as `refused` does, and what else `look`
        raises.
        """

        def poll() -> None:
            try:
                found = look()
            except LostError as error:
                self._losses += 1
                fields = {"reason": "lost", "attempt": self._losses, "error": str(error)}
                self._tell(Event("connection.retry", "warning", fields))
                raise _StillHeldError from error
            if found is not None:
                self._holder = found
                raise _StillHeldError

        def tell_retry(_error: _StillHeldError, _attempt: int) -> None:
            self.refused(self._holder)

        def left() -> float:
            return self._ends - time.monotonic()

        try:
            retry(poll, self._watch, Trouble(_StillHeldError, left, tell_retry))
        except _StillHeldError:
            self._ends = time.monotonic()
            self.refused(self._holder)


def read_holder(session: Session, schema: str) -> dict[str, Any] | None:
    """Who holds the lock now, None when nobody does."""
    rows = session.send(first("/* migrator waits */", holder_query(schema)))
    return as_holder(rows[0][0]) if rows else None


def as_holder(found: Any) -> dict[str, Any]:
    """Who holds the lock, from a row or from the DETAIL of a refused flight.

    Empty where that is something else: a trigger in our tables may raise what it likes.
    """
    with contextlib.suppress(ValueError, RecursionError):
        found = json.loads(found) if isinstance(found, str) else found
    return identified(found) if isinstance(found, dict) else {}


def describe(holder: dict[str, Any]) -> str:
    """The holder in words."""
    if "prepared_transaction" in holder:
        return visible(f"the prepared transaction {holder['prepared_transaction']}")
    name = holder.get("application_name") or holder.get("who") or NOT_KNOWN
    since = f" since {holder['since']}" if "since" in holder else ""
    return visible(f"{name} (pid {holder.get('pid', 'unknown')}){since}")
