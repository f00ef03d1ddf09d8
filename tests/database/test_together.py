"""Several migrations in one message: what each leaves, and what trouble in one means."""

from __future__ import annotations

import hashlib
import threading
from contextlib import closing
from pathlib import Path

import pytest

from migrator.history.guard import lock_key
from tests.builders import chain, write_folder
from tests.conftest import Database, MakeProxy
from tests.job import Job, Result, run_job, until

TOGETHER = "5"
#: Five files, the third of which is put in its place.
PLAIN = {n: f"00{n}_x.sql" for n in range(1, 6)}


def folder_with(directory: Path, third: str, **others: str) -> Path:
    files = {name: f"CREATE TABLE t{n} (id int);\n" for n, name in PLAIN.items()}
    return write_folder(directory, {**files, PLAIN[3]: third, **others})


def applied(database: Database) -> list[str]:
    rows = database.query("SELECT version FROM schema_migrations ORDER BY applied_at, version")
    return [version for (version,) in rows]


def together(database: Database, folder: Path, **settings: str) -> Result:
    return run_job(database.url, folder, FILES_PER_FLIGHT=TOGETHER, **settings)


def test_a_new_database_far_away_takes_few_round_trips(
    database: Database, proxy: MakeProxy, tmp_path: Path
) -> None:
    """Sixty-four files in at most twelve, the connection aside."""
    far = proxy(database, delay_seconds=0.015)
    result = run_job(far.through(database.url), write_folder(tmp_path, chain(64)))
    assert (result.code, len(result.applied)) == (0, 64), result.stderr
    assert far.flights <= 12
    assert applied(database) == [f"{n:03}_step" for n in range(1, 65)]


@pytest.mark.parametrize(("size", "flights"), [("1", 12), ("5", 3), ("99", 1)])
def test_as_many_go_together_as_are_asked_for(
    database: Database, proxy: MakeProxy, tmp_path: Path, size: str, flights: int
) -> None:
    near = proxy(database)
    empty = run_job(near.through(database.url), write_folder(tmp_path / "0", chain(1)))
    assert empty.code == 0
    near.reset()
    url, folder = near.through(database.url), write_folder(tmp_path / "1", chain(13))
    result = run_job(url, folder, FILES_PER_FLIGHT=size)
    assert (result.code, len(result.applied)) == (0, 12), result.stderr
    around = 2  # the history, old transactions
    assert near.flights == around + flights


def test_each_is_told_and_recorded_as_if_it_came_alone(database: Database, tmp_path: Path) -> None:
    """Its own time, its own ms, its own lines; whatever the one before it has left."""
    leftovers = """
        CREATE ROLE {role}; SET ROLE {role}; RESET ROLE;
        SET search_path = nowhere; SET default_transaction_read_only = on;
        SET default_transaction_isolation = 'repeatable read'; SET lock_timeout = 1;
        CREATE TEMP TABLE t9 (other int); PREPARE p AS SELECT 1; SET TIME ZONE 'UTC';
        DECLARE c CURSOR WITH HOLD FOR SELECT 1; LISTEN x;
        SELECT pg_advisory_lock(99); SELECT pg_sleep(0.3);
    """.format(role=f"left_{database.dbname}")
    clean = """
        DO $$ BEGIN
          IF current_setting('search_path') = 'nowhere' OR to_regclass('pg_temp.t9') IS NOT NULL
             OR EXISTS (SELECT FROM pg_prepared_statements) OR EXISTS (SELECT FROM pg_cursors)
             OR current_setting('transaction_isolation') <> 'read committed'
             OR current_user <> session_user
             OR EXISTS (SELECT FROM pg_listening_channels())
             OR EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND objid = 99)
          THEN RAISE EXCEPTION 'left'; END IF;
          PERFORM pg_sleep(0.3);
        END $$;
        CREATE TABLE t9 (id int);
    """
    folder = folder_with(tmp_path, leftovers, **{"004_x.sql": clean, "005_x.sql": "RESET ALL"})
    database.query(
        f"ALTER DATABASE {database.dbname} SET default_transaction_isolation = serializable"
    )
    result = together(database, folder)
    assert result.code == 0, result.stderr
    versions = [name.removesuffix(".sql") for name in PLAIN.values()]
    events = [e for e in result.events if e in {"migration.started", "migration.applied"}]
    assert events == ["migration.started", "migration.applied"] * 5
    assert [line["step"] for line in result.of("migration.started")] == [1, 2, 3, 4, 5]
    assert result.applied == versions == applied(database)
    rows = database.query(
        "SELECT execution_time_ms, applied_at, (l.detail->>'execution_time_ms')::int"
        "  FROM schema_migrations AS h JOIN schema_migrations_log AS l USING (version)"
        " WHERE l.event = 'applied' ORDER BY version"
    )
    ms = [row[0] for row in rows]
    times = [row[1] for row in rows]
    assert [row[2] for row in rows] == ms
    assert [done["execution_time_ms"] for done in result.report["applied"]] == ms
    assert sorted(set(times)) == times
    assert (times[3] - times[2]).total_seconds() >= 0.3
    assert min(ms[2:4]) >= 300
    assert max(*ms[:2], ms[4]) < 300
    assert database.query("SELECT count(*) FROM pg_class WHERE relname = 't9'") == [(1,)]


