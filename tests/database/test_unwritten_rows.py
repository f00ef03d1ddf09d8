"""What a run says is written is written: rows that were swallowed, and files that touch our tables.

A trigger or a rule in our tables may keep a row out without an error, and a file may change what
is recorded there. Before its COMMIT a flight proves that its own rows were written and no others.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.builders import write_folder
from tests.conftest import FIXTURES, Database, MakePgBouncer, MakeProxy
from tests.job import Job, Result, run_job, until

HISTORY, LOG = "schema_migrations", "schema_migrations_log"
FIRST = {
    "001_a.sql": "CREATE TABLE public.ran (what text);\nINSERT INTO public.ran VALUES ('001');\n",
    "001_a.down.sql": "INSERT INTO public.ran VALUES ('undone');\n",
}
SECOND = {"002_b.sql": "INSERT INTO public.ran VALUES ('002');\n"}
ALONE = "-- migrator: no-transaction\n"
RAN = "SELECT what FROM public.ran"
#: Rows of both tables, undo texts too.
STATE = """SELECT
  (SELECT coalesce(jsonb_agg(h ORDER BY version), '[]') FROM public.schema_migrations AS h),
  (SELECT coalesce(jsonb_agg(l ORDER BY id), '[]') FROM public.schema_migrations_log AS l)"""
WHY = ("--reason", "seen")


def state(database: Database) -> list[object]:
    """The rows of both tables, but for the log's lines of failures."""
    ((history, log),) = database.query(STATE)
    return [history, [line for line in log if "failed" not in line["event"]]]


@dataclass(frozen=True)
class Act:
    """A command that writes to the history by `event`, and the files that it finds."""

    words: tuple[str, ...]
    event: str = "INSERT"
    files: dict[str, str] = field(default_factory=dict)  #: beside FIRST, or instead of it
    before: str = "SELECT"  #: what is done to the database first
    runs: tuple[str, ...] = ()  #: what stands in `ran` once the command has succeeded


TEXT = f"{ALONE}INSERT INTO public.ran VALUES ('one');\nINSERT INTO public.ran VALUES ('two');\n"
VACUUM = f"{ALONE}VACUUM public.ran;\nINSERT INTO public.ran VALUES ('two');\n"
EMPTIED = "DELETE FROM public.schema_migrations"
LEFT_BY_GOOSE = (FIXTURES / "adopt" / "goose" / "history.sql").read_text()
ACTS = {
    "up": Act(("up",), files=SECOND, runs=("001", "002")),
    "a repeatable": Act(
        ("up",), files={"R__r.sql": "INSERT INTO public.ran VALUES ('r');"}, runs=("001", "r")
    ),
    "a repeatable again": Act(
        ("up",),
        event="UPDATE",
        files={"R__r.sql": "INSERT INTO public.ran VALUES ('r');"},
        before="INSERT INTO public.schema_migrations (version, checksum, kind)"
        " VALUES ('R__r', repeat('0', 64), 'repeatable')",
        runs=("001", "r"),
    ),
    "no transaction": Act(("up",), files={"002_b.sql": TEXT}, runs=("001", "one", "two")),
    "no transaction, with an intent": Act(
        ("up",), files={"002_b.sql": VACUUM}, runs=("001", "two")
    ),
    "rollback": Act(("rollback", "--steps", "1"), event="DELETE", runs=("001", "undone")),
    "rollback without a transaction": Act(
        ("rollback", "--steps", "1"),
        event="DELETE",
        files={"002_b.sql": SECOND["002_b.sql"], "002_b.down.sql": TEXT},
        runs=("001", "002", "one", "two"),
    ),
    "repair --applied": Act(("repair", "--applied", "002_b", *WHY), files=SECOND, runs=("001",)),
    "repair --not-applied": Act(
        ("repair", "--not-applied", "001_a", *WHY), event="DELETE", runs=("001",)
    ),
    "repair --accept-checksum": Act(
        ("repair", "--accept-checksum", "001_a", *WHY),
        event="UPDATE",
        files={"001_a.sql": "SELECT 1;"},
        runs=("001",),
    ),
    "baseline": Act(("baseline", "--at", "001_a"), before=EMPTIED, runs=("001",)),
    "adopt": Act(
        ("adopt", "--from", "goose"),
        files={"00001_a.sql": "SELECT 1;", "00002_b.sql": "SELECT 2;"},
        before=f"{EMPTIED};\n{LEFT_BY_GOOSE}",
        runs=("001",),
    ),
}
SWALLOWS = {
    "trigger": "CREATE FUNCTION public.nothing() RETURNS trigger LANGUAGE plpgsql AS"
    " 'BEGIN RETURN NULL; END';\n"
    "CREATE TRIGGER swallows BEFORE {event} ON public.{table}"
    " FOR EACH ROW EXECUTE FUNCTION public.nothing()",
    "rule": "CREATE RULE swallows AS ON {event} TO public.{table} DO INSTEAD NOTHING",
}
IN_BOTH = [
    pytest.param(name, table, id=f"{name}, {table}") for name in ACTS for table in (HISTORY, LOG)
]


