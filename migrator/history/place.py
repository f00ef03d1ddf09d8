"""Where in a database the history lies, who asks, and what is set while our statements run."""

from __future__ import annotations

from typing import NamedTuple

from migrator.history.fence import Table
from migrator.postgres.quoting import KEEPALIVES, identifier, keepalives, literal


class Place(NamedTuple):
    """Where in a database the history lies, and who asks."""

    schema: str
    runner: str  #: application_name, migrator/<pod or host>
    run_id: str
    server_version: int  #: as libpq gives it, 150018
    #: Of the protocol; None where nothing is to be left in the session.
    backend_pid: int | None = None
    traceparent: str | None = None  #: by it the server's log leads to the trace

    @property
    def tables(self) -> tuple[Table, Table]:
        """The history and its log."""
        return (
            Table(self.schema, "schema_migrations"),
            Table(self.schema, "schema_migrations_log"),
        )

    @property
    def history(self) -> str:
        return self.tables[0].quoted

    @property
    def log(self) -> str:
        return self.tables[1].quoted


class Limits(NamedTuple):
    """What is set inside a transaction of ours. Times in milliseconds, 0 = none."""

    lock_timeout: int = 2000
    statement_timeout: int = 0
    search_path: tuple[str, ...] = ()  #: empty: the login role's own
    run_as: str | None = None  #: the role of a file's statements; None: the login role


def marker(place: Place, what: str) -> str:
    """What each message of a run begins with: by it an observer finds its backend."""
    trace = "" if place.traceparent is None else f", traceparent={place.traceparent}"
    return f"/* migrator {what}, run {place.run_id}{trace} */"


def as_role(role: str | None) -> tuple[str, ...]:
    """What lets the statements behind it run as `role`, until their transaction ends."""
    return () if role is None else (f"SET LOCAL ROLE {identifier(role)}",)


def left_alive(place: Place) -> list[str]:
    """What the last message of a transaction leaves in the session, which is idle from there on."""
    return [] if place.backend_pid is None else [keepalives(place.backend_pid)]


def settings(place: Place, limits: Limits) -> list[str]:
    """What is SET while our statements run, as `name = value`.

    The server's own keepalives end an orphan: 30 s after packets stop, 5 s after a close.
    """
    values: dict[str, int | str] = {
        "lock_timeout": limits.lock_timeout,
        "statement_timeout": limits.statement_timeout,
        "idle_in_transaction_session_timeout": 60_000,
        "application_name": literal(place.runner),
        **KEEPALIVES,
    }
    if place.server_version >= 170000:
        values["transaction_timeout"] = 0
    return [f"{name} = {value}" for name, value in values.items()]
