"""The rows of a COPY as the file that psycopg2 reads them from.

Why: psycopg2 offers COPY … FROM STDIN only as `copy_expert`, which refuses a wait callback, reads
its rows from a file object and blocks inside libpq; so it runs in a thread of its own
(`Watch.work`), on a connection that is set to blocking meanwhile (`libpq.blocking`).
What it relies on: `copy_expert` calls `read(size)` until that returns nothing, takes pieces of any
size, and ends the COPY with an error at the server when `read` raises [M: psycopg2 2.9.13].
tests/database/test_copy_feed.py holds psycopg2 to that.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from migrator.postgres.stop import Watch


class Feed:
    """What `copy_expert` reads; a stop is noticed before each piece."""

    def __init__(self, rows: Iterator[str], watch: Watch) -> None:
        self._rows = rows
        self._watch = watch
        self.failure: Exception | None = None

    def read(self, _size: int) -> bytes:
        """The next piece, of whatever size; none at the end. An exception ends the COPY."""
        try:
            if self._watch.stopped_by:
                raise self._watch.stopped()
            return next(self._rows, "").encode()
        except Exception as error:
            self.failure = error
            raise
