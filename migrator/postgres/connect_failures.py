"""Why a connection failed -> what to do about it.

A number decides where the server gives one (`postgres.libpq` has libpq write it into the message):
PostgreSQL's texts may be in any language. libpq, PgBouncer and Supavisor speak English, and the
poolers give one number to everything; docs/design.md section 6.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from migrator.postgres.refusal import NO_RIGHT
from migrator.postgres.url import Target


class FailureKind(Enum):
    """What a failed connect calls for."""

    RETRY = "retry"  #: it may pass by itself
    REFUSED = "refused"  #: a person must change something first: AccessError
    NO_ROUTE = "no route"  #: the host has only addresses that this machine cannot reach


@dataclass(frozen=True, slots=True)
class Failure:
    """What one failed connect means."""

    kind: FailureKind
    reason: str  #: one of a few short words for the log, "login", "tenant", "tls", …
    remedy: str
    wait_seconds: float = 0.0  #: a pause that the server is known to want before the next try

    @property
    def refused(self) -> bool:
        return self.kind is FailureKind.REFUSED


POOLER_USER = (
    "Copy host and user from Connect in the Supabase dashboard: the pooler wants the user "
    "postgres.PROJECT_REF and the host with the right number (aws-0, aws-1); a paused project "
    "must be restored first."
)
LOGIN = "Check user and password; in a URL, special characters must be percent-encoded."
BANNED = (
    "Wait until the block has passed (each further try renews it), and check the password before "
    "running again."
)
NETWORK = "Allow this machine's address in the database's network restrictions."
TLS_WANTED = "The server accepts TLS only, or not this login: set sslmode=require in the URL."
TLS_UNVERIFIED = (
    "The server's certificate was not accepted: give its CA file as sslrootcert (Supabase: "
    "prod-ca-2021.crt of the dashboard's SSL settings), and a host name that it names."
)
TLS_MISSING = "The server speaks no TLS: leave sslmode out of the URL, or turn TLS on there."
FULL = "The pool or the server is full: raise its limit, or run when fewer clients are connected."
STARTING = "The server is starting or stopping: see that it comes up."
POOLER_DOWN = "The pooler cannot reach the database: see that the database is up."
PASSED_ON_WORDS = (
    "A pooler passes on what its server says, without its number: read the message, and correct "
    "the login, the database's name or the pooler's own password for the server."
)
NAME = (
    "Check the host's spelling and this machine's DNS; a paused or deleted Supabase project has "
    "no name either."
)
IPV6 = (
    "This host has IPv6 addresses only and this network has no IPv6 route: use the pooler's URL "
    "(Supabase: the session pooler, port 5432 of the .pooler.supabase.com host)."
)
REACH = "Check host, port and firewall, and that the server runs."
SUPABASE_REACH = (
    "See that the project is up; Supabase's direct host also answers so for 30 minutes after "
    "a few wrong passwords."
)
PARAMETER = "Take this parameter out of the URL: the pooler does not take it."
NO_USER = "Name the user in the URL, or set PGUSER: this process's uid has no name of its own."
DATABASE = "Correct the database's name, or create the database first."
NO_CONNECT = "Grant the role CONNECT on the database."
LIBRARY = (
    "The server cannot load a library that it is to load at login: look for "
    "session_preload_libraries and local_preload_libraries in pg_db_role_setting and "
    "postgresql.conf, and install the library or RESET the setting."
)
AT_LOGIN = (
    "The server accepts the login and then refuses the session, by what it runs at login: correct "
    "the login event trigger that says this, or switch it off as a superuser with "
    "ALTER EVENT TRIGGER name DISABLE (event_triggers = off in postgresql.conf lets one in)."
)

#: The answer to a client for which there is no room, when it connects or in the pooler's queue.
FULL_UP = (
    r"\(EMAXCONN\w*\)|\(ECHECKOUTTIMEOUT\)|[Mm]ax client(s| connections) reached"
    r"|MaxClientsInSessionMode|remaining connection slots|too many clients already"
    r"|too many connections for|no more connections allowed|query_wait_timeout"
    r"|sorry, too many clients"
)

_RETRY, _REFUSED = FailureKind.RETRY, FailureKind.REFUSED
#: What a pooler says in the first place. Of each table the first row that fits decides.
POOLERS: tuple[tuple[str, Failure], ...] = (
    (
        r"\(ECIRCUITBREAKER\).*(failed to retrieve|too many failed attempts)",
        Failure(_RETRY, "pooler", POOLER_DOWN, wait_seconds=30.0),
    ),
    (r"\(ECIRCUITBREAKER\)", Failure(_REFUSED, "banned", BANNED)),
    (
        r"\(ENOTFOUND\)|tenant/user .*not found|Tenant or user not found|\(ENOIDENTIFIER\)",
        Failure(_REFUSED, "tenant", POOLER_USER),
    ),
    (r"\(EBANNED\)", Failure(_REFUSED, "banned", BANNED)),
    (
        r"\(EADDRNOTALLOWED\)|address not in tenant allow_list",
        Failure(_REFUSED, "network", NETWORK),
    ),
)
#: What PostgreSQL says in whatever language: the beginning of a SQLSTATE, and the routine that
#: raised it where several use that number [M: 15].
NUMBERS: tuple[tuple[str, str, Failure], ...] = (
    ("28000", "ClientAuthentication", Failure(_REFUSED, "tls", TLS_WANTED)),  # pg_hba.conf
    ("28000", "InitializeSessionUserId", Failure(_REFUSED, "login", LOGIN)),
    ("28000", "auth_failed", Failure(_REFUSED, "login", LOGIN)),
    ("28P01", "", Failure(_REFUSED, "login", LOGIN)),
    ("3D000", "", Failure(_REFUSED, "database", DATABASE)),
    (NO_RIGHT, "CheckMyDatabase", Failure(_REFUSED, "login", NO_CONNECT)),
    ("53300", "", Failure(_RETRY, "full", FULL)),
    ("57P0", "", Failure(_RETRY, "starting", STARTING)),
    ("55000", "CheckMyDatabase", Failure(_RETRY, "starting", STARTING)),  # closed for now
    ("58P01", "", Failure(_REFUSED, "session", LIBRARY)),
    *(
        (state, "", Failure(_REFUSED, "session", AT_LOGIN))
        for state in ("21", "22", "23", "38", "39", "42", "P0")
    ),
)
#: What libpq says, and a pooler or a server that gives no number of its own.
MESSAGES: tuple[tuple[str, Failure], ...] = (
    (
        r"\(ESSLREQUIRED\)|SSL required|SSL connection is required",
        Failure(_REFUSED, "tls", TLS_WANTED),
    ),
    (
        r"certificate verify failed|root certificate file|self.signed certificate"
        r"|server certificate for .* does not match|certificate authentication failed",
        Failure(_REFUSED, "tls", TLS_UNVERIFIED),
    ),
    (r"server does not support SSL", Failure(_REFUSED, "tls", TLS_MISSING)),
    (FULL_UP, Failure(_RETRY, "full", FULL)),
    (
        r"\(E(AUTHQUERY|DBHANDLEREXITED|POOLTERMINATING|WORKERNOTFOUND|SUBSCRIBERETRIES"
        r"|PROXYSTARTFAILED|AUTHTIMEOUT)\)|cannot connect to server|server_login_retry"
        r"|server login has been failing|login failed.*server|pgbouncer is shutting down",
        Failure(_RETRY, "pooler", POOLER_DOWN),
    ),
    (
        r"local user with ID \d+ does not exist|could not look up local user ID",
        Failure(_REFUSED, "parameter", NO_USER),
    ),
    (r"unsupported startup parameter", Failure(_REFUSED, "parameter", PARAMETER)),
    (
        r"invalid .* value|invalid connection option|channel binding|weak sslmode|private key file"
        r"|could not parse network address|definition of service",
        Failure(_REFUSED, "parameter", "Correct this parameter of the connection."),
    ),
    (
        r"password authentication failed|no password supplied|authentication failed"
        r"|SASL authentication|no such user|role \".*\" does not exist"
        r"|is not permitted to log in|auth_query|wrong password|client password must be"
        r"|authentication method (requirement|.* not supported)|SCRAM",
        Failure(_REFUSED, "login", LOGIN),
    ),
    (r"no pg_hba\.conf entry|pg_hba\.conf rejects", Failure(_REFUSED, "tls", TLS_WANTED)),
    (
        r"permission denied for database",
        Failure(_REFUSED, "login", NO_CONNECT),
    ),
    (r"database \".*\" does not exist|no such database", Failure(_REFUSED, "database", DATABASE)),
    (
        r"is not currently accepting connections|is being accessed"
        r"|the database system is (starting up|shutting down|in recovery mode|not yet accepting)"
        r"|terminating connection due to|not accepting connections",
        Failure(_RETRY, "starting", STARTING),
    ),
    (r"no answer within", Failure(_RETRY, "silent", REACH)),
    (
        r"could not translate host name|failed to resolve host|Name or service not known"
        r"|Temporary failure in name resolution|No address associated|the name server",
        Failure(_RETRY, "name", NAME),
    ),
)
#: How libpq writes a number and a routine (PQERRORS_VERBOSE). Before the number is the severity, in
#: the server's language.
NUMBERED = re.compile(r":  (?P<state>(?=[A-Z]*\d)[0-9A-Z]{5}): ")
ROUTINE = re.compile(r"^LOCATION:  (?P<name>\w+), ", re.MULTILINE)
NO_ROUTE = re.compile(
    "Network is unreachable|No route to host|Address family not supported|Cannot assign requested"
)


def wants_room(message: str) -> bool:
    """Whether a session was ended in the pooler's queue, before anything of it was sent on."""
    return bool(re.search(FULL_UP, message))


