"""What `status` and `plan` say where `up` would not run."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from migrator.history.guard import lock_key
from tests.builders import write_folder
from tests.conftest import Database
from tests.job import run_job

APPLIED = {"001_a.sql": "CREATE TABLE a (id int);\n", "002_b.sql": "SELECT 2;\n"}
BEGUN = "-- migrator: no-transaction\nCREATE TABLE c ();\nSELECT 1/0;\n"


@pytest.mark.parametrize(
    ("files", "code", "verdict"),
    [
        ({"001_a.sql": "changed"}, 11, "end with 11 (DriftError): applied files have changed: 001"),
        (
            {"003_c.sql": "VACUUM; SELECT 1;"},
            10,
            "end with 10 (SourceError): 1 problem in 1 pending file",
        ),
        ({"003_c.sql": "SELECT 3;"}, 0, "apply 003_c."),
        ({}, 0, "have nothing to do."),
    ],
)
def test_the_first_line_is_what_up_would_come_to(
    database: Database, tmp_path: Path, files: dict[str, str], code: int, verdict: str
) -> None:
    folder = write_folder(tmp_path, APPLIED)
    assert run_job(database.url, folder).code == 0
    write_folder(folder, files)
    result = run_job(database.url, folder, "status")
    assert (result.code, result.stdout.startswith(f"`up` would {verdict}")) == (0, True)
    assert (f"`up` would end with {code}" in result.report["outcome"]) == (code > 0)
    assert len(result.report["findings"]) == (code > 0)
    answer = json.loads(run_job(database.url, folder, "status", "--json").stdout)
    assert answer["verdict"].startswith(f"`up` would {verdict}")
    assert run_job(database.url, folder).code == code


def test_in_text_the_verdict_is_printed_once(database: Database, tmp_path: Path) -> None:
    folder = write_folder(tmp_path, APPLIED)
    assert run_job(database.url, folder).code == 0
    write_folder(folder, {"001_a.sql": "changed"})
    result = run_job(database.url, folder, "status", LOG_FORMAT="text")
    said = "applied files have changed"
    assert (result.stdout.count(said), result.stderr.count(said)) == (1, 0)


def test_a_report_ends_with_what_up_would_come_to(database: Database, tmp_path: Path) -> None:
    folder = write_folder(tmp_path, APPLIED)
    assert run_job(database.url, folder, "report").report["outcome"] == (
        "`up` would apply 001_a, 002_b"
    )
    assert run_job(database.url, folder).code == 0
    assert run_job(database.url, folder, "report").report["outcome"] == (
        "`up` would have nothing to do"
    )
    write_folder(folder, {"001_a.sql": "changed", "003_c.sql": "SELECT 3;"})
    assert (
        run_job(database.url, folder, "report")
        .report["outcome"]
        .startswith("`up` would end with 11 (DriftError): ")
    )


@pytest.fixture
def plain(database: Database) -> Iterator[Database]:
    """The database for a role that may do nothing yet."""
    role = f"plain_of_{database.dbname}"
    database.query(f"CREATE ROLE {role} LOGIN PASSWORD 'secret'")
    yield database.as_user(role, "secret")
    with closing(database.connect()) as session, session.cursor() as cursor:
        cursor.execute("SET default_transaction_read_only = off")
        cursor.execute(f"DROP OWNED BY {role} CASCADE")
        cursor.execute(f"DROP ROLE {role}")


OLDER = "CREATE TABLE schema_migrations (version text PRIMARY KEY, checksum text, applied_at date"


@pytest.mark.parametrize(
    ("before", "message", "remedy"),
    [
        pytest.param(
            "ALTER DATABASE {database} SET default_transaction_read_only = on",
            "default_transaction_read_only is on (database)",
            "ALTER DATABASE",
            id="read-only by default",
        ),
        pytest.param(
            "REVOKE CREATE ON SCHEMA public FROM PUBLIC",
            "cannot create the history in schema public: 42501",
            "GRANT USAGE, CREATE ON SCHEMA",
            id="no right to create",
        ),
        pytest.param(
            f"{OLDER}, who text NOT NULL); ALTER TABLE schema_migrations OWNER TO {{role}}",
            "does not take the rows of this job: 23502",
            'ALTER "who" DROP NOT NULL',
            id="a table that does not take our rows",
        ),
        pytest.param(
            f"{OLDER}); ALTER TABLE schema_migrations OWNER TO other_of_{{database}};"
            "GRANT ALL ON schema_migrations TO {role}",
            "belongs to other_of_",
            "GRANT",
            id="a table of another role",
        ),
    ],
)
def test_what_keeps_up_from_starting_is_foreseen(
    plain: Database, tmp_path: Path, before: str, message: str, remedy: str
) -> None:
    admin, role = plain.as_superuser(), plain.user
    admin.query(f"CREATE ROLE other_of_{plain.dbname}")
    try:
        admin.query("GRANT CREATE ON SCHEMA public TO PUBLIC")
        admin.query(before.format(database=plain.dbname, role=role))
        folder = write_folder(tmp_path, {"003_c.sql": "SELECT 3;"})
        tables = admin.query("SELECT count(*) FROM pg_class")
        planned, done = (run_job(plain.url, folder, command) for command in ("plan", "up"))
        assert (planned.code, planned.error) == (done.code, done.error) == (16, done.error)
        assert message in done.error["message"]
        assert remedy in done.error["remedy"]
        for command in ("status", "report"):
            shown = run_job(plain.url, folder, command, "--json")
            verdict = json.loads(shown.stdout)["verdict"]
            assert shown.code == 0
            assert verdict.startswith("`up` would end with 16 (AccessError): ")
            assert done.error["message"] in verdict
            assert verdict.endswith(done.error["remedy"])
            assert shown.report["outcome"].startswith("`up` would end with 16")
        assert admin.query("SELECT count(*) FROM pg_class") == tables
    finally:
        with closing(admin.connect()) as session, session.cursor() as cursor:
            cursor.execute("SET default_transaction_read_only = off")
            cursor.execute(f"DROP OWNED BY other_of_{plain.dbname} CASCADE")
            cursor.execute(f"DROP ROLE other_of_{plain.dbname}")


def test_what_is_foreseen_needs_no_lock_of_a_runner_at_work(
    database: Database, tmp_path: Path
) -> None:
    folder = write_folder(tmp_path, {"001_a.sql": "SELECT 1;"})
    with closing(database.connect()) as session, session.cursor() as cursor:
        cursor.execute(f"SELECT pg_advisory_lock({lock_key('public')})")
        result = run_job(database.url, folder, "plan")
    assert (result.code, result.report["pending"]) == (0, ["001_a"])


def test_a_dirty_file_is_a_finding(database: Database, tmp_path: Path) -> None:
    folder = write_folder(tmp_path, APPLIED | {"003_c.sql": BEGUN})
    assert run_job(database.url, folder).code == 15
    result = run_job(database.url, folder, "status")
    (found,) = result.report["findings"]
    assert (found["file"], found["problem"]) == ("003_c.sql", "was started and is not finished")
    assert "003_c.sql: was started and is not finished. Run `up`" in " ".join(result.stdout.split())
    write_folder(folder, {"003_c.sql": "SELECT 1;\n"})
    result = run_job(database.url, folder, "status")
    assert result.stdout.startswith("`up` would end with 14 (DirtyError): ")
    assert run_job(database.url, folder).code == 14


def test_an_undo_that_is_not_finished_is_a_finding(database: Database, tmp_path: Path) -> None:
    down = "-- migrator: no-transaction\nSELECT 1;\nSELECT 1/0;\n"
    folder = write_folder(tmp_path, APPLIED | {"002_b.down.sql": down})
    assert run_job(database.url, folder).code == 0
    assert run_job(database.url, folder, "rollback", "--steps", "1").code == 15
    result = run_job(database.url, folder, "status")
    assert [found["file"] for found in result.report["findings"]] == ["002_b.down.sql"]
    assert result.stdout.startswith("`up` would end with 14 (DirtyError): undone in part")
    assert run_job(database.url, folder).code == 14


@pytest.mark.parametrize(
    ("files", "code"),
    [
        ({"001_a.sql": "changed"}, 11),
        ({"004_d.sql": "VACUUM; SELECT 1;\n"}, 10),
        ({"003_c.sql": BEGUN}, 14),
    ],
    ids=["drift", "a file that cannot run", "a dirty file"],
)
def test_plan_shows_table_and_graph_where_it_fails(
    database: Database, tmp_path: Path, files: dict[str, str], code: int
) -> None:
    folder = write_folder(tmp_path, APPLIED)
    assert run_job(database.url, folder).code == 0
    write_folder(folder, {"003_c.sql": "-- migrator: requires 001_a\nSELECT 3;\n"} | files)
    if code == 14:
        assert run_job(database.url, folder).code == 15
    result = run_job(database.url, folder, "plan")
    assert result.code == code
    assert "\n003_c    003_c.sql" in result.stdout
    graph = run_job(database.url, folder, "plan", "--graph")
    assert (graph.code, graph.stdout.startswith('graph TD\n  m1["')) == (code, True)
    answer = json.loads(run_job(database.url, folder, "plan", "--json").stdout)
    assert answer["exit_code"] == code
    assert answer["would_apply"][0]["version"] == "003_c"


def test_plan_lists_what_is_wrong_with_history_and_files_at_once(
    database: Database, tmp_path: Path
) -> None:
    folder = write_folder(tmp_path, APPLIED)
    assert run_job(database.url, folder).code == 0
    write_folder(folder, {"001_a.sql": "changed", "003_c.sql": "VACUUM; SELECT 1;\n"})
    result = run_job(database.url, folder, "plan")
    files = [found["file"] for found in result.report["findings"]]
    assert (result.code, files) == (11, ["001_a.sql", "003_c.sql"])
    (folder / "003_c.sql").unlink()
    assert "nothing to do" not in run_job(database.url, folder, "plan").stdout


def test_ten_thousand_findings_are_a_hundred_and_a_number(
    database: Database, tmp_path: Path
) -> None:
    """It was 4.8 MB of log."""
    folder = write_folder(tmp_path, APPLIED)
    assert run_job(database.url, folder).code == 0
    database.query(
        """INSERT INTO schema_migrations (version, checksum, kind)
           SELECT '001_gone' || n, repeat('a', 64), 'versioned'
             FROM generate_series(1, 10000) AS n"""
    )
    result = run_job(database.url, folder, ON_MISSING="warn")
    assert (result.code, len(result.stderr) < 120_000) == (0, True), len(result.stderr)
    warned = result.of("plan.warning")
    assert (len(warned), warned[-1]["more"]) == (101, 9900)
    assert (warned[-1]["problem"], warned[-1]["remedy"]) == (
        "9900 more like these",
        "`status` shows the state of every version.",
    )
    (made,) = result.of("plan.made")
    assert (len(made["missing"]), made["missing_count"]) == (100, 10_000)
    assert (len(result.report["findings"]), result.report["findings_count"]) == (100, 10_000)
