"""A pod that is deleted: a stop, and its network is gone. No backend of its outlives that."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from time import sleep

import psycopg2
import pytest

from tests.builders import write_folder
from tests.job import Job, until
from tests.outage import lacking
from tests.postgres import Server

NAME = f"mig{os.getpid() % 100_000}"
#: How long after a stop's statement began; the observer connects, asks, and is between two looks.
MOMENTS = (0.0, 0.02, 0.05, 0.08, 0.11, 0.15, 0.2, 0.3)
OURS = "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'migrator/%'"
WAITS = (
    "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '/* migrator 001%' AND state = 'active'"
)
#: The server's keepalives end what the network swallowed: 25 to 30 s.
PATIENCE = 60.0


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One that listens on every address, as that of the pod's network is not there yet."""
    if os.geteuid() != 0 or shutil.which("ip") is None:
        lacking("root and `ip`, which make a network of its own: apt-get install iproute2")
    place = tmp_path_factory.mktemp("pods")
    place.chmod(0o755)
    made = Server.create(place / "server", durable=False)
    made.start()
    with (made.data / "postgresql.conf").open("a") as file:
        file.write("listen_addresses = '*'\n")
    with (made.data / "pg_hba.conf").open("a") as file:
        file.write("host all all 10.213.0.0/16 trust\n")
    made.stop()
    made.start()
    yield made
    made.remove()


class Pod:
    """A network with one way to the server."""

    def __init__(self, number: int) -> None:
        self.name, self.host = f"{NAME}n{number}", f"10.213.{number}.1"
        ip("netns", "add", self.name)
        try:
            ip("link", "add", self.name, "type", "veth", "peer", "name", "eth0", "netns", self.name)
            ip("addr", "add", f"{self.host}/24", "dev", self.name)
            ip("link", "set", self.name, "up")
            ip("-n", self.name, "addr", "add", f"10.213.{number}.2/24", "dev", "eth0")
            ip("-n", self.name, "link", "set", "eth0", "up")
        except subprocess.CalledProcessError as error:
            self.delete()
            lacking(f"a network of its own: {error.stderr.decode()}")

    def delete(self) -> None:
        ip("netns", "del", self.name)

    @property
    def inside(self) -> Sequence[str]:
        return ["ip", "netns", "exec", self.name]


def asked(server: Server, query: str) -> int:
    connection = psycopg2.connect(server.url("postgres"))
    with closing(connection), connection.cursor() as cursor:
        cursor.execute(query)
        return int((cursor.fetchone() or [0])[0])


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("kill", [False, True], ids=["stopped", "killed"])
def test_no_backend_outlives_its_pod(
    kill: bool, moment: float, server: Server, tmp_path: Path
) -> None:
    folder = write_folder(tmp_path, {"001_a.sql": "SELECT pg_sleep(600)"})
    pod = Pod(1 + MOMENTS.index(moment))
    url = server.url("postgres").replace(f"@{server.host}:", f"@{pod.host}:")
    job = Job.inside(pod.inside, url, folder, PROGRESS_INTERVAL="100ms")
    until(lambda: asked(server, WAITS), PATIENCE)
    sleep(moment)  # which moment it is, is the point; any may be met
    if kill:
        job.process.kill()
    else:
        job.process.send_signal(signal.SIGTERM)
    job.process.wait(PATIENCE)
    pod.delete()
    until(lambda: not asked(server, OURS), PATIENCE)
