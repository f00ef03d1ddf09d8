"""The lock that stays behind on a backend which a pooler has taken away from us."""

from __future__ import annotations

from migrator.errors import StoppedError
from migrator.history.journal import drop_lock
from migrator.history.place import Place
from migrator.postgres.retry import Trouble, retry
from migrator.postgres.session import LostError, ServerError, Session
from migrator.postgres.stop import Watch

#: How long a backend that keeps the lock is waited for to become idle.
DROP_SECONDS = 5.0


class _StillHeldError(Exception):
    """The backend held the lock when it was last looked at."""


def is_left(session: Session, place: Place, pid: int) -> bool:
    """Whether the backend `pid` still keeps the lock; then it is freed, or ended, if idle."""
    try:
        return bool(session.send(drop_lock(place, pid)))
    except (LostError, ServerError, StoppedError):
        return False


def free_lock(session: Session, place: Place, pid: int, watch: Watch) -> bool:
    """Free the lock that the backend `pid` keeps; False when it is not known to be free.

    The pooler may have lent the backend to another client, which is not disturbed. Raises nothing.
    """
    drop = drop_lock(place, pid)

    def once() -> None:
        if session.send(drop):
            raise _StillHeldError

    try:
        retry(once, watch, Trouble(_StillHeldError, lambda: DROP_SECONDS, lambda *_: None))
    except (_StillHeldError, LostError, ServerError, StoppedError):
        return False
    return True
