"""Files that hold both ways, as other tools want them: never run here, as both halves would be."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.builders import write_folder
from tests.conftest import Database
from tests.job import run_job

FILES = sorted((Path(__file__).parents[1] / "folders" / "two_way").glob("*.sql"))


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_the_other_half_of_a_two_way_file_is_not_run(
    database: Database, tmp_path: Path, file: Path
) -> None:
    """In a folder that is said to be our own; docs/formats.md has those that run."""
    folder = write_folder(tmp_path, {"001_kept.sql": file.read_text()})
    for command in ("plan", "up"):
        result = run_job(database.url, folder, command, FOLDER_FORMAT="native")
        assert (result.code, result.report["pending"]) == (10, ["001_kept"])
        [finding] = result.report["findings"]
        assert "up and down would both run" in finding["problem"]
        assert "001_kept.down.sql" in finding["remedy"]
    assert database.query("SELECT to_regclass('kept'), to_regclass('schema_migrations')") == [
        (None, None)
    ]


def test_a_down_mark_with_nothing_but_comments_behind_it_runs(
    database: Database, tmp_path: Path
) -> None:
    text = "-- Up migration\nCREATE TABLE kept ();\n\n-- Down migration\n-- DROP TABLE kept;\n"
    folder = write_folder(tmp_path, {"001_kept.sql": text})
    assert run_job(database.url, folder).applied == ["001_kept"]
    assert database.query("SELECT to_regclass('kept')::text") == [("kept",)]


def test_an_undo_that_is_headed_as_one_runs(database: Database, tmp_path: Path) -> None:
    files = {"001_a.sql": "-- Up\nCREATE TABLE a ();", "001_a.down.sql": "-- Down\nDROP TABLE a;"}
    folder = write_folder(tmp_path, files)
    assert run_job(database.url, folder).applied == ["001_a"]
    assert run_job(database.url, folder, "rollback").code == 0
    assert database.query("SELECT to_regclass('a')") == [(None,)]
