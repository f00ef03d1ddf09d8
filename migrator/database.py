"""Opens the session: addresses, retries, limits; turns what the driver raises into ours."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import psycopg2
from psycopg2 import extensions

from migrator.errors import AccessError, StoppedError, UnreachableError
from migrator.flight import TAIL
from migrator.model import Event, Tell

if TYPE_CHECKING:
    from migrator.diagnosis import Refusal
    from migrator.refusals import Verdict
    from migrator.url import Target

T = TypeVar("T")

#: How long one address may take to answer; less when others remain to be tried.
ADDRESS_SECONDS = 15.0
ADDRESS_SECONDS_OF_SEVERAL = 5.0
#: How long a cancelled statement may take to end before the connection is dropped.
CANCEL_SECONDS = 1.2
#: How long the clean-up after a stop may take.
TIDY_SECONDS = 0.5
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


class ServerError(Exception):
    """PostgreSQL answered with an error; the session lives. Never leaves the runner."""

    def __init__(self, refusal: Refusal, results: int | None) -> None:
        super().__init__(f"{refusal.severity} {refusal.sqlstate}: {refusal.message}")
        self.refusal = refusal
        self.results = results  #: statements answered before it, None if not known


class LostError(Exception):
    """The connection ended; what was in flight may or may not have happened."""


class _TimeIsUpError(Exception):
    """A limit that we set ourselves on one wait has passed."""


class ConnectError(Exception):
    """One try to connect has failed."""

    def __init__(self, message: str, verdict: Verdict, target: Target) -> None:
        super().__init__(message)
        self.verdict = verdict
        self.target = target


class Watch:
    """What may end a wait: a signal, the run's deadline, or a limit on the wait itself.

    psycopg2 holds signals back while libpq waits, so libpq never waits here: `wait` is its wait
    callback, for every connection of the process.
    """

    def __init__(self, deadline_seconds: float | None = None) -> None:
        self.stopped_by: str | None = None  #: SIGTERM, SIGINT or DEADLINE
        self._ends = None if deadline_seconds is None else time.monotonic() + deadline_seconds
        self._limit: float | None = None
        self._failure: Exception | None = None
        self._connecting = False
        self._deaf = False
        self._woken, self._wake = os.pipe()
        os.set_blocking(self._wake, False)
        extensions.set_wait_callback(self.wait)

    def close(self) -> None:
        """Give psycopg2 back its own way of waiting."""
        extensions.set_wait_callback(None)
        os.close(self._woken)
        os.close(self._wake)

    def stop(self, reason: str) -> None:
        """Ask for the end; safe in a signal handler."""
        self.stopped_by = self.stopped_by or reason
        with contextlib.suppress(BlockingIOError):
            os.write(self._wake, b"x")

    def check(self) -> None:
        """Raise StoppedError once somebody asked for the end or the deadline has passed."""
        if self._deaf:
            return
        if self._ends is not None and time.monotonic() >= self._ends:
            self.stop("DEADLINE")
        if self.stopped_by:
            raise self.stopped()

    def stopped(self) -> StoppedError:
        return StoppedError(f"stopped by {self.stopped_by}", stopped_by=self.stopped_by)

    def sleep(self, seconds: float) -> None:
        """Sleep, unless stopped; then StoppedError."""
        until = time.monotonic() + seconds
        self.check()
        while (left := until - time.monotonic()) > 0:
            select.select([self._woken], [], [], self._shortest(left))
            self.check()

    def join(self, thread: threading.Thread, seconds: float) -> bool:
        """Wait for a thread to end; False when it has not in this time."""
        until = time.monotonic() + seconds
        while thread.is_alive() and (left := until - time.monotonic()) > 0:
            thread.join(min(left, 0.05))
            self.check()
        return not thread.is_alive()

    @contextlib.contextmanager
    def limited(self, seconds: float) -> Iterator[None]:
        """Within, a wait of psycopg2's ends after `seconds`, and with it the connection."""
        self._limit = time.monotonic() + seconds
        try:
            yield
        finally:
            self._limit = None

    @contextlib.contextmanager
    def connecting(self, seconds: float) -> Iterator[None]:
        """As `limited`; a stop ends the wait at once, as there is nothing to cancel."""
        self._connecting = True
        try:
            with self.limited(seconds):
                yield
        finally:
            self._connecting = False

    @contextlib.contextmanager
    def cleaning_up(self) -> Iterator[None]:
        """As `limited` for TIDY_SECONDS, and deaf to stops: one has been heard already."""
        self._deaf = True
        try:
            with self.limited(TIDY_SECONDS):
                yield
        finally:
            self._deaf = False

    def wait(self, connection: Any) -> None:
        """psycopg2's wait callback: until the connection has what it waits for.

        On a stop the statement is cancelled on the server and its end awaited for
        CANCEL_SECONDS. Once connected, a failure is kept for `take_failure` and the socket shut
        down, so that psycopg2 ends by itself: with an exception pending it would call libpq,
        and libpq our hook, which may not run then.
        """
        try:
            self._wait(connection)
        except Exception as error:
            if self._connecting:
                raise
            self._failure = error
            _shut_down(connection)

    def take_failure(self) -> Exception | None:
        """Why the last wait ended the connection, None if it did not."""
        failure, self._failure = self._failure, None
        return failure

    def _wait(self, connection: Any) -> None:
        canceller: _Canceller | None = None
        try:
            while (state := connection.poll()) != extensions.POLL_OK:
                reading = [connection] if state == extensions.POLL_READ else []
                writing = [connection] if state == extensions.POLL_WRITE else []
                wake = [] if canceller or self._deaf else [self._woken]
                seconds = self._shortest(0.05 if canceller else 60.0)
                select.select(reading + wake, writing, [], seconds)
                if self._limit is not None and time.monotonic() >= self._limit:
                    raise _TimeIsUpError("no answer in time")
                try:
                    self.check()
                except StoppedError:
                    if self._connecting or (canceller and canceller.over()):
                        raise
                    canceller = canceller or _Canceller(connection)
        finally:
            if canceller:
                canceller.end()

    def _shortest(self, seconds: float) -> float:
        for limit in (self._limit, self._ends):
            if limit is not None and not (limit is self._ends and self.stopped_by):
                seconds = min(seconds, max(0.0, limit - time.monotonic()))
        return seconds


