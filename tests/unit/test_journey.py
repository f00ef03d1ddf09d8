"""What is known of each migration of a message while it is under way."""

from __future__ import annotations

import json

import pytest

from migrator.apply.journey import Journey
from migrator.history.flight import Leg, make_flight
from migrator.history.guard import BETWEEN, NEXT, SIGN
from migrator.history.message import Message
from migrator.history.place import Limits
from migrator.postgres.libpq import Notice
from migrator.report import Done
from tests.builders import PLACE, RUN_ID, a_script

SCRIPTS = [a_script(f"SELECT {n}", f"00{n}_x") for n in range(4)]
DONE = [Done(f"00{n}_x", 10 * n) for n in range(4)]


def info(message: str) -> Notice:
    return Notice("INFO", "00000", message)


def report(n: int, **more: object) -> Notice:
    return info(SIGN + json.dumps({"run_id": RUN_ID, "xid": str(n), "ms": 10 * n, **more}))


def journey() -> tuple[Journey, list[Done]]:
    landed: list[Done] = []
    return Journey(RUN_ID, SCRIPTS, landed.append, lambda tally: None), landed


def message(journey: Journey) -> Message:
    legs = [Leg(script, "head") for script in journey.aboard]
    [made] = make_flight(legs, PLACE, Limits())
    return made


def test_a_leg_is_over_when_commit_is_answered_behind_its_report() -> None:
    one, landed = journey()
    sent = message(one)
    one.depart(sent)
    assert one.commit() is None  # of the reset
    assert one.hear(report(0))
    assert one.commit() == sent.legs[0].results
    assert one.commit() is None
    assert one.hear(info(NEXT))
    assert landed == DONE[:1]
    assert (one.version, one.message) == ("001_x", sent.legs[1])
    assert one.under_way == ("001_x", "002_x", "003_x")


def test_the_last_leg_is_over_with_the_message() -> None:
    one, landed = journey()
    one.depart(message(one))
    for n in range(4):
        one.hear(report(n))
        one.commit()
    assert landed == DONE[:3]
    one.arrive()
    assert landed == DONE
    assert one.is_over
    assert one.under_way == ()
    assert one.version == "003_x"


@pytest.mark.parametrize(
    "said",
    [
        "hello",
        SIGN,
        SIGN + "{}",
        SIGN + '{"run_id": "another", "xid": "1", "ms": 1}',
        SIGN + '{"run_id": "' + RUN_ID + '"}',
        SIGN + "7",
        SIGN + "[" * 90_000,
        SIGN + '{"run_id": "' + RUN_ID + '", "xid": "1\'; SELECT 2", "ms": 1}',
        SIGN + '{"run_id": "' + RUN_ID + '", "xid": null, "ms": 1}',
        SIGN + '{"run_id": "' + RUN_ID + '", "xid": "1", "ms": 1e400}',
    ],
)
def test_what_a_file_says_is_no_report(said: str) -> None:
    one, landed = journey()
    one.depart(message(one))
    assert not one.hear(info(said))
    assert one.commit() is None
    assert landed == []


@pytest.mark.parametrize(
    ("said", "tally"),
    [
        ("-12", -12),
        ("", None),
        ("a", None),
        ("1\n", None),
        ("1" * 41, None),
        (7, None),
        (None, None),
    ],
)
def test_a_tally_is_heard_of_before_the_leg_has_landed(said: object, tally: int | None) -> None:
    """A file may have lost it, or changed it; the rest of the report is ours even so."""
    heard: list[object] = []
    one = Journey(RUN_ID, SCRIPTS, heard.append, heard.append)
    one.depart(message(one))
    assert one.hear(report(0, tally=said))
    one.commit()
    assert heard == [*([] if tally is None else [tally]), DONE[0]]
    one.hear(report(1))
    one.commit()
    assert heard[-1:] == DONE[1:2]


@pytest.mark.parametrize(
    ("answered", "blamed", "next_ones"),
    [
        pytest.param(0, 2, 2, id="the third cannot be read: the first two go"),
        pytest.param(0, None, 1, id="nobody says which: one by one"),
        pytest.param(0, 0, None, id="it is the first"),
        pytest.param(9, 2, None, id="something ran"),
    ],
)
def test_what_cannot_be_read_keeps_nobody_else(
    answered: int, blamed: int | None, next_ones: int | None
) -> None:
    one, _ = journey()
    sent = message(one)
    one.depart(sent)
    position = None if blamed is None else sent.legs[blamed].body_starts + 1
    assert one.shorten(answered, position) is (next_ones is not None)
    if next_ones:
        assert len(one.aboard) == next_ones
        one.depart(message(one))
        one.arrive()
        assert len(one.aboard) == (1 if blamed is None else 4 - next_ones)


def test_what_is_refused_behind_all_of_them_goes_one_by_one() -> None:
    one, _ = journey()
    sent = message(one)
    one.depart(sent)
    assert one.shorten(0, len(sent.text))
    assert len(one.aboard) == 1


def test_between_two_legs_are_the_resets_and_nothing_of_the_next_one() -> None:
    one, _ = journey()
    sent = message(one)
    one.depart(sent)
    at = sent.legs[0].results
    assert not one.is_between(at)  # the first one is under way
    one.hear(report(0))
    one.commit()
    assert [n for n in range(at + 20) if one.is_between(n)] == list(range(at, at + len(BETWEEN)))
    assert not one.is_between(None)
    assert at + len(BETWEEN) < sent.legs[1].results_before
    one.arrive()
    assert not one.is_between(at)


def test_one_script_is_never_shortened() -> None:
    one, _ = journey()
    one.most = 1
    one.depart(message(one))
    assert not one.shorten(0, None)
    assert len(one.aboard) == 1