def prepared(database: Database, tmp_path: Path, act: Act) -> Path:
    """The folder, in a database in which all that comes before the act is done."""
    first = FIRST | (act.files if "002_b.down.sql" in act.files else {})
    assert run_job(database.url, write_folder(tmp_path / "first", first)).code == 0
    database.query(act.before)
    files = act.files if act.words[0] == "adopt" else {**FIRST, **act.files}
    return write_folder(tmp_path / "folder", files)


@pytest.mark.parametrize("swallows", SWALLOWS)
@pytest.mark.parametrize(("name", "table"), IN_BOTH)
def test_a_row_that_is_swallowed_is_seen_before_anything_is_committed(
    database: Database, tmp_path: Path, name: str, table: str, swallows: str
) -> None:
    """The second time as the first: nothing runs twice, and without it all goes on."""
    act = ACTS[name]
    folder = prepared(database, tmp_path, act)
    before, ran = state(database), database.query(RAN)
    event = act.event if table == HISTORY else "INSERT"
    database.query(SWALLOWS[swallows].format(event=event, table=table))
    for _ in range(2):
        result = run_job(database.url, folder, *act.words)
        assert result.code == 16, (result.report["outcome"], database.query(RAN))
        assert "swallows" in result.error["message"]
    if "no transaction" not in name and "without" not in name:
        assert (state(database), database.query(RAN)) == (before, ran)
    database.query(f"DROP {swallows} swallows ON public.{table}")
    assert run_job(database.url, folder, *act.words).code == 0
    assert database.query(RAN) == [(what,) for what in act.runs]


def test_a_journal_line_that_is_swallowed_lets_no_statement_run(
    database: Database, tmp_path: Path
) -> None:
    """What cannot be taken back is not begun without its intent."""
    text = f"{ALONE}CREATE INDEX CONCURRENTLY ran_what ON public.ran (what);\n"
    folder = prepared(database, tmp_path, Act(("up",), files={"002_b.sql": text}))
    database.query(SWALLOWS["trigger"].format(event="INSERT", table=LOG))
    result = run_job(database.url, folder)
    assert (result.code, "swallows" in result.error["message"]) == (16, True), result.stderr
    assert database.query("SELECT to_regclass('public.ran_what')") == [(None,)]


