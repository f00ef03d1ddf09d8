"""What a run's result says beyond what its command did."""

from __future__ import annotations

from pathlib import Path

import pytest

from migrator.cli import result
from tests.builders import write_folder
from tests.job import run_job


@pytest.fixture
def image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory as /app is in the image."""
    monkeypatch.setattr(result, "ROOT", tmp_path)
    (tmp_path / ".image").touch()
    return tmp_path


def refused(folder: Path) -> str:
    """The remedy of a folder that cannot be used."""
    found = run_job(None, write_folder(folder, {"B.sql": "SELECT 1;"}), "new", "next_one")
    assert found.code == 10
    return str(found.error["remedy"])


def test_where_the_image_carries_the_files_it_is_to_be_built_again(image: Path) -> None:
    assert refused(image / "migrations").endswith(f" {result.BUILD}")


def test_elsewhere_nothing_is_said_of_an_image(image: Path) -> None:
    (image / ".image").unlink()
    assert result.BUILD not in refused(image / "migrations")


def test_of_a_folder_that_is_mounted_neither(image: Path) -> None:
    other = Path("/dev/shm")
    if other.stat().st_dev == image.stat().st_dev:
        pytest.skip("needs a second file system")
    folder = other / f"migrator-{image.name}"
    try:
        assert result.BUILD not in refused(folder)
    finally:
        (folder / "B.sql").unlink()
        folder.rmdir()


def test_what_a_setting_is_wrong_with_needs_no_image(image: Path) -> None:
    found = run_job(None, image, "new", LOCK_TIMEOUT="soon")
    assert (found.code, result.BUILD in found.error["remedy"]) == (2, False)
