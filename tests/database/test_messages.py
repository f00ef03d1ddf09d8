"""Every message that any command sends: what it begins with, and what it asks before it reads.

A first message goes to a session as its last client left it, so it begins with the reset. A later
one, in a transaction or session of our own, does not: the reset would take what the file has made.
No message reads or writes one of our tables before it has asked who controls that.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

import pytest

from migrator.history.guard import lock_key
from migrator.postgres.quoting import CLEAN, TAIL
from tests.builders import write_folder
from tests.conftest import Database, create_database, drop_database
from tests.job import Job, run_job
from tests.wire import Query, Wire


class Kind(Enum):
    """What a message is sent into."""

    FIRST = "a session as its last client left it"
    LATER = "a transaction or session of our own"
    TIDY = "what we leave; it gives the session back"
    ALONE = "a session that the message before has reset: the server wants it by itself"
    TRIAL = "a scratch database, where a file is run to see what it does"


#: How each message begins, and where it may be sent.
MESSAGES: dict[str, Kind] = {
    r"/\* migrator reads its tables, ": Kind.FIRST,
    r"/\* migrator reads its log, ": Kind.FIRST,
    r"/\* migrator prepares its tables, ": Kind.FIRST,
    r"/\* migrator writes its log, ": Kind.FIRST,
    r"/\* migrator (00\d|R_)_\w+, run \S+ \*/ DO LANGUAGE plpgsql .migrator.\nBEGIN\n  IF pg_c"
    r"[\s\S]*?MG008": Kind.FIRST,
    r"/\* migrator looks for old transactions \*/": Kind.FIRST,
    r"/\* migrator looks for the tables of another tool, ": Kind.FIRST,
    r"/\* migrator reads the history of another tool, ": Kind.FIRST,
    r"/\* migrator adopts the history of dbmate, ": Kind.FIRST,
    r"/\* migrator looks at the catalog, ": Kind.FIRST,
    r"/\* migrator makes a scratch database \*/": Kind.FIRST,
    r"/\* migrator takes its lock, ": Kind.FIRST,
    r"/\* migrator repair ": Kind.FIRST,
    r"/\* migrator waits \*/": Kind.FIRST,
    r"/\* migrator measures tables, ": Kind.FIRST,
    r"/\* migrator traces 00\d_\w+, run ": Kind.FIRST,
    r"/\* migrator (looks for the table of batches|looks for the next batch), ": Kind.FIRST,
    r"/\* migrator (prepares|reads) its cursor, ": Kind.FIRST,
    r"/\* migrator asserts, ": Kind.FIRST,
    r"/\* migrator \*/": Kind.FIRST,
    r"/\* migrator observes \*/": Kind.FIRST,
    r"/\* migrator 00\d_\w+, run \S+ \*/ (INSERT|CREATE|COPY|SELECT)": Kind.LATER,
    r"/\* migrator 00\d_\w+, run \S+ \*/ DO LANGUAGE [\s\S]*?MG009": Kind.LATER,
    r"/\* migrator:\S+:00\d_\w+:\d+ \*/ ": Kind.LATER,
    r"/\* migrator \S+, run \S+ \*/ SET LOCAL SESSION AUTHORIZATION DEFAULT": Kind.LATER,
    r"SET work_mem ": Kind.LATER,
    r"/\* migrator \S+, run \S+ \*/ SET idle_session_timeout ": Kind.LATER,
    r"SELECT pg_catalog.set_config\('(lock_timeout|migrator.name)'": Kind.LATER,
    r"(ROLLBACK; )?RESET SESSION AUTHORIZATION": Kind.TIDY,
    r"(CREATE|DROP) DATABASE ": Kind.ALONE,
    r"/\* migrator looks at what a (file|statement) ": Kind.TRIAL,
    r"DROP TABLE t$|DELETE FROM t\b|SET CONSTRAINTS ALL IMMEDIATE$|ROLLBACK$": Kind.TRIAL,
}
FILES = {
    "001_table.sql": "CREATE TABLE t (a int, b text);\n",
    "001_table.down.sql": "DROP TABLE t;\n",
    "002_copy.sql": "COPY t FROM stdin;\n1\tx\n\\.\nSELECT 1;\n",
    "002_copy.down.sql": "DELETE FROM t;\n",
    "003_big.sql": "".join(f"INSERT INTO t VALUES (1, '{'x' * 700_000}');\n" for _ in range(2)),
    "003_big.down.sql": "DELETE FROM t WHERE length(b) > 1;\n",
    "004_index.sql": "-- migrator: no-transaction\nSET work_mem = '8MB';\nSELECT 1;\n"
    "CREATE INDEX CONCURRENTLY t_a ON t (a);\n",
    "004_index.down.sql": "-- migrator: no-transaction\nDROP INDEX CONCURRENTLY t_a;\n",
    "R__view.sql": "CREATE OR REPLACE VIEW v AS SELECT 1 AS one;\n",
}
#: Two batches are committed; the next run reads how far they came, and is refused as well.
IN_BATCHES = {
    "001_table.sql": "CREATE TABLE t AS SELECT g AS id, 0 AS a FROM generate_series(1, 6) AS g;\n"
    "ALTER TABLE t ADD PRIMARY KEY (id);\n",
    "002_batches.sql": "-- migrator: assert before SELECT true\n"
    "-- migrator: batches t by id size 2\n"
    "UPDATE t SET a = 1 / (id - 5) WHERE id BETWEEN current_setting('migrator.from')::int"
    " AND current_setting('migrator.upto')::int;\n",
}
FAILS = {"005_fails.sql": "SELECT 1/0;\n"}


@dataclass
class Sent:
    """A message, and how it is expected to be."""

    query: Query
    kind: Kind


@pytest.fixture(scope="module")
def sent(server: object, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Query]]:
    """What all commands send, one after the other."""
    made = [create_database(server) for _ in range(5)]  # type: ignore[arg-type]
    wire = Wire(made[0].server)
    try:
        _all_commands(wire, made, tmp_path_factory.mktemp("messages"))
        yield wire.queries
    finally:
        wire.stop()
        for database in made:
            drop_database(database)


def _all_commands(wire: Wire, made: list[Database], path: Path) -> None:
    database, foreign, declared, shadow, batched = made
    folder = write_folder(path / "folder", FILES)
    url = wire.through(database.url)

    def run(code: int, *argv: str, at: str = url, files: Path = folder, **more: str) -> None:
        result = run_job(at, files, *argv, **more)
        assert result.code == code, result.stderr

    run(0, "up")
    run(0, "up")
    for words in (["status"], ["plan"], ["verify"], ["wait"], ["history"], ["report"]):
        run(0, *words)
    run(15, "up", files=write_folder(path / "fails", {**FILES, **FAILS}))
    changed = write_folder(path / "changed", {**FILES, "001_table.sql": "SELECT 'changed';\n"})
    run(0, "repair", "--accept-checksum", "001_table", "--reason", "test", files=changed)
    run(0, "repair", "--accept-checksum", "001_table", "--reason", "test")
    _competition(url, database, folder, path)
    run(0, "rollback", "--steps", "4", "--yes", files=folder)
    run(0, "rehearse", SHADOW_DATABASE_URL=wire.through(shadow.url))
    given = write_folder(path / "given", {"001_table.sql": FILES["001_table.sql"]})
    declared.query("CREATE TABLE t (a int, b text)")
    shadow_url = wire.through(shadow.url)
    at = wire.through(declared.url)
    run(
        0,
        *("baseline", "--at", "001_table", "--check"),
        at=at,
        files=given,
        SHADOW_DATABASE_URL=shadow_url,
    )
    foreign.query("CREATE SCHEMA other; CREATE TABLE other.schema_migrations (version text)")
    foreign.query("INSERT INTO other.schema_migrations VALUES ('001')")
    adopt = ("adopt", "--from", "dbmate", "--table", "other.schema_migrations")
    run(0, *adopt, at=wire.through(foreign.url), files=given)
    batches = write_folder(path / "batches", IN_BATCHES)
    run(15, "up", at=wire.through(batched.url), files=batches)
    run(15, "up", at=wire.through(batched.url), files=batches)


def _competition(url: str, database: Database, folder: Path, path: Path) -> None:
    """A run that waits, one that is observed."""
    files = {**FILES, "005_lock.sql": "LOCK TABLE t;\n", "005_lock.down.sql": "SELECT 1;\n"}
    more = write_folder(path / "more", files)
    holder = database.connect()
    with holder.cursor() as cursor:
        cursor.execute(f"SELECT pg_advisory_lock({lock_key('public')})")
        job = Job(url, more, "up", PROGRESS_INTERVAL="1s")
        job.hear("lock.waiting")
        cursor.execute("BEGIN; LOCK TABLE t")
        cursor.execute(f"SELECT pg_advisory_unlock({lock_key('public')})")
        job.hear("migration.retry")
        cursor.execute("COMMIT")
    assert job.result().code == 0
    holder.close()
    assert run_job(url, more, "rollback", "--steps", "1", "--yes").code == 0


def kind_of(query: Query) -> list[tuple[str, Kind]]:
    return [(begin, kind) for begin, kind in MESSAGES.items() if re.match(begin, query.text)]


def test_each_message_is_of_one_known_kind(sent: list[Query]) -> None:
    unknown = [query.text[:200] for query in sent if len(kind_of(query)) != 1]
    assert not unknown


@pytest.mark.parametrize("begin", MESSAGES)
def test_each_kind_of_message_is_sent(sent: list[Query], begin: str) -> None:
    assert any(re.match(begin, query.text) for query in sent)


def test_first_messages_reset_and_others_do_not(sent: list[Query]) -> None:
    reset = ";\n".join(CLEAN)
    for query in sent:
        [(begin, kind)] = kind_of(query)
        text = re.sub(r"^/\*.*?\*/ ", "", query.text)
        assert text.startswith(reset) is (kind is Kind.FIRST), (begin, query.text[:300])
        assert query.text.count(reset) == (kind is Kind.FIRST), begin


def test_first_messages_go_to_idle_sessions_and_others_to_our_own(sent: list[Query]) -> None:
    held: set[int] = set()  # connections whose session holds our lock
    for query in sent:
        [(begin, kind)] = kind_of(query)
        if kind is Kind.FIRST:
            assert query.state == "I", begin
            assert query.connection not in held, begin
        if kind is Kind.LATER:
            assert query.state == "T" or query.connection in held, begin
        if "takes its lock" in query.text[:60]:
            held.add(query.connection)
        if all(statement in query.text for statement in TAIL):
            held.discard(query.connection)


READS = re.compile(
    r'(?:FROM|INTO|UPDATE|JOIN|TABLE)\s+("(?:public|other)"\.(?:schema_migrations|"schema_m)\w*)'
)


def test_no_message_touches_our_tables_before_it_has_asked(sent: list[Query]) -> None:
    for query in sent:
        if query.state == "T":
            continue  # the transaction's first message has asked, and holds the lock
        for found in READS.finditer(query.text):
            before = query.text[: found.start()]
            if before.endswith(("LOCK ", "CREATE ", "ALTER ")):
                continue  # locks and DDL evaluate nothing of the table's
            assert "relhasrules" in before, query.text[max(0, found.start() - 200) : found.end()]
            assert "LOCK TABLE" in before


def test_the_search_path_is_set_before_the_first_name_is_looked_up(sent: list[Query]) -> None:
    for query in sent:
        [(begin, kind)] = kind_of(query)
        if kind is Kind.FIRST and "traces" not in begin:  # a trace looks nothing up
            text = re.sub(r"^/\*.*?\*/ ", "", query.text).removeprefix(";\n".join(CLEAN) + ";\n")
            text = re.sub(
                r"^(BEGIN|SET LOCAL TRANSACTION) ISOLATION LEVEL READ COMMITTED;\n", "", text
            )
            lasting = (
                r"^(SET \w+ = [^;]*;\n)+(SET LOCAL [\w ]+ DEFAULT;\n)*(SET client_\w+ = \S+\n)?"
            )
            text = re.sub(lasting, "", text)
            if not text.startswith("SELECT pg_catalog.set_config("):
                assert text.startswith("SET LOCAL search_path = pg_catalog, pg_temp"), text[:300]
