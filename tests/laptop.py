"""What `make migrate` and its kin do before the job: say which database it is, and ask.

    python -m tests.laptop COMMAND|redo|reset [ARGS …]

The database is that of the environment, else of the .env file that ENV_FILE names, else a server of
this folder's own in .local/postgres. YES=1 answers every question.
"""

from __future__ import annotations

import ipaddress
import os
import secrets
import sys
from contextlib import closing
from enum import Enum
from pathlib import Path
from typing import Any

import psycopg2
from psycopg2 import sql

from migrator.cli.env_file import PLACE_NAMES
from migrator.cli.main import read_settings
from migrator.errors import MigratorError
from migrator.postgres.url import Target
from tests.postgres import NoServerError, at_server, obey, own_server, say_where, scratch

DIRECTORY = Path(".local/postgres")
JOB = [sys.executable, "entrypoint.py"]
#: These change nothing.
READS = frozenset({"status", "verify", "plan", "history", "report", "wait"})
#: These run on SHADOW_DATABASE_URL.
ON_SCRATCH = frozenset({"rehearse", "check", "dump"})
#: These need a scratch database beside the one that they are about.
COMPARE = ({"baseline", "--check"}, {"verify", "--schema"})
#: These take something away, and are for a database of one's own.
LOCAL_ONLY = frozenset({"redo", "reset"})
REFUSED, STOPPED = 2, 23  # the job's own codes for a wrong call, and for a "no"
#: The exit codes whose remedies may name a command of the job's.
NAME_COMMANDS = frozenset({10, 11, 12, 13, 14, 15, 24})
HOW_TO_TYPE = (
    "\nType a command that is named above as make repair ARGS='…',\n"
    "and `up`, or a flag of it, as make migrate ARGS='…'."
)


class Consent(Enum):
    """What comes before a command."""

    NONE = "go on"
    ASK = "ask first"
    REFUSE_REMOTE = "it is for a database on this machine"
    REFUSE_SILENT = "nobody can be asked"


def consent(command: str, *, remote: bool, from_file: bool, terminal: bool, yes: bool) -> Consent:
    """What is needed before `command` runs on a database that is `remote` or on this machine.

    Without a terminal a remote database that the environment names is what a pipeline was given on
    purpose; one that only a file names may be there by accident.
    """
    if command in LOCAL_ONLY and remote:
        return Consent.REFUSE_REMOTE
    if yes or command in READS:
        return Consent.NONE
    if command == "rollback" and terminal:
        return Consent.NONE  # the job shows what it would undo, and asks
    if command not in LOCAL_ONLY and not remote:
        return Consent.NONE
    if terminal:
        return Consent.ASK
    if command in LOCAL_ONLY or from_file:
        return Consent.REFUSE_SILENT
    return Consent.NONE


def is_remote(target: Target) -> bool:
    """Whether a host of the target is not this machine's loopback, or is not known."""
    if "service" in target.params:
        return True
    hosts = target.params.get("hostaddr", "").split(",") if "hostaddr" in target.params else []
    return not all(map(_is_loopback, hosts or [host for host, _ in target.hosts]))


def _is_loopback(host: str) -> bool:
    if not host or host.startswith(("/", "@")) or host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def main(words: list[str]) -> int:
    """Run one command of the job; its exit code."""
    if not words:
        print(__doc__, file=sys.stderr)
        return REFUSED
    command, *rest = words
    env_file = os.environ.get("ENV_FILE") or None
    try:
        if command in ON_SCRATCH:
            return _on_scratch(command, rest, env_file)
        targets = read_settings(os.environ, env_file, {}).targets if _named(env_file) else ()
        return _run(command, rest, env_file, targets)
    except MigratorError as error:
        print(f"{error.message}\n{error.remedy}", file=sys.stderr)
        return error.exit_code
    except NoServerError as error:
        print(error, file=sys.stderr)
        return REFUSED


