"""docs/compose-pre-start.yml with a Compose that knows `pre_start`: when its step runs."""

from __future__ import annotations

import json
import secrets
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.image.conftest import without
from tests.image.containers import docker_command

EXAMPLE = Path(__file__).parents[2] / "docs" / "compose-pre-start.yml"
PROGRAM = Path(sys.executable).parent / "docker-compose"
DATABASE = {
    "environment": {"POSTGRES_PASSWORD": "p"},
    "healthcheck": {
        "test": ["CMD", "pg_isready", "--host=127.0.0.1", "--username=postgres"],
        "interval": "1s",
        "retries": 90,
    },
}
HISTORY = "SELECT count(*) FROM schema_migrations"


class Release:
    """The example for one release, with a database beside it; the application is a server."""

    def __init__(
        self, environment: dict[str, str], image: str, postgres: str, folder: Path
    ) -> None:
        self.image, self.postgres, self.name = image, postgres, secrets.token_hex(4)
        self.more = folder / "more.json"
        app = {"environment": {"POSTGRES_PASSWORD": "p"}}
        services = {"db": {"image": postgres, **DATABASE}, "app": app}
        self.more.write_text(json.dumps({"services": services}))
        self.env = {**environment, "DATABASE_URL": "postgresql://postgres:p@db/postgres"}
        self.tags: list[str] = []

    def push(self, release: str, image: str | None = None) -> None:
        """A tag that the example names; `image` is what it is of."""
        self.env["RELEASE"] = f"{self.name}-{release}"
        for kind, source in (("app", self.postgres), ("migrator", image or self.image)):
            tag = f"registry.example.com/shop/{kind}:{self.env['RELEASE']}"
            docker_command("tag", source, tag, env=self.env, check=True)
            self.tags.append(tag)

    def __call__(self, *words: str) -> subprocess.CompletedProcess[str]:
        files = ("--file", str(EXAMPLE), "--file", str(self.more))
        command = [str(PROGRAM), *files, "--project-name", f"migrator-test-{self.name}", *words]
        return subprocess.run(command, env=self.env, capture_output=True, text=True, timeout=300)

    def query(self, sql: str) -> str:
        words = ("psql", "--username=postgres", "--host=127.0.0.1", "-At", "-c", sql)
        return self("exec", "-T", "-e", "PGPASSWORD=p", "db", *words).stdout.strip()


@pytest.fixture
def release(
    environment: dict[str, str], image: str, postgres_image: str, tmp_path: Path
) -> Iterator[Release]:
    if not PROGRAM.exists():
        without("Compose 5.3", "install requirements-dev.txt on Linux.")
    made = Release(environment, image, postgres_image, tmp_path)
    made.push("1")
    done = made("up", "--detach", "--wait", "db")
    assert done.returncode == 0, done.stderr
    yield made
    made("down", "--volumes", "--remove-orphans", "--timeout", "1")
    docker_command("image", "rm", *set(made.tags), env=made.env)


def test_the_step_runs_before_the_application_and_once_for_each_definition(
    release: Release, runner_image: str
) -> None:
    first = release("up", "--detach", "app")
    assert first.returncode == 0, first.stderr
    applied = release.query(HISTORY)
    assert int(applied) > 0
    assert release("run", "--rm", "check").returncode == 0

    release.query("DROP TABLE schema_migrations, schema_migrations_log CASCADE")
    release.push("1", runner_image)  # the same tag once more
    again = release("up", "--detach", "app")
    assert again.returncode == 0, again.stderr
    assert release.query("SELECT to_regclass('schema_migrations')") == ""
    release.push("1")
    assert release("run", "--rm", "check").returncode == 24, "which is how it is noticed"

    release.push("2")
    third = release("up", "--detach", "app")
    assert third.returncode == 0, third.stderr
    assert release.query(HISTORY) == applied


def test_a_step_that_fails_keeps_the_application_down(release: Release) -> None:
    release.env["DATABASE_URL"] = "postgresql://postgres:wrong@db/postgres"
    done = release("up", "--detach", "app")
    assert done.returncode == 1
    assert "exited with code 16" in done.stderr
    assert release("ps", "--status", "running", "--services").stdout.split() == ["db"]
