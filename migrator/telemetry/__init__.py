"""Traces: events go in, spans come out, and OpenTelemetry's SDK sends them when the run is over.

No run without OTEL_* or TRACEPARENT in its environment reads this room.
"""
