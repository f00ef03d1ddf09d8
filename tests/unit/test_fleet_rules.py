"""What a fleet is made of, and what it comes to."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from migrator.cli.cells import Screen
from migrator.cli.markdown import fleet_as_markdown
from migrator.cli.phrases import phrase
from migrator.commands.fleet import fleet
from migrator.commands.fleet_rules import (
    Member,
    Outcome,
    environment_of,
    fleet_in_words,
    of_database,
    of_schema,
    read_members,
    read_outcome,
    summary,
    worst,
)
from migrator.errors import ConfigError

URL = "postgresql://u:s3cret@h:1/d"
A = Member("a", {"DATABASE_URL": URL})
DONE = Outcome("a", 0, "1 applied", "002_b", ("002_b",))
BEHIND = Outcome("b", 0, "1 pending", "001_a", (), ("002_b",))
FAILED = Outcome("c", 15, "rolled back", "001_a", error="no table", remedy="Fix it.")
LOCKED = Outcome("d", 21, "nothing was changed", error="held")


def test_lines_are_urls_with_or_without_a_name() -> None:
    text = f"\ufeff# tenants\n\n  shop={URL}  \npostgres://v@i/e\n"
    members = read_members(text, "f")
    assert [m.name for m in members] == ["shop", "v@i:5432/e"]
    assert members[0].environment == {"DATABASE_URL": URL}
    assert "s3cret" not in repr(members)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        pytest.param("# none\n", "f names no database", id="none"),
        pytest.param(f"{URL}\nshop\n", "f:2", id="a line that is no URL"),
        pytest.param(f"a={URL}\na=postgres://i/e\n", "a more than once", id="a name twice"),
        pytest.param(f"\na={URL} # shop\n", "f:2: a URL is followed by", id="a comment behind"),
        pytest.param(f"my shop={URL}\n", "f:1", id="a name of two words"),
        pytest.param("host=h password=s3cret\n", "f:1", id="no URL"),
    ],
)
def test_a_list_that_cannot_be_used(text: str, says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read_members(text, "f")
    assert says in caught.value.message
    assert "s3cret" not in caught.value.message + caught.value.remedy


@pytest.mark.parametrize(
    ("url", "moved"),
    [
        pytest.param(URL, "postgresql://u:s3cret@h:1/a%2Fb", id="a path"),
        pytest.param(
            "postgresql://h/d?dbname=e&sslmode=verify-full&user=a%20b",
            "postgresql://h/a%2Fb?sslmode=verify-full&user=a%20b",
            id="a parameter",
        ),
    ],
)
def test_a_url_leads_to_another_database(url: str, moved: str) -> None:
    assert of_database("a/b", "DIRECT_URL", url).environment == {"DIRECT_URL": moved}


def test_without_a_url_libpqs_variable_does() -> None:
    assert of_database("a", "PGHOST", None).environment == {"PGDATABASE": "a"}


def test_a_process_is_given_its_own_place_and_no_other() -> None:
    shared = {
        **{"PATH": "/bin", "LOCK_TIMEOUT": "1s", "MIGRATOR_LOG_LEVEL": "debug"},
        **{"DATABASE_URL": "postgres://other", "MIGRATOR_DIRECT_URL": "postgres://other"},
        **{"DATABASE_URL_FILE": "/url", "TERMINATION_LOG": "/dev/termination-log"},
    }
    always = {"LOG_FORMAT": "json", "LOG_LEVEL": "error", "TERMINATION_LOG": "/dev/null"}
    kept = {"PATH": "/bin", "LOCK_TIMEOUT": "1s", **always}
    assert environment_of(A, shared) == {**kept, "DATABASE_URL": URL}
    assert environment_of(of_schema("t"), shared) == {
        **kept,
        **{"DATABASE_URL": "postgres://other", "MIGRATOR_DIRECT_URL": "postgres://other"},
        **{"MIGRATIONS_SCHEMA": "t", "SEARCH_PATH": "t"},
    }


def result(**more: Any) -> str:
    plain = {"exit_code": 0, "outcome": "1 applied", "current": "002_b", "pending": []}
    row = {"applied": [{"version": "002_b"}], "error": None, "duration_ms": 7}
    return json.dumps({**plain, **row, **more})


@pytest.mark.parametrize(
    ("code", "text", "outcome"),
    [
        pytest.param(
            0,
            f"a warning\n{result()}\n",
            Outcome("a", 0, "1 applied", "002_b", ("002_b",), duration_ms=7),
            id="done",
        ),
        pytest.param(
            15,
            result(exit_code=15, error={"message": "m", "remedy": "R."}),
            Outcome("a", 15, "1 applied", "002_b", ("002_b",), (), "m", "R.", 7),
            id="failed",
        ),
        pytest.param(
            0,
            result(outcome="`up` would end with 11", verdict="V."),
            Outcome("a", 0, "`up` would end with 11", "002_b", ("002_b",), (), None, None, 7, "V."),
            id="would fail",
        ),
    ],
)
def test_the_result_is_the_last_line(code: int, text: str, outcome: Outcome) -> None:
    assert read_outcome(A, code, text) == outcome


@pytest.mark.parametrize(
    ("code", "text", "exit_code", "error"),
    [
        pytest.param(-9, "", 23, "its process ended with -9 and without a result", id="killed"),
        pytest.param(137, "[]", 23, "[]", id="killed by its shell"),
        pytest.param(1, f"no module at {URL}", 1, "no module at …", id="broken"),
        pytest.param(0, "0", 1, "0", id="no result, and no code"),
        pytest.param(99, "null", 1, "null", id="another's code"),
    ],
)
def test_without_a_result(code: int, text: str, exit_code: int, error: str) -> None:
    outcome = read_outcome(A, code, text)
    assert (outcome.exit_code, outcome.error) == (exit_code, error)
    assert outcome.outcome.startswith("unknown")
    assert ("--jobs" in str(outcome.remedy)) == (exit_code == 23)


def test_a_process_that_cannot_be_started_is_a_setting_to_correct(tmp_path: Path) -> None:
    def refuse(*_: object) -> int:
        raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))

    (tmp_path / "targets").write_text(f"a={URL}\n")
    nothing = SimpleNamespace(check=lambda: None)
    run: Any = SimpleNamespace(
        environment=dict, start=refuse, link=SimpleNamespace(watch=nothing), shown={}
    )
    sources = {"targets": str(tmp_path / "targets"), "databases": None, "schemas": None}
    pace = {"jobs": "64", "canary": None, "stop_after": None}
    with pytest.raises(ConfigError) as caught:
        fleet(run, "up", **sources, **pace, markdown=False)
    assert "no more than 0 processes" in caught.value.message
    assert caught.value.details["outcome"] == "0 of 1 done by `up`, 1 left for the next run"


def test_the_worst_is_what_must_be_fixed_first() -> None:
    assert worst([DONE, LOCKED, FAILED]) == 15
    assert worst([DONE, LOCKED]) == 21
    assert worst([DONE]) == worst([]) == 0


def test_a_summary_says_how_many_are_where() -> None:
    drifted = Outcome("e", 0, "", None, verdict="`up` would end with 11: changed.")
    found = summary([DONE, BEHIND, FAILED, LOCKED, drifted], ["a", "b", "c", "d", "e", "f"])
    assert {k: v for k, v in found.items() if k != "outcomes"} == {
        **{"members": 6, "done": 3, "failed": 2, "left": 1, "behind": 1, "not_run": ["f"]},
        "versions": [
            {"version": None, "members": 1},
            {"version": "001_a", "members": 2},
            {"version": "002_b", "members": 1},
        ],
    }
    said = "2 of 6 failed, 3 of 6 done by `up`, 1 behind, 1 left for the next run"
    assert fleet_in_words(found, "up") == said
    assert fleet_in_words(summary([DONE], ["a"]), "up") == "1 of 1 done by `up`"
    assert fleet_as_markdown(found) == PAGE


PAGE = """\
# Migrations of the fleet

- members: 6
- done: 3
- failed: 2
- behind: 1
- left: 1

## Versions

| version | members |
| --- | --- |
|  | 1 |
| `001_a` | 2 |
| `002_b` | 1 |

## Failed

| member | version | code | outcome | why | what to do |
| --- | --- | --- | --- | --- | --- |
| `c` | `001_a` | 15 | rolled back | no table | Fix it. |
| `d` |  | 21 | nothing was changed | held |  |

## Would fail

| member | version | why |
| --- | --- | --- |
| `e` |  | `up` would end with 11: changed. |

## Behind

| member | version | pending | first of them |
| --- | --- | --- | --- |
| `b` | `001_a` | 1 | `002_b` |

## Not run

| member |
| --- |
| `f` |
"""


def test_a_failure_is_said_with_its_code_and_remedy() -> None:
    word, text = phrase("member.finished", "error", FAILED.as_dict(), Screen())
    assert (word, text) == ("member", "c failed (15): no table; rolled back. Fix it.")
