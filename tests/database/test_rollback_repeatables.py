"""The way back with repeatables: what an undo took along is made again, and nothing is lost."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.builders import write_folder
from tests.conftest import Database
from tests.job import Result, run_job

TABLE = {
    "001_t.sql": "CREATE TABLE t (id int);\n",
    "001_t.down.sql": "DROP TABLE t CASCADE;\n",
}
VIEW = {"R__v.sql": "CREATE OR REPLACE VIEW v AS SELECT id FROM t;\n"}


def views(database: Database) -> list[str]:
    found = database.query("SELECT viewname FROM pg_views WHERE schemaname = 'public' ORDER BY 1")
    return [name for (name,) in found]


def recorded(database: Database) -> list[str]:
    return [v for (v,) in database.query("SELECT version FROM schema_migrations ORDER BY 1")]


def warned(result: Result) -> list[str]:
    return [line["file"] for line in result.of("plan.warning")]


def test_a_view_that_an_undo_took_along_is_made_again(database: Database, tmp_path: Path) -> None:
    folder = write_folder(tmp_path, TABLE | VIEW)
    assert run_job(database.url, folder).code == 0
    result = run_job(database.url, folder, "rollback")
    assert (result.code, views(database), recorded(database)) == (0, [], [])
    assert result.report["pending"] == ["001_t", "R__v"]
    assert warned(result) == ["R__v.sql"]
    (forgotten,) = result.of("repeatable.forgotten")
    assert (forgotten["version"], forgotten["undone"]) == ("R__v", "001_t")
    assert run_job(database.url, folder, "status", "--json").report["pending"] == ["001_t", "R__v"]
    assert run_job(database.url, folder, "verify").code == 24
    again = run_job(database.url, folder)
    assert (again.code, again.applied, views(database)) == (0, ["001_t", "R__v"], ["v"])


STAYS = {
    "001_t.sql": "CREATE TABLE t (id int);\n",
    "001_t.down.sql": "DROP TABLE t;\n",
    "R__a.sql": 'CREATE OR REPLACE VIEW public."A v" AS SELECT id FROM t;\n',
    "R__b.sql": 'CREATE OR REPLACE VIEW b AS SELECT id FROM "A v";\n',
}


def test_an_undo_that_a_view_is_in_the_way_of_names_its_repeatable(
    database: Database, tmp_path: Path
) -> None:
    folder = write_folder(tmp_path, STAYS)
    assert run_job(database.url, folder).code == 0
    result = run_job(database.url, folder, "rollback")
    assert (result.code, result.error["sqlstate"]) == (15, "2BP01")
    assert "hint" not in result.error
    remedy = result.error["remedy"]
    assert remedy.startswith("R__a.sql and R__b.sql made what depends on it.")
    assert recorded(database) == ["001_t", "R__a", "R__b"]
    typed = remedy.split("`")[1]
    assert typed == 'DROP VIEW IF EXISTS b; DROP VIEW IF EXISTS public."A v";'
    database.query(typed)
    assert run_job(database.url, folder, "rollback").code == 0
    assert recorded(database) == []
    again = run_job(database.url, folder)
    assert (again.code, views(database)) == (0, ["A v", "b"])


def test_what_is_no_repeatables_is_left_to_postgresql(database: Database, tmp_path: Path) -> None:
    folder = write_folder(tmp_path, {**TABLE, "001_t.down.sql": "DROP TABLE t;\n", **VIEW})
    (folder / "R__v.sql").write_text("SELECT 1;\n")
    assert run_job(database.url, folder).code == 0
    database.query("CREATE VIEW v AS SELECT id FROM t")
    result = run_job(database.url, folder, "rollback")
    assert "CASCADE" in result.error["hint"]
    assert "stored" in result.error["remedy"]


def test_a_view_that_outlives_the_undo_is_run_again_too(database: Database, tmp_path: Path) -> None:
    """What it should be now that 002 is gone, nobody knows but its file."""
    files = {
        **TABLE,
        "002_n.sql": "ALTER TABLE t ADD COLUMN n int;\n",
        "002_n.down.sql": "ALTER TABLE t DROP COLUMN n;\n",
        **VIEW,
        "R__f.sql": "CREATE OR REPLACE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1';\n",
    }
    folder = write_folder(tmp_path, files)
    assert run_job(database.url, folder).code == 0
    write_folder(folder, {"003_s.sql": "SELECT 1;\n", "003_s.down.sql": "SELECT 1;\n"})
    assert run_job(database.url, folder).code == 0
    only_3 = run_job(database.url, folder, "rollback")
    assert (only_3.code, only_3.of("repeatable.forgotten"), warned(only_3)) == (0, [], [])
    result = run_job(database.url, folder, "rollback", "--steps", "1")
    assert (result.code, recorded(database), views(database)) == (0, ["001_t"], ["v"])
    assert [line["version"] for line in result.of("repeatable.forgotten")] == ["R__f", "R__v"]
    assert run_job(database.url, folder).applied == ["002_n", "003_s", "R__f", "R__v"]


def test_one_that_requires_what_is_undone_goes_along_and_blocks_nothing(
    database: Database, tmp_path: Path
) -> None:
    needs = {"R__v.sql": f"-- migrator: requires 001_t\n{VIEW['R__v.sql']}"}
    folder = write_folder(tmp_path, TABLE | needs)
    assert run_job(database.url, folder).code == 0
    database.query("UPDATE schema_migrations SET applied_at = '2020-01-01' WHERE version = 'R__v'")
    shown = run_job(database.url, folder, "rollback", "--plan", "--steps", "1", "--json")
    assert json.loads(shown.stdout)["would_undo"][0]["pending_again"] == ["R__v"]
    assert shown.of("plan.warning")[0]["problem"].startswith("requires 001_t, and is pending again")
    result = run_job(database.url, folder, "rollback", "--steps", "1")
    assert (result.code, recorded(database)) == (0, [])


def test_the_plan_says_that_wait_will_wait(database: Database, tmp_path: Path) -> None:
    folder = write_folder(tmp_path, TABLE | VIEW)
    assert run_job(database.url, folder).code == 0
    shown = run_job(database.url, folder, "rollback", "--plan")
    assert "then pending again, until the next `up`: R__v\n" in shown.stdout
    assert "`wait` of an image that holds it waits" in shown.of("plan.warning")[0]["problem"]
    assert recorded(database) == ["001_t", "R__v"]
    assert run_job(database.url, folder, "wait", WAIT_TIMEOUT="1s").code == 0
    assert run_job(database.url, folder, "rollback").code == 0
    assert run_job(database.url, folder, "wait", WAIT_TIMEOUT="1s").code == 24


def test_the_log_keeps_what_the_row_held(database: Database, tmp_path: Path) -> None:
    folder = write_folder(tmp_path, TABLE | VIEW)
    assert run_job(database.url, folder).code == 0
    ((checksum, applied_by),) = database.query(
        "SELECT checksum, run_id::text FROM schema_migrations WHERE version = 'R__v'"
    )
    result = run_job(database.url, folder, "rollback")
    lines = database.query(
        "SELECT version, run_id::text, detail FROM schema_migrations_log WHERE event = 'forgotten'"
    )
    ((version, run_id, detail),) = lines
    assert (version, run_id, detail["undone"]) == ("R__v", result.report["run_id"], "001_t")
    assert (detail["checksum"], detail["applied_by"]) == (checksum, applied_by)


def test_an_undo_outside_a_transaction_forgets_them_too(database: Database, tmp_path: Path) -> None:
    alone = {"001_t.down.sql": f"-- migrator: no-transaction\n{TABLE['001_t.down.sql']}"}
    folder = write_folder(tmp_path, TABLE | VIEW | alone)
    assert run_job(database.url, folder).code == 0
    result = run_job(database.url, folder, "rollback")
    assert (result.code, recorded(database)) == (0, []), result.stderr
    assert [line["version"] for line in result.of("repeatable.forgotten")] == ["R__v"]
    assert run_job(database.url, folder).applied == ["001_t", "R__v"]
    assert views(database) == ["v"]


def test_an_older_image_leaves_the_newer_ones_to_it(database: Database, tmp_path: Path) -> None:
    """Its rollback forgets what it has no file for; while it is behind, its own are held."""
    more = {"002_n.sql": "SELECT 1;\n", "002_n.down.sql": "SELECT 1;\n"}
    newest = {"003_o.sql": "SELECT 1;\n", "003_o.down.sql": "SELECT 1;\n"}
    new = write_folder(tmp_path / "new", TABLE | VIEW | more | newest)
    old = write_folder(tmp_path / "old", TABLE | {"R__w.sql": "SELECT 1;\n"})
    assert run_job(database.url, old).code == 0
    assert run_job(database.url, new).code == 0
    result = run_job(database.url, old, "rollback", "--steps", "1")
    assert (result.code, recorded(database)) == (0, ["001_t", "002_n", "R__w"])
    assert result.report["pending"] == []
    result = run_job(database.url, old, "rollback", "--steps", "1")
    assert (result.code, result.report["pending"]) == (0, [])
    assert run_job(database.url, new).applied == ["002_n", "003_o", "R__v"]


@pytest.mark.parametrize("given_up", [False, True])
def test_what_a_person_took_back_by_hand_has_them_run_again(
    database: Database, tmp_path: Path, given_up: bool
) -> None:
    stops = "-- migrator: no-transaction\nDROP TABLE t CASCADE;\nSELECT 1/0;\n"
    folder = write_folder(tmp_path, TABLE | VIEW | {"001_t.down.sql": stops})
    assert run_job(database.url, folder).code == 0
    if given_up:
        assert run_job(database.url, folder, "rollback").code == 15
        database.query("CREATE TABLE t (id int)")
        answer = "--applied"
    else:
        database.query("DROP TABLE t CASCADE")
        answer = "--not-applied"
    result = run_job(database.url, folder, "repair", answer, "001_t", "--reason", "seen")
    assert result.code == 0, result.stderr
    assert "the next `up` also runs R__v again" in " ".join(result.stdout.split())
    again = run_job(database.url, folder)
    assert (again.code, views(database)) == (0, ["v"])
    assert again.applied == (["R__v"] if given_up else ["001_t", "R__v"])
