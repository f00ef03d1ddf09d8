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

#: Rolled back whole and safe to send again: lock not available, deadlock, serialization failure.
BUSY = frozenset({"55P03", "40P01", "40001"})
READ_ONLY = "25006"
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
        history = self._reconnecting(lambda: read_history(self.session, self.place, readers))
        policy = Policy(self.config.on_drift, self.config.on_missing, self.config.on_late)
        plan = make_plan(migrations, history.rows)
        self.view = View(history, plan, plan.checked(policy))
        return self.view

    def warn(self, view: View) -> None:
        """Say what the policies let pass."""
        for finding in view.decision.warnings:
            fields = {"file": finding.file, "problem": finding.problem, "remedy": finding.remedy}
            self.tell(Event("plan.warning", "warning", fields))

    def apply_pending(self, migrations: tuple[Migration, ...]) -> None:
        """Bring the database to where the folder is, however often others move the history."""
        while True:
            view = self.look(migrations, self.config.history_readers)
            self.tell(_plan_made(view))
            self.warn(view)
            view.decision.raise_failures()
            scripts = self.understand(view.decision.run)
            if not scripts and not view.history.readers_lacking:
                return
            with contextlib.suppress(_MovedError):
                self._apply_all(scripts, view.history)
                return

    def understand(self, migrations: tuple[Migration, ...]) -> tuple[Script, ...]:
        """Read every pending file before any is run; SourceError with all findings."""
        scripts: list[Script] = []
        findings: list[Finding] = []
        for migration in migrations:
            script, found = understand(migration)
            findings += found
            if script is not None:
                scripts.append(script)
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
        seen = dict(history.seen())
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
            seen[script.migration.version] = script.migration.checksum
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

    def _fly(self, script: Script, seen: dict[str, str | None]) -> Done:
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
        try:
            found = self._reconnecting(
                lambda: self._when_free(lambda: find_run(self.session, self.place, version))
            )
        except MigratorError as error:
            error.details["outcome"] = f"unknown: the connection was lost while {version} ran"
            raise
        if found is None:
            return None
        run_id, spent = found
        if run_id != self.run_id:
            raise _MovedError
        return Done(version, spent)

    def _send_when_free(self, script: Script, seen: dict[str, str | None]) -> int:
        config = self.config
        limits = Limits(
            _chosen(script.lock_timeout_ms, config.lock_timeout),
            _chosen(script.statement_timeout_ms, config.statement_timeout),
            config.search_path,
        )
        messages = make_flight(script, head(seen.items()), self.place, limits)
        return self._when_free(lambda: self._send(script, messages))

    def _send(self, script: Script, messages: tuple[Message, ...]) -> int:
        self.session.count_results()
        rows: list[tuple[Any, ...]] = []
        for message in messages:
            try:
                rows = self.session.send(message.text)
            except ServerError as error:
                self._settle(error)
                raise self._refused(script, message, error) from error
            except StoppedError as error:
                version, sure = script.migration.version, self.session.alive
                error.details["outcome"] = (
                    f"{version} was rolled back"
                    if sure
                    else f"unknown: {version} was running, and the server did not answer any more"
                )
                raise
            finally:
                self._tell_notices(script.migration.version)
        return int(rows[0][0]) if rows and rows[0][0] is not None else 0

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
            seconds = limit_seconds(self.config.lock_retry_timeout)
            return retry(send, self.watch, seconds, _BusyError, tell_retry)
        except _BusyError as error:
            refusal = error.error.refusal
            raise BusyError(
                f"{what}: locks were not to be had within LOCK_RETRY_TIMEOUT: {refusal.message}",
                version=what,
                sqlstate=refusal.sqlstate,
                outcome=f"{what} was rolled back and is not applied",
            ) from error

    def _reconnecting(self, send: Callable[[], T]) -> T:
        """Do `send`, which may be repeated, on a new connection if the old one was lost."""
        try:
            return send()
        except LostError as error:
            self._session = None
            self.tell(Event("connection.retry", "warning", {"reason": "lost", "error": str(error)}))
            return send()

    def _refused(self, script: Script, message: Message, error: ServerError) -> MigratorError:
        """What the refusal of a file's statement ends the run with; recorded in the log table."""
        from migrator.diagnosis import Standing, diagnose  # needed only when a statement failed

        version = script.migration.version
        after = self.pending[self.pending.index(version) + 1 :]
        standing = Standing([done.version for done in self.applied], self.current, after)
        found = diagnose(script, message, error.refusal, error.results, standing)
        if isinstance(found, StatementError):
            detail = {
                "sqlstate": error.refusal.sqlstate,
                "message": error.refusal.message,
                "line": found.details.get("line"),
            }
            with contextlib.suppress(ServerError, LostError):
                self.session.send(log_row(self.place, version, "failed", detail))
        return found

    def _tell_notices(self, version: str) -> None:
        if self._session is None:
            return
        for text in self._session.notices():
            severity, _, message = text.strip().partition(":")
            level = "warning" if severity == "WARNING" else "debug"
            self.tell(
                Event("migration.notice", level, {"version": version, "notice": message.strip()})
            )


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
        seconds = limit_seconds(run.config.wait_timeout)
        retry(look, run.watch, seconds, _NotYetError, tell_retry, first=0.2)
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


def _chosen(own: int | None, general: int) -> int:
    return general if own is None else own


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" + ("" if number == 1 else "s")
