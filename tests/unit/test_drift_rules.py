"""What counts as drift, what is warned about, and what is left to others."""

from __future__ import annotations

from typing import Any

import pytest

from migrator.scratch.drift_rules import find_drift, split_patterns, touched
from migrator.scratch.snapshot import Snapshot, make_snapshot

TABLE = ("table", "public", None, "public.t", {"owner": "a", "grants": ["owner SELECT"]})
COLUMN = ("column", "public", "public.t", "public.t.c", {"type": "text"})
PUBLIC = ("schema", "public", None, "public", {"owner": "a", "grants": []})
FUNCTION = ("function", "public", None, "public.f()", {"definition": "x", "grants": []})
EXTENSION: Any = ("extension", None, None, "cube", {"version": "1", "schema": "public"})
AUTH = ("schema", "auth", None, "auth", {"owner": "supabase_admin", "grants": []})
STORAGE = ("schema", "storage", None, "storage", {"owner": "supabase_admin", "grants": []})
DEFAULTS = (
    *("default privileges", "public", None, "of a for tables in public"),
    {"grants": ["b SELECT"]},
)


def of(*rows: Any) -> Snapshot:
    return make_snapshot(rows)


def changed(row: Any, **facts: Any) -> Any:
    return (*row[:4], row[4] | facts)


def thing(kind: str, name: str, schema: str | None = None, **facts: Any) -> Any:
    return kind, schema, None, name, facts


def names(made: Snapshot, held: Snapshot, **words: Any) -> list[str]:
    return [difference.item.name for difference in find_drift(made, held, **words).found]


@pytest.mark.parametrize(
    ("made", "held", "found"),
    [
        pytest.param([TABLE, COLUMN], [TABLE, COLUMN], [], id="nothing"),
        pytest.param([TABLE], [TABLE, COLUMN], ["public.t.c"], id="a column by hand"),
        pytest.param([TABLE], [changed(TABLE, owner="b")], [], id="an owner alone"),
        pytest.param(
            [TABLE],
            [changed(TABLE, owner="b", grants=[])],
            ["public.t"],
            id="an owner and a grant",
        ),
        pytest.param(
            [TABLE],
            [changed(TABLE, grants=["owner SELECT", "b SELECT"]), DEFAULTS],
            [],
            id="a grant by default",
        ),
        pytest.param(
            [TABLE],
            [changed(TABLE, grants=["owner SELECT", "b DELETE"]), DEFAULTS],
            ["public.t"],
            id="another grant than by default",
        ),
        pytest.param(
            [FUNCTION],
            [changed(FUNCTION, grants=["b EXECUTE"]), DEFAULTS],
            ["public.f()"],
            id="the defaults of another kind",
        ),
        pytest.param([], [EXTENSION], [], id="an extension more"),
        pytest.param([EXTENSION], [], ["cube"], id="an extension that is gone"),
        pytest.param([EXTENSION], [changed(EXTENSION, version="2")], [], id="its version"),
        pytest.param(
            [PUBLIC], [changed(PUBLIC, grants=["PUBLIC CREATE"])], [], id="public before 15"
        ),
        pytest.param([PUBLIC], [], ["public"], id="public is gone"),
        pytest.param(
            [],
            [thing("schema", "junk", "junk"), thing("table", "junk.t", "junk")],
            ["junk"],
            id="of a new schema itself alone",
        ),
        pytest.param([], [AUTH, thing("table", "auth.users", "auth")], ["auth"], id="no Supabase"),
        pytest.param(
            [],
            [
                *(AUTH, STORAGE, EXTENSION),
                thing("table", "auth.users", "auth"),
                thing("comment on schema", "auth", text="x"),
                thing("publication", "supabase_realtime"),
                thing("event trigger", "e", owner="supabase_admin"),
                thing("comment on extension", "cube", text="x"),
                thing("table", "public.mine", "public", owner="postgres"),
            ],
            ["public.mine"],
            id="Supabase",
        ),
        pytest.param(
            [AUTH],
            [AUTH, STORAGE, thing("table", "auth.mine", "auth")],
            ["auth.mine", "storage"],
            id="a schema that the files make",
        ),
    ],
)
def test_what_is_the_users_and_differs_is_found(made: Any, held: Any, found: list[str]) -> None:
    assert sorted(names(of(*made), of(*held))) == sorted(found)


@pytest.mark.parametrize(
    ("pattern", "left"),
    [
        ("public.t", []),
        ("public", []),
        ("public.*", []),
        ("other,public.u", ["public.t.c"]),
        ("t", ["public.t.c"]),
        ("", ["public.t.c"]),
    ],
)
def test_a_pattern_names_a_thing_its_table_or_its_schema(pattern: str, left: list[str]) -> None:
    ignored = split_patterns(pattern)
    assert names(of(TABLE), of(TABLE, COLUMN), ignored=ignored) == left


def test_tables_of_other_tools_and_what_is_unsure_are_left_out() -> None:
    held = of(thing("table", "x.flyway", "x"), FUNCTION)
    unsure = touched(of(), of(FUNCTION))
    assert names(of(), held, tables={"flyway"}, unsure=unsure) == []
    assert names(of(thing("table", "x.flyway", "x")), of(), tables={"flyway"}) == ["x.flyway"]


def test_a_readers_right_to_use_the_historys_schema_is_ours() -> None:
    held = of(changed(PUBLIC, grants=["reader USAGE"]))
    assert find_drift(of(PUBLIC), held, home="public").warned == ()
    assert find_drift(of(PUBLIC), held, home="own").warned != ()


def test_what_is_not_counted_is_said_in_few_words() -> None:
    tables = [thing("table", f"public.t{n}", "public", owner="a", grants=[]) for n in range(7)]
    held = of(*(changed(table, owner="b") for table in tables), EXTENSION)
    drift = find_drift(of(*tables), held)
    shown = ", ".join(f"table public.t{n}" for n in range(5))
    assert drift.warned == (
        "extension cube is there in the database, and not by the files",
        f"owner a by the files, b in the database: {shown} and 2 more",
    )
    granted = of(*(changed(table, grants=["b SELECT"]) for table in tables[:1]), DEFAULTS)
    assert find_drift(of(*tables[:1]), granted).usual == (
        "the database's default privileges give more on table public.t0",
    )
    api = of(changed(tables[0], grants=["anon TRIGGER", "anon TRUNCATE", "anon REFERENCES"]))
    [usual] = find_drift(of(tables[0]), api).usual
    assert usual.startswith("Supabase's own grants")


def test_a_body_is_not_shown_and_other_values_are() -> None:
    view = thing("view", "public.v", "public", definition="SELECT 1")
    made = of(FUNCTION, view)
    held = of(changed(FUNCTION, definition="y"), changed(view, definition="SELECT 2"))
    drift = find_drift(made, held)
    function, shown = drift.as_dicts()
    assert function["facts"] == [{"what": "definition"}]
    assert shown["facts"] == [{"what": "definition", "files": "SELECT 1", "database": "SELECT 2"}]
    assert [finding.problem for finding in drift.as_findings()] == [
        "function public.f() differs: definition",
        "view public.v differs: definition SELECT 1 by the files, SELECT 2 in the database",
    ]
