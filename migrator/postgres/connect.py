"""Opens the session: names, addresses, limits, retries."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Collection, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import psycopg2

from migrator.display import held
from migrator.durations import limit_seconds
from migrator.errors import AccessError, UnreachableError
from migrator.model import Event, Tell
from migrator.postgres.libpq import Connection, Notice
from migrator.postgres.retry import Trouble, retry
from migrator.postgres.session import Session
from migrator.postgres.stop import TimeIsUpError, Watch

if TYPE_CHECKING:
    from migrator.postgres.connect_failures import Failure
    from migrator.postgres.url import Target

#: How long one address may take to answer; less when others remain to be tried.
ADDRESS_SECONDS = 15.0
ADDRESS_SECONDS_OF_SEVERAL = 5.0
#: What every connection asks for; see docs/design.md section 6.
ALWAYS: dict[str, Any] = {
    "client_encoding": "UTF8",
    "gssencmode": "disable",
    "keepalives": 1,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,
}
OLDEST = 140000
#: What our own statements make the server say: what is there already is skipped, the name of a
#: reader's policy is cut as the message is read, and no transaction is in progress.
EXPECTED_NOTICES = frozenset({"42P07", "42P06", "42701", "42710", "42622", "25P01"})
#: For want of these a target is left for the next one: DIRECT_URL for DATABASE_URL.
REROUTED = frozenset({"route", "name", "silent"})


class ConnectError(Exception):
    """One try to connect has failed."""

    def __init__(self, message: str, verdict: Failure, target: Target) -> None:
        super().__init__(message)
        self.verdict = verdict
        self.target = target


class _AgainError(ConnectError):
    """A failed try that may pass by itself."""


def open_session(
    targets: Sequence[Target], runner: str, timeout_ms: int, watch: Watch, tell: Tell
) -> Session:
    """A session with the first of `targets` that has a route, tried for `timeout_ms` in all.

    Raises AccessError for what no retry can fix, UnreachableError when the time is up,
    StoppedError.
    """
    ends = time.monotonic() + limit_seconds(timeout_ms)
    for target, following in zip(targets, (*targets[1:], None), strict=True):
        leave_for = REROUTED if following else ()
        try:
            session = _connect_with_retries(target, runner, ends, leave_for, watch, tell)
        except ConnectError as error:
            if error.verdict.reason not in leave_for:
                raise _final(error) from error
            fields = {"target": str(target), "instead": str(following), "error": str(error)}
            tell(Event("connection.rerouted", "warning", fields))
            continue
        tell(Event("connection.opened", "info", session.facts()))
        session.listen(partial(_tell_notice, tell, str(session.target)))
        return session
    raise AssertionError("no targets")


def _connect_with_retries(
    target: Target, runner: str, ends: float, leave_for: Collection[str], watch: Watch, tell: Tell
) -> Session:
    before: _AgainError | None = None

    def connect() -> Session:
        nonlocal before
        cut_short = ends - time.monotonic() < ADDRESS_SECONDS
        try:
            return _connect(target, runner, ends, watch, more=bool(leave_for))
        except _AgainError as error:
            if error.verdict.reason in leave_for:
                raise ConnectError(str(error), error.verdict, target) from error
            if before and cut_short and error.verdict.reason == "silent":
                raise before from error  # the answer to the try before came in time
            before = error
            raise

    def tell_retry(error: ConnectError, attempt: int) -> None:
        fields = {
            "target": str(target),
            "attempt": attempt,
            "reason": error.verdict.reason,
            "error": str(error),
        }
        tell(Event("connection.retry", "warning", fields))

    def left() -> float:
        return ends - time.monotonic()

    again = Trouble(_AgainError, left, tell_retry, first_seconds=0.2, cap_seconds=5.0)
    return retry(connect, watch, again)


def _connect(target: Target, runner: str, ends: float, watch: Watch, *, more: bool) -> Session:
    """One try at each address of each host; raises ConnectError, _AgainError if worth a retry.

    A refusal ends it: the next address would only be given the wrong password once more. What is
    left until `ends` is for all addresses, and for another target if there are `more`.
    """
    failures: list[tuple[str, str]] = []
    for number, (host, port) in enumerate(target.hosts, 1):
        try:
            addresses = _resolve(host, port, watch, ends) if _is_name(host, target) else [""]
        except OSError as error:
            failures.append((host, f'could not translate host name "{host}": {error.strerror}'))
            continue
        for place, address in enumerate(addresses, 1):
            last = place == len(addresses) and (host, port) == target.hosts[-1]
            limit = ADDRESS_SECONDS if last else ADDRESS_SECONDS_OF_SEVERAL
            others = len(target.hosts) - number + len(addresses) - place + more
            seconds = max(0.1, min(limit, (ends - time.monotonic()) / (others + 1)))
            try:
                session = _open(target, host, port, address, runner, seconds, watch)
            except (psycopg2.Error, UnicodeDecodeError, TimeIsUpError) as error:
                text = _text(error) or f"no answer within {seconds:.1f} s"
                failures.append((address or host, text))
            else:
                return _checked(session)
            failure = _failed(failures, target)
            if failure.verdict.refused:
                raise failure
    raise _failed(failures, target)


def _failed(failures: Sequence[tuple[str, str]], target: Target) -> ConnectError:
    """What the failures at these addresses come to."""
    from migrator.postgres.connect_failures import (  # needed only when something went wrong
        FailureKind,
        judge,
    )

    message = "; ".join(dict.fromkeys(held(text).partition("\n")[0] for _, text in failures))
    only_ipv6 = all(":" in address for address, _ in failures)
    verdict = judge("\n".join(text for _, text in failures), target, only_ipv6=only_ipv6)
    kind = _AgainError if verdict.kind is FailureKind.RETRY else ConnectError
    return kind(message, verdict, target)


def _open(
    target: Target, host: str, port: int, address: str, runner: str, seconds: float, watch: Watch
) -> Session:
    params: dict[str, Any] = {**ALWAYS, **target.params, "application_name": runner}
    if port:
        params["port"] = port
    if host:
        params["host"] = host
    if address:
        params["hostaddr"] = address
    with watch.connecting(seconds):
        connection: Connection = psycopg2.connect(connection_factory=Connection, **params)
        connection.autocommit = True
    connection.opened()
    return Session(connection, target, watch, params)


def _text(error: Exception) -> str:
    """What the driver gave; a server may speak before it knows that we read UTF-8."""
    if isinstance(error, UnicodeDecodeError):
        return error.object.decode(errors="replace").strip()
    return str(error).strip()


def _tell_notice(tell: Tell, target: str, notice: Notice) -> None:
    """What the server, or a pooler, says at login and between the files."""
    if notice.sqlstate in EXPECTED_NOTICES:
        return
    level = {"WARNING": "warning", "NOTICE": "info"}.get(notice.severity, "debug")
    fields = {"target": target, "sqlstate": notice.sqlstate, "notice": notice.message}
    tell(Event("connection.notice", level, fields))


def _checked(session: Session) -> Session:
    """What was asked for at the start must be in force: poolers drop parameters in silence."""
    if session.server_version < OLDEST:
        raise AccessError(
            f"the server is PostgreSQL {session.server_version // 10000}",
            remedy="Use PostgreSQL 14 or newer.",
        )
    encoding = session.status("client_encoding")
    if encoding != "UTF8":
        raise AccessError(
            f"the server speaks {encoding} to us, not UTF8",
            remedy="Connect without the pooler that ignores client_encoding.",
        )
    if session.status("standard_conforming_strings") == "off":
        raise AccessError(
            "standard_conforming_strings is off for this role or database",
            remedy="ALTER ROLE … SET standard_conforming_strings = on (the default).",
        )
    return session


def _is_name(host: str, target: Target) -> bool:
    """Whether `host` must be looked up: no socket directory, no address, none given beside it."""
    if not host or host.startswith(("/", "@")) or "hostaddr" in target.params:
        return False
    for family in (socket.AF_INET, socket.AF_INET6):
        with contextlib.suppress(OSError):
            socket.inet_pton(family, host)
            return False
    return True


def _resolve(host: str, port: int, watch: Watch, ends: float) -> list[str]:
    """The addresses of `host`, in the resolver's order; raises OSError.

    In a thread of its own: a name server that does not answer would hold signals back.
    """
    found: list[Any] = []

    def look_up() -> None:
        try:
            found.append(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
        except OSError as error:
            found.append(error)
        except UnicodeError:
            found.append(OSError(0, "not a host name"))

    thread = threading.Thread(target=look_up, daemon=True)
    thread.start()
    if not watch.join(thread, min(ADDRESS_SECONDS, max(0.1, ends - time.monotonic()))):
        raise OSError(0, "the name server does not answer")
    if isinstance(found[0], OSError):
        raise found[0]
    return list(dict.fromkeys(entry[4][0] for entry in found[0]))


def _final(error: ConnectError) -> AccessError | UnreachableError:
    verdict = error.verdict
    if isinstance(error, _AgainError):
        message = f"no connection to {error.target} within CONNECT_TIMEOUT: {error}"
        return UnreachableError(message, remedy=verdict.remedy, reason=verdict.reason)
    message = f"connection to {error.target} refused: {error}"
    return AccessError(message, remedy=verdict.remedy, reason=verdict.reason)
