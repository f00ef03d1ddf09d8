"""`fleet`: many databases by one command, and what it says of each."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

import pytest

from tests.builders import write_folder
from tests.collector import collector
from tests.conftest import Database
from tests.job import Job, Result, run_job, until

FILES = {"001_a.sql": "CREATE TABLE a ();", "002_b.sql": "CREATE TABLE b ();"}
#: Who waits for a lock.
WAITING = "SELECT pid FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname LIKE %s"
PASSWORD = "s3cret-of-the-fleet"


@pytest.fixture
def tenants(database: Database) -> Iterator[Sequence[str]]:
    """Five databases of the server, whose names one pattern finds."""
    names = [f"{database.dbname}_{number}" for number in range(5)]
    for name in names:
        database.query(f'CREATE DATABASE "{name}"')
    yield names
    for name in names:
        database.query(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')


def url_of(database: Database, name: str) -> str:
    at = database.url.replace("@", f":{PASSWORD}@", 1) if "@" in database.url else database.url
    return at.replace(database.dbname, name)


def listed(database: Database, tenants: Sequence[str], path: Path) -> str:
    lines = [f"t{number}={url_of(database, name)}" for number, name in enumerate(tenants)]
    file = path / "targets"
    file.write_text("# the tenants\n\n" + "\n".join(lines) + "\n")
    return str(file)


def ended(result: Result) -> dict[str, int]:
    assert PASSWORD not in result.stdout + result.stderr
    return {line["name"]: line["exit_code"] for line in result.of("member.finished")}


def test_one_command_migrates_all_and_says_which_failed(
    database: Database, tenants: Sequence[str], tmp_path: Path
) -> None:
    folder = write_folder(tmp_path / "m", FILES)
    targets = listed(database, tenants, tmp_path)
    first = run_job(None, folder, "fleet", "up", "--targets", targets, "--json")
    assert (first.code, ended(first)) == (0, dict.fromkeys([f"t{n}" for n in range(5)], 0))
    answer = json.loads(first.stdout)
    assert answer["versions"] == [{"version": "002_b", "members": 5}]
    assert (answer["done"], answer["failed"], answer["behind"], answer["left"]) == (5, 0, 0, 0)
    assert answer["outcome"] == "5 of 5 done by `up`"

    Database(database.server, tenants[1], database.user, database.password).query(
        "CREATE TABLE c ()"
    )
    Database(database.server, tenants[3], database.user, database.password).query(
        "UPDATE schema_migrations SET checksum = 'x' WHERE version = '001_a'"
    )
    write_folder(tmp_path / "m", {**FILES, "003_c.sql": "CREATE TABLE c ();"})
    broken = url_of(database, "nowhere")
    Path(targets).write_text(f"{Path(targets).read_text()}gone={broken}\n")
    second = run_job(None, folder, "fleet", "up", "--targets", targets, "--jobs", "2", "--json")
    codes = {"t0": 0, "t1": 15, "t2": 0, "t3": 11, "t4": 0, "gone": 16}
    assert (second.code, ended(second)) == (11, codes)
    assert second.error["type"] == "FleetError"
    assert "t1 (15)" in second.error["message"]
    assert "3 of 6 failed" in second.error["message"]

    page = run_job(None, folder, "fleet", "status", "--targets", targets, "--markdown")
    assert page.code == 16
    assert "| `003_c` | 3 |" in page.stdout
    assert "| `gone` |  | 16 |" in page.stdout
    assert "| `t3` | `002_b` | `up` would end with 11 (DriftError)" in page.stdout
    assert "| `t1` | `002_b` | 1 | `003_c` |" in page.stdout
    assert PASSWORD not in page.stdout + page.stderr
    verified = run_job(None, folder, "fleet", "verify", "--targets", targets)
    assert (verified.code, ended(verified)) == (11, {**codes, "t1": 24})


def children(job: Job) -> list[int]:
    """The processes that the job has started."""
    pid = job.process.pid
    return [int(n) for n in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@pytest.mark.parametrize("by", ["databases", "schemas"])
def test_a_pattern_finds_them(
    by: str, database: Database, tenants: Sequence[str], tmp_path: Path
) -> None:
    folder = write_folder(tmp_path, FILES)
    pattern = f"{database.dbname}\\_%"
    if by == "schemas":
        pattern, tenants = "tenant\\_%", ["tenant_1", "tenant_2"]
        for name in tenants:
            database.query(f"CREATE SCHEMA {name}")
    result = run_job(database.url, folder, "fleet", "up", f"--{by}", pattern, "--json")
    assert (result.code, sorted(ended(result))) == (0, sorted(tenants)), result.stderr
    if by == "schemas":
        made = "SELECT count(*) FROM tenant_2.schema_migrations, tenant_1.a, tenant_2.b"
        assert database.query(made) == [(0,)]
    nothing = run_job(database.url, folder, "fleet", "up", f"--{by}", "nothing_%")
    assert nothing.code == 2


@pytest.mark.parametrize(
    ("words", "ran"),
    [
        pytest.param(["--canary", "1"], {"t0": 15}, id="the canary fails"),
        pytest.param(["--stop-after", "2"], {"t0": 15, "t1": 15}, id="too many fail"),
        pytest.param([], {f"t{n}": 15 for n in range(5)}, id="all are tried"),
    ],
)
def test_after_failures_no_more_are_started(
    words: list[str],
    ran: dict[str, int],
    database: Database,
    tenants: Sequence[str],
    tmp_path: Path,
) -> None:
    folder = write_folder(tmp_path / "m", {"001_a.sql": "SELECT nope"})
    targets = listed(database, tenants, tmp_path)
    result = run_job(
        None, folder, "fleet", "up", "--targets", targets, "--jobs", "1", "--json", *words
    )
    assert (result.code, ended(result)) == (15, ran)
    answer = json.loads(result.stdout)
    assert answer["left"] == 5 - len(ran)
    assert answer["not_run"] == [f"t{n}" for n in range(len(ran), 5)]


def test_a_stop_ends_the_processes_too(
    database: Database, tenants: Sequence[str], tmp_path: Path
) -> None:
    sleeps = "SELECT pg_sleep(CASE WHEN current_database() LIKE '%\\_0' THEN 0 ELSE 600 END)"
    folder = write_folder(tmp_path / "m", {"001_a.sql": "SELECT 1", "002_b.sql": sleeps})
    targets = listed(database, tenants, tmp_path)
    job = Job(None, folder, "fleet", "up", "--targets", targets, "--json")
    asleep = "SELECT pid FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND datname LIKE %s"
    until(lambda: len(database.query(asleep, f"{database.dbname}_%")) == 4)
    arguments = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True).stdout
    assert len(children(job)) == 4
    assert PASSWORD not in arguments
    job.process.send_signal(signal.SIGTERM)
    result = job.result()
    assert (result.code, ended(result)) == (23, {f"t{n}": 0 if n == 0 else 23 for n in range(5)})
    answer = json.loads(result.stdout)
    assert answer["outcome"] == "4 of 5 failed, 1 of 5 done by `up`"
    assert result.of("run.stopped")[0]["outcome"] == answer["outcome"]
    assert answer["versions"] == [
        {"version": "001_a", "members": 4},
        {"version": "002_b", "members": 1},
    ]
    until(lambda: not database.query(asleep, f"{database.dbname}_%"))


def test_a_process_that_is_killed_is_one_of_the_failures(
    database: Database, tenants: Sequence[str], tmp_path: Path
) -> None:
    folder = write_folder(tmp_path / "m", {"001_a.sql": "LOCK held", "002_b.sql": "SELECT 1"})
    for name in tenants:
        Database(database.server, name, database.user, database.password).query(
            "CREATE TABLE held ()"
        )
    held = Database(database.server, tenants[1], database.user, database.password)
    with closing(held.connect()) as other, other.cursor() as cursor:
        other.autocommit = False
        cursor.execute("LOCK held")
        targets = listed(database, tenants, tmp_path)
        job = Job(None, folder, "fleet", "up", "--targets", targets, LOCK_TIMEOUT="0")
        until(lambda: len(database.query(WAITING, f"{database.dbname}_%")) == 1)
        until(lambda: len(children(job)) == 1)
        os.kill(children(job)[0], signal.SIGKILL)
        result = job.result()
    codes = {f"t{n}": 23 if n == 1 else 0 for n in range(5)}
    assert (result.code, ended(result)) == (23, codes)


@pytest.mark.parametrize("traced", [False, True])
def test_a_process_has_all_that_it_imports_from_the_first(
    database: Database, tmp_path: Path, traced: bool
) -> None:
    """What is forked would import it once for each database, and OpenTelemetry's SDK is dear.

    Of threads only the one that forks goes along, so that no other may be there by then.
    """
    folder, imported = write_folder(tmp_path / "m", FILES), tmp_path / "imported"
    script = """
