"""What files of a group gain: four index builds at once, beside PostgreSQL's own workers."""

from __future__ import annotations

from contextlib import closing

import psycopg2

from bench.ground import Ground, job
from bench.measure import Spent
from bench.report import section

TABLES, BUILT_ROWS, ROUNDS = 4, 1_000_000, 3
JOBS = ("1", "2", "4")
BUILD = """-- migrator: parallel indexes
{setting}CREATE INDEX ON built_{n} (quantity, total);
"""
WORKERS = {
    "the server's own": "",
    "none": "SET max_parallel_maintenance_workers = 0;\n",
}


def builds(ground: Ground) -> str:
    """Four tables, an index on each: with JOBS 1, 2, 4, and with parallel workers or without."""
    rows = []
    with ground.database() as url:
        _tables(url)
        for name, setting in WORKERS.items():
            texts = {f"{n:04}_i": BUILD.format(n=n, setting=setting) for n in range(1, TABLES + 1)}
            folder = ground.written(texts)
            found: dict[str, list[float]] = {jobs: [] for jobs in JOBS}
            for _ in range(ROUNDS):
                for jobs in JOBS:
                    _forget(url)
                    spent: Spent = job(url, folder, JOBS=jobs)
                    found[jobs].append(spent.wall_ms / 1000)
            rows.append([name, *(f"{min(found[jobs]):.1f}" for jobs in JOBS)])
    return section(
        f"{TABLES} index builds, tables of {BUILT_ROWS:,} rows",
        f"""
Seconds of the run, the least of {ROUNDS}, by the workers that PostgreSQL may use for one build.""",
        ("workers of a build", *(f"JOBS={jobs}" for jobs in JOBS)),
        rows,
    )


def _tables(url: str) -> None:
    with closing(psycopg2.connect(url)) as connection:
        connection.autocommit = True
        cursor = connection.cursor()
        for n in range(1, TABLES + 1):
            cursor.execute(f"CREATE TABLE built_{n} (id bigint, quantity int, total int)")
            cursor.execute(
                f"INSERT INTO built_{n} SELECT g, (random() * 1e6)::int, g % 1000 "
                f"FROM generate_series(1, {BUILT_ROWS}) AS g"
            )
        cursor.execute("VACUUM ANALYZE")


def _forget(url: str) -> None:
    """No index, no history: the next run builds all of them."""
    with closing(psycopg2.connect(url)) as connection:
        connection.autocommit = True
        cursor = connection.cursor()
        for n in range(1, TABLES + 1):
            cursor.execute(f"DROP INDEX IF EXISTS built_{n}_quantity_total_idx")
        cursor.execute("DROP TABLE IF EXISTS schema_migrations, schema_migrations_log CASCADE")
