"""Events of a run -> its spans: one of the run, one of each migration, never a text of SQL."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from migrator.model import Event

#: With the run's own; a folder of thousands is no trace that anybody reads.
MOST_SPANS = 128
OPENS = {"migration.started": "apply", "undo.started": "undo"}
CLOSES = ("migration.applied", "migration.undone", "migration.failed")
#: Which events a span has, and what of them: no message of the server's, which may quote a file.
WITHIN_SPAN = {
    "migration.retry": ("reason", "sqlstate", "attempt", "losses"),
    "connection.retry": ("reason", "attempt"),
    "connection.opened": ("server_version", "tls", "backend_pid"),
    "lock.waiting": ("waited_ms",),
    "migration.progress": ("running_ms", "wait_event"),
    "hook.done": ("version", "execution_time_ms"),
    "run.stopped": ("stopped_by",),
}
_TARGET = re.compile(r"(?:.*@)?(?P<host>[^@]*?)(?::(?P<port>\d+))?/(?P<name>[^/]*)")
Attribute = str | int | bool


@dataclass(slots=True)
class TraceSpan:
    """One span; times in nanoseconds since 1970."""

    name: str
    start: int
    attributes: dict[str, Attribute]
    end: int = 0
    events: list[tuple[str, int, dict[str, Attribute]]] = field(default_factory=list)
    error: str | None = None  #: SQLSTATE, or the name of our error


class Spans:
    """What the events of one run come to."""

    def __init__(self, run_id: str, at: int) -> None:
        common: dict[str, Attribute] = {"db.system.name": "postgresql"}
        self.run = TraceSpan("migrator", at, {**common, "migrator.run_id": run_id})
        self.migrations: list[TraceSpan] = []
        self._open: dict[str, TraceSpan] = {}
        self._dropped = 0

    def hear(self, event: Event, at: int) -> None:
        """An event of the run, at this time."""
        version = str(event.fields.get("version"))
        if event.name == "run.started":
            self._name(str(event.fields["command"]))
        elif event.name in OPENS:
            self._begin(version, OPENS[event.name], at)
        elif event.name in CLOSES:
            self._finish(version, event.fields, at)
        elif event.name == "run.finished":
            self._finish_all(event.fields, at)
        elif event.name in WITHIN_SPAN:
            kept = _kept(event.fields, WITHIN_SPAN[event.name])
            span = self._open.get(version, self.run)
            span.events.append((event.name, at, kept))
            if event.name == "migration.retry":
                span.attributes["migrator.attempts"] = _count(span) + 1

    def _name(self, command: str) -> None:
        self.run.name = f"migrator {command}"
        self.run.attributes["db.operation.name"] = command

    def _begin(self, version: str, operation: str, at: int) -> None:
        attributes: dict[str, Attribute] = {
            "db.system.name": "postgresql",
            "db.operation.name": operation,
            "migrator.version": version,
            "migrator.attempts": 1,
        }
        self._open[version] = TraceSpan(f"{operation} {version}", at, attributes)

    def _finish(self, version: str, fields: Mapping[str, Any], at: int) -> None:
        span = self._open.pop(version, None)
        if span is None:
            return
        span.end = at
        if (spent := fields.get("execution_time_ms")) is not None:
            span.attributes["migrator.execution_time_ms"] = spent
        if state := fields.get("sqlstate"):
            span.error = str(state)
            span.attributes["db.response.status_code"] = span.error
        self._keep(span)

    def _keep(self, span: TraceSpan) -> None:
        """Among the first ones, or in the place of the last one where it failed."""
        if len(self.migrations) < MOST_SPANS - 1:
            self.migrations.append(span)
            return
        self._dropped += 1
        if span.error:
            self.migrations[-1] = span

    def _finish_all(self, result: Mapping[str, Any], at: int) -> None:
        error = result["error"]
        self.run.end = at
        self.run.attributes["process.exit.code"] = result["exit_code"]
        if self._dropped or len(self._open) > MOST_SPANS:
            self.run.attributes["migrator.spans_dropped"] = self._dropped
        if not self.run.attributes.get("db.operation.name"):
            self._name(result["command"] or "?")
        if error is not None:
            self.run.error = str(error.get("sqlstate") or error["type"])
            if error.get("sqlstate"):
                self.run.attributes["db.response.status_code"] = self.run.error
        for span in self._open.values():  # the run ended within it
            span.end, span.error = at, self.run.error
            self._keep(span)
        self._open.clear()
        where = _where(result["target"])
        for span in (self.run, *self.migrations):
            span.attributes |= where


def _kept(fields: Mapping[str, Any], names: tuple[str, ...]) -> dict[str, Attribute]:
    return {name: fields[name] for name in names if isinstance(fields.get(name), str | int)}


def _count(span: TraceSpan) -> int:
    return int(span.attributes.get("migrator.attempts", 1))


def _where(target: str | None) -> dict[str, Attribute]:
    """Server and database, of ROLE@HOST:PORT/DATABASE."""
    found = _TARGET.fullmatch(target or "")
    if found is None:
        return {}
    where: dict[str, Attribute] = {"server.address": found["host"], "db.namespace": found["name"]}
    return {**where, **({"server.port": int(found["port"])} if found["port"] else {})}
