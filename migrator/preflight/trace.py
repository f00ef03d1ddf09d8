"""Runs files on a scratch database statement by statement, and looks in between.

Every message is one statement of the file or one question of ours. What a file is refused with is
what it would be refused with on the real database, before anything touches that one.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence

from migrator.apply.run import Run
from migrator.database.inquiry import explained
from migrator.history.message import Message
from migrator.history.place import Limits, marker, settings
from migrator.model import Danger
from migrator.postgres.libpq import Notice
from migrator.postgres.quoting import CLEAN, identifier
from migrator.postgres.session import ServerError, Session
from migrator.preflight.compare import (
    Ran,
    Ranked,
    makes,
    may_rename_schemas,
    read_advice,
    read_facts,
    renamed,
    shut_by,
)
from migrator.preflight.facts import Traced
from migrator.preflight.look_query import CHANGES_QUERY, MOMENT_QUERY, STATE_QUERY
from migrator.preflight.moment import Moment, read_moment
from migrator.refusals.diagnosis import RunState
from migrator.sql.own_transaction import taken_as_ours
from migrator.sql.parts import Part, TextReader, lay_out
from migrator.sql.script import Script
from migrator.sql.statements import StatementKind

#: PostgreSQL refuses the statement in a transaction, or what it does: it goes alone.
OWN_MESSAGE = frozenset({"25001", "2D000", "0A000"})


def trace(trial: Run, scripts: Sequence[Script], *, keep: bool = True) -> Iterator[Traced]:
    """What each of these files does, one after the other; all earlier files were applied.

    Unless it is to be kept, what a transactional file did is rolled back.

    Raises what a refusal of a file ends a run with: StatementError with its line and caret.
    """
    session = trial.link.connect()
    state = session.send(STATE_QUERY)[0][0]
    for script in scripts:
        file = _File(trial, script, "COMMIT" if keep else "ROLLBACK")
        start, end = file.trace()
        before, state = state, session.send(STATE_QUERY)[0][0]
        migration, steps = script.migration, file.steps
        facts = read_facts(start, steps)
        if script.batches is not None:  # no more rows than those of a batch are changed at once
            facts = tuple(fact for fact in facts if fact.danger is not Danger.MASS)
        yield Traced(
            migration.version,
            migration.file,
            (*facts, *read_advice(before, state, steps)),
            makes(start, end),
            renamed(start, end),
            shut_by(start, steps),
        )


class _File:
    """One file under trace."""

    def __init__(self, trial: Run, script: Script, end: str) -> None:
        self.link, self.script, self.end = trial.link, script, end
        self.session: Session = trial.link.connect()
        self.place = trial.link.place_of(self.session)
        self.notices: list[str] = []
        self.steps: list[Ranked] = []

    def trace(self) -> tuple[Moment, Moment]:
        """The moments before and after the file; what lies between is in `steps`."""
        session, script = self.session, self.script
        opening = self._opening()
        session.count_results()
        session.listen(self._hear)
        session.send(opening)
        start = before = self._look()
        try:
            for part, message, kind in self._messages():
                before = self._step(part, message, kind, before)
            if script.transactional:
                self._send(Message(b"SET CONSTRAINTS ALL IMMEDIATE", 0))
                session.send(self.end)
            end = self._look() if not script.transactional else before
        finally:
            with contextlib.suppress(ServerError):
                session.tidy()
            session.hear = lambda _notice: None
        return start, end

    def _opening(self) -> str:
        """As a flight begins, without the runners' lock: nobody else is in this database."""
        config, script = self.link.config, self.script
        limits = Limits(
            config.lock_timeout if script.lock_timeout_ms is None else script.lock_timeout_ms,
            config.statement_timeout
            if script.statement_timeout_ms is None
            else script.statement_timeout_ms,
        )
        local = "LOCAL " if script.transactional else ""
        path = ", ".join(map(identifier, config.search_path))
        begin = ["BEGIN ISOLATION LEVEL READ COMMITTED"] if script.transactional else []
        lines = [
            f"{marker(self.place, f'traces {script.migration.version}')} {CLEAN[0]}",
            *CLEAN[1:],
            *begin,
            *(f"SET {local}{value}" for value in settings(self.place, limits)),
            *([f"SET {local}search_path TO {path}"] if path else []),
        ]
        if script.batches is not None:
            from migrator.batches.look import whole_table  # for such files alone

            lines += whole_table(self.link, script, limits._replace(search_path=config.search_path))
        return ";\n".join(lines)

    def _look(self, before: Moment | None = None) -> Moment:
        """One question, of what changed since `before` where that is known.

        Where nothing is counted, the server's own DEBUG1 lines are heard.
        """
        query = MOMENT_QUERY if before is None else CHANGES_QUERY
        moment = read_moment(self.session.send(query)[0][0], before)
        if not moment.counted:
            self.session.send("SET client_min_messages = debug1")
        return moment

    def _messages(self) -> Iterator[tuple[Part, Message, StatementKind]]:
        """Each statement of the file as a message of its own."""
        pieces = self.script.pieces
        layout = lay_out(pieces, limit=-1)
        if self.script.transactional:
            layout = taken_as_ours(layout, pieces)
        kinds = {one.start: one.kind for one in layout.special}
        reader = TextReader(pieces)
        for part in layout.parts:
            text = b"".join(reader.encoded(part))
            rows = reader.take(part.data.start, part.data.end) if part.data else None
            message = Message(
                text,
                0,
                body_ends=part.end - part.start,
                line=part.line,
                column=part.column,
                statements=part.statements,
                rows=rows,
                rows_line=part.data.line if part.data else 0,
            )
            yield part, message, kinds.get(part.start, StatementKind.PLAIN)

    def _step(self, part: Part, message: Message, kind: StatementKind, before: Moment) -> Moment:
        if not message.text.strip():
            return before
        alone = False
        if self.script.transactional:
            self._send(message)
            after = self._look(None if may_rename_schemas(message.text) else before)
        else:
            alone, before, after = self._apart(message, kind)
        line = self.script.place(part.line, part.column)[0]
        ran = Ran(line, message.text, alone, tuple(self.notices))
        self.notices.clear()
        self.steps.append((ran, before, after))
        return after

    def _apart(self, message: Message, kind: StatementKind) -> tuple[bool, Moment, Moment]:
        """A statement of a no-transaction file: in a transaction of its own, where it may be."""
        if kind is not StatementKind.NON_TRANSACTIONAL:
            self.session.send("BEGIN")
            before = self._look()
            try:
                self._send(message, into=OWN_MESSAGE)
                after = self._look()
                self.session.send("COMMIT")
                return False, before, after
            except ServerError:
                self.session.send("ROLLBACK")
        before = self._look()
        self._send(message)
        return True, before, self._look()

    def _send(self, message: Message, into: frozenset[str] = frozenset()) -> None:
        """Send one; a refusal rises as it is if its SQLSTATE is in `into`, else explained."""
        session = self.session
        self.notices.clear()
        try:
            if message.rows is None:
                session.send_file(message.sent)
            else:
                session.copy(message.sent, message.rows)
        except ServerError as error:
            if error.refusal.sqlstate in into:
                raise
            answered = session.answered
            session.tidy()
            run_state = RunState((), None, ())
            _, found = explained(
                self.link, session, self.script, message, error.refusal, answered, run_state
            )
            found.details["outcome"] = "nothing but a scratch database was touched"
            raise found from error

    def _hear(self, notice: Notice) -> None:
        self.notices.append(notice.message)
