"""What keeps a comparison of two catalogs from being made at all."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from migrator.errors import ConfigError
from migrator.scratch.drift import refuse_other_version


def run_on(server_version: int) -> Any:
    session = SimpleNamespace(server_version=server_version)
    return SimpleNamespace(link=SimpleNamespace(connect=lambda: session))


def test_another_minor_version_is_no_other_version() -> None:
    refuse_other_version(run_on(150018), run_on(150001))


def test_a_server_of_another_version_is_refused_with_the_one_to_start() -> None:
    with pytest.raises(ConfigError, match="is on PostgreSQL 18, and the database on 15") as caught:
        refuse_other_version(run_on(150018), run_on(180004))
    assert "postgres:15`" in caught.value.remedy
