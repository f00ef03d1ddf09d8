"""Folders of other tools, run as they are: the same database as psql makes of what is to run."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.conftest import Database, create_database, drop_database
from tests.job import run_job
from tests.programs import feed_to_psql
from tests.switching import drizzle, graphile

ONE = "CREATE TABLE one (a int, b text DEFAULT 'x;y');"
TWO = """CREATE FUNCTION two() RETURNS int LANGUAGE plpgsql AS $$
BEGIN
  RETURN 2; -- a semicolon
END $$;"""
INDEX = "CREATE INDEX CONCURRENTLY one_a ON one (a);"
DROP_ONE, DROP_TWO, DROP_INDEX = "DROP TABLE one;", "DROP FUNCTION two();", "DROP INDEX one_a;"
RUNS = f"{ONE}\n{TWO}\n{INDEX}\n"


def marked(up: str, down: str, above: str, between: str) -> str:
    return f"{above}\n{up}\n{between}\n{down}\n"


def dbmate(up: str, down: str, option: str = "") -> str:
    return marked(up, down, f"-- migrate:up{option}", f"-- migrate:down{option}")


def goose(up: str, down: str) -> str:
    return marked(up, down, "-- +goose Up", "-- +goose Down")


def migrate(up: str, down: str, option: str = "", tool: str = "migrate") -> str:
    return marked(up, down, f"-- +{tool} Up{option}", f"-- +{tool} Down{option}")


COMMITTED, _ = graphile((ONE, TWO, f"--! no-transaction\n{INDEX}"))


@dataclass(frozen=True)
class Golden:
    """A folder of a tool's, with what of it has an undo; it makes what RUNS makes."""

    files: dict[str, str]
    versions: list[str]
    undone: bool = True
    settings: dict[str, str] = field(default_factory=dict)


def with_sum(files: dict[str, str]) -> dict[str, str]:
    """The files with Atlas's sum of them."""
    running, total, lines = hashlib.sha256(), hashlib.sha256(), []
    for name, text in files.items():
        running.update((name + text).encode())
        own = base64.b64encode(running.digest()).decode()
        total.update((name + own).encode())
        lines.append(f"{name} h1:{own}\n")
    first = base64.b64encode(total.digest()).decode()
    return {**files, "atlas.sum": f"h1:{first}\n{''.join(lines)}"}


