"""What a slow statement is told of: how far it has come, and by which limit it was cut."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from migrator.postgres.blockers import GRACE_SECONDS
from tests.builders import write_folder
from tests.conftest import Database, MakePgBouncer, MakeProxy
from tests.job import Job, Listener, Result, run_job, run_listening, until

#: A function that waits while somebody holds advisory lock 7, and a table to feed it with.
SLOW = """
CREATE FUNCTION slow(id int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS
  'BEGIN IF id = 900 THEN PERFORM pg_advisory_xact_lock_shared(7); END IF; RETURN id; END';
CREATE TABLE big (id int);
INSERT INTO big SELECT generate_series(1, 1000);
"""


ADVISORY = ("SELECT pg_advisory_lock(7)", "SELECT pg_advisory_unlock(7)")
#: A pin on the third page of `big`, for which VACUUM (FREEZE) waits in the middle of its scan.
PIN = ("BEGIN; DECLARE reader CURSOR FOR SELECT * FROM big; FETCH 600 FROM reader", "ROLLBACK")


@contextmanager
def held(database: Database, lock: tuple[str, str] = ADVISORY) -> Iterator[Callable[[], None]]:
    """`lock` is held within, or until the function that is handed over is called."""
    take, leave = lock
    with closing(database.connect()) as connection:
        connection.cursor().execute("SET application_name = 'the-holder'")
        connection.cursor().execute(take)
        yield lambda: connection.cursor().execute(leave)


def told(
    database: Database,
    url: str,
    folder: Path,
    wanted: Callable[[dict[str, Any]], Any],
    lock: tuple[str, str] = ADVISORY,
) -> tuple[dict[str, Any], Result]:
    """A line of progress while the lock is held, and the result after it was let go."""
    with held(database, lock) as let_go:
        job = Job(url, folder, LOCK_TIMEOUT="0", PROGRESS_INTERVAL="200ms")
        line = job.hear("migration.progress", wanted)
        let_go()
        return line, job.result()


@pytest.mark.parametrize("way", ["direct", "transaction"])
def test_a_slow_statement_is_told_of_with_what_it_waits_for(
    database: Database, pgbouncer: MakePgBouncer, tmp_path: Path, way: str
) -> None:
    url = database.url
    if way != "direct":
        url = pgbouncer(database, pool_mode=way, pool_size=3).url(database.dbname)
    folder = write_folder(tmp_path, {"001_a.sql": "SELECT pg_advisory_xact_lock_shared(7)"})
    line, result = told(database, url, folder, lambda event: "blockers" in event)
    assert (result.code, result.applied) == (0, ["001_a"]), result.stderr
    assert (line["version"], line["level"]) == ("001_a", "info")
    assert line["running_ms"] >= 200
    assert line["waits_for"] == {"locktype": "advisory", "mode": "ShareLock"}
    assert line["wait_event"] == "Lock: advisory"
    assert [blocker["application_name"] for blocker in line["blockers"]] == ["the-holder"]


def test_a_notice_behind_another_statement_is_told_at_once(
    database: Database, tmp_path: Path
) -> None:
    """Nothing but the notice wakes the run: lines of progress are off, and so are limits."""
    early = (
        "CREATE TABLE t (id int); DO $$ BEGIN RAISE WARNING 'first'; END $$;\n"
        "SELECT pg_sleep(0.3); DO $$ BEGIN RAISE WARNING 'early'; END $$;\n"
    )
    wait = "SELECT pg_advisory_xact_lock_shared(7)"
    folder = write_folder(tmp_path, {"001_a.sql": early + wait})
    with held(database) as let_go:
        job = Job(database.url, folder, LOCK_TIMEOUT="0", PROGRESS_INTERVAL="0")
        job.hear("migration.notice", timeout=20, notice="early")
        let_go()
        assert job.result().code == 0


@pytest.mark.parametrize(
    ("statement", "progress"),
    [
        pytest.param(
            "CREATE INDEX ON big (slow(id))",
            {
                "command": "CREATE INDEX",
                "phase": "building index: scanning table",
                "unit": "blocks",
            },
            id="create index",
        ),
        pytest.param(
            "CLUSTER big USING slowly",
            {"command": "CLUSTER", "phase": "rebuilding index", "unit": "rows"},
            id="cluster",
        ),
        pytest.param(
            "-- migrator: no-transaction\nVACUUM (FREEZE) big",
            {"command": "VACUUM", "phase": "scanning heap", "unit": "blocks"},
            id="vacuum",
        ),
        pytest.param(
            "ANALYZE big",
            {"command": "ANALYZE", "phase": "computing statistics", "unit": "blocks"},
            id="analyze",
        ),
        pytest.param(
            "COPY big FROM '{file}'", {"command": "COPY FROM", "unit": "bytes"}, id="copy"
        ),
    ],
)
def test_progress_is_told_as_the_server_knows_it(
    database: Database, tmp_path: Path, statement: str, progress: dict[str, Any]
) -> None:
    database.query(SLOW)
    if "slowly" in statement or "ANALYZE" in statement:
        database.query("CREATE INDEX slowly ON big (slow(id))")
    if "COPY" in statement:
        (data,) = database.query("SHOW data_directory")[0]
        statement = statement.format(file=f"{data}/rows-{database.dbname}")
        database.query(statement.replace(" FROM ", " TO "))
        database.query("ALTER TABLE big ADD CHECK (slow(id) > 0)")
    folder = write_folder(tmp_path, {"001_a.sql": statement})
    shares = "CLUSTER" not in statement  # by its index it counts rows, and knows not of how many
    line, result = told(
        database,
        database.url,
        folder,
        lambda event: ("percent" if shares else "done") in event.get("progress", {}),
        PIN if "VACUUM" in statement else ADVISORY,
    )
    assert (result.code, result.applied) == (0, ["001_a"]), result.stderr
    found = line["progress"]
    assert {name: found[name] for name in progress} == progress
    assert found["relation"] == "public.big"
    if shares:
        assert found["percent"] == pytest.approx(100 * found["done"] / found["total"], abs=0.06)
        assert 0 <= found["percent"] <= 100
    else:
        assert not {"percent", "total"} & set(found)


def test_a_file_in_many_messages_is_looked_after_too(database: Database, tmp_path: Path) -> None:
    rows = f"SELECT '{'x' * 700_000}';\n"
    body = rows + "SELECT pg_advisory_xact_lock_shared(7);\n" + rows
    folder = write_folder(tmp_path, {"001_a.sql": body})
    line, result = told(database, database.url, folder, lambda event: "blockers" in event)
    assert (result.code, line["waits_for"]["locktype"]) == (0, "advisory")


def test_where_no_second_connection_is_to_be_had_the_time_is_told_alone(
    database: Database, tmp_path: Path
) -> None:
    database.query("CREATE ROLE alone LOGIN PASSWORD 'x' CONNECTION LIMIT 1")
    database.query("GRANT ALL ON SCHEMA public TO alone")
    folder = write_folder(tmp_path, {"001_a.sql": "SELECT pg_advisory_xact_lock_shared(7)"})
    url = database.as_user("alone", "x").url
    try:
        line, result = told(database, url, folder, lambda event: event["running_ms"] > 500)
    finally:
        database.query("DROP OWNED BY alone; DROP ROLE alone")
    assert result.code == 0
    told_of = {"timestamp", "level", "event", "run_id", "version", "running_ms"}
    assert set(line) == told_of
    assert len(result.of("observer.unavailable")) == 1


def test_a_quick_run_opens_no_second_connection_and_tells_nothing(
    database: Database, proxy: MakeProxy, tmp_path: Path
) -> None:
    counter = proxy(database)
    folder = write_folder(tmp_path, {"001_a.sql": "CREATE TABLE a ()"})
    result = run_job(counter.through(database.url), folder)
    assert (result.code, counter.connections) == (0, 1)
    assert result.of("migration.progress") == []


def test_progress_can_be_turned_off(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("migrator.durations.SLOW_SECONDS", 0.1)
    with closing(database.connect()) as holder:
        holder.cursor().execute("SELECT pg_advisory_lock(7)")
        folder = write_folder(tmp_path, {"001_a.sql": "SELECT pg_advisory_xact_lock_shared(7)"})
        settings = {"LOCK_TIMEOUT": "0", "STATEMENT_TIMEOUT": "30s", "PROGRESS_INTERVAL": "1h"}
        stderr = Listener("migration.progress", holder.close)
        loud = run_listening(stderr, database.url, folder, **settings)
    body = f"SELECT pg_sleep({0.1 + GRACE_SECONDS + 0.4})"  # a line would have been said in it
    folder = write_folder(tmp_path, {"002_b.sql": body})
    quiet = run_job(database.url, folder, PROGRESS_INTERVAL="0")
    assert (loud.code, loud.applied) == (0, ["001_a"]), loud.stderr
    assert len(loud.of("migration.progress")) == 1
    assert (quiet.code, quiet.applied) == (0, ["002_b"]), quiet.stderr
    assert quiet.of("migration.progress") == []


@pytest.mark.parametrize("settings", [{}, {"LOCK_TIMEOUT": "0"}])
def test_without_lines_of_progress_a_long_statement_is_left_alone(
    database: Database, tmp_path: Path, settings: dict[str, str]
) -> None:
    """Nor does it need a second connection, which this role may not have."""
    database.query("CREATE ROLE alone LOGIN PASSWORD 'x' CONNECTION LIMIT 1")
    database.query("GRANT ALL ON SCHEMA public TO alone")
    folder = write_folder(tmp_path, {"001_a.sql": "SELECT pg_sleep(1.5)"})
    url = database.as_user("alone", "x").url
    try:
        result = run_job(url, folder, PROGRESS_INTERVAL="0", **settings)
    finally:
        database.query("DROP OWNED BY alone; DROP ROLE alone")
    assert (result.code, result.applied) == (0, ["001_a"]), result.stderr
    assert result.of("migration.retry") == []


def test_the_second_connection_is_gone_with_its_migration(
    database: Database, tmp_path: Path
) -> None:
    """It is opened anew for the next slow one: at no time are there two of them."""
    files = {f"00{n}_a.sql": f"SELECT pg_advisory_xact_lock_shared({n})" for n in (7, 8)}
    ours = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'migrator/tester'"
    with closing(database.connect()) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_lock(7), pg_advisory_lock(8)")
        folder = write_folder(tmp_path, files)
        job = Job(database.url, folder, LOCK_TIMEOUT="0", PROGRESS_INTERVAL="250ms")
        for n in (7, 8):
            job.hear("migration.progress", version=f"00{n}_a")
            until(lambda: database.query(ours) == [(2,)])
            cursor.execute(f"SELECT pg_advisory_unlock({n})")
        assert job.result().code == 0


def test_behind_a_pool_of_one_the_time_is_told_in_time(
    database: Database, pgbouncer: MakePgBouncer, tmp_path: Path
) -> None:
    """The second connection is accepted and not answered: the lines do not wait for that."""
    url = pgbouncer(database, pool_mode="transaction", pool_size=1).url(database.dbname)
    folder = write_folder(tmp_path, {"001_a.sql": "SELECT pg_advisory_xact_lock_shared(7)"})
    with held(database) as let_go:
        job = Job(url, folder, LOCK_TIMEOUT="0", PROGRESS_INTERVAL="500ms")
        job.hear("observer.unavailable")
        let_go()
        result = job.result()
    assert result.code == 0
    before = result.events[: result.events.index("observer.unavailable")]
    assert "migration.progress" in before
    assert all("blockers" not in line for line in result.lines)


def test_a_stop_is_heard_while_the_second_connection_is_open(
    database: Database, tmp_path: Path
) -> None:
    folder = write_folder(tmp_path, {"001_a.sql": "SELECT pg_advisory_xact_lock_shared(7)"})
    with held(database):
        job = Job(database.url, folder, LOCK_TIMEOUT="0", PROGRESS_INTERVAL="100ms")
        job.hear("migration.progress", lambda line: "blockers" in line)
        job.process.send_signal(signal.SIGTERM)
        result = job.result()
    assert result.code == 23
    assert result.report["outcome"] == "001_a was rolled back"


LIMITS = {
    "lock_timeout": "2s",
    "statement_timeout": "0",
    "idle_in_transaction_session_timeout": "1min",
    "client_connection_check_interval": "5s",
    # over TCP the server shows what the socket has, not what was asked for
    "tcp_keepalives_idle": "10",
    "tcp_keepalives_interval": "5",
    "tcp_keepalives_count": "3",
    "tcp_user_timeout": "20000",
}


@pytest.mark.parametrize("way", ["direct", "transaction"])
def test_the_servers_own_limits_cut_no_migration(
    database: Database, pgbouncer: MakePgBouncer, tmp_path: Path, way: str
) -> None:
    """As Supabase's statement_timeout of two minutes would; 50 ms stand for it here."""
    for name in ("statement_timeout", "idle_in_transaction_session_timeout"):
        database.query(f"ALTER DATABASE \"{database.dbname}\" SET {name} = '50ms'")
    if database.query("SHOW server_version_num") >= [("170000",)]:
        database.query(f"ALTER DATABASE \"{database.dbname}\" SET transaction_timeout = '50ms'")
    shown = "".join(
        f"INSERT INTO shown VALUES ('{name}', current_setting('{name}'));\n" for name in LIMITS
    )
    body = f"CREATE TABLE shown (name text, value text);\nSELECT pg_sleep(0.2);\n{shown}"
    big = body + f"SELECT '{'x' * 1_100_000}';\n"  # in several messages, with pauses between them
    url = database.url
    if way != "direct":
        url = pgbouncer(database, pool_mode=way).url(database.dbname)
    for version, text in (("001_a", body), ("002_b", f"DROP TABLE shown;\n{big}")):
        result = run_job(url, write_folder(tmp_path, {f"{version}.sql": text}))
        assert (result.code, result.applied) == (0, [version]), result.stderr
        with closing(database.connect()) as connection, connection.cursor() as cursor:
            cursor.execute("SET statement_timeout = 0; SELECT name, value FROM shown")
            assert dict(cursor.fetchall()) == LIMITS


def test_a_session_that_holds_the_lock_does_not_last_when_its_runner_is_frozen(
    database: Database, tmp_path: Path
) -> None:
    limits = {**LIMITS, "idle_session_timeout": "1min"}
    shown = "".join(
        f"INSERT INTO shown VALUES ('{name}', current_setting('{name}'));\n" for name in limits
    )
    text = f"-- migrator: no-transaction\nCREATE TABLE shown (name text, value text);\n{shown}"
    result = run_job(database.url, write_folder(tmp_path, {"001_a.sql": text}))
    assert (result.code, result.applied) == (0, ["001_a"]), result.stderr
    assert dict(database.query("SELECT name, value FROM shown")) == limits


@pytest.mark.parametrize(
    ("directive", "settings", "remedy"),
    [
        ("-- migrator: statement-timeout 60ms\n", {}, "`-- migrator: statement-timeout 60ms` cut"),
        ("", {"STATEMENT_TIMEOUT": "50ms"}, "STATEMENT_TIMEOUT=50ms cut it: raise that"),
        (
            "-- migrator: statement-timeout 60ms\n",
            {"STATEMENT_TIMEOUT": "1h"},
            "`-- migrator: statement-timeout 60ms` cut",
        ),
        ("SET LOCAL statement_timeout = 50;\n", {}, "The file sets statement_timeout itself"),
    ],
)
def test_a_limit_that_cut_a_statement_is_named(
    database: Database, tmp_path: Path, directive: str, settings: dict[str, str], remedy: str
) -> None:
    body = f"{directive}CREATE TABLE a ();\nSELECT pg_sleep(60);\n"
    result = run_job(database.url, write_folder(tmp_path, {"001_a.sql": body}), **settings)
    assert (result.code, result.error["sqlstate"]) == (15, "57014")
    assert remedy in result.error["remedy"]
    assert database.query("SELECT to_regclass('a')") == [(None,)]


def test_a_migration_is_not_begun_with_less_time_left_than_it_may_take(
    database: Database, tmp_path: Path
) -> None:
    files = {
        "001_a.sql": "CREATE TABLE a ()",
        "002_b.sql": "-- migrator: statement-timeout 1h\nCREATE TABLE b ()",
        "003_c.sql": "CREATE TABLE c ()",
    }
    result = run_job(database.url, write_folder(tmp_path, files), DEADLINE="50min")
    assert (result.code, result.applied) == (23, ["001_a"])
    assert result.report["outcome"].startswith("002_b was not started: ")
    assert "statement-timeout is 1h" in result.report["outcome"]
    assert [line["version"] for line in result.of("migration.started")] == ["001_a"]
    assert database.query("SELECT to_regclass('b')") == [(None,)]
    assert run_job(database.url, tmp_path, DEADLINE="61min").code == 0
