"""What lies in the folder beside its migrations, and what their numbers say."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.builders import write_folder
from tests.conftest import Database
from tests.job import run_job

A = {"001_a.sql": "CREATE TABLE a ();"}


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
