"""Connections that fail: each row of the table in docs/troubleshooting.md is made and compared."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg2
import pytest

from tests.builders import write_folder
from tests.conftest import (
    Database,
    MakePgBouncer,
    MakeProxy,
    MakeServer,
    MakeStub,
    in_charge,
    throw_away,
)
from tests.job import Job, Listener, Result, run_job, run_listening, until
from tests.outage import NameServer, lacking, unshared
from tests.pages import TROUBLESHOOTING, table
from tests.pooler_stub import Do, Refuse
from tests.postgres import Address, Server, binary, free_port, run_as_plain_user

SOON = {"CONNECT_TIMEOUT": "1s"}  # instead of after a minute
TWO = {"001_a.sql": "CREATE TABLE a ();\n", "002_b.sql": "CREATE TABLE b ();\n"}
#: A name of nobody's (RFC 2606), and an address for documentation (RFC 3849).
NAME, ONLY_IPV6 = "db.example", "2001:db8::1"
HBA_TLS_ONLY = "hostssl all all 127.0.0.1/32 trust\n"


@dataclass(frozen=True)
class Secured:
    """A server that takes TLS connections only, and the certificate that it shows."""

    server: Server
    certificate: Path  #: signed by itself, for the name NAME
    stranger: Path  #: another one, which it has nothing to do with

    def url(self, **parameters: object) -> str:
        words = "&".join(f"{name}={value}" for name, value in parameters.items())
        return f"{in_charge(self.server).url}?{words}"


@dataclass(frozen=True)
class World:
    """What a fault is made of."""

    database: Database
    stub: MakeStub
    pgbouncer: MakePgBouncer
    proxy: MakeProxy
    request: pytest.FixtureRequest
    directory: Path

    @property
    def secured(self) -> Secured:
        found: Secured = self.request.getfixturevalue("secured")
        return found

    def run(self, url: str, inside: Sequence[str] = ()) -> Result:
        folder = write_folder(self.directory / "migrations", TWO)
        return Job.inside(inside, url, folder, **SOON).result()


@pytest.fixture
def world(
    database: Database,
    stub: MakeStub,
    pgbouncer: MakePgBouncer,
    proxy: MakeProxy,
    request: pytest.FixtureRequest,
    tmp_path: Path,
) -> World:
    return World(database, stub, pgbouncer, proxy, request, tmp_path)


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    if shutil.which("openssl") is None:
        lacking("openssl(1): a certificate cannot be made here")
    directory = tmp_path_factory.mktemp("certificates")
    with contextmanager(throw_away)() as server:
        assert isinstance(server, Server)
        certificate, key = self_signed(directory / "server")
        stranger, _ = self_signed(directory / "stranger")
        for source, name in ((certificate, "server.crt"), (key, "server.key")):
            place = server.data / name
            touched = ["install", "-m", "600", "/dev/null", str(place)]
            run_as_plain_user(touched, directory=server.directory)
            place.write_bytes(source.read_bytes())
        connection = in_charge(server).connect()
        (server.data / "pg_hba.conf").write_text(HBA_TLS_ONLY)
        cursor = connection.cursor()
        cursor.execute("ALTER SYSTEM SET ssl = on")
        cursor.execute("SELECT pg_reload_conf()")
        connection.close()
        made = Secured(server, certificate, stranger)
        until(lambda: run_job(made.url(), directory, "status", **SOON).code == 0)
        yield made


def self_signed(place: Path) -> tuple[Path, Path]:
    """A certificate for NAME, and its key."""
    certificate, key = place.with_suffix(".crt"), place.with_suffix(".key")
    kind = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2")
    name = ("-subj", f"/CN={NAME}", "-addext", f"subjectAltName=DNS:{NAME}")
    files = ("-keyout", str(key), "-out", str(certificate))
    command = ["openssl", "req", "-x509", *kind, *name, *files]
    subprocess.run(command, check=True, capture_output=True)
    return certificate, key


@contextmanager
def narrow_role(database: Database) -> Iterator[Database]:
    """A login that may have one connection."""
    database.query("DROP ROLE IF EXISTS narrow")
    database.query("CREATE ROLE narrow LOGIN PASSWORD 's3cret' CONNECTION LIMIT 1")
    database.query("GRANT CREATE ON SCHEMA public TO narrow")
    try:
        yield database.as_user("narrow", "s3cret")
    finally:
        database.query("DROP OWNED BY narrow")
        database.query("DROP ROLE narrow")


def no_route(world: World) -> Result:
    hosts = world.directory / "hosts"
    hosts.write_text(f"{ONLY_IPV6} {NAME}\n")
    alone = unshared("net", over={"/etc/hosts": hosts})
    return world.run(f"postgresql://u:s3cret@{NAME}/d", alone)


def asks(world: World, answer: Sequence[str] | None) -> Result:
    with closing(NameServer(lambda _: answer)) as names:
        result = world.run(f"postgresql://u:s3cret@{NAME}/d", names.inside(world.directory))
        assert NAME in names.asked
        return result


def wrong_password(world: World) -> Result:
    with narrow_role(world.database) as role:
        counting = world.proxy(world.database)
        result = world.run(counting.through(role.as_user("narrow", "wrong").url))
        assert counting.connections == 1
        return result


def role_is_full(world: World) -> Result:
    with narrow_role(world.database) as role, closing(role.connect()):
        return world.run(role.url)


def server_is_full(world: World) -> Result:
    server: Server = world.request.getfixturevalue("own_server")()
    server.start()
    in_charge(server).query("ALTER SYSTEM SET max_connections = 5")
    server.stop()
    server.start()
    with ExitStack() as clients:
        for _ in range(5):
            clients.enter_context(closing(in_charge(server).connect()))
        return world.run(in_charge(server).url)


def pooler_is_full(world: World) -> Result:
    pooler = world.pgbouncer(world.database, settings={"max_client_conn": 1})
    url = pooler.url(world.database.dbname)
    with closing(psycopg2.connect(url)):
        return world.run(url)


def starting(world: World) -> Result:
    server = standby(world.request.getfixturevalue("own_server"))
    server.start()
    return world.run(in_charge(server).url)


def dropped_while_idle(world: World) -> Result:
    cutter = world.proxy(world.database)
    folder = write_folder(world.directory / "migrations", TWO)
    listener = Listener("migration.applied", cutter.cut)
    result = run_listening(listener, cutter.through(world.database.url), folder)
    assert (result.applied, cutter.connections) == (["001_a", "002_b"], 2)
    return result


def refused(message: str) -> Callable[[World], Result]:
    """What a pooler of Supabase's answers; it cannot be had here."""
    return lambda world: world.run(world.stub(Refuse(message)).url())


