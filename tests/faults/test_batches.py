"""Files in batches under faults: each row is changed exactly once, whichever process is killed."""

from __future__ import annotations

import os
import random
import signal
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from tests.builders import write_folder
from tests.conftest import (
    Database,
    MakePgBouncer,
    MakeProxy,
    MakeServer,
    create_database,
)
from tests.database.test_batches import CURSOR, HALF, OPEN, WALKED, a_table, an_update, half_done
from tests.gate import ADVISORY
from tests.job import Job, Listener, run_job, run_listening, until
from tests.postgres import run_as_plain_user
from tests.proxy import Cut
from tests.ways import EXTREMES, way_to

ROWS = 30_000
BATCHES = "SELECT batches FROM schema_migrations_cursor UNION ALL SELECT -1 FROM schema_migrations"
BATCHES += " WHERE version = '002_fill'"
FLIGHTS = (
    "SELECT pid FROM pg_stat_activity WHERE query LIKE '/* migrator 002_fill, run %'"
    " AND state = 'active' AND datname = current_database()"
)
FILES = {"001_t.sql": a_table(rows=ROWS), "002_fill.sql": an_update(size=" size 300")}


def came_to(database: Database, count: int) -> bool:
    """Whether so many batches are committed, or all."""
    if database.query("SELECT to_regclass('schema_migrations_cursor')") == [(None,)]:
        return False
    rows = [batches for (batches,) in database.query(BATCHES)]
    return bool(rows) and (rows[0] < 0 or rows[0] >= count)


@pytest.mark.parametrize("way", EXTREMES)
def test_two_runners_backends_ended_and_runners_killed(
    database: Database, pgbouncer: MakePgBouncer, tmp_path: Path, way: str
) -> None:
    seed = int(os.environ.get("CHAOS_SEED") or random.SystemRandom().randrange(2**32))
    print(f"CHAOS_SEED={seed}")  # pytest shows it when the test fails
    chance = random.Random(seed)  # noqa: S311
    url, folder = way_to(database, pgbouncer, way), write_folder(tmp_path, FILES)
    jobs = [Job(url, folder, HOSTNAME=f"tester-{place}") for place in range(2)]
    harm = {"killed": 0, "ended": 0}
    for due in sorted(chance.sample(range(90), 14)):
        until(partial(came_to, database, due), timeout=120)
        if chance.random() < 0.5:
            place = chance.randrange(2)
            if jobs[place].process.poll() is None:
                jobs[place].process.kill()
                jobs[place].process.communicate(timeout=60)
                harm["killed"] += 1
                jobs[place] = Job(url, folder, HOSTNAME=f"tester-{place}")
        elif found := database.query(FLIGHTS):
            ((ended,),) = database.query("SELECT pg_terminate_backend(%s)", found[0][0])
            harm["ended"] += ended
    results = [job.result(timeout=120) for job in jobs]
    assert [result.code for result in results] == [0, 0], [r.stderr[-1500:] for r in results]
    assert harm["killed"] > 1, harm
    assert database.query(WALKED) == [(1, ROWS)], (seed, harm)
    assert database.query(CURSOR) == []
    log = "SELECT count(*) FROM schema_migrations_log WHERE version = '002_fill' AND event = %s"
    assert database.query(log, "applied") == database.query(log, "batching") == [(1,)]
    until(lambda: not database.query(f"SELECT 1 FROM pg_locks WHERE {ADVISORY}"))


@pytest.mark.parametrize("cut", [Cut.BEFORE, Cut.SENT, Cut.DONE, Cut.LATE])
def test_a_batch_whose_answer_is_lost_is_not_run_twice(
    database: Database, proxy: MakeProxy, tmp_path: Path, cut: Cut
) -> None:
    cutter = proxy(database)
    cutter.cut_at(b"'migrator.from', '301'", cut)
    files = {"001_t.sql": a_table(), "002_fill.sql": an_update()}
    result = run_job(cutter.through(database.url), write_folder(tmp_path, files))
    assert result.code == 0, result.stderr
    assert [line["reason"] for line in result.of("migration.retry")] == ["lost"]
    assert database.query(WALKED) == [(1, 1000)]


def test_a_last_batch_whose_answer_is_lost_adds_its_time_once(
    database: Database, proxy: MakeProxy, tmp_path: Path
) -> None:
    cutter = proxy(database)
    cutter.cut_at(b"'migrator.from', '901'", Cut.DONE)
    slow = an_update(what="x = x + (SELECT 1 FROM pg_sleep(0.001))")
    files = {"001_t.sql": a_table(), "002_fill.sql": slow}
    result = run_job(cutter.through(database.url), write_folder(tmp_path, files))
    assert result.code == 0, result.stderr
    assert [line["reason"] for line in result.of("migration.retry")] == ["lost"]
    spent = "SELECT execution_time_ms FROM schema_migrations WHERE version = '002_fill'"
    assert database.query(spent) == [(result.report["applied"][-1]["execution_time_ms"],)]


def test_a_stop_leaves_what_is_committed_and_the_next_run_goes_on(
    database: Database, tmp_path: Path
) -> None:
    files = {**FILES, "003_next.sql": "-- migrator: requires 002_fill\nCREATE TABLE next ();"}
    folder = write_folder(tmp_path, files)
    job = Job(database.url, folder)
    until(partial(came_to, database, 3), timeout=60)
    job.process.send_signal(signal.SIGTERM)
    stopped = job.result(timeout=60)
    assert stopped.code == 23, stopped.stderr
    assert "002_fill is not finished: " in stopped.report["outcome"]
    assert "`up` goes on there" in stopped.report["outcome"]
    assert stopped.report["pending"] == ["002_fill", "003_next"]
    result = run_job(database.url, folder)
    assert (result.code, result.applied) == (0, ["002_fill", "003_next"]), result.stderr
    assert database.query(WALKED) == [(1, ROWS)]


