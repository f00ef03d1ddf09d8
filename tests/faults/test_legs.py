"""Several files in one message under faults: what a later one of them meets."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.builders import write_folder
from tests.conftest import (
    Database,
    MakePgBouncer,
    MakeProxy,
    MakeSupabase,
    create_database,
    drop_database,
)
from tests.database.test_adopting import cli_history
from tests.database.test_guards import blind
from tests.database.test_together import applied, folder_with, together
from tests.gate import WAITS, files_with_gate, gate
from tests.job import Job, run_job, until
from tests.proxy import Cut
from tests.ways import way_to

LOG = "SELECT version FROM schema_migrations_log WHERE event = 'applied' ORDER BY id"
INNER = {
    "DO": "DO $$BEGIN COMMIT; END$$;",
    "a procedure": "CREATE PROCEDURE p() LANGUAGE plpgsql AS $$BEGIN COMMIT; END$$;\nCALL p();",
}


@pytest.mark.parametrize("escape", ["COMMIT", "ROLLBACK", "COMMIT; BEGIN", "COMMIT AND CHAIN"])
def test_one_that_ends_its_transaction_is_not_taken_for_committed(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, escape: str
) -> None:
    """The scanner refuses these; here it is made blind, so that the guard alone must see it."""
    monkeypatch.setattr("migrator.apply.scripts.understand", blind)
    folder = folder_with(tmp_path, f"CREATE TABLE t3 ();\n{escape};\nSELECT 1;\n")
    result = together(database, folder)
    assert (result.code, result.error["sqlstate"]) == (15, "MG003"), result.stderr
    assert result.error["version"] == "003_x"
    assert result.applied == applied(database) == ["001_x", "002_x"]
    assert [version for (version,) in database.query(LOG)] == ["001_x", "002_x"]
    assert database.query("SELECT to_regclass('t4')") == [(None,)]
    assert database.query("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'") == [(0,)]


@pytest.mark.parametrize("encoding", ["SQL_ASCII", "LATIN1", "UTF8"])
@pytest.mark.parametrize("bad", ["CREATE TABEL x ()", "INSERT INTO gone VALUES (1)"])
def test_a_position_behind_other_letters_is_of_the_right_file_and_line(
    database: Database, tmp_path: Path, encoding: str, bad: str
) -> None:
    """Where the server counts bytes, it lay behind all files, which were sent again for ever."""
    options = f"ENCODING '{encoding}' LC_COLLATE 'C' LC_CTYPE 'C'"
    made = create_database(database.server, options)
    try:
        letters = {"002_x.sql": f"-- {'é' * 4000}\nSELECT 2;\n"}
        folder = folder_with(tmp_path, f"SELECT 'é';\nSELECT 'é';  {bad};\n", **letters)
        job = Job(made.url, folder, FILES_PER_FLIGHT="16")
        result = job.result()
    finally:
        drop_database(made)
    assert (result.code, result.applied) == (15, ["001_x", "002_x"]), result.stderr
    column = 21 if "TABEL" in bad else 26
    assert (result.error["version"], result.error["line"]) == ("003_x", 2)
    assert result.error["column"] == column


@pytest.mark.parametrize("name", INNER)
def test_an_inner_commit_is_refused_by_the_server(
    database: Database, tmp_path: Path, name: str
) -> None:
    result = together(database, folder_with(tmp_path, INNER[name]))
    assert (result.code, result.error["sqlstate"]) == (15, "2D000"), result.stderr
    assert result.error["version"] == "003_x"
    assert result.applied == applied(database) == ["001_x", "002_x"]


FORGED = """
DO $$
DECLARE
  run text := substring(current_query() from 'run ([0-9a-f-]{36})');
  said text;
BEGIN
  FOREACH said IN ARRAY ARRAY[
    'next', '', '[]', 'null', '7', '{}', '{"run_id": 1}', repeat('[', 90000),
    jsonb_build_object('run_id', run)::text,
    jsonb_build_object('run_id', run, 'xid', NULL, 'ms', NULL)::text,
    jsonb_build_object('run_id', run, 'xid', '1'';DROP TABLE t1;--', 'ms', 'x')::text,
    jsonb_build_object('run_id', run, 'xid', '3', 'ms', 77777)::text] LOOP
    RAISE INFO USING MESSAGE = 'migrator-flight: ' || said;
    RAISE NOTICE USING MESSAGE = 'migrator-flight: ' || said;
  END LOOP;
