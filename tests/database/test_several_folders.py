"""MIGRATIONS_DIR=migrations:seeds/dev: several folders, run as one."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.builders import write_folder
from tests.conftest import Database
from tests.job import Result, run_job

MAIN = {
    "001_a.sql": "CREATE TABLE public.a (id int PRIMARY KEY);\n",
    "003_c.sql": "ALTER TABLE public.a ADD COLUMN c text;\n",
    "003_c.down.sql": "ALTER TABLE public.a DROP COLUMN c;\n",
}
SEEDS = {
    "002_one.sql": "INSERT INTO public.a VALUES (1);\n",
    "002_one.down.sql": "DELETE FROM public.a WHERE id = 1;\n",
    "004_two.sql": "INSERT INTO public.a VALUES (2, 'two');\n",
}


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def lay(**folders: Mapping[str, str]) -> None:
    """The folders, by their names with _ for /."""
    for name, files in folders.items():
        path = Path(name.replace("_", "/"))
        path.mkdir(parents=True, exist_ok=True)
        write_folder(path, files)


def run(
    database: Database | None, *words: str, places: str = "migrations:seeds/dev", **s: str
) -> Result:
    return run_job(None if database is None else database.url, Path(places), *words, **s)


def test_the_files_of_all_folders_run_in_one_order(database: Database) -> None:
    lay(migrations=MAIN, seeds_dev=SEEDS)
    done = run(database)
    assert (done.code, done.applied) == (0, ["001_a", "002_one", "003_c", "004_two"])
    files = [line["file"] for line in done.of("migration.applied")]
    assert files[:2] == ["migrations/001_a.sql", "seeds/dev/002_one.sql"]
    assert run(database, "verify").code == 0
    undone = run(database, "rollback", "--to", "001_a")
    assert undone.code == 12  # 004 has no undo
    assert undone.report["findings"][0]["file"] == "seeds/dev/004_two.down.sql"


def test_a_refusal_names_the_folder(database: Database) -> None:
    lay(migrations=MAIN, seeds_dev={"002_one.sql": "SELECT 1;\nSELECT nope;\n"})
    refused = run(database)
    assert refused.code == 15
    assert refused.error["message"].startswith("seeds/dev/002_one.sql:2:8: ")
    lay(seeds_dev={"004_x.SQL": "", "005.py": ""}, migrations={"006_d.sql": "\\q\n"})
    wrong = run(database)
    assert wrong.code == 10
    files = [finding["file"] for finding in wrong.report["findings"]]
    assert files == ["seeds/dev/004_x.SQL", "seeds/dev/005.py"]
    assert wrong.error["message"] == "2 problems in seeds/dev"


@pytest.mark.parametrize(
    ("main", "seeds", "problem"),
    [
        ("002_b.sql", "002_one.sql", "migrations/002_b.sql has the same number"),
        ("R__v.sql", "R__v.sql", "migrations/R__v.sql has the same name"),
        ("after.sql", "after.sql", "migrations/after.sql is one of that moment, too"),
    ],
)
def test_no_number_name_or_hook_is_there_twice(main: str, seeds: str, problem: str) -> None:
    lay(migrations={main: "SELECT 1;\n"}, seeds_dev={seeds: "SELECT 2;\n"})
    refused = run(None, "new", "x")
    assert refused.code == 10
    [finding] = refused.report["findings"]
    assert (finding["file"], finding["problem"]) == (f"seeds/dev/{seeds}", problem)


@pytest.mark.parametrize("other", ["linked", "./migrations", "seeds/../migrations", "linked/sub"])
def test_one_folder_by_two_names_is_said_to_be_one(other: str) -> None:
    lay(migrations=MAIN, seeds_dev=SEEDS, migrations_sub={})
    Path("linked").symlink_to("migrations")
    refused = run(None, "new", "x", places=f"migrations:{other}")
    assert refused.code == 2
    assert refused.error["message"] == f"migrations and {other} hold the same files"


def test_hooks_may_lie_in_either_folder(database: Database) -> None:
    lay(migrations=MAIN, seeds_dev={**SEEDS, "after.sql": "INSERT INTO public.a VALUES (3);\n"})
    assert run(database).events.count("hook.done") == 1
    assert database.query("SELECT max(id) FROM public.a") == [(3,)]


PRODUCTION = "migrations"


def test_an_image_without_the_seeds_refuses_a_database_that_has_them(database: Database) -> None:
    lay(migrations=MAIN, seeds_dev=SEEDS)
    assert run(database).code == 0
    refused = run(database, places=PRODUCTION)
    assert refused.code == 12
    assert "002_one" in refused.error["message"]
    lay(migrations={"005_e.sql": "SELECT 5;\n"})
    let = run(database, places=PRODUCTION, ON_MISSING="warn")
    assert (let.code, let.applied) == (0, ["005_e"])


def test_seeds_are_late_in_a_database_that_never_had_them(database: Database) -> None:
    lay(migrations=MAIN, seeds_dev=SEEDS)
    assert run(database, places=PRODUCTION).code == 0
    refused = run(database)
    assert refused.code == 13
    assert "seeds/dev/002_one.sql" in str(refused.report["findings"])
    assert database.query("SELECT count(*) FROM public.a") == [(0,)]


def test_a_floor_of_the_seeds_keeps_an_image_without_them_out(database: Database) -> None:
    floor = {"004_two.sql": "-- migrator: floor\nSELECT 4;\n"}
    lay(migrations=MAIN, seeds_dev=floor)
    assert run(database).code == 0
    assert run(database, places=PRODUCTION, ON_MISSING="warn").code == 12


def test_new_writes_into_the_first_folder_a_number_above_all(database: Database) -> None:
    lay(migrations=MAIN, seeds_dev=SEEDS)
    made = run(None, "new", "orders")
    assert made.code == 0, made.stderr
    assert Path("migrations/005_orders.sql").exists()
    lay(seeds_dev={"005_late.sql": "SELECT 5;\n"})
    moved = run(None, "new", "--renumber", "005_late")
    assert moved.code == 0, moved.stderr
    assert Path("seeds/dev/006_late.sql").exists()


def test_verify_base_compares_each_folder_with_its_own() -> None:
    lay(migrations=MAIN, seeds_dev=SEEDS)
    for words in (("init", "-q"), ("add", "."), ("commit", "-qm", "x")):
        name = ("-c", "user.name=x", "-c", "user.email=x@example.org")
        subprocess.run(["git", *name, *words], check=True, capture_output=True)
    assert run(None, "verify", "--base", "HEAD").code == 0
    Path("seeds/dev/004_two.sql").rename("migrations/004_two.sql")
    behind = run(None, "verify", "--base", "HEAD")
    assert behind.code == 13
    assert [finding["file"] for finding in behind.report["findings"]] == ["migrations/004_two.sql"]


def test_all_folders_follow_one_format(database: Database) -> None:
    one = "-- migrate:up\nSELECT {0};\n-- migrate:down\nSELECT {0};\n"
    lay(migrations={"001_a-b.sql": one.format(1)}, seeds_dev={"002_b.sql": one.format(2)})
    assert run(database).code == 0
    lay(seeds_dev={"003_c.sql": "SELECT 3;\n"})
    refused = run(database)
    assert refused.code == 10
    shutil.rmtree("seeds/dev")
    lay(seeds_dev={"002_b.sql": "SELECT 2;\n"})
    other = run(database)
    assert other.code == 10
    assert "dbmate" in other.error["message"]


def test_plain_files_follow_the_tool_of_the_other_folder(database: Database) -> None:
    main = {"20260101000000_Users-and-roles.sql": "SELECT 1;\n"}
    lay(migrations=main, seeds_dev={"20260102000000_b.sql": "SELECT 2;\n"})
    done = run(database)
    assert (done.code, done.of("plan.made")[0]["format"]) == (0, "supabase"), done.stderr


def test_two_tools_are_refused(database: Database) -> None:
    lay(
        migrations={"001_a.sql": "-- migrate:up\nSELECT 1;\n-- migrate:down\n"},
        seeds_dev={"002_b.sql": "-- +goose Up\nSELECT 2;\n"},
    )
    refused = run(database)
    assert refused.code == 10
    assert refused.error["message"] == (
        "migrations follows the rules of dbmate, and seeds/dev those of goose"
    )


@pytest.mark.parametrize(
    ("places", "part"),
    [
        ("migrations:", "one of them has no name"),
        ("migrations:migrations/dev", "hold the same files"),
        ("migrations:./other:migrations", "hold the same files"),
    ],
)
def test_folders_that_cannot_be_meant_are_refused(places: str, part: str) -> None:
    refused = run(None, "new", "x", places=places)
    assert refused.code == 2
    assert part in refused.error["message"]


def test_a_folder_whose_name_has_a_colon_is_refused_by_name() -> None:
    lay(**{"a:b": MAIN})
    refused = run(None, "new", "x", places="a:b")
    assert refused.code == 2
    assert "has a colon" in refused.error["message"]


def test_a_folder_that_is_not_there_is_named(database: Database) -> None:
    lay(migrations=MAIN)
    refused = run(database)
    assert refused.code == 10
    assert refused.error["message"].startswith("cannot read the folder seeds/dev: ")
    assert "--migrations-dir FOLDER" in refused.error["remedy"]


def test_facts_lie_in_the_first_folder_and_findings_name_their_own(database: Database) -> None:
    seeds = {"002_two.sql": "DROP TABLE public.a;\n"}
    lay(migrations={"001_a.sql": MAIN["001_a.sql"]}, seeds_dev=seeds)
    settings = {"SHADOW_DATABASE_URL": database.url}
    checked = run(None, "check", "--all", "--write", "--format", "github", **settings)
    assert {p.name for p in Path("migrations/.preflight").iterdir()} == {
        "001_a.json",
        "002_two.json",
    }
    assert "file=seeds/dev/002_two.sql,line=1" in checked.stdout
