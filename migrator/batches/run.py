"""Runs a file in batches: each is a flight of its own, which moves the cursor as it commits.

    state        in the database              what may follow
    not started  no row of the cursor         the first batch: started, or applied if it is the last
    started      a row of the cursor, and a   a batch: started; the last one: applied; a refusal or
                 line of the log              a stop: started, and the next run goes on
    applied      the row of the history

Another runner may take any batch: a flight whose cursor is not as it was seen changes nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any, cast

from migrator.apply.direction import Direction
from migrator.apply.run import Run
from migrator.apply.send import Flier, check_time
from migrator.batches.cursor import (
    ROWS,
    Cursor,
    cursor_head,
    cursor_table,
    ended,
    moved,
)
from migrator.batches.facts_rules import check_walked
from migrator.batches.message import (
    Bounds,
    Walked,
    around,
    find_bounds,
    find_walked,
    make_cursors,
    read_cursors,
    seen_as_file,
)
from migrator.batches.pace_rules import FIRST_ROWS, Advance, next_size, pause_seconds
from migrator.batches.throttle import Throttle
from migrator.database.database import CONTENTION, MovedError
from migrator.database.tries import REPEATABLE, persist, read_tables
from migrator.errors import AccessError, MigratorError
from migrator.history.access import no_access
from migrator.history.fence import Write
from migrator.history.guard import looking
from migrator.history.place import Limits, Place
from migrator.history.read import read_history
from migrator.history.rows import MS
from migrator.history.seen import Seen
from migrator.model import Event, Migration
from migrator.plan.batching_rules import changed_midway, cursor_lost, renamed_midway
from migrator.postgres.quoting import literal
from migrator.postgres.refusal import NO_RIGHT
from migrator.postgres.session import ServerError, Session
from migrator.report import Done
from migrator.sql.asserts import When
from migrator.sql.batched import Batches
from migrator.sql.script import Script
from migrator.supabase.mirror import Sync

#: What a table that has appeared since the look is refused with.
THERE_ALREADY = frozenset({"42P07", "23505", "42710"})
FIND_CURSOR = "SELECT run_id::text, batches, spent_ms FROM {cursor} WHERE version = {version}"
COMMAND = {"forth": "up", "back": "rollback"}


def run_batches(run: Run, script: Script, seen: Seen) -> Done:
    """Apply a file in batches, or undo one, in the run's direction, from where it is.

    Raises MovedError when the history is not what was `seen`, DriftError when the file has changed
    since its first batch, and what ends a run; then the cursor says what is committed.
    """
    walk = _Walk(run, script, cast("Batches", script.batches))
    try:
        return walk.walk(seen)
    except MigratorError as error:
        if outcome := walk.outcome:
            before = str(error.details.get("outcome", ""))
            unknown = before if before.startswith("unknown") else ""
            error.details["outcome"] = "; ".join(filter(None, (unknown, outcome)))
        raise


class _Step:
    """The direction of one batch: what it records, and by what it is known to be done."""

    def __init__(
        self,
        direction: Direction,
        before: Cursor | None,
        after: Cursor,
        again: Callable[[], None],
        *,
        is_last: bool,
    ) -> None:
        self._direction, self._before, self._after = direction, before, after
        self._is_last, self._again, self._tried = is_last, again, False
        self.way, self.failed, self.left = direction.way, direction.failed, direction.left
        self.called = f"a batch of {direction.called}"
        self.busy = "a batch of {} was rolled back"

    def record(self, script: Script, place: Place, spent_ms: str = MS) -> tuple[Write, ...]:
        if self._tried:
            self._again()
        self._tried = True
        if not self._is_last:
            return moved(place, self._before, self._after, self.way)
        if self._before is None:
            return self._direction.record(script, place, spent_ms)
        spent = f"({spent_ms} + {self._before.spent_ms})"
        return (*self._direction.record(script, place, spent), ended(place, self._before.version))

    def also(self, sync: Sync, migration: Migration) -> tuple[Write, ...]:
        return self._direction.also(sync, migration) if self._is_last else ()

    def find(self, session: Session, place: Place, version: str) -> tuple[str | None, int] | None:
        if self._is_last:
            return self._last(self._direction.find(session, place, version))
        find = FIND_CURSOR.format(cursor=cursor_table(place).quoted, version=literal(version))
        rows = session.send(looking(place, version, find, [cursor_table(place)]))
        before = 0 if self._before is None else self._before.batches
        found, batches, spent = rows[0] if rows else ("", 0, 0)
        if batches == before:
            return None
        if batches != self._after.batches:
            return "", 0
        return found, spent - self._spent_before

    def _last(self, found: tuple[str | None, int] | None) -> tuple[str | None, int] | None:
        """The file's row says what all batches took."""
        return found and (found[0], found[1] - self._spent_before)

    @property
    def _spent_before(self) -> int:
        return self._before.spent_ms if self._before else 0


