"""OpenTelemetry's own SDK and exporter: spans go out by OTLP over HTTP. Nothing else imports it."""

from __future__ import annotations

import logging

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import SpanExportResult
from opentelemetry.sdk.trace.id_generator import IdGenerator, RandomIdGenerator
from opentelemetry.trace import (
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    set_span_in_context,
)

from migrator import __version__
from migrator.telemetry.context_rules import TraceContext
from migrator.telemetry.spans_rules import Spans, TraceSpan

SERVICE = "migrator"


class SpanSender:
    """Sends the spans of one run; what is slow to import is imported when it is made."""

    def __init__(self, seconds: float) -> None:
        self._heard = _Heard()
        self._exporter = OTLPSpanExporter(timeout=seconds)
        self._resource = _resource()

    def send(self, spans: Spans, context: TraceContext, parent: TraceContext | None) -> str:
        """Why it failed; empty when it did not."""
        kept = _Kept()
        provider = TracerProvider(
            resource=self._resource, id_generator=_Ids(context), shutdown_on_exit=False
        )
        provider.add_span_processor(kept)
        tracer = provider.get_tracer(SERVICE, __version__)

        def make(span: TraceSpan, within: SpanContext | None) -> SpanContext:
            above = set_span_in_context(NonRecordingSpan(within)) if within else None
            made = tracer.start_span(
                span.name, above, SpanKind.CLIENT, span.attributes, start_time=span.start
            )
            for name, at, attributes in span.events:
                made.add_event(name, attributes, at)
            if span.error:
                made.set_attribute("error.type", span.error)
                made.set_status(Status(StatusCode.ERROR, span.error))
            made.end(span.end or span.start)
            return made.get_span_context()

        own = make(spans.run, _remote(parent) if parent else None)
        for span in spans.migrations:
            make(span, own)
        if not kept.spans:  # what began the trace does not sample it
            return ""
        done = self._exporter.export(kept.spans)
        return "" if done is SpanExportResult.SUCCESS else self._heard.why or "it was not taken"


class _Kept(SpanProcessor):
    """Keeps what has ended, to be sent at once."""

    def __init__(self) -> None:
        self.spans: list[ReadableSpan] = []

    def on_end(self, span: ReadableSpan) -> None:
        self.spans.append(span)


class _Ids(IdGenerator):
    """The ids that messages and lines bear already, then random ones."""

    def __init__(self, context: TraceContext) -> None:
        self._trace, self._first = int(context.trace_id, 16), [int(context.span_id, 16)]
        self._random = RandomIdGenerator()

    def generate_trace_id(self) -> int:
        return self._trace

    def generate_span_id(self) -> int:
        return self._first.pop() if self._first else self._random.generate_span_id()


class _Heard(logging.Handler):
    """What the SDK and its libraries say, which is no line of ours."""

    def __init__(self) -> None:
        super().__init__()
        self.why = ""
        for name in ("opentelemetry", "urllib3"):
            logger = logging.getLogger(name)
            logger.propagate, logger.handlers = False, [self]

    def emit(self, record: logging.LogRecord) -> None:
        self.why = self.why or record.getMessage()


def _resource() -> Resource:
    """OTEL_RESOURCE_ATTRIBUTES and OTEL_SERVICE_NAME come before what we say ourselves."""
    given = Resource.create()
    own = {SERVICE_VERSION: __version__}
    if str(given.attributes.get(SERVICE_NAME, "")).startswith("unknown_service"):
        own[SERVICE_NAME] = SERVICE
    return Resource({**own, **{k: v for k, v in given.attributes.items() if k not in own}})


def _remote(parent: TraceContext) -> SpanContext:
    return SpanContext(
        int(parent.trace_id, 16),
        int(parent.span_id, 16),
        is_remote=True,
        trace_flags=TraceFlags(int(parent.flags, 16)),
    )
