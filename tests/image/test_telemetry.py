"""The image with `EXTRAS=otel` sends its spans; the one without it has nothing of that."""

from __future__ import annotations

import base64
import gzip
import os
import secrets
from collections.abc import Iterator
from contextlib import closing

import docker
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.collector import values
from tests.image.conftest import build
from tests.image.containers import Database, Runner, until

pytestmark = pytest.mark.full  # it builds the image once more; test_contents has the plain one
TRACE = "0af7651916cd43dd8448eb211c80319c"
LARGEST_EXTRA = 30_000_000  # bytes, uncompressed
#: Takes one request, by the interpreter of the image, whose library has no server.
LISTENER = """
import base64, socket, sys
server = socket.create_server(("", 4318))
print("ready", flush=True)
connection, _ = server.accept()
file = connection.makefile("rb")
head = {}
for line in iter(file.readline, b"\\r\\n"):
    name, _, value = line.decode().partition(":")
    head[name.lower()] = value.strip()
body = file.read(int(head["content-length"]))
connection.sendall(b"HTTP/1.1 200 OK\\r\\nContent-Length: 0\\r\\n\\r\\n")
print(head.get("content-encoding", "identity"), base64.b64encode(body).decode())
"""


@pytest.fixture(scope="module")
def traced_image(image: str) -> str:
    """The image with the extra, whose packages come from the index."""
    try:
        return build("migrator-otel:test", "--build-arg", "EXTRAS=otel")
    except AssertionError as error:
        if os.environ.get("REQUIRE_INDEX") == "1":
            raise
        pytest.skip(f"needs a package index: {str(error)[-400:]}")


@pytest.fixture
def traced(engine: docker.DockerClient, traced_image: str, network: str) -> Iterator[Runner]:
    with closing(Runner(engine, traced_image, network)) as made:
        yield made


def test_the_traced_image_sends_a_span_of_a_run_and_of_each_migration(
    traced: Runner, database: Database
) -> None:
    assert traced.run("up", environment={"DATABASE_URL": database.url}).code == 0
    name = f"collector-{secrets.token_hex(4)}"
    (program, *flags, _) = traced.engine.images.get(traced.image).attrs["Config"]["Entrypoint"]
    listener = traced.start(*flags, "-c", LISTENER, entrypoint=[program], name=name)
    until(lambda: b"ready" in listener.container.logs(), 30, "the collector listens")
    settings = {
        "DATABASE_URL": database.url,
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://{name}:4318",
        "TRACEPARENT": f"00-{TRACE}-b7ad6b7169203331-01",
    }
    run = traced.run("up", environment=settings)
    assert (run.code, run.named("telemetry.failed")) == (0, []), run.stderr
    assert {event["trace_id"] for event in run.events} == {TRACE}
    heard = listener.wait()
    assert heard.code == 0, heard.stderr
    coding, body = heard.stdout.split()[1:]
    sent = base64.b64decode(body)
    request = ExportTraceServiceRequest.FromString(
        gzip.decompress(sent) if coding == "gzip" else sent
    )
    (resource,) = request.resource_spans
    assert values(resource.resource.attributes)["service.name"] == "migrator"
    (span,) = [span for scope in resource.scope_spans for span in scope.spans]
    assert (span.name, span.trace_id.hex()) == ("migrator up", TRACE)


def test_only_who_asks_for_the_extra_gets_it(
    engine: docker.DockerClient, job: Runner, traced: Runner
) -> None:
    look = "import pathlib; print(*(p.name for p in pathlib.Path('/app').iterdir()))"
    plain, extra = ({*made.python(look).stdout.split()} for made in (job, traced))
    assert not {name for name in plain if "opentelemetry" in name or "protobuf" in name}
    assert plain < extra
    assert "opentelemetry" in extra
    sizes = [engine.images.get(made.image).attrs["Size"] for made in (job, traced)]
    assert 0 < sizes[1] - sizes[0] < LARGEST_EXTRA
