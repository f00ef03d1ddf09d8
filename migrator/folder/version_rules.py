"""A version as a person types it -> the version that is meant."""

from __future__ import annotations

import re
from collections.abc import Iterable

from migrator.errors import ConfigError
from migrator.model import parts_of


def find_version(given: str, known: Iterable[str]) -> str:
    """The one of `known` whose number is given alone, 3, 003 or 1.2; any other text as it is.

    Raises ConfigError where several have that number.
    """
    known = [*known]
    if given in known or not re.fullmatch(r"V?[0-9]{1,18}(?:[._][0-9]{1,18}){0,9}", given):
        return given
    wanted = parts_of(f"V{given.removeprefix('V')}")
    found = [version for version in known if parts_of(version) == wanted]
    if len(found) > 1:
        raise ConfigError(
            f"several versions have the number {given}: {', '.join(found)}",
            remedy="Give the whole name of one of them.",
        )
    return found[0] if found else given
