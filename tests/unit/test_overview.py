"""The whole state, in words and as a page of Markdown."""

from __future__ import annotations

import re
from typing import Any

import pytest

from migrator.cli.cells import Screen
from migrator.cli.markdown import as_markdown, code, text
from migrator.cli.tables import as_text
from migrator.commands.report_rules import started_rows, unfinished, verdict, way_out
from migrator.errors import AccessError, DriftError, LateError, MigratorError
from migrator.history.at_work import identified, worker
from migrator.model import Finding
from migrator.plan.progress import Intent, Progress, Way
from migrator.report import at_work_in_words
from tests.builders import RUN_ID

INTENT = Intent(2, RUN_ID, "0" * 64, "CREATE INDEX CONCURRENTLY day", 4, {}, {})


@pytest.mark.parametrize(
    ("failures", "dirty", "pending", "words"),
    [
        ([], [], [], "`up` would have nothing to do."),
        ([], [], ["001_a", "002_b"], "`up` would apply 001_a, 002_b."),
        ([], ["001_a"], ["001_a"], "would settle what was interrupted and go on with 001_a."),
        ([DriftError("x has changed")], ["1"], ["1"], "end with 11 (DriftError): x has changed."),
        ([LateError("a"), DriftError("b")], [], [], "end with 13 (LateError): a; b."),
    ],
)
def test_what_up_would_come_to(
    failures: list[MigratorError], dirty: list[str], pending: list[str], words: str
) -> None:
    assert verdict(failures, dirty, pending).endswith(words)


def test_what_to_do_follows_where_no_finding_says_it() -> None:
    access = AccessError("it is read-only", remedy="Connect to the primary.")
    found = DriftError("x has changed", findings=(Finding("x.sql", "changed", "Restore it."),))
    assert way_out([access, found]) == " Connect to the primary."
    assert way_out([found]) == way_out([]) == ""


def test_how_far_a_dirty_migration_has_come() -> None:
    dirty = {"001_a": Progress({1: "0", 3: "0"}, 0, INTENT), "002_b": Progress({1: "0"})}
    assert started_rows({**dirty, "003_c": Progress()}, ["001_a", "002_b"]) == [
        {
            "version": "001_a",
            "done": "statement 1, statement 3",
            "interrupted": f"statement 2 (CREATE INDEX CONCURRENTLY day), line 4, run {RUN_ID}",
        },
        {
            "version": "002_b",
            "done": "statement 1",
            "interrupted": "none: the next statement was not started",
        },
    ]
    [row] = started_rows({"001_a": Progress({}, 0, INTENT)}, ["001_a"])
    assert row["done"] == "nothing"
    [row] = started_rows({"001_a": Progress({1: "0"}, way=Way.BACK)}, ["001_a"])
    assert row["done"] == "of its undo: statement 1"


def test_what_is_not_finished_is_a_finding_for_whoever_is_not_at_work_on_it() -> None:
    found = unfinished(["001_a", "002_b"], ["003_c"], {"version": "002_b"})
    assert [(one.file, one.remedy.split(":")[0]) for one in found] == [
        ("001_a.sql", "Run `up`"),
        ("002_b.sql", "Wait"),
        ("003_c.down.sql", "Run `rollback`, which goes on; see `rollback --plan`."),
    ]
    (undo,) = unfinished([], ["003_c"], {"version": "003_c"})
    assert undo.remedy == "Wait: a runner is at work on it."
    assert unfinished([], [], None) == []


MARK = f"/* migrator 002_b, run {RUN_ID} */"
HOLDER = {"pid": 7, "application_name": "migrator/pod-1", "since": None}
LINE = {"application_name": "migrator/pod-2", "version": "003_c", "run_id": RUN_ID, "since": "T"}
SAME = {**LINE, "application_name": "migrator/pod-1"}
UNKNOWN = {"pid": 7, "who": "a session whose name is not known"}