class _Walk:
    """One file on its way through the table."""

    def __init__(self, run: Run, script: Script, batches: Batches) -> None:
        self.run, self.script, self.batches = run, script, batches
        self.link, self.config = run.link, run.config
        self.version = script.migration.version
        self.landed: list[Done] = []
        self.flier = run.flier(self.landed.append)
        self.direction = run.direction
        self.limits: Limits = self.flier.limits(script)
        self.walked = Walked("", "", "", None)
        self.cursors: dict[str, Cursor] | None = None  #: all rows; None: there is no table
        self.size = batches.size or FIRST_ROWS
        self.throttle = Throttle(self.link, script.migration.file)
        self.began: tuple[float, int] | None = None  #: when, and the rows at that time
        self.said = 0.0  #: when progress was reported last

    @property
    def cursor(self) -> Cursor | None:
        return (self.cursors or {}).get(self.version)

    @property
    def pace(self) -> Advance | None:
        """None while nothing is committed."""
        if (cursor := self.cursor) is None:
            return None
        speed = None
        if self.began is not None and cursor.rows > self.began[1]:
            speed = (cursor.rows - self.began[1]) / max(time.monotonic() - self.began[0], 0.001)
        return Advance(cursor.rows, cursor.batches, self.walked.rows, speed)

    @property
    def outcome(self) -> str:
        """What is committed so far, in words; nothing where nothing is."""
        if (pace := self.pace) is None:
            return ""
        called = self.direction.called.format(self.version)
        command = COMMAND[self.direction.way.value]
        return f"{called} is not finished: {pace.words}, are committed; `{command}` goes on there"

    def walk(self, seen: Seen) -> Done:
        self._find_table()
        if self.cursor is None:
            self._assert(When.BEFORE)
        while True:
            before = self.cursors
            self._check_unchanged()
            bounds = self._bounds()
            if bounds.is_last:
                self._assert(When.AFTER)
            if not bounds.is_last and self.cursors is None:
                self._make_table()
                continue
            try:
                done = self._fly(bounds, seen)
            except MovedError:
                was_started = self.cursor is not None
                self._look_again()
                if self.cursors == before or (was_started and self.cursor is None):
                    raise
                continue
            if done is not None:
                return done

    def _fly(self, bounds: Bounds, seen: Seen) -> Done | None:
        """One batch; what was done in all once it is the last."""
        before = self.cursor
        after = self._after(before, bounds)
        waits = partial(self._report, "lock")
        step = _Step(self.direction, before, after, waits, is_last=bounds.is_last)
        place = self.link.place_of(self.link.connect())
        head = None if self.cursors is None else cursor_head(self.cursors.values())
        self.began = self.began or (time.monotonic(), before.rows if before else 0)
        flier: Flier = replace(self.flier, direction=step, around=around(place, bounds, head))
        flier.fly([self.script], seen)
        done = self.landed.pop()
        self.link.forget_losses(self.version)
        if bounds.is_last:
            spent = done.execution_time_ms
            if spent is not None and before is not None:
                spent += before.spent_ms
            return Done(self.version, spent)
        spent = done.execution_time_ms
        after = replace(after, spent_ms=after.spent_ms + (spent or 0))
        self.cursors = {**(self.cursors or {}), self.version: after}
        if self.batches.size is None:
            self.size = next_size(self.size, spent, self.config.batch_time)
        self._report()
        self.link.watch.sleep(pause_seconds(spent))
        self.throttle.hold(partial(self._report, "lag"))
        return None

    def _after(self, before: Cursor | None, bounds: Bounds) -> Cursor:
        rows, batches, spent = (
            (before.rows, before.batches, before.spent_ms) if before else (0, 0, 0)
        )
        counted = rows + bounds.rows, self.walked.rows, batches + 1, spent, self.link.run_id
        return Cursor(self.version, self.script.migration.checksum, bounds.high, *counted)

    def _report(self, waiting: str | None = None) -> None:
        """A line about the progress, every PROGRESS_INTERVAL."""
        now, interval = time.monotonic(), self.config.progress_interval / 1000
        self.said = self.said or (self.began[0] if self.began else now)
        pace = self.pace
        if pace is None or not interval or now - self.said < interval:
            return
        self.said = now
        fields: dict[str, Any] = {"version": self.version, **pace.fields}
        if waiting:
            fields["waiting"] = waiting
        self.link.tell(Event("batch.progress", "info", fields))

    def _check_unchanged(self) -> None:
        """DriftError when the file is not what its first batches ran."""
        if self.cursor is not None and self.cursor.checksum != self.script.migration.checksum:
            raise changed_midway(self.script.migration)

    def _find_table(self) -> None:
        """The table, its key, and the cursor's rows if there are any."""
        facts = self._look_again()
        self.walked = check_walked(self.script, self.batches, *facts)
        if self.cursor is None and self._is_started():
            self._check_lost()

    def _look_again(self) -> list[Any]:
        """Read the cursor's rows, if there is such a table; what the walked one is."""

        def text(place: Place) -> str:
            return find_walked(place, self.batches, self.limits)

        [(*facts, there)] = self._ask(text)
        self.cursors = None
        if there:
            self._read()
        return facts

    def _is_started(self) -> bool:
        """Whether the newest look at the journal saw the first batch committed, and no end."""
        history = self.run.view.history if self.run.view else None
        started = {**history.batching, **history.undoing} if history else {}
        return self.version in started

    def _check_lost(self) -> None:
        """MovedError when it is over by now; DirtyError when the cursor is gone."""
        query = partial(read_history, lock_timeout_ms=self.config.lock_timeout)
        now = read_tables(self.link, query)
        if self.version in {**now.batching, **now.undoing}:
            raise cursor_lost(self.script.migration)
        raise MovedError

    def _read(self) -> None:
        def text(place: Place) -> str:
            return read_cursors(place, ROWS.format(cursor=cursor_table(place).quoted), self.limits)

        self.cursors = {row[0]: Cursor(*row) for row in self._ask(text)}
        migration = self.script.migration
        for cursor in self.cursors.values() if self.cursor is None else ():
            if cursor.checksum == migration.checksum:
                raise renamed_midway(migration, cursor.version)

    def _bounds(self) -> Bounds:
        check_time(self.link, self.script, self.version)
        last = self.cursor.last if self.cursor else None

        def text(place: Place) -> str:
            return find_bounds(place, self.walked, last, self.size, self.limits)

        [(*ends, rows, more)] = self._ask(text)
        # what must be true after the last batch is asked before the file is recorded
        more = more or (bool(rows) and any(one.when is When.AFTER for one in self.script.asserts))
        return Bounds.of(self.walked, ends[0], ends[1], rows, more=more)

    def _assert(self, when: When) -> None:
        if not self.script.asserts:
            return
        from migrator.database.asserts import check_asserts  # for such files alone

        def send(text: str) -> list[tuple[Any, ...]]:
            return persist(self.link, partial(self._look, text), REPEATABLE, self.version)

        check_asserts(self.link, self.script, when, send)

    def _look(self, text: str) -> list[tuple[Any, ...]]:
        session = self.link.connect()
        try:
            return session.send(seen_as_file(self.link.place_of(session), text, self.limits))
        except ServerError as error:
            busy = self.link.tables_busy(error)
            session.tidy()
            if error.refusal.sqlstate in CONTENTION:
                raise busy from error
            raise

    def _make_table(self) -> None:
        try:
            self._ask(lambda place: make_cursors(place, self.limits), "create")
        except ServerError as error:
            if error.refusal.sqlstate not in THERE_ALREADY:
                raise
        self._read()

    def _ask(self, text: Callable[[Place], str], what: str = "read") -> list[tuple[Any, ...]]:
        """The rows of a message that may be sent twice."""

        def send() -> list[tuple[Any, ...]]:
            session = self.link.connect()
            place = self.link.place_of(session)
            try:
                return session.send(text(place))
            except ServerError as error:
                self.link.settle(error)
                sqlstate = error.refusal.sqlstate
                if (role := self.link.config.run_as) is not None:
                    from migrator.database.inquiry import check_role  # for those who use it

                    check_role(session, place, role)
                if sqlstate == NO_RIGHT and what == "create":
                    raise no_access(what, place, error, session) from error
                if sqlstate == NO_RIGHT:
                    raise AccessError(f"{self.script.migration.file}: {error}") from error
                raise

        limit = self.limits.lock_timeout
        return persist(self.link, send, REPEATABLE, self.version, limit)
