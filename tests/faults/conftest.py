"""Every test of this folder is a fault test, as some tests of the image are."""

from __future__ import annotations

from pathlib import Path

import pytest

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The items are those of all folders."""
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.faults)
