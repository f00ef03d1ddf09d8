"""Runs one no-transaction migration, or undo, statement by statement; docs/design.md section 5.

A session-level lock keeps other runners out, and an orphan of our own too: it holds the lock as
long as it lives. Whatever was started earlier and has no outcome is settled by the catalog first.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar

from migrator.apply.database import (
    CONTENTION,
    LOCK_REFUSED,
    LOSSES,
    Link,
    MovedError,
    TablesBusyError,
)
from migrator.apply.direction import Direction
from migrator.apply.remedies import IN_TRANSACTION
from migrator.apply.tries import Cause, own_session, persist
from migrator.durations import limit_seconds
from migrator.errors import (
    AccessError,
    ConfigError,
    LockedError,
    MigratorError,
    StatementError,
    StoppedError,
)
from migrator.history import journal
from migrator.history.distrust import UNTRUSTED
from migrator.history.fence import Write
from migrator.history.flight import ESCAPED, MOVED, Message, head
from migrator.history.journal import statement_marker
from migrator.history.place import Limits, marker
from migrator.history.proof import TAMPERED, UNWRITTEN
from migrator.model import Event
from migrator.no_transaction.leftover_lock import free_lock, is_left
from migrator.no_transaction.look import look
from migrator.no_transaction.settle import (
    Next,
    Sight,
    Verdict,
    confirm,
    read_sight,
    settle,
    settle_changed,
    settle_first,
)
from migrator.no_transaction.steps import (
    FileStatement,
    check_settled,
    check_unchanged,
    escaped,
    in_the_way,
    standing,
    steps,
    tampered,
    undecided,
)
from migrator.plan.progress import How, Intent, Progress, fold, read_lines
from migrator.postgres.quoting import UTF8
from migrator.postgres.retry import Trouble, retry
from migrator.postgres.session import LostError, ServerError
from migrator.report import Done
from migrator.sql.effects import Act, Effect, read_effect
from migrator.sql.script import Script

_T = TypeVar("_T")
Rows = list[tuple[Any, ...]]


def apply_alone(
    link: Link,
    script: Script,
    seen: Collection[tuple[str, str | None]],
    also: Sequence[Write],
    direction: Direction,
) -> Done:
    """Apply a no-transaction migration, or undo one, from where it is, on a session of its own.

    `also` are statements that go with the history's row.

    Raises MovedError when the history is not what was `seen`, DirtyError with the question that
    a person must answer, and what else ends a run; then the journal holds what is known.
    """
    version = script.migration.version
    while link.losses(version) < LOSSES:
        try:
            return _Visit(link, script, also, direction).apply(seen)
        except LostError as error:
            link.lost_own()
            link.count_loss(version, error)
        except MigratorError as error:
            if link.losses(version):
                error.details.setdefault(
                    "outcome", f"unknown: {version} was lost while it ran; the next run settles it"
                )
            raise
    called = direction.called.format(version)
    raise StatementError(
        f"{script.migration.file}: the connection was lost {LOSSES} times while it ran",
        remedy="See the server's log: a statement may crash its backend, or a proxy may cut long "
        "ones. The next run settles what was started.",
        version=version,
        file=script.migration.file,
        outcome=f"{called} was not finished when last looked at; see `status`",
    )


class _StillAtWorkError(Exception):
    """Another session is at work on the statement's object."""

    def __init__(self, verdict: Verdict) -> None:
        super().__init__()
        self.verdict = verdict


class _NotInCompanyError(Exception):
    """The server takes this statement in a message of its own alone: nothing of it was done."""


