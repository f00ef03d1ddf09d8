"""The result of a run: as values, as text, and cut to the size of a termination log."""

from __future__ import annotations

import json
from datetime import timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from migrator.cli.cells import Screen
from migrator.cli.markdown import text as prose
from migrator.cli.phrases import words as phrase
from migrator.cli.tables import as_text, details
from migrator.database.delay import BLOCKERS, Delay
from migrator.display import with_short_checksums
from migrator.model import Finding
from migrator.report import (
    Done,
    Report,
    blockers_in_words,
    fit,
    for_people,
    how_to_end_blockers,
    what_is_undone,
    what_remains,
)

LIMIT = 4096
FINDING = Finding("002_b.sql", "is late", "Rename it.", 3)


def test_a_report_in_plain_values() -> None:
    report = Report(
        command="up",
        run_id="r",
        exit_code=13,
        outcome="nothing was changed",
        target="job@db:5432/shop",
        applied=(Done("001_a", 5),),
        rolled_back=(Done("000_z", None),),
        pending=("002_b",),
        current="001_a",
        findings=(FINDING,),
        error={"type": "LateError"},
        duration_ms=7,
    )
    assert report.as_dict() == {
        "command": "up",
        "exit_code": 13,
        "outcome": "nothing was changed",
        "target": "job@db:5432/shop",
        "current": "001_a",
        "applied": [{"version": "001_a", "execution_time_ms": 5}],
        "rolled_back": [{"version": "000_z", "execution_time_ms": None}],
        "pending": ["002_b"],
        "findings": [
            {"file": "002_b.sql", "line": 3, "problem": "is late", "remedy": "Rename it."}
        ],
        "error": {"type": "LateError"},
        "run_id": "r",
        "duration_ms": 7,
    }


EMPTY = Report("status", "r").as_dict()
STATUS = {
    "migrations": [
        {"version": "001_a", "state": "applied", "execution_time_ms": 5},
        {"version": "002_long_name", "state": "pending"},
    ]
}
UNDO = {
    "would_undo": [
        {
            "version": "002_b",
            "kind": "versioned",
            "applied_at": "2026-01-02T03:04:05+00:00",
            "statements": statements,
            "from": origin,
            "undo": "-- a",
            "sql": "-- a\nb\n",
            "pending_again": again,
        }
        for statements, origin, again in ((1, "stored", []), (2, "file", ["R__v", "R__w"]))
    ]
}
PLAN = {"would_apply": [{"version": "002_b", "undo": True}, {"version": "003_c", "undo": False}]}


