"""What the refusals of the fence end a run with, whatever DETAIL they carry."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable

import pytest

from migrator.errors import AccessError
from migrator.history.at_work import look_for_worker
from migrator.history.distrust import Distrust, explain
from migrator.history.fence import Access, Owners
from migrator.history.guard import lock_key
from migrator.history.lock_wait import as_holder, describe
from migrator.history.other_histories import look_for_others, others
from migrator.history.proof import unwritten
from migrator.history.questions import asked, question
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


CALLS = Distrust.of(json.loads(CODE))
STRANGER = Distrust.of(json.loads(OWNER))
OF_SCHEMA = STRANGER._replace(owners=({**STRANGER.owners[0], "owns_schema": True},))


def test_code_of_another_role_is_refused_where_it_could_run() -> None:
    Distrust().refuse_code()
    CALLS.refuse_code(["public.other"])
    for tables in ([], ["public.t"]):
        with pytest.raises(AccessError, match="code of eve could run here"):
            CALLS.refuse_code(tables)


@pytest.mark.parametrize(
    ("distrust", "owners", "refused"),
    [
        pytest.param(Distrust(), Owners.TRUSTED, False, id="nobody could write"),
        pytest.param(STRANGER, Owners.TRUSTED, True, id="a stranger"),
        pytest.param(STRANGER, Owners.OF_SCHEMA, True, id="a stranger, who owns no schema"),
        pytest.param(STRANGER, Owners.ANY, False, id="any owner does"),
        pytest.param(OF_SCHEMA, Owners.TRUSTED, True, id="the schema's owner, not trusted"),
        pytest.param(OF_SCHEMA, Owners.OF_SCHEMA, False, id="the schema's owner does"),
    ],
)
def test_a_stranger_who_could_write_rows_is_refused(
    distrust: Distrust, owners: Owners, refused: bool
) -> None:
    with pytest.raises(AccessError) if refused else contextlib.nullcontext():
        distrust.refuse_owners(owners)


def test_a_journal_is_believed_when_no_stranger_can_have_written_it() -> None:
    assert [one.believable for one in (Distrust(), OF_SCHEMA, STRANGER, CALLS)] == [
        *(True, True),
        *(False, False),
    ]


def test_a_refusal_without_a_reason_says_what_it_can() -> None:
    assert "cannot be trusted" in explain('{"code": [], "owners": []}').message


@pytest.mark.parametrize(
    ("owners", "part"),
    [(Owners.TRUSTED, "->'owners' <> '[]'"), (Owners.OF_SCHEMA, "@.owns_schema == false")],
)
def test_whose_rows_are_believed_is_asked(owners: Owners, part: str) -> None:
    assert part in asked(PLACE.tables, 150018, Access.READ, owners)
    assert part not in asked(PLACE.tables, 150018, Access.READ, Owners.ANY)


def test_a_table_is_named_with_its_schema() -> None:
    assert list(map(str, PLACE.tables)) == [
        "public.schema_migrations",
        "public.schema_migrations_log",
    ]


def test_other_histories_are_looked_for_in_all_schemas_but_our_own() -> None:
    assert "n.nspname <> ''public''" in look_for_others(PLACE)
    found = {"c0ffee": ["app", [["001_a", "0"], ["002_b", None]]]}
    assert others(found) == {"app": {"001_a": "0", "002_b": None}}


def test_who_is_at_work_is_asked_of_the_lock_and_of_the_journal() -> None:
    asks = look_for_worker(PLACE)
    assert str(lock_key("public") % 2**32) in asks
    assert PLACE.log in asks
