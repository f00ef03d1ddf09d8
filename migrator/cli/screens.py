"""What a stream shows text on: a window of some width, with colours or without."""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TextIO

from migrator.cli.cells import USUAL_COLUMNS, Screen
from migrator.cli.words import Colour


def screen_of(
    stream: TextIO, environment: Mapping[str, str], colour: Colour, folder: str = ""
) -> Screen:
    """The screen as it is now: a window may be made wider or narrower at any time."""
    terminal, dumb = stream.isatty(), environment.get("TERM") == "dumb"
    plain = dumb or bool(environment.get("NO_COLOR"))
    return Screen(
        columns=_columns(stream) if terminal else USUAL_COLUMNS,
        colour=colour is Colour.ALWAYS or (colour is Colour.AUTO and terminal and not plain),
        moving=terminal and not dumb,
        folder=folder,
        zone=datetime.now().astimezone().tzinfo or UTC,
    )


def _columns(stream: TextIO) -> int:
    try:
        return os.get_terminal_size(stream.fileno()).columns or USUAL_COLUMNS
    except (OSError, ValueError, AttributeError):  # a test's own, or one without a size
        return USUAL_COLUMNS
