"""docs/ci: the files that others copy, run in a clone with a branch as a service would."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.builders import write_folder
from tests.conftest import Database, in_charge
from tests.job import ROOT, run_job
from tests.postgres import Address

CI = ROOT / "docs" / "ci"
BASE = {"001_a.sql": "CREATE TABLE a (id int, note text);\n", "003_c.sql": "SELECT 3;\n"}
INDEX = {"004_index.sql": "SELECT 1;\nCREATE INDEX a_note ON a (note);\n"}


def read(name: str) -> Any:
    return yaml.safe_load((CI / name).read_text())


class Runner:
    """A clone of a repository on a branch, and the programs that the files call."""

    def __init__(self, place: Path, **settings: str) -> None:
        self.clone, origin, programs = place / "clone", place / "origin", place / "programs"
        programs.mkdir()
        job = f'exec {sys.executable} {ROOT / "entrypoint.py"} "$@"'
        pip = '[ "$*" = "-m pip install --quiet migrator-job" ] || exec /usr/bin/python3 "$@"'
        gh = f'echo "$@" >> {place}/gh; cat "$5" >> {place}/comment'
        for name, text in {"migrator": job, "python3": pip, "pip": ":", "gh": gh}.items():
            (programs / name).write_text(f"#!/bin/bash\n{text}\n")
            (programs / name).chmod(0o755)
        self.summary = place / "summary"
        self.settings = {
            **{"PATH": f"{programs}:{os.environ['PATH']}", "HOME": str(place)},
            **{"GITHUB_STEP_SUMMARY": str(self.summary), "LOG_FORMAT": "text", **settings},
        }
        write_folder(origin / "migrations", BASE)
        self.git(origin, "init", "-q", "-b", "main")
        self.commit(origin)
        self.git(place, "clone", "-q", str(origin), str(self.clone))
        self.git(self.clone, "switch", "-q", "-c", "branch")

    def git(self, where: Path, *words: str) -> None:
        who = ["-c", "user.name=a", "-c", "user.email=a@b", "-c", "gc.auto=0"]
        subprocess.run(["git", "-C", str(where), *who, *words], check=True, capture_output=True)

    def commit(self, where: Path, **files: str) -> None:
        write_folder(where / "migrations", files)
        self.git(where, "add", ".")
        self.git(where, "commit", "-q", "-m", "a")

    def add(self, files: dict[str, str]) -> None:
        self.commit(self.clone, **files)

    def run(self, script: str, **settings: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", script],
            cwd=self.clone,
            env={**self.settings, **settings},
            capture_output=True,
            text=True,
        )


def values(inputs: dict[str, str], found: dict[str, str]) -> dict[str, str]:
    """The environment of a step: what it takes of the inputs."""
    names = {name: re.sub(r"\$\{\{ (?:inputs\.)?(\S+) \}\}", r"\1", v) for name, v in found.items()}
    return {name: inputs.get(key, "") for name, key in names.items()}


@pytest.fixture
def live(database: Database, tmp_path: Path) -> Database:
    """A database with the files of main."""
    assert run_job(database.url, write_folder(tmp_path / "main", BASE)).code == 0
    database.query("INSERT INTO a SELECT i, repeat('x', 1000) FROM generate_series(1, 20000) AS i")
    return database


def test_the_action_of_github(live: Database, tmp_path: Path, server: Address) -> None:
    action = read("github/action.yml")
    workflow = read("github/workflow.yml")
    [job] = workflow["jobs"].values()
    given = job["steps"][-1]["with"]
    assert set(given) <= set(action["inputs"])
    inputs = {name: str(found.get("default", "")) for name, found in action["inputs"].items()}
    inputs |= {"base": "main", "comment": "7", "database-url": live.url}
    inputs["shadow-database-url"] = in_charge(server).url
    runner = Runner(tmp_path)
    runner.add(INDEX)
    codes, out = [], ""
    for step in action["runs"]["steps"]:
        assert "${{" not in step["run"], "a value in a script is a way in"
        done = runner.run(step["run"], **values(inputs, step.get("env", {})))
        codes.append(done.returncode)
        out += done.stdout
    assert codes == [0, 0, 17, 0], out
    place = "::error file=migrations/004_index.sql,line=2,title=migrator%3A scan::"
    assert place in out
    assert "`CREATE INDEX CONCURRENTLY a_note ON public.a (note)`" in out
    page = runner.summary.read_text()
    assert "`up` would apply 004_index." in page
    assert (tmp_path / "comment").read_text() == page
    assert (tmp_path / "gh").read_text().startswith("pr comment 7 --body-file migrations.md")


def test_the_job_of_gitlab(live: Database, tmp_path: Path, server: Address) -> None:
    [job] = read("gitlab.yml").values()
    settings = {"CI_MERGE_REQUEST_TARGET_BRANCH_NAME": "main", "DATABASE_URL": live.url}
    runner = Runner(tmp_path, SHADOW_DATABASE_URL=in_charge(server).url, **settings)
    runner.add(INDEX)
    done = runner.run("\n".join(job["script"]))
    assert done.returncode == 17, done.stderr
    assert runner.run("\n".join(job["after_script"])).returncode == 0
    assert "004_index" in (runner.clone / job["artifacts"]["paths"][0]).read_text()
    runner.add({"004_index.sql": "CREATE TABLE b (id int);\n"})
    assert runner.run("\n".join(job["script"])).returncode == 0
    runner.add({"002_late.sql": "SELECT 2;\n"})
    assert runner.run("\n".join(job["script"])).returncode == 13


def test_the_hooks_before_a_commit(tmp_path: Path, server: Address) -> None:
    [repo] = read("pre-commit.yaml")["repos"]
    order, tables = (hook["entry"] for hook in repo["hooks"])
    runner = Runner(tmp_path, SHADOW_DATABASE_URL=in_charge(server).url)
    runner.add(INDEX)
    assert [runner.run(entry).returncode for entry in (order, tables)] == [0, 17]
    runner.add({"002_late.sql": "SELECT 2;\n"})
    assert runner.run(order).returncode == 13
    assert all(re.match(hook["files"], "migrations/002_late.sql") for hook in repo["hooks"])


def test_the_page_names_its_files_and_the_commands_are_real() -> None:
    page = (ROOT / "docs" / "ci.md").read_text()
    linked = set(re.findall(r"\]\(ci/((?:github/)?[\w-]+\.ya?ml)\)", page))
    assert linked == {str(path.relative_to(CI)) for path in CI.rglob("*.y*ml")}
    [squawk] = re.findall("```sh\n(.*?)```", page, re.DOTALL)
    words = shlex.split(squawk.replace("\\\n", " "))
    assert words[2].startswith("squawk-cli@")
