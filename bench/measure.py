"""What a process spends, and several contenders measured so that a busy machine hits all alike."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median, quantiles
from typing import TypeVar

LAUNCH = Path(__file__).with_name("launch.py")

T = TypeVar("T")


class FailedError(Exception):
    """A contender failed, so that there is nothing to compare."""


@dataclass(frozen=True, slots=True)
class Spent:
    """What one process took from its start to its end."""

    wall_ms: float
    cpu_ms: float  #: user and system
    peak_mb: float  #: the largest resident set, in 10^6 bytes
    stderr: str


class Figure:
    """One quantity, measured several times; printed as least (median)."""

    def __init__(self, values: Iterable[float]) -> None:
        self.values = tuple(values)
        self.least = min(self.values)  #: the cost itself, as other programs only ever add to it
        self.median = median(self.values)

    @property
    def lower_quartile(self) -> float:
        return quantiles(self.values)[0]

    def __str__(self) -> str:
        return f"{self.least:.1f} ({self.median:.1f})"


def wall_ms(runs: Iterable[Spent]) -> Figure:
    return Figure(run.wall_ms for run in runs)


def cpu_ms(runs: Iterable[Spent]) -> Figure:
    return Figure(run.cpu_ms for run in runs)


def spend(command: Sequence[str], environment: Mapping[str, str]) -> Spent:
    """Run a command to its end with just this environment; FailedError unless it succeeds."""
    done = subprocess.run(
        [sys.executable, "-I", "-S", str(LAUNCH), *command],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise FailedError(f"{' '.join(command)[:200]} ended with {done.returncode}:\n{done.stderr}")
    wall, cpu, peak = map(float, done.stdout.split())
    return Spent(wall * 1000, cpu * 1000, peak / 1e6, done.stderr)


def race(contenders: Mapping[str, Callable[[], T]], rounds: int) -> dict[str, list[T]]:
    """Every contender once a round, in an order that is turned round each time."""
    results: dict[str, list[T]] = {name: [] for name in contenders}
    for number in range(rounds):
        for name in list(contenders)[:: -1 if number % 2 else 1]:
            results[name].append(contenders[name]())
    return results
