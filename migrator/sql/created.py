"""What a file creates, by kind and name: enough to lay an object that is in the way to its file."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from migrator.display import regex
from migrator.sql.sensitive import statements

_GAP = r"(?:\s|/\*.*?\*/|--[^\n]*\n)+"
_PART = r'(?:"(?:[^"]|"")+"|[^\W\d][\w$]*)'
_NAME = rf"{_PART}(?:\.{_PART})*"
_KINDS = (
    *("MATERIALIZED VIEW", "VIEW", "FUNCTION", "PROCEDURE", "AGGREGATE", "TRIGGER", "POLICY"),
    *("RULE", "TABLE", "TYPE", "DOMAIN", "SEQUENCE"),
)
_CREATED = (
    rf"CREATE{_GAP}(?:(?:OR{_GAP}REPLACE|TEMP|TEMPORARY|UNLOGGED|RECURSIVE|CONSTRAINT){_GAP})*"
    rf"(?P<kind>{'|'.join(kind.replace(' ', _GAP) for kind in _KINDS)}){_GAP}"
    rf"(?:IF{_GAP}NOT{_GAP}EXISTS{_GAP})?(?P<name>{_NAME})"
)
_ON = rf"\bON{_GAP}(?P<on>{_NAME})"
_FLAGS = re.IGNORECASE | re.DOTALL
_PARTS_OF_TABLES = frozenset({"TRIGGER", "POLICY"})


@dataclass(frozen=True, slots=True)
class Created:
    """One object that a statement of a file creates."""

    kind: str  #: "VIEW"
    name: str  #: as the file has it, public.v
    on: str = ""  #: the table of a trigger or a policy, alike

    @property
    def drop(self) -> str:
        """The statement that drops it."""
        place = f" ON {self.on}" if self.on else ""
        return f"DROP {self.kind} IF EXISTS {self.name}{place};"

    @property
    def printed(self) -> str:
        """Its name without a schema, as the server folds it."""
        last: str = re.findall(_PART, self.name)[-1]
        return last[1:-1] if last.startswith('"') else last.lower()


def created(text: str) -> Iterator[Created]:
    """What the statements of a file create, in their order; nothing of what a DO block does."""
    for statement in statements(text):
        words = text[statement.start : statement.end]
        if found := regex(_CREATED, _FLAGS).match(words):
            kind = next(k for k in _KINDS if found["kind"].upper().startswith(k.split()[0]))
            on = regex(_ON, _FLAGS).search(words, found.end()) if kind in _PARTS_OF_TABLES else None
            yield Created(kind, found["name"], on["on"] if on else "")
