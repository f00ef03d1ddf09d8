"""One session: messages out, rows or errors in; what the driver raises becomes ours."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, TypeVar

import psycopg2
from psycopg2 import extensions

from migrator.display import held
from migrator.errors import AccessError, StoppedError
from migrator.postgres.libpq import Connection, Notice, ResultCounter, blocking
from migrator.postgres.quoting import MISREAD, TAIL, begins_clean, first, keepalives, kept_alive
from migrator.postgres.stop import TimeIsUpError
from migrator.postgres.url import in_session_mode

if TYPE_CHECKING:
    from migrator.postgres.refusal import Refusal
    from migrator.postgres.stop import Watch
    from migrator.postgres.url import Target

#: How long giving a session back may take.
ROLLBACK_SECONDS = 15.0


_S = TypeVar("_S", bound="Session")


class ServerError(Exception):
    """PostgreSQL answered with an error; the session lives. Never leaves the runner."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(f"{refusal.severity} {refusal.sqlstate}: {refusal.message}")
        self.refusal = refusal


class LostError(Exception):
    """The connection ended; what was in flight may or may not have happened."""


class SilentError(LostError):
    """No answer came within a limit of ours."""


class PoolFullError(LostError):
    """The pooler ended the connection for want of one to the server: nothing was sent there."""


class MisreadError(PoolFullError):
    """The session would have misread our text, as its last client left it: nothing was done."""


#: What comes of an answer of another shape: no row, NULL, no JSON or too deep, bytes of no UTF-8;
#: of an empty one psycopg2 itself makes a SystemError.
ODD = (LookupError, TypeError, ValueError, AttributeError, RecursionError, SystemError)


@contextlib.contextmanager
def expecting(target: Target) -> Iterator[None]:
    """Within, an answer is read: AccessError where it has another shape than was asked for."""
    try:
        yield
    except ODD as error:
        raise AccessError(
            f"{target} gave an answer of another shape than was asked for: {type(error).__name__}",
            remedy="Connect to PostgreSQL itself, by DIRECT_URL: what answers here is another "
            "program, or is before the server and changes its answers.",
        ) from error


