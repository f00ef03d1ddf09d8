"""ADOPT: the first run on a database of another tool takes its history over, and goes on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from migrator.adopt.tools import tracker
from migrator.config import ADOPTABLE
from migrator.history.guard import lock_key
from tests.conftest import Database, MakePgBouncer
from tests.job import Job, Result, run_job, until
from tests.switching import ATLAS, LEFT, TEXTS, Left, atlas_sum, running

ADOPTED = 'SELECT version, kind FROM {}.schema_migrations ORDER BY version COLLATE "C"'
THREE_THERE = "SELECT to_regclass('three') IS NOT NULL"


def rows(result: Result) -> list[dict[str, Any]]:
    found = json.loads(result.stdout)["adoption"]
    assert isinstance(found, list)
    return found


def schema_of(left: Left) -> str:
    return left.settings.get("MIGRATIONS_SCHEMA", "public")


def kept(database: Database, left: Left) -> list[tuple[str, str]]:
    return [(v, kind) for v, kind in database.query(ADOPTED.format(schema_of(left)))]


def is_untouched(database: Database) -> bool:
    """No history of ours, and the third file has not run."""
    log = "SELECT count(*) FROM pg_class WHERE relname = 'schema_migrations_log'"
    return database.query(log) == [(0,)] and database.query(THREE_THERE) == [(False,)]


@pytest.mark.parametrize("chosen", ["auto", "tool"])
@pytest.mark.parametrize("tool", LEFT)
def test_the_first_run_adopts_and_applies_the_rest_and_later_ones_ignore_it(
    tool: str, chosen: str, database: Database, tmp_path: Path
) -> None:
    left = LEFT[tool]
    database.query(left.sql)
    folder = left.lay(tmp_path / "m")
    settings = {**left.settings, "ADOPT": tool if chosen == "tool" else "auto"}
    plan = run_job(database.url, folder, "plan", "--json", **settings)
    assert plan.code == 0, plan.stderr
    assert [row["version"] for row in json.loads(plan.stdout)["would_apply"]] == [left.versions[2]]
    said = json.loads(run_job(database.url, folder, "status", "--json", **settings).stdout)
    assert said["verdict"] == f"`up` would apply {left.versions[2]}."
    assert is_untouched(database)
    done = run_job(database.url, folder, "--json", **settings)
    assert (done.code, done.applied) == (0, [left.versions[2]]), done.stderr
    assert [row["content"] for row in rows(done)][:2] == [left.proved] * 2
    assert [row["state"] for row in rows(done)] == ["adopted", "adopted", "pending"]
    first, second, third = left.versions
    expected = [(first, "adopted"), (second, "adopted"), (third, "versioned")]
    assert kept(database, left) == sorted(expected)
    again = run_job(database.url, folder, "--json", **settings)
    assert (again.code, again.applied, "adoption" in json.loads(again.stdout)) == (0, [], False)
    plain = run_job(database.url, folder, "verify", **left.settings)
    assert plain.code == 0, plain.stderr


def test_each_tool_that_can_be_adopted_is_tried_here() -> None:
    assert set(LEFT) == set(ADOPTABLE)


@pytest.mark.parametrize("tool", LEFT)
def test_a_new_database_is_made_by_the_same_folder(
    tool: str, database: Database, tmp_path: Path
) -> None:
    left = LEFT[tool]
    done = run_job(database.url, left.lay(tmp_path / "m"), **left.settings, ADOPT="auto")
    assert (done.code, done.applied) == (0, list(left.versions)), done.stderr


@pytest.mark.parametrize("tool", ["golang-migrate", "prisma", "drizzle"])
def test_behind_a_pooler(
    tool: str, database: Database, pgbouncer: MakePgBouncer, tmp_path: Path
) -> None:
    left = LEFT[tool]
    database.query(left.sql)
    url = pgbouncer(database, pool_mode="transaction", pool_size=1).url(database.dbname)
    done = run_job(url, left.lay(tmp_path / "m"), **left.settings, ADOPT="auto")
    assert (done.code, done.applied) == (0, [left.versions[2]]), done.stderr


REFUSED = {
    "golang-migrate is dirty": ("golang-migrate", "UPDATE schema_migrations SET dirty = true", 14),
    "Prisma has not finished one": (
        "prisma",
        "UPDATE _prisma_migrations SET finished_at = NULL WHERE id = '2'",
        14,
    ),
    "sqlx has failed": ("sqlx", "UPDATE _sqlx_migrations SET success = false", 14),
    "another text ran": ("prisma", "UPDATE _prisma_migrations SET checksum = 'x'", 11),
    "graphile-migrate ran another text": (
        "graphile-migrate",
        "UPDATE graphile_migrate.migrations SET hash = 'sha1:x' WHERE filename = '000002.sql'",
        11,
    ),
    "a hash that no file has": (
        "drizzle",
        "UPDATE drizzle.__drizzle_migrations SET hash = 'x' WHERE id = 2",
        12,
    ),
    "Liquibase has failed": (
        "liquibase",
        "UPDATE databasechangelog SET exectype = 'FAILED' WHERE id = '2'",
        14,
    ),
    "Liquibase ran a changeset of XML": (
        "liquibase",
        "INSERT INTO databasechangelog (id, author, filename, dateexecuted, orderexecuted, "
        "exectype) VALUES ('9', 'bob', 'db/changelog/master.xml', now(), 9, 'EXECUTED')",
        12,
    ),
    "Atlas has applied a part": (
        "atlas",
        "UPDATE atlas_schema_revisions.atlas_schema_revisions SET total = 2",
        14,
    ),
    "Atlas ran another text": (
        "atlas",
        "UPDATE atlas_schema_revisions.atlas_schema_revisions SET hash = 'x' "
        "WHERE description = 'create-two'",
        11,
    ),
    "a row without a file": ("dbmate", "INSERT INTO schema_migrations VALUES ('20230101')", 12),
}


@pytest.mark.parametrize(("tool", "change", "code"), REFUSED.values(), ids=REFUSED)
def test_what_is_not_proved_or_not_clean_stops_the_run_and_writes_nothing(
    tool: str, change: str, code: int, database: Database, tmp_path: Path
) -> None:
    left = LEFT[tool]
    database.query(left.sql)
    database.query(change)
    folder = left.lay(tmp_path / "m")
    for command in ("plan", "up"):
        done = run_job(database.url, folder, command, "--json", **left.settings, ADOPT="auto")
        assert done.code == code, done.stderr
        assert rows(done)
        assert is_untouched(database)
    said = run_job(database.url, folder, "status", **left.settings, ADOPT="auto")
    assert (said.code, f"`up` would end with {code}" in said.stdout) == (0, True)
    said = run_job(database.url, folder, **left.settings, ADOPT="auto")
    assert left.versions[0] in said.stdout


def test_what_a_high_water_mark_cannot_say_is_named(database: Database, tmp_path: Path) -> None:
    left = LEFT["golang-migrate"]
    database.query(left.sql)
    done = run_job(database.url, left.lay(tmp_path / "m"), **left.settings, ADOPT="auto")
    [warning] = done.of("plan.warning")
    assert "its newest version alone: all 2 files up to it count as applied" in warning["problem"]


def test_what_was_passed_over_is_named_and_stops_the_run(
    database: Database, tmp_path: Path
) -> None:
    left = LEFT["dbmate"]
    database.query(left.sql.replace(f"('{'20240101000000'}'), ", ""))
    folder = left.lay(tmp_path / "m")
    done = run_job(database.url, folder, **left.settings, ADOPT="dbmate")
    assert done.code == 13, done.stderr
    assert any("never this one" in warning["problem"] for warning in done.of("plan.warning"))
    assert kept(database, left) == [(left.versions[1], "adopted")]


def test_two_tools_are_not_guessed(database: Database, tmp_path: Path) -> None:
    left = LEFT["prisma"]
    database.query(left.sql + LEFT["goose"].history)
    folder = left.lay(tmp_path / "m")
    done = run_job(database.url, folder, ADOPT="auto")
    assert (done.code, "several tools have left a history" in done.stderr) == (2, True)
    assert is_untouched(database)
    assert run_job(database.url, folder, ADOPT="prisma").code == 0


def test_the_history_of_another_service_is_not_taken_for_that_of_these_files(
    database: Database, tmp_path: Path
) -> None:
    """Both count from 1, and goose keeps no more than numbers."""
    database.query(LEFT["goose"].sql)
    folder = lay_out(tmp_path / "m", {"001_mine.sql": "CREATE TABLE mine ();\n"})
    done = run_job(database.url, folder, ADOPT="auto")
    assert (done.code, "the folder is read as native" in done.stderr) == (2, True)
    assert is_untouched(database)
    assert run_job(database.url, folder, "plan", ADOPT="goose").code == 12


def lay_out(folder: Path, files: dict[str, str]) -> Path:
    folder.mkdir()
    for name, text in files.items():
        (folder / name).write_text(text)
    return folder


def test_a_table_outside_the_search_path_is_named(database: Database, tmp_path: Path) -> None:
    left = LEFT["goose"]
    database.query(f"CREATE SCHEMA app; SET search_path = app; {left.sql}")
    done = run_job(database.url, left.lay(tmp_path / "m"), ADOPT="goose")
    assert done.code == 2
    assert "`adopt --from goose --table app.goose_db_version`" in done.error["remedy"]
    assert is_untouched(database)


@pytest.mark.parametrize("chosen", ["auto", "goose"])
def test_a_database_that_is_not_new_and_has_no_history_is_not_run_over(
    chosen: str, database: Database, tmp_path: Path
) -> None:
    left = LEFT["goose"]
    database.query("CREATE TABLE precious (a int)")
    folder = left.lay(tmp_path / "m")
    done = run_job(database.url, folder, ADOPT=chosen)
    assert (done.code, "it holds public.precious" in done.stderr) == (2, True)
    assert is_untouched(database)
    assert run_job(database.url, folder).code == 0


def test_a_history_that_was_rolled_back_whole_is_not_adopted_again(
    database: Database, tmp_path: Path
) -> None:
    left = LEFT["goose"]
    database.query(left.sql)
    folder = left.lay(tmp_path / "m")
    assert run_job(database.url, folder, ADOPT="auto").code == 0
    back = run_job(database.url, folder, "rollback", "--yes", "--steps", "3")
    assert back.code == 0, back.stderr
    assert database.query("SELECT to_regclass('one')") == [(None,)]
    done = run_job(database.url, folder, ADOPT="auto")
    assert (done.code, done.applied) == (0, list(left.versions)), done.stderr


def test_later_runs_cost_nothing(database: Database, tmp_path: Path) -> None:
    left = LEFT["goose"]
    database.query(left.sql)
    folder = left.lay(tmp_path / "m")
    assert run_job(database.url, folder, ADOPT="auto").code == 0
    plain = run_job(database.url, folder)
    later = run_job(database.url, folder, ADOPT="auto")
    assert later.events == plain.events


def test_of_several_runners_one_adopts(database: Database, tmp_path: Path) -> None:
    left = LEFT["goose"]
    database.query(left.sql)
    folder = left.lay(tmp_path / "m")
    results = [job.result() for job in [Job(database.url, folder, ADOPT="auto") for _ in range(4)]]
    assert [result.code for result in results] == [0] * 4, [r.stderr for r in results]
    assert sum(len(result.of("history.adopted")) for result in results) == 1
    assert sorted(v for result in results for v in result.applied) == [left.versions[2]]


@pytest.mark.parametrize("tool", [tool for tool, left in LEFT.items() if left.lock])
def test_a_tool_at_work_ends_the_run_with_21(tool: str, database: Database, tmp_path: Path) -> None:
    left = LEFT[tool]
    database.query(left.sql)
    folder = left.lay(tmp_path / "m")
    with database.connect().cursor() as cursor:
        cursor.execute("SELECT pg_advisory_lock(%s)", [left.lock])
        done = run_job(database.url, folder, **left.settings, ADOPT="auto")
    assert (done.code, f"{tool} is at work" in done.stderr) == (21, True), done.stderr
    assert database.query(THREE_THERE) == [(False,)]


UNFINISHED = {
    "golang-migrate": "UPDATE schema_migrations SET dirty = true",
    "prisma": "UPDATE _prisma_migrations SET finished_at = NULL WHERE id = '2'",
}


@pytest.mark.parametrize("tool", UNFINISHED)
def test_what_a_tool_at_work_has_not_finished_is_not_called_failed(
    tool: str, database: Database, tmp_path: Path
) -> None:
    left = LEFT[tool]
    database.query(left.sql)
    database.query(UNFINISHED[tool])
    lock = tracker(tool).lock
    assert lock
    key = lock("public", "schema_migrations", database.dbname)
    folder = left.lay(tmp_path / "m")
    with database.connect().cursor() as cursor:
        cursor.execute("SELECT pg_advisory_lock(%s)", [key])
        for command in ("plan", "up"):
            done = run_job(database.url, folder, command, **left.settings, ADOPT=tool)
            assert (done.code, f"{tool} is at work" in done.stderr) == (21, True), done.stderr
    cursor.connection.close()
    until(lambda: run_job(database.url, folder, **left.settings, ADOPT=tool).code == 14)
    assert is_untouched(database)


def test_a_runner_that_is_killed_while_it_waits_to_adopt_leaves_nothing(
    database: Database, tmp_path: Path
) -> None:
    left = LEFT["goose"]
    database.query(left.sql)
    folder = left.lay(tmp_path / "m")
    holder = database.connect()
    with holder.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_lock(%s)", [lock_key("public")])
        job = Job(database.url, folder, ADOPT="auto")
        job.hear("lock.waiting")
        job.end()
    holder.close()
    assert database.query(THREE_THERE) == [(False,)]
    done = run_job(database.url, folder, ADOPT="auto")
    assert (done.code, done.applied) == (0, [left.versions[2]]), done.stderr


def test_a_file_that_came_after_adoption_is_no_part_of_it(
    database: Database, tmp_path: Path
) -> None:
    """What the tool applies later, beside us, is not adopted: the setting is for the first run."""
    left = LEFT["goose"]
    database.query(left.sql)
    folder = left.lay(tmp_path / "m")
    assert run_job(database.url, folder, ADOPT="auto").code == 0
    database.query("INSERT INTO goose_db_version (version_id, is_applied) VALUES (4, true)")
    (folder / "00004_four.sql").write_text("-- +goose Up\nCREATE TABLE four ();\n")
    done = run_job(database.url, folder, ADOPT="auto")
    assert done.applied == ["00004_four"]


def test_a_row_that_says_that_liquibase_is_at_work_is_believed(
    database: Database, tmp_path: Path
) -> None:
    left = LEFT["liquibase"]
    database.query(left.sql)
    database.query("UPDATE databasechangeloglock SET locked = true, lockedby = 'ci-7 (10.0.0.7)'")
    folder = left.lay(tmp_path / "m")
    refused = run_job(database.url, folder, ADOPT="auto")
    assert refused.code == 21
    assert "held by ci-7 (10.0.0.7)" in refused.error["message"]
    assert "`liquibase release-locks`" in refused.error["remedy"]
    database.query("DROP TABLE databasechangeloglock")
    assert run_job(database.url, folder, ADOPT="auto").code == 0


def test_what_liquibase_marked_as_run_is_named_and_what_runs_on_change_runs_again(
    database: Database, tmp_path: Path
) -> None:
    left = LEFT["liquibase"]
    database.query(left.sql)
    database.query("UPDATE databasechangelog SET exectype = 'MARK_RAN' WHERE id = '1'")
    database.query(
        "INSERT INTO databasechangelog (id, author, filename, dateexecuted, orderexecuted, "
        "exectype) VALUES ('v', 'alice', 'db/changelog/views.sql', now(), 5, 'EXECUTED'),"
        " ('none', 'alice', 'db/changelog/views.sql', now(), 6, 'SKIPPED')"
    )
    folder = left.lay(tmp_path / "m")
    (folder / "views.sql").write_text(
        "--liquibase formatted sql\n--changeset alice:v runOnChange:true\n"
        "CREATE OR REPLACE VIEW v AS SELECT 1;\n"
    )
    done = run_job(database.url, folder, "--json", ADOPT="liquibase")
    assert (done.code, done.applied) == (0, [left.versions[2], "R__views:alice:v"]), done.stderr
    said = [line["problem"] for line in done.of("plan.warning")]
    assert any("was marked as run by Liquibase, which never ran it" in one for one in said)


def test_rows_of_liquibase_that_made_nothing_do_not_stop_the_switch(
    database: Database, tmp_path: Path
) -> None:
    left = LEFT["liquibase"]
    database.query(left.sql)
    database.query(
        "INSERT INTO databasechangelog (id, author, filename, dateexecuted, orderexecuted, "
        "exectype, description) VALUES "
        "('2', 'alice', 'db/changelog/sub/002_create-two.sql', now(), 0, 'FAILED', 'sql'),"
        " ('v1', 'alice', 'db/changelog/master.xml', now(), 9, 'EXECUTED', 'tagDatabase')"
    )
    database.query(r"UPDATE databasechangelog SET filename = replace(filename, '/', '\')")
    done = run_job(database.url, left.lay(tmp_path / "m"), ADOPT="liquibase")
    assert (done.code, done.applied) == (0, [left.versions[2]]), done.stderr


@pytest.mark.parametrize("kind", ["baseline", "late in the folder", "late and applied"])
def test_the_hashes_of_atlas_prove_what_ran_whatever_came_late(
    database: Database, tmp_path: Path, kind: str
) -> None:
    left = LEFT["atlas"]
    database.query(left.sql)
    folder = left.lay(tmp_path / "m")
    table = "atlas_schema_revisions.atlas_schema_revisions"
    names, texts = list(ATLAS), list(TEXTS)
    if kind == "baseline":
        database.query(f"DELETE FROM {table} WHERE description = 'one'")
        database.query(
            f"INSERT INTO {table} VALUES "
            "('20240101000000', 'base', 1, 0, 0, now(), 0, NULL, NULL, '', NULL, 'v')"
        )
    else:
        names.insert(1, "20240101120000_late.sql")
        texts.insert(1, "SELECT 1;\n")
        (folder / names[1]).write_text(texts[1])
        (folder / "atlas.sum").write_text(atlas_sum(names, texts))
    if kind == "late and applied":
        hashed = running(names[:2], texts[:2])[1]
        database.query(
            f"INSERT INTO {table} VALUES ('20240101120000', 'late', 2, 1, 1, "
            f"now() + interval '1 h', 1, NULL, NULL, '{hashed}', NULL, 'v')"
        )
    done = run_job(database.url, folder, "--json", ADOPT="atlas", ON_LATE="apply")
    assert (done.code, left.versions[2] in done.applied) == (0, True), done.stderr
    proved = [row["content"] for row in rows(done) if row["state"] == "adopted"]
    assert (
        proved
        == {
            "baseline": ["not provable", "equal"],
            "late in the folder": ["equal", "equal"],
            "late and applied": ["equal", "equal", "equal"],
        }[kind]
    )
