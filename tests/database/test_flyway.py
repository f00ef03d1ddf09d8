"""Flyway's folders beyond the first run: repeatables, baselines, and every refusal of ours."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import Database
from tests.database.test_formats import lay
from tests.job import run_job

VIEW = "CREATE OR REPLACE VIEW v AS SELECT {} AS a;\n"
FOLDER = {
    "V1__one.sql": "CREATE TABLE one (a int);",
    "U1__one.sql": "DROP TABLE one;",
    "V1.2__two.sql": "-- migrator: floor\nCREATE TABLE two (a int);",
    "V1.10__ten.sql": "CREATE TABLE ten (a int);",
    "U1.10__ten.sql": "DROP TABLE ten;",
    "R__a view.sql": VIEW.format(1),
}
VERSIONS = ["V1__one", "V1.2__two", "V1.10__ten"]


def test_a_repeatable_runs_last_and_again_when_it_changed(
    database: Database, tmp_path: Path
) -> None:
    folder = lay(tmp_path / "m", FOLDER)
    assert run_job(database.url, folder).applied == [*VERSIONS, "R__a_view"]
    assert run_job(database.url, folder).applied == []
    lay(folder, {"R__a view.sql": VIEW.format(2)})
    assert run_job(database.url, folder).applied == ["R__a_view"]
    assert database.query("SELECT a FROM v") == [(2,)]


def test_drift_late_missing_and_repair_are_as_for_any_folder(
    database: Database, tmp_path: Path
) -> None:
    folder = lay(tmp_path / "m", FOLDER)
    assert run_job(database.url, folder).code == 0
    lay(folder, {"V1__one.sql": "CREATE TABLE one (a int, b int);"})
    assert run_job(database.url, folder).code == 11
    words = ("repair", "--accept-checksum", "1", "--reason", "because")
    assert run_job(database.url, folder, *words).code == 0
    lay(folder, {"V1.3__late.sql": "CREATE TABLE late (a int);"})
    late = run_job(database.url, folder)
    assert (late.code, [f["file"] for f in late.report["findings"]]) == (13, ["V1.3__late.sql"])
    assert run_job(database.url, folder, ON_LATE="apply").applied == ["V1.3__late"]
    (folder / "V1__one.sql").rename(folder / "V1__first.sql")
    missing = run_job(database.url, folder)
    assert missing.code == 12
    renamed = ("repair", "--rename", "V1__one", "V1__first", "--reason", "because")
    assert run_job(database.url, folder, *renamed).code == 0
    assert run_job(database.url, folder, "verify").code == 0


def test_an_image_below_a_floor_is_too_old(database: Database, tmp_path: Path) -> None:
    folder = lay(tmp_path / "m", FOLDER)
    assert run_job(database.url, folder).code == 0
    (folder / "V1.2__two.sql").unlink()
    old = run_job(database.url, folder, ON_MISSING="warn")
    assert (old.code, "V1.2__two" in old.error["message"]) == (12, True)


def test_an_undo_is_that_of_the_version(database: Database, tmp_path: Path) -> None:
    folder = lay(tmp_path / "m", FOLDER)
    assert run_job(database.url, folder).code == 0
    back = run_job(database.url, folder, "rollback", "--yes", "--to", "1.2")
    assert [done["version"] for done in back.report["rolled_back"]] == ["V1.10__ten"]
    assert database.query("SELECT to_regclass('ten')") == [(None,)]
    none = run_job(database.url, folder, "rollback", "--yes", "--to", "1")
    assert (none.code, none.report["rolled_back"]) == (12, [])
    [finding] = none.report["findings"]
    assert (finding["file"], "as flyway has it" in finding["remedy"]) == ("V1.2__two.sql", True)


BASED = {**FOLDER, "B1.2__all.sql": "CREATE TABLE based (a int);"}


def test_a_new_database_begins_with_the_baseline(database: Database, tmp_path: Path) -> None:
    folder = lay(tmp_path / "m", BASED)
    assert run_job(database.url, folder).applied == ["B1.2__all", "V1.10__ten", "R__a_view"]
    assert run_job(database.url, folder, "verify").code == 0
    lay(folder, {"B1.10__more.sql": "SELECT 1/0;", "V1.11__next.sql": "SELECT 1;"})
    assert run_job(database.url, folder).applied == ["V1.11__next"]
    for file in ("V1__one.sql", "U1__one.sql", "V1.2__two.sql"):
        (folder / file).unlink()
    assert run_job(database.url, folder, "verify").code == 0


def test_a_database_with_a_history_passes_the_baseline_over(
    database: Database, tmp_path: Path
) -> None:
    folder = lay(tmp_path / "m", FOLDER)
    assert run_job(database.url, folder).code == 0
    lay(folder, BASED)
    assert run_job(database.url, folder, "verify").code == 0
    shown = run_job(database.url, folder, "status", "--json")
    assert "B1.2__all" not in shown.stdout


@pytest.mark.parametrize(
    ("files", "file", "line"),
    [
        pytest.param({"V2__x.sql": "-- ${name}\n"}, "V2__x.sql", 1, id="a placeholder"),
        pytest.param(
            {"V2__x.sql": "SELECT 1;", "U2__x.sql": "\nSELECT '${name}';"},
            "U2__x.sql",
            2,
            id="a placeholder in an undo",
        ),
        pytest.param({"sub/V2_x.sql": "SELECT 1;"}, "sub/V2_x.sql", None, id="a name"),
        pytest.param({"R__x.sql": "VACUUM;"}, "R__x.sql", 1, id="a repeatable on its own"),
        pytest.param(
            {"V2__x.sql": "SELECT 1;\nVACUUM;"}, "V2__x.sql", 2, id="mixed, as Flyway refuses it"
        ),
    ],
)
def test_what_would_run_otherwise_is_refused(
    files: dict[str, str], file: str, line: int | None, database: Database, tmp_path: Path
) -> None:
    done = run_job(database.url, lay(tmp_path / "m", {**FOLDER, **files}))
    assert (done.code, done.report["applied"]) == (10, [])
    assert [(f["file"], f["line"]) for f in done.report["findings"]] == [(file, line)]


def test_placeholders_may_be_switched_off(database: Database, tmp_path: Path) -> None:
    files = {"V2__x.sql": "SELECT '${x}';", "V2__x.sql.conf": "placeholderReplacement=false"}
    assert run_job(database.url, lay(tmp_path / "m", {**FOLDER, **files})).code == 0


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("V1.9__a.sql", "V1.10__add_three.sql"),
        ("V007__a.sql", "V008__add_three.sql"),
        ("V1_0_9__a.sql", "V1_0_10__add_three.sql"),
    ],
)
def test_new_counts_on_in_the_last_part(
    before: str, after: str, database: Database, tmp_path: Path
) -> None:
    folder = lay(tmp_path / "m", {before: "SELECT 1;"})
    made = run_job(database.url, folder, "new", "add_three")
    assert Path(made.stdout.strip()).name == after
    made = run_job(database.url, folder, "new", "totals", "--repeatable")
    assert Path(made.stdout.strip()).name == "R__totals.sql"


def test_new_begins_an_empty_folder_of_flyways(database: Database, tmp_path: Path) -> None:
    made = run_job(database.url, tmp_path / "m", "new", "first", FOLDER_FORMAT="flyway")
    assert Path(made.stdout.strip()).name == "V1__first.sql"
