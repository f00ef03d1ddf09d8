"""What has held a run up since it wrote its newest line of the log: how long, and behind whom."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

BLOCKERS = 5  #: of those in the way


class Delay:
    """Tries that were refused and waits for the runners' lock, for the next line of the log."""

    def __init__(self) -> None:
        self._seconds = 0.0
        self._waits_for: dict[str, Any] = {}
        self._blockers: dict[str, dict[str, Any]] = {}
        self._unknown: str | None = None  #: why nobody was seen

    def add(self, seconds: float, seen: Mapping[str, Any] | None = None) -> None:
        """So long more, with what was seen of those in the way."""
        seen = seen or {}
        self._seconds += seconds
        self._waits_for = seen.get("waits_for", self._waits_for)
        self._unknown = seen.get("blockers_unknown", self._unknown)
        for blocker in seen.get("blockers", ()):
            called = str(blocker.get("pid") or blocker.get("prepared_transaction"))
            self._blockers.pop(called, None)  # the newest last, as it was seen last
            self._blockers[called] = dict(blocker)

    @property
    def detail(self) -> dict[str, Any]:
        """What the line says of it; nothing where nothing was in the way."""
        if not self._seconds:
            return {}
        found: dict[str, Any] = {"waited_ms": round(self._seconds * 1000)}
        if self._waits_for:
            found["waits_for"] = self._waits_for
        if self._blockers:
            return {**found, "blockers": list(self._blockers.values())[-BLOCKERS:]}
        return found | ({"blockers_unknown": self._unknown} if self._unknown else {})
