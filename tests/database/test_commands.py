"""The commands beside `up`: what they answer, and that they change nothing."""

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

TWO = {
    "001_a.sql": "CREATE TABLE a (id int);",
    "001_a.down.sql": "DROP TABLE a;",
    "002_b.sql": "SELECT 1; SELECT 2;",
}
TABLES = (
    "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'"
)


def test_status_shows_every_migration_and_its_state(database: Database, tmp_path: Path) -> None:
    folder = write_folder(tmp_path, TWO)
    assert run_job(database.url, folder).code == 0
    (folder / "001_a.sql").write_text("CREATE TABLE a (id bigint);")
    (folder / "002_b.sql").unlink()
    write_folder(folder, {"003_c.sql": "SELECT 3;"})
    result = run_job(database.url, folder, "status", "--json")
    assert result.code == 0
    answer = json.loads(result.stdout)
    states = {row["version"]: row["state"] for row in answer["migrations"]}
    assert states == {"001_a": "drifted", "002_b": "missing", "003_c": "pending"}
    text = run_job(database.url, folder, "status").stdout
    rows = text.partition("\nversion ")[2].splitlines()[1:4]
    assert [line.split()[:2] for line in rows] == [
        ["001_a", "drifted"],
        ["002_b", "missing"],
        ["003_c", "pending"],
    ]
    assert "Restore it from version control" in text


def test_status_shows_what_the_policies_forbid(database: Database, tmp_path: Path) -> None:
    """It is the command that one looks with, so nothing that it finds makes it fail."""
    folder = write_folder(tmp_path, TWO)
    assert run_job(database.url, folder).code == 0
    (folder / "001_a.sql").write_text("changed")
    result = run_job(database.url, folder, "status", "--json")
    assert (result.code, len(json.loads(result.stdout)["findings"])) == (0, 1)


@pytest.mark.parametrize("command", ["status", "plan", "verify"])
def test_looking_changes_nothing(database: Database, tmp_path: Path, command: str) -> None:
    code = run_job(database.url, write_folder(tmp_path, TWO), command).code
    assert code == (24 if command == "verify" else 0)
    assert database.query(TABLES) == []


def test_plan_shows_what_up_would_do(database: Database, tmp_path: Path) -> None:
    folder = write_folder(tmp_path, TWO)
    answer = json.loads(run_job(database.url, folder, "plan", "--json").stdout)
    usual = {"transaction": True, "repeatable": False, "requires": [], "locks": None}
    assert answer["would_apply"] == [
        {"version": version, "file": f"{version}.sql", "statements": count, "undo": undo, **usual}
        for version, count, undo in (("001_a", 1, True), ("002_b", 2, False))
    ]
    assert run_job(database.url, folder).code == 0
    assert run_job(database.url, folder, "plan").stdout == "nothing to do\n"


def test_plan_fails_where_up_would(database: Database, tmp_path: Path) -> None:
    folder = write_folder(tmp_path, {"001_a.sql": "VACUUM; SELECT 1;"})
    assert run_job(database.url, folder, "plan").code == 10


def test_verify_tells_pending_from_drift_from_all_well(database: Database, tmp_path: Path) -> None:
    folder = write_folder(tmp_path, TWO)
    pending = run_job(database.url, folder, "verify")
    assert (pending.code, pending.error["message"]) == (24, "pending: 001_a, 002_b")
    assert run_job(database.url, folder).code == 0
    assert run_job(database.url, folder, "verify").code == 0
    (folder / "001_a.sql").write_text("changed")
    assert run_job(database.url, folder, "verify").code == 11


def test_verify_is_strict_whatever_the_policies_let_pass(
    database: Database, tmp_path: Path
) -> None:
    folder = write_folder(tmp_path, {"001_a.sql": "SELECT 1", "003_c.sql": "SELECT 3"})
    assert run_job(database.url, folder).code == 0
    write_folder(folder, {"002_b.sql": "SELECT 2"})
    assert run_job(database.url, folder, "verify", ON_LATE="skip").code == 24
    (folder / "002_b.sql").unlink()
    (folder / "001_a.sql").write_text("changed")
    assert run_job(database.url, folder, "verify", ON_DRIFT="warn").code == 11


def test_json_is_answered_to_a_command_line_that_cannot_be_read(tmp_path: Path) -> None:
    answer = json.loads(run_job(None, tmp_path, "status", "too", "many", "--json").stdout)
    assert answer["exit_code"] == 2