class _Canceller:
    """Cancels a statement from a child process: libpq's own cancel blocks every thread."""

    def __init__(self, connection: Any) -> None:
        self._until = time.monotonic() + CANCEL_SECONDS
        self._pid = os.fork()
        if self._pid == 0:
            with contextlib.suppress(BaseException):
                for number in (signal.SIGTERM, signal.SIGINT):
                    signal.signal(number, signal.SIG_DFL)
                connection.cancel()
            os._exit(0)

    def over(self) -> bool:
        return time.monotonic() >= self._until

    def end(self) -> None:
        """Leave no child behind, whether it is done or hangs."""
        if os.waitpid(self._pid, os.WNOHANG) == (0, 0):
            os.kill(self._pid, signal.SIGKILL)
            os.waitpid(self._pid, 0)


class Session:
    """One connection in autocommit mode that sends texts whole and without parameters."""

    def __init__(self, connection: Any, target: Target, watch: Watch) -> None:
        self._connection = connection
        self._watch = watch
        self._results = _ResultCounter()
        self.target = target
        self.server_version: int = connection.info.server_version
        self.backend_pid: int = connection.info.backend_pid

    def count_results(self) -> None:
        """From here on a ServerError tells how many statements had been answered."""
        self._results.watch(self._connection)

    def send(self, text: str) -> list[tuple[Any, ...]]:
        """Send one message; the rows of its last statement.

        Raises ServerError, LostError, and StoppedError when the statement was cancelled by us.
        """
        self._results.reset()
        self._connection.notices.clear()
        refusal: Exception | None = None
        rows: list[tuple[Any, ...]] = []
        try:
            with self._connection.cursor() as cursor:
                cursor.execute(text)
                rows = cursor.fetchall() if cursor.description else []
        except psycopg2.Error as caught:
            refusal = caught
        error = self._watch.take_failure() or refusal
        if error is None:
            return rows
        if _ends_the_session(error):
            self.close()
        raise self._understood(error) from error

    def tidy(self) -> None:
        """After a failure: roll back what is open and give the session back as it was."""
        if not self._connection.closed:
            with self._watch.limited(ADDRESS_SECONDS):
                self._roll_back()

    def abandon(self) -> None:
        """On a stop: roll back within TIDY_SECONDS, and drop the connection."""
        with contextlib.suppress(Exception), self._watch.cleaning_up():
            self._roll_back()
        self.close()

    def notices(self) -> Iterator[str]:
        """What the server said beside its answer to the last message."""
        yield from self._connection.notices

    @property
    def alive(self) -> bool:
        return not self._connection.closed

    def close(self) -> None:
        with contextlib.suppress(Exception):
            self._connection.close()

    def _roll_back(self) -> None:
        status = self._connection.info.transaction_status
        rollback = [] if status == extensions.TRANSACTION_STATUS_IDLE else ["ROLLBACK"]
        self.send("; ".join((*rollback, *TAIL)))

    def _understood(self, error: Exception) -> Exception:
        if isinstance(error, StoppedError):
            return error
        diag = error.diag if isinstance(error, psycopg2.Error) else None
        sqlstate = diag.sqlstate if diag else None
        if self._watch.stopped_by and (sqlstate in {None, "57014"} or not self.alive):
            return self._watch.stopped()
        if diag is None or sqlstate is None or not self.alive:
            return LostError(_first_line(str(error)))
        return ServerError(_refusal(diag), self._results.before_error())


