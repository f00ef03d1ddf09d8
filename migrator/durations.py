"""Durations as PostgreSQL writes them: 500ms, 2s, 5min, 1h, 1d."""

from __future__ import annotations

import math
import re
from typing import NamedTuple

_UNITS = {"us": 0.001, "ms": 1, "s": 1_000, "min": 60_000, "h": 3_600_000, "d": 86_400_000}
_LONGEST_MS = 2**31 - 1  # PostgreSQL keeps its timeouts in 32 bits of milliseconds


def parse_duration(text: str) -> int:
    """Milliseconds, rounded; 0 needs no unit. ValueError says what to write instead."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(us|ms|s|min|h|d)?", text.strip(), re.ASCII)
    if not found or (found[2] is None and float(found[1])):
        raise ValueError(f'"{text}" is not a duration: write 500ms, 2s, 5min, 1h, 1d or 0')
    exact_ms = float(found[1]) * _UNITS[found[2] or "ms"]
    if exact_ms > _LONGEST_MS:
        raise ValueError(f'"{text}" is too long: PostgreSQL takes at most {_LONGEST_MS}ms (24d)')
    if 0 < exact_ms < 1:  # rounded to 0 it would mean no limit at all
        raise ValueError(f'"{text}" is too short: PostgreSQL counts in whole milliseconds')
    return round(exact_ms)


def limit_seconds(duration_ms: int) -> float:
    """A limit in seconds; 0 stands for no limit."""
    return duration_ms / 1000 if duration_ms else math.inf


def format_duration(duration_ms: int) -> str:
    """As `parse_duration` reads it, in the largest unit that keeps it whole: 30min, 1500ms."""
    for unit in ("d", "h", "min", "s"):
        if duration_ms and duration_ms % _UNITS[unit] == 0:
            return f"{duration_ms // int(_UNITS[unit])}{unit}"
    return f"{duration_ms}ms"


#: A statement is slow after this time, or after PROGRESS_INTERVAL when that is shorter.
SLOW_SECONDS = 5.0
#: The least time between two looks: each takes locks of the lock manager's own.
LOOK_SECONDS = 0.25


class Rhythm(NamedTuple):
    """When a waiting statement is looked after, in seconds of its wait; infinite is never."""

    first_look: float  #: for blockers, half of lock_timeout
    look: float  #: the time between two looks
    first_progress: float
    progress: float  #: the time between two lines of progress

    @classmethod
    def of(cls, lock_timeout_ms: int, progress_interval_ms: int) -> Rhythm:
        """0 ms is no limit for a lock, and no lines of progress."""
        half = limit_seconds(lock_timeout_ms) / 2
        interval = limit_seconds(progress_interval_ms)
        first = min(SLOW_SECONDS, interval) if progress_interval_ms else interval
        return cls(half, max(half, LOOK_SECONDS), first, max(interval, LOOK_SECONDS))

    @property
    def first(self) -> float:
        """Before this there is nothing to do."""
        return min(self.first_look, self.first_progress)
