"""before.sql and after.sql: when they run, what their failure leaves, and what is owed."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.builders import write_folder
from tests.conftest import Database, MakePgBouncer
from tests.job import Job, run_job
from tests.ways import WAYS, way_to

SAY = "INSERT INTO said (what) VALUES ('{}');\n"
FILES = {
    "001_a.sql": SAY.format("001"),
    "002_b.sql": SAY.format("002"),
    "before.sql": SAY.format("before"),
    "after.sql": SAY.format("after"),
}


@pytest.fixture
def said(database: Database) -> Database:
    database.query("CREATE TABLE said (id int GENERATED ALWAYS AS IDENTITY, what text)")
    return database


def order(database: Database) -> list[str]:
    return [what for (what,) in database.query("SELECT what FROM said ORDER BY id")]


def log(database: Database) -> list[tuple[str, str]]:
    return database.query(
        "SELECT version, event FROM schema_migrations_log WHERE version IS NOT NULL ORDER BY id"
    )


@pytest.mark.parametrize("way", WAYS)
def test_hooks_run_around_what_is_pending(
    way: str, said: Database, pgbouncer: MakePgBouncer, tmp_path: Path
) -> None:
    url = way_to(said, pgbouncer, way)
    folder = write_folder(tmp_path / "m", FILES)
    found = run_job(url, folder)
    assert (found.code, found.applied) == (0, ["001_a", "002_b"]), found.stderr
    assert [line["file"] for line in found.of("hook.done")] == ["before.sql", "after.sql"]
    assert order(said) == ["before", "001", "002", "after"]
    assert log(said) == [
        ("before", "hook"),
        ("001_a", "applied"),
        ("after", "hook_owed"),
        ("002_b", "applied"),
        ("after", "hook"),
    ]
    again = run_job(url, folder)
    assert (again.code, again.of("hook.done")) == (0, [])
    assert run_job(url, folder, "verify").code == 0
    write_folder(folder, {"003_c.sql": SAY.format("003")})
    assert run_job(url, folder).code == 0
    assert order(said)[4:] == ["before", "003", "after"]
    assert said.query("SELECT version FROM schema_migrations ORDER BY 1") == [
        ("001_a",),
        ("002_b",),
        ("003_c",),
    ]


def test_a_refused_before_keeps_everything_from_running(said: Database, tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "m", {**FILES, "before.sql": "SELECT;\nSELECT nothing;\n"})
    found = run_job(said.url, folder)
    assert found.code == 15
    assert found.error["message"].startswith("before.sql:2:8: ")
    assert found.report["outcome"] == "before.sql was rolled back, and no migration was started"
    assert order(said) == []
    assert run_job(said.url, folder, "status").report["findings"] == []


def test_a_refused_after_is_owed_until_it_has_run(said: Database, tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "m", {**FILES, "after.sql": "SELECT nothing;\n"})
    found = run_job(said.url, folder)
    assert (found.code, found.applied) == (15, ["001_a", "002_b"])
    assert "001_a, 002_b" in found.report["outcome"]
    assert "after.sql was rolled back and is owed" in found.report["outcome"]
    status = run_job(said.url, folder, "status", "--json")
    assert [finding["file"] for finding in status.report["findings"]] == ["after.sql"]
    assert "`up` would run after.sql, which is owed." in status.stdout
    assert run_job(said.url, folder, "verify").code == 24
    assert run_job(said.url, folder, "wait", "--wait-timeout", "200ms").code == 24
    plan = run_job(said.url, folder, "plan")
    assert [line["file"] for line in plan.of("plan.warning")] == ["after.sql"]
    assert "after.sql" in run_job(said.url, folder, "report", "--json").stdout
    write_folder(folder, {"after.sql": FILES["after.sql"]})
    again = run_job(said.url, folder)
    assert (again.code, again.applied) == (0, [])
    assert order(said) == ["before", "001", "002", "after"]
    assert run_job(said.url, folder, "verify").code == 0
    assert run_job(said.url, folder).of("hook.done") == []


def test_a_refused_migration_leaves_what_the_ones_before_it_owe(
    said: Database, tmp_path: Path
) -> None:
    folder = write_folder(tmp_path / "m", {**FILES, "002_b.sql": "SELECT nothing;\n"})
    assert run_job(said.url, folder).code == 15
    (folder / "002_b.sql").unlink()
    assert run_job(said.url, folder).code == 0
    assert order(said) == ["before", "001", "after"]


def test_a_run_that_is_killed_before_after_leaves_it_to_the_next(
    said: Database, tmp_path: Path
) -> None:
    slow = "SELECT pg_sleep(600);\n" + FILES["after.sql"]
    folder = write_folder(tmp_path / "m", {**FILES, "after.sql": slow})
    job = Job(said.url, folder)
    job.hear("migration.applied", version="002_b")
    job.end()
    assert run_job(said.url, folder, "verify").code == 24
    write_folder(folder, {"after.sql": FILES["after.sql"]})
    said.query(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE query LIKE '%pg_sleep(600)%' AND pid <> pg_backend_pid()"
    )
    found = run_job(said.url, folder)
    assert (found.code, found.applied) == (0, []), found.stderr
    assert order(said) == ["before", "001", "002", "after"]


def test_a_no_transaction_file_owes_the_hook_too(said: Database, tmp_path: Path) -> None:
    files = {
        "001_a.sql": "CREATE INDEX CONCURRENTLY said_what ON said (what);\n",
        "after.sql": "SELECT nothing;\n",
    }
    folder = write_folder(tmp_path / "m", files)
    assert run_job(said.url, folder).code == 15
    assert run_job(said.url, folder, "verify").code == 24


@pytest.mark.parametrize(
    ("sql", "says"),
    [
        pytest.param("VACUUM;", "runs in a transaction", id="alone"),
        pytest.param("SELECT 1;\nCOMMIT;", "would end or begin", id="a transaction of its own"),
        pytest.param(b"\xff", "not UTF-8", id="no text"),
        pytest.param("-- migrator: placeholders\nSELECT ${x};", "no value", id="a placeholder"),
    ],
)
def test_a_hook_that_cannot_run_is_found_before_anything_runs(
    sql: str | bytes, says: str, said: Database, tmp_path: Path
) -> None:
    folder = write_folder(tmp_path / "m", {**FILES, "after.sql": sql})
    found = run_job(said.url, folder)
    assert found.code == 10
    [finding] = found.report["findings"]
    assert finding["file"] == "after.sql"
    assert says in finding["problem"]
    assert order(said) == []


def test_hooks_of_flyway_have_its_names_and_placeholders(said: Database, tmp_path: Path) -> None:
    files = {
        "V1__a.sql": FILES["001_a.sql"],
        "beforeMigrate.sql": SAY.format("${who}"),
        "afterMigrate.sql": FILES["after.sql"],
    }
    folder = write_folder(tmp_path / "m", files)
    found = run_job(said.url, folder, PLACEHOLDER_WHO="me")
    assert found.code == 0, found.stderr
    assert order(said) == ["me", "001", "after"]
    write_folder(folder, {"after.sql": "SELECT;"})
    assert run_job(said.url, folder).code == 10


def test_a_hook_does_not_count_as_a_migration(said: Database, tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "m", {"after.sql": FILES["after.sql"]})
    found = run_job(said.url, folder)
    assert (found.code, found.applied) == (0, [])
    assert found.of("source.empty")
    assert order(said) == []
