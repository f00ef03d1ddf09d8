"""Files of a group at once: what overlaps, what never does, and what trouble in one means."""

from __future__ import annotations

import json
import signal
from contextlib import closing
from pathlib import Path

import pytest

from migrator.history.guard import lock_key
from tests.builders import write_folder
from tests.conftest import Database, MakePgBouncer, MakeProxy, MakeServer, create_database
from tests.gate import GATE, WAITS, gate
from tests.job import Job, Result, run_job, until
from tests.parallel import FIRST, PARALLEL, meeting
from tests.proxy import Cut

LOG = "SELECT version FROM schema_migrations_log WHERE event = 'applied' ORDER BY id"
ROWS = "SELECT version FROM schema_migrations ORDER BY version"
LOCKS = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'"


AT_WORK = (
    "SELECT 1 FROM pg_stat_activity WHERE state = 'active' AND query LIKE '/* migrator 002_m%'"
)
UNTIL_OTHERS_WAIT = f"""DO $$ BEGIN
  WHILE (SELECT count(*) FROM ({WAITS}) AS waiting) < 2 LOOP PERFORM pg_sleep(0.01); END LOOP;
END $$;
"""


def applied(database: Database) -> list[str]:
    """In order by version; each has one line of the log."""
    rows = [version for (version,) in database.query(ROWS)]
    assert sorted(version for (version,) in database.query(LOG)) == rows
    return rows


def members(*numbers: int, sql: str = "") -> dict[str, str]:
    """Files of one group, each of which makes a table."""
    return {f"{n:03}_m.sql": f"{PARALLEL}CREATE TABLE t{n} ();\n{sql}" for n in numbers}


def test_those_of_a_group_are_at_work_at_once(database: Database, tmp_path: Path) -> None:
    folder = write_folder(tmp_path, {**FIRST, **meeting([2, 3, 4]), "005_last.sql": "SELECT 1;"})
    result = run_job(database.url, folder, JOBS="3")
    assert result.code == 0, result.stderr
    assert (result.applied[0], result.applied[-1]) == ("001_first", "005_last")
    assert applied(database) == ["001_first", "002_m", "003_m", "004_m", "005_last"]
    log = [version for (version,) in database.query(LOG)]
    assert (log[0], log[-1]) == ("001_first", "005_last")
    assert database.query(LOCKS) == [(0,)]
    assert result.report["pending"] == []
    said = [line["version"] for line in result.of("migration.applied")]
    assert said == result.applied
    assert run_job(database.url, folder, JOBS="3").applied == []


def test_without_jobs_a_group_is_nothing_but_its_files(
    database: Database, proxy: MakeProxy, tmp_path: Path
) -> None:
    """Neither a connection more nor a message: they even share one."""
    counting = proxy(database)
    folder = write_folder(tmp_path, members(*range(1, 6)))
    result = run_job(counting.through(database.url), folder, FILES_PER_FLIGHT="16")
    assert result.applied == [f"{n:03}_m" for n in range(1, 6)], result.stderr
    assert counting.connections == 1
    history, sessions, message = 1, 1, 1
    assert counting.flights <= history + sessions + message + 1


def test_no_more_connections_than_jobs(database: Database, tmp_path: Path) -> None:
    """The run's own has made room: a fourth one would be waited for without an end."""
    alone = """DO $$ BEGIN
      WHILE (SELECT count(*) FROM pg_stat_activity
              WHERE application_name LIKE 'migrator/%' AND datname = current_database()) > 3 LOOP
        PERFORM pg_stat_clear_snapshot(), pg_sleep(0.01);
      END LOOP;
    END $$;"""
    folder = write_folder(tmp_path, {**FIRST, **meeting([2, 3, 4], alone), **members(5, 6, 7)})
    result = run_job(database.url, folder, JOBS="3", PROGRESS_INTERVAL="0")
    assert (result.code, len(result.applied)) == (0, 7), result.stderr


