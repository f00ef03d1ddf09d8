"""The image from outside: what is in it, and what is not."""

from __future__ import annotations

import json
import shutil
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import docker
import pytest

from migrator import __version__
from tests.builders import write_folder
from tests.image.conftest import REVISION, VERSION
from tests.image.containers import REPOSITORY, Runner, docker_command

LARGEST = 55_000_000  # bytes, uncompressed


@pytest.fixture(scope="module")
def config(engine: docker.DockerClient, image: str) -> dict[str, Any]:
    return dict(engine.images.get(image).attrs["Config"])


@pytest.fixture(scope="module")
def files(
    engine: docker.DockerClient, image: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tarfile.TarFile]:
    """The whole file system of the image."""
    container = engine.containers.create(image)
    archive = tmp_path_factory.mktemp("image") / "files.tar"
    with archive.open("wb") as file:
        file.writelines(container.export())
    container.remove()
    with tarfile.open(archive) as opened:
        yield opened


def test_the_image_is_small(engine: docker.DockerClient, image: str) -> None:
    assert engine.images.get(image).attrs["Size"] <= LARGEST


def test_it_starts_the_job_without_a_shell_as_a_user_without_rights(config: dict[str, Any]) -> None:
    assert config["User"] == "65532:65532"
    assert config["WorkingDir"] == "/app"
    assert config["Entrypoint"][0] == "/usr/bin/python3.13"
    assert config["Entrypoint"][-1] == "/app/entrypoint.py"
    assert not config["Cmd"]


def test_it_says_what_it_is(config: dict[str, Any]) -> None:
    prefix = "org.opencontainers.image."
    said = {name.removeprefix(prefix): value for name, value in config["Labels"].items()}
    assert {"title", "description", "licenses"} <= said.keys()
    assert (said["version"], said["revision"]) == (VERSION, REVISION)


def test_the_interpreter_is_the_only_program(files: tarfile.TarFile) -> None:
    programs = {
        member.name
        for member in files
        if member.isfile() and member.mode & 0o111 and member.size and ".so" not in member.name
    }
    assert programs == {"usr/bin/python3.13"}


@pytest.mark.parametrize("program", ["/bin/sh", "/bin/bash", "/usr/bin/apt-get", "pip"])
def test_there_is_no_shell_and_no_package_manager(job: Runner, program: str) -> None:
    with pytest.raises(docker.errors.APIError, match=r"no such file|not found"):
        job.run(entrypoint=[program])


def test_any_user_may_read_everything_and_write_nothing(files: tarfile.TarFile) -> None:
    ours = [member for member in files if member.name.split("/")[0] in {"app", "usr", "etc", "var"}]
    assert ours
    for member in ours:
        if not member.issym():
            assert member.mode & 0o444 == 0o444, member.name
            assert not member.mode & 0o6022, member.name
        if member.isdir():
            assert member.mode & 0o111 == 0o111, member.name


def test_everything_is_compiled_and_never_checked_against_its_source(
    files: tarfile.TarFile,
) -> None:
    names = set(files.getnames())
    for name in names:
        path = Path(name)
        if path.suffix == ".py":
            assert str(path.parent / "__pycache__" / f"{path.stem}.cpython-313.pyc") in names
        if path.suffix == ".pyc":
            member = files.extractfile(name)
            assert member is not None
            assert member.read(8)[4:] == b"\x01\0\0\0", name  # PEP 552: by hash, unchecked


def test_the_last_layer_holds_the_migrations_and_nothing_else(
    engine: docker.DockerClient, image: str, runner_image: str
) -> None:
    layers = engine.images.get(image).attrs["RootFS"]["Layers"]
    assert engine.images.get(runner_image).attrs["RootFS"]["Layers"] == layers[:-1]


def test_all_that_the_job_and_its_packages_import_is_there(job: Runner) -> None:
    outcome = job.python(
        """
import ast, importlib, pathlib, sys
sys.path.insert(0, "/app")
names = {"psycopg2." + name for name in ("errors", "extensions", "extras", "sql")}
names |= {"tenacity", "pythonjsonlogger.json", "traceback", "psycopg2.errorcodes"}
for file in pathlib.Path("/app/migrator").rglob("*.py"):
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add(node.module)
extra = {"migrator.telemetry.otlp"} | {n for n in names if n.startswith("opentelemetry")}
for name in sorted(names - extra):
    importlib.import_module(name)
print(len(names))
"""
    )
    assert (outcome.code, outcome.stderr) == (0, "")
    assert int(outcome.stdout) > 10


def test_versions_of_the_packages_are_there_for_scanners(files: tarfile.TarFile) -> None:
    names = files.getnames()
    for package in ("libc6", "python3.13-minimal", "libpython3.13-stdlib", "ca-certificates"):
        assert f"var/lib/dpkg/status.d/{package}" in names
        assert f"usr/share/doc/{package}/copyright" in names
    packages = {name.split("/")[1] for name in names if name.endswith(".dist-info/METADATA")}
    assert {name.partition("-")[0] for name in packages} == {
        *("psycopg2_binary", "tenacity", "python_json_logger"),
    }, "without EXTRAS nothing else is there"


def test_the_build_sends_only_what_it_copies(environment: dict[str, str], tmp_path: Path) -> None:
    wanted = {"requirements.txt", "entrypoint.py", "migrator", "migrations"}
    write_folder(tmp_path, {".env": "", "requirements.txt": "", "entrypoint.py": "", "key.pem": ""})
    for folder in ("migrator/__pycache__", "migrations", ".git", "tests"):
        write_folder(tmp_path / folder, {"a.py": "", "a.pyc": "", ".env": ""})
    write_folder(tmp_path, {"Dockerfile": "FROM scratch\nCOPY . /\n"})
    shutil.copy(REPOSITORY / ".dockerignore", tmp_path)
    words = ["build", "--output", str(tmp_path / "sent"), str(tmp_path)]
    docker_command(*words, env=environment, check=True)
    sent = {path.relative_to(tmp_path / "sent") for path in (tmp_path / "sent").rglob("*.*")}
    assert {path.name for path in (tmp_path / "sent").iterdir()} == wanted
    assert {str(path) for path in sent} == {"requirements.txt", "entrypoint.py", "migrations/a.py"}


def test_the_job_alone_is_labelled_too(environment: dict[str, str], runner_image: str) -> None:
    form = "{{json .Config.Labels}}"
    shown = docker_command("image", "inspect", "--format", form, runner_image, env=environment)
    labels = json.loads(shown.stdout)
    assert labels["org.opencontainers.image.version"] == __version__
    assert labels["org.opencontainers.image.revision"] == REVISION
