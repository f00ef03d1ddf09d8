"""A throw-away PostgreSQL made from the server binaries on the machine.

    python tests/postgres.py stop DIR    stop the server of DIR and remove it
    python tests/postgres.py scratch -- python entrypoint.py rehearse
                    on a server of its own, removed in the end; or on SHADOW_DATABASE_URL

Imported by the tests as well. Standard library only: `make migrate` runs it before anything but
the job's own packages is installed.
"""

from __future__ import annotations

import hashlib
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlsplit

HOW_TO_INSTALL = (
    "Install the PostgreSQL server: apt-get install postgresql (Debian, Ubuntu), "
    "dnf install postgresql-server postgresql-contrib (Fedora) or "
    "brew install postgresql@17 (macOS); "
    "or point PG_BIN at the directory that holds initdb, pg_ctl and postgres."
)
CONFIGURATION = """
listen_addresses = '127.0.0.1'
max_connections = 100
unix_socket_directories = '{sockets}'
"""
#: What a crash may cost in a test: everything.
CARELESS = """
fsync = off
full_page_writes = off
synchronous_commit = off
max_prepared_transactions = 5
"""
#: In memory a new database takes a fifteenth of the CPU time that it takes on ext4 [M: 0.02 s and
#: 0.32 s, PostgreSQL 15, Linux 6]; its tables and indexes are small files too.
IN_MEMORY = Path("/dev/shm")
ROOM_BYTES = 4 << 30  # a container has 64 MB there, unless it was given more
#: The superuser needs no password here; everybody else does, so that a wrong one is refused.
HBA = """\
local all {superuser} trust
host  all {superuser} 127.0.0.1/32 trust
local all all scram-sha-256
host  all all 127.0.0.1/32 scram-sha-256
"""
LONGEST_SOCKET_DIRECTORY = 80  # bytes; the kernel's limit for the whole path is 107, macOS's 103


class NoServerError(Exception):
    """A program of PostgreSQL or PgBouncer is not on this machine, or did not start."""


@dataclass
class Address:
    """Where a server answers, and as whom it trusts us with everything."""

    superuser: str
    host: str = "127.0.0.1"
    port: int = 0
    password: str | None = None

    @classmethod
    def of(cls, url: str) -> Address:
        """The address in a superuser's URL."""
        parts = urlsplit(url)
        return Address(
            superuser=unquote(parts.username or "postgres"),
            host=parts.hostname or "127.0.0.1",
            port=parts.port or 5432,
            password=None if parts.password is None else unquote(parts.password),
        )

    def url(self, dbname: str, user: str | None = None, password: str | None = None) -> str:
        """The URL of one database; without a user, the superuser's."""
        if user is None:
            user, password = self.superuser, self.password
        login = quote(user, safe="") + ("" if password is None else ":" + quote(password, safe=""))
        return f"postgresql://{login}@{self.host}:{self.port}/{quote(dbname, safe='')}"


