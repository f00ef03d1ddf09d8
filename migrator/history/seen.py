"""The history as a run's next flight must find it: its head, or its tally."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from migrator.history.guard import hashed, head_line
from migrator.history.tally_rules import Moved, Tally
from migrator.model import Migration


class Seen(dict[str, str | None]):
    """Checksums by version. What comes behind all others is added to the head without a new sort.

    At 10,000 rows a head takes 4 ms of the client's time [M]; a new version mostly comes last. Once
    a flight has reported a tally, no head is needed.
    """

    _hash: Any = None  #: over all rows; None: not known
    _last = b""  #: the version that comes last
    _tally: Tally | None = None

    def prove(self, found: int) -> None:
        """A flight has found this tally, of just the rows that are here now."""
        self._tally = Tally(found)

    def doubt(self) -> bool:
        """A flight has not found the tally: the next one looks at the head. False if it has."""
        was_known, self._tally = self._tally is not None, None
        return was_known

    def __setitem__(self, version: str, checksum: str | None) -> None:
        name = version.encode()
        if self._hash is not None and version not in self and name > self._last:
            self._hash.update(head_line((name, (checksum or "").encode())))
            self._last = name
        else:
            self._hash = None
        self._change(version, Moved("+", version, checksum))
        super().__setitem__(version, checksum)

    def __delitem__(self, version: str) -> None:
        self._hash = None
        self._change(version)
        super().__delitem__(version)

    def _change(self, version: str, *come: Moved) -> None:
        if self._tally is not None:
            gone = [Moved("-", version, self[version])] if version in self else []
            self._tally = self._tally.then(*gone, *come)

    def expected(self, coming: Sequence[Migration]) -> list[tuple[str, Tally | None]]:
        """What each of these must find when those before it are there: a head, or a tally."""
        found = [self._expected()]
        ahead = Seen(self) if len(coming) > 1 else self
        ahead._tally = self._tally
        if self._hash is not None:
            ahead._hash, ahead._last = self._hash.copy(), self._last
        for migration in coming[:-1]:
            ahead[migration.version] = migration.checksum
            found.append(ahead._expected())
        return found

    def _expected(self) -> tuple[str, Tally | None]:
        return (self._head(), None) if self._tally is None else ("", self._tally)

    def _head(self) -> str:
        if self._hash is None:
            self._hash, self._last = hashed(self.items())
        return str(self._hash.hexdigest())
