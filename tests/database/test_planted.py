"""Tables of our names that another role made: no code of that role runs, no row of it is believed.

`tests/intruder.py` says what mallory may do. Every command is run on everything that mallory
plants, as a superuser and as a deployer, and after each one mallory must still be nothing.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

import pytest

from tests.builders import write_folder
from tests.conftest import FIXTURES, Database, MakeProxy
from tests.intruder import (
    ARMED,
    FILES,
    FORGED,
    LOG,
    OF_ITS_OWNER,
    OPEN,
    PLANTS,
    SOME,
    TABLES,
    Plant,
    Stage,
    dismiss,
    each_plant,
    full_but_for_some,
    intruded,
    planted,
)
from tests.job import Job, Result, run_job, until

#: What each command that only reads ends with when 001_a is recorded and 002_b is not.
READING = {"status": 0, "plan": 0, "verify": 24, "wait": 24, "history": 0, "report": 0}
WRITING = (
    ("up",),
    ("rollback", "--steps", "1"),
    ("repair", "--not-applied", "001_a", "--reason", "seen"),
    ("repair", "--applied", "002_b", "--reason", "seen"),
)
ADOPT = ("adopt", "--from", "seed")
#: What has nothing to write, as the history has begun: it may say so instead.
BEGINNING = {
    ("baseline", "--at", "001_a"): {2, 16},
    ADOPT: {0, 2, 16},
}
ELSEWHERE = {"MIGRATIONS_SCHEMA": "elsewhere"}
TABLE_AND_LOG = ("schema_migrations", "schema_migrations_log")
both_logins = pytest.mark.parametrize("login", ["superuser", "deployer"])


@pytest.fixture
def stage(database: Database) -> Iterator[Stage]:
    with intruded(database) as made:
        yield made


class Trial:
    """Commands run one after the other; all that was not as it must be is in `wrong`."""

    def __init__(self, stage: Stage, login: str, folder: Path, **settings: str) -> None:
        self.stage, self.login, self.folder = stage, stage.login(login), folder
        self.settings = {"WAIT_TIMEOUT": "10ms", "LOCK_RETRY_TIMEOUT": "1s", **settings}
        self.wrong: list[str] = []

    def run(
        self, *words: str, codes: set[int], named: Sequence[str] = ("mallory",), **settings: str
    ) -> Result:
        """Run it: a refusal has all of `named` and a remedy, and mallory has gained nothing."""
        result = run_job(self.login.url, self.folder, *words, **{**self.settings, **settings})
        command = " ".join(words)
        if result.code not in codes:
            self.wrong.append(f"{command}: {result.code} {result.report['error']}")
        if result.code == 16:
            lacking = [word for word in named if word not in result.error["message"]]
            if lacking or not result.error.get("remedy"):
                self.wrong.append(f"{command}: names no {lacking}: {result.error}")
        if gained := self.stage.gained():
            self.wrong.append(f"{command}: mallory gained {', '.join(gained)}")
        return result

    def warned(self, *words: str, code: int, **settings: str) -> Result:
        """Run it: it goes on, and its log names the owner."""
        result = self.run(*words, codes={code}, **settings)
        if "mallory" not in result.stderr:
            self.wrong.append(f"{' '.join(words)}: its log does not name mallory")
        return result

    def refused(self, *commands: Sequence[str], named: Sequence[str] = ("mallory",)) -> None:
        """Run them: each ends with 16; or with 12, where it was not to write anything."""
        for words in commands:
            self.run(*words, codes={12, 16} if words[0] == "rollback" else {16}, named=named)

    def ended_well(self) -> bool:
        """Whether all was as it must be; else the test fails with the list of what was not."""
        assert not self.wrong, "\n".join(self.wrong)
        return True


def reads(plant: Plant, login: str) -> str:
    """`plant.reads` for a login: a superuser is not subject to policies."""
    if plant.reads != "hidden":
        return plant.reads
    return "refused" if login == "deployer" else "either"


@both_logins
@each_plant(*PLANTS)
def test_code_planted_in_a_history_is_run_by_no_command(
    stage: Stage, tmp_path: Path, plant: Plant, login: str
) -> None:
    stage.plant(TABLES, FORGED, plant.sql.format(t="schema_migrations"))
    trial = Trial(stage, login, write_folder(tmp_path, FILES))
    met = reads(plant, login)
    for command, code in READING.items():
        if command == "history":  # it reads the log, and may leave the history unread
            trial.run(command, codes={code, 16})
        elif met == "warned":
            trial.warned(command, code=code)
        elif met == "refused":
            trial.refused([command], named=["mallory", plant.named])
        else:
            trial.run(command, codes={16, code})
    trial.refused(*WRITING)
    for words, codes in BEGINNING.items():
        trial.run(*words, codes=codes)
    if met == "warned":
        trial.warned(*ADOPT, code=0, **ELSEWHERE)
    else:  # what is no table, or no table of that tool, may count as not there
        codes = {2, 16} if plant.seen and met == "refused" else {0, 2, 16}
        trial.run(*ADOPT, codes=codes, **ELSEWHERE)
    assert trial.ended_well()
    assert stage.has("public.a", "public.b") == []


@both_logins
@each_plant(*(plant for plant in PLANTS if plant.both and plant.id in SOME))
def test_code_planted_in_a_log_is_run_by_no_command(
    stage: Stage, tmp_path: Path, plant: Plant, login: str
) -> None:
    """Who reads the history alone may leave the log unread."""
    stage.plant(TABLES, FORGED, plant.sql.format(t="schema_migrations_log"))
    trial = Trial(stage, login, write_folder(tmp_path, FILES))
    met = reads(plant, login)
    for command, code in READING.items():
        if met == "warned":
            trial.warned(command, code=code)
        else:
            must = met == "refused" and command == "history"
            trial.run(command, codes={16} if must else {16, code})
    trial.refused(*WRITING)
    for words, codes in BEGINNING.items():
        trial.run(*words, codes=codes)
    assert trial.ended_well()
    assert stage.has("public.a", "public.b") == []


IN_OURS = [
    *((plant, "schema_migrations") for plant in PLANTS if plant.both),
    *((plant, "schema_migrations_log") for plant in PLANTS if plant.both and plant.id in SOME),
]


@pytest.mark.parametrize(
    ("plant", "table"),
    [
        pytest.param(plant, table, id=f"{plant.id} in {table}", marks=full_but_for_some(plant))
        for plant, table in IN_OURS
    ],
)
def test_code_of_a_stranger_in_our_own_tables_is_run_by_no_command(
    stage: Stage, tmp_path: Path, plant: Plant, table: str
) -> None:
    """The owner is careless, or gave TRIGGER away: the tables are ours, and the code is not."""
    first = write_folder(tmp_path / "first", {"001_a.sql": FILES["001_a.sql"]})
    assert run_job(stage.deployer.url, first).code == 0
    stage.database.query("GRANT TRIGGER ON ALL TABLES IN SCHEMA public TO mallory")
    force = f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY;" if "policy" in plant.id else ""
    author = stage.mallory if "trigger" in plant.id else stage.database
    author.query("SET search_path = public;" + plant.sql.format(t=table) + force)
    stage.mallory.query(ARMED)
    trial = Trial(stage, "deployer", write_folder(tmp_path / "folder", FILES))
    # rules, children and policies are refused whoever owns what they call
    named = [plant.named] if plant.id in OF_ITS_OWNER else ["mallory", plant.named]
    for command, code in READING.items():
        if table == "schema_migrations_log" or command == "history" or plant.reads == "either":
            trial.run(command, codes={code, 16}, named=[])
        elif plant.reads == "warned":
            trial.run(command, codes={code})
        else:
            trial.refused([command], named=named)
    trial.refused(*WRITING, named=named[:-1] if "policy" in plant.id else named)
    assert trial.ended_well()
    assert stage.has("public.a", "public.b") == ["public.a"]


@both_logins
def test_rows_that_a_stranger_forged_keep_no_file_from_running(
    stage: Stage, tmp_path: Path, login: str
) -> None:
    """Plain tables, no code: reading goes on with a warning, and nothing is written there."""
    stage.plant(TABLES, FORGED)
    trial = Trial(stage, login, write_folder(tmp_path, {"001_a.sql": FILES["001_a.sql"]}))
    for command in READING:
        trial.warned(command, code=0)
    trial.refused(*WRITING[:3], named=["mallory", "schema_migrations"])
    stage.mallory.query("TRUNCATE schema_migrations")
    trial.refused(["up"], ["baseline", "--at", "001_a"], ["repair", "--applied", *WRITING[2][2:]])
    assert trial.ended_well()
    assert stage.has("public.a") == []
    assert stage.database.query("SELECT count(*) FROM schema_migrations") == [(0,)]
    assert stage.database.query("SELECT count(*) FROM schema_migrations_log") == [(1,)]


#: A table of the job before us, which has no log beside it.
OLDER = """CREATE TABLE schema_migrations (version varchar(255) PRIMARY KEY,
  applied_at timestamptz DEFAULT now(), execution_time_ms integer, checksum varchar(64));"""
LOG_ALONE = f"CREATE TABLE schema_migrations_log ({LOG});"
PLAIN = Plant("plain", "", "schema_migrations", reads="warned")


@both_logins
@pytest.mark.parametrize("beside", ["nothing", "an older history"])
@each_plant(PLAIN, planted("trigger"), planted("default"))
def test_a_log_that_was_planted_alone_is_never_written(
    stage: Stage, tmp_path: Path, plant: Plant, beside: str, login: str
) -> None:
    if beside == "an older history":
        stage.login(login).query(OLDER)
    stage.plant(LOG_ALONE, plant.sql.format(t="schema_migrations_log"))
    trial = Trial(stage, login, write_folder(tmp_path, FILES))
    for command, code in READING.items():
        trial.run(command, codes={code, 16})
    commands = (["up"], ["baseline", "--at", "001_a"], WRITING[3])
    trial.refused(*commands, named=["mallory", "schema_migrations_log"])
    assert trial.ended_well()
    assert stage.has("public.a", "public.b") == []


ALONE = "-- migrator: no-transaction\nCREATE TABLE public.a (id int);\nSELECT 1;\n"
OUTCOME = """INSERT INTO schema_migrations_log (run_id, version, event, runner, detail)
SELECT '11111111-2222-4333-8444-555555555555', '001_a', 'outcome', 'migrator/forged',
       jsonb_build_object('statement', 1, 'how', 'ran', 'sha256', '{}');"""


@both_logins
def test_no_line_of_a_planted_journal_makes_a_statement_be_skipped(
    stage: Stage, tmp_path: Path, login: str
) -> None:
    statement = "CREATE TABLE public.a (id int)"
    stage.login(login).query(OLDER)
    stage.plant(LOG_ALONE, OUTCOME.format(hashlib.sha256(statement.encode()).hexdigest()))
    trial = Trial(stage, login, write_folder(tmp_path, {"001_a.sql": ALONE}))
    shown = trial.warned("status", "--json", code=0)
    [row] = json.loads(shown.stdout)["migrations"]
    assert (row["version"], row["state"]) == ("001_a", "pending")
    trial.warned("verify", code=24)
    trial.refused(["up"], named=["mallory", "schema_migrations_log"])
    assert trial.ended_well()
    assert stage.database.query("SELECT count(*) FROM schema_migrations") == [(0,)]


@both_logins
@each_plant(PLAIN, *map(planted, ("view", "trigger", "index of a constant")))
def test_a_schema_of_a_stranger_is_no_better(
    stage: Stage, tmp_path: Path, plant: Plant, login: str
) -> None:
    """Its owner may do to the tables what it likes: `repair` and reading alone may believe it."""
    stage.mallory.query("CREATE SCHEMA ops; GRANT ALL ON SCHEMA ops TO PUBLIC")
    stage.plant(TABLES, FORGED, plant.sql.format(t="schema_migrations"), schema="ops")
    trial = Trial(stage, login, write_folder(tmp_path, FILES), MIGRATIONS_SCHEMA="ops")
    for command, code in READING.items():
        trial.run(command, codes={code, 16})
    trial.refused(*WRITING[:2])
    for words in WRITING[2:]:
        trial.run(*words, codes={0, 16} if plant.id == "plain" else {16})
    assert trial.ended_well()
    assert stage.has("public.a", "public.b") == []


@both_logins
def test_an_empty_schema_of_a_stranger_gives_it_nothing(
    stage: Stage, tmp_path: Path, login: str
) -> None:
    stage.mallory.query("CREATE SCHEMA ops; GRANT ALL ON SCHEMA ops TO PUBLIC")
    stage.plant(schema="ops")
    trial = Trial(stage, login, write_folder(tmp_path, FILES), MIGRATIONS_SCHEMA="ops")
    for _ in range(2):
        trial.run("up", codes={0, 16})
    assert trial.ended_well()


CLI = """CREATE TABLE schema_migrations (version text PRIMARY KEY, statements text[], name text);
INSERT INTO schema_migrations VALUES ('001', NULL, 'a');"""


@both_logins
@each_plant(PLAIN, planted("domain"), *(plant for plant in PLANTS if plant.id in SOME))
def test_a_planted_history_of_the_supabase_cli_is_not_written(
    stage: Stage, tmp_path: Path, plant: Plant, login: str
) -> None:
    """Nor adopted where code of its owner would run."""
    schema = "supabase_migrations"
    stage.mallory.query(f"CREATE SCHEMA {schema}; GRANT ALL ON SCHEMA {schema} TO PUBLIC")
    stage.plant(CLI, plant.sql.format(t="schema_migrations"), schema=schema)
    trial = Trial(stage, login, write_folder(tmp_path, FILES))
    codes = {16} if plant.seen else {0, 16}  # what is no table may count as not there
    result = trial.run("up", codes=codes, SYNC_SUPABASE_HISTORY="on")
    assert stage.has("public.a") == ["public.a"] * (result.code == 0)
    adopt = ("adopt", "--from", "supabase")
    met = reads(plant, login)
    if met == "warned":
        trial.warned(*adopt, code=0, **ELSEWHERE)
    else:
        refused = met == "refused" and plant.seen
        trial.run(*adopt, codes={2, 16} if refused else {0, 2, 16}, **ELSEWHERE)
    assert trial.ended_well()


DBMATE = """CREATE TABLE schema_migrations (version varchar PRIMARY KEY);
INSERT INTO schema_migrations VALUES ('001');"""
#: Those that add no column: dbmate's table has none but its version.
ON_DBMATE = ("view", "rule", "child", "index of a constant", "statistics", "policy", "trigger")


@both_logins
@each_plant(PLAIN, *map(planted, ON_DBMATE))
def test_a_planted_history_of_another_tool_is_adopted_where_no_code_of_it_runs(
    stage: Stage, tmp_path: Path, plant: Plant, login: str
) -> None:
    stage.plant(DBMATE, plant.sql.format(t="schema_migrations"))
    trial = Trial(stage, login, write_folder(tmp_path, FILES), **ELSEWHERE)
    met = reads(plant, login)
    for words in (("adopt", "--from", "dbmate", "--plan"), ("adopt", "--from", "dbmate")):
        if met == "warned":
            trial.warned(*words, code=0)
        else:
            refused = met == "refused" and plant.seen
            trial.run(*words, codes={2, 16} if refused else {0, 2, 16})
    assert trial.ended_well()


@each_plant(*(plant for plant in PLANTS if plant.id in SOME))
def test_a_scratch_database_in_which_a_stranger_has_been_is_not_used(
    stage: Stage, tmp_path: Path, plant: Plant
) -> None:
    """The role may not create databases, so that the given one is looked at, and must be empty."""
    stage.plant(TABLES, FORGED, plant.sql.format(t="schema_migrations"))
    url = {"DATABASE_URL": "", "SHADOW_DATABASE_URL": stage.deployer.url}
    trial = Trial(stage, "deployer", write_folder(tmp_path, FILES), **url)
    trial.run("rehearse", codes={2, 16}, named=[])
    stage.mallory.query("DELETE FROM " + ("schema_migrations" if plant.seen else "planted"))
    trial.run("rehearse", codes={2, 16}, named=[])
    assert trial.ended_well()
    assert stage.has("public.a", "public.b") == []


@both_logins
@pytest.mark.parametrize("table", TABLE_AND_LOG)
def test_a_table_that_appeared_meanwhile_is_not_taken_for_ours(
    stage: Stage, proxy: MakeProxy, tmp_path: Path, table: str, login: str
) -> None:
    """The look found none; before the tables are made, mallory has made one."""
    network = proxy(stage.database)
    network.hold_at(b"prepares its tables")
    job = Job(network.through(stage.login(login).url), write_folder(tmp_path, FILES))
    until(lambda: network.holding)
    stage.plant(TABLES, planted("trigger").sql.format(t=table))
    network.let_go()
    result = job.result()
    assert (result.code, stage.gained()) == (16, []), result.report["error"]
    assert "mallory" in result.error["message"]
    assert stage.has("public.a", "public.b") == []


@pytest.mark.parametrize(("end", "code"), [("COMMIT", 16), ("ROLLBACK", 0)])
@pytest.mark.parametrize("table", TABLE_AND_LOG)
def test_a_table_that_is_being_made_meanwhile_is_not_taken_for_ours(
    stage: Stage, tmp_path: Path, table: str, end: str, code: int
) -> None:
    """The CREATE waits for the other one's transaction."""
    stage.plant()
    made = next(one for one in TABLES.split(";\n") if f"{table} (" in one).rstrip(";")
    trigger = planted("trigger").sql.format(t=table)
    with closing(stage.mallory.connect()) as connection, connection.cursor() as cursor:
        cursor.execute(f"BEGIN; {made}; {trigger} GRANT ALL ON {table} TO PUBLIC")
        job = Job(stage.database.url, write_folder(tmp_path, FILES), LOCK_TIMEOUT="0")
        waits = "SELECT 1 FROM pg_locks WHERE NOT granted AND locktype = 'transactionid'"
        until(lambda: stage.database.query(waits))
        cursor.execute(end)
    result = job.result()
    assert (result.code, stage.gained()) == (code, []), result.report["error"]
    assert stage.has("public.a") == ([] if code else ["public.a"])
    if code:
        assert "mallory" in result.error["message"]


