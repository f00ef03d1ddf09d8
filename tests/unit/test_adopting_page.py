"""The scripts in docs/adopting.md give files the names that they need."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from migrator.errors import SourceError
from migrator.folder.read import read_source
from tests.builders import write_folder

PAGE = (Path(__file__).parents[2] / "docs" / "adopting.md").read_text()


def scripts(tool: str) -> list[str]:
    section = PAGE.partition(f"\n## {tool}\n")[2].partition("\n## ")[0]
    return re.findall(r"```sh\n(.*?)```", section, re.DOTALL)


@pytest.mark.parametrize(
    ("tool", "which", "files", "versions"),
    [
        pytest.param(
            "Flyway",
            0,
            ["sql/V2__Add-Email.sql", "sql/V10__views.sql", "sql/R__views.sql"],
            ["002_add_email", "010_views"],
            id="whole numbers stay",
        ),
        pytest.param(
            "Flyway",
            1,
            ["sql/V1_1__Add e-mail.sql", "sql/V1__init.sql", "sql/V1.10__c.sql", "sql/V1_2__b.sql"],
            ["001_init", "002_add_e_mail", "003_b", "004_c"],
            id="dotted ones are counted in Flyway's order",
        ),
        pytest.param(
            "golang-migrate",
            0,
            ["migrations/000001_a.up.sql", "migrations/000001_a.down.sql"],
            ["000001_a"],
            id="golang-migrate",
        ),
        pytest.param(
            "golang-migrate",
            0,
            ["migrations/000009_Add-e.mail.up.sql", "migrations/000009_Add-e.mail.down.sql"],
            ["000009_add_e_mail"],
            id="golang-migrate, with hyphens and dots",
        ),
        pytest.param(
            "Prisma",
            0,
            ["prisma/migrations/0_init/migration.sql", "prisma/migrations/2024_B-c/migration.sql"],
            ["0_init", "2024_b_c"],
            id="Prisma",
        ),
        pytest.param(
            "Flyway",
            0,
            ["sql/V010__a-b.sql", "sql/V08__c.sql", "sql/U08__c.sql", "sql/V20240101120000__x.sql"],
            ["008_c", "010_a_b", "20240101120000_x"],
            id="zeros before a number are no octal",
        ),
    ],
)
def test_a_script_gives_files_their_names(
    tmp_path: Path, tool: str, which: int, files: list[str], versions: list[str]
) -> None:
    for file in files:
        write_folder((tmp_path / file).parent, {Path(file).name: "SELECT 1;"})
    subprocess.run(["sh", "-euc", scripts(tool)[which]], cwd=tmp_path, check=True)
    assert [m.version for m in read_source(tmp_path / "migrations").migrations] == versions


@pytest.mark.parametrize(
    ("tool", "which", "files", "refused"),
    [
        pytest.param(
            "golang-migrate",
            0,
            ["migrations/1_a.up.sql", "migrations/1_a.down.sql", "migrations/2_B-c.down.sql"],
            {"2_b_c.down.sql": "could undo"},
            id="an orphaned down",
        ),
        pytest.param(
            "golang-migrate",
            0,
            ["migrations/1_a.up.sql", "migrations/1_b.up.sql"],
            {"1_b.sql": "the same number"},
            id="two of one number",
        ),
        pytest.param(
            "golang-migrate",
            0,
            ["migrations/1_a-b.up.sql", "migrations/1_a_b.up.sql"],
            {"1_a_b.up.sql": "fits no pattern"},
            id="two of one name: none is lost",
        ),
        pytest.param(
            "Prisma",
            0,
            ["prisma/migrations/2024_a/migration.sql", "prisma/migrations/2024_b/migration.sql"],
            {"2024_b.sql": "the same number"},
            id="two folders of one number",
        ),
        pytest.param(
            "Flyway",
            0,
            ["sql/V1__a.sql", "sql/V01__b.sql"],
            {"001_b.sql": "the same number"},
            id="Flyway",
        ),
    ],
)
def test_what_a_script_cannot_decide_is_refused(
    tmp_path: Path, tool: str, which: int, files: list[str], refused: dict[str, str]
) -> None:
    for file in files:
        write_folder((tmp_path / file).parent, {Path(file).name: "SELECT 1;"})
    subprocess.run(["sh", "-euc", scripts(tool)[which]], cwd=tmp_path, check=True)
    with pytest.raises(SourceError) as error:
        read_source(tmp_path / "migrations", "native")
    assert [one.file for one in error.value.findings] == [*refused]
    for finding in error.value.findings:
        assert refused[finding.file] in finding.problem
    assert len([*(tmp_path / "migrations").iterdir()]) == len(files)


def test_a_repeatable_is_left_where_it_is(tmp_path: Path) -> None:
    files = ["1_a.up.sql", "R__views.sql"]
    write_folder(tmp_path / "migrations", dict.fromkeys(files, "SELECT 1;"))
    subprocess.run(["sh", "-euc", scripts("golang-migrate")[0]], cwd=tmp_path, check=True)
    found = read_source(tmp_path / "migrations").migrations
    assert [one.version for one in found] == ["1_a", "R__views"]
    assert "`R__name.sql`, which a native folder runs" in PAGE