class _Visit:
    """One hold of the lock, on one session."""

    def __init__(
        self, link: Link, script: Script, also: Sequence[Write], direction: Direction
    ) -> None:
        self.link, self.script, self.config = link, script, link.config
        self.also, self.direction, self.way = also, direction, direction.way
        self.version = script.migration.version
        self.session = own_session(link)
        self.place = link.place_of(self.session)
        self.progress = Progress(way=self.way)
        self.seen = ""  #: the head that the history must keep
        self.holder = 0  #: the server's pid of the backend that took the lock
        self.left_by = 0  #: the same, once it kept the lock that was given back
        self.freed = True  #: nobody keeps it any more
        self.first = False  #: nothing is recorded yet
        self.at = 0  #: the number of the statement that was sent last
        self.lone = 0  #: the number of the statement that did not go in company
        self.waited = 0.0  #: seconds of LOCK_RETRY_TIMEOUT that a statement has had to itself
        called = direction.called.format(self.version)
        self.running = f"{called} was running, and the server did not answer any more"
        #: Why it is not known what there is of it; empty while `progress` is all of it.
        self.doubt = f"how far {called} has come was not read"

    def apply(self, seen: Collection[tuple[str, str | None]]) -> Done:
        """All statements that are not yet done, and the history's row.

        Raises ConfigError when a pooler has taken the session away, and so the lock with it.
        """
        with self._given_back():
            done = self._under_lock(seen)
        if self.left_by:
            called = self.direction.called.format(self.version)
            raise ConfigError(
                f"{called}: the pooler kept the lock when it was given back",
                remedy=escaped(None if self.freed else self.left_by),
                outcome=f"all of {called} is done and recorded",
            )
        return done

    def _under_lock(self, seen: Collection[tuple[str, str | None]]) -> Done:
        take = journal.take_lock(self.place, self._limits())

        def take_lock() -> Rows:
            self.session = own_session(self.link)  # a waiter may have lost the one before
            return self.session.send(take)

        [(self.holder,)] = persist(self.link, take_lock, (Cause.FULL, Cause.HELD))
        try:
            with self._told():
                return self._apply(seen)
        except ServerError as error:
            if error.refusal.sqlstate != ESCAPED:
                raise
            freed = free_lock(self.session, self.place, self.holder, self.link.watch)
            message = f"{self.version}: {error.refusal.message}"
            raise ConfigError(
                message, remedy=escaped(None if freed else self.holder), outcome=self._standing
            ) from error

    def _apply(self, seen: Collection[tuple[str, str | None]]) -> Done:
        try:
            self.seen, self.first = head(seen), not seen
            text = journal.read_progress(self.place, self.version, self.seen)
            rows = self._again(lambda: self._send(text))
        except ServerError as error:
            if error.refusal.sqlstate != MOVED:
                raise
            return self._recorded()
        lines = read_lines(rows[0][0])
        begun = fold(lines).get(self.version, self.progress)
        if begun.way is self.way:
            self.progress = begun
        self.doubt = ""
        check_unchanged(self.script, self.progress)
        self.session.hear = partial(self.link.tell_notice, self.version)
        for step in steps(self.script):
            if step.number not in self.progress.done:
                self.link.watch.check()
                if not self.at:
                    self._send(journal.LIVELY)
                self.at = step.number
                self.waited = 0.0
                self._again(partial(self._carry_out, step), lambda: self.waited)
        check_settled(self.script, self.progress)
        spent_ms = str(self.progress.spent_ms)
        writes = (*self.direction.record(self.script, self.place, spent_ms), *self.also)
        text = journal.finish(self.place, writes, self.seen)
        with self._committing():
            self._again(lambda: self._send(text))
        return Done(self.version, self.progress.spent_ms)

    def _carry_out(self, step: FileStatement) -> None:
        """One statement, from whatever state it was left in."""
        if step.effect.act is Act.SESSION:
            self._try(step, f"{step.text}\n;\n{UTF8}")
            return
        interrupted = self.progress.interrupted
        if interrupted is not None and self._settled(step, interrupted):
            return
        if step.effect.act is Act.ATOMIC:
            try:
                self._commit(step)
                return
            except _NotInCompanyError:  # what this file does not know of newer servers
                step = replace(step, effect=Effect(Act.ASK))
                self.lone = step.number
        with self._patient(step.effect):
            self._begin(step)
            self._run(step)

    def _settled(self, step: FileStatement, intent: Intent) -> bool:
        """Settle an interrupted statement; False when it is to be run, or run again."""
        changed = intent.sha256 != step.sha256 or intent.number != step.number
        lone = step.effect.act is Act.ATOMIC  #: it was found that it does not go in company
        effect = read_effect(intent.effect) if changed or lone else step.effect
        before = read_sight(intent.before)
        mark = statement_marker(intent.run_id, self.version, intent.number)
        rule = settle_changed if changed else settle

        def judge() -> Verdict:
            return rule(effect, before, look(self.session, effect, mark, before))

        with self._patient(effect):
            while True:
                verdict = self._when_idle(step, judge)
                fields = {**step.fields, "seen": verdict.seen, "verdict": verdict.next.value}
                self.link.tell(Event("statement.settled", "warning", fields))
                if verdict.next is Next.DONE:
                    self._conclude(step, How.SETTLED)
                    return True
                if verdict.next is Next.AGAIN:
                    return False
                if verdict.next is Next.ASK:
                    raise undecided(step, verdict, self.way)
                self._tidy_up(effect, verdict)

    def _tidy_up(self, effect: Effect, verdict: Verdict) -> None:
        """What an interrupted statement calls for before it is looked at again."""
        if verdict.next is Next.FINALIZE:
            self._send(journal.finalize(effect))
        for name in verdict.drop:
            self._send(journal.drop_index(name))

    def _when_idle(self, step: FileStatement, judge: Callable[[], Verdict]) -> Verdict:
        """What `judge` says once it no longer says WAIT; LockedError after WAIT_TIMEOUT."""

        def once() -> Verdict:
            verdict = judge()
            if verdict.next is Next.WAIT:
                raise _StillAtWorkError(verdict)
            return verdict

        def tell_retry(error: _StillAtWorkError, _attempt: int) -> None:
            verdict = error.verdict
            fields = {**step.fields, "seen": verdict.seen, "verdict": verdict.next.value}
            self.link.tell(Event("statement.settled", "info", fields))

        limit = limit_seconds(self.config.wait_timeout)
        try:
            return retry(
                once, self.link.watch, Trouble(_StillAtWorkError, lambda: limit, tell_retry)
            )
        except _StillAtWorkError as error:
            raise LockedError(
                f"{self.version}: {step.what}: {error.verdict.seen}, for all of WAIT_TIMEOUT",
                version=self.version,
                remedy="See whether that session is at work or stuck, then run again.",
            ) from None

    def _begin(self, step: FileStatement) -> None:
        """Write the intent, unless what is there already forbids to run the statement."""
        seen: list[Sight] = []

        def judge() -> Verdict:
            seen.append(look(self.session, step.effect))
            return settle_first(step.effect, seen[-1])

        verdict = self._when_idle(step, judge)
        if verdict.next is Next.ASK:
            raise in_the_way(step, verdict, seen[-1])
        intent = step.intent(self.link.run_id, seen[-1])
        with self._committing():
            self._send(journal.intend(self.place, self.version, intent, self.way))
        self.progress = replace(self.progress, interrupted=intent)
        self.link.tell(Event("statement.started", "info", step.fields))

    def _run(self, step: FileStatement) -> None:
        """The statement itself, which has an intent; then its outcome."""
        prefix = statement_marker(self.link.run_id, self.version, step.number)
        self._try(step, f"{prefix}{step.text}", len(prefix))
        verdict = confirm(step.effect, look(self.session, step.effect))
        if verdict.next is Next.ASK:
            raise undecided(step, verdict, self.way)
        self._conclude(step, How.RAN)

    def _commit(self, step: FileStatement) -> None:
        """A statement that runs in a transaction, together with its outcome."""
        self.link.tell(Event("statement.started", "info", step.fields))
        before, after = journal.atomic(
            self.place, self.version, step.number, step.sha256, self.seen, self.way
        )
        with self._committing():
            rows = self._try(step, before + step.text + after, len(before), 1)
        self._is_done(step, rows, How.RAN)

    def _conclude(self, step: FileStatement, how: How) -> None:
        """Record the outcome, again while the log is busy; the statement is not done over."""
        text = journal.conclude(
            self.place, self.version, step.number, step.sha256, how, self.seen, self.way
        )
        self._is_done(step, self._again(lambda: self._send(text)), how)

    def _is_done(self, step: FileStatement, rows: Rows, how: How) -> None:
        spent_ms = int(rows[0][0]) if rows and rows[0][0] is not None else None
        done = {**self.progress.done, step.number: step.sha256}
        self.progress = Progress(done, self.progress.spent_ms + (spent_ms or 0), None, self.way)
        fields = {**step.fields, "execution_time_ms": spent_ms, "how": how.value}
        self.link.tell(Event("statement.done", "info", fields))

    def _try(
        self, step: FileStatement, text: str, starts: int = 0, results_before: int = 0
    ) -> Rows:
        """Send a text of the file's, which begins at `starts`; raises what its refusal means."""
        self.session.count_results()
        began = time.monotonic()
        try:
            return self.session.send_file(text)
        except ServerError as error:
            answered = self.session.answered
            message = step.message(text, starts, results_before)
            ours = {ESCAPED, UNTRUSTED, UNWRITTEN, TAMPERED}
            if error.refusal.sqlstate in ours and not message.blames_file(answered):
                raise
            if error.refusal.sqlstate == LOCK_REFUSED and self._may_wait(step.effect):
                self.waited = time.monotonic() - began
            if error.refusal.sqlstate in CONTENTION:
                raise self.link.tables_busy(error, message, answered) from error
            if step.effect.act is Act.ATOMIC and _goes_alone(error):
                raise _NotInCompanyError from error
            raise self._refused(step, message, error, answered) from error

    def _refused(
        self, step: FileStatement, message: Message, error: ServerError, answered: int | None
    ) -> MigratorError:
        """What a refused statement ends the run with; recorded, with what is left of it undone."""
        from migrator.apply.diagnosis import Standing
        from migrator.apply.inquiry import explained  # only when one failed

        standing = Standing((), None, (), first=self.first)
        refused = (self.script, message, error.refusal, answered, standing)
        refusal, found = explained(self.link, self.session, *refused)
        undone = True
        with contextlib.suppress(ServerError, TablesBusyError):
            undone = (step.number == self.lone and _goes_alone(error)) or self._undone(step)
            detail = {
                "sqlstate": refusal.sqlstate,
                "message": refusal.message,
                "line": found.details.get("line"),
                "undone": undone,
            }
            self._send(journal.fail(self.place, self.version, step.number, detail, self.way))
            if undone:
                self.progress = self.progress.undone(step.number)
        return found

    def _undone(self, step: FileStatement) -> bool:
        """Whether nothing of a refused statement is left; an INVALID index is dropped for it.

        A SET may be refused before an interrupted statement has been settled, which in a file
        that has changed may have had its number.
        """
        intent = self.progress.interrupted
        if step.effect.act is Act.ATOMIC or intent is None:
            return True
        if step.effect.act is Act.SESSION:
            return False
        before = read_sight(intent.before)
        for _ in range(2):
            verdict = settle(step.effect, before, look(self.session, step.effect, None, before))
            if verdict.next is Next.CLEAN:
                self._tidy_up(step.effect, verdict)
        return verdict.next is Next.AGAIN

    def _recorded(self) -> Done:
        """The history has moved: by our own last message, whose answer was lost, or by others."""
        found = self.direction.find(self.session, self.place, self.version)
        if found is None or found[0] != self.link.run_id:
            raise MovedError
        return Done(self.version, found[1])

    @property
    def _standing(self) -> str:
        if self.doubt:
            return f"unknown: {self.doubt}; see `status`"
        return standing(self.version, self.progress)

    def _limits(self) -> Limits:
        """Limits of the file's own, or LOCK_TIMEOUT; STATEMENT_TIMEOUT is not for these files."""
        own = self.script.lock_timeout_ms
        lock_timeout = self.config.lock_timeout if own is None else own
        timeout = self.script.statement_timeout_ms or 0
        return Limits(lock_timeout, timeout, self.config.search_path)

    def _may_wait(self, effect: Effect) -> bool:
        return effect.patient and self.script.lock_timeout_ms is None

    @contextlib.contextmanager
    def _patient(self, effect: Effect) -> Iterator[None]:
        """Within, wait longer for locks, where that keeps nobody waiting.

        A build that gives up because some transaction lasts for longer than LOCK_TIMEOUT would
        never end. A limit that the file sets itself stays in force.
        """
        short, long = self._limits().lock_timeout, self.config.lock_retry_timeout
        if not self._may_wait(effect) or limit_seconds(long) <= limit_seconds(short):
            yield
            return
        self._send(journal.patience(short, long))
        yield
        self._send(journal.patience(long, short))

    @contextlib.contextmanager
    def _committing(self) -> Iterator[None]:
        """Around what commits by itself: without an answer it is unknown whether it has."""
        try:
            yield
        finally:
            if not self.session.alive:
                self.doubt = self.running

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        """Whatever ends the run says what it leaves behind."""
        try:
            yield
        except StoppedError as error:
            error.details["outcome"] = self._standing
            with contextlib.suppress(Exception), self.link.watch.cleaning_up():
                detail = {"message": str(error), "undone": False}
                self.session.send(journal.fail(self.place, self.version, self.at, detail, self.way))
            raise
        except MigratorError as error:
            error.details["outcome"] = self._standing
            raise
        except ServerError as error:
            if error.refusal.sqlstate == ESCAPED:
                raise
            self.link.refuse_distrusted(error, self._standing)
            if error.refusal.sqlstate == TAMPERED:
                raise tampered(self.script, error.refusal.message, self._standing) from error
            raise AccessError(
                f"the server refused what the job itself needs: {error}", outcome=self._standing
            ) from error

    @contextlib.contextmanager
    def _given_back(self) -> Iterator[None]:
        """Give the lock and the session's settings back, whatever happened."""
        try:
            yield
        finally:
            if self.session.alive and not self.link.watch.stopped_by:
                with contextlib.suppress(LostError, ServerError, StoppedError):
                    self.session.tidy()
                if self.holder not in {0, self.session.backend_pid} and is_left(
                    self.session, self.place, self.holder
                ):
                    self.left_by = self.holder
                    self.freed = free_lock(self.session, self.place, self.holder, self.link.watch)

    def _again(self, send: Callable[[], _T], spent: Callable[[], float] = float) -> _T:
        limit = self._limits().lock_timeout
        return persist(self.link, send, (Cause.BUSY,), self.version, limit, spent=spent)

    def _send(self, text: str) -> Rows:
        """A text of our own, by which others know the backend."""
        try:
            return self.session.send(f"{marker(self.place, self.version)} {text}")
        except ServerError as error:
            if error.refusal.sqlstate in CONTENTION:
                raise self.link.tables_busy(error) from error
            raise


def _goes_alone(error: ServerError) -> bool:
    """Whether the statement itself was refused in company, and not one that a function runs."""
    refusal = error.refusal
    return refusal.sqlstate == IN_TRANSACTION and "PL/pgSQL" not in (refusal.context or "")
