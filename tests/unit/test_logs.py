"""Events as lines, for a machine and for a person; and what is taken out of both."""

from __future__ import annotations

import io
import json
import re
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from migrator.cli.cells import Screen
from migrator.cli.logs import make_tell
from migrator.cli.terminal import source
from migrator.config import LogFormat, LogLevel
from migrator.errors import DriftError
from migrator.masking import Hider
from migrator.model import Event


class Terminal(io.StringIO):
    """A stream that a person looks at."""

    def isatty(self) -> bool:
        return True


def told(
    *events: Event,
    stream: io.StringIO | None = None,
    log_format: LogFormat = LogFormat.AUTO,
    level: LogLevel = LogLevel.DEBUG,
    hide: Hider | None = None,
    screen: Screen | None = None,
) -> str:
    stream = stream or io.StringIO()
    screen = screen or Screen(moving=stream.isatty())
    tell = make_tell(
        stream, log_format, level, {"run_id": "run-1"}, hide or Hider(), lambda: screen
    )
    for event in events:
        tell(event)
    return stream.getvalue()


def test_a_line_is_one_json_object() -> None:
    fields = {"version": "001_a", "execution_time_ms": 5, "none": None, "list": ["é", "a\nb"]}
    text = told(Event("migration.applied", "warning", fields))
    assert text.count("\n") == 1
    line = json.loads(text)
    written = datetime.fromisoformat(line.pop("timestamp"))
    assert written.utcoffset() == timedelta(0)
    assert abs(datetime.now(UTC) - written) < timedelta(minutes=1)
    assert line == {
        "level": "warning",
        "event": "migration.applied",
        "run_id": "run-1",
        "version": "001_a",
        "execution_time_ms": 5,
        "none": None,
        "list": ["é", "a\nb"],
    }


@pytest.mark.parametrize(
    ("log_format", "stream", "is_json"),
    [
        pytest.param(LogFormat.AUTO, io.StringIO, True, id="by itself, into a file"),
        pytest.param(LogFormat.AUTO, Terminal, False, id="by itself, on a terminal"),
        pytest.param(LogFormat.JSON, Terminal, True, id="JSON on a terminal"),
        pytest.param(LogFormat.TEXT, io.StringIO, False, id="text into a file"),
    ],
)
def test_the_format_follows_the_reader(
    log_format: LogFormat, stream: type[io.StringIO], is_json: bool
) -> None:
    text = told(Event("run.started"), stream=stream(), log_format=log_format)
    assert text.startswith("{") == is_json


@pytest.mark.parametrize(
    ("level", "events"),
    [
        pytest.param(LogLevel.DEBUG, ["debug", "info", "warning", "error"], id="debug"),
        pytest.param(LogLevel.INFO, ["info", "warning", "error"], id="info"),
        pytest.param(LogLevel.WARNING, ["warning", "error"], id="warning"),
        pytest.param(LogLevel.ERROR, ["error"], id="error"),
    ],
)
def test_a_level_keeps_the_lesser_ones_out(level: LogLevel, events: list[str]) -> None:
    text = told(*(Event(f"x.{word.value}", word.value) for word in LogLevel), level=level)
    assert [json.loads(line)["level"] for line in text.splitlines()] == events


def in_text(*events: Event, screen: Screen | None = None, stream: io.StringIO | None = None) -> str:
    """The text without the times of its lines, and without the zone that the first one names."""
    text = told(*events, stream=stream, log_format=LogFormat.TEXT, screen=screen)
    lines = (line[10:] if line[2:3] == ":" else line for line in text.split("\n"))
    return re.sub(r"\s+\(times: \S+\)", "", "\n".join(lines))


@pytest.mark.parametrize(
    ("event", "line"),
    [
        pytest.param(
            Event("run.finished", "info", {"command": "up", "outcome": "2", "duration_ms": 7}),
            "done: up, 2, in 7 ms\n",
            id="the end",
        ),
        pytest.param(
            Event("migration.failed", "error", {"version": "001_a", "message": "m", "line": 3}),
            "",
            id="a failure, of which the end says all",
        ),
        pytest.param(
            Event("run.stopped", "warning", {"stopped_by": "SIGTERM"}),
            "",
            id="a stop, of which the end says all",
        ),
        pytest.param(
            Event("run.finished", "error", {"outcome": "it is", "error": {"stopped_by": "no"}}),
            "stopped: it is\n",
            id="a no at the question",
        ),
        pytest.param(
            Event("migration.applied", "info", {"version": "v", "execution_time_ms": 5}),
            "applied    v in 5 ms\n",
            id="a word and a phrase",
        ),
    ],
)
def test_a_line_of_text(event: Event, line: str) -> None:
    assert in_text(event) == line


