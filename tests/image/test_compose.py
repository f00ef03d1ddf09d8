"""docker-compose.yml, judged by the codes of its containers."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from migrator import __version__
from tests.builders import write_folder
from tests.image.conftest import REVISION, without
from tests.image.containers import REPOSITORY, docker_command, until


class Compose:
    """One project of its own; `words` go to `docker compose`."""

    def __init__(self, env: dict[str, str], directory: Path) -> None:
        self.env, self.directory = env, directory
        self.files = ["docker-compose.yml"]

    def __call__(self, *words: str, check: bool = False) -> subprocess.CompletedProcess[str]:
        files = [word for file in self.files for word in ("--file", file)]
        return docker_command("compose", *files, *words, env=self.env, check=check)

    def override(self, services: dict[str, Any]) -> None:
        """Change services for this test, as a second --file would."""
        file = self.directory / f"override-{len(self.files)}.json"
        file.write_text(json.dumps({"services": services}))
        self.files.append(str(file))

    def break_migration(self) -> None:
        folder = write_folder(self.directory / "broken", {"001_broken.sql": "SELECT nothing;\n"})
        self.override({"migrate": {"volumes": [f"{folder}:/migrations:ro"]}})

    def state(self, service: str) -> tuple[str, int]:
        """Of the service's container: its state, and its code once it has ended."""
        shown = self("ps", "--all", "--format", "json", service, check=True).stdout
        (line,) = shown.splitlines()
        found = json.loads(line)
        return found["State"], found["ExitCode"]

    def ended(self, service: str) -> int:
        """The code of a service that ends by itself."""
        until(lambda: self.state(service)[0] == "exited", 300, f"{service} ended")
        return self.state(service)[1]

    def applied(self) -> list[str]:
        """What the log of `migrate` says was applied, oldest run first."""
        container = self("ps", "--all", "--quiet", "migrate", check=True).stdout.strip()
        logs = docker_command("logs", container, env=self.env, check=True).stderr
        lines = [json.loads(line) for line in logs.splitlines()]
        return [line["version"] for line in lines if line["event"] == "migration.applied"]


@pytest.fixture
def compose(
    environment: dict[str, str], image: str, postgres_image: str, tmp_path: Path
) -> Iterator[Compose]:
    if docker_command("compose", "version", env=environment).returncode:
        without("docker compose", "install the Compose plugin, version 2.")
    env = {
        **environment,
        "COMPOSE_PROJECT_NAME": f"migrator-test-{secrets.token_hex(4)}",
        "IMAGE": image,
        "POSTGRES_IMAGE": postgres_image,
        "POSTGRES_PASSWORD": "p@ss/w:rd %41#'",
    }
    made = Compose(env, tmp_path)
    # a minute is too little for a new cluster on a machine that runs other tests beside
    made.override({"migrate": {"environment": {"CONNECT_TIMEOUT": "5min"}}})
    yield made
    made("down", "--volumes", "--remove-orphans", "--timeout", "1", check=True)


def test_up_hands_on_the_code_of_the_job_when_asked_to(compose: Compose) -> None:
    words = ("up", "--no-build", "--exit-code-from", "migrate", "migrate")
    first = compose(*words)
    assert first.returncode == 0, first.stdout + first.stderr
    applied = compose.applied()
    assert applied

    second = compose(*words)
    assert second.returncode == 0, second.stdout + second.stderr
    assert compose.applied() == applied, "the second run applied something"


def test_up_hands_on_the_code_of_a_broken_migration_when_asked_to(compose: Compose) -> None:
    compose.break_migration()
    done = compose("up", "--no-build", "--exit-code-from", "migrate", "migrate")
    assert done.returncode == 15, done.stdout + done.stderr


def test_run_hands_on_the_code_of_the_job(compose: Compose) -> None:
    good = compose("run", "--rm", "migrate")
    assert good.returncode == 0, good.stderr
    status = compose("run", "--rm", "migrate", "status", "--json")
    assert status.returncode == 0, status.stderr
    assert json.loads(status.stdout)
    assert compose("run", "--rm", "migrate", "frobnicate").returncode == 2


def test_plain_up_does_not_hand_on_the_code(compose: Compose) -> None:
    compose.break_migration()
    done = compose("up", "--no-build", "migrate")
    assert done.returncode == 0, done.stderr
    assert compose.state("migrate") == ("exited", 15)


