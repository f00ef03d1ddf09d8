"""The schema of a scratch database as text, by the machine's own pg_dump."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

from migrator.apply.run import Run
from migrator.config import folders_of
from migrator.errors import ConfigError
from migrator.postgres.url import Target
from migrator.scratch.dump_rules import choose_program, for_review, version_of

#: Where packages put the programs of each version, beside what PATH finds.
_PLACES = (
    *("/usr/lib/postgresql/*/bin/pg_dump", "/usr/pgsql-*/bin/pg_dump"),
    *("/opt/homebrew/opt/*/bin/pg_dump", "/usr/local/opt/*/bin/pg_dump"),
)
_WORDS = ("--schema-only", "--no-owner", "--no-tablespaces", "--no-password", "--encoding=UTF8")
_FILE = "schema.sql"


def schema_path(migrations_dir: str) -> Path:
    """The file beside the folder of migrations, or beside the first of several."""
    return Path(folders_of(migrations_dir)[0]).parent / _FILE


def read_schema(run: Run, trial: Run) -> str:
    """What the scratch database of `trial` holds, for review.

    Raises ConfigError where no pg_dump of the server's version, or a newer one, is on the machine.
    """
    environment = run.environment()
    session = trial.link.connect()
    server = session.server_version // 10_000
    with run.link.watch.thinking():
        known = dict(_programs(environment))
        program = choose_program(known, server)
        if program is None:
            raise _lacking(known, server)
        place = trial.link.place_of(session)
        tables = (place.history, place.log)
        target = trial.config.targets[0]
        words = [*_WORDS, *(f"--exclude-table={table}" for table in tables)]
        text = _dump(program, words, target, environment)
    login = str(session.send("SELECT current_user")[0][0])
    return for_review(text, login, server, known[program])


def _programs(environment: Mapping[str, str]) -> Iterator[tuple[str, int]]:
    """Each pg_dump of the machine, and its major version."""
    first = shutil.which("pg_dump", path=environment.get("PATH"))
    places = [str(path) for pattern in _PLACES for path in sorted(Path("/").glob(pattern[1:]))]
    for path in dict.fromkeys([*([first] if first else []), *places]):
        said = subprocess.run(  # noqa: S603 - programs of the machine, and a word of ours
            [path, "--version"], capture_output=True, text=True, check=False
        )
        if version := version_of(said.stdout):
            yield path, version


def _dump(program: str, words: list[str], target: Target, environment: Mapping[str, str]) -> str:
    """Its output; the password is in the environment, where no list of processes shows it."""
    password = target.params.get("password")
    done = subprocess.run(  # noqa: S603 - a program of the machine, and words of ours
        [program, *words, f"--dbname={_place(target)}"],
        env={
            **environment,
            "LC_ALL": "C",
            **({} if password is None else {"PGPASSWORD": password}),
        },
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        encoding="utf-8",
        errors="replace",
        check=False,
    )
    if done.returncode:
        reason = done.stderr.strip().partition("\n")[0]
        raise ConfigError(
            f"{program} failed: {reason}",
            remedy="Run it yourself with the scratch server's URL to see more.",
        )
    return done.stdout


def _place(target: Target) -> str:
    """Where to connect as libpq reads it, without what is secret."""
    hosts = {
        "host": ",".join(host for host, _ in target.hosts),
        "port": ",".join(str(port) for _, port in target.hosts if port),
    }
    secret = {"password", "sslpassword"}
    params = {name: value for name, value in target.params.items() if name not in secret}
    given = {name: value for name, value in {**hosts, **params}.items() if value}
    return " ".join(f"{name}={_quoted(value)}" for name, value in given.items())


def _quoted(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def _lacking(known: Mapping[str, int], server: int) -> ConfigError:
    found = ", ".join(f"{path} is of {version}" for path, version in known.items())
    return ConfigError(
        f"a pg_dump of PostgreSQL {server} or newer is needed; " + (found or "there is none here"),
        remedy=f"Install one: apt-get install postgresql-client-{server} (apt.postgresql.org), "
        f"brew install postgresql@{server}. Or let SHADOW_DATABASE_URL name a server of your "
        "pg_dump's version.",
    )
