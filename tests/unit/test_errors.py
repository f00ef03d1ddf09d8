"""Exit codes are a promise; each class says what is wrong and what to do."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from migrator import errors
from migrator.errors import MigratorError, RefusedError, TransientError
from migrator.model import Finding

CODES = {
    "ConfigError": 2,
    "SourceError": 10,
    "DriftError": 11,
    "MissingError": 12,
    "LateError": 13,
    "DirtyError": 14,
    "StatementError": 15,
    "AccessError": 16,
    "PolicyError": 17,
    "UnreachableError": 20,
    "LockedError": 21,
    "BusyError": 22,
    "StoppedError": 23,
    "PendingError": 24,
}


def below(root: type[MigratorError]) -> Iterator[type[MigratorError]]:
    for child in root.__subclasses__():
        yield child
        yield from below(child)


ALL = {kind.__name__: kind for kind in below(MigratorError) if kind.__module__ == errors.__name__}


def test_the_exit_codes_are_those_that_were_promised() -> None:
    own = {name: kind for name, kind in ALL.items() if kind is not errors.FleetError}
    raised = {name: kind for name, kind in own.items() if not kind.__subclasses__()}
    assert {name: kind.exit_code for name, kind in raised.items()} == CODES


def test_the_code_of_many_databases_is_that_of_one_of_them() -> None:
    error = errors.FleetError("1 failed", remedy="Run again.", exit_code=22, outcome="1 of 2")
    assert error.exit_code == 22


@pytest.mark.parametrize("name", CODES)
def test_a_class_says_what_is_wrong_and_what_to_do(name: str) -> None:
    kind = ALL[name]
    assert kind.__doc__
    assert kind.__doc__.endswith(".")
    assert kind.remedy.endswith(".")
    assert f"{name} " in (errors.__doc__ or ""), "the tree is drawn at the head of the module"


@pytest.mark.parametrize("name", CODES)
def test_the_first_digit_tells_a_cluster_what_to_do(name: str) -> None:
    kind = ALL[name]
    assert issubclass(kind, TransientError) == (20 <= kind.exit_code < 30)
    assert not issubclass(kind, RefusedError) or 10 <= kind.exit_code < 20


def test_an_error_carries_the_remedy_of_its_class_or_one_for_this_case() -> None:
    assert errors.AccessError("no").remedy == errors.AccessError.remedy
    assert errors.AccessError("no", remedy="Call home.").remedy == "Call home."


def test_an_error_carries_findings_and_details() -> None:
    finding = Finding("001_a.sql", "is odd", "Fix it.")
    error = errors.SourceError("1 problem", findings=[finding], line=3)
    assert (str(error), error.message) == ("1 problem", "1 problem")
    assert error.findings == (finding,)
    assert error.details == {"line": 3}


@pytest.mark.parametrize(
    ("line", "text"),
    [
        pytest.param(None, "001_a.sql: is odd. Fix it.", id="without a line"),
        pytest.param(7, "001_a.sql:7: is odd. Fix it.", id="with a line"),
    ],
)
def test_a_finding_reads_as_a_sentence(line: int | None, text: str) -> None:
    assert str(Finding("001_a.sql", "is odd", "Fix it.", line)) == text
