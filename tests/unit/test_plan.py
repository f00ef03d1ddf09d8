"""The folder beside the history: what is found, and what each policy makes of it."""

from __future__ import annotations

from typing import Any

import pytest

from migrator.config import OnFinding, OnLate
from migrator.errors import DriftError, LateError, MigratorError, MissingError
from migrator.model import Applied, Kind, Migration
from migrator.plan.plan import behind, make_plan, ranked
from migrator.plan.policy import Decision, Policy
from migrator.plan.policy import decide as judge
from tests.builders import a_migration, an_applied

CHANGED = "SELECT 2;\n"
FAIL, WARN = OnFinding.FAIL, OnFinding.WARN


def files(*numbers: int) -> list[Migration]:
    return [a_migration(number) for number in numbers]


def rows(*numbers: int) -> list[Applied]:
    return [an_applied(number) for number in numbers]


def decide(migrations: list[Migration], history: list[Applied], **policy: Any) -> Decision:
    return judge(make_plan(migrations, history), Policy(**policy))


@pytest.mark.parametrize(
    ("migrations", "history", "expected"),
    [
        pytest.param(files(), rows(), {}, id="nothing at all"),
        pytest.param(files(1, 2, 3), rows(), {"pending": [1, 2, 3]}, id="a new database: all"),
        pytest.param(files(1, 2, 3), rows(1, 2), {"pending": [3]}, id="one is pending"),
        pytest.param(files(1, 2), rows(1, 2), {}, id="up to date"),
        pytest.param(
            files(1, 2, 3), rows(1, 3), {"pending": [2], "late": [2]}, id="late and pending too"
        ),
        pytest.param(
            files(9, 10), rows(9), {"pending": [10]}, id="numbers are compared as numbers"
        ),
        pytest.param(files(2), rows(1, 2), {"missing": [1]}, id="a file is gone"),
        pytest.param(files(1), rows(1, 2), {"ahead": [2]}, id="the image was rolled back"),
        pytest.param(files(), rows(1, 2), {"missing": [1, 2]}, id="an empty folder"),
        pytest.param(
            files(1, 3),
            rows(1, 2, 4),
            {"pending": [3], "late": [3], "missing": [2], "ahead": [4]},
            id="all of it",
        ),
        pytest.param(
            [a_migration("003_new")],
            [an_applied("003_old")],
            {"pending": [3], "late": [3], "missing": [3]},
            id="a file was renamed",
        ),
        pytest.param(
            [a_migration(1, CHANGED)], rows(1), {"drifted": [1]}, id="the text has changed"
        ),
        pytest.param(
            [a_migration(1, raw_checksum="raw")],
            [an_applied(1, checksum="raw")],
            {},
            id="an older job hashed the bytes",
        ),
        pytest.param(
            [a_migration(1, CHANGED)], [an_applied(1, checksum=None)], {}, id="it hashed nothing"
        ),
        pytest.param(
            files(1),
            [an_applied("R__views", kind=Kind.REPEATABLE), *rows(1)],
            {"gone": [-1]},
            id="a repeatable whose file is gone is never missing",
        ),
        pytest.param(
            files(1), [an_applied("init"), *rows(1)], {"missing": [-1]}, id="a row without a number"
        ),
    ],
)
def test_folder_and_history_are_set_beside_each_other(
    migrations: list[Migration], history: list[Applied], expected: dict[str, list[int]]
) -> None:
    plan = make_plan(migrations, history)
    kinds = ("pending", "late", "drifted", "missing", "ahead", "held", "gone")
    found = {kind: [item.number for item in getattr(plan, kind)] for kind in kinds}
    assert {kind: numbers for kind, numbers in found.items() if numbers} == expected
    assert sorted(plan.applied, key=lambda row: row.order) == list(plan.applied)
    assert set(plan.applied) == set(history)


R_A, R_B = a_migration("R__a"), a_migration("R__b")
RAN_A, RAN_B = an_applied("R__a"), an_applied("R__b")
OLD_A, OLD_B = an_applied("R__a", CHANGED), an_applied("R__b", CHANGED)