def test_new_makes_a_repeatable(tmp_path: Path) -> None:
    made = run_job(None, tmp_path, "new", "--repeatable", "order_totals")
    file = tmp_path / "R__order_totals.sql"
    assert (made.code, made.stdout) == (0, f"{file}\n")
    assert made.report["outcome"] == "1 file created"
    assert [path.name for path in tmp_path.iterdir()] == [file.name]
    assert run_job(None, tmp_path, "new", "order_totals", "--repeatable").code == 2
    assert run_job(None, tmp_path, "new", "orders").stdout.split()[0] == str(
        tmp_path / "001_orders.sql"
    )
    refused = run_job(None, tmp_path, "new", "--renumber", "R__order_totals")
    assert (refused.code, file.exists()) == (2, True)


def test_new_says_why_a_file_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert run_job(None, tmp_path / "file", "new", "a").code == 2
    assert run_job(None, tmp_path, "new", "a" * 300).code == 2


def test_json_answers_of_every_command_carry_the_report(database: Database, tmp_path: Path) -> None:
    folder = write_folder(tmp_path, TWO)
    for command, code in (("verify", 24), ("up", 0), ("status", 0), ("plan", 0), ("wait", 0)):
        result = run_job(database.url, folder, command, "--json")
        answer = json.loads(result.stdout)
        assert (result.code, answer["exit_code"], answer["command"]) == (code, code, command)
        assert answer["run_id"] == result.report["run_id"]


def test_history_shows_who_did_what_and_how_long_it_took(
    database: Database, tmp_path: Path
) -> None:
    folder = write_folder(tmp_path, TWO)
    assert run_job(database.url, folder, "history").stdout == "nothing is recorded yet\n"
    assert run_job(database.url, folder).code == 0
    write_folder(folder, {"003_c.sql": "SELECT 1/0;"})
    failed = run_job(database.url, folder)
    assert failed.code == 15
    log = json.loads(run_job(database.url, folder, "history", "--json").stdout)["log"]
    assert [(line["event"], line["version"]) for line in log] == [
        ("history.prepared", None),
        ("applied", "001_a"),
        ("applied", "002_b"),
        ("failed", "003_c"),
    ]
    assert {line["runner"] for line in log} == {"migrator/tester"}
    assert log[1]["execution_time_ms"] >= 0
    assert log[3]["run_id"] == failed.report["run_id"]
    assert log[3]["detail"]["message"] == "division by zero"
    text = run_job(database.url, folder, "history", "--limit", "1").stdout
    assert "003_c" in text
    assert "message division by zero" in text
    assert "002_b" not in text


def test_a_number_of_lines_must_be_one(database: Database, tmp_path: Path) -> None:
    result = run_job(database.url, tmp_path, "history", "--limit", "x")
    assert (result.code, result.error["message"]) == (2, "--limit takes a number above 0")


def test_a_log_that_a_role_may_not_see_is_not_empty(database: Database, tmp_path: Path) -> None:
    folder = write_folder(tmp_path, TWO)
    database.query("DROP ROLE IF EXISTS reader")
    database.query("CREATE ROLE reader LOGIN PASSWORD 'x'")
    try:
        assert run_job(database.url, folder, HISTORY_READERS="reader").code == 0
        reader = database.as_user("reader", "x").url
        assert run_job(reader, folder, "status").code == 0
        denied = run_job(reader, folder, "history")
        database.query("GRANT SELECT ON schema_migrations_log TO reader")
        blind = run_job(reader, folder, "history")
    finally:
        database.query("DROP OWNED BY reader; DROP ROLE reader")
    assert (denied.code, blind.code) == (16, 16)
    assert "permission denied" in denied.error["message"]
    assert "does not see all rows" in blind.error["message"]


def test_renumber_gives_a_late_file_and_its_undo_the_next_number(tmp_path: Path) -> None:
    files = {"001_a.sql": "A", "001_a.down.sql": "a", "002_b.sql": "B", "007_c.sql": "C"}
    folder = write_folder(tmp_path, files)
    result = run_job(None, folder, "new", "--renumber", "001_a")
    assert (result.code, result.report["outcome"]) == (0, "001_a is now 008_a")
    found = {path.name: path.read_text() for path in folder.iterdir()}
    wanted = {"008_a.sql": "A", "008_a.down.sql": "a", "002_b.sql": "B", "007_c.sql": "C"}
    assert found == wanted
    assert run_job(None, folder, "new", "--renumber", "2").code == 0
    assert (folder / "009_b.sql").read_text() == "B"
    missing = run_job(None, folder, "new", "--renumber", "003_x")
    assert (missing.code, "there is no 003_x" in missing.error["message"]) == (2, True)


