"""Text arrives as it is in the files, whatever encoding the database or the pooler begins with."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.builders import write_folder
from tests.conftest import Database, MakePgBouncer, create_database, drop_database
from tests.job import Result, run_job
from tests.neighbours import ask, state
from tests.postgres import Address
from tests.ways import WAYS, way_to
from tests.wire import Wire

POOLED = WAYS[1:]
ALONE = "-- migrator: no-transaction\n"
NAME = "Müller"
PEOPLE = "SELECT n, name FROM people ORDER BY n"
UNDONE = "SELECT n, name FROM undone ORDER BY n"
FILLER = "".join(f"SELECT '{str(n) * 200_000}';\n" for n in range(1, 9))


def insert(n: int, table: str = "people") -> str:
    return f"INSERT INTO {table} VALUES ({n}, '{NAME}');\n"


def flights(*numbers: int) -> dict[str, str]:
    """Migrations that write the name once each, and so do their undos."""
    return {
        name: text
        for n in numbers
        for name, text in (
            (f"{n:03}_name.sql", insert(n)),
            (f"{n:03}_name.down.sql", f"-- Löscht {NAME}.\n{insert(n, 'undone')}"),
        )
    }


def copy_of(*numbers: int) -> str:
    return "COPY people FROM stdin;\n" + "".join(f"{n}\t{NAME}\n" for n in numbers) + "\\.\n"


@pytest.fixture(params=["LATIN1 database", "client_encoding of the database"])
def latin(request: pytest.FixtureRequest, server: Address) -> Iterator[Database]:
    """A database whose sessions begin with client_encoding LATIN1, and two tables."""
    whole = request.param == "LATIN1 database"
    made = create_database(server, "ENCODING 'LATIN1' LOCALE 'C'" if whole else "")
    if not whole:
        made.query(f"ALTER DATABASE {made.dbname} SET client_encoding = 'LATIN1'")
    made.query("CREATE TABLE people (n int, name text); CREATE TABLE undone (n int, name text)")
    assert made.query("SHOW client_encoding") == [("LATIN1",)]
    yield made
    drop_database(made)


def written(database: Database, query: str = PEOPLE) -> list[int]:
    """The numbers of the rows, all of which hold the name as it is."""
    rows = ask(database.url, query)
    assert rows == [(n, NAME) for n, _ in rows]
    return [n for n, _ in rows]


def applied(url: str, folder: Path, *argv: str, **settings: str) -> Result:
    result = run_job(url, folder, *argv, **settings)
    assert result.code == 0, result.stderr
    return result


@pytest.mark.parametrize("way", WAYS)
def test_each_of_several_flights_and_of_several_runs_writes_the_text_of_its_file(
    latin: Database, pgbouncer: MakePgBouncer, tmp_path: Path, way: str
) -> None:
    url = way_to(latin, pgbouncer, way)
    applied(url, write_folder(tmp_path, flights(1, 2, 3, 4)))
    assert written(latin) == [1, 2, 3, 4]
    applied(url, write_folder(tmp_path, flights(5, 6)))
    assert written(latin) == [1, 2, 3, 4, 5, 6]
    stored = dict(ask(latin.url, "SELECT version, rollback_sql FROM schema_migrations"))
    assert stored == {
        name.removesuffix(".down.sql"): text
        for name, text in flights(1, 2, 3, 4, 5, 6).items()
        if name.endswith(".down.sql")
    }


@pytest.mark.parametrize("way", ["session", "transaction, pool of one"])
@pytest.mark.parametrize(
    ("third", "numbers"),
    [
        pytest.param(copy_of(3, 4), [3, 4], id="COPY"),
        pytest.param(insert(3) + FILLER + insert(4), [3, 4], id="several messages"),
        pytest.param(
            insert(3) + FILLER + copy_of(4, 5) + insert(6), [3, 4, 5, 6], id="both in one file"
        ),
        pytest.param(
            f"""CREATE TABLE "größe" (a text DEFAULT '{NAME}');