@pytest.mark.parametrize("table", TABLE_AND_LOG)
def test_a_table_that_takes_another_s_place_during_a_read_is_looked_at_anew(
    stage: Stage, tmp_path: Path, table: str
) -> None:
    """The read waits for its lock, and then has locked what it has not asked about."""
    folder = write_folder(tmp_path, {"001_a.sql": FILES["001_a.sql"]})
    assert run_job(stage.database.url, folder).code == 0
    stage.mallory.query("CREATE SCHEMA planted; SET search_path = planted;" + TABLES + FORGED)
    stage.mallory.query(f"SET search_path = planted; {planted('rule').sql.format(t=table)}" + ARMED)
    with closing(stage.database.connect()) as connection, connection.cursor() as cursor:
        cursor.execute(f"CREATE SCHEMA past; BEGIN; ALTER TABLE public.{table} SET SCHEMA past")
        cursor.execute(f"ALTER TABLE planted.{table} SET SCHEMA public")
        job = Job(stage.database.url, folder, "status", LOCK_TIMEOUT="0")
        until(lambda: stage.database.query("SELECT 1 FROM pg_locks WHERE NOT granted"))
        cursor.execute("COMMIT")
    result = job.result()
    assert [line["sqlstate"] for line in result.of("migration.retry")] == ["40001"]
    assert (result.code, stage.gained()) == (16, []), result.report["error"]
    assert "mallory" in result.error["message"]


