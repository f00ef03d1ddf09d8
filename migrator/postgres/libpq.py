"""What libpq offers and psycopg2 does not hand on, called by ctypes.

Why: the server does not say which statement of a message it refused, so the answers are counted
where libpq makes them; and a connection that has a wait callback never blocks, which a COPY needs.
What it relies on: `connection.pgconn_ptr` (psycopg2 2.8 and newer), and that the shared object of
`psycopg2._psycopg` resolves libpq's symbols, which it links: the wheel bundles libpq, a build from
source uses the system's. FUNCTIONS are all that is called. Where one is missing the run goes on
without it; tests/unit/test_libpq.py fails for a psycopg2 that no longer offers it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import psycopg2

#: What is called of libpq, and what a run has to do without where it is missing.
FUNCTIONS = {
    "PQregisterEventProc": "an error without a position names no statement",
    "PQsetnonblocking": "libpq holds all rows of a COPY in memory",
}


def function(name: str, *arguments: Any) -> Any | None:
    """libpq's function `name`, which takes `arguments` of these C types; None if it is missing."""
    import ctypes  # dear to import, and a run with nothing pending does not need it

    try:
        found = getattr(ctypes.PyDLL(psycopg2._psycopg.__file__), name)
    except (AttributeError, OSError):
        return None
    found.argtypes = arguments
    return found


@contextlib.contextmanager
def blocking(connection: Any) -> Iterator[None]:
    """Let libpq wait until the server has taken what it was given, or it would hold all rows.

    psycopg2 makes a connection that has a wait callback one that never blocks, and has no way
    back; libpq has (manual, "Asynchronous Command Processing").
    """
    import ctypes  # a run without a COPY does not need it

    choose = function("PQsetnonblocking", ctypes.c_void_p, ctypes.c_int)
    if choose is None:
        yield
        return
    choose(connection.pgconn_ptr, 0)
    try:
        yield
    finally:
        if not connection.closed:
            choose(connection.pgconn_ptr, 1)


class ResultCounter:
    """Counts the answers within one message, through libpq's event hook.

    The server does not say which statement of a message it refused. psycopg2 drops all results
    but the last, but libpq calls a registered hook for each (libpq manual, "Event System").
    """

    RESULT_CREATED = 3  # PGEVT_RESULTCREATE

    def __init__(self) -> None:
        self._count = 0
        self._watching = False

    def watch(self, connection: Any) -> None:
        """Count what `connection` answers from here on, where the hook is available."""
        if self._watching:
            return
        import ctypes  # a run with nothing pending does not need it

        kind = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)
        pointer, text = ctypes.c_void_p, ctypes.c_char_p
        register = function("PQregisterEventProc", pointer, kind, text, pointer)
        if register is None:
            return
        hook = kind(self._happened)
        # libpq calls the hook as long as there is a connection or a result, to the very end of
        # the process: it must never be freed
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(hook))
        self._watching = bool(register(connection.pgconn_ptr, hook, b"migrator", None))

    def reset(self) -> None:
        self._count = 0

    @property
    def well(self) -> int | None:
        """How many statements were answered; an error is an answer too, and not counted."""
        return self._count if self._watching else None

    def refused(self) -> None:
        self._count -= 1

    def _happened(self, event: int, _info: int, _through: int) -> int:
        if event == self.RESULT_CREATED:
            self._count += 1
        return 1
