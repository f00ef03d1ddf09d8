"""Connecting: what is tried again and what is not, against a stub, a server and a pooler."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from migrator.postgres import connect_failures as refusals
from tests.builders import write_folder
from tests.conftest import Database, MakePgBouncer, MakeStub
from tests.job import Result, run_job
from tests.pooler_stub import Do, Forward, PoolerStub, Refuse, Welcome
from tests.postgres import free_port

#: Fails at once instead of after a minute.
SOON = {"CONNECT_TIMEOUT": "1s"}


def through(stub: PoolerStub, database: Database) -> str:
    """The database's URL by way of the stub."""
    return database.url.replace(f":{database.port}/", f":{stub.port}/")


def tries(result: Result) -> list[int]:
    return [line["attempt"] for line in result.of("connection.retry")]


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        ("(EMAXCONNSESSION) max clients reached in session mode", "full"),
        ("(EMAXCONN) Max client connections reached", "full"),
        ("MaxClientsInSessionMode: max clients reached", "full"),
        ("(ECHECKOUTTIMEOUT) unable to check out a connection", "full"),
        ("remaining connection slots are reserved for superusers", "full"),
        ("sorry, too many clients already", "full"),
        ('too many connections for role "postgres"', "full"),
        ("no more connections allowed (max_client_conn)", "full"),
        ("query_wait_timeout", "full"),
        ("(EAUTHQUERY) authentication query failed: connection failed", "pooler"),
        ("(EDBHANDLEREXITED) connection to database closed", "pooler"),
        ("(EPOOLTERMINATING) pool is terminating", "pooler"),
        ("(EWORKERNOTFOUND) worker not found", "pooler"),
        ("(ESUBSCRIBERETRIES) failed to subscribe", "pooler"),
        ("(EPROXYSTARTFAILED) proxy start failed", "pooler"),
        ("(EAUTHTIMEOUT) authentication timeout", "pooler"),
        ("pgbouncer cannot connect to server", "pooler"),
        ("the database system is starting up", "starting"),
        ("the database system is shutting down", "starting"),
        ("the database system is in recovery mode", "starting"),
        ("terminating connection due to administrator command", "starting"),
        ("something that nobody has heard of", "unreachable"),
    ],
)
def test_what_may_pass_is_tried_again(
    message: str, reason: str, database: Database, stub: MakeStub, tmp_path: Path
) -> None:
    pooler = stub(Refuse(message), Forward.to(database))
    result = run_job(through(pooler, database), tmp_path)
    (retry,) = result.of("connection.retry")
    assert (result.code, pooler.connections) == (0, 2)
    assert (retry["attempt"], retry["reason"], retry["level"]) == (1, reason, "warning")
    assert message in retry["error"]


@pytest.mark.parametrize(
    ("message", "remedy"),
    [
        ("(ENOTFOUND) tenant/user postgres.ref not found", refusals.POOLER_USER),
        ("Tenant or user not found", refusals.POOLER_USER),
        ("(ENOIDENTIFIER) no tenant identifier provided", refusals.POOLER_USER),
        ('password authentication failed for user "postgres"', refusals.LOGIN),
        ("SASL authentication failed", refusals.LOGIN),
        ("(ECIRCUITBREAKER) too many authentication failures", refusals.BANNED),
        ("(EBANNED) tenant is banned", refusals.BANNED),
        ("(EADDRNOTALLOWED) address not in tenant allow_list: {1, 2, 3, 4}", refusals.NETWORK),
        ("(ESSLREQUIRED) SSL connection is required", refusals.TLS_WANTED),
        ('no pg_hba.conf entry for host "1.2.3.4", SSL off', refusals.TLS_WANTED),
        ("unsupported startup parameter: options", refusals.PARAMETER),
        ('database "postgres" does not exist', refusals.DATABASE),
    ],
)
def test_what_a_person_must_change_is_tried_once(
    message: str, remedy: str, stub: MakeStub, tmp_path: Path
) -> None:
    """Supabase bans an address after a few refused logins."""
    pooler = stub(Refuse(message))
    result = run_job(pooler.url(), tmp_path)
    assert (result.code, pooler.connections, tries(result)) == (16, 1, [])
    assert (result.error["type"], result.error["remedy"]) == ("AccessError", remedy)
    assert message in result.error["message"]


