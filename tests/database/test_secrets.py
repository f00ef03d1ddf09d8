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
}
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


def test_a_run_that_succeeds_shows_no_password(login: Login, tmp_path: Path) -> None:
    write_folder(tmp_path / "sql", {"001_a.sql": "CREATE TABLE public.a ()"})
    for write in FORMS:
        given = write(login, tmp_path)
        assert clean(tmp_path, "up", **given).code == 0, write
        assert clean(tmp_path, "status", "--json", **given).code == 0, write


def test_a_refused_connection_shows_no_password(login: Login, tmp_path: Path) -> None:
    write_folder(tmp_path / "sql", {})
    wrong_password = replace(login, password=login.password + "w0rd")
    for write in FORMS:
        for mistaken in (wrong_password, replace(login, dbname="nowhere")):
            assert clean(tmp_path, "up", **write(mistaken, tmp_path)).code == 16, write


@pytest.mark.parametrize("write", FORMS, ids=lambda write: write.__name__)
@pytest.mark.parametrize("host", ["127.0.0.1", "nowhere.invalid"])
def test_a_server_out_of_reach_shows_no_password(host: str, write: Write, tmp_path: Path) -> None:
    write_folder(tmp_path / "sql", {})
    login = Login("user", PASSWORDS["all"], host, free_port(), "d")
    assert clean(tmp_path, "up", **write(login, tmp_path), CONNECT_TIMEOUT="100ms").code == 20


def a_literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def test_a_refused_statement_shows_no_password(login: Login, tmp_path: Path) -> None:
    word = a_literal(login.password)
    given = login.percent_encoded(tmp_path)
    for sql in (
        f"ALTER ROLE nobody_here PASSWORD {word};",
        f"ALTER ROLE nobody_here\n  LOGIN PASSWORD {word} VALID;",
        f"CREATE ROLE nobody_here PASSWORD {word} NONSENSE;",
        f"DO $$ BEGIN\n  ALTER ROLE nobody_here PASSWORD {word};\nEND $$;",
        f"DO $$ BEGIN\n  EXECUTE {a_literal(f'ALTER ROLE nobody_here PASSWORD {word}')};\nEND $$;",
        "ALTER ROLE nobody_here PASSWORD $$s3cr3t w0rd$$;",
        "CREATE USER nobody_here IDENTIFIED BY 's3cr3t w0rd';",
        "CREATE USER nobody_here IDENTIFIED BY s3cr3tw0rd;",
        "SELECT 'postgresql://other:s3cr3t w0rd@host/db'::int;",
        "SELECT 'host=h password=s3cr3tw0rd'::int;",
    ):
        write_folder(tmp_path / "sql", {"001_a.sql": sql})
        assert clean(tmp_path, "up", **given).code == 15, sql


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
    assert "syntax error at what stands for a password" in rows
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


@pytest.mark.parametrize("write", FORMS, ids=lambda write: write.__name__)
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
    job = Job("", folder, **write(login, tmp_path))
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
