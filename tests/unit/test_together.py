"""Which files share a message, and the message of several."""

from __future__ import annotations

import pytest

from migrator.history.flight import Leg, make_flight
from migrator.history.guard import NEXT
from migrator.history.place import Limits
from migrator.plan.together import (
    FILE_CHARS,
    MANY,
    MESSAGE_CHARS,
    MOST,
    TRIP_SECONDS,
    count_together,
    files_per_flight,
)
from migrator.postgres.quoting import begins_clean
from tests.builders import PLACE, a_script

FAR, NEAR = 2 * TRIP_SECONDS, TRIP_SECONDS / 2


@pytest.mark.parametrize(
    ("wanted", "pending", "trip_seconds", "most"),
    [
        pytest.param(None, MANY, FAR, MOST, id="many and far"),
        pytest.param(None, MANY - 1, FAR, 1, id="few"),
        pytest.param(None, 1000, NEAR, 1, id="near"),
        pytest.param(1, 1000, FAR, 1, id="turned off"),
        pytest.param(5, 2, NEAR, 5, id="asked for"),
    ],
)
def test_how_many_share_a_message(
    wanted: int | None, pending: int, trip_seconds: float, most: int
) -> None:
    assert files_per_flight(wanted, pending, trip_seconds) == most


LARGE = "SELECT '" + "x" * (FILE_CHARS - 10) + "'"


@pytest.mark.parametrize(
    ("files", "most", "count"),
    [
        pytest.param(["SELECT 1"] * 5, 4, 4, id="as many as may"),
        pytest.param(["SELECT 1"] * 3, 4, 3, id="all there are"),
        pytest.param(["SELECT 1", "SELECT 1"], 1, 1, id="turned off"),
        pytest.param(["SELECT 1", "-- migrator: no-transaction\nVACUUM"], 4, 1, id="outside"),
        pytest.param(
            ["-- migrator: no-transaction\nVACUUM", "SELECT 1"], 4, 1, id="outside, first"
        ),
        pytest.param(["SELECT 1", "-- migrator: lock-timeout 5s\nSELECT 1"], 4, 1, id="own limit"),
        pytest.param(
            ["SELECT 1", "SELECT 2", "-- migrator: statement-timeout 0\nSELECT 1"],
            4,
            2,
            id="none, of its own",
        ),
        pytest.param(["SELECT 1", "COPY t FROM stdin;\n1\n\\.\n"], 4, 1, id="rows"),
        pytest.param(["SELECT 1", LARGE + "   "], 4, 1, id="a long file"),
        pytest.param([LARGE] * 5, 5, MESSAGE_CHARS // FILE_CHARS, id="too long together"),
        pytest.param([LARGE + "    ", "SELECT 1"], 4, 1, id="a long file, first"),
    ],
)
def test_which_files_share_a_message(files: list[str], most: int, count: int) -> None:
    assert count_together([a_script(sql) for sql in files], most) == count


def test_several_files_are_one_message_that_each_of_them_sees_in_its_own_way() -> None:
    bodies = ["SELECT 'ä';\nSELECT 2;\n", "SELECT 3", "SELECT 4;"]
    legs = [Leg(a_script(sql, f"00{n}_x"), f"head {n}") for n, sql in enumerate(bodies)]
    [message] = make_flight(legs, PLACE, Limits())
    assert [leg.body for leg in message.legs] == bodies
    assert {leg.sent for leg in message.legs} == {message.sent}
    assert begins_clean(message.sent)
    text = message.text
    assert text.count(NEXT) == 2
    assert text.count("RESET ALL") == 1 + 2 + 1  # before, between, behind
    places = [text.index(f"/* migrator 00{n}_x, run {PLACE.run_id} */") for n in range(3)]
    assert places == sorted(places)
    for n, leg in enumerate(message.legs):
        assert f"<> 'head {n}'" in text
        assert leg.blames_file(leg.results_before)
        assert not leg.blames_file(leg.results_before - 1)
        assert leg.results > leg.results_before + leg.statements
    assert not message.legs[1].blames_file(message.legs[0].results)


def test_one_file_is_a_message_of_its_own() -> None:
    [message] = make_flight([Leg(a_script("SELECT 1"), "head")], PLACE, Limits())
    assert message.legs == ()
    assert NEXT not in message.text
