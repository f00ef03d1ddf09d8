"""The package as pip installs it: built from a copy, installed into new environments, run there."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from email.message import Message
from email.parser import Parser
from pathlib import Path
from typing import NoReturn

import pytest

from migrator import __version__
from tests.pages import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
SOURCES = ["pyproject.toml", "README.md", "LICENSE", "migrator"]
FILES = {
    str(path.relative_to(ROOT))
    for path in (ROOT / "migrator").rglob("*")
    if path.is_file() and "__pycache__" not in path.parts
}
ENVIRONMENT = {
    name: value
    for name, value in os.environ.items()
    if not name.startswith("PYTHON") and not name.endswith("DATABASE_URL")
}
PIP_SECONDS = 300


def pythons() -> list[Path]:
    """Every Python of this machine that the package is for: the path's, pyenv's, and this one."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    places = [Path(place) for place in os.get_exec_path() if Path(place) != pyenv / "shims"]
    found = [place / f"python3.{minor}" for place in places for minor in range(11, 30)]
    found += sorted((pyenv / "versions").glob("3.*/bin/python3"))
    found = [Path(getattr(sys, "_base_executable", sys.executable)), *found]
    programs = dict.fromkeys(path.resolve() for path in found if path.exists())
    return [path for path in programs if minor_of(path) >= 11]


def minor_of(python: Path) -> int:
    """The 12 of python3.12."""
    return int(re.sub(r".*python3\.(\d+)$", r"\1", python.name)) if "." in python.name else 0


def without_index(output: str) -> NoReturn:
    """Skip the test for want of a package index, or fail it where the index is a must."""
    if os.environ.get("REQUIRE_INDEX") == "1":
        pytest.fail(f"REQUIRE_INDEX=1, but pip cannot install:\n{output}")
    pytest.skip(f"needs an index of packages that pip can reach: {output.strip()[-200:]}")


def run(*words: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(word) for word in words],
        cwd=cwd,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=PIP_SECONDS,
        check=False,
    )


def checked(*words: str | Path, cwd: Path) -> str:
    done = run(*words, cwd=cwd)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def new_environment(folder: Path, python: Path, *packages: str | Path) -> Path:
    """The Python of a new environment that holds `packages`, and what they depend on."""
    folder.mkdir()
    checked(python, "-m", "venv", "--without-pip", folder / "venv", cwd=folder)
    made = folder / "venv" / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--python", str(made), "install", "--no-cache-dir"]
    installed = run(*pip, "--only-binary=:all:", *packages, cwd=folder)
    if installed.returncode:
        output = installed.stdout + installed.stderr
        if "No matching distribution" in output or "Could not find a version" in output:
            without_index(output)
        pytest.fail(output)
    return made


@pytest.fixture(scope="module")
def archives(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The sdist, built from a copy of this folder; the wheel, built from the sdist."""
    folder = tmp_path_factory.mktemp("package")
    copy = folder / "copy"
    copy.mkdir()
    for name in SOURCES:
        if (ROOT / name).is_dir():
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(ROOT / name, copy / name, ignore=ignored)
        else:
            shutil.copy(ROOT / name, copy)
    needed = PROJECT["build-system"]["requires"]
    builder = new_environment(folder / "builder", Path(sys.executable), *needed)
    backend = PROJECT["build-system"]["build-backend"]
    checked(builder, "-c", f"from {backend} import build_sdist as b; b('..')", cwd=copy)
    [sdist] = folder.glob("*.tar.gz")
    pip = [sys.executable, "-m", "pip", "--python", str(builder), "wheel"]
    words = ["--no-deps", "--no-build-isolation", "--no-index", "--wheel-dir", str(folder)]
    checked(*pip, *words, sdist, cwd=folder)
    [wheel] = folder.glob("*.whl")
    return sdist, wheel


@pytest.fixture(scope="module")
def metadata(archives: tuple[Path, Path]) -> Message:
    with zipfile.ZipFile(archives[1]) as wheel:
        [name] = [name for name in wheel.namelist() if name.endswith(".dist-info/METADATA")]
        return Parser().parsestr(wheel.read(name).decode())


def test_both_archives_hold_every_file_of_the_package(archives: tuple[Path, Path]) -> None:
    sdist, wheel = archives
    with tarfile.open(sdist) as opened:
        packed = {name.partition("/")[2] for name in opened.getnames()}
    assert packed >= FILES | {"pyproject.toml", "README.md", "LICENSE"}
    with zipfile.ZipFile(wheel) as zipped:
        assert {name for name in zipped.namelist() if ".dist-info/" not in name} == FILES
    assert "migrator/py.typed" in FILES


def test_an_index_has_all_that_it_shows(metadata: Message) -> None:
    assert metadata["Name"] == "migrator-job"
    assert metadata["Version"] == __version__
    assert metadata["Requires-Python"] == ">=3.11"
    assert metadata["License-Expression"] == "MIT"
    assert metadata["Summary"]
    assert metadata["Keywords"]
    assert metadata["Description-Content-Type"] == "text/markdown"
    assert metadata.get_payload() == (ROOT / "README.md").read_text()
    assert "Typing :: Typed" in metadata.get_all("Classifier", [])
    extra = [one for one in metadata.get_all("Requires-Dist", []) if 'extra == "otel"' in one]
    assert {one.split(">=")[0] for one in extra} == {
        *("opentelemetry-exporter-otlp-proto-http", "opentelemetry-sdk"),
    }


@pytest.mark.parametrize("python", pythons(), ids=str)
def test_it_is_installed_and_starts(
    archives: tuple[Path, Path], tmp_path: Path, python: Path
) -> None:
    made = new_environment(tmp_path / "new", python, archives[1])
    command = made.with_name("migrator")
    for words in ([command], [made, "-m", "migrator"]):
        assert "usage: migrator" in checked(*words, "--help", cwd=tmp_path)
        assert checked(*words, "--version", cwd=tmp_path) == f"migrator {__version__}\n"
        refused = run(*words, "status", cwd=tmp_path)
        assert (refused.returncode, "DATABASE_URL" in refused.stderr) == (2, True)
    from_python = (
        "import migrator\ntry: migrator.apply('')\nexcept migrator.ConfigError as e: print(e)"
    )
    assert checked(made, "-c", from_python, cwd=tmp_path) == "no database is named\n"
