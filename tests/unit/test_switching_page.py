"""docs/switching.md: a section for each tool that can be adopted, whose three lines are meant."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from migrator.config import ADOPTABLE, read_config
from tests.switching import LEFT

PAGE = (Path(__file__).parents[2] / "docs" / "switching.md").read_text()
HEADINGS = {tool: tool for tool in LEFT} | {
    "supabase": "Supabase CLI",
    "prisma": "Prisma",
    "drizzle": "Drizzle",
    "diesel": "Diesel",
    "flyway": "Flyway",
    "liquibase": "Liquibase",
    "atlas": "Atlas",
}


def section(tool: str) -> str:
    return PAGE.partition(f"\n## {HEADINGS[tool]}\n")[2].partition("\n## ")[0]


def environment(tool: str) -> dict[str, str]:
    """What the Dockerfile of the section sets."""
    [lines] = re.findall(r"```dockerfile\n(.*?)```", section(tool), re.DOTALL)
    first, second, third = lines.splitlines()
    assert (first, third.startswith("COPY ")) == ("FROM migrator-runner", True)
    assert third.endswith(" /app/migrations")
    return dict(word.split("=") for word in second.removeprefix("ENV ").split())


@pytest.mark.parametrize("tool", ADOPTABLE)
def test_a_section_has_three_lines_the_old_command_and_the_way_back(tool: str) -> None:
    settings = environment(tool)
    assert settings["ADOPT"] == tool
    read_config(settings)
    assert "# before" in section(tool)
    assert tool == "supabase" or "\n- Back: " in section(tool)
    kept = {k: v for k, v in settings.items() if k not in ("ADOPT", "SYNC_SUPABASE_HISTORY")}
    assert kept == LEFT[tool].settings, "the tests of the adoption run with these"


def test_the_page_names_the_versions_that_the_tests_run() -> None:
    """tests/peers/package.json, without what the tools need beside them and without a grammar."""
    pinned = json.loads((Path(__file__).parents[1] / "peers" / "package.json").read_text())
    others = {"@prisma/adapter-pg", "drizzle-orm", "pg", "@grafana/lezer-logql", "@lezer/lr"}
    versions = {v for name, v in pinned["dependencies"].items() if name not in others}
    [sentence] = [line for line in PAGE.splitlines() if "the tools themselves" in line]
    assert set(re.findall(r"\d+\.\d+\.\d+", sentence)) == versions