@pytest.mark.parametrize("other", ["an ordinary file", "a group"])
def test_an_ordinary_file_is_never_at_work_beside_a_group(
    database: Database, tmp_path: Path, other: str
) -> None:
    """Whichever of the two comes first; the other waits for the runners' lock."""
    start = {"000_a.sql": "SELECT 1;"}
    group = {**start, "001_m.sql": PARALLEL + GATE, **members(2)}
    folder = write_folder(tmp_path / "1", group)
    others = write_folder(tmp_path / "2", {**start, "003_o.sql": GATE})
    first, second = (folder, others) if other == "an ordinary file" else (others, folder)
    assert run_job(database.url, write_folder(tmp_path / "0", start)).code == 0
    with gate(database):
        one = Job(database.url, first, JOBS="2", LOCK_TIMEOUT="0", ON_MISSING="warn")
        until(lambda: database.query(WAITS))
        two = Job(database.url, second, JOBS="2", LOCK_TIMEOUT="0", ON_MISSING="warn")
        two.hear("lock.waiting")
        assert len(database.query(WAITS)) == 1
        two.process.send_signal(signal.SIGTERM)
        assert two.result().code == 23
    assert one.result().code == 0


def test_a_refusal_lets_the_others_end_and_names_them(database: Database, tmp_path: Path) -> None:
    refused = f"{PARALLEL}{UNTIL_OTHERS_WAIT}SELECT 1/0;\n"
    files = {**members(1, 3, sql=GATE), "002_m.sql": refused, **members(4)}
    folder = write_folder(tmp_path, {**files, "005_last.sql": "SELECT 1;"})
    with gate(database):
        job = Job(database.url, folder, JOBS="3", LOCK_TIMEOUT="0", FILES_PER_FLIGHT="16")
        until(lambda: len(database.query(WAITS)) == 2)
        until(lambda: not database.query(AT_WORK))
    result = job.result()
    error = result.error
    assert (result.code, error["version"], error["sqlstate"]) == (15, "002_m", "22012")
    assert error["line"] == refused.count("\n")
    assert sorted(result.applied) == applied(database) == ["001_m", "003_m"]
    assert result.report["outcome"].startswith("002_m was rolled back"), result.stderr
    assert "of its group 001_m, 003_m are applied; 004_m is not applied" in result.report["outcome"]
    assert sorted(result.report["pending"]) == ["002_m", "004_m", "005_last"]
    failed = "SELECT version FROM schema_migrations_log WHERE event = 'failed'"
    assert database.query(failed) == [("002_m",)]
    # what is left is not late, though 003 is applied
    write_folder(folder, {"002_m.sql": PARALLEL + "SELECT 1;\n"})
    again = run_job(database.url, folder, JOBS="3")
    assert (again.code, sorted(again.applied)) == (0, ["002_m", "004_m", "005_last"]), again.stderr


def test_several_that_are_refused_are_all_named(database: Database, tmp_path: Path) -> None:
    folder = write_folder(tmp_path, members(1, 2, 3, sql=f"{GATE}SELECT 1/0;\n"))
    with gate(database):
        job = Job(database.url, folder, JOBS="3", LOCK_TIMEOUT="0")
        until(lambda: len(database.query(WAITS)) == 3)
    result = job.result()
    assert result.code == 15, result.stderr
    others = [found["version"] for found in result.error["refused_too"]]
    assert sorted([result.error["version"], *others]) == ["001_m", "002_m", "003_m"]
    assert all(version in result.error["message"] for version in others)
    assert applied(database) == []


def test_a_stop_ends_all_of_them(database: Database, tmp_path: Path) -> None:
    folder = write_folder(tmp_path, members(1, 2, 3, sql=GATE))
    with gate(database):
        job = Job(database.url, folder, JOBS="2", LOCK_TIMEOUT="0")
        until(lambda: len(database.query(WAITS)) == 2)
        job.process.send_signal(signal.SIGTERM)
        result = job.result()
        assert not database.query(WAITS)
    assert result.code == 23, result.stderr
    outcome = result.report["outcome"]
    assert "001_m" in outcome, outcome
    assert "002_m" in outcome, outcome
    assert "rolled back" in outcome, outcome
    assert "unknown" not in outcome, outcome
    assert applied(database) == []
    assert run_job(database.url, folder, JOBS="2").code == 0


