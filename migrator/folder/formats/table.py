"""All formats, in the order in which a folder is compared with them."""

from __future__ import annotations

from collections.abc import Sequence

from migrator.folder.formats.atlas import Atlas
from migrator.folder.formats.flyway import Flyway
from migrator.folder.formats.folders import Diesel, Drizzle, Prisma
from migrator.folder.formats.format import Format, Read
from migrator.folder.formats.liquibase import Liquibase
from migrator.folder.formats.marked import (
    Dbmate,
    Goose,
    Micrate,
    NodePgMigrate,
    SqlMigrate,
    Tern,
)
from migrator.folder.formats.paired import GolangMigrate, Graphile, Native, Sqlx, Supabase

LIQUIBASE = Liquibase()
OWN_FORMAT = Native()  #: to be compared with what claims a folder of such names
#: The surest sign first: a folder is that of the first one that claims it.
FORMATS: tuple[Format, ...] = (
    Flyway(),
    LIQUIBASE,
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
    Atlas(),
    Supabase(),
)


def find_formats(names: Sequence[str], read: Read) -> list[Format]:
    """The formats that claim a folder with these files, the surest first; none but our own: none.

    Our own comes last, where the names are ours: it needs no sign.
    """
    found = [form for form in FORMATS if form.claims(names, read)]
    if not found and LIQUIBASE.claims_any(names, read):
        found = [LIQUIBASE]
    return [*found, OWN_FORMAT] if found and OWN_FORMAT.claims(names, read) else found


def named_format(name: str) -> Format:
    """The format of this name, as FOLDER_FORMAT has it."""
    return next(form for form in FORMATS if form.name == name)
