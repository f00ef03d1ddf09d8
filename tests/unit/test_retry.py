from __future__ import annotations

import math
from typing import cast

import pytest

from migrator.postgres.connect_failures import Failure, FailureKind
from migrator.postgres.retry import Trouble, retry
from migrator.postgres.stop import Watch

CIRCUIT_OPEN = Failure(FailureKind.RETRY, "pooler", "", wait_seconds=30.0)


class RefusedError(Exception):
    def __init__(self, verdict: Failure | None = None) -> None:
        super().__init__()
        self.verdict = verdict


class Sleeper:
    """A watch that sleeps in no time, and knows for how long."""

    def __init__(self) -> None:
        self.pauses: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)


class Sending:
    """What fails with these errors, one after the other, and then is "done"."""

    def __init__(self, *errors: RefusedError) -> None:
        self.errors = list(errors)
        self.sleeper = Sleeper()
        self.told: list[tuple[RefusedError, int]] = []

    def send(self) -> str:
        if self.errors:
            raise self.errors.pop(0)
        return "done"

    def retried(self, for_seconds: float = math.inf) -> str:
        return retry(
            self.send,
            cast(Watch, self.sleeper),
            Trouble(
                RefusedError,
                lambda: for_seconds,
                lambda error, attempt: self.told.append((error, attempt)),
            ),
        )


def test_pauses_double_up_to_their_cap_and_stay_there() -> None:
    errors = [RefusedError() for _ in range(12)]
    sending = Sending(*errors)
    assert sending.retried() == "done"
    for n, pause in enumerate(sending.sleeper.pauses[:5]):
        assert 0.1 * 2**n <= pause <= 0.1 * 2**n + 0.1
    assert sending.sleeper.pauses[5:] == [3.0] * 7
    assert sending.told == list(zip(errors, range(1, 13), strict=True))


def test_a_pause_that_the_server_is_known_to_want_is_kept_above_the_cap() -> None:
    sending = Sending(RefusedError(), RefusedError(CIRCUIT_OPEN), RefusedError())
    assert sending.retried() == "done"
    before, wanted, after = sending.sleeper.pauses
    assert wanted == 30.0
    assert max(before, after) <= 3.0


def test_a_pause_that_would_outlast_the_limit_is_not_begun() -> None:
    """The last error is raised instead, as it came."""
    last = RefusedError(CIRCUIT_OPEN)
    sending = Sending(RefusedError(), last)
    with pytest.raises(RefusedError) as raised:
        sending.retried(for_seconds=20.0)
    assert raised.value is last
    assert len(sending.sleeper.pauses) == 1


def test_the_last_pause_is_cut_so_that_the_last_try_comes_at_the_end() -> None:
    sending = Sending(RefusedError())
    assert sending.retried(for_seconds=0.05) == "done"
    assert sending.sleeper.pauses[0] <= 0.05


class OuterError(Exception):
    """A trouble of an outer row."""


class InnerError(OuterError):
    """One of a row further in."""


def test_an_outer_trouble_lets_the_inner_rows_begin_anew() -> None:
    """Their pauses start small again, and so does their time."""
    errors: list[Exception] = [InnerError(), InnerError(), OuterError(), InnerError()]
    said: list[tuple[str, int]] = []
    asked: list[str] = []

    def row(kind: type[Exception], name: str) -> Trouble:
        def seconds() -> float:
            asked.append(name)
            return math.inf

        return Trouble(kind, seconds, lambda _error, attempt: said.append((name, attempt)))

    def send() -> str:
        if errors:
            raise errors.pop(0)
        return "done"

    table = row(OuterError, "outer"), row(InnerError, "inner")
    assert retry(send, cast(Watch, Sleeper()), *table) == "done"
    assert said == [("inner", 1), ("inner", 2), ("outer", 1), ("inner", 1)]
    assert asked == ["inner", "outer", "inner"]


def test_what_fits_no_row_ends_the_loop_as_it_came() -> None:
    odd = Trouble(RefusedError, lambda: math.inf, lambda *_: None, fits=lambda _error: False)
    sending = Sending(RefusedError())
    with pytest.raises(RefusedError):
        retry(sending.send, cast(Watch, sending.sleeper), odd)
    assert sending.sleeper.pauses == []


def test_what_a_row_makes_of_its_last_error_is_raised_from_it() -> None:
    caught: list[Exception] = []
    last = RefusedError()
    over = Trouble(
        RefusedError, float, lambda *_: None, caught=caught.append, over=lambda _e: KeyError()
    )
    sending = Sending(last)
    with pytest.raises(KeyError) as raised:
        retry(sending.send, cast(Watch, sending.sleeper), over)
    assert raised.value.__cause__ is last
    assert caught == [last]
