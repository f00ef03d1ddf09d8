"""Which facts matter on the live database."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from migrator.model import Allow, Danger, Finding
from migrator.preflight.facts import Fact, Traced, as_file, as_traced
from migrator.preflight.judge import Judged, Size, Sizes, advisable, judge_files, without
from tests.builders import a_migration

LIMIT = 10 * 1024 * 1024
BIG, SMALL, EMPTY = Size(2 * LIMIT, 1000), Size(8192, 10), Size(0, 0, filled=False)
SIZES = Sizes({"public.orders": BIG, "public.items": BIG, "public.few": SMALL, "public.no": EMPTY})
SCAN = Fact(3, "ALTER TABLE", Danger.SCAN, "public.orders", "check", "ACCESS EXCLUSIVE")
MASS = Fact(4, "UPDATE", Danger.MASS, "public.orders", lock="ROW EXCLUSIVE", sure=False)
GONE = Fact(5, "ALTER TABLE", Danger.DESTROY, "public.orders", "column note dropped")
EMPTIED = Fact(2, "TRUNCATE", Danger.DESTROY, "public.orders", "emptied", empties=True)
ADVICE = Fact(1, "CREATE TABLE", Danger.ADVICE, "public.new", "rls")


def a_file(*facts: Fact, version: str = "2_a", **values: tuple[object, ...]) -> Traced:
    return Traced(version, f"{version}.sql", facts, **values)  # type: ignore[arg-type]


def judged(
    *files: Traced, sizes: Sizes = SIZES, allows: Sequence[Allow] = (), apart: bool = False
) -> Judged:
    return judge_files(files, sizes, LIMIT, {"2_a.sql": allows}, 150018, apart=apart)


def counted(*files: Traced, sizes: Sizes = SIZES, apart: bool = False) -> list[tuple[Danger, str]]:
    found = judged(*files, sizes=sizes, apart=apart).counted
    return [(hazard.fact.danger, hazard.fact.relation) for hazard in found]


@pytest.mark.parametrize(
    ("fact", "matters"),
    [
        pytest.param(GONE, True, id="data is gone from any table with a row"),
        pytest.param(replace(GONE, relation="public.few"), True, id="from a small one, too"),
        pytest.param(replace(GONE, relation="public.no"), False, id="not from an empty one"),
        pytest.param(replace(GONE, relation="public.new"), False, id="nor from a new one"),
        pytest.param(replace(SCAN, danger=Danger.LOCKS, reads=("public.items",)), True, id="locks"),
        pytest.param(
            replace(SCAN, danger=Danger.LOCKS, relation="public.few", reads=("public.items",)),
            False,
            id="a small table is locked fast",
        ),
        pytest.param(
            replace(SCAN, danger=Danger.HELD, reads=("public.few",)), False, id="held for a moment"
        ),
        pytest.param(MASS, False, id="few rows change, as far as is known"),
        pytest.param(replace(MASS, sure=True), True, id="all rows were read"),
        pytest.param(replace(MASS, sure=True, relation="public.few"), False, id="of a small table"),
    ],
)
def test_what_matters(fact: Fact, matters: bool) -> None:
    assert bool(counted(a_file(fact))) is matters


@pytest.mark.parametrize(("rows", "matters"), [(10, False), (900, True)])
def test_the_planners_rows_decide_how_much_is_changed(rows: int, matters: bool) -> None:
    sizes = replace(SIZES, changes={("2_a.sql", 4): rows})
    assert bool(counted(a_file(MASS), sizes=sizes)) is matters


def test_a_rewrite_counts_what_is_stored_apart() -> None:
    sizes = Sizes({"public.orders": replace(SMALL, toast=LIMIT)})
    rewrite = replace(SCAN, danger=Danger.REWRITE)
    assert counted(a_file(SCAN, rewrite), sizes=sizes) == [(Danger.REWRITE, "public.orders")]


def test_where_nobody_was_asked_each_table_counts() -> None:
    assert counted(a_file(replace(SCAN, relation="app.x")), sizes=Sizes({}, Size(None)))


def test_a_held_table_is_weighed_by_what_is_read_meanwhile() -> None:
    held = replace(SCAN, danger=Danger.HELD)
    sizes = replace(SIZES, by_name={**SIZES.by_name, "public.secret": Size(None)})
    both = [replace(held, reads=(name,)) for name in ("public.items", "public.secret")]
    [hazard] = judged(a_file(*both), sizes=sizes).counted
    assert hazard.fact.reads == ("public.secret",)
    assert hazard.message.endswith("meanwhile")  # of what nobody measured no time is known


def test_what_fails_at_once_reads_nothing() -> None:
    fails = replace(SCAN, danger=Danger.FAILS, what="at")
    found = judged(a_file(SCAN, fails))
    assert [hazard.fact for hazard in found.counted] == [fails]
    assert found.sure_to_fail == found.counted
    assert without(found, found.sure_to_fail).counted == ()


def test_where_no_row_is_left_nothing_is_done_to_rows() -> None:
    assert counted(a_file(EMPTIED, SCAN)) == [(Danger.DESTROY, "public.orders")]
    files = (a_file(EMPTIED), a_file(SCAN, version="3_b"))
    assert counted(*files) == [(Danger.DESTROY, "public.orders")]
    assert counted(*files, apart=True) == [
        (Danger.DESTROY, "public.orders"),
        (Danger.SCAN, "public.orders"),
    ]


def test_a_later_file_is_judged_by_the_names_of_the_live_database() -> None:
    first = a_file(
        creates=("public.new", "public.orders"), renames=(("public.orders", "public.old"),)
    )
    held = replace(SCAN, danger=Danger.HELD, relation="public.old", reads=("public.items",))
    second = a_file(
        replace(SCAN, relation="public.old"),
        replace(SCAN, relation="public.new"),
        replace(held, reads=("public.new", "public.items")),
        version="3_b",
    )
    found = judged(first, second).counted
    assert [(one.fact.danger, one.fact.relation, one.fact.reads) for one in found] == [
        (Danger.SCAN, "public.orders", ()),
        (Danger.HELD, "public.orders", ("public.items",)),
    ]


def test_an_allow_lets_pass_what_it_names_and_is_a_finding_when_it_names_nothing() -> None:
    used = Allow(1, Danger.SCAN, "orders", "at night")
    unused = Allow(2, Danger.MASS, "orders", "few rows")
    found = judged(a_file(SCAN, ADVICE), allows=[used, unused])
    assert (found.counted, [allow for _, allow in found.allowed]) == ((), [used])
    assert [hazard.fact for hazard in found.advice] == [ADVICE]
    assert found.findings == found.unused
    [finding] = found.findings
    assert (finding.problem, finding.line) == ("`allow mass orders` meets nothing in this file", 2)


def test_a_hazard_as_a_finding_and_as_json() -> None:
    found = judged(a_file(SCAN))
    [hazard] = found.counted
    said = hazard.as_dict()
    assert (said["class"], said["relation"], said["line"]) == ("scan", "public.orders", 3)
    assert found.findings == (Finding("2_a.sql", hazard.message, hazard.remedy, 3),)


@pytest.mark.parametrize(
    ("supabase", "granted", "left"),
    [
        pytest.param(False, (), ["key: id"], id="no Data API"),
        pytest.param(True, (), ["rls", "grants", "open: anon", "key: id"], id="a Data API"),
        pytest.param(True, ("anon",), ["rls", "open: anon", "key: id"], id="grants by default"),
    ],
)
def test_advice_that_is_of_no_use_is_left_out(
    supabase: bool, granted: tuple[str, ...], left: list[str]
) -> None:
    advice = [replace(ADVICE, what=what) for what in ("rls", "grants", "open: anon", "key: id")]
    [one] = advisable([a_file(SCAN, *advice)], supabase=supabase, granted=granted)
    assert [fact.what for fact in one.facts] == ["check", *left]


def test_the_facts_of_a_file_hold_for_the_text_that_they_were_written_of() -> None:
    migration = a_migration(2)
    traced = Traced(
        migration.version, migration.file, (SCAN,), ("public.a",), (("public.b", "public.c"),)
    )
    written = as_file(traced, migration, "head")
    assert as_traced(written, migration, "head") == traced
    with pytest.raises(ValueError, match="another text"):
        as_traced(written, migration, "another head")
