"""Where to connect: what a URL, a service file and DATABASE_URL_FILE say and leave open."""

from __future__ import annotations

import json
import os
import re
import signal
import tempfile
import threading
from contextlib import closing
from pathlib import Path

import pytest

from tests.builders import write_folder
from tests.conftest import Database, MakeServer, in_charge
from tests.job import Job, Listener, run_job, run_listening, until
from tests.postgres import free_port, run_as_plain_user

SLEEP = {"001_a.sql": "SELECT pg_sleep(60)"}
SLEEPING = "SELECT 1 FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND datname = %s"
NO_NAME = 54321  # a uid that has no name


@pytest.mark.parametrize("how", ["URL", "PGSERVICE"])
def test_the_port_of_a_service_file_is_used(how: str, database: Database, tmp_path: Path) -> None:
    services = tmp_path / "services"
    services.write_text(
        f"[shop]\nhost={database.host}\nport={database.port}\ndbname={database.dbname}\n"
        f"user={database.user}\n"
    )
    folder = write_folder(tmp_path, {"001_a.sql": "SELECT 1"})
    url = "postgresql:///?service=shop" if how == "URL" else None
    settings = {} if how == "URL" else {"PGSERVICE": "shop"}
    job = Job(url, folder, PGSERVICEFILE=str(services), **settings)
    result = job.result()
    assert (result.code, result.applied) == (0, ["001_a"]), result.stderr
    assert "service shop" in result.of("connection.opened")[0]["target"]


def test_the_result_names_the_database(database: Database, tmp_path: Path) -> None:
    folder = write_folder(tmp_path, {"001_a.sql": "SELECT 1"})
    log = tmp_path / "termination-log"
    log.touch()
    result = run_job(database.url, folder, TERMINATION_LOG=str(log))
    named = result.of("connection.opened")[0]["target"]
    assert (result.code, result.report["target"]) == (0, named), result.stderr
    assert json.loads(log.read_text())["target"] == named

    nobody = f"postgresql://{database.user}@127.0.0.1:{free_port()}/shop"
    result = run_job(nobody, folder, CONNECT_TIMEOUT="1ms")
    assert (result.code, result.report["target"]) == (20, nobody.partition("//")[2])
    result = run_job(nobody, folder, LOCK_TIMEOUT="soon")
    assert (result.code, result.report["target"]) == (2, None)


def test_a_port_beside_the_service_wins(database: Database, tmp_path: Path) -> None:
    services = tmp_path / "services"
    services.write_text(f"[shop]\nhost={database.host}\nport={free_port()}\n")
    url = f"postgresql://{database.user}@/{database.dbname}?service=shop&port={database.port}"
    job = Job(url, write_folder(tmp_path, {}), PGSERVICEFILE=str(services))
    assert job.result().code == 0