PUBLIC = "SELECT quote_ident(tablename) FROM pg_tables WHERE schemaname = 'public'"
EACH_TABLE = """DO $$ DECLARE name text; BEGIN
  FOR name IN {tables} LOOP EXECUTE 'TRUNCATE public.' || name || ' CASCADE'; END LOOP;
END $$"""
CHANGES = {
    "TRUNCATE of all": EACH_TABLE.format(tables=PUBLIC),
    "TRUNCATE": "TRUNCATE public.schema_migrations",
    "TRUNCATE of the log": "TRUNCATE public.schema_migrations_log",
    "TRUNCATE and the same rows again": "CREATE TABLE public.kept AS TABLE schema_migrations;"
    "TRUNCATE public.schema_migrations;"
    "INSERT INTO public.schema_migrations SELECT * FROM public.kept",
    "DELETE": "DELETE FROM public.schema_migrations",
    "DELETE of the log": "DELETE FROM public.schema_migrations_log",
    "DELETE and the same row again": "WITH gone AS (DELETE FROM public.schema_migrations"
    " RETURNING version) INSERT INTO public.schema_migrations (version) SELECT version || 'x'"
    " FROM gone",
    "DELETE in a savepoint": "SAVEPOINT s; DELETE FROM public.schema_migrations; RELEASE s",
    "DELETE after one that was taken back": "SAVEPOINT s; DELETE FROM public.schema_migrations;"
    "ROLLBACK TO s; DELETE FROM public.schema_migrations",
    "INSERT": "INSERT INTO public.schema_migrations (version) VALUES ('003_c')",
    "INSERT of its own row": "INSERT INTO public.schema_migrations (version) VALUES ('002_b')",
    "INSERT into the log": "INSERT INTO public.schema_migrations_log (run_id, event, runner)"
    " VALUES ('11111111-2222-4333-8444-555555555555', 'applied', 'me')",
    "the dump of a Rails application": 'INSERT INTO "schema_migrations" (version) VALUES\n'
    "('20240102000000'),\n('20240101000000')",
    "UPDATE of a checksum": "UPDATE public.schema_migrations SET checksum = NULL",
    "UPDATE of an undo": "UPDATE public.schema_migrations SET rollback_sql = NULL",
    "UPDATE of the log": "UPDATE public.schema_migrations_log SET runner = 'me'",
    "DROP": "DROP TABLE public.schema_migrations",
    "DROP of the log": "DROP TABLE public.schema_migrations_log",
    "DROP and CREATE": "CREATE TABLE public.kept AS TABLE schema_migrations;"
    "DROP TABLE public.schema_migrations;"
    "CREATE TABLE public.schema_migrations (LIKE public.kept);"
    "INSERT INTO public.schema_migrations SELECT * FROM public.kept;"
    "ALTER TABLE public.schema_migrations ADD PRIMARY KEY (version),"
    " ALTER applied_at SET DEFAULT now(), ALTER kind SET DEFAULT 'versioned'",
    "RENAME": "ALTER TABLE public.schema_migrations RENAME TO renamed",
    "RENAME of the log": "ALTER TABLE public.schema_migrations_log RENAME TO renamed",
    "RENAME of a column": "ALTER TABLE public.schema_migrations RENAME checksum TO sum",
    "SET SCHEMA": "CREATE SCHEMA other; ALTER TABLE public.schema_migrations SET SCHEMA other",
    "a column that must be given": "ALTER TABLE public.schema_migrations_log"
    " ADD x int NOT NULL DEFAULT 0; ALTER TABLE public.schema_migrations_log ALTER x DROP DEFAULT",
    "a check that our row fails": "ALTER TABLE public.schema_migrations"
    " ADD CHECK (version <> '002_b') NOT VALID",
    "REVOKE": "REVOKE ALL ON public.schema_migrations FROM CURRENT_USER",
    "REVOKE of the log": "REVOKE ALL ON public.schema_migrations_log FROM CURRENT_USER",
    "FORCE ROW LEVEL SECURITY": "ALTER TABLE public.schema_migrations FORCE ROW LEVEL SECURITY",
    "FORCE ROW LEVEL SECURITY on the log": "ALTER TABLE public.schema_migrations_log"
    " FORCE ROW LEVEL SECURITY",
    "another owner": "ALTER TABLE public.schema_migrations OWNER TO plain_group",
    "another owner of the log": "ALTER TABLE public.schema_migrations_log OWNER TO plain_group",
    "no row level security": "ALTER TABLE public.schema_migrations DISABLE ROW LEVEL SECURITY",
    "no row level security on the log": "ALTER TABLE public.schema_migrations_log"
    " DISABLE ROW LEVEL SECURITY",
    "another table in its place": "ALTER TABLE public.schema_migrations RENAME TO renamed;"
    "CREATE TABLE public.schema_migrations (LIKE public.renamed INCLUDING ALL)",
}
HARMLESS = {
    "its own tables": "CREATE TABLE public.mine AS SELECT 1; TRUNCATE public.mine;"
    "DELETE FROM public.ran; INSERT INTO public.ran VALUES ('001')",
    "a change that is taken back": "SAVEPOINT s; DELETE FROM public.schema_migrations;"
    "UPDATE public.schema_migrations_log SET runner = 'me'; ROLLBACK TO s",
    "a TRUNCATE that is taken back": "SAVEPOINT s; TRUNCATE public.schema_migrations;"
    "TRUNCATE public.schema_migrations_log; ROLLBACK TO s",
    "an INSERT that is taken back": "SAVEPOINT s; INSERT INTO public.schema_migrations (version)"
    " VALUES ('003_c'); ROLLBACK TO s",
    "a change that fails in a block": "DO $$ BEGIN DELETE FROM public.schema_migrations;"
    " PERFORM 1/0; EXCEPTION WHEN division_by_zero THEN NULL; END $$",
    "a change of no row": "DELETE FROM public.schema_migrations WHERE version = 'none'",
    "a look": "CREATE TABLE public.seen AS TABLE public.schema_migrations",
    "a right to read": "GRANT SELECT ON public.schema_migrations TO PUBLIC",
    "temporary tables of our names": "CREATE TEMP TABLE schema_migrations (version text);"
    "CREATE TEMP TABLE schema_migrations_log (id int);"
    "INSERT INTO schema_migrations VALUES ('x')",
    "tables of our names elsewhere": "CREATE SCHEMA other; SET search_path = other, public;"
    "CREATE TABLE schema_migrations (version text); INSERT INTO schema_migrations VALUES ('x')",
}
each_change = pytest.mark.parametrize("change", CHANGES)


