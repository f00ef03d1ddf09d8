"""The table of .env lines, read by Docker Compose itself: `docker compose config`, no engine."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from tests.env_lines import READ, REFUSED, REFUSED_BY_US
from tests.image.conftest import without

PROJECT = """
services:
  one:
    image: none
    environment: {A: , B: , C: }
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    try:
        subprocess.run(["docker", "compose", "version"], capture_output=True, check=True)
    except (FileNotFoundError, subprocess.CalledProcessError):
        without("docker compose", "install the Compose plugin, version 2.")
    folder = tmp_path_factory.mktemp("project")
    (folder / "compose.yml").write_text(PROJECT)
    return folder


def ask(project: Path, text: str) -> subprocess.CompletedProcess[str]:
    (project / ".env").write_bytes(text.encode())
    environment = {name: value for name, value in os.environ.items() if len(name) > 1}
    command = ["docker", "compose", "--project-directory", str(project)]
    return subprocess.run(
        [*command, "config", "--format", "json"],
        cwd=project,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def variables(answer: subprocess.CompletedProcess[str]) -> dict[str, str]:
    assert answer.returncode == 0, answer.stderr
    found = json.loads(answer.stdout)["services"]["one"]["environment"]
    # `config` doubles each $, so that its output can be read as a file again
    return {name: value.replace("$$", "$") for name, value in found.items() if value is not None}


@pytest.mark.parametrize("text", READ)
def test_compose_reads_the_table(project: Path, text: str) -> None:
    assert variables(ask(project, text)) == READ[text]


@pytest.mark.parametrize("text", REFUSED)
def test_compose_refuses_what_the_table_refuses(project: Path, text: str) -> None:
    assert ask(project, text).returncode != 0


@pytest.mark.parametrize("text", REFUSED_BY_US)
def test_compose_takes_text_behind_a_quote_for_a_line(project: Path, text: str) -> None:
    read = variables(ask(project, text))
    assert read["A"] == "a"
