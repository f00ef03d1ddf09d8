"""The tests' own server, pooler, proxy and runs do what the other tests believe of them."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import psycopg2
import pytest

from tests.builders import write_folder
from tests.conftest import Database, MakePgBouncer, MakeProxy, MakeSupabase
from tests.job import Job, run_job, until
from tests.outage import dropped, unshared
from tests.proxy import Cut
from tests.zygote import Forked


def test_a_wrong_password_is_refused(supabase: Database) -> None:
    assert supabase.query("SELECT current_user") == [("postgres",)]
    with pytest.raises(psycopg2.OperationalError, match="password authentication failed"):
        supabase.connect("postgres", "wrong")


@pytest.mark.parametrize("data_api", ["closed", "legacy"])
def test_supabase_has_its_default_privileges(
    data_api: str, supabase_database: MakeSupabase
) -> None:
    made = supabase_database(data_api=data_api)
    made.query("CREATE TABLE public.t ()")
    readable = made.query("SELECT has_table_privilege('anon', 'public.t', 'SELECT')")
    assert readable == [(data_api == "legacy",)]


def test_a_pooler_hands_one_backend_to_many_clients(
    database: Database, pgbouncer: MakePgBouncer
) -> None:
    url = pgbouncer(database, pool_size=1).url(database.dbname)
    seen = set()
    for _ in range(3):
        with closing(psycopg2.connect(url)) as connection:
            connection.autocommit = True  # an open transaction would cost the pooler its backend
            with connection.cursor() as cursor:
                cursor.execute("SELECT pg_backend_pid()")
                seen.add(cursor.fetchone())
    assert len(seen) == 1


def test_a_pooler_knows_a_wrong_password(supabase: Database, pgbouncer: MakePgBouncer) -> None:
    pooler = pgbouncer(supabase, pool_mode="session")
    psycopg2.connect(pooler.url(supabase.dbname, "postgres")).close()
    with pytest.raises(psycopg2.OperationalError, match="SASL authentication failed"):
        psycopg2.connect(pooler.url(supabase.dbname, "postgres", "wrong"))


@pytest.mark.parametrize("statements", [0, 1, 3])
def test_flights_are_counted_after_the_connection_is_up(
    statements: int, database: Database, proxy: MakeProxy
) -> None:
    counting = proxy(database)
    with closing(psycopg2.connect(counting.through(database.url))) as connection:
        connection.autocommit = True
        for _ in range(statements):
            connection.cursor().execute("SELECT repeat('x', 1000000); SELECT 1")
    assert counting.flights == statements
    assert counting.connections == 1
    assert counting.bytes_down > statements * 1_000_000


@pytest.mark.alone
def test_a_delay_adds_to_the_round_trip_and_not_to_the_volume(
    database: Database, proxy: MakeProxy
) -> None:
    slow = proxy(database, delay_seconds=0.1)  # of each piece of 64 kB it would be 30 s
    with closing(psycopg2.connect(slow.through(database.url))) as connection:
        started = time.monotonic()
        connection.cursor().execute("SELECT repeat('x', 20000000)")
        taken_seconds = time.monotonic() - started
    assert 0.2 < taken_seconds < 15


@pytest.mark.parametrize(
    ("moment", "rows"),
    [(Cut.BEFORE, 0), (Cut.SENT, 1), (Cut.DONE, 1)],
)
def test_a_connection_is_cut_at_the_chosen_moment(
    moment: Cut, rows: int, database: Database, proxy: MakeProxy
) -> None:
    database.query("CREATE TABLE t (n int)")
    cutting = proxy(database)
    cutting.cut_at(b"COMMIT", moment)
    with closing(psycopg2.connect(cutting.through(database.url))) as connection:
        connection.autocommit = True
        with pytest.raises(psycopg2.OperationalError):
            connection.cursor().execute("BEGIN; INSERT INTO t VALUES (1); COMMIT")
    # handed over, it may still be at work
    until(lambda: database.query("SELECT count(*) FROM t") == [(rows,)])


def test_an_answer_that_is_sooner_than_the_cut_is_not_heard(
    database: Database, proxy: MakeProxy
) -> None:
    database.query("CREATE TABLE t (n int)")
    cutting = proxy(database)
    committed = "SELECT 1 FROM t"
    cutting.cut_at(b"COMMIT", Cut.SENT, lambda: until(lambda: database.query(committed)))
    with closing(psycopg2.connect(cutting.through(database.url))) as connection:
        connection.autocommit = True
        with pytest.raises(psycopg2.OperationalError):
            connection.cursor().execute("BEGIN; INSERT INTO t VALUES (1); COMMIT")


def test_a_silent_network_keeps_the_server_in_the_dark(
    database: Database, proxy: MakeProxy
) -> None:
    silent = proxy(database)
    connection = psycopg2.connect(silent.through(database.url))
    pid = connection.info.backend_pid
    silent.blackhole()
    connection.close()
    with closing(database.connect()) as watcher, watcher.cursor() as cursor:
        for _ in range(1000):  # it would be gone at once otherwise
            cursor.execute("SELECT 1 FROM pg_stat_activity WHERE pid = %s", (pid,))
            assert cursor.fetchall() == [(1,)]


@pytest.mark.parametrize("words", ["sleep 600 & sleep 600", "sleep 600 &"])
def test_a_run_that_misses_its_time_is_killed_with_its_children(tmp_path: Path, words: str) -> None:
    """A child holds the pipes open, as does the one that cancels a statement."""
    job = Job.inside(["sh", "-c", words], None, tmp_path)
    with pytest.raises(subprocess.TimeoutExpired) as missed:
        job.result(timeout=0.5)
    assert missed.value.timeout == 0.5  # and not the time for being killed


LOCALE = {"LC_ALL": "C.UTF-8"}  # read once, when a process starts


@pytest.mark.parametrize("words", [["up"], ["status"], ["up", "--nonsense"], ["up", "--to", "9"]])
def test_a_forked_run_is_as_one_that_was_started(
    database: Database, tmp_path: Path, words: list[str]
) -> None:
    folder = write_folder(tmp_path, {"001_a.sql": "SELECT 1"})
    assert run_job(database.url, folder).code == 0
    forked, started = (Job(database.url, folder, *words, **more) for more in ({}, LOCALE))
    assert (type(forked.process), type(started.process)) == (Forked, subprocess.Popen)
    results = [job.result() for job in (forked, started)]
    for value in ("code", "stdout", "events"):
        first, second = (getattr(result, value) for result in results)
        assert first == second


def test_a_forked_run_has_a_group_of_its_own_and_dies_of_a_signal(
    database: Database, tmp_path: Path
) -> None:
    job = Job(database.url, write_folder(tmp_path, {"001_a.sql": "SELECT pg_sleep(600)"}))
    job.hear("migration.started")
    assert os.getpgid(job.process.pid) == os.getsid(job.process.pid) == job.process.pid
    assert job.process.poll() is None
    with pytest.raises(subprocess.TimeoutExpired):
        job.process.wait(0.01)
    job.process.kill()
    assert job.result().code == -signal.SIGKILL


def test_a_run_in_this_process_is_stopped_after_its_time(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.job.RUN_SECONDS", 5.0)
    folder = write_folder(tmp_path, {"001_a.sql": "SELECT pg_sleep(600)"})
    with pytest.raises(AssertionError, match=r"(?s)at work for 5 s.*migration\.started"):
        run_job(database.url, folder)


@pytest.mark.parametrize("ask", [lambda: dropped(5432).__enter__(), lambda: unshared("net")])
def test_iptables_and_namespaces_are_a_must_by_a_variable_of_their_own(
    monkeypatch: pytest.MonkeyPatch, ask: Callable[[], object]
) -> None:
    monkeypatch.setenv("REQUIRE_DATABASE", "1")
    monkeypatch.setattr("shutil.which", lambda *_, **__: None)
    monkeypatch.delenv("REQUIRE_NETWORK", raising=False)
    with pytest.raises(pytest.skip.Exception, match="needs"):
        ask()
    monkeypatch.setenv("REQUIRE_NETWORK", "1")
    with pytest.raises(pytest.fail.Exception, match="REQUIRE_NETWORK=1"):
        ask()
