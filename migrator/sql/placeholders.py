"""The placeholders of a text -> what takes their place, by Flyway's rule."""

from __future__ import annotations

import re
from typing import NamedTuple, Protocol

from migrator.model import Placeholders

#: A longer name is none.
LONGEST_NAME = 200
#: Flyway reads a text sign by sign: a `$` that no `{` follows takes the next sign along, so that
#: `$${name}` is no placeholder.
_SIGNS = re.compile(rf"\$(?:\{{([^}}\n]{{0,{LONGEST_NAME}}})(\}}?)|[^{{]|\Z)", re.DOTALL)


class Token(NamedTuple):
    """A part of a text that something else takes the place of."""

    start: int
    end: int
    text: str  #: what takes its place
    problem: tuple[str, str] | None = None  #: why nothing can, and the remedy


class Cutter(Protocol):
    """One pass over a text, by the rule of one tool."""

    def cut(self, text: str, *, is_end: bool) -> tuple[list[Token], int]:
        """The tokens of the next part of the text, and up to where it is all that is needed."""


class Braces:
    """`${name}` wherever it is, in comments, strings and bodies too; it cannot be escaped."""

    def __init__(self, values: Placeholders) -> None:
        self._values = values

    def cut(self, text: str, *, is_end: bool) -> tuple[list[Token], int]:
        tokens: list[Token] = []
        for found in _SIGNS.finditer(text):
            is_cut = found.end() == len(text) and not found[2]
            if is_cut and not is_end and (found[1] is not None or found[0] == "$"):
                return tokens, found.start()
            if found[1] is not None:
                token = self._filled(found[1]) if found[2] else ("", UNCLOSED)
                tokens.append(Token(*found.span(), *token))
        return tokens, len(text)

    def _filled(self, name: str) -> tuple[str, tuple[str, str] | None]:
        value = self._values.find(name)
        return ("", unknown(f"${{{name}}}", name)) if value is None else (value, None)


UNCLOSED = "`${` has no `}` on its line", "Close it; or turn the placeholders of the file off."


def unknown(shown: str, name: str) -> tuple[str, str]:
    """The problem with a placeholder that has no value, and the remedy."""
    key = Placeholders.key(name)
    remedy = (
        f"Set PLACEHOLDER_{key}, or put a file {key.lower()} with the value into "
        "--placeholders-dir FOLDER (PLACEHOLDERS_DIR)."
    )
    return f"the placeholder `{shown}` has no value", remedy
