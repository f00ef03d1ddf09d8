"""Servers, databases, poolers and proxies for the tests; all of them end with the tests."""

from __future__ import annotations

import atexit
import fcntl
import os
import secrets
import shlex
import signal
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import urlsplit

import psycopg2
import psycopg2.extensions
import pytest
from xdist.scheduler import LoadScopeScheduling
from xdist.workermanage import NodeManager

from tests.job import STARTED
from tests.pgbouncer import PgBouncer
from tests.pooler_stub import Answer, PoolerStub
from tests.postgres import Address, NoServerError, Server, throw_away_directory
from tests.proxy import Proxy
from tests.tiers import mark_full

FIXTURES = Path(__file__).parent / "fixtures"
IS_WORKER = "PYTEST_XDIST_WORKER" in os.environ  # one of several, by pytest-xdist

# What `make test ARGS=…` was given is nothing that the makes of the tests are given, too.
for word in shlex.split(os.environ.get("MAKEFLAGS", "").partition("-- ")[2]):
    os.environ.pop(word.partition("=")[0], None)
for name in ("MAKEFLAGS", "MFLAGS", "MAKEOVERRIDES", "MAKELEVEL"):
    os.environ.pop(name, None)

BOOTSTRAP = "supabase_admin"  # what the Supabase fixture asks for: its `postgres` is no superuser


@dataclass(frozen=True)
class Database:
    """One database of a test, and the role that the test logs in with."""

    server: Address
    dbname: str
    user: str
    password: str | None = None

    @property
    def host(self) -> str:
        return self.server.host

    @property
    def port(self) -> int:
        return self.server.port

    @property
    def url(self) -> str:
        return self.server.url(self.dbname, self.user, self.password)

    @property
    def dsn(self) -> str:
        return self.url

    def as_user(self, user: str, password: str | None = None) -> Database:
        """The same database, for another login."""
        return Database(self.server, self.dbname, user, password)

    def as_superuser(self) -> Database:
        return self.as_user(self.server.superuser, self.server.password)

    def connect(
        self, user: str | None = None, password: str | None = None
    ) -> psycopg2.extensions.connection:
        """A new connection in autocommit; the caller closes it, or the end of the test does."""
        login = self if user is None else self.as_user(user, password)
        connection = psycopg2.connect(login.url)
        connection.autocommit = True
        return connection

    def query(self, sql: str, *values: object) -> list[tuple[Any, ...]]:
        """The rows of one query on a connection of its own; [] where there is no result."""
        with closing(self.connect()) as connection, connection.cursor() as cursor:
            cursor.execute(sql, values or None)
            return cursor.fetchall() if cursor.description else []


#: Seconds for the workers of an interrupted run to end their servers and containers.
CLEAN_UP_SECONDS = 60


def pytest_configure() -> None:
    """Let SIGTERM end the tests as Ctrl-C does, so that no server outlives them.

    In the background of a script a shell has SIGINT ignored, and so would all that the tests start.
    """
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, end_worker if IS_WORKER else signal.default_int_handler)
    NodeManager.EXIT_TIMEOUT = CLEAN_UP_SECONDS


