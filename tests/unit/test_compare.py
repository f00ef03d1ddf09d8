"""What two moments of a transaction differ in; what a server shows is in tests/database."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest

from migrator.model import Danger
from migrator.preflight.compare import (
    Ran,
    makes,
    may_rename_schemas,
    read_advice,
    read_facts,
    renamed,
    shut_by,
)
from migrator.preflight.facts import RANK, Fact
from migrator.preflight.moment import (
    Column,
    Constraint,
    Moment,
    Relation,
    bare_name,
    names_between,
    read_moment,
)

ORDERS, ITEMS, KEY, VIEW, SUMS, TOAST_KEY, STATE = 1, 2, 3, 4, 5, 6, 90
ID, NOTE = Column("id", False, False), Column("note", False, False)
START = Moment(
    {
        ORDERS: Relation("public.orders", "r", 11, None),
        ITEMS: Relation("public.items", "r", 12, None),
        KEY: Relation("public.orders_key", "i", 13, ORDERS),
        VIEW: Relation("public.shown", "v", None, None),
        SUMS: Relation("public.sums", "m", 15, None),
        TOAST_KEY: Relation("pg_toast.key", "i", 16, 99),
    },
    {ORDERS: {1: ID, 2: NOTE}, ITEMS: {1: ID}, VIEW: {1: ID}, SUMS: {1: ID}},
    {STATE: ("public.state", "new")},
    {},
    counted=True,
)
ALL, WRITES = "ACCESS EXCLUSIVE", "ROW EXCLUSIVE"


def moment(
    locks: Mapping[int, str] | None = None,
    columns: Mapping[int, Mapping[int, Column]] | None = None,
    gone: Sequence[int] = (),
    upon: Moment = START,
    **changes: Any,
) -> Moment:
    """As `upon`, but for these locks, columns and relations: orders={"filenode": 7}."""
    relations = {oid: found for oid, found in upon.relations.items() if oid not in gone}
    for name, values in changes.items():
        oid = globals()[name.upper()]
        relations[oid] = replace(relations[oid], **values)
    held = {oid: RANK[lock] for oid, lock in (locks or {}).items()}
    return replace(
        upon,
        relations=relations,
        columns={**upon.columns, **(columns or {})},
        locks={**upon.locks, **held},
    )


def facts(
    text: str, after: Moment, before: Moment = START, notices: Sequence[str] = (), **ran: Any
) -> tuple[Fact, ...]:
    return read_facts(START, [(Ran(3, text, notices=tuple(notices), **ran), before, after)])


def short(found: Sequence[Fact]) -> list[tuple[Danger, str, str]]:
    return [(fact.danger, fact.relation, fact.what) for fact in found]


@pytest.mark.parametrize(
    ("text", "after", "found"),
    [
        pytest.param(
            "DROP TABLE orders",
            moment(gone=(ORDERS, KEY)),
            [(Danger.DESTROY, "public.orders", "dropped")],
            id="dropped",
        ),
        pytest.param(
            "ALTER TABLE orders RENAME TO old",
            moment({ORDERS: ALL}, orders={"name": "public.old"}),
            [(Danger.BREAKS, "public.orders", "renamed to public.old")],
            id="renamed",
        ),
        pytest.param(
            "TRUNCATE orders",
            moment({ORDERS: ALL}, orders={"filenode": 7}),
            [(Danger.DESTROY, "public.orders", "emptied")],
            id="emptied",
        ),
        pytest.param(
            "DO $$ BEGIN TRUNCATE orders; END $$",
            moment({ORDERS: ALL}, orders={"filenode": 7}),
            [(Danger.DESTROY, "public.orders", "emptied")],
            id="emptied in a block",
        ),
        pytest.param(
            "ALTER TABLE orders ALTER note TYPE varchar",
            moment({ORDERS: ALL}, orders={"filenode": 7}, key={"filenode": 8}),
            [(Danger.REWRITE, "public.orders", "type")],
            id="rewritten, with its indexes",
        ),
        pytest.param(
            "REFRESH MATERIALIZED VIEW sums",
            moment({SUMS: ALL}, sums={"filenode": 7}),
            [(Danger.REWRITE, "public.sums", "refresh")],
            id="a materialized view",
        ),
        pytest.param(
            "REINDEX INDEX orders_key",
            moment({ORDERS: "SHARE"}, key={"filenode": 7}, orders={"scans": 1}),
            [(Danger.SCAN, "public.orders", "reindex")],
            id="an index built anew",
        ),
        pytest.param(
            "REINDEX SYSTEM app", moment(toast_key={"filenode": 7}), [], id="an index of no table"
        ),
        pytest.param(
            "ALTER TABLE orders ADD at date NOT NULL",
            moment({ORDERS: ALL}, {ORDERS: {1: ID, 2: NOTE, 3: Column("at", False, True)}}),
            [(Danger.FAILS, "public.orders", "at")],
            id="a column that each row lacks",
        ),
        pytest.param(
            "ALTER TABLE orders ADD at date",
            moment({ORDERS: ALL}, {ORDERS: {1: ID, 2: NOTE, 3: Column("at", False, False)}}),
            [],
            id="a column that may be empty",
        ),
        pytest.param(
            "ALTER TABLE orders DROP note",
            moment({ORDERS: ALL}, {ORDERS: {1: ID, 2: Column("…", True, False)}}),
            [(Danger.DESTROY, "public.orders", "column note dropped")],
            id="a column dropped",
        ),
        pytest.param(
            "ALTER TABLE orders RENAME note TO notes",
            moment({ORDERS: ALL}, {ORDERS: {1: ID, 2: Column("notes", False, False)}}),
            [(Danger.BREAKS, "public.orders", "column note renamed to notes")],
            id="a column renamed",
        ),
        pytest.param(
            "ALTER TYPE state RENAME VALUE 'new' TO 'open'",
            replace(START, labels={STATE: ("public.state", "open")}),
            [(Danger.BREAKS, "public.state", "label new renamed to open")],
            id="a label renamed",
        ),
        pytest.param("SELECT 1", START, [], id="nothing"),
    ],
)
def test_what_a_statement_did(
    text: str, after: Moment, found: list[tuple[Danger, str, str]]
) -> None:
    assert short(facts(text, after)) == found


UPDATED = moment({ORDERS: WRITES}, orders={"scans": 1})
BY_INDEX = moment({ORDERS: WRITES}, key={"scans": 1})


@pytest.mark.parametrize(
    ("text", "after", "found"),
    [
        pytest.param("UPDATE orders SET note = ''", UPDATED, [(True, False)], id="all rows read"),
        pytest.param("DELETE FROM orders", UPDATED, [(True, True)], id="all rows deleted"),
        pytest.param("DELETE FROM orders WHERE id > 7", UPDATED, [(True, False)], id="some"),
        pytest.param("UPDATE orders SET id = 1", BY_INDEX, [(False, False)], id="by an index"),
        pytest.param("WITH a AS (SELECT 1) SELECT 1", UPDATED, [], id="WITH that reads"),
        pytest.param(
            "WITH a AS (SELECT 1) DELETE FROM orders", UPDATED, [(True, False)], id="that deletes"
        ),
        pytest.param("INSERT INTO orders VALUES (1)", BY_INDEX, [], id="new rows alone"),
        pytest.param(
            "INSERT INTO orders SELECT 1 ON CONFLICT (id) DO UPDATE SET note = ''",
            BY_INDEX,
            [(False, False)],
            id="new rows over old ones",
        ),
        pytest.param("DO $$ … $$", UPDATED, [(True, False)], id="a block that read all"),
        pytest.param("DO $$ … $$", BY_INDEX, [], id="a block that read no table in full"),
    ],
)
def test_a_change_of_many_rows(text: str, after: Moment, found: list[tuple[bool, bool]]) -> None:
    said = facts(text, after)
    assert [(fact.danger, fact.sure, fact.empties) for fact in said] == [
        (Danger.MASS, *each) for each in found
    ]


def test_a_change_that_reads_no_more_than_the_one_before_it_is_small() -> None:
    before = moment({ORDERS: WRITES})
    assert facts("UPDATE orders SET id = 1", before, before) == ()


@pytest.mark.parametrize(
    ("text", "notices", "found"),
    [
        pytest.param(
            "ALTER TABLE orders ADD CHECK (id > 0)",
            ['verifying table "orders"'],
            [(Danger.SCAN, True)],
            id="the server names the table",
        ),
        pytest.param(
            "ALTER TABLE orders ADD FOREIGN KEY (id) REFERENCES items",
            ['validating foreign key constraint "orders_id_fkey"'],
            [(Danger.SCAN, True)],
            id="the server names a new key",
        ),
        pytest.param("ALTER TABLE orders ADD x int", ["something else"], [], id="it names none"),
        pytest.param("DO $$ … $$", [], [(Danger.SCAN, False)], id="code may do anything"),
    ],
)
def test_where_nothing_is_counted_the_server_is_listened_to(
    text: str, notices: list[str], found: list[tuple[Danger, bool]]
) -> None:
    before = replace(START, counted=False)
    said = facts(text, moment({ORDERS: ALL}, upon=before), before, notices)
    assert [(fact.danger, fact.sure) for fact in said] == found


def test_outside_a_transaction_an_index_shows_what_was_read() -> None:
    [fact] = facts("REINDEX TABLE orders", moment(key={"filenode": 7}), alone=True)
    assert (fact.danger, fact.what, fact.lock) == (Danger.SCAN, "reindex", ALL)


def test_what_was_dropped_was_shut_to_all() -> None:
    [fact] = facts("DROP TABLE orders", moment({ITEMS: ALL}, gone=(ORDERS, KEY)))
    assert (fact.lock, fact.also) == (ALL, ("public.items",))


def test_a_table_that_is_shut_waits_for_the_statements_after_it() -> None:
    shut = moment({ORDERS: ALL})
    read = moment({ITEMS: "ACCESS SHARE"}, upon=shut, items={"scans": 1})
    [held] = facts("SELECT count(*) FROM items", read, shut)
    assert (held.danger, held.relation, held.reads) == (
        Danger.HELD,
        "public.orders",
        ("public.items",),
    )
    both = moment({ITEMS: ALL, STATE: ALL}, upon=shut)
    [locks] = facts("ALTER TABLE items ADD x int", both, shut)
    assert (locks.danger, locks.relation, locks.reads) == (
        Danger.LOCKS,
        "public.items",
        ("public.orders",),
    )


def test_facts_are_in_one_order_whatever_that_of_the_server() -> None:
    """A facts file that changes without its migration is a difference to be reviewed."""
    shut = {ORDERS: ALL, ITEMS: ALL, SUMS: ALL}
    after = moment(shut, orders={"filenode": 7}, items={"filenode": 8}, sums={"filenode": 9})
    ran = Ran(1, "SELECT widen()")
    said = read_facts(START, [(ran, START, after)])
    assert [fact.relation for fact in said] == ["public.items", "public.orders", "public.sums"]
    assert read_facts(turned(START), [(ran, turned(START), turned(after))]) == said


def turned(one: Moment) -> Moment:
    """The same, read in another order."""
    relations, locks = list(one.relations.items()), list(one.locks.items())
    return replace(one, relations=dict(relations[::-1]), locks=dict(locks[::-1]))


def test_a_slow_statement_is_not_said_a_second_time_of_what_is_held() -> None:
    shut = moment({ITEMS: ALL})
    after = moment({ORDERS: ALL}, upon=shut, orders={"scans": 1})
    found = facts("ALTER TABLE orders ADD CHECK (id > 0)", after, shut)
    assert [fact.danger for fact in found] == [Danger.SCAN, Danger.LOCKS]


def test_a_name_that_is_found_again_breaks_nothing() -> None:
    moved = moment({ORDERS: ALL}, orders={"name": "public.old"})
    rename = (Ran(1, "ALTER TABLE orders RENAME TO old"), START, moved)
    for columns, found in (({1: ID, 2: NOTE}, 0), ({1: ID}, 1)):
        view = {**moved.relations, 7: Relation("public.orders", "v", None, None)}
        after = replace(moved, relations=view, columns={**moved.columns, 7: columns})
        steps = [rename, (Ran(2, "CREATE VIEW orders AS …"), moved, after)]
        assert len(read_facts(START, steps)) == found


def test_a_view_that_is_made_anew_with_its_columns_destroys_nothing() -> None:
    dropped = moment(gone=(VIEW,))
    again = {**dropped.relations, 7: Relation("public.shown", "v", None, None)}
    after = replace(dropped, relations=again, columns={**dropped.columns, 7: {1: ID}})
    drop = (Ran(1, "DROP VIEW shown"), START, dropped)
    assert read_facts(START, [drop, (Ran(2, "CREATE VIEW shown"), dropped, after)]) == ()
    assert short(read_facts(START, [drop])) == [(Danger.DESTROY, "public.shown", "dropped")]
    assert read_facts(START, []) == ()


def test_a_moment_is_read_upon_the_one_before() -> None:
    first = read_moment(
        {
            "relations": {
                "1": ["public.orders", "r", 11, None, 0],
                "2": ["public.x", "r", 1, None],
            },
            "columns": {"1": {"1": ["id", False, False]}, "2": {"1": ["id", False, False]}},
            "constraints": {"7": [2, "x_key", "u", True]},
            "labels": {"90": ["public.state", "new"]},
            "locks": [[1, "AccessShareLock"], [1, "AccessExclusiveLock"], [1, "RowShareLock"]],
            "counted": True,
        }
    )
    assert first.locks == {1: RANK[ALL]}
    assert first.labels == {90: ("public.state", "new")}
    assert first.constraints == {7: Constraint(2, "x_key", "u", True)}
    nothing = dict.fromkeys(("relations", "columns", "constraints", "labels", "locks"))
    later = read_moment({**nothing, "locks": [[2, "ShareLock"]], "counted": False}, first)
    assert later.relations == {1: Relation("public.orders", "r", 11, None)}
    assert later.columns == {1: {1: ID}}
    assert later.constraints == {}
    assert not later.counted


@pytest.mark.parametrize(
    ("text", "may"),
    [
        ("ALTER SCHEMA a RENAME TO b", True),
        ("DO $$ … $$", True),
        ("ALTER TABLE a ADD b int", False),
    ],
)
def test_what_may_rename_a_schema(text: str, may: bool) -> None:
    assert may_rename_schemas(text) is may


def test_what_a_file_made_and_renamed() -> None:
    end = moment(orders={"name": "public.old"}, key={"name": "public.old_key"}, gone=(VIEW,))
    end.relations[7] = Relation("public.new", "r", 17, None)  # type: ignore[index]
    end.relations[8] = Relation("public.new_key", "i", 18, 7)  # type: ignore[index]
    assert makes(START, end) == ("public.new",)
    assert renamed(START, end) == (("public.orders", "public.old"),)


def state(keys: Mapping[str, Any] | None = None, **tables: Any) -> dict[str, Any]:
    return {"keys": keys, "tables": {text[1:]: found for text, found in tables.items()} or None}


NEW = ["public.orders", False, []]


@pytest.mark.parametrize(
    ("before", "after", "found"),
    [
        pytest.param(state(), state(t1=NEW), ["grants", "rls"], id="a new table"),
        pytest.param(state(), state(t1=["public.orders", True, ["app"]]), [], id="one in order"),
        pytest.param(state(), state(t1=["app.orders", False, []]), [], id="of another schema"),
        pytest.param(
            state(), state(t1=["public.orders", False, ["anon"]]), ["open: anon"], id="open at once"
        ),
        pytest.param(
            state(t1=NEW),
            state(t1=["public.orders", False, ["authenticated", "anon"]]),
            ["open: anon, authenticated"],
            id="granted later",
        ),
        pytest.param(
            state(t1=["public.orders", False, ["anon"]]),
            state(t1=["public.orders", False, ["anon"]]),
            [],
            id="open before",
        ),
        pytest.param(
            state({"7": [1, "id"]}, t1=NEW),
            state({"7": [1, "id"], "8": [1, "a, b"]}, t1=NEW),
            ["key: a, b"],
            id="a key without an index",
        ),
    ],
)
def test_advice(before: Mapping[str, Any], after: Mapping[str, Any], found: list[str]) -> None:
    said = list(read_advice(before, after, []))
    assert [fact.what for fact in said] == found
    assert {(fact.line, fact.words, fact.danger) for fact in said} <= {(1, "", Danger.ADVICE)}


def test_advice_is_about_the_statement_that_made_the_table_or_its_key() -> None:
    none = moment(gone=(ORDERS, KEY))
    made = (Ran(2, "CREATE TABLE orders (id int)"), none, START)
    shut = moment({ORDERS: "SHARE ROW EXCLUSIVE"})
    other = (Ran(4, "CREATE INDEX ON items (id)"), START, START)
    key = (Ran(5, "ALTER TABLE orders ADD FOREIGN KEY (id) REFERENCES items"), START, shut)
    with_key = state({"8": [1, "id"]}, t1=NEW)
    for steps, line, words in (
        ([made, other], 2, "CREATE TABLE"),
        ([other, key], 5, "ALTER TABLE"),
        ([other, other], 4, "CREATE INDEX"),
    ):
        [fact] = read_advice(state(t1=NEW), with_key, steps)
        assert (fact.line, fact.words) == (line, words)


def test_the_names_are_those_of_what_a_statement_made_or_changed() -> None:
    def names(**changes: Any) -> dict[str, str]:
        return dict(names_between(START, replace(START, **changes), ORDERS))

    def constraint(*values: Any) -> dict[str, str]:
        return names(constraints={7: Constraint(*values)})

    index = Relation('public."Odd.i"', "i", 17, ORDERS, 0, "note", unique=True)
    found = names(relations={**START.relations, 50: index})
    assert found == {"index": '"Odd.i"', "columns": "note", "unique": "UNIQUE"}
    assert names(relations={**START.relations, 50: replace(index, unique=False)}).keys() == {
        *("index", "columns"),
    }
    key = constraint(ITEMS, "k", "f", True, "id", "FOREIGN KEY …", ORDERS)
    assert (key["table"], key["kind"]) == ("public.items", "FOREIGN KEY")
    assert constraint(ITEMS, "c", "c", True) == {}
    assert constraint(ORDERS, "n", "n", True) == {}
    typed = {
        **START.columns,
        ORDERS: {1: replace(ID, type="bigint"), 2: replace(NOTE, dropped=True)},
    }
    assert names(columns=typed) == {"column": "id", "type": "bigint"}


def test_a_constraint_that_becomes_valid_is_named() -> None:
    kept = Constraint(ORDERS, "c", "c", validated=False)
    before = replace(START, constraints={7: kept})
    assert names_between(before, before, ORDERS) == ()
    after = replace(START, constraints={7: replace(kept, validated=True)})
    assert dict(names_between(before, after, ORDERS))["constraint"] == "c"


def test_a_name_without_its_schema() -> None:
    assert [bare_name(name) for name in ("a.b", 'a."b.c"', "b", "")] == ["b", '"b.c"', "b", ""]


def test_what_a_file_shuts_to_writers_is_named_with_its_strongest_lock() -> None:
    first = moment({ORDERS: "SHARE", KEY: ALL, ITEMS: WRITES})
    dropped = moment({ORDERS: ALL}, gone=[ITEMS], upon=first)
    steps = [(Ran(1, ""), START, first), (Ran(2, ""), first, dropped)]
    assert shut_by(START, steps[:1]) == (("public.orders", "SHARE"),)
    assert shut_by(START, steps) == (("public.items", ALL), ("public.orders", ALL))
    assert shut_by(START, []) == ()
