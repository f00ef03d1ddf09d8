"""`--to VERSION` and PHASE: which of the pending files a run applies."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.builders import write_folder
from tests.conftest import Database
from tests.database.test_batches import HALF, OPEN, ROWS, WALKED
from tests.job import Job, run_job

POST = "-- migrator: phase post\n"
#: Two releases: each adds a column before the new code is out, and drops one after.
FILES = {
    "001_orders.sql": "CREATE TABLE public.orders (a int, b int);\n",
    "002_drop_a.sql": POST + "ALTER TABLE public.orders DROP COLUMN a;\n",
    "003_add_c.sql": "ALTER TABLE public.orders ADD COLUMN c int;\n",
    "004_drop_b.sql": POST + "-- migrator: floor\nALTER TABLE public.orders DROP COLUMN b;\n",
    "R__view.sql": "CREATE OR REPLACE VIEW public.seen AS SELECT c FROM public.orders;\n",
}
PRE_FILES, POST_FILES = ["001_orders", "003_add_c", "R__view"], ["002_drop_a", "004_drop_b"]
LOG = "SELECT version FROM schema_migrations_log WHERE event = 'applied' ORDER BY id"


def applied(database: Database) -> list[str]:
    return [version for (version,) in database.query(LOG)]


def test_what_follows_the_version_is_pending_and_not_late(
    database: Database, tmp_path: Path
) -> None:
    folder = write_folder(tmp_path, FILES)
    answer = json.loads(run_job(database.url, folder, "plan", "--to", "2", "--json").stdout)
    assert [row["version"] for row in answer["would_apply"]] == ["001_orders", "002_drop_a"]
    assert answer["deferred"] == ["003_add_c", "004_drop_b", "R__view"]
    first = run_job(database.url, folder, "up", "--to", "002_drop_a")
    assert (first.code, first.applied) == (0, ["001_orders", "002_drop_a"])
    assert first.report["pending"] == ["003_add_c", "004_drop_b", "R__view"]
    assert first.report["outcome"] == ("2 applied; left for later: 003_add_c, 004_drop_b, R__view")
    again = run_job(database.url, folder, "--to", "2")
    assert (again.code, again.applied) == (0, [])
    rest = run_job(database.url, folder)
    assert (rest.code, rest.applied) == (0, ["003_add_c", "004_drop_b", "R__view"])


def test_an_unknown_version_runs_nothing(database: Database, tmp_path: Path) -> None:
    folder = write_folder(tmp_path, FILES)
    for command in ("up", "plan"):
        result = run_job(database.url, folder, command, "--to", "009_x")
        assert (result.code, result.applied) == (2, [])
        assert "009_x" in result.error["message"]
    assert database.query("SELECT to_regclass('schema_migrations')") == [(None,)]


def test_the_phases_of_two_releases(database: Database, tmp_path: Path) -> None:
    """Release 1 never ran its post phase; release 2 runs both, and nothing is late."""
    folder = write_folder(tmp_path, {name: FILES[name] for name in list(FILES)[:2]})
    first = run_job(database.url, folder, PHASE="pre")
    assert (first.code, first.applied) == (0, ["001_orders"])
    assert first.report["pending"] == ["002_drop_a"]
    write_folder(tmp_path, FILES)
    second = run_job(database.url, folder, "up", "--phase", "pre")
    assert (second.code, second.applied) == (0, ["003_add_c", "R__view"])
    assert [line["file"] for line in first.of("plan.warning")] == ["002_drop_a.sql"]
    assert second.of("plan.warning") == []
    [made] = second.of("plan.made")
    assert made["deferred"] == POST_FILES
    nothing = run_job(database.url, folder, "up", "--phase", "pre")
    assert (nothing.code, nothing.applied) == (0, [])
    assert run_job(database.url, folder, "verify", PHASE="pre").code == 0
    assert run_job(database.url, folder, "verify").code == 24
    post = run_job(database.url, folder, PHASE="post")
    assert (post.code, post.applied) == (0, POST_FILES)
    assert run_job(database.url, folder, "verify").code == 0
    assert applied(database) == ["001_orders", "003_add_c", "R__view", *POST_FILES]


def test_without_a_phase_all_is_applied_in_order(database: Database, tmp_path: Path) -> None:
    folder = write_folder(tmp_path, FILES)
    run_job(database.url, folder, PHASE="pre")
    result = run_job(database.url, folder)
    assert (result.code, result.applied) == (0, POST_FILES)


def test_the_post_phase_is_refused_while_the_pre_phase_is_pending(
    database: Database, tmp_path: Path
) -> None:
    folder = write_folder(tmp_path, FILES)
    result = run_job(database.url, folder, PHASE="post")
    assert (result.code, result.applied) == (24, [])
    assert "001_orders, 003_add_c, R__view" in result.error["message"]
    status = json.loads(run_job(database.url, folder, "status", "--json", PHASE="post").stdout)
    assert status["exit_code"] == 0
    assert status["verdict"].startswith("`up` would end with 24 (PendingError)")


def test_wait_waits_for_the_pre_phase_unless_it_is_told_otherwise(
    database: Database, tmp_path: Path
) -> None:
    folder = write_folder(tmp_path, FILES)
    run_job(database.url, folder, PHASE="pre")
    assert run_job(database.url, folder, "wait", WAIT_TIMEOUT="20s").code == 0
    assert run_job(database.url, folder, "wait", WAIT_TIMEOUT="20s", PHASE="pre").code == 0
    for phase in ("post", "all"):
        short = run_job(database.url, folder, "wait", WAIT_TIMEOUT="300ms", PHASE=phase)
        assert (short.code, short.report["pending"]) == (24, POST_FILES)
    waiting = Job(database.url, folder, "wait", PHASE="all")
    waiting.hear("migrations.waiting")
    run_job(database.url, folder, PHASE="post")
    assert waiting.result().code == 0


def test_wait_still_waits_for_a_pending_pre_file(database: Database, tmp_path: Path) -> None:
    folder = write_folder(tmp_path, FILES)
    short = run_job(database.url, folder, "wait", WAIT_TIMEOUT="300ms")
    assert short.code == 24
    assert short.error["message"].endswith(": 001_orders, 003_add_c, R__view")


def test_a_post_file_is_late_for_a_post_file(database: Database, tmp_path: Path) -> None:
    files = {name: text for name, text in FILES.items() if not name.startswith("002")}
    folder = write_folder(tmp_path, files)
    assert run_job(database.url, folder).code == 0
    write_folder(tmp_path, FILES)
    assert run_job(database.url, folder, PHASE="pre").code == 0
    result = run_job(database.url, folder)
    assert (result.code, result.applied) == (13, [])
    assert run_job(database.url, folder, "up", "--on-late", "apply").applied == ["002_drop_a"]


@pytest.mark.parametrize(("phase", "code"), [("pre", 10), ("all", 0)])
def test_a_pre_file_may_not_require_what_waits_for_the_post_phase(
    database: Database, tmp_path: Path, phase: str, code: int
) -> None:
    needing = "-- migrator: requires 002_drop_a\nSELECT 1;\n"
    folder = write_folder(tmp_path, {**FILES, "005_needs.sql": needing})
    plan = run_job(database.url, folder, "plan", PHASE=phase)
    result = run_job(database.url, folder, PHASE=phase)
    assert (plan.code, result.code) == (code, code)
    if code:
        assert result.applied == []
        [finding] = result.report["findings"]
        assert finding["file"] == "005_needs.sql"
        assert finding["problem"] == (
            "requires 002_drop_a, which is of the post phase and not applied"
        )
        first = run_job(database.url, folder, "up", "--phase", "all", "--to", "002_drop_a")
        assert first.code == 0
        assert run_job(database.url, folder, PHASE=phase).code == 0


def test_what_requires_a_file_that_is_half_done_comes_once_that_is_finished(
    database: Database, tmp_path: Path
) -> None:
    """Retryable, with what is committed so far; one command finishes it."""
    files = {**HALF, "002_fill.sql": POST + HALF["002_fill.sql"]}
    folder = write_folder(tmp_path, files)
    assert run_job(database.url, folder).code == 15
    write_folder(folder, {"003_next.sql": "-- migrator: requires 002_fill\nSELECT 1;\n"})
    for phase, version in (("pre", "003_next.sql: requires 002_fill"), ("post", "003_next")):
        result = run_job(database.url, folder, PHASE=phase)
        assert (result.code, result.applied) == (24, []), result.stderr
        assert version in result.error["message"]
        assert result.report["outcome"] == (
            "002_fill.sql is started and not finished: 500 rows, in 5 batches"
        )
    assert run_job(database.url, folder, "plan", PHASE="pre").code == 24
    database.query(OPEN)
    first = run_job(database.url, folder, "up", "--phase", "all", "--to", "002_fill")
    assert (first.code, first.applied) == (0, ["002_fill"]), first.stderr
    assert run_job(database.url, folder, PHASE="pre").applied == ["003_next"]
    assert database.query(WALKED) == [(1, ROWS)]


def test_the_pre_phase_refuses_a_release_whose_post_file_cannot_run(
    database: Database, tmp_path: Path
) -> None:
    """Else the new code is out when it is found."""
    folder = write_folder(tmp_path, FILES | {"004_drop_b.sql": POST + "SELECT 'open;\n"})
    for command in ("plan", "up", "verify"):
        result = run_job(database.url, folder, command, PHASE="pre")
        assert (result.code, result.applied) == (10, []), command
        [found] = result.report["findings"]
        assert (found["file"], found["line"]) == ("004_drop_b.sql", 2)
    assert run_job(database.url, folder, "up", "--to", "1", PHASE="pre").code == 0


def test_a_floor_of_the_post_phase_shuts_out_an_older_image(
    database: Database, tmp_path: Path
) -> None:
    older = write_folder(tmp_path / "older", {name: FILES[name] for name in list(FILES)[:3]})
    newer = write_folder(tmp_path / "newer", FILES)
    run_job(database.url, newer, PHASE="pre")
    for command in ("wait", "up"):
        assert run_job(database.url, older, command, PHASE="pre").code == 0
    assert run_job(database.url, newer, PHASE="post").code == 0
    for command in ("wait", "up"):
        assert run_job(database.url, older, command, PHASE="pre").code == 12


def test_a_floor_of_the_pre_phase_is_warned_of(database: Database, tmp_path: Path) -> None:
    folder = write_folder(tmp_path, {"001_a.sql": "-- migrator: floor\nSELECT 1;\n"})
    assert run_job(database.url, folder, "plan").of("plan.warning") == []
    result = run_job(database.url, folder, PHASE="pre")
    assert [line["file"] for line in result.of("plan.warning")] == ["001_a.sql"]
    assert (result.code, result.applied) == (0, ["001_a"])


def test_status_and_report_show_the_phase(database: Database, tmp_path: Path) -> None:
    folder = write_folder(tmp_path, FILES)
    run_job(database.url, folder, PHASE="pre")
    for phase, verdict in (
        ("pre", "`up` would have nothing to do. Left for later: 002_drop_a, 004_drop_b."),
        ("all", "`up` would apply 002_drop_a, 004_drop_b."),
    ):
        for command in ("status", "report"):
            answer = json.loads(
                run_job(database.url, folder, command, "--json", PHASE=phase).stdout
            )
            assert answer["verdict"] == verdict
            shown = {row["version"]: row.get("phase") for row in answer["migrations"]}
            assert [version for version, phase in shown.items() if phase == "post"] == POST_FILES
    assert "post" in run_job(database.url, folder, "plan").stdout
    assert ", post" in run_job(database.url, folder, "report", "--markdown").stdout


def test_the_last_run_that_rollback_undoes_is_that_of_its_phase(
    database: Database, tmp_path: Path
) -> None:
    undo = {"004_drop_b.down.sql": "ALTER TABLE public.orders ADD COLUMN b int;\n"}
    undo |= {"002_drop_a.down.sql": "ALTER TABLE public.orders ADD COLUMN a int;\n"}
    folder = write_folder(tmp_path, {**FILES, **undo})
    run_job(database.url, folder, PHASE="pre")
    run_job(database.url, folder, PHASE="post")
    back = run_job(database.url, folder, "rollback")
    assert (back.code, [row["version"] for row in back.report["rolled_back"]]) == (
        0,
        ["004_drop_b", "002_drop_a"],
    )
    assert run_job(database.url, folder, "verify", PHASE="pre").code == 0
    assert run_job(database.url, folder).applied == POST_FILES


def test_hooks_run_around_each_run_and_only_where_it_applies_something(
    database: Database, tmp_path: Path
) -> None:
    folder = write_folder(tmp_path, {**FILES, "after.sql": "SELECT 1;\n"})
    ran = [
        len(run_job(database.url, folder, *words).of("hook.done"))
        for words in (("up", "--phase", "pre"), ("up", "--phase", "pre"), ("up", "--to", "2"))
    ]
    assert ran == [1, 0, 1]
    broken = write_folder(tmp_path, {"after.sql": POST + "SELECT 1;\n"})
    assert run_job(database.url, broken).code == 10


def test_an_interrupted_file_of_the_post_phase_does_not_stop_the_pre_phase(
    database: Database, tmp_path: Path
) -> None:
    """It is dirty, and it is the post phase that settles it."""
    gate = "DO $$ BEGIN PERFORM pg_advisory_xact_lock(42); COMMIT; END $$;\n"
    files = {**FILES, "002_drop_a.sql": f"{POST}-- migrator: no-transaction\n{gate}SELECT 1;\n"}
    folder = write_folder(tmp_path, {name: files[name] for name in list(files)[:2]})
    run_job(database.url, folder, PHASE="pre")
    with database.connect() as blocker:
        blocker.cursor().execute("SELECT pg_advisory_lock(42)")
        job = Job(database.url, folder, PHASE="post")
        job.hear("statement.started")
        job.process.kill()
        job.result()
        database.query(
            "SELECT pg_terminate_backend(pid, 10000) FROM pg_locks"
            " WHERE locktype = 'advisory' AND NOT granted"
        )
    write_folder(tmp_path, files)
    result = run_job(database.url, folder, PHASE="pre")
    assert (result.code, result.applied) == (0, ["003_add_c", "R__view"])
    assert run_job(database.url, folder, "verify", PHASE="pre").code == 0
    assert run_job(database.url, folder, PHASE="post").code == 14


def test_rehearse_knows_no_phase(database: Database, tmp_path: Path) -> None:
    folder = write_folder(tmp_path, {name: FILES[name] for name in list(FILES)[:3]})
    result = run_job(
        None, folder, "rehearse", "--json", PHASE="post", SHADOW_DATABASE_URL=database.url
    )
    assert result.code == 0
    assert len(json.loads(result.stdout)["rehearsed"]) == 3
