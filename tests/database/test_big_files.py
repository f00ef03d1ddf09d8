"""Files of any size: in little memory, in messages of about 1 MB, and never cut short."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from itertools import repeat
from pathlib import Path

import pytest

from bench.measure import spend
from migrator.history.guard import lock_key
from migrator.postgres import libpq
from tests.builders import write_folder
from tests.conftest import Database, MakeProxy
from tests.job import ROOT, Job, run_job

COPY_ROWS = "".join(f"{n}\tsomebody's name is here\n" for n in range(10_000))
VALUES = ",\n".join(f"({n}, 'somebody''s name is here')" for n in range(1000))
INSERTS = f"INSERT INTO t VALUES\n{VALUES};\n"


def a_copy(megabytes: int) -> Iterator[str]:
    yield "CREATE TABLE t (a int, b text);\nCOPY t FROM stdin;\n"
    yield from repeat(COPY_ROWS, megabytes * 1_000_000 // len(COPY_ROWS))
    yield "\\.\nSELECT 1;\n"


def inserts(megabytes: int) -> Iterator[str]:
    yield "CREATE TABLE t (a int, b text);\n"
    yield from repeat(INSERTS, megabytes * 1_000_000 // len(INSERTS))


def a_folder(directory: Path, pieces: Iterator[str]) -> Path:
    directory.mkdir()
    with (directory / "001_a.sql").open("w") as file:
        file.writelines(pieces)
    return directory


def peak_mb(database: Database, folder: Path) -> float:
    """The peak memory of a run that applies the folder."""
    settings = {"DATABASE_URL": database.url, "MIGRATIONS_DIR": str(folder), "TERMINATION_LOG": ""}
    return spend([sys.executable, str(ROOT / "entrypoint.py"), "up"], settings).peak_mb


@pytest.mark.parametrize("seed", [a_copy, inserts], ids=["COPY", "INSERT"])
def test_the_memory_does_not_grow_with_the_file(
    database: Database, tmp_path: Path, seed: Callable[[int], Iterator[str]]
) -> None:
    small = peak_mb(database, a_folder(tmp_path / "small", seed(10)))
    database.query("DROP TABLE t, schema_migrations, schema_migrations_log")
    large = peak_mb(database, a_folder(tmp_path / "large", seed(35)))
    assert large < 80
    assert large - small < 4


MANY_ROWS = "SELECT g, repeat('x', 100) FROM generate_series(1, 600000) AS g;\n"


@pytest.mark.parametrize("head", ["", "-- migrator: no-transaction\n"], ids=["flight", "alone"])
def test_the_rows_of_a_select_are_not_kept(database: Database, tmp_path: Path, head: str) -> None:
    """All of them are over 80 MB here."""
    small = peak_mb(database, a_folder(tmp_path / "small", iter([head + "SELECT 1;\n"])))
    database.query("DROP TABLE schema_migrations, schema_migrations_log")
    large = peak_mb(database, a_folder(tmp_path / "large", iter([head + MANY_ROWS])))
    assert large - small < 20


@pytest.mark.parametrize(
    "missing", ["", "PQsetChunkedRowsMode", "PQsetSingleRowMode", "PQgetvalue"]
)
@pytest.mark.parametrize("head", ["", "-- migrator: no-transaction\n"], ids=["flight", "alone"])
@pytest.mark.parametrize(
    "last",
    [
        pytest.param("SELECT 'a' WHERE false", id="no row"),
        pytest.param("SELECT 'a'", id="a value"),
        pytest.param("SELECT NULL", id="NULL"),
        pytest.param("SELECT 1, 2", id="two values"),
        pytest.param("SELECT g FROM generate_series(1, 33) AS g", id="more than a piece"),
        pytest.param("SET work_mem = '8MB'", id="no answer with rows"),
    ],
)
def test_what_the_job_asks_is_not_taken_for_an_answer_of_the_files(
    database: Database,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    missing: str,
    head: str,
    last: str,
) -> None:
    whole = libpq.function
    monkeypatch.setattr(
        libpq, "function", lambda name, *types: None if name == missing else whole(name, *types)
    )
    folder = a_folder(tmp_path / "m", iter([f"{head}SELECT 1;\n{last};\n"]))
    result = run_job(database.url, folder)
    assert result.code == 0, result.stderr
    [(taken,)] = database.query("SELECT execution_time_ms FROM schema_migrations")
    assert isinstance(taken, int)
    for line in result.of("statement.done"):
        assert isinstance(line["execution_time_ms"], int)


@pytest.mark.parametrize(
    ("sql", "line"),
    [
        pytest.param("SELECT 1;\nSELECT g FROM generate_series(1, 99) AS g;\n{};", 3, id="behind"),
        pytest.param(
            "SELECT 1;\nSELECT 1 / (70 - g) FROM generate_series(1, 99) AS g;", 2, id="in"
        ),
    ],
)
def test_a_refused_statement_is_found_behind_rows_that_came_in_pieces(
    database: Database, tmp_path: Path, sql: str, line: int
) -> None:
    fails = "DO $$ BEGIN RAISE 'no'; END $$"
    result = run_job(database.url, a_folder(tmp_path / "m", iter([sql.format(fails)])))
    assert (result.code, result.error["line"]) == (15, line)


@pytest.mark.parametrize(
    ("seed", "rows"),
    [
        pytest.param(a_copy, 12_000_000 // len(COPY_ROWS) * 10_000, id="COPY"),
        pytest.param(inserts, 12_000_000 // len(INSERTS) * 1000, id="INSERT"),
    ],
)
def test_no_message_is_much_longer_than_1_mb(
    database: Database,
    proxy: MakeProxy,
    tmp_path: Path,
    seed: Callable[[int], Iterator[str]],
    rows: int,
) -> None:
    between = proxy(database)
    folder = a_folder(tmp_path / "m", seed(12))
    assert run_job(between.through(database.url), folder).code == 0
    assert between.bytes_up > 11_000_000
    assert between.largest_up < 1_100_000
    assert database.query("SELECT count(*) FROM t") == [(rows,)]


def test_one_statement_on_one_line_of_64_mb_is_sent_whole(
    database: Database, tmp_path: Path
) -> None:
    length = 64_000_000
    sql = ("CREATE TABLE t AS SELECT '", "x" * length, "' AS a;\nSELECT 1;\n")
    assert run_job(database.url, a_folder(tmp_path / "m", iter(sql))).code == 0
    assert database.query("SELECT length(a) FROM t") == [(length,)]


def test_ten_thousand_statements_of_ddl_are_one_migration(
    database: Database, tmp_path: Path
) -> None:
    sql = "".join(f"CREATE FUNCTION f{n}() RETURNS int RETURN {n};\n" for n in range(10_000))
    assert run_job(database.url, write_folder(tmp_path, {"001_a.sql": sql})).code == 0
    assert database.query("SELECT f9999(), count(*) FROM pg_proc WHERE proname ~ '^f\\d+$'") == [
        (9999, 10_000)
    ]


@pytest.mark.parametrize(
    ("last", "sqlstate", "column"),
    [
        pytest.param("SELECT nope;", "42703", 8, id="with a position"),
        pytest.param("SELECT 1; INSERT INTO k VALUES (1), (1);", "23505", 11, id="without one"),
    ],
)
def test_an_error_far_down_has_its_place(
    database: Database, tmp_path: Path, last: str, sqlstate: str, column: int
) -> None:
    database.query("CREATE TABLE k (a int PRIMARY KEY)")
    text = "".join(inserts(3))
    folder = write_folder(tmp_path, {"001_a.sql": f"{text}\n{last}\n"})
    error = run_job(database.url, folder).error
    assert (error["sqlstate"], error["column"]) == (sqlstate, column)
    assert error["line"] == text.count("\n") + 2
    assert database.query("SELECT to_regclass('t')") == [(None,)]


def test_a_file_that_changes_while_it_is_sent_is_refused_and_rolled_back(
    database: Database, tmp_path: Path
) -> None:
    """Another runner's lock holds the run between the look at the file and its sending."""
    folder = a_folder(tmp_path / "m", inserts(3))
    write_folder(folder, {"000_first.sql": "SELECT 0"})
    holder = database.connect()
    holder.cursor().execute(f"SELECT pg_advisory_lock({lock_key('public')})")
    job = Job(database.url, folder)
    job.hear("lock.waiting")
    path = folder / "001_a.sql"
    path.write_text(path.read_text() + "SELECT 'more';\n")
    holder.close()
    result = job.result()
    assert result.code == 10, result.stderr
    assert result.applied == ["000_first"]
    assert result.report["findings"][0]["file"] == "001_a.sql"
    assert result.report["outcome"] == (
        "001_a was rolled back; applied by this run and committed: 000_first"
    )
    assert database.query("SELECT to_regclass('t')") == [(None,)]
    assert database.query("SELECT version FROM schema_migrations") == [("000_first",)]
    assert run_job(database.url, folder).applied == ["001_a"]


def test_a_cr_in_a_value_is_kept_as_psql_keeps_it(database: Database, tmp_path: Path) -> None:
    sql = "CREATE TABLE t (a text);\nINSERT INTO t VALUES ('x\r\ny'), ('\r');\n"
    assert run_job(database.url, write_folder(tmp_path, {"001_a.sql": sql})).code == 0
    assert database.query("SELECT a FROM t") == [("x\r\ny",), ("\r",)]
