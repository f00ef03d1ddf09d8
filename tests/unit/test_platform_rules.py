"""Which differences in grants are Supabase's own: both of its states, and nothing else."""

from __future__ import annotations

from typing import Any

import pytest

from migrator.scratch.platform_rules import in_one_line, of_platform
from migrator.scratch.snapshot import Difference, differences, make_snapshot

ALL = ["SELECT", "INSERT", "UPDATE", "DELETE", "REFERENCES", "TRIGGER", "TRUNCATE"]
REST = ALL[4:]


def lines(**rights: list[str]) -> list[str]:
    return sorted(f"{role} {right}" for role, granted in rights.items() for right in granted)


def difference(
    kind: str, before: list[str] | None, now: list[str] | None, name: str = "public.t", **facts: Any
) -> Difference:
    """Of one thing, as it is by the files and in the database; None: it is not there."""
    row = (kind, "public", None, name)
    (found,) = differences(
        make_snapshot([] if before is None else [(*row, {"grants": before})]),
        make_snapshot([] if now is None else [(*row, {"grants": now} | facts)]),
    )
    return found


@pytest.mark.parametrize(
    ("kind", "before", "now"),
    [
        ("table", [], lines(anon=ALL, authenticated=ALL, service_role=ALL)),
        ("table", lines(anon=REST), lines(anon=ALL)),
        (
            "view",
            lines(anon=[*ALL, "MAINTAIN"], owner=ALL),
            lines(anon=[*REST, "MAINTAIN"], owner=ALL),
        ),
        ("sequence", lines(anon=["UPDATE"]), lines(anon=["SELECT", "UPDATE", "USAGE"])),
        ("table", lines(service_role=ALL[:4]), lines(service_role=ALL)),
        ("sequence", lines(anon=["USAGE"]), lines(anon=["UPDATE", "USAGE"])),
        ("function", [], lines(service_role=["EXECUTE"])),
        ("schema", [], lines(anon=["USAGE"], postgres=["USAGE"])),
    ],
)
def test_a_state_of_the_platform_is_its_own(kind: str, before: list[str], now: list[str]) -> None:
    assert of_platform(difference(kind, before, now))
    assert of_platform(difference(kind, now, before))


@pytest.mark.parametrize(
    ("kind", "before", "now"),
    [
        pytest.param("table", [], lines(anon=["SELECT"]), id="a grant that was chosen"),
        pytest.param("table", lines(anon=["SELECT"]), lines(anon=ALL), id="of one side"),
        pytest.param("table", [], lines(anon=ALL[:4]), id="all rows"),
        pytest.param("table", [], lines(app=ALL), id="another role"),
        pytest.param("table", [], lines(anon=ALL, app=["SELECT"]), id="another role as well"),
        pytest.param("table", [], lines(postgres=ALL), id="the role postgres"),
        pytest.param("table", [], ["anon SELECT with grant option"], id="a grant option"),
        pytest.param("schema", [], lines(anon=["CREATE", "USAGE"]), id="CREATE in a schema"),
        pytest.param("enum", [], lines(anon=["USAGE"]), id="a kind without defaults"),
    ],
)
def test_anything_else_is_not(kind: str, before: list[str], now: list[str]) -> None:
    assert not of_platform(difference(kind, before, now))
    assert not of_platform(difference(kind, now, before))


def test_a_thing_that_is_missing_or_differs_in_more_is_not() -> None:
    assert not of_platform(difference("table", lines(anon=ALL), None))
    assert not of_platform(difference("table", None, lines(anon=ALL)))
    assert not of_platform(difference("table", [], lines(anon=ALL), owner="a"))
    assert not of_platform(difference("table", [], [], owner="a"))


@pytest.mark.parametrize(
    ("name", "before", "now", "its_own"),
    [
        ("of a for tables in public", None, lines(anon=ALL, owner=ALL, postgres=ALL), True),
        (
            "of a for tables in public",
            lines(anon=ALL, owner=ALL),
            lines(anon=REST, owner=ALL),
            True,
        ),
        ("of a for tables in public", lines(anon=ALL, owner=ALL), None, True),
        ("of a for functions in public", None, lines(owner=["EXECUTE"]), True),
        ("of a for functions", lines(owner=["EXECUTE"]), None, False),
        ("of a for tables in public", lines(anon=["SELECT"], owner=ALL), None, False),
        ("of a for tables in public", None, lines(anon=ALL, app=["SELECT"]), False),
        ("of a for types in public", None, lines(anon=["USAGE"]), False),
    ],
)
def test_grants_by_default(
    name: str, before: list[str] | None, now: list[str] | None, its_own: bool
) -> None:
    assert of_platform(difference("default privileges", before, now, name)) is its_own


def test_what_it_comes_to_is_one_line() -> None:
    said = "Supabase's own grants to anon, authenticated and service_role differ"
    defaults = difference("default privileges", None, [], "of a for tables")
    assert in_one_line([defaults]) == said
    tables = [difference("table", [], lines(anon=ALL), f"public.t{n}") for n in range(6)]
    assert in_one_line([defaults, *tables[:2]]) == f"{said} on public.t0, public.t1"
    shown = "public.t0, public.t1, public.t2, public.t3, public.t4 and 1 more"
    assert in_one_line(tables) == f"{said} on {shown}"
