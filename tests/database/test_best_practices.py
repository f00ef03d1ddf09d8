"""docs/best-practices.md: each SQL block is run, and what the page says of it is looked at."""

from __future__ import annotations

import re
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import psycopg2
import psycopg2.extensions
import pytest

from tests.builders import write_folder
from tests.conftest import Database, MakeSupabase
from tests.job import Job, run_job, until
from tests.pages import ROOT, shown_by

PAGE = (ROOT / "docs" / "best-practices.md").read_text()
#: Weakest first, as in chapter "Explicit Locking" of PostgreSQL's manual.
MODES = [
    *("ACCESS SHARE", "ROW SHARE", "ROW EXCLUSIVE", "SHARE UPDATE EXCLUSIVE", "SHARE"),
    *("SHARE ROW EXCLUSIVE", "EXCLUSIVE", "ACCESS EXCLUSIVE"),
]
CLAIM = re.compile(
    r"\*\*Lock\*\* on `(?P<table>\w+)`: (?P<mode>none|`[A-Z ]+`); "
    r"readers (?P<readers>wait|go on), writers (?P<writers>wait|go on)"
    r"(?P<rewritten>; the table is rewritten)?\."
)
REFUSED = re.compile(r"\*\*Refused\*\*: `(\w{5})`\.")
PARTS = re.compile(r"^```sql\n(.*?)^```\n(.*?)(?=^```sql|\Z)", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    """One SQL block, and what the page says of it."""

    sql: str
    claims: tuple[re.Match[str], ...]
    refused: str | None

    @property
    def transactional(self) -> bool:
        return not re.search("-- migrator: (no-transaction|batches)", self.sql)


def blocks(text: str) -> list[Block]:
    found = []
    for sql, after in PARTS.findall(text):
        refused = REFUSED.search(after)
        found.append(Block(sql, tuple(CLAIM.finditer(after)), refused[1] if refused else None))
    return found


UNFILLED = "SELECT count(*) FROM customers WHERE email_key IS NULL"
INTRODUCTION, *REST = re.split(r"^## ", PAGE, flags=re.MULTILINE)
SETUP = blocks(INTRODUCTION)[0].sql
SECTIONS = {part.partition("\n")[0]: blocks(part) for part in REST}
ON_SUPABASE = "Supabase"
WITH_SQL = [name for name, found in SECTIONS.items() if found and name != ON_SUPABASE]


def files_of(section: str) -> dict[str, str]:
    """The files of a section, without those that are refused."""
    texts = [SETUP, *(block.sql for block in SECTIONS[section] if not block.refused)]
    return {f"{number:03}_step.sql": text for number, text in enumerate(texts, 1)}


def strongest(database: Database, pid: int, oid: int) -> str | None:
    """The strongest lock that a backend has been granted on a table."""
    held = database.query(
        "SELECT mode FROM pg_locks WHERE locktype = 'relation' AND granted AND pid = %s"
        " AND relation = %s AND database = (SELECT oid FROM pg_database"
        " WHERE datname = current_database())",
        pid,
        oid,
    )
    modes = [re.sub("(?<!^)(?=[A-Z])", " ", mode.removesuffix("Lock")).upper() for (mode,) in held]
    return max(modes, key=MODES.index, default=None)


def goes_on(database: Database, statement: str) -> bool:
    """Whether a statement gets its locks although somebody else has locks of his own."""
    with closing(database.connect()) as connection, connection.cursor() as cursor:
        cursor.execute("SET lock_timeout = '50ms'")
        try:
            cursor.execute(statement)
        except psycopg2.errors.LockNotAvailable:
            return False
        return True


def check(database: Database, claim: re.Match[str], oid: int, pid: int) -> None:
    """What the page claims, seen while the backend is in the middle of it."""
    table = claim["table"]
    mode = strongest(database, pid, oid)
    assert claim["mode"] == ("none" if mode is None else f"`{mode}`")
    assert goes_on(database, f"SELECT FROM {table} LIMIT 1") is (claim["readers"] == "go on")
    writes = goes_on(database, f"DELETE FROM {table} WHERE id < 0")
    assert writes is (claim["writers"] == "go on")


def oid_of(database: Database, table: str) -> int:
    [(oid,)] = database.query("SELECT %s::regclass::oid::bigint", table)
    return int(oid)


def in_a_transaction(database: Database, block: Block) -> None:
    """Run it, look, and roll back."""
    filenode = "SELECT pg_relation_filenode(%s)"
    with closing(database.connect()) as connection, connection.cursor() as cursor:
        connection.autocommit = False
        oids = {claim["table"]: oid_of(database, claim["table"]) for claim in block.claims}
        before = {oid: database.query(filenode, oid) for oid in oids.values()}
        cursor.execute(block.sql)
        for claim in block.claims:
            oid = oids[claim["table"]]
            check(database, claim, oid, connection.info.backend_pid)
            cursor.execute(filenode, (oid,))
            assert (cursor.fetchall() != before[oid]) is bool(claim["rewritten"]), claim[0]


def outside_a_transaction(database: Database, block: Block, folder: Path) -> None:
    """Let the job run it while somebody's write makes it wait in the middle, and look."""
    [claim] = block.claims
    oid = oid_of(database, claim["table"])
    working = (
        "SELECT pid FROM pg_stat_activity WHERE query ~ '^/[*] migrator[: ]' AND state = 'active'"
        " AND wait_event_type = 'Lock' AND datname = current_database()"
    )
    with closing(database.connect()) as writer, writer.cursor() as cursor:
        writer.autocommit = False
        cursor.execute(f"UPDATE {claim['table']} SET id = id WHERE id = 2400")
        job = Job(database.url, folder, LOCK_TIMEOUT="1min")
        try:
            [(pid,)] = until(partial(database.query, working))
            check(database, claim, oid, pid)
        finally:
            writer.rollback()
            result = job.result()
    assert result.code == 0, result.stderr


@pytest.mark.parametrize("section", WITH_SQL)
def test_each_block_locks_what_the_page_says(
    database: Database, tmp_path: Path, section: str
) -> None:
    """And the job takes each of them as a file."""
    folder = write_folder(tmp_path, {"001_step.sql": SETUP})
    assert run_job(database.url, folder).code == 0
    number = 1
    for block in SECTIONS[section]:
        assert bool(block.claims) is not bool(block.refused), block.sql
        if block.refused:
            with pytest.raises(psycopg2.Error) as caught:
                in_a_transaction(database, block)
            assert caught.value.pgcode == block.refused
            continue
        number += 1
        write_folder(folder, {f"{number:03}_step.sql": block.sql})
        if block.transactional:
            in_a_transaction(database, block)
        else:
            outside_a_transaction(database, block, folder)
        result = run_job(database.url, folder)
        assert result.code == 0, result.stderr


def test_every_section_has_blocks_or_says_what_shows_it() -> None:
    assert list(SECTIONS)[-1] == "What shows it"
    assert all(SECTIONS[name] for name in list(SECTIONS)[:-1])
    assert sum(map(len, SECTIONS.values())) == PAGE.count("\n```sql\n") - 1


def test_what_the_page_points_to_is_there() -> None:
    shown = list(shown_by(PAGE))
    assert len(shown) > 15
    assert [(file, test) for file, test in shown if f"\ndef {test}(" not in file] == []


@pytest.fixture
def after(database: Database, tmp_path: Path) -> Database:
    """A database with the tables of the examples."""
    assert run_job(database.url, write_folder(tmp_path, {"001_step.sql": SETUP})).code == 0
    return database


def test_an_idempotent_file_can_run_twice(after: Database) -> None:
    [block] = SECTIONS["Idempotency"]
    columns = "SELECT table_name, column_name FROM information_schema.columns ORDER BY 1, 2"
    after.query(block.sql)
    once = after.query(columns), after.query("SELECT * FROM coupons")
    after.query(block.sql)
    assert (after.query(columns), after.query("SELECT * FROM coupons")) == once


def test_a_release_with_two_phases(database: Database, tmp_path: Path) -> None:
    """The commands of the page, in their order; both applications work until the last phase."""
    [part] = [part for part in REST if part.startswith("Expand and contract\n")]
    commands = re.findall(r"^migrator (\w.*?) +# ", part, re.MULTILINE)
    assert len(commands) == 6
    files = files_of("Expand and contract")
    before = write_folder(tmp_path / "before", {"001_step.sql": SETUP})
    release = write_folder(tmp_path / "release", files)
    assert run_job(database.url, before).code == 0
    old = "INSERT INTO customers (email, name) VALUES ('old', 'Old') RETURNING name"
    new = "INSERT INTO customers (email, full_name) VALUES ('new', 'New') RETURNING full_name"
    applied: list[str] = []
    for command in commands[:-1]:
        if command == commands[-2]:
            assert database.query(old) == [("Old",)]
            assert database.query(new) == [("New",)]
            both = "SELECT count(*) FROM customers WHERE name IS DISTINCT FROM full_name"
            assert database.query(both) == [(0,)]
            assert run_job(database.url, before, "wait").code == 0
        result = run_job(database.url, release, *command.split())
        assert result.code == 0, result.stderr
        applied += result.applied
    assert [f"{version}.sql" for version in applied] == list(files)[1:]
    assert database.query(new) == [("New",)]
    assert run_job(database.url, before, commands[-1]).code == 12


def test_if_not_exists_compares_names_and_nothing_else(after: Database) -> None:
    after.query("CREATE TABLE coupons (other integer)")
    after.query("CREATE TABLE IF NOT EXISTS coupons (code text PRIMARY KEY)")
    columns = "SELECT column_name FROM information_schema.columns WHERE table_name = 'coupons'"
    assert after.query(columns) == [("other",)]


@pytest.mark.parametrize("proved", [True, False])
def test_a_valid_check_spares_the_reading_of_the_table(after: Database, proved: bool) -> None:
    promise, validate, take = SECTIONS["NOT NULL"]
    after.query(promise.sql)
    if proved:
        after.query(validate.sql)
    with closing(after.connect()) as connection, connection.cursor() as cursor:
        cursor.execute("SET client_min_messages = debug1")
        cursor.execute(take.sql)
        told = "".join(connection.notices)
    assert ("are sufficient to prove" in told) is proved
    assert ('verifying table "orders"' in told) is not proved


def test_a_constraint_that_is_not_valid_holds_for_new_rows(after: Database) -> None:
    after.query("UPDATE orders SET customer_id = -1 WHERE id = 1")
    after.query(SECTIONS["Foreign keys"][0].sql)
    with pytest.raises(psycopg2.errors.ForeignKeyViolation):
        after.query("INSERT INTO orders (customer_id) VALUES (-1)")
    after.query(SECTIONS["NOT NULL"][0].sql)
    with pytest.raises(psycopg2.errors.CheckViolation):
        after.query("INSERT INTO orders (customer_id) VALUES (NULL)")


def test_a_backfill_commits_batch_by_batch(after: Database, tmp_path: Path) -> None:
    folder = write_folder(tmp_path, files_of("Backfills"))
    assert run_job(after.url, folder).code == 0
    batches = "SELECT count(*) FROM customers GROUP BY xmin::text ORDER BY min(id)"
    assert len(after.query(batches)) > 2
    assert after.query(UNFILLED) == [(0,)]


def test_old_and_new_code_write_one_name(after: Database) -> None:
    expand, fill, contract = SECTIONS["Expand and contract"]
    names = "SELECT name, full_name FROM customers WHERE email = 'x'"
    after.query(expand.sql)
    after.query("INSERT INTO customers (email, name) VALUES ('x', 'old code')")
    assert after.query(names) == [("old code", "old code")]
    after.query("UPDATE customers SET full_name = 'new code' WHERE email = 'x'")
    assert after.query(names) == [("new code", "new code")]
    after.query("UPDATE customers SET name = 'old again' WHERE email = 'x'")
    assert after.query(names) == [("old again", "old again")]
    after.query("DELETE FROM customers WHERE email = 'x'")
    after.query("INSERT INTO customers (email, full_name) VALUES ('x', 'new code')")
    assert after.query(names) == [("new code", "new code")]
    after.query(fill.sql)
    after.query(contract.sql)
    assert after.query("SELECT count(*) FROM customers WHERE full_name IS NULL") == [(0,)]


def test_a_view_serves_code_that_knows_the_old_name(after: Database) -> None:
    after.query(SECTIONS["Renaming a table"][0].sql)
    after.query("INSERT INTO customers (email) VALUES ('x')")
    after.query("UPDATE customers SET name = 'y' WHERE email = 'x'")
    assert after.query("SELECT name FROM clients WHERE email = 'x'") == [("y",)]
    after.query("DELETE FROM customers WHERE email = 'x'")
    assert after.query("SELECT count(*) FROM customers") == [(2500,)]


def test_a_view_that_is_created_anew_is_never_missing(after: Database) -> None:
    after.query(SECTIONS["Views"][0].sql)
    view = "CREATE VIEW open_orders AS SELECT id FROM orders"
    with closing(after.connect()) as connection, connection.cursor() as cursor:
        connection.autocommit = False
        cursor.execute("DROP VIEW open_orders")
        assert not goes_on(after, "SELECT FROM open_orders LIMIT 1")  # it waits, it does not fail
        cursor.execute("ALTER TABLE orders DROP COLUMN quantity")
        cursor.execute(view)
        connection.commit()
    assert goes_on(after, "SELECT FROM open_orders LIMIT 1")


@pytest.mark.parametrize("data_api", ["closed", "legacy"])
def test_on_supabase_a_table_is_open_to_whom_its_file_says(
    supabase_database: MakeSupabase, tmp_path: Path, data_api: str
) -> None:
    supabase = supabase_database(data_api=data_api)
    supabase.query("CREATE TABLE bare (id int)")  # what a file that says nothing gets
    granted = "SELECT has_table_privilege('anon', %s, 'SELECT')"
    assert supabase.query(granted, "public.bare") == [(data_api == "legacy",)]
    [block] = SECTIONS[ON_SUPABASE]
    assert run_job(supabase.url, write_folder(tmp_path, {"001_notes.sql": block.sql})).code == 0
    supabase.query(
        "INSERT INTO notes (owner, body) VALUES ('00000000-0000-0000-0000-000000000001', 'mine'),"
        " ('00000000-0000-0000-0000-000000000002', 'theirs')"
    )
    me = (
        'SET request.jwt.claims = \'{"sub": "00000000-0000-0000-0000-000000000001"}\';'
        " SET ROLE authenticated; "
    )
    assert supabase.query(me + "SELECT body FROM notes") == [("mine",)]
    assert supabase.query(me + "SELECT size FROM note_sizes") == [(4,)]
    with pytest.raises(psycopg2.errors.InsufficientPrivilege):
        supabase.query(
            me + "INSERT INTO notes (owner, body)"
            " VALUES ('00000000-0000-0000-0000-000000000002', 'forged')"
        )
    for relation in ("notes", "note_sizes"):
        with pytest.raises(psycopg2.errors.InsufficientPrivilege):
            supabase.query(f"SET ROLE anon; SELECT FROM {relation}")


def test_on_supabase_a_view_without_security_invoker_runs_past_rls(supabase: Database) -> None:
    supabase.query(SECTIONS[ON_SUPABASE][0].sql)
    supabase.query(
        "INSERT INTO notes (owner, body) VALUES ('00000000-0000-0000-0000-000000000002', 'theirs')"
    )
    supabase.query("CREATE VIEW leak AS SELECT body FROM notes; GRANT SELECT ON leak TO anon")
    assert supabase.query("SET ROLE anon; SELECT body FROM leak") == [("theirs",)]
