"""Folders of tools that are not run here: by which sign each is known, and why it is refused."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice

from migrator.folder.formats.format import Read, fitting, top
from migrator.folder.formats.liquibase import is_changelog
from migrator.model import Finding

_PAGE = "docs/formats.md"
_CODE = r".*\.(?:go|js|cjs|mjs|ts|cts|mts|py|rb|php|java|kt|cs|exs?)"
MOST_READ = 20  #: files of a kind, in search of a sign


@dataclass(frozen=True, slots=True)
class Refused:
    """One tool, and the first file of a folder that shows it."""

    tool: str
    find: Callable[[Sequence[str], Read], str | None]
    problem: str
    remedy: str
    sure: bool = False  #: whatever other tool claims the folder as well


def find_refused(names: Sequence[str], read: Read, *, claimed: bool) -> tuple[str, Finding] | None:
    """The tool whose folder this is, and why it is not run; None: none of them.

    Of a folder that is `claimed` by a tool that is supported, only the sure signs count.
    """
    for row in UNSUPPORTED:
        if claimed and not row.sure:
            continue
        if file := row.find(names, read):
            remedy = f"{row.remedy} {_PAGE} says more, under Refused by name."
            return row.tool, Finding(file, row.problem, remedy)
    return None


def _named(pattern: str) -> Callable[[Sequence[str], Read], str | None]:
    """The first path that fits."""
    return lambda names, _: next(fitting(pattern, names), None)


def _saying(
    sign: str, names_too: str = r"[^/]*\.sql"
) -> Callable[[Sequence[str], Read], str | None]:
    """The first of the folder's own files of such a name whose text holds the sign."""

    def find(names: Sequence[str], read: Read) -> str | None:
        files = islice(fitting(names_too, top(names)), MOST_READ)
        return next((name for name in files if re.search(sign, read(name))), None)

    return find


def _prisma_8(names: Sequence[str], _read: Read) -> str | None:
    known = {*names}
    sql = any(name.endswith(".sql") for name in names)
    for name in names:
        folder, _, file = name.partition("/")
        if file == "ops.json" or (not sql and name == "contract.json"):
            return name
        if file == "migration.ts" and f"{folder}/migration.sql" not in known:
            return name
    return None


def _changelog(names: Sequence[str], read: Read) -> str | None:
    files = [name for name in names if re.search(r"\.(?:xml|ya?ml|json)\Z", name.lower())]
    return next((name for name in files[:MOST_READ] if is_changelog(read(name))), None)


def _code_alone(names: Sequence[str], _read: Read) -> str | None:
    if any(name.lower().endswith(".sql") for name in names):
        return None
    return next((name for name in names if re.fullmatch(_CODE, name)), None)


_NATIVE = "Make the folder native with the recipes of docs/adopting.md."
UNSUPPORTED = (
    Refused(
        "sqitch",
        _named(r"(?:.*/)?sqitch\.plan"),
        "is the plan of sqitch, whose scripts are run by psql and bring their own transactions",
        _NATIVE,
        sure=True,
    ),
    Refused(
        "sqitch",
        _saying(r"\A\s*-- Deploy \S+ to pg\b"),
        "is a script of sqitch, whose order is in sqitch.plan",
        _NATIVE,
    ),
    Refused(
        "Prisma 8",
        _prisma_8,
        "is a migration of Prisma 8, which keeps operations and no SQL",
        "Write the SQL of each into a file of its own, NNN_name.sql.",
        sure=True,
    ),
    Refused(
        "yoyo",
        _named(r"[^/]+\.rollback\.sql"),
        "is an undo of yoyo's, which orders files by what they depend on",
        _NATIVE,
        sure=True,
    ),
    Refused(
        "yoyo",
        _saying(r"(?m)\A(?:\s*--[^\n]*\n)*\s*--\s*(?:depends|transactional)\s*:"),
        "is a migration of yoyo's, which orders files by what they depend on",
        _NATIVE,
    ),
    Refused(
        "MyBatis Migrations",
        _saying(r"(?m)^\s*(?:--|//)\s*//\s*@UNDO\b"),
        "has both ways of MyBatis Migrations in it, which puts values in the place of ${name}",
        _NATIVE,
    ),
    Refused(
        "rambler", _saying(r"(?m)^-- rambler (?:up|down)\b"), "has both ways of rambler", _NATIVE
    ),
    Refused(
        "shmig", _saying(r"(?m)^-- ====  (?:UP|DOWN)  ====$"), "has both ways of shmig", _NATIVE
    ),
    Refused(
        "Play",
        _saying(r"(?m)^\s*(?:#|--).*!(?:Ups|Downs)\b"),
        "is an evolution of Play's, which splits and escapes semicolons in its own way",
        _NATIVE,
    ),
    Refused(
        "Atlas txtar",
        _saying(r"\A-- atlas:txtar\b"),
        "is an archive of Atlas's, of which the paid edition runs a part",
        "Write its parts as NAME.sql and NAME.down.sql.",
    ),
    Refused(
        "Liquibase",
        _changelog,
        "is a changelog of Liquibase's that is no formatted SQL",
        "Name the folder of formatted SQL files alone, or write its changes as such.",
    ),
    Refused(
        "a program",
        _code_alone,
        "is code, and the folder holds no SQL",
        "Write what it does as SQL, in NNN_name.sql, or name another folder (MIGRATIONS_DIR).",
    ),
)