def test_each_is_told_when_it_is_committed_and_not_at_the_end(
    database: Database, tmp_path: Path
) -> None:
    wait = "SELECT pg_advisory_xact_lock_shared(7)"
    with closing(database.connect()) as holder:
        holder.cursor().execute("SELECT pg_advisory_lock(7)")
        settings = {"FILES_PER_FLIGHT": TOGETHER, "LOCK_TIMEOUT": "0"}
        progress = {"PROGRESS_INTERVAL": "200ms"}
        job = Job(database.url, folder_with(tmp_path, wait), **settings, **progress)
        job.hear("migration.applied", version="002_x")
        job.hear("migration.started", version="003_x")
        assert [v for (v,) in database.query("SELECT version FROM schema_migrations")] == [
            "001_x",
            "002_x",
        ]
        job.hear("migration.progress", version="003_x")
        heard = {line["version"] for line in job.heard() if line["event"] == "migration.applied"}
        assert heard == {"001_x", "002_x"}
        holder.cursor().execute("SELECT pg_advisory_unlock(7)")
        result = job.result()
    assert (result.code, len(result.applied)) == (0, 5), result.stderr


REFUSED = {
    "a table that is not there": ("SELECT 1;\nINSERT INTO gone VALUES (1);\n", 2, "42P01"),
    "no position": ("SELECT 1;\n\nSELECT 1/0;\n", 3, "22012"),
    "a constraint": ("CREATE TABLE c (id int UNIQUE);\nINSERT INTO c VALUES (1), (1);", 2, "23505"),
    "a deferred one": (
        "CREATE TABLE c (id int UNIQUE DEFERRABLE INITIALLY DEFERRED);\n"
        "INSERT INTO c VALUES (1), (1);",
        None,
        "23505",
    ),
    "a raise with a word of ours": (
        "DO $$ BEGIN RAISE EXCEPTION 'x' USING ERRCODE = 'MG001'; END $$",
        1,
        "MG001",
    ),
    "a syntax error": ("SELECT 1;\nCREATE TABEL x ();\n", 2, "42601"),
    "the history": ("DELETE FROM schema_migrations WHERE version = '001_x'", None, "MG007"),
}


@pytest.mark.parametrize("rules", [False, True], ids=["plain", "a rule before it"])
@pytest.mark.parametrize("name", REFUSED)
def test_a_refusal_is_of_its_file_and_those_before_it_are_committed(
    database: Database, tmp_path: Path, name: str, rules: bool
) -> None:
    """A rule answers several times for one statement, in a file before it."""
    body, line, sqlstate = REFUSED[name]
    rule = (
        "CREATE TABLE r (id int);\n"
        "CREATE RULE more AS ON INSERT TO r DO ALSO (SELECT 1; SELECT 2; SELECT 3);\n"
        "INSERT INTO r VALUES (1);\n"
    )
    more = {"002_x.sql": rule} if rules else {}
    result = together(database, folder_with(tmp_path, body, **more))
    assert result.code == 15, result.stderr
    assert result.applied == applied(database) == ["001_x", "002_x"]
    assert (result.error["version"], result.error["sqlstate"]) == ("003_x", sqlstate)
    assert result.error.get("line") == line
    [failed] = database.query("SELECT version FROM schema_migrations_log WHERE event = 'failed'")
    assert failed == ("003_x",)
    told = [event["version"] for event in result.of("migration.applied")]
    assert told == ["001_x", "002_x"]
    alone = run_job(database.url, tmp_path, FILES_PER_FLIGHT="1")
    same = ("message", "version", "line", "column", "sqlstate", "remedy")
    assert {key: alone.error.get(key) for key in same} == {
        key: result.error.get(key) for key in same
    }
    (tmp_path / PLAIN[3]).write_text("SELECT 1")
    assert together(database, tmp_path).applied == ["003_x", "004_x", "005_x"]