def test_a_group_of_another_folder_on_the_same_head_is_noticed_at_the_end(
    database: Database, tmp_path: Path
) -> None:
    """Both guards saw the same history; only one of the two groups may come of it."""
    mine = write_folder(tmp_path / "1", members(2, 4, sql=GATE))
    theirs = write_folder(tmp_path / "2", members(3, 5))
    assert run_job(database.url, write_folder(tmp_path / "0", {"001_a.sql": "SELECT"})).code == 0
    settings = {"LOCK_TIMEOUT": "0", "ON_MISSING": "warn"}
    with gate(database):
        one = Job(database.url, mine, JOBS="1", **settings)
        one.process.kill()
        one = Job(
            database.url, write_folder(tmp_path / "1", members(4, sql=GATE)), **settings, JOBS="2"
        )
        until(lambda: len(database.query(WAITS)) == 2)
        two = run_job(database.url, theirs, JOBS="2", **settings)
        assert (two.code, sorted(two.applied)) == (0, ["003_m", "005_m"]), two.stderr
    result = one.result()
    assert (result.code, result.applied) == (13, []), result.stderr
    assert applied(database) == ["001_a", "003_m", "005_m"]
    assert database.query("SELECT to_regclass('t2'), to_regclass('t4')") == [(None, None)]


BUSY = """
LOCK TABLE met IN ACCESS EXCLUSIVE MODE;
INSERT INTO met VALUES ({n});
DO $$
DECLARE
  waited bool := false;
  seen bool;
BEGIN
  WHILE NOT EXISTS (SELECT FROM schema_migrations WHERE version LIKE '%_m') LOOP
    SELECT EXISTS (SELECT FROM pg_locks WHERE relation = 'met'::regclass AND NOT granted) INTO seen;
    EXIT WHEN waited AND NOT seen;
    waited := waited OR seen;
    PERFORM pg_sleep(0.01);
  END LOOP;
END $$;
"""


def test_one_that_finds_a_table_busy_runs_when_the_others_are_through(
    database: Database, tmp_path: Path
) -> None:
    """They are not independent after all: that costs time, and nothing else."""
    files = {f"{n:03}_m.sql": PARALLEL + BUSY.format(n=n) for n in (2, 3)}
    folder = write_folder(tmp_path, {**FIRST, **files})
    result = run_job(database.url, folder, JOBS="2", LOCK_TIMEOUT="200ms")
    assert result.code == 0, result.stderr
    assert result.of("migration.retry")[0]["reason"] == "busy"
    assert applied(database) == ["001_first", "002_m", "003_m"]
    assert database.query("SELECT count(*) FROM met") == [(2,)]


def test_a_backend_that_is_ended_costs_its_own_file_a_second_try(
    database: Database, tmp_path: Path
) -> None:
    folder = write_folder(tmp_path, members(1, 2, 3, sql=GATE))
    with gate(database):
        job = Job(database.url, folder, JOBS="3", LOCK_TIMEOUT="0")
        until(lambda: len(database.query(WAITS)) == 3)
        [(ended,), *_] = database.query(WAITS)
        database.query("SELECT pg_terminate_backend(%s)", ended)
        job.hear("migration.retry", reason="lost")
    result = job.result()
    assert result.code == 0, result.stderr
    assert applied(database) == ["001_m", "002_m", "003_m"]


@pytest.mark.parametrize("cut", list(Cut))
def test_an_answer_that_is_lost_is_found_out(
    database: Database, proxy: MakeProxy, tmp_path: Path, cut: Cut
) -> None:
    cutter = proxy(database)
    cutter.cut_at(b"CREATE TABLE t2 ", cut)
    result = run_job(
        cutter.through(database.url), write_folder(tmp_path, members(1, 2, 3)), JOBS="2"
    )
    assert result.code == 0, result.stderr
    assert sorted(result.applied) == applied(database) == ["001_m", "002_m", "003_m"]


@pytest.mark.parametrize("mode", ["session", "transaction"])
def test_a_pool_of_one_takes_them_one_after_another(
    database: Database,
    pgbouncer: MakePgBouncer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    mode: str,
) -> None:
    """The first one is at work for longer than another connection is waited for."""
    monkeypatch.setattr("migrator.parallel.run.START_SECONDS", 0.3)
    url = pgbouncer(database, pool_mode=mode, pool_size=1).url(database.dbname)
    files = {**members(2, 3, 4), "001_m.sql": f"{PARALLEL}SELECT pg_sleep(1);\n"}
    result = run_job(url, write_folder(tmp_path, files), JOBS="3")
    assert result.code == 0, result.stderr
    assert sorted(result.applied) == applied(database) == [f"{n:03}_m" for n in range(1, 5)]
    assert [line["jobs"] for line in result.of("jobs.reduced")] == [2, 1]