OWNERS = {
    # who owns the tables: the rights that it has, and whether `up` of the deployer writes there
    "itself": ("ALTER TABLE {t} OWNER TO deployer", 0),
    "a superuser": ("ALTER TABLE {t} OWNER TO {superuser}", 0),
    "the owner of the database": (
        "ALTER DATABASE {db} OWNER TO webapp; ALTER TABLE {t} OWNER TO webapp",
        0,
    ),
    "a role that is inherited": ("GRANT webapp TO deployer; ALTER TABLE {t} OWNER TO webapp", 0),
    "a role that is inherited through another": (
        "GRANT webapp TO team; GRANT team TO deployer; ALTER TABLE {t} OWNER TO webapp",
        0,
    ),
    "a stranger": ("ALTER TABLE {t} OWNER TO webapp", 16),
    "the owner of the schema": (
        "ALTER SCHEMA public OWNER TO webapp; ALTER TABLE {t} OWNER TO webapp",
        16,
    ),
    "a role that is not inherited": (
        "ALTER ROLE deployer NOINHERIT; GRANT webapp TO deployer; ALTER TABLE {t} OWNER TO webapp",
        16,
    ),
    "a role that it only administers": (
        "ALTER ROLE deployer NOINHERIT; GRANT webapp TO deployer WITH ADMIN OPTION;"
        "ALTER TABLE {t} OWNER TO webapp",
        16,
    ),
    "one of its members": ("GRANT deployer TO webapp; ALTER TABLE {t} OWNER TO webapp", 16),
}


