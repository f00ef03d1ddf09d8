"""The page of `report --html`: each answer in words, whatever the texts in it are."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from typing import Any

import pytest

from migrator.page.depends import NODES, levels_of, picture
from migrator.page.page import QUESTIONS, as_page
from migrator.page.runs import DAYS_SHOWN, RICH_LINES, runs_of, why
from migrator.page.words import clock, command, moment, said, since, took
from tests.builders import RUN_ID
from tests.unit.test_overview import an_answer

EVIL = "</script><script>alert('x')</script>\" onload=\"x' & <img src=//evil.example>"
VOID = {"meta", "br", "img"}


class Checked(HTMLParser):
    """Every tag that is opened is closed; what is there by its name and its text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(page)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open[-1:] not in (["script"], ["style"]):
            self.text += data


def page_of(**values: Any) -> Checked:
    answer = an_answer(**{"preflight": None, "requires": {}, **values})
    return Checked(as_page(answer))


def a_line(version: str | None = "001_a", event: str = "applied", **values: Any) -> dict[str, Any]:
    return {
        **{"at": "2026-05-04T03:02:01.5+00:00", "event": event, "version": version},
        **{"runner": "migrator/pod-1", "execution_time_ms": 500, "reason": None},
        **{"run_id": RUN_ID, "detail": {}, **values},
    }


def a_row(version: str, state: str = "applied", **values: Any) -> dict[str, Any]:
    return {"version": version, "state": state, "kind": "versioned", **values}


DANGER = {
    **{"file": "002_b.sql", "line": 2, "class": "scan", "relation": "public.a"},
    **{"size": "22 MB", "does": "CREATE INDEX reads all of public.a", "message": "…"},
    **{"shut_out": "nobody writes it", "how_long": "about 1 s to 3 s"},
    "remedy": "`CREATE INDEX CONCURRENTLY i ON public.a (b)`.",
}
NOTHING: dict[str, Any] = {"findings": [], "allowed": [], "advice": [], "other": []}
FAILED = a_line("002_b", "failed", detail={"message": "no such table", "sqlstate": "42P01"})


def test_a_database_where_all_is_well() -> None:
    page = page_of(migrations=[a_row("001_a", applied_at="2026-05-04T03:02:01+00:00")])
    for words in (
        *(question for _, question in QUESTIONS),
        *("nobody holds the lock of the runners.", "The log has no failure (0 lines)."),
        *("Nothing is pending.", "Nothing is recorded yet.", "No file says that it requires"),
    ):
        assert words in page.text
    ids = [found["id"] for _, found in page.tags if "id" in found]
    assert ids == [name for name, _ in QUESTIONS]


@pytest.mark.parametrize(
    ("verdict", "tone"),
    [
        ("`up` would end with 11 (DriftError): x.", "bad"),
        ("`up` would apply 002_b.", "waiting"),
        ("`up` would have nothing to do.", "good"),
    ],
)
def test_the_verdict_comes_first(verdict: str, tone: str) -> None:
    [found] = [v["class"] for _, v in page_of(verdict=verdict).tags if v.get("role") == "status"]
    assert found == f"card {tone}"


