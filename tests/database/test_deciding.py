"""Which format a folder has, where the answers and the log say it, and that nothing flips it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.conftest import Database
from tests.job import Result, run_job

A, B = "CREATE TABLE a ();\n", "CREATE TABLE b ();\n"
DBMATE = f"-- migrate:up\n{A}-- migrate:down\nDROP TABLE a;\n"
LOGGED = """SELECT version, detail->>'format' FROM schema_migrations_log
 WHERE event = 'applied' ORDER BY id"""


def lay_out_files(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


def journal(*tags: str) -> str:
    return json.dumps({"entries": [{"tag": tag, "when": 1} for tag in tags]})


def answer(result: Result) -> str:
    found = json.loads(result.stdout)["format"]
    assert isinstance(found, str)
    return found


@pytest.mark.parametrize("command", ["plan", "status", "report"])
@pytest.mark.parametrize(
    ("files", "form"),
    [
        pytest.param({"001_a.sql": A}, "native", id="our own"),
        pytest.param({"001_a.sql": DBMATE}, "dbmate", id="dbmate"),
    ],
)
def test_the_answers_name_the_format(
    command: str, files: dict[str, str], form: str, database: Database, tmp_path: Path
) -> None:
    folder = lay_out_files(tmp_path / "m", files)
    assert answer(run_job(database.url, folder, command, "--json")) == form
    said = run_job(database.url, folder, command).stdout
    assert ("dbmate" in said) is (form == "dbmate")


def test_the_plan_and_the_log_of_the_history_name_it(database: Database, tmp_path: Path) -> None:
    folder = lay_out_files(tmp_path / "m", {"001_a.sql": DBMATE})
    done = run_job(database.url, folder)
    assert done.of("plan.made")[0]["format"] == "dbmate"
    assert database.query(LOGGED) == [("001_a", "dbmate")]


NATIVE = {"0000_a.sql": A, "0001_b.sql": B}
DECIDED = {
    "a journal of the same files": (NATIVE | {"meta/_journal.json": journal("0000_a", "0001_b")}),
    "a toml beside": NATIVE | {"migration_lock.toml": 'provider = "postgresql"\n'},
    "a heading of node-pg-migrate": NATIVE | {"0000_a.sql": "-- Up Migration\n" + A},
    "a mark of sqlx that changes nothing": NATIVE | {"0000_a.sql": "-- no-transaction\nVACUUM;\n"},
}


@pytest.mark.parametrize("files", DECIDED.values(), ids=DECIDED)
def test_our_own_wins_where_it_makes_the_same(
    files: dict[str, str], database: Database, tmp_path: Path
) -> None:
    folder = lay_out_files(tmp_path / "m", files)
    assert answer(run_job(database.url, folder, "plan", "--json")) == "native"
    done = run_job(database.url, folder)
    assert (done.code, done.applied) == (0, ["0000_a", "0001_b"]), done.stderr


def test_beside_a_journal_the_next_file_is_its_generators(
    database: Database, tmp_path: Path
) -> None:
    files = DECIDED["a journal of the same files"]
    folder = lay_out_files(tmp_path / "m", files)
    made = run_job(database.url, folder, "new", "c")
    assert (made.code, "made by its own generator" in made.stderr) == (2, True)
    assert run_job(database.url, folder, "new", "c", "--folder-format", "native").code == 0


CONFLICTS = {
    "a transaction": (
        {"1_a.sql": f"-- no-transaction\n{A}{B}"},
        ("sqlx", "native"),
        "in a transaction",
    ),
    "the transaction of a pair": (
        {"1_a.up.sql": f"-- no-transaction\n{A}{B}", "1_a.down.sql": "DROP TABLE a, b;"},
        ("sqlx", "golang-migrate"),
        "in a transaction",
    ),
}


@pytest.mark.parametrize(("files", "forms", "what"), CONFLICTS.values(), ids=CONFLICTS)
def test_a_folder_of_two_formats_is_refused_where_they_differ(
    files: dict[str, str],
    forms: tuple[str, str],
    what: str,
    database: Database,
    tmp_path: Path,
) -> None:
    folder = lay_out_files(tmp_path / "m", files)
    done = run_job(database.url, folder)
    assert done.code == 10, done.stderr
    [finding] = done.report["findings"]
    assert what in finding["problem"]
    assert all(f"FOLDER_FORMAT={form}" in finding["remedy"] for form in forms)
    for form in forms:
        assert run_job(database.url, folder, "plan", "--folder-format", form).code == 0


def test_a_file_that_the_journal_lacks_is_not_run_as_our_own(
    database: Database, tmp_path: Path
) -> None:
    files = NATIVE | {"meta/_journal.json": journal("0000_a")}
    done = run_job(database.url, lay_out_files(tmp_path / "m", files))
    assert done.code == 10
    assert database.query("SELECT to_regclass('a')") == [(None,)]


def test_a_folder_whose_format_changes_is_refused(database: Database, tmp_path: Path) -> None:
    folder = lay_out_files(tmp_path / "m", {"20240102000000_b.sql": B})
    assert run_job(database.url, folder).code == 0
    lay_out_files(folder, {"20240103000000_C-c.sql": "SELECT 1;\n"})  # now it looks like Supabase's
    for command in ("up", "plan", "verify", "wait"):
        done = run_job(database.url, folder, command)
        assert done.code == 10, (command, done.stderr)
        assert "read as supabase, and what is applied here was read as native" in done.stderr
    said = run_job(database.url, folder, "status")
    assert (said.code, "10 (SourceError)" in said.stdout) == (0, True)
    assert database.query("SELECT count(*) FROM schema_migrations") == [(1,)]


def test_the_setting_accepts_the_change_and_is_needed_until_something_was_applied(
    database: Database, tmp_path: Path
) -> None:
    folder = lay_out_files(tmp_path / "m", {"20240102000000_b.sql": B})
    assert run_job(database.url, folder).code == 0
    lay_out_files(folder, {"20240103000000_C-c.sql": "SELECT 1;\n"})
    assert run_job(database.url, folder).code == 10
    done = run_job(database.url, folder, "--folder-format", "supabase")
    assert (done.code, done.applied) == (0, ["20240103000000_C-c"]), done.stderr
    assert run_job(database.url, folder).code == 0


def test_what_was_rolled_back_whole_binds_nobody(database: Database, tmp_path: Path) -> None:
    folder = lay_out_files(tmp_path / "m", {"001_a.sql": A, "001_a.down.sql": "DROP TABLE a;"})
    assert run_job(database.url, folder).code == 0
    assert run_job(database.url, folder, "rollback", "--yes").code == 0
    other = lay_out_files(tmp_path / "n", {"001_a.sql": DBMATE})
    done = run_job(database.url, other)
    assert done.code == 0, done.stderr


def test_a_history_of_an_older_release_says_nothing_of_it(
    database: Database, tmp_path: Path
) -> None:
    folder = lay_out_files(tmp_path / "m", {"001_a.sql": DBMATE})
    assert run_job(database.url, folder).code == 0
    database.query("UPDATE schema_migrations_log SET detail = detail - 'format' RETURNING id")
    lay_out_files(folder, {"001_a.down.sql": ""})
    done = run_job(database.url, folder, "plan")
    assert "was read as" not in done.stderr
