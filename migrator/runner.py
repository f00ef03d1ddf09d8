"""The only place that decides what happens in which order."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Any

from migrator.config import Config
from migrator.database import LostError, ServerError, Session
from migrator.durations import format_duration, limit_seconds
from migrator.errors import (
    AccessError,
    DirtyError,
    MigratorError,
    PendingError,
    SourceError,
    StatementError,
    StoppedError,
    UnreachableError,
)
from migrator.flight import (
    Limits,
    Message,
    Place,
    Record,
    applied,
    head,
    log_row,
    make_flight,
)
from migrator.history import (
    NO_SUCH_TABLE,
    History,
    find_run,
    prepare_history,
    read_history,
    read_log,
)
from migrator.link import HISTORY, LOSSES, Link, MovedError
from migrator.model import Event, Migration
from migrator.order import Needs
from migrator.parse import Script
from migrator.plan import Decision, Plan, Policy, make_plan
from migrator.reader import Reader
from migrator.report import Done
from migrator.sync import Sync
from migrator.watch import retry

Seen = dict[str, str | None]  # the history as our next flight must find it

#: How often the history may be said to have moved and be found as it was.
MOVES = 5
LOG_SECONDS = 3.0  #: for the row that records a failure; it may be done without


@dataclass(frozen=True, slots=True)
class View:
    """What one look at the database showed, beside the folder."""

    history: History
    plan: Plan
    decision: Decision

    @property
    def dirty(self) -> tuple[str, ...]:
        """Versions that began outside a transaction and never finished, in order."""
        return tuple(m.version for m in self.plan.pending if m.version in self.history.dirty)

    def raise_dirty(self) -> None:
        """DirtyError for all of them."""
        if self.dirty:
            raise DirtyError(f"begun and not finished: {', '.join(self.dirty)}")


@dataclass(frozen=True, slots=True)
class Course:
    """Which way a run's flights go: what records one, and by what it is known to have arrived."""

    record: Callable[[Script, Place], Record] = applied
    also: Callable[[Sync, Migration], tuple[str, ...]] = Sync.rows  #: goes along with that
    #: The run that a look under the lock finds to have done it, and its ms; None: it is not done.
    find: Callable[[Session, Place, str], tuple[str | None, int] | None] = find_run
    called: str = "{}"  #: what one is called in words, around its version
    failed: str = "failed"  #: the log's event when PostgreSQL has refused one