@pytest.mark.parametrize(
    ("command", "answer", "findings", "text"),
    [
        pytest.param(
            "status",
            STATUS,
            [],
            "version        state    took\n001_a          applied  5 ms\n002_long_name  pending\n",
            id="status",
        ),
        pytest.param(
            "status",
            {"migrations": []},
            [FINDING],
            "no migrations\nm/002_b.sql:3: is late. Rename it.\n",
            id="status of nothing, with a finding",
        ),
        pytest.param("status", {}, [], "no migrations\n", id="status that failed"),
        pytest.param(
            "plan", PLAN, [], "version  undo\n002_b    yes\n003_c    no\n", id="what it would do"
        ),
        pytest.param("plan", {**PLAN, "graph": "graph TD\n"}, [], "graph TD\n", id="its graph"),
        pytest.param("plan", {"would_apply": []}, [], "nothing to do\n", id="nothing"),
        pytest.param(
            "rollback",
            UNDO,
            [],
            "002_b (versioned, 2026-01-02 03:04:05): the stored undo, 1 statement\n"
            "    -- a\n    b\n"
            "002_b (versioned, 2026-01-02 03:04:05): the undo of the folder, 002_b.down.sql, "
            "2 statements\n"
            "    -- a\n    b\n"
            "  then pending again, until the next `up`: R__v, R__w\n",
            id="what would be undone",
        ),
        pytest.param("rollback", {"would_undo": []}, [], "nothing to undo\n", id="no undo"),
        pytest.param("rollback", {}, [], "", id="a rollback has said it all"),
        pytest.param(
            "rehearse",
            {"rehearsed": [{"version": "001_a", "result": "no undo"}]},
            [],
            "version  result\n001_a    no undo\n",
            id="a rehearsal",
        ),
        pytest.param("new", {"created": ["a.sql", "b.sql"]}, [], "a.sql\nb.sql\n", id="new files"),
        pytest.param(
            "history",
            {"log": [{"event": "applied", "run_id": "r", "detail": {"checksum": "c", "line": 7}}]},
            [],
            "event\napplied\n    line 7\n",
            id="a line of the log",
        ),
        pytest.param("history", {}, [], "nothing is recorded yet\n", id="an empty log"),
        pytest.param(
            "repair", {"assumed": "all is well"}, [], "assumed: all is well\n", id="repair"
        ),
        pytest.param(
            "adopt",
            {"adoption": [{"version": "001_a", "goose": "1", "content": "not provable"}]},
            [],
            "version  goose  content\n001_a    1      not provable\n",
            id="what is adopted",
        ),
        pytest.param(
            "check",
            {
                "findings": [
                    {
                        **{"file": "2_a.sql", "line": 3, "class": "scan"},
                        **{"message": "it reads", "remedy": "Do it later."},
                    }
                ],
                "allowed": [
                    {
                        **{"file": "2_a.sql", "line": 4, "class": "mass", "message": "it writes"},
                        **{"remedy": "Not this.", "reason": "at night"},
                    }
                ],
            },
            [],
            "m/2_a.sql:3: scan: it reads. Do it later.\n"
            "m/2_a.sql:4: allowed: mass: it writes. Reason: at night.\n",
            id="what check found",
        ),
        pytest.param(
            "check", {"formatted": "::error\x1b\n"}, [], "::error\\x1b\n", id="for a program"
        ),
        pytest.param("up", {}, [], "", id="up has said it all"),
    ],
)
def test_an_answer_in_text(
    command: str, answer: dict[str, Any], findings: list[Finding], text: str
) -> None:
    result = Report(command, "r", findings=tuple(findings)).as_dict()
    assert as_text(command, answer, result, Screen(folder="m")) == text


ZONE = timezone(timedelta(hours=1), "CET")
LONG = {
    "migrations": [
        {"version": "001_a", "state": "applied", "applied_at": "2026-01-02T23:04:05.123456+00:00"},
        {"version": "002_" + "b" * 40, "state": "pending"},
    ]
}


def test_times_are_local_and_the_zone_is_named_once() -> None:
    shown = as_text("status", LONG, EMPTY, Screen(zone=ZONE))
    assert "applied at (CET)\n" in shown
    assert "2026-01-03 00:04:05\n" in shown
    assert Screen().time("as it is") == "as it is"


def test_a_table_that_is_wider_than_the_screen_is_no_table() -> None:
    assert as_text("status", LONG, EMPTY, Screen(columns=50, zone=ZONE)).splitlines() == [
        "001_a",
        "  applied, applied at (CET) 2026-01-03 00:04:05",
        "002_" + "b" * 40,
        "  pending",
    ]
    only = {"migrations": [{"version": "a" * 50}]}
    assert as_text("status", only, EMPTY, Screen(columns=40)) == "a" * 50 + "\n"


def test_a_state_has_a_colour_and_a_table_of_wide_names_is_straight() -> None:
    rows = [{"version": "日本", "state": "applied"}, {"version": "abc", "state": "drifted"}]
    shown = as_text("status", {"migrations": rows}, EMPTY, Screen(colour=True))
    assert shown.splitlines()[1:] == [
        "日本     \x1b[32mapplied\x1b[0m",
        "abc      \x1b[31mdrifted\x1b[0m",
    ]


def test_a_finding_names_its_line() -> None:
    finding = Finding("a.sql", "is odd", "Fix it.", line=3).as_dict()
    result = {"findings": [finding], "findings_count": 4}
    shown = as_text("status", {"migrations": []}, result, Screen(folder="m"))
    assert shown == "no migrations\nm/a.sql:3: is odd. Fix it.\n… 3 more\n"


