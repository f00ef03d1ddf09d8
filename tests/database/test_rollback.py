"""The way back: what is undone, in which order, what is refused, and what a competitor sees."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import signal
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from tests.builders import write_folder
from tests.conftest import Database, MakePgBouncer, MakeProxy
from tests.gate import GATE, WAITS, gate
from tests.job import ROOT, Job, Listener, Result, run_job, run_listening, until
from tests.proxy import Cut
from tests.ways import WAYS, way_to


def steps(*numbers: int) -> dict[str, str]:
    """Migrations each of which makes one table, and their undo."""
    return {
        name: text
        for n in numbers
        for name, text in (
            (f"{n:03}_step.sql", f"CREATE TABLE t{n} (id int);\n"),
            (f"{n:03}_step.down.sql", f"-- Loses the rows of t{n}.\nDROP TABLE t{n};\n"),
        )
    }


def versions(*numbers: int) -> list[str]:
    return [f"{n:03}_step" for n in numbers]


def undone(result: Result) -> list[str]:
    return [done["version"] for done in result.report["rolled_back"]]


def tables(database: Database) -> list[str]:
    found = database.query("SELECT relname FROM pg_class WHERE relname ~ '^t[0-9]' ORDER BY 1")
    return [name for (name,) in found]


def recorded(database: Database) -> list[str]:
    found = database.query("SELECT version FROM schema_migrations ORDER BY version")
    return [version for (version,) in found]


def applied_in_runs(database: Database, folder: Path, *runs: tuple[int, ...]) -> Path:
    """The folder, applied by several runs, each with what the ones before had and some more."""
    for numbers in runs:
        assert (
            run_job(database.url, write_folder(folder, steps(*numbers)), ON_LATE="apply").code == 0
        )
    return folder


@pytest.mark.parametrize(
    ("words", "gone"),
    [
        pytest.param([], (5, 4), id="what the last run applied"),
        pytest.param(["--steps", "1"], (5,), id="one step"),
        pytest.param(["--steps", "4"], (5, 4, 3, 2), id="steps reach into older runs"),
        pytest.param(["--to", "002_step"], (5, 4, 3), id="all that is newer than a version"),
        pytest.param(
            ["--to", "002_step.sql"], (5, 4, 3), id="a file's name stands for its version"
        ),
        pytest.param(["--to", "005_step"], (), id="the newest stays: nothing"),
    ],
)
def test_what_is_undone_goes_in_reverse_order(
    database: Database, tmp_path: Path, words: list[str], gone: tuple[int, ...]
) -> None:
    folder = applied_in_runs(database, tmp_path, (1, 2), (3,), (4, 5))
    result = run_job(database.url, folder, "rollback", *words)
    assert (result.code, undone(result)) == (0, versions(*gone))
    left = [n for n in range(1, 6) if n not in gone]
    assert (tables(database), recorded(database)) == ([f"t{n}" for n in left], versions(*left))
    assert result.report["current"] == f"{left[-1]:03}_step"
    assert result.report["pending"] == versions(*sorted(gone))
    again = run_job(database.url, folder)
    assert (again.code, again.applied) == (0, versions(*sorted(gone)))


def test_a_late_migration_is_undone_first_as_it_was_applied_last(
    database: Database, tmp_path: Path
) -> None:
    folder = applied_in_runs(database, tmp_path, (1, 3), (2,))
    assert undone(run_job(database.url, folder, "rollback", "--to", "001_step")) == versions(2, 3)


def test_an_image_without_the_file_undoes_it_by_the_stored_text(
    database: Database, tmp_path: Path
) -> None:
    applied_in_runs(database, tmp_path / "new", (1, 2))
    old = write_folder(tmp_path / "old", steps(1))
    result = run_job(database.url, old, "rollback", "--to", "001_step")
    assert (result.code, undone(result), tables(database)) == (0, ["002_step"], ["t1"])
    assert result.report["outcome"] == "1 rolled back"


def test_an_undo_leaves_a_line_in_the_log_with_what_the_row_held(
    database: Database, tmp_path: Path
) -> None:
    folder = applied_in_runs(database, tmp_path, (1,))
    ((applied_by,),) = database.query("SELECT run_id::text FROM schema_migrations")
    result = run_job(database.url, folder, "rollback")
    ((event, run_id, runner, detail),) = database.query(
        """SELECT event, run_id::text, runner, detail FROM schema_migrations_log
            WHERE event NOT IN ('applied', 'history.prepared')"""
    )
    assert (event, run_id, runner) == ("rolled_back", result.report["run_id"], "migrator/tester")
    assert (detail["kind"], detail["from"]) == ("versioned", "stored")
    assert detail["applied_by"] == applied_by
    (done,) = result.report["rolled_back"]
    assert detail["execution_time_ms"] == done["execution_time_ms"] >= 0
    assert result.events[-3:-1] == ["undo.started", "migration.undone"]


def test_the_plan_shows_what_the_undo_says_of_itself_and_changes_nothing(
    database: Database, tmp_path: Path
) -> None:
    folder = applied_in_runs(database, tmp_path, (1, 2))
    before = database.query("SELECT count(*) FROM schema_migrations_log")
    result = run_job(database.url, folder, "rollback", "--plan", "--json")
    assert (result.code, undone(result)) == (0, [])
    shown = json.loads(result.stdout)["would_undo"]
    assert [row["version"] for row in shown] == versions(2, 1)
    assert shown[0]["undo"] == "-- Loses the rows of t2."
    assert (shown[0]["statements"], shown[0]["from"]) == (1, "stored")
    text = run_job(database.url, folder, "rollback", "--plan").stdout
    stored = (
        "the stored undo, 1 statement\n    -- Loses the rows of t2.\n    DROP TABLE t2;\n001_step"
    )
    assert stored in text
    (folder / "002_step.down.sql").write_text("DROP TABLE t2 CASCADE;\n")
    text = run_job(database.url, folder, "rollback", "--plan", "--from-files").stdout
    assert (
        "the undo of the folder, 002_step.down.sql, 1 statement\n    DROP TABLE t2 CASCADE;\n"
        in text
    )
    assert tables(database) == ["t1", "t2"]
    assert database.query("SELECT count(*) FROM schema_migrations_log") == before


def refused(result: Result, database: Database) -> list[tuple[str, str]]:
    """The findings; and nothing was run."""
    assert (undone(result), result.report["outcome"]) == ([], "nothing was changed")
    assert tables(database) == ["t1", "t2", "t3"]
    return [(finding["file"], finding["problem"]) for finding in result.report["findings"]]


def test_every_reason_against_it_is_listed_and_nothing_is_run(
    database: Database, tmp_path: Path
) -> None:
    files = steps(1, 2, 3)
    del files["001_step.down.sql"]
    files["002_step.down.sql"] = "DROP TABLE t2;\nCOMMIT;\n"
    folder = write_folder(tmp_path, files)
    assert run_job(database.url, folder).code == 0
    (folder / "003_step.down.sql").write_text("DROP TABLE t3 CASCADE;\n")
    result = run_job(database.url, folder, "rollback")
    assert result.code == 12
    assert refused(result, database) == [
        ("001_step.down.sql", "no undo was stored when it was applied"),
        ("003_step.down.sql", "the file is not what was stored when it was applied"),
        ("002_step.down.sql", "COMMIT would end or begin a transaction"),
    ]
    assert run_job(database.url, folder, "rollback", "--plan").code == 12


def test_what_runs_when_file_and_history_differ_is_for_the_caller_to_say(
    database: Database, tmp_path: Path
) -> None:
    folder = applied_in_runs(database, tmp_path, (1, 2))
    for n in (1, 2):
        (folder / f"{n:03}_step.down.sql").write_text(f"ALTER TABLE t{n} RENAME TO t{n}_kept;\n")
    assert run_job(database.url, folder, "rollback").code == 11
    result = run_job(database.url, folder, "rollback", "--steps", "1", ON_DRIFT="warn")
    assert "the stored text is run" in result.of("plan.warning")[0]["problem"]
    assert tables(database) == ["t1"]
    result = run_job(database.url, folder, "rollback", "--steps", "1", "--from-files")
    assert (result.code, tables(database)) == (0, ["t1_kept"])
    log = "SELECT detail ->> 'from' FROM schema_migrations_log WHERE event = 'rolled_back'"
    assert database.query(log) == [("stored",), ("file",)]


def test_what_an_applied_migration_requires_stays(database: Database, tmp_path: Path) -> None:
    folder = applied_in_runs(database, tmp_path, (1, 3), (2,))
    file = folder / "002_step.sql"
    file.write_text("-- migrator: requires 003_step\n" + file.read_text())
    database.query("UPDATE schema_migrations SET version = '000_step' WHERE version = '002_step'")
    file.rename(folder / "000_step.sql")
    (folder / "002_step.down.sql").rename(folder / "000_step.down.sql")
    result = run_job(database.url, folder, "rollback", "--to", "001_step", ON_DRIFT="warn")
    assert result.code == 10
    assert ("000_step.sql", "is applied and requires 003_step, which was to be undone") in refused(
        result, database
    )


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["--to", "009_step"],
            "009_step is not applied; the last ones that are: 001_step, 002_step",
        ),
        (["--steps", "3"], "--steps 3 asks for more than the 2 that are applied"),
        (["--steps", "1", "--to", "001_step"], "--to and --steps exclude each other"),
        (["--steps", "none"], "--steps takes a number above 0"),
    ],
)
def test_a_wish_that_cannot_be_meant_is_refused(
    database: Database, tmp_path: Path, words: list[str], message: str
) -> None:
    folder = applied_in_runs(database, tmp_path, (1, 2))
    result = run_job(database.url, folder, "rollback", *words)
    assert (result.code, result.error["message"]) == (2, message)


def test_without_a_history_there_is_nothing_to_undo(database: Database, tmp_path: Path) -> None:
    result = run_job(database.url, write_folder(tmp_path, steps(1)), "rollback")
    assert (result.code, result.report["outcome"]) == (0, "nothing to undo")
    assert database.query("SELECT to_regclass('schema_migrations')") == [(None,)]


def test_a_refused_undo_is_rolled_back_and_those_before_it_stand(
    database: Database, tmp_path: Path
) -> None:
    files = steps(1, 2, 3)
    files["002_step.down.sql"] = "DROP TABLE t2;\nDROP TABLE not_there;\n"
    folder = write_folder(tmp_path, files)
    run_job(database.url, folder)
    result = run_job(database.url, folder, "rollback")
    assert (result.code, undone(result)) == (15, ["003_step"])
    assert result.error["message"].startswith("002_step.down.sql:2:1: ERROR 42P01")
    assert "rollback --from-files" in result.error["remedy"]
    assert result.report["outcome"] == (
        "the undo of 002_step was rolled back, and 002_step is still applied; not tried: 001_step; "
        "undone by this run: 003_step"
    )
    assert (tables(database), result.report["current"]) == (["t1", "t2"], "002_step")
    log = "SELECT event, version FROM schema_migrations_log ORDER BY id DESC LIMIT 1"
    assert database.query(log) == [("rollback_failed", "002_step")]
    (folder / "002_step.down.sql").write_text("DROP TABLE t2;\n")
    assert run_job(database.url, folder, "rollback", "--from-files").code == 0
    assert tables(database) == []


def test_a_table_of_an_older_job_without_undo_texts_is_told_so(
    database: Database, tmp_path: Path
) -> None:
    database.query(
        """CREATE TABLE schema_migrations (version varchar(255) PRIMARY KEY,
               applied_at timestamptz DEFAULT now(), checksum varchar(64));
           INSERT INTO schema_migrations VALUES ('001_step', now(), NULL)"""
    )
    folder = write_folder(tmp_path, steps(1))
    result = run_job(database.url, folder, "rollback")
    assert (result.code, result.report["findings"][0]["remedy"]) == (
        12,
        "Give --from-files, to run the file of the folder.",
    )
    database.query("CREATE TABLE t1 ()")
    result = run_job(database.url, folder, "rollback", "--from-files")
    assert (result.code, tables(database), recorded(database)) == (0, [], [])


@pytest.mark.parametrize("way", WAYS)
def test_it_works_through_every_way_of_pooling(
    database: Database, pgbouncer: MakePgBouncer, tmp_path: Path, way: str
) -> None:
    url = way_to(database, pgbouncer, way)
    folder = applied_in_runs(database, tmp_path, (1, 2, 3))
    result = run_job(url, folder, "rollback", "--to", "001_step")
    assert (result.code, undone(result), tables(database)) == (0, versions(3, 2), ["t1"])
    assert database.query("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'") == [(0,)]


def test_it_works_on_supabase(supabase: Database, tmp_path: Path) -> None:
    folder = ROOT / "migrations"
    assert run_job(supabase.url, folder).code == 0
    result = run_job(supabase.url, folder, "rollback", "--to", "001_initial_schema")
    assert undone(result) == ["003_invoice_processing_fields", "002_seed_data"]
    assert supabase.query("SELECT to_regclass('public.invoice_summary')") == [(None,)]
    assert run_job(supabase.url, folder).code == 0


def test_a_no_transaction_migration_can_be_undone_and_run_again(
    database: Database, tmp_path: Path
) -> None:
    files = {
        **steps(1),
        "002_index.sql": "-- migrator: no-transaction\nCREATE INDEX CONCURRENTLY i ON t1 (id);\n",
        "002_index.down.sql": "DROP INDEX i;\n",
    }
    folder = write_folder(tmp_path, files)
    assert run_job(database.url, folder).code == 0
    assert undone(run_job(database.url, folder, "rollback", "--steps", "1")) == ["002_index"]
    assert database.query("SELECT to_regclass('i')") == [(None,)]
    again = run_job(database.url, folder)
    assert (again.code, again.applied, len(again.of("statement.done"))) == (0, ["002_index"], 1)
    assert database.query("SELECT to_regclass('i')::text") == [("i",)]


def test_a_repeatable_stays_and_the_last_run_is_not_an_older_one(
    database: Database, tmp_path: Path
) -> None:
    folder = write_folder(
        tmp_path, {**steps(1), "R__v.sql": "CREATE OR REPLACE VIEW v AS SELECT 1;\n"}
    )
    assert run_job(database.url, folder).code == 0
    result = run_job(database.url, folder, "rollback")
    assert (result.code, undone(result)) == (0, ["001_step"])
    assert result.of("plan.warning")[0]["file"] == "R__v.sql"
    assert run_job(database.url, folder).code == 0
    (folder / "R__v.sql").write_text("CREATE OR REPLACE VIEW v AS SELECT 1; -- again\n")
    assert run_job(database.url, folder).applied == ["R__v"]
    result = run_job(database.url, folder, "rollback")
    assert (result.code, result.error["message"]) == (12, "there is no undo for: R__v.sql")
    assert tables(database) == ["t1"]


def test_the_history_of_the_supabase_cli_is_kept_in_step(
    supabase: Database, tmp_path: Path
) -> None:
    supabase.query(
        """CREATE SCHEMA IF NOT EXISTS supabase_migrations;
           CREATE TABLE IF NOT EXISTS supabase_migrations.schema_migrations
               (version text PRIMARY KEY, statements text[], name text)"""
    )
    folder = write_folder(tmp_path, steps(1, 2))
    assert run_job(supabase.url, folder, SYNC_SUPABASE_HISTORY="on").code == 0
    result = run_job(supabase.url, folder, "rollback", "--steps", "1", SYNC_SUPABASE_HISTORY="on")
    assert result.code == 0, result.stderr
    kept = "SELECT version FROM supabase_migrations.schema_migrations"
    assert supabase.query(kept) == [("001",)]


def gated(at: int, *numbers: int) -> dict[str, str]:
    """As `steps`; the undo of one of them waits at the gate."""
    return {**steps(*numbers), f"{at:03}_step.down.sql": f"{GATE}DROP TABLE t{at};\n"}


def test_a_runner_that_meets_a_rollback_plans_again(database: Database, tmp_path: Path) -> None:
    old = write_folder(tmp_path / "old", gated(2, 1, 2))
    assert run_job(database.url, old).code == 0
    new = write_folder(tmp_path / "new", gated(2, 1, 2, 3))
    with gate(database):
        back = Job(database.url, old, "rollback", "--to", "001_step", LOCK_TIMEOUT="0")
        until(lambda: database.query(WAITS))
        forth = Job(database.url, new)
        forth.hear("lock.waiting")
    assert undone(back.result()) == ["002_step"]
    result = forth.result()
    assert (result.code, result.applied) == (0, versions(2, 3))
    assert [line.get("pending") for line in result.of("plan.made")] == [
        versions(3),
        versions(2, 3),
    ]
    assert (tables(database), recorded(database)) == (["t1", "t2", "t3"], versions(1, 2, 3))


@pytest.mark.parametrize(
    ("words", "code", "left"),
    [
        pytest.param(["--to", "001_step"], 0, [1], id="a version that stays can still be meant"),
        pytest.param([], 2, [1, 2, 3], id="what was the last run is not the last any more"),
    ],
)
def test_a_rollback_that_meets_a_runner_plans_again(
    database: Database, tmp_path: Path, words: list[str], code: int, left: list[int]
) -> None:
    assert run_job(database.url, write_folder(tmp_path, steps(1, 2))).code == 0
    write_folder(tmp_path, {**steps(3), "003_step.sql": f"{GATE}CREATE TABLE t3 (id int);\n"})
    with gate(database):
        forth = Job(database.url, tmp_path, LOCK_TIMEOUT="0")
        until(lambda: database.query(WAITS))
        back = Job(database.url, tmp_path, "rollback", *words)
        back.hear("lock.waiting")
    assert forth.result().applied == ["003_step"]
    result = back.result()
    assert (result.code, undone(result)) == (code, [] if code else versions(3, 2))
    if code:
        assert "another run has applied 003_step meanwhile" in result.error["message"]
        assert "rollback --to VERSION" in result.error["remedy"]
    assert (tables(database), recorded(database)) == ([f"t{n}" for n in left], versions(*left))


def test_many_rollbacks_at_once_undo_each_migration_once(
    database: Database, tmp_path: Path
) -> None:
    numbers = tuple(range(1, 9))
    folder = applied_in_runs(database, tmp_path, numbers)
    jobs = [Job(database.url, folder, "rollback", "--to", "001_step") for _ in range(4)]
    results = [job.result() for job in jobs]
    assert [result.code for result in results] == [0] * 4, [r.stderr[-600:] for r in results]
    assert sorted(v for result in results for v in undone(result)) == versions(*numbers[1:])
    log = "SELECT version FROM schema_migrations_log WHERE event = 'rolled_back' ORDER BY id"
    assert [version for (version,) in database.query(log)] == versions(*reversed(numbers[1:]))
    assert (tables(database), recorded(database)) == (["t1"], ["001_step"])


@pytest.mark.parametrize("moment", list(Cut), ids=lambda moment: moment.name)
def test_a_connection_cut_at_an_undo_is_settled_by_looking(
    database: Database, proxy: MakeProxy, tmp_path: Path, moment: Cut
) -> None:
    folder = applied_in_runs(database, tmp_path, (1, 2, 3))
    cutter = proxy(database)
    cutter.cut_at(b"DROP TABLE t2", moment)
    result = run_job(cutter.through(database.url), folder, "rollback", "--to", "001_step")
    assert (result.code, undone(result)) == (0, versions(3, 2)), result.stderr
    assert cutter.needle is None
    assert (tables(database), recorded(database)) == (["t1"], ["001_step"])
    log = "SELECT version FROM schema_migrations_log WHERE event = 'rolled_back' ORDER BY id"
    assert [version for (version,) in database.query(log)] == versions(3, 2)


def test_a_stopped_undo_is_rolled_back_and_said_to_be(database: Database, tmp_path: Path) -> None:
    folder = write_folder(tmp_path, gated(1, 1, 2))
    assert run_job(database.url, folder).code == 0
    with gate(database):
        job = Job(database.url, folder, "rollback", LOCK_TIMEOUT="0")
        until(lambda: database.query(WAITS))
        job.process.send_signal(signal.SIGTERM)
        result = job.result()
    assert (result.code, undone(result)) == (23, ["002_step"])
    assert result.report["outcome"] == (
        "the undo of 001_step was rolled back; undone by this run: 002_step"
    )
    assert (tables(database), recorded(database)) == (["t1"], ["001_step"])


def test_an_undo_that_gets_no_lock_leaves_the_migration_applied_and_says_so(
    database: Database, tmp_path: Path
) -> None:
    folder = applied_in_runs(database, tmp_path, (1,))
    with closing(database.connect()) as reader:
        reader.autocommit = False
        reader.cursor().execute("SELECT * FROM t1")
        limits = {"LOCK_TIMEOUT": "50ms", "LOCK_RETRY_TIMEOUT": "200ms"}
        result = run_job(database.url, folder, "rollback", **limits)
    outcome = "the undo of 001_step was rolled back, and 001_step is still applied"
    assert (result.code, result.report["outcome"]) == (22, outcome)
    assert (tables(database), recorded(database)) == (["t1"], ["001_step"])


def test_an_undo_waits_for_a_busy_table_and_tries_again(database: Database, tmp_path: Path) -> None:
    folder = applied_in_runs(database, tmp_path, (1,))
    holder = database.connect()
    holder.autocommit = False
    holder.cursor().execute("SELECT FROM t1")
    listener = Listener("migration.retry", holder.close)
    result = run_listening(listener, database.url, folder, "rollback", LOCK_TIMEOUT="50ms")
    assert (result.code, tables(database)) == (0, [])
    assert result.of("migration.retry")[0]["reason"] == "busy"


def test_an_undo_that_outlasts_the_deadline_is_not_begun(
    database: Database, tmp_path: Path
) -> None:
    files = steps(1)
    files["001_step.down.sql"] = "-- migrator: statement-timeout 30min\nDROP TABLE t1;\n"
    folder = write_folder(tmp_path, files)
    assert run_job(database.url, folder).code == 0
    result = run_job(database.url, folder, "rollback", DEADLINE="60s")
    assert result.code == 23
    assert result.report["outcome"].startswith("the undo of 001_step was not started: ")


def at_a_terminal(url: str, folder: Path, *words: str, answer: str | None) -> tuple[int, str]:
    """The exit code, and all that is shown, of a run that a person sits at."""
    ours, theirs = pty.openpty()
    environment = {
        "PATH": os.environ["PATH"],
        "MIGRATIONS_DIR": str(folder),
        "DATABASE_URL": url,
        "TERMINATION_LOG": "",
    }
    process = subprocess.Popen(
        [sys.executable, str(ROOT / "entrypoint.py"), *words],
        env=environment,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    shown = b""
    with contextlib.suppress(OSError):  # EIO: the other side has closed
        while chunk := os.read(ours, 1 << 16):
            shown += chunk
            if answer is not None and shown.endswith(b"[y/N] "):
                os.write(ours, f"{answer}\n".encode())
                answer = None
    os.close(ours)
    return process.wait(), shown.decode()


@pytest.mark.parametrize(
    ("words", "answer", "code", "asked"),
    [
        pytest.param([], "y", 0, True, id="a yes goes on"),
        pytest.param([], "", 23, True, id="anything else does not"),
        pytest.param(["--yes"], None, 0, False, id="a yes on the line is one"),
    ],
)
def test_a_person_sees_the_plan_and_is_asked(
    database: Database, tmp_path: Path, words: list[str], answer: str | None, code: int, asked: bool
) -> None:
    folder = applied_in_runs(database, tmp_path, (1,))
    found, shown = at_a_terminal(database.url, folder, "rollback", *words, answer=answer)
    assert (found, tables(database)) == (code, [] if code == 0 else ["t1"])
    sql = "the stored undo, 1 statement\r\n    -- Loses the rows of t1.\r\n    DROP TABLE t1;\r\n"
    assert (sql in shown and "Undo this? [y/N]" in shown) is asked


def test_a_signal_ends_the_question(database: Database, tmp_path: Path) -> None:
    folder = applied_in_runs(database, tmp_path, (1,))
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [sys.executable, str(ROOT / "entrypoint.py"), "rollback"],
        env={
            "PATH": os.environ["PATH"],
            "MIGRATIONS_DIR": str(folder),
            "DATABASE_URL": database.url,
        },
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    ) as job:
        shown = b""
        while not shown.endswith(b"[y/N] "):
            shown += os.read(ours, 1 << 16)
        job.send_signal(signal.SIGTERM)
        try:
            assert job.wait(timeout=30) == 23
        finally:
            job.kill()  # one that goes on waiting would fail the next test too
    os.close(ours)
    os.close(theirs)
    assert tables(database) == ["t1"]


def test_an_untouched_template_is_no_undo(database: Database, tmp_path: Path) -> None:
    """`rollback` would take out the row and leave the table, and the next `up` would fail."""
    for name in ("a", "b"):
        assert run_job(None, tmp_path, "new", name).code == 0
    assert run_job(database.url, tmp_path).code == 10
    write_folder(tmp_path, {"001_a.sql": "CREATE TABLE a ();", "002_b.sql": "CREATE TABLE b ();"})
    planned = json.loads(run_job(database.url, tmp_path, "plan", "--json").stdout)
    assert [row["undo"] for row in planned["would_apply"]] == [False, False]
    assert run_job(database.url, tmp_path).applied == ["001_a", "002_b"]
    for words in (("--plan",), (), ("--from-files",)):
        result = run_job(database.url, tmp_path, "rollback", *words, "--steps", "1")
        assert result.code == 12
        [finding] = result.report["findings"]
        assert "the file holds no statement" in finding["problem"]
        assert "into 002_b.down.sql (`SELECT;` where" in finding["remedy"]
    assert run_job(database.url, tmp_path, "verify").code == 0
    write_folder(tmp_path, {"001_a.down.sql": "DROP TABLE a;", "002_b.down.sql": "SELECT;"})
    assert run_job(database.url, tmp_path, "rollback", "--to", "001_a").code == 12
    result = run_job(database.url, tmp_path, "rollback", "--to", "001_a", "--from-files")
    assert (result.code, result.report["current"]) == (0, "001_a")


def test_an_empty_text_that_an_older_release_stored_is_no_undo(
    database: Database, tmp_path: Path
) -> None:
    folder = write_folder(tmp_path, {"001_a.sql": "CREATE TABLE a ();"})
    assert run_job(database.url, folder).code == 0
    database.query("UPDATE schema_migrations SET rollback_sql = '-- nothing'")
    result = run_job(database.url, folder, "rollback")
    assert (result.code, result.report["rolled_back"]) == (12, [])
    assert database.query("SELECT to_regclass('a')::text") == [("a",)]