@pytest.fixture
def plain(database: Database) -> Iterator[Database]:
    """A login that owns what it makes, and is subject to rights and policies."""
    database.query("DROP ROLE IF EXISTS plain")
    database.query("DROP ROLE IF EXISTS plain_group")
    database.query("CREATE ROLE plain LOGIN PASSWORD 'throwaway'; CREATE ROLE plain_group")
    database.query(
        f"GRANT CREATE ON SCHEMA public TO plain, plain_group; GRANT plain_group TO plain;"
        f"GRANT CREATE ON DATABASE {database.dbname} TO plain"
    )
    yield database.as_user("plain", "throwaway")
    database.query("DROP OWNED BY plain, plain_group CASCADE")
    database.query("DROP ROLE plain, plain_group")


def after_the_first(login: Database, tmp_path: Path, **files: str) -> Path:
    """The folder, once the first migration is applied: `files` are further ones, without .sql."""
    folder = write_folder(tmp_path, FIRST)
    assert run_job(login.url, folder).code == 0
    return write_folder(folder, {f"{name}.sql": text for name, text in files.items()})


def assert_says_so(result: Result, code: int = 15) -> None:
    assert result.code == code, (result.report["outcome"], result.report["error"])
    assert "changed migrator's own history" in result.error["message"].lower()
    assert "MIGRATIONS_SCHEMA" in result.error["remedy"]


@each_change
def test_a_file_that_changes_our_tables_is_rolled_back(
    plain: Database, database: Database, tmp_path: Path, change: str
) -> None:
    text = f"CREATE TABLE public.other ();\n{CHANGES[change]};\n"
    folder = after_the_first(plain, tmp_path, **{"002_b": text})
    before = state(database)
    assert_says_so(run_job(plain.url, folder))
    assert state(database) == before
    assert database.query("SELECT to_regclass('public.other')") == [(None,)]
    write_folder(folder, SECOND)
    assert run_job(plain.url, folder).applied == ["002_b"]
    assert run_job(plain.url, folder, "verify").code == 0


#: What a flight would have kept, had the file changed nothing, but for the run's id.
FORGED = "ARRAY[{h}::oid::bigint, {l}::oid::bigint, {counters}]".format(
    h="to_regclass('public.schema_migrations')",
    l="to_regclass('public.schema_migrations_log')",
    counters=", ".join(
        f"pg_stat_get_xact_tuples_{what}(to_regclass('public.{table}'))"
        for table in (HISTORY, LOG)
        for what in ("inserted", "updated", "deleted")
    ),
)
#: What a file may do to the setting in which a flight keeps what it has seen before.
FORGETS = {
    "RESET ALL": "RESET ALL",
    "SET": "SET LOCAL migrator.before = '{1,2,3,4,5,6,7,8}'",
    "set_config": "SELECT set_config('migrator.before', '11111111-2222-4333-8444-555555555555'"
    f" || {FORGED}::text || '  ', true)",
    "an empty text": "SELECT set_config('migrator.before', NULL, true)",
}


