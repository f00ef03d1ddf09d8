"""The advisory locks of other tools: their keys, by schema, table and database."""

from __future__ import annotations

import zlib
from collections.abc import Callable

from migrator.adopt.evidence import signed


def golang_migrate_key(schema: str, table: str, database: str) -> int:
    """golang-migrate's database/util.go, GenerateAdvisoryLockId."""
    crc = zlib.crc32("\0".join((schema, table, database)).encode())
    return crc * 1486364155 % 2**32


def flyway_key(schema: str, table: str, database: str) -> int:
    """Flyway's PostgreSQLAdvisoryLockTemplate: a number, and Java's hashCode of the table."""
    del database
    units = f'"{schema}"."{table}"'.encode("utf-16-be")
    code = 0
    for high, low in zip(units[::2], units[1::2], strict=True):
        code = (code * 31 + high * 256 + low) % 2**32
    return 77431708279161 + signed(code)


def sqlx_key(schema: str, table: str, database: str) -> int:
    """sqlx-postgres' migrate.rs, generate_lock_id."""
    del schema, table
    return 0x3D32AD9E * zlib.crc32(database.encode())


def fixed_key(key: int) -> Callable[[str, str, str], int]:
    """The same key in every database."""
    return lambda schema, table, database: key
