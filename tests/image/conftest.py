"""A real engine, the image built once from this checkout, and PostgreSQL beside it."""

from __future__ import annotations

import os
import secrets
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, NoReturn

import docker
import pytest
import yaml

from tests.image.containers import PASSWORD, REPOSITORY, Database, Runner, docker_command, until

IMAGE = "migrator:test"
RUNNER_IMAGE = "migrator-runner:test"
POSTGRES_STAND_IN = "migrator-postgres:test"
VERSION, REVISION = "0.0.0-test", "0123456789ab"
#: BuildKit for engines on which it is not the default yet: the Dockerfile uses a secret.
ENVIRONMENT = {**os.environ, "DOCKER_BUILDKIT": "1"}


def without(what: str, remedy: str) -> NoReturn:
    """Skip the test for want of a tool, or fail it where the tool is a must."""
    if os.environ.get("REQUIRE_DOCKER") == "1":
        pytest.fail(f"REQUIRE_DOCKER=1, but {what} is missing: {remedy}")
    pytest.skip(f"needs {what}: {remedy}")


@pytest.fixture(scope="session")
def environment() -> dict[str, str]:
    """The environment for `docker` on the command line, once it is known to reach an engine."""
    remedy = "install docker.io or Docker Desktop, and start it."
    try:
        found = docker_command("version", env=ENVIRONMENT, seconds=30)
    except (FileNotFoundError, subprocess.TimeoutExpired) as error:
        without("a Docker engine", f"{remedy} ({error})")
    if found.returncode:
        without("a Docker engine", f"{remedy} ({found.stderr.strip()})")
    return ENVIRONMENT


@pytest.fixture(scope="session")
def engine(environment: dict[str, str]) -> Iterator[docker.DockerClient]:
    with closing(docker.from_env()) as client:
        yield client


def ca_words() -> list[str]:
    """What a build needs behind a proxy that inspects TLS."""
    bundle = os.environ.get("BUILD_CA") or os.environ.get("PIP_CERT")
    return ["--secret", f"id=ca,src={bundle}"] if bundle else []


def build(tag: str, *words: str, directory: Path = REPOSITORY) -> str:
    """Build an image as `make image` does; BUILD_CA names what pip must trust on the way."""
    command = ["build", "--progress=plain", "--tag", tag, *ca_words(), *words, str(directory)]
    docker_command(*command, env=ENVIRONMENT, seconds=900, check=True)
    return tag


@pytest.fixture(scope="session")
def image(environment: dict[str, str]) -> str:
    """The image with this checkout's migrations."""
    labels = (f"VERSION={VERSION}", f"REVISION={REVISION}")
    return build(IMAGE, *(word for label in labels for word in ("--build-arg", label)))


@pytest.fixture(scope="session")
def runner_image(image: str) -> str:
    """The image without migrations, for teams that bring a folder."""
    return build(RUNNER_IMAGE, "--target=runner", "--build-arg", f"REVISION={REVISION}")


@pytest.fixture(scope="session")
def postgres_image(environment: dict[str, str]) -> str:
    """What docker-compose.yml asks for; a stand-in where it is not here and cannot be fetched."""
    wanted = os.environ.get("POSTGRES_IMAGE")
    if not wanted:
        compose = yaml.safe_load((REPOSITORY / "docker-compose.yml").read_text())
        wanted = compose["services"]["db"]["image"].partition(":-")[2].rstrip("}")
    if docker_command("image", "inspect", wanted, env=environment).returncode == 0:
        return wanted
    try:
        docker_command("pull", "--quiet", wanted, env=environment, seconds=180, check=True)
    except (AssertionError, subprocess.TimeoutExpired):
        return build(POSTGRES_STAND_IN, directory=Path(__file__).parent / "postgres")
    return wanted


@pytest.fixture(scope="session")
def postgres_18_layout(environment: dict[str, str]) -> str:
    """A stand-in that looks for its data where the official image does from 18 on."""
    places = ("PGDATA=/var/lib/postgresql/18/docker", "DECLARED=/var/lib/postgresql")
    words = (word for place in places for word in ("--build-arg", place))
    directory = Path(__file__).parent / "postgres"
    return build("migrator-postgres-18:test", *words, directory=directory)


@pytest.fixture(scope="session")
def network(engine: docker.DockerClient) -> Iterator[str]:
    made = engine.networks.create(f"migrator-test-{secrets.token_hex(4)}")
    yield str(made.name)
    made.remove()


StartPostgres = Callable[[], tuple[Any, Database]]


@pytest.fixture(scope="session")
def start_postgres(
    engine: docker.DockerClient, network: str, postgres_image: str
) -> Iterator[StartPostgres]:
    """Start servers: `container, database = start_postgres()`."""
    started: list[Any] = []

    def start() -> tuple[Any, Database]:
        container = engine.containers.run(
            postgres_image,
            ["postgres", "-c", "fsync=off"],
            detach=True,
            name=f"db-{secrets.token_hex(4)}",
            network=network,
            environment={"POSTGRES_PASSWORD": PASSWORD},
            ports={"5432/tcp": ("127.0.0.1", None)},
        )
        started.append(container)

        def port() -> int | None:
            container.reload()
            published = container.ports.get("5432/tcp")
            return int(published[0]["HostPort"]) if published else None

        database = Database(str(container.name), until(port, 10, "a port is published") or 0)
        until(database.answers, 90, "PostgreSQL answers in its container")
        return container, database

    yield start
    for container in started:
        container.remove(force=True, v=True)


@pytest.fixture(scope="session")
def postgres(start_postgres: StartPostgres) -> Database:
    """One server for all tests of the image."""
    _, database = start_postgres()
    return database


@pytest.fixture
def database(postgres: Database) -> Iterator[Database]:
    """A fresh, empty database, reached from the containers of `job`."""
    name = f"test_{secrets.token_hex(6)}"
    postgres.query(f"CREATE DATABASE {name} TEMPLATE template0")
    yield Database(postgres.host, postgres.port, name)
    postgres.query(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def job(engine: docker.DockerClient, image: str, network: str) -> Iterator[Runner]:
    """Runs the image: `job.run("up", environment={…})`."""
    with closing(Runner(engine, image, network)) as made:
        yield made