@dataclass
class Run:
    """One run of one command: what it was given, and what it has done so far."""

    config: Config
    link: Link
    started_at: datetime
    #: Puts a question to whoever sits at a terminal; True where nobody does.
    ask: Callable[[str], bool] = field(default=lambda _question: True)
    course: Course = field(default_factory=Course)
    applied: list[Done] = field(default_factory=list)
    rolled_back: list[Done] = field(default_factory=list)
    view: View | None = None  #: the newest look
    pending: tuple[str, ...] = ()  #: what is still to be applied, in order, as far as is known
    outcome: str | None = None  #: what a command did that applied nothing, in words
    shown: dict[str, Any] = field(default_factory=dict)  #: its answer, even when it is refused
    sync: Sync = field(init=False)

    def __post_init__(self) -> None:
        self.sync = Sync(self.link)
        self._reader = Reader(self.link.watch)

    @property
    def current(self) -> str | None:
        """The newest applied version, as far as is known; a repeatable is none."""
        if self.view is None:
            return None
        done = {entry.version for entry in self.applied}
        undone = {entry.version for entry in self.rolled_back}
        rows = [row for row in self.view.plan.applied if row.version not in undone]
        found = [row.order for row in rows if not row.repeatable]
        found += [m.order for m in self.view.plan.pending if m.version in done and not m.repeatable]
        return max(found)[-1] if found else None

    def look(self, migrations: tuple[Migration, ...], readers: tuple[str, ...] = ()) -> View:
        """Read the history and plan; a connection that was idle too long is opened anew."""
        limit = self.config.lock_timeout
        history = self.link.reading(
            lambda: read_history(self.link.session, self.link.place, limit, readers)
        )
        # a crash of the server may take commits along, with synchronous_commit off
        stand = {row.version for row in history.rows}
        self.applied = [done for done in self.applied if done.version in stand]
        self.rolled_back = [done for done in self.rolled_back if done.version not in stand]
        policy = Policy(self.config.on_drift, self.config.on_missing, self.config.on_late)
        plan = make_plan(migrations, history.rows)
        if plan.late:
            needs = self._reader.needs(plan.late, migrations)
            plan = make_plan(migrations, history.rows, needs)
        self.view = View(history, plan, plan.checked(policy))
        self.pending = tuple(migration.version for migration in self.view.decision.run)
        return self.view

    def read_log(self, limit: int) -> list[dict[str, Any]]:
        """The newest `limit` lines of the log, oldest first; a lost connection is opened anew."""
        return self.link.reconnecting(lambda: read_log(self.link.session, self.link.place, limit))

    def warn(self, view: View) -> None:
        """Say what the policies let pass."""
        for finding in view.decision.warnings:
            fields = {"file": finding.file, "problem": finding.problem, "remedy": finding.remedy}
            self.link.tell(Event("plan.warning", "warning", fields))

    def apply_pending(self, migrations: tuple[Migration, ...]) -> None:
        """Bring the database to where the folder is, however often others move the history."""
        unmoved = 0
        before: History | None = None
        while unmoved < MOVES:
            view = self.look(migrations, self.config.history_readers)
            unmoved = unmoved + 1 if before and before.rows == view.history.rows else 0
            before = view.history
            self.link.tell(_plan_made(view))
            self.warn(view)
            view.decision.raise_failures()
            scripts = self.understand(view, migrations)
            _check_begun(scripts, view)
            if not scripts and not view.history.readers_lacking:
                return
            with contextlib.suppress(MovedError):
                self._apply_all(scripts, view.history)
                return
        raise RuntimeError("the guard sees another history than the one that is read")

    def needs(self, migrations: tuple[Migration, ...]) -> Needs:
        """What each file requires, the applied ones too."""
        return self._reader.needs(migrations, migrations)

    def understand(self, view: View, migrations: tuple[Migration, ...]) -> tuple[Script, ...]:
        """What is to be run, read and put in order before any of it is run."""
        known = [row.version for row in view.plan.applied]
        scripts = self._reader.understand(view.decision, migrations, known)
        self.pending = tuple(script.migration.version for script in scripts)
        return scripts

    def find_sessions(self, scripts: tuple[Script, ...]) -> None:
        """Have what the scripts need, before the first of them is sent.

        Raises ConfigError when a no-transaction file has no session of its own to run on.
        """
        if not all(script.transactional for script in scripts):
            self.link.own_session()

    def _apply_all(self, scripts: tuple[Script, ...], history: History) -> None:
        self.find_sessions(scripts)
        self.prepare(history)
        if scripts:
            self.sync.look()
            self._warn_of_open_transactions()
        seen = dict(history.seen())
        for step, script in enumerate(scripts, 1):
            self.check_time(script)
            fields = {
                "version": script.migration.version,
                "file": script.migration.file,
                "step": step,
                "steps": len(scripts),
            }
            self.link.tell(Event("migration.started", "info", fields))
            if script.transactional:
                done = self.fly(script, seen)
            else:
                from migrator.alone import apply_alone  # seldom needed

                done = apply_alone(
                    self.link, script, seen.items(), self.sync.rows(script.migration)
                )
            seen[script.migration.version] = script.migration.checksum
            self.applied.append(done)
            self.pending = self.pending[1:]
            fields = {
                "version": done.version,
                "file": script.migration.file,
                "execution_time_ms": done.execution_time_ms,
            }
            self.link.tell(Event("migration.applied", "info", fields))

    def _warn_of_open_transactions(self) -> None:
        """Say whose old transactions hold locks on tables, before the first attempt."""
        from migrator.observer import read_open_transactions  # only a run with work needs it

        def look() -> list[dict[str, Any]]:
            try:
                return read_open_transactions(self.link.session)
            except ServerError:
                self.link.session.tidy()
                return []  # no more than a warning is lost

        for found in self.link.reconnecting(look):
            self.link.tell(Event("transaction.open", "warning", found))

    def check_time(self, script: Script) -> None:
        """A migration that may take longer than is left until the deadline is not begun."""
        self.link.watch.check()
        limit, left = script.statement_timeout_ms, self.link.watch.seconds_left
        if not limit or left >= limit / 1000:
            return
        self.link.watch.stop("DEADLINE")
        error = self.link.watch.stopped()
        error.details["outcome"] = (
            f"{self._called(script.migration.version)} was not begun: {left:.1f} s were left until "
            f"DEADLINE, and its statement-timeout is {format_duration(limit)}"
        )
        raise error

    def prepare(self, history: History) -> None:
        """Have the history's tables as they should be; nothing is sent when they are.

        Raises AccessError when the server is read-only.
        """
        if history.read_only:
            raise AccessError(
                "the server is read-only: a standby, or a server whose disk is full",
                remedy="Connect to the primary; on Supabase, leave read-only mode first.",
            )
        if history.readers_lacking or not history.complete:
            limit = self.config.lock_timeout
            self.link.reconnecting(
                lambda: self.link.when_free(
                    lambda: self.link.retrying(HISTORY, lambda: self._prepare(history), limit)
                )
            )

    def _prepare(self, history: History) -> None:
        limits = Limits(self.config.lock_timeout)
        try:
            prepare_history(self.link.session, self.link.place, limits, history)
        except ServerError as error:
            self.link.settle(error)
            raise
        self.link.tell(Event("history.prepared", "info", {"schema": self.config.migrations_schema}))

    def fly(self, script: Script, seen: Seen) -> Done:
        """One flight, sent again when the lock comes free or the connection was lost.

        Raises MovedError when the history is not `seen`, and what ends the run.
        """
        migration = script.migration
        version = migration.version
        while self.link.losses(version) < LOSSES:
            try:
                return Done(version, self._send_when_free(script, seen))
            except MovedError:
                # a lost flight may be begun by the server, and commit, only after we have looked
                if self.link.losses(version) and (done := self._arrived(version)):
                    return done
                raise
            except LostError as error:
                self.link.lost()
                self.link.count_loss(version, error)
            done = self._arrived(version)
            if done is not None:
                return done
        raise StatementError(
            f"{migration.file}: the connection was lost {LOSSES} times while it ran",
            remedy="See the server's log: the file may crash its backend, or a proxy may cut long "
            "statements.",
            version=version,
            file=migration.file,
            outcome=f"{self._called(version)} was not applied when last looked at; see `status`",
        )

    def _arrived(self, version: str) -> Done | None:
        """After a lost connection: what our COMMIT left, seen under the lock."""
        called = self._called(version)
        unknown = f"unknown: the connection was lost while {called} ran; see `status`"
        try:
            found = self.link.reconnecting(
                lambda: self.link.when_free(
                    lambda: self.course.find(self.link.session, self.link.place, version)
                )
            )
        except (LostError, ServerError) as error:
            if isinstance(error, ServerError) and error.refusal.sqlstate == NO_SUCH_TABLE:
                raise MovedError from error  # a crash took the newest commits with it
            message = f"{called}: the connection was lost, and again when looking: {error}"
            raise UnreachableError(message, version=version, outcome=unknown) from error
        except MigratorError as error:
            error.details["outcome"] = unknown
            raise
        return self._ours(version, found)

    def _ours(self, version: str, found: tuple[str | None, int] | None) -> Done | None:
        """Whether the row that was found is of our flight: None when our flight left nothing.

        Raises MovedError when another runner was there. Of a repeatable the row of its last run
        stands until our COMMIT.
        """
        if found is None:
            return None
        run_id, spent = found
        if run_id == self.link.run_id:
            return Done(version, spent)
        before = self.view.history.rows if self.view else ()
        if any(row.version == version and row.run_id == run_id for row in before):
            return None
        raise MovedError

    def _send_when_free(self, script: Script, seen: Seen) -> int | None:
        place, limits = self.link.place, self._limits(script)
        record = self.course.record(script, place)
        also = self.course.also(self.sync, script.migration)
        flight = partial(make_flight, script, head(seen.items()), place, limits, also, record)

        def send() -> int | None:
            self.check_time(script)
            return self._send(script, flight())

        version = script.migration.version
        try:
            return self.link.when_free(
                lambda: self.link.retrying(version, send, limits.lock_timeout)
            )
        except SourceError as error:  # the file has changed since it was understood
            self.link.session.tidy()
            error.details["outcome"] = f"{self._called(version)} was rolled back"
            raise

    def _limits(self, script: Script) -> Limits:
        return Limits(
            _chosen(script.lock_timeout_ms, self.config.lock_timeout),
            _chosen(script.statement_timeout_ms, self.config.statement_timeout),
            self.config.search_path,
        )

    def _send(self, script: Script, messages: Iterator[Message]) -> int | None:
        """Send one flight; the server's ms for it. Whatever is refused is rolled back."""
        version = script.migration.version
        self.link.session.count_results()
        self.link.session.hear = partial(self.link.tell_notice, version)
        rows: list[tuple[Any, ...]] = []
        for message in messages:
            try:
                if message.rows is None:
                    rows = self.link.session.send(message.sent)
                else:
                    self.link.session.copy(message.sent, message.rows)
            except ServerError as error:
                answered = self.link.session.answered
                self.link.settle(error)
                if _may_be_committed(message, answered) and (done := self._arrived(version)):
                    return done.execution_time_ms
                raise self._refused(script, message, error, answered) from error
            except StoppedError as error:
                done, outcome = self._left_by_stop(message, version)
                if done is not None:
                    return done.execution_time_ms
                error.details["outcome"] = outcome
                raise
        return int(rows[0][0]) if rows and rows[0][0] is not None else None

    def _left_by_stop(self, message: Message, version: str) -> tuple[Done | None, str]:
        """What a stopped flight left: our row, if COMMIT was sooner; else the outcome in words."""
        called = self._called(version)
        rolled_back = f"{called} was rolled back"
        if self.link.session.alive:
            if self.link.session.in_transaction or not _may_be_committed(
                message, self.link.session.answered
            ):
                return None, rolled_back
            with contextlib.suppress(Exception), self.link.watch.cleaning_up():
                found = self.course.find(self.link.session, self.link.place, version)
                done = self._ours(version, found)
                return done, "" if done else rolled_back
        if message.committed_at is None:
            return None, f"{called} is not applied: its COMMIT was never sent"
        return None, f"unknown: {called} was running, and the server did not answer any more"

    def _refused(
        self, script: Script, message: Message, error: ServerError, answered: int | None
    ) -> MigratorError:
        """What the refusal of a file's statement ends the run with; recorded in the log table."""
        from migrator.diagnosis import Standing, diagnose  # needed only when a statement failed

        version = script.migration.version
        standing = Standing([d.version for d in self.applied], self.current, self.pending[1:])
        general = self.config.statement_timeout
        found = diagnose(script, message, error.refusal, answered, standing, general)
        if isinstance(found, StatementError):
            detail = {
                "sqlstate": error.refusal.sqlstate,
                "message": error.refusal.message,
                "line": found.details.get("line"),
            }
            row = log_row(self.link.place, version, self.course.failed, detail)
            brief = "SET LOCAL lock_timeout = 1000; SET LOCAL statement_timeout = 2000"
            with (
                contextlib.suppress(ServerError, LostError, StoppedError),
                self.link.watch.limited(LOG_SECONDS),
            ):
                self.link.session.send(f"{brief}; {row}")
        return found

    def _called(self, version: str) -> str:
        return self.course.called.format(version)


