"""The resets between two files of one message are refused: it is no trouble of either."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.builders import chain, write_folder
from tests.conftest import Database
from tests.job import run_job
from tests.wire import Wire

#: One of the resets, and what is sent in its place: as many statements.
RESET = "CLOSE ALL;\n"
REFUSED = "DO $$ BEGIN RAISE EXCEPTION USING ERRCODE = '{}', MESSAGE = 'no'; END $$;\n"


@contextmanager
def refusing(database: Database, sqlstate: str, behind: str) -> Iterator[str]:
    """A URL by which the resets behind a version are refused once."""
    left = [1]

    def rewrite(text: str) -> str:
        before, found, after = text.partition(f"VALUES ('{behind}'")
        if not (found and left and "/* migrator" in after and RESET in after):
            return text
        left.clear()
        return before + found + after.replace(RESET, REFUSED.format(sqlstate), 1)

    wire = Wire(database.server, rewrite)
    try:
        yield wire.through(database.url)
    finally:
        wire.stop()
    assert not left


@pytest.mark.parametrize("sqlstate", ["55P03", "57014", "42501", "22012"])
def test_what_is_left_goes_in_another_message(
    database: Database, tmp_path: Path, sqlstate: str
) -> None:
    folder = write_folder(tmp_path, chain(4))
    with refusing(database, sqlstate, "002_step") as url:
        result = run_job(url, folder, FILES_PER_FLIGHT="4")
    assert result.code == 0, result.stderr
    assert result.applied == ["001_step", "002_step", "003_step", "004_step"]
    assert not result.of("migration.failed")
    assert not result.of("migration.retry")
