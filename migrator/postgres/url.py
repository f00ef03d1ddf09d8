"""A connection URL as people paste it -> Target: where to connect, with what, and what to hide.

No error raised here quotes any part of the URL: a URL that cannot be read may hold its
password anywhere.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

from migrator.errors import ConfigError

#: What libpq 17 understands and we hand on (PQconninfoOptions), less what is always set by us.
PASSED_ON = frozenset(
    """
    channel_binding dbname gssdelegation gsslib gssencmode host hostaddr krbsrvname
    load_balance_hosts passfile password port require_auth requirepeer service
    ssl_max_protocol_version ssl_min_protocol_version sslcert sslcertmode sslcompression sslcrl
    sslcrldir sslkey sslmode sslnegotiation sslpassword sslrootcert sslsni
    target_session_attrs user
    """.split()  # noqa: SIM905 - a list would take a line for each word
)
#: Parameters of other drivers, and of libpq what the job sets itself: dropped, and said so.
DROPPED = frozenset(
    """
    application_name client_encoding connect_timeout connection_limit fallback_application_name
    keepalives keepalives_count keepalives_idle keepalives_interval max_idle_connection_lifetime
    pgbouncer pool_max_conns pool_size pool_timeout prepareThreshold prepared_statements schema
    socket_timeout sslaccept statement_cache_capacity statement_cache_size supa tcp_user_timeout
    uselibpqcompat workaround
    """.split()  # noqa: SIM905 - a list would take a line for each word
)
#: libpq's own environment variables, by the parameter that each stands for.
ENVIRONMENT = {
    "PGHOST": "host",
    "PGHOSTADDR": "hostaddr",
    "PGPORT": "port",
    "PGDATABASE": "dbname",
    "PGUSER": "user",
    "PGPASSWORD": "password",
    "PGPASSFILE": "passfile",
    "PGSERVICE": "service",
    "PGCHANNELBINDING": "channel_binding",
    "PGREQUIREAUTH": "require_auth",
    "PGSSLMODE": "sslmode",
    "PGSSLNEGOTIATION": "sslnegotiation",
    "PGSSLROOTCERT": "sslrootcert",
    "PGSSLCERT": "sslcert",
    "PGSSLKEY": "sslkey",
    "PGSSLCRL": "sslcrl",
    "PGTARGETSESSIONATTRS": "target_session_attrs",
}
#: Any one of these says where to connect when no URL is given.
PLACES = ("PGHOST", "PGHOSTADDR", "PGSERVICE", "PGDATABASE", "PGUSER", "PGPORT")

FORM = "Write it as postgresql://USER:PASSWORD@HOST:PORT/DATABASE."
PLACEHOLDER = r"\[[A-Z _-]*PASSWORD\]"  #: of Supabase's dashboard
ENCODE = "Percent-encode the characters @ : / ? # % and space in the password."
SCHEME = re.compile(r"postgres(?:ql)?(?:\+[a-z0-9_]+)?://")
HOST = re.compile(
    r"(?:\[(?P<address>[0-9A-Fa-f:.]+(?:%[\w.%-]+)?)\]|(?P<host>[\w.%-]*))(?::(?P<port>\d*))?"
)
PORTS = range(1, 65536)
#: Supabase's shared pooler: port 6543 is its transaction mode, 5432 its session mode.
SHARED_POOLER = r"[\w-]+\.pooler\.supabase\.com"
#: What JDBC, asyncpg and node-postgres write for a sslmode.
SSL_WORDS = {
    "true": "require",
    "1": "require",
    "no-verify": "require",
    "false": "disable",
    "0": "disable",
}


class Target(NamedTuple):
    """One place to connect to. Its text and repr hold no password."""

    name: str  #: the setting it came from, "DATABASE_URL"
    #: Tried in order; a host that begins with / is a socket. Port 0: the service file has it.
    hosts: tuple[tuple[str, int], ...]
    params: Mapping[str, str] = {}
    dropped: tuple[str, ...] = ()  #: parameters of other drivers that were left out
    typed: tuple[str, ...] = ()  #: passwords as they are in the URL

    @property
    def secrets(self) -> tuple[str, ...]:
        """What must never be printed; a password that is also a name here hides nothing."""
        public = {"", self.params.get("user"), self.params.get("dbname")}
        public.update(host for host, _ in self.hosts)
        words = {self.params.get("password", ""), self.params.get("sslpassword", "")} - public
        forms = {form for word in words for form in (word, _encode(word))}
        return tuple(sorted(forms | ({*self.typed} - public)))

    def __repr__(self) -> str:
        return f"Target({self.name}: {self})"

    def __str__(self) -> str:
        where = ",".join(_place(host, port) for host, port in self.hosts)
        if self.params.get("service"):
            where = f"{where}(service {self.params['service']})"
        return f"{self.params.get('user', '')}@{where}/{self.params.get('dbname', '')}"


def _place(host: str, port: int) -> str:
    shown = f"[{host}]" if ":" in host else host
    return f"{shown}:{port}" if port else shown


def read_url(url: str, name: str, environment: Mapping[str, str] | None = None) -> Target:
    """The target that `url`, the value of the setting `name`, stands for.

    Accepts what people have: quotes and blanks around it, `+driver` suffixes, the parameters of
    other drivers, and a password that was not percent-encoded where that leaves only one
    reading. What the URL leaves open is taken from libpq's `PG*` in `environment`.
    Raises ConfigError, which quotes nothing of the URL.
    """
    text = url.strip().strip("\"'").strip()
    scheme = SCHEME.match(text)
    if scheme is None:
        raise ConfigError(f"{name} is no PostgreSQL URL", remedy=FORM)
    userinfo, rest = _split_userinfo(text[scheme.end() :], name)
    place, _, query = rest.partition("?")
    hosts, _, dbname = place.partition("/")
    own, dropped = _read_query(query, name)  # which overrides what precedes it
    own = {**_userinfo(userinfo), **_read_hosts(hosts, name), "dbname": _decode(dbname), **own}
    params = _environment(environment or {})
    if own.get("host"):
        params.pop("hostaddr", None)  # it belongs to PGHOST, not to this host
    params |= {key: value for key, value in own.items() if value}
    typed = (userinfo.partition(":")[2], *_typed(query))
    return _target(name, params, dropped)._replace(typed=tuple(filter(None, typed)))


def read_environment(environment: Mapping[str, str]) -> Target | None:
    """The target that libpq's `PG*` variables name, or None when they name no place."""
    if not any(environment.get(name) for name in PLACES):
        return None
    return _target("PGHOST", _environment(environment), ())


