"""What happens to a folder of another tool later: drift, late files, floors, repair, odd names."""

from __future__ import annotations

import unicodedata
from pathlib import Path
from typing import Literal

import pytest

from tests.conftest import Database, create_database, drop_database
from tests.job import run_job
from tests.switching import ATLAS, TEXTS, atlas_sum

FLOOR = "-- migrator: floor\nSELECT 4;\n"


def lay(folder: Path, files: dict[str, str]) -> Path:
    """The files, and the sum that Atlas would write beside them."""
    folder.mkdir(exist_ok=True)
    for path in folder.glob("*"):
        path.unlink()
    for name, text in files.items():
        (folder / name).write_text(text)
    names = sorted(files)
    (folder / "atlas.sum").write_text(atlas_sum(names, [files[name] for name in names]))
    return folder


def files(**more: str) -> dict[str, str]:
    named = {f"{name.removeprefix('n')}.sql": text for name, text in more.items()}
    return {**dict(zip(ATLAS, TEXTS, strict=True)), **named}


@pytest.fixture
def folder(database: Database, tmp_path: Path) -> Path:
    """Atlas's folder, of which two files are applied."""
    made = lay(tmp_path / "m", dict(zip(ATLAS[:2], TEXTS[:2], strict=True)))
    assert run_job(database.url, made).code == 0
    return made


def test_a_file_of_atlas_that_changed_is_drift_though_its_sum_fits(
    database: Database, folder: Path
) -> None:
    lay(folder, {**files(), ATLAS[0]: f"{TEXTS[0]}SELECT 1;\n"})
    drifted = run_job(database.url, folder)
    assert drifted.code == 11
    version = ATLAS[0].removesuffix(".sql")
    words = ("repair", "--accept-checksum", version, "--reason", "a comment")
    assert run_job(database.url, folder, *words).code == 0
    assert run_job(database.url, folder).applied == [ATLAS[2].removesuffix(".sql")]


def test_a_late_file_of_atlas_is_refused_until_it_is_let(database: Database, folder: Path) -> None:
    late = "20240101120000_late"
    lay(folder, files(**{f"n{late}": "SELECT 1;\n"}))
    assert run_job(database.url, folder).code == 13
    done = run_job(database.url, folder, ON_LATE="apply")
    assert done.applied == [late, ATLAS[2].removesuffix(".sql")]


def test_a_floor_of_atlas_keeps_an_older_image_out(database: Database, folder: Path) -> None:
    lay(folder, files(n20240104000000_floor=FLOOR))
    assert run_job(database.url, folder).code == 0
    lay(folder, files())
    assert run_job(database.url, folder, ON_MISSING="warn").code == 12


def test_a_renamed_file_of_atlas_is_repaired(database: Database, folder: Path) -> None:
    renamed = "20240102000000_create_two"
    named = files(**{f"n{renamed}": TEXTS[1]})
    del named[ATLAS[1]]
    lay(folder, named)
    assert run_job(database.url, folder).code != 0
    words = ("repair", "--rename", ATLAS[1].removesuffix(".sql"), renamed, "--reason", "x")
    assert run_job(database.url, folder, *words).code == 0
    assert run_job(database.url, folder).code == 0


UP, DOWN = "-- migrate:up\n", "-- migrate:down\n"
NAMES = ("20240101_größe-a", "20240102_заказы", "20240103_注文")


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_names_may_have_letters_of_any_language_in_either_form(
    form: Literal["NFC", "NFD"], database: Database, tmp_path: Path
) -> None:
    folder = tmp_path / "m"
    folder.mkdir()
    for number, name in enumerate(NAMES, 1):
        text = f"{UP}CREATE TABLE t{number} ();\n{DOWN}DROP TABLE t{number};\n"
        written = unicodedata.normalize("NFD" if number == 1 else form, name)
        (folder / f"{written}.sql").write_text(text)
    done = run_job(database.url, folder)
    assert (done.code, done.applied) == (0, list(NAMES)), done.stderr
    (folder / f"{unicodedata.normalize('NFD', NAMES[0])}.sql").rename(folder / f"{NAMES[0]}.sql")
    assert run_job(database.url, folder, "verify").code == 0
    back = run_job(database.url, folder, "rollback", "--to", NAMES[0], "--yes")
    assert back.code == 0, back.stderr
    assert run_job(database.url, folder).applied == list(NAMES[1:])


def test_where_another_encoding_would_sort_them_otherwise_they_are_refused(
    database: Database, tmp_path: Path
) -> None:
    made = create_database(database.server, "ENCODING 'LATIN1' LOCALE 'C'")
    try:
        folder = tmp_path / "m"
        folder.mkdir()
        (folder / f"{NAMES[0]}.sql").write_text(f"{UP}SELECT 1;\n{DOWN}")
        for command in ("plan", "up"):
            refused = run_job(made.url, folder, command)
            assert refused.code == 10
            assert "encoding is LATIN1" in refused.error["message"]
        assert made.query("SELECT to_regclass('schema_migrations')") == [(None,)]
    finally:
        drop_database(made)