INSERT INTO "größe" DEFAULT VALUES;
INSERT INTO people SELECT 3, a FROM "größe";
""",
            [3],
            id="names of things",
        ),
        pytest.param(f"RESET ALL;\n{FILLER}{insert(3)}", [3], id="one that resets all"),
    ],
)
def test_a_later_file_of_any_kind_writes_its_text(
    latin: Database,
    pgbouncer: MakePgBouncer,
    tmp_path: Path,
    way: str,
    third: str,
    numbers: list[int],
) -> None:
    files = {**flights(1, 2), "003_third.sql": third, **flights(9)}
    applied(way_to(latin, pgbouncer, way), write_folder(tmp_path, files))
    assert written(latin) == [1, 2, *numbers, 9]


@pytest.mark.parametrize("way", POOLED)
def test_undo_texts_and_repeatables_arrive_too(
    latin: Database, pgbouncer: MakePgBouncer, tmp_path: Path, way: str
) -> None:
    url = way_to(latin, pgbouncer, way)
    view = {"R__view.sql": f"CREATE OR REPLACE VIEW v AS SELECT 1 AS n, '{NAME}'::text AS name;\n"}
    folder = write_folder(tmp_path, {**flights(1, 2, 3), **view})
    applied(url, folder)
    assert written(latin, "SELECT n, name FROM v") == [1]
    again = view["R__view.sql"].replace("SELECT 1", "SELECT 2")
    applied(url, write_folder(folder, {"R__view.sql": again}))
    assert written(latin, "SELECT n, name FROM v") == [2]
    applied(url, folder, "rollback", "--steps", "2")
    assert written(latin, UNDONE) == [2, 3]
    applied(url, folder)
    assert written(latin) == [1, 2, 2, 3, 3]


@pytest.mark.parametrize("way", ["direct", "session"])
@pytest.mark.parametrize("between", ["VACUUM people;\n", "RESET ALL;\n"])
def test_files_outside_a_transaction_write_their_text(
    latin: Database, pgbouncer: MakePgBouncer, tmp_path: Path, way: str, between: str
) -> None:
    alone = f"{ALONE}{insert(2)}{between}{insert(3)}{between}{insert(4)}"
    down = {"002_alone.down.sql": f"{ALONE}{insert(2, 'undone')}VACUUM undone;\n"}
    files = {**flights(1), "002_alone.sql": alone, **down, **flights(5)}
    folder = write_folder(tmp_path, files)
    url = way_to(latin, pgbouncer, way)
    result = run_job(None, folder, DIRECT_URL=url)
    assert result.code == 0, result.stderr
    assert written(latin) == [1, 2, 3, 4, 5]
    undone = run_job(None, folder, "rollback", "--steps", "2", DIRECT_URL=url)
    assert undone.code == 0, undone.stderr
    assert written(latin, UNDONE) == [2, 5]


@pytest.mark.parametrize("way", POOLED)
def test_an_application_of_the_same_pool_gets_and_gives_right_text_after_the_job(
    latin: Database, pgbouncer: MakePgBouncer, tmp_path: Path, way: str
) -> None:
    url = way_to(latin, pgbouncer, way)
    applied(url, write_folder(tmp_path, flights(1, 2)))
    for n, encoding in enumerate(("LATIN1", None, "UTF8"), 3):
        ask(url, insert(n), encoding)
        assert ask(url, PEOPLE, encoding) == [(n, NAME) for n in range(1, n + 1)]
    assert written(latin) == [1, 2, 3, 4, 5]


def test_a_command_that_reads_leaves_the_encoding_of_the_pool_alone(
    latin: Database, pgbouncer: MakePgBouncer, tmp_path: Path
) -> None:
    folder = write_folder(tmp_path, flights(1, 2))
    applied(latin.url, folder)
    url = way_to(latin, pgbouncer, "transaction, pool of one")
    for command in ("status", "verify", "wait", "history", "report"):
        applied(url, folder, command)
        assert ask(url, PEOPLE, "LATIN1") == [(1, NAME), (2, NAME)]
        assert state(url)["setting client_encoding"] == "UTF8"


def test_a_text_that_the_database_cannot_hold_is_refused(latin: Database, tmp_path: Path) -> None:
    """Only where the database itself is LATIN1; the other one holds everything."""
    folder = write_folder(tmp_path, {**flights(1, 2), "003_euro.sql": "SELECT '€';\n"})
    result = run_job(latin.url, folder)
    if latin.query("SHOW server_encoding") == [("LATIN1",)]:
        assert (result.code, result.error["sqlstate"]) == (15, "22P05")
        assert "003_euro.sql:1:9: the database's encoding, LATIN1" in result.error["message"]
        assert result.applied == ["001_name", "002_name"]
    else:
        assert result.code == 0


def test_an_undo_that_the_database_cannot_hold_is_named(latin: Database, tmp_path: Path) -> None:
    files = {"001_a.sql": "CREATE TABLE a (id int);\n", "001_a.down.sql": "-- →\nDROP TABLE a;\n"}
    result = run_job(latin.url, write_folder(tmp_path, files))
    if latin.query("SHOW server_encoding") == [("LATIN1",)]:
        assert result.code == 15, result.stderr
        assert "001_a.down.sql:1:4: the database's encoding, LATIN1" in result.error["message"]
        assert latin.query("SELECT to_regclass('a')") == [(None,)]
    else:
        assert result.code == 0


def test_a_pooler_that_keeps_our_encoding_from_the_server_ends_the_run(
    database: Database, tmp_path: Path
) -> None:
    """What is applied is said to be; the next file would be garbled, and is not sent."""
    kept = "SET client_encoding = 'UTF8';\nCLOSE ALL"

    def in_latin(text: str) -> str:
        return text.replace(kept, kept.replace("UTF8", "LATIN1"))

    database.query("CREATE TABLE people (n int, name text)")
    wire = Wire(database.server, in_latin)
    result = run_job(wire.through(database.url), write_folder(tmp_path, flights(1, 2)))
    wire.stop()
    assert result.code == 16
    assert len(result.applied) == 1
    assert "LATIN1" in result.error["message"]
    assert database.query("SELECT count(*) FROM schema_migrations") == [(1,)]
