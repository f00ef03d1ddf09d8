"""What keeps the history's tables from being made, taken over or written: named, and not the file.

A table that an older job left may have columns and constraints that our rows do not fit; a role may
be set to another one; an event trigger may name things that only its own search_path finds.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.builders import write_folder
from tests.conftest import Database
from tests.job import run_job

FILES = {
    "001_first_of_many.sql": "CREATE TABLE a (id int);\n",
    "001_first_of_many.down.sql": "DROP TABLE a; -- as before\n",
    "002_b.sql": "SELECT 2;\n",
}
OLDER = (
    "version varchar(255) PRIMARY KEY, applied_at timestamptz DEFAULT now(), checksum varchar(64)"
)
MISFITS = [
    pytest.param("ADD created_by text NOT NULL", 'ALTER "created_by" DROP NOT NULL', id="column"),
    pytest.param(
        "ALTER applied_at DROP DEFAULT, ALTER applied_at SET NOT NULL",
        "ALTER applied_at SET DEFAULT CURRENT_TIMESTAMP",
        id="no default",
    ),
    pytest.param("ALTER version TYPE varchar(8)", "ALTER version TYPE varchar(255)", id="version"),
    pytest.param("ADD rollback_sql varchar(9)", "ALTER rollback_sql TYPE text", id="undo"),
    pytest.param("ADD kind varchar(4) NOT NULL DEFAULT 'sql'", "ALTER kind TYPE text", id="kind"),
    pytest.param("ADD execution_time_ms smallint", "execution_time_ms TYPE integer", id="ms"),
    pytest.param(
        "ADD CONSTRAINT short CHECK (length(version) < 5)", 'DROP CONSTRAINT "short"', id="CHECK"
    ),
    pytest.param(
        "ADD status text CHECK (status = 'done') NOT NULL", "DROP NOT NULL", id="two at once"
    ),
]


def typed(remedy: str) -> str:
    """The SQL of a remedy."""
    found = re.search(r"ALTER TABLE [^;]*;|GRANT [^;]*;|ALTER EVENT TRIGGER [^;]*;", remedy)
    assert found, remedy
    return found[0]


@pytest.mark.parametrize(("change", "remedy"), MISFITS)
def test_a_table_that_does_not_take_our_rows_is_refused_as_it_is_taken_over(
    database: Database, tmp_path: Path, change: str, remedy: str
) -> None:
    database.query(f"CREATE TABLE schema_migrations ({OLDER})")
    database.query(f"ALTER TABLE schema_migrations {change}")
    folder = write_folder(tmp_path, FILES)
    result = run_job(database.url, folder)
    assert (result.code, result.report["outcome"]) == (16, "nothing was changed"), result.stderr
    assert "public.schema_migrations does not take the rows" in result.error["message"]
    assert remedy in result.error["remedy"]
    assert database.query("SELECT to_regclass('schema_migrations_log')") == [(None,)]
    for _ in range(2):  # the remedy, as it stands
        if result.code == 16:
            database.query(typed(result.error["remedy"]))
            result = run_job(database.url, folder)
    assert (result.code, result.applied) == (0, ["001_first_of_many", "002_b"]), result.stderr


def declaring(database: Database, tmp_path: Path, command: str) -> tuple[Path, list[str]]:
    """A folder, and how its two files are recorded as applied."""
    if command == "baseline":
        return write_folder(tmp_path, FILES), ["baseline", "--at", "002_b"]
    database.query(
        "CREATE TABLE public.flyway_schema_history (installed_rank int PRIMARY KEY,"
        " version varchar(50), description varchar(200) NOT NULL, type varchar(20) NOT NULL,"
        " script varchar(1000) NOT NULL, checksum int, installed_by varchar(100) NOT NULL,"
        " installed_on timestamp NOT NULL DEFAULT now(), execution_time int NOT NULL,"
        " success boolean NOT NULL);"
        "INSERT INTO flyway_schema_history VALUES"
        " (1, '001', 'first of many', 'SQL', 'V001__first_of_many.sql', NULL, 'x', now(), 1, true),"
        " (2, '002', 'b', 'SQL', 'V002__b.sql', NULL, 'x', now(), 1, true)"
    )
    return write_folder(tmp_path, FILES), ["adopt", "--from", "flyway"]


@pytest.mark.parametrize("command", ["baseline", "adopt"])
@pytest.mark.parametrize(("change", "remedy"), MISFITS)
def test_what_only_records_meets_the_same_table_and_says_the_same(
    database: Database, tmp_path: Path, change: str, remedy: str, command: str
) -> None:
    database.query(f"CREATE TABLE schema_migrations ({OLDER})")
    database.query(f"ALTER TABLE schema_migrations {change}")
    folder, words = declaring(database, tmp_path, command)
    result = run_job(database.url, folder, *words)
    assert (result.code, result.report["outcome"]) == (16, "nothing was changed"), result.stderr
    assert "public.schema_migrations does not take the rows" in result.error["message"]
    assert remedy in result.error["remedy"]
    for _ in range(2):  # the remedy, as it stands
        if result.code == 16:
            database.query(typed(result.error["remedy"]))
            result = run_job(database.url, folder, *words)
    assert result.code == 0, result.stderr
    assert database.query("SELECT count(*) FROM schema_migrations") == [(2,)]


@pytest.mark.parametrize(
    ("command", "outcome"),
    [("baseline", "the baseline was rolled back"), ("adopt", "nothing was adopted")],
)
@pytest.mark.parametrize(
    ("change", "remedy"),
    [
        ("ADD created_by text NOT NULL", 'ALTER "created_by" DROP NOT NULL'),
        ("ADD CONSTRAINT own CHECK (kind = 'versioned')", 'DROP CONSTRAINT "own"'),
        ("ALTER version TYPE varchar(8)", "ALTER version TYPE varchar(255)"),
    ],
)
def test_what_only_records_meets_a_table_that_was_changed_since(
    database: Database, tmp_path: Path, change: str, remedy: str, command: str, outcome: str
) -> None:
    before = write_folder(tmp_path / "before", {"000_a.sql": "SELECT 1"})
    assert run_job(database.url, before).code == 0
    database.query("DELETE FROM schema_migrations")
    database.query(f"ALTER TABLE schema_migrations {change}")
    folder, words = declaring(database, tmp_path / "after", command)
    result = run_job(database.url, folder, *words)
    assert (result.code, result.report["outcome"]) == (16, outcome), result.stderr
    assert remedy in result.error["remedy"]
    database.query(typed(result.error["remedy"]))
    assert run_job(database.url, folder, *words).code == 0
    assert database.query("SELECT count(*) FROM schema_migrations") == [(2,)]


@pytest.mark.parametrize(
    ("change", "remedy"),
    [
        ("ADD created_by text NOT NULL", 'ALTER "created_by" DROP NOT NULL'),
        ("ADD CONSTRAINT short CHECK (length(version) < 5)", 'DROP CONSTRAINT "short"'),
        ("ALTER version TYPE varchar(8)", "ALTER version TYPE varchar(255)"),
    ],
)
def test_a_table_that_was_changed_since_is_not_the_files_fault(
    database: Database, tmp_path: Path, change: str, remedy: str
) -> None:
    assert (
        run_job(database.url, write_folder(tmp_path / "before", {"000_a.sql": "SELECT 1"})).code
        == 0
    )
    database.query("DELETE FROM schema_migrations")
    database.query(f"ALTER TABLE schema_migrations {change}")
    folder = write_folder(tmp_path / "after", FILES)
    result = run_job(database.url, folder)
    assert (result.code, result.report["outcome"]) == (16, "001_first_of_many was rolled back")
    assert remedy in result.error["remedy"]
    database.query(typed(result.error["remedy"]))
    assert run_job(database.url, folder).code == 0


def test_a_deferred_constraint_of_the_file_is_the_files_fault(
    database: Database, tmp_path: Path
) -> None:
    sql = """CREATE TABLE p (id int PRIMARY KEY);
