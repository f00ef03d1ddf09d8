"""A version as a person types it -> the version that is meant."""

from __future__ import annotations

import re
from collections.abc import Iterable

from migrator.errors import ConfigError


def find_version(given: str, known: Iterable[str]) -> str:
    """The one of `known` whose number is given alone, 3 or 003; any other text as it is.

    Raises ConfigError where several have that number.
    """
    if not re.fullmatch("[0-9]{1,18}", given):
        return given
    numbered = re.compile(f"0*{int(given)}(?![0-9])")
    found = [version for version in known if numbered.match(version)]
    if len(found) > 1:
        raise ConfigError(
            f"several versions have the number {given}: {', '.join(found)}",
            remedy="Give the whole name of one of them.",
        )
    return found[0] if found else given
