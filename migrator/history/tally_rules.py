"""The tally of a history: the sum of one hash for each row, by which a flight proves it unmoved.

It says of the rows what the head says, at a quarter of the cost with 10,000 [M: 15]: nothing is
sorted, joined or copied. A run has the first one from a flight that has found the head as well, in
the same snapshot; PostgreSQL adds to it the rows that the run knows to have changed since.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache
from typing import NamedTuple

from migrator.history.place import Place
from migrator.postgres.quoting import literal

#: 64 bits of both texts. The seed is the run's own: nobody can look for equal sums beforehand.
ROW = """hashtextextended({version} COLLATE "C",
    hashtextextended({checksum} COLLATE "C", {seed}))"""
TALLY = "SELECT {tally}\n  FROM {history}"
CHANGES = 64  #: that are added up at most; there are more only where no flight has reported


class Moved(NamedTuple):
    """A row that came to the history, or went."""

    sign: str  #: + or -
    version: str
    checksum: str | None


class Tally(NamedTuple):
    """What a flight has reported, and the rows that the run has changed since."""

    found: int
    changes: tuple[Moved, ...] = ()

    def then(self, *changes: Moved) -> Tally | None:
        """The tally behind these changes too, as long as it is worth adding up."""
        after = (*self.changes, *changes)
        return self._replace(changes=after) if len(after) <= CHANGES else None


def tally_of_rows(place: Place) -> str:
    """What gives the tally of the history where its rows are selected."""
    row = _row(place, "version::text", "coalesce(checksum::text, '')")
    return f"coalesce(sum({row}), 0)"


def tally_query(place: Place) -> str:
    """The tally that the history has."""
    return TALLY.format(tally=tally_of_rows(place), history=place.history)


def tally_sum(place: Place, tally: Tally) -> str:
    """The tally that the history must have, as an SQL expression."""
    changes = (
        f"\n    {change.sign} "
        + _row(place, literal(change.version), literal(change.checksum or ""))
        for change in tally.changes
    )
    return f"{tally.found}::numeric" + "".join(changes)


@lru_cache(maxsize=128)  # each of several files in a message expects those before it
def _row(place: Place, version: str, checksum: str) -> str:
    digest = hashlib.sha256(place.run_id.encode()).digest()
    seed = int.from_bytes(digest[:8], "big", signed=True)
    return ROW.format(version=version, checksum=checksum, seed=seed)
