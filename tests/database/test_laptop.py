"""`make migrate`, `redo`, `reset` and their kin against a server, with and without a terminal."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from migrator.cli.env_file import PLACE_NAMES
from migrator.commands.table import COMMANDS
from tests.builders import write_folder
from tests.conftest import Database
from tests.laptop import HOW_TO_TYPE
from tests.pages import ROOT
from tests.terminal import at_terminal as run_typing

FILES = {
    "001_one.sql": "CREATE TABLE one (a int);\n",
    "001_one.down.sql": "DROP TABLE one;\n",
    "002_two.sql": "CREATE TABLE two (a int);\n",
    "002_two.down.sql": "DROP TABLE two;\n",
}
NOWHERE = "postgresql://u@db.example.invalid/d"
MAKE = ("make", "--no-print-directory", "--old-file=.venv/.runtime", f"PYTHON={sys.executable}")
HISTORY = "SELECT version, run_id FROM schema_migrations ORDER BY version"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A clone, as far as the program sees it: the job, and migrations/."""
    write_folder(tmp_path / "migrations", FILES)
    (tmp_path / "entrypoint.py").symlink_to(ROOT / "entrypoint.py")
    return tmp_path


def environment(**settings: str) -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if k not in PLACE_NAMES}
    return {**kept, "PYTHONPATH": str(ROOT), **settings}