def pooler_without_server(world: World) -> Result:
    nowhere = Database(Address("postgres", port=free_port()), "postgres", "postgres")
    return world.run(world.pgbouncer(nowhere).url("postgres"))


#: How each fault of the page is made.
FAULTS: dict[str, Callable[[World], Result]] = {
    "the name has IPv6 addresses only, and there is no IPv6 route": no_route,
    "the name cannot be resolved": lambda world: asks(world, []),
    "the name server does not answer": lambda world: asks(world, None),
    "nobody listens on the port": lambda world: world.run(
        f"postgresql://u:s3cret@127.0.0.1:{free_port()}/d"
    ),
    "the server is starting up, shutting down or a closed standby": starting,
    "the server hangs up at once": lambda world: world.run(world.stub(Do.CLOSE).url()),
    "the server accepts and never answers": lambda world: world.run(
        world.stub(Do.KEEP_SILENT).url()
    ),
    "PgBouncer cannot reach its server": pooler_without_server,
    "Supabase's pooler cannot reach the database": refused(
        "(EAUTHQUERY) authentication query failed: connection failed"
    ),
    "the role has no connection left": role_is_full,
    "the server has no connection left": server_is_full,
    "PgBouncer has no connection left": pooler_is_full,
    "Supabase's pooler has no connection left": refused(
        "(EMAXCONN) Max client connections reached"
    ),
    "the password is wrong": wrong_password,
    "the database does not exist": lambda world: world.run(f"{world.database.url}_x"),
    "Supabase's pooler does not know the user": refused(
        "(ENOTFOUND) tenant/user postgres.ref not found"
    ),
    "this address is banned after wrong passwords": refused("(EBANNED) tenant is banned"),
    "this address is not among those allowed": refused(
        "(EADDRNOTALLOWED) address not in tenant allow_list: {1, 2, 3, 4}"
    ),
    "the pooler refuses a parameter": refused("unsupported startup parameter: options"),
    "the server wants TLS": lambda world: world.run(world.secured.url(sslmode="disable")),
    "the server has no TLS": lambda world: world.run(f"{world.database.url}?sslmode=require"),
    "the certificate is not signed by your CA": lambda world: world.run(
        world.secured.url(sslmode="verify-full", sslrootcert=world.secured.stranger)
    ),
    "the certificate names another host": lambda world: world.run(
        world.secured.url(sslmode="verify-full", sslrootcert=world.secured.certificate)
    ),
    "your CA file is not there": lambda world: world.run(
        world.secured.url(sslmode="verify-full", sslrootcert=world.directory / "nowhere.crt")
    ),
    "the connection is dropped while idle, between two migrations": dropped_while_idle,
}
ROWS = table(TROUBLESHOOTING.read_text(), "Hard connections")


def test_the_page_has_a_row_for_each_fault() -> None:
    assert [row[0] for row in ROWS] == list(FAULTS)


