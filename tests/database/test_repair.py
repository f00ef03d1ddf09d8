"""`repair` on a real server: what a person knows is recorded, and nothing of the log is lost."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.builders import write_folder
from tests.conftest import Database, MakePgBouncer
from tests.job import Result, run_job

FILES = {"001_a.sql": "CREATE TABLE a ();", "002_b.sql": "CREATE TABLE b ();"}
BROKEN = "-- migrator: no-transaction\nCREATE TABLE c ();\nSELECT 1/0;\n"
VERSIONS = "SELECT version FROM schema_migrations ORDER BY version"
LOG = "SELECT event, detail FROM schema_migrations_log WHERE event = 'repaired' ORDER BY id"


def repair(database: Database, folder: Path, *words: str, reason: str = "seen by eye") -> Result:
    return run_job(database.url, folder, "repair", *words, "--reason", reason)


def test_what_a_person_has_run_by_hand_is_recorded_and_never_run(
    database: Database, tmp_path: Path
) -> None:
    """Also in a database that has no history yet."""
    folder = write_folder(tmp_path, FILES)
    database.query("CREATE TABLE b ()")
    result = repair(database, folder, "--applied", "002_b")
    assert result.code == 0, result.stderr
    assert result.stdout == (
        "assumed: all of 002_b has taken effect; it is recorded as applied and never run\n"
    )
    [told] = result.of("repair.assuming")
    assert (told["version"], told["answer"], told["why"]) == ("002_b", "applied", "seen by eye")
    assert run_job(database.url, folder, "up", "--on-late", "apply").applied == ["001_a"]
    assert run_job(database.url, folder, "verify").code == 0
    [(_, detail)] = database.query(LOG)
    assert (detail["answer"], detail["reason"]) == ("applied", "seen by eye")


def test_what_a_person_has_taken_back_is_run_again(database: Database, tmp_path: Path) -> None:
    folder = write_folder(tmp_path, FILES)
    assert run_job(database.url, folder).code == 0
    lines = "SELECT count(*) FROM schema_migrations_log"
    [(before,)] = database.query(lines)
    database.query("DROP TABLE b")
    assert repair(database, folder, "--not-applied", "002_b").code == 0
    assert database.query(VERSIONS) == [("001_a",)]
    assert database.query(lines) == [(before + 1,)]
    assert run_job(database.url, folder).applied == ["002_b"]


def test_a_dirty_migration_can_be_begun_anew(database: Database, tmp_path: Path) -> None:
    folder = write_folder(tmp_path, {"001_c.sql": BROKEN})
    assert run_job(database.url, folder).code == 15
    database.query("DROP TABLE c")
    assert repair(database, folder, "--not-applied", "001_c").code == 0
    [shown] = json.loads(run_job(database.url, folder, "status", "--json").stdout)["migrations"]
    assert shown["state"] == "pending"
    write_folder(folder, {"001_c.sql": BROKEN.replace("1/0", "1")})
    assert run_job(database.url, folder).code == 0
    assert database.query("SELECT to_regclass('c')::text") == [("c",)]


def test_an_answer_goes_through_a_pooler_in_transaction_mode(
    database: Database, pgbouncer: MakePgBouncer, tmp_path: Path
) -> None:
    folder = write_folder(tmp_path, FILES)
    pooler = pgbouncer(database, pool_mode="transaction", pool_size=1)
    assert run_job(database.url, folder).code == 0
    words = ("repair", "--not-applied", "002_b", "--reason", "dropped")
    assert run_job(pooler.url(database.dbname), folder, *words).code == 0
    assert database.query(VERSIONS) == [("001_a",)]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--applied", "001_a"], "001_a is not a pending migration of this folder"),
        (["--applied", "009_z"], "009_z is not a pending migration of this folder"),
        (["--not-applied", "009_z"], "009_z is neither applied nor begun"),
        (["--done", "001_a"], "no statement of 001_a was interrupted"),
        (["--retry", "009_z"], "no statement of 009_z was interrupted"),
        ([], "`repair` takes one answer and a reason"),
        (["--done", "001_a", "--retry", "001_a"], "`repair` takes one answer and a reason"),
    ],
)
def test_an_answer_that_fits_nothing_changes_nothing(
    database: Database, tmp_path: Path, words: list[str], message: str
) -> None:
    folder = write_folder(tmp_path, FILES)
    assert run_job(database.url, folder).code == 0
    result = repair(database, folder, *words)
    assert (result.code, result.error["message"]) == (2, message)
    assert database.query(VERSIONS) == [("001_a",), ("002_b",)]
    assert database.query(LOG) == []


@pytest.mark.parametrize("reason", ["", " "])
def test_an_answer_needs_a_reason(database: Database, tmp_path: Path, reason: str) -> None:
    folder = write_folder(tmp_path, FILES)
    assert repair(database, folder, "--applied", "001_a", reason=reason).code == 2
