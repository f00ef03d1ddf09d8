"""What psycopg2's copy_expert does with the file that it is given."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from types import SimpleNamespace
from typing import Any

import psycopg2
import pytest

from migrator.postgres.copy_feed import Feed
from tests.conftest import Database

NEVER_STOPPED: Any = SimpleNamespace(stopped_by=None)  # all that a feed asks of a watch


def copy(connection: Any, feed: Any) -> None:
    """Copy what `feed` gives into a table t, which is made first."""
    with connection.cursor() as cursor:
        cursor.execute("CREATE TABLE t (a text)")
        cursor.copy_expert("COPY t FROM stdin", feed)


def test_a_piece_may_have_any_size_and_end_anywhere(database: Database) -> None:
    long = "x" * 100_000
    with closing(database.connect()) as connection:
        copy(connection, Feed(iter(["a\nb", "b\n", f"{long}\n", "é"]), NEVER_STOPPED))
    assert database.query("SELECT a FROM t") == [("a",), ("bb",), (long,), ("é",)]


def test_what_is_raised_while_it_reads_ends_the_copy(database: Database) -> None:
    def rows() -> Iterator[str]:
        yield "a\n"
        raise ValueError("the file has changed")

    feed = Feed(rows(), NEVER_STOPPED)
    with closing(database.connect()) as connection:
        with pytest.raises(psycopg2.errors.QueryCanceled):
            copy(connection, feed)
        assert database.query("SELECT a FROM t") == []
        assert not connection.closed
    assert str(feed.failure) == "the file has changed"
