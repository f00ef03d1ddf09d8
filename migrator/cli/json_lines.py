"""Events -> JSON, one object a line, by python-json-logger."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from types import ModuleType
from typing import Any

from migrator.display import escaped_json


class _WhenUsed(ModuleType):
    """Stands for a module, in what imports it now, until something of it is asked for.

    The lock of imports holds then. `importlib.util.LazyLoader` has none before Python 3.13: of two
    threads that ask for the same module, such as one that is stopped, one finds half of it.
    """

    def __getattr__(self, name: str) -> Any:
        if sys.modules.get(self.__name__) is self:
            del sys.modules[self.__name__]
        return getattr(import_module(self.__name__), name)


@contextmanager
def _when_used(*names: str) -> Iterator[None]:
    """Within, an import of these loads nothing yet."""
    put = {name: _WhenUsed(name) for name in names if name not in sys.modules}
    sys.modules.update(put)
    try:
        yield
    finally:
        for name, module in put.items():
            if sys.modules.get(name) is module:
                del sys.modules[name]


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