class _ResultCounter:
    """Counts the answers within one message, through libpq's event hook.

    The server does not say which statement of a message it refused. psycopg2 drops all results
    but the last, but libpq tells a registered hook of each (libpq manual, "Event System").
    """

    RESULT_CREATED = 3  # PGEVT_RESULTCREATE

    def __init__(self) -> None:
        self._count = 0
        self._watching = False

    def watch(self, connection: Any) -> None:
        """Count what `connection` answers from here on; where that cannot be had, count not."""
        if self._watching:
            return
        import ctypes  # a run with nothing pending does not need it

        kind = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)
        hook = kind(self._happened)
        # libpq calls the hook as long as there is a connection or a result, to the very end of
        # the process: it must never be freed
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(hook))
        try:
            register = ctypes.PyDLL(psycopg2._psycopg.__file__).PQregisterEventProc
        except (AttributeError, OSError):
            return  # a build of psycopg2 that shows no libpq: errors name no statement
        register.argtypes = (ctypes.c_void_p, kind, ctypes.c_char_p, ctypes.c_void_p)
        self._watching = bool(register(connection.pgconn_ptr, hook, b"migrator", None))

    def reset(self) -> None:
        self._count = 0

    def before_error(self) -> int | None:
        """How many statements were answered well; the error is a result too."""
        return self._count - 1 if self._watching else None

    def _happened(self, event: int, _info: int, _through: int) -> int:
        if event == self.RESULT_CREATED:
            self._count += 1
        return 1


def open_session(
    targets: Sequence[Target], runner: str, timeout_ms: int, watch: Watch, tell: Tell
) -> Session:
    """A session with the first of `targets` that has a route, tried for `timeout_ms` in all.

    Raises AccessError for what no retry can mend, UnreachableError when the time is up,
    StoppedError.
    """
    ends = time.monotonic() + timeout_ms / 1000
    for target, following in zip(targets, (*targets[1:], None), strict=True):
        try:
            if following is None:
                session = _connect_with_retries(target, runner, ends, watch, tell)
            else:
                session = _connect(target, runner, ends, watch)
        except ConnectError as error:
            if following is not None:
                fields = {"target": str(target), "instead": str(following), "error": str(error)}
                tell(Event("connection.rerouted", "warning", fields))
                continue
            raise _final(error) from error
        tell(Event("connection.opened", "info", _facts(session)))
        return session
    raise AssertionError("no targets")


def retry(
    send: Callable[[], T],
    watch: Watch,
    seconds: float,
    retry_on: type[Exception],
    tell_retry: Callable[[Any, int], None],
    *,
    first: float = 0.1,
    cap: float = 3.0,
) -> T:
    """Do `send`, and after a `retry_on` again, with exponential back-off and jitter.

    A pause lasts `cap` seconds at most, unless the exception's verdict asks for more; before
    each one `tell_retry(exception, attempt)` is called. After `seconds` the last exception is
    raised; a stop ends a pause.
    """
    failed: list[Exception] = []
    try:
        return send()
    except retry_on as error:
        failed.append(error)
    import tenacity  # a run whose first try succeeds does not need it

    def again() -> T:
        if failed:
            raise failed.pop()
        return send()

    back_off = tenacity.wait_exponential_jitter(multiplier=first, max=cap, jitter=first)

    def pause(state: Any) -> float:
        verdict = getattr(state.outcome.exception(), "verdict", None)
        return max(back_off(state), getattr(verdict, "wait_seconds", 0.0))

    def before_sleep(state: Any) -> None:
        tell_retry(state.outcome.exception(), state.attempt_number)

    return tenacity.Retrying(
        retry=tenacity.retry_if_exception_type(retry_on),
        stop=tenacity.stop_before_delay(seconds),
        wait=pause,
        sleep=watch.sleep,
        before_sleep=before_sleep,
        reraise=True,
    )(again)


