from __future__ import annotations

import pytest

from migrator.config import OnLate
from migrator.errors import LateError, SourceError
from migrator.model import number_of
from migrator.plan.plan import make_plan
from migrator.plan.policy import Policy, decide
from migrator.plan.widths import mixed_widths
from tests.builders import a_migration, an_applied

OLD, NEWER, NEWEST = "20240101120000_a", "20240301120000_b", "20260101120000_c"
DATE = "20250625_x"


def files_of(*versions: str, pending: str = "") -> tuple[list[str], list[str]]:
    """Which pending files, and which applied ones, are found."""
    migrations = sorted((a_migration(version) for version in versions), key=lambda m: m.order)
    waits, ran = mixed_widths(migrations, pending.split())
    return [finding.file for finding in waits], [finding.file for finding in ran]


@pytest.mark.parametrize(
    ("versions", "pending", "waits", "ran"),
    [
        pytest.param([], "", [], [], id="nothing"),
        pytest.param(["9_a", "10_b", "100_c"], "9_a 10_b", [], [], id="short numbers count on"),
        pytest.param(["9_a", OLD, NEWEST], OLD, [], [], id="then dates were taken"),
        pytest.param(["20230101_a", OLD], OLD, [], [], id="both orders agree"),
        pytest.param(["1700000000_a", "1700000000001_b"], "", [], [], id="seconds, milliseconds"),
        pytest.param([OLD, NEWEST, DATE], f"{OLD} {DATE}", [DATE], [], id="both are pending"),
        pytest.param([OLD, NEWEST, DATE], DATE, [DATE], [], id="the date is pending"),
        pytest.param([OLD, NEWEST, DATE], OLD, [OLD], [], id="the other is pending"),
        pytest.param([OLD, NEWEST, DATE], NEWEST, [], [DATE], id="both are applied"),
        pytest.param(
            [OLD, NEWER, DATE], NEWER, [NEWER], [DATE], id="one is pending, another is applied"
        ),
        pytest.param(
            [OLD, DATE, "202506_y", "202506251200_z"],
            f"{OLD} {DATE} 202506251200_z",
            [DATE, "202506251200_z"],
            [],
            id="three widths, and a number that is too short for a date",
        ),
    ],
)
def test_a_file_whose_place_is_another_by_text_is_found(
    versions: list[str], pending: str, waits: list[str], ran: list[str]
) -> None:
    found = files_of(*versions, pending=pending)
    assert found == ([f"{v}.sql" for v in waits], [f"{v}.sql" for v in ran])


def test_a_finding_shows_both_orders_and_what_to_do() -> None:
    migrations = [a_migration(version) for version in (DATE, OLD, NEWER)]
    [finding], _ = mixed_widths(migrations, {DATE, OLD, NEWER})
    assert finding.problem == (
        "its number has 8 digits, and others have 14: by number the order is "
        "20250625_x, 20240101120000_a, 20240301120000_b; by text it is "
        "20240101120000_a, 20240301120000_b, 20250625_x"
    )
    assert finding.remedy == (
        "Rename it to 20250625000000_x.sql; or run `new --renumber 20250625_x`, which makes it the "
        "last."
    )
    [finding], _ = mixed_widths(migrations, {OLD})
    assert finding.remedy == "Run `new --renumber 20240101120000_a`, which makes it the last."
    _, [finding] = mixed_widths(migrations, set())
    assert finding.remedy == (
        "A new database refuses that: rename it to 20250625000000_x.sql, and run "
        "`repair --rename 20250625_x 20250625000000_x --reason WHY`."
    )


def test_of_many_files_a_few_are_shown() -> None:
    many = [a_migration(f"2024010112000{n}_a") for n in range(6)]
    [finding], _ = mixed_widths([a_migration(DATE), *many], {DATE})
    assert "by number the order is 20250625_x, 20240101120000_a, 20240101120001_a, " in (
        finding.problem
    )
    assert finding.problem.endswith("20240101120002_a, 20250625_x, …")


def test_a_plan_fails_for_a_pending_one_and_warns_of_an_applied_one() -> None:
    folder = [a_migration(DATE), a_migration(OLD)]
    [failure] = decide(make_plan(folder, []), Policy()).failures
    assert (type(failure), failure.message) == (
        SourceError,
        "the order by number is not the order by text: 20250625_x.sql",
    )
    late = decide(make_plan(folder, [an_applied(OLD)]), Policy())
    assert [type(failure) for failure in late.failures] == [SourceError, LateError]
    skipped = decide(make_plan(folder, [an_applied(OLD)]), Policy(on_late=OnLate.SKIP))
    assert [type(failure) for failure in skipped.failures] == [SourceError]
    done = decide(make_plan(folder, [an_applied(OLD), an_applied(DATE)]), Policy())
    assert ([found.file for found in done.warnings], done.failures) == ([f"{DATE}.sql"], ())


def test_numbers_in_parts_and_files_of_several_are_no_dates() -> None:
    folder = [
        a_migration(version, number=number_of(version))
        for version in ("V20250625__a", "V20240101120000__b", "20250625_a:x:1", "20240101120000:x")
    ]
    assert mixed_widths(folder, {m.version for m in folder}) == ((), ())
