"""Words -> command; error -> exit code. Alone reads the environment and writes the results."""

from __future__ import annotations

import contextlib
import gc
import os
import select
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any, NoReturn, TextIO

from migrator import __version__
from migrator.apply.run import Run
from migrator.cli.doors import alone, batched, in_parallel, preflight
from migrator.cli.logs import make_tell
from migrator.cli.result import report_of, tell_end, write_termination_log
from migrator.cli.small_files import read_small, read_url_file, write_page
from migrator.cli.words import Words, early_colour, early_format, read_words
from migrator.commands.table import COMMANDS, function_of
from migrator.config import Config, LogFormat, LogLevel, read_config, with_mounted
from migrator.database.database import Link
from migrator.display import as_json
from migrator.errors import (
    AccessError,
    ConfigError,
    MigratorError,
    StoppedError,
    UnreachableError,
)
from migrator.masking import Hider
from migrator.model import Event, Tell
from migrator.postgres.cancel import STOPS
from migrator.postgres.session import LostError, ServerError
from migrator.postgres.stop import Watch
from migrator.postgres.url import Target

if TYPE_CHECKING:
    from migrator.cli.cells import Screen
    from migrator.telemetry.trace import Trace

TERMINATION_LOG = "/dev/termination-log"
ANSWER_LOOK_SECONDS = 0.2  #: how often a wait for an answer looks whether the run was stopped


def main(
    argv: Sequence[str] | None = None,
    environment: Mapping[str, str] | None = None,
    stdout: TextIO | None = None,
    stderr: TextIO | None = None,
) -> int:
    """Run one command; its exit code is the answer to what started the job."""
    environment = os.environ if environment is None else environment
    argv = sys.argv[1:] if argv is None else argv
    job = _Job(environment, stdout or _open(sys.stdout), stderr or _open(sys.stderr))
    error: Exception | None = None
    with _signals(job):
        try:
            run = job.start(list(argv))
            if run is None:
                return 0
            job.work(run)
        except MigratorError as caught:
            error = caught
        except LostError as caught:
            error = UnreachableError(f"the connection was lost: {caught}")
        except ServerError as caught:
            error = AccessError(f"the server refused what the job itself needs: {caught}")
        except Exception as caught:
            error = caught
        finally:
            job.close()
        return job.finish(error)


def read_settings(
    environment: Mapping[str, str],
    env_file: str | None,
    flags: Mapping[str, str],
    check: Callable[[], None] = lambda: None,
) -> Config:
    """The settings of the environment, of the .env file and of what DATABASE_URL_FILE names.

    `check` is called while a FIFO is waited for, and may raise.
    """
    values = _with_env_file(environment, env_file)
    if path := _url_file(values):
        _check_one_url(values)
        values = {**values, "DATABASE_URL": read_url_file(path, check)}
    config = read_config(values, flags)
    if config.placeholders_dir is None:
        return config
    from migrator.cli.small_files import read_mounted  # for those who have such a folder

    return with_mounted(config, read_mounted(config.placeholders_dir, "PLACEHOLDERS_DIR", check))


def program() -> NoReturn:
    """`main` as a process, to its end.

    A reader of stdout or stderr that has gone changes no exit code. The interpreter is left
    without taking it apart, which would cost a no-op run a tenth of its CPU and wait for nobody:
    every line has been flushed.
    """
    gc.freeze()
    gc.enable()
    code = main()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, AttributeError):
            stream.flush()
    os._exit(code)


def _open(stream: TextIO | None) -> TextIO:
    """The stream, or nowhere when the process was started without it."""
    return stream or open(os.devnull, "w")  # noqa: PTH123 - it lasts as long as the process


