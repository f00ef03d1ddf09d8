"""Two formats that claim one folder: it matters only where they would run something else."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from migrator.folder.formats.deciding_rules import UnfitReadingError, bars_ours, same
from migrator.folder.formats.paired import Native
from migrator.folder.formats.table import named_format
from migrator.model import Migration
from tests.builders import a_migration


def one(text: str = "SELECT 1;", **changes: Any) -> Migration:
    return a_migration("1_a", text)._replace(format="sqlx", **changes)


def other(text: str = "SELECT 1;", **changes: Any) -> Migration:
    return a_migration("1_a", text)._replace(**changes)


@pytest.mark.parametrize(
    ("mine", "theirs", "said"),
    [
        pytest.param(one(), other(), None, id="the same"),
        pytest.param(one("-- mark\nSELECT 1;"), other(), None, id="a comment"),
        pytest.param(one("SELECT 2;"), other(), "other parts of its text", id="text"),
        pytest.param(one(rollback_sql="SELECT 0;"), other(), "undo", id="undo"),
        pytest.param(one(rollback_sql="-- none"), other(), None, id="no undo either way"),
        pytest.param(one(alone=True), other(), "in a transaction", id="what is beside it"),
        pytest.param(
            one("-- migrator: no-transaction\nSELECT 1;"), other(), "in a transaction", id="mark"
        ),
        pytest.param(
            one("-- migrator: no-transaction\nVACUUM;"),
            other("VACUUM;"),
            None,
            id="both outside a transaction",
        ),
        pytest.param(
            one("-- migrator: no-transaction\nBEGIN; SELECT 1; COMMIT;"),
            other("BEGIN; SELECT 1; COMMIT;"),
            "in a transaction",
            id="what one of them refuses",
        ),
    ],
)
def test_what_two_formats_make_of_a_file(
    mine: Migration, theirs: Migration, said: str | None
) -> None:
    found = same([mine], [theirs])
    assert (said in found.problem if said and found else not found) is True
    if found:
        assert "--folder-format sqlx (FOLDER_FORMAT=sqlx)" in found.remedy
        assert "--folder-format native (FOLDER_FORMAT=native)" in found.remedy


def test_the_same_texts_are_not_taken_apart() -> None:
    mine = one("SELECT 'open")  # which nothing could take apart
    assert same([mine], [mine._replace(format="native")]) is None
    found = same([mine], [mine._replace(format="native", alone=True)])
    assert found
    assert "in a transaction" in found.problem


@pytest.mark.parametrize(
    "theirs",
    [
        pytest.param([other(), other()], id="one more"),
        pytest.param([], id="none"),
        pytest.param([other(file="9_z.sql")], id="another"),
    ],
)
def test_other_files_are_a_conflict(theirs: list[Migration]) -> None:
    mine = [one()] if theirs else [one(), one()]
    if not theirs:
        theirs = [other()]
    found = same(mine, theirs)
    assert found
    assert "other files" in found.problem


def test_what_the_other_refuses_makes_it_none_for_this_folder() -> None:
    text = "-- migrate:up\nSELECT 1;\n-- migrate:down\nSELECT 0;\n"
    cut = named_format("dbmate").cut(text)
    with pytest.raises(UnfitReadingError):
        same([one(cut.up, rollback_sql=cut.down)], [other(text)])


class Unread:
    """The pieces of a large file of which no more than the `beginning` may be read."""

    def __init__(self, *beginning: str) -> None:
        self._beginning = beginning

    def __iter__(self) -> Iterator[str]:
        yield from self._beginning
        raise AssertionError("the rest of the file was read")


def test_a_mark_above_the_statements_spares_the_rest_of_a_large_file() -> None:
    text = "-- a remark\n-- +goose Up\nSELECT 1;\n"
    theirs = other()._replace(pieces=Unread(text, text))
    with pytest.raises(UnfitReadingError):
        same([one()._replace(pieces=Unread())], [theirs])


def test_a_small_file_that_the_other_refuses_spares_the_large_ones() -> None:
    large = one()._replace(pieces=Unread()), other()._replace(pieces=Unread())
    text = "SELECT 1;\n---- create above / drop below ----\nSELECT 0;\n"
    small = one("SELECT 1;", version="2_b", file="2_b.sql"), other(text, file="2_b.sql")
    with pytest.raises(UnfitReadingError):
        same([large[0], small[0]], [large[1], small[1]])


def test_the_first_file_that_differs_is_named() -> None:
    mine = [one("SELECT 'long';"), one("SELECT 2;", file="2_b.sql")]
    theirs = [other("SELECT 'other';"), other("SELECT 3;", file="2_b.sql")]
    found = same(mine, theirs)
    assert found
    assert found.file == "1_a.sql"


@pytest.mark.parametrize(
    ("names", "claimed", "versions", "wrong"),
    [
        pytest.param(["1_a.sql", "1_a.down.sql"], True, ["1_a"], [], id="ours"),
        pytest.param(["1_a-b.sql"], False, [], [], id="a name that is not"),
        pytest.param(["R__v.sql"], False, [], [], id="a repeatable"),
        pytest.param(["meta/x.json"], False, [], [], id="no file"),
        pytest.param(["1_a.sql", "x/2_b.sql"], True, ["1_a"], ["x/2_b.sql"], id="one in a folder"),
    ],
)
def test_our_own_format_beside_others(
    names: list[str], claimed: bool, versions: list[str], wrong: list[str]
) -> None:
    form = Native()
    assert form.claims(names, lambda _: "") is claimed
    if claimed:
        picks, findings = form.pick(names, lambda _: "")
        assert [pick.version for pick in picks] == versions
        assert [finding.file for finding in findings] == wrong
        assert picks[0].down == ("1_a.down.sql" if "1_a.down.sql" in names else None)


@pytest.mark.parametrize(
    ("text", "bars"),
    [
        pytest.param("-- +goose Up\nSELECT 1;\n", True, id="goose"),
        pytest.param("\n-- why\n--migrate:up transaction:false\nSELECT 1;\n", True, id="dbmate"),
        pytest.param("-- +migrate Up\nSELECT 1;\n", True, id="sql-migrate"),
        pytest.param("SELECT 1;\n-- +goose Up\n", False, id="below a statement"),
        pytest.param("/*\n-- +goose Up\n*/", False, id="in another comment"),
        pytest.param("-- before +goose Up\n", False, id="what we know for no mark"),
        pytest.param("-- a\n" * 30 + "-- +goose Up\n", False, id="too far down to be looked for"),
    ],
)
def test_a_mark_at_the_top_bars_our_own_reading(text: str, bars: bool) -> None:
    assert bars_ours(one()._replace(whole=(text,))) is bars
    assert not bars_ours(one(text))
    if bars:
        with pytest.raises(UnfitReadingError):
            same([one()], [other(text)])


@pytest.mark.parametrize("text", ["SELECT 1\n--> statement-breakpoint\nSELECT 2;", "SELECT 1;"])
def test_ends_of_statements_that_only_drizzle_knows_bar_our_own(text: str) -> None:
    up = named_format("drizzle").cut(text).up
    pieces = (text,)
    mine = one()._replace(pieces=pieces if up == text else (up,), whole=pieces, format="drizzle")
    assert bars_ours(mine) is (up != text)
