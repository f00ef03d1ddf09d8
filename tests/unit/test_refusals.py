"""Why a connection failed -> what to do: the real messages, one by one."""

from __future__ import annotations

import pytest

from migrator.postgres.connect_failures import (
    BANNED,
    IPV6,
    MESSAGES,
    NUMBERS,
    POOLERS,
    REACH,
    SUPABASE_REACH,
    Failure,
    FailureKind,
    judge,
    pooler_limit,
    sqlstate,
    wants_room,
)
from migrator.postgres.url import Target

HERE = Target("DATABASE_URL", (("10.0.0.1", 5432),))
SUPABASE = Target("DIRECT_URL", (("db.abcdefghijklmnopqrst.supabase.co", 5432),))
AT = 'connection to server at "10.0.0.1", port 6543 failed: '
RETRY, REFUSED = FailureKind.RETRY, FailureKind.REFUSED

#: What is said -> what it calls for, and the word for it in the log.
SAID = {
    # Supavisor
    "FATAL:  (ENOTFOUND) tenant/user postgres.x not found": (REFUSED, "tenant"),
    "FATAL:  Tenant or user not found": (REFUSED, "tenant"),
    "FATAL:  (ENOIDENTIFIER) no tenant identifier provided": (REFUSED, "tenant"),
    "FATAL:  (ECIRCUITBREAKER) too many authentication failures": (REFUSED, "banned"),
    "FATAL:  (ECIRCUITBREAKER) failed to retrieve database credentials": (RETRY, "pooler"),
    "FATAL:  (ECIRCUITBREAKER) too many failed attempts to connect": (RETRY, "pooler"),
    "FATAL:  (EBANNED) tenant is banned": (REFUSED, "banned"),
    "FATAL:  (EADDRNOTALLOWED) address not in tenant allow_list: {1, 2, 3, 4}": (
        REFUSED,
        "network",
    ),
    "FATAL:  address not in tenant allow_list: {1, 2, 3, 4}": (REFUSED, "network"),
    "FATAL:  (ESSLREQUIRED) SSL connection is required": (REFUSED, "tls"),
    "FATAL:  (EMAXCONNSESSION) max clients reached in session mode": (RETRY, "full"),
    "FATAL:  (EMAXCONN) Max client connections reached": (RETRY, "full"),
    "FATAL:  MaxClientsInSessionMode: max clients reached": (RETRY, "full"),
    "FATAL:  Max client connections reached": (RETRY, "full"),
    "FATAL:  (ECHECKOUTTIMEOUT) unable to check out connection from the pool": (RETRY, "full"),
    "FATAL:  (EAUTHQUERY) authentication query failed: connection failed": (RETRY, "pooler"),
    "FATAL:  (EAUTHQUERY) auth_query timed out": (RETRY, "pooler"),
    "FATAL:  (EDBHANDLEREXITED) connection to database closed": (RETRY, "pooler"),
    "FATAL:  (EPOOLTERMINATING) pool is terminating": (RETRY, "pooler"),
    "FATAL:  (EWORKERNOTFOUND) worker not found": (RETRY, "pooler"),
    "FATAL:  (ESUBSCRIBERETRIES) failed to subscribe": (RETRY, "pooler"),
    "FATAL:  (EPROXYSTARTFAILED) proxy start failed": (RETRY, "pooler"),
    "FATAL:  (EAUTHTIMEOUT) authentication timeout": (RETRY, "pooler"),
    # PgBouncer
    "FATAL:  pgbouncer cannot connect to server": (RETRY, "pooler"),
    "FATAL:  server login has been failing, try again later (server_login_retry)": (
        RETRY,
        "pooler",
    ),
    "FATAL:  query_wait_timeout": (RETRY, "full"),
    "FATAL:  no more connections allowed (max_client_conn)": (RETRY, "full"),
    "FATAL:  pgbouncer is shutting down": (RETRY, "pooler"),
    "FATAL:  unsupported startup parameter: options": (REFUSED, "parameter"),
    "FATAL:  unsupported startup parameter in options: statement_timeout": (
        REFUSED,
        "parameter",
    ),
    "FATAL:  SASL authentication failed": (REFUSED, "login"),
    "FATAL:  no such user": (REFUSED, "login"),
    "FATAL:  no such database: nope": (REFUSED, "database"),
    "FATAL:  SSL required": (REFUSED, "tls"),
    # PostgreSQL
    'FATAL:  password authentication failed for user "u"': (REFUSED, "login"),
    'FATAL:  role "u" does not exist': (REFUSED, "login"),
    'FATAL:  role "u" is not permitted to log in': (REFUSED, "login"),
    'FATAL:  database "d" does not exist': (REFUSED, "database"),
    'FATAL:  permission denied for database "d"\nDETAIL:  no CONNECT': (REFUSED, "login"),
    'FATAL:  no pg_hba.conf entry for host "1.2.3.4", user "u", database "d", SSL off': (
        REFUSED,
        "tls",
    ),
    'FATAL:  pg_hba.conf rejects connection for host "1.2.3.4"': (REFUSED, "tls"),
    "FATAL:  the database system is starting up": (RETRY, "starting"),
    "FATAL:  the database system is shutting down": (RETRY, "starting"),
    "FATAL:  the database system is in recovery mode": (RETRY, "starting"),
    "FATAL:  the database system is not yet accepting connections": (RETRY, "starting"),
    "FATAL:  terminating connection due to administrator command": (RETRY, "starting"),
    "FATAL:  sorry, too many clients already": (RETRY, "full"),
    "FATAL:  remaining connection slots are reserved for superusers": (RETRY, "full"),
    'FATAL:  too many connections for role "u"': (RETRY, "full"),
    'FATAL:  too many connections for database "d"': (RETRY, "full"),
    # libpq
    "Connection refused\n\tIs the server running on that host": (RETRY, "unreachable"),
    "server closed the connection unexpectedly": (RETRY, "unreachable"),
    "SSL SYSCALL error: EOF detected": (RETRY, "unreachable"),
    "no answer within 5.0 s": (RETRY, "silent"),
    'could not translate host name "h": Name or service not known': (RETRY, "name"),
    'could not translate host name "h": Temporary failure in name resolution': (RETRY, "name"),
    'failed to resolve host "h": No address associated with hostname': (RETRY, "name"),
    'could not translate host name "h": the name server does not answer': (RETRY, "name"),
    "server does not support SSL, but SSL was required": (REFUSED, "tls"),
    "SSL error: certificate verify failed: self-signed certificate in certificate chain": (
        REFUSED,
        "tls",
    ),
    'server certificate for "*.x" does not match host name "h"': (REFUSED, "tls"),
    'root certificate file "/ca.crt" does not exist': (REFUSED, "tls"),
    "fe_sendauth: no password supplied": (REFUSED, "login"),
    "client password must be a string": (REFUSED, "login"),
    "authentication method 13 not supported": (REFUSED, "login"),
    'authentication method requirement "scram-sha-256" failed: server requested a password': (
        REFUSED,
        "login",
    ),
    "channel binding is required, but server did not offer an authentication method that "
    "supports channel binding": (REFUSED, "parameter"),
    'invalid sslmode value: "maybe"': (REFUSED, "parameter"),
    'invalid integer value "x" for connection option "port"': (REFUSED, "parameter"),
    'weak sslmode "require" may not be used with sslrootcert=system (use "verify-full")': (
        REFUSED,
        "parameter",
    ),
    'could not parse network address "300.1.1.1": Name or service not known': (
        REFUSED,
        "parameter",
    ),
    "local user with ID 54321 does not exist": (REFUSED, "parameter"),
    'definition of service "s" not found': (REFUSED, "parameter"),
}


