"""The job as tests run it: in this process for speed, or as a process of its own."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from select import select
from threading import Timer, main_thread
from time import monotonic, sleep
from typing import Any

from migrator.cli.main import main
from tests.zygote import Forked, can_be_forked

ROOT = Path(__file__).parent.parent
RUN_SECONDS = 240.0  #: in this process a run that takes longer is stopped, and its test fails
KILLED_SECONDS = 30.0  #: for the kernel to take what was killed out of the way
STARTED: list[Job] = []  #: by the test at hand, which may have failed and left them at work


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


class Listener(io.StringIO):
    """A stderr that does `act` once the log says `event`, in the middle of the run."""

    def __init__(self, event: str, act: Callable[[], object]) -> None:
        super().__init__()
        self.event, self.act = event, act

    def write(self, text: str) -> int:
        written = super().write(text)
        if self.event and f'"event": "{self.event}"' in text:
            self.event = ""
            self.act()
        return written


def run_job(url: str | None, folder: Path, *argv: str, **settings: str) -> Result:
    """One run in this process; `settings` is the rest of its environment."""
    return run_listening(io.StringIO(), url, folder, *argv, **settings)


def run_listening(
    stderr: io.StringIO, url: str | None, folder: Path, *argv: str, **settings: str
) -> Result:
    """As `run_job`, and the log goes to a stream of the test's."""
    stdout = io.StringIO()
    with _stopped_after(RUN_SECONDS) as stopped:
        code = main(argv, _environment(url, folder, settings), stdout, stderr)
    assert not stopped, f"at work for {RUN_SECONDS:.0f} s: {stderr.getvalue()}"
    return Result(code, stderr.getvalue(), stdout.getvalue())


@contextmanager
def _stopped_after(seconds: float) -> Iterator[list[str]]:
    """Within, a run that takes longer hears SIGTERM, and the list says so."""
    told: list[str] = []

    def stop() -> None:
        told.append("SIGTERM")
        # any other thread would let the main one wait on
        signal.pthread_kill(main_thread().ident or 0, signal.SIGTERM)

    timer = Timer(seconds, stop)
    timer.daemon = True
    timer.start()
    try:
        yield told
    finally:
        timer.cancel()


class Job:
    """A run as a process of its own, for signals and for several at once."""

    _release = ROOT

    def __init__(self, url: str | None, folder: Path, *argv: str, **settings: str) -> None:
        self._start((), _environment(url, folder, settings), argv)

    @classmethod
    def inside(
        cls, command: Sequence[str], url: str | None, folder: Path, *argv: str, **settings: str
    ) -> Job:
        """As `Job`, behind a command that becomes the one it is given, such as `unshare --net`."""
        made = cls.__new__(cls)
        made._start(command, _environment(url, folder, settings), argv)
        return made

    @classmethod
    def of(cls, release: Path, url: str | None, folder: Path, *argv: str, **settings: str) -> Job:
        """As `Job`, of the release that lies in the directory `release`."""
        made = cls.__new__(cls)
        made._release = release
        made._start((), _environment(url, folder, settings), argv)
        return made

    def _start(
        self, inside: Sequence[str], settings: Mapping[str, str], argv: Sequence[str]
    ) -> None:
        environment = {"PATH": os.environ["PATH"], **settings}
        self._heard = b""
        self.process: subprocess.Popen[str] | Forked
        STARTED.append(self)
        if not inside and self._release == ROOT and can_be_forked(settings):
            self.process = Forked(argv, environment)
            return
        self.process = subprocess.Popen(
            [*inside, sys.executable, str(self._release / "entrypoint.py"), *argv],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,  # its children can be killed with it
        )

    def hear(
        self,
        event: str,
        wanted: Callable[[dict[str, Any]], Any] = bool,
        timeout: float = 60.0,
        **fields: object,
    ) -> dict[str, Any]:
        """Wait until the run has logged `event`, with these fields and as `wanted`: that line."""
        assert self.process.stderr
        ends = monotonic() + timeout
        while True:
            for line in self.heard():
                if line["event"] == event and line | fields == line and wanted(line):
                    return line
            ready, _, _ = select([self.process.stderr], [], [], max(0.0, ends - monotonic()))
            chunk = os.read(self.process.stderr.fileno(), 1 << 16) if ready else b""
            assert chunk, f"no {event} was heard: {self._heard.decode()}"
            self._heard += chunk

    def heard(self) -> list[dict[str, Any]]:
        """The lines that `hear` has read so far; they stand in the result as well."""
        whole, _, _ = self._heard.rpartition(b"\n")
        return [json.loads(line) for line in whole.splitlines()]

    def end(self) -> None:
        """Kill it and its children, if they still run, and close its pipes."""
        assert self.process.stdout
        assert self.process.stderr
        if not self.process.stdout.closed:  # else all have ended, and the number may be another's
            self._kill()
        self.process.wait(timeout=KILLED_SECONDS)
        self.process.stdout.close()
        self.process.stderr.close()

    def result(self, timeout: float = 60.0) -> Result:
        """What it left; a run that is at work after `timeout` seconds is killed: TimeoutExpired."""
        try:
            stdout, stderr = self.process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            self._kill()
            self.process.communicate(timeout=KILLED_SECONDS)
            raise
        return Result(self.process.wait(), self._heard.decode() + stderr, stdout)

    def _kill(self) -> None:
        """Its children too, such as the one that cancels a statement: each holds the pipes open."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)


def until(condition: Callable[[], Any], timeout: float = 30.0) -> Any:
    """Wait for a condition to hold, and return what it returned.

    Each look costs a connection, which other tests on the machine pay for: the pauses grow.
    """
    ends, pause = monotonic() + timeout, 0.01
    while not (found := condition()):
        assert monotonic() < ends, "the condition did not come to hold"
        sleep(pause)
        pause = min(1.3 * pause, 0.05)
    return found


def _environment(url: str | None, folder: Path, settings: Mapping[str, str]) -> dict[str, str]:
    return {
        "MIGRATIONS_DIR": str(folder),
        "TERMINATION_LOG": "",
        "HOSTNAME": "tester",
        **({} if url is None else {"DATABASE_URL": url}),
        **settings,
    }