@pytest.mark.parametrize(
    ("marker", "line", "expected"),
    [
        (None, None, UNKNOWN),
        ("", None, UNKNOWN),
        ("", LINE, UNKNOWN),
        (None, LINE, UNKNOWN),
        (None, SAME, {"pid": 7, **SAME}),
        ("", SAME, {"pid": 7, **SAME}),
        (MARK, LINE, {"pid": 7, **LINE}),
        (MARK, None, {**HOLDER, "version": "002_b", "run_id": RUN_ID}),
        (MARK, {**LINE, "run_id": "x"}, {**HOLDER, "version": "002_b", "run_id": RUN_ID}),
        (f"/* migrator:{RUN_ID}:002_b:3 */", None, {"version": "002_b", "run_id": RUN_ID}),
        ("/* migrator waits */", LINE, {"pid": 7, "application_name": "migrator/pod-1"}),
    ],
)
def test_who_is_at_work(
    marker: str | None, line: dict[str, str] | None, expected: dict[str, str]
) -> None:
    found = worker({"at_work": {**HOLDER, "marker": marker}, "newest_line": line})
    known = {key: value for key, value in expected.items() if value is not None}
    assert found is not None
    assert found | known == found
    assert [key in found for key in ("version", "who")] == [
        key in expected for key in ("version", "who")
    ]


@pytest.mark.parametrize(
    ("name", "marker", "who"),
    [
        ("web", MARK, "a runner whose name is not known"),  # its file has set another
        ("web", "", "a session whose name is not known"),
        ("migrator/pod-1", "", "a session whose name is not known"),
        ("migrator/pod-1", None, "a session whose name is not known"),
    ],
)
def test_a_holder_without_a_proof_has_no_name(name: str, marker: str | None, who: str) -> None:
    found = identified({"pid": 7, "application_name": name, "marker": marker})
    assert (found["who"], "application_name" in found) == (who, False)
    assert at_work_in_words(found).startswith(f"at work: {who} (pid 7)")
    assert identified({"prepared_transaction": "p", "marker": None}) == {
        "prepared_transaction": "p"
    }


def test_nobody_is_at_work() -> None:
    assert worker({}) is None
    assert worker({"at_work": None, "newest_line": None}) is None
    assert at_work_in_words(None) == ""


def test_a_runner_at_work_in_words() -> None:
    assert at_work_in_words({"pid": 7}) == "at work: an unnamed application (pid 7)"
    known = {**HOLDER, "version": "002_b", "since": "T"}
    assert at_work_in_words(known) == "at work: migrator/pod-1 (pid 7), on 002_b, since T"
    page = as_markdown(an_answer(at_work=known))
    assert "nothing to do.\n\nat work: migrator/pod-1 (pid 7), on 002_b, since T\n" in page


@pytest.mark.parametrize(
    ("value", "escaped"),
    [
        ("plain words, 1 < 2", "plain words, 1 &lt; 2"),
        ("002_b, R__view, _c", r"002_b, R__view, \_c"),
        ("a|b\nc", "a|b c"),
        ("a\x1b[2J\u2029b\x7f", r"a\\x1b\[2J b\\x7f"),
        ("*y* _z_ [l](u) #1 ~s~ \\", r"\*y\* \_z\_ \[l\](u) \#1 \~s\~ \\"),
        ("Run `a_b | c` or ``d` or _e_", r"Run `a_b | c` or \`\`d\` or \_e\_"),
        ("<script>&amp;", "&lt;script>&amp;amp;"),
    ],
)
def test_words_stay_words(value: str, escaped: str) -> None:
    assert text(value) == escaped


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("001_a_b", "`001_a_b`"),
        (None, ""),
        ("a|b\nc", r"`a|b\nc`"),
        ("a\x1b[2J\u202e", r"`a\x1b[2J\u202e`"),
        ("a`b``c", "```a`b``c```"),
        ("`a", "`` `a ``"),
        ("a`", "`` a` ``"),
    ],
)
def test_names_stay_names(value: str | None, shown: str) -> None:
    assert code(value) == shown


def an_answer(**values: Any) -> dict[str, Any]:
    return {
        "database": "u@h:5432/d",
        "server": "PostgreSQL 15.18",
        "history": '"public".schema_migrations',
        "folder": "migrations",
        "format": "dbmate",
        "migrator": "0.1.0",
        "taken_at": "2026-05-04T03:02:01+00:00",
        "newest": None,
        "verdict": "`up` would have nothing to do.",
        "findings": [],
        "at_work": None,
        "dirty": [],
        "migrations": [],
        "graph": "graph TD\n",
        "log": [],
        "log_unseen": None,
        **values,
    }