class _Job:
    """One command from its words to its exit code, and where its output goes."""

    def __init__(self, environment: Mapping[str, str], stdout: TextIO, stderr: TextIO) -> None:
        self.started_at, self.started = datetime.now(UTC), time.monotonic()
        self.run_id = _uuid()
        self.environment, self.stdout, self.stderr = environment, stdout, stderr
        self.hide = Hider()
        self.trace = _trace(environment, self.run_id)
        if self.trace:
            self.hide.secrets += self.trace.secrets
        self.tell: Tell | None = None  #: made when the settings are known, or at the end
        self.termination_log = (
            environment.get("MIGRATOR_TERMINATION_LOG")
            or environment.get("TERMINATION_LOG")
            or TERMINATION_LOG
        )
        self.argv: Sequence[str] = ()
        self.folder = ""  #: of the migrations, once it is known
        self.words = Words()
        self.run: Run | None = None
        self.stopped_by: str | None = None
        self.answer: dict[str, Any] = {}

    @property
    def command(self) -> str:
        return self.words.command

    def start(self, argv: list[str]) -> Run | None:
        """Read words and settings; None when only help or the version was asked for."""
        self.argv = argv
        self.words = read_words(argv)
        if self.words.version:
            self._print(f"migrator {__version__}\n")
            return None
        if self.words.page is not None:
            from migrator.cli.help import help_page

            self._print(help_page(self.words.page))
            return None
        config = self._settings()
        self.termination_log, self.folder = config.termination_log, config.migrations_dir
        self.hide.secrets += config.secrets
        self.hide.values += config.placeholders.secrets
        tell = self.tell = self._make_tell(config.log_format, config.log_level)
        _check_target(self.command, self.words.options, config)
        watch = Watch(config.deadline / 1000 if config.deadline else None)
        link = Link(config, self.run_id, _runner(self.environment), watch, tell)
        link.targets_again = self._targets_again
        link.traceparent = self.trace.context.traceparent if self.trace else None
        self.run = Run(
            *(config, link, self.started_at, alone, batched, self.ask, preflight),
            *(self._environment, _start),
            parallel=in_parallel,
        )
        if self.stopped_by:
            watch.stop(self.stopped_by)
        _announce(self.command, config, tell)
        return self.run

    def _settings(self) -> Config:
        words = self.words
        return read_settings(self.environment, words.env_file, words.settings, self._check_stopped)

    def _environment(self) -> dict[str, str]:
        """What a process of the same job is given, flags and .env file included."""
        values = dict(_with_env_file(self.environment, self.words.env_file))
        if path := _url_file(values):
            values["DATABASE_URL"] = read_url_file(path, self._check_stopped)
        for name, value in self.words.settings.items():
            values[name] = values[f"MIGRATOR_{name}"] = value
        return values

    def _targets_again(self) -> tuple[Target, ...]:
        """What DATABASE_URL_FILE says by now: a mounted password may be short-lived."""
        config = self._settings()
        self.hide.secrets += config.secrets
        return config.targets

    def _check_stopped(self) -> None:
        if self.stopped_by:
            raise StoppedError(f"stopped by {self.stopped_by}", stopped_by=self.stopped_by)

    def work(self, run: Run) -> None:
        words = self.words
        self.answer = _drawn(function_of(words.command)(run, *words.words, **words.options))
        if path := words.options.get("html"):
            from migrator.page.page import as_page  # for those who want to look

            write_page(path, as_page(self.hide(self.answer)))
            self.answer = {"html": path}

    def ask(self, question: str, about: dict[str, Any]) -> bool:
        """The answer of the person at a terminal; without a terminal, the words were a yes."""
        if self.run is None or not (_is_terminal(sys.stdin) and _is_terminal(self.stderr)):
            return True
        from migrator.cli.tables import as_text

        shown = as_text(self.command, self.hide(about), {}, self._screen(self.stderr))
        self.stderr.write(f"{shown}{question} [y/N] ")
        self.stderr.flush()
        watch = self.run.link.watch
        with watch.thinking():
            # a signal that comes just before a read that blocks would be noticed after it only
            while not select.select([sys.stdin], [], [], ANSWER_LOOK_SECONDS)[0]:
                watch.check()
            return sys.stdin.readline().strip().lower() in {"y", "yes"}

    def stop(self, reason: str) -> None:
        """A signal came; as PID 1 none would end the process by itself."""
        self.stopped_by = reason
        if self.run is not None:
            self.run.link.watch.stop(reason)

    def close(self) -> None:
        if self.run is not None:
            self.run.link.close()
            self.run.link.watch.close()

    def finish(self, error: Exception | None) -> int:
        """Report the result everywhere; its exit code."""
        duration_ms = round((time.monotonic() - self.started) * 1000)
        report = report_of(self.command, self.run_id, self.run, error, duration_ms)
        result = self.hide(report.as_dict())
        tell = self.tell or self._make_tell(
            early_format(self.argv, self.environment), LogLevel.INFO
        )
        tell_end(tell, error, result)
        write_termination_log(self.termination_log, result, tell)
        answer = self.hide(self.answer or _drawn(self.run.shown if self.run else {}))
        if answer and self.words.options.get("markdown"):  # of what is hidden: a page cuts
            from migrator.cli.markdown import as_markdown, fleet_as_markdown

            page = fleet_as_markdown if self.command == "fleet" else as_markdown
            answer["markdown"] = page(answer)
        if "--json" in self.argv:
            self._print(as_json({**result, **answer}) + "\n")
        elif answer:
            from migrator.cli.tables import as_text

            self._print(as_text(self.command, answer, result, self._screen(self.stdout)))
        if self.trace and (failed := self.trace.send(lambda: self.stopped_by)):
            tell(failed)
        return report.exit_code

    def _make_tell(self, log_format: LogFormat, level: LogLevel) -> Tell:
        screen = partial(self._screen, self.stderr)
        ids = {"run_id": self.run_id}
        if self.trace:
            ids["trace_id"] = self.trace.context.trace_id
        tell = make_tell(self.stderr, log_format, level, ids, self.hide, screen)
        return self.trace.listening(tell) if self.trace else tell

    def _screen(self, stream: TextIO) -> Screen:
        from migrator.cli.screens import screen_of  # for text alone

        return screen_of(stream, self.environment, early_colour(self.argv), self.folder)

    def _print(self, text: str) -> None:
        """A reader who has gone or a full disk changes no result."""
        with contextlib.suppress(OSError):
            self.stdout.write(text)
            self.stdout.flush()


