"""Reads the folder of another tool, by the rules of its format."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TypeVar

from migrator.folder.formats.deciding_rules import UnfitReadingError, bars_ours, same
from migrator.folder.formats.format import (
    OUTSIDE,
    WITH_VALUES,
    Cut,
    Format,
    Pick,
    Read,
    WrongTextError,
    composed,
)
from migrator.folder.formats.refused import find_refused
from migrator.folder.formats.table import OWN_FORMAT, find_formats, named_format
from migrator.folder.names import passed_over
from migrator.model import FLYWAY, NATIVE, Finding, Migration, number_of
from migrator.sql.text import Text, read_text

#: Reads one file: a small one's bytes, a large one's blocks. Raises OSError.
Contents = Callable[[str], bytes | Iterable[bytes]]
MOST_CHARS_CUT = 1 << 26  #: of a text between marks: it takes about four times that in memory
MOST_BYTES = 1 << 22  #: of a file, for what it says of the format


_T = TypeVar("_T")


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
    hooks: tuple[Migration, ...] = ()  #: what runs around the migrations


def read_foreign(
    directory: str, names: list[str], wanted: str, contents: Contents
) -> Folder | None:
    """The folder as the format of this name reads it, or as the one that claims it; None: none."""

    def read(path: str) -> str:
        """The beginning of a file, for what it says of the format."""
        try:
            with open(f"{directory}/{path}", "rb") as file:  # noqa: PTH123 - one of many
                return file.read(MOST_BYTES).decode(errors="replace").lstrip("\ufeff")
        except FileNotFoundError:
            return ""
        except OSError as error:
            raise UnfitError(_unreadable(path, error)) from error

    texts = _Texts(directory, contents)
    try:
        paths = [*_listed(directory, names, (os.path.realpath(directory),))]
        forms = find_formats(paths, read) if wanted == "auto" else [named_format(wanted)]
        if wanted == "auto" and (found := find_refused(paths, read, claimed=bool(forms))):
            return Folder(found[0], (), (found[1],))
        if not forms:
            return None
        folder = _read_by(forms[0], paths, read, texts)
        if folder.findings or forms[0].sure:
            return folder
        others = forms[1:]
        if others and any(map(bars_ours, folder.migrations)):
            others = [form for form in others if form is not OWN_FORMAT]
        return decided(folder, (_read_by(form, paths, read, texts) for form in others))
    except UnfitError as error:
        return Folder(wanted, (), (error.finding,))


def decided(folder: Folder, others: Iterable[Folder]) -> Folder:
    """The folder as the surest format reads it, when it does not matter which one does.

    Our own wins where it makes the same of each file. What a format refuses is not read by it.
    """
    for other in others:
        try:
            conflict = None if other.findings else same(folder.migrations, other.migrations)
        except UnfitReadingError:
            continue
        if conflict:
            return replace(folder, findings=(conflict,))
        if other.format == NATIVE and not other.findings:
            return other
    return folder


def _read_by(form: Format, paths: list[str], read: Read, texts: _Texts) -> Folder:
    """What one format makes of the folder. Raises UnfitError."""
    if not form.deep:
        paths = [path for path in paths if path.count("/") < 2]
    picks, findings = form.pick(paths, read)
    findings += form.proved(paths, read, texts.data)
    if not form.deep:
        failing, _ = passed_over(path for path in paths if "/" not in path)
        findings = [*findings, *failing, *_unpicked(form, paths, picks)]
    migrations: list[Migration] = []
    for pick in picks:
        try:
            migrations += _migrations(form, pick, texts)
        except UnfitError as error:
            findings.append(error.finding)
    findings += _twice(migrations)
    migrations.sort(key=lambda migration: migration.order)
    rule = FLYWAY if any(pick.placeholders for pick in picks) else form.placeholders
    hooks = tuple(_hook(form, path, texts, rule) for path in form.hooks if path in paths)
    return Folder(form.name, tuple(migrations), tuple(findings), hooks)


def _hook(form: Format, path: str, texts: _Texts, rule: str | None) -> Migration:
    """A hook as something that flies. Raises UnfitError."""
    text = texts.of(path)
    found = text.pieces, text.checksum, text.raw_checksum
    moment = form.hooks[path]
    return Migration(moment, -1, path, *found, format=form.name, placeholders=rule)


class _Texts:
    """The texts of the folder's files, each read once however many formats look at it."""

    def __init__(self, directory: str, contents: Contents) -> None:
        self._directory, self._contents = directory, contents
        self._known: dict[str, Text] = {}

    def data(self, path: str) -> Iterable[bytes]:
        """The bytes of a file, block by block."""
        try:
            data = self._contents(f"{self._directory}/{path}")
        except OSError as error:
            raise UnfitError(_unreadable(path, error)) from error
        return (data,) if isinstance(data, bytes) else data

    def of(self, path: str) -> Text:
        """Raises UnfitError."""
        text: Text | Finding | None = self._known.get(path)
        if text is None:
            try:
                text = read_text(self._contents(f"{self._directory}/{path}"), path)
            except OSError as error:
                text = _unreadable(path, error)
        if isinstance(text, Finding):
            raise UnfitError(text)
        self._known[path] = text
        return text


