"""One connection of a group, and the file that it carries."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from migrator.apply.journey import Journey
from migrator.history.guard import NEXT
from migrator.history.message import Message
from migrator.model import Event
from migrator.postgres.libpq import Notice
from migrator.postgres.side import Side, SideSession

#: How long a connection may take to open, and a file to have its locks: a pool of one keeps a
#: second message in its queue.
START_SECONDS = 5.0


@dataclass(eq=False, repr=False)
class Carried:
    """One file of a group on its way."""

    at: int  #: its place among the scripts
    journey: Journey
    messages: Iterator[Message]
    session: SideSession
    notice: Callable[[str, Notice], None]  #: hears what the file says
    sent_at: float = field(default_factory=time.monotonic)
    has_locks: bool = False  #: its guard has said so
    committed: bool = False  #: the server has answered its COMMIT

    @property
    def version(self) -> str:
        return self.journey.version

    def hear(self, notice: Notice) -> None:
        if notice.message == NEXT:
            self.has_locks = True
        if not self.journey.hear(notice):
            self.notice(self.version, notice)

    def hear_commit(self) -> None:
        """A file within a transaction cannot have COMMIT said, and the reset's comes before it."""
        self.committed = self.committed or self.journey.xid is not None

    def send_next(self) -> bool:
        """Send the next message; whether there is one. Raises what `Session.send` does."""
        message = next(self.messages, None)
        if message is not None:
            self.journey.depart(message)
            self.session.begin(message.sent)
        return message is not None


class Lane:
    """One connection, and what is under way over it."""

    def __init__(self, side: Side) -> None:
        self.side = side
        self.carried: Carried | None = None
        self._opened_at = time.monotonic()
        self.said_at = 0.0  #: when a line of progress was said last, in seconds of the wait

    @property
    def starts(self) -> float | None:
        """Since when it is waited for a first answer; None: there was one."""
        if self.carried is None:
            return self._opened_at
        return None if self.carried.has_locks else self.carried.sent_at

    def take(self, carried: Carried) -> None:
        """Send the first message of a file. Raises what `Session.send` does."""
        self.carried, self.said_at = carried, 0.0
        carried.session.hear = carried.hear
        carried.session.hear_commits(carried.hear_commit)
        carried.send_next()


def progress(lane: Lane, carried: Carried, every: float) -> Event | None:
    """A line about a file that lasts, when that is due."""
    waited = time.monotonic() - carried.sent_at
    if waited < lane.said_at + every:
        return None
    lane.said_at = waited
    fields = {"version": carried.version, "running_ms": round(waited * 1000)}
    return Event("migration.progress", "info", fields)