@pytest.mark.any_version  # what was kept is a setting
@pytest.mark.parametrize("forgets", ["RESET ALL", "set_config"])
@each_change
def test_a_file_that_takes_what_was_kept_away_is_seen_through(
    plain: Database, database: Database, tmp_path: Path, change: str, forgets: str
) -> None:
    text = f"{CHANGES[change]};\n{FORGETS[forgets]};\n"
    folder = after_the_first(plain, tmp_path, **{"002_b": text})
    before = state(database)
    assert_says_so(run_job(plain.url, folder))
    assert state(database) == before


@pytest.mark.any_version  # what was kept is a setting
@pytest.mark.parametrize("forgets", FORGETS)
@pytest.mark.parametrize("harmless", HARMLESS)
def test_a_file_that_takes_what_was_kept_away_and_changes_nothing_is_applied(
    plain: Database, tmp_path: Path, harmless: str, forgets: str
) -> None:
    text = f"{HARMLESS[harmless]};\n{FORGETS[forgets]};\n"
    folder = after_the_first(plain, tmp_path, **{"002_b": text})
    result = run_job(plain.url, folder)
    assert (result.code, result.applied) == (0, ["002_b"]), result.stderr


def test_a_row_that_another_has_written_meanwhile_is_not_the_file_s(
    database: Database, tmp_path: Path
) -> None:
    """Of a younger transaction, which is over: its row has a higher xmin than the flight."""
    text = (
        "CREATE TABLE public.mine ();\nSAVEPOINT s; DELETE FROM public.schema_migrations;\n"
        "ROLLBACK TO s;\nSELECT pg_advisory_xact_lock(77);\n"
    )
    folder = after_the_first(database, tmp_path, **{"002_b": text})
    with closing(database.connect()) as holder, holder.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_lock(77)")
        job = Job(database.url, folder)
        until(
            lambda: database.query(
                "SELECT 1 FROM pg_locks WHERE NOT granted AND locktype = 'advisory'"
            )
        )
        database.query(CHANGES["INSERT into the log"])
    result = job.result()
    assert (result.code, result.applied) == (0, ["002_b"]), result.stderr


def test_a_notice_that_looks_like_our_report_is_a_notice(
    database: Database, tmp_path: Path
) -> None:
    texts = ["x", "1", "null", "[]", '{"run_id": 7}', '{"run_id": "me", "xid": "1", "ms": 77}']
    forged = "\n".join(f"RAISE INFO 'migrator-flight: {text}';" for text in texts)
    text = f"DO $$ BEGIN\n{forged}\nEND $$;\n"
    folder = after_the_first(database, tmp_path, **{"002_b": text})
    result = run_job(database.url, folder, LOG_LEVEL="debug")
    assert (result.code, result.applied) == (0, ["002_b"]), result.stderr
    heard = [line["notice"] for line in result.of("migration.notice")]
    assert heard == [f"migrator-flight: {text}" for text in texts]
    [done] = result.report["applied"]
    assert done["execution_time_ms"] != 77


def test_a_role_that_may_not_look_into_our_schema_runs_a_statement_outside(
    database: Database, plain: Database, tmp_path: Path
) -> None:
    """What the tables are like is kept while the file's role is at work."""
    database.query("CREATE SCHEMA shut; REVOKE ALL ON SCHEMA shut FROM PUBLIC")
    text = f"{ALONE}SET ROLE plain_group;\nCREATE TABLE public.theirs ();\nSELECT 1;\n"
    folder = write_folder(tmp_path, {"001_a.sql": text})
    result = run_job(database.url, folder, MIGRATIONS_SCHEMA="shut")
    assert (result.code, result.applied) == (0, ["001_a"]), result.stderr
    owner = "SELECT pg_get_userbyid(relowner) FROM pg_class WHERE relname = 'theirs'"
    assert database.query(owner) == [("plain_group",)]


def test_the_log_is_not_waited_for_for_ever(database: Database, tmp_path: Path) -> None:
    folder = after_the_first(database, tmp_path)
    with closing(database.connect()) as holder, holder.cursor() as cursor:
        cursor.execute("BEGIN; LOCK TABLE public.schema_migrations_log")
        limits = {"LOCK_TIMEOUT": "20ms", "LOCK_RETRY_TIMEOUT": "100ms"}
        assert run_job(database.url, folder, "history", **limits).code == 22


