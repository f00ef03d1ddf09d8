"""Applies the files of a group at once, each over a connection; docs/design.md section 17.

    state of a file   when                                          next
    waiting           no connection is free                         sent
    sent              its message is on its way                     has locks; put off; held
    has locks         its guard has said so                         applied; refused; put off
    applied           the server has answered its COMMIT
    refused           PostgreSQL refused a statement of it          the first one ends the run
    held              another runner is at work, maybe on the file  waiting, once the lock is free
    put off           it was lost, or found a table busy            runs as if it were in no group

What is put off runs when nothing of the group is under way, by the flights of any other file: they
find out what became of one that was lost, and they wait for nobody of the group.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
import time
from collections import deque
from collections.abc import Callable, Collection, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from migrator.apply.journey import Journey
from migrator.apply.run import Run
from migrator.apply.send import has_time
from migrator.database.database import CONTENTION, READ_ONLY, MovedError, TablesBusyError
from migrator.database.tries import Cause, persist
from migrator.durations import Rhythm
from migrator.errors import MigratorError, SourceError, StoppedError
from migrator.history.flight import Around, Leg, make_flight
from migrator.history.guard import AT_WORK, HELD, MOVED, Beside, head
from migrator.history.message import Message
from migrator.history.seen import Seen
from migrator.model import Event
from migrator.parallel.lane import START_SECONDS, Carried, Lane, progress
from migrator.parallel.words_rules import explain_group, explain_stop, is_within
from migrator.postgres.blockers import Observer
from migrator.postgres.session import LostError, ServerError, Session
from migrator.postgres.side import Side
from migrator.postgres.stop import Ends
from migrator.report import Done
from migrator.sql.script import Script

if TYPE_CHECKING:
    from migrator.refusals.diagnosis import RunState


def run_group(run: Run, scripts: Sequence[Script], steps: range, seen: Seen) -> None:
    """Apply the scripts at the places `steps`, at most JOBS at once.

    Each is noted in `seen` and said as it is committed. A refusal lets what is under way end.
    Raises MovedError when the history is not `seen`, and what ends the run.
    """
    group = _Group(run, scripts, steps, seen)
    left = set(steps)
    if run.link.jobs > 1 and run.link.connect().count_results():
        fly = partial(persist, run.link, group.fly, (Cause.FULL, Cause.HELD))
        fly(scripts[steps.start].migration.version)
        left = group.left

    def order(at: int) -> tuple[bool, int]:  # what may be there already is found out first
        return scripts[at].migration.version not in run.link.in_doubt, at

    for at in sorted(left, key=order):
        run.apply_steps(scripts, range(at, at + 1), seen)


class _Group:
    """The files of one group, and the connections that carry them."""

    def __init__(self, run: Run, scripts: Sequence[Script], steps: range, seen: Seen) -> None:
        self.run, self.link, self.watch = run, run.link, run.link.watch
        self.scripts, self.seen = scripts, seen
        self.flier = run.flier(lambda _done: None)
        self.name = scripts[steps.start].parallel
        self.left = set(steps)  #: not applied yet
        self.put_off: set[int] = set()
        self.rows = [
            (scripts[at].migration.version, scripts[at].migration.checksum) for at in steps
        ]
        #: The head that the history must keep, but for what comes of the group.
        self.head = head(row for row in seen.items() if row not in self.rows)
        self.waiting: deque[int] = deque()
        self.lanes: list[Lane] = []
        #: Versions that ended the group, in that order, and why.
        self.failures: list[tuple[str, Callable[[], MigratorError]]] = []
        self.held: ServerError | None = None
        self.moved = False
        self.shut_out = False  #: another runner is at work, and not on a file of the group
        self.unobservable: str | None = None
        self.rolled_back: list[str] = []  #: by a stop
        self.unknown: list[str] = []
        self.rhythm = Rhythm.of(0, self.link.config.progress_interval)
        self.observer: Observer | None = None

    def fly(self) -> None:
        """Apply what is left and not put off; raises ServerError where another has the lock."""
        self.waiting = deque(sorted(self.left - self.put_off))
        self.held, self.shut_out = None, False
        self.origin = self.link.connect()
        # in a small pool there is no room for the session beside the others
        self.origin.close()
        self.link.lost()
        wanted = min(self.link.jobs, len(self.waiting))
        self.lanes = [Lane(Side(self.origin)) for _ in range(wanted)]
        try:
            with (
                contextlib.suppress(StoppedError),  # what it left is found out below
                self.watch.accompanied(0.0, lambda: self),
            ):
                self.watch.attend(self, self._busy)
        finally:
            self._close()
        self._end()

    def cancel(self) -> None:
        """End what is under way; called in a process of its own, which it may block."""
        for lane in self.lanes:
            lane.side.cancel()

    def step(self, _began: float) -> tuple[list[Any], list[Any], float]:
        """See `stop.Companion`: the lines of progress, and when to look again."""
        now = time.monotonic()
        left = [lane.starts + START_SECONDS - now for lane in self.lanes if lane.starts is not None]
        reading, writing, seconds = self._observe(now)
        return reading, writing, max(0.0, min([60.0, seconds, *left]))

    def _observe(self, now: float) -> tuple[list[Any], list[Any], float]:
        """The oldest one has an observer; of others the time is said."""
        lasting = [(one, lane) for lane in self.lanes if (one := lane.carried) and one.has_locks]
        if not lasting or math.isinf(self.rhythm.first_progress):
            return [], [], math.inf
        oldest, _ = min(lasting, key=lambda pair: pair[0].sent_at)
        for one, lane in lasting:
            if one is not oldest and (line := progress(lane, one, self.rhythm.progress)):
                self._tell_progress(line)
        if (left := oldest.sent_at + self.rhythm.first - now) > 0:
            return [], [], left
        if self.observer is None or self.observer.what != oldest.version:
            self._end_observer()
            self.observer = Observer(
                lambda: self.origin,
                oldest.version,
                self.rhythm,
                f"{oldest.version}, run {self.link.run_id}",
                self._tell_progress,
                self.unobservable,
            )
        reading, writing, seconds = self.observer.step(oldest.sent_at)
        return reading, writing, min(seconds, self.rhythm.progress)

    def _tell_progress(self, event: Event) -> None:
        """The version is not that which was started last."""
        fields = {**event.fields, "parallel": self.name}
        self.link.tell(Event(event.name, event.level, fields))

    def _end_observer(self) -> None:
        if self.observer is not None:
            self.unobservable = self.observer.unavailable
            self.observer.end()
            self.observer = None

    def _close(self) -> None:
        """Whatever has no answer by now is unknown, or was never asked to commit."""
        for lane in self.lanes:
            if lane.carried is not None:
                self._leave(lane.carried)
            lane.side.close()
        self.lanes = []
        self._end_observer()

    def _end(self) -> None:
        """Nothing is under way: raise what the group comes to."""
        if self.watch.stopped_by and self.left:
            stopped = self.watch.stopped()
            refused = [version for version, _ in self.failures]
            stopped.details["outcome"] = explain_stop(self.rolled_back, self.unknown, refused)
            raise stopped
        self.link.check_encoding()
        if self.failures:
            raise self._explained()
        if self.moved and not any(self._version(at) in self.link.in_doubt for at in self.put_off):
            raise MovedError
        if self.held is not None:
            raise self.held

    def _explained(self) -> MigratorError:
        refused = [version for version, _ in self.failures]
        tried = {*refused, *map(self._version, self.put_off)}
        self.flier.run_state = partial(self._run_state, self.flier.run_state, tried)
        failures = [(version, explain()) for version, explain in self.failures]
        versions = [self._version(at) for at in sorted(self.left)]
        applied = [version for version, _ in self.rows if version not in versions]
        left = [one for one in versions if one not in (*refused, *self.link.in_doubt)]
        unknown = [one for one in versions if one not in refused and one in self.link.in_doubt]
        return explain_group(failures, applied, left, unknown)

    def _run_state(self, usual: Callable[[], RunState], tried: Collection[str]) -> RunState:
        """As usual, but that not only the first one of what is pending was tried."""
        untried = [version for version in self.run.pending if version not in tried]
        return dataclasses.replace(usual(), untried=untried)

    def _version(self, at: int) -> str:
        return self.scripts[at].migration.version

    def _busy(self) -> Ends | None:
        """A step of each connection; what they wait for, None when nothing is under way."""
        found = [ends for lane in tuple(self.lanes) if (ends := self._advance(lane)) is not None]
        if not self.lanes:
            return None
        return [one for reads, _ in found for one in reads], [one for _, w in found for one in w]

    def _advance(self, lane: Lane) -> Ends | None:
        """As far as it goes without waiting; what it waits for, None when it is over."""
        try:
            while True:
                if lane.carried is None and self.watch.stopped_by:
                    self._drop(lane)
                    return None
                if (ends := lane.side.step()) is not None:
                    return self._in_time(lane, ends)
                if lane.carried is not None and not lane.carried.send_next():
                    carried, lane.carried = lane.carried, None
                    self._land(carried)
                if lane.carried is None and not self._give(lane):
                    self._drop(lane)
                    return None
        except (ServerError, StoppedError, LostError, SourceError) as error:
            ended, lane.carried = lane.carried, None
            if ended is not None:
                self._after(ended, error)
            elif isinstance(error, LostError):
                self._narrow(str(error))
        self._drop(lane)
        # one that could not be opened is not tried again: that is for the ordinary flights
        if ended is None or not self._goes_on or len(self.lanes) >= self.link.jobs:
            return None
        self.lanes.append(Lane(Side(self.origin)))
        return self._advance(self.lanes[-1])

    @property
    def _goes_on(self) -> bool:
        """Whether another file is started."""
        over = self.failures or self.moved or self.shut_out or self.watch.stopped_by
        return bool(self.waiting) and not over

    def _give(self, lane: Lane) -> bool:
        """The next file for a connection that is free; whether there was one."""
        session = lane.side.session
        if not self._goes_on or session is None or not session.hears_commits:
            return False
        at = self.waiting.popleft()
        script = self.scripts[at]
        if not has_time(self.link, script):  # its own flight will say so, behind the others
            self.put_off.add(at)
            return self._give(lane)
        self.run.say_started(self.scripts, at)
        journey = Journey(self.link.run_id, [script], lambda _done: None, lambda _tally: None)
        messages = self._messages(script, session)
        lane.take(Carried(at, journey, messages, session, self.link.tell_notice))
        return True

    def _messages(self, script: Script, session: Session) -> Iterator[Message]:
        place, migration, direction = (
            self.link.place_of(session),
            script.migration,
            self.run.direction,
        )
        script = self.link.delayed(script)
        self.link.go_on()  # the wait is of the first one that is sent
        beside: Beside = [row for row in self.rows if row[0] != migration.version]
        leg = Leg(
            script,
            self.head,
            direction.record(script, place),
            direction.also(self.run.sync, migration),
            Around(beside=beside),
        )
        return make_flight([leg], place, self.flier.limits(script), self.run.sync.tables)

    def _land(self, carried: Carried) -> None:
        """A file is committed."""
        if carried.session.rows:
            self.link.read_back(carried.session.rows[0][0])
        self.left.discard(carried.at)
        done = Done(carried.version, carried.journey.ms)
        self.run.finish(self.scripts[carried.at].migration, done, self.seen)

    def _after(self, carried: Carried, error: Exception) -> None:
        """The message under way came to this."""
        if carried.committed:  # and what went wrong is our own clean-up
            self._land(carried)
        elif isinstance(error, ServerError):
            self._after_refusal(carried, error)
        elif isinstance(error, StoppedError):
            self._leave(carried)
        elif isinstance(error, LostError):
            self.link.count_loss(carried.version, error)
            self.link.in_doubt.add(carried.version)
            self.put_off.add(carried.at)
        elif isinstance(error, SourceError):  # the file has changed since it was understood
            error.details["outcome"] = f"{carried.version} was rolled back"
            self.failures.append((carried.version, lambda: error))

    def _after_refusal(self, carried: Carried, error: ServerError) -> None:
        answered, message = carried.session.answered, carried.journey.message
        sqlstate, is_files = error.refusal.sqlstate, message.blames_file(answered)
        unread = not answered and is_within(message, error.refusal.position)
        if (is_files or unread) and sqlstate not in {*CONTENTION, READ_ONLY}:
            script = self.scripts[carried.at]
            explain = partial(self.flier.refused, script, message, error, answered)
            self.failures.append((carried.version, explain))
        elif sqlstate == HELD and not is_files:
            self.held = error
            self.shut_out = self.shut_out or error.refusal.message != AT_WORK
        elif sqlstate == MOVED and not is_files and carried.version not in self.link.in_doubt:
            self.moved = True
        else:
            self.put_off.add(carried.at)
            self._say_put_off(carried.version, self.link.tables_busy(error, message, answered))

    def _say_put_off(self, version: str, busy: TablesBusyError) -> None:
        refusal = busy.error.refusal
        if refusal.sqlstate not in CONTENTION:
            return  # its own flight says what it means
        fields = {"version": version, "attempt": 1, "reason": "busy", "sqlstate": refusal.sqlstate}
        more = {"error": refusal.message, **busy.seen}
        self.link.tell(Event("migration.retry", "warning", fields | more))

    def _leave(self, carried: Carried) -> None:
        """A stop has ended it; without an answer to a COMMIT it is not known which way."""
        answered = carried.session.alive and not carried.session.is_waiting
        if answered or not carried.journey.message.commits:
            self.rolled_back.append(carried.version)
        else:
            self.unknown.append(carried.version)

    def _in_time(self, lane: Lane, ends: Ends) -> Ends | None:
        """What the connection waits for; it is given up where nothing answers."""
        since = lane.starts
        if since is None or time.monotonic() < since + START_SECONDS:
            return ends
        if lane.carried is not None:  # it may arrive yet: then a guard refuses one of the two
            self.link.in_doubt.add(lane.carried.version)
            self.waiting.append(lane.carried.at)
        self._narrow(f"no answer within {START_SECONDS:.0f} s")
        self._drop(lane)
        return None

    def _narrow(self, reason: str) -> None:
        """Go on with one connection less, to the end of the run."""
        jobs = max(1, len(self.lanes) - 1)
        if jobs == self.link.jobs:
            return
        self.link.jobs = jobs
        self.link.tell(Event("jobs.reduced", "info", {"jobs": self.link.jobs, "reason": reason}))

    def _drop(self, lane: Lane) -> None:
        """Let a connection go."""
        lane.side.close()
        self.lanes.remove(lane)
