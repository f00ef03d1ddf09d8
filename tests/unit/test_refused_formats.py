"""Folders of tools that are not run here: each is refused by name, and has a row on the page."""

from __future__ import annotations

from pathlib import Path

import pytest

from migrator.errors import SourceError
from migrator.folder.formats.refused import UNSUPPORTED, find_refused
from migrator.folder.read import read_source
from tests.builders import write_folder

SQL = "CREATE TABLE a ();\n"
FOLDERS = {
    "sqitch": {"sqitch.plan": "%project=x\n", "deploy/one.sql": SQL},
    "sqitch's scripts": {"one.sql": "-- Deploy app:one to pg\n\nBEGIN;\nCOMMIT;\n"},
    "Prisma 8": {"contract.json": "{}"},
    "Prisma 8's operations": {
        "20260101000000_a/migration.ts": "",
        "20260101000000_a/ops.json": "[]",
        "20250101000000_b/migration.sql": SQL,
    },
    "Prisma 8's code": {"20260101000000_a/migration.ts": ""},
    "yoyo": {"0001.a.sql": SQL, "0001.a.rollback.sql": "DROP TABLE a;"},
    "yoyo's dependencies": {"0001.a.sql": SQL, "0002.b.sql": "-- why\n-- depends: 0001.a\n" + SQL},
    "MyBatis Migrations": {"bootstrap.sql": "", "001_a-b.sql": f"{SQL}-- //@UNDO\nDROP TABLE a;"},
    "rambler": {"01-a.sql": f"-- rambler up\n{SQL}-- rambler down\n"},
    "shmig": {"1500000000-a.sql": f"-- ====  UP  ====\n{SQL}-- ==== DOWN ====\n"},
    "Play": {"1.sql": f"# --- !Ups\n{SQL}# --- !Downs\nDROP TABLE a;\n"},
    "Atlas txtar": {"2024-a.sql": f"-- atlas:txtar\n\n-- migration.sql --\n{SQL}"},
    "Liquibase": {"db.changelog-master.yaml": "databaseChangeLog:\n- includeAll:\n", "a.sql": SQL},
    "a program": {"20240101_a.ts": "export {}", "knexfile.js": ""},
    "a program's code of another kind": {"versions/ae10_init.py": "", "env.py": ""},
    "refinery": {"V1__a.sql": SQL, "U2__b.sql": SQL},
    "tern's templates": {"001_a.sql": f"{SQL}---- create above / drop below ----\n{{{{ x }}}}"},
    "Flyway's code": {"V1__a.sql": SQL, "V2__B.java": ""},
    "goose's code": {"1_a.sql": f"-- +goose Up\n{SQL}", "2_b.go": "package x"},
}


@pytest.mark.parametrize("name", FOLDERS)
def test_a_folder_is_refused_with_the_name_of_a_file(name: str, tmp_path: Path) -> None:
    with pytest.raises(SourceError) as caught:
        read_folder(FOLDERS[name], tmp_path)
    assert caught.value.findings
    assert all(f"/{finding.file}" in paths(FOLDERS[name]) for finding in caught.value.findings)
    tool = name.partition("'")[0]
    if any(row.tool == tool for row in UNSUPPORTED):
        assert f"read as {tool}'s" in caught.value.message


def paths(folder: dict[str, str]) -> set[str]:
    return {f"/{path}" for path in folder}


def read_folder(folder: dict[str, str], place: Path) -> None:
    for path in folder:
        (place / path).parent.mkdir(parents=True, exist_ok=True)
    read_source(write_folder(place, folder))


@pytest.mark.parametrize(
    "folder",
    [
        pytest.param({"001_a.sql": "-- depends: nothing\n" + SQL}, id="our own, with such a word"),
        pytest.param({"001_a.sql": SQL, "helper.py": ""}, id="code beside SQL"),
        pytest.param({"001_a.sql": SQL, "settings.yaml": "a: b"}, id="settings"),
        pytest.param({"20240101000000_a/migration.sql": SQL, "contract.json": ""}, id="Prisma 7"),
        pytest.param({"README.md": ""}, id="nothing"),
    ],
)
def test_what_only_looks_alike_is_read(folder: dict[str, str], tmp_path: Path) -> None:
    read_folder(folder, tmp_path)


def test_a_sure_sign_counts_beside_the_names_of_another_tool() -> None:
    def read(path: str) -> str:
        return ""

    assert find_refused(["1_a.up.sql", "sqitch.plan"], read, claimed=True)
    assert find_refused(["1_a.up.sql", "x.xml"], read, claimed=True) is None


def test_code_is_a_sign_where_there_is_no_sql() -> None:
    def read(path: str) -> str:
        return ""

    assert find_refused(["tables.sql", "helper.py"], read, claimed=False) is None
    assert find_refused(["tables.txt", "helper.py"], read, claimed=False)


def test_every_tool_has_a_row_on_the_page_and_a_folder_here() -> None:
    page = Path("docs/formats.md").read_text()
    section = page.partition("## Refused by name")[2].partition("\n## ")[0]
    for row in UNSUPPORTED:
        assert row.tool in section, row.tool
        assert row.tool in {name.partition("'")[0] for name in FOLDERS}
