"""The history as a run expects it, whose head is kept while it grows."""

from __future__ import annotations

import pytest

from migrator.history.flight import head
from migrator.history.seen import Seen
from tests.builders import a_migration

ROWS: list[tuple[str, str | None]] = [("001_a", "aa"), ("010_b", None)]


@pytest.mark.parametrize(
    "version", ["011_c", "002_c", "010_b", "9_x", "ä"], ids=["last", "within", "again", "far", "ä"]
)
def test_the_head_is_that_of_all_rows_whatever_comes(version: str) -> None:
    seen = Seen(ROWS)
    for checksum in ("cc", "dd", None):
        assert seen.heads([a_migration(1)]) == [head(seen.items())]
        seen[version] = checksum
    assert seen.heads([a_migration(1)]) == [head(seen.items())]
    del seen[version]
    assert seen.heads([a_migration(1)]) == [head(seen.items())]


@pytest.mark.parametrize("versions", [["011_c", "012_d", "013_e"], ["012_d", "011_c", "001_a"]])
def test_each_of_several_is_expected_to_find_those_before_it(versions: list[str]) -> None:
    seen, expected, heads = Seen(ROWS), dict(ROWS), []
    coming = [a_migration(version) for version in versions]
    for migration in coming:
        heads.append(head(expected.items()))
        expected[migration.version] = migration.checksum
    assert seen.heads(coming) == heads
    assert seen == dict(ROWS)
    assert seen.heads(coming[:1]) == heads[:1]


def test_an_empty_history_has_a_head() -> None:
    assert Seen().heads([a_migration(1)]) == [head([])]
