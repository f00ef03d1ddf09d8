"""Files in batches on a real server: what is walked, what is recorded, and what is refused."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.builders import write_folder
from tests.conftest import Database
from tests.job import ROOT, run_job

ROWS = 1000
BETWEEN = (
    "id BETWEEN current_setting('migrator.from')::{0} AND current_setting('migrator.upto')::{0}"
)
CURSOR = "SELECT version, last, rows, batches FROM schema_migrations_cursor"
LOG = "SELECT event FROM schema_migrations_log WHERE version = %s ORDER BY id"
VERSIONS = "SELECT version FROM schema_migrations ORDER BY version"


def a_table(type_name: str = "bigint", key: str = "n", rows: int = ROWS) -> str:
    return (
        f"CREATE TABLE t (id {type_name} PRIMARY KEY, x int NOT NULL DEFAULT 0);\n"
        f"INSERT INTO t (id) SELECT {key} FROM generate_series(1, {rows}) AS n;\n"
    )


def an_update(type_name: str = "bigint", size: str = " size 100", what: str = "x = x + 1") -> str:
    return (
        f"-- migrator: batches t by id{size}\n"
        f"UPDATE t SET {what} WHERE {BETWEEN.format(type_name)};\n"
    )


@pytest.mark.parametrize(
    ("type_name", "key"),
    [
        ("bigint", "n * 1000000007::bigint"),
        ("smallint", "n - 500"),
        ("uuid", "md5(n::text)::uuid"),
        ("text", "chr(64 + n) || '''\\' || chr(9) || n"),
        ("varchar(40)", "'k' || n"),
        ("timestamptz", "timestamptz '2000-01-01 BC' + n * interval '1 us'"),
    ],
)
def test_each_row_is_walked_once_by_a_key_of_each_type(
    database: Database, tmp_path: Path, type_name: str, key: str
) -> None:
    files = {"001_t.sql": a_table(type_name, key), "002_fill.sql": an_update(type_name)}
    database.query("SET datestyle = 'SQL, DMY'; CREATE TABLE other ()")
    result = run_job(database.url, write_folder(tmp_path, files))
    assert (result.code, result.applied) == (0, ["001_t", "002_fill"]), result.stderr
    assert database.query("SELECT x, count(*) FROM t GROUP BY x") == [(1, ROWS)]
    assert database.query(CURSOR) == []
    assert database.query(LOG, "002_fill") == [("batching",), ("applied",)]


#: Refuses the row 550 as long as there is a row in `gate`: five batches of 100 are committed then.
GATE = """CREATE TABLE gate AS SELECT 1 AS shut;
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
  IF coalesce(NEW.id, OLD.id) = 550 AND EXISTS (SELECT FROM gate) THEN
    RAISE 'the gate is shut';
  END IF;
  RETURN coalesce(NEW, OLD);
