"""Which tests the gate leaves to `.ci/full`: of a grid, all but as many as show each value once."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path

import pytest

FULL = "full"
#: Where a test takes a database, and a grid of them minutes.
GRIDS = tuple(f"{Path(__file__).parent / name}/" for name in ("database", "faults"))


def mark_full(items: Sequence[pytest.Item]) -> None:
    """Mark as `full` what the gate leaves out; the same items in each worker.

    A value may have the mark already: of the others each stays in the gate.
    """
    grids = defaultdict(list)
    for item in items:
        here = str(item.path).startswith(GRIDS) and item.get_closest_marker(FULL) is None
        if here and isinstance(item, pytest.Function) and hasattr(item, "callspec"):
            grids[item.path, item.originalname].append(item)
    for grid in grids.values():
        # one id for each `parametrize` and each fixture with parameters
        for place in to_spare([item.callspec._idlist for item in grid]):
            grid[place].add_marker(FULL)


def to_spare(points: Sequence[Sequence[str]]) -> list[int]:
    """The places of the points without which each value of each coordinate still occurs. Pure.

    Of the points that bring as many new values, the one whose other values came up least is kept.
    """
    left = list(range(len(points)))
    values = [set(enumerate(point)) for point in points]
    missing = set().union(*values)
    kept: Counter[tuple[int, str]] = Counter()
    while missing:
        best = max(left, key=lambda n: (len(missing & values[n]), -sum(kept[v] for v in values[n])))
        left.remove(best)
        missing -= values[best]
        kept.update(values[best])
    return left