def in_session_mode(target: Target) -> Target | None:
    """The same place in session mode: the target itself, or another port of its host.

    None when the target's own words do not say; then it may be direct all the same.
    """
    if not all(re.fullmatch(SHARED_POOLER, host, re.IGNORECASE) for host, _ in target.hosts):
        return None
    return target._replace(hosts=tuple((host, 5432) for host, _ in target.hosts))


def _split_userinfo(text: str, name: str) -> tuple[str, str]:
    """Cut at the `@` before the host: the last one that is not in the query."""
    place, mark, query = text.partition("?")
    before, at, host = place.rpartition("@")
    if "@" not in query:
        return before, host + mark + query
    if at or re.fullmatch(r"[\w.-]*:\d+(?:/.*)?", place):
        raise ConfigError(f"{name} has an @ after a ?, and may be read in two ways", remedy=ENCODE)
    if ":" not in place:
        return "", text
    before, _, host = text.rpartition("@")  # a raw ? in the password
    return before, host


def _userinfo(userinfo: str) -> dict[str, str]:
    user, _, password = userinfo.partition(":")
    return {"user": _decode(user), "password": _decode(password)}


def _read_hosts(text: str, name: str) -> dict[str, str]:
    """The hosts and their ports, each as the list that libpq makes of it."""
    parts = text.split(",")
    found = [part for part in map(HOST.fullmatch, parts) if part]
    if len(found) < len(parts):
        raise ConfigError(f"the host or port in {name} cannot be read", remedy=f"{FORM} {ENCODE}")
    hosts = ",".join(_decode(part["address"] or part["host"]) for part in found)
    ports = ",".join(part["port"] or "" for part in found)
    return {"host": hosts, "port": ports if ports.strip(",") else ""}


