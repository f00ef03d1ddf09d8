"""Eight runners, fifty migrations, and somebody who ends backends and kills runners at random."""

from __future__ import annotations

import os
import random
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from tests.builders import write_folder
from tests.conftest import Database, MakePgBouncer
from tests.gate import ADVISORY
from tests.job import Job, until
from tests.ways import EXTREMES, FEW_OR_MANY, way_to

RUNNERS, LENGTH = 8, 50
#: At so many of the first forty a runner is killed, half of them with their migration at work.
KILLS, KILLED_WITHIN = 16, 40
#: At most so many backends are ended while one migration is at work: five losses are its own fault.
ENDED_AT_MOST = 2
BACKENDS = (
    "SELECT pid, application_name FROM pg_stat_activity"
    " WHERE application_name LIKE 'migrator/tester-%'"
    " AND backend_type = 'client backend' AND datname = current_database()"
)
FLIGHTS = f"{BACKENDS} AND state = 'active' AND query LIKE '/* migrator %'"
COUNT = "SELECT count(*) FROM schema_migrations"


def steps() -> dict[str, str]:
    """Each writes a row and alters the table of the one before it.

    Each takes its time: on a busy machine a look at who is at work takes a tenth of a second.
    """
    first = "CREATE TABLE effects (n int);\n"
    return {
        f"{n:03}_step.sql": (first if n == 1 else f"ALTER TABLE t{n - 1} ADD COLUMN after int;\n")
        + f"CREATE TABLE t{n} (id int);\nINSERT INTO effects VALUES ({n});\n"
        "SELECT pg_sleep(0.1);\n"
        for n in range(1, LENGTH + 1)
    }


def wreak_havoc(
    database: Database, start: Callable[[int], Job], chance: random.Random
) -> Counter[str]:
    """Run all to their end while backends are ended and runners killed; how many of each.

    Each is due at a count of applied migrations. The count jumps on a busy machine: what is due
    by now is made up for, the backends as far as ENDED_AT_MOST lets them.
    """
    jobs = [start(place) for place in range(RUNNERS)]
    kills = chance.sample(range(KILLED_WITHIN), KILLS)
    aimed, kills = kills[: KILLS // 2], sorted(kills)
    ends = [n for n in range(LENGTH) for _ in range(chance.randint(0, ENDED_AT_MOST))]
    harm: Counter[str] = Counter()
    until(lambda: database.query("SELECT to_regclass('schema_migrations')") != [(None,)])
    ((seen,),) = database.query(COUNT)
    while seen < LENGTH:
        for _ in range(ENDED_AT_MOST):
            if ends and ends[0] <= seen and (found := flight(database)):
                ends.pop(0)
                ((ended,),) = database.query("SELECT pg_terminate_backend(%s)", found[0])
                harm["ended"] += ended
        while kills and kills[0] <= seen:
            place = chance.randrange(RUNNERS)
            if kills.pop(0) in aimed and (found := flight(database)):
                place = int(found[1].rpartition("-")[2])
                harm["aimed"] += 1
            if jobs[place].process.poll() is None:
                jobs[place].process.kill()
                jobs[place].process.communicate(timeout=60)
                jobs[place] = start(place)
                harm["killed"] += 1
        ((seen,),) = until(partial(more, database, seen), timeout=120)
    results = [job.result(timeout=120) for job in jobs]
    assert [result.code for result in results] == [0] * RUNNERS, [
        result.stderr[-1500:] for result in results if result.code
    ]
    return harm


def flight(database: Database) -> tuple[int, str] | None:
    """A backend with a migration at work, and its runner; None when all are applied."""
    applied_all = partial(more, database, LENGTH - 1)
    rows = until(lambda: database.query(FLIGHTS) or (applied_all() and [None]))
    found: tuple[int, str] | None = rows[0]
    return found


def more(database: Database, before: int) -> list[tuple[int]]:
    """The count of applied migrations, once it is above `before`."""
    found = database.query(COUNT)
    return found if found[0][0] > before else []


@pytest.mark.parametrize("files", FEW_OR_MANY)
@pytest.mark.parametrize("way", EXTREMES)
def test_chaos(
    database: Database, pgbouncer: MakePgBouncer, tmp_path: Path, way: str, files: str
) -> None:
    seed = int(os.environ.get("CHAOS_SEED") or random.SystemRandom().randrange(2**32))
    print(f"CHAOS_SEED={seed}")  # pytest shows it when the test fails
    url = way_to(database, pgbouncer, way)
    folder = write_folder(tmp_path, steps())

    def start(place: int) -> Job:
        return Job(url, folder, HOSTNAME=f"tester-{place}", FILES_PER_FLIGHT=files)

    harm = wreak_havoc(database, start, random.Random(seed))  # noqa: S311
    assert harm["ended"] > 5, harm
    assert harm["killed"] > KILLS // 2, harm
    assert harm["aimed"] > KILLS // 4, harm
    versions = [f"{n:03}_step" for n in range(1, LENGTH + 1)]
    rows = database.query("SELECT version FROM schema_migrations ORDER BY applied_at")
    assert [version for (version,) in rows] == versions
    log = "SELECT version FROM schema_migrations_log WHERE event = 'applied' ORDER BY id"
    assert [version for (version,) in database.query(log)] == versions
    effects = [n for (n,) in database.query("SELECT n FROM effects ORDER BY n")]
    assert effects == list(range(1, LENGTH + 1))
    altered = "SELECT count(*) FROM pg_attribute WHERE attname = 'after' AND NOT attisdropped"
    assert database.query(altered) == [(LENGTH - 1,)]
    # a killed runner's flight may reach the server when all is done, and is refused under the lock
    until(lambda: not database.query(f"SELECT 1 FROM pg_locks WHERE {ADVISORY}"))
    orphans = BACKENDS if way == "direct" else f"{BACKENDS} AND state <> 'idle'"
    until(lambda: not database.query(orphans))
