"""What a person sees: a real run at a real terminal, wide and narrow, and text in a file."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.builders import write_folder
from tests.conftest import Database
from tests.job import Job, run_job
from tests.terminal import plain, run_at_terminal, seen

LONG = "003_" + "a_name_that_is_wider_than_any_window_" * 3 + "x"
FILES = {
    "001_orders.sql": "CREATE TABLE orders (id int);",
    "001_orders.down.sql": "DROP TABLE orders;",
    "002_index.sql": "-- migrator: no-transaction\n"
    "CREATE INDEX CONCURRENTLY orders_id ON orders (id);",
    f"{LONG}.sql": "SELECT pg_sleep(1.2);\n"
    "DO $$ BEGIN RAISE WARNING '%', repeat('日本語 e\u0301 ', 30); END $$;",
    "004_bad.sql": "SELECT 1;\nSELECT " + "'日本', " * 40 + "nope FROM orders;",
}
TIME_AND_WORD = 21  #: what stands before a phrase
COMMANDS = [
    *(["status"], ["plan"], ["verify"], ["history"], ["report"], ["rollback", "--plan"]),
    *(["up", "--to"], ["wait", "--wait-timeout", "100ms"]),
]


@pytest.fixture(autouse=True)
def _in_its_own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where `m` is the folder of migrations, as in a repository."""
    monkeypatch.chdir(tmp_path)


def too_wide(text: str, columns: int) -> list[str]:
    """Rows of more cells than the screen has, apart from a name that is not broken."""
    rows = [row.rstrip("\r") for row in plain(text).split("\n")]
    wide = [row for row in rows if len(seen(row, columns)) > 1]
    return [row for row in wide if len(row.split()[-1]) + TIME_AND_WORD <= columns]


@pytest.mark.parametrize("columns", [80, 40])
def test_every_line_fits_the_window(database: Database, columns: int) -> None:
    folder = write_folder(Path("m"), FILES)
    for words in (["up", "--progress-interval", "200ms"], *COMMANDS):
        _, written = run_at_terminal(database.url, folder, *words, columns=columns)
        shown = [part for row in written.split("\n") for part in row.split("\r\x1b[K")]
        assert too_wide("\n".join(shown), columns) == [], words
        assert "Traceback" not in written


def test_the_running_line_moves_and_leaves_nothing(database: Database) -> None:
    folder = write_folder(Path("m"), {f"{LONG}.sql": "SELECT pg_sleep(2.5);"})
    for columns in (80, 40, 200):
        database.query("DROP TABLE IF EXISTS schema_migrations, schema_migrations_log")
        code, written = run_at_terminal(database.url, folder, columns=columns)
        assert code == 0, written
        drawn = written.split("\r\x1b[K")
        assert len(drawn) >= 4, "once at the start, and each second"
        if columns == 200:
            assert f"{LONG}, 1 of 1, 1 s" in written
            assert f"{LONG}, 1 of 1, 2 s" in written
        rows = seen(written, columns)
        assert [row for row in rows if "running" in row] == []
        named = [row[10:17] for row in rows if re.match(rf"\d\d:.{{9}}\w+ +{LONG[:15]}", row)]
        assert named == ["applied"]


def test_what_comes_meanwhile_is_kept_above_the_running_line(database: Database) -> None:
    sql = "DO $$ BEGIN RAISE WARNING 'careful'; PERFORM pg_sleep(1.2); END $$;"
    folder = write_folder(Path("m"), {"001_a.sql": sql})
    code, written = run_at_terminal(database.url, folder)
    assert code == 0, written
    rows = [row[10:] for row in seen(written, 80) if re.match(r"\d\d:", row)]
    assert rows[-3:-1] == ["started    001_a, 1 of 1", "warning    001_a: careful"]
    assert rows[-1].startswith("applied    001_a in ")


def test_a_stop_replaces_the_running_line(database: Database) -> None:
    folder = write_folder(Path("m"), {"001_a.sql": "SELECT pg_sleep(60);"})
    code, written = run_at_terminal(database.url, folder, "up", "--deadline", "1500ms")
    assert code == 23, written
    rows = seen(written, 80)
    assert "running" not in "\n".join(rows)
    assert "FAILED (StoppedError, exit code 23)" in rows


def test_an_error_is_printed_once_and_its_place_is_a_link(database: Database) -> None:
    folder = write_folder(Path("m"), {"001_a.sql": "SELECT 1;\n  SELECT nope;"})
    for columns in (80, 200):
        _, written = run_at_terminal(database.url, folder, columns=columns)
        assert written.count("nope") == 2, "the message and the line of the file"
        assert "m/001_a.sql:2:10: ERROR 42703" in plain(written)
        assert (folder / "001_a.sql").exists()