@dataclass
class Server(Address):
    """One cluster in a directory of its own, reachable from this machine only.

    It runs as the user of this process, or as `postgres` or `nobody` when that is root, whom
    PostgreSQL refuses. A cluster that is not `durable` trades safety against a crash for speed.
    """

    directory: Path = field(kw_only=True)
    durable: bool = field(default=False, kw_only=True)
    locales: Path | None = field(default=None, kw_only=True)  #: made by localedef, for lc_messages

    @classmethod
    def create(
        cls, directory: Path, superuser: str = "supabase_admin", *, durable: bool = False
    ) -> Server:
        """A server that will live in `directory`, or in `home(directory)`; not yet started."""
        return cls(superuser=superuser, directory=home(directory), durable=durable)

    @property
    def log(self) -> Path:
        return self.directory / "log"

    @property
    def data(self) -> Path:
        return self.directory / "data"

    def start(self) -> None:
        """Start the server, or find it running. After a failure nothing is left of the attempt.

        One that was stopped comes back on the port it had, if that is still free.
        """
        if not self._found_running():
            try:
                if not self.data.exists():
                    self._initialise()
                self._launch()
            except BaseException:
                self.stop()
                raise

    def stop(self) -> None:
        """Stop the server at once; its data stays."""
        if (self.data / "postmaster.pid").exists():
            self._run("pg_ctl", "stop", "-w", "-m", "immediate")

    def remove(self) -> None:
        """Stop the server and delete everything of it."""
        self.stop()
        delete(self.directory)

    def _found_running(self) -> bool:
        if not self.data.exists() or self._run("pg_ctl", "status").returncode != 0:
            return False
        self.port = int((self.data / "postmaster.pid").read_text().splitlines()[3])
        return True

    def _initialise(self) -> None:
        unfinished = self.directory / "unfinished"
        delete(unfinished)
        try:
            self._make_cluster(unfinished)
            unfinished.rename(self.data)
        finally:
            delete(unfinished)

    def _make_cluster(self, place: Path) -> None:
        options = ["--username", self.superuser, "--encoding", "UTF8", "--locale", "C"]
        made = run_as_plain_user(
            [str(binary("initdb")), "--no-sync", "--auth", "trust", *options, str(place)],
            directory=self.directory,
        )
        if made.returncode != 0:
            raise NoServerError(f"initdb failed:\n{made.stdout}{made.stderr}")
        fits = len(os.fsencode(self.directory)) <= LONGEST_SOCKET_DIRECTORY
        with (place / "postgresql.conf").open("a") as file:
            file.write(CONFIGURATION.format(sockets=self.directory if fits else ""))
            file.write("" if self.durable else CARELESS)
        (place / "pg_hba.conf").write_text(HBA.format(superuser=self.superuser))

    def _launch(self) -> None:
        for port in (self.port, 0, 0):  # another process may take a free port before the server
            self.port = port or free_port()
            self.log.unlink(missing_ok=True)
            if self._run("pg_ctl", "start", "-w", "-o", f"-p {self.port}").returncode == 0:
                return
            if "Address already in use" not in tail(self.log):
                break
        raise NoServerError(f"PostgreSQL did not start; {self.log} ends:\n{tail(self.log)}")

    def _run(self, program: str, *words: str) -> subprocess.CompletedProcess[str]:
        where = ["-D", str(self.data), *(["-l", str(self.log)] if words[0] == "start" else [])]
        more = {} if self.locales is None else {"LOCPATH": str(self.locales)}
        command = [str(binary(program)), *words, *where]
        return run_as_plain_user(command, directory=self.directory, environment=more)


def binary(name: str) -> Path:
    """The newest `name` of PostgreSQL on this machine; PG_BIN has the first word."""
    for directory in _directories():
        if os.access(directory / name, os.X_OK):
            return directory / name
    raise NoServerError(f"{name} was not found. {HOW_TO_INSTALL}")


def _directories() -> Iterator[Path]:
    if chosen := os.environ.get("PG_BIN"):
        yield Path(chosen)
    if config := shutil.which("pg_config"):
        answer = subprocess.run([config, "--bindir"], capture_output=True, text=True, check=False)
        yield Path(answer.stdout.strip())
    debian = Path("/usr/lib/postgresql").glob("[0-9]*/bin")
    yield from sorted(debian, key=lambda path: float(path.parent.name), reverse=True)
    yield from map(Path, os.environ.get("PATH", os.defpath).split(os.pathsep))
    for prefix in (Path("/opt/homebrew/opt"), Path("/usr/local/opt")):
        yield from sorted(prefix.glob("postgresql*/bin"), reverse=True)


def plain_user() -> pwd.struct_passwd:
    """As whom servers run: ourselves, or `postgres` or `nobody` when we are root."""
    if os.geteuid() != 0:
        return pwd.getpwuid(os.geteuid())
    try:
        return pwd.getpwnam("postgres")
    except KeyError:
        return pwd.getpwnam("nobody")


def stepped_down() -> dict[str, Any]:
    """What `subprocess` needs to start a program as the plain user; nothing unless we are root."""
    if os.geteuid() != 0:
        return {}
    account = plain_user()
    return {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}


def run_as_plain_user(
    command: Sequence[str], *, directory: Path, environment: Mapping[str, str] = {}
) -> subprocess.CompletedProcess[str]:
    """Run `command` to its end in `directory`, out of reach of the caller's PG* settings."""
    with subprocess.Popen(
        command,
        cwd=directory,
        env={"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", **environment},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,  # Ctrl-C is ours to pass on, and the program's end to wait for
        **stepped_down(),
    ) as process:
        try:
            output, errors = process.communicate()
        except BaseException:
            process.send_signal(signal.SIGINT)  # by it initdb cleans up, and pg_ctl stops a server
            process.communicate()
            raise
    return subprocess.CompletedProcess(command, process.returncode, output, errors)


def delete(directory: Path) -> None:
    """Delete a tree in which a server that is ending may still write."""
    for _ in range(50):
        shutil.rmtree(directory, ignore_errors=True)
        if not directory.exists():
            return
        time.sleep(0.1)


