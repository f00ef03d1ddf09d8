"""`verify --schema`: the live catalog beside what the applied files make."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.builders import write_folder
from tests.conftest import Database, MakeSupabase, in_charge
from tests.database.test_catalog import MADE
from tests.job import ROOT, Result, run_job
from tests.schemas import problems

LEFT = "SELECT datname FROM pg_database WHERE datname LIKE 'migrator_rehearsal_%'"
SECRET = "Tr0ub4dor"
FILES = {
    "001_a.sql": "CREATE TABLE a (id int PRIMARY KEY, name text);\n",
    "002_b.sql": "-- migrator: no-transaction\nCREATE INDEX CONCURRENTLY a_name ON a (name);\n",
    "R__v.sql": "CREATE OR REPLACE VIEW v AS SELECT id FROM a;\n",
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_folder(tmp_path / "files", FILES)


def drift(database: Database, folder: Path, *words: str, **settings: str) -> Result:
    scratch = {"SHADOW_DATABASE_URL": in_charge(database.server).url, **settings}
    return run_job(database.url, folder, "verify", "--schema", *words, "--json", **scratch)


def differing(result: Result) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(result.stdout)["differences"]
    return found


def names(result: Result) -> list[str]:
    return [f"{one['kind']} {one['name']}: {one['change']}" for one in differing(result)]


def test_a_database_that_its_files_have_made_does_not_differ(
    database: Database, folder: Path
) -> None:
    assert run_job(database.url, folder).code == 0
    result = drift(database, folder)
    assert (result.code, differing(result), result.of("plan.warning")) == (0, [], []), result.stderr
    assert result.report["outcome"] == "the database holds what its applied files make"
    assert database.query(LEFT) == []


CHANGES = """
ALTER TABLE t ENABLE ROW LEVEL SECURITY; ALTER TABLE t ALTER n TYPE bigint;
ALTER TABLE t DROP CONSTRAINT t_name_check; DROP INDEX i;
CREATE OR REPLACE VIEW v AS SELECT id + 0 AS id FROM t; DROP MATERIALIZED VIEW m;
ALTER SEQUENCE s INCREMENT 2; ALTER TYPE e ADD VALUE 'c'; DROP TYPE r; DROP DOMAIN d;
CREATE OR REPLACE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN OLD; END';
DROP PROCEDURE p(); DROP AGGREGATE a(int); DROP TRIGGER g ON t; DROP RULE u ON t;
CREATE POLICY extra ON t USING (n > 0); DROP STATISTICS st; CREATE SCHEMA junk;
CREATE TABLE junk.t (); DROP PUBLICATION pub; ALTER TYPE c ADD ATTRIBUTE b int;
COMMENT ON COLUMN t.name IS 'Another.'; CREATE VIEW "Odd's" AS SELECT 1 AS one;
ALTER DEFAULT PRIVILEGES IN SCHEMA other REVOKE SELECT ON TABLES FROM PUBLIC;
GRANT SELECT ON parted TO PUBLIC; DROP EVENT TRIGGER et;
"""
FOUND = """
aggregate public.a(integer): not in the database
column public.c.b: not by the files
column public.t.n: differs
comment on table column public.t.name: differs
constraint public.t.t_name_check: not in the database
default privileges of the login role for tables in other: not in the database
domain public.d: not in the database
enum public.e: differs
event trigger et: not in the database
function public.f(): differs
index public.i: not in the database
materialized view public.m: not in the database
policy public.t.extra: not by the files
procedure public.p(): not in the database
publication pub: not in the database
range public.r: not in the database
rule public.t.u: not in the database
schema junk: not by the files
sequence public.s: differs
statistics public.st: not in the database
table public.parted: differs
table public.t: differs
trigger public.t.g: not in the database
view public."Odd's": not by the files
view public.v: differs
"""


def test_each_kind_of_thing_is_named_with_a_query_that_shows_it(
    database: Database, tmp_path: Path
) -> None:
    more = "CREATE FUNCTION ef() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END';\n"
    more += "CREATE EVENT TRIGGER et ON sql_drop EXECUTE FUNCTION ef();\n"
    folder = write_folder(tmp_path, {"001_all.sql": MADE + more})
    assert run_job(database.url, folder).code == 0
    assert drift(database, folder).code == 0
    database.query(CHANGES)
    result = drift(database, folder)
    assert result.code == 11, result.stderr
    assert problems("answer", json.loads(result.stdout)) == []
    assert names(result) == FOUND.strip().splitlines()
    for one, finding in zip(differing(result), result.report["findings"], strict=True):
        shown = database.query(one["sql"])
        assert bool(shown) == (one["change"] != "not in the database"), one
        assert finding["remedy"] == f"Look at it with: {one['sql']};"
    [column] = [one for one in differing(result) if one["name"] == "public.t.n"]
    assert column["facts"] == [{"what": "type", "files": "integer", "database": "bigint"}]


def test_what_is_pending_counts_as_pending_and_not_as_drift(
    database: Database, folder: Path
) -> None:
    assert run_job(database.url, folder).code == 0
    changed = "CREATE OR REPLACE VIEW v AS SELECT id, late FROM a;\nCREATE VIEW w AS SELECT 1;\n"
    write_folder(folder, {"003_c.sql": "ALTER TABLE a ADD late int;\n", "R__v.sql": changed})
    write_folder(folder, {"R__new.sql": "CREATE OR REPLACE VIEW new AS SELECT 1 AS one;\n"})
    result = drift(database, folder)
    assert (result.code, differing(result)) == (24, []), result.stderr
    database.query("ALTER TABLE a ADD late int")
    result = drift(database, folder)
    assert (result.code, names(result)) == (11, ["column public.a.late: not by the files"])


def test_what_was_declared_and_never_ran_here_is_compared_too(
    database: Database, folder: Path
) -> None:
    database.query("CREATE TABLE a (id int PRIMARY KEY, name varchar(9))")
    assert run_job(database.url, folder, "baseline", "--at", "2").code == 0
    assert run_job(database.url, folder).applied == ["R__v"]
    result = drift(database, folder)
    assert (result.code, names(result)) == (
        11,
        ["column public.a.name: differs", "index public.a_name: not in the database"],
    )


def test_the_history_of_a_tool_before_this_one_is_no_drift(
    database: Database, tmp_path: Path
) -> None:
    folder = write_folder(tmp_path, {"001_a.sql": "CREATE TABLE a (id int);\n"})
    database.query("CREATE TABLE a (id int); CREATE SCHEMA own")
    database.query("CREATE TABLE schema_migrations (version varchar(128) PRIMARY KEY)")
    database.query("INSERT INTO schema_migrations VALUES ('001')")
    own = {"MIGRATIONS_SCHEMA": "own"}
    assert run_job(database.url, folder, "adopt", "--from", "dbmate", **own).code == 0
    result = drift(database, folder, **own)
    assert (result.code, names(result)) == (0, []), result.stderr


def test_what_others_own_is_left_out_by_name(database: Database, folder: Path) -> None:
    hook = "GRANT SELECT ON ALL TABLES IN SCHEMA public TO pg_monitor;\n"
    write_folder(folder, {"after.sql": hook})
    assert run_job(database.url, folder).code == 0
    assert drift(database, folder).code == 0
    database.query("CREATE SCHEMA jobs; CREATE TABLE jobs.job ()")
    database.query("CREATE TABLE events_2026_01 (id int PRIMARY KEY); CREATE TABLE mine ()")
    database.query("CREATE SCHEMA theirs; CREATE EXTENSION pg_trgm SCHEMA public")
    database.query("ALTER EXTENSION pg_trgm ADD SCHEMA theirs")
    result = drift(database, folder, "--ignore", "jobs, public.events_*")
    assert (result.code, names(result)) == (11, ["table public.mine: not by the files"])
    [warning] = result.of("plan.warning")
    assert warning["problem"].startswith("extension pg_trgm is there in the database")
    database.query("DROP TABLE mine; ALTER TABLE a OWNER TO pg_signal_backend")
    database.query("ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO pg_read_all_stats")
    database.query("GRANT SELECT ON a TO pg_read_all_stats")
    result = drift(database, folder, "--ignore", "jobs,public.events_*")
    said = "\n".join(line["problem"] for line in result.of("plan.warning"))
    assert result.code == 0, result.stderr
    assert (
        "owner the login role by the files, pg_signal_backend in the database: table public.a"
        in said
    )
    assert "the database's default privileges give more on table public.a" in said
    database.query("GRANT DELETE ON a TO pg_read_all_stats")
    result = drift(database, folder, "--ignore", "jobs,public.events_*")
    assert (result.code, names(result)) == (11, ["table public.a: differs"])


@pytest.mark.parametrize("data_api", ["closed", "legacy"])
def test_what_supabase_brings_is_no_drift(supabase_database: MakeSupabase, data_api: str) -> None:
    database = supabase_database(data_api=data_api)
    folder = ROOT / "migrations"
    assert run_job(database.url, folder).code == 0
    result = drift(database, folder)
    assert (result.code, names(result)) == (0, []), result.stderr
    database.query("CREATE TABLE public.by_hand ()")
    database.as_superuser().query("CREATE TABLE auth.theirs ()")
    result = drift(database, folder)
    assert (result.code, names(result)) == (11, ["table public.by_hand: not by the files"])


def test_no_body_of_a_function_is_shown(database: Database, tmp_path: Path) -> None:
    make = "CREATE OR REPLACE FUNCTION f() RETURNS text LANGUAGE sql AS $$SELECT '{}'::text$$;\n"
    folder = write_folder(tmp_path, {"001_f.sql": make.format("x")})
    assert run_job(database.url, folder).code == 0
    database.query(make.format(SECRET))
    result = drift(database, folder, LOG_LEVEL="debug")
    assert (result.code, differing(result)[0]["facts"]) == (11, [{"what": "definition"}])
    assert SECRET not in result.stdout + result.stderr


def test_what_cannot_be_compared_is_refused(database: Database, folder: Path) -> None:
    assert run_job(database.url, folder).code == 0
    result = run_job(database.url, folder, "verify", "--schema")
    assert (result.code, result.error["message"]) == (2, "no scratch database is named")
    assert "make verify ARGS=--schema" in result.error["remedy"]
    assert run_job(database.url, folder, "verify", "--ignore", "x").code == 2
    (folder / "002_b.sql").unlink()
    result = drift(database, folder)
    assert (result.code, result.error["remedy"]) == (
        12,
        "Run `verify --schema` with the folder of the image that applied them.",
    )
    assert database.query(LEFT) == []


def test_a_role_that_only_reads_compares_the_same(database: Database, folder: Path) -> None:
    role = f"reader_of_{database.dbname}"
    database.query(f"CREATE ROLE {role} LOGIN PASSWORD 'x'")
    try:
        assert run_job(database.url, folder, HISTORY_READERS=role).code == 0
        result = drift(database.as_user(role, "x"), folder)
        assert (result.code, names(result)) == (0, []), result.stderr
        [warning] = result.of("plan.warning")
        assert warning["problem"].startswith("owner the login role by the files")
    finally:
        database.query(f"DROP OWNED BY {role}; DROP ROLE {role}")