@pytest.mark.parametrize(
    ("migrations", "history", "expected"),
    [
        pytest.param(
            [*files(1), R_A], [], {"pending": ["001_step", "R__a"]}, id="it runs after all others"
        ),
        pytest.param([*files(1), R_A], [*rows(1), RAN_A], {}, id="it ran with this text"),
        pytest.param(
            [*files(1), R_A, R_B],
            [*rows(1), OLD_A, RAN_B],
            {"pending": ["R__a"]},
            id="its text has changed, and it has not drifted",
        ),
        pytest.param(
            [R_A], [an_applied("R__a", checksum=None)], {"pending": ["R__a"]}, id="nobody knows"
        ),
        pytest.param(
            files(2, 3),
            [*rows(3), RAN_A],
            {"pending": ["002_step"], "late": ["002_step"]} | {"gone": ["R__a"]},
            id="its file is gone",
        ),
        pytest.param(
            [*files(1), R_A],
            rows(1, 2),
            {"ahead": ["002_step"], "held": ["R__a"]},
            id="held: the database is ahead",
        ),
        pytest.param(
            [*files(1, 2), R_A, R_B],
            [*rows(1, 3), OLD_A, RAN_B],
            {"pending": ["002_step"], "late": ["002_step"], "ahead": ["003_step"]}
            | {"held": ["R__a"]},
            id="held, and a late file beside it is not",
        ),
        pytest.param([*files(1), R_A], [RAN_A], {"pending": ["001_step"]}, id="late for none"),
        pytest.param([R_A], rows(1), {"pending": ["R__a"], "missing": ["001_step"]}, id="alone"),
    ],
)
def test_a_repeatable_runs_when_its_text_is_not_what_ran_last(
    migrations: list[Migration], history: list[Applied], expected: dict[str, list[str]]
) -> None:
    plan = make_plan(migrations, history)
    kinds = ("pending", "late", "drifted", "missing", "ahead", "held", "gone")
    found = {kind: [item.version for item in getattr(plan, kind)] for kind in kinds}
    assert {kind: versions for kind, versions in found.items() if versions} == expected


def test_a_held_or_lost_repeatable_is_warned_of_under_every_policy() -> None:
    decision = decide([*files(1), R_A], [*rows(1, 2), RAN_B])
    assert [str(warning) for warning in decision.warnings[1:]] == [
        "R__a.sql: is not what ran last, and is not run: the database is ahead of the folder, "
        "whose repeatables may be older than what is there. "
        "Deploy an image that holds 002_step.",
        "R__b: is a repeatable that ran, and the folder has no file for it; what it made stays. "
        "Restore the file; or drop what it made in a new migration and forget its row by "
        "`repair --not-applied R__b --reason WHY`.",
    ]
    assert (decision.run, decision.failures) == ((), ())


def test_a_late_file_is_set_beside_the_newest_versioned_one() -> None:
    (finding,) = decide(files(1, 2), [*rows(2), RAN_A]).findings[:1]
    assert "older than 002_step" in finding.problem


@pytest.mark.parametrize(
    ("applied", "needs", "late"),
    [
        pytest.param([3], {1: [3]}, [2], id="it waited for what is applied"),
        pytest.param([2], {1: [3]}, [], id="it waits for what is pending"),
        pytest.param([2, 4, 5], {1: [3], 3: [5]}, [], id="by way of another, pending too"),
        pytest.param([2, 3, 4, 5], {1: [3], 3: [5]}, [], id="by way of one that is applied"),
        pytest.param([2, 3, 4, 5], {1: [3]}, [1], id="late by more than it waited for"),
        pytest.param([2, 3], {1: [3, 99]}, [], id="what nobody knows moves nothing"),
        pytest.param([2, 3], {1: [2]}, [1], id="it needs no more than a part of it"),
        pytest.param([5], {1: [2], 2: [1, 5]}, [3, 4], id="a cycle ends"),
    ],
)
def test_a_file_that_waited_for_what_it_requires_is_not_late(
    applied: list[int], needs: dict[int, list[int]], late: list[int]
) -> None:
    """A run that was killed in between left the higher number applied, and the lower pending."""
    named = {f"{v:03}_step": [f"{n:03}_step" for n in found] for v, found in needs.items()}
    plan = make_plan(files(1, 2, 3, 4, 5, 6), rows(*applied), named)
    assert [migration.number for migration in plan.late] == late


def test_a_history_in_any_order_is_put_in_order() -> None:
    plan = make_plan(files(1, 2, 10), rows(10, 2, 1))
    assert [row.number for row in plan.applied] == [1, 2, 10]


