"""The only place that decides what happens in which order."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Any, TypeVar

from migrator.config import Config
from migrator.connect import open_session
from migrator.database import LostError, ServerError, Session
from migrator.durations import limit_seconds
from migrator.errors import (
    AccessError,
    BusyError,
    MigratorError,
    PendingError,
    SourceError,
    StatementError,
    StoppedError,
    UnreachableError,
)
from migrator.flight import (
    HELD,
    MOVED,
    Limits,
    Message,
    Place,
    head,
    log_row,
    make_flight,
)
from migrator.history import History, find_run, prepare_history, read_history
from migrator.lock import as_holder, wait_until_free
from migrator.model import Event, Finding, Migration, Tell
from migrator.parse import Script, understand
from migrator.plan import Decision, Plan, Policy, make_plan
from migrator.report import Done
from migrator.watch import Watch, retry

T = TypeVar("T")
Seen = list[tuple[str, str | None]]

#: Rolled back whole and safe to send again: lock not available, deadlock, serialization failure.
BUSY = frozenset({"55P03", "40P01", "40001"})
READ_ONLY = "25006"
#: How often the history may be said to have moved and be found as it was.
MOVES = 5
LOG_SECONDS = 3.0  #: for the row that records a failure; it may be done without
HISTORY = "the history's tables"  #: stands for a version while they are prepared
#: How often one migration may lose its connection before it is held to be the reason.
LOSSES = 5


class _MovedError(Exception):
    """Another runner changed the history since it was read: read and plan again."""


class _BusyError(Exception):
    """A flight was rolled back for want of a lock."""

    def __init__(self, error: ServerError) -> None:
        super().__init__(str(error))
        self.error = error


@dataclass(frozen=True, slots=True)
class View:
    """What one look at the database showed, beside the folder."""

    history: History
    plan: Plan
    decision: Decision


@dataclass
class Run:
    """One run of one command: what it was given, and what it has done so far."""

    config: Config
    run_id: str
    runner: str  #: application_name, migrator/<pod or host>
    watch: Watch
    tell: Tell
    started_at: datetime
    applied: list[Done] = field(default_factory=list)
    view: View | None = None  #: the newest look
    _understood: dict[str, Script] = field(default_factory=dict)
    _session: Session | None = None

    @property
    def session(self) -> Session:
        """The session, opened when first needed or after it was lost."""
        if self._session is None:
            self._session = open_session(
                self.config.targets,
                self.runner,
                self.config.connect_timeout,
                self.watch,
                self.tell,
            )
        return self._session

    @property
    def place(self) -> Place:
        version = self.session.server_version
        return Place(self.config.migrations_schema, self.runner, self.run_id, version)

    @property
    def pending(self) -> tuple[str, ...]:
        """The versions that are still to be applied, as far as is known."""
        done = {entry.version for entry in self.applied}
        wanted = self.view.decision.run if self.view else ()
        return tuple(migration.version for migration in wanted if migration.version not in done)

    @property
    def current(self) -> str | None:
        """The newest applied version, as far as is known."""
        if self.view is None:
            return None
        done = {entry.version for entry in self.applied}
        rows = [(row.number, row.version) for row in self.view.plan.applied]
        rows += [(m.number, m.version) for m in self.view.plan.pending if m.version in done]
        return max(rows)[1] if rows else None

    def close(self) -> None:
        """Let go of the session; on a stop roll back what is open first."""
        if self._session is not None:
            if self.watch.stopped_by:
                self._session.abandon()
            self._session.close()
            self._session = None

    def look(self, migrations: tuple[Migration, ...], readers: tuple[str, ...] = ()) -> View:
        """Read the history and plan; a connection that was idle too long is opened anew."""
        history = self._retrying(HISTORY, lambda: self._reconnecting(lambda: self._read(readers)))
        policy = Policy(self.config.on_drift, self.config.on_missing, self.config.on_late)
        plan = make_plan(migrations, history.rows)
        self.view = View(history, plan, plan.checked(policy))
        return self.view

    def _read(self, readers: tuple[str, ...]) -> History:
        try:
            return read_history(self.session, self.place, self.config.lock_timeout, readers)
        except ServerError as error:
            self._settle(error)
            raise

    def warn(self, view: View) -> None:
        """Say what the policies let pass."""
        for finding in view.decision.warnings:
            fields = {"file": finding.file, "problem": finding.problem, "remedy": finding.remedy}
            self.tell(Event("plan.warning", "warning", fields))

    def apply_pending(self, migrations: tuple[Migration, ...]) -> None:
        """Bring the database to where the folder is, however often others move the history."""
        unmoved = 0
        before: History | None = None
        while unmoved < MOVES:
            view = self.look(migrations, self.config.history_readers)
            unmoved = unmoved + 1 if before and before.rows == view.history.rows else 0
            before = view.history
            self.tell(_plan_made(view))
            self.warn(view)
            view.decision.raise_failures()
            scripts = self.understand(view.decision.run)
            if not scripts and not view.history.readers_lacking:
                return
            with contextlib.suppress(_MovedError):
                self._apply_all(scripts, view.history)
                return
        raise RuntimeError("the guard sees another history than the one that is read")

    def understand(self, migrations: tuple[Migration, ...]) -> tuple[Script, ...]:
        """Read every pending file before any is run; SourceError with all findings."""
        scripts: list[Script] = []
        findings: list[Finding] = []
        for migration in migrations:
            script = self._understood.get(migration.version)
            if script is None:
                with self.watch.thinking():
                    script, found = understand(migration)
                findings += found
            if script is not None:
                scripts.append(script)
                self._understood[migration.version] = script
        if findings:
            files = len({finding.file for finding in findings})
            message = f"{_count(len(findings), 'problem')} in {_count(files, 'pending file')}"
            raise SourceError(message, findings=findings)
        return tuple(scripts)

    def _apply_all(self, scripts: tuple[Script, ...], history: History) -> None:
        if history.read_only:
            raise AccessError(
                "the server is read-only: a standby, or a server whose disk is full",
                remedy="Connect to the primary; on Supabase, leave read-only mode first.",
            )
        if history.readers_lacking or not history.complete:
            self._retrying(
                HISTORY,
                lambda: self._reconnecting(lambda: self._when_free(lambda: self._prepare(history))),
            )
        seen = history.seen()
        for step, script in enumerate(scripts, 1):
            self.watch.check()
            fields = {
                "version": script.migration.version,
                "file": script.migration.file,
                "step": step,
                "steps": len(scripts),
            }
            self.tell(Event("migration.started", "info", fields))
            done = self._retrying(script.migration.version, partial(self._fly, script, seen))
            seen.append((script.migration.version, script.migration.checksum))
            self.applied.append(done)
            fields = {
                "version": done.version,
                "file": script.migration.file,
                "execution_time_ms": done.execution_time_ms,
            }
            self.tell(Event("migration.applied", "info", fields))

    def _prepare(self, history: History) -> None:
        limits = Limits(self.config.lock_timeout)
        try:
            prepare_history(self.session, self.place, limits, history)
        except ServerError as error:
            self._settle(error)
            raise
        self.tell(Event("history.prepared", "info", {"schema": self.config.migrations_schema}))

    def _fly(self, script: Script, seen: Seen) -> Done:
        """One flight, sent again when the lock comes free or the connection was lost."""
        migration = script.migration
        for losses in range(1, LOSSES + 1):
            try:
                return Done(migration.version, self._send_when_free(script, seen))
            except LostError as error:
                self._session = None
                fields = {"version": migration.version, "losses": losses, "error": str(error)}
                self.tell(Event("migration.retry", "warning", {**fields, "reason": "lost"}))
            done = self._arrived(migration.version)
            if done is not None:
                return done
        raise StatementError(
            f"{migration.file}: the connection was lost {LOSSES} times while it ran",
            remedy="See the server's log: the file may crash its backend, or a proxy may cut long "
            "statements.",
            version=migration.version,
            file=migration.file,
            outcome=f"{migration.version} is not applied",
        )

    def _arrived(self, version: str) -> Done | None:
        """After a lost connection: what our COMMIT left, seen under the lock."""
        unknown = f"unknown: the connection was lost while {version} ran; see `status`"
        try:
            found = self._reconnecting(
                lambda: self._when_free(lambda: find_run(self.session, self.place, version))
            )
        except (LostError, ServerError) as error:
            message = f"{version}: the connection was lost, and again when looking: {error}"
            raise UnreachableError(message, version=version, outcome=unknown) from error
        except MigratorError as error:
            error.details["outcome"] = unknown
            raise
        if found is None:
            return None
        run_id, spent = found
        if run_id != self.run_id:
            raise _MovedError
        return Done(version, spent)

    def _send_when_free(self, script: Script, seen: Seen) -> int | None:
        config = self.config
        limits = Limits(
            _chosen(script.lock_timeout_ms, config.lock_timeout),
            _chosen(script.statement_timeout_ms, config.statement_timeout),
            config.search_path,
        )
        messages = make_flight(script, head(seen), self.place, limits)
        return self._when_free(lambda: self._send(script, messages))

    def _send(self, script: Script, messages: tuple[Message, ...]) -> int | None:
        """Send one flight; the server's ms for it. Whatever is refused is rolled back."""
        version = script.migration.version
        self.session.count_results()
        self.session.hear = partial(self._tell_notice, version)
        rows: list[tuple[Any, ...]] = []
        for message in messages:
            try:
                rows = self.session.send(message.text)
            except ServerError as error:
                answered = self.session.answered
                self._settle(error)
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
        rolled_back = f"{version} was rolled back"
        if self.session.alive:
            if self.session.in_transaction or not _may_be_committed(message, self.session.answered):
                return None, rolled_back
            with contextlib.suppress(Exception), self.watch.cleaning_up():
                found = find_run(self.session, self.place, version)
                if found is None:
                    return None, rolled_back
                if found[0] == self.run_id:
                    return Done(version, found[1]), ""
        return None, f"unknown: {version} was running, and the server did not answer any more"

    def _when_free(self, send: Callable[[], T]) -> T:
        """Do `send` until no other runner holds the lock; LockedError after WAIT_TIMEOUT."""
        config = self.config
        while True:
            try:
                return send()
            except ServerError as error:
                if error.refusal.sqlstate != HELD:
                    raise
                fields = {"holder": as_holder(error.refusal.detail), "waited_ms": 0}
            self.tell(Event("lock.waiting", "info", fields))
            schema = config.migrations_schema
            wait_until_free(self.session, schema, config.wait_timeout, self.watch, self.tell)

    def _settle(self, error: ServerError) -> None:
        """After a refusal: give the session back clean, and raise what it means for the run.

        Returns when the refusal concerns the file; HELD rises as it is.
        """
        self.session.tidy()
        sqlstate = error.refusal.sqlstate
        if sqlstate == HELD:
            raise error
        if sqlstate == MOVED:
            raise _MovedError from error
        if sqlstate in BUSY:
            raise _BusyError(error) from error
        if sqlstate == READ_ONLY:
            raise AccessError(
                f"the server is read-only: {error.refusal.message}",
                remedy="Connect to the primary; on Supabase, leave read-only mode first.",
            ) from error

    def _retrying(self, what: str, send: Callable[[], T]) -> T:
        """Do `send` again after locks were refused; BusyError after LOCK_RETRY_TIMEOUT."""

        def tell_retry(error: _BusyError, attempt: int) -> None:
            refusal = error.error.refusal
            fields = {
                "version": what,
                "attempt": attempt,
                "reason": "busy",
                "sqlstate": refusal.sqlstate,
                "error": refusal.message,
            }
            self.tell(Event("migration.retry", "warning", fields))

        try:
            return retry(
                send,
                self.watch,
                lambda: limit_seconds(self.config.lock_retry_timeout),
                _BusyError,
                tell_retry,
            )
        except _BusyError as error:
            refusal = error.error.refusal
            raise BusyError(
                f"{what}: locks were not to be had within LOCK_RETRY_TIMEOUT: {refusal.message}",
                version=what,
                sqlstate=refusal.sqlstate,
                outcome="nothing was changed"
                if what == HISTORY
                else f"{what} was rolled back and is not applied",
            ) from error

    def _reconnecting(self, send: Callable[[], T]) -> T:
        """Do `send`, which may be repeated, on new connections while the old one gets lost."""

        def anew() -> T:
            try:
                return send()
            except LostError:
                self._session = None
                raise

        def tell_retry(error: LostError, attempt: int) -> None:
            fields = {"reason": "lost", "attempt": attempt, "error": str(error)}
            self.tell(Event("connection.retry", "warning", fields))

        limit = self.config.connect_timeout
        return retry(anew, self.watch, lambda: limit_seconds(limit), LostError, tell_retry)

    def _refused(
        self, script: Script, message: Message, error: ServerError, answered: int | None
    ) -> MigratorError:
        """What the refusal of a file's statement ends the run with; recorded in the log table."""
        from migrator.diagnosis import Standing, diagnose  # needed only when a statement failed

        version = script.migration.version
        after = self.pending[self.pending.index(version) + 1 :]
        standing = Standing([done.version for done in self.applied], self.current, after)
        found = diagnose(script, message, error.refusal, answered, standing)
        if isinstance(found, StatementError):
            detail = {
                "sqlstate": error.refusal.sqlstate,
                "message": error.refusal.message,
                "line": found.details.get("line"),
            }
            row = log_row(self.place, version, "failed", detail)
            brief = "SET LOCAL lock_timeout = 1000; SET LOCAL statement_timeout = 2000"
            with (
                contextlib.suppress(ServerError, LostError, StoppedError),
                self.watch.limited(LOG_SECONDS),
            ):
                self.session.send(f"{brief}; {row}")
        return found

    def _tell_notice(self, version: str, text: str) -> None:
        severity, _, message = text.strip().partition(":")
        level = "warning" if severity == "WARNING" else "debug"
        fields = {"version": version, "notice": message.strip()}
        self.tell(Event("migration.notice", level, fields))