def test_who_is_at_work_and_who_blocks_it() -> None:
    at_work = {"pid": 7, "application_name": "migrator/pod-1", "version": "002_b"}
    at_work |= {"since": "2026-05-04T03:02:01Z", "run_id": RUN_ID}
    seen = {
        "waits_for": {"relation": "public.a"},
        "blockers": [{"pid": 9, "user": "app"}, {"prepared_transaction": "p"}, {}],
        "progress": {"command": "CREATE INDEX", "percent": 24.0},
    }
    page = page_of(at_work=at_work, seen=seen, taken_at="2026-05-04T03:02:13Z")
    text = page.text
    [found] = [v["class"] for _, v in page.tags if v.get("role") == "status"]
    assert found == "card bad"
    assert "migrator/pod-1 (pid 7) is at work on 002_b, blocked by an unnamed application" in text
    assert "ROLLBACK PREPARED &#x27;p&#x27;Copy".replace("&#x27;", "'") in text
    assert "2026-05-04 03:02:01 UTC, 12.0 s before this page" in text
    for words in ("migrator/pod-1 (pid 7)", "2026-05-04 03:02:01 UTC", "public.a", "user app"):
        assert words in text
    assert "SELECT pg_terminate_backend(9)" in text
    assert "CREATE INDEX, 24.0 %" in text
    alone = page_of(at_work={"pid": 7}, seen={"progress": {"phase": "scanning"}})
    assert "progress" not in page_of(at_work={"pid": 7}).text
    assert "an unnamed application (pid 7)" in alone.text
    assert "to end that" not in alone.text


def test_what_failed_last_and_what_to_do() -> None:
    rows = [a_row("002_b", "pending")]
    text = page_of(log=[FAILED, a_line()], migrations=rows).text
    assert "no such table" in text
    assert "migrator upCopy" in text
    over = page_of(log=[FAILED], migrations=[a_row("002_b")])
    assert "migrator upCopy" not in over.text
    assert "no such table" in over.text
    assert "no such table" in page_of(log=[FAILED]).text
    refused = "`up` would end with 13 (LateError): x."
    text = page_of(log=[FAILED], migrations=rows, verdict=refused).text
    assert "plan --sql" in text
    assert "migrator upCopy" not in text
    assert "is not judged, as it would not be run" in text
    unseen = page_of(log_unseen="the role x may not read it")
    assert unseen.text.count("the role x may not read it") == 2
    finding = {"file": "003_c.sql", "line": None, "problem": "is late", "remedy": "`repair --x y`."}
    dirty = {"version": "004_d", "done": "statement 1", "interrupted": "none"}
    more = page_of(findings=[finding, {**finding, "line": 3}], dirty=[dirty])
    for words in ("004_d was started", "003_c.sql:3", "is late", "migrator repair --x yCopy"):
        assert words in more.text


@pytest.mark.parametrize(
    ("event", "later", "over"),
    [
        ("rollback_failed", (), False),
        ("rollback_failed", ("rolled_back",), True),
        ("hook_failed", (), False),
        ("hook_failed", ("hook",), True),
        ("failed", ("intent",), True),
    ],
)
def test_a_failure_is_over_once_the_same_is_done(
    event: str, later: tuple[str, ...], over: bool
) -> None:
    detail = {"message": "m", "waited_ms": 5000, "blockers": [{"pid": 9, "user": "app"}]}
    log = [a_line("002_b", event, detail=detail), *(a_line("002_b", name) for name in later)]
    log.append(a_line("003_c"))
    page = page_of(log=log, migrations=[a_row("002_b")])
    failed = page.text.partition("What failed last, and what to do?")[2].split("What is pend")[1]
    assert "5.0 s behind an unnamed application (pid 9, user app)" in page.text
    assert failed
    ways = "migrator rollback --planCopy" if event == "rollback_failed" else "migrator upCopy"
    assert (ways in page.text) is not over


def test_what_is_pending_and_what_it_will_do() -> None:
    rows = [a_row("001_a"), a_row("002_b", "pending")]
    assert "migrator check --write" in page_of(migrations=rows).text
    assert "It harms no table in use." in page_of(migrations=rows, preflight=NOTHING).text
    found = {
        "findings": [DANGER],
        "allowed": [{**DANGER, "reason": "at night"}],
        "advice": [{**DANGER, "class": "advice", "size": "", "shut_out": "", "how_long": ""}],
        "other": [{"file": ".preflight", "problem": "not known", "remedy": "Make it."}],
    }
    text = page_of(migrations=rows, preflight=found).text
    for words in ("002_b.sql:2 scan", "nobody writes it, for about 1 s to 3 s", "at night"):
        assert words in text
    assert "public.a (22 MB)" in text
    assert "not known. Make it." in text


