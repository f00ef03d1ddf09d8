"""A dump of pg_dump's -> a text for review: what the machine and the day have added is left out."""

from __future__ import annotations

import re
from collections.abc import Mapping

from migrator.postgres.quoting import identifier

_HEAD = (
    "-- What the migrations make, on PostgreSQL {server}, by pg_dump {program}.\n"
    "-- Written by `migrator dump`, to be read in review; nothing runs it.\n"
)
#: What pg_dump writes above each thing.
_ENTRY = re.compile(
    r"^--\n-- Name: [^\n]*; Type: (?P<type>[^\n;]*); Schema: [^\n]*; Owner: [^\n]*\n--\n\n",
    re.MULTILINE,
)
#: What it writes below the last thing, and between two.
_END = re.compile(r"\n--\n-- PostgreSQL database dump complete\n--\n.*\Z", re.DOTALL)
_SET = re.compile(r"(?:\s*^SET default_\w+ = [^\n]*;\s*)+\Z", re.MULTILINE)
_OF_EXTENSION = re.compile(r"COMMENT ON EXTENSION ")
_VERSION = re.compile(r"\(PostgreSQL\) (\d+)")


def for_review(dump: str, login: str, server: int, program: int) -> str:
    """The text of schema.sql; `login` is who made the things, and owns them."""
    parts = _ENTRY.split(_END.sub("\n", dump))
    things = (_SET.sub("", text).strip("\n") for text in parts[2::2])
    kept = [text for text in things if text and not _OF_EXTENSION.match(text)]
    whose = f"ALTER DEFAULT PRIVILEGES FOR ROLE {_named(login)} "
    texts = [
        text.replace(whose, "ALTER DEFAULT PRIVILEGES ") if text.startswith(whose) else text
        for text in kept
    ]
    return "\n\n".join([_HEAD.format(server=server, program=program).rstrip("\n"), *texts]) + "\n"


def _named(role: str) -> str:
    """As pg_dump writes it."""
    return role if re.fullmatch("[a-z_][a-z0-9_]*", role) else identifier(role)


def version_of(said: str) -> int | None:
    """The major version that `pg_dump --version` says."""
    found = _VERSION.search(said)
    return int(found[1]) if found else None


def choose_program(known: Mapping[str, int], server: int) -> str | None:
    """Which pg_dump dumps this server: the oldest that is no older."""
    fitting = [path for path, version in known.items() if version >= server]
    return min(fitting, key=lambda path: known[path], default=None)


def in_what_it_differs(committed: str, made: str) -> str | None:
    """Why a committed text is not what the files make, or cannot be compared; None: it is that."""
    old, new = committed.splitlines(), made.splitlines()
    if committed == made:
        return None
    if old[:1] != new[:1]:
        return f"was not written as here, and is not compared; here it begins with {new[0]!r}"
    both = zip(old, new, strict=False)
    line = next((n for n, pair in enumerate(both, 1) if pair[0] != pair[1]), None)
    return f"is not what the files make, from line {line or min(len(old), len(new)) + 1} on"
