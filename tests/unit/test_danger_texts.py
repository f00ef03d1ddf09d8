"""What is said of each danger, with sizes and times or without."""

from __future__ import annotations

from dataclasses import replace

import pytest

from migrator.model import Danger
from migrator.preflight.facts import Fact
from migrator.preflight.texts import duration, measure, message_of, safe_way

MB = 1024 * 1024
FACT = Fact(3, "ALTER TABLE", Danger.SCAN, "public.orders", "check", "ACCESS EXCLUSIVE")


@pytest.mark.parametrize(
    ("fact", "size", "rows", "seconds", "says"),
    [
        pytest.param(
            FACT,
            20 * MB,
            1_500_000,
            (3, 200),
            "ALTER TABLE reads all of public.orders (20 MB, 1.5 M rows) behind ACCESS EXCLUSIVE: "
            "nobody reads or writes it, for about 3 s to 3 min",
            id="a scan",
        ),
        pytest.param(
            replace(FACT, lock="SHARE", sure=False, also=("public.items",)),
            None,
            None,
            None,
            "ALTER TABLE may read all of public.orders behind SHARE: nobody writes it, nor "
            "public.items, meanwhile",
            id="a scan that is not sure, of a table nobody measured",
        ),
        pytest.param(
            replace(FACT, lock="ROW EXCLUSIVE"),
            4096,
            None,
            (0.1, 0.9),
            "ALTER TABLE reads all of public.orders (4 kB) behind ROW EXCLUSIVE: others wait for "
            "its rows, for about a second",
            id="a scan of a small table",
        ),
        pytest.param(
            replace(FACT, danger=Danger.REWRITE, lock=""),
            MB,
            7,
            (0.5, 1),
            "ALTER TABLE rewrites public.orders (1 MB, 7 rows) behind ACCESS EXCLUSIVE: nobody "
            "reads or writes it, for about 1 s to 1 s",
            id="a rewrite",
        ),
        pytest.param(
            replace(FACT, danger=Danger.HELD, reads=("public.a", "public.b")),
            None,
            None,
            None,
            "ALTER TABLE reads all of public.a, public.b while an earlier statement of the file "
            "holds public.orders: nobody reads or writes it, meanwhile",
            id="held",
        ),
        pytest.param(
            replace(FACT, words="UPDATE", danger=Danger.MASS),
            None,
            None,
            (2, 20),
            "UPDATE changes many rows of public.orders in one transaction, which keeps them "
            "locked, for about 2 s to 20 s",
            id="many rows",
        ),
        pytest.param(
            replace(FACT, danger=Danger.FAILS, what="at"),
            None,
            None,
            None,
            "ALTER TABLE adds the column at, NOT NULL without a default, to public.orders: it is "
            "refused as soon as there is a row",
            id="a column that each row lacks",
        ),
        pytest.param(
            replace(FACT, danger=Danger.LOCKS, reads=("public.a",)),
            None,
            None,
            None,
            "ALTER TABLE waits for public.orders while the file keeps public.a shut",
            id="a second table",
        ),
        pytest.param(
            replace(FACT, danger=Danger.ADVICE, what="key: a, b"),
            None,
            None,
            None,
            "ALTER TABLE makes a foreign key of public.orders (a, b) that no index begins with: "
            "each DELETE reads it all",
            id="advice",
        ),
        pytest.param(
            replace(FACT, danger=Danger.DESTROY, what="column note dropped"),
            None,
            None,
            None,
            "ALTER TABLE of public.orders: column note dropped",
            id="gone",
        ),
        pytest.param(
            replace(FACT, danger=Danger.BREAKS, what="renamed to public.old"),
            None,
            None,
            None,
            "ALTER TABLE of public.orders: renamed to public.old; programs that run now find the "
            "old name no more",
            id="renamed",
        ),
    ],
)
def test_what_is_said_of_a_fact(
    fact: Fact, size: int | None, rows: int | None, seconds: tuple[float, float] | None, says: str
) -> None:
    assert message_of(fact, size, rows, seconds) == says


