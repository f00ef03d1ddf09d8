"""Reads the folder of migrations."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

from migrator.errors import SourceError
from migrator.folder.names import JOURNAL, fits, gather, is_migration, passed_over
from migrator.model import HOOKS, NATIVE, Finding, Migration
from migrator.sql.script import for_liquibase
from migrator.sql.text import read_text

if TYPE_CHECKING:
    from migrator.folder.foreign import Folder

#: A larger file is not kept in memory, but read again when it is needed.
SMALL_BYTES = 1 << 16
BLOCK_BYTES = 1 << 18
MOST_FOLDERS = 1000  #: that are searched for files below each folder
#: What is in the first file of other tools' folders whose names could be our own, in small letters.
SIGNS = (
    *(b"migrate:up", b"migrate:down", b"+goose", b"+migrate", b"+micrate", b"create above /"),
    *(b"up migration", b"down migration", b"-- no-transaction", b"--! previous:"),
    b"liquibase formatted sql",
)


class Source(NamedTuple):
    """A folder that can be used."""

    migrations: tuple[Migration, ...]  #: by (number, version), then the repeatables
    warnings: tuple[Finding, ...]  #: numbered files that are not run, and may not be meant to
    hooks: tuple[Migration, ...] = ()  #: before.sql and after.sql, in this order


def read_source(directory: str | os.PathLike[str], wanted: str = "auto") -> Source:
    """All of the folder, by the rules of the `wanted` format; SourceError with every finding of it.

    Links are followed, because a mounted ConfigMap is made of them. Names that begin with a dot
    are nobody's migrations.
    """
    folder = os.fspath(directory)
    names = [name for name in read_names(folder) if not name.startswith(".")]
    warnings: tuple[Finding, ...] = ()
    foreign = None
    aside = {name for name in names if name in HOOKS}
    if aside:
        names = [name for name in names if name not in aside]
    if wanted != NATIVE and (wanted != "auto" or not _looks_native(folder, names)):
        foreign = _read_foreign(folder, names, aside, wanted)
    migrations, found = (
        (foreign.migrations, foreign.findings) if foreign else gather(_files(folder, names))
    )
    native = foreign is None or foreign.format == NATIVE
    if native and wanted == "auto" and any(map(for_liquibase, migrations)):
        foreign = _read_foreign(folder, names, aside, "liquibase")
    if foreign:
        migrations, findings = foreign.migrations, foreign.findings
        if foreign.format == NATIVE:
            _, warnings = passed_over(names)
    else:
        folders = [name for name in names if _is_folder(folder, name)]
        failing, warnings = passed_over(name for name in names if name not in folders)
        findings = (*found, *failing, *_subfolders(folder, folders))
    if findings:
        count = "1 problem" if len(findings) == 1 else f"{len(findings)} problems"
        whose = f", read as {foreign.format}'s" if foreign else ""
        if foreign and wanted == "auto":
            whose += " (FOLDER_FORMAT=native, if it is not)"
        raise SourceError(f"{count} in {folder}{whose}", findings=findings)
    hooks = foreign.hooks if foreign else ()
    if aside and (foreign is None or foreign.format == NATIVE):
        hooks = tuple(_hooks(_files(folder, sorted(aside, reverse=True))))
    return Source(migrations, warnings, hooks)


def _read_foreign(folder: str, names: list[str], aside: set[str], wanted: str) -> Folder | None:
    from migrator.folder.foreign import read_foreign  # not needed for a folder of our own

    foreign = read_foreign(folder, names, wanted, _contents)
    if aside and foreign and foreign.format != NATIVE:  # to which these mean nothing
        foreign = read_foreign(folder, [*names, *aside], wanted, _contents)
    return foreign


def _hooks(files: Iterable[tuple[str, bytes | Iterable[bytes] | Finding]]) -> Iterator[Migration]:
    """Hooks as something that flies. Raises SourceError."""
    for name, data in files:
        text = data if isinstance(data, Finding) else read_text(data, name)
        if isinstance(text, Finding):
            raise SourceError("a hook cannot be read", findings=[text])
        found = text.pieces, text.checksum, text.raw_checksum
        yield Migration(HOOKS[name], -1, name, *found)


def _looks_native(folder: str, names: list[str]) -> bool:
    """Whether no other tool's rules need to be tried: our names, and no mark in the first file."""
    files = [name for name in names if name.lower().endswith(".sql")]
    if not files or not all(map(fits, files)):
        return False
    if "atlas.sum" in names or all(name.startswith("R__") for name in files):
        return False  # beside repeatables Flyway's other files may lie in folders
    if "meta" in names and os.path.exists(f"{folder}/{JOURNAL}"):  # noqa: PTH110 - see `_contents`
        return False
    first = min((name for name in files if not name.endswith(".down.sql")), default=files[0])
    try:
        data = _contents(f"{folder}/{first}")
    except OSError:
        return True
    beginning = (data if isinstance(data, bytes) else next(iter(data), b"")).lower()
    return not any(sign in beginning for sign in SIGNS)


