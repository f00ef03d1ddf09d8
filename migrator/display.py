"""Texts of others -> what a line, a table or a page may show of them: cut, and escaped.

A notice, a name or a row of the history may hold anything and be of any length.
"""

from __future__ import annotations

import json
import re
from functools import cache
from typing import Any

#: Characters that are shown of one text. The texts of one error then stay within the 16 KiB at
#: which Docker and containerd cut a line of a log.
TEXT_CHARS = 2_000
#: The longest password that PostgreSQL takes (PG_MAX_AUTH_TOKEN_LENGTH, 65,535 bytes), each byte
#: percent-encoded.
SECRET_CHARS = 3 * 65_535
#: Characters that are kept of a text until its secrets are hidden: what is cut sooner may end
#: with half a password, which no search for the whole one finds.
HELD_CHARS = TEXT_CHARS + 2 * SECRET_CHARS
CHECKSUM_DIGITS = 12  #: that are shown of a checksum: as many as a person compares
#: Fields that are shown at another length; None: whole, as they are made of texts that were cut.
LENGTHS = {
    **{"traceback": 16_000, "undo": 10_000, "sql": 100_000},
    **dict.fromkeys(("markdown", "graph")),
}

#: What moves the cursor, ends a line, turns the direction of a text round, or cannot be seen:
#: C0, DEL and C1, the Unicode formats of that kind, and half a surrogate pair.
_UNSAFE = (
    "[\x00-\x1f\x7f-\x9f\xad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f"
    "\ud800-\udfff\ufeff\ufff9-\ufffb\U000e0000-\U000e007f]"
)
_NAMES = {"\n": r"\n", "\r": r"\r", "\t": r"\t"}


def visible(text: str) -> str:
    r"""`text` on one line, its control and invisible characters as \n, \x1b or \u202e."""
    return text if text.isprintable() else regex(_UNSAFE).sub(_name, text)


def visible_text(text: str) -> str:
    """As `visible`, of a text of ours that has line ends and tabs of its own."""
    if text.replace("\n", "").isprintable():
        return text
    return regex(_UNSAFE).sub(lambda found: found[0] if found[0] in "\n\t" else _name(found), text)


def visible_lines(text: str, before: str) -> str:
    """As `visible`, but a line end stays one; each further line begins with `before`."""
    return f"\n{before}".join(visible(line) for line in text.split("\n"))


def as_json(value: Any) -> str:
    """`value` as JSON on one line that no reader of lines or terminal takes for several."""
    return escaped_json(json.dumps(value, ensure_ascii=False))


def escaped_json(text: str) -> str:
    r"""JSON of one line, with `visible`'s characters as \uXXXX. They occur in its strings alone."""
    if text.isprintable():
        return text
    return regex(_UNSAFE).sub(lambda found: json.dumps(found[0])[1:-1], text)


def with_short_checksums(text: str) -> str:
    """`text` with the beginnings of the SHA-256s that it holds."""
    shown, rest = CHECKSUM_DIGITS, 64 - CHECKSUM_DIGITS
    return re.sub(rf"\b([0-9a-f]{{{shown}}})[0-9a-f]{{{rest}}}\b", r"\1", text)


def held(text: str) -> str:
    """`text`, cut to what is kept until its secrets are hidden."""
    return text if len(text) <= HELD_CHARS else with_rest(text[:HELD_CHARS], len(text) - HELD_CHARS)


def with_rest(text: str, left_out: int) -> str:
    """`text` and the number of characters that it was cut by."""
    return f"{text}… {left_out} more" if left_out else text


def without_rest(text: str) -> tuple[str, int]:
    """What `with_rest` was given."""
    if not text.endswith(" more"):
        return text, 0
    found = re.search(r"… (\d{1,18}) more\Z", text[-30:])
    return (text[: found.start() - min(30, len(text))], int(found[1])) if found else (text, 0)


@cache
def regex(pattern: str, flags: int = re.DOTALL) -> re.Pattern[str]:
    """Compiled when it is first needed: most runs need none."""
    return re.compile(pattern, flags)


def _name(found: re.Match[str]) -> str:
    char = found[0]
    if char in _NAMES:
        return _NAMES[char]
    number = ord(char)
    if number < 0x100:
        return f"\\x{number:02x}"
    return f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"
