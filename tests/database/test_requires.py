"""`-- migrator: requires`: the order that it makes, runs killed in between, what is refused."""

from __future__ import annotations

import json
import re
from contextlib import closing
from pathlib import Path

import pytest

from tests.builders import write_folder
from tests.conftest import Database, MakePgBouncer
from tests.job import ROOT, Job, run_job, until

NEEDS = "-- migrator: requires "
#: 001 is of use only after 003: the numbers say otherwise.
OUT_OF_ORDER = {
    "001_a.sql": NEEDS + "003_c\nALTER TABLE public.c ADD COLUMN a int;\n",
    "002_b.sql": "CREATE TABLE public.b ();\n",
    "003_c.sql": "CREATE TABLE public.c ();\n",
    "004_d.sql": "CREATE TABLE public.d ();\n",
}
ORDER = ["002_b", "003_c", "001_a", "004_d"]
APPLIED = "SELECT version FROM schema_migrations_log WHERE event = 'applied' ORDER BY id"
GATE = "SELECT pg_advisory_xact_lock_shared(42);\n"
AT_THE_GATE = """SELECT a.pid FROM pg_locks AS l JOIN pg_stat_activity AS a USING (pid)
 WHERE NOT l.granted AND l.locktype = 'advisory' AND a.query LIKE %s"""


def in_order(database: Database) -> list[str]:
    return [version for (version,) in database.query(APPLIED)]


def test_a_file_waits_for_the_higher_number_that_it_requires(
    database: Database, tmp_path: Path
) -> None:
    folder = write_folder(tmp_path, OUT_OF_ORDER)
    answer = json.loads(run_job(database.url, folder, "plan", "--json").stdout)
    assert [entry["version"] for entry in answer["would_apply"]] == ORDER
    assert answer["pending"] == ORDER
    result = run_job(database.url, folder)
    assert (result.code, result.applied, result.report["current"]) == (0, ORDER, "004_d")
    assert [line["version"] for line in result.of("migration.started")] == ORDER
    assert run_job(database.url, folder, "verify").code == 0


@pytest.mark.parametrize("victim", ORDER)
def test_a_run_that_was_killed_in_between_makes_nothing_late(
    database: Database, tmp_path: Path, victim: str
) -> None:
    files = {**OUT_OF_ORDER, f"{victim}.sql": OUT_OF_ORDER[f"{victim}.sql"] + GATE}
    folder = write_folder(tmp_path, files)
    with closing(database.connect()) as gate:
        gate.cursor().execute("SELECT pg_advisory_lock(42)")
        job = Job(database.url, folder)
        ((pid,),) = until(lambda: database.query(AT_THE_GATE, f"%migrator {victim},%"))
        job.process.kill()
        job.result()
        database.query("SELECT pg_terminate_backend(%s, 10000)", pid)
    done = ORDER[: ORDER.index(victim)]
    assert in_order(database) == done
    left = [version for version in ORDER if version not in done]
    rows = json.loads(run_job(database.url, folder, "status", "--json").stdout)["migrations"]
    assert {r["version"]: r["state"] for r in rows} == {
        version: "applied" if version in done else "pending" for version in ORDER
    }
    assert run_job(database.url, folder, "verify").code == 24
    result = run_job(database.url, folder)
    assert (result.code, result.applied) == (0, left)
    assert in_order(database) == ORDER


def test_what_waited_by_way_of_an_applied_file_is_not_late(
    database: Database, tmp_path: Path
) -> None:
    """001 waits for 002, which waited for 004: what 002 requires is read, though it is applied."""
    files = {
        "001_a.sql": NEEDS + "002_b\nSELECT 1/0;\n",
        "002_b.sql": NEEDS + "004_d\nSELECT 2;\n",
        "003_c.sql": "SELECT 3;\n",
        "004_d.sql": "SELECT 4;\n",
        "005_e.sql": "SELECT 5;\n",
    }
    folder = write_folder(tmp_path, files)
    result = run_job(database.url, folder)
    assert (result.code, result.applied) == (15, ["003_c", "004_d", "002_b"])
    write_folder(folder, {"001_a.sql": NEEDS + "002_b\nSELECT 1;\n"})
    assert run_job(database.url, folder).applied == ["001_a", "005_e"]


