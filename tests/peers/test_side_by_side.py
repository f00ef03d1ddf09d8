"""The same folder by a tool and by ours: the same database; and what a tool made is taken over."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from migrator.scratch.snapshot import Snapshot, differences
from tests.catalog import read_catalog
from tests.conftest import Database, create_database, drop_database
from tests.database.test_formats import FOLDERS, lay
from tests.job import run_job, until
from tests.peers.tools import PATIENCE, PEERS, Peer
from tests.switching import DAYS, HASHES, LEFT, ONE, THREE, TWO, graphile, sha256

OURS = {"MIGRATIONS_SCHEMA": "migrator"}
#: How docs/switching.md says that the third migration becomes the tool's own again; Supabase's
#: history is written by ours.
BACK = {
    "dbmate": f"INSERT INTO schema_migrations VALUES ('{DAYS[2]}')",
    "supabase": "",
    "node-pg-migrate": "INSERT INTO pgmigrations (name, run_on) "
    f"VALUES ('{LEFT['node-pg-migrate'].versions[2]}', now())",
    "graphile-migrate": "INSERT INTO graphile_migrate.migrations (hash, previous_hash, filename) "
    f"VALUES ('{HASHES[2]}', '{HASHES[1]}', '000003.sql')",
    "drizzle": "INSERT INTO drizzle.__drizzle_migrations (hash, created_at) "
    f"VALUES ('{sha256(THREE)}', 1704067200002)",
    "sql-migrate": "INSERT INTO gorp_migrations VALUES ('003_three.sql', now())",
}
WAITING = "ALTER TABLE one ADD b int;\n"
BLOCKED = "SELECT EXISTS (SELECT FROM pg_locks WHERE relation = 'one'::regclass AND NOT granted)"
Make = Callable[[], Database]


@pytest.fixture
def make(peer: Peer, request: pytest.FixtureRequest) -> Iterator[Make]:
    """Make new databases, of the kind that the tool is for."""
    if peer.name == "supabase":
        yield request.getfixturevalue("supabase_database")
        return
    server = request.getfixturevalue("server")
    with ExitStack() as stack:

        def new() -> Database:
            made = create_database(server)
            stack.callback(drop_database, made)
            return made

        yield new


def catalog(database: Database, *tables: str) -> Snapshot:
    """What is in the database, without these tables, their parts, and schemas made for them."""
    with closing(database.connect()) as session:
        found = read_catalog(session)
    schemas = {table.partition(".")[0] for table in tables} - {"public"}
    hidden = {*tables, *(table.removeprefix("public.") for table in tables), *schemas}
    return {
        key: item for key, item in found.items() if not {item.name, item.of, item.schema} & hidden
    }


def columns(database: Database, table: str) -> set[tuple[str, str]]:
    sql = (
        "SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute "
        "WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped"
    )
    return {(name, kind) for name, kind in database.query(sql, table)}


def first_two(files: dict[str, str]) -> dict[str, str]:
    """The folder before its third migration was written."""
    kept = {name: text for name, text in files.items() if "three" not in name}
    if "meta/_journal.json" in kept:
        journal = json.loads(kept["meta/_journal.json"])
        kept["meta/_journal.json"] = json.dumps({**journal, "entries": journal["entries"][:2]})
    return kept


def test_both_make_the_same_database(peer: Peer, make: Make, tmp_path: Path) -> None:
    theirs, ours = make(), make()
    golden = FOLDERS[peer.name]
    folder = lay(tmp_path / peer.within, golden.files)
    peer.run(theirs, tmp_path)
    done = run_job(ours.url, folder, **{**golden.settings, **OURS})
    assert done.code == 0, done.stderr
    table = "migrator.schema_migrations"
    made = catalog(theirs, peer.table)
    assert {
        ("table", "public.one"),
        ("index", "public.one_a"),
        ("function", "public.two()"),
    } <= made.keys()
    found = differences(made, catalog(ours, table))
    assert [one.in_words("by the tool", "by ours") for one in found] == []


def test_what_it_made_is_taken_over(peer: Peer, make: Make, tmp_path: Path) -> None:
    database = make()
    tool = peer.name
    left = LEFT[tool]
    folder = lay(tmp_path / peer.within, first_two(left.files))
    peer.run(database, tmp_path)
    lay(folder, left.files)
    settings = {**left.settings, "ADOPT": tool}
    done = run_job(database.url, folder, "--json", **settings)
    assert (done.code, done.applied) == (0, [left.versions[2]]), done.stderr
    adopted = json.loads(done.stdout)["adoption"]
    assert [row["state"] for row in adopted] == ["adopted", "adopted", "pending"]
    assert [row["content"] for row in adopted][:2] == [left.proved] * 2
    for command in ("verify", "status"):
        said = run_job(database.url, folder, command, **settings)
        assert said.code == 0, said.stderr


def test_what_it_made_of_harder_texts_is_proved_too(peer: Peer, make: Make, tmp_path: Path) -> None:
    """Functions, statements outside a transaction, texts in several parts."""
    database = make()
    golden, left = FOLDERS[peer.name], LEFT[peer.name]
    folder = lay(tmp_path / peer.within, golden.files)
    peer.run(database, tmp_path)
    settings = {**golden.settings, **left.settings, "ADOPT": peer.name}
    done = run_job(database.url, folder, "--json", **settings)
    assert (done.code, done.applied) == (0, []), done.stderr
    adopted = json.loads(done.stdout)["adoption"]
    assert [(row["version"], row["state"], row["content"]) for row in adopted] == [
        (version, "adopted", left.proved) for version in golden.versions
    ]
    assert run_job(database.url, folder, "verify", **settings).code == 0


def test_the_way_back_is_the_one_of_the_page(peer: Peer, make: Make, tmp_path: Path) -> None:
    """The third file makes a table, so that the tool would fail if it ran it again."""
    database = make()
    left = LEFT[peer.name]
    folder = lay(tmp_path / peer.within, first_two(left.files))
    peer.run(database, tmp_path)
    lay(folder, left.files)
    settings = {**left.settings, "ADOPT": peer.name}
    if peer.name == "supabase":
        settings["SYNC_SUPABASE_HISTORY"] = "on"
    done = run_job(database.url, folder, **settings)
    assert (done.code, done.applied) == (0, [left.versions[2]]), done.stderr
    if peer.name == "prisma":
        peer.run(database, tmp_path, "migrate", "resolve", "--applied", left.versions[2])
    elif BACK[peer.name]:
        database.query(BACK[peer.name])
    peer.run(database, tmp_path)


@pytest.mark.parametrize("peer", [tool for tool in PEERS if LEFT[tool].lock], indirect=True)
def test_its_lock_is_known_while_it_is_at_work(peer: Peer, make: Make, tmp_path: Path) -> None:
    database, left = make(), LEFT[peer.name]
    files = {name: text.replace(THREE, WAITING) for name, text in left.files.items()}
    if peer.name == "graphile-migrate":
        files["committed/000003-three.sql"] = graphile((ONE, TWO, WAITING))[0][2]
    folder = lay(tmp_path / peer.within, first_two(files))
    peer.run(database, tmp_path)
    lay(folder, files)
    with closing(database.connect()) as session, session.cursor() as cursor:
        cursor.execute("BEGIN; LOCK TABLE one")
        started = peer.start(database, tmp_path)
        try:
            until(lambda: database.query(BLOCKED) == [(True,)], PATIENCE)
            done = run_job(database.url, folder, **left.settings, ADOPT=peer.name)
        finally:
            started.kill()
            started.communicate()
    assert done.code == 21, done.stderr


def test_its_table_is_the_one_that_the_other_tests_make(
    peer: Peer, make: Make, tmp_path: Path
) -> None:
    theirs, written = make(), make()
    left = LEFT[peer.name]
    lay(tmp_path / peer.within, first_two(left.files))
    peer.run(theirs, tmp_path)
    written.query(left.sql)
    assert columns(theirs, peer.table) == columns(written, peer.table)
