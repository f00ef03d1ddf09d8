from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest

from migrator.errors import SourceError
from migrator.folder.read import Source, read_source
from migrator.model import Migration
from tests.builders import write_folder


def test_a_folder_becomes_migrations_and_what_is_not_sql_is_ignored(tmp_path: Path) -> None:
    write_folder(
        tmp_path,
        {
            "002_b.sql": "B",
            "001_a.sql": "A\r\n",
            "001_a.down.sql": "C",
            "README.md": "",
            ".x.sql": "",
        }
        | {".gitkeep": "", "003_c.sql.bak": "", "004_d.sql~": ""},
    )
    (tmp_path / "old").mkdir()
    found = [(m.version, m.pieces, m.rollback_sql) for m in read_source(tmp_path).migrations]
    assert found == [("001_a", ("A\n",), "C"), ("002_b", ("B",), None)]


def test_a_folder_may_be_empty(tmp_path: Path) -> None:
    assert read_source(str(tmp_path)) == Source((), ())


def test_the_links_of_a_mounted_config_map_are_followed(tmp_path: Path) -> None:
    write_folder(tmp_path / "..2026", {"001_a.sql": "A"})
    (tmp_path / "..data").symlink_to("..2026")
    (tmp_path / "001_a.sql").symlink_to("..data/001_a.sql")
    assert [migration.pieces for migration in read_source(tmp_path).migrations] == [("A",)]


def a_large_file(directory: Path) -> tuple[Path, Migration]:
    write_folder(directory, {"001_a.sql": "é\r\n" * 300_000})
    (migration,) = read_source(directory).migrations
    return directory / "001_a.sql", migration


def test_a_large_file_is_read_again_each_time(tmp_path: Path) -> None:
    _, migration = a_large_file(tmp_path)
    for _ in range(2):
        assert "".join(migration.pieces) == "é\n" * 300_000
    assert max(map(len, migration.pieces)) < 500_000
    assert migration.checksum == hashlib.sha256(("é\n" * 300_000).encode()).hexdigest()
    assert migration.raw_checksum == hashlib.sha256(("é\r\n" * 300_000).encode()).hexdigest()


@pytest.mark.parametrize(
    ("change", "how"),
    [
        pytest.param(lambda data: data[:-9] + b"changed!\n", "has changed", id="changed"),
        pytest.param(lambda data: data + b"more", "has changed", id="longer"),
        pytest.param(lambda data: data[: 1 << 18], "has changed", id="shorter"),
        pytest.param(None, "cannot be read any more: No such file", id="gone"),
    ],
)
def test_a_large_file_that_changes_is_noticed_before_the_change_is_read(
    tmp_path: Path, change: Callable[[bytes], bytes] | None, how: str
) -> None:
    path, migration = a_large_file(tmp_path)
    if change:
        path.write_bytes(change(path.read_bytes()))
    else:
        path.unlink()
    read: list[str] = []
    with pytest.raises(SourceError, match=how) as caught:
        read.extend(migration.pieces)
    assert [finding.file for finding in caught.value.findings] == ["001_a.sql"]
    assert ("é\n" * 300_000).startswith("".join(read))


def test_a_large_file_that_cannot_be_sent_is_a_finding(tmp_path: Path) -> None:
    write_folder(tmp_path, {"001_a.sql": b"a\r\n" * 100_000 + b"\xff"})
    with pytest.raises(SourceError) as caught:
        read_source(tmp_path)
    assert [(finding.line, finding.problem) for finding in caught.value.findings] == [
        (100_001, "the text is not UTF-8")
    ]


@pytest.mark.parametrize("name", ["absent", "a_file"])
def test_a_missing_folder_names_the_setting(tmp_path: Path, name: str) -> None:
    (tmp_path / "a_file").touch()
    with pytest.raises(SourceError, match=rf"^cannot read the folder .*{name}: N") as caught:
        read_source(tmp_path / name)
    assert "MIGRATIONS_DIR" in caught.value.remedy


def test_every_finding_of_the_folder_is_reported(tmp_path: Path) -> None:
    write_folder(tmp_path, {"001_a.sql": "A", "01_b.sql": "B", "C.SQL": "C", "002_d.down.sql": ""})
    (tmp_path / "003_e.sql").mkdir()
    (tmp_path / "004_f.sql").symlink_to("nowhere")
    with pytest.raises(SourceError, match=r"^5 problems in ") as caught:
        read_source(tmp_path)
    assert [(finding.file, finding.problem) for finding in caught.value.findings] == [
        ("002_d.down.sql", "there is no 002_d.sql that it could undo"),
        ("003_e.sql", "cannot be read: Is a directory"),
        ("004_f.sql", "cannot be read: No such file or directory"),
        ("01_b.sql", "001_a.sql has the same number"),
        ("C.SQL", "the name fits no pattern, so that the file would never run"),
    ]


def test_a_single_finding_is_one_problem(tmp_path: Path) -> None:
    (tmp_path / "001_a.sql").symlink_to("001_a.sql")
    with pytest.raises(SourceError, match=r"^1 problem in ") as caught:
        read_source(tmp_path)
    assert [finding.problem for finding in caught.value.findings] == [
        "cannot be read: Too many levels of symbolic links"
    ]


def test_files_in_a_folder_below_do_not_get_lost(tmp_path: Path) -> None:
    write_folder(tmp_path, {"001_a.sql": "SELECT 1"})
    write_folder(tmp_path / "2024", {"002_b.sql": "SELECT 2", "003_c.sql": "SELECT 3"})
    write_folder(tmp_path / "2025" / "q1" / "late", {"004_d.SQL": "SELECT 4"})
    write_folder(tmp_path / "old", {"005_e.go": ""})
    write_folder(tmp_path / "007_g.sql", {"README": ""})
    write_folder(tmp_path / "notes" / "more", {"README": "no migrations here", "006.txt": ""})
    write_folder(tmp_path / "notes" / ".git", {"001_a.sql": "hidden"})
    write_folder(tmp_path / "..2024_11_23", {"001_a.sql": "how a ConfigMap is mounted"})
    with pytest.raises(SourceError) as caught:
        read_source(tmp_path)
    found = {finding.file: finding.problem for finding in caught.value.findings}
    assert found == {
        "007_g.sql": "cannot be read: Is a directory",
        "2024": "is a folder that holds 002_b.sql, and folders are not read",
        "2025": "is a folder that holds q1/late/004_d.SQL, and folders are not read",
        "old": "is a folder that holds 005_e.go, and folders are not read",
    }


def test_a_numbered_file_that_is_not_run_does_not_get_lost(tmp_path: Path) -> None:
    write_folder(tmp_path, {"001_a.sql": "A", "002_b.sql ": "B", "B.SQL": "", "004_notes.md": ""})
    with pytest.raises(SourceError) as caught:
        read_source(tmp_path)
    assert [finding.file for finding in caught.value.findings] == ["B.SQL", "002_b.sql "]


def test_what_may_be_no_migration_is_warned_of(tmp_path: Path) -> None:
    write_folder(tmp_path, {"001_a.sql": "A", "004_notes.md": "", ".005_e.go": ""})
    (tmp_path / "2024_notes").mkdir()
    source = read_source(tmp_path)
    assert [migration.version for migration in source.migrations] == ["001_a"]
    assert [finding.file for finding in source.warnings] == ["004_notes.md"]
