"""The order of versions: numbers in parts, several migrations in a file, all formats mixed."""

from __future__ import annotations

from typing import Any

import pytest

from migrator.model import Applied, Migration, number_of, rank_of
from migrator.plan.plan import behind, make_plan
from tests.builders import a_migration, an_applied


def a_part(version: str, at: float = 0.0) -> Migration:
    """A migration of this version, with the number that the version has."""
    values: dict[str, Any] = {"number": number_of(version)}
    if at:
        values["rank"] = ((), version.partition(":")[0], at)
    return a_migration(version, **values)


def a_row(version: str) -> Applied:
    return an_applied(version, number=number_of(version))


@pytest.mark.parametrize(
    ("version", "number", "further"),
    [
        ("V1__a", 1, ()),
        ("V1_2__a", 1, (2,)),
        ("V1.2.0__a", 1, (2,)),
        ("V01.10__a", 1, (10,)),
        ("V0.1", 0, (1,)),
        ("B3__all", 3, ()),
        ("V1-2__a", -1, ()),
        ("Version", -1, ()),
        ("1_2_a", 1, ()),
        ("R__a", -1, ()),
        ("2023-01-01-000000_a", 20230101000000, ()),
    ],
)
def test_a_number_may_have_parts(version: str, number: int, further: tuple[int, ...]) -> None:
    assert (number_of(version), rank_of(version)[0]) == (number, further)


def test_parts_are_compared_as_numbers_among_the_versions_of_other_formats() -> None:
    rising = ["000_a", "V1__a", "V1.2__b", "V1_2_1__c", "V1.10__a", "002_b", "V2.1__a", "R__a"]
    turned = sorted(map(a_part, reversed(rising)), key=lambda m: m.order)
    assert [m.version for m in turned] == rising


def test_of_migrations_in_one_file_their_places_count() -> None:
    folder = [a_part("a:eve:9", 1), a_part("a:eve:10", 2), a_part("b:eve:1", 1)]
    assert sorted(folder[::-1], key=lambda m: m.order) == folder


def test_a_version_above_the_last_in_its_parts_is_ahead() -> None:
    plan = make_plan([a_part("V1.2__a")], [a_row("V1.1__x"), a_row("V1.2__a"), a_row("V1.10__b")])
    assert [row.version for row in plan.missing] == ["V1.1__x"]
    assert [row.version for row in plan.ahead] == ["V1.10__b"]


def test_one_of_the_last_file_is_ahead_and_one_of_a_file_before_is_missing() -> None:
    rows = [a_row("a:eve:1"), a_row("b:eve:1"), a_row("b:eve:2")]
    plan = make_plan([a_part("b:eve:1", 1)], rows)
    assert [row.version for row in plan.missing] == ["a:eve:1"]
    assert [row.version for row in plan.ahead] == ["b:eve:2"]


def test_a_lower_part_is_late() -> None:
    plan = make_plan([a_part("V1.2__a"), a_part("V1.10__b")], [a_row("V1.10__b")])
    assert [m.version for m in plan.late] == ["V1.2__a"]


def test_a_branch_is_compared_by_all_parts() -> None:
    folder = [a_part("V1.2__a"), a_part("V1.11__b")]
    found = behind(folder, ["v1/V1.10__x.sql", "README.md"])
    assert [(f.file, f.problem) for f in found] == [
        ("V1.2__a.sql", "is new and has the number 1.2, but the branch goes up to 1.10")
    ]


def test_a_baseline_is_no_new_file_with_an_old_number() -> None:
    assert behind([a_part("B1.2__all"), a_part("V3__c")], ["V2__b.sql"]) == ()


def test_files_of_several_are_compared_by_their_paths() -> None:
    parts = [a_part("a/x:eve:1", 1), a_part("a/x:eve:2", 2), a_part("b/y:eve:1", 1)]
    folder = [part._replace(file=f"{part.version.partition(':')[0]}.sql") for part in parts]
    assert behind(folder, ["a/x.sql", "README.md"]) == ()
    found = behind(folder, ["a/z.sql"])
    assert [(f.file, f.problem) for f in found] == [
        ("a/x.sql", "is new, and its path comes before a/z.sql, which the branch has")
    ]
