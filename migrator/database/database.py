"""The database of a run: its sessions, and what a refusal means for the run."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from migrator.config import Config
from migrator.durations import Rhythm
from migrator.errors import AccessError, ConfigError
from migrator.history.distrust import UNTRUSTED, explain
from migrator.history.guard import HELD, MOVED
from migrator.history.place import Place
from migrator.history.proof import UNWRITTEN, unwritten
from migrator.masking import Hider
from migrator.model import Event, Tell
from migrator.postgres.connect import open_session
from migrator.postgres.libpq import Notice
from migrator.postgres.quoting import first
from migrator.postgres.session import (
    LostError,
    MisreadError,
    ServerError,
    Session,
    expecting,
)
from migrator.postgres.stop import Watch
from migrator.postgres.url import Target, in_session_mode

if TYPE_CHECKING:
    from migrator.database.delay import Delay
    from migrator.history.message import Message
    from migrator.postgres.blockers import Observer
    from migrator.postgres.refusal import Refusal
    from migrator.sql.script import Script


#: Rolled back whole and safe to send again: lock not available, deadlock, serialization failure.
LOCK_REFUSED, DEADLOCK = "55P03", "40P01"
CONTENTION = frozenset({LOCK_REFUSED, DEADLOCK, "40001"})
READ_ONLY = "25006"
#: Notices by which a statement did not do what it says: a table, object, column or schema is there
#: already and was skipped, or a name was cut at 63 bytes.
SKIPPED = frozenset({"42P07", "42710", "42701", "42P06", "42622"})
#: How often one migration may lose its connection before it is held to be the reason.
LOSSES = 5


class MovedError(Exception):
    """Another runner changed the history since it was read: read and plan again."""


class TablesBusyError(Exception):
    """A flight was rolled back for want of a lock; `seen` is what is known of who holds it."""

    def __init__(self, error: ServerError, seen: dict[str, Any]) -> None:
        super().__init__(str(error))
        self.error, self.seen = error, seen


class Link:
    """What a run speaks to the database through."""

    def __init__(
        self,
        config: Config,
        run_id: str,
        runner: str,  # application_name, migrator/<pod or host>
        watch: Watch,
        tell: Tell,
    ) -> None:
        self.config, self.run_id, self.runner = config, run_id, runner
        self.watch, self.tell = watch, tell
        #: For what is stored, or made of what is cut.
        self.hide = Hider(config.secrets, config.placeholders.secrets)
        self.traceparent: str | None = None  #: of the run's span, for its messages
        #: Reads the settings anew.
        self.targets_again: Callable[[], tuple[Target, ...]] | None = None
        #: Keeps what is SET on it and the locks it takes; the same as _session, where that will do.
        self.own: Session | None = None
        #: What was in a message whose connection was lost: it may arrive yet.
        self.in_doubt: set[str] = set()
        self.cut_by: str | None = None  #: the limit of a pooler by which the newest loss came
        self.jobs = config.jobs  #: connections that a group has, as far as is known
        self.one_by_one = False  #: each migration is a message of its own from here on
        #: Seconds of tries that tables refused, by what was tried, until it succeeds.
        self.busy_seconds: dict[str, float] = {}
        self._delay: Delay | None = None  #: made by the first wait
        self._session: Session | None = None
        self._observer: Observer | None = None  #: looks after the wait at hand, once it is slow
        self._unobservable: str | None = None  #: why there is no second connection
        self._losses: dict[str, int] = {}  #: by version, of the whole run
        self._misread = False  #: a session was given up for misreading our text
        self._encoding = "UTF8"  #: how a session read texts when a flight was over
        self._newest: tuple[Target, ...] = ()
        self._connected_before = False
        self._reached: Target | None = None

    def connect(self) -> Session:
        """The session, opened when first needed or after it was lost."""
        if self._session is None:
            self._session = open_session(
                self._targets(),
                self.runner,
                self.config.connect_timeout,
                self.watch,
                self.tell,
            )
            self._reached = self._session.target
        return self._session

    @property
    def target(self) -> str | None:
        """The database of the run, or the first one that was tried; None before any was."""
        sought = (self._newest or self.config.targets) if self._connected_before else ()
        target = self._reached or next(iter(sought), None)
        return None if target is None else str(target)

    def _targets(self) -> tuple[Target, ...]:
        """Where to connect, read again where it comes from a file that may have changed."""
        first, self._connected_before = not self._connected_before, True
        if self.targets_again is None or first:
            return self.config.targets
        try:
            self._newest = self.targets_again()
        except ConfigError:  # the file is being replaced: what it said before
            return self._newest or self.config.targets
        self.hide.secrets += tuple(word for target in self._newest for word in target.secrets)
        return self._newest

    def find_own(self) -> Session:
        """The session for `own`; see `tries.own_session`."""
        session = self.connect()
        target = in_session_mode(session.target)
        if target is None and session.target.name != "DIRECT_URL" and not session.is_direct():
            raise ConfigError(
                f"{session.target} is a pooler that may or may not keep a session, "
                "and no-transaction files need one",
                remedy="Set DIRECT_URL to a URL that bypasses the pooler, or that reaches it in "
                "session mode.",
            )
        if target is None or target == session.target:
            return session
        fields = {
            "target": str(session.target),
            "instead": str(target),
            "reason": "no-transaction files need a session",
        }
        self.tell(Event("connection.rerouted", "info", fields))
        config = self.config
        return open_session((target,), self.runner, config.connect_timeout, self.watch, self.tell)

    def place_of(self, session: Session) -> Place:
        """Where in that session's database the history lies, and who asks."""
        return Place(
            *(self.config.migrations_schema, self.runner, self.run_id),
            *(session.server_version, session.backend_pid, self.traceparent),
        )

    def losses(self, version: str) -> int:
        """How often a connection was lost while `version` ran."""
        return self._losses.get(version, 0)

    def forget_losses(self, version: str) -> None:
        """Count anew: what was committed since is lost no more."""
        self._losses.pop(version, None)

    def count_loss(self, version: str, error: LostError) -> None:
        """One more, said."""
        from migrator.postgres.connect_failures import pooler_limit  # seldom needed

        losses = self._losses[version] = self.losses(version) + 1
        self.cut_by = pooler_limit(str(error))
        fields = {"version": version, "losses": losses, "error": str(error), "reason": "lost"}
        more = {"limit": self.cut_by} if self.cut_by else {}
        self.tell(Event("migration.retry", "warning", fields | more))

    def lost(self) -> None:
        """The session is of no more use; the next one is opened when needed.

        The second connection goes with it: it may be the only one that a pool has to spare.
        """
        self._session = None
        if self._observer is not None:
            self._observer.end()

    def lost_own(self) -> None:
        """As `lost`, of the session of its own; of the other one too, if that is gone as well."""
        if self._session is not None and not self._session.alive:
            self._session = None
        self.own = None

    def close(self) -> None:
        """Let go of the sessions; on a stop roll back what is open first."""
        for session in dict.fromkeys((self.own, self._session)):
            if session is not None:
                if self.watch.stopped_by:
                    session.abandon()
                session.close()
        self._session = self.own = None

    def holder(self) -> dict[str, Any] | None:
        """Who holds the lock now; after a LostError the next look opens a session."""
        from migrator.history.lock_wait import read_holder  # for those who wait for it

        try:
            session = self.connect()
            with expecting(session.target):
                return read_holder(session, self.config.migrations_schema)
        except LostError:
            self.lost()
            raise

    def give_up_misreading(self, error: MisreadError) -> None:
        """AccessError when another session was given up for misreading our text before."""
        if self._misread:
            raise AccessError(
                f"the session would misread what is sent to it: {error}",
                remedy="Let the application that shares the pool leave these settings "
                "alone, or set DIRECT_URL to go around the pooler.",
            ) from error
        self._misread = True

    @property
    def delay(self) -> Delay:
        """Takes what holds the run up, for the next line of the log."""
        if self._delay is None:
            from migrator.database.delay import Delay  # a run that nothing is in the way of

            self._delay = Delay()
        return self._delay

    @property
    def held_up(self) -> dict[str, Any]:
        """What the next line of the log says of it; nothing where nothing was in the way."""
        found: dict[str, Any] = self.hide(self._delay.detail) if self._delay else {}
        return found

    def delayed(self, script: Script) -> Script:
        """The script with what has held it up, for its line of the log."""
        return script._replace(delay=self.held_up) if self._delay else script

    def go_on(self) -> None:
        """The line is written: what holds the run up from here on is of the next one."""
        self._delay = None

    def tell_notice(self, version: str, notice: Notice) -> None:
        """What the server says while a file runs."""
        level = "info" if notice.sqlstate in SKIPPED else "debug"
        level = "warning" if notice.severity == "WARNING" else level
        fields = {"version": version, "notice": notice.message}
        self.tell(Event("migration.notice", level, fields))

    def read_back(self, encoding: str) -> None:
        """How the session reads texts once a flight is over; `check_encoding` judges it."""
        self._encoding = str(encoding)[:40]  # whatever answers

    def check_encoding(self) -> None:
        """AccessError when the last flight left a session that does not read UTF-8.

        A pooler may keep a SET of ours from the server. What is sent next would be garbled.
        """
        if self._encoding != "UTF8":
            raise AccessError(
                f"the session reads text as {self._encoding}, not UTF8",
                remedy="Connect without the pooler that changes client_encoding.",
            )

    def refuse_distrusted(self, error: ServerError, outcome: str) -> None:
        """AccessError when our tables cannot be trusted, or a row was not written as sent."""
        refusal = error.refusal
        if refusal.sqlstate in {UNTRUSTED, UNWRITTEN}:
            found = (explain if refusal.sqlstate == UNTRUSTED else unwritten)(refusal.detail)
            found.details["outcome"] = outcome
            raise found from error

    def settle(
        self,
        error: ServerError,
        outcome: str = "nothing was changed",
        message: Message | None = None,
        answered: int | None = None,
    ) -> None:
        """After a refusal: give the session back clean, and raise what it means for the run.

        Returns when the refusal concerns the file; HELD rises as it is. With a `message` that
        carries a part of a file it may be of the file's own: an SQLSTATE of ours means nothing
        then.
        """
        busy = self.tables_busy(error, message, answered)
        self.connect().tidy()
        sqlstate = error.refusal.sqlstate
        if message is None or not message.blames_file(answered):
            if sqlstate == HELD:
                raise error
            if sqlstate == MOVED:
                raise MovedError from error
            self.refuse_distrusted(error, outcome)
        if sqlstate in CONTENTION:
            raise busy from error
        if sqlstate == READ_ONLY:
            raise self.read_only() from error

    def read_only(self) -> AccessError:
        """Why the server takes no writes, and what helps."""
        from migrator.refusals.read_only_rules import READ_ONLY_WHY, read_only_error

        session = self.connect()
        try:
            [(standby, *found)] = session.send(first("/* migrator */", READ_ONLY_WHY))
        except (ServerError, LostError):
            standby, found = False, [None, "", ""]
        return read_only_error(session.target, standby, *found)

    def observer(self, what: str, rhythm: Rhythm) -> Observer:
        """The one who looks after the wait at hand, made when it has become slow."""
        if self._observer is None:
            from migrator.postgres.blockers import Observer  # only a slow run needs it

            self._observer = Observer(
                self.connect, what, rhythm, self.run_id, self.tell, self._unobservable
            )
        self._observer.what = what
        return self._observer

    def end_observer(self) -> None:
        """Close the second connection, if there is one."""
        if self._observer is not None:
            self._unobservable = self._observer.unavailable
            self._observer.end()
            self._observer = None

    def tables_busy(
        self, error: ServerError, message: Message | None = None, answered: int | None = None
    ) -> TablesBusyError:
        """What a refusal for want of a lock is raised as, on whatever session it came.

        A file may raise that too, with its secrets: of a `message` of a file it is made discreet.
        """
        if message is not None and error.refusal.sqlstate in CONTENTION:
            from migrator.refusals.diagnosis import discreet  # needed only when a file was refused

            error = ServerError(discreet(message, error.refusal, answered, self.hide))
        return TablesBusyError(error, self._seen(error.refusal))

    def _seen(self, refusal: Refusal) -> dict[str, Any]:
        """Who was in the way, for the lines about a refusal; or why nobody can say."""
        if refusal.sqlstate == DEADLOCK:
            return {"detail": refusal.detail}  # pids and lock modes, no values
        if refusal.sqlstate != LOCK_REFUSED:
            return {}
        if self._observer is None:
            return {"blockers_unknown": self._unobservable or "the wait was too short to look"}
        return self._observer.take_seen()