END $$;
"""


@pytest.mark.parametrize("end", ["", "SELECT 1/0;"], ids=["and is applied", "and is refused"])
def test_what_a_file_says_in_our_words_counts_for_nothing(
    database: Database, tmp_path: Path, end: str
) -> None:
    result = together(database, folder_with(tmp_path, FORGED + end))
    done = ["001_x", "002_x"] if end else [f"00{n}_x" for n in range(1, 6)]
    assert result.code == (15 if end else 0), result.stderr
    assert result.applied == applied(database) == done
    assert [line["version"] for line in result.of("migration.applied")] == done
    assert [version for (version,) in database.query(LOG)] == done
    assert "Traceback" not in result.stderr
    ms = database.query("SELECT execution_time_ms FROM schema_migrations ORDER BY version")
    assert [(row["execution_time_ms"],) for row in result.report["applied"]] == ms
    assert max(ms) < (77777,)


@pytest.mark.parametrize("cut", [Cut.BEFORE, Cut.SENT, Cut.DONE, Cut.LATE])
def test_a_repeatable_at_the_end_of_a_lost_message_runs_once(
    database: Database, proxy: MakeProxy, tmp_path: Path, cut: Cut
) -> None:
    """The row of its run before is there, whatever became of this one."""
    view = "CREATE OR REPLACE VIEW v AS SELECT {} AS n;\nINSERT INTO runs VALUES ('view');\n"
    first = {"001_a.sql": "CREATE TABLE runs (what text)", "R__v.sql": view.format(1)}
    folder = write_folder(tmp_path, first)
    assert together(database, folder).code == 0
    more = {f"00{n}_x.sql": f"INSERT INTO runs VALUES ('00{n}');\n" for n in range(2, 5)}
    write_folder(folder, {**more, "R__v.sql": view.format(2)})
    cutter = proxy(database)
    cutter.cut_at(b"VALUES ('003')", cut)
    result = run_job(cutter.through(database.url), folder, FILES_PER_FLIGHT="16")
    assert result.code == 0, result.stderr
    assert result.applied == ["002_x", "003_x", "004_x", "R__v"]
    ran = database.query("SELECT what, count(*) FROM runs GROUP BY what ORDER BY what")
    assert ran == [("002", 1), ("003", 1), ("004", 1), ("view", 2)]
    log = [version for (version,) in database.query(LOG)]
    assert log == ["001_a", "R__v", "002_x", "003_x", "004_x", "R__v"]
    assert run_job(database.url, folder).applied == []


def test_the_clis_history_has_what_is_committed_and_nothing_else(
    supabase_database: MakeSupabase, tmp_path: Path
) -> None:
    made = cli_history(supabase_database, "platform")
    before = made.query("SELECT version FROM supabase_migrations.schema_migrations")
    new = "SELECT version, name FROM supabase_migrations.schema_migrations WHERE name = 'x'"
    files = {f"01{n}_x.sql": f"CREATE TABLE public.t{n} ();\n" for n in range(1, 6)}
    view = {"R__v.sql": "CREATE VIEW public.v AS SELECT 1 AS n;\n"}
    folder = write_folder(tmp_path, {**files, **view, "013_x.sql": "SELECT 1/0"})
    settings = {"FILES_PER_FLIGHT": "16", "SYNC_SUPABASE_HISTORY": "on"}
    refused = run_job(made.url, folder, **settings)
    assert (refused.code, refused.applied) == (15, ["011_x", "012_x"]), refused.stderr
    assert made.query(f"{new} ORDER BY version") == [("011", "x"), ("012", "x")]
    write_folder(folder, {"013_x.sql": files["013_x.sql"]})
    result = run_job(made.url, folder, **settings)
    assert result.code == 0, result.stderr
    assert result.applied == ["013_x", "014_x", "015_x", "R__v"]
    rows = made.query(f"{new} ORDER BY version")
    assert rows == [(f"01{n}", "x") for n in range(1, 6)]
    left = made.query("SELECT version FROM supabase_migrations.schema_migrations")
    assert len(left) == len(before) + 5


@pytest.mark.parametrize("leave", [True, False], ids=["lets go at once", "keeps it"])
def test_what_a_killed_runner_has_sent_to_a_pool_of_one_is_applied_once(
    database: Database, pgbouncer: MakePgBouncer, tmp_path: Path, *, leave: bool
) -> None:
    """Its message may go on, leg by leg, until the server sees that nobody is there."""
    url = way_to(database, pgbouncer, "transaction, pool of one")
    folder = write_folder(tmp_path, files_with_gate(20, at=7))
    settings = {"FILES_PER_FLIGHT": "16", "LOCK_TIMEOUT": "0"}
    with gate(database):
        job = Job(url, folder, **settings)
        until(lambda: database.query(WAITS))
        job.process.kill()
        job.process.communicate(timeout=60)
        if not leave:
            second = Job(url, folder, **settings)
            second.hear("run.started")
    if leave:
        second = Job(url, folder, **settings)
    result = second.result()
    assert result.code == 0, result.stderr
    versions = [f"{n:03}_step" for n in range(1, 21)]
    assert applied(database) == versions
    assert [version for (version,) in database.query(LOG)] == versions
    assert set(result.applied) <= set(versions[6:])
    assert run_job(url, folder).applied == []