def test_each_try_is_counted(database: Database, stub: MakeStub, tmp_path: Path) -> None:
    full = Refuse("(EMAXCONN) Max client connections reached")
    pooler = stub(full, Do.CLOSE, full, Forward.to(database))
    result = run_job(through(pooler, database), tmp_path)
    assert (result.code, pooler.connections, tries(result)) == (0, 4, [1, 2, 3])
    assert result.events.count("connection.opened") == 1


def test_a_pooler_that_wants_a_long_pause_gets_it_or_none(stub: MakeStub, tmp_path: Path) -> None:
    pooler = stub(Refuse("(ECIRCUITBREAKER) failed to retrieve database credentials"))
    result = run_job(pooler.url(), tmp_path, CONNECT_TIMEOUT="20s")
    assert (result.code, pooler.connections) == (20, 1)
    assert result.error["remedy"] == refusals.POOLER_DOWN


def test_of_several_hosts_the_first_that_answers_is_taken(
    database: Database, tmp_path: Path
) -> None:
    place = f"{database.host}:{database.port}"
    url = database.url.replace(place, f"127.0.0.1:{free_port()},{place}")
    result = run_job(url, tmp_path)
    assert (result.code, tries(result)) == (0, [])


@pytest.mark.parametrize(
    ("word", "value", "reason"),
    [
        pytest.param("sslmode", "maybe", "parameter", id="a value that libpq does not know"),
        pytest.param("channel_binding", "require", "parameter", id="channel binding without TLS"),
    ],
)
def test_a_demand_that_the_server_cannot_meet_is_refused(
    word: str, value: str, reason: str, database: Database, tmp_path: Path
) -> None:
    result = run_job(f"{database.url}?{word}={value}", tmp_path)
    assert (result.code, result.error["reason"], tries(result)) == (16, reason, [])


@pytest.mark.parametrize(
    ("parameters", "part"),
    [
        ({"client_encoding": "LATIN1"}, "speaks LATIN1"),
        ({"client_encoding": "UTF8", "standard_conforming_strings": "off"}, "standard_conforming"),
    ],
)
def test_what_was_asked_for_at_the_start_must_be_in_force(
    parameters: dict[str, str], part: str, stub: MakeStub, tmp_path: Path
) -> None:
    """Poolers drop startup parameters in silence."""
    pooler = stub(Welcome({"server_version": "15.0", "DateStyle": "ISO", **parameters}))
    result = run_job(pooler.url(), tmp_path, **SOON)
    assert (result.code, result.error["type"]) == (16, "AccessError")
    assert part in result.error["message"]


#: What a server says at login, before it falls silent.
GREETING = {"server_version": "15.0", "client_encoding": "UTF8", "DateStyle": "ISO"}


@pytest.mark.parametrize("command", ["up", "verify", "status", "history"])
def test_the_first_answer_comes_within_connect_timeout(
    command: str, stub: MakeStub, tmp_path: Path
) -> None:
    pooler = stub(Welcome(GREETING))
    folder = write_folder(tmp_path, {"001_a.sql": "SELECT 1"})
    settings = {"CONNECT_TIMEOUT": "200ms", "LOCK_TIMEOUT": "200ms"}
    result = run_job(pooler.url(), folder, command, **settings)
    assert (result.code, result.error["reason"]) == (20, "silent"), result.stderr
    assert "no answer within CONNECT_TIMEOUT" in result.error["message"]
    assert result.report["outcome"] == "nothing was changed"


