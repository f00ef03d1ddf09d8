"""What others do to the history between two flights is noticed before the second one's file runs.

From its second flight on a run looks at the history's tally instead of its head.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import psycopg2
import pytest

from tests.builders import chain, write_folder
from tests.conftest import Database, create_database, drop_database
from tests.database.test_batches import ROWS, a_table, an_update
from tests.gate import WAITS, files_with_gate, gate
from tests.job import Job, Result, run_job, until
from tests.postgres import Address
from tests.wire import Wire

H = "schema_migrations"
LATER = f"INSERT INTO {H} (version, checksum) VALUES ('0009_other', 'aa')"
#: Whether the history is another one by what is done to it.
MOVED = {
    "a row comes": LATER,
    "a row goes": f"DELETE FROM {H} WHERE version = '002_step'",
    "our own newest row goes": f"DELETE FROM {H} WHERE version = '004_step'",
    "a row is another": f"UPDATE {H} SET checksum = 'aa' WHERE version = '002_step'",
    "a checksum is lost": f"UPDATE {H} SET checksum = NULL WHERE version = '002_step'",
    "a row has another name": f"UPDATE {H} SET version = '0022' WHERE version = '002_step'",
    "two change places": f"""UPDATE {H} AS one SET checksum = other.checksum FROM {H} AS other
  WHERE (one.version, other.version) IN (('001_step', '002_step'), ('002_step', '001_step'))""",
    "one goes and another comes": f"DELETE FROM {H} WHERE version = '002_step'; {LATER}",
    "one goes and comes as another": f"DELETE FROM {H} WHERE version = '002_step'; INSERT INTO {H}"
    " (version, checksum) VALUES ('002_step', 'aa')",
    "a row comes, and is frozen": f"{LATER}; VACUUM (FREEZE) {H}",
    "all are written anew": f"ALTER TABLE {H} ALTER COLUMN checksum TYPE text USING 'aa'",
    "another table is in its place": f"CREATE TABLE other (LIKE {H} INCLUDING ALL); INSERT INTO"
    f" other SELECT * FROM {H} WHERE version <> '002_step'; DROP TABLE {H} CASCADE;"
    f" ALTER TABLE other RENAME TO {H}",
}
UNMOVED = {
    "nothing": "SELECT 1",
    "a row is taken back": f"{LATER}; DELETE FROM {H} WHERE version = '0009_other'",
    "a row is another, and then what it was": f"""UPDATE {H} SET checksum = reverse(checksum);
  UPDATE {H} SET checksum = reverse(checksum)""",
    "one goes and comes again": f"CREATE TEMP TABLE kept AS SELECT * FROM {H}; DELETE FROM {H};"
    f" INSERT INTO {H} SELECT * FROM kept",
    "what no head is about": f"UPDATE {H} SET execution_time_ms = 7",
    "its file is another": f"VACUUM (FULL) {H}",
}


Before = dict[str, Callable[[], object]]  #: what is done before the flight of each version


@contextmanager
def meanwhile(database: Database, before: Before) -> Iterator[str]:
    """A URL by which each is done right before the flight of its version reaches the server."""

    def rewrite(text: str) -> str:
        version = text.partition(",")[0].removeprefix("/* migrator ")
        if version in before:
            before.pop(version)()
        return text

    wire = Wire(database.server, rewrite)
    try:
        yield wire.through(database.url)
    finally:
        wire.stop()


def run(database: Database, path: Path, before: Before) -> Result:
    """Three are applied; the next three come, with what is done meanwhile."""
    files = chain(6)
    first = {name: text for name, text in files.items() if name < "004"}
    assert run_job(database.url, write_folder(path, first)).code == 0
    with meanwhile(database, before) as url:
        return run_job(url, write_folder(path, files))


def script(database: Database, text: str) -> None:
    for statement in text.split(";"):
        database.query(statement)


@pytest.mark.parametrize("what", MOVED)
def test_another_history_is_noticed(database: Database, tmp_path: Path, what: str) -> None:
    result = run(database, tmp_path, {"005_step": lambda: script(database, MOVED[what])})
    assert len(result.of("plan.made")) == 2, result.stderr


@pytest.mark.parametrize("what", UNMOVED)
def test_the_same_history_is_no_other(database: Database, tmp_path: Path, what: str) -> None:
    with closing(psycopg2.connect(database.url)) as session:
        session.autocommit = True

        def change() -> None:
            for statement in UNMOVED[what].split(";"):
                session.cursor().execute(statement)

        result = run(database, tmp_path, {"005_step": change})
    assert (result.code, len(result.of("plan.made"))) == (0, 1), result.stderr


@pytest.mark.parametrize(
    ("prepare", "commit"),
    [
        ([LATER], "COMMIT"),
        (["SAVEPOINT s", LATER, "RELEASE s"], "COMMIT"),
        ([LATER, "PREPARE TRANSACTION 'late'"], "COMMIT PREPARED 'late'"),
    ],
    ids=["a transaction", "a subtransaction", "a prepared one"],
)
def test_a_row_that_is_older_and_committed_later_is_noticed(
    database: Database, tmp_path: Path, prepare: list[str], commit: str
) -> None:
    """It was written before the first flight found the history as it was."""
    with closing(psycopg2.connect(database.url)) as session:
        session.autocommit = True

        def do(*statements: str) -> None:
            for statement in statements:
                session.cursor().execute(statement)

        before: Before = {
            "004_step": lambda: do("BEGIN", *prepare),
            "005_step": lambda: do(commit),
        }
        result = run(database, tmp_path, before)
    assert len(result.of("plan.made")) == 2, result.stderr


def test_the_same_is_noticed_within_a_message(database: Database, tmp_path: Path) -> None:
    """Between two legs, while the first of them is at work; both look at the tally."""
    folder = write_folder(tmp_path, files_with_gate(4, at=3))
    with gate(database):
        job = Job(database.url, folder, LOCK_TIMEOUT="0", FILES_PER_FLIGHT="2")
        until(lambda: database.query(WAITS))
        database.query(LATER)
    result = job.result()
    assert len(result.of("plan.made")) == 2, result.stderr


#: What a file may do to the tally that the guard has kept for the end of its flight.
LOST = "SET migrator.before TO 'a b c d e'"
FORGED = "SET migrator.before TO 'a b c 42'"
REWRITTEN = """SELECT set_config('migrator.before', regexp_replace(
  current_setting('migrator.before'), '^(\\S+ \\S* \\S+) \\S+', '\\1 -42'), true)"""


@pytest.mark.parametrize("kept", ["RESET ALL", LOST, FORGED, REWRITTEN])
def test_what_a_file_does_to_the_tally_costs_no_more_than_a_flight(
    database: Database, tmp_path: Path, kept: str
) -> None:
    """A hook runs again whenever the run looks anew: it could do so for ever."""
    texts = {f"{name}.sql": f"{kept};\n" for name in ("before", "001_a", "002_b", "after")}
    folder = write_folder(tmp_path, {**texts, "003_c.sql": "SELECT 1;\n"})
    result = run_job(database.url, folder, FILES_PER_FLIGHT="2")
    assert (result.code, result.applied) == (0, ["001_a", "002_b", "003_c"]), result.stderr
    assert len(result.of("plan.made")) == 1, result.stderr


def test_so_it_is_in_each_of_many_batches(database: Database, tmp_path: Path) -> None:
    forge = f"""CREATE FUNCTION forge() RETURNS int LANGUAGE plpgsql AS $$
