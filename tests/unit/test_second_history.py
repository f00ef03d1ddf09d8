"""Which other histories a first run may not pass over."""

from __future__ import annotations

import pytest

from migrator.plan.second_history import is_looked_for, nothing_here, second_history
from tests.builders import a_migration, an_applied

FOLDER = (a_migration(1), a_migration(2), a_migration(3))


@pytest.mark.parametrize(
    ("path", "looked_for"),
    [
        pytest.param((), True, id="the login role's own"),
        pytest.param(("public", "tenant_1"), True, id="it begins elsewhere"),
        pytest.param(("tenant_1", "public"), False, id="a tenant's"),
    ],
)
def test_a_run_that_works_in_the_historys_schema_looks_for_no_other(
    path: tuple[str, ...], looked_for: bool
) -> None:
    assert is_looked_for("tenant_1", path) is looked_for


@pytest.mark.parametrize(
    ("rows", "refused"),
    [
        pytest.param([1, 2, 3], True, id="all of the folder"),
        pytest.param([1], True, id="the folder is ahead"),
        pytest.param([1, 2, 3, 4, 5, 6, 7], True, id="the history is ahead"),
        pytest.param([1, 4, 5], False, id="one shared file"),
        pytest.param([4, 5], False, id="other files"),
        pytest.param([], False, id="an empty one"),
    ],
)
def test_most_of_the_shorter_one_decides(rows: list[int], refused: bool) -> None:
    history = {row.version: row.checksum for row in map(an_applied, rows)}
    found = second_history(FOLDER, {"app": history}, "public", ())
    assert (found is not None) is refused


def test_the_checksum_of_the_raw_bytes_counts_and_another_one_does_not() -> None:
    raw = a_migration(1, raw_checksum="raw")
    for checksum, refused in (("raw", True), ("other", False), (None, False)):
        found = second_history([raw], {"app": {"001_step": checksum}}, "public", ())
        assert (found is not None) is refused


def test_the_remedy_names_the_history_and_a_path_of_its_own() -> None:
    history = {"001_step": an_applied(1).checksum}
    found = second_history(FOLDER, {"x": {}, "app": history}, "two", ("ext", "two"))
    assert found is not None
    assert found.exit_code == 2
    assert "app.schema_migrations holds 1 of these 3 migrations" in found.message
    assert found.remedy.startswith("Give --migrations-schema app (MIGRATIONS_SCHEMA),")
    assert found.remedy.endswith("give --search-path two,ext (SEARCH_PATH) as well.")


def test_of_a_rollback_it_says_that_nothing_is_to_undo() -> None:
    history = {row.version: row.checksum for row in map(an_applied, [1, 2, 3])}
    second = second_history(FOLDER, {"app": history}, "public", ())
    assert second
    found = nothing_here(second)
    assert found.message.endswith("with the same checksums: there is nothing here to undo")
    assert found.remedy == second.remedy
