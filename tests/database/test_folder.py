"""What lies in the folder beside its migrations, and what their numbers say."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.builders import write_folder
from tests.conftest import Database
from tests.job import run_job

A = {"001_a.sql": "CREATE TABLE a ();"}
OLD, DATE = "20240101120000_a", "20250625_x"
DATED = {f"{OLD}.sql": "CREATE TABLE a ();", f"{DATE}.sql": "CREATE TABLE x ();"}


@pytest.mark.parametrize(
    "file",
    ["005_e.sql ", "005_e.go", "005_e.mts", "005_e.sql.gz", "005_e.psql", "2024/q1/005_e.sql"],
)
def test_a_numbered_file_that_would_not_run_is_refused(
    database: Database, tmp_path: Path, file: str
) -> None:
    folder = write_folder(tmp_path / "migrations", A)
    (folder / file).parent.mkdir(parents=True, exist_ok=True)
    (folder / file).write_text("CREATE TABLE e ();")
    for command in ("plan", "status", "verify", "up"):
        result = run_job(database.url, folder, command)
        assert (result.code, len(result.report["findings"])) == (10, 1)
        assert file.startswith(result.report["findings"][0]["file"])
    assert database.query("SELECT to_regclass('a')") == [(None,)]
    (folder / file).rename(folder / "005_e.sql")
    assert run_job(database.url, folder).applied == ["001_a", "005_e"]


def test_a_numbered_file_that_may_be_no_migration_is_warned_of(
    database: Database, tmp_path: Path
) -> None:
    folder = write_folder(tmp_path, {**A, "001_a.md": "about it", "002_plans.md": "what is next"})
    for command in ("status", "plan", "up", "verify"):
        result = run_job(database.url, folder, command)
        assert result.code == 0
        assert [finding["file"] for finding in result.report["findings"]] == ["002_plans.md"]
        warned = [line["file"] for line in result.of("plan.warning")]
        assert warned == ([] if command == "status" else ["002_plans.md"])


def test_a_date_that_runs_before_older_ones_is_refused(database: Database, tmp_path: Path) -> None:
    """Its number is smaller; both ways out that the remedy names lead to a green run."""
    folder = write_folder(tmp_path / "renamed", DATED)
    for command in ("plan", "up"):
        result = run_job(database.url, folder, command)
        assert result.code == 10
        [finding] = result.report["findings"]
        assert (
            f"by number the order is {DATE}, {OLD}; by text it is {OLD}, {DATE}"
            in (finding["problem"])
        )
        assert "20250625000000_x.sql" in finding["remedy"]
        assert f"`new --renumber {DATE}`" in finding["remedy"]
    assert database.query("SELECT to_regclass('x')") == [(None,)]
    renumbered = write_folder(tmp_path / "renumbered", DATED)
    assert run_job(None, renumbered, "new", "--renumber", DATE).code == 0
    assert run_job(database.url, renumbered, "plan").code == 0
    (folder / f"{DATE}.sql").rename(folder / "20250625000000_x.sql")
    assert run_job(database.url, folder).applied == [OLD, "20250625000000_x"]


def test_of_applied_ones_it_is_a_warning_with_the_way_to_one_width(
    database: Database, tmp_path: Path
) -> None:
    folder = write_folder(tmp_path, {f"{DATE}.sql": DATED[f"{DATE}.sql"]})
    assert run_job(database.url, folder).code == 0
    write_folder(folder, DATED)
    refused = run_job(database.url, folder)
    assert (refused.code, refused.error["message"]) == (
        10,
        f"the order by number is not the order by text: {OLD}.sql",
    )
    told = ("--applied", OLD, "--reason", "made by hand")
    assert run_job(database.url, folder, "repair", *told).code == 0
    result = run_job(database.url, folder)
    assert result.code == 0
    [finding] = result.report["findings"]
    words = ("repair", "--rename", DATE, "20250625000000_x", "--reason", "WHY")
    assert f"`{' '.join(words)}`" in finding["remedy"]
    (folder / f"{DATE}.sql").rename(folder / "20250625000000_x.sql")
    assert run_job(database.url, folder, *words).code == 0
    assert run_job(database.url, folder, "verify").report["findings"] == []