BEGIN {FORGED}; RETURN 1; END $$;\n"""
    texts = {"001_t.sql": a_table() + forge, "002_fill.sql": an_update(what="x = forge()")}
    result = run_job(database.url, write_folder(tmp_path, texts))
    assert (result.code, result.applied) == (0, ["001_t", "002_fill"]), result.stderr
    assert database.query("SELECT x, count(*) FROM t GROUP BY x") == [(1, ROWS)]


def test_where_the_text_cannot_be_sent_the_tally_is_lost_and_nothing_else(
    server: Address, tmp_path: Path
) -> None:
    """A character of the server's own encoding that UTF-8 does not have."""
    odd = create_database(server, "ENCODING 'EUC_JP' LOCALE 'C'")
    kept = r"'a b c ' || convert_from('\x8ffefe', 'EUC_JP')"
    texts = {
        "001_a.sql": f"DO $$ BEGIN PERFORM set_config('migrator.before', {kept}, true); END $$;\n",
        "002_b.sql": "SELECT 1;\n",
    }
    try:
        result = run_job(odd.url, write_folder(tmp_path, texts))
        assert (result.code, result.applied) == (0, ["001_a", "002_b"]), result.stderr
    finally:
        drop_database(odd)


@pytest.mark.parametrize(
    "hidden", ["RESET ALL", FORGED, "SET LOCAL track_counts = off"], ids=["lost", "forged", "off"]
)
def test_a_file_that_deletes_a_row_is_refused_by_the_tally_too(
    database: Database, tmp_path: Path, hidden: str
) -> None:
    """Where the counters prove nothing, and no row is left whose xmin says it."""
    deed = f"{hidden};\nDELETE FROM {H} WHERE version = '001_a';\n"
    texts = {"001_a.sql": "SELECT 1;\n", "002_b.sql": "SELECT 1;\n", "003_c.sql": deed}
    result = run_job(database.url, write_folder(tmp_path, texts))
    assert (result.code, result.applied) == (15, ["001_a", "002_b"]), result.stderr
    assert "history" in result.error["message"]
    assert database.query(f"SELECT version FROM {H} ORDER BY version") == [("001_a",), ("002_b",)]