def test_the_undo_texts_are_not_waited_for_for_ever(
    database: Database, proxy: MakeProxy, tmp_path: Path
) -> None:
    folder = after_the_first(database, tmp_path)
    network = proxy(database)
    network.hold_at(b"to_jsonb(h) ->>")
    limits = {"LOCK_TIMEOUT": "20ms", "LOCK_RETRY_TIMEOUT": "100ms"}
    job = Job(network.through(database.url), folder, "rollback", "--plan", **limits)
    until(lambda: network.holding)
    with closing(database.connect()) as holder, holder.cursor() as cursor:
        cursor.execute("BEGIN; LOCK TABLE public.schema_migrations")
        network.let_go()
        assert job.result().code == 22


#: What a statement of its own can do.
OUTSIDE = [name for name in CHANGES if "savepoint" not in name and "taken back" not in name]


@pytest.mark.parametrize("change", OUTSIDE)
def test_a_statement_outside_a_transaction_that_changes_our_tables_is_the_last(
    plain: Database, database: Database, tmp_path: Path, change: str
) -> None:
    text = f"{ALONE}{CHANGES[change]};\nCREATE TABLE public.later ();\n"
    folder = after_the_first(plain, tmp_path, **{"002_b": text})
    assert_says_so(run_job(plain.url, folder), 14)
    assert database.query("SELECT to_regclass('public.later')") == [(None,)]


@pytest.mark.parametrize("harmless", HARMLESS)
def test_a_file_that_changes_nothing_of_ours_is_applied(
    plain: Database, tmp_path: Path, harmless: str
) -> None:
    folder = after_the_first(plain, tmp_path, **{"002_b": f"{HARMLESS[harmless]};\n"})
    result = run_job(plain.url, folder)
    assert (result.code, result.applied) == (0, ["002_b"]), result.stderr
    assert run_job(plain.url, folder, "verify").code == 0


UNCOUNTED = ("DELETE", "INSERT", "UPDATE of an undo", "TRUNCATE and the same rows again")


@pytest.mark.parametrize("change", UNCOUNTED)
@pytest.mark.parametrize("off", ["for the role", "by the file"])
def test_where_the_server_counts_nothing_a_change_is_seen_too(
    plain: Database, database: Database, tmp_path: Path, change: str, off: str
) -> None:
    """track_counts is a superuser's to set, so that a file sets it as one."""
    login, setting = plain, ""
    if off == "for the role":
        database.query("ALTER ROLE plain SET track_counts = off")
    else:
        login, setting = database, "SET track_counts = off;"
    folder = after_the_first(login, tmp_path, **{"002_b": f"{setting}{CHANGES[change]};\n"})
    before = state(database)
    assert_says_so(run_job(login.url, folder))
    assert state(database) == before


@pytest.mark.parametrize("harmless", HARMLESS)
def test_where_the_server_counts_nothing_a_file_that_is_harmless_is_applied(
    plain: Database, database: Database, tmp_path: Path, harmless: str
) -> None:
    database.query("ALTER ROLE plain SET track_counts = off")
    folder = after_the_first(plain, tmp_path, **{"002_b": f"{HARMLESS[harmless]};\n"})
    result = run_job(plain.url, folder)
    assert (result.code, result.applied) == (0, ["002_b"]), result.stderr


