"""A connection URL as people paste it -> Target: where to connect, with what, and what to hide.

No error raised here quotes any part of the URL: a URL that cannot be read may hold its
password anywhere.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import unquote

from migrator.errors import ConfigError

#: What libpq 17 understands and we hand on (PQconninfoOptions), less what is always set by us.
PASSED_ON = frozenset(
    "channel_binding dbname gssdelegation gsslib gssencmode host hostaddr krbsrvname "
    "load_balance_hosts passfile password port require_auth requirepeer service "
    "ssl_max_protocol_version ssl_min_protocol_version sslcert sslcertmode sslcompression sslcrl "
    "sslcrldir sslkey sslmode sslnegotiation sslpassword sslrootcert sslsni "
    "target_session_attrs user".split()
)
#: Parameters of other drivers, and of libpq what the job sets itself: dropped, and said so.
DROPPED = frozenset(
    "application_name client_encoding connect_timeout connection_limit fallback_application_name "
    "keepalives keepalives_count keepalives_idle keepalives_interval max_idle_connection_lifetime "
    "pgbouncer pool_max_conns pool_size pool_timeout prepareThreshold prepared_statements schema "
    "socket_timeout sslaccept statement_cache_capacity statement_cache_size supa tcp_user_timeout "
    "uselibpqcompat workaround".split()
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
ENCODE = "Percent-encode the characters @ : / ? # % and space in the password."
SCHEME = re.compile(r"postgres(?:ql)?(?:\+[a-z0-9_]+)?://")
HOSTS = re.compile(r"(?:\[[0-9A-Fa-f:.%]+\]|[\w.%-]*)(?::\d*)?")


@dataclass(frozen=True, slots=True)
class Target:
    """One place to connect to. Its text and repr hold no password."""

    name: str  #: the setting it came from, "DATABASE_URL"
    hosts: tuple[tuple[str, int], ...]  #: tried in order; a host that begins with / is a socket
    params: Mapping[str, str] = field(default_factory=dict, repr=False)
    dropped: tuple[str, ...] = ()  #: parameters of other drivers that were left out

    @property
    def secrets(self) -> tuple[str, ...]:
        """What must never be printed; a password that is also a name here hides nothing."""
        public = {"", self.params.get("user"), self.params.get("dbname")}
        public.update(host for host, _ in self.hosts)
        words = (self.params.get("password", ""), self.params.get("sslpassword", ""))
        return tuple(word for word in words if word not in public)

    def __str__(self) -> str:
        where = ",".join(f"{host}:{port}" for host, port in self.hosts)
        return f"{self.params.get('user', '')}@{where}/{self.params.get('dbname', '')}"


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
    params = _environment(environment or {})
    if hosts:
        params.pop("hostaddr", None)  # it belongs to PGHOST, not to this host
    params |= _userinfo(userinfo)
    if dbname:
        params["dbname"] = _decode(dbname)
    dropped = _read_query(query, name, params)
    if not all(HOSTS.fullmatch(host) for host in hosts.split(",")):
        raise ConfigError(f"the host or port in {name} cannot be read", remedy=f"{FORM} {ENCODE}")
    return _target(name, hosts, params, dropped)


def read_environment(environment: Mapping[str, str]) -> Target | None:
    """The target that libpq's `PG*` variables name, or None when they name no place."""
    if not any(environment.get(name) for name in PLACES):
        return None
    return _target("PGHOST", "", _environment(environment), ())


def _split_userinfo(text: str, name: str) -> tuple[str, str]:
    """Cut at the `@` before the host: the last one that is not in the query."""
    place, _, query = text.partition("?")
    if "@" in place:
        if "@" in query:
            raise ConfigError(f"{name} has an @ on both sides of a ?", remedy=ENCODE)
        before, _, after = place.rpartition("@")
        return before, after + text[len(place) :]
    before, at, after = text.rpartition("@")  # a raw ? in the password
    return (before, after) if at and ":" in place else ("", text)


def _userinfo(userinfo: str) -> dict[str, str]:
    user, colon, password = userinfo.partition(":")
    found = {"user": _decode(user)} if user else {}
    return found | ({"password": _decode(password)} if colon else {})


def _decode(text: str) -> str:
    """Percent-decoded; a text with a stray % was never encoded and stays as it is."""
    return text if re.search("%(?![0-9A-Fa-f]{2})", text) else unquote(text)


def _read_query(query: str, name: str, params: dict[str, str]) -> tuple[str, ...]:
    """Put the query's parameters into `params`; the names of those that were dropped."""
    dropped = []
    for place, item in enumerate(filter(None, query.split("&")), 1):
        key, _, value = item.partition("=")
        if key == "options":
            raise ConfigError(
                f"{name} has the parameter options, which poolers refuse or drop in silence",
                remedy="Take it out; use SEARCH_PATH, LOCK_TIMEOUT and STATEMENT_TIMEOUT.",
            )
        if key == "ssl":  # JDBC's and asyncpg's spelling
            key, value = "sslmode", "require" if value in {"", "true", "1"} else value
        if key in DROPPED:
            dropped.append(key)
        elif key not in PASSED_ON:
            raise ConfigError(
                f"parameter {place} of the query in {name} is not known",
                remedy=f"Use libpq's parameters only, such as sslmode. {ENCODE}",
            )
        elif value:
            params[key] = _decode(value)
    return tuple(dropped)


def _environment(environment: Mapping[str, str]) -> dict[str, str]:
    return {
        param: environment[name] for name, param in ENVIRONMENT.items() if environment.get(name)
    }


def _target(name: str, hosts: str, params: dict[str, str], dropped: tuple[str, ...]) -> Target:
    """Pair hosts with ports as libpq does: one port for all, or one each."""
    pairs = [_host_and_port(text) for text in hosts.split(",")] if hosts else []
    if not pairs:
        names = params.get("host") or params.get("hostaddr") or ""
        pairs = [(host, "") for host in names.split(",")]
    ports = params.get("port", "").split(",")
    try:
        found = tuple(
            (host, int(port or (ports * len(pairs) if len(ports) == 1 else ports)[index] or 5432))
            for index, (host, port) in enumerate(pairs)
        )
    except (ValueError, IndexError):
        raise ConfigError(f"the ports in {name} do not fit its hosts", remedy=FORM) from None
    if not all(0 < port < 65536 for _, port in found):
        raise ConfigError(f"a port in {name} is not between 1 and 65535", remedy=FORM)
    rest = {key: value for key, value in params.items() if key not in {"host", "port"}}
    return Target(name, found, rest, dropped)


def _host_and_port(text: str) -> tuple[str, str]:
    if text.startswith("["):
        host, _, port = text[1:].partition("]")
        return host, port.removeprefix(":")
    host, _, port = text.partition(":")
    return _decode(host), port