def test_two_runners_share_a_group(database: Database, tmp_path: Path) -> None:
    """The second one takes what the first has not, waits for the rest, and plans anew."""
    folder = write_folder(
        tmp_path, {**members(1, 2, sql=GATE), **members(3, 4), "005_last.sql": "SELECT"}
    )
    there = "SELECT to_regclass('t3') IS NOT NULL AND to_regclass('t4') IS NOT NULL"
    with gate(database):
        jobs = [Job(database.url, folder, JOBS="2", LOCK_TIMEOUT="0")]
        until(lambda: len(database.query(WAITS)) == 2)
        jobs.append(Job(database.url, folder, JOBS="2", LOCK_TIMEOUT="0"))
        until(lambda: database.query(there) == [(True,)])
        jobs[1].hear("lock.waiting")
    results: list[Result] = [job.result() for job in jobs]
    assert [result.code for result in results] == [0, 0], results[0].stderr + results[1].stderr
    versions = ["001_m", "002_m", "003_m", "004_m", "005_last"]
    assert applied(database) == versions
    assert sorted(v for result in results for v in result.applied) == versions


def test_a_killed_run_is_gone_on_with(database: Database, tmp_path: Path) -> None:
    """What was applied stays; what is left of the group is neither late nor alone."""
    files = {**FIRST, **meeting([2, 4]), **members(3, 5)}
    with gate(database):
        folder = write_folder(tmp_path, {**FIRST, **members(2, 4, sql=GATE), **members(3, 5)})
        job = Job(database.url, folder, JOBS="3", LOCK_TIMEOUT="0")
        until(lambda: database.query("SELECT to_regclass('t5')") != [(None,)])
        job.process.kill()
        job.process.communicate(timeout=60)
        until(lambda: not database.query(WAITS))
    assert applied(database) == ["001_first", "003_m", "005_m"]
    plan = run_job(database.url, write_folder(folder, files), "plan", "--json")
    assert plan.code == 0, plan.stderr
    would = json.loads(plan.stdout)["would_apply"]
    assert [(row["version"], row["parallel"]) for row in would] == [("002_m", "g"), ("004_m", "g")]
    result = run_job(database.url, folder, JOBS="2")
    assert (result.code, sorted(result.applied)) == (0, ["002_m", "004_m"]), result.stderr
    undone = run_job(database.url, folder, "rollback", "--to", "001_first", "--yes")
    assert undone.code == 12  # they have no undo


def test_what_a_large_file_needs_is_there_in_a_group(database: Database, tmp_path: Path) -> None:
    """Several messages within its transaction, rows that nobody wants, limits, notices."""
    rows = "SELECT repeat('x', 100) FROM generate_series(1, 2000);\n"
    large = "".join(f"SELECT length('{'x' * 400_000}');\n" for _ in range(5))
    said = "DO $$ BEGIN RAISE WARNING 'of the third'; END $$;\n"
    files = {
        **members(1, sql=rows + large),
        "002_m.sql": f"{PARALLEL}-- migrator: lock-timeout 0\n{rows}",
        **members(3, sql=said),
    }
    result = run_job(database.url, write_folder(tmp_path, files), JOBS="3")
    assert result.code == 0, result.stderr
    assert applied(database) == ["001_m", "002_m", "003_m"]
    [warning] = [n for n in result.of("migration.notice") if "of the third" in n["notice"]]
    assert warning["version"] == "003_m"


def test_lines_of_the_others_are_no_change_of_a_file(database: Database, tmp_path: Path) -> None:
    """Where the server does no counting, the rows of the log are counted."""
    database.query(f"ALTER DATABASE {database.dbname} SET track_counts = off")
    folder = write_folder(tmp_path, {**FIRST, **meeting([2, 3, 4])})
    result = run_job(database.url, folder, JOBS="3")
    assert (result.code, len(result.applied)) == (0, 4), result.stderr