def wait_for_all(run: Run, migrations: tuple[Migration, ...]) -> None:
    """Poll until the database holds every migration of the folder.

    Raises PendingError after WAIT_TIMEOUT. Needs no lock and writes nothing.
    """

    class _NotYetError(Exception):
        pass

    def tell_retry(_error: _NotYetError, attempt: int) -> None:
        fields = {"pending": list(run.pending), "attempt": attempt}
        run.tell(Event("migrations.waiting", "info", fields))

    def look() -> None:
        run.look(migrations)
        if run.pending:
            raise _NotYetError

    try:
        limit = limit_seconds(run.config.wait_timeout)
        retry(look, run.watch, lambda: limit, _NotYetError, tell_retry, first=0.2)
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
        "drifted": [migration.version for migration in plan.drifted],
        "missing": [row.version for row in (*plan.missing, *plan.ahead)],
    }
    return Event("plan.made", "info", {key: value for key, value in fields.items() if value})


def _may_be_committed(message: Message, answered: int | None) -> bool:
    """Whether COMMIT may have been answered before whatever ended the message."""
    if message.committed_at is None:
        return False
    return answered is None or answered >= message.committed_at


def _chosen(own: int | None, general: int) -> int:
    return general if own is None else own


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" + ("" if number == 1 else "s")
