"""What the Supabase CLI keeps of a migration, and how it is kept in step with our history."""

from __future__ import annotations

from pathlib import Path

import pytest

from migrator.sql.parts import GROUP_CHARS
from migrator.supabase.mirror_rules import MIRRORED_COLUMNS, forgotten, mirrored, split

#: What the CLI itself recorded of tests/fixtures/adopt/supabase/migrations; history.sql has it.
RECORDED = {
    "20240101000000_create_notes": (
        "-- notes of a user\n"
        "create table public.notes (id bigint generated always as identity primary key, body text)",
        "/* a block; with a semicolon */\nalter table public.notes enable row level security",
        "-- the end",
    ),
    "20240104000000_comment_only": ("-- nothing yet",),
    "20240105000000_empty": (),
    "20240106000000_semicolons": ("-- first;\nselect 1 -- one", "select 2", "-- tail;"),
}
FOLDER = Path(__file__).parents[1] / "fixtures" / "adopt" / "supabase" / "migrations"


@pytest.mark.parametrize("version", RECORDED)
def test_a_text_is_parted_as_the_supabase_cli_does(version: str) -> None:
    assert split((FOLDER / f"{version}.sql").read_text()) == RECORDED[version]


@pytest.mark.parametrize(
    ("sql", "found"),
    [
        pytest.param("select 1", ("select 1",), id="without a semicolon"),
        pytest.param(
            "select 1 /* ; */ -- ;\n; select 2;",
            ("select 1 /* ; */ -- ;", "select 2"),
            id="a semicolon in the comments before it",
        ),
        pytest.param("select 1 -- end", ("select 1 -- end",), id="a comment at the end"),
    ],
)
def test_a_comment_before_the_semicolon_belongs_to_the_statement(
    sql: str, found: tuple[str, ...]
) -> None:
    assert split(sql) == found


def sync(sql: str, *columns: str) -> str:
    return mirrored("20240101000000_it", (sql[:5], sql[5:]), columns).sql


def test_a_row_is_written_or_brought_up_to_date() -> None:
    assert sync("select 'a';\nselect E'\\\\';", *MIRRORED_COLUMNS) == (
        'INSERT INTO "supabase_migrations".schema_migrations (version, name, statements)\n'
        "VALUES ('20240101000000', 'it', ARRAY['select ''a''', E'select E''\\\\\\\\''']::text[])\n"
        "ON CONFLICT (version) DO UPDATE SET name = EXCLUDED.name, "
        "statements = EXCLUDED.statements"
    )


def test_only_the_columns_that_there_are_get_written() -> None:
    assert sync("select 1", "version") == (
        'INSERT INTO "supabase_migrations".schema_migrations (version)\n'
        "VALUES ('20240101000000')\n"
        "ON CONFLICT (version) DO NOTHING"
    )


def test_the_rows_of_a_copy_are_left_out() -> None:
    assert "statements" not in sync("COPY a FROM stdin;\n1\n\\.\n", *MIRRORED_COLUMNS)


def test_a_text_that_would_double_a_long_message_is_left_out() -> None:
    assert "statements" in sync("-- " + "x" * (GROUP_CHARS - 3), *MIRRORED_COLUMNS)
    assert "statements" not in sync("-- " + "x" * (GROUP_CHARS - 2), *MIRRORED_COLUMNS)


def test_what_is_undone_is_taken_out_by_its_number() -> None:
    assert forgotten("20240101_notes").sql == (
        "DELETE FROM \"supabase_migrations\".schema_migrations WHERE version = '20240101'"
    )
