"""The trace of one run: its ids, which messages and lines bear, and its spans, sent at the end."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from migrator.model import Event, Tell
from migrator.telemetry.context_rules import (
    OTLP_HTTP,
    TraceContext,
    foreign_protocol,
    header_secrets,
    is_sent,
    parent_of,
)
from migrator.telemetry.spans_rules import Spans

if TYPE_CHECKING:
    from migrator.telemetry.otlp import SpanSender

TRACE_SECONDS, STOPPED_TRACE_SECONDS = 2.0, 0.5
COLLECTOR_LOOK_SECONDS = (
    0.05  #: how often the wait for the collector looks whether the run was stopped
)
GET_EXTRA = (
    "Install the extra, pip install 'migrator-job[otel]', or build the image with EXTRAS=otel."
)


class Trace:
    """What is kept of a run for its trace."""

    def __init__(self, context: TraceContext, parent: TraceContext | None, run_id: str) -> None:
        self.context, self.parent = context, parent
        self.spans = Spans(run_id, time.time_ns())
        self.secrets: tuple[str, ...] = ()
        self.sender: SpanSender | None = None
        self.missing: Event | None = None  #: why nothing can be sent, to be said once

    def listening(self, tell: Tell) -> Tell:
        """`tell`, and the trace hears it too."""

        def both(event: Event) -> None:
            self.spans.hear(event, time.time_ns())
            tell(event)

        if self.missing:
            tell(self.missing)
        return both if self.sender else tell

    def send(self, stopped: Callable[[], object]) -> Event | None:
        """Send the spans, within a limit; what to say when that failed. Never raises."""
        if self.sender is None:
            return None
        said: list[str] = []
        sender = self.sender

        def work() -> None:
            try:
                said.append(sender.send(self.spans, self.context, self.parent))
            except Exception as error:
                said.append(f"{type(error).__name__}: {error}")

        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        began = time.monotonic()
        while thread.is_alive():
            thread.join(COLLECTOR_LOOK_SECONDS)
            limit = STOPPED_TRACE_SECONDS if stopped() else TRACE_SECONDS
            if time.monotonic() - began >= limit:
                break
        failed = said[0] if said else f"no answer within {limit:g} s"
        return (
            _failure(failed, "Check OTEL_EXPORTER_OTLP_ENDPOINT and the collector.")
            if failed
            else None
        )


def start_trace(environment: Mapping[str, str], run_id: str) -> Trace | None:
    """The trace that the environment asks for; None where there is nothing to continue or send."""
    parent, sent = parent_of(environment), is_sent(environment)
    if not sent:
        return Trace(parent, parent, run_id) if parent else None
    made = TraceContext(os.urandom(16).hex(), os.urandom(8).hex())
    context = replace(made, trace_id=parent.trace_id, flags=parent.flags) if parent else made
    trace = Trace(context, parent, run_id)
    trace.secrets = header_secrets(environment)
    if named := foreign_protocol(environment):
        remedy = f"Set OTEL_EXPORTER_OTLP_PROTOCOL to {OTLP_HTTP}, and the collector's port for it."
        trace.missing = _failure(f"the protocol {named} is not spoken here", remedy)
        return trace
    try:
        from migrator.telemetry.otlp import SpanSender

        trace.sender = SpanSender(TRACE_SECONDS)
    except ImportError as error:
        trace.missing = _failure(f"OpenTelemetry's SDK is not there: {error}", GET_EXTRA)
    return trace


def _failure(error: str, remedy: str) -> Event:
    return Event("telemetry.failed", "warning", {"error": error, "remedy": remedy})
