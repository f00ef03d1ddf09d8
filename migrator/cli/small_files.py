"""Small files that a setting names: read and written without waiting for another process for ever.

A FIFO blocks who opens it until the other side does, and Python goes on waiting after a signal; so
files are opened without blocking, and a stop is noticed in between.
"""

from __future__ import annotations

import os
import select
import time
from collections.abc import Callable

from migrator.errors import ConfigError

#: How long a FIFO may take to be written.
WRITER_SECONDS = 5.0
PIPE_LOOK_SECONDS = 0.05
LARGEST_BYTES = 1 << 20
#: Of a value that is to be hidden: a longer one could be shown in part, where a text is cut.
MOUNTED_CHARS = 1 << 16


def read_url_file(path: str, check: Callable[[], None]) -> str:
    """The URL in the file that DATABASE_URL_FILE names: one line, whatever its end, no BOM."""
    lines = read_small(path, "DATABASE_URL_FILE", check).split("\n")
    found = [line.strip() for line in lines if line.strip()]
    if not found:
        raise ConfigError(f"DATABASE_URL_FILE={path} is empty")
    if len(found) > 1:
        raise ConfigError(
            f"DATABASE_URL_FILE={path} has {len(found)} lines, and the URL is one",
            remedy="Leave the URL in it and nothing else.",
        )
    return found[0]


def read_small(path: str, name: str, check: Callable[[], None] = lambda: None) -> str:
    """The text of the file that the setting or flag `name` names, without a BOM.

    `check`, called while a FIFO has nothing to read, may raise.
    """
    try:
        return _read(path, check).decode("utf-8-sig")
    except (OSError, UnicodeError) as error:
        reason = "it is not UTF-8"
        if isinstance(error, OSError):
            reason = error.strerror or str(error)
        raise ConfigError(f"{name}={path} cannot be read: {reason}") from error


def read_mounted(folder: str, name: str, check: Callable[[], None]) -> dict[str, str]:
    """The texts of the files in the folder that the setting `name` names, by their names.

    One line end at the end of a file is left out. Hidden names are no values: a mounted ConfigMap
    or Secret is made of links to them.
    """
    try:
        names = sorted(os.listdir(folder))  # noqa: PTH208 - as the folder of migrations is read
    except OSError as error:
        raise ConfigError(f"{name}={folder} cannot be read: {error.strerror}") from error
    paths = {file: f"{folder}/{file}" for file in names if not file.startswith(".")}
    found = {}
    for file, path in paths.items():
        if os.path.isdir(path):  # noqa: PTH112 - as above
            continue
        text = read_small(path, f"{name}: a file", check)
        if len(text) > MOUNTED_CHARS or "\0" in text:
            raise ConfigError(
                f"{name}: {path} is too long for a value, or none: it has {len(text)} characters",
                remedy=f"Leave a text of at most {MOUNTED_CHARS} characters in it.",
            )
        found[file] = text.removesuffix("\n").removesuffix("\r")
    return found


def write_at_once(path: str, data: bytes) -> None:
    """Replace what the file holds; OSError where a FIFO or a device would not take it now."""
    descriptor = os.open(path, os.O_WRONLY | os.O_TRUNC | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        os.write(descriptor, data)
    finally:
        os.close(descriptor)


def write_page(path: str, text: str) -> None:
    """Replace the file; ConfigError where it cannot be written."""
    try:
        with open(path, "w", encoding="utf-8", newline="\n") as file:  # noqa: PTH123 - as above
            file.write(text)
    except OSError as error:
        raise ConfigError(
            f"--html {path} cannot be written: {error.strerror}",
            remedy="Name a file in a folder that can be written, --html /tmp/report.html.",
        ) from error


def _read(path: str, check: Callable[[], None]) -> bytes:
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        waits = _is_fifo(descriptor)
        until = time.monotonic() + WRITER_SECONDS
        data = b""
        while True:
            try:
                block = os.read(descriptor, LARGEST_BYTES)
            except BlockingIOError:  # a writer is there and has written nothing yet
                select.select([descriptor], [], [], PIPE_LOOK_SECONDS)
            else:
                data += block
                if len(data) > LARGEST_BYTES:
                    raise OSError(0, "it is too large")
                if not block and (data or not waits):
                    return data
                if not block:  # no writer has come yet
                    time.sleep(PIPE_LOOK_SECONDS)
            check()
            if waits and time.monotonic() > until:
                raise OSError(0, f"nothing was written to it within {WRITER_SECONDS:.0f} s")
    finally:
        os.close(descriptor)


def _is_fifo(descriptor: int) -> bool:
    import stat

    return stat.S_ISFIFO(os.fstat(descriptor).st_mode)
