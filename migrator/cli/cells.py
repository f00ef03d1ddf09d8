"""The cells that a text takes on a screen: how many, where to cut it and where to fold it."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo

USUAL_COLUMNS = 80  #: of a screen whose width is not known
_CODES = {"bold red": "1;31", "red": "31", "green": "32", "yellow": "33"}


@dataclass(frozen=True, slots=True)
class Screen:
    """What text is made for."""

    columns: int = USUAL_COLUMNS
    colour: bool = False
    moving: bool = False  #: a line can be written over
    folder: str = ""  #: of the migrations: editors open a place that begins with it
    zone: tzinfo = UTC  #: of the times in tables

    def paint(self, text: str, colour: str | None) -> str:
        """`text` in a colour, where the screen has any."""
        return f"\x1b[{_CODES[colour]}m{text}\x1b[0m" if self.colour and colour else text

    def time(self, text: str) -> str:
        """A time of RFC 3339 as it is in the zone, to the second; another text as it is."""
        try:
            return f"{datetime.fromisoformat(text).astimezone(self.zone):%Y-%m-%d %H:%M:%S}"
        except ValueError:
            return text

    def place(self, file: str) -> str:
        """A file of the folder with its folder; a version or a thing of the database as it is."""
        if not self.folder or not file.endswith(".sql"):
            return file
        return f"{self.folder.rstrip('/')}/{file}"


def cells(text: str) -> int:
    """How many cells `text` takes: wide characters two each, combining ones none."""
    return len(text) if text.isascii() else sum(map(_cells, text))


def pad(text: str, width: int) -> str:
    """`text` with blanks behind it, `width` cells in all."""
    return text + " " * (width - cells(text))


def cut(text: str, width: int) -> str:
    """`text` in at most `width` cells; one that is longer ends with an ellipsis."""
    if cells(text) <= width:
        return text
    taken, kept = 0, ""
    for char in text:
        taken += _cells(char)
        kept += char if taken < width else ""
    return f"{kept}…"


def wrapped(text: str, width: int, indent: str, lead: str = "") -> str:
    """`lead` and `text` in lines of at most `width` cells, broken at blanks of the text.

    A word that is wider than a line is not broken: a name can be copied as it is.
    """
    whole = f"{lead}{text}"
    if cells(whole) <= width:
        return whole
    first, *others = text.split(" ")
    lines = [f"{lead}{first}"]
    for word in others:
        if cells(lines[-1]) + 1 + cells(word) <= width:
            lines[-1] += f" {word}"
        else:
            lines.append(f"{indent}{word}")
    return "\n".join(lines)


def _cells(char: str) -> int:
    if unicodedata.combining(char) or unicodedata.category(char) in {"Mn", "Me", "Cf"}:
        return 0
    return 2 if unicodedata.east_asian_width(char) in {"W", "F"} else 1
