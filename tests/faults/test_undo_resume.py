"""No-transaction undos that are killed at every boundary, and what the next rollback makes of them.

In the end the catalog is that of an undo which nobody has interrupted.
"""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.builders import write_folder
from tests.conftest import Database, MakeProxy, create_database
from tests.faults.test_resume import (
    KINDS,
    LOCKED,
    OUTCOME,
    SETUP,
    Case,
    drop_case,
    running,
    sent_as,
)
from tests.job import Job, Result, run_job, until
from tests.postgres import Address
from tests.proxy import Cut

#: What only the message that takes the row away holds.
FINISH = b"WITH gone AS"
BACK = ("rollback", "--to", "001_base")
STANDS = "SELECT version FROM schema_migrations WHERE version = '002_alone'"
BUILT = "CREATE INDEX CONCURRENTLY built ON t (a)"


def a_case(server: Address, tmp_path: Path, statement: str) -> Case:
    """A database with a migration outside a transaction, whose undo has `statement` in it."""
    database = create_database(server)
    database.query(SETUP)
    alone = "-- migrator: no-transaction\n"
    down = (
        f"{alone}SET search_path = public;\nINSERT INTO steps VALUES (1);\n"
        f"{statement};\nINSERT INTO steps VALUES (2);\n"
    )
    files = {
        "001_base.sql": "SELECT 1;\n",
        "002_alone.sql": f"{alone}{BUILT};\n",
        "002_alone.down.sql": down,
    }
    folder = write_folder(tmp_path / database.dbname, files)
    assert run_job(database.url, folder).code == 0
    return Case(database, folder, statement)


#: One for each way in which an interrupted statement is settled.
UNDOS = {
    "drop index": "DROP INDEX CONCURRENTLY built",
    **{kind: KINDS[kind] for kind in ("create index", "reindex table", "detach", "insert")},
}