def end_worker(*_: object) -> NoReturn:
    """Once: what asks again would interrupt the fixtures that end servers (execnet asks twice)."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


#: The order in which tests are given out, by the folder: those of the image, the longest, first.
#: Faults wait most of their time, and are spread among the tests of a database, which compute.
FOLDERS = {"faults": 1, "database": 1, "unit": 2}
ALONE = "alone"
#: Each given to one worker: what all of them would prepare again takes longer than the tests.
WHOLE_FILES = (
    *("tests/image/", "tests/package/"),  # images, and an environment that builds packages
    "tests/database/test_languages.py",  # locales, and a server for each
    "tests/database/test_messages.py",  # what every command sends
    "tests/faults/test_pod_deletion.py",  # a network for each of its pods
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """In turn where tests run side by side, and those that are marked `alone` last."""
    mark_full(items)
    if IS_WORKER:
        items[:] = in_turn(items)


def in_turn(items: Sequence[pytest.Item]) -> list[pytest.Item]:
    by_folder = defaultdict(list)
    for item in items:
        by_folder[item.path.relative_to(Path(__file__).parent).parts[0]].append(item)
    places = [
        (item.get_closest_marker(ALONE) is not None, FOLDERS.get(folder, 0), n / len(those), item)
        for folder, those in by_folder.items()
        for n, item in enumerate(those)
    ]
    return [item for *_, item in sorted(places, key=lambda place: place[:-1])]


class OneByOne(LoadScopeScheduling):
    """Gives a worker one test at a time, or a whole file.

    The marks of `--dist loadgroup` are lost [M: pytest-xdist 3.8 with pytest 9.2].
    """

    def _split_scope(self, nodeid: str) -> str:
        return nodeid.partition("::")[0] if nodeid.startswith(WHOLE_FILES) else nodeid


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> OneByOne:
    config.option.loadscopereorder = False  # the order is ours
    return OneByOne(config, log)


@pytest.fixture(autouse=True)
def room_to_itself(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[None]:
    """While a test that is marked `alone` runs, the other workers run none."""
    if not IS_WORKER:
        yield
        return
    alone = request.node.get_closest_marker(ALONE) is not None
    # the parent is the run's, whichever the worker (pytest-xdist's "How-tos")
    with (tmp_path_factory.getbasetemp().parent / "running").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
        yield


def without(what: str, error: NoServerError) -> NoReturn:
    """Skip the test for want of a program, or fail it where the program is a must."""
    if os.environ.get("REQUIRE_DATABASE") == "1":
        pytest.fail(f"REQUIRE_DATABASE=1, but {what} is missing: {error}")
    pytest.skip(f"needs {what}: {error} Or set TEST_DATABASE_URL to a superuser's URL.")


def throw_away() -> Iterator[Address]:
    """A server made for these tests, from the binaries on the machine."""
    try:
        server = Server.create(throw_away_directory(), BOOTSTRAP)
        atexit.register(server.remove)
        server.start()
    except NoServerError as error:
        without("a PostgreSQL server", error)
    yield server
    server.remove()
    atexit.unregister(server.remove)


@pytest.fixture(autouse=True)
def no_run_outlives_its_test() -> Iterator[None]:
    """A test that fails would leave its runs at work in the way of the next one."""
    yield
    while STARTED:
        STARTED.pop().end()


MakeServer = Callable[[], Server]


@pytest.fixture
def own_server() -> Iterator[MakeServer]:
    """Make servers for one test alone, to be stopped, configured or cut off: not yet started."""
    with ExitStack() as stack:

        def make() -> Server:
            try:
                made = Server.create(throw_away_directory(), BOOTSTRAP)
            except NoServerError as error:
                without("a PostgreSQL server", error)
            atexit.register(made.remove)
            stack.callback(atexit.unregister, made.remove)
            stack.callback(made.remove)
            return made

        yield make


@pytest.fixture(scope="session")
def server() -> Iterator[Address]:
    """The server of TEST_DATABASE_URL, else a throw-away one without any Supabase role."""
    if url := os.environ.get("TEST_DATABASE_URL"):
        yield Address.of(url)
    else:
        yield from throw_away()


@pytest.fixture(scope="session")
def supabase_server() -> Iterator[Address]:
    """Another server for the Supabase fixture, whose roles belong to a whole server.

    TEST_DATABASE_URL serves for it only when its superuser is the one that Supabase has.
    """
    url = os.environ.get("TEST_DATABASE_URL")
    if url and Address.of(url).superuser == BOOTSTRAP:
        yield Address.of(url)
    else:
        yield from throw_away()


def create_database(server: Address, options: str = "") -> Database:
    """A new, empty database, for the superuser; `options` are those of CREATE DATABASE."""
    name = "test_" + secrets.token_hex(6)
    command(server, f"CREATE DATABASE {name} TEMPLATE template0 {options}", COPIED)
    return Database(server, name, server.superuser, server.password)


def drop_database(database: Database) -> None:
    """Drop it, whoever is still connected."""
    command(database.server, f"DROP DATABASE IF EXISTS {database.dbname} WITH (FORCE)")


#: Copied as files a new database takes 12 ms of CPU to make and 6 to drop; its pages in the WAL
#: took 16 and 13 [M: PostgreSQL 15, in memory]. 14 has no other way.
COPIED = "STRATEGY file_copy"
#: One for each server, to its database `postgres`: a connection takes as long as a new database.
COMMANDING: dict[str, psycopg2.extensions.connection] = {}


def command(server: Address, sql: str, since_15: str = "") -> None:
    """Have the superuser run it, on a connection that stays."""
    database = in_charge(server)
    for attempt in range(2):  # the server was stopped since, or ended its connections
        connection = COMMANDING.get(database.url) or database.connect()
        COMMANDING[database.url] = connection
        try:
            with connection.cursor() as cursor:
                cursor.execute(f"{sql} {since_15}" if connection.server_version >= 150000 else sql)
        except (psycopg2.OperationalError, psycopg2.InterfaceError):
            connection.close()
            del COMMANDING[database.url]
            if attempt:
                raise
        else:
            return


def in_charge(server: Address) -> Database:
    return Database(server, "postgres", server.superuser, server.password)


@pytest.fixture
def database(server: Address) -> Iterator[Database]:
    """A fresh, empty database without Supabase, for its superuser."""
    made = create_database(server)
    yield made
    drop_database(made)


MakeSupabase = Callable[..., Database]


@pytest.fixture
def supabase_database(supabase_server: Address) -> Iterator[MakeSupabase]:
    """Make databases as Supabase has them, for its `postgres`: `make(data_api="legacy", …)`.

    The keywords are the knobs at the head of fixtures/supabase_like.sql.
    """
    with ExitStack() as stack:

        def make(**knobs: str) -> Database:
            if in_charge(supabase_server).query("SHOW server_version_num") < [("150000",)]:
                pytest.skip("Supabase begins with PostgreSQL 15")
            made = create_database(supabase_server)
            stack.callback(drop_database, made)
            settings = "".join(
                f"SET fixture.{name} = '{value}';\n" for name, value in knobs.items()
            )
            made.query(settings + (FIXTURES / "supabase_like.sql").read_text())
            return made.as_user("postgres", knobs.get("postgres_password", "postgres"))

        yield make


@pytest.fixture
def supabase(supabase_database: MakeSupabase) -> Database:
    """A Supabase-like database whose new tables are closed to the Data API."""
    return supabase_database()


MakePgBouncer = Callable[..., PgBouncer]


@pytest.fixture
def pgbouncer() -> Iterator[MakePgBouncer]:
    """Start poolers: `pgbouncer(database, pool_mode="transaction", pool_size=1, …)`.

    The database's own login is known to the pooler; further ones come as `users={name: password}`.
    """
    with ExitStack() as stack:

        def start(database: Database, users: Mapping[str, str] = {}, **words: Any) -> PgBouncer:
            own = {} if database.password is None else {database.user: database.password}
            pooler = PgBouncer(database.server, users={**own, **users}, **words)
            try:
                pooler.start()
            except NoServerError as error:
                without("PgBouncer", error)
            stack.callback(pooler.stop)
            atexit.register(pooler.stop)
            stack.callback(atexit.unregister, pooler.stop)
            return pooler

        yield start


MakeProxy = Callable[..., Proxy]


@pytest.fixture
def proxy() -> Iterator[MakeProxy]:
    """Start proxies: `proxy(url)`, `proxy(database)` or `proxy(pooler)`, then `.through(url)`."""
    with ExitStack() as stack:

        def start(
            target: Database | PgBouncer | Address | str, delay_seconds: float = 0.0
        ) -> Proxy:
            if isinstance(target, str):
                parts = urlsplit(target)
                host, port = parts.hostname or "", parts.port or 5432
            else:
                host = "127.0.0.1" if isinstance(target, PgBouncer) else target.host
                port = target.port
            made = Proxy(host, port, delay_seconds=delay_seconds)
            stack.callback(made.stop)
            return made

        yield start


MakeStub = Callable[..., PoolerStub]


@pytest.fixture
def stub() -> Iterator[MakeStub]:
    """Start stubs: `stub(Refuse("…"), Forward.to(database))`."""
    with ExitStack() as stack:

        def start(*answers: Answer, port: int = 0) -> PoolerStub:
            made = PoolerStub(*answers, port=port)
            stack.callback(made.stop)
            return made

        yield start
