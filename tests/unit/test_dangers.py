"""What pending files do to tables in use, for a terminal of 80 columns and for a page."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from migrator.cli.cells import Screen
from migrator.cli.dangers import dangers_text
from migrator.cli.markdown import as_markdown
from migrator.cli.tables import as_text
from migrator.model import Danger, Finding
from migrator.preflight.facts import Fact
from migrator.preflight.judge import Hazard, Size, Sizes
from migrator.preflight.live import Writes
from tests.unit.test_overview import an_answer, rows_under

SIZE = Size(20 << 20, 5_000, writes=12.4)
FACT = Fact(2, "CREATE INDEX", Danger.SCAN, "public.a", "index", "SHARE")
SCAN = Hazard("002_b.sql", FACT, SIZE, "…", "Build it `CONCURRENTLY`.", None, (1, 20)).as_row()
GONE_FACT = Fact(3, "DROP TABLE", Danger.DESTROY, "public.a", "dropped")
GONE = Hazard("003_c.sql", GONE_FACT, Size(None), "…", "…").as_row()
KEY_FACT = Fact(1, "CREATE TABLE", Danger.ADVICE, "public.n", "key: a")
KEY = Hazard("004_d.sql", KEY_FACT, Size(0, writes=0), "…", "Add it.").as_row()


def found(**parts: Any) -> dict[str, Any]:
    return {"findings": [], "advice": [], "allowed": [], "other": [], **parts}


ALL = found(
    findings=[SCAN],
    allowed=[{**GONE, "reason": "at | night"}],
    advice=[KEY],
    other=[
        Finding(".preflight", "without facts: 005_e.sql", "Run it.").as_dict(),
        Finding("003_c.sql", "`allow` meets nothing", "Remove the line.", 1).as_dict(),
    ],
)


def test_on_a_terminal_each_has_a_block() -> None:
    assert dangers_text(ALL, Screen(folder="m")).splitlines() == [
        "what they do to tables in use:",
        "m/002_b.sql:2: scan of public.a (20 MB, 5,000 rows, about 12 writes a second)",
        "  does       CREATE INDEX reads all of public.a behind SHARE",
        "  shut out   nobody writes it, for about 1 s to 20 s",
        "  safe way   Build it `CONCURRENTLY`.",
        "m/003_c.sql:3: allowed, destroy of public.a",
        "  does       DROP TABLE of public.a: dropped",
        "  reason     at | night",
        "m/004_d.sql:1: advice, public.n (0 kB, few writes)",
        "  does       CREATE TABLE makes a foreign key of public.n (a) that no index",
        "             begins with: each DELETE reads it all",
        "  safe way   Add it.",
        ".preflight: without facts: 005_e.sql. Run it.",
        "m/003_c.sql:1: `allow` meets nothing. Remove the line.",
    ]
    assert dangers_text(None, Screen()) == dangers_text(found(), Screen()) == ""


def test_on_a_page_it_is_a_table() -> None:
    heading = "What the pending files do to tables in use"
    rows = rows_under(as_markdown(an_answer(preflight=ALL)), heading)
    assert [row[0] for row in rows] == [
        *("`002_b.sql:2` scan", "`003_c.sql:3` allowed, destroy", "`004_d.sql:1` advice"),
        *("`.preflight`", "`003_c.sql`"),
    ]
    assert rows[0][4] == "nobody writes it, for about 1 s to 20 s"
    assert rows[1][5] == r"Allowed: at \| night"
    for nothing in (None, found()):
        assert heading not in as_markdown(an_answer(preflight=nothing))


def test_writes_are_a_rate_once_sessions_had_a_second_to_report_them() -> None:
    before = Writes(10.0, {"a": 100, "b": 9, "gone": 1})
    later = Writes(14.0, {"a": 180, "b": 3, "new": 1})
    assert before.rates_until(later) == {"a": 20.0, "b": 0.0}
    assert before.rates_until(Writes(10.9, {"a": 180})) == {}


def test_statements_are_shown_as_they_would_be_sent() -> None:
    files = [
        {"version": "001_a", "file": "001_a.sql", "sql": ["CREATE TABLE a ()", "SELECT\t1;\n"]},
        {"version": "002_b", "file": "002_b.sql", "sql": ["SELECT '\x1b[2J';"]},
    ]
    assert as_text("plan", {"sql": files}, {}, Screen()) == (
        "-- 001_a.sql\nCREATE TABLE a ();\nSELECT  1;\n\n-- 002_b.sql\nSELECT '\\x1b[2J';\n"
    )
    assert as_text("plan", {"sql": []}, {}, Screen()) == "nothing to do\n"


def test_plan_says_below_a_row_what_is_not_usual() -> None:
    row = {"version": "001_a", "transaction": False, "repeatable": True, "requires": ["000_x"]}
    usual = {"version": "002_b", "transaction": True, "repeatable": False, "requires": []}
    answer = {
        "would_apply": [{**row, "locks": [["public.a", "SHARE"]]}, {**usual, "locks": None}],
        "preflight": ALL,
    }
    text = as_text("plan", answer, {}, Screen())
    assert text.startswith(
        "version\n001_a\n    outside of a transaction, repeatable, requires 000_x, locks public.a "
        "(SHARE)\n002_b\n\nwhat they do to tables in use:\n"
    )


def test_where_a_page_was_written_is_said() -> None:
    assert as_text("report", {"html": "/tmp/page.html"}, {}, Screen()) == "/tmp/page.html\n"


def test_a_size_is_given_its_writes_where_it_is_known() -> None:
    sizes = Sizes({"public.a": SIZE}).with_writes({"public.a": 3.0, "public.b": 4.0})
    assert sizes.of("public.a") == replace(SIZE, writes=3.0)
    assert sizes.of("public.b") is None
