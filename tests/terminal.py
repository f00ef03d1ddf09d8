"""A real terminal of some width: what a run writes to it, and what a person then sees."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
import unicodedata
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from tests.job import ROOT


def run_at_terminal(
    url: str | None,
    folder: Path,
    *argv: str,
    columns: int = 80,
    settings: Mapping[str, str] = MappingProxyType({}),
) -> tuple[int, str]:
    """The exit code of a run whose three streams are a terminal, and what it wrote to that."""
    environment = {
        **{"PATH": os.environ["PATH"], "TERM": "xterm", "MIGRATIONS_DIR": str(folder)},
        **({} if url is None else {"DATABASE_URL": url}),
        **settings,
    }
    command = [sys.executable, str(ROOT / "entrypoint.py"), *argv]
    return at_terminal(command, environment, columns=columns)


def at_terminal(
    command: list[str],
    environment: Mapping[str, str],
    *,
    columns: int = 80,
    answer: str = "",
    cwd: Path | None = None,
) -> tuple[int, str]:
    """As `run_at_terminal`, of any command; `answer` is what is typed."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    with subprocess.Popen(
        command, env=dict(environment), stdin=theirs, stdout=theirs, stderr=theirs, cwd=cwd
    ) as process:
        os.close(theirs)
        os.write(ours, f"{answer}\n".encode() if answer else b"")
        written = b""
        while True:
            try:
                piece = os.read(ours, 4096)
            except OSError:  # Linux says so when the other end is closed
                break
            if not piece:
                break
            written += piece
        os.close(ours)
    return process.returncode, written.decode()


def seen(written: str, columns: int) -> list[str]:
    """The rows that a terminal shows: it wraps at its width, and erases within one row."""
    rows, column = [[" "] * columns], 0
    for sign in re.findall(r"\x1b\[[\d;]*[A-Za-z]|.", written, re.DOTALL):
        if sign == "\r":
            column = 0
        elif sign == "\n":
            rows.append([" "] * columns)
        elif sign == "\x1b[K":
            rows[-1][column:] = [" "] * (columns - column)
        elif sign.startswith("\x1b["):
            assert sign.endswith("m"), f"no other code is written: {sign!r}"
        elif unicodedata.combining(sign):
            rows[-1][max(0, column - 1)] += sign
        else:
            wide = 2 if unicodedata.east_asian_width(sign) in "WF" else 1
            if column + wide > columns:
                rows.append([" "] * columns)
                column = 0
            rows[-1][column : column + wide] = [sign, *[""] * (wide - 1)]
            column += wide
    return ["".join(row).rstrip() for row in rows]


def plain(written: str) -> str:
    """Without colours."""
    return re.sub(r"\x1b\[[\d;]*m", "", written)
