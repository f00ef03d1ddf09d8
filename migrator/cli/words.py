"""The command line -> a command, its words and options, and the settings given as flags.

Nothing is printed here. A word is quoted back only where it cannot be a URL or hold a password.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from enum import Enum
from typing import Any, NamedTuple

from migrator.commands.table import ALIASES, COMMANDS
from migrator.config import SETTINGS, LogFormat
from migrator.errors import ConfigError


class Colour(Enum):
    """When text has colours."""

    AUTO = "auto"  #: on a terminal, unless NO_COLOR is set
    ALWAYS = "always"
    NEVER = "never"


#: The pages of `migrator help` that are no command's.
TOPICS = ("settings",)
#: What every command takes beside the settings, with what their values are called.
COMMON = {
    **{"--json": "", "--env-file": "PATH", "--color": "WHEN"},
    **{"--help": "", "-h": "", "--version": ""},
}
#: The options of all commands by their flags, with what their values are called. Two commands
#: share a flag only when its values have one form.
OPTIONS = {
    f"--{option.name}": option.value or ""
    for command in COMMANDS.values()
    for option in command.options
}


class Words(NamedTuple):
    """A command line that was understood."""

    command: str = ""
    words: tuple[str, ...] = ()  #: that follow the command
    options: Mapping[str, Any] = {}  #: by the names of its parameters
    settings: Mapping[str, str] = {}  #: given as flags, by their names
    env_file: str | None = None  #: whose settings and URL are read beneath the environment
    page: str | None = None  #: only this page of the help is wanted; "" is the first one
    version: bool = False  #: only the version is wanted


def read_words(argv: Sequence[str]) -> Words:
    """What the command line says; ConfigError for what cannot be understood."""
    if any("://" in word for word in argv):
        raise ConfigError(
            "there is a URL on the command line, where everybody on the machine can read it",
            remedy="Put it into DATABASE_URL.",
        )
    if {"--help", "-h"} & set(argv):
        return Words(page=_page(argv))
    words, values = _parse(argv)
    if "--version" in values:
        return Words(version=True)
    if "--color" in values:
        _check_colour(values["--color"][0])
    command, *rest = words or ["up"]
    command = ALIASES.get(command, command)
    if command == "help":
        return Words(page=_topic(rest))
    _check_command(command)
    _check_words(command, rest)
    settings = {s.name: values[s.flag][0] for s in SETTINGS if s.flag in values}
    env_file = values["--env-file"][0] if "--env-file" in values else None
    return Words(command, tuple(rest), _options(command, values), settings, env_file)


def glance(argv: Sequence[str], flag: str) -> str:
    """The value of a flag, of a command line that may not be understood; "" where it has none."""
    found = ""
    for place, word in enumerate(argv):
        if word == flag:
            found = "".join(argv[place + 1 : place + 2])
        elif word.startswith(f"{flag}="):
            found = word.partition("=")[2]
    return found


def early_format(argv: Sequence[str], environment: Mapping[str, str]) -> LogFormat:
    """How to log before the settings are known, or when they cannot be used."""
    texts = [glance(argv, "--log-format")]
    texts += [environment.get(name, "") for name in ("MIGRATOR_LOG_FORMAT", "LOG_FORMAT")]
    wanted = next((text.strip().lower() for text in texts if text.strip()), "")
    return next((known for known in LogFormat if known.value == wanted), LogFormat.AUTO)


def early_colour(argv: Sequence[str]) -> Colour:
    """What --color says, also of a command line that cannot be used."""
    wanted = glance(argv, "--color")
    return next((known for known in Colour if known.value == wanted), Colour.AUTO)


def quoted(words: Iterable[str]) -> str:
    """Words as they may be repeated: plain ones. Of others it is said only that they are there."""
    plain = (re.fullmatch(r"-{0,2}[A-Za-z0-9_][\w.-]{0,60}", word, re.ASCII) for word in words)
    return " ".join(found[0] if found else "…" for found in plain)


def meant(word: str, known: Iterable[str]) -> str:
    """What `word` may be a slip of: "; did you mean up?", or nothing."""
    import difflib  # for a slip alone

    names = list(known)
    close = [name for name in names if len(word) > 3 and name.startswith(word)]
    close = close or difflib.get_close_matches(word, names, n=1)
    return f"; did you mean {' or '.join(close[:2])}?" if close else ""


def _parse(argv: Sequence[str]) -> tuple[list[str], dict[str, list[str]]]:
    """The words, and the values of each flag."""
    forms = {setting.flag: "VALUE" for setting in SETTINGS} | OPTIONS | COMMON
    words: list[str] = []
    values: dict[str, list[str]] = {}
    left = list(argv)
    while left:
        word = left.pop(0)
        if word == "--":
            return [*words, *left], values
        if not word.startswith("-"):
            words.append(word)
            continue
        flag, equals, value = word.partition("=")
        if flag not in forms:
            raise _unknown(flag, words, forms)
        names = forms[flag].split()
        if equals and len(names) != 1:
            raise ConfigError(
                f"{flag} takes {'two values' if names else 'no value'}",
                remedy=f"Write {' '.join((flag, *names))}.",
            )
        given = [value] if equals else _values(left, len(names))
        if len(given) < len(names) or (flag in OPTIONS and "" in given):
            raise ConfigError(
                f"{flag} needs {'two values' if names[1:] else 'a value'}",
                remedy=f"Write {' '.join((flag, *names))}. {_help_of(words)}",
            )
        values[flag] = given
    return words, values


def _values(left: list[str], number: int) -> list[str]:
    """Take so many words of `left`, fewer where a flag or the end comes first."""
    taken: list[str] = []
    while left and len(taken) < number and not left[0].startswith("--"):
        taken.append(left.pop(0))
    return taken


def _unknown(flag: str, words: Sequence[str], forms: Iterable[str]) -> ConfigError:
    command = COMMANDS.get(words[0]) if words else None
    foreign = set(OPTIONS) - {f"--{option.name}" for option in command.options} if command else ()
    near = meant(flag, [form for form in forms if form not in foreign])
    return ConfigError(f"there is no flag {quoted([flag])}{near}", remedy=_help_of(words))


def _check_colour(word: str) -> None:
    known = [colour.value for colour in Colour]
    if word not in known:
        raise ConfigError(
            f"--color takes {', '.join(known)}{meant(word, known)}",
            remedy=f"Write --color {Colour.AUTO.value}, or leave it out.",
        )


def _check_command(command: str) -> None:
    if command not in COMMANDS:
        raise ConfigError(
            f"there is no command {quoted([command])}{meant(command, (*COMMANDS, 'help'))}",
            remedy="`migrator --help` lists the commands.",
        )


def _check_words(command: str, words: Sequence[str]) -> None:
    wanted = COMMANDS[command].words
    needed = [word for word in wanted if not word.startswith("[")]
    if len(words) < len(needed):
        raise ConfigError(f"`{command}` needs {' '.join(needed)}", remedy=_help_of([command]))
    if len(words) > len(wanted):
        raise ConfigError(
            f"`{command}` takes {' '.join(wanted) or 'no words'}; this is too much: "
            f"{quoted(words[len(wanted) :])}",
            remedy=_help_of([command]),
        )


def _options(command: str, values: Mapping[str, list[str]]) -> dict[str, Any]:
    """The options of `command`; one of another command is refused."""
    own = COMMANDS[command].options
    flags = {f"--{option.name}" for option in own}
    foreign = [flag for flag in OPTIONS if flag in values and flag not in flags]
    if foreign:
        takers = [
            name
            for name, other in COMMANDS.items()
            if any(f"--{option.name}" == foreign[0] for option in other.options)
        ]
        raise ConfigError(
            f"`{command}` takes no {', '.join(foreign)}",
            remedy=f"{foreign[0]} is for {', '.join(takers)}. {_help_of([command])}",
        )
    found: dict[str, Any] = {}
    for option in own:
        given = values.get(f"--{option.name}")
        if not option.value:
            found[option.word] = given is not None
        elif given is None:
            found[option.word] = None
        else:
            found[option.word] = given if len(option.value.split()) > 1 else given[0]
    return found


def _page(argv: Sequence[str]) -> str:
    """The page that --help means: that of the command, wherever it is."""
    try:
        words, _ = _parse(argv)
    except ConfigError:
        words = [word for word in argv if word in COMMANDS]
    return _topic([word for word in words if word != "help"][:1])


def _topic(words: Sequence[str]) -> str:
    topic = " ".join(words)
    known = ("", *COMMANDS, *TOPICS)
    if topic not in known:
        raise ConfigError(
            f"there is no help for {quoted(words)}{meant(topic, known)}",
            remedy="`migrator --help` lists the commands.",
        )
    return topic


def _help_of(words: Sequence[str]) -> str:
    command = f" {words[0]}" if words and words[0] in COMMANDS else ""
    return f"See `migrator{command} --help`."
