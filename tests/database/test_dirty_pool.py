"""A pooled connection is dirty before the job: what another client left on it changes nothing.

PgBouncer in transaction mode runs no reset between its clients.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.builders import write_folder
from tests.conftest import Database, MakePgBouncer
from tests.job import Listener, Result, run_job, run_listening
from tests.neighbours import ask, leave, state
from tests.shared_pool import SharedPool

ALONE = "-- migrator: no-transaction\n"
NOTE = r"Mü\nller"  # a backslash and an n, where standard_conforming_strings is on
FIRST = {
    "001_first.sql": "CREATE TABLE first AS SELECT name, setting FROM pg_settings;\n",
    "001_first.down.sql": "DROP TABLE first;\n",
}
PAID = {
    "002_paid.sql": f"""ALTER TABLE orders ADD COLUMN paid boolean;
ALTER TABLE orders ADD COLUMN note text DEFAULT '{NOTE}';
CREATE TABLE second AS SELECT name, setting FROM pg_settings;
""",
    "002_paid.down.sql": "ALTER TABLE orders DROP COLUMN paid, DROP COLUMN note;\n"
    "DROP TABLE second;\n",
}
THIRD = {"003_third.sql": "CREATE TABLE third ();\n", "003_third.down.sql": "DROP TABLE third;\n"}

HISTORY = """CREATE TEMP TABLE schema_migrations (LIKE public.schema_migrations INCLUDING ALL);
CREATE TEMP TABLE schema_migrations_log (LIKE public.schema_migrations_log INCLUDING ALL)"""
SHADOWS = (
    "CREATE TEMP VIEW {name} AS SELECT 'evil' AS version, now() AS applied_at, 'x' AS checksum"
)

#: What was left behind; {app} is another role.
OBJECTS = {
    "a temp table of the user's name": "CREATE TEMP TABLE orders (id int, paid boolean, note text)",
    "a bare temp table of the user's name": "CREATE TEMP TABLE orders (id int)",
    "a temp view of the history's name": SHADOWS.format(name="schema_migrations"),
    "a temp view of the log's name": SHADOWS.format(name="schema_migrations_log"),
    "temp views of the catalog": "CREATE TEMP VIEW pg_locks AS SELECT 1 AS pid;"
    "CREATE TEMP VIEW pg_class AS SELECT 1::oid AS oid; CREATE TEMP TABLE pg_settings (name text)",
    "a temp type": "CREATE DOMAIN pg_temp.text AS varchar(3); CREATE DOMAIN pg_temp.jsonb AS int",
    "a prepared statement": "PREPARE left_behind AS SELECT 1",
    "a cursor WITH HOLD": "DECLARE left_behind CURSOR WITH HOLD FOR SELECT 1",
    "LISTEN": "LISTEN left_behind",
}
ROLES = {
    "SET ROLE": "SET ROLE {app}",
    "SET SESSION AUTHORIZATION": "SET SESSION AUTHORIZATION {app}",
    "both, and a temp table": "CREATE TEMP TABLE orders (id int); SET SESSION AUTHORIZATION {app};"
    "SET ROLE {app}",
}
SETTINGS = {
    name: f"SET {name}"
    for name in (
        "session_replication_role = replica",
        "default_transaction_read_only = on",
        "default_transaction_isolation = serializable",
        "search_path = evil, pg_catalog",
        "search_path = ''",
        "statement_timeout = 100",
        "row_security = off",
        "standard_conforming_strings = off",
        "client_encoding = LATIN1",
        "check_function_bodies = off",
    )
}
#: None of these makes a run fail; the file must see none of them.
HARMLESS = """SET default_transaction_deferrable = on; SET lock_timeout = 1;
SET idle_in_transaction_session_timeout = 1000; SET backslash_quote = off;
SET escape_string_warning = on; SET transform_null_equals = on; SET client_min_messages = error;
SET DateStyle = 'German, DMY'; SET IntervalStyle = sql_standard; SET TimeZone = 'Asia/Kathmandu';
SET bytea_output = escape; SET xmloption = document; SET array_nulls = off;
SET quote_all_identifiers = on; SET lo_compat_privileges = on; SET extra_float_digits = -15;
SET work_mem = '64kB'; SET allow_system_table_mods = on; SET my.own = 'x';
SET default_tablespace = 'pg_default'; SET plpgsql.variable_conflict = use_column"""
KINDS = OBJECTS | ROLES | SETTINGS | {"other settings": HARMLESS}
#: Against which each command is tried.
WORST = {
    name: (KINDS | {"temp tables of the history's names": HISTORY})[name]
    for name in (
        "temp tables of the history's names",
        "temp views of the catalog",
        "a temp type",
        "both, and a temp table",
        *SETTINGS,
        "other settings",
    )
}

FEW = (
    "a temp table of the user's name",
    "a bare temp table of the user's name",
    "SET ROLE",
    "SET SESSION AUTHORIZATION",
    "session_replication_role = replica",
    "default_transaction_read_only = on",
    "search_path = evil, pg_catalog",
    "statement_timeout = 100",
)

#: A function and an operator of each kind that the job's own queries use, in a schema of {app}'s.
EVIL = """
CREATE SCHEMA evil AUTHORIZATION {app};
GRANT USAGE ON SCHEMA evil TO public;
CREATE TABLE evil.called (who text, what text);
GRANT ALL ON evil.called TO public;
DO $$
DECLARE
  found record;
  body text := 'CREATE FUNCTION evil.%I(%s) RETURNS %s LANGUAGE plpgsql SET search_path = pg_catalog
    AS $evil$ BEGIN INSERT INTO evil.called VALUES (current_user, %L); RETURN NULL; END $evil$';
