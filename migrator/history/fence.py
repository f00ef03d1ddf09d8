"""What the fence around our tables is made of: tables, locks, and the rows that are written.

What is asked of it lies in `questions`, what an answer means in `distrust`, and what proves that
just our rows were written in `proof`; docs/design.md section 12.
"""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple

from migrator.postgres.quoting import identifier, literal

TABLE_NAMES = ("schema_migrations", "schema_migrations_log")  #: what our tables are called


class Access(Enum):
    """What is done with a table, and the lock that the questions are asked under."""

    READ = "ACCESS SHARE"
    WRITE = "ROW EXCLUSIVE"


class Owners(Enum):
    """Whose tables will do."""

    TRUSTED = "of a role that is trusted, as any row may be acted upon"
    OF_SCHEMA = "of the schema's owner too, as a person judges what is read there"
    ANY = "of any role, as nothing depends on the rows"


class Table(NamedTuple):
    """A table that messages of ours read or write."""

    schema: str
    name: str

    @property
    def quoted(self) -> str:
        name = self.name if self.name in TABLE_NAMES else identifier(self.name)
        return f"{identifier(self.schema)}.{name}"

    def __str__(self) -> str:
        return f"{self.schema}.{self.name}"


class Write(NamedTuple):
    """A statement of ours that changes rows, and how many it must change."""

    sql: str  #: one statement, or several of PL/pgSQL of which the last one that ran counts
    rows: int | None = 1  #: that it reports; None: any number
    history: int = 0  #: rows of schema_migrations that it inserts, updates or deletes
    log: int = 0  #: rows of schema_migrations_log that it inserts


#: For the blocks that `asked`, `untouched` and `writing` are part of; read before HERE, too.
DECLARE = """  migrator_tables pg_catalog.oid[];
  migrator_history pg_catalog.oid;
  migrator_log pg_catalog.oid;
  migrator_held pg_catalog.bool;
  migrator_altered pg_catalog.bool;
  migrator_plain pg_catalog.bool;
  migrator_shape pg_catalog.text;
  migrator_found pg_catalog.jsonb;
  migrator_kept pg_catalog.text;
  migrator_before pg_catalog.int8[];
  migrator_now pg_catalog.int8[];
  migrator_rows pg_catalog.int8;
  migrator_tally pg_catalog.numeric;
  migrator_began pg_catalog.timestamptz;
  migrator_ms pg_catalog.int8;
"""
#: What no file may change of our tables: of rows of pg_class AS c, and of pg_attribute AS a.
CLASS_SHAPE = """string_agg(concat_ws(' ', c.oid, c.relfilenode, c.relchecks, c.relowner,
                 c.relrowsecurity, c.relforcerowsecurity), ', ' ORDER BY c.oid)"""
COLUMN_SHAPE = """string_agg(concat_ws(' ', a.attname, a.atttypid, a.atttypmod, a.attnotnull),
                 ', ' ORDER BY a.attrelid, a.attnum)"""


def table_oid(table: Table) -> str:
    return f"to_regclass({literal(table.quoted)})::oid"
