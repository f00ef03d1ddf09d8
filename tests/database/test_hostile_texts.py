"""Texts of any length, and with any character, from whoever may write one: of a run they make
neither a flood nor a forgery."""

from __future__ import annotations

import json
from pathlib import Path

import psycopg2
import pytest

from migrator.cli.logs import NOTICES
from migrator.history.guard import lock_key
from tests.builders import write_folder
from tests.conftest import Database
from tests.job import Job, run_job

#: A line of the log and a move of the cursor, as one who wants to be believed writes them.
FORGED = "x\n12:00:00  run.finished  done\r\x1b[2J\x1b]0;t\x07\x85\u202e\u2028y"
SHOWN = r"x\n12:00:00  run.finished  done\r\x1b[2J\x1b]0;t\x07\x85\u202e\u2028y"


def sound(text: str) -> bool:
    """Whether a terminal, and a reader of lines, takes the text for what we made of it."""
    return all(line.isprintable() for line in text.replace("\t", " ").split("\n"))


def one_line(text: str) -> str:
    """Without what a screen's width does to it."""
    return " ".join(text.split())


def quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def test_an_error_of_many_megabytes_is_cut_wherever_it_goes(
    database: Database, tmp_path: Path
) -> None:
    huge = "repeat('x', 30000000)"
    sql = f"DO $$ BEGIN RAISE EXCEPTION USING MESSAGE = {huge}, DETAIL = {huge}, HINT = {huge}"
    write_folder(tmp_path / "sql", {"001_a.sql": f"{sql}; END $$;"})
    job = Job(database.url, tmp_path / "sql")
    result = job.result()
    assert result.code == 15, result.stderr
    assert len(result.stderr) < 30_000
    for name in ("message", "detail", "hint"):
        assert "xx… " in result.error[name]
        assert result.error[name].endswith(" more")
        assert len(result.error[name]) < 2_100
    ((stored,),) = database.query(
        "SELECT detail ->> 'message' FROM schema_migrations_log WHERE event = 'failed'"
    )
    assert len(stored) < 2_100
    assert stored.endswith("x… 29998000 more")


def test_a_large_error_takes_little_more_memory_than_the_driver_does(
    database: Database, tmp_path: Path
) -> None:
    """A run took 662 MB and takes 290; psycopg2 and libpq alone take 227 until it is raised [M]."""
    sql = "DO $$ BEGIN RAISE EXCEPTION '%', repeat('x', 30000000); END $$;"
    write_folder(tmp_path, {"001_a.sql": sql})
    limited = ("prlimit", f"--data={450 << 20}")
    assert Job.inside(limited, database.url, tmp_path).result().code == 15


def test_a_flood_of_notices_is_counted_and_not_told(database: Database, tmp_path: Path) -> None:
    raised = "FOR n IN 1..{} LOOP RAISE WARNING 'w%', n; RAISE NOTICE 'n%', n; END LOOP"
    files = {
        "001_a.sql": f"DO $$ BEGIN {raised.format(20_000)}; END $$;",
        "002_b.sql": f"DO $$ BEGIN {raised.format(3)}; END $$;",
    }
    result = run_job(database.url, write_folder(tmp_path, files))
    assert result.code == 0
    told = [(line["version"], line["notice"]) for line in result.of("migration.notice")]
    assert told == [
        *(("001_a", f"w{n}") for n in range(1, NOTICES + 1)),
        ("001_a", f"… {20_000 - NOTICES} more"),
        ("001_a", "20000 not shown; LOG_LEVEL=debug shows them"),
        *(("002_b", f"w{n}") for n in range(1, 4)),
        ("002_b", "3 not shown; LOG_LEVEL=debug shows them"),
    ]
    more = [
        (line["more"], line["level"]) for line in result.of("migration.notice") if "more" in line
    ]
    assert more == [(20_000 - NOTICES, "warning"), (20_000, "info"), (3, "info")]


@pytest.mark.parametrize("log_format", ["json", "text"])
def test_no_text_of_a_file_forges_a_line_of_the_log(
    database: Database, tmp_path: Path, log_format: str
) -> None:
    sql = (
        f"DO $$ BEGIN RAISE WARNING '%', {quoted(FORGED)}; RAISE EXCEPTION USING "
        f"MESSAGE = {quoted(FORGED)}, DETAIL = {quoted(FORGED)}, HINT = {quoted(FORGED)}; END $$;"
    )
    result = run_job(
        database.url, write_folder(tmp_path, {"001_a.sql": sql}), LOG_FORMAT=log_format
    )
    assert result.code == 15
    assert sound(result.stderr), ascii(result.stderr)
    if log_format == "json":
        assert [line["notice"] for line in result.of("migration.notice")] == [FORGED]
        assert result.error["detail"] == FORGED
    else:
        assert not [line for line in result.stderr.split("\n") if line.startswith("12:00:00")]
        assert f"warning 001_a: {one_line(SHOWN)}" in one_line(result.stderr)
        first, _, rest = SHOWN.partition(r"\n")
        assert f"  detail: {first}\n  | {rest}\n" in result.stderr


