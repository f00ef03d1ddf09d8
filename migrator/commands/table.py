"""The commands: each is a function whose docstring is its help text."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from keyword import iskeyword
from typing import Any

from migrator.apply.run import Run, View, wait_for_all
from migrator.config import OnFinding, OnLate
from migrator.errors import ConfigError, LateError, PendingError, SourceError
from migrator.folder.read import read_source
from migrator.model import Event, Migration
from migrator.plan.plan import behind
from migrator.sql.script import Script

Output = dict[str, Any]

LOG_LINES = 50  #: that `history` shows


@dataclass(frozen=True, slots=True)
class Option:
    """A flag of some commands, beside the settings, which every command takes."""

    name: str  #: "from-files": --from-files on the line, from_files to the command
    help: str
    value: str | None = None  #: what its values are called, "OLD NEW"; None: it takes none
    offline: bool = False  #: with it the command needs no database

    @property
    def word(self) -> str:
        """As a parameter: from_files for from-files, from_ for from, a keyword."""
        word = self.name.replace("-", "_")
        return f"{word}_" if iskeyword(word) else word


@dataclass(frozen=True, slots=True)
class Command:
    """A word of the command line."""

    #: (run, *words, **options) -> what goes to stdout, beside the report; an option that was not
    #: given is None, or False where it takes no value
    do: Callable[..., Output]
    words: tuple[str, ...] = ()  #: the names of the words that follow the command
    options: tuple[Option, ...] = ()
    needs_database: bool = True

    def needs(self, options: Mapping[str, Any]) -> bool:
        """Whether it needs a database with these options."""
        offline = any(options.get(option.word) for option in self.options if option.offline)
        return self.needs_database and not offline

    @property
    def help(self) -> str:
        return (self.do.__doc__ or "").strip()


def up(run: Run) -> Output:
    """Apply every pending migration, lowest version first, then changed repeatables."""
    run.apply_pending(_source(run))
    return {}


def status(run: Run) -> Output:
    """Show every migration and its state, and what is wrong; changes nothing."""
    from migrator.commands.overview import status_of

    return status_of(run, _source(run))


def plan(run: Run, *, graph: bool) -> Output:
    """Show what `up` would do, and fail where it would; changes nothing."""
    from migrator.commands.overview import planned

    return planned(run, _source(run), graph=graph)


def verify(run: Run, *, base: str | None) -> Output:
    """Fail unless all is applied and nothing has drifted, whatever the policies let pass.

    With --base, offline: fail when the folder has a file that is older than the newest of REF.
    """
    if base is not None:
        return _verify_base(run, base)
    late = OnLate.APPLY if run.config.on_late is OnLate.SKIP else run.config.on_late
    run.config = replace(run.config, on_drift=OnFinding.FAIL, on_late=late)
    _checked(run, _full_source(run))
    if run.pending:
        raise PendingError(f"pending: {', '.join(run.pending)}")
    return {}


def wait(run: Run) -> Output:
    """Poll until the database holds every migration of the folder; for an initContainer."""
    wait_for_all(run, _full_source(run))
    return {}


def rollback(
    run: Run, *, to: str | None, steps: str | None, plan: bool, from_files: bool, yes: bool
) -> Output:
    """Undo what the last run applied, or with --to and --steps more; --plan only shows it."""
    from migrator.commands.rollback import plan_undo, roll_back
    from migrator.plan.undo import Origin, Wish

    if to and steps:
        raise ConfigError("--to and --steps exclude each other", remedy="Give one of them.")
    wish = Wish(to and to.removesuffix(".sql"), _number("steps", steps) if steps else None)
    origin = Origin.FILE if from_files else Origin.STORED
    if plan:
        found = plan_undo(run, _source(run), wish, origin)
        run.outcome = f"{len(found.steps)} would be rolled back"
        return {"would_undo": [step.as_dict() for step in found.steps]}
    roll_back(run, _source(run), wish, origin, sure=yes)
    run.outcome = f"{len(run.rolled_back)} rolled back" if run.rolled_back else "nothing to undo"
    return {}


def rehearse(run: Run) -> Output:
    """Prove each undo on a scratch database: up, down, up again, and nothing is left or lost."""
    from migrator.commands.rehearse import rehearse_all

    done = rehearse_all(run, _full_source(run))
    without = [row["version"] for row in done if row["result"] == "no undo"]
    run.outcome = f"{len(done) - len(without)} undone and made again on a scratch database"
    if without:
        run.outcome += f"; no undo: {', '.join(without)}"
    return {"rehearsed": done}


def check(
    run: Run, *, base: str | None, all: bool, assume_small: bool, format: str | None
) -> Output:
    """Show what pending files would do to tables in use: tried on a scratch database."""
    from migrator.commands.check import check_pending
    from migrator.commands.check_rules import check_format

    check_format(format)
    judged = check_pending(
        run, _full_source(run), base=base, every=all, small=assume_small, style=format
    )
    run.found = judged.findings
    return run.shown


def baseline(run: Run, *, at: str | None, check: bool) -> Output:
    """Record all files up to --at as applied, without running them; --check compares first."""
    from migrator.commands.baseline import declare

    if at is None:
        raise ConfigError("`baseline` takes --at VERSION", remedy="Name the newest file it holds.")
    versions = declare(run, _full_source(run), at.removesuffix(".sql"), check=check)
    run.outcome = f"{len(versions)} recorded as baseline" if versions else "nothing to do"
    return {"baseline": versions}


def history(run: Run, *, limit: str | None) -> Output:
    """Show the log: who did what when, how long it took, and why; changes nothing."""
    from migrator.commands.overview import log_line

    lines = run.read_log(_number("limit", limit) if limit else LOG_LINES)
    return {"log": [log_line(line) for line in lines]}


def report(run: Run, *, markdown: bool) -> Output:
    """Show the whole state, for a pull request or an incident; changes nothing."""
    from migrator.commands.overview import whole_state

    return whole_state(run, _source(run))


def repair(run: Run, reason: str | None, **answers: str | list[str] | None) -> Output:
    """Record what a person knows about one migration, and why; deletes nothing of the log."""
    from migrator.commands.repair import record_answer
    from migrator.commands.repair_rules import given_answer  # seldom needed

    return record_answer(run, _source(run), given_answer(answers, reason))


def adopt(run: Run, *, from_: str | None, table: str | None, plan: bool) -> Output:
    """Take over the history of another tool, with proof of what it ran where there is one."""
    from migrator.adopt.adopt import adopt_history  # once in the life of a database

    return adopt_history(run, _full_source(run), from_, table, only_plan=plan)


def new(run: Run, name: str | None = None, *, repeatable: bool, renumber: str | None) -> Output:
    """Create the next migration's file and its .down.sql, or give a late one the next number."""
    if (name is None) == (renumber is None) or (repeatable and renumber):
        raise ConfigError("`new` takes a NAME, or --renumber VERSION", remedy="Give one of them.")
    from migrator.folder.create import create, rename  # the only command that writes files

    folder, today = run.config.migrations_dir, run.started_at
    if renumber:
        made, run.outcome = rename(folder, renumber, today)
    else:
        made, run.outcome = create(
            folder, name or "", today, run.config.folder_format, repeatable=repeatable
        )
    return {"created": made}


