"""The ways to a database: direct, and through PgBouncer."""

from __future__ import annotations

import pytest

from tests.conftest import Database, MakePgBouncer

#: How many files a message may carry, and a folder's length that makes several messages of most.
FILES, LENGTH = ("1", "8", "16"), 20
WAYS = ("direct", "session", "transaction", "transaction, pool of one")
#: For tests that take long and that chance makes another each time: the gate has both extremes.
EXTREMES, FEW_OR_MANY = (
    [pytest.param(one, marks=[pytest.mark.full] if one in values[1:-1] else []) for one in values]
    for values in (WAYS, FILES)
)


def way_to(database: Database, pgbouncer: MakePgBouncer, way: str) -> str:
    """Its URL by one of WAYS."""
    if way == "direct":
        return database.url
    size = 1 if "one" in way else 20
    pooler = pgbouncer(database, pool_mode=way.partition(",")[0], pool_size=size)
    return pooler.url(database.dbname)
