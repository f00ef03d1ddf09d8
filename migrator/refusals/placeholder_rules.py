"""What another program would have put values in the place of, and the parser stumbled over."""

from __future__ import annotations

import re
from functools import cache

NAME_CHARS = 40  #: that are shown of one


def unfilled(statement: str, at: int) -> tuple[str, ...]:
    """The placeholders of a statement with a syntax error at this offset; none if none is there.

    All of one kind are named, variables of psql or those of templates, as each would be refused
    in its turn.
    """
    found = [one for one in _placeholders().finditer(statement) if one.lastgroup]
    kind = next((one.lastgroup for one in found if one.start() <= at < one.end()), None)
    named = (one.group()[:NAME_CHARS] for one in found if one.lastgroup == kind)
    return tuple(dict.fromkeys(named))


@cache  # needed only when a statement failed
def _placeholders() -> re.Pattern[str]:
    """Them, and all that they would be a part of, which is no placeholder."""
    return re.compile(
        r"""
        (?<![:\w]):(?P<psql>'\w+'|"\w+"|\{\?\w+\}|[^\W\d]\w*)
      | (?P<template>\{\{.*?\}\}|\$\{[^}]*\})
      | '(?:[^']|'')*' | "[^"]*" | --[^\n]* | /\*.*?\*/ | \$(\w*)\$.*?\$\3\$
        """,
        re.VERBOSE | re.DOTALL,
    )