COMMANDS = {
    "up": Command(up),
    "status": Command(status),
    "plan": Command(
        plan, options=(Option("graph", "what requires what, as Mermaid, instead of a table"),)
    ),
    "verify": Command(
        verify,
        options=(Option("base", "compare with this git branch, offline", "REF", offline=True),),
    ),
    "wait": Command(wait),
    "rollback": Command(
        rollback,
        options=(
            Option("to", "undo all that is newer than this one, which stays", "VERSION"),
            Option("steps", "undo so many, what was applied last first", "NUMBER"),
            Option("plan", "show what would be undone; changes nothing"),
            Option("from-files", "run the folder's .down.sql, not what the history keeps of it"),
            Option("yes", "ask nothing, at a terminal either"),
        ),
    ),
    "rehearse": Command(rehearse, needs_database=False),
    "check": Command(
        check,
        options=(
            Option("base", "compare with this git branch, offline", "REF", offline=True),
            Option("all", "every file of the folder, each as if it alone were pending"),
            Option("assume-small", "without a database, count no table as big"),
            Option("format", "github: annotations of a pull request; sarif", "FORMAT"),
        ),
        needs_database=False,
    ),
    "baseline": Command(
        baseline,
        options=(
            Option("at", "the newest migration that the database holds already", "VERSION"),
            Option("check", "see on a scratch database that the files make what is there"),
        ),
    ),
    "history": Command(
        history, options=(Option("limit", "so many of the newest lines [50]", "NUMBER"),)
    ),
    "report": Command(report, options=(Option("markdown", "as a page of Markdown"),)),
    "repair": Command(
        repair,
        options=(
            Option("applied", "all of this migration has taken effect", "VERSION"),
            Option("not-applied", "nothing of it has, or nothing of it is left", "VERSION"),
            Option("done", "its interrupted statement has taken effect", "VERSION"),
            Option("retry", "its interrupted statement has not, and may run again", "VERSION"),
            Option("accept-checksum", "its file was changed on purpose since", "VERSION"),
            Option("rename", "its file has another name now, and the same text", "OLD NEW"),
            Option("reason", "why, for the log", "WHY"),
        ),
    ),
    "adopt": Command(
        adopt,
        options=(
            Option("from", "flyway, dbmate, golang-migrate, goose, supabase, prisma, seed", "TOOL"),
            Option("table", "the table of that tool, when it is in no usual place", "SCHEMA.TABLE"),
            Option("plan", "show what would be done, and change nothing"),
        ),
    ),
    "new": Command(
        new,
        words=("[NAME]",),
        options=(
            Option("repeatable", "create R__NAME.sql, which runs whenever it changed"),
            Option("renumber", "the late file to be renamed to the next number", "VERSION"),
        ),
        needs_database=False,
    ),
}

