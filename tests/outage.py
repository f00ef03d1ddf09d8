"""Ways to lose a server: its packets dropped, a process frozen, a name that nobody resolves."""

from __future__ import annotations

import errno
import os
import re
import shutil
import signal
import socket
import struct
import subprocess
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import NoReturn

import pytest

#: Where a NameServer listens: loopback addresses that no name server of the machine's own has.
NAME_SERVERS = [f"127.9.9.{last}" for last in range(1, 255)]
SYN_SENT, ESTABLISHED = "02", "01"  # in /proc/net/tcp (the kernel's include/net/tcp_states.h)
OWNER = re.compile(r"--comment \"?migrator-test-(\d+)")  # the process whose tests made a rule


def lacking(what: str) -> NoReturn:
    """Skip the test for want of it, or fail it where the network's faults are a must."""
    if os.environ.get("REQUIRE_NETWORK") == "1":
        pytest.fail(f"REQUIRE_NETWORK=1, but this is missing: {what}")
    pytest.skip(f"needs {what}")


@contextmanager
def dropped(port: int) -> Iterator[None]:
    """Within, no packet to or from `port` arrives on this machine's loopback.

    The rules outlive tests that are killed, and are deleted here by the next ones.
    """
    iptables = shutil.which("iptables", path="/usr/sbin:/sbin:/usr/bin")
    probe = iptables and _iptables(iptables, "-S", "INPUT")
    if not iptables or not probe or probe.returncode:
        lacking("iptables(8) and root: packets cannot be dropped here")
    for line in probe.stdout.splitlines():
        owner = OWNER.search(line)
        if owner and not Path("/proc", owner[1]).exists():
            _iptables(iptables, "-D", *line.split()[1:])
    with ExitStack() as rules:
        for side in ("--dport", "--sport"):
            rule = ["INPUT", "-i", "lo", "-p", "tcp", side, str(port), "-j", "DROP"]
            mark = ["-m", "comment", "--comment", f"migrator-test-{os.getpid()}"]
            if _iptables(iptables, "-I", *rule, *mark).returncode == 0:
                rule += mark
            else:  # a kernel without that match
                _iptables(iptables, "-I", *rule, check=True)
            rules.callback(_iptables, iptables, "-D", *rule, check=True)
        yield


def _iptables(program: str, *words: str, check: bool = False) -> subprocess.CompletedProcess[str]:
    return subprocess.run([program, "-w", *words], capture_output=True, text=True, check=check)


@contextmanager
def frozen(pid: int) -> Iterator[None]:
    """Within, the process does nothing; the kernel goes on to accept and acknowledge for it."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def knocks(port: int, state: str) -> bool:
    """Whether somebody on this machine has a connection to `port` in this state."""
    table = Path("/proc/net/tcp").read_text().splitlines()[1:]
    rows = [line.split() for line in table]
    return any(row[2].endswith(f":{port:04X}") and row[3] == state for row in rows)


def unshared(*kinds: str, over: dict[str, Path] | None = None) -> list[str]:
    """A command's beginning that gives it namespaces of its own: `unshared("net")`.

    `over` puts files in the place of those of the machine, in a mount namespace.
    """
    kinds = (*kinds, *(("mount",) if over else ()))
    alone = ["unshare", *(f"--{kind}" for kind in kinds)]
    if os.geteuid() != 0:
        alone.append("--map-root-user")
    probe = shutil.which("unshare") and subprocess.run([*alone, "true"], check=False).returncode
    if probe != 0:
        lacking("unshare(1) and the right to make a namespace")
    steps = [f"mount --bind {file} {place}" for place, file in (over or {}).items()]
    if "net" in kinds:
        steps.append("ip link set lo up")  # as on a real machine
    return [*alone, "sh", "-c", " && ".join((*steps, 'exec "$@"')), "sh"]


class NameServer:
    """A name server (DNS over UDP) that knows what it is told, and keeps silent about all else.

    `answer` is called for each question, and gives the IPv4 addresses of the name, an empty list
    for a failure of the server's, None for silence.
    """

    def __init__(self, answer: Callable[[str], Sequence[str] | None]) -> None:
        self.answer = answer
        self.asked: list[str] = []
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.address = self._take(NAME_SERVERS)
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)  # wakes the thread that waits
        self._socket.close()

    def inside(self, directory: Path) -> list[str]:
        """The beginning of a command that asks this server and no other."""
        file = directory / "resolv.conf"
        file.write_text(f"nameserver {self.address}\n")
        return unshared(over={"/etc/resolv.conf": file})

    def _take(self, addresses: Sequence[str]) -> str:
        """Listen at the first address that no other test listens at, and return it."""
        for address in addresses:
            try:
                self._socket.bind((address, 53))
            except PermissionError:
                self._socket.close()
                lacking("root: a name server listens on port 53")
            except OSError as error:
                if error.errno != errno.EADDRINUSE:
                    raise
            else:
                return address
        raise AssertionError("every address for a name server is in use")

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                query, client = self._socket.recvfrom(512)
                if not query:
                    return
                name, question = _question(query)
                self.asked.append(name)
                addresses = self.answer(name)
                if addresses is not None:
                    self._socket.sendto(_reply(query[:2], question, addresses), client)


def _question(query: bytes) -> tuple[str, bytes]:
    """The name that is asked for, and the question as it stands in the query (RFC 1035)."""
    end, labels = 12, []
    while length := query[end]:
        labels.append(query[end + 1 : end + 1 + length].decode())
        end += length + 1
    return ".".join(labels), query[12 : end + 5]


def _reply(number: bytes, question: bytes, addresses: Sequence[str]) -> bytes:
    """SERVFAIL without addresses; else they, to whoever asks for IPv4."""
    wants_ipv4 = question[-4:-2] == b"\0\1"
    records = [
        b"\xc0\x0c" + struct.pack("!HHIH", 1, 1, 0, 4) + socket.inet_aton(address)
        for address in addresses
        if wants_ipv4
    ]
    flags = 0x8180 if addresses else 0x8182  # recursive; NOERROR or SERVFAIL
    return (
        number + struct.pack("!HHHHH", flags, 1, len(records), 0, 0) + question + b"".join(records)
    )
