"""What the second connection asks for, by the server's version."""

from __future__ import annotations

import pytest

from migrator.postgres.blockers import look_query


@pytest.mark.parametrize(
    ("version", "view"),
    [(180004, "pg_stat_progress_cluster"), (190000, "pg_stat_progress_repack")],
)
def test_the_progress_of_a_rewrite_is_read_where_the_server_has_it(version: int, view: str) -> None:
    query = look_query(version, "run")
    views = {"pg_stat_progress_cluster", "pg_stat_progress_repack"}
    assert {name for name in views if f"FROM {name}\n" in query} == {view}
