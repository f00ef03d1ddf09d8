"""Facts from two moments, and what is said of them; what a server does is in tests/database."""

from __future__ import annotations

from dataclasses import replace

import pytest

from migrator.model import Allow, Danger
from migrator.preflight.compare import Ran, read_facts
from migrator.preflight.facts import RANK, Fact, Traced, as_fact
from migrator.preflight.judge import Size, Sizes, judge_files
from migrator.preflight.moment import Column, Moment, Relation
from migrator.preflight.texts import safe_way

TABLE = Relation("public.orders", "r", 1, None)
COLUMNS = {1: {1: Column("id", False, False)}}
START = Moment({1: TABLE}, COLUMNS, {}, {}, counted=True)
SHUT = {1: RANK["ACCESS EXCLUSIVE"]}
CHECK = Ran(3, "ALTER TABLE orders ADD CHECK (id > 0)")
SCAN = Fact(3, "ALTER TABLE", Danger.SCAN, "public.orders", "check", "ACCESS EXCLUSIVE")
TWENTY_MB = Size(20 * 1024 * 1024, 1000)
LIMIT = 10 * 1024 * 1024


def facts(scans: tuple[int, int], *, counted: bool = True) -> list[tuple[Danger, bool]]:
    """Of an ALTER TABLE whose counter of scans went from one to the other."""
    before, after = (
        replace(START, relations={1: replace(TABLE, scans=number)}, counted=counted)
        for number in scans
    )
    found = read_facts(before, [(CHECK, before, replace(after, locks=SHUT))])
    return [(fact.danger, fact.sure) for fact in found]


def test_a_counter_that_rose_is_a_scan_and_one_that_stayed_is_none() -> None:
    assert facts((0, 1)) == [(Danger.SCAN, True)]
    assert facts((1, 1)) == []


def test_a_counter_that_became_smaller_is_unknown_and_never_no_scan() -> None:
    assert facts((2, 1)) == [(Danger.SCAN, False)]


@pytest.mark.parametrize(
    ("danger", "what", "version", "part"),
    [
        (Danger.SCAN, "not null", 150000, "CHECK (column IS NOT NULL) NOT VALID"),
        (Danger.SCAN, "not null", 180000, "NOT NULL column NOT VALID"),
        (Danger.REWRITE, "vacuum", 180000, "`VACUUM public.orders` without FULL"),
        (Danger.REWRITE, "vacuum", 190000, "it is not MVCC-safe"),
        (Danger.SCAN, "index", 150000, "CREATE INDEX CONCURRENTLY name ON public.orders"),
        (Danger.ADVICE, "key: a, b", 150000, "CREATE INDEX ON public.orders (a, b)"),
    ],
)
def test_the_safe_way_is_that_of_the_server(
    danger: Danger, what: str, version: int, part: str
) -> None:
    assert part in safe_way(replace(SCAN, danger=danger, what=what), version)


def test_a_fact_is_read_as_it_was_written() -> None:
    assert as_fact(SCAN.as_dict()) == SCAN
    with pytest.raises(ValueError, match="nothing"):
        as_fact({**SCAN.as_dict(), "class": "nothing"})


@pytest.mark.parametrize(
    ("size", "found"),
    [
        pytest.param(TWENTY_MB, [Danger.SCAN], id="a big table"),
        pytest.param(Size(65_536, 10), [], id="a small one"),
        pytest.param(Size(None), [Danger.SCAN], id="nobody may say how big"),
        pytest.param(None, [], id="it is new there"),
    ],
)
def test_the_size_decides(size: Size | None, found: list[Danger]) -> None:
    sizes = Sizes({} if size is None else {"public.orders": size})
    judged = judge_files([Traced("2_a", "2_a.sql", (SCAN,))], sizes, LIMIT, {}, 150000)
    assert [hazard.fact.danger for hazard in judged.counted] == found


@pytest.mark.parametrize(
    ("relation", "covers"), [("public.orders", True), ("orders", True), ("*", True), ("o", False)]
)
def test_an_allow_names_a_relation_or_any(relation: str, covers: bool) -> None:
    assert Allow(1, Danger.SCAN, relation, "why").covers(Danger.SCAN, "public.orders") is covers
    assert not Allow(1, Danger.MASS, relation, "why").covers(Danger.SCAN, "public.orders")


def test_one_line_a_file_says_that_a_table_is_held() -> None:
    held = [
        replace(SCAN, danger=Danger.HELD, line=line, reads=(name,))
        for line, name in ((2, "public.small"), (5, "public.big"), (7, "public.middle"))
    ]
    by_name = {
        "public.orders": Size(0),
        "public.small": Size(1),
        "public.big": replace(TWENTY_MB, bytes=3 * LIMIT),
        "public.middle": TWENTY_MB,
    }
    traced = [Traced("2_a", "2_a.sql", tuple(held))]
    judged = judge_files(traced, Sizes(by_name), LIMIT, {}, 150000)
    assert [hazard.fact.line for hazard in judged.counted] == [5]