def test_renumber_says_what_a_database_needs_that_has_the_file(
    database: Database, tmp_path: Path
) -> None:
    """The name that it has there is missing from now on, until the command that is named."""
    folder = write_folder(tmp_path, TWO)
    assert run_job(database.url, folder).code == 0
    done = run_job(database.url, folder, "new", "--renumber", "1")
    [warning] = [line for line in done.lines if line["event"] == "plan.warning"]
    assert (done.code, warning["problem"]) == (0, "the database has it applied as 001_a")
    assert "`repair --rename 001_a 003_a --reason WHY`" in warning["remedy"]
    assert run_job(database.url, folder).code == 12
    words = ("repair", "--rename", "001_a", "003_a", "--reason", "two branches took 001")
    assert run_job(database.url, folder, *words).code == 0
    assert run_job(database.url, folder, "verify").code == 0
    write_folder(tmp_path, {"000_late.sql": "SELECT 1"})
    done = run_job(database.url, folder, "new", "--renumber", "000_late")
    assert (done.code, done.events.count("plan.warning")) == (0, 0)


@pytest.mark.parametrize("url", [None, "postgresql://u:s3cret@127.0.0.1:1/d"])
def test_renumber_says_when_it_cannot_see_what_is_applied(url: str | None, tmp_path: Path) -> None:
    folder = write_folder(tmp_path, TWO)
    result = run_job(url, folder, "new", "--renumber", "1", CONNECT_TIMEOUT="200ms")
    [warning] = [line for line in result.lines if line["event"] == "plan.warning"]
    assert (result.code, "whether it is applied was not seen" in warning["problem"]) == (0, True)
    assert "s3cret" not in result.stderr


