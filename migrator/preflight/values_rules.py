"""What the values of placeholders made of a file, as far as that may be written down.

Facts are those of one text. A value that is a string and nothing else changes none of them, and
is no part of the digest: a short secret could be guessed from it. Of a value that is more than
that, and may not be shown, no digest is kept, and the facts are good for nobody.
"""

from __future__ import annotations

import hashlib

from migrator.sql.filled import Filled
from migrator.sql.script import Script
from migrator.sql.sensitive import literals, runs_code, statements

VALUE_MARK = "migrator_hidden_value"
UNSURE = "a value that may not be shown is more than a string"


def digest_of_values(script: Script) -> str | None:
    """A digest of the text that is sent, without values that are mere strings.

    None without placeholders; UNSURE where a hidden value could change what the file does.
    """
    filled = script.filled
    if filled is None:
        return None
    harmless = {name for name, value in filled.values.items() if _is_mere_string(filled, name)}
    if filled.hidden - harmless:
        return UNSURE
    return hashlib.sha256(_marked(filled, harmless).encode()).hexdigest()


def _marked(filled: Filled, names: set[str]) -> str:
    return "".join(filled.with_values(dict.fromkeys(names, VALUE_MARK)))


def _is_mere_string(filled: Filled, name: str) -> bool:
    """Whether the value is not in the text, or within strings that no statement runs as code."""
    text = _marked(filled, {name})
    if VALUE_MARK not in text:
        return text == _marked(filled, set())
    return not set(filled.values[name]) & set("'\\$") and _is_in_strings(text)


def _is_in_strings(text: str) -> bool:
    at = 0
    for one in statements(text):
        statement = text[one.start : one.end]
        if VALUE_MARK in text[at : one.start]:
            return False
        if VALUE_MARK in statement and (
            runs_code(statement) or VALUE_MARK in _without_strings(statement)
        ):
            return False
        at = one.end
    return VALUE_MARK not in text[at:]


def _without_strings(statement: str) -> str:
    for found in reversed(list(literals(statement))):
        statement = statement[: found.start] + statement[found.end :]
    return statement
