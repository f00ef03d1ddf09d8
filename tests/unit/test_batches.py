"""How a file in batches is paced, what its cursor says, and what a table must be like."""

from __future__ import annotations

from typing import Any

import pytest

from migrator.batches.cursor import Cursor, cursor_head, ended, moved
from migrator.batches.facts_rules import check_walked
from migrator.batches.lag_rules import furthest_behind
from migrator.batches.message import Bounds, Walked, around, find_bounds, find_walked
from migrator.batches.pace_rules import Advance, next_size, pause_seconds
from migrator.commands.repair_rules import Claim, Known, assume
from migrator.commands.rollback_rules import half_done
from migrator.errors import DirtyError, DriftError, SourceError
from migrator.history.place import Limits
from migrator.plan.batching_rules import changed_midway, cursor_lost, renamed_midway
from migrator.plan.plan import make_plan
from migrator.plan.progress import Answer, Line, Progress, Way, fold
from migrator.plan.undo import Origin, UndoPlan, UndoStep, Wish, check_started
from migrator.sql.batched import Batches
from tests.builders import PLACE, RUN_ID, a_migration, a_script, an_applied

WALKED = Walked('"public"."t"', '"id"', "bigint", 1000)
BATCHES = Batches(1, ("t",), "id")
UPDATE = (
    "-- migrator: batches t by id\nUPDATE t SET a = 1 WHERE id BETWEEN "
    "current_setting('migrator.from')::int AND current_setting('migrator.upto')::int;\n"
)
FACTS = ("public", "t", "r", "bigint", True, True, 1000)


@pytest.mark.parametrize(
    ("size", "spent_ms", "batch_time_ms", "found"),
    [
        pytest.param(1000, 160, 200, 1000, id="as aimed"),
        pytest.param(1000, 80, 200, 1500, id="too short: half as many more at most"),
        pytest.param(1000, 100, 200, 1500, id="short"),
        pytest.param(1000, 200, 200, 800, id="as long as it may be"),
        pytest.param(1000, 2000, 200, 500, id="too long: half at least"),
        pytest.param(12, 9000, 200, 10, id="never less than ten"),
        pytest.param(90_000, 1, 200, 100_000, id="never more than a hundred thousand"),
        pytest.param(100, 0, 200, 150, id="no time at all"),
        pytest.param(100, None, 200, 100, id="not known: the answer was lost"),
        pytest.param(100, 9000, 0, 100_000, id="no limit"),
    ],
)
def test_the_next_batch_follows_the_time_of_the_last(
    size: int, spent_ms: int | None, batch_time_ms: int, found: int
) -> None:
    assert next_size(size, spent_ms, batch_time_ms) == found


def test_a_pause_is_a_share_of_the_batch() -> None:
    assert pause_seconds(200) == pytest.approx(0.01)
    assert pause_seconds(None) == 0


@pytest.mark.parametrize(
    ("advance", "words", "fields"),
    [
        (Advance(500, 1, None), "500 rows, in 1 batch", {"rows": 500, "batches": 1}),
        (
            Advance(1_200_000, 88, 2_000_000, 88_000.4),
            "1,200,000 rows of about 2,000,000, in 88 batches",
            {
                **{"rows": 1_200_000, "batches": 88, "percent": 60},
                **{"rows_per_second": 88_000, "seconds_left": 9},
            },
        ),
        (
            Advance(300, 3, 200, 10.0),
            "300 rows of about 200, in 3 batches",
            {"rows": 300, "batches": 3, "percent": 99, "rows_per_second": 10, "seconds_left": 0},
        ),
    ],
)
def test_how_far_it_has_come_is_said(advance: Advance, words: str, fields: dict[str, int]) -> None:
    assert advance.words == words
    assert advance.fields == fields


def a_cursor(last: str = "500", batches: int = 5, version: str = "007_orders") -> Cursor:
    return Cursor(version, "c0ffee", last, batches * 100, 1000, batches, 70, RUN_ID)


def test_the_cursors_head_depends_on_each_row_and_on_no_order() -> None:
    rows = [a_cursor(), a_cursor(version="006_a")]
    assert cursor_head(rows) == cursor_head(rows[::-1])
    assert cursor_head(rows) != cursor_head(rows[:1])
    assert cursor_head(rows[:1]) != cursor_head([a_cursor("501")])


def test_the_first_batch_begins_the_journal_and_the_others_do_not() -> None:
    first = moved(PLACE, None, a_cursor(batches=1), Way.FORTH)
    assert [write.log for write in first] == [0, 1]
    assert "'way'" not in first[1].sql
    back = moved(PLACE, None, a_cursor(batches=1), Way.BACK)
    assert '"way": "back"' in back[1].sql
    [second] = moved(PLACE, a_cursor(batches=1), a_cursor(batches=2), Way.FORTH)
    assert second.sql.startswith("UPDATE")
    unknown = Cursor("a", "b", "c", 1, None, 1, 1, RUN_ID)
    assert "total = NULL" in moved(PLACE, unknown, unknown, Way.FORTH)[0].sql
    assert ended(PLACE, "a", rows=None).rows is None


def test_a_batch_is_told_its_bounds_and_guards_the_cursor() -> None:
    bounds = Bounds.of(WALKED, "1", "it's", 7, more=True)
    assert (bounds.rows, bounds.is_last) == (7, False)
    without = around(PLACE, bounds, None)
    assert "MG001" in without.before[0]
    assert without.before[1].endswith("set_config('migrator.from', '1', true)")
    assert without.before[2].endswith("set_config('migrator.upto', 'it''s', true)")
    assert (without.checks, tuple(without.tables)) == ("", ())
    beside = around(PLACE, bounds, cursor_head([a_cursor()]))
    assert cursor_head([a_cursor()]) in beside.before[0]
    assert beside.checks.count("MG007") == 2


