"""Reads the folder of another tool, by the rules of its format."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from migrator.folder.formats.format import OUTSIDE, Cut, Format, Pick, WrongTextError
from migrator.folder.formats.table import find_format, named_format
from migrator.model import Finding, Migration, number_of
from migrator.sql.text import Text, read_text

#: Reads one file: a small one's bytes, a large one's blocks. Raises OSError.
Contents = Callable[[str], bytes | Iterable[bytes]]
MOST_BYTES = 1 << 22  #: of a file, for what it says of the format


class UnfitError(Exception):
    """A file of the folder cannot be used."""

    def __init__(self, finding: Finding) -> None:
        super().__init__(str(finding))
        self.finding = finding


@dataclass(frozen=True, slots=True)
class Folder:
    """What lies in a folder, as its format has it."""

    format: str  #: "native", or the name of a tool
    migrations: tuple[Migration, ...]
    findings: tuple[Finding, ...]


def read_foreign(
    directory: str, names: list[str], wanted: str, contents: Contents
) -> Folder | None:
    """The folder as the format of this name reads it, or as the one that claims it; None: none."""
    paths = [*_listed(directory, names)]

    def read(path: str) -> str:
        """The beginning of a file, for what it says of the format."""
        try:
            with open(f"{directory}/{path}", "rb") as file:  # noqa: PTH123 - one of many
                return file.read(MOST_BYTES).decode(errors="replace").lstrip("\ufeff")
        except OSError:
            return ""

    form = find_format(paths, read) if wanted == "auto" else named_format(wanted)
    if form is None:
        return None
    picks, findings = form.pick(paths, read)
    findings = [*findings, *_unpicked(form, paths, picks)]
    migrations = []
    for pick in picks:
        try:
            migrations.append(_migration(form, pick, directory, contents))
        except UnfitError as error:
            findings.append(error.finding)
    return Folder(form.name, tuple(migrations), tuple(findings))


def _listed(directory: str, names: list[str]) -> Iterator[str]:
    """The files of the folder and of those in it, without hidden ones."""
    for name in sorted(names):
        if name.startswith("."):
            continue
        path = f"{directory}/{name}"
        if os.path.isdir(path):  # noqa: PTH112 - one of many
            yield from (f"{name}/{inner}" for inner in sorted(os.listdir(path)))  # noqa: PTH208
        else:
            yield name


def _unpicked(form: Format, paths: list[str], picks: list[Pick]) -> Iterator[Finding]:
    """Files of SQL with a number that the format does not run."""
    known = {path for pick in picks for path in (pick.up, pick.down)} | form.left_out(paths)
    for path in paths:
        name = path.rpartition("/")[2]
        if path not in known and name[:1].isdigit() and name.lower().endswith(".sql"):
            problem = "the format of this folder does not run it"
            yield Finding(path, problem, "Rename it as the others are, or move it elsewhere.")


def _migration(form: Format, pick: Pick, directory: str, contents: Contents) -> Migration:
    up = _text(directory, pick.up, contents)
    pieces = up.pieces
    undo = "".join(_text(directory, pick.down, contents).pieces) if pick.down else None
    if form.cuts:
        cut = _cut(form, pick.up, up.pieces)
        pieces = (cut.up,)
        undo = cut.down if undo is None else _cut(form, str(pick.down), (undo,)).up
    if pick.alone and undo is not None:
        undo = f"{OUTSIDE}\n{undo}"
    return Migration(
        version=pick.version,
        number=number_of(pick.version),
        file=pick.up,
        pieces=pieces,
        checksum=up.checksum,
        raw_checksum=up.raw_checksum,
        rollback_sql=undo,
        alone=pick.alone,
        format=form.name,
    )


def _cut(form: Format, path: str, pieces: Iterable[str]) -> Cut:
    try:
        return form.cut("".join(pieces))
    except WrongTextError as error:
        found = Finding(path, error.problem, error.remedy, error.line)
        raise UnfitError(found) from error


def _text(directory: str, path: str, contents: Contents) -> Text:
    try:
        text = read_text(contents(f"{directory}/{path}"), path)
    except OSError as error:
        problem = f"cannot be read: {error.strerror}"
        text = Finding(path, problem, "Make it a file that can be read.")
    if isinstance(text, Finding):
        raise UnfitError(text)
    return text