def test_app_starts_when_the_schema_is_there(compose: Compose) -> None:
    compose("up", "--no-build", "--detach", check=True)
    assert compose.ended("migrate") == 0
    assert compose.ended("app") == 0
    shown = compose("logs", "--no-log-prefix", "app", check=True).stdout
    assert "schema_migrations" in shown
    assert "suppliers" in shown


def test_a_broken_migration_keeps_app_down(compose: Compose) -> None:
    compose.break_migration()
    done = compose("up", "--no-build", "--detach")
    assert done.returncode != 0
    assert compose.ended("migrate") == 15
    assert compose.state("app")[0] == "created", "app was started"


def test_the_job_itself_waits_until_db_is_up(compose: Compose) -> None:
    compose.override({"db": {"healthcheck": {"disable": True}}})
    compose("up", "--no-build", "--detach", "--no-deps", "migrate", check=True)
    until(lambda: "connection.retry" in compose("logs", "migrate").stdout, 30, "migrate retries")
    compose("up", "--no-build", "--detach", "--no-deps", "db", check=True)
    assert compose.ended("migrate") == 0


def test_the_healthcheck_may_gate_the_job_too(compose: Compose) -> None:
    compose.override({"migrate": {"depends_on": {"db": {"condition": "service_healthy"}}}})
    done = compose("run", "--rm", "migrate")
    assert done.returncode == 0, done.stderr
    assert "connection.retry" not in done.stdout + done.stderr


def test_an_edit_of_the_folder_needs_no_build(compose: Compose) -> None:
    shown = json.loads(compose("config", "--format", "json", check=True).stdout)
    [volume] = shown["services"]["migrate"]["volumes"]
    assert (volume["source"], volume["read_only"]) == (str(REPOSITORY / "migrations"), True)
    files = {"001_a.sql": "CREATE TABLE a ();\n"}
    folder = write_folder(compose.directory / "mine", files)
    compose.override({"migrate": {"volumes": [f"{folder}:/migrations:ro"]}})
    assert compose("run", "--rm", "migrate").returncode == 0
    write_folder(folder, {"002_b.sql": "CREATE TABLE b ();\n"})
    second = compose("run", "--rm", "migrate", "up", "--json")
    assert second.returncode == 0, second.stderr
    assert [done["version"] for done in json.loads(second.stdout)["applied"]] == ["002_b"]


def test_the_files_of_the_image_are_one_flag_away(compose: Compose) -> None:
    compose.break_migration()
    done = compose("run", "--rm", "migrate", "up", "--migrations-dir", "/app/migrations")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(("wanted", "json_lines"), [("text", False), ("json", True)])
def test_log_format_is_passed_on(compose: Compose, wanted: str, json_lines: bool) -> None:
    compose.env["LOG_FORMAT"] = wanted
    done = compose("run", "--rm", "migrate", "status")
    assert done.returncode == 0, done.stderr
    assert ('"event": "run.started"' in done.stderr) is json_lines


def test_the_volume_serves_the_layout_of_postgresql_18(
    compose: Compose, postgres_18_layout: str
) -> None:
    compose.env["POSTGRES_IMAGE"] = postgres_18_layout
    first = compose("run", "--rm", "migrate", "up", "--json")
    assert first.returncode == 0, first.stderr
    compose("down", check=True)  # the volume stays
    second = compose("run", "--rm", "migrate", "up", "--json")
    assert json.loads(second.stdout)["outcome"] == "nothing to do"


def test_without_pgdata_that_image_would_refuse_the_volume(
    compose: Compose, postgres_18_layout: str
) -> None:
    compose.env["POSTGRES_IMAGE"] = postgres_18_layout
    compose.override({"db": {"environment": {"PGDATA": "/var/lib/postgresql/18/docker"}}})
    compose("up", "--detach", "--no-deps", "db", check=True)
    assert compose.ended("db") == 1


def test_a_build_by_compose_has_the_labels(compose: Compose) -> None:
    compose.env |= {"IMAGE": "migrator-compose:test", "REVISION": REVISION}
    compose.env["BUILD_CA"] = (
        os.environ.get("BUILD_CA") or os.environ.get("PIP_CERT") or "/dev/null"
    )
    compose("build", "migrate", check=True)
    form = "{{json .Config.Labels}}"
    shown = docker_command(
        "image", "inspect", "--format", form, compose.env["IMAGE"], env=compose.env
    )
    labels = json.loads(shown.stdout)
    assert labels["org.opencontainers.image.version"] == __version__
    assert labels["org.opencontainers.image.revision"] == REVISION
