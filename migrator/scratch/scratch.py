"""A database to try things on: one of its own, or an empty one that is given."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from functools import partial

from migrator.apply.run import Run
from migrator.config import OnLate
from migrator.database.database import Link
from migrator.database.tries import ask
from migrator.errors import AccessError, ConfigError, MigratorError
from migrator.history.place import Place
from migrator.model import Event
from migrator.postgres.quoting import CLEAN, HERE, first, identifier
from migrator.postgres.session import LostError, ServerError, Session
from migrator.postgres.url import Target
from migrator.scratch.snapshot_query import read_snapshot

MARK = "/* migrator makes a scratch database */"
MAY_CREATE = "SELECT rolcreatedb OR rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user"
#: template0 holds nothing that anyone may have added, and no session is connected to it.
CREATE_DATABASE = "CREATE DATABASE {name} TEMPLATE template0"
#: This ends autovacuum workers itself. FORCE does not: where the role is no superuser, PostgreSQL
#: refuses it with NOT_YOURS as long as such a worker, or another role, is in the database.
DROP_DATABASE = "DROP DATABASE IF EXISTS {name}"
IN_USE, NOT_YOURS = "55006", "42501"
DROPS = 3  #: rounds; a plain one waits for 5 s until nobody is connected
#: Seen from one session while another holds the lock, in the same database alone.
SHOW_LOCK = "SELECT pg_advisory_xact_lock({key})"
SEE_LOCK = """SELECT count(*) FROM pg_catalog.pg_locks
 WHERE locktype = 'advisory' AND classid = {high} AND objid = {low} AND objsubid = 1
   AND database = (SELECT oid FROM pg_catalog.pg_database
                    WHERE datname = pg_catalog.current_database())"""

NAME_IT = (
    "Set SHADOW_DATABASE_URL to a server where the role may create a database, or to an empty "
    "database: postgresql://USER:PASSWORD@HOST:PORT/postgres. These start a server of their own "
    "without it: `make rehearse`, `make check-migrations`, `make verify ARGS=--schema`, and "
    "`make baseline`."
)


@contextlib.contextmanager
def scratch_run(run: Run) -> Iterator[Run]:
    """A run like `run` on a scratch database, which is dropped in the end if it was made here.

    Where the role of SHADOW_DATABASE_URL may not create databases, the database that the URL
    names is used if it is empty, and left as it then is: nothing is ever emptied. Raises
    ConfigError when there is none, or when it is the database that is migrated.
    """
    shadow = run.config.shadow
    if shadow is None:
        raise ConfigError("no scratch database is named", remedy=NAME_IT)
    if any(_place(shadow) & _place(target) for target in run.config.targets):
        raise _same(shadow)
    with _linked(run, shadow) as given:
        if not given.connect().send(first(MARK, MAY_CREATE))[0][0]:
            _refuse_same(run, given, shadow)
            trial = _run_on(run, given)
            _refuse_full(trial)
            yield trial
            return
        name = f"migrator_rehearsal_{run.link.run_id.replace('-', '')[:12]}"
        own = shadow._replace(params={**shadow.params, "dbname": name})
        try:
            _create(given, name)
            with _linked(run, own) as link:
                yield _run_on(run, link)
        finally:
            _drop(run, given, name)


@contextlib.contextmanager
def _linked(run: Run, target: Target) -> Iterator[Link]:
    """A link to `target`; what goes well there is logged at the level debug."""

    def tell(event: Event) -> None:
        level = "debug" if event.level == "info" else event.level
        run.link.tell(Event(event.name, level, {**event.fields, "scratch": str(target)}))

    config = run.config._replace(
        targets=(target,),
        history_readers=(),
        run_as=None,  # the role may not be there, and the database is the login role's
        on_late=OnLate.APPLY,
        phase=None,
        sync_supabase_history=False,
    )
    link = Link(config, run.link.run_id, run.link.runner, run.link.watch, tell)
    try:
        yield link
    finally:
        link.close()


def _run_on(run: Run, link: Link) -> Run:
    return Run(link.config, link, run.started_at, run.alone, run.batched)


def _create(given: Link, name: str) -> None:
    try:
        given.connect().send(first(MARK))  # CREATE_DATABASE DATABASE goes alone
        given.connect().send(CREATE_DATABASE.format(name=identifier(name)))
    except ServerError as error:
        raise AccessError(f"cannot create a scratch database: {error}", remedy=NAME_IT) from error


def _drop(run: Run, given: Link, name: str) -> None:
    """Drop the database; one that is left is logged, and replaces no error."""
    watch = run.link.watch
    try:
        with watch.cleaning_up() if watch.stopped_by else contextlib.nullcontext():
            _try_to_drop(given, DROP_DATABASE.format(name=identifier(name)))
    except (ServerError, LostError, MigratorError) as error:
        fields = {"scratch": name, "error": str(error)}
        run.link.tell(Event("scratch.left", "warning", fields))


def _try_to_drop(given: Link, drop: str) -> None:
    """Plain first, then by force where others are connected; again, as they come and go."""
    ways = ((drop, IN_USE), (f"{drop} WITH (FORCE)", NOT_YOURS)) * DROPS
    for count, (text, passing) in enumerate(ways, 1):
        try:
            ask(given, partial(_send, text))
            return
        except ServerError as error:
            if error.refusal.sqlstate != passing or count == len(ways):
                raise


def _send(text: str, session: Session, _place: Place) -> None:
    session.send(text)


def _refuse_full(trial: Run) -> None:
    """Only what a new database has, and an empty history of a rehearsal before this one."""
    things = [row.version for row in trial.look(()).history.rows]
    for item in ask(trial.link, read_snapshot).values():
        brought = item.kind == "extension" or item.kind.startswith(("comment on", "default"))
        if not brought and (item.kind, item.name) != ("schema", "public"):
            things.append(f"{item.kind} {item.name}")
    if things:
        raise ConfigError(
            f"the scratch database is not empty, and was not touched; it has {things[0]}",
            remedy="Name an empty one, or a role that may create databases.",
        )


def _refuse_same(run: Run, given: Link, shadow: Target) -> None:
    """Two URLs may name one database: a lock that is held through one is seen through the other."""
    if not run.config.targets:
        return
    key = int(run.link.run_id.replace("-", "")[:15], 16)
    session = run.link.connect()
    text = ";\n".join((f"{MARK} {CLEAN[0]}", *CLEAN[1:], "BEGIN", HERE, SHOW_LOCK.format(key=key)))
    session.send(text)
    try:
        high, low = divmod(key, 2**32)
        same = given.connect().send(first(MARK, SEE_LOCK.format(high=high, low=low)))[0][0]
    finally:
        session.tidy()
    if same:
        raise _same(shadow)


def _same(shadow: Target) -> ConfigError:
    return ConfigError(
        f"{shadow.name} names the database that is migrated",
        remedy="Name another one: what is rehearsed is undone, too, with its data.",
    )


def _place(target: Target) -> set[tuple[str, int, str]]:
    return {(host, port, target.params.get("dbname", "")) for host, port in target.hosts}
