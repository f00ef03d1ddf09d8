"""One statement of a no-transaction file -> its effect, read from its tokens.

A statement that can run in a transaction commits together with the row that records it. Of any
other statement this file reads enough for the catalog to be asked whether it took effect.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import cache
from itertools import islice
from typing import Any

from migrator.sql.statements import OTHER_MODE, Problem, Statement, StatementKind

ROLE_TOKENS = 6  #: up to the name in `SELECT pg_catalog.set_config('role'`
PART_CHARS = 3  #: of a value that may be a part of a name; a shorter one is one as a whole


class Act(Enum):
    """What a statement does, as far as an interrupted run needs to know it."""

    ATOMIC = "atomic"  #: anything that runs in a transaction, together with its outcome
    SESSION = "session"  #: sets the session: sent again on every session that continues
    REPEAT = "repeat"  #: harmless when done twice: VACUUM, ALTER SYSTEM, CLUSTER, REINDEX
    CREATE_INDEX = "create index"  #: CONCURRENTLY, as the next three
    DROP_INDEX = "drop index"
    REINDEX = "reindex"
    DETACH = "detach"
    CREATE = "create"  #: a database or a tablespace
    DROP = "drop"
    ASK = "ask"  #: only a person can see whether it has taken effect


@dataclass(frozen=True, slots=True)
class Effect:
    """The effect of one statement. Names are as the server folds them."""

    act: Act
    name: tuple[str, ...] = ()  #: the object's, with its schema where the statement gives one
    on: tuple[str, ...] = ()  #: the table of an index, the parent of a partition
    what: str = ""  #: REINDEX: index, table, schema, …; CREATE and DROP: database, tablespace
    lenient: bool = False  #: IF EXISTS, IF NOT EXISTS
    unique: bool = False
    definition: str = ""  #: of an index: the text that follows its table, from its own statement

    @property
    def patient(self) -> bool:
        """Whether no other session waits while it waits for locks, so that it may wait for long."""
        return self.act in {Act.CREATE_INDEX, Act.DROP_INDEX, Act.REINDEX}

    def as_json(self) -> dict[str, Any]:
        """What the journal keeps of it: nothing of the statement's own text."""
        found = {
            "act": self.act.value,
            "name": list(self.name),
            "on": list(self.on),
            "what": self.what,
            "lenient": self.lenient,
        }
        return {key: value for key, value in found.items() if value}


def read_effect(found: dict[str, Any]) -> Effect:
    """The effect that the journal keeps, without an index's definition."""
    return Effect(
        Act(found["act"]),
        tuple(found.get("name", ())),
        tuple(found.get("on", ())),
        found.get("what", ""),
        lenient=found.get("lenient", False),
    )


def effect_of(text: str, kind: StatementKind) -> Effect | None:
    """The effect of `text`, one statement of this kind; None if it cannot be read."""
    reader = _Reader(text)
    if kind is not StatementKind.NON_TRANSACTIONAL:
        return Effect(reader.plain_act())
    try:
        return reader.effect()
    except _UnreadableError:
        return None


def sets_role(text: str) -> bool:
    """Whether a statement that sets the session chooses the role that the next ones run as."""
    tokens = list(islice(_tokens(text), ROLE_TOKENS))
    words = [token.text.lower() for token in tokens]
    if words[:1] in (["set"], ["reset"]):
        chosen = [word for word in words[1:3] if word not in {"session", "local"}]
        return chosen[:1] in (["role"], ["authorization"], ["session_authorization"])
    settings = [token.text.lower() for token in tokens if token.kind == "string"]
    return settings[:1] in (["role"], ["session_authorization"])


def names(text: str) -> list[tuple[str, ...]]:
    """The words and names of a statement in their order, as the server folds them; a.b is one."""
    found: list[tuple[str, ...]] = []
    dotted = False
    for token in _tokens(text):
        if token.kind in {"word", "quoted"}:
            part = (_cut(token.text),)
            found[len(found) - dotted :] = [found[-1] + part if dotted else part]
        dotted = token.text == "." and token.kind == "sign" and bool(found)
    return found


def strings(text: str) -> list[str]:
    """The bodies of a statement's strings, in their order."""
    return [token.text for token in _tokens(text) if token.kind == "string"]


def alone_refusals(statements: Iterable[tuple[Statement, str]]) -> Iterator[Problem]:
    """Why a file that runs outside a transaction cannot hold these statements, with their texts."""
    for statement, text in statements:
        problem = REFUSALS.get(statement.kind)
        if problem is None and statement.words == "DISCARD ALL":
            problem = DISCARD
        if problem is None and statement.kind is StatementKind.NON_TRANSACTIONAL:
            effect = effect_of(text, statement.kind)
            if effect is None:
                problem = UNREADABLE
            elif effect.act is Act.CREATE_INDEX and not effect.name:
                problem = UNNAMED
        if problem is not None:
            yield Problem(statement.line, f"{statement.words} {problem[0]}", problem[1])


