from __future__ import annotations

import pytest

from migrator.refusals.placeholder_rules import unfilled


@pytest.mark.parametrize(
    ("statement", "at", "names"),
    [
        pytest.param("SELECT * FROM t WHERE id = :v", ":v", (":v",), id="a variable"),
        pytest.param(
            'CREATE ROLE :"who" ADMIN :"who" PASSWORD :\'pw\' -- and :more',
            ":",
            (':"who"', ":'pw'"),
            id="each once, and no comments",
        ),
        pytest.param(
            "SELECT ':a', $$ :b $$, $x$ :c $x$, \"x:d\", /* :e */ :{?f}, 1::int, a[1:2], a[b:c]",
            ":{",
            (":{?f}",),
            id="text is no variable",
        ),
        pytest.param(
            "CREATE SCHEMA {{ name }} AUTHORIZATION ${role}, :v",
            "{{",
            ("{{ name }}", "${role}"),
            id="a template",
        ),
        pytest.param("SELECT :v FROMM t", "FROMM", (), id="another error"),
        pytest.param("SELECT 1", "1", (), id="none at all"),
        pytest.param(f"SELECT :{'v' * 99}", ":", (f":{'v' * 39}",), id="a long name"),
    ],
)
def test_placeholders_that_nobody_filled_are_named(
    statement: str, at: str, names: tuple[str, ...]
) -> None:
    assert unfilled(statement, statement.index(at)) == names