BEGIN
  FOR found IN
    SELECT DISTINCT proname, pg_get_function_identity_arguments(oid) AS words,
           pg_get_function_result(oid) AS result
      FROM pg_proc
     WHERE pronamespace = 'pg_catalog'::regnamespace AND prokind = 'f' AND provariadic = 0
       AND NOT proretset AND prorettype NOT IN ('internal'::regtype, 'void'::regtype)
       AND NOT 'internal'::regtype::oid = ANY (proargtypes::oid[])
       AND proname IN (
         'now', 'clock_timestamp', 'transaction_timestamp', 'pg_backend_pid', 'current_setting',
         'set_config', 'pg_try_advisory_xact_lock', 'pg_try_advisory_lock', 'sha256', 'encode',
         'pg_advisory_unlock_all', 'convert_to', 'to_char', 'format_type', 'pg_get_expr',
         'has_table_privilege', 'row_security_active', 'quote_ident', 'pg_is_in_recovery',
         'current_database', 'to_jsonb', 'pg_has_role', 'pg_terminate_backend', 'format')
  LOOP
    EXECUTE format(body, found.proname, found.words, found.result, found.proname);
  END LOOP;
  FOR found IN
    SELECT oprname, format_type(oprleft, NULL) AS l, format_type(oprright, NULL) AS r,
           format_type(oprresult, NULL) AS result, oid
      FROM pg_operator
     WHERE oprkind = 'b' AND oprname IN ('=', '<>', '||', '->', '->>', '?', '?&', '-', '*')
       AND oprleft IN ('text'::regtype, 'name'::regtype, 'oid'::regtype, '"char"'::regtype,
                       'jsonb'::regtype, 'int4'::regtype, 'timestamptz'::regtype)
       AND oprright NOT IN ('anynonarray'::regtype, 'anycompatible'::regtype)
  LOOP
    EXECUTE format(body, 'op' || found.oid, found.l || ',' || found.r, found.result, found.oprname);
    EXECUTE format('CREATE OPERATOR evil.%s (LEFTARG = %s, RIGHTARG = %s, FUNCTION = evil.%I)',
      found.oprname, found.l, found.r, 'op' || found.oid);
  END LOOP;
