"""Liquibase's formatted SQL beyond the first run: changesets one by one, and every refusal."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import Database
from tests.database.test_formats import lay
from tests.job import run_job

HEADER = "--liquibase formatted sql\n"
ONE = "--changeset a:1\nCREATE TABLE one (a int);\n--rollback DROP TABLE one;\n"
VIEW = "--changeset a:v runOnChange:true\nCREATE OR REPLACE VIEW v AS SELECT {} AS a FROM one;\n"
USES = "--changeset a:3\n-- migrator: floor\nCREATE TABLE uses AS SELECT * FROM v;\n"
LAST = "--changeset b:1\nCREATE TABLE last (a int);\n--rollback DROP TABLE last;\n"


def folder_of(path: Path, first: str, second: str = LAST) -> Path:
    return lay(path, {"a/one.sql": HEADER + first, "b.sql": HEADER + second})


FIRST = ONE + VIEW.format(1) + USES
VERSIONS = ["a/one:a:1", "R__a/one:a:v", "a/one:a:3", "b:b:1"]


def test_changesets_run_in_their_order_and_one_again_that_changed(
    database: Database, tmp_path: Path
) -> None:
    folder = folder_of(tmp_path / "m", FIRST)
    assert run_job(database.url, folder).applied == VERSIONS
    assert run_job(database.url, folder).applied == []
    folder_of(folder, ONE + VIEW.format(2) + USES)
    assert run_job(database.url, folder).applied == ["R__a/one:a:v"]
    assert run_job(database.url, folder, "verify").code == 0


def test_a_later_changeset_is_pending_and_one_in_between_is_late(
    database: Database, tmp_path: Path
) -> None:
    folder = folder_of(tmp_path / "m", FIRST)
    assert run_job(database.url, folder).code == 0
    more = "--changeset b:0\nSELECT 1;\n"
    folder_of(folder, FIRST, LAST + more)
    assert run_job(database.url, folder).applied == ["b:b:0"]
    folder_of(folder, FIRST + "--changeset a:9\nSELECT 9;\n", LAST + more)
    late = run_job(database.url, folder)
    assert (late.code, "a/one:a:9" in late.error["message"] + late.stderr) == (13, True)
    assert run_job(database.url, folder, ON_LATE="apply").applied == ["a/one:a:9"]
    assert run_job(database.url, folder, "verify").code == 0


def test_drift_is_that_of_one_changeset(database: Database, tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "m", FIRST)
    assert run_job(database.url, folder).code == 0
    folder_of(folder, FIRST.replace("one (a int)", "one (a int, b int)"))
    changed = run_job(database.url, folder)
    assert changed.code == 11
    [finding] = changed.report["findings"]
    assert "a/one:a:1" in finding["remedy"]
    words = ("repair", "--accept-checksum", "a/one:a:1", "--reason", "because")
    assert run_job(database.url, folder, *words).code == 0
    assert run_job(database.url, folder, "verify").code == 0


def test_a_changeset_that_is_gone_is_missing_or_ahead(database: Database, tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "m", FIRST, LAST + "--changeset b:2\nSELECT 2;\n")
    assert run_job(database.url, folder).code == 0
    folder_of(folder, FIRST)
    assert run_job(database.url, folder).code == 0  # an image that was rolled back
    folder_of(folder, ONE + VIEW.format(1))
    assert (run_job(database.url, folder, ON_MISSING="warn").code) == 12  # it was a floor


def test_a_rollback_undoes_changesets(database: Database, tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "m", FIRST)
    assert run_job(database.url, folder).code == 0
    back = run_job(database.url, folder, "rollback", "--yes", "--to", "a/one:a:3")
    assert [done["version"] for done in back.report["rolled_back"]] == ["b:b:1"]
    assert database.query("SELECT to_regclass('last')") == [(None,)]
    none = run_job(database.url, folder, "rollback", "--yes", "--to", "a/one:a:1")
    assert (none.code, none.report["rolled_back"]) == (12, [])


def test_a_refused_statement_has_the_line_of_the_file(database: Database, tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "m", ONE, LAST + "\n--changeset b:2\n\nSELECT oops;\n")
    done = run_job(database.url, folder)
    assert (done.code, done.applied) == (15, ["a/one:a:1", "b:b:1"])
    assert (done.error["line"], done.error["column"]) == (8, 8)
    assert "b.sql" in done.error["message"]


@pytest.mark.parametrize(
    ("files", "file", "line"),
    [
        ({"c.sql": "SELECT 1;"}, "c.sql", 1),
        ({"c.sql": HEADER + "--changeset c:1 context:test\nSELECT 1;"}, "c.sql", 2),
        ({"c.sql": HEADER + "--changeset c:1\nSELECT '${x}';"}, "c.sql", 3),
        (
            {"changelog.yaml": "databaseChangeLog:\n- include:\n    file: b.sql\n"},
            "changelog.yaml",
            None,
        ),
        ({"a one.sql": HEADER + LAST, "a_one.sql": HEADER + LAST}, "a_one.sql", None),
        (
            {
                "c.sql": HEADER
                + "--changeset c:1 runOnChange:true runInTransaction:false\nSELECT 1;"
            },
            "c.sql",
            2,
        ),
    ],
)
def test_what_would_run_otherwise_is_refused(
    files: dict[str, str], file: str, line: int | None, database: Database, tmp_path: Path
) -> None:
    done = run_job(database.url, lay(folder_of(tmp_path / "m", FIRST), files))
    assert (done.code, done.report["applied"]) == (10, [])
    assert [(f["file"], f["line"]) for f in done.report["findings"]] == [(file, line)]


def test_new_writes_a_file_only_where_files_have_numbers(
    database: Database, tmp_path: Path
) -> None:
    made = run_job(database.url, folder_of(tmp_path / "m", FIRST), "new", "more")
    assert (made.code, "have no numbers" in made.stderr) == (2, True)


def test_a_rehearsal_compares_with_what_the_last_changeset_made(
    database: Database, tmp_path: Path
) -> None:
    folder = folder_of(tmp_path / "m", ONE + VIEW.format(1).replace(" FROM one", ""))
    done = run_job(None, folder, "rehearse", SHADOW_DATABASE_URL=database.url)
    assert done.code == 0, done.stderr