@pytest.fixture
def app(stage: Stage) -> Iterator[str]:
    """A login that neither deploys nor has any right of its own."""
    stage.database.query("DROP ROLE IF EXISTS team, webapp")
    stage.database.query("CREATE ROLE webapp LOGIN PASSWORD 'throwaway'; CREATE ROLE team")
    yield "webapp"
    dismiss(stage.database, "webapp", "team")


@pytest.mark.parametrize("table", TABLE_AND_LOG)
@pytest.mark.parametrize("owner", OWNERS)
def test_whose_tables_are_written(
    stage: Stage, app: str, tmp_path: Path, table: str, owner: str
) -> None:
    given, code = OWNERS[owner]
    stage.deployer.query(f"{TABLES} {OPEN.format(schema='public')}")
    names = {"t": table, "db": stage.database.dbname, "superuser": stage.database.user}
    stage.database.query(given.format(**names))
    folder = write_folder(tmp_path, FILES)
    result = run_job(stage.deployer.url, folder)
    assert result.code == code, result.report["error"]
    assert stage.has("public.a") == (["public.a"] if code == 0 else [])
    if code:
        message = result.error["message"]
        assert (app in message, table in message) == (True, True), message
        assert run_job(stage.deployer.url, folder, "status").code == 0
    else:
        assert app not in run_job(stage.deployer.url, folder, "status").stderr


