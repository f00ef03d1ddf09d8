"""What the command line takes: the commands, their words and their options.

One table, because the words are read before it is known which command they are for, and because
a run of one command must not import the others. What a command does is in its own file, NAME.py,
in a function of its name; tests/unit/test_cli_words.py holds the two together.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from keyword import iskeyword
from typing import Any, NamedTuple, cast

from migrator.config import ADOPTABLE

Output = dict[str, Any]


class Option(NamedTuple):
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


class Command(NamedTuple):
    """A word of the command line."""

    words: tuple[str, ...] = ()  #: the names of the words that follow the command
    options: tuple[Option, ...] = ()
    needs_database: bool = True

    def needs(self, options: Mapping[str, Any]) -> bool:
        """Whether it needs a database with these options."""
        offline = any(options.get(option.word) for option in self.options if option.offline)
        return self.needs_database and not offline


_TO = Option("to", "apply up to and with this one", "VERSION")
COMMANDS = {
    "up": Command(options=(_TO,)),
    "status": Command(),
    "plan": Command(
        options=(
            _TO,
            Option("graph", "what requires what, as Mermaid, instead of a table"),
            Option("sql", "the statements themselves, instead of a table"),
        )
    ),
    "verify": Command(
        options=(
            Option("base", "compare with this git branch, offline", "REF", offline=True),
            Option("schema", "compare the database with what its applied files make elsewhere"),
            Option("ignore", "names that others own, 'cron,public.events_*'", "NAMES"),
        ),
    ),
    "wait": Command(),
    "rollback": Command(
        options=(
            Option("to", "undo all that is newer than this one, which stays", "VERSION"),
            Option("steps", "undo so many, what was applied last first", "NUMBER"),
            Option("plan", "show what would be undone; changes nothing"),
            Option("from-files", "run the folder's .down.sql, not what the history keeps of it"),
            Option("yes", "ask nothing, at a terminal either"),
        ),
    ),
    "rehearse": Command(needs_database=False),
    "check": Command(
        options=(
            Option("base", "compare with this git branch, offline", "REF", offline=True),
            Option("all", "every file of the folder, each as if it alone were pending"),
            Option("assume-small", "without a database, count no table as big"),
            Option("write", "write what was seen beside the files, for `up` to judge by"),
            Option("format", "github: annotations of a pull request; sarif", "FORMAT"),
        ),
        needs_database=False,
    ),
    "dump": Command(needs_database=False),
    "baseline": Command(
        options=(
            Option("at", "the newest migration that the database holds already", "VERSION"),
            Option("check", "see on a scratch database that the files make what is there"),
        ),
    ),
    "history": Command(options=(Option("limit", "so many of the newest lines [50]", "NUMBER"),)),
    "report": Command(
        options=(
            Option("markdown", "as a page of Markdown"),
            Option("pending", "of what is pending alone, for a comment"),
            Option("html", "as a page to look at, in this file", "FILE"),
        )
    ),
    "repair": Command(
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
        options=(
            Option("from", f"{', '.join(ADOPTABLE)}, seed", "TOOL"),
            Option("table", "the table of that tool, when it is in no usual place", "SCHEMA.TABLE"),
            Option("plan", "show what would be done, and change nothing"),
        ),
    ),
    "new": Command(
        words=("[NAME]",),
        options=(
            Option("repeatable", "create R__NAME.sql, which runs whenever it changed"),
            Option("renumber", "the late file to be renamed to the next number", "VERSION"),
        ),
        needs_database=False,
    ),
    "fleet": Command(
        words=("COMMAND",),
        options=(
            Option("targets", "one URL a line, or NAME=URL", "FILE", offline=True),
            Option("databases", "those of DATABASE_URL's server, 'tenant_%'", "PATTERN"),
            Option("schemas", "those of DATABASE_URL, each with its own history", "PATTERN"),
            Option("jobs", "so many at once [4]", "NUMBER"),
            Option("canary", "so many first, and no more when one fails", "NUMBER"),
            Option("stop-after", "start no more after so many failures", "NUMBER"),
            Option("markdown", "the summary as a page of Markdown"),
        ),
    ),
}

#: Other words for commands.
ALIASES = {"lint": "check"}


def function_of(name: str) -> Callable[..., Output]:
    """(run, *words, **options) -> what goes to stdout, beside the report.

    An option that was not given is None, or False where it takes no value.
    """
    file = import_module(f"migrator.commands.{name}")
    return cast("Callable[..., Output]", getattr(file, name))
