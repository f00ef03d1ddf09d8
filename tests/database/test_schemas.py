"""What real runs log and answer, held against the schemas that are shipped."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from migrator.commands.table import COMMANDS
from migrator.history.guard import lock_key
from tests.builders import write_folder
from tests.conftest import Database, MakeProxy
from tests.job import Job, Result, run_job, until
from tests.proxy import Cut
from tests.schemas import problems

FILES = {
    "001_a.sql": "CREATE TABLE a (id int);",
    "001_a.down.sql": "DROP TABLE a;",
    "002_b.sql": "-- migrator: no-transaction\nCREATE INDEX CONCURRENTLY b ON a (id);\nANALYZE a;",
    "002_b.down.sql": "DROP INDEX b;",
    "003_c.sql": "-- migrator: requires 001_a\nDO $$ BEGIN RAISE WARNING 'careful'; END $$;",
    "003_c.down.sql": "SELECT 1;",
    "R__v.sql": "CREATE OR REPLACE VIEW v AS SELECT 1 AS one;",
}


def fits(result: Result, code: int = 0) -> Result:
    """The run, whose lines and whose answer are as the schemas say."""
    assert result.code == code, result.stderr
    for line in result.lines:
        assert problems("event", line) == [], line
    if result.stdout.startswith("{"):
        assert problems("answer", json.loads(result.stdout)) == [], result.stdout
    return result


def job(database: Database, folder: Path, *words: str, code: int = 0, **settings: str) -> Result:
    settings = {"LOG_LEVEL": "debug", **settings}
    return fits(run_job(database.url, folder, *words, "--json", **settings), code)


def test_what_every_command_answers(database: Database, tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "m", FILES)
    answered = {
        json.loads(job(database, folder, *words, code=code).stdout)["command"]
        for words, code in (
            (["status"], 0),
            (["plan"], 0),
            (["plan", "--graph"], 0),
            (["verify"], 24),
            (["wait", "--wait-timeout", "100ms"], 24),
            (["up"], 0),
            (["up"], 0),
            (["wait"], 0),
            (["verify"], 0),
            (["status"], 0),
            (["history"], 0),
            (["fleet", "status", "--databases", database.dbname], 0),
            (["report"], 0),
            (["report", "--markdown"], 0),
            (["rollback", "--plan", "--to", "1"], 0),
            (["rollback", "--to", "1", "--yes"], 0),
            (["repair", "--applied", "003_c", "--reason", "seen"], 0),
            (["adopt", "--from", "flyway"], 2),
            (["baseline", "--at", "3"], 2),
            (["new", "d"], 0),
        )
    }
    scratch = {"SHADOW_DATABASE_URL": database.url.replace(database.dbname, "postgres")}
    for file in folder.glob("004_d*.sql"):
        file.unlink()  # it is empty, which a rehearsal refuses
    rehearsed = run_job(None, folder, "rehearse", "--json", LOG_LEVEL="debug", **scratch)
    answered.add(json.loads(fits(rehearsed).stdout)["command"])
    dumped = run_job(None, folder, "dump", "--json", PATH=os.environ["PATH"], **scratch)
    answered.add(json.loads(fits(dumped, dumped.code).stdout)["command"])  # 2 without it
    (folder / "004_drop.sql").write_text('-- migrator: allow scan a "no"\nDROP TABLE a;\n')
    checked = run_job(database.url, folder, "check", "--json", "--all", **scratch)
    answered.add(json.loads(fits(checked, 17).stdout)["command"])
    assert answered == set(COMMANDS)


def test_a_baseline_and_an_adoption(database: Database, tmp_path: Path) -> None:
    folder = write_folder(
        tmp_path / "m", {"001_a.sql": FILES["001_a.sql"], "002_b.sql": "SELECT 1"}
    )
    job(database, folder, "baseline", "--at", "1")
    database.query("DROP TABLE schema_migrations, schema_migrations_log")
    database.query("CREATE TABLE schema_migrations (version varchar(128) PRIMARY KEY)")
    database.query("INSERT INTO schema_migrations VALUES ('001'), ('005')")
    settings: dict[str, Any] = {"MIGRATIONS_SCHEMA": "own"}
    database.query("CREATE SCHEMA own")
    job(database, folder, "adopt", "--from", "dbmate", "--plan", code=12, **settings)
    database.query("DELETE FROM schema_migrations WHERE version = '005'")
    job(database, folder, "adopt", "--from", "dbmate", "--plan", **settings)
    job(database, folder, "adopt", "--from", "dbmate", **settings)
    job(database, folder, "up", SYNC_SUPABASE_HISTORY="on", **settings)


@pytest.mark.parametrize(
    ("files", "code"),
    [
        pytest.param({"001_a.sql": "SELECT nope"}, 15, id="a statement is refused"),
        pytest.param({"001_a.sql": "COMMIT"}, 10, id="a file that cannot be used"),
        pytest.param({}, 0, id="an empty folder"),
    ],
)
def test_what_a_run_says_that_fails(
    database: Database, tmp_path: Path, files: dict[str, str], code: int
) -> None:
    folder = write_folder(tmp_path / "m", files)
    (tmp_path / "log").touch()
    job(database, folder, "up", code=code, TERMINATION_LOG=str(tmp_path / "log"))
    assert problems("answer", json.loads((tmp_path / "log").read_text())) == []
    job(database, folder, "report")


def test_what_a_run_says_that_could_not_begin(database: Database, tmp_path: Path) -> None:
    for words in (["upp"], ["up", "--lock-timeout", "x"], ["rollback", "--to"], ["up", "--color"]):
        fits(run_job(database.url, tmp_path, *words, "--json"), 2)
    lost = {"CONNECT_TIMEOUT": "600ms", "LOG_LEVEL": "debug"}
    url = "postgresql://u:p@127.0.0.1:1/d?pgbouncer=true"
    fits(run_job(url, tmp_path, "status", "--json", **lost), 20)
    fits(run_job(url, tmp_path, "status", "--json", DIRECT_URL=url, **lost), 20)


def test_drift_and_a_file_that_is_gone(database: Database, tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "m", FILES)
    job(database, folder)
    write_folder(folder, {"001_a.sql": "CREATE TABLE a (id bigint);", "000_late.sql": "SELECT 1"})
    (folder / "003_c.sql").unlink()
    (folder / "003_c.down.sql").unlink()
    job(database, folder, "status")
    job(database, folder, "up", code=11)
    job(database, folder, "up", code=13, ON_DRIFT="warn", ON_MISSING="warn")
    job(database, folder, "repair", "--accept-checksum", "001_a", "--reason", "a comment")


def test_a_busy_table_and_a_lock_that_another_holds(database: Database, tmp_path: Path) -> None:
    database.query("CREATE TABLE hot (id int)")
    folder = write_folder(tmp_path / "m", {"001_a.sql": "ALTER TABLE hot ADD x int"})
    reader = database.connect()
    reader.autocommit = False
    reader.cursor().execute("SELECT * FROM hot")
    busy = {"LOCK_TIMEOUT": "600ms", "LOCK_RETRY_TIMEOUT": "2s", "PROGRESS_INTERVAL": "200ms"}
    job(database, folder, code=22, **busy)
    reader.close()
    holder = database.connect()
    holder.cursor().execute(f"SELECT pg_advisory_lock({lock_key('public')})")
    job(database, folder, code=21, WAIT_TIMEOUT="300ms")
    holder.close()


def test_progress_a_stop_and_a_lost_connection(
    database: Database, proxy: MakeProxy, tmp_path: Path
) -> None:
    folder = write_folder(tmp_path / "m", {"001_a.sql": "SELECT 1; SELECT pg_sleep(60)"})
    settings = {"LOG_LEVEL": "debug", "PROGRESS_INTERVAL": "200ms"}
    running = Job(database.url, folder, "up", "--json", **settings)
    running.hear("migration.progress")
    running.process.terminate()
    fits(running.result(), 23)
    write_folder(folder, {"001_a.sql": "CREATE TABLE a ()"})
    cutter = proxy(database)
    cutter.cut_at(b"CREATE TABLE a", Cut.SENT)
    url = cutter.through(database.url)
    fits(run_job(url, folder, "up", "--json", LOG_LEVEL="debug"), 0)


def test_an_interrupted_statement(database: Database, tmp_path: Path) -> None:
    sql = "-- migrator: no-transaction\nCREATE INDEX CONCURRENTLY b ON a (slow(id));"
    database.query("CREATE TABLE a (id int)")
    database.query("INSERT INTO a VALUES (1)")
    body = "BEGIN PERFORM pg_sleep(60); RETURN id; END"
    make = f"FUNCTION slow(id int) RETURNS int IMMUTABLE LANGUAGE plpgsql AS '{body}'"
    database.query(f"CREATE {make}")
    folder = write_folder(tmp_path / "m", {"001_a.sql": sql})
    running = Job(database.url, folder, LOG_LEVEL="debug")
    running.hear("statement.started")
    until(lambda: database.query("SELECT 1 FROM pg_stat_progress_create_index"))
    running.end()
    database.query("SELECT pg_terminate_backend(pid) FROM pg_stat_progress_create_index")
    database.query(f"CREATE OR REPLACE {make.replace('PERFORM pg_sleep(60);', '')}")
    until(lambda: not database.query("SELECT 1 FROM pg_stat_progress_create_index"))
    job(database, folder)
