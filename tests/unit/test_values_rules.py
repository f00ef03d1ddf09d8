"""Which values of placeholders are a part of what facts are facts of."""

from __future__ import annotations

import pytest

from migrator.model import Placeholders
from migrator.preflight.values_rules import UNSURE, digest_of_values
from migrator.sql.script import Script, understand
from tests.builders import a_migration

HEAD = "-- migrator: placeholders\n"


def script(sql: str, hidden: bool, **values: str) -> Script:
    names = {name.upper(): value for name, value in values.items()}
    kept = frozenset(names) if hidden else frozenset()
    made, found = understand(a_migration("001_a", HEAD + sql), Placeholders(names, kept))
    assert made is not None, found
    return made


def digest(sql: str, hidden: bool = False, **values: str) -> str | None:
    return digest_of_values(script(sql, hidden, **values))


STRINGS = (
    "CREATE ROLE x PASSWORD '${v}';",
    "SELECT E'${v}' || $$ ${v} $$;",
    "SELECT 1; INSERT INTO a VALUES ('${v}'); SELECT 2",
)
MORE = (
    "CREATE TABLE ${v} (id int);",
    'CREATE TABLE "${v}" (id int);',
    "DO $$ BEGIN EXECUTE '${v}'; END $$;",
    "SELECT 1; -- ${v}\nSELECT 2",
    "SELECT 1; -- ${v}",
    "SELECT '${v}'; SELECT ${v};",
)


@pytest.mark.parametrize("sql", STRINGS)
@pytest.mark.parametrize("hidden", [True, False])
def test_a_mere_string_is_no_part_of_it(sql: str, hidden: bool) -> None:
    found = digest(sql, hidden, v="hunter2")
    assert found == digest(sql, hidden, v="other")
    assert found not in (None, UNSURE)


@pytest.mark.parametrize("sql", MORE)
def test_anything_else_is_unless_it_is_hidden(sql: str) -> None:
    assert digest(sql, v="abc") != digest(sql, v="abd")
    assert digest(sql, hidden=True, v="abc") == UNSURE


@pytest.mark.parametrize(
    ("sql", "value"),
    [("SELECT '${v};", "a'"), ("SELECT E'${v}';", "a\\\\b"), ("SELECT $x$ ${v}$x$;", "a$b")],
)
def test_a_value_that_may_end_its_string_is_more_than_one(sql: str, value: str) -> None:
    assert digest(sql, hidden=True, v=value) == UNSURE


def test_a_value_that_is_not_used_is_no_part_of_it() -> None:
    assert digest("SELECT '${v}';", v="a", w="b") == digest("SELECT '${v}';", v="a", w="c")


def test_a_file_without_placeholders_has_none() -> None:
    made, _ = understand(a_migration("001_a", "SELECT 1;"), Placeholders())
    assert made is not None
    assert digest_of_values(made) is None