def _decode(text: str) -> str:
    """Percent-decoded; a text that cannot be decoded was never encoded and stays as it is."""
    if "%" not in text or re.search("%(?![0-9A-Fa-f]{2})", text):
        return text
    from urllib.parse import unquote  # dear to import, and seldom needed

    try:
        found = unquote(text, errors="strict")
    except UnicodeDecodeError:
        return text
    return text if "\0" in found else found


def _encode(text: str) -> str:
    """Percent-encoded, as the text is in a URL."""
    if text.isascii() and text.isalnum():
        return text
    from urllib.parse import quote  # dear to import, and seldom needed

    return quote(text, safe="")


def _read_query(query: str, name: str) -> tuple[dict[str, str], tuple[str, ...]]:
    """The query's parameters, and the names of those that were dropped."""
    found, dropped = {}, []
    for place, item in enumerate(filter(None, query.split("&")), 1):
        key, _, value = item.partition("=")
        if key == "options":
            raise ConfigError(
                f"{name} has the parameter options, which poolers refuse or drop in silence",
                remedy="Take it out; use --search-path, --lock-timeout and "
                "--statement-timeout (SEARCH_PATH, LOCK_TIMEOUT, STATEMENT_TIMEOUT).",
            )
        if key in {"search_path", "currentSchema"}:
            raise ConfigError(
                f"{name} has the parameter {key}, which no server reads there",
                remedy="Take it out of the URL and give its value to --search-path (SEARCH_PATH).",
            )
        if key == "ssl":
            key, value = "sslmode", value or "true"
        if key in DROPPED:
            dropped.append(key)
        elif key not in PASSED_ON:
            raise ConfigError(
                f"parameter {place} of the query in {name} is not known",
                remedy=f"Use libpq's parameters only, such as sslmode. {ENCODE}",
            )
        elif value:
            found[key] = _decode(SSL_WORDS.get(value, value) if key == "sslmode" else value)
    return found, tuple(dropped)


def _typed(query: str) -> list[str]:
    """The passwords in a query, encoded as they are."""
    pairs = (item.partition("=") for item in query.split("&"))
    return [value for key, _, value in pairs if key in {"password", "sslpassword"}]


def _environment(environment: Mapping[str, str]) -> dict[str, str]:
    return {
        param: environment[name] for name, param in ENVIRONMENT.items() if environment.get(name)
    }


def _is_text(text: str) -> bool:
    """Whether it is UTF-8 without NUL: what is not becomes half a surrogate pair in Python."""
    try:
        return b"\0" not in text.encode()
    except UnicodeEncodeError:
        return False


def _target(name: str, params: dict[str, str], dropped: tuple[str, ...]) -> Target:
    """Pair hosts with ports as libpq does: one port for all, or one each."""
    if not _is_text("".join(params.values())):
        raise ConfigError(f"{name} holds bytes that are not UTF-8", remedy=FORM)
    hosts = (params.get("host") or params.get("hostaddr") or "").split(",")
    ports = params.get("port", "").split(",")
    ports = ports * len(hosts) if len(ports) == 1 else ports
    if len(ports) != len(hosts):
        raise ConfigError(f"the ports in {name} do not fit its hosts", remedy=FORM)
    if not all(re.fullmatch("[0-9]{0,5}", port) and int(port or 1) in PORTS for port in ports):
        raise ConfigError(f"a port in {name} is not between 1 and 65535", remedy=FORM)
    password = params.get("password", "")
    # a pattern is dear to compile, and of a password that is meant for the server it says nothing
    if password.startswith("[") and re.fullmatch(PLACEHOLDER, password, re.IGNORECASE):
        raise ConfigError(
            f"{name} holds a placeholder where the password belongs",
            remedy="Put the password of the database in its place, without the brackets; who lost "
            "it resets it in the Supabase dashboard, under Database, Settings.",
        )
    default = 0 if params.get("service") else 5432  # libpq takes the port of the service file
    pairs = tuple((host, int(port or default)) for host, port in zip(hosts, ports, strict=True))
    rest = {key: value for key, value in params.items() if key not in {"host", "port"}}
    return Target(name, pairs, rest, dropped)
