"""What `make migrate` and its kin ask before they change a database."""

from __future__ import annotations

import pytest

from migrator.postgres.url import read_environment, read_url
from tests.laptop import Consent, consent, is_remote

WRITES = ("up", "repair", "baseline")


def asked(command: str, **words: bool) -> Consent:
    given = {"remote": True, "from_file": False, "terminal": True, "yes": False, **words}
    return consent(command, **given)


def test_what_changes_nothing_asks_nothing() -> None:
    for command in ("status", "verify"):
        assert asked(command) is Consent.NONE
        assert asked(command, terminal=False, from_file=True) is Consent.NONE


@pytest.mark.parametrize("command", WRITES)
def test_a_host_that_is_not_this_machine_is_asked_for(command: str) -> None:
    assert asked(command) is Consent.ASK
    assert asked(command, from_file=True) is Consent.ASK
    assert asked(command, yes=True) is Consent.NONE
    assert asked(command, remote=False) is Consent.NONE


@pytest.mark.parametrize("command", [*WRITES, "rollback"])
def test_without_a_terminal_only_the_environment_names_a_remote_host(command: str) -> None:
    assert asked(command, terminal=False) is Consent.NONE
    assert asked(command, terminal=False, from_file=True) is Consent.REFUSE_SILENT
    assert asked(command, terminal=False, from_file=True, yes=True) is Consent.NONE
    assert asked(command, terminal=False, from_file=True, remote=False) is Consent.NONE


def test_a_rollback_asks_by_itself() -> None:
    assert asked("rollback") is Consent.NONE


@pytest.mark.parametrize("command", ["redo", "reset"])
def test_what_takes_away_is_for_this_machine_and_asked_for(command: str) -> None:
    assert asked(command) is Consent.REFUSE_REMOTE
    assert asked(command, yes=True) is Consent.REFUSE_REMOTE
    assert asked(command, remote=False) is Consent.ASK
    assert asked(command, remote=False, terminal=False) is Consent.REFUSE_SILENT
    assert asked(command, remote=False, terminal=False, yes=True) is Consent.NONE


@pytest.mark.parametrize(
    ("url", "remote"),
    [
        ("postgresql://u@localhost/d", False),
        ("postgresql://u@127.1.2.3:5433/d", False),
        ("postgresql://u@[::1]/d", False),
        ("postgresql:///d?host=/var/run/postgresql", False),
        ("postgresql://u@db.example.com/d", True),
        ("postgresql://u@10.0.0.1/d", True),
        ("postgresql://u@localhost,db.example.com/d", True),
        ("postgresql://u@localhost.example.com/d", True),
        ("postgresql://u@localhost/d?hostaddr=10.0.0.1", True),
        ("postgresql://u@db.example.com/d?hostaddr=127.0.0.1", False),
        ("postgresql:///d?service=prod", True),
    ],
)
def test_only_loopback_is_this_machine(url: str, remote: bool) -> None:
    assert is_remote(read_url(url, "DATABASE_URL")) is remote


def test_a_service_file_may_name_any_host() -> None:
    target = read_environment({"PGSERVICE": "prod"})
    assert target is not None
    assert is_remote(target)