@pytest.mark.parametrize(
    ("case", "policy", "error"),
    [
        pytest.param("drift", {}, DriftError, id="drift fails"),
        pytest.param("drift", {"on_drift": FAIL}, DriftError, id="drift fails when asked"),
        pytest.param("drift", {"on_drift": WARN}, None, id="drift warns"),
        pytest.param("missing", {}, MissingError, id="missing fails"),
        pytest.param("missing", {"on_missing": FAIL}, MissingError, id="missing fails when asked"),
        pytest.param("missing", {"on_missing": WARN}, None, id="missing warns"),
        pytest.param("ahead", {}, None, id="ahead warns"),
        pytest.param("ahead", {"on_missing": WARN}, None, id="ahead warns when asked"),
        pytest.param("ahead", {"on_missing": FAIL}, MissingError, id="ahead fails"),
        pytest.param("floor missing", {}, MissingError, id="an old floor fails"),
        pytest.param("floor missing", {"on_missing": FAIL}, MissingError, id="when asked"),
        pytest.param("floor missing", {"on_missing": WARN}, MissingError, id="whatever is asked"),
        pytest.param("floor ahead", {}, MissingError, id="a floor above the image fails"),
        pytest.param("floor ahead", {"on_missing": FAIL}, MissingError, id="it fails when asked"),
        pytest.param("floor ahead", {"on_missing": WARN}, MissingError, id="and when not"),
        pytest.param("late", {}, LateError, id="late fails"),
        pytest.param("late", {"on_late": OnLate.FAIL}, LateError, id="late fails when asked"),
        pytest.param("late", {"on_late": OnLate.APPLY}, None, id="late is applied"),
        pytest.param("late", {"on_late": OnLate.SKIP}, None, id="late is skipped"),
    ],
)
def test_each_policy_judges_its_findings(
    case: str, policy: dict[str, Any], error: type[MigratorError] | None
) -> None:
    migrations, history = {
        "drift": ([a_migration(1, CHANGED)], rows(1)),
        "missing": (files(2), rows(1, 2)),
        "ahead": (files(1), rows(1, 2)),
        "late": (files(1, 2), rows(2)),
        "floor missing": (files(2), [an_applied(1, floor=True), *rows(2)]),
        "floor ahead": (files(1), [*rows(1), an_applied(2, floor=True)]),
    }[case]
    decision = decide(migrations, history, **policy)
    if error is None:
        decision.raise_failures()
        assert len(decision.warnings) == 1
        return
    assert decision.warnings == ()
    with pytest.raises(error) as caught:
        decision.raise_failures()
    assert len(caught.value.findings) == 1


FLOOR: dict[str, Any] = {"floor": True, "applied_at": "2026-05-04T03:02:01Z", "run_id": "0815"}


def test_an_image_below_a_floor_is_told_so_first_and_which_one_is_needed() -> None:
    history = [*rows(1), an_applied(2, **FLOOR), an_applied(3), an_applied(4, floor=True)]
    decision = decide([a_migration(1, CHANGED)], history)
    with pytest.raises(MissingError) as caught:
        decision.raise_failures()
    assert str(caught.value) == (
        "this image is too old for the database, which needs at least one that holds 004_step; "
        "applied files have changed: 001_step.sql"
    )
    assert (
        caught.value.remedy
        == "Deploy such an image; --on-missing warn (ON_MISSING) does not let a floor pass."
    )
    assert [str(finding) for finding in caught.value.findings][:2] == [
        "002_step: is a floor, applied 2026-05-04T03:02:01Z by run 0815, and this image does not "
        "hold it. Deploy an image that holds it.",
        "004_step: is a floor, applied once by run unknown, and this image does not hold it. "
        "Deploy an image that holds it.",
    ]
    assert [finding.file for finding in decision.warnings] == ["003_step"]


def test_a_floor_that_the_image_holds_is_none() -> None:
    decision = decide(files(1), [an_applied(1, floor=True), *rows(2)])
    assert (decision.failures, len(decision.warnings)) == ((), 1)


OTHER = "SELECT 'other';\n"