def _on_scratch(name: str, words: list[str], env_file: str | None) -> int:
    """On SHADOW_DATABASE_URL, of the file too, else on a server that is removed in the end."""
    command = [*JOB, name, *words, *(["--env-file", env_file] if env_file else [])]
    if env_file and read_settings(os.environ, env_file, {}).shadow:
        return obey(command, dict(os.environ))
    return scratch(command)


def _named(env_file: str | None) -> bool:
    """Whether the environment or the file names a database."""
    if any(os.environ.get(name) for name in PLACE_NAMES):
        return True
    return bool(env_file) and bool(read_settings(os.environ, env_file, {}).targets)


def _run(command: str, rest: list[str], env_file: str | None, targets: tuple[Target, ...]) -> int:
    file = ["--env-file", env_file] if env_file else []
    if targets:
        from_file = not PLACE_NAMES & os.environ.keys()
        names = " and ".join(target.name for target in targets)
        source = f"{names} of {env_file if from_file else 'the environment'}"
        if refused := _refused(command, targets, source, from_file=from_file):
            return refused
        return _do(command, rest, file, dict(os.environ), targets[0])
    server = own_server(DIRECTORY)
    environment = at_server(server)
    targets = read_settings(environment, env_file, {}).targets
    if refused := _refused(command, targets, "a server of this folder's own"):
        return refused
    code = _do(command, rest, file, environment, targets[0])
    if code == 0 and command not in READS:
        obey([*JOB, "status", "--log-level", "warning", *file], environment)
    say_where(server, DIRECTORY)
    return code


def _refused(
    command: str, targets: tuple[Target, ...], source: str, *, from_file: bool = False
) -> int:
    """Say which database it is; the exit code where the command may not go on, else 0."""
    where = ", else ".join(map(str, targets))
    _say(f"{_called(command)}: {where}, {source}")
    needed = consent(
        command,
        remote=any(map(is_remote, targets)),
        from_file=from_file,
        terminal=sys.stdin.isatty() and sys.stderr.isatty(),
        yes=_yes(),
    )
    if needed is Consent.REFUSE_REMOTE:
        _say(f"`{command}` is for a database on this machine, and that host is not loopback.")
        return REFUSED
    if needed is Consent.REFUSE_SILENT:
        _say(f"There is no terminal to ask at. If you mean it: make {_called(command)} YES=1")
        return REFUSED
    if needed is not Consent.ASK or command in LOCAL_ONLY:
        return 0  # redo and reset ask when they have shown what they would do
    sure = _sure("That host is not this machine. Go on? [y/N] ", {"y", "yes"})
    return 0 if sure else STOPPED


def _do(
    command: str, words: list[str], file: list[str], environment: dict[str, str], target: Target
) -> int:
    if command == "redo":
        return _redo(words, file, environment)
    if command == "reset":
        return _reset([*words, *file], environment, target)
    code = _job([*JOB, command, *words, *file], environment, file)
    if code in NAME_COMMANDS:
        _say(HOW_TO_TYPE)
    return code


def _job(command: list[str], environment: dict[str, str], file: list[str]) -> int:
    """The job; what compares with what files make has a server for it, where none is named."""
    compares = any(pair <= set(command) for pair in COMPARE)
    if compares and not read_settings(environment, file[-1] if file else None, {}).shadow:
        return scratch(command, environment)
    return obey(command, environment)


def _redo(words: list[str], file: list[str], environment: dict[str, str]) -> int:
    """Undo the last run, or what `words` say, and apply what is pending then."""
    plan = ["rollback", "--plan", "--log-level", "warning"]
    if code := obey([*JOB, *plan, *words, *file], environment):
        return code
    if not _sure("Undo this and apply again? [y/N] ", {"y", "yes"}):
        return STOPPED
    code = obey([*JOB, "rollback", "--yes", *words, *file], environment)
    return code or obey([*JOB, "up", *file], environment)


