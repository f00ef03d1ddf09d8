"""Takes over the history that another tool left, once and under both tools' locks."""

from __future__ import annotations

from functools import partial
from typing import Any

from migrator.adopt.message import (
    FOREIGN_HELD,
    adopting,
)
from migrator.adopt.read import find_history, find_spot, read_foreign_holder, read_rows
from migrator.adopt.rules import Adoption, make_adoption
from migrator.adopt.tools import Tracker, tracker
from migrator.adopt.whose_rules import ForeignTable, check_fits
from migrator.apply.run import Run
from migrator.apply.view import View
from migrator.config import ADOPTABLE
from migrator.database.database import MovedError
from migrator.database.tries import HISTORY, REPEATABLE, persist, read_tables, until_unmoved
from migrator.errors import (
    ConfigError,
    DirtyError,
    LockedError,
    MigratorError,
    StoppedError,
    UnreachableError,
)
from migrator.history.guard import head
from migrator.history.lock_wait import as_holder, describe
from migrator.history.misfit import is_misfit, misfit
from migrator.history.place import Limits, Place
from migrator.model import Event, Migration
from migrator.plan.format_rules import AUTO
from migrator.postgres.session import LostError, ServerError


def adopt_history(
    run: Run,
    migrations: tuple[Migration, ...],
    tool: str | None,
    table: str | None,
    *,
    only_plan: bool,
) -> dict[str, Any]:
    """Record as `adopted` what `tool` has applied; the table for people is the answer.

    Raises ConfigError, DirtyError, MissingError or DriftError when its history cannot be taken
    over as it is, LockedError while that tool is at work, and whatever a run raises.
    """
    task, wanted = _Adopting(run, migrations, tracker(tool)), _parted(table)
    look = partial(run.look, migrations, run.config.history_readers)
    return until_unmoved(look, partial(task.go, wanted=wanted, only_plan=only_plan))


def adopt_first(run: Run, migrations: tuple[Migration, ...], view: View) -> None:
    """Before the first run: take over what the tool of ADOPT has applied, with all that it proves.

    Nothing is done where no tool has a history and the database holds no table. Raises MovedError
    once rows were written, and what `adopt_history` raises.
    """
    if found := _judged(run, migrations, view):
        task, adoption, spot, digest = found
        if adoption.new:
            task.write(adoption, view, spot, digest)
            run.shown = {"adoption": adoption.rows(written=True)}
            raise MovedError


def foresee_adoption(run: Run, migrations: tuple[Migration, ...], view: View) -> View:
    """What the history will be once `adopt_first` was here; it changes nothing, and fails alike."""
    if run.config.adopt is None or view.history.started:
        return view
    found = _judged(run, migrations, view)
    rows = found[1].recorded() if found else ()
    return run.see(view.history._replace(rows=rows), migrations)


def _judged(
    run: Run, migrations: tuple[Migration, ...], view: View
) -> tuple[_Adopting, Adoption, ForeignTable, str] | None:
    if view.second:
        raise view.second
    wanted = run.config.adopt
    known = [tracker(name) for name in ADOPTABLE] if wanted == AUTO else [tracker(wanted)]
    limit = run.config.lock_timeout
    chosen = read_tables(run.link, partial(find_history, trackers=known, lock_timeout_ms=limit))
    if chosen is None:
        return None
    tool, spot = chosen
    if wanted == AUTO:
        check_fits(tool.name, view.format)
    task = _Adopting(run, migrations, tool)
    adoption, digest = task.judge(view, spot)
    run.warn(adoption.holes())
    return task, adoption, spot, digest