@pytest.mark.parametrize(
    ("migrations", "history", "renamed"),
    [
        pytest.param(
            [a_migration("007_new")], [an_applied("003_old")], {"003_old": "007_new"}, id="renamed"
        ),
        pytest.param(
            [a_migration("007_new", raw_checksum="raw")],
            [an_applied("003_old", checksum="raw")],
            {"003_old": "007_new"},
            id="after an older job had hashed its bytes",
        ),
        pytest.param(
            [a_migration("001_new")],
            [an_applied("003_old")],
            {"003_old": "001_new"},
            id="to a number below",
        ),
        pytest.param(
            [a_migration(5), a_migration(6, OTHER)],
            [an_applied(3, OTHER), an_applied(4)],
            {"003_step": "006_step", "004_step": "005_step"},
            id="two are told apart by their texts",
        ),
        pytest.param([a_migration(5, OTHER)], rows(3), {}, id="another text"),
        pytest.param(files(5, 6), rows(3), {}, id="two files have the text"),
        pytest.param(files(5), rows(3, 4), {}, id="two applied ones had it"),
        pytest.param(files(5), [an_applied(3, checksum=None)], {}, id="nothing was recorded"),
        pytest.param(files(3, 5), rows(3), {}, id="the file is still there"),
        pytest.param(files(5), rows(5, 3), {}, id="the other file is applied, too"),
        pytest.param(
            [a_migration("R__view")], [an_applied("003_old")], {}, id="a repeatable is none"
        ),
        pytest.param(
            [a_migration("007_new")],
            [an_applied("R__view", kind=Kind.REPEATABLE)],
            {},
            id="nor was it one",
        ),
    ],
)
def test_a_file_is_known_by_its_text(
    migrations: list[Migration], history: list[Applied], renamed: dict[str, str]
) -> None:
    plan = make_plan(migrations, history)
    assert {old: new.version for old, new in plan.renamed.items()} == renamed


@pytest.mark.parametrize(
    ("migrations", "history", "findings"),
    [
        pytest.param(
            [a_migration("007_new")],
            [an_applied("003_old")],
            [
                "003_old: is applied, but the folder has no file for it; 007_new.sql, which is "
                "pending, has the same text. If it was renamed: `repair --rename 003_old "
                "007_new --reason WHY`. Else: Restore the file from version control, or let it "
                "pass: --on-missing warn (ON_MISSING=warn)."
            ],
            id="missing",
        ),
        pytest.param(
            [a_migration("001_new")],
            [an_applied("003_old")],
            [
                "001_new.sql: is pending, but older than 003_old, which is applied. If it was "
                "renamed: `repair --rename 003_old 001_new --reason WHY`. Else: Give it a number "
                "above that: `new --renumber 001_new`; or choose --on-late apply or "
                "--on-late skip (ON_LATE).",
                "003_old: is applied and newer than anything in the folder: the image is older "
                "than the database; 001_new.sql, which is pending, has the same text. If it was "
                "renamed: `repair --rename 003_old 001_new --reason WHY`. Else: Deploy an image "
                "that holds it, when the older one was not meant.",
            ],
            id="ahead and late",
        ),
        pytest.param(
            [a_migration("007_new")],
            [an_applied("003_old", **FLOOR)],
            [
                "003_old: is a floor, applied 2026-05-04T03:02:01Z by run 0815, and this image "
                "does not hold it; 007_new.sql, which is pending, has the same text. If it was "
                "renamed: `repair --rename 003_old 007_new --reason WHY`. Else: Deploy an image "
                "that holds it."
            ],
            id="a floor",
        ),
        pytest.param(
            [a_migration(1, OTHER), a_migration(6), a_migration(7, CHANGED)],
            [an_applied(1, OTHER), an_applied(3), an_applied(4, CHANGED)],
            [
                f"{old}: is applied, but the folder has no file for it; {new}.sql, which is "
                f"pending, has the same text. If it was renamed: `repair --rename {old} {new} "
                "--reason WHY`. Else: Restore the file from version control, or let it pass: "
                "--on-missing warn (ON_MISSING=warn)."
                for old, new in (("003_step", "006_step"), ("004_step", "007_step"))
            ],
            id="two",
        ),
    ],
)
def test_a_renaming_is_proposed_with_its_command(
    migrations: list[Migration], history: list[Applied], findings: list[str]
) -> None:
    assert [str(found) for found in decide(migrations, history).findings] == findings


