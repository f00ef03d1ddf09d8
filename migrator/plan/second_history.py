"""Whether another history holds these files already, and a first run would run them again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from migrator.errors import ConfigError
from migrator.model import Migration

RUN_AGAIN = ": they would run again in the same place"


def is_looked_for(schema: str, search_path: Sequence[str]) -> bool:
    """Whether another history may be that of this run.

    A run whose SEARCH_PATH begins with its history's schema works there, as that of a tenant does.
    """
    return tuple(search_path[:1]) != (schema,)


def second_history(
    migrations: Sequence[Migration],
    others: Mapping[str, Mapping[str, str | None]],
    schema: str,
    search_path: Sequence[str],
) -> ConfigError | None:
    """What a first run in `schema` is refused with; None when it may go on.

    It is refused when another history holds most of the shorter of the two, folder and history,
    with the same checksums: files that two services share are fewer.
    """
    for other, rows in others.items():
        same = [m for m in migrations if rows.get(m.version) in {m.checksum, m.raw_checksum}]
        if 2 * len(same) > min(len(migrations), len(rows)):
            path = ",".join((schema, *(name for name in search_path if name != schema)))
            return ConfigError(
                f"{schema} holds no history, but {other}.schema_migrations holds "
                f"{len(same)} of these {len(migrations)} migrations with the same "
                f"checksums{RUN_AGAIN}",
                remedy=f"Give --migrations-schema {other} (MIGRATIONS_SCHEMA), where the history "
                "is. Where each schema is to have its own tables, give "
                f"--search-path {path} (SEARCH_PATH) as well.",
            )
    return None


def nothing_here(second: ConfigError) -> ConfigError:
    """What `rollback` is refused with, where a first run is refused with `second`."""
    said = second.message.removesuffix(RUN_AGAIN)
    return ConfigError(f"{said}: there is nothing here to undo", remedy=second.remedy)