@pytest.fixture
def forged(database: Database, tmp_path: Path) -> Path:
    """A history with a row and a line of the log that somebody wrote for others to read."""
    folder = write_folder(tmp_path / "sql", {"001_a.sql": "SELECT 1;"})
    assert run_job(database.url, folder).code == 0
    database.query("INSERT INTO schema_migrations (version, kind) VALUES (%s, %s)", FORGED, FORGED)
    database.query(
        "INSERT INTO schema_migrations_log (run_id, version, event, runner, detail) "
        "VALUES (gen_random_uuid(), %s, %s, %s, jsonb_build_object('reason', %s::text, "
        "'message', %s::text))",
        *[FORGED] * 5,
    )
    return folder


@pytest.mark.parametrize(
    "words",
    [
        *(["status"], ["plan"], ["plan", "--graph"], ["verify"], ["history"], ["report"]),
        *(["report", "--markdown"], ["rollback", "--plan"], ["up"]),
    ],
    ids=" ".join,
)
@pytest.mark.parametrize("log_format", ["json", "text"])
def test_a_row_that_another_wrote_breaks_no_command(
    database: Database, forged: Path, tmp_path: Path, words: list[str], log_format: str
) -> None:
    ending = tmp_path / "termination-log"
    for more in ([], ["--json"]):
        ending.write_text("")
        result = run_job(
            database.url,
            forged,
            *words,
            *more,
            LOG_FORMAT=log_format,
            LOG_LEVEL="debug",
            ON_MISSING="warn",
            TERMINATION_LOG=str(ending),
        )
        assert result.code in {0, 10, 12}, result.stderr
        for text in (result.stderr, result.stdout, ending.read_text()):
            assert sound(text), ascii(text)
            assert not [line for line in text.split("\n") if line.startswith("12:00:00")]
        assert len(ending.read_text().splitlines()) == 1
        assert json.loads(ending.read_text())["exit_code"] == result.code
        if more:
            assert len(result.stdout.splitlines()) == 1
            json.loads(result.stdout)
        if log_format == "json":
            assert all(line["event"] for line in result.lines)


def test_the_row_is_shown_in_a_line_of_its_own(database: Database, forged: Path) -> None:
    rows = run_job(database.url, forged, "status", ON_MISSING="warn").stdout.splitlines()
    assert [row for row in rows if row.startswith(SHOWN)]


@pytest.mark.parametrize("log_format", ["json", "text"])
def test_whoever_holds_the_lock_is_named_on_one_line(
    database: Database, tmp_path: Path, log_format: str
) -> None:
    """Any role may take our key in a transaction that it prepares under any name."""
    name = FORGED[:40]
    holder = psycopg2.connect(database.url)
    holder.set_session(autocommit=True)
    with holder.cursor() as cursor:
        cursor.execute("SHOW max_prepared_transactions")
        if cursor.fetchone() == ("0",):
            cursor.execute("SET application_name = %s", (name,))
            cursor.execute("SELECT pg_advisory_lock(%s)", (lock_key("public"),))
        else:
            cursor.execute("BEGIN")
            cursor.execute("SELECT pg_advisory_xact_lock(%s)", (lock_key("public"),))
            cursor.execute("PREPARE TRANSACTION %s", (name,))
    try:
        result = run_job(
            database.url,
            write_folder(tmp_path, {"001_a.sql": "SELECT 1;"}),
            LOG_FORMAT=log_format,
            WAIT_TIMEOUT="100ms",
        )
    finally:
        with holder.cursor() as cursor:
            cursor.execute("SELECT gid FROM pg_prepared_xacts WHERE database = current_database()")
            for (gid,) in cursor.fetchall():
                cursor.execute("ROLLBACK PREPARED %s", (gid,))
        holder.close()
    assert result.code == 21
    assert sound(result.stderr), ascii(result.stderr)
    assert not [line for line in result.stderr.split("\n") if line.startswith("12:00:00")]
    if log_format == "json":
        assert result.error["message"].isprintable()