@pytest.mark.parametrize(
    ("on_late", "run"),
    [
        pytest.param(OnLate.APPLY, [1, 3], id="applied in its order"),
        pytest.param(OnLate.SKIP, [3], id="skipped"),
    ],
)
def test_a_late_file_runs_only_when_told_to(on_late: OnLate, run: list[int]) -> None:
    decision = decide(files(1, 2, 3), rows(2), on_late=on_late)
    assert [migration.number for migration in decision.run] == run


def test_all_findings_are_reported_at_once() -> None:
    migrations = [a_migration(1, CHANGED), a_migration(3), a_migration(5)]
    decision = decide(migrations, rows(1, 2, 4, 6), on_missing=FAIL)
    with pytest.raises(DriftError) as caught:
        decision.raise_failures()
    assert [str(finding) for finding in caught.value.findings] == [
        "001_step.sql: changed after it was applied: recorded b4e0497804e4, file a41109d24069. "
        "Restore it from version control; put the change in a new migration. If it was changed on "
        "purpose, and the database has what it says now: "
        "`repair --accept-checksum 001_step --reason WHY`.",
        "002_step: is applied, but the folder has no file for it. "
        "Restore the file from version control, or let it pass: "
        "--on-missing warn (ON_MISSING=warn).",
        "004_step: is applied, but the folder has no file for it. "
        "Restore the file from version control, or let it pass: "
        "--on-missing warn (ON_MISSING=warn).",
        "006_step: is applied and newer than anything in the folder: the image is older than the "
        "database. Deploy an image that holds it, when the older one was not meant.",
        "003_step.sql: is pending, but older than 006_step, which is applied. Give it a number "
        "above that: `new --renumber 003_step`; or choose --on-late apply or "
        "--on-late skip (ON_LATE).",
        "005_step.sql: is pending, but older than 006_step, which is applied. Give it a number "
        "above that: `new --renumber 005_step`; or choose --on-late apply or "
        "--on-late skip (ON_LATE).",
    ]
    assert str(caught.value) == (
        "applied files have changed: 001_step.sql; "
        "applied migrations have no file: 002_step, 004_step; "
        "applied migrations have no file: 006_step; "
        "pending migrations are older than the newest applied: 003_step.sql, 005_step.sql"
    )


@pytest.mark.parametrize(
    ("on_late", "words"),
    [
        pytest.param(OnLate.APPLY, "which is applied; ON_LATE lets it pass.", id="apply"),
        pytest.param(OnLate.SKIP, "which is applied; it is skipped.", id="skip"),
    ],
)
def test_a_warning_says_what_becomes_of_a_late_file(on_late: OnLate, words: str) -> None:
    (warning,) = decide(files(1, 2), rows(2), on_late=on_late).warnings
    assert words in str(warning)


def test_what_fails_the_run_is_found_before_what_is_only_warned_of() -> None:
    decision = decide([a_migration(1, CHANGED), *files(2)], rows(1, 3), on_drift=WARN)
    assert [finding.file for finding in decision.findings] == [
        "002_step.sql",
        "001_step.sql",
        "003_step",
    ]


@pytest.mark.parametrize(
    ("files", "base", "late"),
    [
        pytest.param([1, 2], ["001_step.sql"], [], id="a newer file"),
        pytest.param([1, 2, 3], ["001_step.sql", "003_step.sql"], ["002_step.sql"], id="older"),
        pytest.param([1], [], [], id="a branch without the folder"),
        pytest.param([1], ["README.md", "R__v.sql", "000_x.down.sql"], [], id="other files"),
        pytest.param(
            [2], ["002_other.sql"], ["002_step.sql"], id="the number is taken on the branch"
        ),
    ],
)
def test_a_new_file_behind_another_branch(
    files: list[int], base: list[str], late: list[str]
) -> None:
    found = behind([a_migration(n) for n in files], base)
    assert [finding.file for finding in found] == late
    assert all("new --renumber 002_step" in finding.remedy for finding in found)


def test_a_repeatable_is_behind_no_branch() -> None:
    assert behind([R_A], ["005_step.sql"]) == ()


def test_a_row_has_the_rank_of_its_file_where_its_version_does_not_say_it() -> None:
    rows = (an_applied("001_a"), an_applied("002_b"))
    plain = [a_migration("001_a"), a_migration("002_b")]
    assert ranked(rows, plain) is rows
    moved = ranked(rows, [plain[0]._replace(rank=((7,), "", 0.0)), plain[1]])
    assert [row.rank for row in moved] == [((7,), "", 0.0), None]
