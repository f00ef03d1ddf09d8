"""goose's ENVSUB sections: its own reading of `$NAME` and `${NAME:-default}`, line by line.

The rules are those of github.com/mfridman/interpolate, which goose uses.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from migrator.model import Placeholders
from migrator.sql.placeholders import Token, unknown

_SWITCH = re.compile(r"[ \t]*--.*?\+goose[ \t]*ENVSUB (ON|OFF)[ \t\r]*", re.IGNORECASE)
_SIGN = re.compile(r"[$\\]")
_NAME = re.compile(r"[^\W\d_]\w*")
_PART = re.compile(r"\s*([+-]?\d+)\s*(?::\s*([+-]?\d+)\s*)?(?=\})", re.ASCII)
_FORMS = "Write $NAME, ${NAME}, ${NAME:-default}, ${NAME-default}, ${NAME:0:8} or ${NAME?text}; "


class _WrongError(Exception):
    """A placeholder that cannot be used; problem and remedy as in a Finding."""

    def __init__(self, problem: str, remedy: str) -> None:
        super().__init__(problem, remedy)
        self.words = problem, remedy


class Envsub:
    """One pass over a text; between ENVSUB ON and ENVSUB OFF values are put in."""

    def __init__(self, values: Placeholders) -> None:
        self._values, self._on = values, False

    def cut(self, text: str, *, is_end: bool) -> tuple[list[Token], int]:
        end = len(text) if is_end else text.rfind("\n") + 1
        tokens: list[Token] = []
        at = 0
        while at < end:
            line_end = text.find("\n", at, end)
            line_end = end if line_end < 0 else line_end
            switch = _SWITCH.fullmatch(text, at, line_end)
            if switch:
                self._on = switch[1].lower() == "on"
            elif self._on:
                tokens += self._line(text[at:line_end], at)
            at = line_end + 1
        return tokens, end

    def _line(self, line: str, start: int) -> Iterator[Token]:
        comment = line.lstrip().startswith("--")
        at = 0
        while found := _SIGN.search(line, at):
            try:
                text, end = self._item(line, found.start())
            except _WrongError as error:
                if not comment:  # goose does not read most of these
                    yield Token(start + found.start(), start + len(line), "", error.words)
                return
            if line[found.start() : end] != text:
                yield Token(start + found.start(), start + end, text)
            at = end

    def _item(self, line: str, at: int) -> tuple[str, int]:
        """What the text at `at` becomes, and where it ends."""
        pair = line[at : at + 2]
        if pair in ("\\\\", "$("):
            return pair, at + 2
        if pair in ("\\$", "$$"):
            return "$", at + 2
        if line[at] != "$" or at + 1 == len(line):
            return line[at], at + 1
        braces = pair == "${"
        name = _NAME.match(line, at + 1 + braces)
        if name is None:
            raise _WrongError(
                f"goose reads `{pair}` as the beginning of a placeholder, and no name follows",
                _FORMS + "or `$$` for a dollar sign; or move the line behind ENVSUB OFF.",
            )
        if not braces:
            return self._value(name[0], line[at : name.end()]), name.end()
        return self._braces(line, at, name)

    def _braces(self, line: str, at: int, name: re.Match[str]) -> tuple[str, int]:
        behind = name.end()
        value = self._values.find(name[0])
        if line.startswith(":-", behind):
            other, end = self._until_brace(line, behind + 2)
            found = value or other
        elif line.startswith("-", behind):
            other, end = self._until_brace(line, behind + 1)
            found = other if value is None else value
        elif line.startswith("?", behind):
            words, end = self._until_brace(line, behind + 1)
            if value is None:
                problem, remedy = unknown(line[at:end], name[0])
                raise _WrongError(f"{problem}: {words}" if words else problem, remedy)
            found = value
        elif line.startswith(":", behind) and (part := _PART.match(line, behind + 1)):
            end = part.end() + 1
            found = self._part(self._value(name[0], line[at:end]), name[0], part)
        elif line.startswith("}", behind):
            end = behind + 1
            found = self._value(name[0], line[at:end])
        else:
            raise _WrongError("goose cannot read this placeholder", f"{_FORMS}close it.")
        return found, end

    def _until_brace(self, line: str, at: int) -> tuple[str, int]:
        """The text up to the closing brace, with what is in it replaced; where it ends."""
        parts = []
        while at < len(line) and line[at] != "}":
            text, at = self._item(line, at)
            parts.append(text)
        if at >= len(line):
            raise _WrongError("a placeholder has no `}` on its line", "Close it.")
        return "".join(parts), at + 1

    def _part(self, value: str, name: str, part: re.Match[str]) -> str:
        """As Go cuts a string: by bytes, negative numbers count from the end."""
        if self._values.is_hidden(name):
            raise _WrongError(
                f"a part of the value of {name} could not be hidden, as the whole is",
                "Put the part into a file of its own in PLACEHOLDERS_DIR.",
            )
        data = value.encode()
        start = int(part[1])
        start = min(max(start + len(data), 0) if start < 0 else start, len(data))
        end = len(data)
        if part[2] is not None:
            length = int(part[2])
            end = max(start, end + length) if length < 0 else min(start + length, end)
        return data[start:end].decode(errors="replace")

    def _value(self, name: str, shown: str) -> str:
        value = self._values.find(name)
        if value is None:
            raise _WrongError(*unknown(shown, name))
        return value
