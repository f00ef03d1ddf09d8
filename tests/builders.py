"""Records and folders with plain defaults, so that a test shows only what it is about."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from migrator.model import Applied, Migration


def a_migration(version: int | str, sql: str = "SELECT 1;\n", **values: Any) -> Migration:
    """One file of a folder; a number alone stands for 001_step, 002_step, …"""
    name, number = _named(version)
    return Migration(
        **{
            "version": name,
            "number": number,
            "file": f"{name}.sql",
            "sql": sql,
            "checksum": _sha256(sql),
            "raw_checksum": _sha256(sql),
            **values,
        }
    )


def an_applied(version: int | str, sql: str = "SELECT 1;\n", **values: Any) -> Applied:
    """The row that `a_migration` of the same arguments leaves in the history."""
    name, number = _named(version)
    return Applied(**{"version": name, "number": number, "checksum": _sha256(sql), **values})


def write_folder(directory: Path, files: Mapping[str, str | bytes]) -> Path:
    """Write the files into `directory`, text with the line ends it has, and return it."""
    directory.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        data = content if isinstance(content, bytes) else content.encode()
        (directory / name).write_bytes(data)
    return directory


def _named(version: int | str) -> tuple[str, int]:
    if isinstance(version, int):
        return f"{version:03}_step", version
    digits = version.partition("_")[0]
    return version, int(digits) if digits.isdecimal() else -1


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
