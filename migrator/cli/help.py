"""The pages of the help, each at most 80 columns wide. No run without --help reads this file."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable
from dataclasses import dataclass

from migrator.commands.table import COMMANDS, function_of
from migrator.config import SETTINGS, URLS

SCREEN_COLUMNS = 80


@dataclass(frozen=True, slots=True)
class Page:
    """What the help says of a command beyond what its function says."""

    summary: str  #: its line in the list of commands
    codes: tuple[int, ...]  #: the exit codes that it may end with, beside 1
    examples: tuple[tuple[str, str], ...]  #: what is typed behind `migrator`, and what for


CODES = {
    0: "done, or nothing to do",
    1: "a bug in migrator, with a traceback",
    2: "usage or settings",
    10: "a file of the folder cannot be used; nothing was run",
    11: "an applied file has changed",
    12: "an applied migration has no file",
    13: "a pending file is older than the newest applied one",
    14: "a no-transaction file was interrupted, and a person must decide",
    15: "PostgreSQL refused a statement; its file was rolled back",
    16: "the login, TLS or a right of the role was refused",
    17: "a pending file would harm a table in use",
    20: "no connection within CONNECT_TIMEOUT, or it was lost",
    21: "another runner held the lock for all of WAIT_TIMEOUT",
    22: "tables were locked for all of LOCK_RETRY_TIMEOUT",
    23: "stopped by a signal, by DEADLINE, or by a no at the question",
    24: "migrations are pending",
}
#: What a code means for one command, where that is another thing.
OF_COMMAND = {
    ("up", 24): "PHASE=post, and files of the pre phase are pending",
    ("plan", 24): "PHASE=post, and files of the pre phase are pending",
    ("verify", 0): "nothing is pending, and nothing has changed",
    ("verify", 11): "an applied file has changed; --schema: the database",
    ("verify", 15): "--schema: PostgreSQL refused a statement on the scratch database",
    ("wait", 0): "the database holds every migration of the folder, or of PHASE",
    ("wait", 12): "this image is too old for the database",
    ("wait", 24): "migrations were still pending after WAIT_TIMEOUT",
    ("rollback", 10): "an undo cannot be run, or what it undoes is required",
    ("rollback", 11): "the stored undo is not the file's",
    ("rollback", 12): "there is no undo",
    ("rollback", 15): "PostgreSQL refused a statement of an undo; it was rolled back",
    ("rehearse", 10): "an undo is not the whole way back; each difference is listed",
    ("check", 0): "nothing would stop `up` under PREFLIGHT=fail",
    ("check", 15): "PostgreSQL refused a statement on the scratch database",
    ("dump", 15): "PostgreSQL refused a statement on the scratch database",
    ("baseline", 11): "--check: the database is not what the files make",
    ("baseline", 15): "--check: PostgreSQL refused a statement on the scratch database",
    ("adopt", 11): "what the tool ran is not what the file says",
    ("adopt", 12): "the tool ran something that has no file",
    ("adopt", 14): "the tool's history has failed or unfinished migrations",
    ("adopt", 21): "another runner or that tool held its lock",
}
_LOOKS = (0, 2, 10, 16, 20, 23)
_RUNS = (0, 2, 10, 11, 12, 13, 14, 15, 16, 20, 21, 22, 23)
PAGES = {
    "up": Page(
        "apply every pending migration (the default)",
        (*_RUNS, 24),
        (
            ("up", "or `migrator` alone"),
            ("up --to 5", "no further than number 5"),
            ("up --phase pre", "what belongs before the new code is out"),
            ("up --on-late apply", "late files too"),
            ("up --lock-timeout 500ms", "a setting as a flag"),
        ),
    ),
    "status": Page(
        "show every migration and its state",
        _LOOKS,
        (("status", "a table"), ("status --json", "one JSON object on stdout")),
    ),
    "plan": Page(
        "show what `up` would do, and fail where it would",
        (0, 2, 10, 11, 12, 13, 14, 16, 17, 20, 23, 24),
        (
            ("plan", "what is pending, in order, and what it would do to tables in use"),
            ("plan --sql", "the statements themselves"),
            ("plan --graph", "as Mermaid, for a page"),
        ),
    ),
    "verify": Page(
        "fail unless all is applied and nothing has changed",
        (0, 2, 10, 11, 12, 13, 14, 15, 16, 20, 21, 22, 23, 24),
        (
            ("verify", "a gate that changes nothing"),
            ("verify --base origin/main", "a pull request, without a database"),
            ("verify --schema", "was the database changed by hand?"),
            ("verify --schema --ignore cron", "without what others own"),
        ),
    ),
    "wait": Page(
        "wait until the database holds every migration of the folder",
        (0, 2, 10, 12, 16, 20, 23, 24),
        (("wait --wait-timeout 30min", "in an initContainer"),),
    ),
    "rollback": Page(
        "undo what the last run applied, or more",
        (0, 2, 10, 11, 12, 14, 15, 16, 20, 21, 22, 23),
        (
            ("rollback --plan", "show what would be undone"),
            ("rollback --to 3", "undo all that is newer than number 3"),
            ("rollback --steps 1 --yes", "undo the newest, and do not ask"),
            ("rollback --from-files", "with the undo files of this folder"),
        ),
    ),
    "rehearse": Page(
        "prove each undo on a scratch database",
        (0, 2, 10, 15, 16, 20, 21, 22, 23),
        (("rehearse", "needs SHADOW_DATABASE_URL; DATABASE_URL gives sizes"),),
    ),
    "check": Page(
        "show what pending files would do to tables in use",
        (0, 2, 10, 11, 12, 13, 14, 15, 16, 17, 20, 21, 22, 23),
        (
            ("check", "needs SHADOW_DATABASE_URL; DATABASE_URL gives the sizes"),
            ("check --base origin/main", "the new files of a branch"),
            ("check --format github", "as annotations of a pull request"),
        ),
    ),
    "dump": Page(
        "write schema.sql, what the files make, for review",
        (0, 2, 10, 15, 16, 20, 21, 22, 23),
        (("dump", "needs SHADOW_DATABASE_URL, pg_dump, and no DATABASE_URL"),),
    ),
    "baseline": Page(
        "record files as applied without running them",
        (0, 2, 10, 11, 15, 16, 20, 21, 22, 23),
        (
            ("baseline --at 3 --check", "compare with the files first"),
            ("baseline --at 3", "the database holds all up to number 3"),
        ),
    ),
    "history": Page(
        "show the log: who did what, when and why",
        (0, 2, 16, 20, 23),
        (("history", "the newest 50 lines"), ("history --limit 5", "the newest 5")),
    ),
    "report": Page(
        "show the whole state, for an incident or a pull request",
        _LOOKS,
        (
            ("report", "as text"),
            ("report --markdown", "as a page"),
            ("report --markdown --pending", "as a comment of a pull request"),
            ("report --html report.html", "as one page to look at, without a network"),
        ),
    ),
    "repair": Page(
        "record what a person knows about one migration",
        (0, 2, 10, 16, 20, 21, 22, 23),
        (
            ('repair --done VERSION --reason "index is valid"', "its statement has run"),
            ('repair --accept-checksum VERSION --reason "a comment"', "changed on purpose"),
            ('repair --rename OLD NEW --reason "renumbered"', "one text, another name"),
        ),
    ),
    "adopt": Page(
        "take over the history of another tool",
        (0, 2, 10, 11, 12, 14, 16, 20, 21, 22, 23),
        (
            ("adopt --from flyway --plan", "show what would be written"),
            ("adopt --from dbmate", "write it"),
        ),
    ),
    "new": Page(
        "create the next migration, or renumber a late one",
        (0, 2, 10),
        (
            ("new add_orders", "the next number, with its .down.sql"),
            ("new --repeatable order_totals", "R__order_totals.sql"),
            ("new --renumber VERSION", "give a late file the next number"),
        ),
    ),
    "fleet": Page(
        "run up, status or verify for many databases",
        (*_RUNS, 24),
        (
            ("fleet up --targets FILE --canary 5", "five databases first, then the others"),
            ("fleet up --databases 'tenant_%' --jobs 8", "those of one server"),
            ("fleet status --schemas 'tenant_%'", "a history in each schema"),
        ),
    ),
}


def help_page(page: str) -> str:
    """The page of a command or a topic; "" is the first one."""
    if page == "settings":
        return _settings()
    return _command(page) if page else _first()


def _first() -> str:
    return "\n".join(
        (
            "Apply a folder of SQL files to PostgreSQL: once, in order, or not at all.",
            "usage: migrator [COMMAND] [OPTIONS]   (DATABASE_URL says where)",
            "",
            *_columns((name, page.summary) for name, page in PAGES.items()),
            "",
            *_columns(
                (
                    ("COMMAND --help", "its options, examples and exit codes; or --version"),
                    ("help settings", "DATABASE_URL, timeouts, policies; each but URLs is a flag"),
                    ("--json", "one JSON object on stdout; --color auto, always or never"),
                    ("--env-file PATH", "settings and URL of a .env file; the environment wins"),
                ),
            ),
            "",
        )
    )


def _command(name: str) -> str:
    command, page = COMMANDS[name], PAGES[name]
    options = [
        (f"--{option.name} {option.value or ''}".rstrip(), option.help)
        for option in command.options
    ]
    usage = " ".join(("migrator", name, *command.words, *(["[OPTIONS]"] if options else [])))
    codes = [
        (f"{code:>2}", OF_COMMAND.get((name, code), CODES[code]))
        for code in sorted((1, *page.codes))
    ]
    examples = [(f"migrator {line}", what) for line, what in page.examples]
    texts = (function_of(name).__doc__ or "").strip().split("\n\n")
    said = [textwrap.fill(" ".join(text.split()), SCREEN_COLUMNS) for text in texts]
    parts = [
        f"usage: {usage}\n",
        *(f"{text}\n" for text in said),
        *(["options:", *_columns(options), ""] if options else []),
        *("examples:", *_columns(examples), ""),
        *("exit codes:", *_columns(codes), ""),
        "Every command takes --json and the settings: migrator help settings\n",
    ]
    return "\n".join(parts)


def _settings() -> str:
    settings = (
        (s.name, f"{s.help} [{s.default}]" if s.default is not None else s.help) for s in SETTINGS
    )
    return "\n".join(
        (
            "Where to connect. From the environment only, as a command line can be read by",
            "every user of the machine:",
            "",
            *_columns(URLS.items()),
            "",
            "Settings. From the environment, or as a flag: LOCK_TIMEOUT is --lock-timeout.",
            "MIGRATOR_LOCK_TIMEOUT wins over LOCK_TIMEOUT, and the flag over both.",
            "Durations are 500ms, 2s, 5min, 1h; 0 is no limit. [In brackets: the default]",
            "",
            *_columns(settings),
            "",
        )
    )


def _columns(rows: Iterable[tuple[str, str]]) -> Iterable[str]:
    """Two columns, the second one folded."""
    found = list(rows)
    wide = max(len(first) for first, _ in found) + 4
    for first, second in found:
        yield textwrap.fill(
            second,
            SCREEN_COLUMNS,
            initial_indent=f"  {first}".ljust(wide),
            subsequent_indent=" " * wide,
        )
