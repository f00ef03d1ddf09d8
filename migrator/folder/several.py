"""Several folders as one: each is read by its own names and marks, all by one format's rules."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from itertools import combinations

from migrator.config import folders_of
from migrator.errors import ConfigError, SourceError
from migrator.folder.formats.deciding_rules import UnfitReadingError, same
from migrator.folder.places_rules import shared, two_hooks
from migrator.folder.read import Source, read_source
from migrator.model import NATIVE, Finding, Migration


def read_sources(places: str, wanted: str = "auto") -> Source:
    """All folders that MIGRATIONS_DIR names, in one order; the file of each begins with its folder.

    SourceError with every finding of all of them, ConfigError for a folder that cannot be named.
    """
    folders = folders_of(places)
    if len(folders) == 1:
        return read_source(places, wanted)
    if os.path.isdir(places):  # noqa: PTH112 - as the folders are read
        raise ConfigError(
            f"the name of the folder {places} has a colon, which divides two folders",
            remedy="Name a link to it that has none: --migrations-dir FOLDER (MIGRATIONS_DIR).",
        )
    _check_apart(folders)
    sources = _of_one_format(_read_each(folders, wanted))
    found = {folder: _placed(folder, source.migrations) for folder, source in sources.items()}
    hooks = [hook for folder, s in sources.items() for hook in _placed(folder, s.hooks)]
    findings = [*shared(found), *two_hooks(hooks)]
    if findings:
        count = "1 problem" if len(findings) == 1 else f"{len(findings)} problems"
        raise SourceError(f"{count} in {places}", findings=findings)
    migrations = sorted((m for each in found.values() for m in each), key=lambda m: m.order)
    warnings = [w for folder, s in sources.items() for w in _named(folder, s.warnings)]
    hooks.sort(key=lambda hook: hook.version, reverse=True)  # before, after
    return Source(tuple(migrations), tuple(warnings), tuple(hooks))


def _check_apart(folders: Sequence[str]) -> None:
    """Raise ConfigError where two are one folder, or one holds the other, by a link for example."""
    real = {folder: f"{os.path.realpath(folder).rstrip('/')}/" for folder in folders}
    for one, other in combinations(folders, 2):
        if real[one].startswith(real[other]) or real[other].startswith(real[one]):
            raise ConfigError(
                f"{one} and {other} hold the same files",
                remedy="Name each folder once: --migrations-dir FOLDER:FOLDER (MIGRATIONS_DIR).",
            )


def _read_each(folders: Iterable[str], wanted: str) -> dict[str, Source]:
    """Each folder; SourceError with what is wrong with any."""
    sources: dict[str, Source] = {}
    problems: list[str] = []
    findings: list[Finding] = []
    for folder in folders:
        try:
            sources[folder] = read_source(folder, wanted)
        except SourceError as error:
            if not error.findings:
                raise
            problems.append(error.message)
            findings += _named(folder, error.findings)
    if findings:
        raise SourceError("; ".join(problems), findings=findings)
    return sources


def _of_one_format(sources: dict[str, Source]) -> dict[str, Source]:
    """The same, by the rules of one format; SourceError where there is none for all of them.

    A folder of our own names follows the tool of the others, where that does the same with it.
    """
    formats = {f: s.migrations[0].format for f, s in sources.items() if s.migrations}
    tools = sorted(set(formats.values()) - {NATIVE})
    if len(set(formats.values())) < 2:
        return sources
    if len(tools) > 1:
        raise _two_formats(formats)
    for folder in (folder for folder, name in formats.items() if name == NATIVE):
        again = _read_each([folder], tools[0])[folder]
        try:
            conflict = same(again.migrations, sources[folder].migrations)
        except UnfitReadingError:
            conflict = None
        if conflict:
            raise _two_formats(formats)
        sources[folder] = again
    return sources


def _two_formats(formats: dict[str, str]) -> SourceError:
    (one, first), (other, second) = next(
        (a, b) for a in formats.items() for b in formats.items() if a[1] != b[1]
    )
    return SourceError(
        f"{one} follows the rules of {first}, and {other} those of {second}",
        remedy="Write the files of both alike; or name the format of both: --folder-format "
        f"{first} (FOLDER_FORMAT={first}), or {second}.",
    )


def _placed(folder: str, migrations: Iterable[Migration]) -> list[Migration]:
    return [
        m._replace(
            file=f"{folder}/{m.file}",
            undo_from=m.undo_from and (f"{folder}/{m.undo_from[0]}", m.undo_from[1]),
        )
        for m in migrations
    ]


def _named(folder: str, findings: Iterable[Finding]) -> list[Finding]:
    return [finding._replace(file=f"{folder}/{finding.file}") for finding in findings]
