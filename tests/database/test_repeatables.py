"""R__name.sql: when it runs, what is recorded of it, and what a race or a fault makes of it."""

from __future__ import annotations

import hashlib
import json
import signal
from pathlib import Path

import pytest

from tests.builders import write_folder
from tests.conftest import Database, MakePgBouncer, MakeProxy
from tests.job import Job, Listener, run_job, run_listening, until
from tests.proxy import Cut

FIRST = "CREATE OR REPLACE VIEW public.v AS SELECT 1 AS n;\n"
SECOND = "CREATE OR REPLACE VIEW public.v AS SELECT 2 AS n;\n"
FILES = {"001_a.sql": "CREATE TABLE public.a (id int);\n", "R__v.sql": FIRST}
ROW = "SELECT checksum, kind, run_id::text, rollback_sql FROM schema_migrations WHERE version = %s"
RUNS = """SELECT run_id::text, detail ->> 'checksum' FROM schema_migrations_log
 WHERE version = %s AND event = 'applied' ORDER BY id"""
VIEW = "SELECT n FROM public.v"


def sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def edit(folder: Path, text: str = SECOND) -> None:
    write_folder(folder, {"R__v.sql": text})


def test_it_runs_last_once_and_again_when_it_changed(database: Database, tmp_path: Path) -> None:
    folder = write_folder(tmp_path, FILES)
    first = run_job(database.url, folder)
    assert (first.code, first.applied) == (0, ["001_a", "R__v"])
    assert run_job(database.url, folder).applied == []
    edit(folder)
    write_folder(folder, {"002_b.sql": "SELECT 1"})
    second = run_job(database.url, folder)
    assert (second.code, second.applied) == (0, ["002_b", "R__v"])
    assert run_job(database.url, folder).applied == []
    assert database.query(VIEW) == [(2,)]
    ids = [result.report["run_id"] for result in (first, second)]
    assert database.query(ROW, "R__v") == [(sha256(SECOND), "repeatable", ids[1], None)]
    assert database.query(RUNS, "R__v") == [(ids[0], sha256(FIRST)), (ids[1], sha256(SECOND))]
    assert second.report["current"] == "002_b"
    assert database.query("SELECT count(*) FROM schema_migrations") == [(3,)]


def test_the_row_tells_of_the_newest_run(database: Database, tmp_path: Path) -> None:
    folder = write_folder(tmp_path, FILES)
    assert run_job(database.url, folder).code == 0
    row = "SELECT applied_at, execution_time_ms FROM schema_migrations WHERE version = 'R__v'"
    database.query("UPDATE schema_migrations SET execution_time_ms = -1")
    ((before, _),) = database.query(row)
    edit(folder)
    assert run_job(database.url, folder).code == 0
    ((after, spent),) = database.query(row)
    assert after > before
    assert spent >= 0


def test_a_text_that_was_put_back_runs_again(database: Database, tmp_path: Path) -> None:
    folder = write_folder(tmp_path, FILES)
    for text in (FIRST, SECOND, FIRST):
        edit(folder, text)
        assert "R__v" in run_job(database.url, folder).applied
    assert database.query(VIEW) == [(1,)]
    assert len(database.query(RUNS, "R__v")) == 3


def test_each_flies_alone_and_by_name(database: Database, tmp_path: Path) -> None:
    folder = write_folder(
        tmp_path, {"R__b.sql": "SELECT 1/0", "R__a.sql": "SELECT 1", "R__c.sql": "SELECT 3"}
    )
    result = run_job(database.url, folder)
    assert (result.code, result.applied) == (15, ["R__a"])
    assert "not tried: R__c" in result.report["outcome"]
    assert result.report["pending"] == ["R__b", "R__c"]
    write_folder(folder, {"R__b.sql": "SELECT 2"})
    assert run_job(database.url, folder).applied == ["R__b", "R__c"]


def test_a_refused_one_leaves_the_row_of_its_last_run(database: Database, tmp_path: Path) -> None:
    folder = write_folder(tmp_path, FILES)
    assert run_job(database.url, folder).code == 0
    before = database.query(ROW, "R__v")
    edit(folder, SECOND + "SELECT 1/0;\n")
    result = run_job(database.url, folder)
    assert (result.code, result.error["line"]) == (15, 2)
    assert result.report["outcome"] == "R__v was rolled back; the database is at 001_a"
    assert (database.query(ROW, "R__v"), database.query(VIEW)) == (before, [(1,)])