def test_a_uid_without_a_name_needs_a_user(database: Database, tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root, to run as another uid")
    folder = write_folder(tmp_path, {})
    url = f"postgresql://{database.host}:{database.port}/{database.dbname}"
    as_nobody = ["setpriv", f"--reuid={NO_NAME}", "--clear-groups"]
    with tempfile.TemporaryDirectory() as readable:  # pytest's are closed to others
        Path(readable).chmod(0o755)
        job = Job.inside(as_nobody, url, folder, "status", MIGRATIONS_DIR=readable)
        result = job.result()
    assert (result.code, result.error["reason"]) == (16, "parameter"), result.stderr
    assert result.of("connection.retry") == []
    assert "PGUSER" in result.error["remedy"]


@pytest.mark.parametrize(
    ("before", "after"),
    [("\ufeff", ""), ("", "\r\n"), ("\n  ", "\n\n"), ('"', '"\n')],
    ids=["a BOM", "a Windows line end", "blanks around it", "quotes around it"],
)
def test_the_url_of_a_file_is_read_as_people_save_it(
    before: str, after: str, database: Database, tmp_path: Path
) -> None:
    file = tmp_path / "url"
    file.write_bytes(f"{before}{database.url}{after}".encode())
    folder = write_folder(tmp_path / "sql", {})
    assert run_job(None, folder, DATABASE_URL_FILE=str(file)).code == 0


def test_a_second_line_in_the_file_is_refused(database: Database, tmp_path: Path) -> None:
    file = tmp_path / "url"
    file.write_text(f"{database.url}\n{database.url}s3cret\n")
    result = run_job(None, tmp_path, DATABASE_URL_FILE=str(file))
    assert (result.code, "has 2 lines" in result.error["message"]) == (2, True)
    assert "s3cret" not in result.stderr


def test_the_file_is_read_again_at_every_connect(database: Database, tmp_path: Path) -> None:
    """A password that is short-lived changes in the mounted file, in the middle of a run."""
    database.query("DROP ROLE IF EXISTS renewed")
    database.query("CREATE ROLE renewed LOGIN SUPERUSER PASSWORD 'first-word'")
    file = tmp_path / "url"
    file.write_text(database.as_user("renewed", "first-word").url)
    folder = write_folder(
        tmp_path / "sql", {"001_a.sql": "CREATE TABLE a ()", "002_b.sql": "CREATE TABLE b ()"}
    )

    def renew() -> None:
        database.query("ALTER ROLE renewed PASSWORD 'second-word'")
        file.write_text(database.as_user("renewed", "second-word").url)
        database.query(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'renewed'"
        )

    try:
        listener = Listener("migration.applied", renew)
        result = run_listening(listener, None, folder, DATABASE_URL_FILE=str(file))
    finally:
        database.query("DROP OWNED BY renewed CASCADE")
        database.query("DROP ROLE renewed")
    assert (result.code, result.applied) == (0, ["001_a", "002_b"]), result.stderr
    assert "second-word" not in result.stderr


def test_a_pipe_is_read_when_it_is_written(database: Database, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=lambda: pipe.write_text(database.url + "\n"))
    writer.start()
    result = run_job(None, write_folder(tmp_path / "sql", {}), DATABASE_URL_FILE=str(pipe))
    writer.join()
    assert result.code == 0, result.stderr


def is_opened(pipe: Path) -> bool:
    """Whether a process has it open to read."""
    try:
        os.close(os.open(pipe, os.O_WRONLY | os.O_NONBLOCK))
    except OSError:
        return False
    return True


def test_a_pipe_that_nothing_writes_to_holds_no_signal_back(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    job = Job(None, tmp_path, DATABASE_URL_FILE=str(pipe))
    until(lambda: is_opened(pipe))
    job.process.send_signal(signal.SIGTERM)
    assert job.result().code == 23


def test_a_pipe_that_nothing_writes_to_ends_the_run(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    result = run_job(None, tmp_path, DATABASE_URL_FILE=str(pipe))
    assert (result.code, "nothing was written" in result.error["message"]) == (2, True)


def test_a_termination_log_that_nothing_reads_ends_no_run(
    database: Database, tmp_path: Path
) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    folder = write_folder(tmp_path / "sql", {})
    result = Job(database.url, folder, TERMINATION_LOG=str(pipe)).result()
    assert (result.code, len(result.of("termination_log.failed"))) == (0, 1)


@pytest.mark.parametrize("number", [signal.SIGQUIT, signal.SIGHUP], ids=lambda number: number.name)
def test_other_signals_end_a_run_as_sigterm_does(
    number: signal.Signals, database: Database, tmp_path: Path
) -> None:
    job = Job(database.url, write_folder(tmp_path, SLEEP))
    until(lambda: database.query(SLEEPING, database.dbname))
    job.process.send_signal(number)
    result = job.result()
    assert (result.code, result.error["stopped_by"]) == (23, number.name)
    assert "001_a was rolled back" in result.report["outcome"]


def test_a_hang_up_that_was_ignored_at_the_start_stays_ignored(
    database: Database, tmp_path: Path
) -> None:
    job = Job.inside(["nohup"], database.url, write_folder(tmp_path, SLEEP))
    until(lambda: database.query(SLEEPING, database.dbname))
    job.process.send_signal(signal.SIGHUP)
    job.process.send_signal(signal.SIGTERM)
    result = job.result()
    assert (result.code, result.error["stopped_by"]) == (23, "SIGTERM")


@pytest.mark.parametrize(
    ("place", "source"),
    [
        ("DATABASE {database}", "database"),
        ("ROLE {role}", "user"),
        ("ROLE {role} IN DATABASE {database}", "database user"),
    ],
)
def test_a_read_only_default_is_taken_away_as_the_remedy_says(
    database: Database, tmp_path: Path, place: str, source: str
) -> None:
    role = f"Reader of {database.dbname}"
    database.query(f"CREATE ROLE \"{role}\" LOGIN SUPERUSER PASSWORD 'x'")
    where = place.format(database=database.dbname, role=f'"{role}"')
    database.query(f"ALTER {where} SET default_transaction_read_only = on")
    folder = write_folder(tmp_path, {"001_a.sql": "CREATE TABLE a ()"})
    reader = database.as_user(role, "x")
    try:
        result = run_job(reader.url, folder)
        assert result.code == 16
        assert f"default_transaction_read_only is on ({source})" in result.error["message"]
        type_in_psql(reader, result.error["remedy"])
        assert run_job(reader.url, folder).applied == ["001_a"]
    finally:
        with closing(database.connect()) as connection, connection.cursor() as cursor:
            cursor.execute("SET default_transaction_read_only = off")
            cursor.execute(f'REASSIGN OWNED BY "{role}" TO CURRENT_USER; DROP ROLE "{role}"')


def type_in_psql(database: Database, remedy: str) -> None:
    """The SQL of a remedy, statement by statement in one session, as a person types it."""
    found = re.search("`(SET [^`]*;)`", remedy)
    assert found, remedy
    with closing(database.connect()) as session, session.cursor() as cursor:
        for statement in found[1].split("; "):
            cursor.execute(statement)


def test_a_read_only_server_is_opened_as_the_remedy_says(
    own_server: MakeServer, tmp_path: Path
) -> None:
    server = own_server()
    server.start()
    database = in_charge(server)
    with closing(database.connect()) as session, session.cursor() as cursor:
        cursor.execute("ALTER SYSTEM SET default_transaction_read_only = on")
        cursor.execute("SELECT pg_reload_conf()")
    folder = write_folder(tmp_path, {"001_a.sql": "CREATE TABLE a ()"})
    shown = "SHOW default_transaction_read_only"
    until(lambda: database.query(shown) == [("on",)])
    result = run_job(database.url, folder)
    assert result.code == 16
    assert "is on (configuration file)" in result.error["message"]
    type_in_psql(database, result.error["remedy"])
    until(lambda: database.query(shown) == [("off",)])
    assert run_job(database.url, folder).applied == ["001_a"]


def test_a_read_only_option_of_the_environment_is_named(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_folder(tmp_path, {"001_a.sql": "CREATE TABLE a ()"})
    monkeypatch.setenv("PGOPTIONS", "-c default_transaction_read_only=on")
    result = run_job(database.url, folder)
    assert (result.code, "out of PGOPTIONS" in result.error["remedy"]) == (16, True), result.error


def test_a_standby_among_several_hosts_wants_a_word(own_server: MakeServer, tmp_path: Path) -> None:
    server = own_server()
    server.start()
    server.stop()
    mark = server.data / "standby.signal"
    run_as_plain_user(["touch", str(mark)], directory=server.directory)
    server.start()
    one = in_charge(server).url
    place = f"{server.host}:{server.port}"
    two = one.replace(place, f"{place},127.0.0.1:{free_port()}")
    folder = write_folder(tmp_path, {"001_a.sql": "CREATE TABLE a ()"})
    until(lambda: run_job(one, folder, "status", CONNECT_TIMEOUT="1s").code != 20)
    for url, remedy in ((one, "Connect to the primary."), (two, "target_session_attrs=read-write")):
        result = run_job(url, folder)
        assert (result.code, remedy in result.error["remedy"]) == (16, True), result.error
        assert "the server is a standby" in result.error["message"]
