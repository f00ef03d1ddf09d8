"""COPY … FROM stdin: the rows of a file, through the COPY protocol, in the file's transaction."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.builders import write_folder
from tests.conftest import (
    Database,
    MakePgBouncer,
    MakeProxy,
    create_database,
    drop_database,
)
from tests.job import Job, Result, run_job, until
from tests.programs import as_new_as_the_server, feed_to_psql
from tests.proxy import Cut

OURS = "SELECT 1 FROM pg_stat_activity WHERE application_name = 'migrator/tester'"
COPYING = f"{OURS} AND state = 'active' AND query LIKE '/* migrator %COPY%'"
WAITING = f"{COPYING} AND wait_event_type = 'Lock'"


def apply(database: Database, folder: Path, sql: str, **settings: str) -> Result:
    return run_job(database.url, write_folder(folder, {"001_a.sql": sql}), **settings)


@pytest.fixture
def other(database: Database) -> Iterator[Database]:
    """A second database on the same server."""
    made = create_database(database.server)
    yield made
    drop_database(made)


@pytest.mark.parametrize("end", ["\\.\nSELECT 1;\n", ""], ids=["end", "end of the file"])
@pytest.mark.parametrize(
    ("copy", "rows", "expected"),
    [
        pytest.param(
            "COPY t FROM stdin;",
            "1\ta;'b\n2\t\\N\n3\t\\\\.\\n\n",
            [(1, "a;'b"), (2, None), (3, "\\.\n")],
            id="text",
        ),
        pytest.param("COPY t (b, a) FROM STDIN ;", "x\t1\n", [(1, "x")], id="columns"),
        pytest.param(
            "COPY t FROM stdin (FORMAT csv, HEADER);",
            'a,b\n1,"x\n;y"\n',
            [(1, "x\n;y")],
            id="CSV",
        ),
        pytest.param(
            "COPY t FROM stdin CSV DELIMITER '|' NULL '-';",
            "1|-\n2|b\n",
            [(1, None), (2, "b")],
            id="options",
        ),
        pytest.param("COPY t FROM stdin WHERE a > 1;", "1\ta\n2\tb\n", [(2, "b")], id="WHERE"),
        pytest.param("COPY t FROM stdin; -- rows", "", [], id="no rows"),
        pytest.param(
            "COPY t FROM stdin CSV;",
            "1,é\n2,%s\n3,{x}\n",
            [(1, "é"), (2, "%s"), (3, "{x}")],
            id="any text",
        ),
    ],
)
def test_the_rows_are_those_that_psql_copies(
    database: Database,
    other: Database,
    tmp_path: Path,
    copy: str,
    rows: str,
    expected: list[tuple[int, str | None]],
    end: str,
) -> None:
    sql = f"CREATE TABLE t (a int, b text);\n{copy}\n{rows}{end}"
    result = apply(database, tmp_path, sql)
    assert result.code == 0, result.stderr
    everything = "SELECT * FROM t ORDER BY a"
    assert database.query(everything) == expected
    if as_new_as_the_server("psql", database):  # an older one sends the end of a CSV to 18 as a row
        feed_to_psql(other, tmp_path / "001_a.sql")
        assert other.query(everything) == expected


def test_an_end_without_a_line_end_is_an_end(database: Database, tmp_path: Path) -> None:
    """psql sends it as a row, which the server then refuses."""
    sql = "CREATE TABLE t (a int);\nCOPY t FROM stdin CSV;\n1\n\\."
    assert apply(database, tmp_path, sql).code == 0
    assert database.query("SELECT a FROM t") == [(1,)]


def test_the_data_of_a_csv_end_at_the_first_end_even_within_quotes(
    database: Database, tmp_path: Path
) -> None:
    """psql does so too, in all its versions; what follows is then no SQL."""
    sql = 'CREATE TABLE t (a text);\nCOPY t FROM stdin CSV;\n"x\n\\.\ny"\n\\.\n'
    result = apply(database, tmp_path, sql)
    assert (result.code, result.report["findings"][0]["line"]) == (10, 5)


def test_rows_and_statements_stand_or_fall_together(database: Database, tmp_path: Path) -> None:
    sql = "CREATE TABLE t (a int);\nCOPY t FROM stdin;\n1\n\\.\nSELECT 1/0;\n"
    result = apply(database, tmp_path, sql)
    assert (result.code, result.error["line"]) == (15, 5)
    assert database.query("SELECT to_regclass('t')") == [(None,)]
    assert apply(database, tmp_path, sql.replace("1/0", "1/1")).code == 0
    assert database.query("SELECT a FROM t") == [(1,)]


@pytest.mark.parametrize(
    ("rows", "line", "sqlstate", "detail"),
    [
        pytest.param("1\n2\nx\n", 6, "22P02", None, id="a value"),
        pytest.param("1\n2\n3\t4\n", 6, "22P04", None, id="a column too many"),
        pytest.param("1\n2\n1\n", 6, "23505", "Key (a)=(1) already exists.", id="a key again"),
    ],
)
def test_a_bad_row_names_the_line_of_the_file(
    database: Database, tmp_path: Path, rows: str, line: int, sqlstate: str, detail: str | None
) -> None:
    sql = f"-- rows\nCREATE TABLE t (a int PRIMARY KEY);\nCOPY t FROM stdin;\n{rows}\\.\n"
    result = apply(database, tmp_path, sql)
    assert (result.code, result.error["sqlstate"]) == (15, sqlstate)
    assert result.error["line"] == line
    assert result.error["message"].startswith(f"001_a.sql:{line}: ")
    assert result.error.get("detail") == detail
    assert database.query("SELECT to_regclass('t')") == [(None,)]


def test_a_copy_that_cannot_begin_names_its_own_line(database: Database, tmp_path: Path) -> None:
    result = apply(database, tmp_path, "SELECT 1;\n  COPY nope FROM stdin;\n1\n\\.\n")
    assert (result.error["sqlstate"], result.error["line"]) == ("42P01", 2)
    assert result.error["source_line"] == "COPY nope FROM stdin"


def test_a_trigger_may_speak_and_refuse(database: Database, tmp_path: Path) -> None:
    sql = """CREATE TABLE t (a int);
CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE WARNING 'row %', NEW.a;
  IF NEW.a = 3 THEN RAISE EXCEPTION 'no 3'; END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER g BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION f();
COPY t FROM stdin;
1
2
3
\\.
"""
    result = apply(database, tmp_path, sql)
    assert (result.error["sqlstate"], result.error["line"]) == ("P0001", 12)
    told = [line["notice"] for line in result.of("migration.notice")]
    assert told == ["row 1", "row 2", "row 3"]


def test_a_table_that_is_busy_at_first_gets_its_rows_once(
    database: Database, tmp_path: Path
) -> None:
    database.query("CREATE TABLE t (a int)")
    reader = database.connect()
    reader.autocommit = False
    reader.cursor().execute("LOCK TABLE t IN ACCESS EXCLUSIVE MODE")
    rows = "".join(f"{n}\n" for n in range(100_000))
    folder = write_folder(tmp_path, {"001_a.sql": f"COPY t FROM stdin;\n{rows}\\.\n"})
    job = Job(database.url, folder, LOCK_TIMEOUT="50ms")
    until(lambda: database.query(WAITING))
    job.hear("migration.retry")
    reader.close()
    assert job.result().code == 0
    assert database.query("SELECT count(*), sum(a) FROM t") == [(100_000, 4_999_950_000)]


@pytest.mark.parametrize("mode", ["session", "transaction"])
def test_it_works_through_a_pooler_with_one_connection(
    database: Database, pgbouncer: MakePgBouncer, tmp_path: Path, mode: str
) -> None:
    pooler = pgbouncer(database, pool_mode=mode, pool_size=1)
    rows = "".join(f"{n}\t{'x' * 50}\n" for n in range(50_000))
    sql = f"CREATE TABLE t (a int, b text);\nCOPY t FROM stdin;\n{rows}\\.\n"
    folder = write_folder(tmp_path, {"001_a.sql": sql})
    assert run_job(pooler.url(database.dbname), folder).code == 0
    assert database.query("SELECT count(*) FROM t") == [(50_000,)]


def test_a_connection_cut_in_the_rows_is_settled_by_looking(
    database: Database, proxy: MakeProxy, tmp_path: Path
) -> None:
    rows = "".join(f"{n}\n" for n in range(100_000))
    cutter = proxy(database)
    cutter.cut_at(b"\n90000\n", Cut.SENT)
    sql = f"CREATE TABLE t (a int);\nCOPY t FROM stdin;\n{rows}\\.\n"
    result = run_job(cutter.through(database.url), write_folder(tmp_path, {"001_a.sql": sql}))
    assert result.code == 0, result.stderr
    assert [line["reason"] for line in result.of("migration.retry")] == ["lost"]
    assert database.query("SELECT count(*) FROM t") == [(100_000,)]


ENDLESS = "1234567\n" * 2_000_000
SLOW = """CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN PERFORM pg_sleep(0.001); RETURN NEW; END $$;
CREATE TRIGGER s BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION slow();
"""
STUCK = SLOW.replace("0.001", "600")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize(
    ("before", "condition"),
    [
        pytest.param(SLOW, COPYING, id="while rows are sent"),
        pytest.param(STUCK, f"{COPYING} AND wait_event = 'PgSleep'", id="in a trigger"),
        pytest.param("", WAITING, id="while it waits for a lock"),
    ],
)
def test_a_stop_in_a_copy_rolls_back_and_is_23(
    database: Database, tmp_path: Path, number: signal.Signals, before: str, condition: str
) -> None:
    database.query("CREATE TABLE t (a int)")
    holder = database.connect()
    holder.autocommit = False
    if not before:
        holder.cursor().execute("LOCK TABLE t IN ACCESS EXCLUSIVE MODE")
    sql = f"CREATE TABLE b ();\n{before}COPY t FROM stdin;\n{ENDLESS}\\.\n"
    job = Job(database.url, write_folder(tmp_path, {"001_a.sql": sql}), LOCK_TIMEOUT="0")
    until(lambda: database.query(condition))
    job.process.send_signal(number)
    result = job.result()
    assert result.code == 23, result.stderr
    assert result.of("run.stopped")[0]["stopped_by"] == number.name
    assert result.report["outcome"] == "001_a was rolled back"
    until(lambda: not database.query(OURS))
    holder.close()
    assert database.query("SELECT to_regclass('b'), count(*) FROM t") == [(None, 0)]


def test_the_deadline_ends_a_copy_too(database: Database, tmp_path: Path) -> None:
    sql = f"CREATE TABLE t (a int);\n{STUCK}COPY t FROM stdin;\n1\n\\.\n"
    result = apply(database, tmp_path, sql, DEADLINE="700ms")
    assert (result.code, result.of("run.stopped")[0]["stopped_by"]) == (23, "DEADLINE")
    assert database.query("SELECT to_regclass('t')") == [(None,)]


def test_a_stop_on_a_dead_network_drops_the_copy(
    database: Database, proxy: MakeProxy, tmp_path: Path
) -> None:
    database.query("CREATE TABLE t (a int)")
    database.query(SLOW)
    network = proxy(database)
    folder = write_folder(tmp_path, {"001_a.sql": f"COPY t FROM stdin;\n{ENDLESS}\\.\n"})
    job = Job(network.through(database.url), folder)
    until(lambda: database.query(COPYING))
    network.blackhole()
    job.process.send_signal(signal.SIGTERM)
    result = job.result(timeout=20)  # before the keepalives find out
    assert result.code == 23, result.stderr
    assert result.report["outcome"] == "001_a is not applied: its COMMIT was never sent"