def flights(wire: Wire) -> Counter[str]:
    """How often each version was sent behind a guard that looks at the history, and at what."""
    found: Counter[str] = Counter()
    for part in "".join(query.text for query in wire.queries).split("/* migrator ")[1:]:
        if "the history has moved" in part:
            by = "tally" if "migrator_tally := (" in part else "head"
            found[f"{part.partition(',')[0]} by {by}"] += 1
    return found


def test_each_kind_of_file_is_added_up_as_the_server_does(
    database: Database, tmp_path: Path
) -> None:
    """A wrong sum stops nothing: the file goes once more. So each must have gone once."""
    alone = "-- migrator: no-transaction\n{} INDEX CONCURRENTLY i{};\n"
    texts = {
        "before.sql": "SELECT 1;\n",
        "001_t.sql": a_table(rows=200),
        "001_t.down.sql": "DROP TABLE t;\n",
        "002_i.sql": alone.format("CREATE", " ON t (x)"),
        "002_i.down.sql": alone.format("DROP", ""),
        "003_fill.sql": an_update(),
        "003_fill.down.sql": an_update(what="x = x - 1"),
        "R__v.sql": "CREATE OR REPLACE VIEW v AS SELECT 1 AS x;\n",
        "R__w.sql": "CREATE OR REPLACE VIEW w AS SELECT 1 AS x;\n",
    }
    assert run_job(database.url, write_folder(tmp_path, texts)).code == 0
    changed = {name: texts[name].replace("SELECT 1", "SELECT 2") for name in texts if "R" in name}
    write_folder(tmp_path, {**changed, "004_e.sql": "SELECT 1;\n", "004_e.down.sql": "SELECT 1;\n"})
    wire = Wire(database.server)
    try:
        for words in ([], ["rollback", "--to", "001_t", "--yes"], []):
            result = run_job(wire.through(database.url), tmp_path, *words)
            assert (result.code, len(result.of("plan.made"))) == (0, 1), result.stderr
    finally:
        wire.stop()
    assert flights(wire) == {
        "before by head": 2,
        "004_e by tally": 2,
        "R__v by tally": 2,
        "R__w by tally": 2,
        "004_e by head": 1,  # the first that is undone
        "003_fill by tally": 4,  # two batches back, and two forth
        "002_i by head": 4,  # two looks each time
    }
