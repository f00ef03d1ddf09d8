"""The image at work: codes, log lines, signals and users, as a cluster sees them."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.builders import write_folder
from tests.image.conftest import StartPostgres, build
from tests.image.containers import (
    MIGRATIONS,
    PASSWORD,
    REPOSITORY,
    Database,
    Job,
    Runner,
    mounted,
    until,
)

OPENSHIFT = "1000660000:0"  # a user of no name, as OpenShift hands them out


@pytest.mark.parametrize("user", ["65532:65532", OPENSHIFT, "0:0"])
def test_up_migrates_and_a_second_time_has_nothing_to_do(
    job: Runner, database: Database, user: str
) -> None:
    shipped = sorted(
        file.name.removesuffix(".sql")
        for file in (REPOSITORY / "migrations").glob("*.sql")
        if not file.name.endswith(".down.sql")
    )
    first = job.run("up", environment={"DATABASE_URL": database.url}, user=user)
    assert first.code == 0, first.stderr
    assert [line["version"] for line in first.named("migration.applied")] == shipped
    assert database.query("SELECT version FROM public.schema_migrations ORDER BY 1") == [
        (version,) for version in shipped
    ]

    second = job.run(environment={"DATABASE_URL": database.url}, user=user)  # up is the default
    assert second.code == 0, second.stderr
    assert second.named("migration.applied") == []
    assert second.named("run.finished")


def test_help_goes_to_stdout(job: Runner) -> None:
    outcome = job.run("--help")
    assert (outcome.code, outcome.stderr) == (0, "")
    assert "DATABASE_URL" in outcome.stdout


def test_an_unknown_command_is_a_usage_error(job: Runner) -> None:
    assert job.run("frobnicate").code == 2


@pytest.mark.parametrize(
    ("settings", "code"),
    [
        pytest.param({"MIGRATOR_LOCK_TIMEOUTS": "1s"}, 2, id="a setting of no meaning"),
        pytest.param({"CONNECT_TIMEOUT": "soon"}, 2, id="a setting that cannot be read"),
        pytest.param({"DATABASE_URL": "mysql://u:p@db/x"}, 2, id="a URL of another database"),
        pytest.param(
            {"DATABASE_URL": "postgresql://u:p@127.0.0.1:1/x", "CONNECT_TIMEOUT": "2s"},
            20,
            id="nobody listens",
        ),
        pytest.param(
            {"DATABASE_URL": "postgresql://u:p@nobody.invalid/x", "CONNECT_TIMEOUT": "2s"},
            20,
            id="a name that nobody has",
        ),
    ],
)
def test_without_a_database_the_code_says_why(
    job: Runner, settings: dict[str, str], code: int
) -> None:
    outcome = job.run("up", environment={"DATABASE_URL": "postgresql://u:p@db/x", **settings})
    assert outcome.code == code, outcome.stderr
    assert outcome.events[-1]["exit_code"] == code


def test_a_wrong_password_is_not_tried_again(job: Runner, database: Database) -> None:
    url = database.url.replace("postgres:", "postgres:not", 1)
    outcome = job.run("up", environment={"DATABASE_URL": url})
    assert outcome.code == 16, outcome.stderr
    assert outcome.named("connection.retry") == []


def test_no_password_is_said_anywhere(job: Runner, database: Database, tmp_path: Path) -> None:
    written = database.url.split("postgres:")[1].split("@")[0]
    broken = write_folder(tmp_path / "broken", {"001_broken.sql": "SELECT nothing;\n"})
    log = a_termination_log(tmp_path)
    outcome = job.run(
        "up",
        environment={"DATABASE_URL": database.url, "LOG_LEVEL": "debug"},
        volumes=mounted(broken, MIGRATIONS) | mounted(log, "/dev/termination-log", "rw"),
    )
    everything = outcome.stdout + outcome.stderr + log.read_text()
    assert PASSWORD not in everything
    assert written not in everything


@pytest.mark.parametrize(
    ("files", "code"),
    [
        pytest.param({"001_broken.sql": "CREATE TABLE a ();\nSELECT nothing;\n"}, 15, id="SQL"),
        pytest.param({"first.sql": "SELECT 1;\n"}, 10, id="a name"),
        pytest.param({"001_a.sql": "SELECT 1;\n", "1_b.sql": "SELECT 1;\n"}, 10, id="a number"),
    ],
)
def test_a_broken_folder_leaves_no_trace(
    job: Runner, database: Database, tmp_path: Path, files: dict[str, str], code: int
) -> None:
    folder = write_folder(tmp_path / "broken", files)
    outcome = job.run(
        "up", environment={"DATABASE_URL": database.url}, volumes=mounted(folder, MIGRATIONS)
    )
    assert outcome.code == code, outcome.stderr
    assert outcome.events[-1]["exit_code"] == code
    assert database.query("SELECT to_regclass('a')") == [(None,)]


def test_a_folder_that_the_user_may_not_read_is_named(
    job: Runner, database: Database, tmp_path: Path
) -> None:
    folder = write_folder(tmp_path / "shut", {"001_a.sql": "SELECT 1;\n"})
    folder.chmod(0o700)
    outcome = job.run(
        "up", environment={"DATABASE_URL": database.url}, volumes=mounted(folder, MIGRATIONS)
    )
    assert outcome.code == 10, outcome.stderr
    assert "migrations" in outcome.stderr


def sleeping(job: Runner, database: Database, directory: Path) -> Job:
    """A job in the middle of its second migration, once the server sleeps in it."""
    files = {
        "001_quick.sql": "CREATE TABLE quick ();\n",
        "002_slow.sql": "CREATE TABLE slow ();\nSELECT pg_sleep(600);\n",
    }
    folder = write_folder(directory / "slow", files)
    running = job.start(
        "up", environment={"DATABASE_URL": database.url}, volumes=mounted(folder, MIGRATIONS)
    )
    until(lambda: database.query(asleep(database)), 30, "the migration sleeps")
    return running


def asleep(database: Database) -> str:
    return (
        "SELECT pid FROM pg_stat_activity"
        f" WHERE datname = '{database.name}' AND wait_event = 'PgSleep'"
    )


def goes_on(job: Runner, database: Database, directory: Path) -> None:
    """The next run finds the first migration applied, and applies the second."""
    files = {
        "001_quick.sql": "CREATE TABLE quick ();\n",
        "002_slow.sql": "CREATE TABLE slow ();\n",
    }
    folder = write_folder(directory / "again", files)
    outcome = job.run(
        "up", environment={"DATABASE_URL": database.url}, volumes=mounted(folder, MIGRATIONS)
    )
    assert outcome.code == 0, outcome.stderr
    assert [line["version"] for line in outcome.named("migration.applied")] == ["002_slow"]


def docker_stop(running: Job) -> None:
    """SIGTERM to PID 1, and SIGKILL after ten seconds."""
    running.container.stop(timeout=10)


@pytest.mark.faults
@pytest.mark.parametrize(
    "stop",
    [
        pytest.param(docker_stop, id="docker stop"),
        pytest.param(lambda running: running.send("SIGINT"), id="docker kill --signal SIGINT"),
    ],
)
def test_a_stop_ends_the_statement_within_two_seconds(
    job: Runner, database: Database, tmp_path: Path, stop: Callable[[Job], None]
) -> None:
    running = sleeping(job, database, tmp_path)
    said = time.time()
    stop(running)
    outcome = running.wait(10)
    assert 0 < running.finished() - said < 2
    assert outcome.code == 23, outcome.stderr
    (stopped,) = outcome.named("run.stopped")
    stands = "applied by this run and committed: 001_quick"
    assert stopped["outcome"] == f"002_slow was rolled back; {stands}"
    assert database.query(asleep(database)) == []
    assert database.query("SELECT to_regclass('slow')") == [(None,)]
    goes_on(job, database, tmp_path)


@pytest.mark.faults
def test_docker_kill_leaves_an_orphan_that_the_server_ends(
    job: Runner, database: Database, tmp_path: Path
) -> None:
    running = sleeping(job, database, tmp_path)
    running.send("SIGKILL")
    outcome = running.wait(10)
    assert outcome.code == 137
    assert outcome.named("run.finished") == []
    until(lambda: not database.query(asleep(database)), 40, "the server ended the orphan")
    assert database.query("SELECT to_regclass('slow')") == [(None,)]
    goes_on(job, database, tmp_path)


@pytest.mark.faults
def test_a_stop_is_heard_while_nobody_answers(job: Runner) -> None:
    url = "postgresql://u:p@127.0.0.1:1/x"
    running = job.start("up", environment={"DATABASE_URL": url, "CONNECT_TIMEOUT": "10min"})
    until(lambda: b"connection.retry" in running.container.logs(), 30, "the job tries again")
    said = time.time()
    running.send("SIGTERM")
    outcome = running.wait(10)
    assert 0 < running.finished() - said < 2
    assert outcome.code == 23, outcome.stderr


@pytest.mark.parametrize(
    ("sql", "code"),
    [
        pytest.param("CREATE TABLE fine ();\n", 0, id="success"),
        pytest.param(f"SELECT '{'long ' * 2000}'::integer;\n", 15, id="a very long failure"),
    ],
)
def test_the_termination_log_holds_the_result(
    job: Runner, database: Database, tmp_path: Path, sql: str, code: int
) -> None:
    folder = write_folder(tmp_path / "folder", {"001_only.sql": sql})
    log = a_termination_log(tmp_path)
    outcome = job.run(
        "up",
        environment={"DATABASE_URL": database.url},
        volumes=mounted(folder, MIGRATIONS) | mounted(log, "/dev/termination-log", "rw"),
    )
    assert outcome.code == code, outcome.stderr
    written = log.read_bytes()
    assert 0 < len(written) <= 4096
    assert json.loads(written)["exit_code"] == code


def a_termination_log(directory: Path) -> Path:
    """The file that a kubelet makes and mounts."""
    log = directory / "termination-log"
    log.touch()
    log.chmod(0o666)
    return log


@pytest.mark.parametrize(
    "variables",
    [
        {"PYTHONHOME": "/nowhere", "PYTHONPATH": "/nowhere", "PYTHONSTARTUP": "/nowhere"},
        {"PYTHONINSPECT": "1", "PYTHONWARNINGS": "error", "PYTHONNOUSERSITE": ""},
        {"LANG": "de_DE.ISO-8859-1", "LC_ALL": "C", "PYTHONIOENCODING": "ascii"},
        {"HOME": "/nowhere", "TZ": "America/St_Johns", "TMPDIR": "/nowhere"},
    ],
    ids=lambda variables: next(iter(variables)),
)
def test_what_the_cluster_sets_for_others_changes_nothing(
    job: Runner, database: Database, tmp_path: Path, variables: dict[str, str]
) -> None:
    folder = write_folder(tmp_path / "folder", {"001_umlaut.sql": 'CREATE TABLE "größe" ();\n'})
    outcome = job.run(
        "up",
        environment={"DATABASE_URL": database.url, **variables},
        volumes=mounted(folder, MIGRATIONS),
    )
    assert outcome.code == 0, outcome.stderr
    assert outcome.named("run.finished")
    assert database.query("SELECT count(*) FROM pg_tables WHERE tablename = 'größe'") == [(1,)]


def test_a_team_brings_its_own_folder_by_copying_it_in(
    job: Runner, runner_image: str, database: Database, tmp_path: Path
) -> None:
    write_folder(tmp_path / "team" / "migrations", {"001_team.sql": "CREATE TABLE team ();\n"})
    write_folder(
        tmp_path / "team",
        {"Dockerfile": f"FROM {runner_image}\nCOPY migrations/ /app/migrations/\n"},
    )
    tag = build("migrator-team:test", directory=tmp_path / "team")
    outcome = job.run("up", image=tag, environment={"DATABASE_URL": database.url})
    assert outcome.code == 0, outcome.stderr
    assert [line["version"] for line in outcome.named("migration.applied")] == ["001_team"]
    assert database.query("SELECT to_regclass('team')::text") == [("team",)]


def test_a_team_adds_to_the_folder_of_the_image(
    job: Runner, image: str, database: Database, tmp_path: Path
) -> None:
    write_folder(tmp_path / "team" / "migrations", {"900_team.sql": "CREATE TABLE team ();\n"})
    write_folder(
        tmp_path / "team", {"Dockerfile": f"FROM {image}\nCOPY migrations/ /app/migrations/\n"}
    )
    tag = build("migrator-team-more:test", directory=tmp_path / "team")
    outcome = job.run("up", image=tag, environment={"DATABASE_URL": database.url})
    assert outcome.code == 0, outcome.stderr
    applied = [line["version"] for line in outcome.named("migration.applied")]
    assert len(applied) > 1
    assert applied[-1] == "900_team"


def test_sslrootcert_system_means_the_certificates_of_the_image(
    job: Runner, start_postgres: StartPostgres, tmp_path: Path
) -> None:
    container, database = start_postgres()
    certificate = switch_tls_on(container, database, tmp_path)
    folder = write_folder(tmp_path / "folder", {"001_a.sql": "CREATE TABLE a ();\n"})
    environment = {"DATABASE_URL": f"{database.url}?sslmode=verify-full&sslrootcert=system"}

    stranger = job.run("up", environment=environment, volumes=mounted(folder, MIGRATIONS))
    assert stranger.code == 16, stranger.stderr
    assert "certificate verify failed" in stranger.stderr

    bundle = mounted(certificate, "/etc/ssl/certs/ca-certificates.crt")
    known = job.run("up", environment=environment, volumes=mounted(folder, MIGRATIONS) | bundle)
    assert known.code == 0, known.stderr


def switch_tls_on(container: Any, database: Database, directory: Path) -> Path:
    """Give the server a certificate for its name, signed by itself; return the certificate."""
    key, certificate = directory / "server.key", directory / "server.crt"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"),
            *("-nodes", "-days", "2", "-subj", f"/CN={database.host}"),
            *("-addext", f"subjectAltName=DNS:{database.host}"),
            *("-keyout", str(key), "-out", str(certificate)),
        ],
        check=True,
        capture_output=True,
    )
    done = container.exec_run(
        ["sh", "-c", 'umask 077; cd "$PGDATA"; echo "$KEY" > server.key; echo "$CRT" > server.crt'],
        environment={"KEY": key.read_text(), "CRT": certificate.read_text()},
        user="postgres",
    )
    assert done.exit_code == 0, done.output
    database.query("ALTER SYSTEM SET ssl = on")
    database.query("SELECT pg_reload_conf()")
    until(lambda: database.query("SHOW ssl") == [("on",)], 10, "the server offers TLS")
    return certificate