class _Adopting:
    """One adoption, from the look at both histories to the row of each file."""

    def __init__(self, run: Run, migrations: tuple[Migration, ...], tool: Tracker) -> None:
        self.run, self.link, self.migrations, self.tool = run, run.link, migrations, tool
        self.lock_timeout = run.config.lock_timeout

    def judge(self, view: View, spot: ForeignTable) -> tuple[Adoption, str]:
        """What is to be adopted, and the digest of the rows that say so; raises its failures."""
        query = partial(read_rows, spot=spot, lock_timeout_ms=self.lock_timeout)
        rows, digest, doubts = read_tables(self.link, query)
        self.run.doubt(doubts)
        history = view.history.rows
        adoption = make_adoption(self.tool.name, self.tool.read(rows), self.migrations, history)
        self.run.shown = {"adoption": adoption.rows()}
        if any(isinstance(failure, DirtyError) for failure in adoption.failures):
            self._refuse_at_work(spot)
        adoption.raise_failures()
        return adoption, digest

    def _refuse_at_work(self, spot: ForeignTable) -> None:
        """LockedError where what looks unfinished is what the tool is at."""
        limit = self.lock_timeout
        query = partial(read_foreign_holder, tracker=self.tool, spot=spot, lock_timeout_ms=limit)
        if found := read_tables(self.link, query):
            raise self._at_work(found)

    def go(self, view: View, *, wanted: tuple[str, str] | None, only_plan: bool) -> dict[str, Any]:
        limit = self.lock_timeout
        find = partial(find_spot, tracker=self.tool, wanted=wanted, lock_timeout_ms=limit)
        spot = read_tables(self.link, find)
        adoption, digest = self.judge(view, spot)
        if only_plan:
            self.run.outcome = f"{len(adoption.new)} to adopt"
            return self.run.shown
        if adoption.new:
            self.write(adoption, view, spot, digest)
            self.run.shown = {"adoption": adoption.rows(written=True)}
            view = self.run.look(self.migrations)
        ours = [row.version for row in view.history.rows if row.run_id == self.link.run_id]
        self.run.outcome = f"{len(ours)} adopted from {spot}" if ours else "nothing to adopt"
        return self.run.shown

    def write(self, adoption: Adoption, view: View, spot: ForeignTable, digest: str) -> None:
        self.run.prepare(view.history, coming=[migration for _, migration in adoption.new])
        self.run.sync.look()
        also = [row for _, migration in adoption.new for row in self.run.sync.rows(migration)]
        seen = (head(view.history.seen()), digest)
        limits = Limits(self.lock_timeout)

        def send() -> None:
            session = self.link.connect()
            place = self.link.place_of(session)
            tables = self.run.sync.tables
            text = adopting(adoption, self.tool, spot, place, limits, seen, also, tables)
            try:
                session.send(text)
            except ServerError as error:
                self.link.settle(error)
                raise self._meant(error, place) from error
            except StoppedError as error:
                if not session.surely_rolled_back:
                    error.details["outcome"] = unknown
                raise
            except LostError:
                lost.append(True)
                raise

        unknown = "unknown: the adoption was being written; see `status`"
        lost: list[bool] = []
        try:
            persist(self.link, send, REPEATABLE, HISTORY, self.lock_timeout)
        except LostError as error:
            raise UnreachableError(f"the connection was lost: {error}", outcome=unknown) from error
        except MigratorError as error:
            if lost:
                error.details.setdefault("outcome", unknown)
            raise
        fields = {"from": self.tool.name, "table": str(spot), "count": len(adoption.new)}
        self.link.tell(Event("history.adopted", "info", fields))

    def _meant(self, error: ServerError, place: Place) -> Exception:
        """What the refusal means for the run; itself where a guard of ours or a table refused."""
        if is_misfit(error.refusal, place):
            return misfit(place, error.refusal, "nothing was adopted")
        if error.refusal.sqlstate != FOREIGN_HELD:
            return error
        return self._at_work(error.refusal.detail)

    def _at_work(self, found: Any) -> LockedError:
        holder = as_holder(found)
        remedy = f"Let {self.tool.name} end and keep its jobs from starting, then run again."
        if self.tool.release:
            remedy += f" Where it was killed: `{self.tool.release}`."
        return LockedError(
            f"{self.tool.name} is at work: its lock is held by {describe(holder)}",
            remedy=remedy,
            holder=holder,
        )


def _parted(table: str | None) -> tuple[str, str] | None:
    """Schema and name of --table."""
    if table is None:
        return None
    schema, dot, name = table.partition(".")
    if not (schema and dot and name):
        raise ConfigError("--table takes SCHEMA.TABLE", remedy="Write --table public.migrations.")
    return schema, name
