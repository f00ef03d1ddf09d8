"""What can be typed where RUN_AS cannot be set, and where a file chooses a role itself."""

from __future__ import annotations

import pytest

from migrator.postgres.refusal import Refusal
from migrator.refusals.run_as_rules import role_query, unkept_role, unusable_role
from migrator.sql.effects import sets_role

REFUSAL = Refusal("42501", 'permission denied to set role "App"')


@pytest.mark.parametrize(
    ("there", "login", "version", "remedy"),
    [
        (True, "a b", 150000, 'As a role that may grant it: GRANT "App" TO "a b";'),
        (True, "d", 160000, 'As a role that may grant it: GRANT "App" TO "d" WITH SET TRUE;'),
        (True, None, 150000, 'As a role that may grant it: GRANT "App" TO the login role;'),
        (
            False,
            "d",
            150000,
            "Correct --run-as (RUN_AS); or, as a role that may create roles: "
            'CREATE ROLE "App"; GRANT "App" TO "d";',
        ),
    ],
)
def test_the_remedy_has_the_statements_to_type(
    there: bool, login: str | None, version: int, remedy: str
) -> None:
    error = unusable_role("App", REFUSAL, login, there=there, server_version=version)
    assert (error.exit_code, error.remedy) == (16, remedy)
    assert error.message == (
        'the files cannot run as App: 42501 permission denied to set role "App"'
    )


@pytest.mark.parametrize("role", ["public", "pg_app"])
def test_no_role_is_to_be_made_of_a_name_that_the_server_keeps(role: str) -> None:
    error = unusable_role(role, REFUSAL, "d", there=False, server_version=150000)
    assert error.remedy == "Correct --run-as (RUN_AS): PostgreSQL keeps this name for itself."


def test_the_role_is_asked_for_as_a_string() -> None:
    assert "rolname = 'it''s'" in role_query("it's")


def test_a_role_that_a_pooler_may_hand_on_is_refused() -> None:
    error = unkept_role("App", "001_a")
    assert error.exit_code == 2
    assert "DIRECT_URL" in error.remedy


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("SET ROLE app", True),
        ("set /* why */ session role to 'app'", True),
        ("SET LOCAL role = none", True),
        ("RESET ROLE", True),
        ("SET SESSION AUTHORIZATION app", True),
        ("RESET SESSION AUTHORIZATION", True),
        ("SET session_authorization = app", True),
        ("SELECT set_config('role', 'app', false)", True),
        ("SELECT pg_catalog.set_config('Role', 'app', false)", True),
        ("SET search_path = role", False),
        ("SET LOCAL search_path TO role", False),
        ("RESET ALL", False),
        ("SELECT set_config('search_path', 'role', false)", False),
        ("", False),
    ],
)
def test_a_statement_that_chooses_the_role_is_known(text: str, found: bool) -> None:
    assert sets_role(text) is found
