"""Sends flights, and finds out what became of each; docs/design.md section 4."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from migrator.apply.direction import Direction
from migrator.apply.failed_line import log_failure
from migrator.apply.journey import Journey
from migrator.database.database import LOSSES, Link, MovedError
from migrator.database.tries import ONCE, REPEATABLE, ask, persist
from migrator.display import visible
from migrator.durations import format_duration
from migrator.errors import (
    MigratorError,
    SourceError,
    StatementError,
    StoppedError,
    UnreachableError,
)
from migrator.history.flight import BECAME, NOTHING_MORE, Around, Leg, make_flight
from migrator.history.guard import MOVED
from migrator.history.message import Message
from migrator.history.place import Limits, Place
from migrator.history.read import is_standby
from migrator.history.seen import Seen
from migrator.model import Applied
from migrator.postgres.libpq import Notice
from migrator.postgres.session import LostError, ServerError, Session
from migrator.report import Done
from migrator.sql.script import Script
from migrator.supabase.mirror import Sync

if TYPE_CHECKING:
    from migrator.refusals.diagnosis import RunState

UNENCODABLE = "22P05"  #: a character has no equivalent in the database's encoding


def has_time(link: Link, script: Script) -> bool:
    """Whether its own limit ends it before the deadline does."""
    return link.watch.seconds_left >= (script.statement_timeout_ms or 0) / 1000


def check_time(link: Link, script: Script, called: str) -> None:
    """What may take longer than is left until the deadline is not started: StoppedError."""
    link.watch.check()
    if has_time(link, script):
        return
    limit, left = script.statement_timeout_ms or 0, link.watch.seconds_left
    link.watch.stop("DEADLINE")
    error = link.watch.stopped()
    error.details["outcome"] = (
        f"{called} was not started: {left:.1f} s were left until "
        f"DEADLINE, and its statement-timeout is {format_duration(limit)}"
    )
    raise error


@dataclass(eq=False, repr=False)
class Flier:
    """What the flights of one run have in common."""

    link: Link
    sync: Sync
    direction: Direction
    rows: Sequence[Applied]  #: the history as the plan saw it
    run_state: Callable[[], RunState]  #: what the run had done, asked when a statement is refused
    landed: Callable[[Done], None]  #: takes each migration that is committed
    around: Around = NOTHING_MORE  #: of each flight

    def fly(self, scripts: Sequence[Script], seen: Seen) -> None:
        """Send consecutive scripts, in one message; what is left after trouble one by one.

        Again when the lock comes free or the connection was lost. Each goes to `landed` as soon as
        it is known to be committed, which puts it into `seen`. Raises MovedError when the history
        is not `seen`, by its head: a file may have forged the tally. Raises what ends the run, too.
        """
        alone = self.link.one_by_one
        journey = Journey(self.link.run_id, scripts, self.landed, seen.prove, alone=alone)
        while not journey.is_over:
            if self.link.losses(journey.version) == LOSSES:
                raise self._lost_too_often(journey.script)
            try:
                self._send_when_free(journey, seen)
            except MovedError:
                # a lost flight may be started by the server, and commit, only after we have looked
                late = journey.version in self.link.in_doubt and self._find_landed(journey)
                if not late and not seen.doubt():
                    raise
            except LostError as error:
                self.link.lost()
                self.link.count_loss(journey.version, error)
                self.link.in_doubt.update(journey.under_way)
                self.link.one_by_one = journey.alone = True
                self._find_landed(journey)

    def _lost_too_often(self, script: Script) -> StatementError:
        migration, limit = script.migration, self.link.cut_by
        remedy = (
            "See the server's log: the file may crash its backend, or a proxy may cut long "
            "statements."
        )
        if limit:
            remedy = f"Set DIRECT_URL to go around the pooler, whose {limit} cut it; or raise that."
        return StatementError(
            f"{migration.file}: the connection was lost {LOSSES} times while it ran",
            remedy=remedy,
            version=migration.version,
            file=migration.file,
            outcome=f"{self._called(migration.version)} was not applied when last looked at; "
            "see `status`",
        )

    def _find_landed(self, journey: Journey) -> bool:
        """After a lost connection: land what is committed of its message; whether any is."""
        found = False
        for version in journey.under_way or (journey.version,):
            if (done := self._arrived(version)) is None:
                break
            journey.land(done.execution_time_ms)
            found = True
        return found

    def _arrived(self, version: str) -> Done | None:
        """After a lost connection: what our COMMIT left, seen under the lock."""
        called = self._called(version)
        unknown = f"unknown: the connection was lost while {called} ran; see `status`"
        try:
            found = ask(self.link, partial(self._look, version), REPEATABLE)
        except (LostError, ServerError) as error:
            if isinstance(error, ServerError):
                if error.refusal.sqlstate == MOVED:
                    raise MovedError from error  # a crash took the newest commits with it
                self.link.refuse_distrusted(error, unknown)
            message = f"{called}: the connection was lost, and again when looking: {error}"
            raise UnreachableError(message, version=version, outcome=unknown) from error
        except MigratorError as error:
            error.details["outcome"] = unknown
            raise
        return self._ours(version, found)

    def _look(self, version: str, session: Session, place: Place) -> tuple[str | None, int] | None:
        """As `Direction.find`; LostError from a standby, which may not have our COMMIT yet."""
        if is_standby(session):
            raise LostError("the server that answers is a standby")
        return self.direction.find(session, place, version)

    def _ours(self, version: str, found: tuple[str | None, int] | None) -> Done | None:
        """Whether the row that was found is of our flight: None when our flight left nothing.

        Raises MovedError when another runner was there. Of a repeatable the row of its last run
        remains until our COMMIT.
        """
        if found is None:
            return None
        run_id, spent = found
        if run_id == self.link.run_id:
            return Done(version, spent)
        if any(row.version == version and row.run_id == run_id for row in self.rows):
            return None
        raise MovedError

    def _send_when_free(self, journey: Journey, seen: Seen) -> None:
        limits = self.limits(journey.script)

        def send() -> None:
            check_time(self.link, journey.script, self._called(journey.version))
            session = self.link.connect()
            if not session.count_results():  # a leg that is over could not be heard of
                journey.alone = True
            place = self.link.place_of(session)
            legs = self._legs(journey.aboard, seen, place)
            self._send(journey, make_flight(legs, place, limits, self.sync.tables))

        def version() -> str:
            return journey.version

        try:
            persist(self.link, send, ONCE, version, limits.lock_timeout, self.direction.busy)
        except SourceError as error:  # the file has changed since it was understood
            self.link.connect().tidy()
            error.details["outcome"] = f"{self._called(journey.version)} was rolled back"
            raise

    def _legs(self, scripts: Sequence[Script], seen: Seen, place: Place) -> list[Leg]:
        """What each of them needs, when those before it are committed."""
        expected = seen.expected([script.migration for script in scripts])
        scripts = [self.link.delayed(scripts[0]), *scripts[1:]]
        return [
            Leg(
                script,
                head,
                self.direction.record(script, place),
                self.direction.also(self.sync, script.migration),
                self.around,
                tally,
            )
            for script, (head, tally) in zip(scripts, expected, strict=True)
        ]

    def limits(self, script: Script) -> Limits:
        """Those of the file, or the run's."""
        return Limits(
            _chosen(script.lock_timeout_ms, self.link.config.lock_timeout),
            _chosen(script.statement_timeout_ms, self.link.config.statement_timeout),
            self.link.config.search_path,
            self.link.config.run_as,
        )

    def _send(self, journey: Journey, messages: Iterator[Message]) -> None:
        """Send one flight, and land what is committed. Whatever is refused is rolled back."""
        session = self.link.connect()
        session.hear = partial(self._hear, journey)
        rows: list[tuple[Any, ...]] = []
        for message in messages:
            journey.depart(message)
            try:
                if message.legs:
                    with session.hearing_commits(partial(self._hear_commit, journey)):
                        rows = session.send_file(message.sent)
                elif message.rows is None:
                    rows = session.send_file(message.sent)
                else:
                    session.copy(message.sent, message.rows)
            except ServerError as error:
                self._after_refusal(journey, error)
                return
            except StoppedError as error:
                self._after_stop(journey, error)
                return
        if rows:
            self.link.read_back(rows[0][0])
        journey.arrive()

    def _hear(self, journey: Journey, notice: Notice) -> None:
        if not journey.hear(notice):
            self.link.tell_notice(journey.version, notice)

    def _hear_commit(self, journey: Journey) -> int | None:
        answers = journey.commit()
        if answers is not None:
            self.link.watch.restart()
        return answers

    def _after_refusal(self, journey: Journey, error: ServerError) -> None:
        """Raise what a refusal means for the run; return when the flight is over, or goes again."""
        session = self.link.connect()
        answered, message = session.answered, journey.message
        if journey.shorten(answered, error.refusal.position):
            session.tidy()
            return
        if journey.is_between(answered):
            with contextlib.suppress(ServerError):  # the next message begins with a reset
                session.tidy()
            return
        if not session.in_transaction and (done := self._committed(journey)):
            journey.land(done.execution_time_ms)
            return
        outcome = f"{self._called(journey.version)} was rolled back"
        journey.most = 1  # what is tried again
        self.link.settle(error, outcome, message, answered)
        raise self.refused(journey.script, message, error, answered) from error

    def _committed(self, journey: Journey) -> Done | None:
        """After a refusal that left no transaction open: our flight, if it is committed after all.

        Then our own clean-up was refused. How many statements were answered proves nothing, as a
        rule may answer several times for one. The server is asked what became of the transaction;
        None when that was rolled back, or never came to its end.
        """
        version = journey.version
        if journey.xid is None:
            return None
        try:
            committed = self._is_committed(journey)
        except (ServerError, LostError):
            return self._arrived(version)
        except StoppedError as error:
            with contextlib.suppress(Exception), self.link.watch.cleaning_up():
                if self._is_committed(journey):
                    return Done(version, journey.ms)
                return None
            called = self._called(version)
            error.details["outcome"] = f"unknown: {called} was being committed; see `status`"
            raise
        if not committed:
            return None
        with contextlib.suppress(ServerError, StoppedError):  # a stop is heard again at once
            self.link.connect().tidy()
        return Done(version, journey.ms)

    def _is_committed(self, journey: Journey) -> bool:
        """What became of a transaction that is over. Needs no reset: each name has its schema."""
        [(became,)] = self.link.connect().send(BECAME.format(xid=journey.xid))
        return bool(became == "committed")

    def _after_stop(self, journey: Journey, error: StoppedError) -> None:
        """Land what was committed sooner than stopped; else raise the stop with its outcome."""
        done, outcome = self._left_by_stop(journey)
        if done is None:
            error.details["outcome"] = outcome
            raise error
        journey.land(done.execution_time_ms)

    def _left_by_stop(self, journey: Journey) -> tuple[Done | None, str]:
        """What a stopped flight left: our row, if COMMIT was sooner; else the outcome in words."""
        version, message = journey.version, journey.message
        called = self._called(version)
        rolled_back = f"{called} was rolled back"
        if self.link.connect().alive:
            if self.link.connect().in_transaction or journey.xid is None:
                return None, rolled_back
            with contextlib.suppress(Exception), self.link.watch.cleaning_up():
                if self._is_committed(journey):
                    return Done(version, journey.ms), ""
                return None, rolled_back
        if not message.commits:
            return None, f"{called} is not applied: its COMMIT was never sent"
        called = self._called(" to ".join(dict.fromkeys((version, journey.under_way[-1]))))
        return None, f"unknown: {called} was running, and the server did not answer any more"

    def refused(
        self, script: Script, message: Message, error: ServerError, answered: int | None
    ) -> MigratorError:
        """What the refusal of a file's statement ends the run with; recorded in the log table."""
        from migrator.database.inquiry import (
            explained,  # needed only when a statement failed
            explained_role,
        )
        from migrator.history.misfit import is_misfit, misfit, names_ours

        version, run_as = script.migration.version, self.link.config.run_as
        if run_as is not None and message.is_opened(answered):
            return explained_role(self.link.connect(), run_as, error.refusal)
        general = self.link.config.statement_timeout
        refused = (script, message, error.refusal, answered, self.run_state(), general)
        refusal, found = explained(self.link, self.link.connect(), *refused)
        session = self.link.connect()
        place = self.link.place_of(session)
        ours = message.is_closed(answered) and names_ours(error.refusal, place)
        if ours and is_misfit(refusal, place):
            return misfit(place, refusal, f"{self._called(version)} was rolled back")
        if refusal.sqlstate == UNENCODABLE and (strange := self._strange(script)):
            return strange
        if isinstance(found, StatementError):
            detail = {
                "sqlstate": refusal.sqlstate,
                "message": refusal.message,
                "line": found.details.get("line"),
            }
            log_failure(self.link, self.direction, version, detail)
        return found

    def _strange(self, script: Script) -> StatementError | None:
        """The character of the file or its undo that the database cannot hold."""
        from migrator.refusals.encoding_rules import find_strange

        encoding = self.link.connect().status("server_encoding") or ""
        sent = script.migration._replace(pieces=script.pieces)
        found = find_strange(sent, encoding)
        if found is None:
            return None
        if found.file == script.migration.file:
            line, column = script.place(found.line, found.column)
            found = found._replace(line=line, column=column)
        return StatementError(
            f"{found}: the database's encoding, {encoding}, has no U+{ord(found.char):04X} "
            f"({visible(found.char)})",
            remedy=f"Write it in characters of {encoding}, in a comment too; or use a database "
            "whose encoding is UTF8.",
            version=script.migration.version,
            file=found.file,
            line=found.line,
            column=found.column,
            sqlstate=UNENCODABLE,
            outcome=f"{self._called(script.migration.version)} was rolled back",
        )

    def _called(self, version: str) -> str:
        return self.direction.called.format(version)


def _chosen(own: int | None, general: int) -> int:
    return general if own is None else own