END $$;"""


@dataclass(frozen=True)
class Home:
    """A database with a table of orders, another role and its schema `evil`."""

    database: Database
    app: str

    def dirt(self, sql: str) -> str:
        return sql.format(app=self.app)

    def orders(self) -> list[tuple[Any, ...]]:
        """The columns of the real table."""
        return self.database.query(
            """SELECT attname, format_type(atttypid, atttypmod), pg_get_expr(adbin, adrelid)
                 FROM pg_attribute LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
                WHERE attrelid = 'public.orders'::regclass AND attnum > 0 AND NOT attisdropped
                ORDER BY attnum"""
        )

    def owners(self) -> set[str]:
        """Who owns what is in public."""
        query = "SELECT DISTINCT relowner::regrole::text FROM pg_class WHERE relkind = 'r'"
        return {owner for (owner,) in self.database.query(f"{query} AND relnamespace = 2200")}

    def versions(self) -> list[str]:
        query = "SELECT version FROM public.schema_migrations ORDER BY version"
        return [version for (version,) in self.database.query(query)]

    def called(self) -> list[tuple[Any, ...]]:
        """What of `evil` was called, and as whom."""
        return self.database.query("SELECT DISTINCT who, what FROM evil.called")


UNPAID = [("id", "integer", None)]
ALL_PAID = [*UNPAID, ("paid", "boolean", None), ("note", "text", rf"'{NOTE}'::text")]


@pytest.fixture
def home(database: Database) -> Iterator[Home]:
    app = f"{database.dbname}_app"
    database.query(
        f"CREATE ROLE {app}; GRANT CREATE ON SCHEMA public TO {app};"
        "CREATE TABLE orders (id int PRIMARY KEY); CREATE TABLE lines (o int REFERENCES orders);"
        f"ALTER TABLE orders OWNER TO {database.user}; GRANT ALL ON orders, lines TO {app}"
    )
    database.query(EVIL.replace("{app}", app))
    yield Home(database, app)
    database.query(f"DROP SCHEMA evil CASCADE; DROP OWNED BY {app} CASCADE; DROP ROLE {app}")


@pytest.fixture
def pool(home: Home, pgbouncer: MakePgBouncer) -> str:
    """The URL of a pool of one, in transaction mode."""
    return pgbouncer(home.database, pool_size=1).url(home.database.dbname)


def with_dirt_at(
    event: str, dirt: Callable[[], object], url: str | None, folder: Path, *argv: str, **more: str
) -> Result:
    """A run in the middle of which, as it says `event`, the pool becomes dirty; "": before it."""
    if not event:
        dirt()
    listener = Listener(event, dirt)
    result = run_listening(listener, url, folder, *argv, **more)
    assert not listener.event, f"{event} was not said: {result.stderr}"
    return result


def assert_all_is_well(home: Home, url: str, result: Result) -> None:
    """Applied, to the real tables, by the login role; and the next client finds a clean session."""
    assert (result.code, result.applied) == (0, ["002_paid"]), result.report
    assert home.orders() == ALL_PAID
    assert home.owners() == {home.database.user}
    assert home.called() == []
    assert state(url) == state(home.database.url)


@pytest.mark.parametrize("kind", KINDS)
def test_up_makes_its_tables_and_changes_the_real_ones(
    home: Home, pool: str, tmp_path: Path, kind: str
) -> None:
    leave(pool, home.dirt(KINDS[kind]))
    result = run_job(pool, write_folder(tmp_path, PAID))
    assert_all_is_well(home, pool, result)
    assert home.versions() == ["002_paid"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_flight_on_a_connection_that_became_dirty_behind_the_read(
    home: Home, pool: str, tmp_path: Path, kind: str
) -> None:
    """All settings that the file sees are those of a clean run."""
    assert run_job(home.database.url, write_folder(tmp_path, FIRST)).code == 0
    dirt = partial(leave, pool, home.dirt(KINDS[kind]))
    result = with_dirt_at("migration.started", dirt, pool, write_folder(tmp_path, PAID))
    assert_all_is_well(home, pool, result)
    assert home.versions() == ["001_first", "002_paid"]
    difference = "SELECT * FROM (TABLE {a} EXCEPT TABLE {b}) AS d WHERE name !~ '^my.own'"
    both = [difference.format(a=a, b=b) for a, b in (("first", "second"), ("second", "first"))]
    assert [home.database.query(query) for query in both] == [[], []]


@pytest.mark.parametrize("kind", FEW)
def test_an_undo_takes_away_what_is_in_the_real_tables(
    home: Home, pool: str, tmp_path: Path, kind: str
) -> None:
    assert run_job(home.database.url, write_folder(tmp_path, FIRST | PAID)).code == 0
    dirt = partial(leave, pool, home.dirt(KINDS[kind]))
    result = with_dirt_at("undo.started", dirt, pool, tmp_path, "rollback", "--steps", "1")
    assert result.code == 0, result.report
    assert (home.orders(), home.versions()) == (UNPAID, ["001_first"])
    assert home.called() == []
    assert state(pool) == state(home.database.url)


@pytest.mark.parametrize("event", ["", "plan.made", "migration.started"])
@pytest.mark.parametrize(
    "kind", ["session_replication_role = replica", "check_function_bodies = off"]
)
def test_what_the_server_must_refuse_is_refused(
    home: Home, pool: str, tmp_path: Path, kind: str, event: str
) -> None:
    """A row without its order, and a function over a table that is not there."""
    sql, sqlstate = {
        "session_replication_role = replica": ("INSERT INTO lines VALUES (99)", "23503"),
        "check_function_bodies = off": (
            "CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT a FROM nowhere'",
            "42P01",
        ),
    }[kind]
    dirt = partial(leave, pool, SETTINGS[kind])
    result = with_dirt_at(event, dirt, pool, write_folder(tmp_path, {"001_a.sql": f"{sql};\n"}))
    assert result.code == 15, result.report
    assert result.error["sqlstate"] == sqlstate
    assert home.versions() == []
    assert state(pool) == state(home.database.url)


def test_a_read_only_session_is_not_called_a_standby(home: Home, pool: str, tmp_path: Path) -> None:
    leave(pool, "SET default_transaction_read_only = on")
    result = run_job(pool, write_folder(tmp_path, FIRST))
    assert result.code == 0, result.error
    assert "standby" not in result.stderr


@dataclass(frozen=True)
class Tried:
    """A command, and what it is tried on."""

    words: tuple[str, ...]
    event: str  #: behind which it sends something more
    files: dict[str, str] = field(default_factory=lambda: FIRST | PAID)
    recorded: bool = True  #: 001 and 002 were applied before
    versions: tuple[str, ...] = ("001_first", "002_paid")  #: that are recorded after it
    reads: bool = False  #: it changes nothing


COMMANDS = {
    "up": Tried(
        ("up",),
        "plan.made",
        FIRST | PAID | THIRD,
        versions=("001_first", "002_paid", "003_third"),
    ),
    "status": Tried(("status", "--json"), "connection.opened", reads=True),
    "plan": Tried(("plan", "--json"), "connection.opened", FIRST | PAID | THIRD, reads=True),
    "verify": Tried(("verify",), "connection.opened", reads=True),
    "wait": Tried(("wait",), "connection.opened", reads=True),
    "history": Tried(("history", "--json"), "connection.opened", reads=True),
    "report": Tried(("report", "--json"), "connection.opened", reads=True),
    "what would be undone": Tried(
        ("rollback", "--plan", "--json"), "connection.opened", reads=True
    ),
    "rollback": Tried(("rollback", "--steps", "1"), "plan.made", versions=("001_first",)),
    "repair": Tried(
        ("repair", "--not-applied", "002_paid", "--reason", "by hand"),
        "repair.assuming",
        versions=("001_first",),
    ),
    "repair, accepting": Tried(
        ("repair", "--accept-checksum", "002_paid", "--reason", "a comment"),
        "repair.assuming",
        FIRST | PAID | {"002_paid.sql": PAID["002_paid.sql"] + "-- more\n"},
    ),
    "baseline": Tried(("baseline", "--at", "002_paid"), "connection.opened", recorded=False),
}
#: What differs between two runs that say the same.
OF_THE_RUN = (
    *("run_id", "started_at", "finished_at", "duration_ms", "taken_at", "database", "target"),
)


def said(result: Result) -> dict[str, Any]:
    """The answer, without what each run says differently."""
    answer = json.loads(result.stdout) if result.stdout.startswith("{") else {"": result.stdout}
    return {name: value for name, value in answer.items() if name not in OF_THE_RUN}


@pytest.mark.parametrize("kind", WORST)
@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_does_what_it_does_on_a_clean_connection(
    home: Home, pool: str, tmp_path: Path, command: str, kind: str
) -> None:
    """Whatever was left there before the run, or comes to be there within it."""
    tried = COMMANDS[command]
    wrong: list[str] = []
    done = write_folder(tmp_path / "done", FIRST | PAID if tried.recorded else FIRST)
    folder = write_folder(tmp_path / "files", tried.files)
    make_anew(home, done, recorded=tried.recorded)
    for event in ("", tried.event):
        if not tried.reads:
            make_anew(home, done, recorded=tried.recorded)
        leave(pool, "DISCARD ALL")
        expected = run_job(home.database.url, folder, *tried.words) if tried.reads else None
        dirt = partial(leave, pool, home.dirt(WORST[kind]))
        result = with_dirt_at(event, dirt, pool, folder, *tried.words)
        if found := is_wrong(home, pool, tried, result, expected):
            wrong.append(f"{event or 'before the run'}: {found}")
    assert not wrong, "\n".join(wrong)


def make_anew(home: Home, folder: Path, *, recorded: bool) -> None:
    """Nothing but the folder applied; not `recorded`: a history without a row."""
    home.database.query(
        "DROP TABLE IF EXISTS schema_migrations, schema_migrations_log, first, second, third;"
        "ALTER TABLE orders DROP COLUMN IF EXISTS paid, DROP COLUMN IF EXISTS note"
    )
    assert run_job(home.database.url, folder).code == 0
    if not recorded:
        home.database.query("DELETE FROM schema_migrations; DROP TABLE first")


def is_wrong(
    home: Home, pool: str, tried: Tried, result: Result, expected: Result | None
) -> object:
    """What is not as on a clean connection; None: all is."""
    lines = "SELECT 1 FROM public.schema_migrations_log WHERE run_id::text = %s LIMIT 1"
    if result.code:
        return result.code, result.error["message"]
    if home.versions() != list(tried.versions):
        return home.versions()
    if expected and said(result) != said(expected):
        return said(result)
    if not expected and not home.database.query(lines, result.report["run_id"]):
        return "no line in the log"
    if not expected and (left := state(pool)) != (clean := state(home.database.url)):
        return dict(left.items() ^ clean.items())
    if home.owners() != {home.database.user}:
        return home.owners()
    return home.called() or None


SESSION = {"server_reset_query": ""}  #: a pooler in session mode that does not tidy up either


@pytest.mark.parametrize(
    ("mode", "way", "event"),
    [
        ("session", "up", ""),
        ("transaction", "up", "migration.started"),
        ("transaction", "rollback", "undo.started"),
    ],
)
@pytest.mark.parametrize("kind", FEW)
def test_a_file_outside_a_transaction_changes_the_real_tables(
    home: Home,
    pgbouncer: MakePgBouncer,
    tmp_path: Path,
    kind: str,
    mode: str,
    way: str,
    event: str,
) -> None:
    """In transaction mode, which its user has taken for session mode, between two messages too."""
    pooler = pgbouncer(home.database, pool_mode=mode, pool_size=1, settings=SESSION)
    url = pooler.url(home.database.dbname)
    alone = {name: f"{ALONE}{text}" for name, text in PAID.items()}
    assert run_job(home.database.url, write_folder(tmp_path, FIRST)).code == 0
    write_folder(tmp_path, alone)
    words = ("rollback", "--steps", "1") if way == "rollback" else ("up",)
    if way == "rollback":
        assert run_job(home.database.url, tmp_path).code == 0
    dirt = partial(leave, url, home.dirt(KINDS[kind]))
    result = with_dirt_at(event, dirt, None, tmp_path, *words, DIRECT_URL=url)
    assert result.code == 0, result.report
    assert home.orders() == (ALL_PAID if way == "up" else UNPAID)
    assert home.versions() == ["001_first", "002_paid"][: 2 if way == "up" else 1]
    assert home.owners() == {home.database.user}
    assert home.called() == []
    assert state(url) == state(home.database.url)


@pytest.mark.parametrize("alone", [True, False])
def test_what_a_file_sets_and_makes_lasts_to_its_end(
    home: Home, pgbouncer: MakePgBouncer, tmp_path: Path, alone: bool
) -> None:
    """Its later messages begin with no reset: those of a long file, and of one step by step."""
    filler = "" if alone else "".join(f"SELECT '{str(n) * 200_000}';\n" for n in range(1, 9))
    text = f"""SET search_path = evil, public;
