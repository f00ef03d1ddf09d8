"""A version may be named by its number alone."""

from __future__ import annotations

import pytest

from migrator.errors import ConfigError
from migrator.folder.version_rules import find_version

KNOWN = ["003_a", "030_b", "3000_c", "007_d", "7_e", "R__3"]


@pytest.mark.parametrize(
    ("given", "found"),
    [("3", "003_a"), ("003", "003_a"), ("30", "030_b"), ("4", "4"), ("7_e", "7_e")],
)
def test_a_number_alone_names_the_version_that_has_it(given: str, found: str) -> None:
    assert find_version(given, KNOWN) == found


def test_a_number_of_several_names_them() -> None:
    with pytest.raises(ConfigError, match="several versions have the number 7: 007_d, 7_e"):
        find_version("7", KNOWN)
