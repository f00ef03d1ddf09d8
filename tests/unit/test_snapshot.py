"""In what two snapshots differ, in values and in words."""

from __future__ import annotations

from typing import Any

import pytest

from migrator.scratch.snapshot import Snapshot, differences, make_snapshot, schemas, within

TABLE = ("table", "public", None, "public.t", {"owner": "a", "row level security": True})
COLUMN = ("column", "public", "public.t", "public.t.c", {"type": "text", "default": None})
ENUM = ("enum", "other", None, "other.e", {"labels": ["a", "b"]})
EXTENSION = ("extension", None, None, "plpgsql", {"version": "1.0"})
SYSTEM: Any = ("function", "pg_catalog", None, "f()", {})
ROLE: Any = ("default privileges", None, None, "of a for tables", {"grants": []})


def of(*rows: Any) -> Snapshot:
    return make_snapshot(rows)


def changed(row: Any, **facts: Any) -> Any:
    return (*row[:4], row[4] | facts)


@pytest.mark.parametrize(
    ("before", "now", "words"),
    [
        pytest.param([TABLE, COLUMN], [COLUMN, TABLE], [], id="the order is of no account"),
        pytest.param([ENUM], [], ["enum other.e is there before, and not now"], id="what is gone"),
        pytest.param([], [ENUM], ["enum other.e is there now, and not before"], id="what is new"),
        pytest.param(
            [TABLE, COLUMN],
            [],
            ["table public.t is there before, and not now"],
            id="a table goes with all its parts",
        ),
        pytest.param(
            [TABLE, COLUMN],
            [TABLE],
            ["column public.t.c is there before, and not now"],
            id="a part alone",
        ),
        pytest.param(
            [COLUMN],
            [changed(COLUMN, type="integer", default="x" * 300)],
            [
                "column public.t.c differs: type text before, integer now; "
                f"default none before, {'x' * 200}… now"
            ],
            id="facts",
        ),
        pytest.param(
            [TABLE],
            [changed(TABLE, **{"row level security": False})],
            ["table public.t differs: row level security yes before, no now"],
            id="a flag",
        ),
        pytest.param(
            [ENUM],
            [changed(ENUM, labels=["b", "c"])],
            ["enum other.e differs: labels: a only before; c only now"],
            id="of a list what the other has not",
        ),
        pytest.param(
            [ENUM],
            [changed(ENUM, labels=["b", "a"])],
            ["enum other.e differs: labels: the same in another order"],
            id="a list in another order",
        ),
        pytest.param(
            [ENUM],
            [changed(ENUM, options="fast")],
            ["enum other.e differs: options none before, fast now"],
            id="a fact that was not there",
        ),
        pytest.param(
            [ENUM, COLUMN],
            [TABLE, COLUMN],
            [
                "enum other.e is there before, and not now",
                "table public.t is there now, and not before",
            ],
            id="several, by kind and name",
        ),
    ],
)
def test_what_differs(before: list[Any], now: list[Any], words: list[str]) -> None:
    assert [found.in_words() for found in differences(of(*before), of(*now))] == words


def test_the_snapshots_are_called_what_the_reader_knows_them_by() -> None:
    (found,) = differences(of(ENUM), of())
    words = found.in_words("by the files", "in the database")
    assert words == "enum other.e is there by the files, and not in the database"


@pytest.mark.parametrize(
    ("before", "now", "expected"),
    [
        pytest.param([TABLE], [changed(TABLE, owner="b")], True, id="an owner"),
        pytest.param([TABLE], [changed(TABLE, owner="b", x=1)], False, id="and more"),
        pytest.param([], [ROLE], True, id="a platform's default privileges"),
        pytest.param([ROLE], [], False, id="default privileges that are missing"),
        pytest.param([], [TABLE], False, id="a table"),
    ],
)
def test_what_no_text_makes_is_told_apart(before: Any, now: Any, expected: bool) -> None:
    (found,) = differences(of(*before), of(*now))
    assert found.of_circumstance is expected


def test_the_schemas_of_the_user_and_what_is_in_them() -> None:
    everything = of(TABLE, COLUMN, ENUM, EXTENSION, ROLE, SYSTEM)
    assert schemas(everything) == {"public", "other"}
    assert within(everything, {"other"}) == of(ENUM, EXTENSION)
