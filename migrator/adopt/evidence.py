"""What other tools keep of the texts that they ran, and whether a file is that text.

The facts are from the tools' own sources; docs/adopting.md says what each of them proves.
"""

from __future__ import annotations

import base64
import hashlib
import re
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from migrator.model import Migration

RUNNING = "running SHA-256"  #: over all files up to this one, as Atlas has it: see `running_hashes`


@dataclass(frozen=True, slots=True)
class Evidence:
    """What a tool kept of the text that it ran."""

    kind: str  #: CRC32, SHA-256, SHA-384, sha1, statements or RUNNING
    value: int | str | tuple[str, ...]

    def fits(self, migration: Migration) -> bool:
        """Whether this is the text that ran."""
        return _FITS[self.kind](migration, self.value)

    def __str__(self) -> str:
        value = self.value
        return f"{len(value)} statements" if isinstance(value, tuple) else f"{self.kind} {value}"


def flyway_checksum(pieces: Iterable[str]) -> int:
    """CRC32 of the text over its lines without their ends, as Java's signed int."""
    crc = 0
    for piece in pieces:
        crc = zlib.crc32(piece.replace("\n", "").replace("\r", "").encode(), crc)
    return signed(crc)


def statements_of(pieces: Iterable[str]) -> tuple[str, ...]:
    """The statements of a text, with LF line ends, without the comments and blanks around them."""
    from migrator.sql.parts import texts

    return tuple(text.replace("\r\n", "\n") for _, text in texts(pieces))


def signed(number: int) -> int:
    """32 bits as Java and C have them."""
    return number - 2**32 if number >= 2**31 else number


def _hashes(migration: Migration) -> tuple[str, ...]:
    """Of the bytes, and of the text with either line end: the checkout may be of another kind."""
    return migration.raw_checksum, migration.checksum, _hashed(migration, "sha256", "\r\n")


def _hashed(migration: Migration, name: str, end: str) -> str:
    """The hash of the file's text with these line ends."""
    found = hashlib.new(name)
    for piece in migration.text:
        lines = piece.replace("\r\n", "\n").replace("\r", "\n")
        found.update(lines.replace("\n", end).encode())
    return found.hexdigest()


def _same_sha1(migration: Migration, value: str) -> bool:
    """graphile-migrate's hash.ts: over the hash of the file before and the body."""
    head, _, body = "".join(migration.text).partition("\n\n")
    said = dict(re.findall(r"(?m)^--! (\w+):? ?(.*)$", head))
    before = "" if said.get("Previous", "-") == "-" else said["Previous"]
    text = f"{before}\n{body.strip()}".strip() + "\n"
    computed = f"sha1:{hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()}"
    return value == (said.get("Hash") if "AllowInvalidHash" in said else computed)


def _same_statements(migration: Migration, value: Iterable[str]) -> bool:
    ran = "\n;\n".join(value)  # a part may end in a comment
    return statements_of((ran,)) == statements_of(migration.text)


def running_hashes(migrations: Iterable[Migration]) -> dict[str, tuple[str, ...]]:
    """By version what Atlas's hash may be: over name and bytes of each file up to it.

    The files are in the order of their names; line ends may be of either kind.
    """
    sums = [(end, hashlib.sha256()) for end in ("\n", "\r\n")]
    found = {}
    for migration in sorted(migrations, key=_file_name):
        skipped = next(iter(migration.text), "").startswith("-- atlas:sum ignore")
        for end, one in sums:
            one.update(_file_name(migration).encode())
            for piece in () if skipped else migration.text:
                one.update(piece.replace("\r\n", "\n").replace("\n", end).encode())
        found[migration.version] = tuple(base64.b64encode(one.digest()).decode() for _, one in sums)
    return found


def _file_name(migration: Migration) -> str:
    return migration.file.rpartition("/")[2]


_FITS: dict[str, Callable[[Migration, Any], bool]] = {
    "CRC32": lambda migration, value: flyway_checksum(migration.text) == value,
    "SHA-256": lambda migration, value: value in _hashes(migration),
    "SHA-384": lambda migration, value: (
        value in {_hashed(migration, "sha384", end) for end in ("\n", "\r\n")}
    ),
    "sha1": _same_sha1,
    "statements": _same_statements,
    RUNNING: lambda migration, value: False,  # of one file alone it says nothing
}