def test_a_superuser_believes_no_member_by_its_bypass(
    stage: Stage, app: str, tmp_path: Path
) -> None:
    """pg_has_role says yes to a superuser, whatever the role."""
    stage.database.query(TABLES)
    for table in TABLE_AND_LOG:
        stage.database.query(f"ALTER TABLE {table} OWNER TO {app}")
    result = run_job(stage.database.url, write_folder(tmp_path, FILES))
    assert (result.code, stage.has("public.a")) == (16, []), result.report["error"]
    assert app in result.error["message"]


def test_a_reader_reads_the_history_of_a_plain_deployer(
    stage: Stage, app: str, tmp_path: Path
) -> None:
    folder = write_folder(tmp_path, FILES)
    assert run_job(stage.deployer.url, folder, HISTORY_READERS=app).code == 0
    reader = stage.database.as_user(app, "throwaway").url
    for command in ("wait", "verify", "status", "plan"):
        read = run_job(reader, folder, command, WAIT_TIMEOUT="10ms")
        assert read.code == 0, f"{command}: {read.stderr}"
    assert run_job(reader, folder, "up").code == 16, "what it reads could be anybody's"


@pytest.mark.parametrize("tool", ["dbmate", "golang-migrate"])
def test_the_history_of_the_application_s_own_tool_is_adopted(
    stage: Stage, app: str, tmp_path: Path, tool: str
) -> None:
    stage.database.query((FIXTURES / "adopt" / tool / "history.sql").read_text())
    stage.database.query(f"ALTER TABLE public.schema_migrations OWNER TO {app}")
    stage.database.query("GRANT SELECT ON public.schema_migrations TO deployer")
    files = {"20240101120000_a.sql": "SELECT 1;", "20240102120000_b.sql": "SELECT 2;"}
    if tool == "golang-migrate":
        files = {"000001_a.sql": "SELECT 1;", "000002_b.sql": "SELECT 2;"}
    folder = write_folder(tmp_path, files)
    result = run_job(stage.deployer.url, folder, "adopt", "--from", tool, **ELSEWHERE)
    assert result.code == 0, result.report["error"]
    assert app in result.stderr
    assert run_job(stage.deployer.url, folder, **ELSEWHERE).code == 0


