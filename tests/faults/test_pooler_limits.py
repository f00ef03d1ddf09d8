"""A pooler's own limit that cuts what is under way: it is named, and each file goes alone then."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.builders import write_folder
from tests.conftest import Database, MakePgBouncer
from tests.job import run_job


@pytest.mark.parametrize("files", ["4", "8"])
def test_a_message_that_is_cut_is_sent_again_file_by_file(
    database: Database, pgbouncer: MakePgBouncer, tmp_path: Path, files: str
) -> None:
    """The server may go on with what was cut, and commit some of it: each is applied once."""
    folder = write_folder(
        tmp_path,
        {
            f"00{n}_x.sql": f"SELECT pg_sleep(0.45); CREATE TABLE t{n} (id int)"
            for n in range(int(files))
        },
    )
    pooler = pgbouncer(database, pool_mode="transaction", settings={"query_timeout": 1})
    result = run_job(pooler.url(database.dbname), folder, FILES_PER_FLIGHT=files)
    versions = [f"00{n}_x" for n in range(int(files))]
    assert (result.code, result.applied) == (0, versions), result.stderr
    assert {line["limit"] for line in result.of("migration.retry")} == {"query_timeout"}
    log = "SELECT version FROM schema_migrations_log WHERE event = 'applied' ORDER BY id"
    assert [version for (version,) in database.query(log)] == versions


def test_a_file_that_is_cut_every_time_names_the_limit(
    database: Database, pgbouncer: MakePgBouncer, tmp_path: Path
) -> None:
    """The orphan ends itself as soon as its client is gone, as one of PgBouncer 1.25 does."""
    body = """
        DO $$ BEGIN
          PERFORM pg_sleep(1.6);
          PERFORM pg_terminate_backend(pg_backend_pid());
          PERFORM pg_sleep(1);
        END $$
    """
    folder = write_folder(tmp_path, {"001_a.sql": "SELECT 1", "002_b.sql": body})
    pooler = pgbouncer(database, pool_mode="transaction", settings={"query_timeout": 1})
    result = run_job(pooler.url(database.dbname), folder, FILES_PER_FLIGHT="8")
    assert (result.code, result.applied) == (15, ["001_a"]), result.stderr
    assert "whose query_timeout cut it" in result.error["remedy"]
    assert result.report["outcome"].startswith("002_b was not applied when last looked at")
