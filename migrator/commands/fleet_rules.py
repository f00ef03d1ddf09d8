"""Many databases, one job: what the list says, what each process is given, what all came to."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

from migrator.errors import ConfigError
from migrator.postgres.url import read_url

WHATS = ("up", "status", "verify")
#: A result that is no answer of ours: the process was killed, as by the OOM killer; or a bug.
KILLED, BUG = 23, 1
AGAIN = "Run again, where memory is short with a lower --jobs; what was applied stays applied."
WOULD_FAIL = "`up` would end with "  #: so begins the outcome of such a `status`
#: Of what a process wrote that is no result, so much is kept.
KEPT_CHARS = 2_000


@dataclass(frozen=True, slots=True)
class Member:
    """One database or schema of the fleet."""

    name: str  #: what the log and the summary call it
    environment: Mapping[str, str] = field(repr=False)  #: beyond that of all; holds the password


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the process of one member came to."""

    name: str
    exit_code: int
    outcome: str
    current: str | None = None
    applied: tuple[str, ...] = ()
    pending: tuple[str, ...] = ()
    error: str | None = None  #: its message
    remedy: str | None = None
    duration_ms: int = 0
    verdict: str | None = None  #: what `up` would fail with, as `status` has it

    def as_dict(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "exit_code": self.exit_code,
            "outcome": self.outcome,
            "current": self.current,
            "applied": list(self.applied),
            "pending": list(self.pending),
            "error": self.error,
            "remedy": self.remedy,
            "duration_ms": self.duration_ms,
            "verdict": self.verdict,
        }


def read_members(text: str, file: str) -> list[Member]:
    """The lines of a file: URL or name=URL; blank lines and comments are left out.

    No message repeats a line, which may hold a password.
    """
    members = []
    for number, line in enumerate(text.removeprefix("\ufeff").splitlines(), 1):
        line = line.strip()
        if not line or line.startswith("#"):
            continue
        named = re.match(r"([\w.@-]+)=(?=postgres(ql)?(\+\w+)?://)", line)
        url = line[named.end() :] if named else line
        if re.search(r"\s#", url):
            raise ConfigError(
                f"{file}:{number}: a URL is followed by a comment",
                remedy="Put the comment on a line of its own.",
            )
        try:
            target = read_url(url, "DATABASE_URL")
        except ConfigError as error:
            raise ConfigError(
                f"{file}:{number}: {error.message}",
                remedy="Write one URL a line, or NAME=URL: postgresql://USER:PASSWORD@HOST/DB.",
            ) from None
        members.append(Member(named[1] if named else str(target), {"DATABASE_URL": url}))
    if not members:
        raise ConfigError(f"{file} names no database", remedy="Write one URL a line, or NAME=URL.")
    twice = [name for name, count in Counter(m.name for m in members).items() if count > 1]
    if twice:
        raise ConfigError(
            f"{file} names {twice[0]} more than once", remedy="Write each once, or NAME=URL."
        )
    return members


def of_database(name: str, setting: str, url: str | None) -> Member:
    """A database of the server that `url`, the value of `setting`, names; without one by PG*."""
    if url is None:
        return Member(name, {"PGDATABASE": name})
    parts = urlsplit(url)
    kept = [(key, value) for key, value in parse_qsl(parts.query) if key != "dbname"]
    moved = parts._replace(path=f"/{quote(name, safe='')}", query=urlencode(kept, quote_via=quote))
    return Member(name, {setting: moved.geturl()})


def of_schema(name: str) -> Member:
    """A schema of the one database, with a history of its own."""
    return Member(name, {"MIGRATIONS_SCHEMA": name, "SEARCH_PATH": name})


def environment_of(member: Member, shared: Mapping[str, str]) -> dict[str, str]:
    """What the process of a member is given: the job's settings, and its own place."""
    own = {
        **member.environment,
        **{"LOG_FORMAT": "json", "LOG_LEVEL": "error", "TERMINATION_LOG": "/dev/null"},
    }
    dropped = {f"MIGRATOR_{name}" for name in own}
    ends: tuple[str, ...] = ("DATABASE_URL_FILE",)
    if any(name.endswith("_URL") for name in member.environment):
        ends += ("DATABASE_URL", "DIRECT_URL")
    kept = {
        name: value
        for name, value in shared.items()
        if name not in dropped and not name.endswith(ends)
    }
    return {**kept, **own}


def read_outcome(member: Member, code: int, text: str) -> Outcome:
    """What a process came to, by its exit code and what it wrote: its result is the last line."""
    try:
        result = json.loads(text.strip().rpartition("\n")[2])
        error = result["error"] or {}
        return Outcome(
            member.name,
            int(result["exit_code"]),
            result["outcome"],
            result["current"],
            tuple(row["version"] for row in result["applied"]),
            tuple(result["pending"]),
            error.get("message"),
            error.get("remedy"),
            result["duration_ms"],
            result["verdict"] if result["outcome"].startswith(WOULD_FAIL) else None,
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        killed = code < 0 or code > 128
        said = text[-KEPT_CHARS:].strip()
        for value in member.environment.values():
            said = said.replace(value, "…")
        return Outcome(
            member.name,
            KILLED if killed else code if 0 < code < 30 else BUG,
            "unknown: its process was killed" if killed else "unknown: see `status`",
            error=said or f"its process ended with {code} and without a result",
            remedy=AGAIN if killed else "Run again; what was applied stays applied.",
        )


def worst(outcomes: Sequence[Outcome]) -> int:
    """The exit code of all: the lowest that is not 0, so that 1x comes before 2x."""
    return min((o.exit_code for o in outcomes if o.exit_code), default=0)


def summary(outcomes: Sequence[Outcome], names: Sequence[str]) -> dict[str, Any]:
    """How many are at which version, which failed and why, which are behind, which were not run."""
    failed = [o for o in outcomes if o.exit_code]
    versions = Counter(o.current or "" for o in outcomes if o.current or not o.exit_code)
    ran = {o.name for o in outcomes}
    left = [name for name in names if name not in ran]
    return {
        "members": len(names),
        "done": len(outcomes) - len(failed),
        "failed": len(failed),
        "left": len(left),
        "behind": sum(1 for o in outcomes if not o.exit_code and o.pending),
        "versions": [
            {"version": version or None, "members": count}
            for version, count in sorted(versions.items())
        ],
        "outcomes": [o.as_dict() for o in outcomes],
        "not_run": left,
    }


def fleet_in_words(found: Mapping[str, Any], what: str) -> str:
    """The summary as an outcome, one phrase."""
    parts = [f"{found['failed']} of {found['members']} failed"] if found["failed"] else []
    parts += [f"{found['done']} of {found['members']} done by `{what}`"]
    parts += [f"{found['behind']} behind"] if found["behind"] else []
    parts += [f"{found['left']} left for the next run"] if found["left"] else []
    return ", ".join(parts)