END $$;
CREATE TRIGGER refuse BEFORE UPDATE OR DELETE ON t FOR EACH ROW EXECUTE FUNCTION refuse();
"""
HALF = {"001_t.sql": a_table() + GATE, "002_fill.sql": an_update()}
OPEN = "DELETE FROM gate"
WALKED = "SELECT x, count(*) FROM t GROUP BY x ORDER BY x"


def half_done(database: Database, folder: Path, files: dict[str, str] = HALF) -> Path:
    """A folder whose second file is refused in its sixth batch."""
    result = run_job(database.url, write_folder(folder, files))
    assert (result.code, result.applied) == (15, ["001_t"]), result.stderr
    assert database.query(CURSOR) == [("002_fill", "500", 500, 5)]
    return folder


def test_a_refused_batch_leaves_the_others_and_the_next_run_goes_on(
    database: Database, tmp_path: Path
) -> None:
    folder = half_done(database, tmp_path)
    database.query(OPEN)
    result = run_job(database.url, folder)
    assert (result.code, result.applied) == (0, ["002_fill"]), result.stderr
    assert database.query(WALKED) == [(1, ROWS)]
    assert database.query(CURSOR) == []
    assert database.query(LOG, "002_fill") == [("batching",), ("failed",), ("applied",)]


def test_what_is_committed_is_said_with_the_refusal(database: Database, tmp_path: Path) -> None:
    result = run_job(database.url, write_folder(tmp_path, HALF))
    assert result.report["outcome"] == (
        "002_fill is not finished: 500 rows, in 5 batches, are committed; `up` goes on there; "
        "applied by this run and committed: 001_t"
    )
    assert "002_fill.sql:2:1" in result.report["error"]["message"]


def test_begun_is_pending_and_not_dirty(database: Database, tmp_path: Path) -> None:
    folder = half_done(database, tmp_path)
    result = run_job(database.url, folder, "status", "--json")
    assert result.code == 0, result.stderr
    states = {row["version"]: row["state"] for row in json.loads(result.stdout)["migrations"]}
    assert states["002_fill"] == "pending"


@pytest.mark.parametrize("command", ["up", "plan", "status"])
def test_a_text_that_changed_midway_is_drift(
    database: Database, tmp_path: Path, command: str
) -> None:
    folder = half_done(database, tmp_path)
    database.query(OPEN)
    for text in (an_update(what="x = x + 2"), "UPDATE t SET x = 7;\n"):
        write_folder(folder, {"002_fill.sql": text})
        result = run_job(database.url, folder, command)
        if command == "status":
            assert "end with 11" in result.report["outcome"], result.stderr
        else:
            assert result.code == 11, result.stderr
            assert "002_fill.sql: it has changed since" in result.error["message"]
    write_folder(folder, HALF)
    assert run_job(database.url, folder).code == 0
    assert database.query(WALKED) == [(1, ROWS)]


def test_a_file_that_was_renamed_midway_does_not_start_again(
    database: Database, tmp_path: Path
) -> None:
    folder = half_done(database, tmp_path)
    database.query(OPEN)
    (folder / "002_fill.sql").rename(folder / "003_fill.sql")
    result = run_job(database.url, folder)
    assert (result.code, result.applied) == (14, []), result.stderr
    assert "its text is that of 002_fill" in result.error["message"]
    (folder / "003_fill.sql").rename(folder / "002_fill.sql")
    assert run_job(database.url, folder).code == 0
    assert database.query(WALKED) == [(1, ROWS)]


@pytest.mark.parametrize(
    "deed", ["DELETE FROM schema_migrations_cursor", "DROP TABLE schema_migrations_cursor"]
)
def test_it_does_not_start_again_when_the_cursor_is_gone(
    database: Database, tmp_path: Path, deed: str
) -> None:
    folder = half_done(database, tmp_path)
    database.query(f"{OPEN}; {deed}")
    result = run_job(database.url, folder)
    assert (result.code, result.applied) == (14, []), result.stderr
    assert "its row of schema_migrations_cursor is gone" in result.error["message"]
    assert database.query(WALKED) == [(0, 500), (1, 500)]
    why = ("--reason", "set back by hand")
    database.query("UPDATE t SET x = 0")
    assert run_job(database.url, folder, "repair", "--not-applied", "002_fill", *why).code == 0
    assert run_job(database.url, folder).code == 0
    assert database.query(WALKED) == [(1, ROWS)]


def test_a_run_without_such_files_pays_nothing(database: Database, tmp_path: Path) -> None:
    """Nothing of it is imported, and no table made."""
    folder = write_folder(tmp_path, {"001_t.sql": "CREATE TABLE t ()"})
    script = "import sys; from migrator.cli.main import main; main(['up']);"
    script += "print(*sorted(m for m in sys.modules if m.startswith('migrator.batches.')"
    script += " or m in ('migrator.sql.batched', 'migrator.sql.asserts')))"
    settings = {"DATABASE_URL": database.url, "MIGRATIONS_DIR": str(folder)}
    words = [sys.executable, "-c", script]
    found = subprocess.run(
        words, env={**os.environ, **settings}, cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert found.stdout.splitlines()[-1:] == [""]
    assert database.query("SELECT to_regclass('schema_migrations_cursor')") == [(None,)]


def test_a_person_may_let_all_of_it_run_again_or_none(database: Database, tmp_path: Path) -> None:
    folder = half_done(database, tmp_path)
    database.query(OPEN)
    reason = ("--reason", "tested")
    for wrong in ("--done", "--retry"):
        assert run_job(database.url, folder, "repair", wrong, "002_fill", *reason).code == 2
    result = run_job(database.url, folder, "repair", "--not-applied", "002", *reason)
    assert result.code == 0, result.stderr
    assert database.query(CURSOR) == []
    assert run_job(database.url, folder).code == 0
    assert database.query(WALKED) == [(1, 500), (2, 500)]


def test_a_person_may_say_that_all_of_it_is_done(database: Database, tmp_path: Path) -> None:
    folder = half_done(database, tmp_path)
    result = run_job(database.url, folder, "repair", "--applied", "002_fill", "--reason", "by hand")
    assert result.code == 0, result.stderr
    assert database.query(CURSOR) == []
    assert run_job(database.url, folder).applied == []


def test_nothing_is_undone_below_what_is_half_done(database: Database, tmp_path: Path) -> None:
    folder = half_done(database, tmp_path, {**HALF, "001_t.down.sql": "DROP TABLE t, gate;"})
    result = run_job(database.url, folder, "rollback")
    assert result.code == 14, result.stderr
    assert "002_fill" in result.report["error"]["message"]


@pytest.mark.parametrize("command", ["status", "plan", "report", "wait"])
def test_others_are_told_how_far_it_has_come(
    database: Database, tmp_path: Path, command: str
) -> None:
    folder = half_done(database, tmp_path)
    result = run_job(database.url, folder, command, "--json", WAIT_TIMEOUT="200ms")
    assert result.code == (24 if command == "wait" else 0), result.stderr
    said = json.dumps([result.stderr, result.stdout])
    assert "is started and not finished: 500 rows, in 5 batches" in said


def test_an_undo_may_be_in_batches_too(database: Database, tmp_path: Path) -> None:
    undo = an_update(what="x = x - 1")
    files = {**HALF, "002_fill.down.sql": undo}
    folder = write_folder(tmp_path, files)
    database.query("CREATE TABLE gate_open ()")
    write_folder(folder, {"001_t.sql": a_table() + GATE + "DELETE FROM gate;"})
    assert run_job(database.url, folder).code == 0
    database.query("INSERT INTO gate VALUES (1)")
    stopped = run_job(database.url, folder, "rollback", "--steps", "1")
    assert stopped.code == 15, stopped.stderr
    assert "500 rows, in 5 batches, are committed; `rollback` goes on" in stopped.report["outcome"]
    assert run_job(database.url, folder).code == 14
    database.query(OPEN)
    result = run_job(database.url, folder, "rollback", "--steps", "1")
    assert result.code == 0, result.stderr
    assert database.query(WALKED) == [(0, ROWS)]
    assert database.query(CURSOR) == []
    assert database.query(VERSIONS) == [("001_t",)]


def test_an_undo_that_changed_midway_is_drift(database: Database, tmp_path: Path) -> None:
    files = {**HALF, "002_fill.down.sql": an_update(what="x = x - 1")}
    files["001_t.sql"] += "DELETE FROM gate;"
    folder = write_folder(tmp_path, files)
    assert run_job(database.url, folder).code == 0
    database.query("INSERT INTO gate VALUES (1)")
    assert run_job(database.url, folder, "rollback", "--steps", "1").code == 15
    write_folder(folder, {"002_fill.down.sql": "UPDATE t SET x = 0;"})
    result = run_job(database.url, folder, "rollback", "--steps", "1", "--from-files")
    assert result.code == 11, result.stderr


def test_an_empty_table_runs_the_statement_once_and_makes_no_table(
    database: Database, tmp_path: Path
) -> None:
    wrong = an_update(what="missing = 1")
    folder = write_folder(tmp_path, {"001_t.sql": a_table(rows=0), "002_fill.sql": wrong})
    assert run_job(database.url, folder).error["sqlstate"] == "42703"
    write_folder(folder, {"002_fill.sql": an_update()})
    assert run_job(database.url, folder).applied == ["002_fill"]
    assert database.query("SELECT to_regclass('schema_migrations_cursor')") == [(None,)]


def test_a_table_of_one_batch_makes_no_table_either(database: Database, tmp_path: Path) -> None:
    files = {"001_t.sql": a_table(rows=100), "002_fill.sql": an_update()}
    assert run_job(database.url, write_folder(tmp_path, files)).code == 0
    assert database.query(WALKED) == [(1, 100)]
    assert database.query("SELECT to_regclass('schema_migrations_cursor')") == [(None,)]


def test_the_size_of_a_batch_follows_its_time(database: Database, tmp_path: Path) -> None:
    files = {"001_t.sql": a_table(rows=20_000), "002_fill.sql": an_update(size="")}
    assert run_job(database.url, write_folder(tmp_path, files)).code == 0
    sizes = "SELECT count(*) AS n FROM t GROUP BY xmin::text ORDER BY n"
    found = [n for (n,) in database.query(sizes)]
    assert sum(found) == 20_000
    assert found[-1] > 200


@pytest.mark.parametrize(
    ("table", "text", "problem"),
    [
        ("CREATE TABLE u ()", an_update(), "there is no table t"),
        ("CREATE VIEW t AS SELECT 1 AS id", an_update(), "t is no table"),
        ("CREATE TABLE t (n int)", an_update(), "t has no column id"),
        ("CREATE TABLE t (id numeric PRIMARY KEY)", an_update(), "id of t is numeric"),
        ("CREATE TABLE t (id bigint NOT NULL)", an_update(), "id of t has no unique index"),
        ("CREATE TABLE t (id bigint UNIQUE)", an_update(), "id of t may be NULL"),
        (
            "CREATE TABLE t (id bigint NOT NULL); CREATE UNIQUE INDEX ON t (id) WHERE id > 5",
            an_update(),
            "id of t has no unique index",
        ),
    ],
)
def test_a_table_that_cannot_be_walked_is_refused(
    database: Database, tmp_path: Path, table: str, text: str, problem: str
) -> None:
    folder = write_folder(tmp_path, {"001_t.sql": f"{table};", "002_fill.sql": text})
    result = run_job(database.url, folder)
    assert (result.code, result.applied) == (10, ["001_t"]), result.stderr
    [finding] = result.report["findings"]
    assert (finding["file"], finding["line"]) == ("002_fill.sql", 1)
    assert problem in finding["problem"]


@pytest.mark.parametrize(
    "deed",
    [
        "UPDATE schema_migrations_cursor SET last = '900'",
        "DELETE FROM schema_migrations_cursor",
        "INSERT INTO schema_migrations_cursor SELECT 'other', checksum, last, 1, 1, 1, 1, run_id"
        " FROM schema_migrations_cursor",
        "DROP TABLE schema_migrations_cursor",
        "ALTER TABLE schema_migrations_cursor RENAME TO away",
        "CREATE RULE r AS ON UPDATE TO schema_migrations_cursor DO INSTEAD NOTHING",
        "DELETE FROM schema_migrations",
    ],
)
def test_a_statement_cannot_forge_the_cursor(database: Database, tmp_path: Path, deed: str) -> None:
    forge = (
        "CREATE FUNCTION forge(n bigint) RETURNS int LANGUAGE plpgsql AS $f$ BEGIN\n"
        f"IF n = 250 THEN EXECUTE $d${deed}$d$; END IF; RETURN 1; END $f$;"
    )
    files = {"001_t.sql": a_table() + forge, "002_fill.sql": an_update(what="x = x + forge(id)")}
    result = run_job(database.url, write_folder(tmp_path, files))
    assert result.code == 15, result.stderr
    assert "changed migrator's own history" in result.error["message"]
    assert database.query(CURSOR) == [("002_fill", "200", 200, 2)]
    assert database.query(WALKED) == [(0, 800), (1, 200)]


def test_what_a_stranger_has_put_on_the_cursor_is_not_run(
    database: Database, tmp_path: Path
) -> None:
    folder = half_done(database, tmp_path)
    database.query(OPEN)
    role = f"{database.dbname}_stranger"
    database.query(
        f"CREATE ROLE {role}; GRANT CREATE ON SCHEMA public TO {role}; SET ROLE {role};"
        "CREATE FUNCTION theirs() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';"
        "RESET ROLE; CREATE TRIGGER theirs BEFORE UPDATE ON schema_migrations_cursor"
        " FOR EACH ROW EXECUTE FUNCTION theirs()"
    )
    result = run_job(database.url, folder)
    assert result.code == 16, result.stderr
    assert "schema_migrations_cursor" in result.error["message"]
    database.query(f"DROP FUNCTION theirs CASCADE; DROP OWNED BY {role}; DROP ROLE {role}")


def test_rows_behind_the_cursor_are_left_and_those_before_it_are_not(
    database: Database, tmp_path: Path
) -> None:
    folder = half_done(database, tmp_path)
    database.query(OPEN)
    database.query("INSERT INTO t (id) VALUES (-7), (5000)")
    assert run_job(database.url, folder).code == 0
    assert database.query("SELECT id, x FROM t WHERE id IN (-7, 5000)") == [(-7, 0), (5000, 1)]


def test_an_insert_and_a_delete_run_in_batches(database: Database, tmp_path: Path) -> None:
    copy = f"INSERT INTO other SELECT id FROM t WHERE {BETWEEN.format('bigint')};"
    files = {
        "001_t.sql": a_table() + "CREATE TABLE other (id bigint);",
        "002_copy.sql": f"-- migrator: batches public.t by id size 300\n{copy}",
        "003_drop.sql": '-- migrator: batches "t" by ID size 300\nBEGIN;\n'
        f"DELETE FROM t WHERE {BETWEEN.format('bigint')};\nCOMMIT;\n",
        "004_next.sql": "-- migrator: requires 003_drop\nSELECT 1;",
    }
    result = run_job(database.url, write_folder(tmp_path, files))
    assert result.code == 0, result.stderr
    counts = "SELECT (SELECT count(*) FROM t), (SELECT count(DISTINCT id) FROM other)"
    assert database.query(counts) == [(0, ROWS)]


@pytest.mark.parametrize("command", [("rehearse",), ("check", "--all")])
def test_a_scratch_database_takes_it_in_one_go(
    database: Database, tmp_path: Path, command: tuple[str, ...]
) -> None:
    files = {
        "001_t.sql": a_table(),
        "001_t.down.sql": "DROP TABLE t;",
        "002_fill.sql": an_update(),
        "002_fill.down.sql": an_update(what="x = x - 1"),
    }
    folder = write_folder(tmp_path, files)
    result = run_job(None, folder, *command, SHADOW_DATABASE_URL=database.url)
    assert result.code == 0, result.stderr


NONE_LEFT = "-- migrator: assert after SELECT NOT EXISTS (SELECT FROM t WHERE x = 0);\n"


def test_what_must_be_true_before_is_asked_before_the_first_batch(
    database: Database, tmp_path: Path
) -> None:
    text = "-- migrator: assert before SELECT count(*) = 1001 FROM t -- rows\n" + an_update()
    folder = write_folder(tmp_path, {"001_t.sql": a_table(), "002_fill.sql": text})
    result = run_job(database.url, folder)
    assert result.code == 15, result.stderr
    assert result.error["message"].startswith("002_fill.sql:1: assert before is not true: SELECT")
    assert database.query(WALKED) == [(0, ROWS)]
    database.query("INSERT INTO t (id) VALUES (-1)")
    assert run_job(database.url, folder).code == 0


def test_what_must_be_true_after_is_asked_before_it_is_recorded(
    database: Database, tmp_path: Path
) -> None:
    files = {"001_t.sql": a_table() + "INSERT INTO t (id) VALUES (-1);"}
    files["002_fill.sql"] = NONE_LEFT + an_update(what="x = CASE WHEN id > 0 THEN x + 1 ELSE x END")
    folder = write_folder(tmp_path, files)
    result = run_job(database.url, folder)
    assert (result.code, result.applied) == (15, ["001_t"]), result.stderr
    assert "assert after is not true" in result.error["message"]
    database.query("UPDATE t SET x = 1 WHERE id = -1")
    result = run_job(database.url, folder)
    assert (result.code, result.applied) == (0, ["002_fill"]), result.stderr
    assert database.query(WALKED) == [(1, ROWS + 1)]


@pytest.mark.parametrize(
    ("query", "problem"),
    [
        ("SELECT NULL", "is not true"),
        ("SELECT true WHERE false", "is not true"),
        ("SELECT missing FROM t", "42703"),
        ("WITH a AS (DELETE FROM t RETURNING 1) SELECT true", "was refused"),
        ("SELECT f()", "25006"),
        ("SELECT true) AS a; DROP TABLE t; SELECT (true", "25006"),
    ],
)
@pytest.mark.parametrize("kind", ["batches", "no-transaction"])
def test_a_query_that_gives_no_truth_or_writes_is_refused(
    database: Database, tmp_path: Path, query: str, problem: str, kind: str
) -> None:
    writes = "CREATE FUNCTION f() RETURNS bool LANGUAGE sql AS 'DELETE FROM t RETURNING true';"
    text = an_update() if kind == "batches" else "-- migrator: no-transaction\nVACUUM t;"
    files = {"001_t.sql": a_table() + writes}
    files["002_fill.sql"] = f"-- migrator: assert before {query}\n{text}"
    result = run_job(database.url, write_folder(tmp_path, files))
    assert (result.code, result.applied) == (15, ["001_t"]), result.stderr
    assert problem in result.error["message"]
    assert database.query(WALKED) == [(0, ROWS)]


def test_a_no_transaction_file_is_asked_too(database: Database, tmp_path: Path) -> None:
    text = (
        "-- migrator: no-transaction\n"
        "-- migrator: assert before SELECT to_regclass('i') IS NULL\n"
        "-- migrator: assert after SELECT EXISTS (SELECT FROM t WHERE x = 1)\n"
        "CREATE INDEX CONCURRENTLY i ON t (x);\n"
    )
    folder = write_folder(tmp_path, {"001_t.sql": a_table(), "002_i.sql": text})
    result = run_job(database.url, folder)
    assert (result.code, result.applied) == (15, ["001_t"]), result.stderr
    assert result.error["message"].startswith("002_i.sql:3: assert after is not true")
    assert "done and committed: statement 1" in result.report["outcome"]
    database.query("UPDATE t SET x = 1 WHERE id = 1")
    assert run_job(database.url, folder).applied == ["002_i"]
