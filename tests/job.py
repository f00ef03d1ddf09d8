"""The job as tests run it: in this process for speed, or as a process of its own."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from time import monotonic, sleep
from typing import Any

from migrator.cli import main

ROOT = Path(__file__).parent.parent


@dataclass(frozen=True)
class Result:
    """What a run left: its code, its log lines and its answer."""

    code: int
    stderr: str
    stdout: str

    @property
    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.stderr.splitlines()]

    @property
    def events(self) -> list[str]:
        return [line["event"] for line in self.lines]

    @property
    def report(self) -> dict[str, Any]:
        """The result as run.finished carries it, always the last line."""
        assert self.lines[-1]["event"] == "run.finished", self.stderr
        return self.lines[-1]

    @property
    def error(self) -> dict[str, Any]:
        found = self.report["error"]
        assert isinstance(found, dict), self.stderr
        return found

    @property
    def applied(self) -> list[str]:
        return [done["version"] for done in self.report["applied"]]

    def of(self, event: str) -> list[dict[str, Any]]:
        return [line for line in self.lines if line["event"] == event]


def run_job(url: str | None, folder: Path, *argv: str, **settings: str) -> Result:
    """One run in this process; `settings` is the rest of its environment."""
    stdout, stderr = io.StringIO(), io.StringIO()
    code = main(argv, _environment(url, folder, settings), stdout, stderr)
    return Result(code, stderr.getvalue(), stdout.getvalue())


class Job:
    """A run as a process of its own, for signals and for several at once."""

    def __init__(self, url: str, folder: Path, *argv: str, **settings: str) -> None:
        environment = {"PATH": os.environ["PATH"], **_environment(url, folder, settings)}
        self.process = subprocess.Popen(
            [sys.executable, str(ROOT / "entrypoint.py"), *argv],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def result(self, timeout: float = 60.0) -> Result:
        stdout, stderr = self.process.communicate(timeout=timeout)
        return Result(self.process.returncode, stderr, stdout)


def until(condition: Callable[[], Any], timeout: float = 30.0) -> Any:
    """Wait for a condition to hold, and return what it returned."""
    ends = monotonic() + timeout
    while not (found := condition()):
        assert monotonic() < ends, "the condition did not come to hold"
        sleep(0.01)
    return found


def _environment(url: str | None, folder: Path, settings: Mapping[str, str]) -> dict[str, str]:
    return {
        "MIGRATIONS_DIR": str(folder),
        "TERMINATION_LOG": "",
        "HOSTNAME": "tester",
        **({} if url is None else {"DATABASE_URL": url}),
        **settings,
    }
