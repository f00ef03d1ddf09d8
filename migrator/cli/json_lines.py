"""Events -> JSON, one object a line, by python-json-logger."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import LazyLoader
from typing import Any

from migrator.display import escaped_json


class _WhenUsed:
    """A finder of modules that are loaded once something of them is asked for."""

    def __init__(self, names: tuple[str, ...]) -> None:
        self._names = names

    def find_spec(self, name: str, *_: object) -> ModuleSpec | None:
        spec = PathFinder.find_spec(name) if name in self._names else None
        if spec and spec.loader:
            spec.loader = LazyLoader(spec.loader)
        return spec


@contextmanager
def _when_used(*names: str) -> Iterator[None]:
    """Within, an import of these loads nothing yet."""
    finder = _WhenUsed(names)
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)


# it imports these for values that no event has; to load them is a quarter of a no-op run
with _when_used("dataclasses", "uuid"):
    from pythonjsonlogger.json import JsonFormatter


class EventFormatter(JsonFormatter):
    """A line of an event; `ids` are on each of them."""

    def __init__(self, ids: Mapping[str, str]) -> None:
        super().__init__(["levelname", "message"], timestamp=True, json_ensure_ascii=False)
        self._ids = ids

    def process_log_record(self, log_data: dict[str, Any]) -> dict[str, Any]:
        fields = log_data.pop("fields")
        return {
            "timestamp": log_data["timestamp"].isoformat(timespec="milliseconds"),
            "level": log_data["levelname"].lower(),
            "event": log_data["message"],
            **self._ids,
            **fields,
        }

    def format(self, record: logging.LogRecord) -> str:
        return escaped_json(super().format(record))
