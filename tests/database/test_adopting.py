"""`adopt` on what other tools left, and the Supabase CLI's history kept in step.

tests/fixtures/adopt/ says of each history which tool made it, and how.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psycopg2.extensions
import pytest

from migrator.adopt.tools import TRACKERS
from migrator.history.guard import lock_key
from tests.builders import write_folder
from tests.conftest import FIXTURES, Database, MakePgBouncer, MakeProxy, MakeSupabase
from tests.job import Job, Result, run_job, until
from tests.proxy import Cut

LEFT = FIXTURES / "adopt"
#: The folder of each tool under the names that files have here, and what of it is applied.
FOLDERS: dict[str, Mapping[str, str]] = {
    "flyway": {
        "001_create_locations.sql": "create table locations (id int);\n",
        "002_add_column_location_history_valid_until.sql": "alter table location_history add "
        "column valid_until timestamp with time zone;\n",
        "002_add_column_location_history_valid_until.down.sql": "SELECT 2;",
        "003_from_java.sql": "-- Java did it\n",
    },
    "golang-migrate": {"000001_a.sql": "SELECT 1;", "000002_b.sql": "SELECT 2;"},
    "goose": {"00001_a.sql": "-- +goose Up\nSELECT 1;", "00002_b.sql": "-- +goose Up\nSELECT 2;"},
}
PROVED = {
    "flyway": ["equal", "equal", "not provable"],
    "dbmate": ["not provable"] * 2,
    "golang-migrate": ["not provable"] * 2,
    "goose": ["not provable"] * 2,
    "supabase": ["equal"] * 6,
    "prisma": ["equal"] * 3,
}
HISTORY = "SELECT version, kind FROM migrator.schema_migrations ORDER BY version"
TABLES = "SELECT count(*) FROM pg_class WHERE relname LIKE 'schema_migrations_log'"
MIRROR = "SELECT to_jsonb(m) FROM supabase_migrations.schema_migrations AS m ORDER BY version"
OURS = {"MIGRATIONS_SCHEMA": "migrator"}


def left_by(tool: str, database: Database) -> None:
    """Bring the database to where the tool left it."""
    database.query((LEFT / tool / "history.sql").read_bytes().decode())


def folder_of(tool: str, tmp_path: Path) -> Path:
    if tool not in FOLDERS:
        return write_folder(
            tmp_path, {f.name: f.read_bytes() for f in (LEFT / tool / "migrations").iterdir()}
        )
    return write_folder(tmp_path, FOLDERS[tool])


def adopt(url: str, folder: Path, tool: str, *words: str, **settings: str) -> Result:
    return run_job(url, folder, "adopt", "--from", tool, "--json", *words, **{**OURS, **settings})


def table(result: Result) -> list[dict[str, Any]]:
    rows = json.loads(result.stdout)["adoption"]
    assert isinstance(rows, list)
    return rows


@pytest.mark.parametrize("way", ["direct", "pooled"])
@pytest.mark.parametrize("tool", PROVED)
def test_a_history_is_taken_over_once_and_with_proof(
    database: Database, pgbouncer: MakePgBouncer, tmp_path: Path, tool: str, way: str
) -> None:
    left_by(tool, database)
    folder = folder_of(tool, tmp_path)
    url = database.url
    if way == "pooled":
        url = pgbouncer(database, pool_mode="transaction", pool_size=1).url(database.dbname)
    result = adopt(url, folder, tool)
    assert result.code == 0, result.stderr
    rows = [row for row in table(result) if row["found"] == "file"]
    assert [row["content"] for row in rows] == PROVED[tool]
    assert {row["state"] for row in rows} == {"adopted"}
    versions = [row["version"] for row in rows]
    assert database.query(HISTORY) == [(version, "adopted") for version in sorted(versions)]
    assert result.report["outcome"].startswith(f"{len(versions)} adopted from ")
    assert (result.report["pending"], result.events.count("history.adopted")) == ([], 1)

    again = adopt(url, folder, tool)
    assert (again.code, again.report["outcome"]) == (0, "nothing to adopt")
    assert {row["state"] for row in table(again) if row["found"] == "file"} == {"recorded"}
    after = run_job(url, folder, "verify", **OURS)
    assert (after.code, after.report["findings"]) == (0, [])
    assert database.query("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'") == [(0,)]


def test_a_row_has_our_checksum_the_undo_the_run_and_the_evidence_in_the_log(
    database: Database, tmp_path: Path
) -> None:
    left_by("flyway", database)
    folder = folder_of("flyway", tmp_path)
    result = adopt(database.url, folder, "flyway")
    run_id, version = result.report["run_id"], "002_add_column_location_history_valid_until"
    assert database.query(
        "SELECT length(checksum), rollback_sql, run_id::text, execution_time_ms "
        "FROM migrator.schema_migrations WHERE version = %s",
        version,
    ) == [(64, "SELECT 2;", run_id, None)]
    ((event, detail),) = database.query(
        "SELECT event, detail FROM migrator.schema_migrations_log WHERE version = %s", version
    )
    assert event == "adopted"
    assert detail.pop("checksum")
    assert detail == {
        "from": "flyway",
        "table": "public.flyway_schema_history",
        "as": "1.1",
        "content": "equal",
        "evidence": "CRC32 -1039259818",
        "applied_at": "2024-01-02T00:00:00",
        "format": "native",
    }


def test_what_the_tool_has_not_applied_is_pending_and_runs_with_up(
    database: Database, tmp_path: Path
) -> None:
    left_by("goose", database)
    folder = write_folder(
        folder_of("goose", tmp_path), {"00003_c.sql": "-- +goose Up\nCREATE TABLE c ();"}
    )
    result = adopt(database.url, folder, "goose")
    assert (result.code, result.report["pending"]) == (0, ["00003_c"])
    assert table(result)[-1]["state"] == "pending"
    assert run_job(database.url, folder, **OURS).applied == ["00003_c"]


def test_a_plan_shows_the_table_and_writes_nothing(database: Database, tmp_path: Path) -> None:
    left_by("goose", database)
    result = adopt(database.url, folder_of("goose", tmp_path), "goose", "--plan")
    assert (result.code, result.report["outcome"]) == (0, "2 to adopt")
    assert [row["state"] for row in table(result)] == ["to adopt", "to adopt"]
    assert database.query(TABLES) == [(0,)]


@pytest.mark.parametrize(
    ("tool", "change", "files", "code", "words"),
    [
        pytest.param(
            "golang-migrate", "UPDATE schema_migrations SET dirty = true", {}, 14, "2", id="dirty"
        ),
        pytest.param(
            "flyway",
            "UPDATE flyway_schema_history SET success = false WHERE version = '1'",
            {},
            14,
            "V1__Create_locations.sql",
            id="failed",
        ),
        pytest.param(
            "prisma",
            "UPDATE _prisma_migrations SET finished_at = NULL WHERE migration_name = '0_init'",
            {},
            14,
            "0_init",
            id="unfinished",
        ),
        pytest.param(
            "golang-migrate",
            "UPDATE schema_migrations SET version = 7",
            {},
            12,
            "7",
            id="a version without a file",
        ),
        pytest.param(
            "prisma", "SELECT", {"0_init.sql": "SELECT 1;"}, 11, "0_init.sql", id="another content"
        ),
        pytest.param(
            "flyway",
            "SELECT",
            {"001_create_locations.sql": "create table location (id int);\n"},
            11,
            "001_create_locations.sql",
            id="another checksum",
        ),
    ],
)
def test_what_cannot_be_taken_over_is_refused_and_nothing_written(
    database: Database,
    tmp_path: Path,
    tool: str,
    change: str,
    files: dict[str, str],
    code: int,
    words: str,
) -> None:
    left_by(tool, database)
    database.query(change)
    result = adopt(database.url, write_folder(folder_of(tool, tmp_path), files), tool)
    assert result.code == code, result.stderr
    assert result.report["findings"][0]["file"] == words
    assert table(result)
    shown = run_job(database.url, tmp_path, "adopt", "--from", tool, **OURS).stdout
    assert set(re.findall(rf"\b(?:{tool}|found|content|state)\b", shown)) >= {
        tool,
        "found",
        "state",
    }
    assert database.query(TABLES) == [(0,)]


@pytest.mark.parametrize("tool", [tool for tool in PROVED if TRACKERS[tool].lock])
def test_a_tool_at_work_is_not_disturbed(database: Database, tmp_path: Path, tool: str) -> None:
    left_by(tool, database)
    folder = folder_of(tool, tmp_path)
    lock, name = TRACKERS[tool].lock, TRACKERS[tool].table
    assert lock is not None
    connection = database.connect()
    connection.cursor().execute("SET application_name = 'the other tool'")
    key = lock("public", name, database.dbname)
    connection.cursor().execute(f"SELECT pg_advisory_lock({key})")
    result = adopt(database.url, folder, tool)
    connection.close()
    assert (result.code, result.error["type"]) == (21, "LockedError")
    assert (
        f"{tool} is at work: its lock is held by a session whose name " in result.error["message"]
    )
    assert database.query(HISTORY) == []
    until(lambda: not database.query("SELECT 1 FROM pg_locks WHERE locktype = 'advisory'"))
    assert adopt(database.url, folder, tool).code == 0


def test_what_the_tool_applies_meanwhile_is_adopted_too(database: Database, tmp_path: Path) -> None:
    """The rows were read; while our own lock is waited for, the other tool goes on."""
    left_by("dbmate", database)
    folder = folder_of("dbmate", tmp_path)
    write_folder(
        folder, {"20240103120000_more.sql": "-- migrate:up\nSELECT 3;\n-- migrate:down\nSELECT 4;"}
    )
    connection = database.connect()
    connection.cursor().execute(f"SELECT pg_advisory_lock({lock_key('migrator')})")
    job = Job(database.url, folder, "adopt", "--from", "dbmate", "--json", **OURS)
    lines = iter(job.process.stderr or ())
    until(lambda: json.loads(next(lines))["event"] == "lock.waiting")
    database.query("INSERT INTO schema_migrations VALUES ('20240103120000')")
    connection.close()
    result = job.result()
    assert result.code == 0
    assert [row["state"] for row in table(result)] == ["adopted"] * 3
    assert len(database.query(HISTORY)) == 3


def test_of_many_that_adopt_at_once_each_ends_well_and_one_writes(
    database: Database, tmp_path: Path
) -> None:
    left_by("prisma", database)
    folder = folder_of("prisma", tmp_path)
    jobs = [Job(database.url, folder, "adopt", "--from", "prisma", **OURS) for _ in range(4)]
    results = [job.result() for job in jobs]
    assert [result.code for result in results] == [0] * 4, [r.stderr[-600:] for r in results]
    assert sorted("adopted" in result.report["outcome"] for result in results) == [
        *[False] * 3,
        True,
    ]
    assert len(database.query(HISTORY)) == 3


@pytest.mark.parametrize("moment", Cut, ids=lambda moment: moment.name.lower())
def test_a_connection_that_is_lost_changes_nothing_of_the_outcome(
    database: Database, proxy: MakeProxy, tmp_path: Path, moment: Cut
) -> None:
    left_by("goose", database)
    folder = folder_of("goose", tmp_path)
    between = proxy(database)
    between.cut_at(b"adopts the history of goose", moment)
    result = adopt(between.through(database.url), folder, "goose")
    assert (result.code, result.report["outcome"]) == (0, "2 adopted from public.goose_db_version")
    events = database.query("SELECT event FROM migrator.schema_migrations_log ORDER BY id")
    assert events == [("history.prepared",), ("adopted",), ("adopted",)]


def with_blocked_writes(database: Database, folder: Path) -> psycopg2.extensions.connection:
    """An empty history whose tables may be read, and not written until the connection closes."""
    assert run_job(database.url, folder, **OURS).code == 0
    database.query("DELETE FROM migrator.schema_migrations")
    connection = database.connect()
    connection.autocommit = False
    connection.cursor().execute("LOCK TABLE migrator.schema_migrations IN SHARE MODE")
    return connection


def test_a_stop_while_it_writes_leaves_nothing(database: Database, tmp_path: Path) -> None:
    left_by("goose", database)
    folder = folder_of("goose", tmp_path / "goose")
    connection = with_blocked_writes(
        database, write_folder(tmp_path / "a", {"001_a.sql": "SELECT"})
    )
    job = Job(database.url, folder, "adopt", "--from", "goose", LOCK_TIMEOUT="0", **OURS)
    until(lambda: database.query("SELECT 1 FROM pg_locks WHERE NOT granted"))
    job.process.terminate()
    result = job.result()
    connection.close()
    assert (result.code, result.report["outcome"]) == (23, "nothing was changed")
    assert database.query(HISTORY) == []


def test_tables_that_stay_busy_are_22_and_then_it_works(database: Database, tmp_path: Path) -> None:
    left_by("goose", database)
    folder = folder_of("goose", tmp_path / "goose")
    connection = with_blocked_writes(
        database, write_folder(tmp_path / "a", {"001_a.sql": "SELECT"})
    )
    limits = {"LOCK_TIMEOUT": "20ms", "LOCK_RETRY_TIMEOUT": "200ms"}
    result = adopt(database.url, folder, "goose", **limits)
    connection.close()
    assert (result.code, result.error["type"]) == (22, "BusyError")
    assert database.query(HISTORY) == []
    assert adopt(database.url, folder, "goose").code == 0


def test_a_history_of_dbmate_keeps_its_place_and_the_refusal_says_how_to_adopt_it(
    database: Database, tmp_path: Path
) -> None:
    left_by("dbmate", database)
    folder = folder_of("dbmate", tmp_path)
    for words in ((), ("adopt", "--from", "dbmate")):
        result = run_job(database.url, folder, *words)
        assert result.code == 2
        assert "MIGRATIONS_SCHEMA" in result.error["remedy"]
        assert "`adopt --from dbmate`" in result.error["remedy"]
    assert adopt(database.url, folder, "dbmate").code == 0
    assert len(database.query("SELECT version FROM public.schema_migrations")) == 2


def test_a_table_elsewhere_is_named(database: Database, tmp_path: Path) -> None:
    left_by("goose", database)
    database.query("CREATE SCHEMA ops; ALTER TABLE goose_db_version SET SCHEMA ops")
    database.query("CREATE VIEW goose_db_version AS SELECT * FROM ops.goose_db_version")
    folder = folder_of("goose", tmp_path)
    result = adopt(database.url, folder, "goose")
    assert (result.code, result.error["remedy"]) == (
        2,
        "Name it with --table; one such table is ops.goose_db_version.",
    )
    assert adopt(database.url, folder, "goose", "--table", "goose_db_version").code == 2
    result = adopt(database.url, folder, "goose", "--table", "ops.goose_db_version")
    assert (result.code, len(database.query(HISTORY))) == (0, 2)


def test_a_history_that_has_begun_takes_no_more(database: Database, tmp_path: Path) -> None:
    left_by("goose", database)
    folder = write_folder(tmp_path, {"00001_a.sql": "SELECT 1;"})
    assert run_job(database.url, folder, **OURS).code == 0
    result = adopt(database.url, folder_of("goose", tmp_path), "goose")
    assert (result.code, result.error["type"]) == (2, "ConfigError")
    assert "00002_b" in result.error["message"]


@pytest.mark.parametrize("why", ["no right", "row security"])
def test_a_role_that_does_not_see_all_rows_adopts_nothing(
    database: Database, tmp_path: Path, why: str
) -> None:
    left_by("goose", database)
    database.query("CREATE ROLE plain LOGIN PASSWORD 'x'; GRANT CREATE ON SCHEMA public TO plain")
    try:
        if why == "row security":
            database.query("GRANT SELECT ON goose_db_version TO plain")
            database.query("ALTER TABLE goose_db_version ENABLE ROW LEVEL SECURITY")
        url = database.as_user("plain", "x").url
        result = run_job(url, folder_of("goose", tmp_path), "adopt", "--from", "goose")
        assert (result.code, result.error["type"]) == (16, "AccessError")
        assert "public.goose_db_version" in result.error["message"]
        assert database.query(TABLES) == [(0,)]
    finally:
        database.query("DROP OWNED BY plain; DROP ROLE plain")


def test_the_replaced_jobs_history_is_copied_from_another_schema(
    database: Database, tmp_path: Path
) -> None:
    folder = write_folder(tmp_path, {"001_a.sql": b"SELECT 1;\r\n", "002_b.sql": "SELECT 2;"})
    database.query(
        "CREATE TABLE schema_migrations (version varchar(255) PRIMARY KEY, applied_at timestamptz "
        "DEFAULT now(), execution_time_ms integer, checksum varchar(64))"
    )
    database.query(
        r"INSERT INTO schema_migrations (version, checksum) VALUES "
        r"('001_a', encode(sha256('SELECT 1;\015\012'), 'hex')), ('002_b', NULL)"
    )
    result = adopt(database.url, folder, "seed")
    assert [row["content"] for row in table(result)] == ["equal", "not provable"]
    assert database.query(HISTORY) == [("001_a", "adopted"), ("002_b", "adopted")]
    in_place = run_job(database.url, folder, "adopt", "--from", "seed", "--json")
    assert (in_place.code, in_place.report["outcome"]) == (0, "nothing to adopt")
    assert {row["state"] for row in table(in_place)} == {"recorded"}


def test_a_history_in_place_of_other_texts_is_refused_until_a_person_accepts_them(
    database: Database, tmp_path: Path
) -> None:
    """It ended with 0 and "nothing to adopt"."""
    folder = write_folder(tmp_path, {"001_a.sql": "SELECT 1;"})
    database.query(
        "CREATE TABLE schema_migrations (version varchar(255) PRIMARY KEY, applied_at timestamptz "
        "DEFAULT now(), execution_time_ms integer, checksum varchar(64));"
        "INSERT INTO schema_migrations (version, checksum) VALUES ('001_a', repeat('a', 64))"
    )
    in_place = run_job(database.url, folder, "adopt", "--from", "seed", "--json")
    assert (in_place.code, in_place.error["message"]) == (11, "not what seed ran: 001_a.sql")
    assert [row["state"] for row in table(in_place)] == ["refused"]
    accept = ("repair", "--accept-checksum", "001_a", "--reason", "a comment was added")
    assert run_job(database.url, folder, *accept).code == 0
    in_place = run_job(database.url, folder, "adopt", "--from", "seed", "--json")
    assert (in_place.code, in_place.report["outcome"]) == (0, "nothing to adopt")


SHAPES = ("old", "cli", "platform")
CLI_FOLDER = {
    "0006_short.sql": "select 1;",
    "20240102030405_create_notes.sql": "-- changed\ncreate table public.notes (id bigint "
    "generated always as identity primary key, body text);\n"
    "alter table public.notes enable row level security;\n",
    "20240103000000_touch_function.sql": "create function public.touch() returns trigger language "
    "plpgsql as $$ begin new.body := new.body; return new; end; $$;",
    "20240104000000_unnamed.sql": "select 4;",
    "20240105000000_empty.sql": "",
}


def cli_history(make: MakeSupabase, shape: str) -> Database:
    made = make()
    text = (FIXTURES / "supabase_cli_history.sql").read_text()
    made.query(f"SET fixture.history_shape = '{shape}';\n{text}")
    return made


@pytest.mark.parametrize("shape", SHAPES)
def test_each_shape_of_the_supabase_clis_history_is_adopted_and_kept_in_step(
    supabase_database: MakeSupabase, pgbouncer: MakePgBouncer, tmp_path: Path, shape: str
) -> None:
    made = cli_history(supabase_database, shape)
    before = made.query(MIRROR)
    url = pgbouncer(made, pool_mode="transaction", pool_size=1).url(made.dbname, "postgres")
    folder = write_folder(tmp_path, CLI_FOLDER)
    result = run_job(url, folder, "adopt", "--from", "supabase", "--json")
    assert result.code == 0, result.stderr
    proved = ["equal", "equal", "equal", "not provable", "equal"]
    expected = ["not provable"] * 5 if shape == "old" else proved
    assert [row["content"] for row in table(result)] == expected
    assert made.query(MIRROR) == before

    write_folder(folder, {"20240106000000_more.sql": "-- why\ncreate table public.more ();\n"})
    assert run_job(url, folder, SYNC_SUPABASE_HISTORY="on").code == 0
    (new,) = [row for row in made.query(MIRROR) if row not in before]
    known = {name: value for name, value in new[0].items() if value is not None}
    wanted = {
        "version": "20240106000000",
        "name": "more",
        "statements": ["-- why\ncreate table public.more ()"],
    }
    assert known == ({"version": "20240106000000"} if shape == "old" else wanted)


def test_a_row_that_the_cli_has_already_is_brought_up_to_date(
    supabase_database: MakeSupabase, tmp_path: Path
) -> None:
    made = cli_history(supabase_database, "platform")
    made.query("UPDATE supabase_migrations.schema_migrations SET created_by = 'somebody'")
    folder = write_folder(tmp_path, {"0006_longer.sql": "select 2;"})
    assert run_job(made.url, folder, SYNC_SUPABASE_HISTORY="on").code == 0
    row = made.query(MIRROR)[0][0]
    assert (row["name"], row["statements"]) == ("longer", ["select 2"])
    assert row["created_by"] == "somebody"


def test_a_no_transaction_migration_is_told_to_the_cli_too(
    supabase_database: MakeSupabase, tmp_path: Path
) -> None:
    made = cli_history(supabase_database, "cli")
    text = "-- migrator: no-transaction\nVACUUM;\n"
    folder = write_folder(tmp_path, {"0007_vacuum.sql": text})
    assert run_job(made.url, folder, SYNC_SUPABASE_HISTORY="on").code == 0
    rows = [row[0] for row in made.query(MIRROR)]
    assert {
        "version": "0007",
        "name": "vacuum",
        "statements": [text.rstrip().rstrip(";")],
    } in rows


def test_without_the_setting_the_clis_history_is_left_alone(
    supabase_database: MakeSupabase, tmp_path: Path
) -> None:
    made = cli_history(supabase_database, "cli")
    before = made.query(MIRROR)
    assert run_job(made.url, write_folder(tmp_path, {"001_a.sql": "SELECT 1"})).code == 0
    assert made.query(MIRROR) == before


def test_a_migration_that_fails_leaves_no_row_for_the_cli(
    supabase_database: MakeSupabase, tmp_path: Path
) -> None:
    made = cli_history(supabase_database, "cli")
    before = made.query(MIRROR)
    folder = write_folder(tmp_path, {"001_a.sql": "SELECT 1/0"})
    assert run_job(made.url, folder, SYNC_SUPABASE_HISTORY="on").code == 15
    assert made.query(MIRROR) == before


def test_what_is_adopted_from_another_tool_is_told_to_the_cli_too(
    supabase_database: MakeSupabase, tmp_path: Path
) -> None:
    made = cli_history(supabase_database, "cli")
    left_by("dbmate", made)
    folder = folder_of("dbmate", tmp_path)
    assert adopt(made.url, folder, "dbmate", SYNC_SUPABASE_HISTORY="on").code == 0
    names = [row[0]["name"] for row in made.query(MIRROR)]
    assert {"create_users", "add_email"} <= set(names)


def test_that_there_is_nothing_to_keep_in_step_is_said_once(
    database: Database, tmp_path: Path
) -> None:
    folder = write_folder(tmp_path, {"001_a.sql": "SELECT 1", "002_b.sql": "SELECT 2"})
    result = run_job(database.url, folder, SYNC_SUPABASE_HISTORY="on")
    assert (result.code, len(result.of("mirror.absent"))) == (0, 1)
    assert run_job(database.url, folder, SYNC_SUPABASE_HISTORY="on").of("mirror.absent") == []


def test_a_role_that_may_not_write_the_clis_history_is_told_before_anything_runs(
    supabase_database: MakeSupabase, tmp_path: Path
) -> None:
    made = cli_history(supabase_database, "cli")
    made.as_superuser().query(
        "ALTER TABLE supabase_migrations.schema_migrations OWNER TO supabase_admin"
    )
    folder = write_folder(tmp_path, {"001_a.sql": "CREATE TABLE public.a ()"})
    result = run_job(made.url, folder, SYNC_SUPABASE_HISTORY="on")
    assert (result.code, result.error["type"]) == (16, "AccessError")
    assert made.query("SELECT to_regclass('public.a')") == [(None,)]