def test_a_file_that_changes_our_tables_is_refused_in_a_group_too(
    database: Database, tmp_path: Path
) -> None:
    folder = write_folder(tmp_path, {"000_a.sql": "SELECT 1;"})
    assert run_job(database.url, folder).code == 0
    write_folder(folder, {**members(1, 3), **members(2, sql="DELETE FROM schema_migrations;")})
    result = run_job(database.url, folder, JOBS="3")
    assert result.code == 15, result.stderr
    assert result.error["version"] == "002_m", result.stderr
    assert applied(database) == ["000_a", "001_m", "003_m"]


def test_the_hook_behind_the_migrations_is_owed_by_whichever_is_first(
    database: Database, tmp_path: Path
) -> None:
    files = {**members(1, sql=GATE), **members(2), "after.sql": "CREATE TABLE hooked ();"}
    folder = write_folder(tmp_path, files)
    with gate(database):
        job = Job(database.url, folder, JOBS="2", LOCK_TIMEOUT="0")
        until(lambda: database.query("SELECT to_regclass('t2')") != [(None,)])
        job.process.kill()
        job.process.communicate(timeout=60)
        until(lambda: not database.query(WAITS))
    owed = "SELECT count(*) > 0 FROM schema_migrations_log WHERE event = 'hook_owed'"
    assert database.query(owed) == [(True,)]
    assert run_job(database.url, folder, JOBS="2").code == 0
    assert database.query("SELECT to_regclass('hooked')") != [(None,)]


def test_a_server_that_is_gone_is_not_asked_again_and_again(
    own_server: MakeServer, tmp_path: Path
) -> None:
    """Files that were never sent find nobody who answers: the flights of any file know an end."""
    server = own_server()
    server.start()
    database = create_database(server)
    folder = write_folder(tmp_path, members(*range(1, 9), sql=GATE))
    with gate(database):
        job = Job(database.url, folder, JOBS="2", LOCK_TIMEOUT="0", CONNECT_TIMEOUT="1s")
        until(lambda: len(database.query(WAITS)) == 2)
        server.stop()
        result = job.result()
    assert result.code == 20, result.stderr
    assert len(result.of("jobs.reduced")) <= 1, result.stderr


def test_a_group_that_has_to_wait_does_not_send_all_of_its_files(
    database: Database, proxy: MakeProxy, tmp_path: Path
) -> None:
    """Each refused message is in the server's log, as long as it is."""
    files = {f"{n:03}_m.sql": f"{PARALLEL}SELECT {n}; -- {'x' * 60_000}\n" for n in range(1, 9)}
    start = write_folder(tmp_path, {"000_a.sql": "SELECT 1;"})
    assert run_job(database.url, start).code == 0
    counting = proxy(database)
    with closing(database.connect()) as holder:
        holder.cursor().execute(f"SELECT pg_advisory_lock({lock_key('public')})")
        job = Job(counting.through(database.url), write_folder(start, files), JOBS="2")
        for _ in range(3):
            job.hear("lock.waiting")
        assert 60_000 < counting.bytes_up < 5 * 60_000
    result = job.result()
    assert (result.code, len(result.applied)) == (0, 8), result.stderr


def test_the_role_of_the_files_and_the_undo_are_those_of_any(
    database: Database, tmp_path: Path
) -> None:
    role = f"owner_{database.dbname}"
    database.query(f"CREATE ROLE {role}; GRANT CREATE ON SCHEMA public TO {role}")
    try:
        undo = {f"{n:03}_m.down.sql": f"DROP TABLE t{n};" for n in (1, 2, 3)}
        folder = write_folder(tmp_path, {**members(1, 2, 3), **undo})
        result = run_job(database.url, folder, JOBS="2", RUN_AS=role)
        assert result.code == 0, result.stderr
        owners = "SELECT DISTINCT tableowner FROM pg_tables WHERE tablename IN ('t1', 't2', 't3')"
        assert database.query(owners) == [(role,)]
        order = "SELECT version FROM schema_migrations ORDER BY applied_at DESC, version DESC"
        versions = [version for (version,) in database.query(order)]
        undone = run_job(database.url, folder, "rollback", "--yes")
        assert undone.code == 0, undone.stderr
        assert [done["version"] for done in undone.report["rolled_back"]] == versions
    finally:
        database.query(f"DROP OWNED BY {role} CASCADE; DROP ROLE {role}")