#: Other words for commands.
ALIASES = {"lint": "check"}


def _source(run: Run) -> tuple[Migration, ...]:
    """The folder; one without a single migration is warned about."""
    with run.link.watch.thinking():
        source = read_source(run.config.migrations_dir, run.config.folder_format)
    migrations, run.passed_over = source.migrations, source.warnings
    if not migrations:
        run.link.tell(
            Event("source.empty", "warning", {"migrations_dir": run.config.migrations_dir})
        )
    return migrations


def _full_source(run: Run) -> tuple[Migration, ...]:
    """The folder, for commands that say all is well: an empty one proves nothing."""
    migrations = _source(run)
    if not migrations:
        raise SourceError(
            f"no migration in {run.config.migrations_dir}",
            remedy="Name the folder of migrations, --migrations-dir FOLDER (MIGRATIONS_DIR), or "
            "copy the files there.",
        )
    return migrations


def _checked(run: Run, migrations: tuple[Migration, ...]) -> tuple[View, tuple[Script, ...]]:
    """What is pending, read and understood; raises what would keep `up` from running it."""
    view = run.look(migrations)
    run.warn(view.decision.warnings)
    view.decision.raise_failures()
    scripts = run.understand(view, migrations)
    view.raise_dirty()
    return view, scripts


def _verify_base(run: Run, ref: str) -> Output:
    from migrator.folder.git import read_names_at

    migrations = _full_source(run)
    found = behind(migrations, read_names_at(run.config.migrations_dir, ref))
    if found:
        files = ", ".join(finding.file for finding in found)
        raise LateError(
            f"new files are older than what {ref} has: {files}",
            findings=found,
            remedy="Give each a number above those: `new --renumber VERSION`.",
        )
    run.outcome = f"no file is older than what {ref} has"
    return {}


def _number(name: str, text: str) -> int:
    if not re.fullmatch("[1-9][0-9]{0,8}", text):
        raise ConfigError(f"--{name} takes a number above 0", remedy=f"Write --{name} 1, or more.")
    return int(text)
