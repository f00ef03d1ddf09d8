"""No password in anything that a run leaves behind, however it was given and whatever fails."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.builders import write_folder
from tests.conftest import Database
from tests.job import Job, Result, run_job, until
from tests.postgres import free_port

#: Both halves are looked for, so that a piece of a password that was cut apart is found too.
HALVES = ("s3cr3t", "w0rd")
PASSWORDS = {
    "at": "s3cr3t@w0rd",
    "colon": "s3cr3t:w0rd",
    "slash": "s3cr3t/w0rd",
    "percent": "s3cr3t%w0rd",
    "caret": "s3cr3t^w0rd",
    "hash": "s3cr3t#w0rd",
    "quote": "s3cr3t'w0rd",
    "space": "s3cr3t w0rd",
    "question mark": "s3cr3t?w0rd",
    "backslash": "s3cr3t\\w0rd",
    "all": "s3cr3t@ : / % ^ # ' \\ \"w0rd",
    "half encoded": "s3cr3t%4w0rd",
    "plus": "s3cr3t+w0rd",
    "metacharacters": "s3cr3t(.*)[a-z]+$|\\1{2}w0rd",
    "dollars": "s3cr3t$$w0rd",
    "a marker of ours": "s3cr3t… 5 more w0rd",
    "letters of two cases in one": "s3cr3tİß\u017fw0rd",
    "another script": "s3cr3t密码パスワードw0rd",
    "an emoji": "s3cr3t👩‍🚀w0rd",
    "turned round": "s3cr3t\u202ew0rd",
    "a line end": "s3cr3t\nw0rd",
    "an escape": "s3cr3t\x1b[2Jw0rd",
    "a tab": "s3cr3t\tw0rd",
    "long": "s3cr3t" + "x" * 900 + "w0rd",
}
#: Passwords that are part of the log's own words: hidden by their place alone.
SHORT = ("a", "e", "1", "up", "run", "***", ":", "@a", "'a'", "a b", "(", "\\", "é")
FORMATS = ("json", "text")


@dataclass(frozen=True)
class Login:
    """Where to log in and as whom, still to be written down in one of the ways there are."""

    user: str
    password: str
    host: str
    port: int
    dbname: str

    def url(self, password: str) -> str:
        return f"postgresql://{self.user}:{password}@{self.host}:{self.port}/{self.dbname}"

    def percent_encoded(self, _folder: Path) -> dict[str, str]:
        return {"DATABASE_URL": self.url(quote(self.password, safe=""))}

    def raw(self, _folder: Path) -> dict[str, str]:
        return {"DATABASE_URL": self.url(self.password)}

    def in_a_file(self, folder: Path) -> dict[str, str]:
        file = folder / "url"
        file.write_text(self.url(quote(self.password, safe="")) + "\n")
        return {"DATABASE_URL_FILE": str(file)}

    def for_libpq(self, _folder: Path) -> dict[str, str]:
        return {
            "PGHOST": self.host,
            "PGPORT": str(self.port),
            "PGUSER": self.user,
            "PGPASSWORD": self.password,
            "PGDATABASE": self.dbname,
        }


Write = Callable[[Login, Path], dict[str, str]]
FORMS = [Login.percent_encoded, Login.raw, Login.in_a_file, Login.for_libpq]


@pytest.fixture(params=PASSWORDS)
def login(request: pytest.FixtureRequest, database: Database) -> Iterator[Login]:
    """A role with this password, which the server asks for."""
    user, password = "login_" + secrets.token_hex(4), PASSWORDS[request.param]
    database.query(f"CREATE ROLE {user} LOGIN PASSWORD %s", password)
    database.query(f"GRANT CREATE ON SCHEMA public TO {user}")
    yield Login(user, password, database.host, database.port, database.dbname)
    database.query(f"DROP OWNED BY {user}")
    database.query(f"DROP ROLE {user}")


def clean(folder: Path, *argv: str, **settings: str) -> Result:
    """A run that leaves no half of the password behind, in either format of the log."""
    termination_log = folder / "termination-log"
    for log_format in reversed(FORMATS):
        termination_log.write_text("")
        more = {"LOG_FORMAT": log_format, "LOG_LEVEL": "debug", **settings}
        result = run_job(None, folder / "sql", *argv, TERMINATION_LOG=str(termination_log), **more)
        left = {"stderr": result.stderr, "stdout": result.stdout, "it": termination_log.read_text()}
        for place, text in left.items():
            assert not any(half in text for half in HALVES), f"{place}: {text}"
    assert json.loads(left["it"])["exit_code"] == result.code
    return result


in_each_form = pytest.mark.parametrize("write", FORMS, ids=lambda write: write.__name__)


#: A run that succeeds says less than one that is refused, which the gate tries with each password.
SOME = {"at", "all", "half encoded", "metacharacters", "an emoji", "a line end", "long"}


@in_each_form
@pytest.mark.parametrize(
    "login",
    [pytest.param(p, marks=[] if p in SOME else [pytest.mark.full]) for p in PASSWORDS],
    indirect=True,
)
def test_a_run_that_succeeds_shows_no_password(login: Login, write: Write, tmp_path: Path) -> None:
    write_folder(tmp_path / "sql", {"001_a.sql": "CREATE TABLE public.a ()"})
    given = write(login, tmp_path)
    assert clean(tmp_path, "up", **given).code == 0
    assert clean(tmp_path, "status", "--json", **given).code == 0


@in_each_form
def test_a_refused_connection_shows_no_password(login: Login, write: Write, tmp_path: Path) -> None:
    write_folder(tmp_path / "sql", {})
    wrong_password = replace(login, password=login.password + "w0rd")
    for mistaken in (wrong_password, replace(login, dbname="nowhere")):
        assert clean(tmp_path, "up", **write(mistaken, tmp_path)).code == 16


@in_each_form
@pytest.mark.parametrize("host", ["127.0.0.1", "nowhere.invalid"])
def test_a_server_out_of_reach_shows_no_password(host: str, write: Write, tmp_path: Path) -> None:
    write_folder(tmp_path / "sql", {})
    login = Login("user", PASSWORDS["all"], host, free_port(), "d")
    assert clean(tmp_path, "up", **write(login, tmp_path), CONNECT_TIMEOUT="100ms").code == 20


def a_literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


#: {word}: the password of the login, {quoted}: a statement with it, each as a literal.
REFUSED = (
    "ALTER ROLE nobody_here PASSWORD {word};",
    "ALTER ROLE nobody_here\n  LOGIN PASSWORD {word} VALID;",
    "CREATE ROLE nobody_here PASSWORD {word} NONSENSE;",
    "DO $do$ BEGIN\n  ALTER ROLE nobody_here PASSWORD {word};\nEND $do$;",
    "DO $do$ BEGIN\n EXECUTE {quoted};\nEND $do$;",
    "ALTER ROLE nobody_here PASSWORD $$s3cr3t w0rd$$;",
    "CREATE USER nobody_here IDENTIFIED BY 's3cr3t w0rd';",
    "CREATE USER nobody_here IDENTIFIED BY s3cr3tw0rd;",
    "SELECT 'postgresql://other:s3cr3t w0rd@host/db'::int;",
    "SELECT 'host=h password=s3cr3tw0rd'::int;",
)


@pytest.mark.parametrize("sql", REFUSED)
def test_a_refused_statement_shows_no_password(login: Login, sql: str, tmp_path: Path) -> None:
    word = a_literal(login.password)
    quoted = a_literal(f"ALTER ROLE nobody PASSWORD {word}")
    write_folder(tmp_path / "sql", {"001_a.sql": sql.format(word=word, quoted=quoted)})
    assert clean(tmp_path, "up", **login.percent_encoded(tmp_path)).code == 15


SHOWN = "001_a was rolled back; nothing is applied"


@pytest.mark.parametrize("password", SHORT)
def test_a_short_password_is_shown_in_none_of_its_places_and_garbles_nothing(
    database: Database, tmp_path: Path, password: str
) -> None:
    user = "login_" + secrets.token_hex(4)
    database.query(f"CREATE ROLE {user} LOGIN PASSWORD %s", password)
    database.query(f"GRANT CREATE ON SCHEMA public TO {user}")
    login = Login(user, password, database.host, database.port, database.dbname)
    word, encoded = a_literal(password), quote(password, safe="")
    dsn = f"host=h password={encoded} user=u"
    files = {"001_a.sql": f"ALTER ROLE nobody_here PASSWORD {word} NONSENSE {login.url(encoded)};"}
    given = login.percent_encoded(tmp_path)
    misplaced = {"DEADLINE": f"{login.url(password)}", "LOG_LEVEL": dsn}
    write_folder(tmp_path / "sql", files)
    try:
        results = [run_job(None, tmp_path / "sql", "up", **given)]
        results += [run_job(None, tmp_path / "sql", "up", **login.for_libpq(tmp_path))]
        results += [
            run_job(None, tmp_path / "sql", "up", **given, **{name: value})
            for name, value in misplaced.items()
        ]
    finally:
        database.query(f"DROP OWNED BY {user}")
        database.query(f"DROP ROLE {user}")
    assert [result.code for result in results] == [15, 15, 2, 2]
    for result, outcome in zip(results, [SHOWN, SHOWN, *["nothing was changed"] * 2], strict=True):
        assert result.report["outcome"] == outcome
        for form in {password, encoded} - {"***"}:
            for place in (f"{user}:{form}@", f"password={form}", f"PASSWORD {a_literal(form)}"):
                assert place not in result.stderr + result.stdout, place


SECRET = "s3cr3t-w0rd"
#: Statements that deal in a secret which is not the connection's, and are refused.
DEALINGS = {
    "a format": f"DO $$ BEGIN EXECUTE format('ALTER ROLE %I PASSWORD %L', 'nobody', '{SECRET}'); "
    "END $$;",
    "a word and dollars": "ALTER ROLE nobody_here PASSWORD$$s3cr3tw0rd$$;",
    "a server": f"CREATE SERVER s FOREIGN DATA WRAPPER nothing OPTIONS (host '{SECRET}');",
    "a mapping": f"CREATE USER MAPPING FOR public SERVER nothing OPTIONS (user '{SECRET}');",
    "a subscription": "CREATE SUBSCRIPTION s CONNECTION 'host=h passwort=s3cr3t-w0rd' PUBLICATION "
    "p WITH (connect = false, slot_name = NONE, nonsense = 's3cr3t-w0rd');",
    "crypt": f"SELECT crypt('{SECRET}', nothing);",
    "crypt in a cast": f"SELECT 1, /* crypt */ '{SECRET}'::int;",
    "a vault": f"SELECT vault.create_secret('{SECRET}');",
    "encryption": f"SELECT pgp_sym_encrypt('{SECRET}', '{SECRET}'::xml::text);",
    "an exception": "DO $$ BEGIN RAISE EXCEPTION USING MESSAGE = 'the secret is ' || "
    f"'{SECRET}', DETAIL = 'it is ' || '{SECRET}', HINT = '{SECRET}', ERRCODE = 'P0001'; END $$;",
    "an exception that names it": f"DO $$ DECLARE password text := '{SECRET}'; BEGIN "
    "RAISE EXCEPTION 'no % here', password; END $$;",
    "a call": "CREATE OR REPLACE FUNCTION made_of(word text) RETURNS void LANGUAGE plpgsql AS $$ "
    "BEGIN EXECUTE format('ALTER ROLE nobody_here PASSWORD %L', word); END $$;\n"
    f"SELECT made_of('{SECRET}');",
    "a column": "CREATE TABLE IF NOT EXISTS secrets_of (password int);\n"
    f"INSERT INTO secrets_of (password) VALUES ('{SECRET}');",
    "an argument in the wrong quotes": f'SELECT pg_temp.crypt("{SECRET}");',
    "a row": "CREATE TABLE IF NOT EXISTS rows_of (a text, b int NOT NULL);\n"
    f"INSERT INTO rows_of SELECT\n'{SECRET}', NULL;",
    "a row of a check": "CREATE TABLE IF NOT EXISTS checks_of (a text CHECK (a = 'x'));\n"
    f"INSERT INTO checks_of SELECT\n'{SECRET}';",
    "rows": f"CREATE TEMP TABLE t (a text, b int NOT NULL);\nCOPY t FROM stdin;\n{SECRET}\t\\N\n",
    "a row with too much": "CREATE TEMP TABLE t (a text);\nCOPY t FROM stdin;\n"
    f"{SECRET}\t{SECRET}\n",
    "rows of a column": "CREATE TEMP TABLE t (password int);\nCOPY t (password) FROM stdin;\n"
    f"{SECRET}\n",
}


@pytest.mark.parametrize("directive", ["", "-- migrator: no-transaction\n"])
@pytest.mark.parametrize("name", DEALINGS)
def test_the_literals_of_a_statement_that_deals_in_secrets_are_shown_nowhere(
    database: Database, tmp_path: Path, name: str, directive: str
) -> None:
    sql = DEALINGS[name]
    if directive and "COPY" in sql:
        return  # such a file takes no rows
    write_folder(tmp_path / "sql", {"001_a.sql": directive + sql})
    assert clean(tmp_path, "up", DATABASE_URL=database.url).code == 15
    rows = str(database.query("SELECT detail FROM schema_migrations_log"))
    assert not any(half in rows for half in HALVES), rows
    for words in (["history"], ["history", "--json"], ["report"], ["report", "--markdown"]):
        assert clean(tmp_path, *words, DATABASE_URL=database.url).code == 0


@pytest.mark.parametrize("directive", ["", "-- migrator: no-transaction\n"])
@pytest.mark.parametrize("sqlstate", ["55P03", "40P01", "40001"])
def test_a_refusal_that_is_tried_again_shows_no_literal_of_such_a_statement(
    database: Database, tmp_path: Path, sqlstate: str, directive: str
) -> None:
    sql = f"""{directive}DO $$ DECLARE password text := '{SECRET}'; BEGIN
      RAISE EXCEPTION 'no % here', password USING ERRCODE = '{sqlstate}', DETAIL = '{SECRET}';
    END $$;"""
    write_folder(tmp_path / "sql", {"001_a.sql": sql})
    result = clean(tmp_path, "up", DATABASE_URL=database.url, LOCK_RETRY_TIMEOUT="200ms")
    assert result.code == 22
    assert "no *** here" in result.stderr
    assert "migration.retry" in result.stderr


def test_an_undo_that_deals_in_secrets_is_shown_without_them(
    database: Database, tmp_path: Path
) -> None:
    undo = f"ALTER ROLE nobody_here PASSWORD '{SECRET}';\nSELECT crypt('{SECRET}');"
    folder = {"001_a.sql": "SELECT 1;", "001_a.down.sql": undo}
    write_folder(tmp_path / "sql", folder)
    assert clean(tmp_path, "up", DATABASE_URL=database.url).code == 0
    for words in (["rollback", "--plan"], ["rollback", "--plan", "--json"]):
        result = clean(tmp_path, *words, DATABASE_URL=database.url)
        assert result.code == 0
        assert "crypt('***')" in result.stdout


@pytest.mark.parametrize("directive", ["", "-- migrator: no-transaction\n"])
@pytest.mark.parametrize(
    "sql",
    [
        "CREATE ROLE nobody_here LOGIN PASSWORD s3cr3tw0rd;",
        'CREATE ROLE nobody_here LOGIN PASSWORD "s3cr3t w0rd" VALID;',
        'ALTER ROLE nobody_here PASSWORD\n  "s3cr3t\nw0rd";',
        "CREATE ROLE nobody_here ENCRYPTED PASSWORD = s3cr3tw0rd;",
        "DO $$ BEGIN\n  ALTER ROLE nobody_here PASSWORD s3cr3tw0rd;\nEND $$;",
        "DO $$ BEGIN\n  EXECUTE 'ALTER ROLE nobody_here ' || 'PASSWORD s3cr3tw0rd';\nEND $$;",
        "CREATE ROLE nobody_here PASSWORD -- the\n/* real\n */ s3cr3tw0rd;",
    ],
)
def test_a_password_in_the_wrong_quotes_is_shown_nowhere(
    database: Database, tmp_path: Path, directive: str, sql: str
) -> None:
    write_folder(tmp_path / "sql", {"001_a.sql": directive + sql})
    assert clean(tmp_path, "up", DATABASE_URL=database.url).code == 15
    rows = str(database.query("SELECT detail FROM schema_migrations_log"))
    assert "syntax error in the place of a password" in rows
    assert not any(half in rows for half in HALVES), rows
    assert clean(tmp_path, "report", DATABASE_URL=database.url).code == 0


@pytest.mark.parametrize(
    "form",
    [
        "{login}:x@{place}",
        "postgres:{login}@{place}",
        "mysql://{login}@{place}",
        "postgresql://{login}@{place}?sslmod=require",
        "postgresql://{login}@{place}?options=-cx",
        "postgresql://{login}@h:0/d",
        "postgresql://{login}@h:letters/d",
        "postgresql://{login}@a b/d",
        "host=h user=u password={login}",
    ],
)
@pytest.mark.parametrize("name", PASSWORDS)
def test_a_url_that_cannot_be_read_shows_no_password(name: str, form: str, tmp_path: Path) -> None:
    for word in (PASSWORDS[name], quote(PASSWORDS[name], safe="")):
        url = form.format(login=f"user:{word}", place="127.0.0.1/d")
        for setting in ("DATABASE_URL", "DIRECT_URL", "SUPABASE_DATABASE_URL"):
            assert clean(tmp_path, "up", **{setting: url}).code == 2


@pytest.mark.parametrize("name", PASSWORDS)
def test_a_url_in_the_wrong_place_shows_no_password(name: str, tmp_path: Path) -> None:
    for word in (PASSWORDS[name], quote(PASSWORDS[name], safe="")):
        url = f"postgresql://user:{word}@127.0.0.1/d"
        for argv in (
            [url],
            ["up", url],
            ["new", url],
            ["--database-url", url],
            [f"--database-url={url}"],
            [f"--{url}"],
            ["--migrations-schema", url],
            ["--connect-timeout", url],
            ["--on-late", url],
        ):
            assert clean(tmp_path, *argv).code == 2
        for setting in ("MIGRATIONS_SCHEMA", "DEADLINE", "LOG_LEVEL", "DATABASE_URL_FILE"):
            assert clean(tmp_path, "up", **{setting: url}).code == 2
        assert clean(tmp_path, "plan", DATABASE_URL="postgresql://h/d", MIGRATIONS_DIR=url).code


@in_each_form
def test_a_process_shows_no_password(write: Write, database: Database, tmp_path: Path) -> None:
    """Neither in the process list of its machine nor in that of the server."""
    user = "login_" + secrets.token_hex(4)
    database.query(f"CREATE ROLE {user} LOGIN PASSWORD %s", PASSWORDS["all"])
    database.query(f"GRANT CREATE ON SCHEMA public TO {user}")
    login = Login(user, PASSWORDS["all"], database.host, database.port, database.dbname)
    folder = write_folder(tmp_path / "sql", {"001_a.sql": "SELECT pg_sleep(60)"})
    activity = (
        "SELECT a::text FROM pg_stat_activity AS a "
        f"WHERE usename = '{user}' AND wait_event = 'PgSleep'"
    )
    job = Job.inside(["env"], "", folder, **write(login, tmp_path))  # with its own command line
    try:
        ((seen,),) = until(lambda: database.query(activity))
        command = Path(f"/proc/{job.process.pid}/cmdline").read_text()
    finally:
        job.process.terminate()
        result = job.result()
        database.query(f"DROP OWNED BY {user}")
        database.query(f"DROP ROLE {user}")
    assert result.code == 23
    assert "entrypoint.py" in command
    for text in (seen, command, result.stderr, result.stdout):
        assert not any(half in text for half in HALVES)
