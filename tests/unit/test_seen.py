"""The history as a run expects it, whose head is kept while it grows."""

from __future__ import annotations

import pytest

from migrator.history.guard import head
from migrator.history.seen import Seen
from migrator.history.tally_rules import CHANGES, Moved, Tally
from migrator.model import Migration
from tests.builders import a_migration

A_TALLY = 12345678901234567890
ROWS: list[tuple[str, str | None]] = [("001_a", "aa"), ("010_b", None)]


def heads(seen: Seen, *coming: Migration) -> list[str]:
    return [head for head, tally in seen.expected(coming or [a_migration(1)]) if tally is None]


@pytest.mark.parametrize(
    "version", ["011_c", "002_c", "010_b", "9_x", "ä"], ids=["last", "within", "again", "far", "ä"]
)
def test_the_head_is_that_of_all_rows_whatever_comes(version: str) -> None:
    seen = Seen(ROWS)
    for checksum in ("cc", "dd", None):
        assert heads(seen) == [head(seen.items())]
        seen[version] = checksum
    assert heads(seen) == [head(seen.items())]
    del seen[version]
    assert heads(seen) == [head(seen.items())]


@pytest.mark.parametrize("versions", [["011_c", "012_d", "013_e"], ["012_d", "011_c", "001_a"]])
def test_each_of_several_is_expected_to_find_those_before_it(versions: list[str]) -> None:
    seen, expected, found = Seen(ROWS), dict(ROWS), []
    coming = [a_migration(version) for version in versions]
    for migration in coming:
        found.append(head(expected.items()))
        expected[migration.version] = migration.checksum
    assert heads(seen, *coming) == found
    assert seen == dict(ROWS)
    assert heads(seen, *coming[:1]) == found[:1]


def test_an_empty_history_has_a_head() -> None:
    assert heads(Seen()) == [head([])]


def test_a_tally_that_was_found_takes_the_place_of_the_head_with_what_changes_behind_it() -> None:
    seen = Seen(ROWS)
    seen.prove(A_TALLY)
    assert seen.expected([a_migration(1)]) == [("", Tally(A_TALLY))]
    came, again = Moved("+", "011_c", "cc"), Moved("+", "001_a", None)
    seen["011_c"] = "cc"
    seen["001_a"] = None
    del seen["010_b"]
    changes = (came, Moved("-", "001_a", "aa"), again, Moved("-", "010_b", None))
    assert seen.expected([a_migration(1)]) == [("", Tally(A_TALLY, changes))]
    seen.prove(A_TALLY + 1)
    assert seen.expected([a_migration(1)]) == [("", Tally(A_TALLY + 1))]


def test_each_of_several_expects_the_tally_with_those_before_it() -> None:
    seen, coming = Seen(ROWS), [a_migration("011_c"), a_migration("012_d"), a_migration("013_e")]
    seen.prove(A_TALLY)
    came = [Moved("+", migration.version, migration.checksum) for migration in coming]
    expected = [("", Tally(A_TALLY, tuple(came[:count]))) for count in range(3)]
    assert seen.expected(coming) == expected
    assert seen.expected(coming[:1]) == expected[:1]


def test_where_no_flight_reports_any_more_the_head_is_looked_at() -> None:
    seen = Seen(ROWS)
    seen.prove(A_TALLY)
    for number in range(CHANGES):
        seen[f"{number:03}_new"] = "aa"
    assert heads(seen) == []
    seen["999_new"] = "aa"
    assert heads(seen) == [head(seen.items())]


def test_where_a_tally_is_not_found_the_head_is_looked_at_once() -> None:
    seen = Seen(ROWS)
    seen.prove(A_TALLY)
    assert seen.doubt()
    assert heads(seen) == [head(seen.items())]
    assert not seen.doubt()