@pytest.fixture(params=UNDOS)
def cases(server: Address, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[list[Case]]:
    """Two databases alike: to interrupt one, and to compare with."""
    made = [a_case(server, tmp_path, UNDOS[request.param]) for _ in range(2)]
    yield made
    for case in made:
        drop_case(case)


@pytest.fixture
def dropping(server: Address, tmp_path: Path) -> Iterator[Case]:
    case = a_case(server, tmp_path, UNDOS["drop index"])
    yield case
    drop_case(case)


def rolled_back(result: Result) -> list[str]:
    return [done["version"] for done in result.report["rolled_back"]]


def killed_at(case: Case, proxy: MakeProxy, needle: bytes, moment: Cut) -> None:
    cutter = proxy(case.database)
    jobs: list[Job] = []
    cutter.cut_at(needle, moment, lambda: jobs[0].process.kill())
    jobs.append(Job(cutter.through(case.database.url), case.folder, *BACK))
    assert jobs[0].result().code == -signal.SIGKILL


def state(database: Database, folder: Path) -> str:
    shown = json.loads(run_job(database.url, folder, "status", "--json").stdout)["migrations"]
    [found] = [row["state"] for row in shown if row["version"] == "002_alone"]
    return str(found)


@pytest.mark.parametrize(
    ("needle", "moment", "between"),
    [
        pytest.param(
            b"INSERT INTO steps VALUES (1)", Cut.BEFORE, "applied", id="before anything is sent"
        ),
        pytest.param(
            b"INSERT INTO steps VALUES (1)", Cut.DONE, "dirty", id="before the statement's intent"
        ),
        pytest.param(None, Cut.BEFORE, "dirty", id="before it is sent"),
        pytest.param(None, Cut.SENT, "dirty", id="while it runs, or just after"),
        pytest.param(None, Cut.DONE, "dirty", id="done and not recorded"),
        pytest.param(OUTCOME, Cut.DONE, "dirty", id="recorded, before the next one"),
        pytest.param(FINISH, Cut.BEFORE, "dirty", id="before the row is taken away"),
        pytest.param(FINISH, Cut.DONE, "pending", id="after the row is taken away"),
    ],
)
def test_an_undo_killed_at_any_boundary_is_settled_by_the_next_rollback(
    cases: list[Case], proxy: MakeProxy, needle: bytes | None, moment: Cut, between: str
) -> None:
    interrupted, whole = cases
    assert run_job(whole.database.url, whole.folder, *BACK).code == 0
    statement = sent_as(interrupted.statement)
    killed_at(interrupted, proxy, needle or statement, moment)
    database, folder = interrupted.database, interrupted.folder
    until(lambda: not database.query(LOCKED))
    assert state(database, folder) == between
    for command in ("up", "plan", "verify"):
        if between == "dirty":
            refused = run_job(database.url, folder, command)
            assert refused.code == 14
            assert "rollback" in refused.error["remedy"]
    result = run_job(database.url, folder, *BACK)
    assert result.code == 0, result.stderr
    assert interrupted.holds() == whole.holds()
    assert database.query(STANDS) == []
    assert state(database, folder) == "pending"


def test_a_connection_lost_at_an_undo_is_settled_by_the_same_run(
    cases: list[Case], proxy: MakeProxy
) -> None:
    interrupted, whole = cases
    assert run_job(whole.database.url, whole.folder, *BACK).code == 0
    cutter = proxy(interrupted.database)
    cutter.cut_at(sent_as(interrupted.statement), Cut.DONE)
    result = run_job(cutter.through(interrupted.database.url), interrupted.folder, *BACK)
    assert (result.code, rolled_back(result)) == (0, ["002_alone"]), result.stderr
    assert interrupted.holds() == whole.holds()


def test_an_answer_lost_when_the_row_goes_is_found_to_be_its_own(
    dropping: Case, proxy: MakeProxy
) -> None:
    cutter = proxy(dropping.database)
    cutter.cut_at(FINISH, Cut.DONE)
    result = run_job(cutter.through(dropping.database.url), dropping.folder, *BACK)
    assert (result.code, rolled_back(result)) == (0, ["002_alone"]), result.stderr


def test_after_an_interrupted_undo_up_begins_with_a_clean_journal_and_down_again(
    dropping: Case, proxy: MakeProxy
) -> None:
    database, folder = dropping.database, dropping.folder
    for _ in range(2):
        killed_at(dropping, proxy, b"*/ " + dropping.statement.encode(), Cut.DONE)
        until(lambda: not database.query(LOCKED))
        assert run_job(database.url, folder, *BACK).code == 0
        assert database.query("SELECT to_regclass('built')") == [(None,)]
        again = run_job(database.url, folder)
        assert (again.code, again.applied) == (0, ["002_alone"])
        assert len(again.of("statement.done")) == 1
        assert database.query("SELECT to_regclass('built')::text") == [("built",)]
        assert run_job(database.url, folder, "verify").code == 0
    assert database.query("SELECT n FROM steps ORDER BY n") == [(1,), (1,), (2,), (2,)]


def test_up_waits_for_an_undo_that_is_at_work_and_plans_again(dropping: Case) -> None:
    database, folder = dropping.database, dropping.folder
    with closing(database.connect()) as holder:
        holder.autocommit = False
        holder.cursor().execute("LOCK TABLE t IN ROW EXCLUSIVE MODE")
        back = Job(database.url, folder, *BACK)
        until(lambda: running(dropping))
        assert run_job(database.url, folder, "up", WAIT_TIMEOUT="300ms").code == 21
        assert run_job(database.url, folder, "wait", WAIT_TIMEOUT="300ms").code == 24
        forth = Job(database.url, folder)
        lines = iter(forth.process.stderr or ())
        assert any('"lock.waiting"' in line for line in lines)
    assert back.result().code == 0
    result = forth.result()
    assert result.code == 0, result.stderr
    assert database.query("SELECT to_regclass('built')::text") == [("built",)]


def test_a_stop_cancels_the_undo_and_says_what_it_leaves(dropping: Case) -> None:
    database, folder = dropping.database, dropping.folder
    with closing(database.connect()) as holder:
        holder.autocommit = False
        holder.cursor().execute("LOCK TABLE t IN ROW EXCLUSIVE MODE")
        job = Job(database.url, folder, *BACK)
        until(lambda: running(dropping))
        job.process.send_signal(signal.SIGTERM)
        stopped = job.result()
    assert stopped.code == 23
    assert stopped.report["outcome"] == (
        "the undo of 002_alone is not finished; done and committed: statement 2; statement 3 is to "
        "be settled"
    )
    result = run_job(database.url, folder, *BACK)
    assert result.code == 0, result.stderr
    assert database.query("SELECT to_regclass('built')") == [(None,)]


LOOP = "DO $$ BEGIN INSERT INTO steps VALUES (5); COMMIT; INSERT INTO steps VALUES (6); END $$"


@pytest.fixture
def looping(server: Address, tmp_path: Path, proxy: MakeProxy) -> Iterator[Case]:
    """An undo that was killed before a statement of which the catalog cannot tell."""
    case = a_case(server, tmp_path, LOOP)
    killed_at(case, proxy, b"*/ DO $$", Cut.BEFORE)
    until(lambda: not case.database.query(LOCKED))
    yield case
    drop_case(case)


@pytest.mark.parametrize(
    ("flag", "assumed", "rows"),
    [
        ("--retry", "has left nothing behind; `rollback` runs it", [1, 2, 5, 6]),
        ("--done", "has taken effect; `rollback` goes on after it", [1, 2]),
    ],
)
def test_a_person_answers_for_a_statement_of_an_undo_as_for_one_of_a_migration(
    looping: Case, flag: str, assumed: str, rows: list[int]
) -> None:
    database, folder = looping.database, looping.folder
    asked = run_job(database.url, folder, *BACK)
    assert asked.code == 14
    assert asked.error["message"].startswith("002_alone.down.sql:4: statement 3 of 4 (DO) was")
    assert "lets the next `rollback` run it again" in asked.error["remedy"]
    answered = run_job(database.url, folder, "repair", flag, "002_alone", "--reason", "looked")
    assert answered.code == 0, answered.stderr
    assert assumed in " ".join(answered.stdout.split())
    assert run_job(database.url, folder, *BACK).code == 0
    assert database.query("SELECT n FROM steps ORDER BY n") == [(n,) for n in rows]
    assert database.query(STANDS) == []


def test_an_undo_may_be_given_up_or_told_to_be_whole(looping: Case) -> None:
    database, folder = looping.database, looping.folder
    report = run_job(database.url, folder, "report", "--json")
    shown = json.loads(report.stdout)
    assert "would end with 14 (DirtyError): undone in part" in shown["verdict"]
    assert [row["done"] for row in shown["dirty"]] == ["of its undo: statement 2"]
    words = ("002_alone", "--reason", "looked")
    assert run_job(database.url, folder, "repair", "--applied", *words).code == 0
    assert (state(database, folder), run_job(database.url, folder).code) == ("applied", 0)
    assert run_job(database.url, folder, *BACK).code == 0  # from its first statement on
    assert database.query("SELECT n FROM steps ORDER BY n") == [(n,) for n in (1, 1, 2, 5, 6)]


def test_what_began_outside_a_transaction_neither_goes_on_inside_one_nor_stays(
    looping: Case,
) -> None:
    database, folder = looping.database, looping.folder
    (folder / "002_alone.down.sql").write_text("DROP INDEX built;\n")
    refused = run_job(database.url, folder, *BACK, "--from-files")
    assert refused.code == 14
    assert "now it is none" in refused.error["message"]
    assert database.query("SELECT to_regclass('built')::text") == [("built",)]
    to_stay = run_job(database.url, folder, "rollback", "--to", "002_alone")
    assert (to_stay.code, to_stay.error["message"]) == (
        14,
        "undone in part, and to stay: 002_alone",
    )
    words = ("repair", "--not-applied", "002_alone", "--reason", "took the rest away by hand")
    database.query("DROP INDEX built")
    assert run_job(database.url, folder, *words).code == 0
    assert run_job(database.url, folder).applied == ["002_alone"]
