"""Creates and renames files of the folder: the name of the next one, and its first text."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from migrator.config import first_folder, folders_of
from migrator.errors import ConfigError
from migrator.folder.names import JOURNAL, versions
from migrator.folder.read import read_names
from migrator.folder.several import read_sources
from migrator.folder.version_rules import find_version
from migrator.model import NATIVE, Migration, number_of, rank_of

if TYPE_CHECKING:
    from migrator.folder.formats.format import Format

Made = tuple[list[str], str]  # the paths, and what was done, in words

# Texts without a statement: `up` refuses the one, and the other is no undo.
_UP = "-- {}: what it is for\n\n"
_DOWN = "-- Undoes {}. Say here what data is lost.\n-- Without a statement there is no undo.\n\n"


def create(
    places: str, name: str, today: datetime, wanted: str = "auto", *, repeatable: bool
) -> Made:
    """The next migration's file and its .down.sql, or a repeatable's file; in the folder's format.

    Of several folders they go into the first, and come after the files of all.

    Raises ConfigError for a name that no migration may have and for a file that cannot be created,
    SourceError for a folder that cannot be used.
    """
    name = re.sub(r"[\s-]+", "_", name.strip())
    if not re.fullmatch("[a-z0-9_]+", name):
        raise ConfigError(
            f"{name} cannot be a migration's name",
            remedy="Use lower-case letters, digits and _, such as add_orders.",
        )
    place = Path(first_folder(places))
    with _writing(place):
        place.mkdir(parents=True, exist_ok=True)
    found = read_sources(places, wanted).migrations
    form = _format(found, wanted)
    if form == NATIVE and wanted == "auto" and (place / JOURNAL).exists():
        form = "drizzle"  # its generator goes on keeping the journal
    tool = _tool(form)
    if repeatable:
        if tool is not None and not tool.repeatables:
            raise ConfigError(f"{form} has no repeatables", remedy="Create a migration: new NAME.")
        version = f"R__{name}"
        texts = {f"{version}.sql": f"-- {version}: runs again whenever this text changed\n\n"}
    else:
        letter = tool.letter if tool else ""
        version = _next([m.version for m in found if not m.repeatable], name, today, letter)
        texts = _texts(tool, version)
    for file, text in texts.items():
        with _writing(place / file):
            (place / file).parent.mkdir(exist_ok=True)
            with (place / file).open("x", encoding="utf-8") as out:
                out.write(text)
    done = f"{len(texts)} files created" if len(texts) > 1 else "1 file created"
    return [str(place / file) for file in texts], done


def version_in(places: str, version: str) -> str:
    """The version of the folder's file that `version` or its number names; else ConfigError.

    Only names count: `new --renumber` exists for two files with one number.
    """
    names = [name for folder in folders_of(places) for name in read_names(folder)]
    others = _foreign(_stems(names))
    version = find_version(version.removesuffix(".sql"), others)
    if version not in others:
        raise ConfigError(
            f"there is no {version} in {places}",
            remedy=f"Name one that is: {others[-1]}." if others else "The folder has none.",
        )
    return version


def rename(places: str, version: str, today: datetime) -> Made:
    """Give a file of the folder, and its .down.sql, the next number: the files, and the version.

    Of several folders it is the next of all; the last one that has the version is meant. Raises
    ConfigError if it cannot.
    """
    listed = {folder: read_names(folder) for folder in folders_of(places)}
    folder = [folder for folder, names in listed.items() if version in _stems(names).values()][-1]
    place, names = Path(folder), listed[folder]
    everywhere = [name for each in listed.values() for name in each]
    if version not in versions(names):
        return _rename_foreign(place, names, everywhere, version, today)
    others = [other for other in versions(everywhere) if other != version]
    target = _next(others, version.partition("_")[2], today)
    endings = [ending for ending in (".sql", ".down.sql") if f"{version}{ending}" in names]
    for ending in endings:
        with _writing(place / f"{target}{ending}"):
            (place / f"{version}{ending}").rename(place / f"{target}{ending}")
    made = [str(place / f"{target}{ending}") for ending in endings]
    return made, target


def _rename_foreign(
    place: Path, names: Sequence[str], everywhere: Sequence[str], version: str, today: datetime
) -> Made:
    """The same for a name that only another tool's folder has; a folder is renamed as a whole.

    Raises ConfigError where the tool itself must write the names.
    """
    if (place / JOURNAL).exists() or "committed" in names:
        raise ConfigError(
            f"{version} cannot be renamed: the tool of this folder keeps a list of its files",
            remedy="Make the migration anew with that tool.",
        )
    stems = _stems(names)
    letter, number = _split(version)
    others = _foreign(_stems(everywhere))
    taken = [_split(stem)[1] + "_" for stem in others if stem != version]
    target = letter + _next(taken, "", today).removesuffix("_") + version[len(letter + number) :]
    made = []
    for name in sorted(name for name, stem in stems.items() if stem == version):
        new = place / f"{target}{name[len(version) :]}"
        with _writing(new):
            (place / name).rename(new)
        made.append(str(new))
    return made, target


#: What a version begins with in any tool's folder: V1.2 before __, a date with hyphens, digits.
_FOREIGN_NUMBER = re.compile(
    r"(V?)((?<=V)\d+(?:[._]\d+)*(?=__)|\d{4}-\d\d-\d\d-\d{6}(?=_)|\d+)", re.ASCII
)
_FOREIGN_END = re.compile(r"(?:\.up|\.down)?\.sql\Z", re.IGNORECASE)


def _stems(names: Sequence[str]) -> dict[str, str]:
    """The version of each file of SQL and each folder that begins with a number."""
    stems = ((name, _FOREIGN_END.sub("", name)) for name in names if _FOREIGN_NUMBER.match(name))
    return {name: stem for name, stem in stems if stem != name or "." not in name}


def _foreign(stems: Mapping[str, str]) -> list[str]:
    """The versions in their order."""
    return sorted(set(stems.values()), key=lambda stem: (number_of(stem), rank_of(stem)[0], stem))


def _split(version: str) -> tuple[str, str]:
    """The letter and the number that it begins with."""
    found = _FOREIGN_NUMBER.match(version)
    return (found[1], found[2]) if found else ("", "")


def _format(found: Sequence[Migration], wanted: str) -> str:
    """Whose rules the folder follows; an empty one those that are set."""
    if found:
        return found[0].format
    return NATIVE if wanted == "auto" else wanted


def _tool(form: str) -> Format | None:
    """The format of this name; None of our own."""
    if form == NATIVE:
        return None
    from migrator.folder.formats.table import named_format  # not needed for a folder of our own

    return named_format(form)


def _texts(tool: Format | None, version: str) -> dict[str, str]:
    """The files of a new migration in a folder of this format, with what is in them at first."""
    if tool is None:
        return {
            f"{version}.sql": _UP.format(version),
            f"{version}.down.sql": _DOWN.format(version),
        }
    name = version.rpartition("/")[2]
    texts = {f"{version}{end}": text.replace("{name}", name) for end, text in tool.new.items()}
    if not texts:
        raise ConfigError(
            f"a new migration of {tool.name} is made by its own generator",
            remedy=f"Create it with {tool.name}; `up` runs it as it is.",
        )
    return texts


def _next(taken: Sequence[str], name: str, today: datetime, letter: str = "") -> str:
    """The version after all that are taken; with timestamps as numbers, that of `today`.

    Of a number in parts the last one counts on.
    """
    newest = taken[-1] if taken else f"{letter}{'' if letter else '00'}0_"
    if letter:
        before, last = re.findall(r"\A[VB]((?:[0-9]+[._](?=[0-9]))*)([0-9]+)", newest)[0]
        return f"{letter}{before}{_counted_on(last, today)}__{name}"
    path, several, _ = newest.partition(":")
    if several:
        place, slash, newest = path.rpartition("/")
        return f"{place}{slash}{_next([newest], name, today)}"
    if re.match(r"\d{4}-\d\d-\d\d-\d{6}_", newest):
        return f"{today:%Y-%m-%d-%H%M%S}_{name}"
    digits = newest[: len(newest) - len(newest.lstrip("0123456789"))]
    if not digits:
        raise ConfigError(
            f"the files of this folder have no numbers, so that none comes after {newest}",
            remedy="Write the new migration into a file of it.",
        )
    return f"{_counted_on(digits, today)}_{name}"


def _counted_on(digits: str, today: datetime) -> str:
    following = str(int(digits) + 1)
    if len(digits) == 14:
        following = max(today.strftime("%Y%m%d%H%M%S"), following)
    return following.zfill(len(digits))


@contextlib.contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ConfigError(
            f"{path} cannot be created: {error.strerror}",
            remedy="Name a folder that you may write to, --migrations-dir FOLDER (MIGRATIONS_DIR), "
            "or choose another name.",
        ) from error