def _reset(words: list[str], environment: dict[str, str], target: Target) -> int:
    """Drop the database, create it as it was, and apply all."""
    name = target.params.get("dbname") or target.params.get("user", "")
    try:
        if problem := _why_not(target, name):
            _say(f"{problem} Nothing was done.")
            return REFUSED
        if not _sure(f"All that {name} holds will be lost. Type its name to go on: ", {name}):
            return STOPPED
        _make_anew(target, name)
    except psycopg2.Error as error:
        _say(f"reset failed: {str(error).strip()}")
        return REFUSED
    _say(f"{name} is empty now")
    return obey([*JOB, "up", *words], environment)


def _connect(target: Target, dbname: str) -> Any:
    [(host, port), *_] = target.hosts
    params: dict[str, Any] = {**target.params, "dbname": dbname, "port": port, "connect_timeout": 5}
    if host:
        params["host"] = host
    connection = psycopg2.connect(**params)
    connection.autocommit = True
    return connection


def _why_not(target: Target, name: str) -> str:
    """Why this database is not for dropping; says what it holds."""
    with closing(_connect(target, name)) as connection, connection.cursor() as cursor:
        cursor.execute(HOLDS)
        tables, size, platform = cursor.fetchone()
    _say(f"{name} holds {tables} tables, {size}")
    return "It is a Supabase stack's: use `supabase db reset`." if platform else ""


HOLDS = """
SELECT (SELECT count(*) FROM pg_tables
        WHERE schemaname NOT IN ('pg_catalog', 'information_schema')),
       pg_size_pretty(pg_database_size(current_database())),
       (SELECT count(*) = 2 FROM pg_namespace WHERE nspname IN ('auth', 'storage'))
"""
#: The database's own encoding and locale, as CREATE DATABASE takes them.
FORM = """
SELECT pg_get_userbyid(datdba), pg_encoding_to_char(encoding), to_jsonb(d) FROM pg_database d
WHERE datname = %s
"""
PROVIDERS = {"c": "libc", "i": "icu", "b": "builtin"}


def _make_anew(target: Target, name: str) -> None:
    """Create an empty one beside it first: where that is refused, nothing is lost."""
    with closing(_connect(target, "template1" if name == "postgres" else "postgres")) as connection:
        cursor = connection.cursor()
        cursor.execute(FORM, (name,))
        owner, encoding, row = cursor.fetchone()
        words = {"ENCODING": encoding, "LC_COLLATE": row["datcollate"], "LC_CTYPE": row["datctype"]}
        if provider := PROVIDERS.get(row.get("datlocprovider", "")):  # PostgreSQL 15 and newer
            words["LOCALE_PROVIDER"] = provider
        if locale := row.get("datlocale") or row.get("daticulocale"):
            words["ICU_LOCALE" if provider == "icu" else "BUILTIN_LOCALE"] = locale
        options = [sql.SQL(f"{word} {{}}").format(sql.Literal(v)) for word, v in words.items()]
        beside = sql.Identifier(f"reset_{secrets.token_hex(6)}")
        cursor.execute(
            sql.SQL("CREATE DATABASE {} OWNER {} TEMPLATE template0 {}").format(
                beside, sql.Identifier(owner), sql.SQL(" ").join(options)
            )
        )
        try:
            cursor.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))
        except psycopg2.Error:
            cursor.execute(sql.SQL("DROP DATABASE {}").format(beside))
            raise
        cursor.execute(
            sql.SQL("ALTER DATABASE {} RENAME TO {}").format(beside, sql.Identifier(name))
        )


def _sure(question: str, right: set[str]) -> bool:
    if _yes():
        return True
    sys.stderr.write(question)
    sys.stderr.flush()
    if sys.stdin.readline().strip() in right:
        return True
    _say("Nothing was done.")
    return False


def _called(command: str) -> str:
    """What `make` calls it."""
    return "migrate" if command == "up" else command


def _yes() -> bool:
    return os.environ.get("YES", "") not in {"", "0"}


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