#: What libpq writes when it was asked for numbers [M: 15, German and Japanese].
NUMBERED = {
    "FATAL:  28P01: Passwort-Authentifizierung für Benutzer »u« fehlgeschlagen\n"
    "LOCATION:  auth_failed, auth.c:334": (REFUSED, "login"),
    "FATAL:  28000: pg_hba.conf lehnt Verbindung ab für Host »127.0.0.1«\n"
    "LOCATION:  ClientAuthentication, auth.c:476": (REFUSED, "tls"),
    "FATAL:  28000: Rolle »u« hat keine Berechtigung zum Einloggen\n"
    "LOCATION:  InitializeSessionUserId, miscinit.c:821": (REFUSED, "login"),
    "FATAL:  28000: Peer-Authentifizierung für Benutzer »u« fehlgeschlagen\n"
    "LOCATION:  auth_failed, auth.c:334": (REFUSED, "login"),
    "FATAL:  28000: no such words": (REFUSED, "login"),
    'FATAL:  3D000: データベース"d"は存在しません\nLOCATION:  InitPostgres, postinit.c:948': (
        REFUSED,
        "database",
    ),
    "FATAL:  42501: keine Berechtigung für Datenbank »d«\nDETAIL:  …\n"
    "LOCATION:  CheckMyDatabase, postinit.c:363": (REFUSED, "login"),
    "FATAL:  53300: zu viele Verbindungen von Rolle »u«\n"
    "LOCATION:  InitializeSessionUserId, miscinit.c:842": (RETRY, "full"),
    "FATAL:  57P03: das Datenbanksystem startet\nLOCATION:  ProcessStartupPacket, postmaster.c:2": (
        RETRY,
        "starting",
    ),
    "FATAL:  55000: Datenbank »d« akzeptiert gegenwärtig keine Verbindungen\n"
    "LOCATION:  CheckMyDatabase, postinit.c:350": (RETRY, "starting"),
    "FATAL:  58P01: konnte nicht auf Datei »x« zugreifen\n"
    "LOCATION:  internal_load_library, dfmgr.c:208": (REFUSED, "session"),
    "FATAL:  P0001: not on Sundays\nCONTEXT:  PL/pgSQL function f() line 3 at RAISE\n"
    "LOCATION:  exec_stmt_raise, pl_exec.c:3895": (REFUSED, "session"),
    'FATAL:  42P01: relation "logins" does not exist\nLOCATION:  parserOpenTable, x.c:1': (
        REFUSED,
        "session",
    ),
    "FATAL:  08P01: Passwort-Authentifizierung f?r Benutzer >>u<< fehlgeschlagen": (
        RETRY,
        "pooler",
    ),
    "FATAL:  08P01: query_wait_timeout": (RETRY, "full"),
    "FATAL:  XX000: (ENOTFOUND) tenant/user postgres.x not found": (REFUSED, "tenant"),
    # TLS is refused first, and then the login without it
    "FATAL:  28000: x\nLOCATION:  ClientAuthentication, auth.c:476\n"
    "connection failed: FATAL:  28P01: y\nLOCATION:  auth_failed, auth.c:334": (REFUSED, "tls"),
}


