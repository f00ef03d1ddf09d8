"""Records and folders with plain defaults, so that a test shows only what it is about."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from migrator.history.flight import Leg, make_flight
from migrator.history.guard import head
from migrator.history.message import Message
from migrator.history.place import Limits, Place
from migrator.model import Applied, Migration
from migrator.sql.script import Script, understand

RUN_ID = "11111111-2222-4333-8444-555555555555"
PLACE = Place("public", "migrator/pod-1", RUN_ID, 150018)


def a_migration(version: int | str, sql: str = "SELECT 1;\n", **values: Any) -> Migration:
    """One file of a folder; a number alone stands for 001_step, 002_step, …"""
    name, number = _named(version)
    return Migration(
        **{
            "version": name,
            "number": number,
            "file": f"{name}.sql",
            "pieces": (sql,),
            "checksum": _sha256(sql),
            "raw_checksum": _sha256(sql),
            **values,
        }
    )


def an_applied(version: int | str, sql: str = "SELECT 1;\n", **values: Any) -> Applied:
    """The row that `a_migration` of the same arguments leaves in the history."""
    name, number = _named(version)
    return Applied(**{"version": name, "number": number, "checksum": _sha256(sql), **values})


def a_script(sql: str, version: str = "007_orders", **values: Any) -> Script:
    """A file read and understood."""
    script, findings = understand(a_migration(version, sql, **values))
    assert script is not None, findings
    return script


LIMITS = Limits()


def fly(script: Script, place: Place = PLACE, limits: Limits = LIMITS) -> tuple[Message, ...]:
    """The flight of a script on an empty history."""
    return tuple(make_flight([Leg(script, head([]))], place, limits))


def a_big_script() -> Script:
    """Five statements of which a message takes two, one, one alone that is too long, and one."""
    lengths = (400_000, 400_000, 700_000, 1_500_000, 10)
    return a_script("-- head\n" + "".join(f"SELECT '{'x' * length}';\n" for length in lengths))


def chain(length: int) -> dict[str, str]:
    """Migrations that fail when they run twice or out of order."""
    return {
        f"{n:03}_step.sql": f"CREATE TABLE t{n} (id int);\n"
        + (f"ALTER TABLE t{n - 1} ADD COLUMN after_{n} int;\n" if n > 1 else "")
        for n in range(1, length + 1)
    }


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
