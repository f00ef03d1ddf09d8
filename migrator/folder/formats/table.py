"""All formats, in the order in which a folder is compared with them."""

from __future__ import annotations

from collections.abc import Sequence

from migrator.folder.formats.folders import Diesel, Drizzle, Prisma
from migrator.folder.formats.format import Format, Read
from migrator.folder.formats.marked import (
    Dbmate,
    Goose,
    Micrate,
    NodePgMigrate,
    SqlMigrate,
    Tern,
)
from migrator.folder.formats.paired import GolangMigrate, Graphile, Sqlx, Supabase

#: The surest sign first: a folder is that of the first one that claims it.
FORMATS: tuple[Format, ...] = (
    Graphile(),
    Drizzle(),
    Prisma(),
    Diesel(),
    Sqlx(),
    GolangMigrate(),
    Dbmate(),
    Goose(),
    SqlMigrate(),
    Micrate(),
    Tern(),
    NodePgMigrate(),
    Supabase(),
)


def find_format(names: Sequence[str], read: Read) -> Format | None:
    """The format that claims a folder with these files; None: none but the job's own."""
    return next((form for form in FORMATS if form.claims(names, read)), None)


def named_format(name: str) -> Format:
    """The format of this name, as FOLDER_FORMAT has it."""
    return next(form for form in FORMATS if form.name == name)
