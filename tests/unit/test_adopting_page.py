"""The scripts in docs/adopting.md give files the names that they need."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

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
            "Prisma",
            0,
            ["prisma/migrations/0_init/migration.sql", "prisma/migrations/2024_b/migration.sql"],
            ["0_init", "2024_b"],
            id="Prisma",
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
