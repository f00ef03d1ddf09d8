"""`migrator.apply`: the job in a process of its own, for a caller that is a Python program.

Why a process: the job waits by psycopg2's wait callback, of which a process has one. While it is
set, COPY and large objects of every other connection are refused, and connections that are in use
when it is set or taken away get lost [M: psycopg2 2.9.13]. The job also has signal handlers, an
alarm and forks. None of that may happen in the caller's process.
What it relies on: the command line's own contract: events as JSON lines on stderr, the result as
JSON on stdout, SIGTERM as a stop.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from enum import Enum
from typing import Any

import migrator.errors
from migrator.config import SETTINGS
from migrator.errors import ConfigError, MigratorError
from migrator.masking import Hider
from migrator.model import Event, Finding
from migrator.report import Done, Report

#: What a setting of the command line has no meaning for here.
NOT_HERE = ("LOG_FORMAT", "TERMINATION_LOG", "MIGRATIONS_DIR")
#: How much of what is no event is kept, for a process that ends without a result.
KEPT_LINES = 50


def apply_in_child(
    url: str,
    folder: str,
    on_event: Callable[[Event], object] | None,
    settings: Mapping[str, object],
) -> Report:
    """Run `up` in a child process; its report, or its error."""
    given = _as_text(settings)
    if not url:
        raise ConfigError("no database is named", remedy="Give the URL as the first argument.")
    if not sys.executable:
        raise ConfigError(
            "sys.executable is empty, and the job runs in a Python process of its own",
            remedy="Set sys.executable, or run `migrator up` as a command.",
        )
    environment = {
        **_environment(os.environ),
        **{"LOG_LEVEL": "error" if on_event is None else "info"},
        **given,
        **{"DATABASE_URL": url, "MIGRATIONS_DIR": folder, "LOG_FORMAT": "json"},
        **{"TERMINATION_LOG": os.devnull},
    }
    command = [sys.executable, "-P", "-m", "migrator", "up", "--json"]
    with tempfile.TemporaryFile() as answer:
        code, others = _run(command, environment, answer.fileno(), on_event or _ignore)
        answer.seek(0)
        text = answer.read().decode(errors="replace")
    said = "".join(others).replace(url, "DATABASE_URL")  # the interpreter knows of no secret
    try:
        result = json.loads(text)
    except ValueError:
        raise MigratorError(
            Hider().text(
                f"the job's process ended with {code} and without a result: {said}".strip()
            ),
            remedy="Run `migrator status` with this URL to see what is applied.",
            outcome="unknown",
        ) from None
    report = _as_report(result)
    if result["error"] is not None:
        raise _as_error(result["error"], report)
    return report


def _run(
    command: list[str],
    environment: dict[str, str],
    answer: int,
    on_event: Callable[[Event], object],
) -> tuple[int, list[str]]:
    """The exit code, and what the process wrote that is no event.

    What is raised here meanwhile (KeyboardInterrupt, an error of `on_event`) stops the job first:
    it cancels its statement, rolls back and ends within seconds.
    """
    others: list[str] = []
    with subprocess.Popen(  # noqa: S603 - this interpreter, with this package
        command,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=answer,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        errors="replace",
    ) as process:
        try:
            for line in process.stderr or ():
                event = _as_event(line)
                if event is None:
                    others = [*others, line][-KEPT_LINES:]
                else:
                    on_event(event)
        except BaseException:
            process.terminate()
            process.wait()
            raise
    return process.returncode, others


def _environment(environment: Mapping[str, str]) -> dict[str, str]:
    """What the job's process is given of the caller's: no setting, and the caller's packages."""
    ours = {setting.name for setting in SETTINGS}
    kept = {
        name: value
        for name, value in environment.items()
        if name not in ours
        and name != "PGOPTIONS"
        and not name.endswith(("DATABASE_URL", "DATABASE_URL_FILE", "DIRECT_URL"))
        and not name.startswith(("MIGRATOR_", "PYTHON"))
    }
    kept["PYTHONPATH"] = os.pathsep.join(place or os.getcwd() for place in sys.path)  # noqa: PTH109
    kept["PYTHONUTF8"] = "1"
    if "PYTHONHOME" in environment:
        kept["PYTHONHOME"] = environment["PYTHONHOME"]
    return kept


def _as_text(settings: Mapping[str, object]) -> dict[str, str]:
    """Settings by their names in lower case, as the environment would have them."""
    known = {s.name.lower(): s.name for s in SETTINGS if s.name not in NOT_HERE}
    unknown = [name for name in settings if name not in known]
    if unknown:
        raise ConfigError(
            f"unknown settings: {', '.join(unknown)}", remedy=f"There are: {', '.join(known)}."
        )
    return {known[name]: _word(value) for name, value in settings.items() if value is not None}


def _word(value: object) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, Enum):
        return str(value.value)
    if isinstance(value, list | tuple):
        return ",".join(map(str, value))
    return str(value)


def _as_event(line: str) -> Event | None:
    try:
        fields = json.loads(line)
        return Event(fields.pop("event"), fields.pop("level"), fields)
    except (ValueError, AttributeError, KeyError, TypeError):
        return None  # a warning of the interpreter, or its last words


def _ignore(_event: Event) -> None:
    """No caller listens."""


def _as_report(result: Mapping[str, Any]) -> Report:
    def done(name: str) -> tuple[Done, ...]:
        return tuple(Done(row["version"], row["execution_time_ms"]) for row in result[name])

    return Report(
        command=result["command"],
        run_id=result["run_id"],
        exit_code=result["exit_code"],
        outcome=result["outcome"],
        target=result["target"],
        applied=done("applied"),
        rolled_back=done("rolled_back"),
        pending=tuple(result["pending"]),
        current=result["current"],
        findings=tuple(Finding(**finding) for finding in result["findings"]),
        error=result["error"],
        duration_ms=result["duration_ms"],
    )


def _as_error(error: Mapping[str, Any], report: Report) -> MigratorError:
    """The error of the job's process, as its own class; a bug of ours is a MigratorError."""
    details = {name: value for name, value in error.items() if name not in _NAMED}
    kind = getattr(migrator.errors, error["type"], None)
    if not (isinstance(kind, type) and issubclass(kind, MigratorError)):
        kind = MigratorError
    made = kind(error["message"], remedy=error["remedy"], findings=report.findings, **details)
    made.report = report
    return made


_NAMED = {"type", "message", "remedy", "findings"}
