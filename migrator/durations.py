"""Durations as PostgreSQL writes them: 500ms, 2s, 5min, 1h, 1d."""

from __future__ import annotations

import math
import re

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