def test_what_a_run_left_in_words() -> None:
    assert what_remains(["001_a", "002_b"]) == "applied by this run and committed: 001_a, 002_b"
    assert what_is_undone(["002_b", "001_a"]) == "undone by this run: 002_b, 001_a"


def a_result(**values: Any) -> dict[str, Any]:
    return Report("up", "r", **values).as_dict()


def test_what_fits_stays_whole() -> None:
    result = a_result(outcome="3 applied; été", applied=(Done("001_a", 1),))
    assert json.loads(fit(result, LIMIT)) == result


def test_a_long_text_loses_its_middle() -> None:
    error = {"message": "first " + "x" * 10_000 + " last", "remedy": "Fix it."}
    message = json.loads(fit(a_result(error=error), LIMIT))["error"]["message"]
    assert message.startswith("first xxx")
    assert message.endswith("xxx last")
    assert "xxx...xxx" in message
    assert len(message) <= 600


def test_a_long_list_loses_its_tail_and_keeps_its_count() -> None:
    done = tuple(Done(f"{number:03}_a_migration_with_a_name", number) for number in range(1, 501))
    cut = json.loads(fit(a_result(applied=done, outcome="500 applied"), LIMIT))
    assert cut["applied"] == [
        {"version": entry.version, "execution_time_ms": entry.execution_time_ms}
        for entry in done[: len(cut["applied"])]
    ]
    assert (cut["applied_count"], cut["outcome"]) == (500, "500 applied")
    assert "pending_count" not in cut


def test_the_code_is_left_when_nothing_else_fits() -> None:
    assert json.loads(fit(a_result(exit_code=15), 20)) == {"exit_code": 15}


def test_half_a_surrogate_pair_is_escaped() -> None:
    """A file's name that is not UTF-8 reaches us so."""
    text = fit(a_result(outcome="a\udcffb"), LIMIT)
    assert text.encode().decode() == text
    assert json.loads(text)["outcome"] == "a\udcffb"


ANY_TEXT = st.text(st.characters(exclude_categories=[]), max_size=20)


@given(
    texts=st.lists(ANY_TEXT, min_size=1, max_size=5),
    stretch=st.integers(1, 3000),
    versions=st.lists(ANY_TEXT, max_size=5),
    repeats=st.integers(0, 300),
    exit_code=st.integers(0, 24),
)
def test_whatever_happened_fits_and_is_json(
    texts: list[str], stretch: int, versions: list[str], repeats: int, exit_code: int
) -> None:
    long = [text * stretch for text in texts]
    result = a_result(
        outcome=texts[0],
        applied=tuple(Done(version, 1) for version in versions) * repeats,
        findings=tuple(Finding(text, text, text) for text in long),
        error={"message": long[0], "hint": None, "holder": dict.fromkeys(texts, long[-1])},
        exit_code=exit_code,
    )
    text = fit(result, LIMIT)
    assert len(text.encode()) <= LIMIT
    assert json.loads(text)["exit_code"] == exit_code


IDLE = {"pid": 7, "application_name": "psql", "user": "u", "state": "idle", "open_seconds": 83}


@pytest.mark.parametrize(
    ("seen", "words"),
    [
        pytest.param({"blockers_unknown": "why"}, "", id="nobody was seen"),
        pytest.param(
            {"waits_for": {"relation": "public.hot"}, "blockers": [IDLE]},
            "; the lock on public.hot is held or awaited by "
            "psql (pid 7, user u, idle, transaction open for 83 s)",
            id="a session",
        ),
        pytest.param(
            {"waits_for": {}, "blockers": [{"pid": 8, "backend_type": "autovacuum worker"}, {}]},
            "; the lock is held or awaited by autovacuum worker (pid 8); an unnamed application",
            id="one that has no name, and one that nothing may be known of",
        ),
        pytest.param(
            {"blockers": [{"prepared_transaction": "left", "open_seconds": 5}]},
            "; the lock is held or awaited by the prepared transaction left (transaction open "
            "for 5 s)",
            id="a prepared transaction",
        ),
    ],
)
def test_blockers_in_words(seen: dict[str, Any], words: str) -> None:
    assert blockers_in_words(seen) == words


