"""`migrator.apply`, where the process of the job does not end as it should."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

import migrator
from migrator.report import Report

URL = "postgresql://u@h/d"


@pytest.fixture
def python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A script in the place of Python."""
    script = tmp_path / "python"
    monkeypatch.setattr(sys, "executable", str(script))
    return script


def becomes(script: Path, text: str) -> None:
    script.write_text(f"#!/bin/sh\n{text}\n")
    script.chmod(0o755)


def test_without_a_python_there_is_a_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "")
    with pytest.raises(migrator.ConfigError, match=r"sys\.executable is empty") as caught:
        migrator.apply(URL)
    assert "migrator up" in caught.value.remedy


def test_last_words_that_are_no_events_are_in_the_error(python: Path) -> None:
    becomes(python, "echo 'No module named migrator' >&2; echo '[1]' >&2; exit 3")
    with pytest.raises(migrator.MigratorError, match=r"ended with 3 .*No module named") as caught:
        migrator.apply(URL, on_event=print)
    assert caught.value.exit_code == 1


def test_last_words_that_hold_the_url_do_not_show_its_password(python: Path) -> None:
    url = "postgresql://u:s3cret-word@h/d"
    becomes(python, f"echo 'cannot parse {url}' >&2; exit 3")
    with pytest.raises(migrator.MigratorError, match="cannot parse") as caught:
        migrator.apply(url)
    assert "s3cret-word" not in str(caught.value)


def test_a_bug_of_ours_is_the_base_class_with_its_traceback(python: Path) -> None:
    error = {"type": "KeyError", "message": "a bug in migrator: 'x'", "remedy": "Report it."}
    report = Report("up", "id", exit_code=1, error={**error, "traceback": "Traceback …"})
    becomes(python, f"cat <<'END'\n{json.dumps(report.as_dict())}\nEND\nexit 1")
    with pytest.raises(migrator.MigratorError, match="a bug in migrator") as caught:
        migrator.apply(URL)
    assert type(caught.value) is migrator.MigratorError
    assert caught.value.details == {"traceback": "Traceback …"}
    assert caught.value.report == report


def test_the_home_of_a_python_is_handed_on(
    python: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PYTHONHOME", "/somewhere")
    monkeypatch.setenv("PYTHONWARNINGS", "error")
    becomes(python, f"env > {tmp_path}/env")
    with pytest.raises(migrator.MigratorError):
        migrator.apply(URL)
    found = dict(line.split("=", 1) for line in (tmp_path / "env").read_text().splitlines())
    assert found["PYTHONHOME"] == "/somewhere"
    assert "PYTHONWARNINGS" not in found
    assert (found["DATABASE_URL"], found["LOG_LEVEL"]) == (URL, "error")
