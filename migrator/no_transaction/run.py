"""Runs one no-transaction migration, or undo, statement by statement; docs/design.md section 5.

Whatever was started earlier and has no outcome is settled by the catalog first. Of each statement:

    state         in the journal       what may follow
    not started   nothing              a SET is sent each time, and has no line; what may share a
                                       transaction is sent with its outcome: done, or not started;
                                       of others the intent is written first: started
    started       an intent            an answer, and the catalog agrees: done; a refusal, and
                                       nothing of it is left: not started; anything else:
                                       interrupted
    interrupted   an intent, of a      `settle`: done; run again: started; clean up, finalize or
                  hold that is over    wait: looked at again; a person must answer: 14
    done          an outcome           the next statement; behind the last the history's row
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from functools import partial

from migrator.apply.direction import Direction
from migrator.database.database import (
    CONTENTION,
    LOCK_REFUSED,
    LOSSES,
    Link,
    MovedError,
    TablesBusyError,
)
from migrator.durations import limit_seconds
from migrator.errors import (
    LockedError,
    MigratorError,
    StatementError,
)
from migrator.history import journal
from migrator.history.distrust import UNTRUSTED
from migrator.history.fence import Write
from migrator.history.guard import ESCAPED, MOVED, head
from migrator.history.journal import statement_marker, traced
from migrator.history.message import Message
from migrator.history.place import as_role
from migrator.history.proof import TAMPERED, UNWRITTEN
from migrator.model import Event
from migrator.no_transaction.hold import Hold, Rows
from migrator.no_transaction.look import look
from migrator.no_transaction.role import Role
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
    in_the_way,
    steps,
    undecided,
)
from migrator.plan.progress import How, Intent, Progress, fold, read_lines
from migrator.postgres.quoting import UTF8
from migrator.postgres.retry import Trouble, retry
from migrator.postgres.session import LostError, ServerError
from migrator.refusals.remedies import IN_TRANSACTION
from migrator.report import Done
from migrator.sql.asserts import When
from migrator.sql.effects import Act, Effect, read_effect
from migrator.sql.script import Script


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
    """The statements of one file, under one hold of the lock."""

    def __init__(
        self, link: Link, script: Script, also: Sequence[Write], direction: Direction
    ) -> None:
        self.link, self.script, self.config = link, script, link.config
        self.also, self.direction, self.way = also, direction, direction.way
        self.version = script.migration.version
        self.hold = Hold(link, script, direction)
        self.place = self.hold.place
        self.role = Role(self.hold)
        self.seen = ""  #: the head that the history must keep
        self.first = False  #: nothing is recorded yet
        self.lone = 0  #: the number of the statement that did not go in company
        self.waited = 0.0  #: seconds of LOCK_RETRY_TIMEOUT that a statement has had to itself

    def apply(self, seen: Collection[tuple[str, str | None]]) -> Done:
        """All statements that are not yet done, and the history's row."""
        with self.hold.taken():
            return self._apply(seen)

    def _apply(self, seen: Collection[tuple[str, str | None]]) -> Done:
        try:
            self.seen, self.first = head(seen), not seen
            text = journal.read_progress(self.place, self.version, self.seen)
            rows = self.hold.retried(lambda: self.hold.send(text))
        except ServerError as error:
            if error.refusal.sqlstate != MOVED:
                raise
            return self._recorded()
        lines = read_lines(rows[0][0])
        started = fold(lines).get(self.version, self.hold.progress)
        if started.way is self.way:
            self.hold.progress = started
        self.hold.doubt = ""
        check_unchanged(self.script, self.hold.progress)
        self.role.check()
        self.hold.session.hear = partial(self.link.tell_notice, self.version)
        if not self.hold.progress.started:
            self._assert(When.BEFORE)
        for step in steps(self.script):
            if step.number not in self.hold.progress.done:
                self.link.watch.check()
                if not self.hold.at:
                    self.hold.send(journal.LIVELY)
                self.hold.at = step.number
                self.waited = 0.0
                self.hold.retried(partial(self._carry_out, step), lambda: self.waited)
        check_settled(self.script, self.hold.progress)
        self._assert(When.AFTER)
        spent_ms, script = str(self.hold.progress.spent_ms), self.link.delayed(self.script)
        writes = (*self.direction.record(script, self.place, spent_ms), *self.also)
        text = journal.finish(self.place, writes, self.seen)
        with self.hold.committing():
            self.hold.retried(lambda: self.hold.send(text))
        return Done(self.version, self.hold.progress.spent_ms)

    def _assert(self, when: When) -> None:
        if not self.script.asserts:
            return
        from migrator.database.asserts import check_asserts  # for such files alone

        def send(text: str) -> Rows:
            """In a message of its own, which is one transaction."""
            message = ";\n".join((*as_role(self.role.name), text))
            return self.hold.retried(lambda: self.hold.send(message))

        check_asserts(self.link, self.script, when, send)

    def _carry_out(self, step: FileStatement) -> None:
        """One statement, from whatever state it was left in."""
        if step.effect.act is Act.SESSION:
            self._try(step, f"{step.text}\n;\n{UTF8}")
            self.role.heed(step)
            return
        interrupted = self.hold.progress.interrupted
        if interrupted is not None:
            with self.role.kept():
                if self._settled(step, interrupted):
                    return
        if step.effect.act is Act.ATOMIC:
            try:
                self._commit(step)
                return
            except _NotInCompanyError:  # what this file does not know of newer servers
                step = replace(step, effect=Effect(Act.ASK))
                self.lone = step.number
        with self.role.kept(), self.hold.waiting_longer(self._may_wait(step.effect)):
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
            return rule(effect, before, look(self.hold.session, effect, mark, before))

        with self.hold.waiting_longer(self._may_wait(effect)):
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
            self.hold.send(journal.finalize(effect))
        for name in verdict.drop:
            self.hold.send(journal.drop_index(name))

    def _when_idle(self, step: FileStatement, judge: Callable[[], Verdict]) -> Verdict:
        """What `judge` says once it no longer says WAIT; LockedError after WAIT_TIMEOUT."""

        def once() -> Verdict:
            verdict = judge()
            if verdict.next is Next.WAIT:
                raise _StillAtWorkError(verdict)
            return verdict

        def report_retry(error: _StillAtWorkError, _attempt: int) -> None:
            verdict = error.verdict
            fields = {**step.fields, "seen": verdict.seen, "verdict": verdict.next.value}
            self.link.tell(Event("statement.settled", "info", fields))

        limit = limit_seconds(self.config.wait_timeout)
        try:
            return retry(
                once, self.link.watch, Trouble(_StillAtWorkError, lambda: limit, report_retry)
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
            seen.append(look(self.hold.session, step.effect))
            return settle_first(step.effect, seen[-1])

        verdict = self._when_idle(step, judge)
        if verdict.next is Next.ASK:
            raise in_the_way(step, verdict, seen[-1])
        intent = step.intent(self.link.run_id, seen[-1])
        with self.hold.committing():
            self.hold.send(journal.intend(self.place, self.version, intent, self.way))
        self.hold.progress = self.hold.progress._replace(interrupted=intent)
        self.link.tell(Event("statement.started", "info", step.fields))

    def _run(self, step: FileStatement) -> None:
        """The statement itself, which has an intent; then its outcome."""
        prefix = statement_marker(self.link.run_id, self.version, step.number)
        prefix += traced(self.link.traceparent)
        self._try(step, f"{prefix}{step.text}", len(prefix))
        verdict = confirm(step.effect, look(self.hold.session, step.effect))
        if verdict.next is Next.ASK:
            raise undecided(step, verdict, self.way)
        self._conclude(step, How.RAN)

    def _commit(self, step: FileStatement) -> None:
        """A statement that runs in a transaction, together with its outcome."""
        self.link.tell(Event("statement.started", "info", step.fields))
        before, after = journal.atomic(
            self.place,
            self.version,
            step.number,
            step.sha256,
            self.seen,
            self.way,
            self.role.name,
        )
        start = "".join(f"{statement};\n" for statement in before)
        with self.hold.committing():
            rows = self._try(step, start + step.text + after, len(start), len(before))
        self._is_done(step, rows, How.RAN)

    def _conclude(self, step: FileStatement, how: How) -> None:
        """Record the outcome, again while the log is busy; the statement is not done over."""
        text = journal.conclude(
            self.place, self.version, step.number, step.sha256, how, self.seen, self.way
        )
        self._is_done(step, self.hold.retried(lambda: self.hold.send(text)), how)

    def _is_done(self, step: FileStatement, rows: Rows, how: How) -> None:
        spent_ms = int(rows[0][0]) if rows and rows[0][0] is not None else None
        done = {**self.hold.progress.done, step.number: step.sha256}
        self.hold.progress = Progress(
            done, self.hold.progress.spent_ms + (spent_ms or 0), None, self.way
        )
        fields = {**step.fields, "execution_time_ms": spent_ms, "how": how.value}
        self.link.tell(Event("statement.done", "info", fields))

    def _try(
        self, step: FileStatement, text: str, starts: int = 0, results_before: int = 0
    ) -> Rows:
        """Send a text of the file's, which begins at `starts`; raises what its refusal means."""
        self.hold.session.count_results()
        began = time.monotonic()
        try:
            return self.hold.session.send_file(text)
        except ServerError as error:
            answered = self.hold.session.answered
            message = step.message(text, starts, results_before)
            ours = {ESCAPED, UNTRUSTED, UNWRITTEN, TAMPERED}
            if error.refusal.sqlstate in ours and not message.blames_file(answered):
                raise
            if self.role.name is not None and message.is_opened(answered):
                raise self.role.refused(error.refusal) from error
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
        from migrator.database.inquiry import explained  # only when one failed
        from migrator.refusals.diagnosis import RunState

        run_state = RunState((), None, (), first=self.first)
        refused = (self.script, message, error.refusal, answered, run_state)
        refusal, found = explained(self.link, self.hold.session, *refused)
        undone = True
        with contextlib.suppress(ServerError, TablesBusyError):
            undone = (step.number == self.lone and _goes_alone(error)) or self._undone(step)
            detail = {
                "sqlstate": refusal.sqlstate,
                "message": refusal.message,
                "line": found.details.get("line"),
                "undone": undone,
            }
            self.hold.send(journal.fail(self.place, self.version, step.number, detail, self.way))
            if undone:
                self.hold.progress = self.hold.progress.undone(step.number)
        return found

    def _undone(self, step: FileStatement) -> bool:
        """Whether nothing of a refused statement is left; an INVALID index is dropped for it.

        A SET may be refused before an interrupted statement has been settled, which in a file
        that has changed may have had its number.
        """
        intent = self.hold.progress.interrupted
        if step.effect.act is Act.ATOMIC or intent is None:
            return True
        if step.effect.act is Act.SESSION:
            return False
        before = read_sight(intent.before)
        for _ in range(2):
            verdict = settle(
                step.effect, before, look(self.hold.session, step.effect, None, before)
            )
            if verdict.next is Next.CLEAN:
                self._tidy_up(step.effect, verdict)
        return verdict.next is Next.AGAIN

    def _recorded(self) -> Done:
        """The history has moved: by our own last message, whose answer was lost, or by others."""
        found = self.direction.find(self.hold.session, self.place, self.version)
        if found is None or found[0] != self.link.run_id:
            raise MovedError
        return Done(self.version, found[1])

    def _may_wait(self, effect: Effect) -> bool:
        return effect.patient and self.script.lock_timeout_ms is None


def _goes_alone(error: ServerError) -> bool:
    """Whether the statement itself was refused in company, and not one that a function runs."""
    refusal = error.refusal
    return refusal.sqlstate == IN_TRANSACTION and "PL/pgSQL" not in (refusal.context or "")
