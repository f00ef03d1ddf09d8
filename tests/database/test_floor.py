"""A floor: images that do not hold such a migration are refused, whatever the policies say."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.builders import write_folder
from tests.conftest import Database
from tests.job import run_job

OLD = {"001_a.sql": "CREATE TABLE a ();"}
FLOORED = {**OLD, "002_b.sql": "-- migrator: floor\nCREATE TABLE b ();"}
ALONE = "-- migrator: floor\n-- migrator: no-transaction\nVACUUM a;"
NEW = {**FLOORED, "003_c.sql": "CREATE TABLE c ();"}
FLOORS = "SELECT version FROM schema_migrations WHERE floor ORDER BY version"


def test_an_image_below_a_floor_is_refused_and_told_which_it_must_be(
    database: Database, tmp_path: Path
) -> None:
    old = write_folder(tmp_path / "old", OLD)
    run = run_job(database.url, write_folder(tmp_path / "new", NEW))
    assert run.code == 0
    assert database.query(FLOORS) == [("002_b",)]
    for policy in ({}, {"ON_MISSING": "warn"}):
        for command in ("up", "plan", "verify"):
            result = run_job(database.url, old, command, **policy)
            assert (result.code, result.error["type"]) == (12, "MissingError")
            assert result.error["message"].startswith(
                "this image is too old for the database, which needs at least one that holds 002_b"
            )
    [finding, other] = run_job(database.url, old, "status").report["findings"]
    assert (finding["file"], other["file"]) == ("002_b", "003_c")
    assert run.report["run_id"] in finding["problem"]
    assert "applied 20" in finding["problem"]


def test_an_image_that_holds_the_floor_may_be_older_than_the_database(
    database: Database, tmp_path: Path
) -> None:
    assert run_job(database.url, write_folder(tmp_path / "new", NEW)).code == 0
    floored = write_folder(tmp_path / "floored", FLOORED)
    result = run_job(database.url, floored)
    assert (result.code, [line["file"] for line in result.of("plan.warning")]) == (0, ["003_c"])


def test_an_application_of_an_older_image_does_not_wait_for_ever(
    database: Database, tmp_path: Path
) -> None:
    """Its initContainer ends with 12, so that it does not start."""
    assert run_job(database.url, write_folder(tmp_path / "new", NEW)).code == 0
    result = run_job(database.url, write_folder(tmp_path / "old", OLD), "wait")
    assert (result.code, result.error["type"]) == (12, "MissingError")
    floored = write_folder(tmp_path / "floored", FLOORED)
    assert run_job(database.url, floored, "wait").code == 0


def test_a_no_transaction_file_may_set_a_floor(database: Database, tmp_path: Path) -> None:
    files = {**OLD, "002_b.sql": ALONE}
    assert run_job(database.url, write_folder(tmp_path / "new", files)).code == 0
    assert database.query(FLOORS) == [("002_b",)]
    assert run_job(database.url, write_folder(tmp_path / "old", OLD)).code == 12


def test_what_a_person_has_applied_by_hand_may_set_a_floor(
    database: Database, tmp_path: Path
) -> None:
    folder = write_folder(tmp_path, {"001_a.sql": "-- migrator: floor\n\\i other.sql\n"})
    words = ("repair", "--applied", "001_a", "--reason", "with psql")
    assert run_job(database.url, folder, *words).code == 0
    assert database.query(FLOORS) == [("001_a",)]


def test_an_accepted_change_sets_a_floor_or_takes_it_back(
    database: Database, tmp_path: Path
) -> None:
    folder = write_folder(tmp_path, OLD)
    assert run_job(database.url, folder).code == 0
    for head, floors in (("-- migrator: floor\n", [("001_a",)]), ("", [])):
        write_folder(folder, {"001_a.sql": head + OLD["001_a.sql"]})
        words = ("repair", "--accept-checksum", "001_a", "--reason", "older code cannot run on it")
        assert run_job(database.url, folder, *words).code == 0
        assert database.query(FLOORS) == floors


@pytest.mark.parametrize("by", ["owner", "reader"])
def test_a_history_from_before_floors_is_read_and_completed(
    database: Database, tmp_path: Path, by: str
) -> None:
    old = write_folder(tmp_path / "old", OLD)
    database.query("DROP ROLE IF EXISTS reader")
    database.query("CREATE ROLE reader LOGIN PASSWORD 'x'")
    who = database if by == "owner" else database.as_user("reader", "x")
    try:
        assert run_job(database.url, old, HISTORY_READERS="reader").code == 0
        database.query("ALTER TABLE schema_migrations DROP COLUMN floor")
        assert run_job(who.url, old, "verify").code == 0
        assert run_job(who.url, old).code == 0  # nothing is pending, so nothing is written
        columns = "SELECT FROM pg_attribute WHERE attname = 'floor'"
        assert database.query(columns + " AND attrelid = 'schema_migrations'::regclass") == []
        new = write_folder(tmp_path / "new", NEW)
        assert run_job(database.url, new).code == 0
        assert database.query(FLOORS) == [("002_b",)]
        assert run_job(who.url, new, "verify").code == 0
        assert run_job(who.url, old, "wait").code == 12
    finally:
        database.query("DROP OWNED BY reader; DROP ROLE reader")


def test_an_adopted_file_may_set_a_floor(database: Database, tmp_path: Path) -> None:
    """Another tool has applied it; an image without it is too old all the same."""
    database.query("CREATE TABLE schema_migrations (version varchar PRIMARY KEY)")
    database.query("INSERT INTO schema_migrations VALUES ('001'), ('002')")
    elsewhere = {"MIGRATIONS_SCHEMA": "migrator"}
    new = write_folder(tmp_path / "new", FLOORED)
    assert run_job(database.url, new, "adopt", "--from", "dbmate", **elsewhere).code == 0
    old = write_folder(tmp_path / "old", OLD)
    assert run_job(database.url, old, **elsewhere).code == 12
