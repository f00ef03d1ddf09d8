"""The job as a process forked from an interpreter that has imported it already.

To start Python and to import the job takes ten times the CPU of a run without work. A forked run
has its own process group, environment, folder and streams, and the signals that `entrypoint.py`
blocks; only its command line is another, and it is a child of the server.
"""

from __future__ import annotations

import atexit
import gc
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import closing, suppress
from functools import cache
from pathlib import Path
from select import select
from time import monotonic

ROOT = Path(__file__).parent.parent
#: What an interpreter or a library reads once, at its start: such a run has to be started.
READ_AT_START = ("PYTHON", "LC_", "LANG", "TZ", "LD_", "LOC", "MALLOC_", "OPENSSL_", "SSL_")
LONGEST = 1 << 17  #: bytes of a request


def can_be_forked(environment: Mapping[str, str]) -> bool:
    return sys.platform == "linux" and not any(n.startswith(READ_AT_START) for n in environment)


class Forked:
    """As much of `subprocess.Popen` as the tests ask of a run."""

    def __init__(self, argv: Sequence[str], environment: Mapping[str, str]) -> None:
        request = json.dumps([list(argv), dict(environment), str(Path.cwd())]).encode()
        self._line, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        outputs, inputs = zip(os.pipe(), os.pipe(), strict=True)
        self.stdout, self.stderr = (open(end, encoding="utf-8") for end in outputs)  # noqa: PTH123, SIM115
        with theirs:
            socket.send_fds(server(), [request], [*inputs, theirs.fileno()])
        for end in inputs:
            os.close(end)
        self.pid = int(self._line.recv(64))
        self.returncode: int | None = None

    def poll(self) -> int | None:
        return self._ended(0)

    def wait(self, timeout: float | None = None) -> int:
        code = self._ended(timeout)
        if code is None:
            raise subprocess.TimeoutExpired("entrypoint.py", timeout or 0)
        return code

    def _ended(self, timeout: float | None) -> int | None:
        if self.returncode is None and select([self._line], [], [], timeout)[0]:
            with self._line:
                self.returncode = int(self._line.recv(64))
        return self.returncode

    def communicate(self, timeout: float) -> tuple[str, str]:
        ends = monotonic() + timeout
        said = {self.stdout: b"", self.stderr: b""}
        left = list(said)
        while left:
            ready, _, _ = select(left, [], [], max(0.0, ends - monotonic()))
            if not ready:
                raise subprocess.TimeoutExpired("entrypoint.py", timeout)
            for stream in ready:
                chunk = os.read(stream.fileno(), 1 << 16)
                said[stream] += chunk
                if not chunk:
                    left.remove(stream)
        self.wait(max(0.0, ends - monotonic()))
        for stream in said:
            stream.close()
        return said[self.stdout].decode(), said[self.stderr].decode()

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


@cache
def server() -> socket.socket:
    """Where to ask for a run; the server ends with this process."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        process = subprocess.Popen(
            [sys.executable, "-c", "from tests.zygote import serve; serve()"],
            cwd=ROOT,
            env={"PATH": os.environ["PATH"]},
            stdin=theirs.fileno(),
            stdout=subprocess.PIPE,  # what a run writes to is a pipe too
            stderr=subprocess.PIPE,
            start_new_session=True,
        )

    def end() -> None:
        ours.close()
        process.communicate()

    atexit.register(end)
    return ours


def serve() -> None:
    """Fork a run for each request, and report its process and its end, until no more can come."""
    import entrypoint  # noqa: F401 - it blocks the signals
    from migrator.cli.main import program

    woken, wake = os.pipe2(os.O_NONBLOCK)
    signal.set_wakeup_fd(wake)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    running: dict[int, socket.socket] = {}
    gc.freeze()  # what is collected is copied
    with closing(socket.socket(fileno=os.dup(0))) as control:
        while True:
            ready, _, _ = select([control.fileno(), woken], [], [])
            if woken in ready:
                os.read(woken, 1 << 10)
                report(running)
            if control.fileno() in ready:
                request, ends, _, _ = socket.recv_fds(control, LONGEST, 3)
                if not request:
                    return
                out, err, line = ends
                pid = os.fork()
                if pid == 0:
                    become(request, out, err, line)
                    program()
                os.close(out)
                os.close(err)
                running[pid] = socket.socket(fileno=line)


def report(running: dict[int, socket.socket]) -> None:
    """The codes of those that have ended, as `Popen.returncode` has them."""
    with suppress(ChildProcessError):
        while (ended := os.waitpid(-1, os.WNOHANG))[0]:
            with running.pop(ended[0]) as line, suppress(OSError):  # nobody may wait for it
                line.send(str(os.waitstatus_to_exitcode(ended[1])).encode())


def become(request: bytes, out: int, err: int, line: int) -> None:
    """Make this process what a new one would be."""
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.setsid()
    os.write(line, str(os.getpid()).encode())
    for end, place in ((os.open(os.devnull, os.O_RDONLY), 0), (out, 1), (err, 2)):
        os.dup2(end, place)
    os.closerange(3, 1 << 10)
    argv, environment, folder = json.loads(request)
    os.environ.update(environment)
    os.chdir(folder)
    sys.path[0] = str(ROOT)
    sys.argv = [str(ROOT / "entrypoint.py"), *argv]