def wait_for_all(run: Run, migrations: tuple[Migration, ...]) -> None:
    """Poll until the database holds every migration of the folder.

    Raises PendingError after WAIT_TIMEOUT, and MissingError for an image that is below a floor.
    Needs no lock and writes nothing.
    """

    class _NotYetError(Exception):
        pass

    def tell_retry(_error: _NotYetError, attempt: int) -> None:
        fields = {"pending": list(run.pending), "attempt": attempt}
        run.link.tell(Event("migrations.waiting", "info", fields))

    def look() -> None:
        view = run.look(migrations)
        if view.plan.below_floor:
            raise view.plan.too_old()
        if run.pending:
            raise _NotYetError

    try:
        limit = limit_seconds(run.config.wait_timeout)
        retry(look, run.link.watch, lambda: limit, _NotYetError, tell_retry, first=0.2)
    except _NotYetError:
        raise PendingError(
            f"still pending after WAIT_TIMEOUT: {', '.join(run.pending)}",
            remedy="See whether the job that runs `up` has failed or still works.",
        ) from None


def _plan_made(view: View) -> Event:
    plan = view.plan
    fields = {
        "pending": [migration.version for migration in view.decision.run],
        "applied_count": len(plan.applied),
        "late": [migration.version for migration in plan.late],
        "held": [migration.version for migration in plan.held],
        "drifted": [migration.version for migration in plan.drifted],
        "missing": [row.version for row in (*plan.missing, *plan.ahead)],
    }
    return Event("plan.made", "info", {key: value for key, value in fields.items() if value})


def _check_begun(scripts: tuple[Script, ...], view: View) -> None:
    """What began outside a transaction cannot go on inside one."""
    for script in scripts:
        version = script.migration.version
        if script.transactional and version in view.dirty:
            raise DirtyError(
                f"{script.migration.file}: it began as a no-transaction file and is not finished, "
                "and now it is none",
                remedy="Give it back its line `-- migrator: no-transaction`; or "
                f"`repair --not-applied {version} --reason WHY` once nothing of it is left.",
                version=version,
            )


def _may_be_committed(message: Message, answered: int | None) -> bool:
    """Whether COMMIT may have been answered before whatever ended the message."""
    if message.committed_at is None:
        return False
    return answered is None or answered >= message.committed_at


def _chosen(own: int | None, general: int) -> int:
    return general if own is None else own
