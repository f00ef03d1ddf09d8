"""Flyway's baseline files: B3 makes at once what the files up to V3 make one by one.

history             what runs
no versioned row    the highest B, then what is above it
a row of a B        what is above that one; no other B
any other           no B
"""

from __future__ import annotations

from collections.abc import Sequence

from migrator.model import Applied, Migration, is_base, parts_of


def without_covered(
    migrations: Sequence[Migration], rows: Sequence[Applied]
) -> Sequence[Migration]:
    """The migrations that count beside this history."""
    recorded = {row.version for row in rows}
    bases = [row.version for row in rows if is_base(row.version)]
    offered = [m.version for m in migrations if is_base(m.version)]
    if not bases and all(row.repeatable for row in rows):
        bases = offered
    if not bases and not offered:
        return migrations
    base = max(bases, key=parts_of, default=None)
    covered = parts_of(base) if base else ()
    return [
        migration
        for migration in migrations
        if migration.version in recorded
        or migration.version == base
        or not (is_base(migration.version) or parts_of(migration.version) <= covered)
        or migration.repeatable
    ]