def test_a_long_line_of_a_file_shows_what_is_near_the_error(database: Database) -> None:
    folder = write_folder(Path("m"), {"001_a.sql": "SELECT " + "'日本', " * 40 + "nope;"})
    _, written = run_at_terminal(database.url, folder, columns=60)
    rows = seen(written, 60)
    [mark] = [row for row in rows if row.strip() == "^"]
    line = rows[rows.index(mark) - 1]
    cells = "".join(sign + "." * (sign in "日本") for sign in line)
    assert cells[len(mark) - 1 :].startswith("nope;")


@pytest.mark.parametrize(
    ("words", "settings", "coloured"),
    [
        pytest.param([], {}, True, id="a terminal"),
        pytest.param([], {"NO_COLOR": "1"}, False, id="NO_COLOR"),
        pytest.param(["--color", "never"], {}, False, id="--color never"),
        pytest.param(["--color=always"], {"NO_COLOR": "1"}, True, id="--color always"),
        pytest.param([], {"TERM": "dumb"}, False, id="a dumb terminal"),
    ],
)
def test_colours_at_a_terminal(
    database: Database, words: list[str], settings: dict[str, str], coloured: bool
) -> None:
    files = {"001_a.sql": "SELECT 1;", "002_b.sql": "SELECT nope;"}
    folder = write_folder(Path("m"), files)
    _, up = run_at_terminal(database.url, folder, "up", *words, settings=settings)
    write_folder(folder, {"001_a.sql": "SELECT 2;"})
    _, status = run_at_terminal(database.url, folder, "status", *words, settings=settings)
    found = {word: f"m{word}\x1b[0m" in up + status for word in WORDS}
    assert found == dict.fromkeys(WORDS, coloured)
    assert ("\x1b[" in up.replace("\x1b[K", "")) is coloured
    assert ("\x1b[K" in up) is (settings.get("TERM") != "dumb")


WORDS = ("applied", "pending", "drifted", "FAILED")


def test_text_in_a_file_fits_80_columns_and_has_no_codes(database: Database) -> None:
    folder = write_folder(Path("m"), FILES)
    for words in (["up"], *COMMANDS):
        result = run_job(database.url, folder, *words, LOG_FORMAT="text", TZ="UTC")
        for text in (result.stderr, result.stdout):
            assert "\x1b" not in text
            assert too_wide(text, 80) == []
            assert not re.search(r"\d:\d\d\.\d|=(False|None|True)|[{}]|\bFalse\b|\bNone\b", text)
    coloured = run_job(database.url, folder, "status", "--color", "always", LOG_FORMAT="text")
    assert "\x1b[32mapplied\x1b[0m" in coloured.stdout


def test_a_text_is_the_same_in_json_whatever_the_terminal_is(database: Database) -> None:
    folder = write_folder(Path("m"), {"001_a.sql": "SELECT nope;"})
    job = Job(database.url, folder, "up", "--color", "always", "--json").result()
    assert "\x1b" not in job.stderr + job.stdout
    assert job.error["message"].startswith("001_a.sql:1:8: ERROR 42703")


def test_how_far_an_index_has_come_is_said_in_words(database: Database) -> None:
    database.query("CREATE TABLE orders (id int)")
    database.query("INSERT INTO orders SELECT n FROM generate_series(1, 50000) AS n")
    database.query(
        "CREATE FUNCTION slow(n int) RETURNS int IMMUTABLE LANGUAGE plpgsql AS "
        "$$ BEGIN IF n % 1000 = 0 THEN PERFORM pg_sleep(0.03); END IF; RETURN n; END $$"
    )
    folder = write_folder(Path("m"), {"001_a.sql": "CREATE INDEX ON orders (slow(id));"})
    settings = {"LOG_FORMAT": "text", "PROGRESS_INTERVAL": "100ms"}
    text = run_job(database.url, folder, "up", **settings).stderr
    line = r"running    building index on orders, \d+ % \([\d,]+ of [\d,]+ blocks\), \d"
    assert re.search(line, text), text


def test_a_wrong_colour_is_refused_with_what_there_is(tmp_path: Path) -> None:
    result = run_job(None, tmp_path, "status", "--color", "alway")
    assert result.code == 2
    assert result.error["message"] == "--color takes auto, always, never; did you mean always?"