def recorded_secrets(
    statements: Iterable[tuple[Statement, str]], secrets: Sequence[str]
) -> Iterator[Problem]:
    """Where the name of an object is a value that is shown nowhere, as the journal keeps names."""
    for statement, text in statements if secrets else ():
        effect = effect_of(text, statement.kind)
        parts = [] if effect is None else [part.lower() for part in (*effect.name, *effect.on)]
        if any(_holds(parts, secret.lower()) for secret in secrets):
            problem = f"{statement.words} has a name from PLACEHOLDERS_DIR, and the log keeps names"
            remedy = "Give that value in a variable, PLACEHOLDER_NAME, instead of a file."
            yield Problem(statement.line, problem, remedy)


def _holds(parts: Iterable[str], secret: str) -> bool:
    if len(secret) < PART_CHARS:
        return secret in parts
    return any(secret in part for part in parts)


_COPY = (
    "cannot run in a no-transaction file: half of its rows would look like all of them",
    "Put it into a migration of its own, without `-- migrator: no-transaction`.",
)
REFUSALS = {
    StatementKind.TRANSACTION_CONTROL: (
        "would end or begin a transaction",
        "Remove it: each statement of a no-transaction file commits by itself.",
    ),
    StatementKind.TRANSACTION_MODE: OTHER_MODE,
    **dict.fromkeys((StatementKind.COPY_IN, StatementKind.REFUSED_COPY), _COPY),
    StatementKind.REFUSED_SETTING: (
        "would change how the text after it is read",
        "Remove it: files are UTF-8 and their strings are standard-conforming.",
    ),
}
DISCARD = (
    "would release the lock that keeps other runners out",
    "Remove it: the job cleans up its session itself.",
)
UNREADABLE = (
    "cannot be read, so that its effect could not be checked after an interruption",
    'Write it as the manual does, with names as plain words or in "double quotes".',
)
UNNAMED = (
    "names no index, so that the one it made could not be found after an interruption",
    "Give the index a name.",
)


class _UnreadableError(Exception):
    """The tokens are not those that the manual promises."""


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str  #: word, quoted, string, sign
    text: str  #: a word in small letters, a name without its quotes, the body of a string
    end: int


_BLANK = r"[ \t\n\r\f\v]+|--[^\n\r]*"
_LETTER = r"[^\x00-@\[-^`{-\x7f]"
_LETTER_DIGIT = r"[^\x00-/:-@\[-^`{-\x7f]"
_TOKENS = rf"""
    (?P<blank>{_BLANK})
  | (?P<block>/\*)
  | "(?P<quoted>(?:[^"]|"")*)"
  | [eE]'(?P<escaped>(?:[^'\\]|\\.|'')*)'
  | '(?P<string>(?:[^']|'')*)'
  | (?P<dollar>\$(?:{_LETTER}{_LETTER_DIGIT}*)?\$)
  | (?P<word>{_LETTER}(?:{_LETTER_DIGIT}|\$)*)
  | (?P<sign>.)
"""
_ESCAPE = re.compile(r"\\.", re.DOTALL)  # in E'…': no part of a word, whatever it means
_NAME_BYTES = 63  # NAMEDATALEN - 1; the server cuts what is longer


@cache
def _pattern() -> re.Pattern[str]:
    return re.compile(_TOKENS, re.VERBOSE | re.DOTALL)


def _tokens(text: str) -> Iterator[_Token]:
    at = 0
    while found := _pattern().match(text, at):
        kind, at = found.lastgroup or "", found.end()
        value = found[kind]
        if kind == "block":
            at = _after_comment(text, at)
        elif kind == "dollar":
            end = text.find(value, at)
            body, at = text[at:end], end + len(value)
            yield _Token("string", body, at)
        elif kind == "word":
            yield _Token(kind, _folded(value), at)
        elif kind == "quoted":
            yield _Token(kind, value.replace('""', '"'), at)
        elif kind in {"escaped", "string"}:
            yield _Token("string", value if kind == "string" else _ESCAPE.sub(" ", value), at)
        elif kind == "sign":
            yield _Token(kind, value, at)


def _after_comment(text: str, at: int) -> int:
    depth = 1
    for edge in re.finditer(r"/\*|\*/", text[at:]):
        depth += 1 if edge.group() == "/*" else -1
        if not depth:
            return at + edge.end()
    return len(text)


def _folded(word: str) -> str:
    """As the server folds what is not quoted: in UTF-8, ASCII letters alone."""
    return "".join(letter.lower() if letter.isascii() else letter for letter in word)


def _cut(name: str) -> str:
    return name.encode()[:_NAME_BYTES].decode(errors="ignore")


