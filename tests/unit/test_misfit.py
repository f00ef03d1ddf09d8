"""Which ALTER lets a table take our rows, by what PostgreSQL refused."""

from __future__ import annotations

import pytest

from migrator.history.misfit import is_misfit, misfit, names_ours
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
    ("sqlstate", "schema", "expected"),
    [
        ("22001", None, True),
        ("23514", PLACE.schema, True),
        ("42804", None, True),
        ("42501", None, False),
        ("P0001", None, False),
        pytest.param("23505", "supabase_migrations", False, id="another tool's history"),
    ],
)
def test_types_lengths_and_constraints_are_of_the_table(
    sqlstate: str, schema: str | None, expected: bool
) -> None:
    assert is_misfit(Refusal(sqlstate, "", schema=schema), PLACE) is expected


@pytest.mark.parametrize(
    ("refusal", "expected"),
    [
        (Refusal("23503", "", table="c"), False),
        (Refusal("22012", ""), False),
        (Refusal("22012", "", context="PL/pgSQL function f() line 1 at RAISE"), False),
        (Refusal("23514", "", table="schema_migrations"), True),
        (Refusal("22001", "", context='INSERT INTO "public".schema_migrations'), True),
    ],
)
def test_what_a_commit_refuses_names_no_table_of_ours(refusal: Refusal, expected: bool) -> None:
    assert names_ours(refusal, PLACE) is expected
