"""The command line -> a command, its words and options, and the settings given as flags."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NoReturn, TextIO

from migrator import __version__
from migrator.commands.table import COMMANDS
from migrator.config import SETTINGS, URLS
from migrator.errors import ConfigError

if TYPE_CHECKING:
    from argparse import ArgumentParser

USAGE = "Give --help to see the commands and the settings."


def read_words(argv: list[str], stdout: TextIO) -> tuple[list[str], dict[str, Any], dict[str, str]]:
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