def test_a_changed_one_is_pending_to_verify_status_plan_and_wait(
    database: Database, tmp_path: Path
) -> None:
    folder = write_folder(tmp_path, FILES)
    assert run_job(database.url, folder).code == 0
    assert run_job(database.url, folder, "verify").code == 0
    edit(folder)
    verified = run_job(database.url, folder, "verify")
    assert (verified.code, verified.error["message"]) == (24, "pending: R__v")
    assert run_job(database.url, folder, "wait", WAIT_TIMEOUT="200ms").code == 24
    answer = json.loads(run_job(database.url, folder, "plan", "--json").stdout)
    assert [entry["version"] for entry in answer["would_apply"]] == ["R__v"]
    rows = json.loads(run_job(database.url, folder, "status", "--json").stdout)["migrations"]
    assert [(r["version"], r["state"], r["kind"]) for r in rows] == [
        ("001_a", "applied", "versioned"),
        ("R__v", "pending", "repeatable"),
    ]
    assert rows[1]["applied_at"]
    waiter = Job(database.url, folder, "wait")
    waiter.hear("migrations.waiting", pending=["R__v"])
    assert run_job(database.url, folder).applied == ["R__v"]
    assert waiter.result().code == 0


def test_an_image_rolled_back_does_not_put_its_own_back(database: Database, tmp_path: Path) -> None:
    new = {**FILES, "002_b.sql": "SELECT 2", "R__v.sql": SECOND, "R__w.sql": "SELECT 1"}
    assert run_job(database.url, write_folder(tmp_path / "new", new)).code == 0
    old = write_folder(tmp_path / "old", {**FILES, "R__x.sql": "SELECT 'older'"})
    result = run_job(database.url, old)
    assert (result.code, result.applied) == (0, [])
    warned = [line["file"] for line in result.of("plan.warning")]
    assert warned == ["002_b", "R__v.sql", "R__x.sql", "R__w"]
    assert result.of("plan.made")[0]["held"] == ["R__v", "R__x"]
    assert database.query(VIEW) == [(2,)]
    for command in ("verify", "wait"):
        assert run_job(database.url, old, command).code == 0, command
    rows = json.loads(run_job(database.url, old, "status", "--json").stdout)["migrations"]
    assert {row["version"]: row["state"] for row in rows} == {
        "001_a": "applied",
        "002_b": "missing",
        "R__v": "held",
        "R__w": "missing",
        "R__x": "held",
    }


def test_one_without_a_file_is_warned_of_until_a_person_has_it_forgotten(
    database: Database, tmp_path: Path
) -> None:
    folder = write_folder(tmp_path, FILES)
    assert run_job(database.url, folder).code == 0
    (folder / "R__v.sql").unlink()
    result = run_job(database.url, folder)
    assert (result.code, [w["file"] for w in result.of("plan.warning")]) == (0, ["R__v"])
    words = ("repair", "--not-applied", "R__v", "--reason", "the view is gone")
    assert run_job(database.url, folder, *words).code == 0
    assert run_job(database.url, folder).of("plan.warning") == []
    edit(folder)
    refused = run_job(database.url, folder, "repair", "--applied", "R__v", "--reason", "so it is")
    assert (refused.code, "is a repeatable" in refused.error["message"]) == (2, True)


@pytest.mark.parametrize("columns", ["", "PRIMARY KEY"])
def test_the_table_of_an_older_job_may_lack_its_key(
    database: Database, tmp_path: Path, columns: str
) -> None:
    database.query(
        f"CREATE TABLE schema_migrations (version varchar(255) {columns}, applied_at timestamptz"
        " DEFAULT now(), execution_time_ms integer, checksum varchar(64))"
    )
    folder = write_folder(tmp_path, FILES)
    assert run_job(database.url, folder).applied == ["001_a", "R__v"]
    edit(folder)
    assert run_job(database.url, folder).applied == ["R__v"]
    assert database.query("SELECT count(*) FROM schema_migrations") == [(2,)]


@pytest.mark.parametrize("way", ["direct", "transaction", "transaction, pool of one"])
def test_eight_runners_run_a_changed_one_once(
    database: Database, pgbouncer: MakePgBouncer, tmp_path: Path, way: str
) -> None:
    folder = write_folder(tmp_path, FILES)
    assert run_job(database.url, folder).code == 0
    edit(folder, "INSERT INTO public.a VALUES (1);\n" + SECOND)
    url = database.url
    if way != "direct":
        size = 1 if "one" in way else 20
        url = pgbouncer(database, pool_mode="transaction", pool_size=size).url(database.dbname)
    jobs = [Job(url, folder) for _ in range(8)]
    results = [job.result() for job in jobs]
    assert [result.code for result in results] == [0] * 8, [r.stderr[-600:] for r in results]
    assert [version for result in results for version in result.applied] == ["R__v"]
    assert database.query("SELECT count(*) FROM public.a") == [(1,)]
    assert len(database.query(RUNS, "R__v")) == 2
    assert database.query("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'") == [(0,)]


def test_a_run_that_was_overtaken_plans_again(database: Database, tmp_path: Path) -> None:
    """No version came or went: only a checksum in the history tells that it has moved."""
    folder = write_folder(tmp_path, FILES)
    assert run_job(database.url, folder).code == 0
    edit(folder)
    others = []
    overtaken = Listener("plan.made", lambda: others.append(Job(database.url, folder).result()))
    result = run_listening(overtaken, database.url, folder)
    assert others[0].applied == ["R__v"]
    assert (result.code, result.applied) == (0, [])
    assert result.events.count("plan.made") == 2
    assert len(database.query(RUNS, "R__v")) == 2