FULL = an_answer(
    graph='graph TD\n  m1["003_c<br/>dirty"]:::dirty\n',
    newest="001_a",
    findings=[Finding("002|b.sql", "is late", "Rename it.", 3).as_dict()],
    dirty=started_rows({"003_c": Progress({}, 0, INTENT)}, ["003_c"]),
    migrations=[
        {
            "version": "001_a",
            "state": "applied",
            "kind": "versioned",
            "applied_at": "2026-05-04T03:02:01.123456Z",
            "execution_time_ms": 5,
            "floor": True,
        },
        {"version": "002|b", "state": "late"},
        {"version": "003_c", "state": "dirty"},
    ],
    log=[
        {
            "at": "2026-05-04T03:02:01Z",
            "event": "repaired",
            "version": "001_a",
            "runner": "migrator/pod-1",
            "execution_time_ms": None,
            "reason": "a | in a\nreason",
            "run_id": RUN_ID,
            "detail": {"answer": "applied"},
        },
        {
            "at": "2026-05-04T03:02:00Z",
            "event": "applied",
            "version": "000_z",
            "runner": "migrator/pod-1",
            "execution_time_ms": 7,
            "reason": None,
            "run_id": RUN_ID,
            "detail": {},
        },
    ],
)


def rows_under(page: str, heading: str) -> list[list[str]]:
    """The cells of the table under a heading; each row has as many as the first."""
    part = page.partition(f"## {heading}\n")[2].partition("\n## ")[0].partition("```")[0]
    lines = [line for line in part.splitlines() if line.startswith("|")]
    rows = [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]
    assert {len(row) for row in rows} == {len(rows[0])}
    return rows[2:]


def test_the_page_has_all_parts_and_its_tables_hold_whatever_the_values_are() -> None:
    page = as_markdown(FULL)
    assert re.findall("^#+ (.*)$", page, re.MULTILINE) == [
        "Migrations of `u@h:5432/d`",
        *("Findings", "Dirty migrations", "Migrations", "Requirements", "Log"),
    ]
    assert "would have nothing to do." in page
    assert "\n- newest applied: `001_a`\n" in page
    assert rows_under(page, "Findings") == [[r"`002\|b.sql`", "3", "is late", "Rename it."]]
    [[version, done, interrupted]] = rows_under(page, "Dirty migrations")
    assert (version, done, RUN_ID in interrupted) == ("`003_c`", "nothing", True)
    assert rows_under(page, "Migrations") == [
        ["`001_a`", "applied", "versioned, floor", "2026-05-04T03:02:01Z", "5"],
        [r"`002\|b`", "**late**", "", "", ""],
        ["`003_c`", "**dirty**", "", "", ""],
    ]
    assert [row[4:] for row in rows_under(page, "Log")] == [
        ["", r"a \| in a reason", "answer applied"],
        ["7", "", ""],
    ]
    assert f"## Requirements\n\n```mermaid\n{FULL['graph']}```\n" in page


def test_the_log_alone_in_text() -> None:
    shown = as_text("history", {"log": FULL["log"]}, {}, Screen())
    assert "answer applied" in shown
    assert RUN_ID not in shown
    assert as_text("history", {}, {}, Screen()) == "nothing is recorded yet\n"


def test_an_empty_page_says_so_and_a_log_that_is_not_seen_is_not_empty() -> None:
    page = as_markdown(an_answer(log_unseen="the role x may not read it"))
    assert re.findall("^## (.*)$", page, re.MULTILINE) == ["Log"]
    assert page.endswith("## Log\n\nthe role x may not read it\n")
    finding = Finding("a.sql", "is late", "Rename it.").as_dict()
    assert rows_under(as_markdown(an_answer(findings=[finding])), "Findings")[0][1] == ""


def test_the_same_in_text() -> None:
    shown = as_text("report", FULL, {}, Screen())
    assert shown.startswith("database  u@h:5432/d\nserver    PostgreSQL 15.18\n")
    parts = ("nothing to do.", "is late. Rename it.", "003_c\n  done nothing", "answer applied")
    assert all(part in shown for part in parts)
    empty = as_text("report", an_answer(log_unseen="not seen"), {}, Screen())
    assert empty.endswith("`up` would have nothing to do.\n\nno migrations\n\nnot seen\n")
    assert as_text("report", {**FULL, "markdown": "# page\n"}, {}, Screen()) == "# page\n"