def test_renumber_parts_two_files_that_have_one_number(tmp_path: Path) -> None:
    """As two branches leave them, when the one is merged into the other."""
    folder = write_folder(tmp_path, {"001_a.sql": "A", "002_b.sql": "B", "002_c.sql": "C"})
    assert run_job(None, folder, "verify", "--base", "x").code == 10
    several = run_job(None, folder, "new", "--renumber", "2")
    assert (several.code, "002_b, 002_c" in several.error["message"]) == (2, True)
    assert run_job(None, folder, "new", "--renumber", "002_b").code == 0
    assert sorted(path.name for path in folder.iterdir()) == [
        *("001_a.sql", "002_c.sql", "003_b.sql")
    ]


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A git repository whose branch `base` has 001 and 003 in db/migrations."""
    folder = write_folder(tmp_path / "db" / "migrations", {"001_a.sql": "", "003_c.sql": ""})

    def git(*words: str) -> None:
        identity = ["-c", "user.name=a", "-c", "user.email=a@example.com"]
        subprocess.run(["git", *identity, *words], cwd=tmp_path, check=True, capture_output=True)

    git("init", "--initial-branch", "base")
    git("add", ".")
    git("commit", "--message", "base")
    git("checkout", "-b", "work")
    return folder


def test_verify_tells_a_pull_request_offline_that_its_file_is_late(repository: Path) -> None:
    write_folder(repository, {"004_d.sql": ""})
    assert run_job(None, repository, "verify", "--base", "base").code == 0
    write_folder(repository, {"002_b.sql": ""})
    result = run_job(None, repository, "verify", "--base", "base")
    assert (result.code, result.error["type"]) == (13, "LateError")
    assert [finding["file"] for finding in result.report["findings"]] == ["002_b.sql"]
    assert run_job(None, repository, "new", "--renumber", "002_b").code == 0
    assert run_job(None, repository, "verify", "--base", "base").code == 0


@pytest.mark.parametrize("base", ["nowhere", "base:db", "-x"])
def test_a_revision_that_git_does_not_know_is_refused(repository: Path, base: str) -> None:
    result = run_job(None, repository, "verify", f"--base={base}")
    assert (result.code, result.error["type"]) == (2, "ConfigError")
    assert base in result.error["message"]


def test_a_folder_without_git_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_folder(tmp_path, TWO)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert "not a git repository" in run_job(None, folder, "verify", "--base=x").error["message"]
    monkeypatch.setenv("PATH", "/nowhere")
    assert "git cannot be run" in run_job(None, folder, "verify", "--base=x").error["message"]


def test_new_makes_the_next_file_and_its_undo(tmp_path: Path) -> None:
    folder = tmp_path / "fresh"
    first = run_job(None, folder, "new", "create_orders")
    assert first.stdout.split() == [
        str(folder / "001_create_orders.sql"),
        str(folder / "001_create_orders.down.sql"),
    ]
    second = run_job(None, folder, "new", "more", "--json")
    created = json.loads(second.stdout)["created"]
    assert created[0] == str(folder / "002_more.sql")
    assert (folder / "002_more.down.sql").exists()


def test_new_goes_on_with_timestamps_where_the_folder_has_them(tmp_path: Path) -> None:
    folder = write_folder(tmp_path, {"20240101120000_a.sql": "SELECT 1;"})
    created = run_job(None, folder, "new", "b").stdout.split()[0]
    number = Path(created).name.partition("_")[0]
    assert len(number) == 14
    assert number > "20240101120000"


def test_new_refuses_a_name_that_no_migration_may_have(tmp_path: Path) -> None:
    assert run_job(None, tmp_path, "new", "Add Orders!").code == 2
    assert run_job(None, tmp_path, "new").code == 2


def test_the_termination_log_is_written_on_success_and_on_failure(
    database: Database, tmp_path: Path
) -> None:
    log = tmp_path / "termination-log"
    log.touch()
    folder = write_folder(tmp_path / "m", TWO)
    assert run_job(database.url, folder, TERMINATION_LOG=str(log)).code == 0
    told = json.loads(log.read_text())
    assert (told["exit_code"], told["outcome"]) == (0, "2 applied")
    long = "SELECT '" + "é" * 20_000 + "' :: nope;"
    write_folder(folder, {"003_c.sql": long})
    assert run_job(database.url, folder, TERMINATION_LOG=str(log)).code == 15
    assert len(log.read_bytes()) <= 4096
    told = json.loads(log.read_text())
    assert (told["exit_code"], told["error"]["version"]) == (15, "003_c")
    assert "was rolled back" in told["outcome"]


def test_text_is_aligned_and_ends_with_what_to_do(database: Database, tmp_path: Path) -> None:
    folder = write_folder(tmp_path, {**TWO, "003_c.sql": "SELECT 1;\n  SELECT nope;\n"})
    text = run_job(database.url, folder, "up", "--log-format", "text").stderr
    assert "    \u0020 SELECT nope;\n             ^\n" in text
    assert "FAILED (StatementError, exit code 15)\n" in text
    assert f"{folder}/003_c.sql:2:10: ERROR 42703" in " ".join(text.split())
    outcome = "database: 003_c was rolled back; applied by this run and committed: 001_a, 002_b"
    assert outcome in " ".join(text.split())
    assert "what to do: " in text


def test_a_bug_of_ours_is_1_with_a_traceback(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError("oops")

    monkeypatch.setattr("migrator.apply.run.make_plan", broken)
    result = run_job(database.url, write_folder(tmp_path, TWO))
    assert (result.code, result.error["type"]) == (1, "ZeroDivisionError")
    assert "test_commands.py" in result.error["traceback"]


@pytest.mark.parametrize(
    ("command", "code"), [("up", 0), ("status", 0), ("verify", 10), ("wait", 10)]
)
def test_an_empty_folder_is_warned_about_and_passes_no_gate(
    database: Database, tmp_path: Path, command: str, code: int
) -> None:
    result = run_job(database.url, tmp_path, command)
    assert (result.code, len(result.of("source.empty"))) == (code, 1)


def test_new_says_what_it_made(tmp_path: Path) -> None:
    assert run_job(None, tmp_path, "new", "a").report["outcome"] == "2 files created"


def test_a_url_on_the_command_line_is_told_where_it_belongs(tmp_path: Path) -> None:
    for words in (("postgres://u:hush@h/d",), ("up", "--database-url", "postgres://u:hush@h/d")):
        result = run_job(None, tmp_path, *words)
        assert (result.code, "DATABASE_URL" in result.error["remedy"]) == (2, True)
        assert "hush" not in result.stderr


def test_a_right_that_is_missing_is_told_as_a_grant(supabase: Database, tmp_path: Path) -> None:
    supabase.as_superuser().query("ALTER SCHEMA public OWNER TO supabase_admin")
    supabase.as_superuser().query("REVOKE CREATE ON SCHEMA public FROM postgres, PUBLIC")
    result = run_job(supabase.url, write_folder(tmp_path, TWO))
    assert result.code == 16
    assert 'GRANT USAGE, CREATE ON SCHEMA "public" TO "postgres";' in result.error["remedy"]


def test_a_run_with_nothing_to_do_reads_nothing_that_it_does_not_need(
    database: Database, tmp_path: Path
) -> None:
    """No other command, no help, no text or colours, no scanner: each would be paid each time."""
    folder = write_folder(tmp_path, TWO)
    assert run_job(database.url, folder).code == 0
    script = (
        "import sys\nfrom migrator.cli.main import main\ncode = main(['up'])\n"
        "rooms = ('migrator.cli', 'migrator.commands', 'migrator.sql')\n"
        "print(code, *sorted(m for m in sys.modules if m.startswith(rooms)))"
    )
    settings = {"DATABASE_URL": database.url, "MIGRATIONS_DIR": str(folder)}
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), **settings},
        capture_output=True,
        text=True,
        check=False,
    )
    needed = {
        "cli": ("doors", "json_lines", "logs", "main", "result", "small_files", "words"),
        "commands": ("source", "table", "up"),
        "sql": ("script", "text"),
    }
    names = [f"migrator.{room}.{file}" for room, files in needed.items() for file in files]
    names += [f"migrator.{room}" for room in needed]
    assert done.stdout.split() == ["0", *sorted(names)], done.stderr