def test_a_file_that_is_late_by_more_than_it_waited_for_is_late(
    database: Database, tmp_path: Path
) -> None:
    later = {name: text for name, text in OUT_OF_ORDER.items() if not name.startswith("001")}
    folder = write_folder(tmp_path, later)
    assert run_job(database.url, folder).code == 0
    write_folder(folder, OUT_OF_ORDER)
    result = run_job(database.url, folder)
    assert (result.code, [f["file"] for f in result.report["findings"]]) == (13, ["001_a.sql"])
    assert run_job(database.url, folder, ON_LATE="apply").applied == ["001_a"]


def test_a_file_may_be_put_behind_the_newest_applied_by_requiring_it(
    database: Database, tmp_path: Path
) -> None:
    folder = write_folder(tmp_path, {"003_c.sql": OUT_OF_ORDER["003_c.sql"]})
    assert run_job(database.url, folder).code == 0
    write_folder(folder, {"001_a.sql": OUT_OF_ORDER["001_a.sql"]})
    assert run_job(database.url, folder).applied == ["001_a"]


def test_the_history_satisfies_a_requirement_without_a_file(
    database: Database, tmp_path: Path
) -> None:
    folder = write_folder(tmp_path, {"001_a.sql": "SELECT 1", "002_b.sql": "SELECT 2"})
    assert run_job(database.url, folder).code == 0
    (folder / "001_a.sql").unlink()
    write_folder(folder, {"003_c.sql": NEEDS + "001_a\nSELECT 3"})
    assert run_job(database.url, folder, ON_MISSING="warn").applied == ["003_c"]


def test_repeatables_run_in_the_order_that_they_need(database: Database, tmp_path: Path) -> None:
    files = {
        "001_a.sql": "SELECT 1",
        "R__a.sql": NEEDS + "R__c 001_a\nCREATE OR REPLACE VIEW a AS SELECT * FROM c",
        "R__b.sql": "SELECT 1",
        "R__c.sql": "CREATE OR REPLACE VIEW c AS SELECT 1 AS n",
    }
    folder = write_folder(tmp_path, files)
    assert run_job(database.url, folder).applied == ["001_a", "R__b", "R__c", "R__a"]
    changed = {**files, "R__a.sql": files["R__a.sql"] + "\n"}
    assert run_job(database.url, write_folder(folder, changed)).applied == ["R__a"]


def test_all_that_cannot_be_had_is_listed_before_anything_runs(
    database: Database, tmp_path: Path
) -> None:
    files = {
        "001_a.sql": NEEDS + "003_c\nSELECT 1;\n",
        "002_b.sql": NEEDS + "\n" + NEEDS + "009_x 004\nVACUUM; SELECT 2;\n",
        "003_c.sql": "SELECT 1;\n" + "-- migrator: no-such\n",
        "004_d.sql": NEEDS + "R__r\n" + NEEDS + "001_a 001_a\nSELECT 4;\n",
        "R__r.sql": NEEDS + "R__s\nSELECT 5;\n",
        "R__s.sql": NEEDS + "R__r\nSELECT 6;\n",
    }
    result = run_job(database.url, write_folder(tmp_path, files))
    assert result.code == 10
    found = {(f["file"], f["line"], f["problem"]) for f in result.report["findings"]}
    nowhere = "which is neither in the folder nor applied"
    assert found == {
        ("002_b.sql", 1, "the directive requires names no version"),
        ("002_b.sql", 3, "VACUUM cannot run inside a transaction"),
        ("002_b.sql", 2, f"requires 009_x, {nowhere}"),
        ("002_b.sql", 2, f"requires 004, {nowhere}"),
        ("003_c.sql", 2, '"no-such" is not a directive'),
        ("004_d.sql", 1, "requires R__r, but repeatables run after all versioned migrations"),
        ("R__r.sql", 1, "requires itself: R__r -> R__s -> R__r"),
    }
    assert database.query("SELECT to_regclass('schema_migrations')") == [(None,)]
    for command in ("plan", "verify"):
        assert run_job(database.url, tmp_path, command).code == 10, command