def test_runs_are_by_day_and_the_newest_is_open() -> None:
    log = [
        a_line("001_a"),
        a_line("002_b", at="2026-05-04T03:02:03+00:00", execution_time_ms=None),
        a_line("003_c", "failed", at="2026-05-06T03:02:03+00:00", run_id="r2"),
        a_line("003_c", "rolled_back", at="2026-05-06T04:02:03+00:00", run_id="r3"),
        a_line(None, "x", at="no time", run_id="r0", execution_time_ms=None),
    ]
    runs = runs_of(log)
    assert [len(run.lines) for run in runs] == [1, 2, 1, 1]
    assert [run.failed for run in runs] == [False, False, True, False]
    page = page_of(log=log)
    opened = [found for tag, found in page.tags if tag == "details" and "open" in found]
    assert [found["class"] for found in opened] == ["day", "run"]
    for words in ("2 runs, 0 applied, 1 undone", "1 run, 2 applied", "03:02:01"):
        assert words in page.text
    targets = {found["id"] for _, found in page.tags if "id" in found}
    links = {str(found["href"])[1:] for tag, found in page.tags if tag == "a"}
    assert links <= targets


@pytest.mark.parametrize("per_run", [1, 10, 3 * RICH_LINES])
def test_whatever_the_runs_are_their_elements_are_few(per_run: int) -> None:
    log = [
        a_line(f"{n}_a", run_id=f"r{n // per_run}", at=f"2026-05-0{1 + n // 500}T0{n % 10}:00:00Z")
        for n in range(3 * RICH_LINES)
    ]
    page = page_of(log=log)
    assert all(f"{n}_a" in page.text for n in range(3 * RICH_LINES))
    assert len(page.tags) < 40 * RICH_LINES
    ids = {found["id"] for _, found in page.tags if "id" in found}
    assert {str(v["href"])[1:] for tag, v in page.tags if tag == "a"} <= ids


def test_a_wait_is_drawn_before_the_migration_and_no_time_is_too_odd() -> None:
    odd = {"waited_ms": "x", "execution_time_ms": 1}
    page = page_of(
        log=[
            a_line("001_a", detail={"waited_ms": 2000, "blockers": [{"pid": 1}]}),
            a_line("002_b", at="2026-05-05T00:00:01Z", execution_time_ms="x", detail=odd),
            a_line("003_c", execution_time_ms=10**20, detail={"waited_ms": -1}),
        ]
    )
    rects = [found["class"] for tag, found in page.tags if tag == "rect" and "%" in str(found)]
    assert rects == ["waiting", "good", "good", "good"]
    assert "2.0 s behind" in page.text
    assert "2026-05-05 00:00:01" in page.text, "the next day is said"


def test_a_failure_in_the_text_of_older_runs_is_seen() -> None:
    log = [FAILED, *(a_line(run_id=f"r{n}", at="2026-06-01") for n in range(RICH_LINES))]
    page = as_page(an_answer(preflight=None, requires={}, log=log))
    [text] = re.findall("<pre>(.*?)</pre>", page)
    assert text.startswith("<b>2026-05-04 03:02:01 UTC  migrator/pod-1  failed  002_b")
    turned = as_page(an_answer(preflight=None, requires={}, log=[a_line(runner="x-א")]))
    assert "<bdi>x-א</bdi>" in turned


def test_many_lines_are_text_and_not_tables() -> None:
    log = [
        a_line(f"{n}_a", run_id=f"r{n // 10}", at=f"2026-0{1 + n // 500}-{1 + n // 20 % 25:02}")
        for n in range(2 * RICH_LINES)
    ]
    page = page_of(log=log)
    kinds = [tag for tag, _ in page.tags]
    assert kinds.count("pre") > 0
    assert kinds.count("tr") < RICH_LINES + 100
    assert all(f"{n}_a" in page.text for n in range(2 * RICH_LINES))
    days = {f"{run.day}" for run in runs_of(log)}
    assert sum(str(v.get("href", "")).startswith("#day-") for _, v in page.tags) == min(
        len(days), DAYS_SHOWN
    )


