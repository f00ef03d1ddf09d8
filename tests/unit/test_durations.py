from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from migrator.durations import Rhythm, format_duration, limit_seconds, parse_duration


@pytest.mark.parametrize(
    ("text", "ms"),
    [
        ("500ms", 500),
        ("2s", 2_000),
        ("5min", 300_000),
        ("1h", 3_600_000),
        ("1d", 86_400_000),
        ("2500us", 2),
        ("1.5s", 1_500),
        (" 30 min ", 1_800_000),
        ("0", 0),
        ("0s", 0),
        ("2147483647ms", 2**31 - 1),
    ],
)
def test_a_duration_is_read_as_postgresql_reads_it(text: str, ms: int) -> None:
    assert parse_duration(text) == ms


@pytest.mark.parametrize("text", ["", "5", "-1s", "5m", "5 S", "1e3ms", "2s 3ms", "s", "٣s"])
def test_anything_else_is_refused_with_examples(text: str) -> None:
    with pytest.raises(ValueError, match="is not a duration: write 500ms"):
        parse_duration(text)


@pytest.mark.parametrize("text", ["25d", "2147483648ms"])
def test_more_than_postgresql_can_hold_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="too long"):
        parse_duration(text)


@pytest.mark.parametrize("text", ["1us", "0.4ms"])
def test_less_than_a_millisecond_is_refused_as_it_would_mean_no_limit(text: str) -> None:
    with pytest.raises(ValueError, match="too short"):
        parse_duration(text)


@given(st.integers(0, 2**31 - 1))
def test_every_number_of_milliseconds_can_be_said(ms: int) -> None:
    assert parse_duration(f"{ms}ms") == ms


def test_no_limit_is_for_ever() -> None:
    assert (limit_seconds(0), limit_seconds(1500)) == (math.inf, 1.5)


@pytest.mark.parametrize("text", ["0ms", "1ms", "1500ms", "2s", "90s", "30min", "1h", "25h", "2d"])
def test_a_duration_is_written_as_it_is_read(text: str) -> None:
    assert format_duration(parse_duration(text)) == text


@pytest.mark.parametrize(
    ("lock_timeout", "interval", "rhythm"),
    [
        pytest.param(2000, 10_000, (1.0, 1.0, 5.0, 10.0), id="the defaults"),
        pytest.param(100, 1000, (0.05, 0.25, 1.0, 1.0), id="not too often"),
        pytest.param(0, 10_000, (math.inf, math.inf, 5.0, 10.0), id="no limit for a lock"),
        pytest.param(2000, 0, (1.0, 1.0, math.inf, math.inf), id="no lines of progress"),
    ],
)
def test_a_wait_is_looked_after_at_half_of_its_limit(
    lock_timeout: int, interval: int, rhythm: tuple[float, ...]
) -> None:
    made = Rhythm.of(lock_timeout, interval)
    assert (made.first_look, made.look, made.first_progress, made.progress) == rhythm
    assert made.first == min(rhythm)
