"""What libpq offers and psycopg2 does not hand on, called by ctypes.

Why:
- the server does not say which statement of a message it refused, so the answers are counted where
  libpq makes them;
- psycopg2 gives a refused connect no SQLSTATE, and a notice as a text in the server's language;
- a connection that has a wait callback never blocks, which a COPY needs;
- psycopg2 keeps all rows of each SELECT until the next statement is answered.
What it relies on: `connection.pgconn_ptr` (psycopg2 2.8 and newer); that psycopg2 calls `poll` in
the wait callback before libpq has read anything; and that the shared object of `psycopg2._psycopg`
resolves libpq's symbols, which it links: the wheel bundles libpq, a build from source uses the
system's. FUNCTIONS are all that is called. Where one is missing the run goes on without it;
tests/unit/test_libpq.py fails for a psycopg2 that no longer offers it.
"""

from __future__ import annotations

import contextlib
import weakref
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, cast

import psycopg2
from psycopg2 import extensions

from migrator.display import held

#: What is called of libpq, and what a run has to do without where it is missing.
FUNCTIONS = {
    "PQregisterEventProc": "an error without a position names no statement",
    "PQresultErrorField": "notices are texts in the server's language",
    "PQsetErrorVerbosity": "a refused connect is judged by its English words alone",
    "PQsetNoticeReceiver": "notices are texts in the server's language",
    "PQsetnonblocking": "libpq holds all rows of a COPY in memory",
    **dict.fromkeys(
        (
            *("PQsetSingleRowMode", "PQresultStatus"),
            *("PQntuples", "PQnfields", "PQgetisnull", "PQgetvalue"),
        ),
        "libpq holds all rows of a file's SELECT in memory",
    ),
    "PQcmdStatus": "each migration is a message of its own",
    "PQsetChunkedRowsMode": "they come one by one, which takes longer",
}
PIECES = frozenset({9, 12})  # PGRES_SINGLE_TUPLE, PGRES_TUPLES_CHUNK
CHUNK_ROWS = 32  #: of a SELECT that are held at once; a row may be large
DEFAULT, VERBOSE = 1, 2  # PGVerbosity


class Notice(NamedTuple):
    """What the server says beside its answers; the same in whatever language it speaks."""

    severity: str  #: WARNING, NOTICE, INFO, LOG or DEBUG
    sqlstate: str
    message: str


class Connection(extensions.connection):
    """psycopg2's connection, whose notices and refusals come with their numbers."""

    def __init__(self, *arguments: Any, **words: Any) -> None:
        self.early: list[Notice] = []  #: what the server said before anything listened
        self.hear: Callable[[Notice], None] = self.early.append
        self.in_chunks = False  #: the rows of the message that is sent next come so
        self._numbered = False
        super().__init__(*arguments, **words)

    def poll(self) -> int:
        """What psycopg2's does; before the first one libpq has sent and read nothing."""
        if not self._numbered:
            self._numbered = True
            _set_verbosity(self, VERBOSE)
            _listen(self)
        if self.in_chunks:  # only between the sending of a message and the first read
            self.in_chunks = False
            _cut_rows(self)
        return super().poll()

    def opened(self) -> None:
        """From here on psycopg2 has every error's SQLSTATE, and texts need not repeat it."""
        _set_verbosity(self, DEFAULT)


def function(name: str, result: Any, *arguments: Any) -> Any | None:
    """libpq's function `name` with these C types; None if it is missing."""
    import ctypes

    try:
        found = getattr(ctypes.PyDLL(psycopg2._psycopg.__file__), name)
    except (AttributeError, OSError):
        return None
    found.restype, found.argtypes = result, arguments
    return found


def _set_verbosity(connection: Connection, verbosity: int) -> None:
    """VERBOSE puts `28P01: ` before a text and `LOCATION:  auth_failed, auth.c:334` behind it."""
    import ctypes

    choose = function("PQsetErrorVerbosity", ctypes.c_int, ctypes.c_void_p, ctypes.c_int)
    if choose is not None:
        choose(connection.pgconn_ptr, verbosity)


def _listen(connection: Connection) -> None:
    """Hand each notice on by its fields (libpq manual, "Notice Processing")."""
    import ctypes

    pointer = ctypes.c_void_p
    kind = ctypes.CFUNCTYPE(None, pointer, pointer)
    field = function("PQresultErrorField", ctypes.c_char_p, pointer, ctypes.c_int)
    receive = function("PQsetNoticeReceiver", pointer, pointer, kind, pointer)
    found = weakref.ref(connection)  # a connection that failed is closed by being let go

    def hear(notice: Notice) -> None:
        listener = found()
        if listener is not None:
            listener.hear(notice)

    if field is None or receive is None:
        cast(Any, connection).notices = _Texts(hear)
        return

    def received(_argument: int, result: int) -> None:
        def text(code: str) -> str:
            value: bytes | None = field(result, ord(code))
            return held((value or b"").decode(errors="replace"))

        # PG_DIAG_SEVERITY_NONLOCALIZED, which PgBouncer's own notices lack, or PG_DIAG_SEVERITY
        hear(Notice(text("V") or text("S"), text("C"), text("M")))

    hook = kind(received)
    _keep(hook)
    receive(connection.pgconn_ptr, hook, None)


def _keep(hook: Any) -> None:
    """Never free it: libpq may call it as long as there is a connection or a result, to the very
    end of the process.
    """
    import ctypes

    ctypes.pythonapi.Py_IncRef(ctypes.py_object(hook))