import os, sys, threading
import migrator.cli.main as cli

main, imported, *words = cli.main, *sys.argv[1:]

def listed(words, environment, out, err):
    before = set(sys.modules)
    code = main(words, environment, out, err)
    with open(imported, "a") as file:
        print(*(name for name in set(sys.modules) - before if "." in name), file=file)
    return code

cli.main = listed
assert main(words) == 0
assert threading.active_count() == 1
"""
    targets = tmp_path / "targets"
    targets.write_text(database.url)
    words = ("fleet", "up", "--targets", str(targets))
    settings = {"MIGRATIONS_DIR": str(folder), "TERMINATION_LOG": os.devnull, "LOG_FORMAT": "json"}
    with collector() as found:
        sent = {"OTEL_EXPORTER_OTLP_ENDPOINT": found.url} if traced else {}
        subprocess.run(
            [sys.executable, "-c", script, str(imported), *words],
            env={"PATH": os.environ["PATH"], **settings, **sent},
            check=True,
        )
    assert imported.read_text() == "\n"
    assert len(found.bodies) == (2 if traced else 0)  # the member's, and the fleet's own
    assert database.query("SELECT count(*) FROM schema_migrations") == [(2,)]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        pytest.param("", "names no database", id="empty"),
        pytest.param("postgresql://h/a\npostgresql://h/a\n", "more than once", id="twice"),
        pytest.param(f"t1=postgres://u:{PASSWORD}@h:port/d\n", "targets:1", id="no URL"),
        pytest.param(None, "cannot be read", id="no file"),
    ],
)
def test_a_list_that_cannot_be_used(text: str | None, says: str, tmp_path: Path) -> None:
    targets = tmp_path / "targets"
    if text is not None:
        targets.write_text(text)
    folder = write_folder(tmp_path / "m", FILES)
    result = run_job(None, folder, "fleet", "up", "--targets", str(targets))
    assert (result.code, says in result.error["message"]) == (2, True), result.error
    assert PASSWORD not in result.stderr