def run(folder: Path, *words: str, **settings: str) -> subprocess.CompletedProcess[str]:
    """Without a terminal, as in CI."""
    return subprocess.run(
        [sys.executable, "-m", "tests.laptop", *words],
        cwd=folder,
        env=environment(**settings),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def make(*words: str, **settings: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*MAKE, *words],
        cwd=ROOT,
        env=environment(**settings),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def at_terminal(folder: Path, answer: str, *words: str, **settings: str) -> tuple[int, str]:
    """With a terminal at which `answer` is typed."""
    command = [sys.executable, "-m", "tests.laptop", *words]
    return run_typing(command, environment(**settings), answer=answer, cwd=folder)


def test_the_database_of_the_env_file_is_said_and_migrated(
    folder: Path, database: Database
) -> None:
    (folder / ".env").write_text(f"URL={database.url}\nDATABASE_URL=$URL # mine\n")
    done = run(folder, "up", ENV_FILE=".env")
    assert done.returncode == 0, done.stderr
    first = done.stderr.splitlines()[0]
    assert first.startswith("migrate: ")
    assert first.endswith(f"/{database.dbname}, DATABASE_URL of .env")
    assert [version for version, _ in database.query(HISTORY)] == ["001_one", "002_two"]
    status = run(folder, "status", ENV_FILE=".env")
    assert "001_one" in status.stdout


def test_the_environment_wins_over_the_env_file(folder: Path, database: Database) -> None:
    (folder / ".env").write_text(f"DIRECT_URL={NOWHERE}\n")
    done = run(folder, "up", ENV_FILE=".env", DATABASE_URL=database.url)
    assert done.returncode == 0, done.stderr
    assert "DATABASE_URL of the environment" in done.stderr.splitlines()[0]


def test_a_remote_host_of_a_file_is_refused_where_nobody_can_be_asked(folder: Path) -> None:
    (folder / ".env").write_text(f"DATABASE_URL={NOWHERE}\n")
    done = run(folder, "up", ENV_FILE=".env")
    assert done.returncode == 2
    assert "make up YES=1" not in done.stderr
    assert "make migrate YES=1" in done.stderr
    assert "run.started" not in done.stderr


def test_a_no_at_the_terminal_runs_nothing(folder: Path) -> None:
    code, said = at_terminal(folder, "n", "up", DATABASE_URL=NOWHERE)
    assert code == 23
    assert "That host is not this machine. Go on? [y/N]" in said
    assert "Nothing was done." in said


def test_a_yes_at_the_terminal_goes_on(folder: Path) -> None:
    code, said = at_terminal(
        folder, "y", "up", DATABASE_URL=NOWHERE, CONNECT_TIMEOUT="1s", LOG_FORMAT="json"
    )
    assert code == 20, said
    assert "run.started" in said


@pytest.mark.parametrize("command", ["redo", "reset"])
def test_what_takes_away_refuses_a_remote_host(folder: Path, command: str) -> None:
    done = run(folder, command, DATABASE_URL=NOWHERE, YES="1")
    assert done.returncode == 2
    assert "not loopback" in done.stderr


def test_a_remedy_is_typed_as_the_line_below_it_says(folder: Path, database: Database) -> None:
    assert run(folder, "up", DATABASE_URL=database.url).returncode == 0
    (folder / "migrations" / "001_one.sql").write_text("CREATE TABLE one (a int); -- number one\n")
    drifted = run(folder, "up", DATABASE_URL=database.url)
    assert drifted.returncode == 11
    assert "`repair --accept-checksum 001_one --reason WHY`" in drifted.stderr
    assert drifted.stderr.endswith(f"{HOW_TO_TYPE}\n")
    words = "ARGS=--accept-checksum 001_one --reason 'a comment'"
    settings = {"DATABASE_URL": database.url, "MIGRATIONS_DIR": str(folder / "migrations")}
    accepted = make("repair", words, **settings)
    assert accepted.returncode == 0, accepted.stderr
    again = make("migrate", **settings)
    assert again.returncode == 0
    assert HOW_TO_TYPE not in again.stderr


def test_baseline_compares_on_a_server_of_its_own_where_none_is_named(
    folder: Path, database: Database
) -> None:
    database.query((folder / "migrations" / "001_one.sql").read_text())
    refused = run(folder, "up", DATABASE_URL=database.url)
    assert (refused.returncode, "`baseline --at VERSION --check`" in refused.stderr) == (15, True)
    words = ("baseline", "--at", "001_one", "--check")
    done = run(folder, *words, DATABASE_URL=database.url)
    assert done.returncode == 0, done.stderr
    assert [version for version, _ in database.query(HISTORY)] == ["001_one"]
    assert run(folder, "up", DATABASE_URL=database.url).returncode == 0


def test_what_files_make_is_compared_and_written_on_a_server_of_its_own(
    folder: Path, database: Database
) -> None:
    assert run(folder, "up", DATABASE_URL=database.url).returncode == 0
    assert run(folder, "verify", "--schema", DATABASE_URL=database.url).returncode == 0
    database.query("DROP TABLE two")
    done = run(folder, "verify", "--schema", DATABASE_URL=database.url)
    assert (done.returncode, "table public.two is there by the files" in done.stderr) == (11, True)
    done = run(folder, "dump")
    written = (folder / "schema.sql").exists()
    assert written or "or newer is needed" in done.stderr, done.stderr
    assert done.returncode == (0 if written else 2)


def test_every_command_that_a_remedy_names_is_a_target() -> None:
    makefile = (ROOT / "Makefile").read_text()
    targets = set(re.findall(r"^([a-z]+):.*## ", makefile, re.MULTILINE))
    assert set(COMMANDS) - targets == {"wait", "fleet", "dump"}
    assert "schema" in targets  # what `dump` writes


def test_new_renumbers_by_its_words_alone(folder: Path) -> None:
    done = make("new", "ARGS=--renumber 001", MIGRATIONS_DIR=str(folder / "migrations"))
    assert done.returncode == 0, done.stderr
    assert (folder / "migrations" / "003_one.sql").exists()
    nameless = make("new", MIGRATIONS_DIR=str(folder / "migrations"))
    assert "say NAME='add orders'" in nameless.stderr


def test_redo_undoes_the_last_run_and_applies_again(folder: Path, database: Database) -> None:
    first = run(folder, "up", DATABASE_URL=database.url)
    assert first.returncode == 0, first.stderr
    before = database.query(HISTORY)
    database.query("INSERT INTO two VALUES (1)")
    assert run(folder, "redo", DATABASE_URL=database.url).returncode == 2, "nobody to ask"
    code, said = at_terminal(folder, "no", "redo", DATABASE_URL=database.url)
    assert code == 23, said
    assert database.query(HISTORY) == before
    code, said = at_terminal(folder, "y", "redo", DATABASE_URL=database.url)
    assert code == 0, said
    assert "DROP TABLE two" in said, "what would be undone is shown"
    after = database.query(HISTORY)
    assert [version for version, _ in after] == [version for version, _ in before]
    assert {run_id for _, run_id in after}.isdisjoint({run_id for _, run_id in before})
    assert database.query("SELECT count(*) FROM two") == [(0,)]


@pytest.mark.parametrize("command", ["up", "redo"])
def test_what_it_is_about_is_said_once(folder: Path, database: Database, command: str) -> None:
    assert run(folder, "up", DATABASE_URL=database.url).returncode == 0
    _, said = at_terminal(folder, "no", command, DATABASE_URL=database.url)
    assert said.count(f"/{database.dbname}, DATABASE_URL of the environment") == 1
    assert said.count("  started    migrator ") == (command == "up")
    assert said.count("  connected  ") == (command == "up")


def test_redo_goes_as_far_back_as_it_is_given(folder: Path, database: Database) -> None:
    assert run(folder, "up", DATABASE_URL=database.url).returncode == 0
    before = dict(database.query(HISTORY))
    done = run(folder, "redo", "--to", "001_one", DATABASE_URL=database.url, YES="1")
    assert done.returncode == 0, done.stderr
    after = dict(database.query(HISTORY))
    assert after["001_one"] == before["001_one"]
    assert after["002_two"] != before["002_two"]


def test_reset_makes_the_database_anew_as_it_was(folder: Path, database: Database) -> None:
    about = """
        SELECT pg_get_userbyid(datdba), encoding, datcollate, datctype
        FROM pg_database WHERE datname = current_database()
    """
    assert run(folder, "up", DATABASE_URL=database.url).returncode == 0
    database.query("CREATE TABLE left_over (a int)")
    before = database.query(about)
    code, said = at_terminal(folder, "y", "reset", DATABASE_URL=database.url)
    assert code == 23, said
    assert database.query("SELECT count(*) FROM left_over") == [(0,)]
    session = database.connect()  # that of an application does not hold it up
    code, said = at_terminal(folder, database.dbname, "reset", DATABASE_URL=database.url)
    assert code == 0, said
    assert f"{database.dbname} holds 5 tables" in said
    session.close()
    assert database.query("SELECT to_regclass('left_over'), to_regclass('one')") == [(None, "one")]
    assert database.query(about) == before
    assert database.query("SELECT count(*) FROM pg_database WHERE datname LIKE 'reset%'") == [(0,)]


def test_reset_leaves_a_database_that_it_may_not_create(folder: Path, database: Database) -> None:
    database.query(f"CREATE ROLE {database.dbname} LOGIN PASSWORD 'p'")
    try:
        login = database.as_user(database.dbname, "p")
        done = run(folder, "reset", DATABASE_URL=login.url, YES="1")
        assert done.returncode == 2
        assert "permission denied to create database" in done.stderr
        assert database.query("SELECT 1") == [(1,)]
    finally:
        database.query(f"DROP ROLE {database.dbname}")


def test_reset_is_not_for_a_supabase_stack(folder: Path, database: Database) -> None:
    database.query("CREATE SCHEMA auth; CREATE SCHEMA storage")
    done = run(folder, "reset", DATABASE_URL=database.url, YES="1")
    assert done.returncode == 2
    assert "supabase db reset" in done.stderr
    assert database.query("SELECT to_regnamespace('auth') IS NOT NULL") == [(True,)]


def test_new_makes_its_files_where_the_env_file_says(folder: Path) -> None:
    (folder / ".env").write_text(f"MIGRATIONS_DIR={folder}/elsewhere\n")
    done = subprocess.run(
        [*MAKE, "new", "NAME=it's", f"ENV_FILE={folder}/.env"],
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "it's cannot be a migration's name" in done.stderr
    named = subprocess.run(
        [*MAKE, "new", "NAME=first one", f"ENV_FILE={folder}/.env"],
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert named.returncode == 0, named.stderr
    assert (folder / "elsewhere" / "001_first_one.sql").exists()


def test_no_password_is_said(folder: Path) -> None:
    url = "postgresql://u:s3cret@db.example.invalid/d"
    (folder / ".env").write_text(f"DATABASE_URL={url}\n")
    done = run(folder, "up", ENV_FILE=".env")
    assert "db.example.invalid" in done.stderr
    assert "s3cret" not in done.stdout + done.stderr


def test_a_name_may_have_blanks(folder: Path) -> None:
    done = subprocess.run(
        [*MAKE, "new", "NAME=add new-orders"],
        cwd=ROOT,
        env={**os.environ, "MIGRATIONS_DIR": str(folder / "migrations")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert (folder / "migrations" / "003_add_new_orders.down.sql").exists()
