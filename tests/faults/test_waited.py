"""What the log keeps of a wait: how long a migration was held up, and behind whom."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from migrator.history.guard import lock_key
from tests.builders import write_folder
from tests.conftest import Database
from tests.job import Job, Result, run_job

ADD = "ALTER TABLE hot ADD COLUMN x int;\n"
WALK = "BETWEEN current_setting('migrator.from')::int AND current_setting('migrator.upto')::int"
#: An attempt lasts for long enough to be looked at; the first one may end before that.
TRIES = {"LOCK_TIMEOUT": "1s", "LOCK_RETRY_TIMEOUT": "60s"}


@contextmanager
def blocked(database: Database, sql: str = "LOCK TABLE hot") -> Iterator[int]:
    """Within, a session that is called web holds this lock: its pid."""
    with closing(database.connect()) as connection:
        connection.autocommit = False
        connection.cursor().execute(f"SET application_name = 'web'; {sql}")
        yield connection.info.backend_pid


def through(database: Database, folder: Path, *argv: str, **settings: str) -> tuple[Result, int]:
    """A run that gets through once its blocker was seen, and that one's pid."""
    with blocked(database) as pid:
        job = Job(database.url, folder, *argv, **TRIES, **settings)
        job.hear("migration.retry", lambda line: line.get("blockers"))
    return job.result(), pid


def lines_of(database: Database, event: str) -> list[dict[str, Any]]:
    query = "SELECT detail FROM schema_migrations_log WHERE event = %s ORDER BY id"
    return [detail for (detail,) in database.query(query, event)]


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(ADD, id="in a transaction"),
        pytest.param(f"-- migrator: no-transaction\n{ADD}", id="outside of one"),
        pytest.param(
            f"-- migrator: batches hot by id\nUPDATE hot SET id = id WHERE id {WALK};\n",
            id="in batches",
        ),
    ],
)
def test_the_line_of_a_migration_says_how_long_it_waited_and_behind_whom(
    database: Database, tmp_path: Path, text: str
) -> None:
    database.query("CREATE TABLE hot (id int PRIMARY KEY); INSERT INTO hot VALUES (1)")
    folder = write_folder(tmp_path, {"001_a.sql": text, "002_b.sql": "SELECT 1"})
    result, pid = through(database, folder)
    assert (result.code, result.applied) == (0, ["001_a", "002_b"]), result.stderr
    first, second = lines_of(database, "applied")
    assert first["waited_ms"] > 0
    assert [(one["pid"], one["application_name"]) for one in first["blockers"]] == [(pid, "web")]
    assert first["waits_for"]["relation"] == "public.hot"
    assert not second.keys() & {"waited_ms", "blockers", "blockers_unknown"}
    shown = run_job(database.url, folder, "history", LOG_FORMAT="text")
    assert f"behind web (pid {pid}" in shown.stdout
    page = tmp_path / "page.html"
    assert run_job(database.url, folder, "report", "--html", str(page)).code == 0
    assert f"behind web (pid {pid}" in page.read_text()
    assert f"behind web (pid {pid}" in run_job(database.url, folder, "report", "--markdown").stdout


def test_an_undo_and_a_hook_say_it_too(database: Database, tmp_path: Path) -> None:
    database.query("CREATE TABLE hot (id int PRIMARY KEY)")
    files = {"001_a.sql": "SELECT 1", "001_a.down.sql": ADD, "after.sql": "LOCK TABLE hot;\n"}
    folder = write_folder(tmp_path, files)
    result, pid = through(database, folder)
    assert result.code == 0, result.stderr
    undone, second = through(database, folder, "rollback", "--steps", "1")
    assert undone.code == 0, undone.stderr
    for event, blocker in (("hook", pid), ("rolled_back", second)):
        [detail] = lines_of(database, event)
        assert [one["pid"] for one in detail["blockers"]] == [blocker]
    assert "waited_ms" not in lines_of(database, "applied")[0]


@pytest.mark.parametrize(
    ("files", "argv", "event"),
    [
        pytest.param({"001_a.sql": ADD}, (), "failed", id="in a transaction"),
        pytest.param(
            {"001_a.sql": f"-- migrator: no-transaction\nVACUUM hot;\n{ADD}"},
            *((), "failed"),
            id="outside of one",
        ),
        pytest.param(
            {"001_a.sql": "SELECT 1", "001_a.down.sql": ADD},
            *(("rollback", "--steps", "1"), "rollback_failed"),
            id="an undo",
        ),
        pytest.param(
            {"001_a.sql": "SELECT 1", "after.sql": "LOCK TABLE hot;\n"},
            *((), "hook_failed"),
            id="a hook",
        ),
    ],
)
def test_what_fails_for_want_of_a_lock_is_in_the_log_with_who_had_it(
    database: Database, tmp_path: Path, files: dict[str, str], argv: tuple[str, ...], event: str
) -> None:
    database.query("CREATE TABLE hot (id int PRIMARY KEY)")
    folder = write_folder(tmp_path, files)
    if argv:
        assert run_job(database.url, folder).code == 0
    with blocked(database, "SELECT FROM hot") as pid:
        run = run_job(database.url, folder, *argv, LOCK_TIMEOUT="2s", LOCK_RETRY_TIMEOUT="1s")
    assert run.code == 22, run.stderr
    [detail] = lines_of(database, event)
    assert (detail["sqlstate"], detail["blockers"][0]["pid"]) == ("55P03", pid)
    assert detail["message"].startswith("locks were not available within LOCK_RETRY_TIMEOUT")
    assert "web" not in detail["message"], "who it was is said once"
    assert detail["waited_ms"] > 0
    page = tmp_path / "page.html"
    assert run_job(database.url, folder, "report", "--html", str(page)).code == 0
    failed = page.read_text().partition('id="failed"')[2].partition("</section>")[0]
    assert f"behind web (pid {pid}" in failed
    assert run_job(database.url, folder, *argv).code == 0


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_a_wait_for_the_runners_lock_is_in_the_line_of_what_runs_then(
    database: Database, tmp_path: Path, jobs: str
) -> None:
    folder = write_folder(tmp_path, {"001_a.sql": "SELECT 1"})
    assert run_job(database.url, folder).code == 0
    of_a_group = "-- migrator: parallel p\nSELECT 1"
    write_folder(folder, {"002_b.sql": of_a_group, "003_c.sql": of_a_group})
    take = f"SELECT pg_advisory_xact_lock({lock_key('public')})"
    with blocked(database, take) as pid:
        job = Job(database.url, folder, JOBS=jobs)
        job.hear("lock.waiting")
    assert job.result().code == 0
    query = "SELECT detail FROM schema_migrations_log WHERE event = 'applied' ORDER BY version"
    _, (detail,), (other,) = database.query(query)
    assert (detail["blockers"][0]["pid"], detail["waited_ms"] > 0) == (pid, True)
    assert "waited_ms" not in other


def test_a_log_that_is_busy_itself_changes_no_exit_code(database: Database, tmp_path: Path) -> None:
    database.query("CREATE TABLE hot (id int PRIMARY KEY)")
    folder = write_folder(tmp_path, {"001_a.sql": "SELECT 1"})
    assert run_job(database.url, folder).code == 0
    write_folder(folder, {"002_b.sql": ADD})
    both = "LOCK TABLE schema_migrations_log IN SHARE MODE; LOCK TABLE hot"
    with blocked(database, both):
        run = run_job(database.url, folder, LOCK_TIMEOUT="100ms", LOCK_RETRY_TIMEOUT="100ms")
    assert (run.code, run.error["type"]) == (22, "BusyError")
    assert lines_of(database, "failed") == []