def test_a_file_that_says_it_is_committed_is_not_believed(
    database: Database, tmp_path: Path
) -> None:
    """It finds the run's id in its own text, says all that we say, and fails."""
    forged = """
DO $$
DECLARE run text := substring(current_query() from 'run ([0-9a-f-]{36})');
BEGIN
  FOR n IN 1..5 LOOP
    RAISE INFO 'migrator-flight: next';
    RAISE INFO USING MESSAGE = 'migrator-flight: ' || jsonb_build_object(
      'run_id', run, 'xid', pg_current_xact_id()::text, 'ms', 1)::text;
    RAISE INFO 'COMMIT';
  END LOOP;
  RAISE EXCEPTION 'and fails';
END $$"""
    result = together(database, folder_with(tmp_path, forged))
    assert (result.code, result.error["version"]) == (15, "003_x"), result.stderr
    assert result.applied == ["001_x", "002_x"]
    assert [e["version"] for e in result.of("migration.applied")] == ["001_x", "002_x"]


def test_a_lock_that_is_refused_is_tried_again_from_there(
    database: Database, tmp_path: Path
) -> None:
    database.query("CREATE TABLE busy (id int)")
    folder = folder_with(tmp_path, "ALTER TABLE busy ADD COLUMN more int")
    with closing(database.connect()) as holder:
        holder.cursor().execute("BEGIN; LOCK TABLE busy")
        job = Job(database.url, folder, FILES_PER_FLIGHT=TOGETHER, LOCK_TIMEOUT="500ms")
        retry = job.hear("migration.retry", lambda line: line.get("blockers"))
        assert (retry["version"], retry["sqlstate"]) == ("003_x", "55P03")
        assert len(applied(database)) == 2
        holder.cursor().execute("ROLLBACK")
        result = job.result()
    assert (result.code, len(result.applied)) == (0, 5), result.stderr
    started = [line["version"] for line in result.of("migration.started")]
    assert started == applied(database) == [f"00{n}_x" for n in range(1, 6)]


def test_a_lock_that_stays_is_22_and_what_came_before_is_told(
    database: Database, tmp_path: Path
) -> None:
    database.query("CREATE TABLE busy (id int)")
    folder = folder_with(tmp_path, "ALTER TABLE busy ADD COLUMN more int")
    with closing(database.connect()) as holder:
        holder.cursor().execute("BEGIN; LOCK TABLE busy")
        limits = {"LOCK_TIMEOUT": "100ms", "LOCK_RETRY_TIMEOUT": "1s"}
        result = together(database, folder, **limits)
    assert (result.code, result.error["version"]) == (22, "003_x")
    assert "003_x was rolled back and is not applied" in result.report["outcome"]
    assert result.applied == applied(database) == ["001_x", "002_x"]


SLEEP = "SELECT 'third', pg_sleep(60)"
THIRD = (
    "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND state = 'active'"
    " AND query LIKE '/* migrator 001_x%' AND wait_event = 'PgSleep'"
)


@pytest.mark.parametrize("end", ["terminate", "cancel"])
def test_a_backend_that_is_ended_in_a_later_one_is_resumed_from_there(
    database: Database, tmp_path: Path, end: str
) -> None:
    """After a lost connection each goes alone; after a cancel by hand the run ends."""
    once = "DO $$ BEGIN IF NOT EXISTS (SELECT FROM gate) THEN PERFORM pg_sleep(60); END IF; END $$"
    database.query("CREATE TABLE gate (id int)")
    job = Job(database.url, folder_with(tmp_path, once), FILES_PER_FLIGHT=TOGETHER)
    [(pid,)] = until(lambda: database.query(THIRD))
    database.query("INSERT INTO gate VALUES (1)")
    database.query(f"SELECT pg_{end}_backend({pid})")
    result = job.result()
    if end == "cancel":
        assert (result.code, result.error["sqlstate"]) == (15, "57014"), result.stderr
        assert result.applied == ["001_x", "002_x"]
        return
    assert (result.code, len(result.applied)) == (0, 5), result.stderr
    assert [line["version"] for line in result.of("migration.retry")] == ["003_x"]
    assert applied(database) == [f"00{n}_x" for n in range(1, 6)]


