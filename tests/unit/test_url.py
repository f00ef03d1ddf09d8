"""URLs as people paste them: what is understood, what is refused, and what is never shown."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from psycopg2.extensions import parse_dsn

from migrator.errors import ConfigError
from migrator.postgres import url
from migrator.postgres.url import (
    DROPPED,
    ENVIRONMENT,
    PASSED_ON,
    Target,
    in_session_mode,
    read_environment,
    read_url,
)

#: A password with one of the characters that break URLs, each in the midst of it.
AWKWARD = [
    pytest.param(f"s3{char}cret", id=name)
    for name, char in {
        "at": "@",
        "colon": ":",
        "slash": "/",
        "percent": "%",
        "caret": "^",
        "hash": "#",
        "quote": "'",
        "double quote": '"',
        "space": " ",
        "question mark": "?",
        "ampersand": "&",
        "equals": "=",
        "plus": "+",
        "backslash": "\\",
        "bracket": "[",
        "non-ASCII": "é",
        "several": "@:/%^#' ",
    }.items()
]


def read(url: str, **environment: str) -> Target:
    return read_url(url, "DATABASE_URL", environment)


def refused(url: str) -> str:
    """All that the refusal of this URL says."""
    with pytest.raises(ConfigError) as caught:
        read(url)
    assert caught.value.__cause__ is None
    assert caught.value.message.count("DATABASE_URL") == 1
    return f"{caught.value} {caught.value.remedy} {caught.value.details}"


@pytest.mark.parametrize(
    ("url", "text"),
    [
        pytest.param("postgresql://u:p@h:6543/d", "u@h:6543/d", id="whole"),
        pytest.param("postgres://u:p@h/d", "u@h:5432/d", id="short scheme, no port"),
        pytest.param("postgresql+psycopg2://u:p@h/d", "u@h:5432/d", id="SQLAlchemy's scheme"),
        pytest.param("postgresql+asyncpg://u:p@h/d", "u@h:5432/d", id="another driver's scheme"),
        pytest.param("\n 'postgresql://u:p@h/d' \n", "u@h:5432/d", id="quotes and blanks around"),
        pytest.param('"postgresql://u:p@h/d"\n', "u@h:5432/d", id="double quotes"),
        pytest.param("postgresql://u:p@h/d?", "u@h:5432/d", id="a bare question mark"),
        pytest.param("postgresql://u@h/d", "u@h:5432/d", id="no password"),
        pytest.param("postgresql://u:@h/d", "u@h:5432/d", id="an empty password"),
        pytest.param("postgresql://h/d", "@h:5432/d", id="no user"),
        pytest.param("postgresql://h", "@h:5432/", id="a host alone"),
        pytest.param("postgresql://h/?user=u", "u@h:5432/", id="the user as a parameter"),
        pytest.param("postgresql://u:p@:6543/d", "u@:6543/d", id="a port alone"),
        pytest.param("postgresql://us%40er:p@h/d%20b", "us@er@h:5432/d b", id="encoded names"),
        pytest.param("postgresql://u:p@[2001:db8::1]:6/d", "u@[2001:db8::1]:6/d", id="IPv6"),
        pytest.param("postgresql://[::1]/d", "@[::1]:5432/d", id="IPv6 without a port"),
        pytest.param("postgresql://u:p@a:1,b:2/d", "u@a:1,b:2/d", id="two hosts"),
        pytest.param("postgresql://u:p@a,b:2/d", "u@a:5432,b:2/d", id="two hosts and one port"),
        pytest.param("postgresql://u:p@a,b/d?port=9", "u@a:9,b:9/d", id="one port for both"),
        pytest.param("postgresql://u@/d?host=/var/run", "u@/var/run:5432/d", id="a socket"),
        pytest.param("postgresql://u@%2Fvar%2Frun/d", "u@/var/run:5432/d", id="an encoded socket"),
        pytest.param("postgresql://u@localhost/d?host=/run", "u@/run:5432/d", id="Prisma's socket"),
        pytest.param("postgresql://u@h:1/d?port=2", "u@h:2/d", id="a parameter has the last word"),
        pytest.param("postgresql:///d?hostaddr=10.0.0.1", "@10.0.0.1:5432/d", id="an address"),
        pytest.param(
            "postgresql://postgres.abcd:p@aws-0-eu-west-1.pooler.supabase.com:6543/postgres",
            "postgres.abcd@aws-0-eu-west-1.pooler.supabase.com:6543/postgres",
            id="Supabase's pooler",
        ),
    ],
)
def test_a_url_is_read_as_libpq_does_and_shown_without_its_password(url: str, text: str) -> None:
    assert str(read(url)) == text


@pytest.mark.parametrize(
    ("query", "params", "dropped"),
    [
        pytest.param("sslmode=require", {"sslmode": "require"}, (), id="libpq's are handed on"),
        pytest.param("pgbouncer=true", {}, ("pgbouncer",), id="Prisma's are dropped"),
        pytest.param(
            "schema=x&connection_limit=1&supa=base-pooler.x",
            {},
            ("schema", "connection_limit", "supa"),
            id="each is named",
        ),
        pytest.param("application_name=me", {}, ("application_name",), id="what the job sets"),
        pytest.param("&&sslmode=require&", {"sslmode": "require"}, (), id="stray ampersands"),
        pytest.param("sslmode=", {}, (), id="no value, no parameter"),
        pytest.param("ssl=true", {"sslmode": "require"}, (), id="JDBC's ssl"),
        pytest.param("ssl", {"sslmode": "require"}, (), id="ssl without a value"),
        pytest.param("ssl=false", {"sslmode": "disable"}, (), id="no ssl"),
        pytest.param("ssl=verify-full", {"sslmode": "verify-full"}, (), id="asyncpg's ssl"),
        pytest.param("sslmode=no-verify", {"sslmode": "require"}, (), id="node-postgres's mode"),
        pytest.param("sslrootcert=%2Fca.crt", {"sslrootcert": "/ca.crt"}, (), id="decoded"),
    ],
)
def test_parameters_are_handed_on_or_dropped(
    query: str, params: dict[str, str], dropped: tuple[str, ...]
) -> None:
    target = read(f"postgresql://h/d?{query}")
    assert target.params == {"dbname": "d", **params}
    assert target.dropped == dropped


def test_no_parameter_is_both_handed_on_and_dropped() -> None:
    assert not PASSED_ON & DROPPED
    assert set(ENVIRONMENT.values()) <= PASSED_ON
    assert "options" not in PASSED_ON | DROPPED


@pytest.mark.parametrize(
    ("url", "environment", "text"),
    [
        pytest.param("postgresql://h/d", {"PGUSER": "u"}, "u@h:5432/d", id="what it leaves open"),
        pytest.param("postgresql://a@h/d", {"PGUSER": "u"}, "a@h:5432/d", id="not what it says"),
        pytest.param("postgresql://h/d", {"PGPORT": "6"}, "@h:6/d", id="the port"),
        pytest.param("postgresql://h,i:7/d", {"PGPORT": "6"}, "@h:5432,i:7/d", id="not of a list"),
        pytest.param("postgresql:///d", {"PGHOST": "x"}, "@x:5432/d", id="the host"),
        pytest.param("postgresql://h/d", {"PGHOSTADDR": "10.0.0.1"}, "@h:5432/d", id="no address"),
    ],
)
def test_what_a_url_leaves_open_comes_from_libpqs_environment(
    url: str, environment: dict[str, str], text: str
) -> None:
    target = read(url, **environment)
    assert str(target) == text
    assert "hostaddr" not in target.params


@pytest.mark.parametrize(
    ("environment", "text"),
    [
        pytest.param({}, None, id="nothing"),
        pytest.param({"PGPASSWORD": "p", "PGSSLMODE": "require"}, None, id="no place"),
        pytest.param({"PGHOST": "h"}, "@h:5432/", id="a host"),
        pytest.param({"PGHOST": "a,b", "PGPORT": "1,2"}, "@a:1,b:2/", id="two hosts"),
        pytest.param({"PGHOSTADDR": "10.0.0.1"}, "@10.0.0.1:5432/", id="an address"),
        pytest.param({"PGSERVICE": "s"}, "@(service s)/", id="a service"),
        pytest.param(
            {"PGUSER": "u", "PGDATABASE": "d", "PGPORT": "7"}, "u@:7/d", id="a socket somewhere"
        ),
    ],
)
def test_libpqs_environment_names_a_place(environment: dict[str, str], text: str | None) -> None:
    target = read_environment(environment)
    assert (None if target is None else str(target)) == text


@pytest.mark.parametrize("password", AWKWARD)
def test_a_password_is_read_percent_encoded(password: str) -> None:
    url = f"postgresql://u:{quote(password, safe='')}@h:1/d?pgbouncer=true"
    assert read(url).params["password"] == password
    assert str(read(url)) == "u@h:1/d"


@pytest.mark.parametrize("password", AWKWARD)
def test_a_password_is_read_raw_too(password: str) -> None:
    target = read(f"postgresql://u:{password}@h:1/d")
    assert target.params["password"] == password
    assert str(target) == "u@h:1/d"


@pytest.mark.parametrize(
    ("written", "password"),
    [
        pytest.param("50%", "50%", id="a percent sign at the end"),
        pytest.param("50%zz", "50%zz", id="no hex digits"),
        pytest.param("a%ffb", "a%ffb", id="no UTF-8"),
        pytest.param("a%00b", "a%00b", id="a NUL"),
        pytest.param("a%40b", "a@b", id="encoded"),
        pytest.param("a%40b%", "a%40b%", id="a stray % means that nothing is encoded"),
        pytest.param("a+b", "a+b", id="a plus is no space"),
    ],
)
def test_a_text_that_was_never_encoded_stays_as_it_is(written: str, password: str) -> None:
    assert read(f"postgresql://u:{written}@h/d").params["password"] == password


@given(password=st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])))
def test_any_password_survives_percent_encoding_and_is_not_shown(password: str) -> None:
    target = read(f"postgresql://u:{quote(password, safe='')}@h/d")
    assert target.params.get("password", "") == password
    assert (str(target), "password" in repr(target)) == ("u@h:5432/d", False)
    assert repr(target) == repr(read("postgresql://u@h/d"))
    assert set(target.secrets) == {password, quote(password, safe="")} - {"", "u", "h", "d"}


@given(password=st.text(st.characters(exclude_categories=["Cs"])))
def test_a_raw_password_is_refused_or_read_in_the_one_way_there_is(password: str) -> None:
    try:
        target = read(f"postgresql://u:{password}@h/d")
    except ConfigError:
        return
    assert str(target) == "u@h:5432/d"


WORD = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=8)
HOSTS = st.lists(
    st.tuples(
        st.sampled_from(["h", "db.example.com", "10.0.0.1", "[::1]", "[fe80::1%25eth0]", "%2Frun"]),
        st.sampled_from(["", ":", ":5432", ":6543", ":1", ":65535"]),
    ),
    min_size=1,
    max_size=3,
)
QUERY = st.dictionaries(
    st.sampled_from(["user", "password", "dbname", "sslmode", "sslrootcert", "channel_binding"]),
    WORD.filter(bool),  # one without a value is left out, where libpq lets it stand for none
    max_size=3,
)


def as_libpq_reads(url: str) -> tuple[tuple[tuple[str, int], ...], dict[str, str]]:
    """The hosts with their ports, and the other parameters."""
    params = {key: value for key, value in parse_dsn(url).items() if value}
    hosts = params.pop("host").split(",")
    ports = params.pop("port", "").split(",")
    ports = ports * len(hosts) if len(ports) == 1 else ports
    return tuple((h, int(p or 5432)) for h, p in zip(hosts, ports, strict=True)), params


@given(user=WORD, password=WORD, hosts=HOSTS, dbname=WORD, query=QUERY)
def test_a_url_in_libpqs_grammar_is_read_as_libpq_reads_it(
    user: str, password: str, hosts: list[tuple[str, str]], dbname: str, query: dict[str, str]
) -> None:
    place = ",".join(host + port for host, port in hosts)
    words = "&".join(f"{key}={quote(value, safe='')}" for key, value in query.items())
    own, secret, name = (quote(word, safe="") for word in (user, password, dbname))
    text = f"postgresql://{own}:{secret}@{place}/{name}?{words}"
    assume(query.get("sslmode") not in url.SSL_WORDS)  # other drivers' words are translated
    target = read(text)
    assert (target.hosts, dict(target.params)) == as_libpq_reads(text)


REFUSED = [
    pytest.param("", id="empty"),
    pytest.param("host=h password=s3cret", id="a connection string"),
    pytest.param("mysql://u:s3cret@h/d", id="another database"),
    pytest.param("https://abcd.supabase.co?apikey=s3cret", id="Supabase's API"),
    pytest.param("u:s3cret@h/d", id="no scheme"),
    pytest.param("postgresql://u:s3cret", id="no host, password for a port"),
    pytest.param("postgresql://u:s3cret/d", id="no @"),
    pytest.param("postgresql://u:p@h:s3cret/d", id="a port of letters"),
    pytest.param("postgresql://u:s3cret@h:0/d", id="port 0"),
    pytest.param("postgresql://u:s3cret@h:65536/d", id="port 65536"),
    pytest.param("postgresql://u:s3cret@h:123456/d", id="a port of six digits"),
    pytest.param("postgresql://u:s3cret@a:1,b:2/d?port=1,2,3", id="more ports than hosts"),
    pytest.param("postgresql://u:s3cret@h/d?port=x", id="a port parameter of letters"),
    pytest.param("postgresql://u:s3cret@h h/d", id="a blank in the host"),
    pytest.param("postgresql://u:s3cret@[::1/d", id="half a bracket"),
    pytest.param("postgresql://u:s3cret@h/d?options=-c%20x%3Ds3cret", id="options"),
    pytest.param("postgresql://u:s3cret@h/d?sslmod=require", id="an unknown parameter"),
    pytest.param("postgresql://u:p@a?s3cret@h/d", id="an @ on both sides of a raw ?"),
    pytest.param("postgresql://h:5432/d?sslrootcert=s3cret@x", id="host or password"),
    pytest.param("postgresql://u:p@h/d?s3cret@x/y", id="an @ in the query"),
    pytest.param("postgresql://u:s3cret\udcff@h/d", id="bytes that are not UTF-8"),
    pytest.param("postgresql://u:s3cret\0@h/d", id="a NUL"),
]


@pytest.mark.parametrize("url", REFUSED)
def test_a_url_that_cannot_be_read_is_refused_without_quoting_it(url: str) -> None:
    said = refused(url)
    assert "s3cret" not in said
    assert "sslmod=" not in said


@pytest.mark.parametrize(
    ("url", "part"),
    [
        pytest.param("postgresql://h/d?options=-c", "SEARCH_PATH", id="options"),
        pytest.param("postgresql://h/d?sslmode=x&bogus=1", "parameter 2 ", id="unknown"),
        pytest.param("postgresql://u:p@a?b@h/d", "Percent-encode", id="two readings"),
        pytest.param("postgresql://h:x/d", "postgresql://USER:PASSWORD@", id="a port"),
    ],
)
def test_a_refusal_says_what_to_write_instead(url: str, part: str) -> None:
    assert part in refused(url)


def test_an_at_sign_in_the_query_alone_is_part_of_it() -> None:
    target = read("postgresql://h/d?sslrootcert=/a@b")
    assert (str(target), target.params["sslrootcert"]) == ("@h:5432/d", "/a@b")


OWN_WORDS = Path(url.__file__).read_text()  # what an error may say without quoting anybody


@given(
    password=st.text(st.characters(exclude_categories=["Cs"]), min_size=12, max_size=30),
    form=st.sampled_from(
        ["postgresql://u:{}@h/d", "postgresql://u:{}", "{}", "postgres://{}?x", "postgres:{}@h?y=z"]
    ),
)
def test_no_text_makes_an_error_show_a_password(password: str, form: str) -> None:
    windows = [password[start : start + 12] for start in range(len(password) - 11)]
    assume(not any(window in OWN_WORDS for window in windows))  # such as DATABASE_URL
    try:
        said = str(read(form.format(password)))
    except ConfigError as error:
        said = f"{error} {error.remedy} {error.details}"
        assert not any(window in said for window in windows)


@pytest.mark.parametrize(
    ("url", "secrets"),
    [
        pytest.param("postgresql://u:s3@h/d", {"s3"}, id="the password"),
        pytest.param("postgresql://u:s%403@h/d", {"s@3", "s%403"}, id="as it is written too"),
        pytest.param("postgresql://u:s3@h/d?sslpassword=k3", {"s3", "k3"}, id="that of the key"),
        pytest.param("postgresql://u@h/d", set(), id="none"),
        pytest.param("postgresql://postgres:postgres@h/d", set(), id="one that is no secret"),
    ],
)
def test_a_target_knows_what_to_hide(url: str, secrets: set[str]) -> None:
    assert set(read(url).secrets) == secrets


POOLER = "aws-0-eu-west-1.pooler.supabase.com"


@pytest.mark.parametrize(
    ("place", "instead"),
    [
        (f"{POOLER}:6543", f"{POOLER}:5432"),
        (f"{POOLER}:5432", f"{POOLER}:5432"),
        (POOLER.upper(), f"{POOLER.upper()}:5432"),
        ("db.abc.supabase.co:6543", None),
        ("pooler.example.com:6543", None),
        (f"{POOLER}.example.com:6543", None),
        (f"{POOLER}:6543,h:6543", None),
    ],
)
def test_of_supabase_s_shared_pooler_the_port_of_sessions_is_known(
    place: str, instead: str | None
) -> None:
    target = read(f"postgresql://u:p@{place}/d?sslmode=require")
    found = in_session_mode(target)
    assert (str(found) if found else None) == (f"u@{instead}/d" if instead else None)
    assert found is None or found.params == target.params


@pytest.mark.parametrize("password", ["[YOUR-PASSWORD]", "%5BYOUR-PASSWORD%5D", "[your password]"])
def test_a_placeholder_is_no_password(password: str) -> None:
    with pytest.raises(ConfigError, match="placeholder") as caught:
        read_url(f"postgresql://postgres:{password}@db.x.supabase.co:5432/postgres", "DATABASE_URL")
    assert "without the brackets" in caught.value.remedy


@pytest.mark.parametrize("key", ["search_path", "currentSchema"])
def test_a_search_path_in_the_url_has_a_setting_of_its_own(key: str) -> None:
    with pytest.raises(ConfigError, match=key) as caught:
        read_url(f"postgresql://u@h/d?{key}=app", "DATABASE_URL")
    assert "SEARCH_PATH" in caught.value.remedy


@pytest.mark.parametrize(
    ("url", "shown", "port"),
    [
        ("postgresql:///?service=shop", "@(service shop)/", 0),
        ("postgresql://u@h/d?service=shop", "u@h(service shop)/d", 0),
        ("postgresql://u@h:1/d?service=shop", "u@h:1(service shop)/d", 1),
    ],
)
def test_a_service_may_say_the_port(url: str, shown: str, port: int) -> None:
    target = read_url(url, "DATABASE_URL")
    assert (str(target), target.hosts[0][1]) == (shown, port)
