"""A .env file as Docker Compose reads it, and what of it counts beside the environment.

The rules are those of docs.docker.com/reference/compose-file/interpolation and of "Syntax for
.env files" there; tests/image/test_env_file.py compares this reader with `docker compose config`.
Where Compose goes on with a value that nobody can have meant, this reader refuses: a variable in
one of our values that is not set (Compose warns and puts nothing there, which cuts a password with
a `$`), and text behind a closing quote. No error quotes a value.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from migrator.config import SETTINGS, URLS
from migrator.errors import ConfigError
from migrator.postgres.url import ENVIRONMENT

_EXPORT = re.compile(r"export[^\S\n]+")
_NAME = re.compile(r"([\w.\[\]-]+)[^\S\n]*([=:\n]|\Z)")
#: What a backslash stands for within double quotes; beside these, a quote that it hides.
_ESCAPE = re.compile(r'\\(?:([abfnrtv\\"])|(\$)|0([0-9]{0,3}))')
_ESCAPED = dict(zip('abfnrtv\\"', '\a\b\f\n\r\t\v\\"', strict=True))
_VARIABLE = re.compile(r"\$(?:(\$)|([A-Za-z_]\w*)|\{)", re.ASCII)
_BRACED = re.compile(r"([A-Za-z_]\w*)(?:(:?)([-?+])(.*))?", re.ASCII | re.DOTALL)
#: Any of these names a database.
URL_NAMES = frozenset(
    prefix + name for name in URLS if name != "SHADOW_DATABASE_URL" for prefix in ("", "MIGRATOR_")
)
PLACE_NAMES = URL_NAMES | {"PGHOST", "PGHOSTADDR", "PGPORT", "PGSERVICE", "PGDATABASE"}
_OURS_ALONE = frozenset((*(setting.name for setting in SETTINGS), *URLS))

_SINGLE = "Put the value into single quotes, in which every $ is itself."


def read_env_file(text: str, path: str, environment: Mapping[str, str]) -> dict[str, str]:
    """What the file sets: a variable of `environment` has its value from there, even an empty one.

    Raises ConfigError, which names the line and quotes no value.
    """
    return _Reader(text.removeprefix("\ufeff"), path, environment).read()


def beneath(environment: Mapping[str, str], found: Mapping[str, str]) -> dict[str, str]:
    """The environment, and what a file adds to it: settings of ours, and where to connect.

    Where to connect comes from one of the two as a whole: once the environment names a database, no
    URL and no PG* of the file counts. Else a DIRECT_URL of the file would overrule a DATABASE_URL
    of the environment, or a password of the one go to the host of the other.
    """
    place = URL_NAMES | ENVIRONMENT.keys() if names_database(environment) else frozenset()
    added = {
        name: value
        for name, value in found.items()
        if _is_ours(name) and name not in place and not _names(name) & environment.keys()
    }
    return {**added, **environment}


def names_database(environment: Mapping[str, str]) -> bool:
    """Whether it says where to connect; an empty variable says so too: nowhere of its own."""
    return bool(PLACE_NAMES & environment.keys())


def _is_ours(name: str) -> bool:
    """Whether the job reads it; a MIGRATOR_* that it does not know is refused, as elsewhere."""
    return name in _OURS_ALONE or name in ENVIRONMENT or name.startswith(("MIGRATOR_", "PGOPTIONS"))


def _names(name: str) -> set[str]:
    """The two forms that a setting has."""
    short = name.removeprefix("MIGRATOR_")
    return {short, f"MIGRATOR_{short}"}


@dataclass
class _Reader:
    text: str
    path: str
    environment: Mapping[str, str]
    at: int = 0  #: how far the text has been read
    found: dict[str, str] = field(default_factory=dict)

    def read(self) -> dict[str, str]:
        while self._skip_to_statement():
            self._read_statement()
        return self.found

    def _skip_to_statement(self) -> bool:
        """Past blanks and comments; False at the end."""
        skipped = re.compile(r"(?:\s+|#[^\n]*)*+").match(self.text, self.at)
        self.at = skipped.end() if skipped else self.at
        return self.at < len(self.text)

    def _read_statement(self) -> None:
        if export := _EXPORT.match(self.text, self.at):
            self.at = export.end()
        named = _NAME.match(self.text, self.at)
        if named is None:
            raise self._error("it does not begin with NAME=", "Write one NAME=value a line.")
        name, sign = named.groups()
        self.at = named.end()
        # a name alone hands on the environment's, where there is one
        value = self._read_value(name) if sign in {"=", ":"} else None
        if name in self.environment:
            value = self.environment[name]
        if value is not None and not name[0].isdigit():
            self.found[name] = value

    def _read_value(self, name: str) -> str:
        blanks = re.compile(r"[^\S\n]*").match(self.text, self.at)
        self.at = blanks.end() if blanks else self.at
        quote = self.text[self.at : self.at + 1]
        if quote in {"'", '"'}:
            value = self._read_quoted(quote)
            return self._expand(_unescape(value), name) if quote == '"' else value
        end = self.text.find("\n", self.at)
        line = self.text[self.at : end if end >= 0 else len(self.text)]
        value = self._expand(line.partition(" #")[0].rstrip(), name)
        self.at += len(line)
        return value

    def _read_quoted(self, quote: str) -> str:
        quoted = re.compile(rf"{quote}((?:[^{quote}\\]|\\.)*+){quote}", re.DOTALL)
        found = quoted.match(self.text, self.at)
        if found is None:
            raise self._error("a quote is not closed", f"Close it with {quote}.")
        if not re.compile(r"[^\S\n]*(?:#|\n|\Z)").match(self.text, found.end()):
            self.at = found.end()
            remedy = f"Write \\{quote} for a quote within the value, and begin a comment with #."
            raise self._error("there is text behind the closing quote", remedy)
        self.at = found.end()
        return found[1].replace(f"\\{quote}", quote)

    def _expand(self, text: str, name: str) -> str:
        """The text with its variables replaced; `name` is what it is the value of."""
        done, at = "", 0
        while variable := _VARIABLE.search(text, at):
            done += text[at : variable.start()]
            dollar, plain = variable.groups()
            at = variable.end()
            if dollar:
                done += "$"
            elif plain:
                done += self._value_of(plain, name)
            else:
                end = _closing(text, at)
                braced = _BRACED.fullmatch(text, at, end) if end >= 0 else None
                if braced is None:
                    raise self._error("what follows ${ cannot be read", _SINGLE)
                done += self._substitute(braced, name)
                at = end + 1
        return done + text[at:]

    def _substitute(self, braced: re.Match[str], name: str) -> str:
        variable, colon, operator, word = braced.groups()
        value = self._lookup(variable)
        given = bool(value) if colon else value is not None
        if operator == "+":
            return self._expand(word, name) if given else ""
        if given and value is not None:
            return value
        if operator == "-":
            return self._expand(word, name)
        if operator == "?":
            raise self._error(f"{variable} is required and not set", f"Set {variable}.")
        return self._value_of(variable, name)

    def _value_of(self, variable: str, name: str) -> str:
        value = self._lookup(variable)
        if value is None and _is_ours(name):
            raise self._error(
                f"{name} holds ${variable}, and no variable {variable} is set",
                f"{_SINGLE} Or write $$ for it.",
            )
        return value or ""

    def _lookup(self, variable: str) -> str | None:
        return self.environment.get(variable, self.found.get(variable))

    def _error(self, problem: str, remedy: str) -> ConfigError:
        line = self.text.count("\n", 0, self.at) + 1
        return ConfigError(f"{self.path}:{line}: {problem}", remedy=remedy)


def _closing(text: str, at: int) -> int:
    """Where the brace closes that was opened before `at`; -1 when it does not."""
    depth = 1
    for brace in re.compile(r"\$\{|\}").finditer(text, at):
        depth += 1 if brace[0] == "${" else -1
        if depth == 0:
            return brace.start()
    return -1


def _unescape(text: str) -> str:
    def plain(found: re.Match[str]) -> str:
        letter, dollar, octal = found.groups()
        if dollar:
            return "$$"  # what it stands for when the variables are replaced
        if letter:
            return _ESCAPED[letter]
        whole = re.fullmatch("[0-3][0-7]{2}", octal)
        return chr(int(octal, 8)) if whole else f"\\{octal}"  # as Compose leaves it

    return _ESCAPE.sub(plain, text)
