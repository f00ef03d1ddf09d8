"""`make image PLATFORMS=…` on builders that can and cannot; the example of Compose's pre_start."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.pages import ROOT

ENGINE = "Name: default\nDriver:        docker\nPlatforms: {}\n"
BUILDER = "Name: b\nDriver:        docker-container\nPlatforms: {}\n"
ONE, TWO = "linux/amd64, linux/386", "linux/amd64, linux/arm64"
EXAMPLE = ROOT / "docs/compose-pre-start.yml"
PROGRAM = Path(sys.executable).parent / "docker-compose"


@pytest.mark.skipif(shutil.which("make") is None, reason="needs make")
@pytest.mark.parametrize(
    ("inspect", "asked", "says"),
    [
        pytest.param(BUILDER.format(TWO), "linux/amd64,linux/arm64", None, id="a builder of both"),
        pytest.param(ENGINE.format(ONE), "linux/amd64", None, id="the engine, one"),
        pytest.param(ENGINE.format(ONE), "linux/arm64", "binfmt", id="no emulator"),
        pytest.param(
            ENGINE.format(TWO), "linux/amd64,linux/arm64", "buildx create", id="the engine, two"
        ),
    ],
)
def test_an_image_of_several_platforms(
    inspect: str, asked: str, says: str | None, tmp_path: Path
) -> None:
    (tmp_path / "builder").write_text(inspect)
    docker = tmp_path / "docker"
    docker.write_text(
        f"#!/bin/sh\ncase $2 in inspect) cat {tmp_path}/builder ;; *) echo built: $* ;; esac\n"
    )
    docker.chmod(0o755)
    done = subprocess.run(
        ["make", "--no-print-directory", "-C", str(ROOT), "image", f"PLATFORMS={asked}"],
        env={"PATH": f"{tmp_path}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
    )
    if says is None:
        assert done.returncode == 0, done.stderr
        assert f"--platform {asked}" in done.stdout
        assert ("type=oci" in done.stdout) == ("," in asked)
    else:
        assert done.returncode != 0
        assert says in done.stderr
        assert "built:" not in done.stdout


def test_the_definition_of_an_init_container_names_the_release() -> None:
    services = yaml.safe_load(EXAMPLE.read_text())["services"]
    (step,) = services["app"]["pre_start"]
    assert step["image"].endswith(":${RELEASE:?name the release}")
    assert step["command"] == ["up"]
    assert all("volumes" not in service for service in services.values())
    assert services["check"]["command"] == ["wait"]
    assert services["check"]["image"] == step["image"]


@pytest.mark.skipif(not PROGRAM.exists(), reason="the Compose of PyPI is for Linux")
@pytest.mark.parametrize(
    ("wrong", "release", "says"),
    [
        pytest.param("", "1.4.0", None, id="as it is"),
        pytest.param("", "", "name the release", id="no release"),
        pytest.param("commands", "1.4.0", "pre_start.0.commands", id="a typing error"),
    ],
)
def test_compose_takes_the_example(
    wrong: str, release: str, says: str | None, tmp_path: Path
) -> None:
    text = EXAMPLE.read_text()
    file = tmp_path / "compose.yml"
    file.write_text(text.replace("command: [up]", f"{wrong}: [up]") if wrong else text)
    done = subprocess.run(
        [str(PROGRAM), "--file", str(file), "--profile", "check", "config"],
        env={"RELEASE": release, "DATABASE_URL": "postgresql://h/d", "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert (done.returncode == 0) == (says is None), done.stderr
    if says is None:
        (step,) = yaml.safe_load(done.stdout)["services"]["app"]["pre_start"]
        assert (step["command"], step["image"].rpartition(":")[2]) == (["up"], release)
    else:
        assert says in done.stderr
