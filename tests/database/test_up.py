"""`up` against a real server: what is applied, recorded, refused, and told."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from tests.builders import write_folder
from tests.conftest import Database, MakePgBouncer, MakeProxy
from tests.job import run_job

TWO = {
    "001_a.sql": "CREATE TABLE public.a (id int PRIMARY KEY);\n",
    "001_a.down.sql": "DROP TABLE public.a;\n",
    "002_b.sql": "INSERT INTO public.a VALUES (1), (2);\n",
}
HISTORY = (
    "SELECT version, checksum, rollback_sql, kind, run_id::text FROM schema_migrations ORDER BY 1"
)


def test_what_is_pending_is_applied_once_and_in_order(database: Database, tmp_path: Path) -> None:
    folder = write_folder(tmp_path, TWO)
    first = run_job(database.url, folder)
    second = run_job(database.url, folder)
    assert (first.code, first.applied) == (0, ["001_a", "002_b"])
    assert (second.code, second.applied) == (0, [])
    assert database.query("SELECT count(*) FROM a") == [(2,)]


def test_the_history_row_holds_checksum_undo_and_run(database: Database, tmp_path: Path) -> None:
    result = run_job(database.url, write_folder(tmp_path, TWO))
    run_id = result.report["run_id"]
    checksums = [hashlib.sha256(TWO[f"{v}.sql"].encode()).hexdigest() for v in ("001_a", "002_b")]
    assert database.query(HISTORY) == [
        ("001_a", checksums[0], TWO["001_a.down.sql"], "versioned", run_id),
        ("002_b", checksums[1], None, "versioned", run_id),
    ]
    logged = database.query("SELECT version, event, runner FROM schema_migrations_log ORDER BY id")
    assert logged == [
        (None, "history.prepared", "migrator/tester"),
        ("001_a", "applied", "migrator/tester"),
        ("002_b", "applied", "migrator/tester"),
    ]


def test_a_flight_is_one_round_trip_and_a_no_op_run_is_one_in_all(
    database: Database, proxy: MakeProxy, tmp_path: Path
) -> None:
    """One look, one to create the tables, one for the old transactions that may be in the way,
    one for each migration; then one look alone.
    """
    counter = proxy(database)
    folder = write_folder(tmp_path, TWO)
    assert run_job(counter.through(database.url), folder).code == 0
    assert counter.flights == 1 + 1 + 1 + 2
    counter.reset()
    assert run_job(counter.through(database.url), folder).code == 0
    assert counter.flights == 1


def test_a_no_op_run_with_a_password_takes_six_round_trips(
    database: Database, proxy: MakeProxy, tmp_path: Path
) -> None:
    """TCP's own and the question for TLS, which the proxy does not see; the start, two of SCRAM,
    and one look.
    """
    folder = write_folder(tmp_path, TWO)
    database.query("DROP ROLE IF EXISTS onlooker")
    database.query("CREATE ROLE onlooker LOGIN PASSWORD 'onlooker'")
    try:
        assert run_job(database.url, folder, HISTORY_READERS="onlooker").code == 0
        counter = proxy(database)
        reader = counter.through(database.as_user("onlooker", "onlooker").url)
        assert run_job(reader, folder).code == 0
        assert (counter.bursts, counter.connections) == (1 + 2 + 1, 1)
    finally:
        database.query("DROP OWNED BY onlooker")
        database.query("DROP ROLE onlooker")


def test_a_no_op_run_needs_no_right_but_to_read(database: Database, tmp_path: Path) -> None:
    folder = write_folder(tmp_path, TWO)
    settings = {"HISTORY_READERS": "onlooker"}
    database.query("DROP ROLE IF EXISTS onlooker")
    database.query("CREATE ROLE onlooker LOGIN PASSWORD 'onlooker'")
    try:
        assert run_job(database.url, folder, **settings).code == 0
        reader = database.as_user("onlooker", "onlooker")
        for command in ("up", "status", "verify", "wait", "plan"):
            assert run_job(reader.url, folder, command).code == 0, command
        assert run_job(reader.url, folder, "up", **settings).code == 0
        write_folder(tmp_path, {"003_c.sql": "SELECT 1"})
        assert run_job(reader.url, folder, "verify").code == 24
        assert run_job(reader.url, folder, "up").code == 16
    finally:
        database.query("DROP OWNED BY onlooker")
        database.query("DROP ROLE onlooker")


def test_a_reader_is_admitted_by_the_next_run_even_with_nothing_pending(
    database: Database, tmp_path: Path
) -> None:
    folder = write_folder(tmp_path, TWO)
    assert run_job(database.url, folder).code == 0
    database.query("DROP ROLE IF EXISTS latecomer")
    database.query("CREATE ROLE latecomer LOGIN PASSWORD 'latecomer'")
    try:
        reader = database.as_user("latecomer", "latecomer")
        refused = run_job(reader.url, folder, "status")
        assert refused.code == 16
        assert "HISTORY_READERS" in refused.error["remedy"]
        assert run_job(database.url, folder, HISTORY_READERS="latecomer").code == 0
        assert run_job(reader.url, folder, "verify").code == 0
    finally:
        database.query("DROP OWNED BY latecomer")
        database.query("DROP ROLE latecomer")


def test_a_role_that_rls_keeps_from_rows_gets_16_and_never_an_empty_history(
    database: Database, tmp_path: Path
) -> None:
    folder = write_folder(tmp_path, TWO)
    assert run_job(database.url, folder).code == 0
    database.query("DROP ROLE IF EXISTS blinkered")
    database.query("CREATE ROLE blinkered LOGIN PASSWORD 'blinkered'")
    try:
        database.query("GRANT SELECT ON schema_migrations TO blinkered")
        login = database.as_user("blinkered", "blinkered")
        assert login.query("SELECT count(*) FROM schema_migrations") == [(0,)]
        refused = run_job(login.url, folder, "status")
        assert refused.code == 16
        assert "does not see all rows" in refused.error["message"]
        # a policy that shows a part of the rows does not pass for one that shows all
        database.query(
            "CREATE POLICY half ON schema_migrations TO blinkered USING (version < '002')"
        )
        assert run_job(login.url, folder, "status").code == 16
    finally:
        database.query("DROP OWNED BY blinkered")
        database.query("DROP ROLE blinkered")


def test_the_history_can_live_in_a_schema_of_its_own(database: Database, tmp_path: Path) -> None:
    folder = write_folder(tmp_path, TWO)
    for _ in range(2):
        assert run_job(database.url, folder, MIGRATIONS_SCHEMA="Ops").code == 0
    assert database.query('SELECT count(*) FROM "Ops".schema_migrations') == [(2,)]
    assert database.query("SELECT to_regclass('public.schema_migrations')") == [(None,)]


def test_a_schema_may_hold_what_quotes_a_block(database: Database, tmp_path: Path) -> None:
    folder = write_folder(tmp_path, {**TWO, "003_c.sql": "-- migrator: no-transaction\nVACUUM"})
    schema = "m$migrator$x"
    for words in ((), ("status",), ("rollback", "--steps", "1", "--plan"), ("verify",)):
        result = run_job(database.url, folder, *words, MIGRATIONS_SCHEMA=schema)
        assert result.code in {0, 12}, result.stderr
    assert database.query(f'SELECT count(*) FROM "{schema}".schema_migrations') == [(3,)]


@pytest.mark.parametrize("columns", [4, 5, 6])
def test_the_table_of_the_job_before_us_is_taken_over(
    database: Database, tmp_path: Path, columns: int
) -> None:
    windows: dict[str, str | bytes] = {
        "001_a.sql": b"\xef\xbb\xbfCREATE TABLE public.a (id int);\r\n",
        "002_b.sql": "SELECT 2;",
    }
    folder = write_folder(tmp_path, windows)
    old = [
        "version varchar(255) PRIMARY KEY",
        "applied_at timestamptz DEFAULT now()",
        "execution_time_ms integer",
        "checksum varchar(64)",
        "rollback_sql text",
        "created_by text",
    ]
    database.query(f"CREATE TABLE schema_migrations ({', '.join(old[:columns])})")
    raw = hashlib.sha256(bytes(windows["001_a.sql"])).hexdigest()  # type: ignore[arg-type]
    database.query("INSERT INTO schema_migrations (version, checksum) VALUES ('001_a', %s)", raw)
    result = run_job(database.url, folder)
    assert (result.code, result.applied) == (0, ["002_b"])
    assert database.query("SELECT version, kind FROM schema_migrations ORDER BY 1") == [
        ("001_a", "versioned"),
        ("002_b", "versioned"),
    ]
    assert database.query(
        "SELECT relrowsecurity FROM pg_class WHERE relname = 'schema_migrations'"
    ) == [(True,)]


@pytest.mark.parametrize(
    ("table", "tool"),
    [
        pytest.param("(version varchar PRIMARY KEY)", "dbmate", id="dbmate"),
        pytest.param("(version bigint PRIMARY KEY, dirty boolean)", "golang-migrate", id="golang"),
        pytest.param("(version bigint PRIMARY KEY, inserted_at timestamp)", "Ecto", id="ecto"),
        pytest.param(
            "(version text PRIMARY KEY, statements text[], name text)", "Supabase", id="cli"
        ),
        pytest.param("(id int)", "other columns", id="unknown"),
        pytest.param(
            "(version text, applied_at timestamptz, checksum bigint)", "other columns", id="types"
        ),
        pytest.param(
            "(version text, applied_at timestamptz, checksum varchar(32))",
            "other columns",
            id="md5",
        ),
    ],
)
def test_the_table_of_another_tool_is_never_written(
    database: Database, tmp_path: Path, table: str, tool: str
) -> None:
    database.query(f"CREATE TABLE schema_migrations {table}")
    for command in ("up", "status"):
        result = run_job(database.url, write_folder(tmp_path, TWO), command)
        assert result.code == 2
        assert tool in result.error["message"]
        assert "MIGRATIONS_SCHEMA" in result.error["remedy"]
    assert database.query("SELECT count(*) FROM schema_migrations") == [(0,)]
    assert database.query("SELECT to_regclass('a')") == [(None,)]


def test_rails_is_told_from_dbmate_by_its_second_table(database: Database, tmp_path: Path) -> None:
    database.query("CREATE TABLE schema_migrations (version varchar PRIMARY KEY)")
    database.query("CREATE TABLE ar_internal_metadata (key varchar PRIMARY KEY)")
    assert "Rails" in run_job(database.url, write_folder(tmp_path, TWO)).error["message"]


def test_the_history_is_shut_to_the_data_api(supabase: Database, tmp_path: Path) -> None:
    assert run_job(supabase.url, write_folder(tmp_path, TWO)).code == 0
    rights = supabase.query(
        """SELECT r.rolname, t.name, p.privilege
             FROM pg_roles r, (VALUES ('schema_migrations'), ('schema_migrations_log')) t(name),
                  (VALUES ('SELECT'), ('INSERT'), ('UPDATE'), ('DELETE'), ('TRUNCATE')) p(privilege)
            WHERE r.rolname IN ('anon', 'authenticated', 'service_role')
              AND has_table_privilege(r.oid, t.name, p.privilege)"""
    )
    assert rights == []
    assert supabase.query(
        """SELECT bool_or(has_sequence_privilege(r.oid, 'schema_migrations_log_id_seq', 'USAGE'))
             FROM pg_roles r WHERE r.rolname IN ('anon', 'authenticated', 'service_role')"""
    ) == [(False,)]
    assert supabase.query(
        """SELECT relname, relrowsecurity, relforcerowsecurity,
                  (SELECT count(*) FROM pg_policy WHERE polrelid = c.oid)
             FROM pg_class c WHERE relnamespace = 'public'::regnamespace
              AND relname IN ('schema_migrations', 'schema_migrations_log')
            ORDER BY 1"""
    ) == [("schema_migrations", True, False, 1), ("schema_migrations_log", True, False, 1)]


@pytest.mark.parametrize("data_api", ["closed", "legacy"])
def test_supabase_is_migrated_through_a_transaction_pooler_with_one_connection(
    supabase_database: object, pgbouncer: MakePgBouncer, tmp_path: Path, data_api: str
) -> None:
    supabase = supabase_database(data_api=data_api)  # type: ignore[operator]
    pooler = pgbouncer(supabase, pool_mode="transaction", pool_size=1)
    url = pooler.url(supabase.dbname, supabase.user, supabase.password)
    folder = write_folder(tmp_path, TWO)
    assert run_job(url + "?pgbouncer=true", folder).applied == ["001_a", "002_b"]
    again = run_job(url, folder)
    assert (again.code, again.applied) == (0, [])


def test_nothing_is_run_before_every_pending_file_is_understood(
    database: Database, tmp_path: Path
) -> None:
    write_folder(tmp_path, TWO)
    bad = {
        "003_c.sql": "SELECT 1;\nCREATE INDEX CONCURRENTLY i ON a (id);\n",
        "004_d.sql": "COPY a FROM stdin BINARY;\n1\n\\.\n",
        "005_e.sql": "\\set x 1\nSELECT 1;\n",
        "006_f.sql": "-- migrator: no-such-thing\nSELECT 1;\nBEGIN;\n",
    }
    result = run_job(database.url, write_folder(tmp_path, bad))
    assert result.code == 10
    found = {(finding["file"], finding["line"]) for finding in result.report["findings"]}
    assert found == {
        ("003_c.sql", 2),
        ("004_d.sql", 1),
        ("005_e.sql", 1),
        ("006_f.sql", 1),
        ("006_f.sql", 3),
    }
    assert all(finding["remedy"] for finding in result.report["findings"])
    assert database.query("SELECT to_regclass('a'), to_regclass('schema_migrations')") == [
        (None, None)
    ]


def test_an_applied_file_is_only_hashed(database: Database, tmp_path: Path) -> None:
    """What this release cannot run may stand in the history of another."""
    folder = write_folder(tmp_path, TWO)
    assert run_job(database.url, folder).code == 0
    text = "VACUUM; SELECT 1;\n"
    checksum = hashlib.sha256(text.encode()).hexdigest()
    database.query(
        "INSERT INTO schema_migrations (version, checksum) VALUES ('003_c', %s)", checksum
    )
    write_folder(tmp_path, {"003_c.sql": text, "004_d.sql": "SELECT 4"})
    assert run_job(database.url, folder).applied == ["004_d"]


def test_findings_of_all_kinds_are_reported_at_once(database: Database, tmp_path: Path) -> None:
    folder = write_folder(tmp_path, {f"00{n}_x.sql": f"SELECT {n}" for n in (1, 2, 4)})
    assert run_job(database.url, folder).code == 0
    (tmp_path / "001_x.sql").write_text("SELECT 'changed'")
    (tmp_path / "002_x.sql").unlink()
    (tmp_path / "003_x.sql").write_text("SELECT 3")
    result = run_job(database.url, folder)
    assert result.code == 11
    assert [finding["file"] for finding in result.report["findings"]] == [
        "001_x.sql",
        "002_x",
        "003_x.sql",
    ]
    allowed = {"ON_DRIFT": "warn", "ON_MISSING": "warn", "ON_LATE": "apply"}
    let_pass = run_job(database.url, folder, **allowed)
    assert (let_pass.code, let_pass.applied) == (0, ["003_x"])
    assert len(let_pass.of("plan.warning")) == 3


@pytest.mark.parametrize(
    ("setting", "value", "code", "applied"),
    [
        pytest.param("ON_LATE", "fail", 13, [], id="late: fail"),
        pytest.param("ON_LATE", "skip", 0, ["005_x"], id="late: skip"),
        pytest.param("ON_LATE", "apply", 0, ["003_x", "005_x"], id="late: apply"),
    ],
)
def test_a_late_file_does_what_the_policy_says(
    database: Database, tmp_path: Path, setting: str, value: str, code: int, applied: list[str]
) -> None:
    folder = write_folder(tmp_path, {f"00{n}_x.sql": f"SELECT {n}" for n in (1, 4)})
    assert run_job(database.url, folder).code == 0
    write_folder(tmp_path, {"003_x.sql": "SELECT 3", "005_x.sql": "SELECT 5"})
    result = run_job(database.url, folder, **{setting: value})
    assert (result.code, result.applied) == (code, applied)


def test_an_image_rolled_back_warns_and_exits_0(database: Database, tmp_path: Path) -> None:
    folder = write_folder(tmp_path, TWO)
    assert run_job(database.url, folder).code == 0
    (tmp_path / "002_b.sql").unlink()
    result = run_job(database.url, folder)
    assert result.code == 0
    assert result.of("plan.warning")[0]["file"] == "002_b"
    assert run_job(database.url, folder, ON_MISSING="fail").code == 12


def test_a_body_over_a_megabyte_is_applied_in_groups_within_one_transaction(
    database: Database, proxy: MakeProxy, tmp_path: Path
) -> None:
    rows = "".join(f"INSERT INTO big VALUES ({n}, '{'x' * 900}');\n" for n in range(3000))
    big = "CREATE TABLE big (id int, text text);\n" + rows
    folder = write_folder(tmp_path, {"001_big.sql": big})
    counter = proxy(database)
    assert run_job(counter.through(database.url), folder).applied == ["001_big"]
    # look, tables, old transactions, opening and closing, three groups
    assert counter.flights == 1 + 1 + 1 + 2 + 3
    assert database.query("SELECT count(*) FROM big") == [(3000,)]
    write_folder(tmp_path, {"002_bad.sql": rows + "INSERT INTO big VALUES ('y');\n"})
    result = run_job(database.url, folder)
    assert (result.code, result.error["line"], result.error["column"]) == (15, 3001, 25)
    assert database.query("SELECT count(*) FROM big") == [(3000,)]


def test_search_path_is_that_of_the_role_or_of_the_setting(
    database: Database, tmp_path: Path
) -> None:
    database.query("CREATE SCHEMA app")
    folder = write_folder(tmp_path, {"001_a.sql": "CREATE TABLE t ()"})
    assert run_job(database.url, folder, SEARCH_PATH="app, public").code == 0
    write_folder(tmp_path, {"002_b.sql": "CREATE TABLE u ()"})
    assert run_job(database.url, folder).code == 0
    assert database.query(
        "SELECT relname, relnamespace::regnamespace::text FROM pg_class"
        " WHERE relname IN ('t', 'u') ORDER BY 1"
    ) == [("t", "app"), ("u", "public")]


def test_a_file_sets_its_own_timeouts(database: Database, tmp_path: Path) -> None:
    text = """-- migrator: lock-timeout 1234ms