@pytest.mark.parametrize("message", NUMBERED)
def test_a_number_decides_in_any_language(message: str) -> None:
    verdict = judge(AT + message, HERE)
    assert (verdict.kind, verdict.reason) == NUMBERED[message]


def test_a_severity_is_no_number() -> None:
    assert sqlstate("FATAL:  ERROR: it failed") is None
    assert sqlstate("致命错误:  57P03: …") == "57P03"


@pytest.mark.parametrize("message", SAID)
def test_a_message_tells_whether_to_try_again(message: str) -> None:
    verdict = judge(AT + message, HERE)
    assert (verdict.kind, verdict.reason) == SAID[message]
    assert verdict.remedy.endswith(".")


def test_a_pooler_that_lost_its_database_wants_a_pause() -> None:
    waits = {message: judge(message, HERE).wait_seconds for message in SAID}
    assert {wait for message, wait in waits.items() if "CIRCUIT" not in message} == {0.0}
    assert waits["FATAL:  (ECIRCUITBREAKER) failed to retrieve database credentials"] == 30.0


def test_a_ban_is_not_made_longer_by_trying() -> None:
    assert judge("(ECIRCUITBREAKER) too many authentication failures", HERE).remedy == BANNED


@pytest.mark.parametrize(
    "message",
    [
        "Network is unreachable",
        "No route to host",
        "could not create socket: Address family not supported by protocol",
        "Cannot assign requested address",
    ],
)
@pytest.mark.parametrize(
    ("only_ipv6", "answer", "remedy"),
    [
        pytest.param(True, FailureKind.NO_ROUTE, IPV6, id="all its addresses are IPv6"),
        pytest.param(False, FailureKind.RETRY, REACH, id="it has others"),
    ],
)
def test_a_host_without_a_route_is_not_tried_again(
    message: str, only_ipv6: bool, answer: FailureKind, remedy: str
) -> None:
    verdict = judge(AT + message, HERE, only_ipv6=only_ipv6)
    assert (verdict.kind, verdict.remedy) == (answer, remedy)


@pytest.mark.parametrize(
    ("target", "remedy"),
    [pytest.param(HERE, REACH, id="anywhere"), pytest.param(SUPABASE, SUPABASE_REACH, id="there")],
)
def test_supabases_direct_host_may_have_banned_us(target: Target, remedy: str) -> None:
    assert judge("Connection refused", target).remedy == remedy


def test_of_several_failures_the_one_that_nothing_but_a_person_can_mend_decides() -> None:
    several = "\n".join((AT + "Connection refused", AT + "FATAL:  SASL authentication failed"))
    assert judge(several, HERE).reason == "login"


def test_every_row_of_the_tables_is_reached_by_some_message() -> None:
    reached = {judge(message, HERE) for message in (*SAID, *NUMBERED)}
    rows = (*POOLERS, *MESSAGES)
    assert [pattern for pattern, verdict in rows if verdict not in reached] == []
    assert [state for state, _, verdict in NUMBERS if verdict not in reached] == []


@pytest.mark.parametrize("answer", list(FailureKind))
def test_only_a_refusal_ends_the_round_of_addresses(answer: FailureKind) -> None:
    assert Failure(answer, "reason", "remedy").refused == (answer is FailureKind.REFUSED)


def test_a_session_that_the_poolers_queue_ended_wants_room() -> None:
    assert wants_room("FATAL:  query_wait_timeout")
    assert not wants_room("Connection refused")


@pytest.mark.parametrize(
    ("message", "setting"),
    [
        pytest.param("FATAL:  query timeout\n", "query_timeout", id="of a message"),
        pytest.param("FATAL:  transaction timeout", "transaction_timeout", id="of a transaction"),
        pytest.param("FATAL:  query_wait_timeout", None, id="of the queue"),
        pytest.param("server closed the connection unexpectedly", None, id="of nobody"),
    ],
)
def test_a_session_that_a_poolers_limit_ended_names_it(message: str, setting: str | None) -> None:
    assert pooler_limit(message) == setting
