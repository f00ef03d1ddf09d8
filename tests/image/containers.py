"""Containers as a cluster starts them: nothing is writable, no capability is left."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

import docker
import psycopg2

T = TypeVar("T")

REPOSITORY = Path(__file__).parents[2]
PASSWORD = "p@ss/w:rd %41#'"  # what a password may hold; never to be seen in a log
MIGRATIONS = "/app/migrations"
#: What Pod Security's `restricted` comes down to on an engine.
HARDENED = {"read_only": True, "cap_drop": ["ALL"], "security_opt": ["no-new-privileges"]}


def until(condition: Callable[[], T], seconds: float, what: str) -> T:
    """The first true value of `condition`, asked again and again for at most `seconds`."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {seconds} s: {what}")
        time.sleep(0.02)
    return value


def mounted(source: Path, target: str, mode: str = "ro") -> dict[str, dict[str, str]]:
    """One entry of `volumes`."""
    return {str(source): {"bind": target, "mode": mode}}


@dataclass(frozen=True)
class Outcome:
    """What a container left behind."""

    code: int
    stdout: str
    stderr: str

    @property
    def events(self) -> list[dict[str, Any]]:
        """The log; a line that is not one JSON object fails the test."""
        lines = [json.loads(line) for line in self.stderr.splitlines()]
        assert all(isinstance(line, dict) for line in lines), self.stderr
        return lines

    def named(self, event: str) -> list[dict[str, Any]]:
        return [line for line in self.events if line["event"] == event]


@dataclass(frozen=True)
class Job:
    """The job in a running container."""

    container: Any

    def wait(self, seconds: float = 60) -> Outcome:
        """Its outcome; TimeoutError when it is still at work after `seconds`."""
        until(lambda: self._state() == "exited", seconds, "the container ended")
        return Outcome(
            code=self.container.wait()["StatusCode"],
            stdout=self.container.logs(stdout=True, stderr=False).decode(),
            stderr=self.container.logs(stdout=False, stderr=True).decode(),
        )

    def send(self, signal: str) -> None:
        self.container.kill(signal)

    def finished(self) -> float:
        """When its process had ended, in seconds since the epoch; the engine's own record."""
        self.container.reload()
        return datetime.fromisoformat(self.container.attrs["State"]["FinishedAt"]).timestamp()

    def _state(self) -> str:
        self.container.reload()
        return str(self.container.status)


class Runner:
    """Starts the job of one image on one network; every container goes when it is closed."""

    def __init__(self, engine: docker.DockerClient, image: str, network: str) -> None:
        self.engine, self.image, self.network = engine, image, network
        self.made: list[Any] = []

    def start(self, *words: str, image: str | None = None, **options: Any) -> Job:
        """Start a command of the job; `options` are those of docker's `run`."""
        options = {"network": self.network, **HARDENED, **options}
        container = self.engine.containers.create(image or self.image, list(words), **options)
        self.made.append(container)  # before the start, which may fail
        container.start()
        return Job(container)

    def run(self, *words: str, **options: Any) -> Outcome:
        """Start it and wait for its end."""
        return self.start(*words, **options).wait()

    def python(self, script: str, **options: Any) -> Outcome:
        """Run a script by the interpreter of the image, in the way in which the job runs."""
        (program, *flags, _) = self.engine.images.get(self.image).attrs["Config"]["Entrypoint"]
        return self.run(*flags, "-c", script, entrypoint=[program], **options)

    def close(self) -> None:
        for container in self.made:
            container.remove(force=True, v=True)


@dataclass(frozen=True)
class Database:
    """One database in a PostgreSQL container: a name on its network, a port on this machine."""

    host: str
    port: int  #: on this machine's loopback
    name: str = "postgres"

    @property
    def url(self) -> str:
        """For the job, inside the network."""
        return f"postgresql://postgres:{quote(PASSWORD, safe='')}@{self.host}:5432/{self.name}"

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        """The rows of one query, asked from this machine."""
        connection = psycopg2.connect(
            host="127.0.0.1",
            port=self.port,
            dbname=self.name,
            user="postgres",
            password=PASSWORD,
            connect_timeout=5,
        )
        with closing(connection), connection.cursor() as cursor:
            connection.autocommit = True
            cursor.execute(sql)
            return cursor.fetchall() if cursor.description else []

    def answers(self) -> bool:
        try:
            return bool(self.query("SELECT 1"))
        except psycopg2.OperationalError:
            return False


def docker_command(
    *words: str, env: Mapping[str, str], seconds: float = 300, check: bool = False
) -> subprocess.CompletedProcess[str]:
    """Run `docker …` in the repository, as a person would."""
    command: Sequence[str] = ["docker", *words]
    done = subprocess.run(
        command, cwd=REPOSITORY, env=env, capture_output=True, text=True, timeout=seconds
    )
    if check and done.returncode:
        raise AssertionError(f"{' '.join(command)}: {done.stdout}\n{done.stderr}")
    return done
