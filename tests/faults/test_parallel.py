"""Groups at once, several runners, with backends ended and runners killed at random."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest

from tests.builders import write_folder
from tests.conftest import Database, MakePgBouncer
from tests.gate import ADVISORY
from tests.job import Job, until
from tests.parallel import PARALLEL
from tests.ways import WAYS, way_to

RUNNERS, GROUPS, SIZE = 3, 6, 4
KILLS, ENDS = 6, 10
COUNT = "SELECT count(*) FROM schema_migrations"
#: Ends one backend that is at work on a message of a run; a row when there was one.
END_ONE = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
    " WHERE application_name LIKE 'migrator/tester-%'"
    " AND backend_type = 'client backend' AND datname = current_database()"
    " AND state = 'active' AND query LIKE '/* migrator %' ORDER BY random() LIMIT 1"
)
#: What was at work at once: of one group, or one file alone.
OVERLAPS = """
SELECT a.version, b.version FROM spans AS a JOIN spans AS b ON a.version < b.version
   AND a.began < b.ended AND b.began < a.ended AND a.step <> b.step
"""
#: A file notes when it began and ended, by the clock of the server, and must run just once.
BODY = """
CREATE TABLE t{n} ();
INSERT INTO spans VALUES ('{n:03}', {step}, clock_timestamp(), clock_timestamp());
SELECT pg_sleep(0.05);
UPDATE spans SET ended = clock_timestamp() WHERE version = '{n:03}';
"""


def groups() -> dict[str, str]:
    """A file alone, a group, a file alone, and so on."""
    files = {
        "000_start.sql": "CREATE TABLE spans (version text PRIMARY KEY, step int,"
        " began timestamptz, ended timestamptz);\n"
    }
    for group in range(GROUPS):
        first = group * (SIZE + 1) + 1
        files[f"{first:03}_alone.sql"] = BODY.format(n=first, step=2 * group)
        for n in range(first + 1, first + 1 + SIZE):
            files[f"{n:03}_of_group.sql"] = PARALLEL + BODY.format(n=n, step=2 * group + 1)
    return files


@pytest.mark.parametrize("way", WAYS)
def test_chaos_of_groups(
    database: Database, pgbouncer: MakePgBouncer, tmp_path: Path, way: str
) -> None:
    seed = int(os.environ.get("CHAOS_SEED") or random.SystemRandom().randrange(2**32))
    print(f"CHAOS_SEED={seed}")  # pytest shows it when the test fails
    chance = random.Random(seed)  # noqa: S311
    url, files = way_to(database, pgbouncer, way), groups()
    folder = write_folder(tmp_path, files)

    def start(place: int) -> Job:
        return Job(url, folder, HOSTNAME=f"tester-{place}", JOBS="4")

    jobs = [start(place) for place in range(RUNNERS)]
    kills = sorted(chance.sample(range(len(files) - SIZE), KILLS))
    ends = sorted(chance.sample(range(len(files) - SIZE), ENDS))
    until(lambda: database.query("SELECT to_regclass('schema_migrations')") != [(None,)])
    killed = ended = seen = 0

    def more() -> list[tuple[int]]:
        nonlocal ended
        if ends and ends[0] <= seen and database.query(END_ONE):
            ends.pop(0)
            ended += 1
        return database.query(f"{COUNT} HAVING count(*) > {seen}")

    while seen < len(files):
        while kills and kills[0] <= seen:
            kills.pop(0)
            place = chance.randrange(RUNNERS)
            if jobs[place].process.poll() is None:
                jobs[place].process.kill()
                jobs[place].process.communicate(timeout=60)
                jobs[place] = start(place)
                killed += 1
        ((seen,),) = until(more, timeout=120)
    results = [job.result(timeout=120) for job in jobs]
    assert [result.code for result in results] == [0] * RUNNERS, [
        result.stderr[-3000:] for result in results if result.code
    ]
    assert ended > 2, (ended, killed)  # the count of applied files jumps
    assert killed > 2, (ended, killed)
    versions = sorted(name.removesuffix(".sql") for name in files)
    rows = database.query("SELECT version FROM schema_migrations ORDER BY version")
    assert [version for (version,) in rows] == versions
    log = "SELECT version FROM schema_migrations_log WHERE event = 'applied' ORDER BY version"
    assert [version for (version,) in database.query(log)] == versions
    assert database.query("SELECT count(*) FROM spans") == [(len(files) - 1,)]
    assert database.query(OVERLAPS) == []
    steps = "SELECT step FROM spans ORDER BY began, version"
    found_steps = [step for (step,) in database.query(steps)]
    assert found_steps == sorted(found_steps)
    until(lambda: not database.query(f"SELECT 1 FROM pg_locks WHERE {ADVISORY}"))
