"""Whether a run is traced, and by which ids: what the environment says of it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

#: W3C Trace Context, version 00; ids of zeros only are none.
_TRACEPARENT = re.compile(r"00-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})")
_ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
_PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
_HEADERS = ("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "OTEL_EXPORTER_OTLP_HEADERS")
OTLP_HTTP = "http/protobuf"


@dataclass(frozen=True, slots=True)
class TraceContext:
    """A span, as others name it."""

    trace_id: str  #: 32 hex digits
    span_id: str  #: 16
    flags: str = "01"

    @property
    def traceparent(self) -> str:
        return f"00-{self.trace_id}-{self.span_id}-{self.flags}"


def parent_of(environment: Mapping[str, str]) -> TraceContext | None:
    """What TRACEPARENT names; None where it is not there or malformed, which starts a new trace."""
    found = _TRACEPARENT.fullmatch(environment.get("TRACEPARENT", "").strip())
    return TraceContext(found[1], found[2], found[3]) if found else None


def is_sent(environment: Mapping[str, str]) -> bool:
    """Whether spans are wanted: an endpoint is named, and nothing turns them off."""
    exporters = environment.get("OTEL_TRACES_EXPORTER", "").strip() or "otlp"
    return (
        any(environment.get(name, "").strip() for name in _ENDPOINTS)
        and environment.get("OTEL_SDK_DISABLED", "").strip().lower() != "true"
        and "otlp" in exporters.split(",")
    )


def foreign_protocol(environment: Mapping[str, str]) -> str | None:
    """The protocol that is asked for and not spoken here."""
    named = next((found for name in _PROTOCOLS if (found := environment.get(name, ""))), OTLP_HTTP)
    return None if named == OTLP_HTTP else named


def header_secrets(environment: Mapping[str, str]) -> tuple[str, ...]:
    """The values of headers, which no line may hold."""
    pairs = (pair for name in _HEADERS for pair in environment.get(name, "").split(","))
    return tuple(filter(None, (pair.partition("=")[2].strip() for pair in pairs)))
