"""What the refusals of the fence end a run with, whatever DETAIL they carry."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from migrator.errors import AccessError
from migrator.history.distrust import explain
from migrator.history.fence import Access
from migrator.history.lock_wait import as_holder, describe
from migrator.history.proof import unwritten
from migrator.history.questions import question
from tests.builders import PLACE

CODE = '{"code": [{"table": "public.t", "what": "the trigger x", "owner": "eve"}], "owners": []}'
OWNER = (
    '{"code": [], "owners": [{"table": "public.t", "owner": "eve", "role": "me", '
    '"owns_schema": false}]}'
)


@pytest.mark.parametrize("refusal", [explain, unwritten])
@pytest.mark.parametrize("detail", [None, "", "x", "[]", "{}", "1", '{"code": 1, "owners": 2}'])
def test_a_file_that_raises_our_sqlstate_makes_no_traceback(
    refusal: Callable[[str | None], AccessError], detail: str | None
) -> None:
    assert refusal(detail).remedy


@pytest.mark.parametrize("detail", [None, "", "x", "[]", "1", "[" * 99_999, '"x"', "{", [1], 1])
def test_a_holder_that_is_no_json_makes_no_traceback(detail: object) -> None:
    assert describe(as_holder(detail)) == "a session whose name is not known (pid unknown)"


def test_before_15_what_generated_columns_call_is_asked_of_the_columns() -> None:
    """PostgreSQL 14 has no dependency of the expression itself."""
    tables = PLACE.tables
    assert "a generated column" in question(tables, 140023, Access.WRITE)
    assert "a generated column" not in question(tables, 140023, Access.READ)
    assert "a generated column" not in question(tables, 150018, Access.WRITE)


def test_a_refusal_names_the_object_its_owner_and_what_to_do() -> None:
    found = explain(CODE)
    assert "eve" in found.message
    assert "public.t: the trigger x" in found.message
    assert 'GRANT "eve" TO "me"' in explain(OWNER).remedy
    assert "audit on t" in unwritten('{"triggers": ["audit on t"]}').message
