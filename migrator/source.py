"""Reads the folder of migrations."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

from migrator.errors import SourceError
from migrator.model import Finding, Migration
from migrator.parse import gather


def read_source(directory: str | os.PathLike[str]) -> tuple[Migration, ...]:
    """All migrations by (number, version); SourceError with every finding of the folder.

    Links are followed, because a mounted ConfigMap is made of them.
    """
    folder = os.fspath(directory)
    try:
        names = os.listdir(folder)  # noqa: PTH208 - see `_contents`
    except OSError as error:
        raise SourceError(
            f"cannot read the folder {folder}: {error.strerror}",
            remedy=_readable(folder)
            if isinstance(error, PermissionError)
            else "Set MIGRATIONS_DIR to the folder of migrations.",
        ) from error
    migrations, found = gather(_files(folder, names))
    findings = (*found, *_subfolders(folder, names))
    if findings:
        count = "1 problem" if len(findings) == 1 else f"{len(findings)} problems"
        raise SourceError(f"{count} in {folder}", findings=findings)
    return migrations


def _files(folder: str, names: list[str]) -> Iterator[tuple[str, bytes | Finding]]:
    for name in names:
        if name.startswith("."):
            continue
        if name.lower().endswith(".sql"):
            try:
                yield name, _contents(f"{folder}/{name}")
            except OSError as error:
                problem = f"cannot be read: {error.strerror}"
                denied = isinstance(error, PermissionError)
                remedy = _readable(folder) if denied else "Make it a file that can be read."
                yield name, Finding(name, problem, remedy)


def _subfolders(folder: str, names: list[str]) -> Iterator[Finding]:
    """Folders that hold .sql files: these would get lost, as nothing below is read."""
    for name in names:
        if name.startswith(".") or name.lower().endswith(".sql"):
            continue
        with contextlib.suppress(OSError):
            inner = os.listdir(f"{folder}/{name}")  # noqa: PTH208 - see `_contents`
            if any(file.lower().endswith(".sql") for file in inner):
                problem = "is a folder with .sql files, and folders are not read"
                yield Finding(name, problem, f"Put the files into {folder} itself.")


def _readable(folder: str) -> str:
    return f"Let user {os.getuid()} read it: chmod -R a+rX {folder}"


def _contents(path: str) -> bytes:
    """The file's bytes. Path.read_bytes takes twice as long, which counts at 1000 files."""
    handle = os.open(path, os.O_RDONLY)
    try:
        return b"".join(iter(lambda: os.read(handle, 1 << 16), b""))
    finally:
        os.close(handle)
