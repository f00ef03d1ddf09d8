"""What can be typed against a server that takes no writes."""

from __future__ import annotations

import pytest

from migrator.postgres.url import Target
from migrator.refusals.read_only_rules import read_only_error

ONE, TWO = Target("DATABASE_URL", (("h", 5432),)), Target("DATABASE_URL", (("h", 1), ("i", 2)))


@pytest.mark.parametrize(
    ("target", "standby", "source", "remedy"),
    [
        (ONE, True, None, "Connect to the primary."),
        (TWO, True, None, "Add target_session_attrs=read-write to the URL, which names"),
        (ONE, False, None, "Connect to the primary. On Supabase leave read-only mode"),
        (ONE, False, "user", 'off; ALTER ROLE "a ""b" RESET default_transaction_read_only;`'),
        (ONE, False, "database", 'off; ALTER DATABASE "My db" RESET default_transaction_read_'),
        (ONE, False, "database user", 'ALTER ROLE "a ""b" IN DATABASE "My db" RESET default'),
        (ONE, False, "configuration file", "read_only = off; SELECT pg_reload_conf();`"),
        (ONE, False, "client", "Take default_transaction_read_only out of PGOPTIONS"),
        (ONE, False, "command line", "Start the server without default_transaction_read_only"),
        (ONE, False, "global", "Set default_transaction_read_only to off."),
    ],
)
def test_the_remedy_is_of_where_the_default_is_kept(
    target: Target, standby: bool, source: str | None, remedy: str
) -> None:
    error = read_only_error(target, standby, source, "My db", 'a "b')
    assert remedy in error.remedy
    assert (f"({source})" in error.message) == (source is not None)
