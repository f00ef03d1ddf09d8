"""Every session that the job leaves idle is ended by the server once its packets stop."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from tests.builders import write_folder
from tests.conftest import Database
from tests.job import Job, run_job, until
from tests.wire import Query, Wire

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


MANY = {
    "001_a.sql": "CREATE TABLE t (a int);",
    "001_a.down.sql": "DROP TABLE t;",
    "002_b.sql": "COPY t FROM stdin;\n1\n\\.\n",
    "002_b.down.sql": "DELETE FROM t;",
    "003_c.sql": "-- migrator: no-transaction\nCREATE INDEX CONCURRENTLY t_a ON t (a);",
    "003_c.down.sql": "-- migrator: no-transaction\nDROP INDEX CONCURRENTLY t_a;",
    "004_d.sql": "SELECT pg_sleep(1.5);",
    "004_d.down.sql": "SELECT 1;",
}
FORGETS = ("RESET ALL", "COMMIT")  #: the latter what was set LOCAL
KEEPS = ("SET LOCAL tcp_keepalives_idle", "SET tcp_keepalives_idle", "('tcp_keepalives_idle'")
NEEDS_UP = ("status", "wait", "verify", "report --markdown", "rollback --steps 4 --yes")


def unkept(queries: Sequence[Query]) -> list[str]:
    """The messages after which a session is idle without the server's keepalives."""
    kept: dict[int, bool] = {}
    found = []
    for query in queries:
        forgets, keeps = (
            max(query.text.rfind(word) for word in words) for words in (FORGETS, KEEPS)
        )
        if "RESET ALL" in query.text or keeps >= 0:
            kept[query.connection] = keeps > forgets
        if not kept.get(query.connection):
            found.append(query.text[:200])
    return found


@pytest.mark.parametrize(
    ("words", "sessions"),
    [
        pytest.param("up", 2, id="up: its own, the observer's"),
        *(pytest.param(words, 1, id=words.partition(" ")[0]) for words in NEEDS_UP),
        pytest.param("baseline --at 003_c", 1, id="baseline"),
        pytest.param("rehearse", 3, id="rehearse: the shadow's, the scratch database's"),
        pytest.param("check", 3, id="check: its own, the shadow's, the scratch database's"),
        pytest.param("fleet up --databases {dbname}", 3, id="fleet: its list, and as up"),
    ],
)
def test_every_session_of_every_command_is_left_with_keepalives(
    words: str, sessions: int, database: Database, tmp_path: Path
) -> None:
    """A flight sets its own until it ends; what comes after it is idle, and so is what waits."""
    folder = write_folder(tmp_path, MANY)
    if words in NEEDS_UP:
        assert run_job(database.url, folder, "up").code == 0
    wire = Wire(database.server)
    with closing_wire(wire):
        settings = {
            "PROGRESS_INTERVAL": "500ms",
            "SHADOW_DATABASE_URL": wire.through(database.server.url("postgres")),
        }
        result = run_job(
            wire.through(database.url),
            folder,
            *words.format(dbname=database.dbname).split(),
            **settings,
        )
    assert result.code in {0, 17}, result.stderr
    assert unkept(wire.queries) == []
    assert len({query.connection for query in wire.queries}) >= sessions


@contextmanager
def closing_wire(wire: Wire) -> Iterator[None]:
    try:
        yield
    finally:
        wire.stop()
