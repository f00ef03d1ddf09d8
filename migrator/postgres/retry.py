"""The one loop that tries again. What went wrong is a row of a table; the row says what comes next.

A caller gives the rows that concern it, the outermost first. Of each row the loop keeps a count of
tries and an end:

    state               when                           next
    first try           always                         done, or a row that fits: trouble
    trouble             a try failed, a row fits       rows after it begin anew; over, or pause
    over                the row's time is up           its last error, or what the row makes of it
    pause               time is left                   the row's event, then a pause: next try

An error that fits no row ends the loop as it came; so does a stop, in a try or in a pause.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

if TYPE_CHECKING:
    from migrator.postgres.stop import Watch

_T = TypeVar("_T")


def _nothing(*_: Any) -> None:
    """No more than the next try."""


class Trouble(NamedTuple):
    """One row of the table: an error that may pass by itself, and what to do about it."""

    raised: type[Exception]
    #: For how many seconds to go on, asked at the first such error.
    seconds: Callable[[], float]
    #: Called with the error and the number of the try before each pause; may wait by itself.
    before_next: Callable[[Any, int], None]
    fits: Callable[[Any], bool] = lambda _error: True  #: which of the errors of that class
    #: Called with each such error at once, the last one too. What it raises ends the loop.
    caught: Callable[[Any], None] = _nothing
    #: What is raised, from the last error, when the time is up; None: that error itself.
    over: Callable[[Any], Exception] | None = None
    first_seconds: float = 0.1  #: the first pause; each next one is twice as long, with jitter
    cap_seconds: float = 3.0  #: the longest pause, unless the error's verdict asks for more


def retry(send: Callable[[], _T], watch: Watch, *table: Trouble) -> _T:
    """Do `send`, and again after each error that fits a row of `table`, until the row is over.

    The last pause is cut to end with the row's time. A stop ends a pause.
    """
    failed: list[Exception] = []
    try:
        return send()
    except Exception as error:
        if _row(table, error) < 0:
            raise
        failed.append(error)
    import tenacity  # a run whose first try succeeds does not need it

    def again() -> _T:
        if failed:
            raise failed.pop()
        return send()

    book = _Book(table, tenacity.wait_exponential_jitter)
    return tenacity.Retrying(
        retry=tenacity.retry_if_exception(lambda error: _row(table, error) >= 0),
        wait=lambda state: book.pause(_error(state)),
        stop=lambda _state: book.is_over,
        before_sleep=lambda state: book.say(_error(state)),
        sleep=watch.sleep,
        retry_error_callback=lambda state: book.end(_error(state)),
    )(again)


class _Book:
    """What the loop keeps: for each row the number of tries, and when its time is up."""

    def __init__(self, table: tuple[Trouble, ...], back_off: Callable[..., Any]) -> None:
        self._table, self._back_off = table, back_off
        self._tries = [0] * len(table)
        self._ends = [math.inf] * len(table)
        self._at = 0  #: the row of the newest error
        self.is_over = False

    def pause(self, error: Exception) -> float:
        """Note one more error; how long to wait before the next try."""
        at = self._at = _row(self._table, error)
        row = self._table[at]
        row.caught(error)
        if not self._tries[at]:
            self._ends[at] = time.monotonic() + row.seconds()
        self._tries[at] += 1
        for inner in range(at + 1, len(self._table)):
            self._tries[inner] = 0
        left = self._ends[at] - time.monotonic()
        verdict = getattr(error, "verdict", None)
        wanted = float(getattr(verdict, "wait_seconds", 0.0))
        self.is_over = left <= 0 or wanted > left
        first = row.first_seconds
        pauses = self._back_off(multiplier=first, max=row.cap_seconds, jitter=first)
        pause = float(pauses(SimpleNamespace(attempt_number=self._tries[at])))
        return min(max(pause, wanted), max(0.0, left))

    def say(self, error: Exception) -> None:
        self._table[self._at].before_next(error, self._tries[self._at])

    def end(self, error: Exception) -> Any:
        over = self._table[self._at].over
        if over is None:
            raise error
        raise over(error) from error


def _row(table: tuple[Trouble, ...], error: Any) -> int:
    """The innermost row that the error fits, -1 for none.

    A class is further in than the one that it is derived from.
    """
    fits = (isinstance(error, row.raised) and row.fits(error) for row in table)
    return max((at for at, fit in enumerate(fits) if fit), default=-1)


def _error(state: Any) -> Exception:
    error: Exception = state.outcome.exception()
    return error