#: How PgBouncer ends a session at work by a limit of its own [M: 1.18].
POOLER_LIMIT = re.compile(r"FATAL:  (query|transaction) timeout")


def pooler_limit(message: str) -> str | None:
    """The setting of PgBouncer by which a session at work was ended; None where it was not."""
    found = POOLER_LIMIT.fullmatch(message.strip())
    return f"{found[1]}_timeout" if found else None


def judge(message: str, target: Target, *, only_ipv6: bool = False) -> Failure:
    """The verdict on a failed connect to `target`, by the text the driver gave."""
    if NO_ROUTE.search(message) and only_ipv6:
        return Failure(FailureKind.NO_ROUTE, "route", IPV6)
    verdict = _by_words(message, POOLERS) or _by_number(message) or _by_words(message, MESSAGES)
    if verdict:
        return verdict
    state = sqlstate(message) or ""
    if state.startswith("28"):
        return Failure(_REFUSED, "login", LOGIN)
    if state == "08P01":  # of PgBouncer, whose own words are among those above
        return Failure(_RETRY, "pooler", PASSED_ON_WORDS)
    direct = any(re.fullmatch(r"db\.\w+\.supabase\.co", host) for host, _ in target.hosts)
    return Failure(_RETRY, "unreachable", SUPABASE_REACH if direct else REACH)


def sqlstate(message: str) -> str | None:
    """The number in a message that libpq wrote with it, the first of several."""
    found = NUMBERED.search(message)
    return found["state"] if found else None


def _by_number(message: str) -> Failure | None:
    numbers = list(NUMBERED.finditer(message))
    ends = [number.start() for number in numbers[1:]] + [len(message)]
    for number, end in zip(numbers, ends, strict=False):  # no number, no end
        routine = ROUTINE.search(message, number.end(), end)
        said_by = routine["name"] if routine else ""
        for state, name, verdict in NUMBERS:
            if number["state"].startswith(state) and name in {"", said_by}:
                return verdict
    return None


def _by_words(message: str, table: Sequence[tuple[str, Failure]]) -> Failure | None:
    return next((verdict for pattern, verdict in table if re.search(pattern, message)), None)
