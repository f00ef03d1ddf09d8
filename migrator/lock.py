"""One runner at a time: waiting for whoever holds the lock, by polling and outside a transaction.

A blocked pg_advisory_lock would hold a snapshot, and CREATE INDEX CONCURRENTLY elsewhere would
wait for that for ever.
"""

from __future__ import annotations

import json
import time
from typing import Any

from migrator.database import Session
from migrator.durations import limit_seconds
from migrator.errors import LockedError
from migrator.flight import HERE, holder_query
from migrator.model import Event, Tell
from migrator.watch import Watch, retry


class _StillHeldError(Exception):
    """Somebody holds the lock; `holder` says who."""

    def __init__(self, holder: dict[str, Any]) -> None:
        super().__init__()
        self.holder = holder


def wait_until_free(
    session: Session, schema: str, timeout_ms: int, watch: Watch, tell: Tell
) -> None:
    """Poll until nobody holds the lock of `schema`.

    Raises LockedError after `timeout_ms`, naming the holder; whatever `Session.send` raises.
    """
    started = time.monotonic()

    def look() -> None:
        holder = read_holder(session, schema)
        if holder is not None:
            raise _StillHeldError(holder)

    def tell_retry(error: _StillHeldError, _attempt: int) -> None:
        waited_ms = round((time.monotonic() - started) * 1000)
        tell(Event("lock.waiting", "info", {"holder": error.holder, "waited_ms": waited_ms}))

    try:
        retry(look, watch, lambda: limit_seconds(timeout_ms), _StillHeldError, tell_retry)
    except _StillHeldError as error:
        raise LockedError(
            f"the lock was not free within WAIT_TIMEOUT; held by {describe(error.holder)}",
            holder=error.holder,
        ) from None


def read_holder(session: Session, schema: str) -> dict[str, Any] | None:
    """Who holds the lock now, None when nobody does."""
    rows = session.send(f"{HERE};\n{holder_query(schema)}")
    return as_holder(rows[0][0]) if rows else None


def as_holder(found: Any) -> dict[str, Any]:
    """The holder as JSON, from a row or from the DETAIL of a refused flight."""
    values = json.loads(found) if isinstance(found, str) else found
    return {key: value for key, value in (values or {}).items() if value is not None}


def describe(holder: dict[str, Any]) -> str:
    """The holder in words."""
    if "prepared_transaction" in holder:
        return f"the prepared transaction {holder['prepared_transaction']}"
    name = holder.get("application_name") or "an unnamed application"
    since = f" since {holder['since']}" if "since" in holder else ""
    return f"{name} (pid {holder.get('pid', 'unknown')}){since}"
