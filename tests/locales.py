"""Servers that answer in another language: Debian's catalogues, and locales made for the tests."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from tests.postgres import NoServerError, Server, binary

CATALOGUES = Path("/usr/share/locale")
HOW_TO_INSTALL = (
    "Install Debian's server and locales: apt-get install postgresql locales (localedef is in "
    "libc-bin)."
)


def of_debian(program: Path) -> bool:
    """Whether this is a program of Debian's packages, which bring the catalogues."""
    return program.is_relative_to("/usr/lib/postgresql")


def speak(server: Server, locale: str, directory: Path) -> None:
    """Let `server`, not yet started, answer in the language of `locale`, such as de_DE."""
    version = binary("postgres").parts[-3]  # /usr/lib/postgresql/15/bin/postgres
    language = locale if (CATALOGUES / locale).exists() else locale.partition("_")[0]
    catalogue = CATALOGUES / language / "LC_MESSAGES" / f"postgres-{version}.mo"
    localedef = shutil.which("localedef")
    if localedef is None or not catalogue.exists():
        raise NoServerError(f"{catalogue} or localedef(1) was not found. {HOW_TO_INSTALL}")
    directory.mkdir(mode=0o755, exist_ok=True)
    made = subprocess.run(
        [
            localedef,
            "--inputfile",
            locale,
            "--charmap",
            "UTF-8",
            str(directory / f"{locale}.UTF-8"),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    if made.returncode:
        raise NoServerError(f"localedef: {made.stderr} {HOW_TO_INSTALL}")
    server.locales = directory
    server.start()
    with (server.data / "postgresql.conf").open("a") as file:
        file.write(f"lc_messages = '{locale}.UTF-8'\n")
    server.stop()
    server.start()