def test_a_stop_in_a_later_one_leaves_those_before_it(database: Database, tmp_path: Path) -> None:
    job = Job(database.url, folder_with(tmp_path, SLEEP), FILES_PER_FLIGHT=TOGETHER)
    until(lambda: database.query(THIRD))
    job.process.terminate()
    result = job.result()
    assert (result.code, result.applied) == (23, ["001_x", "002_x"]), result.stderr
    assert "003_x was rolled back" in result.report["outcome"]
    assert applied(database) == ["001_x", "002_x"]
    until(lambda: not database.query(THIRD))


def test_a_lost_connection_sends_each_alone_from_there_on(
    database: Database, proxy: MakeProxy, tmp_path: Path
) -> None:
    """Also those of the messages that would follow."""
    proxied = proxy(database)
    job = Job(
        proxied.through(database.url),
        write_folder(tmp_path, {**chain(12), "003_step.sql": SLEEP.replace("60", "3")}),
        FILES_PER_FLIGHT=TOGETHER,
    )
    job.hear("migration.started", version="003_step")
    largest = proxied.largest_up
    proxied.cut()
    proxied.largest_up = 0
    result = job.result()
    assert result.code in {0, 15}, result.stderr  # 004 wants the table of 003
    assert proxied.largest_up < largest / 3


def test_the_hook_after_the_migrations_is_owed_with_the_first(
    database: Database, tmp_path: Path
) -> None:
    hooks = {"before.sql": "SELECT 1", "after.sql": "SELECT 2"}
    result = together(database, folder_with(tmp_path, "SELECT 1/0", **hooks))
    assert result.code == 15
    lines = database.query("SELECT version, event FROM schema_migrations_log ORDER BY id")
    assert lines[-5:] == [
        ("before", "hook"),
        ("001_x", "applied"),
        ("after", "hook_owed"),
        ("002_x", "applied"),
        ("003_x", "failed"),
    ]


def test_what_was_applied_together_is_undone_in_turn(database: Database, tmp_path: Path) -> None:
    undo = {f"00{n}_x.down.sql": f"DROP TABLE t{n};" for n in range(1, 6)}
    folder = folder_with(tmp_path, "CREATE TABLE t3 (id int)", **undo)
    (folder / "R__view.sql").write_text("CREATE OR REPLACE VIEW v AS SELECT 1 AS one")
    assert together(database, folder).code == 0
    back = run_job(database.url, folder, "rollback", "--steps", "3", FILES_PER_FLIGHT=TOGETHER)
    assert back.code == 0, back.stderr
    assert [done["version"] for done in back.report["rolled_back"]] == ["005_x", "004_x", "003_x"]


@pytest.mark.parametrize("moves", [False, True], ids=["and leaves", "and applies the next"])
def test_another_runner_may_come_between_two(
    database: Database, tmp_path: Path, moves: bool
) -> None:
    """Who waits for the lock has it before the next file of the message tries to take it."""
    folder = folder_with(tmp_path, "SELECT 3", **{PLAIN[1]: wait_for_lock_7()})
    queued = "SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted AND objid <> 7"
    with closing(database.connect()) as holder, closing(database.connect()) as other:
        holder.cursor().execute("SELECT pg_advisory_lock(7)")
        job = Job(database.url, folder, FILES_PER_FLIGHT=TOGETHER, LOCK_TIMEOUT="0")
        job.hear("migration.started", version="001_x")
        until(lambda: database.query("SELECT 1 FROM pg_locks WHERE objid = 7 AND NOT granted"))
        take = f"SELECT pg_advisory_lock({lock_key('public')})"
        waiter = threading.Thread(target=other.cursor().execute, args=(take,))
        waiter.start()
        until(lambda: database.query(queued))
        holder.cursor().execute("SELECT pg_advisory_unlock(7)")
        waiter.join()
        job.hear("lock.waiting")
        assert applied(database) == ["001_x"]
        if moves:
            checksum = hashlib.sha256(b"CREATE TABLE t2 (id int);\n").hexdigest()
            row = f"VALUES ('002_x', '{checksum}', gen_random_uuid())"
            other.cursor().execute(
                f"INSERT INTO schema_migrations (version, checksum, run_id) {row}"
            )
        other.cursor().execute("SELECT pg_advisory_unlock_all()")
        result = job.result()
    assert result.code == 0, result.stderr
    ours = ["001_x", "002_x", "003_x", "004_x", "005_x"]
    assert sorted(applied(database)) == ours
    if moves:
        ours.remove("002_x")
    assert result.applied == ours


def wait_for_lock_7() -> str:
    return "SELECT pg_advisory_xact_lock_shared(7)"
