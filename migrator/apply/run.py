"""The only place that decides what happens in which order."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import datetime
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any

from migrator.apply.direction import Applying, Direction, count_left
from migrator.apply.scripts import ScriptReader
from migrator.apply.view import View, plan_made, refuse_started
from migrator.config import Config, Preflight
from migrator.database.database import Link, MovedError
from migrator.database.tries import (
    REPEATABLE,
    ask,
    own_session,
    read_tables,
    until_unmoved,
)
from migrator.errors import MigratorError
from migrator.history.distrust import Distrust
from migrator.history.fence import Owners, Write
from migrator.history.place import Place
from migrator.history.read import History, find_run, read_history, read_log
from migrator.masking import FINDINGS
from migrator.model import AFTER, BEFORE, Event, Finding, Migration, Phase
from migrator.plan.format_rules import changed_format, format_of
from migrator.plan.order import Needs
from migrator.plan.plan import make_plan, ranked
from migrator.plan.policy import Policy, decide
from migrator.plan.progress import Progress
from migrator.plan.second_history import is_looked_for, second_history
from migrator.plan.together import (
    count_group,
    count_together,
    files_per_flight,
    left_with_groups,
)
from migrator.postgres.session import ServerError, Session
from migrator.report import Done
from migrator.sql.script import Script
from migrator.supabase.mirror import Sync

if TYPE_CHECKING:
    from migrator.apply.send import Flier
    from migrator.history.seen import Seen
    from migrator.plan.scope import Scope
    from migrator.refusals.diagnosis import RunState

DOUBTED = "Compare with the role that runs `up`; only that role's rows can be relied on."


#: (question, the answer of the command that it is about): what the person at a terminal says; yes
#: where nobody is asked
Confirm = Callable[[str, dict[str, Any]], bool]
#: (run, a file in batches, the history as it was seen) -> what was done
Batched = Callable[["Run", Script, "Seen"], Done]
#: (run, migrations, what was seen): what comes before the first migration that is ever applied
Before = Callable[["Run", tuple[Migration, ...], View], None]
#: (run, what is pending, the folder): raises what keeps that from being sent
Gate = Callable[["Run", Sequence[Script], Sequence[Migration]], None]
#: (run, scripts of which some are a group, their places, the history as it was seen)
Parallel = Callable[["Run", Sequence[Script], range, "Seen"], None]
#: (link, script, the history as it was seen, what goes along with the file's row) -> what was done
Alone = Callable[[Link, Script, Collection[tuple[str, str | None]], Sequence[Write]], Done]

#: (words, environment, where its output goes) -> the number of a process of the same job
Start = Callable[[Sequence[str], Mapping[str, str], int], int]


class Run:
    """One run of one command: what it was given, and what it has done so far."""

    def __init__(
        self,
        config: Config,
        link: Link,
        started_at: datetime,
        alone: Alone,  # how a file is applied that cannot run in a transaction
        batched: Batched,  # how one is applied, or undone, in many small transactions
        ask: Confirm = lambda _question, _shown: True,
        gate: Gate | None = None,  # what is pending goes through it once, before the first flight
        environment: Callable[[], dict[str, str]] = dict,  # what a process of the same job is given
        start: Start = lambda _words, _environment, _output: 0,
        parallel: Parallel | None = None,  # how a group is applied; None: one after another
    ) -> None:
        self.config, self.link, self.started_at = config, link, started_at
        self.alone, self.batched, self.ask, self.gate = alone, batched, ask, gate
        self.environment, self.start, self.parallel = environment, start, parallel
        self.sync = Sync(link)
        self.direction: Direction = Applying()
        self.applied: list[Done] = []
        self.rolled_back: list[Done] = []
        self.view: View | None = None  #: the newest look
        self.passed_over: tuple[Finding, ...] = ()  #: files of the folder that are not run
        self.hooks: tuple[Migration, ...] = ()  #: of the folder: what runs around its migrations
        self.to: str | None = None  #: the last version that is to be applied, where not all are
        self.pending: tuple[str, ...] = ()  #: still to be applied, in order, as far as is known
        self.deferred: tuple[str, ...] = ()  #: pending, and left for a later run
        self.outcome: str | None = None  #: what a command did that applied nothing, in words
        self.shown: dict[str, Any] = {}  #: its answer, even when it is refused
        self.found: tuple[Finding, ...] = ()  #: what a command found beyond its plan
        #: What the gate let pass of a version because its file allows it, for the log.
        self.allowed: dict[str, list[dict[str, Any]]] = {}
        self._reader = ScriptReader(link.watch, config.placeholders)
        self._doubted: set[str] = set()  #: what has been said of the tables' owners
        self._hooks: dict[str, Script] = {}  #: understood, by their moments
        self._said: set[Finding] = set()  #: what was warned of
        self._warned = False  #: of old transactions, once in a run
        #: With the first of these the hook behind the migrations is owed.
        self._owed_with: tuple[str, ...] = ()
        self._trip_seconds = 0.0  #: that the newest read of the history took, there and back

    @property
    def current(self) -> str | None:
        """The newest applied version, as far as is known; a repeatable is none."""
        if self.view is None:
            return None
        done = {entry.version for entry in self.applied}
        undone = {entry.version for entry in self.rolled_back}
        kept = (r for r in reversed(self.view.plan.applied) if r.version not in undone)
        found = [row.order for row in islice((r for r in kept if not r.repeatable), 1)]
        found += [m.order for m in self.view.plan.pending if m.version in done and not m.repeatable]
        return max(found)[-1] if found else None

    def look(
        self,
        migrations: tuple[Migration, ...],
        readers: tuple[str, ...] = (),
        *,
        at_work: bool = False,
    ) -> View:
        """Read the history and plan; a connection that was idle too long is opened anew.

        `at_work` asks for the runner that is at work, too.
        """
        query = partial(
            read_history,
            lock_timeout_ms=self.config.lock_timeout,
            readers=readers,
            others_too=is_looked_for(*self._where),
            at_work=at_work,
            hooks=bool(self.hooks),
        )
        history = read_tables(self.link, query)
        self._trip_seconds = self.link.connect().seconds
        self.doubt(history.distrust)
        return self.see(history, migrations)

    @property
    def _where(self) -> tuple[str, tuple[str, ...]]:
        return self.config.migrations_schema, self.config.search_path

    def see(self, history: History, migrations: tuple[Migration, ...]) -> View:
        """Plan upon a history that was read, or is known to be so by now."""
        # a crash of the server may take commits along, with synchronous_commit off
        kept = {row.version for row in history.rows}
        self.applied = [done for done in self.applied if done.version in kept]
        self.rolled_back = [done for done in self.rolled_back if done.version not in kept]
        policy = Policy(self.config.on_drift, self.config.on_missing, self.config.on_late)
        history = history._replace(rows=ranked(history.rows, migrations))
        plan = make_plan(migrations, history.rows)
        plan, deferred, first = self._reader.narrow(plan, migrations, self._scope)
        decision = decide(plan, policy, self.passed_over, deferred)
        if first:
            decision = decision._replace(failures=(*decision.failures, first))
        if second := second_history(migrations, history.others, *self._where):
            decision = decision._replace(failures=(second, *decision.failures))
        recorded = history.format if history.rows else None
        if changed := changed_format(migrations, recorded, self.config.folder_format):
            decision = decision._replace(failures=(changed, *decision.failures))
        self.view = View(history, plan, decision, format_of(migrations), changed)
        self.pending = tuple(migration.version for migration in decision.run)
        self.deferred = tuple(migration.version for migration in deferred)
        return self.view

    @property
    def _scope(self) -> Scope | None:
        if self.to is None and self.config.phase in (None, Phase.ALL):
            return None
        from migrator.plan.scope import Scope  # seldom asked for

        return Scope(self.to, self.config.phase or Phase.ALL)

    def doubt(self, distrust: Distrust) -> None:
        """Say once who could have forged what is read here."""
        for found in distrust.owners:
            problem = (
                f"it belongs to {found['owner']}, a role that {found['role']} has no reason to "
                "trust: it could have written any row"
            )
            if (what := f"{problem} {found['table']}") not in self._doubted:
                self._doubted.add(what)
                fields = {"file": found["table"], "problem": problem, "remedy": DOUBTED}
                self.link.tell(Event("plan.warning", "warning", fields))

    def read_log(self, limit: int) -> list[dict[str, Any]]:
        """The newest `limit` lines of the log, oldest first; a lost connection is opened anew."""
        query = partial(read_log, lock_timeout_ms=self.config.lock_timeout, limit=limit)
        lines, distrust = read_tables(self.link, query)
        self.doubt(distrust)
        return lines

    def warn(self, findings: Iterable[Finding]) -> None:
        """Say what is let pass: FINDINGS of it, and how many more there are.

        Each is said once, however often the run plans anew.
        """
        new = [finding for finding in findings if finding not in self._said]
        self._said |= set(new)
        for finding in new[:FINDINGS]:
            fields = {key: value for key, value in finding.as_dict().items() if value is not None}
            self.link.tell(Event("plan.warning", "warning", fields))
        if more := len(new[FINDINGS:]):
            remedy = "`status` shows the state of every version."
            rest = {"problem": f"{more} more like these", "remedy": remedy, "more": more}
            self.link.tell(Event("plan.warning", "warning", rest))

    def apply_pending(
        self, migrations: tuple[Migration, ...], before: Before | None = None
    ) -> None:
        """Bring the database to where the folder is, however often others move the history.

        `before` is done while nothing was ever recorded here; it may move the history itself.
        """
        undoing: Mapping[str, Progress] = {}

        def act(view: View) -> None:
            nonlocal undoing
            if before and not view.history.started:
                view.history.distrust.refuse_owners()
                before(self, migrations, view)
            self.link.tell(plan_made(view))
            self.warn(view.decision.warnings)
            view.history.distrust.refuse_owners()
            view.decision.raise_failures()
            if view.undoing:
                if undoing == view.history.undoing:
                    raise view.undo_error()
                undoing = view.history.undoing
                self._wait_for_undo(view.undoing[0])
            scripts = self.understand(view, migrations)
            refuse_started(scripts, view)
            if scripts and self.gate and self.config.preflight is not Preflight.OFF:
                gate, self.gate = self.gate, None
                gate(self, scripts, migrations)
            if scripts or view.history.readers_lacking or self.owed:
                self._apply_all(scripts, view.history)

        until_unmoved(partial(self.look, migrations, self.config.history_readers), act)

    def _wait_for_undo(self, version: str) -> None:
        """The runner that undoes it holds the lock. Raises MovedError once the lock is free."""
        ask(self.link, partial(find_run, version=version), REPEATABLE)
        raise MovedError

    def needs(self, migrations: tuple[Migration, ...]) -> Needs:
        """What each file requires, the applied ones too."""
        return self._reader.needs(migrations, migrations)

    def posts(self, migrations: Sequence[Migration]) -> frozenset[str]:
        """Which of them are of the post phase."""
        return self._reader.posts(migrations)

    def script(self, migration: Migration) -> Script | None:
        """A file that `understand` has read and found nothing wrong with."""
        return self._reader.script(migration)

    def understand(self, view: View, migrations: tuple[Migration, ...]) -> tuple[Script, ...]:
        """What is to be run, read and put in order before any of it is run."""
        if view.batching and view.decision.deferred:
            self._reader.refuse_unfinished(view.decision, view.batching)
        known = [row.version for row in view.plan.applied]
        # what the post phase would be refused for is said before the new code is out
        post = self.config.phase is Phase.PRE and self.to is None
        later = view.decision.deferred if post else ()
        scripts = self._reader.understand(view.decision, migrations, known, later)
        self.warn(found for script in scripts for found in script.warnings)
        self.pending = tuple(script.migration.version for script in scripts)
        if self.config.phase is Phase.PRE:
            from migrator.plan.scope import pre_warnings  # of this phase alone

            floors = [script.migration.file for script in scripts if script.floor]
            self.warn(pre_warnings(view.plan, view.decision.deferred, floors))
        if self.hooks and (scripts or self.owed):
            from migrator.apply.hooks import read_hooks  # for folders that have some

            with self.link.watch.thinking():
                self._hooks = read_hooks(self.hooks, self.config.placeholders)
        return scripts

    @property
    def owed(self) -> str | None:
        """The file of the hook that is to run though nothing may be pending."""
        is_owed = self.view is not None and self.view.history.owed
        return next((hook.file for hook in self.hooks if is_owed and hook.version == AFTER), None)

    def find_sessions(self, scripts: tuple[Script, ...]) -> None:
        """Have what the scripts need, before the first of them is sent.

        Raises ConfigError when a no-transaction file has no session of its own to run on, and
        SourceError for a name that is not recorded alike in every encoding.
        """
        if odd := [s.migration.file for s in scripts if not s.migration.version.isascii()]:
            from migrator.refusals.encoding_rules import refuse_encoding  # seldom needed

            refuse_encoding(odd, self.link.connect().status("server_encoding"))
        if not all(script.transactional for script in scripts):
            own_session(self.link)

    def _apply_all(self, scripts: tuple[Script, ...], history: History) -> None:
        from migrator.history.seen import Seen  # only a run with work needs it

        self.find_sessions(scripts)
        self.prepare(history, coming=[script.migration for script in scripts])
        if scripts:
            self.sync.look()
            if not self._warned:
                self._warned = True
                self._warn_of_open_transactions()
        seen = Seen(history.seen())
        if scripts:
            self._run_hook(BEFORE, seen)
        scripts = tuple(self._with_allowed(script) for script in scripts)
        jobs = self.link.jobs if self.parallel else 1
        self._owed_with = self._first_ones(scripts, jobs)
        versions = [script.migration.version for script in scripts]
        groups = left_with_groups(scripts) if jobs > 1 else {}
        self.direction = Applying(owing=self._owed_with, pending=versions, groups=groups)
        most = files_per_flight(self.config.files_per_flight, len(scripts), self._trip_seconds)
        start = 0
        while start < len(scripts):
            count = count_group(scripts[start:]) if jobs > 1 else 1
            if count > 1 and self.parallel:
                self.parallel(self, scripts, range(start, start + count), seen)
            else:
                near = scripts[start : start + (1 if self.link.one_by_one else most)]
                count = count_together(near, most, parallel=jobs > 1)
                self.apply_steps(scripts, range(start, start + count), seen)
            start += count
        self._run_hook(AFTER, seen)

    def _first_ones(self, scripts: Sequence[Script], jobs: int) -> tuple[str, ...]:
        """With which of them the hook after the migrations is owed: those that may be the first."""
        count = count_group(scripts) if jobs > 1 and scripts else 1
        return tuple(s.migration.version for s in scripts[:count] if AFTER in self._hooks)

    def _with_allowed(self, script: Script) -> Script:
        let_pass = self.allowed.get(script.migration.version)
        return script._replace(let_pass=let_pass) if let_pass else script

    def apply_steps(self, scripts: Sequence[Script], steps: range, seen: Seen) -> None:
        """Apply those at the places `steps`, which go in one message, and say so of each."""
        from migrator.apply.failed_line import logging_busy  # only a run with work needs it
        from migrator.apply.send import check_time

        at = steps.start
        check_time(self.link, scripts[at], scripts[at].migration.version)
        self.say_started(scripts, at)

        def land(done: Done) -> None:
            nonlocal at
            self.finish(scripts[at].migration, done, seen)
            self.link.check_encoding()
            at += 1
            if at < steps.stop:
                self.say_started(scripts, at)

        script = scripts[at]
        with logging_busy(self.link, self.direction):
            if script.batches is not None:
                land(self.batched(self, script, seen))
            elif script.transactional:
                self.flier(land).fly(scripts[at : steps.stop], seen)
            else:
                also = (*self.sync.rows(script.migration), *self._owing(script))
                land(self.alone(self.link, script, seen.items(), also))

    def say_started(self, scripts: Sequence[Script], at: int) -> None:
        fields = {
            "version": scripts[at].migration.version,
            "file": scripts[at].migration.file,
            "step": at + 1,
            "steps": len(scripts),
        }
        self.link.tell(Event("migration.started", "info", fields))

    def finish(self, migration: Migration, done: Done, seen: Seen) -> None:
        """Note that a migration is applied, and say so."""
        seen[migration.version] = migration.checksum
        self.applied.append(done)
        self.link.go_on()
        if self.pending[:1] == (migration.version,):
            self.pending = self.pending[1:]
        else:  # of a group any may be the first
            self.pending = tuple(v for v in self.pending if v != migration.version)
            self.direction.left = count_left(self.pending)
        fields = {
            "version": done.version,
            "file": migration.file,
            "execution_time_ms": done.execution_time_ms,
        }
        self.link.tell(Event("migration.applied", "info", fields))

    def _owing(self, script: Script) -> tuple[Write, ...]:
        if script.migration.version not in self._owed_with:
            return ()
        from migrator.apply.hooks import owed

        return (owed(self.link.place_of(self.link.connect())),)

    def _run_hook(self, moment: str, seen: Seen) -> None:
        """Run the folder's hook of this moment, if it has one; nothing is recorded but a line."""
        script = self._hooks.get(moment)
        if script is None:
            return
        from migrator.apply.failed_line import logging_busy
        from migrator.apply.hooks import Hooking, explain_hook
        from migrator.apply.send import check_time

        file = script.migration.file
        check_time(self.link, script, file)
        self.direction = Hooking()
        try:
            with logging_busy(self.link, self.direction):
                done = self.fly(script, seen)
        except MigratorError as error:
            explain_hook(error, script, [done.version for done in self.applied])
            raise
        finally:
            self.direction = Applying()
        self.link.go_on()
        self.link.check_encoding()
        fields = {"version": moment, "file": file, "execution_time_ms": done.execution_time_ms}
        self.link.tell(Event("hook.done", "info", fields))

    def _warn_of_open_transactions(self) -> None:
        """Say whose old transactions hold locks on tables, before the first attempt."""
        from migrator.postgres.blockers import (
            read_open_transactions,  # only a run with work needs it
        )

        def look(session: Session, _place: Place) -> list[dict[str, Any]]:
            try:
                return read_open_transactions(session)
            except ServerError:
                session.tidy()
                return []  # no more than a warning is lost

        for found in ask(self.link, look):
            self.link.tell(Event("transaction.open", "warning", found))

    def fly(self, script: Script, seen: Seen) -> Done:
        """One flight of one script, in the run's direction; see `Flier.fly`."""
        landed: list[Done] = []
        self.flier(landed.append).fly([script], seen)
        [done] = landed
        return done

    def flier(self, landed: Callable[[Done], None]) -> Flier:
        """Who sends the run's flights, in its direction."""
        from migrator.apply.send import Flier  # only a run with work needs it

        rows = self.view.history.rows if self.view else ()
        return Flier(self.link, self.sync, self.direction, rows, self._run_state, landed)

    def _run_state(self) -> RunState:
        from migrator.refusals.diagnosis import RunState  # needed only when a statement failed

        applied = [done.version for done in self.applied]
        first = not (applied or (self.view and self.view.rows))
        return RunState(applied, self.current, self.pending[1:], first)

    def prepare(
        self,
        history: History,
        owners: Owners = Owners.TRUSTED,
        coming: Sequence[Migration] = (),
    ) -> None:
        """Have the history's tables as they should be; see `database.prepare`."""
        from migrator.database.prepare import prepare  # a no-op run does without it

        prepare(self.link, history, owners, coming)

    def foresee(self, history: History, scripts: tuple[Script, ...]) -> None:
        """Raise what would keep `up` from applying the scripts before it starts; nothing stays.

        What is busy is none of it: `up` would wait.
        """
        if not scripts:
            return
        from migrator.database.prepare import foresee

        self.find_sessions(scripts)
        foresee(self.link, history, [script.migration for script in scripts])
