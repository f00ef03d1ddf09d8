"""The line `-- migrator: batches`: what it says, and what a file may hold under it."""

from __future__ import annotations

import pytest

from migrator.sql.asserts import Assertion, When, asserting, read_assertion
from migrator.sql.batched import Batches, read_batches
from migrator.sql.script import understand
from tests.builders import a_migration

LINE = "-- migrator: batches t by id\n"
WHERE = " WHERE id BETWEEN current_setting('migrator.from')::int "
WHERE += "AND current_setting('migrator.upto')::int"
UPDATE = f"UPDATE t SET a = 1{WHERE};\n"


@pytest.mark.parametrize(
    ("value", "found"),
    [
        ("t by id", Batches(1, ("t",), "id")),
        ("Public.Orders BY Id SIZE 500", Batches(1, ("public", "orders"), "id", 500)),
        ('"Odd" . "na""me" by "By"', Batches(1, ("Odd", 'na"me'), "By")),
        ("tä by schlüssel size 1", Batches(1, ("tä",), "schlüssel", 1)),
        ("t", None),
        ("t by", None),
        ("t by a, b", None),
        ("a.b.c by id", None),
        ("t by id size", None),
        ("t by id size 0", None),
        ("t by id size 1000001", None),
        ("t by id size 5 rows", None),
        ("", None),
    ],
)
def test_the_line_names_a_table_and_its_key(value: str, found: Batches | None) -> None:
    assert read_batches(value, 1) == found


def test_a_name_is_quoted_as_it_is_meant() -> None:
    assert Batches(1, ("Odd", 'na"me'), "id").quoted == '"Odd"."na""me"'


@pytest.mark.parametrize(
    "text",
    [
        UPDATE,
        f"BEGIN;\n{UPDATE}COMMIT;\n",
        f"DELETE FROM t{WHERE}",
        f"/* why */ INSERT INTO u SELECT a FROM t{WHERE}",
        f"WITH gone AS (DELETE FROM t{WHERE} RETURNING *) INSERT INTO u SELECT * FROM gone",
    ],
)
def test_one_statement_that_names_both_bounds_runs_in_batches(text: str) -> None:
    script, findings = understand(a_migration(1, LINE + text))
    assert findings == ()
    assert script is not None
    assert script.batches == Batches(1, ("t",), "id")
    assert script.transactional


@pytest.mark.parametrize(
    ("text", "line", "problem"),
    [
        (LINE + UPDATE + UPDATE, 1, "a file in batches holds one statement"),
        (LINE + "COPY t FROM stdin;\n1\n\\.\n", 1, "a file in batches holds one statement"),
        (LINE + f"\nSELECT 1 FROM t{WHERE}", 3, "a file in batches holds one statement"),
        (LINE + f"WITH a AS (SELECT 1) SELECT 1{WHERE}", 2, "a file in batches holds"),
        (LINE + "INSERT INTO t VALUES (1)", 2, "a file in batches holds one statement"),
        (LINE + "(SELECT 1)", 2, "a file in batches holds one statement"),
        (LINE + "TABLE t", 2, "a file in batches holds one statement"),
        (LINE + ";;", 1, "a file in batches holds one statement"),
        (LINE + "UPDATE t SET a = 1", 2, "the statement does not name both bounds"),
        (LINE + f"UPDATE t SET a = 1 --{WHERE}", 2, "the statement does not name both bounds"),
        (LINE + UPDATE.replace("upto", "until"), 2, "the statement does not name both bounds"),
        (f"-- migrator: batches t\n{UPDATE}", 1, "the directive batches needs a table and"),
        (LINE + LINE + UPDATE, 2, "the directive batches is given twice"),
        (UPDATE + LINE, 2, "the directive batches comes after a statement"),
        (LINE + "-- migrator: no-transaction\n" + UPDATE, 1, "batches and no-transaction"),
    ],
)
def test_anything_else_is_refused(text: str, line: int, problem: str) -> None:
    script, findings = understand(a_migration(1, text))
    assert script is None
    assert findings[0].line == line
    assert findings[0].problem.startswith(problem)


def test_a_hook_has_no_batches() -> None:
    script, [finding] = understand(a_migration("before", LINE + UPDATE))
    assert script is None
    assert finding.problem == "a hook runs in one transaction"


def test_a_repeatable_has_no_batches() -> None:
    script, [finding] = understand(a_migration("R__t", LINE + UPDATE))
    assert script is None
    assert finding.problem == "a repeatable runs in one transaction"


@pytest.mark.parametrize(
    ("value", "found"),
    [
        ("before SELECT true", Assertion(1, When.BEFORE, "SELECT true")),
        ("after  SELECT 1 = 1 ; ", Assertion(1, When.AFTER, "SELECT 1 = 1")),
        ("before", None),
        ("after ;", None),
        ("SELECT true", None),
        ("", None),
    ],
)
def test_a_line_asserts_a_query_on_one_side(value: str, found: Assertion | None) -> None:
    assert read_assertion(value, 1) == found


def test_a_file_that_commits_in_parts_may_assert_more_than_once() -> None:
    lines = "-- migrator: assert before SELECT 1 = 1\n-- migrator: assert after SELECT true\n"
    for text in (LINE + UPDATE, "-- migrator: no-transaction\nVACUUM t;"):
        script, findings = understand(a_migration(1, lines + text))
        assert findings == ()
        assert script is not None
        assert [one.when for one in script.asserts] == [When.BEFORE, When.AFTER]
        assert asserting(script.asserts[0]) == "SELECT (\nSELECT 1 = 1\n)::pg_catalog.bool"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("-- migrator: assert before SELECT true\nSELECT 1;", "the file runs in one transaction"),
        (f"-- migrator: assert\n{LINE}{UPDATE}", "the directive assert needs before or after"),
    ],
)
def test_an_assertion_elsewhere_is_refused(text: str, problem: str) -> None:
    script, [finding] = understand(a_migration(1, text))
    assert script is None
    assert finding.problem.startswith(problem)