def test_the_first_line_names_the_zone_and_no_other_does(monkeypatch: pytest.MonkeyPatch) -> None:
    event = Event("migration.applied", "info", {"version": "v", "execution_time_ms": 5})
    try:
        for zone, name in (("CET-1", "CET"), ("<-03>3", "UTC-03:00")):
            monkeypatch.setenv("TZ", zone)
            time.tzset()
            first, second = told(event, event, log_format=LogFormat.TEXT).splitlines()
            assert re.fullmatch(rf"\d\d:\d\d:\d\d  applied    v in 5 ms \(times: {name}\)", first)
            assert re.fullmatch(r"\d\d:\d\d:\d\d  applied    v in 5 ms", second)
    finally:
        monkeypatch.undo()
        time.tzset()


def test_a_long_line_is_folded_below_its_phrase_and_on_a_narrow_screen_at_the_left() -> None:
    notice = Event("migration.notice", "warning", {"version": "v", "notice": "word " * 20 + "end"})
    wide = in_text(notice).splitlines()
    assert wide[0].startswith("warning    v: word word")
    assert {line[:21] for line in wide[1:]} == {" " * 21}
    assert max(map(len, wide[1:])) <= 80
    narrow = in_text(notice, screen=Screen(columns=40)).splitlines()
    assert {line[:3] for line in narrow[1:]} <= {"  w", "  e"}
    assert max(map(len, narrow[1:])) <= 40


def test_a_word_has_a_colour_where_the_screen_has_any() -> None:
    done = Event("migration.applied", "info", {"version": "v"})
    warned = Event("plan.warning", "warning", {"file": "f", "problem": "p", "remedy": "R."})
    end = Event("run.finished", "info", {"command": "up", "outcome": "2", "duration_ms": 7})
    failed = Event("run.finished", "error", RESULT)
    text = told(done, warned, end, failed, log_format=LogFormat.TEXT, screen=Screen(colour=True))
    assert "  \x1b[32mapplied\x1b[0m    v" in text
    assert "  \x1b[33mwarning\x1b[0m    f: p. R." in text
    assert "\n\x1b[32mdone\x1b[0m: up, 2" in text
    assert "\n\x1b[31mFAILED\x1b[0m (StatementError" in text
    tiny = told(done, log_format=LogFormat.TEXT, screen=Screen(columns=12, colour=True))
    assert tiny[10:].startswith("\x1b[32mapplied\x1b[0m    v\n  (times")


RESULT: dict[str, Any] = {
    "exit_code": 15,
    "outcome": "001_a was rolled back",
    "findings": [
        {"file": "001_a.sql", "line": 3, "problem": "is odd", "remedy": "Fix it."},
        {"file": "002_b", "line": None, "problem": "is gone", "remedy": "Find it."},
    ],
    "error": {
        "type": "StatementError",
        "message": "001_a.sql:3:8: ERROR 42703: no column\nof this name",
        "source_line": "SELECT nope",
        "caret": "       ^",
        "hint": "Perhaps another.",
        "detail": None,
        "holder": {"pid": 7},
        "remedy": "Fix the file.",
        "traceback": "Traceback: …",
    },
}


def test_a_failure_is_said_whole_in_text() -> None:
    event = Event("run.finished", "error", {**RESULT, "findings_count": 5})
    assert in_text(event, screen=Screen(folder="m/")) == (
        "\nFAILED (StatementError, exit code 15)\n"
        "m/001_a.sql:3:8: ERROR 42703: no column\n"
        "  | of this name\n"
        "    SELECT nope\n"
        "           ^\n"
        "  - m/001_a.sql:3: is odd. Fix it.\n"
        "  - 002_b: is gone. Find it.\n"
        "  - … 3 more\n"
        "  hint: Perhaps another.\n"
        "  holder: an unnamed application (pid 7)\n"
        "  database: 001_a was rolled back\n"
        "  what to do: Fix the file.\n"
        "Traceback: …\n"
    )


