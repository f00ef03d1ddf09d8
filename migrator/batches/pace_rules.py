"""How large the next batch is, how long the pause before it, and how far a file has come."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

FIRST_ROWS, LEAST_ROWS, LARGEST_ROWS = 100, 10, 100_000
#: Of BATCH_TIME: what a batch aims at, as the next one may take longer.
AIM = 0.8
#: A pause takes this share of the time of the batch before it.
PAUSE = 0.05


def next_size(size: int, spent_ms: int | None, batch_time_ms: int) -> int:
    """The rows of the next batch, by what the last one took of BATCH_TIME; 0 is no limit."""
    if spent_ms is None or not batch_time_ms:
        return size if spent_ms is None else LARGEST_ROWS
    wanted = size * batch_time_ms * AIM / max(spent_ms, 1)
    return round(min(max(wanted, size / 2, LEAST_ROWS), size * 1.5, LARGEST_ROWS))


def pause_seconds(spent_ms: int | None) -> float:
    """How long others have the tables to themselves."""
    return (spent_ms or 0) * PAUSE / 1000


@dataclass(frozen=True, slots=True)
class Advance:
    """How far a file in batches has come, and how fast."""

    rows: int  #: that are walked and committed
    batches: int
    total: int | None  #: of the table, as the statistics have it
    rows_per_second: float | None = None

    @property
    def percent(self) -> int | None:
        """At most 99: the table may have grown since its statistics."""
        if not self.total:
            return None
        return min(99, self.rows * 100 // self.total)

    @property
    def seconds_left(self) -> int | None:
        if not self.total or not self.rows_per_second:
            return None
        return round(max(0, self.total - self.rows) / self.rows_per_second)

    @property
    def words(self) -> str:
        of = "" if self.percent is None else f" of about {self.total:,}"
        count = "1 batch" if self.batches == 1 else f"{self.batches:,} batches"
        return f"{self.rows:,} rows{of}, in {count}"

    @property
    def fields(self) -> dict[str, Any]:
        """For a log line; what is not known is left out."""
        found = {
            "rows": self.rows,
            "batches": self.batches,
            "percent": self.percent,
            "rows_per_second": None
            if self.rows_per_second is None
            else round(self.rows_per_second),
            "seconds_left": self.seconds_left,
        }
        return {key: value for key, value in found.items() if value is not None}