def test_texts_of_others_stay_texts() -> None:
    rows = [a_row(EVIL, "pending"), a_row("x", EVIL, applied_at=EVIL)]
    log = [a_line(EVIL, EVIL, runner=EVIL, reason=EVIL, run_id=EVIL, detail={EVIL: [EVIL]}), FAILED]
    finding = {"file": EVIL, "line": 1, "problem": f"`{EVIL} a`", "remedy": EVIL}
    danger = {**dict.fromkeys(DANGER, EVIL), "line": 1}
    page = page_of(
        database=EVIL,
        verdict=EVIL,
        migrations=rows,
        log=log,
        findings=[finding],
        preflight={**NOTHING, "findings": [danger]},
        at_work={"pid": 7, "application_name": EVIL, "version": EVIL, "since": EVIL},
        seen={"waits_for": {"relation": EVIL}, "progress": {"command": EVIL}},
        requires={EVIL: [EVIL, "x"], "x": [EVIL]},
    )
    assert "alert('x')" in page.text
    names = {name for _, found in page.tags for name in found}
    assert {name for name in names if name.startswith("on") or name in {"src", "srcset"}} == set()
    assert [tag for tag, _ in page.tags if tag in {"script", "img", "link", "iframe"}] == ["script"]
    outside = re.compile(r"^(?!#)")
    assert not [v["href"] for _, v in page.tags if "href" in v and outside.match(str(v["href"]))]


def test_the_graph_runs_in_the_direction_of_time() -> None:
    needs = {"003_c": ["001_a", "002_b"], "002_b": ["001_a"], "001_a": [], "x": ["y"], "y": ["x"]}
    levels = levels_of(needs)
    assert levels["001_a"] < levels["002_b"] < levels["003_c"]
    assert levels["x"] != levels["y"]
    drawn = picture({"001_a": "applied", "002_b": "pending", "004_d": "pending"}, needs)
    place = {
        name.partition(":")[0]: int(x)
        for name, x in re.findall(r"<title>(.*?)</title><rect x=\"(\d+)\"", drawn)
    }
    assert place["001_a"] < place["002_b"] < place["003_c"]
    assert "004_d" not in place
    assert drawn.count('class="arrow"') == 5
    chain = {f"{n:04}": [f"{n - 1:04}"] for n in range(1, NODES + 50)}
    many = picture(dict.fromkeys(chain, "applied"), chain)
    assert many.count("<title>") == NODES
    long = picture({}, {"a" * 40: ["b"]})
    assert "…</text>" in long
    text = page_of(requires={"002_b": ["001_a"], "001_a": []}).text
    assert "what is required is on the left" in text


def test_words_commands_and_times() -> None:
    assert said("Run `up` & `a b`") == (
        'Run <code>up</code> &amp; <span class="copy"><code>a b</code>'
        '<button type="button" aria-label="Copy: a b">Copy</button></span>'
    )
    assert "<code>migrator up</code>" in command("up")
    assert moment("x") is None
    assert clock("2026-05-04T05:02:01+02:00") == clock("2026-05-04T03:02:01")
    assert [took(ms) for ms in (None, 7, 1_500, 61_000, 3_700_000, 3e8)] == [
        *("", "7 ms", "1.5 s", "1 min 1 s", "1 h 1 min", "3 days"),
    ]
    assert since("2026-05-04T05:02:01", "2026-05-04T03:02:01") == clock("2026-05-04T05:02:01")
    assert since("x", "y") == "x"
    assert why(a_line(reason="r", detail={"checksum": "x", "a": "", "b": [1]})) == "r; <i>b</i> [1]"
