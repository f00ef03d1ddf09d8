"""Waits between two batches while a standby is too far behind."""

from __future__ import annotations

import time
from collections.abc import Callable

from migrator.batches.lag_rules import READERS, UNSEEN, furthest_behind
from migrator.database.database import Link
from migrator.database.tries import ask
from migrator.history.place import Place, marker
from migrator.model import Event
from migrator.postgres.quoting import first
from migrator.postgres.session import Session

NEAR_SECONDS = 1.0  #: between two looks while all are near
BEHIND_SECONDS = 0.5  #: between two looks at one that is not


class Throttle:
    """Of one file: MAX_LAG, and what was seen of those who read the server's WAL."""

    def __init__(self, link: Link, file: str) -> None:
        self._link, self._file = link, file
        self._next = 0.0  #: when to look again
        self._said = False

    def hold(self, report: Callable[[], None]) -> None:
        """Return once nobody is further behind than MAX_LAG; `report` is called meanwhile."""
        limit = self._link.config.max_lag
        while limit and time.monotonic() >= self._next:
            found = furthest_behind(ask(self._link, self._look))
            if found is None and not self._said:
                self._said = True
                fields = {"file": self._file, "problem": UNSEEN[0], "remedy": UNSEEN[1]}
                self._link.tell(Event("plan.warning", "warning", fields))
            if found is None or found[1] <= limit:
                self._next = time.monotonic() + NEAR_SECONDS
                return
            report()
            self._link.watch.sleep(BEHIND_SECONDS)

    def _look(self, session: Session, place: Place) -> list[tuple[str, str, int | None]]:
        text = first(marker(place, "looks at standbys"), READERS)
        return [(kind, name, size) for kind, name, size in session.send(text)]