CREATE TABLE c (id int REFERENCES p DEFERRABLE INITIALLY DEFERRED);
INSERT INTO c VALUES (1);
"""
    result = run_job(database.url, write_folder(tmp_path, {"001_a.sql": sql}))
    assert (result.code, result.error["sqlstate"]) == (15, "23503")


@pytest.fixture
def acting(database: Database) -> Iterator[Database]:
    """A login that is set to another role."""
    for role in ("runner", "owner_of_all"):
        database.query(f"DROP ROLE IF EXISTS {role}")
    database.query("CREATE ROLE owner_of_all; CREATE ROLE runner LOGIN PASSWORD 'x'")
    database.query("GRANT owner_of_all TO runner; ALTER ROLE runner SET role = owner_of_all")
    database.query("REVOKE CREATE ON SCHEMA public FROM PUBLIC")
    yield database.as_user("runner", "x")
    for role in ("runner", "owner_of_all"):
        database.query(f"DROP OWNED BY {role}")
        database.query(f"DROP ROLE {role}")


@pytest.mark.parametrize("revoke", ["", "REVOKE ALL ON SCHEMA public FROM PUBLIC"])
def test_the_remedy_grants_to_the_role_that_acts(
    database: Database, acting: Database, tmp_path: Path, revoke: str
) -> None:
    if revoke:
        database.query(revoke)
    folder = write_folder(tmp_path, FILES)
    result = run_job(acting.url, folder)
    assert result.code == 16
    assert 'TO "owner_of_all";' in result.error["remedy"], result.error
    database.query(typed(result.error["remedy"]))
    assert run_job(acting.url, folder).code == 0


TRIGGER = """CREATE TABLE ddl_log (at timestamptz DEFAULT now(), tag text);
CREATE FUNCTION note_ddl() RETURNS event_trigger LANGUAGE plpgsql
  AS $$ BEGIN INSERT INTO ddl_log (tag) VALUES (tg_tag); END $$;