def test_where_the_server_counts_nothing_a_row_that_is_swallowed_is_seen(
    plain: Database, database: Database, tmp_path: Path
) -> None:
    database.query("ALTER ROLE plain SET track_counts = off")
    folder = after_the_first(plain, tmp_path, **{"002_b": SECOND["002_b.sql"]})
    for table in (HISTORY, LOG):
        swallows = SWALLOWS["trigger"].replace(
            "FUNCTION public.nothing() RETURNS", "OR REPLACE FUNCTION public.nothing() RETURNS"
        )
        database.query(swallows.format(event="INSERT", table=table))
        assert run_job(plain.url, folder).code == 16
        database.query(f"DROP TRIGGER swallows ON public.{table}")
    assert database.query(RAN) == [("001",)]


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(
            "COPY public.schema_migrations (version) FROM stdin;\n20240101000000\n\\.\n",
            id="COPY into the history",
        ),
        pytest.param(
            "COPY public.ran FROM stdin;\nx\n\\.\nDELETE FROM public.schema_migrations;\n",
            id="after a COPY",
        ),
        pytest.param(
            f"SELECT '{'x' * 700_000}';\nDELETE FROM public.schema_migrations;\n"
            f"SELECT '{'x' * 700_000}';\n",
            id="in the middle of several messages",
        ),
    ],
)
@pytest.mark.parametrize("way", ["direct", "pooled"])
def test_it_is_seen_in_a_file_of_several_messages_and_through_a_pooler(
    database: Database, pgbouncer: MakePgBouncer, tmp_path: Path, text: str, way: str
) -> None:
    folder = after_the_first(database, tmp_path, **{"002_b": text})
    before = state(database)
    url = database.url
    if way == "pooled":
        url = pgbouncer(database, pool_mode="transaction", pool_size=1).url(database.dbname)
    assert_says_so(run_job(url, folder))
    assert (state(database), database.query(RAN)) == (before, [("001",)])


@pytest.mark.parametrize("change", ["DELETE", "TRUNCATE of the log", "UPDATE of an undo", "DROP"])
def test_a_repeatable_and_an_undo_may_not_change_them_either(
    database: Database, tmp_path: Path, change: str
) -> None:
    files = {"R__r": f"{CHANGES[change]};\n"}
    folder = after_the_first(database, tmp_path, **files)
    before = state(database)
    assert_says_so(run_job(database.url, folder))
    assert state(database) == before
    (folder / "R__r.sql").unlink()
    write_folder(folder, {**SECOND, "002_b.down.sql": f"{CHANGES[change]};\n"})
    assert run_job(database.url, folder).code == 0
    before = state(database)
    assert_says_so(run_job(database.url, folder, "rollback", "--steps", "1"))
    assert state(database) == before


def test_a_first_file_may_not_add_a_column_that_must_be_given(
    database: Database, tmp_path: Path
) -> None:
    text = "ALTER TABLE public.schema_migrations ADD x int NOT NULL;\n"
    folder = write_folder(tmp_path, {"001_a.sql": text})
    assert_says_so(run_job(database.url, folder))
    assert state(database)[0] == []


@pytest.mark.parametrize("swallows", SWALLOWS)
@pytest.mark.parametrize("table", [HISTORY, LOG])
def test_a_file_that_makes_its_own_row_be_swallowed_leaves_nothing(
    database: Database, tmp_path: Path, table: str, swallows: str
) -> None:
    text = SECOND["002_b.sql"] + SWALLOWS[swallows].format(event="INSERT", table=table) + ";\n"
    folder = after_the_first(database, tmp_path, **{"002_b": text})
    before = state(database)
    result = run_job(database.url, folder)
    assert result.code in {15, 16}, result.report["outcome"]
    assert (state(database), database.query(RAN)) == (before, [("001",)])
    assert database.query("SELECT 1 FROM pg_trigger WHERE tgname = 'swallows'") == []


def test_a_file_outside_a_transaction_may_vacuum_all_there_is(
    database: Database, tmp_path: Path
) -> None:
    text = f"{ALONE}VACUUM ANALYZE;\nCREATE TABLE public.later ();\n"
    folder = after_the_first(database, tmp_path, **{"002_b": text})
    assert run_job(database.url, folder).applied == ["002_b"]


def test_what_is_shown_after_a_refusal_is_what_was_before(
    database: Database, tmp_path: Path
) -> None:
    """The undo text of the first migration is what nothing else could restore."""
    folder = after_the_first(database, tmp_path, **{"002_b": CHANGES["TRUNCATE of all"] + ";\n"})
    assert_says_so(run_job(database.url, folder))
    shown = json.loads(run_job(database.url, folder, "status", "--json").stdout)["migrations"]
    assert [(row["version"], row["state"]) for row in shown] == [
        ("001_a", "applied"),
        ("002_b", "pending"),
    ]
    (folder / "002_b.sql").unlink()
    assert run_job(database.url, folder, "rollback", "--steps", "1").code == 0
    assert database.query(RAN) == [("001",), ("undone",)]
