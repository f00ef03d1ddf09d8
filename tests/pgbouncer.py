"""A real PgBouncer in front of a test's server."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.postgres import Address, NoServerError, free_port, home, stepped_down, tail

HOW_TO_INSTALL = "PgBouncer was not found: apt-get install pgbouncer, brew install pgbouncer."
STARTS, START_SECONDS = 3, 20


@dataclass
class PgBouncer:
    """A pooler of one server's databases, for `users` (name to password); the superuser always.

    Clients log in by SCRAM and PgBouncer does so at the server with the same password; the
    superuser, whom the server trusts, has the password "pooled" here. `settings` go into the
    [pgbouncer] section as they are.
    """

    server: Address
    pool_mode: str = "transaction"
    pool_size: int = 5
    users: Mapping[str, str] = field(default_factory=dict)
    settings: Mapping[str, object] = field(default_factory=dict)
    port: int = field(default=0, init=False)

    def start(self) -> None:
        """Start it and wait until it listens."""
        program = executable()
        for _ in range(STARTS):  # another process may take a free port before the pooler does
            self._launch(program)
            deadline = time.monotonic() + START_SECONDS
            while self._process.poll() is None and time.monotonic() < deadline:
                if self._listens():
                    return
                time.sleep(0.02)
            log = tail(self._directory / "log")
            self.stop()
        raise NoServerError(f"PgBouncer did not start; its log ends:\n{log}")

    def _launch(self, program: str) -> None:
        self._directory = home(Path(tempfile.mkdtemp(prefix="pgbouncer-")))
        self.port = free_port()
        self._write()
        self._process = subprocess.Popen(
            [program, str(self._directory / "pgbouncer.ini")],
            cwd=self._directory,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            **stepped_down(),
        )

    @property
    def pid(self) -> int:
        """Its process."""
        return self._process.pid

    def stop(self) -> None:
        """End it at once and delete its files."""
        self._process.terminate()
        self._process.wait()
        shutil.rmtree(self._directory, ignore_errors=True)

    def url(self, dbname: str, user: str | None = None, password: str | None = None) -> str:
        """The URL of one database through the pooler; a known user's password is filled in."""
        user = user or self.server.superuser
        return Address(self.server.superuser, port=self.port).url(
            dbname, user, password or self._passwords()[user]
        )

    def _passwords(self) -> dict[str, str]:
        return {self.server.superuser: self.server.password or "pooled", **self.users}

    def _write(self) -> None:
        settings: dict[str, object] = {
            "listen_addr": "127.0.0.1",
            "listen_port": self.port,
            "unix_socket_dir": "",
            "logfile": self._directory / "log",
            "auth_type": "scram-sha-256",
            "auth_file": self._directory / "users.txt",
            "pool_mode": self.pool_mode,
            "default_pool_size": self.pool_size,
            "max_client_conn": 500,
            "ignore_startup_parameters": "extra_float_digits",
            **self.settings,
        }
        lines = [f"{name} = {value}" for name, value in settings.items()]
        target = f"* = host={self.server.host} port={self.server.port}"
        self._file("pgbouncer.ini", ["[databases]", target, "[pgbouncer]", *lines])
        self._file("users.txt", [f'"{u}" "{p}"' for u, p in self._passwords().items()])

    def _file(self, name: str, lines: list[str]) -> None:
        path = self._directory / name
        path.write_text("\n".join(lines) + "\n")
        path.chmod(0o644)

    def _listens(self) -> bool:
        """Its own word for it: at the port another process might answer."""
        return "process up:" in tail(self._directory / "log")


def executable() -> str:
    """PgBouncer's path; NoServerError says how to get it."""
    search = os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/sbin", "/usr/local/sbin"))
    found = shutil.which("pgbouncer", path=search)
    if found is None:
        raise NoServerError(HOW_TO_INSTALL)
    return found
