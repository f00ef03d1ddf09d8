"""Every session that the job leaves idle is ended by the server once its packets stop."""

from __future__ import annotations

import sys
from contextlib import closing
from pathlib import Path

import pytest

from tests.builders import write_folder
from tests.conftest import Database
from tests.job import Job, until

FILES = {"001_a.sql": "CREATE TABLE t ();"}
SLOW = {"001_a.sql": "SELECT pg_advisory_xact_lock_shared(7);"}
OURS = "SELECT client_port FROM pg_stat_activity WHERE application_name LIKE 'migrator/%%'"
IDLE = f"{OURS} AND datname = %s AND state = 'idle'"
TICKS = 100  # a second, in which the kernel counts down
SECONDS = 10  # tcp_keepalives_idle


def counting_down(port: int) -> dict[int, int]:
    """The keepalive timer of each socket of the server, in ticks, by the client's port."""
    found = {}
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        _, local, remote, _, _, timer, *_ = line.split()
        active, _, left = timer.partition(":")
        if int(local.partition(":")[2], 16) == port and active == "02":
            found[int(remote.partition(":")[2], 16)] = int(left, 16)
    return found


def all_are_kept_alive(database: Database, count: int) -> bool:
    """Whether at least `count` sessions of the job are idle, each with the job's keepalives."""
    ports = [port for (port,) in database.query(IDLE, database.dbname)]
    timers = counting_down(database.port)
    return len(ports) >= count and all(
        timers.get(port, sys.maxsize) <= SECONDS * TICKS for port in ports
    )


@pytest.mark.skipif(sys.platform != "linux", reason="reads the timers of Linux")
@pytest.mark.parametrize(
    ("words", "files", "holds"),
    [
        pytest.param(("wait",), FILES, "", id="wait"),
        pytest.param((), SLOW, "SELECT pg_advisory_xact_lock(7)", id="the observer"),
        pytest.param((), {"001_a.sql": "DROP TABLE b"}, "LOCK b", id="up, between two tries"),
    ],
)
def test_what_is_idle_is_kept_alive(
    words: tuple[str, ...],
    files: dict[str, str],
    holds: str,
    database: Database,
    tmp_path: Path,
) -> None:
    database.query("CREATE TABLE b ()")
    settings = {"LOCK_TIMEOUT": "50ms", "PROGRESS_INTERVAL": "100ms"}
    if "advisory" in holds:
        settings["LOCK_TIMEOUT"] = "0"
    with closing(database.connect()) as other, other.cursor() as cursor:
        other.autocommit = False
        cursor.execute(holds or "SELECT 1")
        job = Job(database.url, write_folder(tmp_path, files), *words, **settings)
        until(lambda: all_are_kept_alive(database, 1))
        job.process.terminate()
        job.result()