@pytest.mark.parametrize(
    ("blockers", "ends"),
    [
        pytest.param([IDLE], "`SELECT pg_terminate_backend(7)`", id="a session"),
        pytest.param(
            [IDLE, {}, {"prepared_transaction": "it's left"}],
            "`SELECT pg_terminate_backend(7)`, `ROLLBACK PREPARED 'it''s left'`",
            id="several, and one that nothing may be known of",
        ),
    ],
)
def test_the_remedy_says_how_to_end_blockers(blockers: list[dict[str, Any]], ends: str) -> None:
    remedy = how_to_end_blockers({"blockers": blockers})
    assert remedy is not None
    assert f" or end it: {ends}. Then run again." in remedy


@pytest.mark.parametrize("seen", [{}, {"blockers": [{}]}])
def test_whom_nobody_saw_nobody_can_end(seen: dict[str, Any]) -> None:
    assert how_to_end_blockers(seen) is None


def test_a_line_of_the_log_shows_a_person_what_is_for_people() -> None:
    detail = {"statement": 2, "what": "VACUUM t", "sha256": "0" * 64, "effect": {}, "before": {}}
    shown = as_text("history", {"log": [{"event": "intent", "detail": detail}]}, {}, Screen())
    assert shown.splitlines()[1:] == ["intent", "    statement 2, what VACUUM t"]


def test_a_checksum_is_shown_by_its_beginning() -> None:
    digest = "0123456789abcdef" * 4
    assert details({"was": digest, "why": f"{digest} gives way"}) == (
        "was 0123456789ab, why 0123456789ab gives way"
    )
    said = f"the checksum {digest}."
    assert phrase(said) == prose(said) == "the checksum 0123456789ab."
    assert with_short_checksums(f"{digest}0 {digest[1:]} x{digest}") == (
        f"{digest}0 {digest[1:]} x{digest}"
    )


@pytest.mark.parametrize(
    ("detail", "words"),
    [
        ({"waited_ms": 12_000, "blockers": [IDLE]}, "12.0 s behind psql (pid 7, user u, idle"),
        (
            {"waited_ms": 7, "blockers": [{"pid": 1}], "waits_for": {"relation": "public.a"}},
            "7 ms behind an unnamed application (pid 1), for the lock on public.a",
        ),
        ({"waited_ms": 1, "blockers_unknown": "x"}, "1 ms for a lock; by whom is unknown: x"),
        ({"waited_ms": 1, "waits_for": {"relation": "a"}}, "1 ms for the lock on a"),
    ],
)
def test_a_wait_is_one_sentence_before_the_rest(detail: dict[str, Any], words: str) -> None:
    shown = for_people({"pending": 3, **detail, "checksum": "x"})
    assert list(shown) == ["waited", "pending"]
    assert shown["waited"].startswith(words)
    assert "waited " in details(detail)


@pytest.mark.parametrize("value", [None, "x", 3, ["x"], [[]], {}])
def test_what_another_wrote_into_the_log_is_shown_as_it_is(value: object) -> None:
    for detail in ({"waited_ms": value}, {"waited_ms": 1, "blockers": value, "waits_for": value}):
        assert isinstance(details(detail), str)


def test_a_delay_keeps_each_who_was_in_the_way_as_he_was_seen_last() -> None:
    delay = Delay()
    assert delay.detail == {}
    delay.add(0.5)
    assert delay.detail == {"waited_ms": 500}
    delay.add(0.5, {"blockers_unknown": "too short"})
    assert delay.detail == {"waited_ms": 1000, "blockers_unknown": "too short"}
    for pid in (1, 2, 1, *range(3, BLOCKERS + 2)):
        place = {"waits_for": {"relation": "a"}}
        delay.add(0.5, {**place, "blockers": [{"pid": pid, "open_seconds": pid}]})
    delay.add(0.5, {"blockers": [{"prepared_transaction": "p"}]})
    found = delay.detail
    assert found["waits_for"] == {"relation": "a"}
    assert len(found["blockers"]) == BLOCKERS
    assert found["blockers"][-1] == {"prepared_transaction": "p"}
    assert "blockers_unknown" not in found