def test_a_superuser_looks_at_and_repairs_the_history_of_a_deployer(
    stage: Stage, tmp_path: Path
) -> None:
    """The deployer owns the schema, and is no one to a superuser otherwise."""
    stage.database.query("ALTER SCHEMA public OWNER TO deployer")
    folder = write_folder(tmp_path, FILES)
    assert run_job(stage.deployer.url, folder).code == 0
    for command in READING:
        result = run_job(stage.database.url, folder, command)
        assert result.code == 0, f"{command}: {result.stderr}"
    words = ("repair", "--not-applied", "002_b", "--reason", "dropped by hand")
    assert run_job(stage.database.url, folder, *words).code == 0
    stage.database.query("DROP TABLE public.b")
    assert run_job(stage.deployer.url, folder).applied == ["002_b"]


AUDIT = """
CREATE FUNCTION public.note() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN {returned}; END';
CREATE FUNCTION public.watch() RETURNS event_trigger LANGUAGE plpgsql AS $$
DECLARE made text;
BEGIN
  FOR made IN SELECT object_identity FROM pg_event_trigger_ddl_commands()
               WHERE object_type = 'table' AND command_tag = 'CREATE TABLE' LOOP
    EXECUTE 'CREATE TRIGGER audited BEFORE INSERT OR UPDATE ON ' || made
         || ' FOR EACH ROW EXECUTE FUNCTION public.note()';
  END LOOP;
END $$;
CREATE EVENT TRIGGER watch_tables ON ddl_command_end EXECUTE FUNCTION public.watch();
"""