def test_a_run_overtaken_by_another_text_puts_its_own_behind(
    database: Database, tmp_path: Path
) -> None:
    folder = write_folder(tmp_path / "ours", FILES)
    other = write_folder(tmp_path / "other", FILES)
    assert run_job(database.url, folder).code == 0
    edit(folder)
    edit(other, "SELECT 'another text';\n")
    overtaken = Listener("migration.started", lambda: Job(database.url, other).result())
    result = run_listening(overtaken, database.url, folder)
    assert (result.code, result.applied) == (0, ["R__v"])
    texts = (FIRST, "SELECT 'another text';\n", SECOND)
    assert [checksum for _, checksum in database.query(RUNS, "R__v")] == [*map(sha256, texts)]


@pytest.mark.parametrize("moment", list(Cut))
@pytest.mark.parametrize("way", ["direct", "transaction"])
def test_a_lost_answer_is_settled_by_the_run_of_the_row(
    database: Database,
    pgbouncer: MakePgBouncer,
    proxy: MakeProxy,
    tmp_path: Path,
    moment: Cut,
    way: str,
) -> None:
    """There is a row already, of an older run: its being there proves nothing."""
    folder = write_folder(tmp_path, FILES)
    assert run_job(database.url, folder).code == 0
    edit(folder)
    cutter, url = proxy(database), database.url
    if way == "transaction":
        pooler = pgbouncer(database, pool_mode="transaction", pool_size=2)
        cutter, url = proxy(pooler), pooler.url(database.dbname)
    cutter.cut_at(b"CREATE OR REPLACE VIEW", moment)
    result = run_job(cutter.through(url), folder)
    assert (result.code, result.applied) == (0, ["R__v"]), result.stderr
    assert [line["reason"] for line in result.of("migration.retry")] == ["lost"]
    assert result.events.count("plan.made") == 1
    run_id = result.report["run_id"]
    assert database.query(ROW, "R__v") == [(sha256(SECOND), "repeatable", run_id, None)]
    assert len(database.query(RUNS, "R__v")) == 2
    assert database.query(VIEW) == [(2,)]


def test_one_that_ends_its_backend_every_time_stops_after_five_attempts(
    database: Database, tmp_path: Path
) -> None:
    folder = write_folder(tmp_path, FILES)
    assert run_job(database.url, folder).code == 0
    before = database.query(ROW, "R__v")
    edit(folder, "SELECT pg_terminate_backend(pg_backend_pid());")
    result = run_job(database.url, folder)
    assert (result.code, len(result.of("migration.retry"))) == (15, 5)
    assert result.events.count("plan.made") == 1
    assert database.query(ROW, "R__v") == before


SLOW_TO_TIDY = (
    SECOND + "DO $$ BEGIN FOR n IN 1..1500 LOOP"
    " EXECUTE format('CREATE TEMP TABLE temp_%s (id int PRIMARY KEY)', n); END LOOP; END $$;\n"
)


def test_a_stop_after_its_commit_tells_of_a_run_that_stands(
    database: Database, tmp_path: Path
) -> None:
    folder = write_folder(tmp_path, FILES)
    assert run_job(database.url, folder).code == 0
    edit(folder, SLOW_TO_TIDY)
    job = Job(database.url, folder)
    until(lambda: len(database.query(RUNS, "R__v")) == 2)
    job.process.send_signal(signal.SIGTERM)
    result = job.result()
    assert "rolled back" not in result.report["outcome"]
    if not result.report["outcome"].startswith("unknown"):  # it had no time left to look
        assert (result.code, result.applied) == (0, ["R__v"]), result.stderr


def test_a_stop_in_it_leaves_the_row_of_its_last_run(database: Database, tmp_path: Path) -> None:
    folder = write_folder(tmp_path, FILES)
    assert run_job(database.url, folder).code == 0
    before = database.query(ROW, "R__v")
    edit(folder, SECOND + "SELECT pg_sleep(600);\n")
    job = Job(database.url, folder)
    until(lambda: database.query("SELECT 1 FROM pg_stat_activity WHERE wait_event = 'PgSleep'"))
    job.process.send_signal(signal.SIGTERM)
    result = job.result()
    assert (result.code, result.report["outcome"]) == (23, "R__v was rolled back")
    assert database.query(ROW, "R__v") == before


def test_supabases_own_role_runs_them_through_a_transaction_pooler(
    supabase: Database, pgbouncer: MakePgBouncer, tmp_path: Path
) -> None:
    pooler = pgbouncer(supabase, pool_mode="transaction", pool_size=1)
    url = pooler.url(supabase.dbname, supabase.user, supabase.password)
    folder = write_folder(tmp_path, FILES)
    assert run_job(url, folder).applied == ["001_a", "R__v"]
    edit(folder)
    assert run_job(url, folder).applied == ["R__v"]
    assert run_job(url, folder, "verify").code == 0
    assert supabase.query(VIEW) == [(2,)]
