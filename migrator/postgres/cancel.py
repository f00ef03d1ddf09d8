"""Cancels a statement on the server, while the process goes on hearing signals.

state      when                                   next
sent       `go_on` has forked a child             ended, or at its end: killed by `end`
ended      the child has had its answer           sent again after CANCEL_AGAIN_SECONDS
late       too little time is left for an answer  nothing more is sent
over       CANCEL_SECONDS have passed             the connection is dropped by the caller
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
import warnings
from typing import Any

#: The signals that end a run.
STOPS = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGHUP)
#: How long a cancelled statement may take to end before the connection is dropped.
CANCEL_SECONDS = 1.2
#: When a cancel that has brought nothing is sent again, and how long each has to be answered.
CANCEL_AGAIN_SECONDS, CANCEL_ANSWER_SECONDS = 0.2, 0.4


class Canceller:
    """Cancels a statement from child processes: libpq's own cancel blocks every thread.

    A cancel that comes too early is lost: PgBouncer drops it while the message is in its
    queue, the server while it still reads the message. So it is sent again, one at a time.
    """

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self._until = time.monotonic() + CANCEL_SECONDS
        self._next = 0.0  #: when another may be sent
        self._pid: int | None = None

    def go_on(self) -> None:
        """Send a cancel, unless one is at work or was sent a moment ago; never blocks."""
        now = time.monotonic()
        late = self._next and now > self._until - CANCEL_ANSWER_SECONDS
        if now < self._next or late or self._at_work():
            return
        self._next = now + CANCEL_AGAIN_SECONDS
        with warnings.catch_warnings():
            # Python 3.12 warns of a fork beside threads; this child does nothing but cancel
            warnings.simplefilter("ignore", DeprecationWarning)
            self._pid = os.fork()
        if self._pid == 0:
            with contextlib.suppress(BaseException):
                for number in STOPS:
                    signal.signal(number, signal.SIG_IGN)  # Ctrl-C goes to the whole group
                self._connection.cancel()
            os._exit(0)

    def over(self) -> bool:
        return time.monotonic() >= self._until

    def end(self) -> None:
        """Leave no child behind; one that is at work is given the time it has left.

        PgBouncer 1.18 dies of a cancel request whose sender hangs up before the answer.
        """
        while (pid := self._at_work()) is not None:
            if self.over():
                with contextlib.suppress(ChildProcessError):
                    os.kill(pid, signal.SIGKILL)
                    os.waitpid(pid, 0)
                return
            time.sleep(0.005)

    def _at_work(self) -> int | None:
        """The child that has not ended yet."""
        if self._pid is not None:
            try:
                ended = os.waitpid(self._pid, os.WNOHANG) != (0, 0)
            except ChildProcessError:  # SIGCHLD is ignored: none is left
                ended = True
            if ended:
                self._pid = None
        return self._pid