class _Reader:
    """Reads one statement from its first token on."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.tokens = list(_tokens(text))
        self.at = 0

    def plain_act(self) -> Act:
        """The act of a statement that PostgreSQL allows in a transaction."""
        first = self._words(4)
        if first[:1] in (["set"], ["reset"]):
            return Act.SESSION
        if first[:2] == ["select", "set_config"] or first == [
            "select",
            "pg_catalog",
            ".",
            "set_config",
        ]:
            return Act.SESSION
        if first[:1] == ["call"] or (first[:1] == ["do"] and self._may_commit()):
            return Act.ASK
        if first[:2] == ["drop", "subscription"]:  # it may have a slot to drop elsewhere
            return Act.ASK
        if first[:1] in (["cluster"], ["reindex"], ["repack"]):  # the table may be partitioned
            return Act.REPEAT
        return Act.ATOMIC

    def effect(self) -> Effect:
        """The effect of a statement that cannot run in a transaction."""
        if self._take("create") or self._take("drop"):
            return self._created_or_dropped(self.tokens[0].text)
        if self._take("reindex"):
            return self._reindexed()
        if self._take("alter", "table"):
            return self._detached()
        again = (["vacuum"], ["cluster"], ["repack"], ["wait"])
        if self._words(1) in again or self._words(2) == ["alter", "system"]:
            return Effect(Act.REPEAT)
        return Effect(Act.ASK)

    def _created_or_dropped(self, verb: str) -> Effect:
        unique = self._take("unique")
        if self._take("index", "concurrently"):
            return self._index(unique=unique) if verb == "create" else self._dropped_index()
        for what in ("database", "tablespace"):
            if self._take(what):
                lenient = self._take("if", "exists")
                act = Act.CREATE if verb == "create" else Act.DROP
                return Effect(act, self._name(), what=what, lenient=lenient)
        return Effect(Act.ASK)

    def _index(self, *, unique: bool) -> Effect:
        lenient = self._take("if", "not", "exists")
        name = () if self._words(1) == ["on"] else self._name()
        self._need("on")
        self._take("only")
        on = self._name()
        rest = self.text[self.tokens[self.at - 1].end :]
        return Effect(
            Act.CREATE_INDEX, name, on, lenient=lenient, unique=unique, definition=rest.strip()
        )

    def _dropped_index(self) -> Effect:
        lenient = self._take("if", "exists")
        return Effect(Act.DROP_INDEX, self._name(), lenient=lenient)

    def _reindexed(self) -> Effect:
        concurrently = False
        if self._sign("("):
            while not self._sign(")"):
                option = self._words(1)
                self._step()
                off = self._value() in {"false", "off", "0"}
                if option == ["concurrently"]:
                    concurrently = not off
                self._sign(",")
        what = self._word()
        concurrently = self._take("concurrently") or concurrently
        if not concurrently:
            return Effect(Act.REPEAT)
        named = self.at < len(self.tokens)
        return Effect(Act.REINDEX, self._name() if named else (), what=what)

    def _detached(self) -> Effect:
        self._take("if", "exists")
        self._take("only")
        on = self._name()
        self._sign("*")
        self._need("detach", "partition")
        return Effect(Act.DETACH, self._name(), on)

    def _may_commit(self) -> bool:
        """Whether a DO block holds a word that can end a transaction."""
        body = next((token.text for token in self.tokens if token.kind == "string"), "")
        words = {token.text for token in _tokens(body) if token.kind == "word"}
        return not words.isdisjoint({"commit", "rollback", "call"})

    def _words(self, count: int) -> list[str]:
        """The next tokens as they are written; "" for a quoted one."""
        ahead = self.tokens[self.at : self.at + count]
        return [token.text if token.kind in {"word", "sign"} else "" for token in ahead]

    def _take(self, *words: str) -> bool:
        """Step over these words, if they come next."""
        if self._words(len(words)) != list(words):
            return False
        self.at += len(words)
        return True

    def _sign(self, sign: str) -> bool:
        return self._take(sign)

    def _need(self, *words: str) -> None:
        if not self._take(*words):
            raise _UnreadableError

    def _step(self) -> _Token:
        if self.at >= len(self.tokens):
            raise _UnreadableError
        self.at += 1
        return self.tokens[self.at - 1]

    def _word(self) -> str:
        token = self._step()
        if token.kind != "word":
            raise _UnreadableError
        return token.text

    def _value(self) -> str:
        """The value of an option, if it has one."""
        if self._words(1) in ([","], [")"]):
            return ""
        return self._step().text.lower()

    def _name(self) -> tuple[str, ...]:
        """A name with all that qualifies it: schema, name."""
        found = [self._part()]
        while self._sign("."):
            found.append(self._part())
        return tuple(found)

    def _part(self) -> str:
        token = self._step()
        unicode = token.text == "u" and self._words(1) == ["&"]  # U&"…", which is rare
        if token.kind not in {"word", "quoted"} or unicode:
            raise _UnreadableError
        return _cut(token.text)