class _AgainError(ConnectError):
    """A failed try that may pass by itself."""


def _connect_with_retries(
    target: Target, runner: str, ends: float, watch: Watch, tell: Tell
) -> Session:
    def connect() -> Session:
        return _connect(target, runner, ends, watch)

    def tell_retry(error: ConnectError, attempt: int) -> None:
        fields = {
            "target": str(target),
            "attempt": attempt,
            "reason": error.verdict.reason,
            "error": str(error),
        }
        tell(Event("connection.retry", "warning", fields))

    left = ends - time.monotonic()
    return retry(connect, watch, left, _AgainError, tell_retry, first=0.2, cap=5.0)


def _connect(target: Target, runner: str, ends: float, watch: Watch) -> Session:
    """One try at each address of each host; raises ConnectError, _AgainError if worth a retry."""
    failures: list[tuple[str, str]] = []
    for host, port in target.hosts:
        try:
            addresses = _resolve(host, port, watch, ends) if _is_name(host, target) else [""]
        except OSError as error:
            failures.append((host, f'could not translate host name "{host}": {error.strerror}'))
            continue
        for place, address in enumerate(addresses, 1):
            seconds = ADDRESS_SECONDS
            if place < len(addresses) or (host, port) != target.hosts[-1]:
                seconds = ADDRESS_SECONDS_OF_SEVERAL
            seconds = max(0.1, min(seconds, ends - time.monotonic()))
            try:
                connection = _open(target, host, port, address, runner, seconds, watch)
            except psycopg2.Error as error:
                failures.append((address or host, str(error).strip()))
                continue
            except _TimeIsUpError:
                failures.append((address or host, f"no answer within {seconds:.1f} s"))
                continue
            return _checked(Session(connection, target, watch))
    from migrator.refusals import Answer, judge  # needed only when something went wrong

    message = "; ".join(dict.fromkeys(_first_line(text) for _, text in failures))
    only_ipv6 = all(":" in address for address, _ in failures)
    verdict = judge("\n".join(text for _, text in failures), target, only_ipv6=only_ipv6)
    kind = _AgainError if verdict.answer is Answer.RETRY else ConnectError
    raise kind(message, verdict, target)


def _open(
    target: Target, host: str, port: int, address: str, runner: str, seconds: float, watch: Watch
) -> Any:
    params: dict[str, Any] = {**ALWAYS, **target.params, "application_name": runner, "port": port}
    if host:
        params["host"] = host
    if address:
        params["hostaddr"] = address
    with watch.connecting(seconds):
        connection = psycopg2.connect(**params)
        connection.autocommit = True
    return connection


def _checked(session: Session) -> Session:
    """What was asked for at the start must be in force: poolers drop parameters in silence."""
    status = session._connection.info.parameter_status
    encoding = status("client_encoding")
    if encoding != "UTF8":
        raise AccessError(
            f"the server speaks {encoding} to us, not UTF8",
            remedy="Connect without the pooler that ignores client_encoding.",
        )
    if status("standard_conforming_strings") == "off":
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


def _facts(session: Session) -> dict[str, Any]:
    info = session._connection.info
    return {
        "target": str(session.target),
        "setting": session.target.name,
        "server_version": session.server_version,
        "tls": bool(info.ssl_in_use),
        "backend_pid": session.backend_pid,
    }


def _ends_the_session(error: Exception) -> bool:
    """Whether the connection is of no more use; only an ERROR that the server sent leaves it."""
    diag = error.diag if isinstance(error, psycopg2.Error) else None
    return diag is None or diag.sqlstate is None or diag.severity_nonlocalized in {"FATAL", "PANIC"}


def _shut_down(connection: Any) -> None:
    with contextlib.suppress(OSError, psycopg2.Error):
        ours = socket.socket(fileno=os.dup(connection.fileno()))
        with ours:
            ours.shutdown(socket.SHUT_RDWR)


def _refusal(diag: Any) -> Refusal:
    from migrator.diagnosis import Refusal  # needed only when something went wrong

    def number(text: str | None) -> int | None:
        return int(text) if text else None

    return Refusal(
        sqlstate=diag.sqlstate,
        message=diag.message_primary or "",
        severity=diag.severity or "ERROR",
        detail=diag.message_detail,
        hint=diag.message_hint,
        context=diag.context,
        position=number(diag.statement_position),
        internal_position=number(diag.internal_position),
        internal_query=diag.internal_query,
        constraint=diag.constraint_name,
        table=diag.table_name,
    )


def _first_line(text: str) -> str:
    return text.strip().partition("\n")[0]
