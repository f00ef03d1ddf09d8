"""The release 0.1.0 and this one work on one database, after one another and at once.

While an image is rolled out or back, both are at work: tables, lock and journal must be common.
"""

from __future__ import annotations

import io
import signal
import subprocess
import tarfile
from pathlib import Path

import pytest

from tests.builders import chain, write_folder
from tests.conftest import Database, MakePgBouncer
from tests.gate import WAITS, assert_applied_once, files_with_gate, gate
from tests.job import ROOT, Job, Result, until
from tests.ways import WAYS, way_to

RELEASE = "818c6f5"  #: 0.1.0
PARTS = ("migrator", "entrypoint.py", "pyproject.toml", "README.md", "LICENSE")
WHO = "migrator/tester"  #: what a run of the tests is called
ALONE = "-- migrator: no-transaction\n"
VERSIONS = "SELECT version FROM schema_migrations ORDER BY version"


Pair = tuple[Path, Path]  #: the two releases, in the order in which they go


def run(release: Path, url: str, folder: Path, *words: str, **settings: str) -> Result:
    """A run of a release that ends well."""
    result = Job.of(release, url, folder, *words, **settings).result()
    assert result.code == 0, result.stderr
    return result


@pytest.fixture(scope="session")
def old(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The release 0.1.0, as it lies in version control."""
    command = ["git", "archive", RELEASE, *PARTS]
    made = subprocess.run(command, cwd=ROOT, capture_output=True, check=False)
    if made.returncode != 0:
        pytest.skip(f"needs the commit {RELEASE}: {made.stderr.decode().strip()}")
    directory = tmp_path_factory.mktemp("release-0.1.0")
    with tarfile.open(fileobj=io.BytesIO(made.stdout)) as archive:
        archive.extractall(directory, filter="data")
    return directory


@pytest.fixture(params=["old, new", "new, old"])
def pair(request: pytest.FixtureRequest, old: Path) -> Pair:
    return (old, ROOT) if request.param == "old, new" else (ROOT, old)


def steps(*numbers: int) -> dict[str, str]:
    return {
        name: text
        for n in numbers
        for name, text in (
            (f"{n:03}_step.sql", f"CREATE TABLE t{n} (id int);\n"),
            (f"{n:03}_step.down.sql", f"DROP TABLE t{n};\n"),
        )
    }


def recorded(database: Database) -> list[str]:
    return [version for (version,) in database.query(VERSIONS)]


def tables(database: Database) -> list[str]:
    found = database.query("SELECT relname FROM pg_class WHERE relname ~ '^t[0-9]' ORDER BY 1")
    return [name for (name,) in found]


def test_the_old_one_is_the_old_one(old: Path, database: Database, tmp_path: Path) -> None:
    """The one that runs is the one in the archive, and not the one beside the tests."""
    (old / "migrator" / "__init__.py").read_text().index('"0.1.0"')
    job = Job.of(old, database.url, write_folder(tmp_path, steps(1)), "report", "--json")
    assert '"migrator": "0.1.0"' in job.result().stdout


@pytest.mark.parametrize("way", WAYS)
def test_what_one_has_applied_the_other_goes_on_from_and_undoes(
    pair: Pair, database: Database, pgbouncer: MakePgBouncer, tmp_path: Path, way: str
) -> None:
    first, second = pair
    url = way_to(database, pgbouncer, way)
    run(first, url, write_folder(tmp_path, steps(1, 2)))
    for command in ("status", "plan", "verify", "wait", "history", "report"):
        run(second, url, tmp_path, command)
    result = run(second, url, write_folder(tmp_path, steps(3, 4)))
    assert result.applied == ["003_step", "004_step"]
    for command in ("status", "plan", "verify", "wait", "history", "report"):
        run(first, url, tmp_path, command)
    assert run(first, url, tmp_path).applied == []
    run(first, url, tmp_path, "rollback", "--to", "003_step")
    assert (recorded(database), tables(database)) == (
        ["001_step", "002_step", "003_step"],
        ["t1", "t2", "t3"],
    )
    run(second, url, tmp_path, "rollback", "--to", "001_step")
    assert (recorded(database), tables(database)) == (["001_step"], ["t1"])
    result = run(first, url, tmp_path)
    assert result.applied == ["002_step", "003_step", "004_step"]
    run(second, url, tmp_path, "verify")


def test_both_at_once_exclude_each_other_and_each_file_runs_once(
    pair: Pair, database: Database, tmp_path: Path
) -> None:
    first, second = pair
    folder = write_folder(tmp_path, files_with_gate(8, at=2))
    with gate(database):
        holder = Job.of(first, database.url, folder)
        until(lambda: database.query(WAITS))
        waiter = Job.of(second, database.url, folder)
        waiter.hear("lock.waiting", lambda line: line["holder"].get("application_name") == WHO)
    assert_applied_once(database, [holder.result(), waiter.result()], 8)


def test_many_of_both_at_once(
    old: Path, database: Database, pgbouncer: MakePgBouncer, tmp_path: Path
) -> None:
    url = way_to(database, pgbouncer, "transaction")
    folder = write_folder(tmp_path, chain(12))
    jobs = [Job.of(release, url, folder) for release in (old, ROOT) * 3]
    assert_applied_once(database, [job.result() for job in jobs], 12)


def test_repeatables_run_whenever_either_finds_them_changed(
    pair: Pair, database: Database, tmp_path: Path
) -> None:
    first, second = pair

    def applied(release: Path, n: int) -> list[str]:
        view = f"CREATE OR REPLACE VIEW v AS SELECT {n} AS n;\n"
        folder = write_folder(tmp_path, steps(1) | {"R__v.sql": view})
        result = run(release, database.url, folder)
        assert database.query("SELECT n FROM v") == [(n,)]
        return result.applied

    assert applied(first, 1) == ["001_step", "R__v"]
    assert applied(second, 1) == []
    assert applied(second, 2) == ["R__v"]
    assert applied(first, 2) == []
    assert applied(first, 3) == ["R__v"]
    assert applied(second, 3) == []


def test_a_reader_of_the_history_waits_with_either(
    pair: Pair, database: Database, tmp_path: Path
) -> None:
    reader = f"{database.dbname}_reader"
    database.query(f"CREATE ROLE {reader} LOGIN PASSWORD 'pw'")
    try:
        folder = write_folder(tmp_path, steps(1))
        run(pair[0], database.url, folder, HISTORY_READERS=reader)
        for release in pair:
            for command in ("wait", "verify", "status"):
                run(release, database.as_user(reader, "pw").url, folder, command)
    finally:
        database.query(f"DROP OWNED BY {reader}; DROP ROLE {reader}")


def test_a_build_that_one_began_and_did_not_survive_is_finished_by_the_other(
    pair: Pair, database: Database, tmp_path: Path
) -> None:
    """The journal is common: what is interrupted, and what ran."""
    first, second = pair
    alone = f"{ALONE}INSERT INTO t1 VALUES (1);\nCREATE INDEX CONCURRENTLY i ON t1 (id);\n"
    run(first, database.url, write_folder(tmp_path, steps(1)))
    folder = write_folder(tmp_path, {"002_index.sql": alone})
    writer = database.connect()
    writer.autocommit = False
    writer.cursor().execute("LOCK TABLE t1 IN ROW EXCLUSIVE MODE")
    job = Job.of(first, database.url, folder)
    building = "SELECT pid FROM pg_stat_activity WHERE query LIKE '%*/ CREATE INDEX CONCURRENTLY%'"
    waiting = f"{building} AND state = 'active' AND wait_event_type = 'Lock'"
    until(lambda: database.query(waiting))
    job.process.send_signal(signal.SIGKILL)
    job.process.wait()
    database.query(f"SELECT pg_terminate_backend(pid) FROM ({waiting}) AS found")
    writer.close()
    until(lambda: not database.query(waiting))
    result = run(second, database.url, folder)
    assert result.applied == ["002_index"]
    assert database.query("SELECT count(*) FROM t1") == [(1,)]
    assert database.query("SELECT indisvalid FROM pg_index WHERE indexrelid = 'i'::regclass") == [
        (True,)
    ]
    run(first, database.url, folder, "verify")


def test_what_one_leaves_dirty_the_other_repairs(
    pair: Pair, database: Database, tmp_path: Path
) -> None:
    first, second = pair
    text = f"{ALONE}CREATE TABLE made (id int);\nSELECT 1 / 0;\n"
    folder = write_folder(tmp_path, {"001_a.sql": text})
    assert Job.of(first, database.url, folder).result().code == 15
    assert Job.of(second, database.url, folder, "verify").result().code == 14
    database.query("DROP TABLE made")
    words = ("repair", "--not-applied", "001_a", "--reason", "dropped by hand")
    run(second, database.url, folder, *words)
    write_folder(folder, {"001_a.sql": text.replace("1 / 0", "1")})
    assert run(first, database.url, folder).applied == ["001_a"]
    run(second, database.url, folder, "verify")