class _Texts:
    """What psycopg2 keeps notices in: a list would lose all but the last fifty."""

    def __init__(self, hear: Callable[[Notice], None]) -> None:
        self._hear = hear

    def append(self, text: str) -> None:
        severity, _, message = held(text).strip().partition(":")
        self._hear(Notice(severity, "", message.strip()))


@contextlib.contextmanager
def blocking(connection: Any) -> Iterator[None]:
    """Let libpq wait until the server has taken what it was given, or it would hold all rows.

    psycopg2 makes a connection that has a wait callback one that never blocks, and has no way
    back; libpq has (manual, "Asynchronous Command Processing").
    """
    import ctypes  # a run without a COPY does not need it

    choose = function("PQsetnonblocking", ctypes.c_int, ctypes.c_void_p, ctypes.c_int)
    if choose is None:
        yield
        return
    choose(connection.pgconn_ptr, 0)
    try:
        yield
    finally:
        if not connection.closed:
            choose(connection.pgconn_ptr, 1)


def _cut_rows(connection: Connection) -> None:
    """Let rows come in pieces; where that cannot be, all of a statement's come at once."""
    import ctypes

    number, pointer = ctypes.c_int, ctypes.c_void_p
    cut = function("PQsetChunkedRowsMode", number, pointer, number)  # libpq 17
    if cut is None or not cut(connection.pgconn_ptr, CHUNK_ROWS):
        single = function("PQsetSingleRowMode", number, pointer)
        if single is not None:
            single(connection.pgconn_ptr)


class ResultCounter:
    """Counts the answers within one message, through libpq's event hook.

    The server does not say which statement of a message it refused. psycopg2 drops all results
    but the last, but libpq calls a registered hook for each (libpq manual, "Event System"). Where
    rows come in pieces psycopg2 drops these too, so that a single value is taken here.
    """

    RESULT_CREATED = 3  # PGEVT_RESULTCREATE

    def __init__(self) -> None:
        self._count = 0
        self._watching = False
        self._read: Callable[[int, bool], Value | None] | None = None
        self._pieces: list[Value] = []  #: of the statement that is being answered; two at most
        self.value: Value | None = None  #: what the last statement answered in pieces, if just that
        #: Called when the server has answered COMMIT; the right count by then, None for any.
        self.committed: Callable[[], int | None] | None = None
        self._tag: Callable[[int], bytes] | None = None

    def watch(self, connection: Any) -> None:
        """Count what `connection` answers from here on, where the hook is available."""
        if self._watching:
            return
        import ctypes  # a run with nothing pending does not need it

        kind = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)
        number, pointer, text = ctypes.c_int, ctypes.c_void_p, ctypes.c_char_p
        register = function("PQregisterEventProc", number, pointer, kind, text, pointer)
        if register is None:
            return
        hook = kind(self._happened)
        _keep(hook)
        self._watching = bool(register(connection.pgconn_ptr, hook, b"migrator", None))
        self._read = _piece_reader() if self._watching else None
        self._tag = _tag_reader() if self._watching else None

    @property
    def takes_rows(self) -> bool:
        """Whether rows may come in pieces."""
        return self._read is not None

    @property
    def hears_commits(self) -> bool:
        """Whether `committed` is called: by the server's own word, which no file can say for it."""
        return self._tag is not None

    def reset(self) -> None:
        self._count = 0
        self._pieces, self.value = [], None

    @property
    def well(self) -> int | None:
        """How many statements were answered; an error is an answer too, and not counted."""
        return self._count if self._watching else None

    def refused(self) -> None:
        self._count -= 1

    def _happened(self, event: int, info: int, _through: int) -> int:
        if event == self.RESULT_CREATED and not self._is_piece(info):
            self._count += 1
            self.value = self._pieces[0] if len(self._pieces) == 1 else None
            self._pieces = []
            if self._tag and self.committed and self._tag(info) == b"COMMIT":
                right = self.committed()
                self._count = self._count if right is None else right
        return 1

    def _is_piece(self, info: int) -> bool:
        """Whether there is more to come of the statement's answer; a first piece is read."""
        if self._read is None:
            return False
        piece = self._read(info, not self._pieces)
        if piece is not None:
            self._pieces = [*self._pieces[:1], piece]
        return piece is not None


#: One value as text, None for NULL; empty for anything else.
Value = tuple[()] | tuple[str | None]


def _tag_reader() -> Callable[[int], bytes] | None:
    """Reads what the statement was whose answer an event is about, as the server calls it."""
    import ctypes

    pointer = ctypes.c_void_p
    tag = function("PQcmdStatus", ctypes.c_char_p, pointer)
    if tag is None:
        return None

    def read(info: int) -> bytes:
        answer: bytes = tag(pointer.from_address(info + ctypes.sizeof(pointer)).value)
        return answer

    return read


def _piece_reader() -> Callable[[int, bool], Value | None] | None:
    """Reads the result that an event is about: None unless it is a piece of one."""
    import ctypes

    number, pointer = ctypes.c_int, ctypes.c_void_p
    status = function("PQresultStatus", number, pointer)
    rows, columns = (function(name, number, pointer) for name in ("PQntuples", "PQnfields"))
    is_null = function("PQgetisnull", number, pointer, number, number)
    value = function("PQgetvalue", ctypes.c_char_p, pointer, number, number)
    if not (status and rows and columns and is_null and value):
        return None

    def read(info: int, wanted: bool) -> Value | None:
        # PGEventResultCreate: the connection, then the result
        result = pointer.from_address(info + ctypes.sizeof(pointer)).value
        if status(result) not in PIECES:
            return None
        if not wanted or rows(result) != 1 or columns(result) != 1:
            return ()
        return (None if is_null(result, 0, 0) else value(result, 0, 0).decode(errors="replace"),)

    return read
