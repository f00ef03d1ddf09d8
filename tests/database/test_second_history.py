"""A first run beside another history that holds its files: refused, unless it works elsewhere."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.builders import write_folder
from tests.conftest import Database, MakeProxy
from tests.intruder import (
    FILES,
    FORGED,
    PLANTS,
    TABLES,
    Plant,
    Stage,
    full_but_for_some,
    intruded,
)
from tests.job import run_job

SEED = {
    "001_a.sql": "CREATE TABLE IF NOT EXISTS public.a (n int);\n",
    "002_seed.sql": "INSERT INTO public.a VALUES (1);\n",
}
MORE = {**SEED, "003_more.sql": "INSERT INTO public.a VALUES (3);\n"}
HISTORIES = "SELECT count(*) FROM pg_class WHERE relname = 'schema_migrations'"


def checksum(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


@pytest.fixture
def stage(database: Database) -> Iterator[Stage]:
    with intruded(database) as made:
        yield made


@pytest.mark.parametrize("words", [(), ("--plan",), ("--to", "001_a")])
def test_a_rollback_where_no_history_is_names_the_one_that_holds_the_files(
    database: Database, tmp_path: Path, words: tuple[str, ...]
) -> None:
    """It said "nothing to undo", and 0."""
    folder = write_folder(tmp_path, SEED)
    assert run_job(database.url, folder, MIGRATIONS_SCHEMA="app").code == 0
    result = run_job(database.url, folder, "rollback", *words)
    assert (result.code, result.report["outcome"]) == (2, "nothing was changed"), result.stderr
    assert result.error["message"].endswith("same checksums: there is nothing here to undo")
    assert "--migrations-schema app (MIGRATIONS_SCHEMA)" in result.error["remedy"]


@pytest.mark.parametrize("command", ["up", "plan", "verify", "wait"])
@pytest.mark.parametrize(
    ("settings", "files"),
    [
        pytest.param({"MIGRATIONS_SCHEMA": "pulbic"}, SEED, id="a typo"),
        pytest.param({}, SEED, id="the setting is left out"),
        pytest.param({}, MORE, id="and there is a new file"),
        pytest.param({}, {"001_a.sql": SEED["001_a.sql"]}, id="and the image is older"),
        pytest.param({"SEARCH_PATH": "app,public"}, SEED, id="the path begins elsewhere"),
        pytest.param({}, {**MORE, "002_seed.sql": "SELECT 2;\n"}, id="one file has changed"),
    ],
)
def test_a_second_history_of_the_same_files_is_refused(
    database: Database,
    tmp_path: Path,
    command: str,
    settings: dict[str, str],
    files: dict[str, str],
) -> None:
    before = write_folder(tmp_path / "before", MORE if len(files) == 3 else SEED)
    assert run_job(database.url, before, MIGRATIONS_SCHEMA="app").code == 0
    rows = database.query("TABLE public.a")
    folder = write_folder(tmp_path / "now", files)
    result = run_job(database.url, folder, command, **settings)
    assert (result.code, result.report["outcome"]) == (2, "nothing was changed"), result.stderr
    assert "app.schema_migrations holds" in result.error["message"]
    assert "--migrations-schema app (MIGRATIONS_SCHEMA)" in result.error["remedy"]
    assert database.query("TABLE public.a") == rows
    assert database.query(HISTORIES) == [(1,)]
    remedied = run_job(database.url, folder, MIGRATIONS_SCHEMA="app", ON_DRIFT="warn")
    assert remedied.code == 0, remedied.stderr


def test_what_the_remedy_says_of_schemas_of_their_own_can_be_typed(
    database: Database, tmp_path: Path
) -> None:
    folder = write_folder(tmp_path, {"001_a.sql": "CREATE TABLE a (n int);\n"})
    assert run_job(database.url, folder, MIGRATIONS_SCHEMA="one", SEARCH_PATH="one").code == 0
    refused = run_job(database.url, folder, MIGRATIONS_SCHEMA="two", SEARCH_PATH="public,ext")
    assert "--search-path two,public,ext (SEARCH_PATH) as well" in refused.error["remedy"]
    settings = {"MIGRATIONS_SCHEMA": "two", "SEARCH_PATH": "two,public,ext"}
    assert run_job(database.url, folder, **settings).applied == ["001_a"]


def test_a_history_is_moved_as_the_page_says(database: Database, tmp_path: Path) -> None:
    folder = write_folder(tmp_path, SEED)
    assert run_job(database.url, folder, MIGRATIONS_SCHEMA="app").code == 0
    assert run_job(database.url, folder).code == 2
    database.query("ALTER TABLE app.schema_migrations SET SCHEMA public")
    database.query("ALTER TABLE app.schema_migrations_log SET SCHEMA public")
    assert run_job(database.url, folder).report["outcome"] == "nothing to do"


def test_status_shows_it_and_baseline_records_all_the_same(
    database: Database, tmp_path: Path
) -> None:
    folder = write_folder(tmp_path, SEED)
    assert run_job(database.url, folder, MIGRATIONS_SCHEMA="app").code == 0
    assert run_job(database.url, folder, "status").code == 0
    report = run_job(database.url, folder, "report").report
    assert report["exit_code"] == 0
    assert run_job(database.url, folder, "baseline", "--at", "2").code == 0
    assert database.query("TABLE public.a") == [(1,)]


def test_tenants_have_a_schema_each(database: Database, tmp_path: Path) -> None:
    folder = write_folder(
        tmp_path,
        {"001_a.sql": "CREATE TABLE a (n int);\n", "002_b.sql": "INSERT INTO a VALUES (1);"},
    )
    for tenant in ("tenant_1", "tenant_2", "tenant_3"):
        settings = {"MIGRATIONS_SCHEMA": tenant, "SEARCH_PATH": f"{tenant},public"}
        assert run_job(database.url, folder, "wait", WAIT_TIMEOUT="1ms", **settings).code == 24
        assert run_job(database.url, folder, **settings).applied == ["001_a", "002_b"]
        assert run_job(database.url, folder, "wait", **settings).code == 0
        assert database.query(f"TABLE {tenant}.a") == [(1,)]


@pytest.mark.parametrize(
    "settings", [{}, {"SEARCH_PATH": "public"}], ids=["no path", "the same path"]
)
def test_two_services_share_a_database_and_one_file(
    database: Database, tmp_path: Path, settings: dict[str, str]
) -> None:
    shared = {"001_extensions.sql": "CREATE EXTENSION IF NOT EXISTS btree_gist;\n"}
    for service in ("orders", "users"):
        files = {**shared, "002_own.sql": f"CREATE TABLE public.{service} (n int);\n"}
        folder = write_folder(tmp_path / service, files)
        result = run_job(database.url, folder, MIGRATIONS_SCHEMA=service, **settings)
        assert result.applied == ["001_extensions", "002_own"], result.stderr


@pytest.mark.parametrize(
    "plant", [pytest.param(one, id=one.id, marks=full_but_for_some(one)) for one in PLANTS]
)
def test_a_planted_history_is_never_evaluated(stage: Stage, tmp_path: Path, plant: Plant) -> None:
    stage.plant(TABLES, FORGED, plant.sql.format(t="schema_migrations"))
    folder = write_folder(tmp_path, FILES)
    for command in ("status", "up"):
        result = run_job(stage.database.url, folder, command, MIGRATIONS_SCHEMA="ops")
        assert stage.gained() == []
        assert result.code in {0, 2}, result.stderr


@pytest.mark.parametrize("plant", ["view", "rule"])
def test_code_of_others_does_not_keep_a_run_from_its_work(
    stage: Stage, tmp_path: Path, plant: str
) -> None:
    [found] = [one for one in PLANTS if one.id == plant]
    stage.plant(TABLES, FORGED, found.sql.format(t="schema_migrations"))
    result = run_job(stage.database.url, write_folder(tmp_path, FILES), MIGRATIONS_SCHEMA="ops")
    assert (result.code, result.applied) == (0, ["001_a", "002_b"]), result.stderr


def test_a_history_that_the_role_may_not_read_is_none(
    database: Database, tmp_path: Path, stage: Stage
) -> None:
    folder = write_folder(tmp_path, FILES)
    assert run_job(database.url, folder, MIGRATIONS_SCHEMA="shut").code == 0
    for table in ("a", "b"):
        database.query(f"DROP TABLE public.{table}")
    assert run_job(stage.deployer.url, folder, MIGRATIONS_SCHEMA="ops").applied == [
        "001_a",
        "002_b",
    ]


def test_a_thousand_schemas_are_looked_at_in_the_same_round_trip(
    database: Database, tmp_path: Path, proxy: MakeProxy
) -> None:
    database.query(
        f"""DO $$ BEGIN FOR n IN 1..1000 LOOP
          EXECUTE format('CREATE SCHEMA tenant_%s', n);
          EXECUTE format('CREATE TABLE tenant_%s.schema_migrations (version varchar(255),'
            'applied_at timestamptz, checksum varchar(64))', n);
          EXECUTE format('INSERT INTO tenant_%s.schema_migrations VALUES (%L, now(), %L)', n,
            '001_a', '{checksum(SEED["001_a.sql"])}');
          IF n % 100 = 0 THEN COMMIT; END IF;
        END LOOP; END $$"""
    )
    counter = proxy(database)
    folder = write_folder(tmp_path, SEED)
    settings = {"MIGRATIONS_SCHEMA": "app", "LOCK_TIMEOUT": "10min"}  # no observer meanwhile
    refused = run_job(counter.through(database.url), folder, **settings)
    assert (refused.code, counter.flights) == (2, 1), refused.stderr
    settings = {"MIGRATIONS_SCHEMA": "app", "SEARCH_PATH": "app,public"}
    assert run_job(database.url, folder, **settings).code == 0
