"""What the statements of a file create, and what drops it again."""

from __future__ import annotations

import pytest

from migrator.sql.created import created


@pytest.mark.parametrize(
    ("text", "drop", "printed"),
    [
        ("CREATE OR REPLACE VIEW v AS SELECT 1", "DROP VIEW IF EXISTS v;", "v"),
        (
            "create /* of */ materialized -- which\n view if not exists S.Totals as select 1",
            "DROP MATERIALIZED VIEW IF EXISTS S.Totals;",
            "totals",
        ),
        (
            'CREATE VIEW public."My ""V""" AS SELECT 1',
            'DROP VIEW IF EXISTS public."My ""V""";',
            'My ""V""',
        ),
        (
            "CREATE OR REPLACE FUNCTION f(a int) RETURNS int LANGUAGE sql AS 'SELECT 1'",
            "DROP FUNCTION IF EXISTS f;",
            "f",
        ),
        (
            "CREATE CONSTRAINT TRIGGER g AFTER INSERT ON public.t EXECUTE FUNCTION f()",
            "DROP TRIGGER IF EXISTS g ON public.t;",
            "g",
        ),
        ("CREATE POLICY p ON t USING (true)", "DROP POLICY IF EXISTS p ON t;", "p"),
    ],
)
def test_an_object_is_known_by_kind_and_name(text: str, drop: str, printed: str) -> None:
    (found,) = created(f"-- head\nSELECT 1;\n{text};\n")
    assert (found.drop, found.printed) == (drop, printed)


def test_what_creates_nothing_of_these_kinds_is_passed_over() -> None:
    text = (
        "SELECT 'CREATE VIEW a AS';\nDO $$ BEGIN CREATE VIEW b; END $$;\nCREATE INDEX i ON t (a);"
    )
    assert list(created(text)) == []