def test_where_there_is_no_row_nothing_lies_between_the_bounds() -> None:
    bounds = Bounds.of(WALKED, None, None, 0, more=None)
    assert (bounds.low, bounds.high, bounds.is_last) == ("1", "0", True)


def test_the_next_batch_is_looked_for_behind_the_last_key() -> None:
    limits = Limits(search_path=("app",), run_as="owner")
    text = find_bounds(PLACE, WALKED, "it's", 100, limits)
    assert """WHERE t."id" > 'it''s'::bigint ORDER BY t."id" LIMIT 100""" in text
    assert 'SET LOCAL ROLE "owner"' in text
    assert " > " not in find_bounds(PLACE, WALKED, None, 100, limits).partition("ORDER BY")[0]
    assert 'SET LOCAL search_path TO "app"' in find_walked(PLACE, BATCHES, limits)


def test_a_table_with_a_key_can_be_walked() -> None:
    assert check_walked(a_script(UPDATE), BATCHES, *FACTS) == WALKED


@pytest.mark.parametrize(
    ("at", "value", "problem"),
    [
        (0, None, "there is no table t"),
        (2, "v", "t is no table"),
        (3, None, "t has no column id"),
        (3, "numeric", "id of t is numeric, by which no table is walked"),
        (5, False, "id of t has no unique index of its own"),
        (4, False, "id of t may be NULL, and rows without a key are never reached"),
    ],
)
def test_any_other_is_refused(at: int, value: Any, problem: str) -> None:
    facts: list[Any] = [*FACTS]
    facts[at] = value
    with pytest.raises(SourceError) as caught:
        check_walked(a_script(UPDATE), BATCHES, *facts)
    [finding] = caught.value.findings
    assert (finding.line, finding.problem) == (1, problem)


def a_line(event: str, **detail: Any) -> Line:
    return Line("007_orders", event, RUN_ID, detail)


def test_the_journal_says_that_batches_have_begun() -> None:
    in_part = fold([a_line("batching", checksum="c0ffee"), a_line("failed", message="no")])
    assert in_part["007_orders"] == Progress(batches="c0ffee")
    back = fold([a_line("batching", checksum="c0ffee", way="back")])
    assert back["007_orders"] == Progress(way=Way.BACK, batches="c0ffee")
    for over in ("applied", "rolled_back"):
        assert fold([a_line("batching", checksum="c0ffee"), a_line(over)]) == {}


def test_what_has_changed_midway_says_how_it_can_go_on() -> None:
    assert "`repair --not-applied 001_step" in changed_midway(a_migration(1)).remedy
    assert "`repair --applied 001_step" in changed_midway(a_migration(1, undoes=True)).remedy


def test_a_file_that_was_renamed_midway_gets_its_old_name_back() -> None:
    error = renamed_midway(a_migration(2), "001_step")
    assert "its text is that of 001_step" in error.message
    assert "`repair --not-applied 001_step" in error.remedy


def test_a_cursor_that_is_gone_is_asked_about() -> None:
    assert "lets all of it run again" in cursor_lost(a_migration(2)).remedy
    assert "all of the migration is there again" in cursor_lost(a_migration(2, undoes=True)).remedy


def test_nothing_is_undone_below_what_is_half_done() -> None:
    error = half_done({"007_orders": Progress(batches="c0ffee")})
    assert isinstance(error, DirtyError)
    assert "007_orders" in error.message


@pytest.mark.parametrize(("began", "fits"), [("same", True), ("other", False)])
def test_an_undo_goes_on_with_the_text_that_it_began_with(began: str, *, fits: bool) -> None:
    script = a_script(UPDATE)
    step = UndoStep(an_applied("007_orders"), script, Origin.STORED)
    checksum = script.migration.checksum if began == "same" else "c0ffee"
    started = {"007_orders": Progress(way=Way.BACK, batches=checksum)}
    plan = UndoPlan((step,))
    if fits:
        check_started(plan, Wish(), started)
        return
    with pytest.raises(DriftError):
        check_started(plan, Wish(), started)


@pytest.mark.parametrize("answer", [Answer.APPLIED, Answer.NOT_APPLIED])
def test_an_answer_takes_the_cursor_away(answer: Answer) -> None:
    migration = a_migration("007_orders")
    plan = make_plan([migration], [])
    in_part = {"007_orders": Progress(batches=migration.checksum)}
    known = Known([migration], plan, {}, PLACE, batching=in_part)
    found = assume(known, Claim(answer, "007_orders", "tested"))
    assert any("DELETE" in write.sql and "cursor" in write.sql for write in found.records)
    row = an_applied("007_orders")
    undone = Known([migration], make_plan([migration], [row]), {}, PLACE, undoing=in_part)
    found = assume(undone, Claim(answer, "007_orders", "tested"))
    assert any("DELETE" in write.sql and "cursor" in write.sql for write in found.records)


@pytest.mark.parametrize(
    ("rows", "found"),
    [
        pytest.param([], None, id="nobody"),
        pytest.param([("standby", "a", None)], None, id="one whose place is not shown"),
        pytest.param(
            [("standby", "a", 5), ("standby", "b", 9), ("slot", "s", 99)],
            ("standby b", 9),
            id="a standby's slot says less than the standby",
        ),
        pytest.param(
            [("standby", "a", None), ("slot", "s", 7), ("slot", "u", None)],
            ("slot s", 7),
            id="slots, where standbys are not shown",
        ),
    ],
)
def test_the_furthest_behind_is_waited_for(
    rows: list[tuple[str, str, int | None]], found: tuple[str, int] | None
) -> None:
    assert furthest_behind(rows) == found
