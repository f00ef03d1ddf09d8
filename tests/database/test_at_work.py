"""A runner at work is shown by the commands that look: who, since when, on which file."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from migrator.history.guard import lock_key
from tests.builders import write_folder
from tests.conftest import Database, MakePgBouncer, MakeProxy
from tests.gate import GATE, WAITS, gate
from tests.job import Job, run_job, until

FIRST = {"001_a.sql": "CREATE TABLE a (id int);\n"}
SLOW = {"002_b.sql": GATE}
ALONE = {
    "002_b.sql": "-- migrator: no-transaction\nCREATE INDEX CONCURRENTLY i ON a (id);\n"
    "SELECT pg_advisory_lock_shared(42);\n"
}
NOT_KNOWN = "a session whose name is not known"
LOOKS = ("status", "plan", "report")


def shown(url: str, folder: Path, command: str) -> dict[str, Any] | None:
    found = json.loads(run_job(url, folder, command, "--json").stdout)["at_work"]
    assert found is None or isinstance(found, dict)
    return found


@contextmanager
def at_work(database: Database, url: str, folder: Path) -> Iterator[Job]:
    """A run that waits in 002_b."""
    with gate(database):
        job = Job(url, folder)
        until(lambda: database.query(WAITS))
        yield job
    assert job.result().code == 0


@pytest.mark.parametrize("files", [SLOW, ALONE], ids=["a flight", "no transaction"])
def test_who_is_at_work_is_shown(database: Database, tmp_path: Path, files: dict[str, str]) -> None:
    folder = write_folder(tmp_path, FIRST)
    assert run_job(database.url, folder).code == 0
    write_folder(folder, files)
    assert [shown(database.url, folder, command) for command in LOOKS] == [None, None, None]
    with at_work(database, database.url, folder) as job:
        started = job.hear("run.started")
        found = [shown(database.url, folder, command) for command in LOOKS]
        text = {command: run_job(database.url, folder, command).stdout for command in LOOKS}
        page = run_job(database.url, folder, "report", "--markdown").stdout
    assert found[0] is not None
    assert found == [found[0]] * 3
    assert (found[0]["application_name"], found[0]["version"]) == ("migrator/tester", "002_b")
    assert (found[0]["run_id"], found[0]["since"][-1]) == (started["run_id"], "Z")
    line = f"at work: migrator/tester (pid {found[0]['pid']}), on 002_b, since "
    assert [line in shown for shown in text.values()] == [True] * 3
    assert "at work: migrator/tester" in page


def test_it_costs_no_round_trip(database: Database, proxy: MakeProxy, tmp_path: Path) -> None:
    folder = write_folder(tmp_path, FIRST)
    assert run_job(database.url, folder).code == 0
    network = proxy(database)
    with closing(database.connect()) as holder:
        holder.cursor().execute(f"SELECT pg_advisory_lock({lock_key('public')})")
        for command, trips in (("verify", 1), ("status", 1), ("plan", 1), ("report", 2)):
            network.reset()
            run_job(network.through(database.url), folder, command)
            assert (command, network.flights) == (command, trips)


def test_a_role_with_few_rights_sees_a_pid_and_no_name_that_is_not_proved(
    database: Database, tmp_path: Path
) -> None:
    database.query("DROP ROLE IF EXISTS looker")
    database.query("CREATE ROLE looker LOGIN PASSWORD 'x'")
    looker = database.as_user("looker", "x").url
    folder = write_folder(tmp_path, FIRST)
    assert run_job(database.url, folder, HISTORY_READERS="looker").code == 0
    write_folder(folder, ALONE)
    try:
        with at_work(database, database.url, folder):
            found = shown(looker, folder, "status")
            database.query("REVOKE SELECT ON pg_stat_activity FROM PUBLIC")
            hidden = run_job(looker, folder, "status", "--json")
    finally:
        database.query("GRANT SELECT ON pg_stat_activity TO PUBLIC")
        database.query("DROP OWNED BY looker; DROP ROLE looker")
    assert found == {"who": NOT_KNOWN, "pid": found and found["pid"]}
    assert (hidden.code, json.loads(hidden.stdout)["at_work"]) == (0, None)


def test_who_is_no_runner_is_given_nobodys_record(database: Database, tmp_path: Path) -> None:
    """A file was left in the middle, and somebody else holds the lock."""
    folder = write_folder(tmp_path, FIRST)
    assert run_job(database.url, folder).code == 0
    write_folder(folder, {"002_b.sql": "-- migrator: no-transaction\nSELECT 1;\nSELECT 1/0;\n"})
    assert run_job(database.url, folder).code == 15
    holder = database.connect()
    cursor = holder.cursor()
    cursor.execute(f"SET application_name = 'psql'; SELECT pg_advisory_lock({lock_key('public')})")
    found = shown(database.url, folder, "status")
    holder.close()
    assert found is not None
    assert ("version" in found, "application_name" in found) == (False, False)
    assert found["who"] == NOT_KNOWN


def test_through_a_pooler_it_is_seen_too(
    database: Database, pgbouncer: MakePgBouncer, tmp_path: Path
) -> None:
    pooler = pgbouncer(database, pool_mode="transaction", pool_size=2)
    url = pooler.url(database.dbname)
    folder = write_folder(tmp_path, FIRST | SLOW)
    with at_work(database, url, folder):
        found = shown(url, folder, "status")
    assert found is not None
    assert (found["application_name"], found["version"]) == ("migrator/tester", "002_b")