def _listed(directory: str, names: Sequence[str] | None, above: tuple[str, ...]) -> Iterator[str]:
    """The files of the folder and of those in it, without hidden ones; a folder ends with /.

    Of the folder itself these `names`. A link to a folder `above` is none of it.
    """
    found, folders = [], {}
    with os.scandir(directory) as entries:  # which asks the system once, and not for each file
        for entry in entries:
            found.append(entry.name)
            if entry.is_dir():
                folders[entry.name] = entry.is_symlink()
    for name in sorted(found if names is None else names):
        if name.startswith("."):
            continue
        if name not in folders:
            yield name
            continue
        path = f"{directory}/{name}"
        real = os.path.realpath(path) if folders[name] else f"{above[-1]}/{name}"
        if real in above:
            continue
        try:
            inner = [*_listed(path, None, (*above, real))]
        except OSError as error:
            raise UnfitError(_unreadable(name, error)) from error
        yield from (f"{name}/{file}" for file in inner or [""])  # an empty folder counts


def _unpicked(form: Format, paths: list[str], picks: list[Pick]) -> Iterator[Finding]:
    """Files of SQL that the format does not run, and that the tool would, or a person meant to."""
    known = {path for pick in picks for path in (pick.up, pick.down)} | form.left_out(paths)
    for path in paths:
        name = path.rpartition("/")[2]
        if path in known or not name.lower().endswith(".sql"):
            continue
        meant = form.strict or not picks or name.startswith("R__")
        if name[:1].isdigit() or (meant and "/" not in path):
            problem = "the format of this folder does not run it"
            yield Finding(path, problem, "Rename it as the others are, or move it elsewhere.")


def _migrations(form: Format, pick: Pick, texts: _Texts) -> Iterable[Migration]:
    return _several(form, pick, texts) if form.several else (_migration(form, pick, texts),)


def _migration(form: Format, pick: Pick, texts: _Texts) -> Migration:
    up = texts.of(pick.up)
    pieces = up.pieces
    undo = "".join(texts.of(pick.down).pieces) if pick.down else None
    if form.cuts:
        whole = _whole(pick.up, up.pieces)
        cut = _cut(form, pick.up, (whole,))
        pieces = up.pieces if cut.up == whole else (cut.up,)  # a large one is not kept
        undo = cut.down if undo is None else _cut(form, str(pick.down), (undo,)).up
    above = [OUTSIDE] * pick.down_alone + [WITH_VALUES] * pick.down_filled
    if undo is not None:
        undo = "\n".join([*above, undo])
    return Migration(
        version=composed(pick.version),
        number=number_of(pick.version),
        file=pick.up,
        pieces=pieces,
        checksum=up.checksum,
        raw_checksum=up.raw_checksum,
        rollback_sql=undo,
        alone=pick.alone,
        format=form.name,
        rank=pick.rank,
        placeholders=FLYWAY if pick.placeholders else form.placeholders,
        whole=up.pieces if form.cuts else None,
        undo_from=(pick.down or pick.up, 1 - len(above)) if form.name != NATIVE else None,
    )


def _several(form: Format, pick: Pick, texts: _Texts) -> Iterator[Migration]:
    """The migrations of one file."""
    whole = _whole(pick.up, texts.of(pick.up).pieces)
    for place, part in enumerate(_explained(pick.up, partial(form.parts, pick, whole))):
        checksum = hashlib.sha256(part.text.encode()).hexdigest()
        yield Migration(
            version=part.version,
            number=number_of(part.version),
            file=pick.up,
            pieces=(part.up,),
            checksum=checksum,
            raw_checksum=checksum,
            rollback_sql=part.down,
            format=form.name,
            rank=((), pick.up, place),
            undo_from=(pick.up, 1),
            placeholders=FLYWAY if pick.placeholders else None,
        )


def _whole(path: str, pieces: Iterable[str]) -> str:
    """A text that is to be cut, which is done in memory."""
    kept, length = [], 0
    for piece in pieces:
        kept.append(piece)
        length += len(piece)
        if length > MOST_CHARS_CUT:
            problem = f"is larger than {MOST_CHARS_CUT >> 20} MB, and its marks are read in memory"
            raise UnfitError(Finding(path, problem, "Split it into several migrations."))
    return "".join(kept)


def _twice(migrations: Iterable[Migration]) -> Iterator[Finding]:
    """Versions that two files have, whose names differ in what no version may hold."""
    seen: dict[str, str] = {}
    for migration in migrations:
        if other := seen.get(migration.version):
            problem = f"holds {migration.version}, as {other} does"
            yield Finding(migration.file, problem, "Rename one of them.")
        seen.setdefault(migration.version, migration.file)


def _explained(path: str, how: Callable[[], _T]) -> _T:
    """What `how` makes of a file's text; UnfitError in the place of WrongTextError."""
    try:
        return how()
    except WrongTextError as error:
        raise UnfitError(Finding(path, error.problem, error.remedy, error.line)) from error


def _cut(form: Format, path: str, pieces: Iterable[str]) -> Cut:
    return _explained(path, lambda: form.cut("".join(pieces)))


def _unreadable(path: str, error: OSError) -> Finding:
    return Finding(path, f"cannot be read: {error.strerror}", "Make it one that can be read.")
