"""The bytes of a file -> its text, whole or piece by piece; docs/design.md section 2."""

from __future__ import annotations

import codecs
import hashlib
from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from typing import NamedTuple

from migrator.model import Finding

NOT_UTF8 = "the text is not UTF-8", "Save the file as UTF-8."
NUL = "the text holds a NUL character", "Remove it."
ARCHIVE_BYTES = 8
#: What begins a file that is no text, what it is, and how it becomes one.
ARCHIVES = (
    (b"PGDMP", "a dump in pg_dump's custom format", "pg_restore --file={0}.new {0}"),
    (b"toc.dat\0", "a dump in pg_dump's tar format", "pg_restore --file={0}.new {0}"),
    (b"\x1f\x8b", "compressed with gzip", "gunzip --to-stdout {0} > {0}.new"),
)


class Text(NamedTuple):
    """A file's text and its checksums."""

    pieces: Iterable[str]  #: as it is sent, cut anywhere; the same each time
    checksum: str  #: SHA-256 of the text with LF line ends and no BOM, 64 hex digits
    raw_checksum: str  #: SHA-256 of the bytes


def read_text(data: bytes | Iterable[bytes], file: str) -> Text | Finding:
    """The text of a small file's bytes, or of a large one's blocks; or why it cannot be sent.

    A BOM is left out. Where all lines end with CR or CRLF, as in a Windows checkout, they are
    sent with LF; a CR beside plain LFs is part of a value or a body, and is sent as it is, as
    psql does. The blocks, none of them empty, are read again whenever the pieces are.
    """
    found = _small(data, file) if isinstance(data, bytes) else _large(data, file)
    return (_archive(data, file) or found) if isinstance(found, Finding) else found


def _archive(data: bytes | Iterable[bytes], file: str) -> Finding | None:
    """What the file is instead of text, where its first bytes show it."""
    head = b""
    for block in (data,) if isinstance(data, bytes) else data:
        head += block
        if len(head) >= ARCHIVE_BYTES:
            break
    for begins, what, command in ARCHIVES:
        if head.startswith(begins):
            remedy = f"Make SQL of it: `{command.format(file)}`, and put that in its place."
            return Finding(file, f"is {what}, not SQL", remedy)
    return None


def _small(data: bytes, file: str) -> Text | Finding:
    try:
        text = data.decode().lstrip("\ufeff")
    except UnicodeDecodeError as error:
        text = data[: error.start].decode()
        if "\0" not in text:
            return Finding(file, *NOT_UTF8, _with_lf(text).count("\n") + 1)
    if "\0" in text:
        return Finding(file, *NUL, _with_lf(text[: text.index("\0")]).count("\n") + 1)
    normal = _with_lf(text)
    raw, encoded = _sha256(data), normal.encode()
    checksum = raw if encoded == data else _sha256(encoded)
    keeps_cr = "\r" in text and _has_lf_of_its_own(text)
    return Text((text if keeps_cr else normal,), checksum, raw)


def _large(blocks: Iterable[bytes], file: str) -> Text | Finding:
    raw, line, keeps_cr = hashlib.sha256(), 1, False
    read = sent = 0  # bytes
    changed = False

    def note(block: bytes) -> None:
        nonlocal read
        read += len(block)
        raw.update(block)

    try:
        for piece in _decoded(_noted(blocks, note)):
            normal = _with_lf(piece)
            if "\0" in normal:
                return Finding(file, *NUL, line + normal[: normal.index("\0")].count("\n"))
            line += normal.count("\n")
            keeps_cr = keeps_cr or _has_lf_of_its_own(piece)
            sent += len(normal.encode())
            changed = changed or normal is not piece
    except UnicodeDecodeError:
        return Finding(file, *NOT_UTF8, line)
    own = raw
    if changed or sent != read:  # as rarely as there is a CR or a BOM
        own = hashlib.sha256()
        for piece in _decoded(blocks):
            own.update(_with_lf(piece).encode())
    return Text(_Pieces(blocks, keeps_cr), own.hexdigest(), raw.hexdigest())


class _Pieces:
    """The text of a large file, read again each time."""

    def __init__(self, blocks: Iterable[bytes], keeps_cr: bool) -> None:
        self._blocks, self._keeps_cr = blocks, keeps_cr

    def __iter__(self) -> Iterator[str]:
        pieces = _decoded(self._blocks)
        return pieces if self._keeps_cr else map(_with_lf, pieces)


def _decoded(blocks: Iterable[bytes]) -> Iterator[str]:
    """The blocks as text without a BOM, in pieces that separate no CR from its LF.

    Raises UnicodeDecodeError, after all that precedes the bytes in question.
    """
    decoder = codecs.getincrementaldecoder("utf-8")()
    begins, held = True, ""
    for block in chain(blocks, (b"",)):  # an empty one is the end
        try:
            piece = held + decoder.decode(block, final=not block)
        except UnicodeDecodeError as error:
            yield held + error.object[: error.start].decode()
            raise
        if begins:
            piece = piece.lstrip("\ufeff")
            begins = not piece
        held = "\r" if block and piece.endswith("\r") else ""
        yield piece.removesuffix(held)


def _noted(blocks: Iterable[bytes], note: Callable[[bytes], None]) -> Iterator[bytes]:
    for block in blocks:
        note(block)
        yield block


def _has_lf_of_its_own(text: str) -> bool:
    return text.count("\n") > text.count("\r\n")


def _with_lf(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n") if "\r" in text else text


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