def test_what_check_has_found_is_in_its_answer_and_not_repeated_at_the_end() -> None:
    error = {"type": "PolicyError", "message": "would harm tables in use: 001_a.sql"}
    result = {**RESULT, "error": {**error, "remedy": "Change it."}, "findings_count": 5}
    for command, times in (("check", 0), ("up", 1)):
        text = in_text(Event("run.finished", "error", {**result, "command": command}))
        assert (text.count("is odd. Fix it."), text.count("3 more")) == (times, times)


def test_of_drift_each_finding_has_its_remedy_and_the_end_says_so() -> None:
    error = {**RESULT["error"], "remedy": DriftError.remedy}
    text = in_text(Event("run.finished", "error", {**RESULT, "error": error}))
    assert "  what to do: For each file what is said of it.\n" in text


def test_a_failure_without_a_place_is_said_in_text() -> None:
    error = {"type": "LockedError", "message": "held: a.sql", "remedy": "Wait."}
    result = {"exit_code": 21, "outcome": "nothing was changed", "error": error}
    assert in_text(Event("run.finished", "error", result), screen=Screen(folder="m")) == (
        "\nFAILED (LockedError, exit code 21)\nheld: a.sql\n"
        "  database: nothing was changed\n  what to do: Wait.\n"
    )


@pytest.mark.parametrize(
    ("line", "at", "width", "shown"),
    [
        pytest.param("SELECT nope", 7, 40, ("SELECT nope", "       ^"), id="a short line"),
        pytest.param("\tSELECT x", 8, 40, ("    SELECT x", "           ^"), id="tabs as blanks"),
        pytest.param("'日本' x", 5, 40, ("'日本' x", "       ^"), id="wide characters"),
        pytest.param(
            "a" * 50 + "b" * 50, 50, 30, ("a" * 20 + "b" * 10, " " * 20 + "^"), id="what is near"
        ),
    ],
)
def test_a_line_of_a_file_fits_the_screen(
    line: str, at: int, width: int, shown: tuple[str, str]
) -> None:
    assert source(line, at, width) == tuple(f"    {text}" for text in shown)


STARTED = Event("migration.started", "info", {"version": "001_a", "step": 1, "steps": 2})
APPLIED = Event("migration.applied", "info", {"version": "001_a"})
NOTICE = Event("migration.notice", "debug", {"version": "001_a", "notice": "hello"})
ERASE = "\r\x1b[K"


def test_what_is_under_way_is_on_a_line_that_its_end_replaces() -> None:
    text = told(STARTED, APPLIED, stream=Terminal())
    running, erased, rest = text.removeprefix(ERASE).partition(ERASE)
    assert (running[10:], bool(erased)) == ("running    001_a, 1 of 2, …", True)
    assert re.fullmatch(r"applied    001_a \(times: \S+\)\n", rest[10:])
    assert in_text(STARTED, APPLIED) == "started    001_a, 1 of 2\napplied    001_a\n"


def test_what_comes_meanwhile_is_above_the_running_line_and_below_the_start() -> None:
    text = told(STARTED, NOTICE, NOTICE, APPLIED, stream=Terminal())
    shown = [[line[10:] for line in part.split("\n")] for part in text.split(ERASE)[1:]]
    running = "running    001_a, 1 of 2, …"
    assert shown[0] == [running]
    assert shown[1][0].startswith("started    001_a, 1 of 2 (times: ")
    assert shown[1][1:] == ["notice     001_a: hello", ""]
    assert shown[2:] == [[running], [shown[1][1], ""], [running], ["applied    001_a", ""]]


@pytest.mark.parametrize("log_format", [LogFormat.JSON, LogFormat.TEXT])
def test_no_event_shows_a_secret(log_format: LogFormat) -> None:
    event = Event("x.y", "error", {"error": "for s3cret", "findings": [{"file": "s3cret"}]})
    text = told(event, log_format=log_format, hide=Hider(["s3cret"]))
    assert "***" in text
    assert "s3cret" not in text


def test_what_is_loaded_when_it_is_used_is_loaded_under_the_lock_of_imports() -> None:
    """A thread that met the other's half of `dataclasses` ended a stopped run with 1."""
    script = (
        "import sys, migrator.cli.json_lines\n"
        "from pythonjsonlogger import defaults\n"
        "kind = type(sys.modules.get('dataclasses', sys))\n"
        "print(kind.__name__, defaults.use_dataclass_default(3))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout == "module False\n"
