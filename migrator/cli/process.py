"""The job once more, as a process of its own: forked where that is safe, else started anew.

What a start costs, the interpreter and its imports, is most of a run without work; a forked
process has it from the one that is there. It has its own memory, environment, streams and signals,
and nothing of the other's but its files, which it closes. Of threads only the one that forks goes
along, and the libraries of macOS end a process that was forked: there it is started.
"""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib import import_module
from typing import NoReturn, TextIO

from migrator.commands.table import function_of
from migrator.postgres.cancel import STOPS

#: What a run imports once it knows that it needs it: a process forked before would do so itself.
AHEAD = (
    *("migrator.apply.journey", "migrator.database.prepare", "migrator.apply.send"),
    *("ctypes", "migrator.cli.json_lines", "migrator.history.misfit"),
    *("migrator.postgres.blockers", "migrator.postgres.refusal", "migrator.preflight.gate"),
    *("migrator.preflight.judge", "migrator.preflight.live", "migrator.sql.effects"),
    *("migrator.history.seen", "migrator.sql.own_transaction"),
)
Main = Callable[[Sequence[str], Mapping[str, str], TextIO, TextIO], int]


def start_process(
    main: Main, words: Sequence[str], environment: Mapping[str, str], output: int
) -> int:
    """The process that runs `main` with these words, both its streams `output`; its number.

    A stop is kept from it until `main` hears it.
    """
    if sys.platform == "linux" and threading.active_count() == 1:
        return _forked(main, words, environment, output)
    places = os.pathsep.join(place or "." for place in sys.path)
    streams = [(os.POSIX_SPAWN_DUP2, output, number) for number in (1, 2)]
    with _stops_kept():
        return os.posix_spawn(
            sys.executable,
            [sys.executable, "-P", "-m", "migrator", *words],
            {**environment, "PYTHONPATH": places},
            file_actions=[(os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0), *streams],
        )


def _forked(main: Main, words: Sequence[str], environment: Mapping[str, str], output: int) -> int:
    function_of(words[0])
    for name in AHEAD:
        import_module(name)
    gc.freeze()  # what is collected is written to, and no longer shared
    with _stops_kept():
        pid = os.fork()
        if pid == 0:
            _become(main, words, environment, output)
        return pid


def _become(
    main: Main, words: Sequence[str], environment: Mapping[str, str], output: int
) -> NoReturn:
    """Make this process what a new one would be, and run `main` to its end."""
    code = 1
    try:
        for number in STOPS:
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, signal.SIG_DFL)
        for end, place in ((os.open(os.devnull, os.O_RDONLY), 0), (output, 1), (output, 2)):
            os.dup2(end, place)
        os.closerange(3, os.sysconf("SC_OPEN_MAX"))
        os.environ.clear()
        os.environ.update(environment)
        out, err = (open(n, "w", encoding="utf-8", closefd=False) for n in (1, 2))  # noqa: SIM115
        code = main(words, environment, out, err)
        out.flush()
    except BaseException:
        os.write(2, traceback.format_exc().encode())
    finally:
        os._exit(code)


@contextlib.contextmanager
def _stops_kept() -> Iterator[None]:
    """Within, a signal that ends a run waits; a process that is made here inherits that."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, STOPS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
