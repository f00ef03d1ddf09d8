"""Consecutive migrations on their way, and what is known of each while a message is under way.

A message carries one or several; each of several is a leg of it.

    state of a leg   known by                                      next
    ahead            the leg before it is not known to be over     under way
    under way        it is the first of those that are left        closed, or what ended the message
    closed           its closing half has reported its number      landed; or rolled back at COMMIT
    landed           behind the report the server answered COMMIT  the next one is under way

The report is a notice, and a file says what it likes; the word COMMIT is the server's own, and no
file within a transaction can have it said.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from migrator.history.guard import BETWEEN, NEXT, SIGN
from migrator.history.message import Message
from migrator.postgres.libpq import Notice
from migrator.report import Done
from migrator.sql.script import Script

#: What comes of reading a report that is not ours.
NO_REPORT = (ValueError, LookupError, TypeError, OverflowError, RecursionError)
NUMBER = re.compile("-?[0-9]{1,40}")


@dataclass(eq=False, repr=False)
class Journey:
    """Consecutive migrations, and how far they have come."""

    run_id: str
    scripts: Sequence[Script]
    landed: Callable[[Done], None]  #: called for each one that is committed, in order
    proved: Callable[[int], None]  #: before that, with the tally that its guard has found
    alone: bool = False  #: from here on each message carries one
    most: int | None = None  #: that the next message carries; None: all that are left
    at: int = 0  #: how many are committed
    xid: str | None = None  #: the transaction under way; None: it did not come to its end
    ms: int | None = None  #: that it took
    tally: int | None = None  #: of the history as its guard has found it
    _legs: tuple[Message, ...] = ()  #: of the message under way
    _began: int = 0  #: how many were committed before it

    @property
    def script(self) -> Script:
        """The one that is under way; the last one when all are over."""
        return self.scripts[min(self.at, len(self.scripts) - 1)]

    @property
    def version(self) -> str:
        return self.script.migration.version

    @property
    def is_over(self) -> bool:
        return self.at == len(self.scripts)

    @property
    def aboard(self) -> Sequence[Script]:
        """What the next message carries."""
        return self.scripts[self.at :][: 1 if self.alone else self.most]

    @property
    def under_way(self) -> tuple[str, ...]:
        """The versions of the message under way that are not known to be committed."""
        last = self._began + len(self._legs)
        return tuple(script.migration.version for script in self.scripts[self.at : last])

    @property
    def message(self) -> Message:
        """The message under way, as the leg under way sees it."""
        return self._legs[min(self.at - self._began, len(self._legs) - 1)]

    def depart(self, message: Message) -> None:
        """From here on this message is under way."""
        self._legs, self._began = message.legs or (message,), self.at

    def hear(self, notice: Notice) -> bool:
        """Whether a notice is ours: the report of a closing half, or what flushes answers."""
        if notice.message == NEXT:
            return True
        if not notice.message.startswith(SIGN):
            return False
        try:
            found = json.loads(notice.message.removeprefix(SIGN))
            if found["run_id"] != self.run_id:
                return False
            self.xid, self.ms = str(int(found["xid"])), int(found["ms"])
            self.tally = _whole(found.get("tally"))
        except NO_REPORT:  # a file says what it likes
            return False
        return True

    def commit(self) -> int | None:
        """The server has answered COMMIT; how many answers there are by then.

        That of the last leg is followed by what the message ends with: `arrive` comes behind that.
        """
        answers = self.message.results
        if self.xid is None or self.at + 1 >= self._began + len(self._legs):
            return None
        self.land(self.ms)
        return answers

    def arrive(self) -> None:
        """The message was answered well: all of it is committed."""
        while self.at < self._began + len(self._legs):
            self.land(self.ms)
        self.most = None

    def land(self, ms: int | None) -> None:
        """The one under way is committed, and took so long."""
        done = Done(self.version, ms)
        self.at += 1
        if self.tally is not None:
            self.proved(self.tally)
        self.xid = self.ms = self.tally = None
        self.landed(done)

    def is_between(self, answered: int | None) -> bool:
        """Whether a refusal is of the resets behind a leg: of what is left nothing was run."""
        at = self.at - self._began
        if answered is None or not 0 < at < len(self._legs):
            return False
        return 0 <= answered - self._legs[at - 1].results < len(BETWEEN)

    def shorten(self, answered: int | None, position: int | None) -> bool:
        """Whether a refusal is of several legs' text, of which none was run: less goes next then.

        What PostgreSQL cannot read it refuses before it runs the first statement. Before the leg in
        which that lies, the others go; where nobody says in which, one by one.
        """
        if answered or len(self._legs) == 1:
            return False
        behind = [leg for leg in self._legs if position and leg.body_ends < position]
        self.most = len(behind) or None
        self.alone = not position or len(behind) == len(self._legs)
        return self.alone or bool(behind)


def _whole(text: object) -> int | None:
    """What a number is worth that a file may have lost, or changed."""
    return int(text) if isinstance(text, str) and NUMBER.fullmatch(text) else None