-- migrator: statement-timeout 5min
CREATE TABLE seen AS SELECT current_setting('lock_timeout') AS lock,
  current_setting('statement_timeout') AS statement;
"""
    folder = write_folder(tmp_path, {"001_a.sql": text})
    assert run_job(database.url, folder).code == 0
    assert database.query("SELECT * FROM seen") == [("1234ms", "5min")]


def test_the_servers_own_statement_timeout_does_not_cut_a_migration(
    supabase_database: object, tmp_path: Path
) -> None:
    supabase = supabase_database(statement_timeout="100ms")  # type: ignore[operator]
    folder = write_folder(tmp_path, {"001_a.sql": "SELECT pg_sleep(0.3)"})
    assert run_job(supabase.url, folder).code == 0


def test_a_statement_timeout_says_where_to_raise_it(database: Database, tmp_path: Path) -> None:
    folder = write_folder(tmp_path, {"001_a.sql": "SELECT pg_sleep(30)"})
    result = run_job(database.url, folder, STATEMENT_TIMEOUT="100ms")
    assert (result.code, result.error["sqlstate"]) == (15, "57014")
    assert "STATEMENT_TIMEOUT" in result.error["remedy"]


def test_a_percent_sign_stays_a_percent_sign(database: Database, tmp_path: Path) -> None:
    text = "CREATE TABLE p AS SELECT 'a%b %s %% %(x)s' AS t, 'back\\slash' AS b;"
    assert run_job(database.url, write_folder(tmp_path, {"001_a.sql": text})).code == 0
    assert database.query("SELECT * FROM p") == [("a%b %s %% %(x)s", "back\\slash")]


def test_an_empty_folder_is_nothing_to_do_and_an_empty_file_is_refused(
    database: Database, tmp_path: Path
) -> None:
    """It is most likely a template that nobody has filled in; a no-op has a statement."""
    assert run_job(database.url, tmp_path).code == 0
    folder = write_folder(tmp_path, {"001_a.sql": "-- nothing\n"})
    for command in ("plan", "up"):
        result = run_job(database.url, folder, command)
        assert (result.code, result.report["pending"]) == (10, ["001_a"])
        [finding] = result.report["findings"]
        assert (finding["file"], "`SELECT;`" in finding["remedy"]) == ("001_a.sql", True)
    write_folder(folder, {"001_a.sql": "-- nothing\nSELECT;\n"})
    assert run_job(database.url, folder).applied == ["001_a"]


def test_a_search_path_for_later_sessions_is_warned_of(database: Database, tmp_path: Path) -> None:
    """The next file of this run does not see it, and the same file in the next run would."""
    database.query("CREATE SCHEMA app")
    path = f"-- ours\nALTER DATABASE {database.dbname} SET search_path = app;\n"
    encoding = 'SET client_encoding = "UTF8";\n'
    files = {"001_path.sql": encoding + path, "002_b.sql": "CREATE TABLE b (id int);\n"}
    folder = write_folder(tmp_path / "m", files)
    for command in ("plan", "up"):
        result = run_job(database.url, folder, command)
        assert result.code == 0, result.stderr
        [warning] = result.of("plan.warning")
        place = warning["level"], warning["file"], warning["line"]
        assert place == ("warning", "001_path.sql", 3)
        assert "acts from the next session on" in warning["problem"]
    assert database.query("SELECT to_regclass('public.b')::text") == [("public.b",)]


def test_a_read_only_server_is_16(database: Database, tmp_path: Path) -> None:
    database.query(f"ALTER DATABASE {database.dbname} SET default_transaction_read_only = on")
    folder = write_folder(tmp_path, TWO)
    result = run_job(database.url, folder)
    assert result.code == 16
    assert "read-only" in result.error["message"]
    assert run_job(database.url, folder, "status").code == 0


@pytest.mark.parametrize("rows", ["('001_a'), ('001_a')", "('001_a'), (NULL)"])
def test_a_history_with_a_version_twice_or_none_is_for_a_person(
    database: Database, tmp_path: Path, rows: str
) -> None:
    database.query(
        "CREATE TABLE schema_migrations (version text, applied_at timestamptz, checksum text)"
    )
    database.query(f"INSERT INTO schema_migrations (version) VALUES {rows}")
    result = run_job(database.url, write_folder(tmp_path, TWO))
    assert result.code == 2
    assert "PRIMARY KEY" in result.error["remedy"]


def test_a_checksum_that_is_padded_is_the_same_checksum(database: Database, tmp_path: Path) -> None:
    database.query(
        "CREATE TABLE schema_migrations"
        " (version text PRIMARY KEY, applied_at timestamptz DEFAULT now(), checksum char(70))"
    )
    checksum = hashlib.sha256(TWO["001_a.sql"].encode()).hexdigest()
    database.query("INSERT INTO schema_migrations VALUES ('001_a', now(), %s)", checksum)
    database.query(TWO["001_a.sql"])
    assert run_job(database.url, write_folder(tmp_path, TWO)).applied == ["002_b"]


def test_a_log_table_of_somebody_else_is_not_written(database: Database, tmp_path: Path) -> None:
    database.query("CREATE TABLE schema_migrations_log (id int)")
    result = run_job(database.url, write_folder(tmp_path, TWO))
    assert (result.code, "schema_migrations_log" in result.error["message"]) == (2, True)
    assert database.query("SELECT to_regclass('a')") == [(None,)]


def test_a_quoted_search_path_is_read_as_postgresql_reads_it(
    database: Database, tmp_path: Path
) -> None:
    folder = write_folder(tmp_path, {"001_a.sql": "CREATE TABLE t ();"})
    assert run_job(database.url, folder, SEARCH_PATH='"$user", "public"').code == 0
    assert database.query("SELECT to_regclass('public.t')::text") == [("t",)]
