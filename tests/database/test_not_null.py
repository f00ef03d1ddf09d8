"""NOT NULL as PostgreSQL 18 has it, a constraint with a name that may be NOT VALID, as a proof."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest

from migrator.scratch.snapshot import Snapshot, differences
from tests.builders import write_folder
from tests.catalog import read_catalog
from tests.conftest import Database
from tests.job import run_job

NEW = ("not null not valid", "not null no inherit", "not null not enforced", "not null name")


def seen(database: Database, *sql: str) -> Snapshot:
    with closing(database.connect()) as session:
        for text in sql:
            with session.cursor() as cursor:
                cursor.execute(text)
        return read_catalog(session)


@pytest.fixture
def newest(database: Database) -> Database:
    if database.query("SHOW server_version_num") < [("180000",)]:
        pytest.skip("NOT NULL is a constraint of its own from PostgreSQL 18 on")
    return database


def test_what_a_server_names_itself_is_the_same_on_every_version(database: Database) -> None:
    sql = (
        "CREATE TABLE t (id int PRIMARY KEY, a text NOT NULL, b int)",
        "CREATE TABLE u (LIKE t) PARTITION BY RANGE (id)",
        "CREATE TABLE u1 PARTITION OF u FOR VALUES FROM (1) TO (2)",
        "ALTER TABLE t RENAME TO renamed",
        "CREATE DOMAIN d AS int NOT NULL",
    )
    items = seen(database, *sql).values()
    facts = [item.facts for item in items if item.kind in {"column", "domain"}]
    assert len(facts) == 10
    assert {fact.get(word) for fact in facts for word in NEW} == {None}
    assert sum(bool(fact["not null"]) for fact in facts) == 7


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            "ALTER TABLE t ADD CONSTRAINT n NOT NULL a NOT VALID",
            "column public.t.a differs: not null no before, yes now; "
            "not null name none before, n now; not null not valid none before, yes now",
        ),
        (
            "ALTER TABLE t ADD NOT NULL a NO INHERIT",
            "column public.t.a differs: not null no before, yes now; "
            "not null no inherit none before, yes now",
        ),
        (
            "ALTER TABLE t RENAME CONSTRAINT t_b_not_null TO chosen",
            "column public.t.b differs: not null name none before, chosen now",
        ),
        (
            "ALTER TABLE t ADD CONSTRAINT p CHECK (a <> '') NOT ENFORCED",
            "constraint public.t.p is there now, and not before",
        ),
        (
            "ALTER TABLE t ALTER CONSTRAINT f NOT ENFORCED",
            "constraint public.t.f differs: validated yes before, no now; definition FOREIGN KEY "
            "(b) REFERENCES public.u(b) before, FOREIGN KEY (b) REFERENCES public.u(b) NOT "
            "ENFORCED now",
        ),
        (
            "ALTER TABLE t DROP g, ADD g text GENERATED ALWAYS AS (a) STORED",
            "column public.t.g differs: generated v before, s now",
        ),
        (
            "ALTER PUBLICATION pub SET (publish_generated_columns = stored)",
            "publication pub differs: generated columns none before, s now",
        ),
    ],
)
def test_what_18_has_more_is_compared(newest: Database, change: str, words: str) -> None:
    before = seen(
        newest,
        "CREATE TABLE u (b int PRIMARY KEY)",
        "CREATE TABLE t (a text, b int NOT NULL CONSTRAINT f REFERENCES u, "
        "g text GENERATED ALWAYS AS (a))",
        "CREATE PUBLICATION pub FOR TABLE t",
    )
    [found] = differences(before, seen(newest, change))
    assert found.in_words() == words


def test_a_baseline_does_not_vouch_for_a_null_in_a_column_that_has_none(
    newest: Database, tmp_path: Path
) -> None:
    newest.query("CREATE TABLE t (a int)")
    newest.query("INSERT INTO t VALUES (NULL)")
    newest.query("ALTER TABLE t ADD NOT NULL a NOT VALID")
    folder = write_folder(tmp_path, {"001_a.sql": "CREATE TABLE t (a int NOT NULL);"})
    shadow = newest.url.replace(newest.dbname, "postgres")
    words = ("baseline", "--at", "001_a", "--check")
    result = run_job(newest.url, folder, *words, SHADOW_DATABASE_URL=shadow)
    assert result.code == 11, result.stderr
    [finding] = result.report["findings"]
    assert finding["problem"] == (
        "column public.t.a differs: not null not valid none by the files, yes in the database"
    )


def test_an_undo_of_validate_constraint_that_does_nothing_is_found(
    newest: Database, tmp_path: Path
) -> None:
    files = {
        "001_a.sql": "CREATE TABLE t (a int); ALTER TABLE t ADD CONSTRAINT n NOT NULL a NOT VALID;",
        "001_a.down.sql": "DROP TABLE t;",
        "002_b.sql": "ALTER TABLE t VALIDATE CONSTRAINT n;",
        "002_b.down.sql": "SELECT 1;",
    }
    shadow = newest.url.replace(newest.dbname, "postgres")
    result = run_job(None, write_folder(tmp_path, files), "rehearse", SHADOW_DATABASE_URL=shadow)
    assert result.code == 10, result.stderr
    assert "column public.t.a differs: not null not valid yes before 002_b.sql, none after" in str(
        result.report["findings"]
    )
