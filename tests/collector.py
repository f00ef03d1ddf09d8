"""A collector of traces, which keeps what it is sent, as OpenTelemetry's own classes read it."""

from __future__ import annotations

import gzip
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span


@dataclass
class Collector:
    """What has come, and where to send it."""

    url: str
    bodies: list[bytes] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)

    @property
    def resource(self) -> dict[str, str | int | bool]:
        (one,) = ExportTraceServiceRequest.FromString(self.bodies[-1]).resource_spans
        return values(one.resource.attributes)

    @property
    def spans(self) -> dict[str, Span]:
        """By their names, all of the newest request."""
        request = ExportTraceServiceRequest.FromString(self.bodies[-1])
        return {
            span.name: span
            for resource in request.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        }


def values(attributes: Iterable[KeyValue]) -> dict[str, str | int | bool]:
    return {one.key: getattr(one.value, one.value.WhichOneof("value") or "") for one in attributes}


@contextmanager
def collector(status: int = 200, silent: bool = False) -> Iterator[Collector]:
    """One that answers with `status`, or never."""
    over = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            found.bodies.append(body)
            found.headers.append(dict(self.headers))
            if silent:
                over.wait()
                return
            self.send_response(status)
            self.end_headers()
            self.wfile.write(ExportTraceServiceResponse().SerializeToString())

        def log_message(self, *_: object) -> None:
            """Nothing is written."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    found = Collector(f"http://127.0.0.1:{server.server_port}")
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield found
    finally:
        over.set()
        server.shutdown()
        server.server_close()