def test_the_rows_that_change_are_counted_where_the_planner_knows_them() -> None:
    said = message_of(replace(FACT, danger=Danger.MASS), None, None, None, 12_000)
    assert "changes about 12,000 rows of public.orders" in said


def test_a_rewrite_takes_longer_than_a_read_and_indexes_add_to_it() -> None:
    read = duration(FACT, 800 * MB, 3_000_000)
    indexed = duration(replace(FACT, what="index", indexes=5), 800 * MB, 3_000_000)
    rewritten = duration(replace(FACT, danger=Danger.REWRITE), 300 * MB, None)
    assert (read, indexed, rewritten) == ((1, 10), (2, 20), (2, 15))
    assert duration(FACT, None, 7) is None
    assert duration(replace(FACT, danger=Danger.DESTROY), MB, 7) is None


@pytest.mark.parametrize(
    ("danger", "what", "part"),
    [
        (Danger.REWRITE, "type", "Add a column beside column, without a default"),
        (Danger.REWRITE, "storage", "Do it while nobody uses public.orders"),
        (Danger.HELD, "", "Put the statement that shuts public.orders into a file of its own"),
    ],
)
def test_the_safe_way_names_the_table_where_it_can(danger: Danger, what: str, part: str) -> None:
    assert part in safe_way(replace(FACT, danger=danger, what=what), 150018)


@pytest.mark.parametrize(
    ("danger", "what", "names", "part"),
    [
        (
            Danger.SCAN,
            "index",
            {"index": "i", "columns": "a, b"},
            "CONCURRENTLY i ON public.orders (a, b)",
        ),
        (
            Danger.SCAN,
            "index",
            {"index": "i", "unique": "UNIQUE"},
            "CREATE UNIQUE INDEX CONCURRENTLY i",
        ),
        (
            Danger.SCAN,
            "unique",
            {"constraint": "u", "kind": "PRIMARY KEY"},
            "u PRIMARY KEY USING INDEX u",
        ),
        (
            Danger.SCAN,
            "unique",
            {"constraint": "u", "kind": "EXCLUDE"},
            "while nobody writes public.orders",
        ),
        (
            Danger.SCAN,
            "validate",
            {"constraint": "c"},
            "`ALTER TABLE public.orders VALIDATE CONSTRAINT c`",
        ),
        (
            Danger.SCAN,
            "foreign key",
            {"constraint": "k", "table": "public.items"},
            "TABLE public.items ADD CONSTRAINT k",
        ),
        (Danger.SCAN, "not null", {"column": 'A"b'}, '"A""b" SET NOT NULL'),
        (Danger.REWRITE, "type", {"column": "qty", "type": "bigint"}, "ADD COLUMN qty_new bigint"),
        (
            Danger.REWRITE,
            "default",
            {"column": "at", "type": "date"},
            "ADD COLUMN at date` without",
        ),
        (Danger.FAILS, "must", {"column": "other", "type": "int"}, "ADD COLUMN must type`"),
        (Danger.FAILS, "must", {"column": "must", "type": "int"}, "ADD COLUMN must int`"),
        (Danger.HELD, "", {"line": "2"}, "that shuts public.orders (line 2) into"),
        (
            Danger.BREAKS,
            "renamed to public.o",
            {},
            "`CREATE VIEW public.orders AS SELECT * FROM public.o`",
        ),
        (Danger.BREAKS, "column a renamed to b", {}, "Add the column b beside a,"),
        (Danger.BREAKS, "label a renamed to b", {}, "Add the label b beside a "),
    ],
)
def test_the_safe_way_uses_the_names_of_the_file(
    danger: Danger, what: str, names: dict[str, str], part: str
) -> None:
    fact = replace(FACT, danger=danger, what=what, names=tuple(names.items()))
    assert part in safe_way(fact, 150018)


def test_one_row_is_a_row() -> None:
    assert measure(8192, 1) == "8 kB, 1 row"
    assert measure(8192, 0, 0) == "8 kB, 0 rows, few writes"
