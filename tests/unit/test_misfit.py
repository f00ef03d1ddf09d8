"""Which ALTER lets a table take our rows, by what PostgreSQL refused."""

from __future__ import annotations

import pytest

from migrator.history.misfit import is_misfit, misfit
from migrator.postgres.refusal import Refusal
from tests.builders import PLACE


@pytest.mark.parametrize(
    ("refusal", "cure"),
    [
        (Refusal("23502", "", column="applied_at"), "applied_at SET DEFAULT CURRENT_TIMESTAMP;"),
        (Refusal("23502", "", column='od"d'), 'ALTER "od""d" DROP NOT NULL;'),
        (Refusal("23514", "", constraint="short"), 'DROP CONSTRAINT "short";'),
        (Refusal("22001", ""), "ALTER version TYPE varchar(255), ALTER kind TYPE text;"),
    ],
)
def test_the_remedy_is_an_alter_that_can_be_typed(refusal: Refusal, cure: str) -> None:
    error = misfit(PLACE, refusal, "nothing was changed", ("version", "kind", "mine"))
    assert error.exit_code == 16
    assert 'ALTER TABLE "public".schema_migrations ' in error.remedy
    assert cure in error.remedy


@pytest.mark.parametrize(
    ("sqlstate", "expected"),
    [("22001", True), ("23514", True), ("42804", True), ("42501", False), ("P0001", False)],
)
def test_types_lengths_and_constraints_are_of_the_table(sqlstate: str, expected: bool) -> None:
    assert is_misfit(Refusal(sqlstate, "")) is expected