@both_logins
@pytest.mark.parametrize(("returned", "code"), [("NEW", 0), ("NULL", 16)])
def test_an_audit_that_puts_a_trigger_on_every_new_table_does_no_harm(
    stage: Stage, tmp_path: Path, returned: str, code: int, login: str
) -> None:
    """Unless it keeps the rows from being written: then it is named, and nothing has run."""
    stage.database.query(AUDIT.format(returned=returned))
    folder = write_folder(tmp_path, FILES)
    result = run_job(stage.login(login).url, folder)
    assert result.code == code, result.report["error"]
    if code:
        assert "audited" in result.error["message"]
        assert stage.has("public.a") == []
    else:
        assert result.applied == ["001_a", "002_b"]
        assert run_job(stage.login(login).url, folder, "verify").code == 0


@both_logins
def test_histories_that_are_there_already_go_on(stage: Stage, tmp_path: Path, login: str) -> None:
    """One of release 0.1.0, and one of the job before it."""
    folder = write_folder(tmp_path, FILES)
    older = {
        "public": TABLES + "ALTER TABLE schema_migrations ENABLE ROW LEVEL SECURITY;"
        "ALTER TABLE schema_migrations_log ENABLE ROW LEVEL SECURITY;",
        "seed": OLDER
        + "; ALTER TABLE schema_migrations ADD rollback_sql text, ADD created_by text;",
    }
    for schema, sql in older.items():
        path = f"CREATE SCHEMA IF NOT EXISTS {schema}; SET search_path = {schema};"
        row = "INSERT INTO schema_migrations (version) VALUES ('001_a')"
        stage.login(login).query(path + sql + row)
        result = run_job(stage.login(login).url, folder, MIGRATIONS_SCHEMA=schema)
        assert (result.code, result.applied) == (0, ["002_b"]), result.report["error"]
        stage.database.query("DROP TABLE public.b")
        verified = run_job(stage.login(login).url, folder, "verify", MIGRATIONS_SCHEMA=schema)
        assert verified.code == 0
