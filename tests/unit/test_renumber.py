"""`new --renumber` gives a late file of any tool's folder the next number, and its undo too."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from migrator.errors import ConfigError
from migrator.folder.create import rename, version_in

TODAY = datetime(2026, 11, 30, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("names", "version", "made"),
    [
        pytest.param(
            ["001_a.sql", "001_b.sql", "001_b.down.sql"],
            "001_b",
            ["002_b.sql", "002_b.down.sql"],
            id="native",
        ),
        pytest.param(
            ["000002_create-b.up.sql", "000002_create-b.down.sql", "000009_c.up.sql"],
            "000002_create-b",
            ["000010_create-b.down.sql", "000010_create-b.up.sql"],
            id="golang-migrate",
        ),
        pytest.param(
            ["20240101000000_a-x.sql", "20240102000000_b-x.sql"],
            "20240101000000_a-x.sql",
            ["20261130120000_a-x.sql"],
            id="a time becomes that of today",
        ),
        pytest.param(
            ["1-a.sql", "1-b.sql"], "1-b", ["2-b.sql"], id="a hyphen, and one number twice"
        ),
        pytest.param(
            ["2024-01-01-000000_a/up.sql", "2024-01-02-000000_b/up.sql"],
            "2024-01-01-000000_a",
            ["2026-11-30-120000_a"],
            id="the folder of Diesel",
        ),
        pytest.param(
            ["V1.2__Late one.sql", "V2__b.sql"], "V1.2__Late one", ["V3__Late one.sql"], id="Flyway"
        ),
    ],
)
def test_it_gets_the_next_number(
    names: list[str], version: str, made: list[str], tmp_path: Path
) -> None:
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("SELECT 1;")
    done, target = rename(str(tmp_path), version_in(str(tmp_path), version), TODAY)
    assert [Path(path).name for path in done] == made
    assert all(Path(path).exists() for path in done)
    assert all(target in path for path in done)


@pytest.mark.parametrize(
    ("names", "words"),
    [
        pytest.param(["1_a-b.sql"], "there is no 7_x", id="not there"),
        pytest.param(["7_x.sql.up.sql"], "there is no 7_x", id="another ending"),
        pytest.param(["7_x/up.sql", "meta/_journal.json"], "keeps a list", id="Drizzle"),
        pytest.param(["7_x/up.sql", "committed/1-a.sql"], "keeps a list", id="graphile-migrate"),
    ],
)
def test_what_cannot_be_renamed_is_refused(names: list[str], words: str, tmp_path: Path) -> None:
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("SELECT 1;")
    with pytest.raises(ConfigError, match=words):
        rename(str(tmp_path), version_in(str(tmp_path), "7_x"), TODAY)
