"""RUN_AS: the files run as a role, and what is recorded of them is the login role's."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psycopg2
import pytest

from tests.builders import write_folder
from tests.conftest import Database, MakePgBouncer
from tests.job import Result, run_job

WHO = "INSERT INTO app.seen VALUES ('{}', current_user);\n"
FIRST = "CREATE TABLE app.seen (place text, who text);\n"
SEEN = "SELECT place, who FROM app.seen ORDER BY place"
BUILD = "-- migrator: no-transaction\nCREATE INDEX CONCURRENTLY built ON app.seen (who);\n"


@pytest.fixture
def deployer(database: Database) -> Iterator[Database]:
    """A login role that has no right but to become `app Owner`, whose the schema is."""
    admin = database.query
    admin('CREATE ROLE "app Owner"')
    admin("CREATE ROLE deployer LOGIN NOINHERIT PASSWORD 'deployer'")
    admin('GRANT "app Owner" TO deployer')
    admin('CREATE SCHEMA app AUTHORIZATION "app Owner"')
    admin("CREATE SCHEMA ops AUTHORIZATION deployer")
    yield database.as_user("deployer", "deployer")
    for role in ("deployer", '"app Owner"'):
        admin(f"DROP OWNED BY {role} CASCADE")
        admin(f"DROP ROLE {role}")


def up(url: str | None, folder: Path, *words: str, **settings: str) -> Result:
    own = {"RUN_AS": "app Owner", "MIGRATIONS_SCHEMA": "ops", **settings}
    return run_job(url, folder, *words, **own)


def test_files_hooks_and_undos_run_as_the_role_and_the_history_is_the_login_s(
    database: Database, deployer: Database, tmp_path: Path
) -> None:
    folder = write_folder(
        tmp_path,
        {
            "before.sql": "CREATE TABLE IF NOT EXISTS app.hooked ();\n",
            "001_a.sql": FIRST,
            "002_b.sql": WHO.format("file"),
            "002_b.down.sql": WHO.format("undo"),
            "R__c.sql": WHO.format("repeatable"),
            "after.sql": WHO.format("hook"),
        },
    )
    assert up(deployer.url, folder).code == 0
    undone = up(deployer.url, folder, "rollback", "--steps", "1")
    assert undone.code == 0, undone.stderr
    places = ("file", "hook", "repeatable", "undo")
    assert database.query(SEEN) == [(place, "app Owner") for place in places]
    owners = database.query(
        "SELECT DISTINCT nspname, pg_get_userbyid(relowner) FROM pg_class AS c"
        "  JOIN pg_namespace AS n ON n.oid = relnamespace WHERE nspname IN ('app', 'ops')"
    )
    assert sorted(owners) == [("app", "app Owner"), ("ops", "deployer")]


@pytest.mark.parametrize(
    "left",
    ["RESET ROLE", "SET ROLE deployer", "SET SESSION AUTHORIZATION DEFAULT", "RESET ALL"],
)
def test_a_file_may_leave_another_role_and_nothing_of_it_stays(
    database: Database, deployer: Database, tmp_path: Path, left: str
) -> None:
    files = {"001_a.sql": FIRST, "002_b.sql": f"{left};\n", "003_c.sql": WHO.format("next")}
    result = up(deployer.url, write_folder(tmp_path, files))
    assert (result.code, result.applied) == (0, ["001_a", "002_b", "003_c"])
    assert database.query(SEEN) == [("next", "app Owner")]


def test_a_file_of_several_messages_runs_as_the_role_to_its_end(
    database: Database, deployer: Database, tmp_path: Path
) -> None:
    rows = "COPY app.seen (place) FROM stdin;\n" + "x\n" * 10 + "\\.\n"
    text = FIRST + "-- " + "x" * 1_200_000 + "\n" + WHO.format("middle") + rows + WHO.format("end")
    folder = write_folder(tmp_path, {"001_a.sql": text})
    assert up(deployer.url, folder).code == 0
    found = database.query(SEEN)
    assert found[:2] == [("end", "app Owner"), ("middle", "app Owner")]
    assert len(found) == 12


ALONE = {
    "001_a.sql": FIRST,
    "002_b.sql": f"{BUILD}{WHO.format('b')}VACUUM app.seen;\n",
    "003_c.sql": f"-- migrator: no-transaction\n{WHO.format('c1')}RESET ROLE;\n"
    "SELECT 1 / (current_user = 'deployer')::int;\nSET ROLE \"app Owner\";\n"
    f"{WHO.format('c2')}DROP INDEX CONCURRENTLY app.built;\n",
    "003_c.down.sql": f"{BUILD}{WHO.format('undo')}",
}


def test_statements_outside_a_transaction_run_as_the_role_too(
    database: Database, deployer: Database, tmp_path: Path
) -> None:
    folder = write_folder(tmp_path, ALONE)
    result = up(deployer.url, folder)
    assert result.code == 0, result.stderr
    assert up(deployer.url, folder, "rollback", "--steps", "1").code == 0
    assert database.query(SEEN) == [(p, "app Owner") for p in ("b", "c1", "c2", "undo")]
    # a login that inherits nothing may build no index on another role's table
    assert database.query(
        "SELECT pg_get_userbyid(relowner) FROM pg_class WHERE relname = 'built'"
    ) == [("app Owner",)]


def test_behind_a_pooler_in_transaction_mode_nothing_of_the_role_stays(
    database: Database, deployer: Database, pgbouncer: MakePgBouncer, tmp_path: Path
) -> None:
    pooler = pgbouncer(
        database, pool_mode="transaction", pool_size=1, users={"deployer": "deployer"}
    )
    pooled = pooler.url(database.dbname, "deployer", "deployer")
    files = {"001_a.sql": FIRST, "002_b.sql": f"-- migrator: no-transaction\n{WHO.format('b')}"}
    folder = write_folder(tmp_path, files)
    done = up(None, folder, DIRECT_URL=pooled)
    assert done.code == 0, done.stderr
    refused = up(None, write_folder(tmp_path, {"003_c.sql": BUILD}), DIRECT_URL=pooled)
    assert refused.code == 2
    assert 'SET ROLE "app Owner"' in refused.error["message"]
    assert "003_c is not applied, and nothing of it is left" in refused.report["outcome"]
    assert database.query(SEEN) == [("b", "app Owner")]
    with closing(psycopg2.connect(pooled)) as client, client.cursor() as cursor:
        cursor.execute("SELECT current_user")  # on the one connection that the pool has
        assert cursor.fetchall() == [("deployer",)]
    assert up(deployer.url, folder).applied == ["003_c"]


@pytest.mark.parametrize("there", [True, False])
@pytest.mark.parametrize(
    "body",
    [
        pytest.param(FIRST, id="one transaction"),
        pytest.param(f"-- migrator: no-transaction\n{FIRST}", id="shares a message"),
        pytest.param("-- migrator: no-transaction\nVACUUM;\n", id="alone"),
    ],
)
def test_a_role_that_is_unknown_or_not_granted_is_16_with_what_to_type(
    database: Database, deployer: Database, tmp_path: Path, body: str, there: bool
) -> None:
    role = "Not there"
    folder = write_folder(tmp_path, {"001_a.sql": body})
    if there:
        database.query(f'CREATE ROLE "{role}"')
    try:
        assert up(deployer.url, folder, "plan", RUN_AS=role).code == 16
        assert up(deployer.url, folder, "status", RUN_AS=role).code == 0
        refused = up(deployer.url, folder, RUN_AS=role)
        assert refused.code == 16
        assert f"the files cannot run as {role}" in refused.error["message"]
        typed = re.findall(r"((?:CREATE ROLE|GRANT) .*?;)", refused.error["remedy"])
        assert len(typed) == 2 - there
        for statement in typed:
            database.query(statement)
        database.query(f'GRANT ALL ON SCHEMA app TO "{role}"')
        assert up(deployer.url, folder, RUN_AS=role).code == 0
    finally:
        database.query(f'DROP OWNED BY "{role}" CASCADE')
        database.query(f'DROP ROLE "{role}"')


def test_a_right_that_is_missing_is_granted_to_the_role_and_not_to_the_login(
    database: Database, deployer: Database, tmp_path: Path
) -> None:
    database.query("CREATE TABLE public.others (id int)")
    folder = write_folder(tmp_path, {"001_a.sql": "SELECT * FROM public.others;\n"})
    refused = up(deployer.url, folder)
    assert refused.code == 15
    assert 'GRANT SELECT ON TABLE public.others TO "app Owner"' in refused.error["remedy"]


def test_a_run_with_nothing_pending_asks_nothing_of_the_role(
    deployer: Database, tmp_path: Path
) -> None:
    folder = write_folder(tmp_path, {"001_a.sql": FIRST})
    assert up(deployer.url, folder).code == 0
    assert up(deployer.url, folder, RUN_AS="of nobody").code == 0


def test_a_rehearsal_needs_no_such_role(database: Database, tmp_path: Path) -> None:
    folder = write_folder(tmp_path, {"001_a.sql": "CREATE TABLE a ();\n"})
    settings = {"SHADOW_DATABASE_URL": database.url, "RUN_AS": "of nobody"}
    for command in ("rehearse", "check"):
        assert run_job(None, folder, command, **settings).code == 0


BATCHES = (
    "-- migrator: batches app.seen by place size 10\n"
    "UPDATE app.seen SET who = current_user WHERE place BETWEEN\n"
    "  current_setting('migrator.from') AND current_setting('migrator.upto');\n"
)


def test_batches_run_as_the_role(database: Database, deployer: Database, tmp_path: Path) -> None:
    rows = "INSERT INTO app.seen SELECT 'p' || n FROM generate_series(1, 25) AS n;\n"
    key = "ALTER TABLE app.seen ADD PRIMARY KEY (place);\n"
    files = {"001_a.sql": f"{FIRST}{key}{rows}", "002_b.sql": BATCHES}
    folder = write_folder(tmp_path, files)
    result = up(deployer.url, folder)
    assert result.code == 0, result.stderr
    assert database.query("SELECT DISTINCT who FROM app.seen") == [("app Owner",)]
    refused = up(deployer.url, write_folder(tmp_path, {"003_c.sql": BATCHES}), RUN_AS="nobody")
    assert refused.code == 16
    assert "the files cannot run as nobody" in refused.error["message"]


@pytest.mark.parametrize("together", ["1", "16"])
def test_files_that_share_a_message_run_as_the_role(
    database: Database, deployer: Database, tmp_path: Path, together: str
) -> None:
    files = {"001_a.sql": FIRST} | {
        f"00{n}_x.sql": f"{WHO.format(n)}RESET ROLE;\n" for n in range(2, 7)
    }
    folder = write_folder(tmp_path, files)
    refused = up(deployer.url, folder, RUN_AS="nobody", FILES_PER_FLIGHT=together)
    assert refused.code == 16
    assert "the files cannot run as nobody" in refused.error["message"]
    assert database.query("SELECT count(*) FROM ops.schema_migrations") == [(0,)]
    assert up(deployer.url, folder, FILES_PER_FLIGHT=together).code == 0
    assert database.query(SEEN) == [(str(n), "app Owner") for n in range(2, 7)]


def test_the_default_grants_that_count_are_those_of_the_role(
    database: Database, deployer: Database, tmp_path: Path
) -> None:
    made = [role for role in ("anon", "authenticated") if not is_there(database, role)]
    for role in made:
        database.query(f"CREATE ROLE {role}")
    try:
        database.query(
            'ALTER DEFAULT PRIVILEGES FOR ROLE "app Owner" IN SCHEMA public '
            "GRANT SELECT ON TABLES TO anon"
        )
        folder = write_folder(tmp_path, {"001_a.sql": "CREATE TABLE public.open_one (id int);\n"})
        shadow = database.server.url("postgres", database.user, database.password)
        words = ("check", "--json")
        found = [
            json.loads(
                up(deployer.url, folder, *words, SHADOW_DATABASE_URL=shadow, RUN_AS=role).stdout
            )["advice"]
            for role in ("app Owner", "")
        ]
        assert found[0] != found[1]
    finally:
        for role in made:
            database.query(f"DROP OWNED BY {role} CASCADE")
            database.query(f"DROP ROLE {role}")


def is_there(database: Database, role: str) -> bool:
    return bool(database.query("SELECT FROM pg_roles WHERE rolname = %s", role))