FOLDERS = {
    "atlas": Golden(
        with_sum(
            {
                "20240101000000.sql": f"-- atlas:nolint\n{ONE}\n",
                "20240101000001_Two-two.sql": f"-- atlas:delimiter \\n\\n\\n\n{TWO}\n\n\nSELECT 1",
                "20240101000002_index.sql": f"-- atlas:txmode none\n\n{INDEX}\n",
            }
        ),
        ["20240101000000", "20240101000001_Two-two", "20240101000002_index"],
        undone=False,
    ),
    "flyway": Golden(
        {
            "flyway.conf": "flyway.url=jdbc:postgresql://db/app\nflyway.outOfOrder = true\n",
            "V1__one.sql": ONE,
            "U1.0__one.sql": DROP_ONE,
            "tables/V1_2__Two-two now.sql": TWO,
            "tables/U1.2__other words.sql": DROP_TWO,
            "tables/later/V1.10__index.SQL": INDEX,
            "tables/later/V1.10__index.SQL.conf": "# why\nexecuteInTransaction=false\n",
            "U1_10__index.sql": "DROP INDEX CONCURRENTLY one_a;",
        },
        ["V1__one", "V1_2__Two-two_now", "V1.10__index"],
    ),
    "golang-migrate": Golden(
        {
            "8_create-One.up.sql": f"{ONE}\n",
            "8_create-One.down.sql": DROP_ONE,
            "9_two.up.sql": TWO,
            "9_two.down.sql": DROP_TWO,
            "10_index.up.sql": INDEX,
            "10_index.down.sql": DROP_INDEX,
            "README.md": "not looked at",
        },
        ["8_create-One", "9_two", "10_index"],
    ),
    "dbmate": Golden(
        {
            "20240101_one.sql": dbmate(ONE, DROP_ONE),
            "20240102_Two-two.sql": "-- why\n\n" + dbmate(TWO, DROP_TWO),
            "20240103_index.sql": dbmate(
                INDEX, "DROP INDEX CONCURRENTLY one_a;", " transaction:false"
            ),
        },
        ["20240101_one", "20240102_Two-two", "20240103_index"],
    ),
    "goose": Golden(
        {
            "1_one.sql": goose(ONE, DROP_ONE),
            "2_two.sql": goose(
                f"-- +goose StatementBegin\n{TWO[:-1]}\n-- +goose StatementEnd", DROP_TWO
            ),
            "10_index.sql": "-- +goose NO TRANSACTION\n" + goose(INDEX, DROP_INDEX),
        },
        ["1_one", "2_two", "10_index"],
    ),
    "sql-migrate": Golden(
        {
            "1_one.sql": migrate(ONE, DROP_ONE),
            "2-two.sql": migrate(
                f"-- +migrate StatementBegin\n{TWO}\n-- +migrate StatementEnd", DROP_TWO
            ),
            "3_index.sql": migrate(INDEX, DROP_INDEX, " notransaction"),
        },
        ["1_one", "2-two", "3_index"],
    ),
    "liquibase": Golden(
        {
            "db/001_start.sql": "--liquibase formatted sql\n\n"
            f"--changeset alice:one\n{ONE}\n--rollback {DROP_ONE}\n\n"
            f"--changeset bob:2 splitStatements:false\n{TWO}\n"
            f"/* liquibase rollback\n{DROP_TWO}\n*/",
            "db/002_index.sql": "-- liquibase formatted sql\n"
            f"--changeset alice:1 runInTransaction:false endDelimiter:/\n{INDEX[:-1]}\n/\n"
            f"--rollback {DROP_INDEX}\n",
            "README.md": "not looked at",
        },
        ["db/001_start:alice:one", "db/001_start:bob:2", "db/002_index:alice:1"],
    ),
    "micrate": Golden(
        {
            "20240101000000_one.sql": migrate(
                f"{ONE}\n{TWO}", f"{DROP_TWO}\n{DROP_ONE}", "", "micrate"
            ),
            "20240101000001_index.sql": migrate(
                INDEX.replace(" CONCURRENTLY", ""), DROP_INDEX, "", "micrate"
            ),
        },
        ["20240101000000_one", "20240101000001_index"],
    ),
    "tern": Golden(
        {
            "001_one.sql": f"{ONE}\n---- create above / drop below ----\n{DROP_ONE}\n",
            "002_two.sql": f"{TWO}\n---- create above / drop below ----\n{DROP_TWO}\n",
            "003_index.sql": f"---- tern: disable-tx ----\n{INDEX}\n"
            f"---- create above / drop below ----\n{DROP_INDEX}\n",
        },
        ["001_one", "002_two", "003_index"],
    ),
    "node-pg-migrate": Golden(
        {
            "1700000000000_one.sql": marked(ONE, DROP_ONE, "-- Up Migration", "-- Down Migration"),
            "1700000000001_two.sql": f"-- Down Migration\n{DROP_TWO}\n-- Up Migration\n{TWO}\n",
            "1700000000002_index.sql": marked(
                INDEX.replace(" CONCURRENTLY", ""),
                DROP_INDEX,
                "-- Up Migration",
                "-- Down Migration",
            ),
        },
        ["1700000000000_one", "1700000000001_two", "1700000000002_index"],
    ),
    "supabase": Golden(
        {
            "20200101000000_init.sql": "SELECT 'the platform ran this' / 0;",
            "20240101000000_One.sql": ONE,
            "20240101000001_two-two.sql": TWO,
            "20240101000002_index.sql": f"-- pg-delta: transaction=false\n{INDEX}",
        },
        ["20240101000000_One", "20240101000001_two-two", "20240101000002_index"],
        undone=False,
        settings={"FOLDER_FORMAT": "supabase"},
    ),
    "sqlx": Golden(
        {
            "1_one.sql": ONE,
            "2_two.up.sql": TWO,
            "2_two.down.sql": DROP_TWO,
            "3_index.sql": f"-- no-transaction\n{INDEX}",
        },
        ["1_one", "2_two", "3_index"],
        undone=False,
    ),
    "prisma": Golden(
        {
            "migration_lock.toml": 'provider = "postgresql"',
            "20240101000000_one/migration.sql": ONE,
            "20240101000001_two/migration.sql": TWO,
            "20240101000001_two/down.sql": "SELECT 'never run' / 0;",
            "20240101000002_index/migration.sql": INDEX.replace(" CONCURRENTLY", ""),
        },
        ["20240101000000_one", "20240101000001_two", "20240101000002_index"],
        undone=False,
    ),
    "drizzle": Golden(
        {
            "meta/_journal.json": drizzle(("0000_one", "0001_two", "0002_index")),
            "0000_one.sql": f"{ONE}\n--> statement-breakpoint\n{TWO}",
            "0001_two.sql": "SELECT 1;--> statement-breakpoint\nSELECT 2;",
            "0002_index.sql": INDEX.replace(" CONCURRENTLY", ""),
        },
        ["0000_one", "0001_two", "0002_index"],
        undone=False,
    ),
    "diesel": Golden(
        {
            "2024-01-01-000000_one/up.sql": ONE,
            "2024-01-01-000000_one/down.sql": DROP_ONE,
            "2024-01-02-000000_two/up.sql": TWO,
            "2024-01-02-000000_two/down.sql": DROP_TWO,
            "2024-01-03-000000_index/up.sql": INDEX,
            "2024-01-03-000000_index/down.sql": "DROP INDEX CONCURRENTLY one_a;",
            "2024-01-03-000000_index/metadata.toml": "run_in_transaction = false\n",
        },
        ["2024-01-01-000000_one", "2024-01-02-000000_two", "2024-01-03-000000_index"],
    ),
    "graphile-migrate": Golden(
        {
            "current.sql": "SELECT 'work in progress' / 0;",
            "committed/000001-one.sql": COMMITTED[0],
            "committed/000002.sql": COMMITTED[1],
            "committed/000003-index.sql": COMMITTED[2],
        },
        ["000001-one", "000002", "000003-index"],
        undone=False,
    ),
}