def test_a_cycle_is_printed(database: Database, tmp_path: Path) -> None:
    files = {**OUT_OF_ORDER, "003_c.sql": "\n" + NEEDS + "001_a\nSELECT 3;\n"}
    result = run_job(database.url, write_folder(tmp_path, files))
    assert result.code == 10
    (finding,) = result.report["findings"]
    assert finding["problem"] == "requires itself: 001_a -> 003_c -> 001_a"
    assert finding["remedy"]


def test_what_on_late_leaves_out_cannot_be_required(database: Database, tmp_path: Path) -> None:
    folder = write_folder(tmp_path, {"002_b.sql": "SELECT 2"})
    assert run_job(database.url, folder).code == 0
    write_folder(folder, {"001_a.sql": "SELECT 1", "003_c.sql": NEEDS + "001_a\nSELECT 3"})
    result = run_job(database.url, folder, ON_LATE="skip")
    assert (result.code, result.applied) == (10, [])
    (problem,) = [f["problem"] for f in result.report["findings"] if f["file"] == "003_c.sql"]
    assert problem == "requires 001_a, which is late and skipped by ON_LATE=skip"
    assert run_job(database.url, folder).code == 13
    assert run_job(database.url, folder, ON_LATE="apply").applied == ["001_a", "003_c"]


def test_runners_agree_on_the_order(
    database: Database, pgbouncer: MakePgBouncer, tmp_path: Path
) -> None:
    pooler = pgbouncer(database, pool_mode="transaction", pool_size=2)
    folder = write_folder(tmp_path, OUT_OF_ORDER)
    results = [job.result() for job in [Job(pooler.url(database.dbname), folder) for _ in range(4)]]
    assert [result.code for result in results] == [0] * 4, [r.stderr[-600:] for r in results]
    assert in_order(database) == ORDER


def test_a_no_transaction_file_is_waited_for_too(database: Database, tmp_path: Path) -> None:
    files = {
        "001_a.sql": NEEDS + "002_b\nSELECT 1",
        "002_b.sql": f"{NEEDS}003_c\n-- migrator: no-transaction\n"
        "CREATE INDEX CONCURRENTLY i ON c (n)",
        "003_c.sql": "CREATE TABLE c (n int)",
    }
    result = run_job(database.url, write_folder(tmp_path, files))
    assert (result.code, result.applied) == (0, ["003_c", "002_b", "001_a"]), result.stderr


def test_the_graph_of_the_page_is_what_the_job_prints(database: Database, tmp_path: Path) -> None:
    page = (ROOT / "docs" / "files.md").read_text()
    shown = re.search(r"```mermaid\n(.*?)```", page, re.DOTALL)
    assert shown
    folder = write_folder(
        tmp_path, {file.name: file.read_bytes() for file in (ROOT / "migrations").glob("*.sql")}
    )
    assert run_job(database.url, folder).code == 0
    examples = {
        "004_add_orders.sql": NEEDS + "001_initial_schema 005_add_customers\nSELECT 4;\n",
        "005_add_customers.sql": "SELECT 5;\n",
        "R__order_totals.sql": NEEDS + "004_add_orders\nSELECT 6;\n",
    }
    write_folder(folder, examples)
    assert run_job(database.url, folder, "plan", "--graph").stdout == shown[1]
    answer = json.loads(run_job(database.url, folder, "plan", "--graph", "--json").stdout)
    assert answer["graph"] == shown[1]
    assert [entry["version"] for entry in answer["would_apply"]] == [
        "005_add_customers",
        "004_add_orders",
        "R__order_totals",
    ]
    assert "graph" not in json.loads(run_job(database.url, folder, "plan", "--json").stdout)