def home(directory: Path) -> Path:
    """`directory`, made and handed to the plain user; one under /var/tmp where he cannot go."""
    directory = directory.resolve()
    if _hand_over(directory):
        return directory
    name = "migrator-" + hashlib.sha256(os.fsencode(directory)).hexdigest()[:12]
    elsewhere = Path("/var/tmp") / name
    if not _hand_over(elsewhere):
        raise NoServerError(f"{elsewhere} belongs to somebody else; remove it.")
    return elsewhere


def throw_away_directory() -> Path:
    """A new directory for a server whose data nobody misses: in memory where there is room."""
    try:
        room = shutil.disk_usage(IN_MEMORY).free >= ROOM_BYTES and os.access(IN_MEMORY, os.W_OK)
    except OSError:  # macOS
        room = False
    return Path(tempfile.mkdtemp(prefix="postgres-", dir=IN_MEMORY if room else None))


def _hand_over(directory: Path) -> bool:
    account = plain_user()
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = directory.lstat()
    if directory.is_symlink() or found.st_uid not in (os.geteuid(), account.pw_uid):
        return False
    if os.geteuid() != 0:
        return True
    os.chown(directory, account.pw_uid, account.pw_gid)
    return run_as_plain_user(["test", "-w", str(directory)], directory=Path("/")).returncode == 0


def free_port() -> int:
    """A port of the loopback that nobody listens on just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def tail(log: Path, lines: int = 20) -> str:
    """The end of a log, for the message of a failed start."""
    text = log.read_text(errors="replace") if log.exists() else "(no log)"
    return "\n".join(text.splitlines()[-lines:])


def own_server(directory: Path) -> Server:
    """The server of this folder, started; it stays up for the next command."""
    install_where_we_may()
    server = Server.create(directory, "postgres", durable=True)
    if server.directory != directory.resolve():
        account = plain_user().pw_name
        print(f"{account} cannot enter {directory}: the server lives in {server.directory}")
    server.start()
    return server


def at_server(server: Server) -> dict[str, str]:
    """This process's environment, with the URL of the server and without other places."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("PG")}
    return {**kept, "DATABASE_URL": server.url("postgres")}


def say_where(server: Server, directory: Path) -> None:
    """On stderr: stdout is for the answer of the command, which may go into a file."""
    lines = (
        "\nA PostgreSQL of this folder's own is running:",
        f"  connect          {binary('psql')} {server.url('postgres')}",
        f"  stop and remove  python3 tests/postgres.py stop {directory}",
    )
    print(*lines, sep="\n", file=sys.stderr)


def scratch(command: list[str], environment: Mapping[str, str] = os.environ) -> int:
    """Run `command` with a SHADOW_DATABASE_URL: the user's, or a server's that ends with it."""
    if any(environment.get(f"{prefix}SHADOW_DATABASE_URL") for prefix in ("", "MIGRATOR_")):
        os.execvpe(command[0], command, environment)  # noqa: S606 (the caller's own command)
    install_where_we_may()
    server = Server.create(throw_away_directory(), "postgres")
    try:
        server.start()
        return obey(command, {**environment, "SHADOW_DATABASE_URL": server.url("postgres")})
    finally:
        server.remove()


def obey(command: list[str], environment: dict[str, str]) -> int:
    """The command's exit code; a signal reaches the command, and it is waited for."""
    # Ctrl-C goes to the whole foreground group, so the command has its own; handlers, unlike an
    # ignored signal, are not inherited by it
    signal.signal(signal.SIGINT, lambda *_: None)
    sys.stdout.flush()
    with subprocess.Popen(command, env=environment) as process:
        signal.signal(signal.SIGTERM, lambda *_: process.terminate())
        code = process.wait()
    return code if code >= 0 else 128 - code


def install_where_we_may() -> None:
    """On Debian as root, install the missing server, without the cluster that comes with it."""
    try:
        binary("initdb")
    except NoServerError:
        if os.geteuid() != 0 or not shutil.which("apt-get"):
            raise
    else:
        return
    print("PostgreSQL is not installed: apt-get install postgresql", flush=True)
    no_cluster = Path("/etc/postgresql-common/createcluster.d/migrator.conf")
    no_cluster.parent.mkdir(parents=True, exist_ok=True)
    no_cluster.write_text("create_main_cluster = false\n")
    try:
        for words in (["update"], ["install", "--yes", "--no-install-recommends", "postgresql"]):
            subprocess.run(
                ["apt-get", "-qq", *words],
                env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"},
                check=False,
            )
    finally:
        no_cluster.unlink(missing_ok=True)
    binary("initdb")


def main(words: list[str]) -> int:
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        match words:
            case ["scratch", "--", *command] if command:
                return scratch(command)
            case ["stop", directory]:
                Server.create(Path(directory), "postgres").remove()
                return 0
    except NoServerError as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    print(__doc__, file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