@pytest.mark.parametrize(
    "answer", [Welcome(GREETING), Do.KEEP_SILENT, Refuse("(EMAXCONN) Max client connections")]
)
def test_wait_ends_with_its_timeout_whatever_it_waits_for(
    answer: Any, stub: MakeStub, tmp_path: Path
) -> None:
    folder = write_folder(tmp_path, {"001_a.sql": "SELECT 1"})
    result = run_job(stub(answer).url(), folder, "wait", WAIT_TIMEOUT="200ms")
    assert (result.code, result.error["type"]) == (24, "PendingError"), result.stderr
    assert result.error["message"] == "the history could not be read within WAIT_TIMEOUT"
    assert "run.stopped" not in result.events


def test_only_what_every_pooler_takes_is_asked_for_at_the_start(
    stub: MakeStub, tmp_path: Path
) -> None:
    pooler = stub(Refuse("Tenant or user not found"))
    query = "?pgbouncer=true&schema=app&application_name=mine&connect_timeout=5&sslmode=disable"
    result = run_job(pooler.url(query=query), tmp_path)
    (asked,) = pooler.startups
    assert asked == {
        "user": "postgres.ref",
        "database": "postgres",
        "application_name": "migrator/tester",
        "client_encoding": "UTF8",
    }
    (trimmed,) = result.of("url.trimmed")
    dropped = ["pgbouncer", "schema", "application_name", "connect_timeout"]
    assert (trimmed["setting"], trimmed["parameters"]) == ("DATABASE_URL", dropped)


def test_libpqs_own_variables_are_enough(database: Database, tmp_path: Path) -> None:
    result = run_job(
        None,
        tmp_path,
        PGHOST=database.host,
        PGPORT=str(database.port),
        PGUSER=database.user,
        PGDATABASE=database.dbname,
        PGPASSWORD=database.password or "",
    )
    assert result.code == 0
    assert result.of("connection.opened")[0]["setting"] == "PGHOST"


def test_a_pooler_in_transaction_mode_will_do(
    database: Database, pgbouncer: MakePgBouncer, tmp_path: Path
) -> None:
    folder = write_folder(tmp_path, {"001_a.sql": "CREATE TABLE a ()", "002_b.sql": "SELECT 1"})
    url = pgbouncer(database, pool_size=1).url(database.dbname)
    first, second = (run_job(f"{url}?pgbouncer=true", folder) for _ in range(2))
    assert (first.code, first.applied) == (0, ["001_a", "002_b"])
    assert (second.code, second.applied) == (0, [])


def test_a_pooler_refuses_a_wrong_password(
    database: Database, pgbouncer: MakePgBouncer, tmp_path: Path
) -> None:
    pooler = pgbouncer(database, users={"plain": "right"})
    result = run_job(pooler.url(database.dbname, "plain", "wrong"), tmp_path)
    assert (result.code, result.error["reason"], tries(result)) == (16, "login", [])


def test_a_direct_url_that_answers_is_the_one_that_is_used(
    database: Database, tmp_path: Path
) -> None:
    nobody = f"postgresql://u@127.0.0.1:{free_port()}/d"
    result = run_job(nobody, tmp_path, DIRECT_URL=database.url)
    assert result.code == 0
    assert result.of("connection.opened")[0]["setting"] == "DIRECT_URL"
    assert "connection.rerouted" not in result.events


def test_a_direct_url_that_is_refused_hides_nothing(
    database: Database, stub: MakeStub, tmp_path: Path
) -> None:
    """Only want of a route leads away from it: a wrong password must be mended."""
    direct = stub(Refuse('password authentication failed for user "postgres"', "28P01"))
    result = run_job(database.url, tmp_path, DIRECT_URL=direct.url())
    assert (result.code, direct.connections) == (16, 1)
    assert result.of("connection.rerouted") == []


