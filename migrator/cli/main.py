"""Words -> command; error -> exit code. Alone reads the environment and writes the results."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NoReturn, TextIO

from migrator import __version__
from migrator.apply.database import Link
from migrator.apply.run import Run
from migrator.cli.logs import make_tell
from migrator.commands.table import COMMANDS
from migrator.config import SETTINGS, URLS, Config, LogFormat, LogLevel, read_config
from migrator.display import as_json, visible_text
from migrator.errors import (
    AccessError,
    ConfigError,
    MigratorError,
    StatementError,
    StoppedError,
    UnreachableError,
)
from migrator.masking import Hider
from migrator.model import Event, Tell
from migrator.postgres.session import LostError, ServerError
from migrator.postgres.stop import Watch
from migrator.report import Report, as_text, fit, what_is_undone, what_stands

if TYPE_CHECKING:
    from argparse import ArgumentParser

TERMINATION_LOG = "/dev/termination-log"
TERMINATION_LOG_BYTES = 4096  # what Kubernetes reads of it
ANSWER_LOOK_SECONDS = 0.2  #: how often a wait for an answer looks whether the run was stopped
USAGE = "Give --help to see the commands and the settings."


def main(
    argv: Sequence[str] | None = None,
    environment: Mapping[str, str] | None = None,
    stdout: TextIO | None = None,
    stderr: TextIO | None = None,
) -> int:
    """Run one command; its exit code is the answer to whoever started the job."""
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


def program() -> NoReturn:
    """`main` as a process, to its end.

    A reader of stdout or stderr that has gone changes no exit code. The interpreter is left
    without taking it apart, which would cost a no-op run a tenth of its CPU and wait for nobody:
    every line has been flushed.
    """
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
        self.tell: Tell | None = None  #: made when the settings are known, or at the end
        self.termination_log = (
            environment.get("MIGRATOR_TERMINATION_LOG")
            or environment.get("TERMINATION_LOG")
            or TERMINATION_LOG
        )
        self.words: list[str] = []
        self.options: dict[str, Any] = {}  #: the command's own, by the names of its parameters
        self.as_json = False
        self.run: Run | None = None
        self.stopped_by: str | None = None
        self.answer: dict[str, Any] = {}

    @property
    def command(self) -> str:
        return self.words[0] if self.words else ""

    def start(self, argv: list[str]) -> Run | None:
        """Read words and settings; None when only help or the version was asked for."""
        self.as_json = "--json" in argv
        self.words, self.options, flags = _read_words(argv, self.stdout)
        if not self.words:
            return None
        config = read_config(_with_file(self.environment), flags)
        self.termination_log = config.termination_log
        self.hide.secrets += config.secrets
        tell = self.tell = self._make_tell(config.log_format, config.log_level)
        _check_target(self.command, self.options, config)
        watch = Watch(config.deadline / 1000 if config.deadline else None)
        link = Link(config, self.run_id, _runner(self.environment), watch, tell)
        self.run = Run(config, link, self.started_at, self.ask)
        if self.stopped_by:
            watch.stop(self.stopped_by)
        _announce(self.command, config, tell)
        return self.run

    def work(self, run: Run) -> None:
        command, *words = self.words
        self.answer = COMMANDS[command].do(run, *words, **self.options)

    def ask(self, question: str, about: dict[str, Any]) -> bool:
        """The answer of whoever sits at a terminal; where nobody does, the words were a yes."""
        if self.run is None or not (_is_terminal(sys.stdin) and _is_terminal(self.stderr)):
            return True
        shown = as_text(self.command, self.hide(about), {})
        self.stderr.write(visible_text(f"{shown}{question} [y/N] "))
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
        """Tell the result everywhere; its exit code."""
        duration_ms = round((time.monotonic() - self.started) * 1000)
        report = _report(self.command, self.run_id, self.run, error, duration_ms)
        result = self.hide(report.as_dict())
        tell = self.tell or self._make_tell(LogFormat.AUTO, LogLevel.INFO)
        _tell_end(tell, error, result)
        _write_termination_log(self.termination_log, result, tell)
        answer = self.hide(self.answer or (self.run.shown if self.run else {}))
        if self.as_json:
            self._print(as_json({**result, **answer}) + "\n")
        elif error is None or answer:
            self._print(as_text(self.command, answer, result))
        return report.exit_code

    def _make_tell(self, log_format: LogFormat, level: LogLevel) -> Tell:
        return make_tell(self.stderr, log_format, level, self.run_id, self.hide)

    def _print(self, text: str) -> None:
        """A reader who has gone or a full disk changes no result."""
        with contextlib.suppress(OSError):
            self.stdout.write(visible_text(text))
            self.stdout.flush()


def _is_terminal(stream: TextIO | None) -> bool:
    return stream is not None and not stream.closed and stream.isatty()


def _read_words(
    argv: list[str], stdout: TextIO
) -> tuple[list[str], dict[str, Any], dict[str, str]]:
    """The command and the words that follow it, its options, and the settings given as flags.

    No word at all when only help or the version was asked for.
    """
    if any("://" in word for word in argv):
        raise ConfigError(
            "there is a URL on the command line, where everybody on the machine can read it",
            remedy="Put it into DATABASE_URL.",
        )
    values: dict[str, Any] = {"words": argv}
    if any(word.startswith("-") for word in argv):
        values = _read_flags(argv)
    if values.get("help") or values.get("version"):
        stdout.write(_parser().format_help() if values["help"] else f"migrator {__version__}\n")
        return [], {}, {}
    command, *words = values["words"] or ["up"]
    if command not in COMMANDS:
        raise ConfigError(
            f"there is no such command; there are {', '.join(COMMANDS)}",
            remedy=USAGE,
        )
    wanted = COMMANDS[command].words
    needed = [word for word in wanted if not word.startswith("[")]
    if not len(needed) <= len(words) <= len(wanted):
        raise ConfigError(f"`{command}` takes {' '.join(wanted) or 'no words'}", remedy=USAGE)
    flags = {
        setting.name: values[setting.name]
        for setting in SETTINGS
        if values.get(setting.name) is not None
    }
    return [command, *words], _options(command, values), flags


def _options(command: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """The options of `command`; one of another command is refused."""
    own = {option.name: option for option in COMMANDS[command].options}
    foreign = [name for name in _OPTIONS if name not in own and values.get(f"--{name}")]
    if foreign:
        raise ConfigError(
            f"`{command}` takes no {', '.join(f'--{name}' for name in foreign)}", remedy=USAGE
        )
    absent = {name: None if option.value else False for name, option in own.items()}
    return {option.word: values.get(f"--{name}", absent[name]) for name, option in own.items()}


#: The options of all commands by name; two commands share one only when it means the same.
_OPTIONS = {option.name: option for command in COMMANDS.values() for option in command.options}


def _read_flags(argv: list[str]) -> dict[str, Any]:
    """What argparse makes of `argv`; nothing of it is quoted, as it may hold a URL by mistake."""
    found, unknown = _parser().parse_known_intermixed_args(argv)
    if unknown:
        names = [word.partition("=")[0] for word in unknown if word.startswith("--")]
        raise ConfigError(
            f"unknown flags or words: {' '.join(names) or 'see --help'}", remedy=USAGE
        )
    return vars(found)


def _parser() -> ArgumentParser:
    import argparse  # a run without flags does not need it

    class Parser(argparse.ArgumentParser):
        def error(self, message: str) -> NoReturn:
            del message
            raise ConfigError("the command line cannot be read", remedy=USAGE)

    lines = [f"  {name:<10} {command.help}" for name, command in COMMANDS.items()]
    urls = [f"  {name:<22} {text}" for name, text in URLS.items()]
    parser = Parser(
        prog="migrator",
        description="Applies a folder of SQL to PostgreSQL, once and in order.",
        usage="migrator [COMMAND] [--json] [--SETTING VALUE …]",
        epilog="\n".join(["commands:", *lines, "", "where to connect (environment only):", *urls]),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        add_help=False,
        allow_abbrev=False,
    )
    parser.add_argument("words", nargs="*", metavar="COMMAND", help="up when none is given")
    parser.add_argument("--json", action="store_true", help="answer in JSON, on stdout")
    parser.add_argument("-h", "--help", action="store_true", help="this text")
    parser.add_argument("--version", action="store_true", help="the version")
    options = parser.add_argument_group("options of some commands")
    for name, option in _OPTIONS.items():
        takers = ", ".join(word for word, c in COMMANDS.items() if option in c.options)
        form: dict[str, Any] = {"action": "store_true"}
        if option.value:
            first, *more = option.value.split()
            form = (
                {"metavar": (first, *more), "nargs": 1 + len(more)} if more else {"metavar": first}
            )
        options.add_argument(f"--{name}", dest=f"--{name}", help=f"{takers}: {option.help}", **form)
    group = parser.add_argument_group("settings (each also in the environment, as NAME)")
    for setting in SETTINGS:
        default = f" [{setting.default}]" if setting.default else ""
        group.add_argument(
            setting.flag, dest=setting.name, metavar="VALUE", help=f"{setting.help}{default}"
        )
    return parser


def _with_file(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment with DATABASE_URL_FILE read into DATABASE_URL."""
    values = dict(environment)
    path = values.get("MIGRATOR_DATABASE_URL_FILE") or values.get("DATABASE_URL_FILE")
    if not path:
        return values
    others = ("DATABASE_URL", "SUPABASE_DATABASE_URL", "MIGRATOR_DATABASE_URL")
    if any(values.get(name) for name in others):
        raise ConfigError(
            "both DATABASE_URL and DATABASE_URL_FILE are set", remedy="Set one of them."
        )
    try:
        with open(path, encoding="utf-8") as file:  # noqa: PTH123 - pathlib is dear to import
            values["DATABASE_URL"] = file.read().strip()
    except (OSError, UnicodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise ConfigError(f"DATABASE_URL_FILE={path} cannot be read: {reason}") from error
    if not values["DATABASE_URL"]:
        raise ConfigError(f"DATABASE_URL_FILE={path} is empty")
    return values


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


def _report(
    command: str, run_id: str, run: Run | None, error: Exception | None, duration_ms: int
) -> Report:
    applied = tuple(run.applied) if run else ()
    pending = run.pending if run else ()
    findings = run.view.decision.findings if run and run.view else ()
    undone = tuple(run.rolled_back) if run else ()
    outcome = f"{len(applied)} applied" if applied else "nothing to do"
    if error is None and command != "up" and pending:
        outcome = f"{len(pending)} pending"
    if run and run.outcome:
        outcome = run.outcome
    described = None
    exit_code = 0
    if isinstance(error, MigratorError):
        exit_code = error.exit_code
        warnings = run.view.decision.warnings if run and run.view else ()
        findings = (*error.findings, *warnings)
        details = dict(error.details)
        stands = [what_stands([done.version for done in applied])] if applied else []
        stands += [what_is_undone([done.version for done in undone])] if undone else []
        outcome = _outcome(details.pop("outcome", None), "; ".join(stands))
        described = {
            "type": type(error).__name__,
            "message": error.message,
            "remedy": error.remedy,
            **details,
        }
    elif error is not None:
        import traceback

        exit_code = 1
        outcome = "unknown: a bug in migrator ended the run; see `status`"
        described = {
            "type": type(error).__name__,
            "message": f"a bug in migrator: {error}",
            "remedy": "Report it with this log; `status` shows what is applied.",
            "traceback": "".join(traceback.format_exception(error)),
        }
    return Report(
        command=command,
        run_id=run_id,
        exit_code=exit_code,
        outcome=outcome,
        applied=applied,
        rolled_back=undone,
        pending=pending,
        current=run.current if run else None,
        findings=tuple(findings),
        error=described,
        duration_ms=duration_ms,
    )


def _outcome(told: str | None, stands: str) -> str:
    """What became of the database in a run that failed, with all that stands of it."""
    if not stands:
        return told or "nothing was changed"
    if told is None:
        return f"{stands}; nothing was left half done"
    return told if stands in told else f"{told}; {stands}"


def _tell_end(tell: Tell, error: Exception | None, result: dict[str, Any]) -> None:
    if isinstance(error, StatementError):
        tell(Event("migration.failed", "error", result["error"]))
    if isinstance(error, StoppedError):
        fields = {"stopped_by": error.details["stopped_by"], "outcome": result["outcome"]}
        tell(Event("run.stopped", "warning", fields))
    tell(Event("run.finished", "error" if error else "info", result))


def _write_termination_log(path: str, result: dict[str, Any], tell: Tell) -> None:
    """What Kubernetes shows of a pod that has ended; only where the file is there already."""
    if not path or not os.path.exists(path):  # noqa: PTH110 - every run pays for it
        return
    try:
        with open(path, "wb") as file:  # noqa: PTH123 - a device, not always a plain file
            file.write(fit(result, TERMINATION_LOG_BYTES).encode())
    except OSError as error:
        fields = {"path": path, "error": error.strerror}
        tell(Event("termination_log.failed", "warning", fields))


@contextlib.contextmanager
def _signals(job: _Job) -> Iterator[None]:
    """Hand SIGTERM and SIGINT to the job."""

    def hear(number: int, _frame: object) -> None:
        job.stop(signal.Signals(number).name)

    before = {number: signal.signal(number, hear) for number in (signal.SIGTERM, signal.SIGINT)}
    signal.pthread_sigmask(signal.SIG_UNBLOCK, before)  # entrypoint.py keeps them until here
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