CREATE EVENT TRIGGER notes ON {event} EXECUTE FUNCTION note_ddl();
"""


@pytest.mark.parametrize("event", ["ddl_command_start", "ddl_command_end"])
@pytest.mark.parametrize("supabase_roles", [False, True])
def test_an_event_trigger_with_unqualified_names_sees_its_own_path(
    database: Database, tmp_path: Path, event: str, supabase_roles: bool
) -> None:
    roles = ("anon", "authenticated", "service_role") if supabase_roles else ()
    for role in (*roles, "onlooker"):
        database.query(f"DROP ROLE IF EXISTS {role}")
        database.query(f"CREATE ROLE {role}")
    database.query(TRIGGER.format(event=event))
    try:
        folder = write_folder(tmp_path, FILES)
        result = run_job(database.url, folder, MIGRATIONS_SCHEMA="ops", HISTORY_READERS="onlooker")
        assert (result.code, len(result.applied)) == (0, 2), result.stderr
        tags = {tag for (tag,) in database.query("SELECT tag FROM ddl_log")}
        assert {"CREATE SCHEMA", "CREATE TABLE", "ALTER TABLE", "CREATE POLICY", "GRANT"} <= tags
        assert ("REVOKE" in tags) == supabase_roles
    finally:
        for role in (*roles, "onlooker"):
            database.query(f"DROP OWNED BY {role}")
            database.query(f"DROP ROLE {role}")


@pytest.mark.parametrize(
    "body",
    ["BEGIN RAISE 'no tables here'; END", "BEGIN INSERT INTO nowhere VALUES (1); END"],
    ids=["it raises", "it fails"],
)
def test_an_event_trigger_that_refuses_our_tables_is_named(
    database: Database, tmp_path: Path, body: str
) -> None:
    database.query(
        f"CREATE FUNCTION refuse() RETURNS event_trigger LANGUAGE plpgsql AS $$ {body} $$;"
        'CREATE EVENT TRIGGER "No!" ON ddl_command_end EXECUTE FUNCTION refuse()'
    )
    folder = write_folder(tmp_path, {"001_a.sql": "SELECT 1"})
    result = run_job(database.url, folder)
    assert (result.code, result.report["outcome"]) == (16, "nothing was changed"), result.stderr
    assert "the event trigger No! refused" in result.error["message"]
    database.query(typed(result.error["remedy"]))
    assert run_job(database.url, folder).code == 0