def test_a_direct_url_that_is_starting_is_waited_for(
    database: Database, stub: MakeStub, tmp_path: Path
) -> None:
    direct = stub(Refuse("the database system is starting up", "57P03"), Forward.to(database))
    result = run_job(None, tmp_path, DIRECT_URL=through(direct, database), DATABASE_URL="")
    assert (result.code, direct.connections) == (0, 2)
    both = stub(Refuse("the database system is starting up", "57P03"), Forward.to(database))
    result = run_job(database.url, tmp_path, DIRECT_URL=through(both, database))
    assert (result.code, both.connections, result.of("connection.rerouted")) == (0, 2, [])


def test_a_refusal_is_not_repeated_at_the_next_address(stub: MakeStub, tmp_path: Path) -> None:
    pooler = stub(Refuse('password authentication failed for user "u"', "28P01"))
    url = f"postgresql://u:p@127.0.0.1:{pooler.port},127.0.0.1:{pooler.port}/d"
    assert (run_job(url, tmp_path).code, pooler.connections) == (16, 1)


def test_the_first_try_counts_towards_the_timeout(stub: MakeStub, tmp_path: Path) -> None:
    silent = stub(Do.KEEP_SILENT)
    result = run_job(silent.url(), tmp_path, CONNECT_TIMEOUT="700ms")
    assert (result.code, silent.connections) == (20, 1)


def test_a_silent_direct_url_leaves_time_for_the_other_one(
    database: Database, stub: MakeStub, tmp_path: Path
) -> None:
    folder = write_folder(tmp_path, {})
    urls = {"DIRECT_URL": stub(Do.KEEP_SILENT).url(), "DATABASE_URL": database.url}
    result = run_job(None, folder, CONNECT_TIMEOUT="3s", **urls)
    assert result.code == 0, result.stderr
    assert result.of("connection.opened")[0]["setting"] == "DATABASE_URL"


def test_a_last_try_that_had_little_time_does_not_hide_what_was_told_before(
    stub: MakeStub, tmp_path: Path
) -> None:
    full = stub(Refuse("query_wait_timeout"), Do.KEEP_SILENT)
    result = run_job(full.url(), write_folder(tmp_path, {}), CONNECT_TIMEOUT="1s")
    assert (result.code, result.error["reason"]) == (20, "full")
    assert "query_wait_timeout" in result.error["message"]


def test_no_timeout_is_no_limit(database: Database, stub: MakeStub, tmp_path: Path) -> None:
    full = Refuse("sorry, too many clients already", "53300")
    pooler = stub(full, full, full, Forward.to(database))
    result = run_job(through(pooler, database), tmp_path, CONNECT_TIMEOUT="0")
    assert (result.code, tries(result)) == (0, [1, 2, 3])


def test_what_the_server_says_at_login_is_an_event(database: Database, tmp_path: Path) -> None:
    """A setting of the role that no longer holds; a password that expires is said likewise."""
    database.query("CREATE ROLE gone")
    database.query("CREATE ROLE leftover LOGIN PASSWORD 'right'")
    database.query("GRANT gone TO leftover")
    database.query("ALTER ROLE leftover SET role = 'gone'")
    database.query("DROP ROLE gone")
    try:
        result = run_job(database.as_user("leftover", "right").url, tmp_path, "status")
    finally:
        database.query("DROP ROLE leftover")
    (notice,) = result.of("connection.notice")
    assert (notice["level"], notice["sqlstate"]) == ("warning", "22023")
    assert (result.code, "gone" in notice["notice"]) == (0, True)
    assert result.events.index("connection.opened") < result.events.index("connection.notice")


def test_our_own_statements_make_no_notice(database: Database, tmp_path: Path) -> None:
    folder = write_folder(tmp_path, {"001_a.sql": "CREATE TABLE a ()"})
    runs = [run_job(database.url, folder, LOG_LEVEL="debug") for _ in range(2)]
    assert [run.code for run in runs] == [0, 0]
    assert [run.of("connection.notice") for run in runs] == [[], []]
