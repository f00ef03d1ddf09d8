"""The job as a further process: forked or started, it is one of its own."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

import pytest

from migrator.cli.help import help_page
from migrator.cli.main import main
from migrator.cli.process import start_process

PATH = {"PATH": os.environ["PATH"]}


@contextmanager
def several_threads() -> Iterator[None]:
    """With a second thread a fork is not safe."""
    over = threading.Event()
    thread = threading.Thread(target=over.wait)
    thread.start()
    yield
    over.set()
    thread.join()


@contextmanager
def one_thread() -> Iterator[None]:
    yield


BOTH = pytest.mark.parametrize("way", [one_thread, several_threads])


def outcome(
    run: Callable[..., int], words: Sequence[str], environment: Mapping[str, str], *stop: int
) -> tuple[int, str]:
    place, end = os.pipe()
    pid = start_process(run, words, environment, end)
    os.close(end)
    for number in stop:
        os.kill(pid, number)
    with open(place) as said:  # noqa: PTH123 - a pipe
        text = said.read()
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), text


@BOTH
def test_it_does_what_the_command_line_does(way: Callable[[], object]) -> None:
    with way():  # type: ignore[attr-defined]
        code, text = outcome(main, ["up", "--help"], PATH)
    assert (code, text) == (0, help_page("up"))


@BOTH
def test_a_stop_is_heard_however_early_it_comes(way: Callable[[], object], tmp_path: Path) -> None:
    (tmp_path / "001_a.sql").write_text("SELECT 1")
    settings = {"DATABASE_URL": "postgresql://u@192.0.2.1/d", "MIGRATIONS_DIR": str(tmp_path)}
    quiet = {"LOG_FORMAT": "json", "LOG_LEVEL": "error", "TERMINATION_LOG": os.devnull}
    with way():  # type: ignore[attr-defined]
        code, text = outcome(main, ["up", "--json"], {**PATH, **settings, **quiet}, signal.SIGTERM)
    assert code == 23, text
    assert json.loads(text.splitlines()[-1])["error"]["stopped_by"] == "SIGTERM"


def told(words: Sequence[str], environment: Mapping[str, str], out: TextIO, _err: TextIO) -> int:
    files = [int(name) for name in os.listdir("/proc/self/fd")]  # noqa: PTH208
    facts = {
        "environment": dict(os.environ),
        "files": sorted(files)[:3],
        "more": [n for n in files if n > 2 and Path(f"/proc/self/fd/{n}").exists()],
        "stdin": os.read(0, 1).decode(),
        "kept": signal.SIGTERM in signal.pthread_sigmask(signal.SIG_BLOCK, []),
        "heard": signal.getsignal(signal.SIGTERM) == signal.SIG_DFL,
    }
    out.write(json.dumps(facts))
    return 15


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere it is started")
def test_it_has_nothing_of_the_process_that_forked_it() -> None:
    given = {**PATH, "DATABASE_URL": "postgresql://of/one"}
    with Path("/dev/null").open() as open_here:
        assert open_here.fileno() > 2
        code, text = outcome(told, ["up"], given)
    facts = json.loads(text)
    assert code == 15
    assert facts["environment"] == given
    assert facts["files"] == [0, 1, 2]
    assert (facts["more"], facts["stdin"]) == ([], "")
    assert facts["kept"]
    assert facts["heard"]


def test_what_fails_in_it_is_said() -> None:
    def fails(*_: object) -> int:
        raise RuntimeError("of the process")

    code, text = outcome(fails, ["up"], PATH)
    assert code == 1
    assert "RuntimeError: of the process" in text