#: All that the folders here can make, in the words of the server.
MADE = """
SELECT relname, attname, format_type(atttypid, atttypmod), pg_get_expr(adbin, adrelid)
  FROM pg_class c JOIN pg_attribute a ON attrelid = c.oid AND attnum > 0 AND NOT attisdropped
  LEFT JOIN pg_attrdef ON adrelid = c.oid AND adnum = attnum
 WHERE relnamespace = 'public'::regnamespace AND relname NOT LIKE 'schema\\_migrations%'
UNION ALL
SELECT proname, NULL, NULL, pg_get_functiondef(oid) FROM pg_proc
 WHERE pronamespace = 'public'::regnamespace
UNION ALL
SELECT indexrelid::regclass::text, indisvalid::text, NULL, pg_get_indexdef(indexrelid)
  FROM pg_index JOIN pg_class c ON c.oid = indrelid
 WHERE relnamespace = 'public'::regnamespace AND relname NOT LIKE 'schema\\_migrations%'
 ORDER BY 1, 2, 3, 4
"""


def made_in(database: Database) -> list[tuple[object, ...]]:
    return database.query(MADE)


def lay(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


@pytest.fixture
def by_psql(database: Database, tmp_path: Path) -> Iterator[Database]:
    """Another database, of which psql made what the folders say."""
    made = create_database(database.server)
    (tmp_path / "runs.sql").write_text(RUNS.replace(" CONCURRENTLY", ""))
    feed_to_psql(made, tmp_path / "runs.sql")
    yield made
    drop_database(made)


@pytest.mark.parametrize("name", FOLDERS)
def test_a_folder_is_run_as_it_is(
    name: str, database: Database, by_psql: Database, tmp_path: Path
) -> None:
    golden = FOLDERS[name]
    folder = lay(tmp_path / "m", golden.files)
    empty = made_in(database)
    done = run_job(database.url, folder, **golden.settings)
    assert done.code == 0, done.stderr
    assert done.applied == golden.versions
    assert made_in(database) == made_in(by_psql)
    assert run_job(database.url, folder, "verify", **golden.settings).code == 0
    again = run_job(database.url, folder, **golden.settings)
    assert (again.code, again.applied) == (0, [])
    words = ("rollback", "--yes", "--to", golden.versions[0])
    back = run_job(database.url, folder, *words, **golden.settings)
    if not golden.undone:
        assert back.code != 0
        return
    assert back.code == 0, back.stderr
    last = run_job(database.url, folder, "rollback", "--yes", "--steps", "1")
    assert last.code == 0, last.stderr
    assert made_in(database) == empty


@pytest.mark.parametrize("name", FOLDERS)
def test_the_setting_says_the_same_as_the_marks(
    name: str, database: Database, by_psql: Database, tmp_path: Path
) -> None:
    golden = FOLDERS[name]
    folder = lay(tmp_path / "m", golden.files)
    done = run_job(database.url, folder, "--folder-format", name)
    assert done.code == 0, done.stderr
    assert made_in(database) == made_in(by_psql)


@pytest.mark.parametrize("name", FOLDERS)
def test_new_writes_the_next_file_as_the_tool_would(
    name: str, database: Database, tmp_path: Path
) -> None:
    golden = FOLDERS[name]
    folder = lay(tmp_path / "m", golden.files)
    made = run_job(database.url, folder, "new", "add_three", **golden.settings)
    if name in ("atlas", "drizzle", "prisma", "graphile-migrate"):
        assert made.code == 2
        assert "made by its own generator" in made.stderr
        return
    assert made.code == 0, made.stderr
    for file in map(Path, made.stdout.split()):
        if file.suffix == ".sql" and ".down" not in file.name and file.name != "down.sql":
            text = file.read_text().replace("_three\n\n", "_three\nSELECT 3;\n")
            if "SELECT 3;" in text:
                file.write_text(text)
                continue
            file.write_text(text.replace("\n", "\nSELECT 3;\n", 1) if text.strip() else "SELECT 3;")
    done = run_job(database.url, folder, **golden.settings)
    assert done.code == 0, done.stderr
    [*before, last] = done.applied
    assert before == golden.versions
    assert last.endswith("add_three")


def test_a_folder_of_another_tool_says_so_when_it_is_refused(
    database: Database, tmp_path: Path
) -> None:
    folder = lay(tmp_path / "m", {"1_a.sql": "-- +goose Up\nSELECT 1;\n-- +goose Oops\n"})
    done = run_job(database.url, folder)
    assert done.code == 10
    assert "read as goose's" in done.stderr
    [finding] = done.report["findings"]
    assert (finding["file"], finding["line"]) == ("1_a.sql", 3)


def test_a_mark_in_a_later_file_of_our_own_folder_names_the_setting(
    database: Database, tmp_path: Path
) -> None:
    folder = lay(tmp_path / "m", {"1_a.sql": "SELECT 1;\n", "2_b.sql": goose(ONE, DROP_ONE)})
    done = run_job(database.url, folder)
    assert done.code == 10
    [finding] = done.report["findings"]
    assert "FOLDER_FORMAT=goose" in finding["remedy"]


def test_the_lines_of_a_message_are_those_of_the_file(database: Database, tmp_path: Path) -> None:
    text = "-- why\n-- migrate:up\nSELECT 1;\nSELECT oops;\n-- migrate:down\nSELECT 2;\n"
    done = run_job(database.url, lay(tmp_path / "m", {"1_a.sql": text}))
    assert done.code == 15
    error = done.error
    assert (error["line"], error["column"]) == (4, 8)


REFUSED = {
    "goose and code": ({"1_a.sql": goose(ONE, DROP_ONE), "2_b.go": "package m"}, "2_b.go"),
    "golang-migrate and another ending": (
        {"1_a.up.sql": ONE, "2_b.up.pgsql": TWO},
        "2_b.up.pgsql",
    ),
    "goose and a name without a number": (
        {"1_a.sql": goose(ONE, DROP_ONE), "add_users.sql": "SELECT 1;"},
        "add_users.sql",
    ),
    "goose and a repeatable": (
        {"1_a.sql": goose(ONE, DROP_ONE), "R__v.sql": "SELECT 1;"},
        "1_a.sql",
    ),
    "a file that the journal does not list": (
        {
            "meta/_journal.json": '{"entries": [{"tag": "0000_a"}]}',
            "0000_a.sql": ONE,
            "0001_stale.sql": "DROP TABLE one;",
        },
        "0001_stale.sql",
    ),
    "Atlas and a file that its sum does not fit": (
        {**with_sum({"1_a.sql": ONE, "2_b.sql": TWO}), "2_b.sql": "SELECT 1;"},
        "2_b.sql",
    ),
    "Prisma and an empty folder": ({"1_a/migration.sql": ONE, "2_b/migration.toml": ""}, "2_b"),
}


@pytest.mark.parametrize(("files", "file"), REFUSED.values(), ids=REFUSED)
def test_what_would_not_run_is_refused_with_its_name(
    files: dict[str, str], file: str, database: Database, tmp_path: Path
) -> None:
    done = run_job(database.url, lay(tmp_path / "m", files))
    assert done.code == 10, done.stderr
    assert [finding["file"] for finding in done.report["findings"]] == [file]
    assert database.query("SELECT to_regclass('one')") == [(None,)]


def test_no_repeatable_is_made_in_a_folder_of_another_tool(
    database: Database, tmp_path: Path
) -> None:
    folder = lay(tmp_path / "m", {"1_a.sql": goose(ONE, DROP_ONE)})
    made = run_job(database.url, folder, "new", "v", "--repeatable")
    assert (made.code, "goose has no repeatables" in made.stderr) == (2, True)


def test_a_file_without_a_statement_is_recorded_and_warned_of(
    database: Database, tmp_path: Path
) -> None:
    folder = lay(tmp_path / "m", {"1_a.up.sql": "-- later\n", "1_a.down.sql": ""})
    done = run_job(database.url, folder)
    assert (done.code, done.applied) == (0, ["1_a"])
    [warning] = done.of("plan.warning")
    assert (warning["file"], "holds no statement" in warning["problem"]) == ("1_a.up.sql", True)