def test_what_a_file_requires_of_its_group_is_refused_before_anything_runs(
    database: Database, tmp_path: Path
) -> None:
    needs = {"002_m.sql": f"{PARALLEL}-- migrator: requires 001_m\nSELECT 1;\n"}
    result = run_job(database.url, write_folder(tmp_path, {**members(1), **needs}))
    assert (result.code, result.applied) == (10, []), result.stderr
    assert "of the same group" in result.report["findings"][0]["problem"]


def test_a_reader_sees_which_file_a_line_of_progress_is_about(
    database: Database, tmp_path: Path
) -> None:
    folder = write_folder(tmp_path, members(1, 2, sql=GATE))
    with gate(database):
        job = Job(database.url, folder, JOBS="2", LOCK_TIMEOUT="0", PROGRESS_INTERVAL="200ms")
        for version in ("001_m", "002_m"):
            job.hear("migration.progress", version=version, parallel="g")
    assert job.result().code == 0


def test_a_file_that_cannot_be_read_is_refused_at_once(database: Database, tmp_path: Path) -> None:
    """And of two that are refused each outcome is right, whichever place the first one has."""
    files = {**members(1, 4, sql=f"{GATE}SELECT 1/0;\n"), **members(2, sql="SELEKT 1;\n")}
    folder = write_folder(tmp_path, {**files, **members(3)})
    with gate(database):
        job = Job(database.url, folder, JOBS="2", LOCK_TIMEOUT="0")
        until(lambda: len(database.query(WAITS)) == 1)
    result = job.result()
    assert (result.code, result.error["version"]) == (15, "002_m"), result.stderr
    assert [found["version"] for found in result.error["refused_too"]] == ["001_m"]
    assert applied(database) == []
    assert "not tried: 003_m, 004_m" in result.report["outcome"], result.stderr


def test_the_last_line_says_how_many_are_pending_in_whatever_order(
    database: Database, tmp_path: Path
) -> None:
    """The view of the status reads it there."""
    folder = write_folder(tmp_path, {**members(1, sql=GATE), **members(2, 3)})
    with gate(database):
        job = Job(database.url, folder, JOBS="2", LOCK_TIMEOUT="0")
        until(lambda: database.query("SELECT to_regclass('t3')") != [(None,)])
    assert job.result().code == 0
    pending = "SELECT (detail ->> 'pending')::int FROM schema_migrations_log WHERE version = %s"
    found = [database.query(pending, f"{n:03}_m") for n in (2, 3, 1)]
    assert found == [[(2,)], [(1,)], [(0,)]]


def test_a_stop_says_what_was_refused_before(database: Database, tmp_path: Path) -> None:
    """Else a run that is stopped each time would never say why it does not come to an end."""
    refused = f"{PARALLEL}SELECT 1/0;\n"
    folder = write_folder(tmp_path, {**members(1, sql=GATE), "002_m.sql": refused})
    with gate(database):
        job = Job(database.url, folder, JOBS="2", LOCK_TIMEOUT="0")
        until(lambda: database.query(WAITS) and not database.query(AT_WORK))
        job.hear("migration.started", version="002_m")
        until(lambda: not database.query(AT_WORK))
        job.process.send_signal(signal.SIGTERM)
        result = job.result()
    assert result.code == 23, result.stderr
    assert "001_m was rolled back; 002_m was refused before" in result.report["outcome"]


def test_one_with_too_little_time_left_ends_no_other(database: Database, tmp_path: Path) -> None:
    long = {"002_m.sql": f"{PARALLEL}-- migrator: statement-timeout 1h\nSELECT 1;\n"}
    folder = write_folder(tmp_path, {**members(1, sql=GATE), **long, **members(3)})
    with gate(database):
        job = Job(database.url, folder, JOBS="2", LOCK_TIMEOUT="0", DEADLINE="10min")
        until(lambda: database.query("SELECT to_regclass('t3')") != [(None,)])
    result = job.result()
    assert (result.code, sorted(result.applied)) == (23, ["001_m", "003_m"]), result.stderr
    assert result.report["outcome"].startswith("002_m was not started"), result.stderr
