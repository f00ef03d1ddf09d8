"""An undo in another tool's folder: a message names the file that holds it, and its line there."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import Database
from tests.job import run_job

FOLDERS = {
    "goose": ({"1_a-b.sql": "-- +goose Up\nSELECT 1;\n-- +goose Down\nDROP TABLE gone;\n"}, 4),
    "golang-migrate": ({"1_a-b.up.sql": "SELECT 1;\n", "1_x.down.sql": "\nDROP TABLE gone;\n"}, 2),
    "diesel": (
        {
            "1_a-b/up.sql": "SELECT 1;\n",
            "1_a-b/down.sql": "\nDROP TABLE gone;\n",
            "1_a-b/metadata.toml": "run_in_transaction = false\n",
        },
        2,
    ),
    "flyway": (
        {
            "V1__a.sql": "SELECT 1;\n",
            "U1__a.sql": "\nDROP TABLE gone;\n",
            "U1__a.sql.conf": "executeInTransaction=false\n",
        },
        2,
    ),
    "liquibase": (
        {
            "a.sql": "--liquibase formatted sql\n--changeset a:1\nSELECT 1;\n"
            "--rollback DROP TABLE gone;\n"
        },
        4,
    ),
}
HELD_BY = {"golang-migrate": "1_x.down.sql", "diesel": "1_a-b/down.sql", "flyway": "U1__a.sql"}


@pytest.mark.parametrize("tool", FOLDERS)
def test_a_failing_undo_is_named_where_it_is(database: Database, tmp_path: Path, tool: str) -> None:
    files, line = FOLDERS[tool]
    for path, text in files.items():
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_text(text)
    assert run_job(database.url, tmp_path).code == 0
    error = run_job(database.url, tmp_path, "rollback", "--yes").error
    assert error["sqlstate"] == "42P01"
    assert (error["file"], error["line"]) == (HELD_BY.get(tool, next(iter(files))), line)
    assert f"{error['file']}:{line}:" in error["message"]
