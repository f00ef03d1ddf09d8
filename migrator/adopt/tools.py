"""The tables in which other tools keep their history: how each looks, and who reads it."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from migrator.adopt.keys import fixed_key, flyway_key, golang_migrate_key, sqlx_key
from migrator.adopt.readings import (
    Reading,
    Row,
    read_atlas,
    read_dbmate,
    read_diesel,
    read_drizzle,
    read_flyway,
    read_golang_migrate,
    read_goose,
    read_graphile_migrate,
    read_liquibase,
    read_node_pg_migrate,
    read_prisma,
    read_seed,
    read_sql_migrate,
    read_sqlx,
    read_supabase,
    read_tern,
)
from migrator.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Tracker:
    """One tool's table."""

    name: str
    table: str
    columns: Mapping[str, str]  #: that it must have, and a pattern for the type of each
    read: Callable[[Sequence[Row]], Reading]
    others: tuple[str, ...] = ()  #: columns that it may have and that are read too
    exact: bool = False  #: it has no other column
    schema: str | None = None  #: where it always lies; None: in the search_path
    not_beside: str | None = None  #: a table beside it that says it is some other tool's
    schemas: tuple[str, ...] = ()  #: where it may lie beside the search_path
    lock: Callable[[str, str, str], int] | None = None  #: (schema, table, database) -> its key
    lock_table: str | None = None  #: beside its table: with a column `locked` that says so
    release: str | None = None  #: what frees a lock that outlives its holder

    def fits(self, columns: Mapping[str, str]) -> bool:
        """Whether a table with these columns (and their types) is this tool's."""
        return all(
            re.fullmatch(pattern, columns.get(name, "")) for name, pattern in self.columns.items()
        ) and not (self.exact and set(columns) - set(self.columns))


def tracker(name: str | None) -> Tracker:
    """The tool of this name; ConfigError for another."""
    if name not in TRACKERS:
        raise ConfigError(
            "adopt takes --from TOOL",
            remedy=f"TOOL is one of {', '.join(TRACKERS)}; seed is the job that this one replaces.",
        )
    return TRACKERS[name]


_WORDS = "character varying|text"
_TIME = "timestamp with.* time zone"
_TERN = fixed_key(9628173550095224)
TRACKERS = {
    one.name: one
    for one in (
        Tracker(
            "flyway",
            "flyway_schema_history",
            {
                "installed_rank": "integer",
                "version": _WORDS,
                "description": _WORDS,
                "type": _WORDS,
                "script": _WORDS,
                "checksum": "integer",
                "success": "boolean",
            },
            read_flyway,
            others=("installed_on",),
            lock=flyway_key,
        ),
        Tracker(
            "dbmate",
            "schema_migrations",
            {"version": _WORDS},
            read_dbmate,
            exact=True,
            not_beside="ar_internal_metadata",
        ),
        Tracker(
            "golang-migrate",
            "schema_migrations",
            {"version": "bigint", "dirty": "boolean"},
            read_golang_migrate,
            lock=golang_migrate_key,
        ),
        Tracker(
            "goose",
            "goose_db_version",
            {"id": "integer|bigint", "version_id": "bigint", "is_applied": "boolean"},
            read_goose,
            others=("tstamp",),
            lock=fixed_key(4097083626),
        ),
        Tracker(
            "supabase",
            "schema_migrations",
            {"version": _WORDS},
            read_supabase,
            others=("statements", "name"),
            schema="supabase_migrations",
        ),
        Tracker(
            "prisma",
            "_prisma_migrations",
            {
                "migration_name": _WORDS,
                "checksum": _WORDS,
                "started_at": "timestamp with.* time zone",
                "finished_at": "timestamp with.* time zone",
                "rolled_back_at": "timestamp with.* time zone",
            },
            read_prisma,
            lock=fixed_key(72707369),
        ),
        Tracker(
            "drizzle",
            "__drizzle_migrations",
            {"id": "integer", "hash": _WORDS, "created_at": "bigint"},
            read_drizzle,
            others=("name", "applied_at"),
            schema="drizzle",
        ),
        Tracker(
            "diesel",
            "__diesel_schema_migrations",
            {"version": _WORDS, "run_on": _TIME},
            read_diesel,
        ),
        Tracker(
            "sql-migrate",
            "gorp_migrations",
            {"id": _WORDS, "applied_at": _TIME},
            read_sql_migrate,
        ),
        Tracker(
            "micrate",
            "micrate_db_version",
            {"id": "integer|bigint", "version_id": "bigint", "is_applied": "boolean"},
            read_goose,
            others=("tstamp",),
        ),
        Tracker(
            "tern", "schema_version", {"version": "integer"}, read_tern, exact=True, lock=_TERN
        ),
        Tracker(
            "node-pg-migrate",
            "pgmigrations",
            {"id": "integer", "name": _WORDS, "run_on": _TIME},
            read_node_pg_migrate,
            lock=fixed_key(7241865325823964),
        ),
        Tracker(
            "sqlx",
            "_sqlx_migrations",
            {"version": "bigint", "success": "boolean", "checksum": "bytea"},
            read_sqlx,
            others=("installed_on",),
            lock=sqlx_key,
        ),
        Tracker(
            "graphile-migrate",
            "migrations",
            {"hash": _WORDS, "filename": _WORDS, "date": _TIME},
            read_graphile_migrate,
            schema="graphile_migrate",
            lock=fixed_key(4727445306447283),
        ),
        Tracker(
            "liquibase",
            "databasechangelog",
            {
                **dict.fromkeys(("id", "author", "filename", "exectype"), _WORDS),
                "orderexecuted": "integer",
            },
            read_liquibase,
            others=("dateexecuted", "description"),
            lock_table="databasechangeloglock",
            release="liquibase release-locks",
        ),
        Tracker(
            "atlas",
            "atlas_schema_revisions",
            {
                **dict.fromkeys(("version", "description", "error", "hash"), _WORDS),
                **dict.fromkeys(("type", "applied", "total"), "bigint"),
            },
            read_atlas,
            others=("executed_at",),
            schemas=("atlas_schema_revisions",),
        ),
        Tracker(
            "seed",
            "schema_migrations",
            {"version": _WORDS, "applied_at": "timestamp with.* time zone", "checksum": _WORDS},
            read_seed,
        ),
    )
}