@pytest.mark.parametrize(
    ("fault", "code", "reason", "said", "remedy"), ROWS, ids=[row[0] for row in ROWS]
)
def test_each_fault_ends_as_the_page_says(
    fault: str, code: str, reason: str, said: str, remedy: str, world: World
) -> None:
    result = FAULTS[fault](world)
    assert result.code == int(code), result.stderr
    if result.code == 0:
        assert [line["reason"] for line in result.of("migration.retry")] == [reason]
        assert result.of("connection.opened")[1:], "it was opened anew"
        return
    assert (result.error["reason"], result.error["remedy"]) == (reason, remedy)
    assert said in result.error["message"]
    assert ("within CONNECT_TIMEOUT" in result.error["message"]) == (result.code == 20)
    if result.code == 16:
        assert result.of("connection.retry") == []
    assert result.report["outcome"] == "nothing was changed"


def test_a_name_that_comes_to_be_known_is_waited_for(database: Database, tmp_path: Path) -> None:
    known: list[str] = []
    url = database.url.replace(database.host, NAME)
    with closing(NameServer(lambda _: known)) as names:
        job = Job.inside(names.inside(tmp_path), url, write_folder(tmp_path / "m", TWO))
        job.hear("connection.retry", reason="name")
        known.append(database.host)
        result = job.result()
    assert (result.code, result.applied) == (0, ["001_a", "002_b"]), result.stderr


def test_a_server_that_is_refused_then_starting_then_ready_is_waited_for(
    own_server: MakeServer, tmp_path: Path
) -> None:
    server = standby(own_server)
    job = Job(in_charge(server).url, write_folder(tmp_path, TWO))
    job.hear("connection.retry", reason="unreachable")
    server.start()
    job.hear("connection.retry", reason="starting")
    promote = [str(binary("pg_ctl")), "promote", "-w", "-D", str(server.data)]
    run_as_plain_user(promote, directory=server.directory)
    result = job.result()
    assert (result.code, result.applied) == (0, ["001_a", "002_b"]), result.stderr


def standby(own_server: MakeServer) -> Server:
    """A stopped server that, once started, refuses everybody (57P03) until it is promoted."""
    server = own_server()
    server.start()
    server.stop()
    run_as_plain_user(["touch", str(server.data / "standby.signal")], directory=server.directory)
    with (server.data / "postgresql.conf").open("a") as file:
        file.write("hot_standby = off\n")
    return server


def test_a_role_that_gets_its_connection_back_goes_on(database: Database, tmp_path: Path) -> None:
    with narrow_role(database) as role:
        taken = role.connect()
        job = Job(role.url, write_folder(tmp_path, TWO))
        job.hear("connection.retry", reason="full")
        taken.close()
        result = job.result()
        assert (result.code, result.applied) == (0, ["001_a", "002_b"]), result.stderr


def test_a_pooler_that_has_room_again_is_used(
    database: Database, pgbouncer: MakePgBouncer, tmp_path: Path
) -> None:
    url = pgbouncer(database, settings={"max_client_conn": 1}).url(database.dbname)
    taken = psycopg2.connect(url)
    job = Job(url, write_folder(tmp_path, TWO))
    job.hear("connection.retry", reason="full")
    taken.close()
    result = job.result()
    assert (result.code, result.applied) == (0, ["001_a", "002_b"]), result.stderr


def test_what_another_runner_did_while_the_connection_was_dropped_is_seen(
    database: Database, proxy: MakeProxy, tmp_path: Path
) -> None:
    folder = write_folder(tmp_path, TWO)
    cutter = proxy(database)

    def drop_and_let_another_run() -> None:
        cutter.cut()
        assert Job(database.url, folder).result().applied == ["002_b"]

    listener = Listener("migration.applied", drop_and_let_another_run)
    result = run_listening(listener, cutter.through(database.url), folder)
    assert (result.code, result.applied) == (0, ["001_a"]), result.stderr
    assert len(result.of("plan.made")) == 2


def test_tls_is_used_where_the_server_has_it(secured: Secured, tmp_path: Path) -> None:
    for parameters in ({}, {"sslmode": "verify-ca", "sslrootcert": secured.certificate}):
        result = run_job(secured.url(**parameters), tmp_path, "status")
        assert (result.code, result.of("connection.opened")[0]["tls"]) == (0, True)


def test_a_direct_url_without_a_route_gives_way_to_the_poolers(
    database: Database, tmp_path: Path
) -> None:
    if not isinstance(database.server, Server):
        pytest.skip("needs the socket of a server of our own: unset TEST_DATABASE_URL")
    directory = database.server.directory
    socket = f"postgresql://{database.user}@:{database.port}/{database.dbname}?host={directory}"
    direct = f"postgresql://u:s3cret@[{ONLY_IPV6}]:5432/d"
    result = Job.inside(unshared("net"), socket, tmp_path, DIRECT_URL=direct).result()
    assert result.code == 0, result.stderr
    (rerouted,) = result.of("connection.rerouted")
    assert rerouted["target"] == "u@[2001:db8::1]:5432/d"
    assert rerouted["instead"] == f"{database.user}@{directory}:{database.port}/{database.dbname}"
    assert result.of("connection.opened")[0]["setting"] == "DATABASE_URL"