def read_names(folder: str) -> list[str]:
    """The names of all that lies in the folder; SourceError when it cannot be read."""
    try:
        return os.listdir(folder)  # noqa: PTH208 - see `_contents`
    except OSError as error:
        raise SourceError(
            f"cannot read the folder {folder}: {error.strerror}",
            remedy=_readable(folder)
            if isinstance(error, PermissionError)
            else "Name the folder of migrations: --migrations-dir FOLDER (MIGRATIONS_DIR).",
        ) from error


def _files(
    folder: str, names: list[str]
) -> Iterator[tuple[str, bytes | Iterable[bytes] | Finding]]:
    for name in names:
        if name.lower().endswith(".sql"):
            try:
                yield name, _contents(f"{folder}/{name}")
            except OSError as error:
                problem = f"cannot be read: {error.strerror}"
                denied = isinstance(error, PermissionError)
                remedy = _readable(folder) if denied else "Make it a file that can be read."
                yield name, Finding(name, problem, remedy)


def _is_folder(folder: str, name: str) -> bool:
    return not name.lower().endswith(".sql") and os.path.isdir(f"{folder}/{name}")  # noqa: PTH112


def _subfolders(folder: str, names: list[str]) -> Iterator[Finding]:
    """Folders that hold migrations, at any depth: these would never run, as none is read."""
    for name in names:
        if first := next(_below(f"{folder}/{name}"), None):
            problem = f"is a folder that holds {first}, and folders are not read"
            yield Finding(name, problem, f"Put the files into {folder} itself.")


def _below(folder: str) -> Iterator[str]:
    """What can only be a migration there, by its path from `folder`."""
    for place, folders, files in islice(os.walk(folder), MOST_FOLDERS):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            if is_migration(name) and not name.startswith("."):
                yield f"{place}/{name}".removeprefix(f"{folder}/")


def _readable(folder: str) -> str:
    return f"Let user {os.getuid()} read it: chmod -R a+rX {folder}"


def _contents(path: str) -> bytes | Iterable[bytes]:
    """A small file's bytes. Path.read_bytes takes twice as long, which counts at 1000 files."""
    handle = os.open(path, os.O_RDONLY)
    try:
        data = os.read(handle, SMALL_BYTES)
        while more := os.read(handle, SMALL_BYTES):
            data += more
            if len(data) > SMALL_BYTES:
                return _Blocks(path)
        return data
    finally:
        os.close(handle)


class _Blocks:
    """A large file, block by block: read again each time, and proved to be the same each time.

    Raises SourceError before it returns a block that differs from what it was the first time.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._seen: list[int] = []  # the hash of each block, as Python makes them
        self._whole = False

    def __iter__(self) -> Iterator[bytes]:
        number = 0
        if not self._whole:
            self._seen.clear()
        try:
            with open(self._path, "rb") as file:  # noqa: PTH123 - see `_contents`
                while block := file.read(BLOCK_BYTES):
                    self._compare(number, hash(block))
                    number += 1
                    yield block
        except OSError as error:
            raise self._changed(f"cannot be read any more: {error.strerror}") from error
        if self._whole and number < len(self._seen):
            raise self._changed()
        self._whole = True

    def _compare(self, number: int, seen: int) -> None:
        if not self._whole:
            self._seen.append(seen)
        elif number >= len(self._seen) or self._seen[number] != seen:
            raise self._changed()

    def _changed(self, how: str = "has changed since this run first read it") -> SourceError:
        name = os.path.basename(self._path)  # noqa: PTH119 - see `_contents`
        finding = Finding(name, how, "Change no file of the folder during a run; run again.")
        return SourceError(f"{name} {how}", findings=[finding], remedy=finding.remedy)
