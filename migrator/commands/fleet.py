"""`fleet`: the job once for each of many databases, in processes of their own."""

from __future__ import annotations

import os
import selectors
import signal
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from migrator.apply.run import Run
from migrator.commands.fleet_rules import (
    WHATS,
    Member,
    Outcome,
    environment_of,
    fleet_in_words,
    of_database,
    of_schema,
    read_members,
    read_outcome,
    summary,
    worst,
)
from migrator.commands.source import above_zero
from migrator.commands.table import Output
from migrator.errors import ConfigError, FleetError, MigratorError
from migrator.model import Event
from migrator.postgres.quoting import first, literal

#: How often the wait for a process looks whether the run was stopped.
CHECK_STOP_SECONDS = 0.2
#: How long a process may take to stop before it is killed.
STOP_SECONDS = 20.0
JOBS = 4  #: processes at once
CHUNK = 65_536
DATABASES = "SELECT datname FROM pg_database WHERE datallowconn AND datname LIKE {like} ORDER BY 1"
SCHEMAS = "SELECT nspname FROM pg_namespace WHERE nspname LIKE {like} ORDER BY 1"


@dataclass(frozen=True, slots=True)
class Pace:
    """How many processes at once, how many come first, and when no more are started."""

    jobs: int
    canary: int
    stop_after: int | None


def fleet(
    run: Run,
    what: str,
    *,
    targets: str | None,
    databases: str | None,
    schemas: str | None,
    jobs: str | None,
    canary: str | None,
    stop_after: str | None,
    markdown: bool,
) -> Output:
    """Run `up`, `status` or `verify` for many databases, each in a process of its own.

    Ends with the exit code of the worst failure, 1x before 2x. Run the same again to go on:
    what is applied stays applied.
    """
    pace = Pace(
        above_zero("jobs", jobs) if jobs else JOBS,
        above_zero("canary", canary) if canary else 0,
        above_zero("stop-after", stop_after) if stop_after else None,
    )
    if what not in WHATS:
        raise ConfigError(
            f"this command is not run for many databases: there are {', '.join(WHATS)}",
            remedy="Name one of these.",
        )
    if sum(source is not None for source in (targets, databases, schemas)) != 1:
        raise ConfigError(
            "one of --targets, --databases and --schemas must say which databases are meant",
            remedy="Give one of them.",
        )
    members = list(_members(run, targets, databases, schemas))
    outcomes: list[Outcome] = []
    try:
        for outcome in _outcomes(run, what, members, pace):
            outcomes.append(outcome)
            level = "error" if outcome.exit_code else "info"
            run.link.tell(Event("member.finished", level, outcome.as_dict()))
    except MigratorError as error:
        error.details["outcome"] = _summed_up(run, what, members, outcomes)
        raise
    run.outcome = _summed_up(run, what, members, outcomes)
    code = worst(outcomes)
    if code:
        failed = [f"{o.name} ({o.exit_code})" for o in outcomes if o.exit_code]
        raise FleetError(
            f"{run.outcome}: {', '.join(failed[:20])}{', …' if failed[20:] else ''}",
            remedy="See why in the lines `member.finished`, fix it and run the same again: what is "
            "applied stays applied.",
            exit_code=code,
            outcome=run.outcome,
        )
    return run.shown


def _summed_up(run: Run, what: str, members: Sequence[Member], outcomes: Sequence[Outcome]) -> str:
    """Let the answer be the summary; the same as a phrase."""
    run.shown = summary(outcomes, [member.name for member in members])
    return fleet_in_words(run.shown, what)


def _members(
    run: Run, targets: str | None, databases: str | None, schemas: str | None
) -> Iterator[Member]:
    if targets is not None:
        try:
            text = Path(targets).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(
                f"{targets} cannot be read: {error}", remedy="Name a file with one URL a line."
            ) from error
        yield from read_members(text, targets)
        return
    query = DATABASES if databases is not None else SCHEMAS
    like = databases if databases is not None else schemas
    text = first("/* migrator lists its fleet */", query.format(like=literal(like)))
    names = [name for (name,) in run.link.connect().send(text)]
    run.link.close()
    if not names:
        raise ConfigError(f"nothing is like {like}", remedy="Give a pattern of LIKE: 'tenant_%'.")
    target = run.config.targets[0]
    given = run.environment()
    url = None
    if target.name.endswith("_URL"):  # else PG* says where
        url = given.get(f"MIGRATOR_{target.name}") or given.get(target.name)
    for name in names:
        yield of_schema(name) if schemas is not None else of_database(name, target.name, url)


def _outcomes(run: Run, what: str, members: Sequence[Member], pace: Pace) -> Iterator[Outcome]:
    """The members' outcomes as they come: the canary's first, and none after too many failures."""
    failures, limit = 0, pace.stop_after or len(members) + 1
    for part in (members[: pace.canary], members[pace.canary :]):
        with _Processes(run, what) as processes:
            left = list(reversed(part))
            try:
                while left or processes.running:
                    while left and len(processes.running) < pace.jobs:
                        processes.start(left.pop())
                    for outcome in processes.ended():
                        failures += outcome.exit_code != 0
                        yield outcome
                    left = left if failures < limit else []
            except MigratorError:
                yield from processes.stopped()
                raise
        if failures:  # of the canary, or so many that no more are started
            return


@dataclass
class _Processes:
    """The processes at work; on the way out each is stopped as by SIGTERM."""

    run: Run
    what: str
    #: by the end of the pipe that each writes to: whose it is, its number, what it has said
    running: dict[int, tuple[Member, int, list[bytes]]] = field(default_factory=dict)
    _selector: selectors.BaseSelector = field(default_factory=selectors.DefaultSelector)

    def __enter__(self) -> _Processes:
        self._shared = self.run.environment()
        return self

    def start(self, member: Member) -> None:
        environment = environment_of(member, self._shared)
        try:
            place, end = os.pipe()
            process = self.run.start([self.what, "--json"], environment, end)
        except OSError as error:
            raise ConfigError(
                f"no more than {len(self.running)} processes can be started: {error.strerror}",
                remedy="Give a lower --jobs.",
            ) from error
        os.close(end)
        self.running[place] = (member, process, [])
        self._selector.register(place, selectors.EVENT_READ)

    def ended(self) -> Iterator[Outcome]:
        """Read what has come, and hand on the outcomes of the processes that have ended."""
        self.run.link.watch.check()
        yield from self._read(CHECK_STOP_SECONDS)

    def stopped(self) -> Iterator[Outcome]:
        """Stop each process, and hand on what it came to."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            for _, started, _ in self.running.values():
                os.kill(started, number)
            ends = time.monotonic() + STOP_SECONDS
            while self.running and (left := ends - time.monotonic()) > 0:
                yield from self._read(left)

    def _read(self, seconds: float) -> Iterator[Outcome]:
        for key, _ in self._selector.select(seconds):
            member, process, said = self.running[key.fd]
            if piece := os.read(key.fd, CHUNK):
                said.append(piece)
                continue
            code = self._forget(key.fd, process)
            yield read_outcome(member, code, b"".join(said).decode(errors="replace"))

    def __exit__(self, *_error: object) -> None:
        for _ in self.stopped():  # after an error that is no end of a run
            pass
        self._selector.close()

    def _forget(self, place: int, process: int) -> int:
        """The exit code of a process that has closed its streams, as a shell has it."""
        self._selector.unregister(place)
        del self.running[place]
        os.close(place)
        return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