def test_the_deadline_leaves_what_is_committed_too(database: Database, tmp_path: Path) -> None:
    slow = an_update(size=" size 10", what="x = x + (SELECT 1 FROM pg_sleep(0.02))")
    folder = write_folder(tmp_path, {"001_t.sql": a_table(), "002_fill.sql": slow})
    stopped = run_job(database.url, folder, DEADLINE="3s")
    assert (stopped.code, stopped.report["error"]["stopped_by"]) == (23, "DEADLINE")
    ((rows,),) = database.query("SELECT sum(rows)::int FROM schema_migrations_cursor")
    assert database.query("SELECT count(*) FROM t WHERE x = 1") == [(rows,)]
    assert run_job(database.url, folder).code == 0
    assert database.query(WALKED) == [(1, 1000)]


def test_a_locked_row_is_waited_for_batch_by_batch(database: Database, tmp_path: Path) -> None:
    folder = half_done(database, tmp_path)
    database.query(OPEN)
    connection = database.connect()
    connection.autocommit = False
    connection.cursor().execute("SELECT FROM t WHERE id = 750 FOR UPDATE")
    listener = Listener("migration.retry", connection.rollback)
    limits = {"LOCK_TIMEOUT": "200ms", "PROGRESS_INTERVAL": "1ms"}
    result = run_listening(listener, database.url, folder, **limits)
    connection.close()
    assert result.code == 0, result.stderr
    assert result.of("migration.retry")[0]["reason"] == "busy"
    assert "lock" in [line.get("waiting") for line in result.of("batch.progress")]
    assert database.query(WALKED) == [(1, 1000)]


def test_what_stays_busy_ends_with_22_and_says_how_far_it_has_come(
    database: Database, tmp_path: Path
) -> None:
    folder = half_done(database, tmp_path)
    database.query(OPEN)
    connection = database.connect()
    connection.autocommit = False
    connection.cursor().execute("SELECT FROM t WHERE id = 750 FOR UPDATE")
    limits = {"LOCK_TIMEOUT": "100ms", "LOCK_RETRY_TIMEOUT": "500ms"}
    result = run_job(database.url, folder, **limits)
    connection.close()
    assert result.code == 22, result.stderr
    assert "002_fill is not finished: 700 rows" in result.report["outcome"]


def test_another_runner_may_do_all_of_it(database: Database, tmp_path: Path) -> None:
    """A file of one batch, so that there is no table of cursors."""
    files = {"001_t.sql": a_table(), "002_fill.sql": an_update(size=" size 5000")}
    folder = write_folder(tmp_path, files)
    assert run_job(database.url, folder, "up", "--to", "001_t").code == 0
    listener = Listener("migration.started", lambda: run_job(database.url, folder))
    result = run_listening(listener, database.url, folder)
    assert (result.code, result.applied) == (0, []), result.stderr
    assert database.query(WALKED) == [(1, 1000)]


def test_another_runner_may_go_on_in_the_middle(database: Database, tmp_path: Path) -> None:
    """Seen from one whose look is old: it plans upon what the other has left."""
    folder = write_folder(tmp_path, {**HALF, "001_t.sql": a_table(rows=ROWS)})
    listener = Listener("batch.progress", lambda: run_job(database.url, folder))
    result = run_listening(listener, database.url, folder, PROGRESS_INTERVAL="1ms")
    assert result.code == 0, result.stderr
    assert database.query(WALKED) == [(1, ROWS)]


@pytest.fixture
def replicated(own_server: MakeServer) -> tuple[Database, Database]:
    """A database, and the same on a standby, which is a copy of its stopped server."""
    primary, copy = own_server(), own_server()
    primary.start()
    database = create_database(primary)
    primary.stop()
    with (primary.data / "pg_hba.conf").open("a") as file:
        file.write("host replication all 127.0.0.1/32 trust\n")
    copy.start()
    copy.stop()
    made = run_as_plain_user(
        ["sh", "-c", 'rm -r "$1" && cp -r "$0" "$1"', str(primary.data), str(copy.data)],
        directory=copy.directory,
    )
    assert made.returncode == 0, made.stderr
    primary.start()
    run_as_plain_user(["touch", str(copy.data / "standby.signal")], directory=copy.directory)
    with (copy.data / "postgresql.conf").open("a") as file:
        where = f"host={primary.host} port={primary.port} user={primary.superuser}"
        file.write(f"primary_conninfo = '{where}'\n")
    copy.start()
    return database, replace(database, server=copy)


def test_a_standby_that_is_behind_is_waited_for(
    replicated: tuple[Database, Database], tmp_path: Path
) -> None:
    database, standby = replicated
    folder = write_folder(tmp_path, FILES)
    standby.as_superuser().query("SELECT pg_wal_replay_pause()")
    limits = {"MAX_LAG": "100kB", "PROGRESS_INTERVAL": "10ms"}
    job = Job(database.as_superuser().url, folder, **limits)
    job.hear("batch.progress", waiting="lag")
    ((walked,),) = database.query("SELECT rows FROM schema_migrations_cursor")
    assert walked < ROWS
    standby.as_superuser().query("SELECT pg_wal_replay_resume()")
    result = job.result()
    assert result.code == 0, result.stderr
    assert database.query(WALKED) == [(1, ROWS)]


def test_where_nobody_can_be_seen_that_is_said_once(database: Database, tmp_path: Path) -> None:
    result = run_job(database.url, write_folder(tmp_path, FILES), MAX_LAG="1kB")
    assert result.code == 0, result.stderr
    [line] = result.of("plan.warning")
    assert "neither a standby nor a slot can be seen" in line["problem"]