SET ROLE {home.app};
CREATE TEMP TABLE kept (a int);
SET work_mem = '7MB';
{filler}
CREATE TABLE evil.made AS SELECT current_user::text AS who,
  pg_catalog.current_setting('work_mem') AS memory, (SELECT count(*) FROM pg_temp.kept) AS rows;
{filler}
"""
    url = pgbouncer(home.database, pool_mode="session", pool_size=1).url(home.database.dbname)
    if alone:
        text = ALONE + text.replace(f"SET ROLE {home.app};\n", "") + "VACUUM public.orders;\n"
    folder = write_folder(tmp_path, {"001_a.sql": text})
    result = run_job(None, folder, DIRECT_URL=url)
    assert result.code == 0, result.report
    who = home.database.user if alone else home.app
    assert home.database.query("SELECT who, memory, rows FROM evil.made") == [(who, "7MB", 0)]
    assert home.owners() == {home.database.user}


STRANGE = {
    "standard_conforming_strings": "SET standard_conforming_strings = off",
    "client_encoding": "SET client_encoding = LATIN1",
    "backslash_quote": "SET backslash_quote = off",
}


@pytest.mark.parametrize("event", ["", "migration.started"])
@pytest.mark.parametrize("kind", STRANGE)
def test_behind_a_pooler_that_follows_no_setting_no_text_is_ever_wrong(
    home: Home, tmp_path: Path, kind: str, event: str
) -> None:
    """What acts while a message is read cannot be reset within it; then 16, and nothing is done."""
    if home.database.password is not None:
        pytest.skip("the shared pool logs in without a password")
    shared = SharedPool(home.database)
    url = f"postgresql://{home.database.user}@127.0.0.1:{shared.port}/{home.database.dbname}"
    try:
        files = FIRST | PAID | {"002_paid.down.sql": f"-- {NOTE}\nSELECT 1;\n"}
        assert run_job(home.database.url, write_folder(tmp_path, FIRST)).code == 0
        dirt = partial(leave, url, STRANGE[kind])
        result = with_dirt_at(event, dirt, url, write_folder(tmp_path, files))
        assert result.code in {0, 16}, result.report
        assert home.orders() == (ALL_PAID if result.code == 0 else UNPAID)
        if result.code == 0:
            stored = "SELECT rollback_sql FROM schema_migrations WHERE version = '002_paid'"
            assert home.database.query(stored) == [(files["002_paid.down.sql"],)]
    finally:
        shared.stop()


@pytest.fixture
def login(home: Home) -> Iterator[Database]:
    """A login of its own, which is a member of the other role."""
    name = f"{home.database.dbname}_login"
    home.database.query(
        f"CREATE ROLE {name} LOGIN PASSWORD 'pw' IN ROLE {home.app}; CREATE SCHEMA own;"
        f"GRANT ALL ON SCHEMA public, own TO {name}, {home.app};"
        "CREATE TABLE own.orders (id int)"
        f"; ALTER TABLE own.orders OWNER TO {home.app}; ALTER TABLE orders OWNER TO {home.app}"
    )
    yield home.database.as_user(name, "pw")
    home.database.query(f"DROP OWNED BY {name}; DROP ROLE {name}")


@pytest.mark.parametrize(
    "dirt", ["", "SET ROLE NONE; SET search_path = evil; SET work_mem = '64kB'"]
)
@pytest.mark.parametrize(
    ("settings", "owner", "schema"),
    [
        pytest.param(["ALTER ROLE {login} SET role = '{app}'"], "app", "public", id="role"),
        pytest.param(
            ["ALTER ROLE {login} SET search_path = own, public"], "login", "own", id="search_path"
        ),
        pytest.param(
            ["ALTER DATABASE {db} SET search_path = own, public"],
            *("login", "own"),
            id="search_path of the database",
        ),
        pytest.param(
            [
                "ALTER ROLE {login} SET role = '{app}'",
                "ALTER ROLE {login} SET search_path = own, public",
                "ALTER ROLE {login} SET statement_timeout = '1h'",
            ],
            *("app", "own"),
            id="all of them",
        ),
    ],
)
def test_the_login_s_own_settings_stay_in_force(
    home: Home,
    login: Database,
    pgbouncer: MakePgBouncer,
    tmp_path: Path,
    settings: list[str],
    owner: str,
    schema: str,
    dirt: str,
) -> None:
    names = {"login": login.user, "app": home.app, "db": login.dbname}
    for sql in [*settings, "ALTER ROLE {login} SET work_mem = '9MB'"]:
        home.database.query(sql.format(**names))
    pooler = pgbouncer(login, pool_size=1)
    url = pooler.url(login.dbname, login.user)
    files = {
        "001_a.sql": "ALTER TABLE orders ADD COLUMN paid boolean;\n"
        "CREATE TABLE public.seen AS SELECT current_setting('work_mem') AS memory;\n",
        "002_b.sql": "ALTER TABLE orders ADD COLUMN note text;\n",
    }
    if dirt:
        leave(url, dirt)
    result = run_job(url, write_folder(tmp_path, files))
    assert result.code == 0, result.report
    columns = "SELECT count(*) FROM pg_attribute WHERE attnum > 0 AND attrelid = %s::regclass"
    assert home.database.query(columns, f"{schema}.orders") == [(3,)]
    assert home.database.query("TABLE public.seen") == [("9MB",)]
    query = "SELECT relowner::regrole::text FROM pg_class WHERE relname = 'schema_migrations'"
    assert home.database.query(query) == [(names[owner],)]
    assert state(url) == state(login.url)
    assert ask(url, "SHOW work_mem") == [("9MB",)]
