"""A folder whose format is another than that by which its files were applied."""

from __future__ import annotations

import pytest

from migrator.plan.format_rules import AUTO, changed_format, format_of
from tests.builders import a_migration

DBMATE = a_migration("001_a")._replace(format="dbmate")
NATIVE = a_migration("002_b")


@pytest.mark.parametrize(
    ("recorded", "wanted", "refused"),
    [
        pytest.param("dbmate", AUTO, False, id="as before"),
        pytest.param("goose", AUTO, True, id="another one"),
        pytest.param("goose", "dbmate", False, id="the setting says that it is meant"),
        pytest.param(None, AUTO, False, id="a history that does not say it"),
    ],
)
def test_a_changed_format_is_refused_unless_it_is_set(
    recorded: str | None, wanted: str, refused: bool
) -> None:
    error = changed_format([DBMATE], recorded, wanted)
    assert bool(error) is refused
    if error:
        assert "read as dbmate" in error.message
        assert "FOLDER_FORMAT=goose" in str(error.remedy)
        assert "FOLDER_FORMAT=dbmate" in str(error.remedy)


def test_several_folders_may_have_a_format_each() -> None:
    assert format_of([NATIVE, DBMATE, DBMATE]) == "dbmate, native"
    assert changed_format([NATIVE, DBMATE], "native", AUTO) is None


def test_an_empty_folder_has_none() -> None:
    assert format_of([]) is None
    assert changed_format([], "dbmate", AUTO) is None