class Session:
    """One connection in autocommit mode that sends texts whole and without parameters."""

    def __init__(
        self, connection: Connection, target: Target, watch: Watch, params: dict[str, Any]
    ) -> None:
        self._connection: Any = connection
        self._params = params  # with the password: never shown
        self._watch = watch
        self._results = ResultCounter()
        self.hear: Callable[[Notice], None] = connection.early.append  #: what the server says
        connection.hear = lambda notice: self.hear(notice)
        self.spoken = False  #: the server has answered a message
        self.seconds = 0.0  #: that the last message took
        self.target = target
        self.server_version: int = connection.info.server_version
        self.backend_pid: int = connection.info.backend_pid  #: the pooler's, where there is one

    def count_results(self) -> bool:
        """From here on `answered` is known, where libpq's functions can be reached.

        Whether `hearing_commits` is of any use, too.
        """
        self._results.watch(self._connection)
        return self._results.hears_commits

    @contextlib.contextmanager
    def hearing_commits(self, committed: Callable[[], int | None]) -> Iterator[None]:
        """Within, `committed` is called for each COMMIT that the server answers.

        It gives how many answers there were by then, as a rule may answer several times for one
        statement; None leaves the count as it is.
        """
        self._results.committed = committed
        try:
            yield
        finally:
            self._results.committed = None

    def send(self, text: str | bytes) -> list[tuple[Any, ...]]:
        """Send one message; the rows of its last statement.

        Raises ServerError, LostError, or PoolFullError where it is known that nothing was sent, and
        StoppedError when the statement was cancelled by us.
        """
        rows: list[tuple[Any, ...]] = []
        sent = kept_alive(text, self.backend_pid) if isinstance(text, str) else text

        def execute() -> None:
            with expecting(self.target), self._connection.cursor() as cursor:
                cursor.execute(sent)
                rows[:] = cursor.fetchall() if cursor.description else []

        self._doing(execute, text)
        return rows

    def send_file(self, text: str | bytes) -> list[tuple[Any, ...]]:
        """As `send`, of statements whose rows nobody wants, however many there are.

        Of the last one a single value comes back, as text where its rows came in pieces.
        """
        self._connection.in_chunks = self._results.takes_rows
        try:
            rows = self.send(text)
        finally:
            self._connection.in_chunks = False
        if not rows and self._results.value:
            return [self._results.value]
        return rows

    def copy(self, text: bytes, rows: Iterator[str]) -> None:
        """Send a COPY … FROM STDIN and its rows, as they come.

        Raises what `send` does, and what `rows` raises: then nothing was copied.
        """
        from migrator.postgres.copy_feed import Feed  # a run without a COPY does not need it

        feed = Feed(rows, self._watch)

        def execute() -> None:
            with blocking(self._connection), self._connection.cursor() as cursor:
                cursor.copy_expert(text, feed)

        try:
            self._doing(lambda: self._watch.work(self._connection, execute), text)
        except ServerError:
            if feed.failure:
                raise feed.failure from None
            raise

    def _doing(self, execute: Callable[[], None], text: str | bytes) -> None:
        """Do what sends `text`; what goes wrong becomes an error of ours."""
        self._results.reset()
        refusal: Exception | None = None
        began = time.monotonic()
        try:
            execute()
        except psycopg2.Error as caught:
            refusal = caught
        self.seconds = time.monotonic() - began
        error = self._watch.take_failure() or refusal
        if error is None:
            self.spoken = True
            return
        raise self._after(error, text) from error

    def _after(self, error: Exception, text: str | bytes) -> Exception:
        """What went wrong with a message as an error of ours; a session that is over is closed."""
        if isinstance(error, psycopg2.Error):
            self._results.refused()
        if _ends_the_session(error):
            self.close()
        return self._understood(error, text)

    def tidy(self) -> None:
        """After a failure: roll back what is open and give the session back as it was."""
        if not self._connection.closed:
            with self._watch.limited(ROLLBACK_SECONDS):
                self._roll_back()

    def abandon(self) -> None:
        """On a stop: roll back within CLEANUP_SECONDS, and drop the connection."""
        with contextlib.suppress(Exception), self._watch.cleaning_up():
            self._roll_back()
        self.close()

    @property
    def answered(self) -> int | None:
        """How many statements of the last message were answered well; None if not known."""
        return self._results.well

    def facts(self) -> dict[str, Any]:
        """What is worth a log line about the connection."""
        return {
            "target": str(self.target),
            "setting": self.target.name,
            "server_version": self.server_version,
            "tls": bool(self._connection.info.ssl_in_use),
            "backend_pid": self.backend_pid,
        }

    def listen(self, hear: Callable[[Notice], None]) -> None:
        """Let `hear` have what the server says, and what it has said so far."""
        self.hear = hear
        early = self._connection.early
        while early:
            hear(early.pop(0))

    def status(self, name: str) -> str | None:
        """A setting that the server reports by itself, such as client_encoding."""
        value: str | None = self._connection.info.parameter_status(name)
        return value

    def is_direct(self) -> bool:
        """Whether no pooler is between: the protocol's backend pid is the server's own."""
        rows = self.send(first("/* migrator */", "SELECT pg_backend_pid()"))
        with expecting(self.target):
            return bool(rows[0][0] == self.backend_pid)

    @property
    def may_queue(self) -> bool:
        """Whether a pooler may be between that keeps a message until a connection is free.

        PgBouncer gives a random number for the backend's pid; Linux has none above 2 to the 22nd.
        """
        return not 0 < self.backend_pid <= 2**22 or in_session_mode(self.target) is not None

    @property
    def in_transaction(self) -> bool:
        """Whether a transaction is open, aborted or not; asked of libpq, not of the server."""
        idle: bool = self._connection.info.transaction_status == extensions.TRANSACTION_STATUS_IDLE
        return not idle

    @property
    def surely_rolled_back(self) -> bool:
        """Whether a stopped message that began a transaction has not come to its COMMIT."""
        return self.alive and self.in_transaction

    @property
    def alive(self) -> bool:
        return not self._connection.closed

    def another(self, kind: type[Connection] | None = None) -> Any:
        """A second connection of psycopg2's by the same way, asynchronous and not yet open."""
        return psycopg2.connect(**self._params, async_=True, connection_factory=kind)

    def sister(self, kind: type[_S], connection: Connection) -> _S:
        """Another session, over a connection that was opened by the same way."""
        return kind(connection, self.target, self._watch, self._params)

    def close(self) -> None:
        with contextlib.suppress(Exception):
            self._connection.close()

    def _roll_back(self) -> None:
        rollback = ["ROLLBACK"] if self.in_transaction else []
        self.send("; ".join((*rollback, *TAIL, keepalives(self.backend_pid))))

    def _understood(self, error: Exception, text: str | bytes) -> Exception:
        if isinstance(error, StoppedError):
            return error
        diag = error.diag if isinstance(error, psycopg2.Error) else None
        sqlstate = diag.sqlstate if diag else None
        if self._watch.stopped_by and (sqlstate in {None, "57014"} or not self.alive):
            return self._watch.stopped()
        if isinstance(error, TimeIsUpError):
            return SilentError("no answer in time")
        if diag is None or sqlstate is None or not self.alive:
            return _lost(held(str(error)).strip().partition("\n")[0])
        if sqlstate == MISREAD and not self.answered and begins_clean(text):  # not a file's own
            self.close()
            return MisreadError(diag.message_detail or str(error))
        refusal = _refusal(diag)
        if self.status("server_encoding") == "SQL_ASCII":  # which knows no characters
            refusal = refusal.in_characters(text if isinstance(text, bytes) else text.encode())
        return ServerError(refusal)


def _ends_the_session(error: Exception) -> bool:
    """Whether the connection is of no more use; only an ERROR that the server sent leaves it."""
    diag = error.diag if isinstance(error, psycopg2.Error) else None
    return diag is None or diag.sqlstate is None or diag.severity_nonlocalized in {"FATAL", "PANIC"}


def _lost(text: str) -> LostError:
    from migrator.postgres.connect_failures import (
        wants_room,  # needed only when something went wrong
    )

    return (PoolFullError if wants_room(text) else LostError)(text or "no answer in time")


def _refusal(diag: Any) -> Refusal:
    from migrator.postgres.refusal import Refusal  # needed only when something went wrong

    def number(text: str | None) -> int | None:
        return int(text) if text else None

    def kept(text: str | None) -> str | None:
        return None if text is None else held(text)

    return Refusal(
        sqlstate=diag.sqlstate,
        message=held(diag.message_primary or ""),
        severity=diag.severity_nonlocalized or diag.severity or "ERROR",
        detail=kept(diag.message_detail),
        hint=kept(diag.message_hint),
        context=kept(diag.context),
        position=number(diag.statement_position),
        internal_position=number(diag.internal_position),
        internal_query=diag.internal_query,
        constraint=diag.constraint_name,
        table=diag.table_name,
        schema=diag.schema_name,
        raised=diag.source_function == "exec_stmt_raise",  # pl_exec.c; no text says so
        column=diag.column_name,
    )