def _drawn(answer: dict[str, Any]) -> dict[str, Any]:
    """The answer of a command, its graph as Mermaid."""
    if "graph" not in answer:
        return answer
    from migrator.cli.graph import mermaid

    return {**answer, "graph": mermaid(answer["graph"])}


def _start(words: Sequence[str], environment: Mapping[str, str], output: int) -> int:
    from migrator.cli.process import start_process  # for `fleet`

    return start_process(main, words, environment, output)


def _trace(environment: Mapping[str, str], run_id: str) -> Trace | None:
    """What is to be traced; most runs are not, and read nothing of it."""
    if not any(name == "TRACEPARENT" or name.startswith("OTEL_") for name in environment):
        return None
    from migrator.telemetry.trace import start_trace

    return start_trace(environment, run_id)


def _is_terminal(stream: TextIO | None) -> bool:
    return stream is not None and not stream.closed and stream.isatty()


def _with_env_file(environment: Mapping[str, str], path: str | None) -> Mapping[str, str]:
    """The environment, and what the .env file at `path` adds to it."""
    if path is None:
        return environment
    from migrator.cli.env_file import beneath, read_env_file  # for a laptop

    return beneath(environment, read_env_file(read_small(path, "--env-file"), path, environment))


def _url_file(environment: Mapping[str, str]) -> str:
    """The path in DATABASE_URL_FILE; empty without one."""
    return environment.get("MIGRATOR_DATABASE_URL_FILE") or environment.get("DATABASE_URL_FILE", "")


def _check_one_url(environment: Mapping[str, str]) -> None:
    others = ("DATABASE_URL", "SUPABASE_DATABASE_URL", "MIGRATOR_DATABASE_URL")
    if any(environment.get(name) for name in others):
        raise ConfigError(
            "both DATABASE_URL and DATABASE_URL_FILE are set", remedy="Set one of them."
        )


def _check_target(command: str, options: Mapping[str, Any], config: Config) -> None:
    if COMMANDS[command].needs(options) and not config.targets:
        raise ConfigError(
            "no database is named",
            remedy="Set DATABASE_URL to postgresql://USER:PASSWORD@HOST:PORT/DATABASE.",
        )


def _announce(command: str, config: Config, tell: Tell) -> None:
    fields = {"command": command, "migrations_dir": config.migrations_dir, "migrator": __version__}
    tell(Event("run.started", "info", fields))
    shadow = () if config.shadow is None else (config.shadow,)
    for target in (*config.targets, *shadow):
        if target.dropped:
            dropped = {"setting": target.name, "parameters": list(target.dropped)}
            tell(Event("url.trimmed", "info", dropped))


@contextlib.contextmanager
def _signals(job: _Job) -> Iterator[None]:
    """Hand the signals that end a run to the job; SIGHUP not where it was ignored (`nohup`)."""

    def hear(number: int, _frame: object) -> None:
        job.stop(signal.Signals(number).name)

    ignored = {signal.SIGHUP} if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN else set()
    before = {number: signal.signal(number, hear) for number in STOPS if number not in ignored}
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPS)  # entrypoint.py keeps them until here
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _runner(environment: Mapping[str, str]) -> str:
    """migrator/<pod or host>, in the 63 bytes that PostgreSQL keeps of it."""
    host = environment.get("HOSTNAME") or socket.gethostname()
    return f"migrator/{host}".encode("ascii", "replace")[:63].decode()


def _uuid() -> str:
    """A random UUID (version 4), without the 4 ms of importing uuid."""
    bits = int.from_bytes(os.urandom(16), "big")
    bits = bits & ~(0xF << 76) | (4 << 76)
    digits = f"{bits & ~(0x3 << 62) | (2 << 62):032x}"
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))
