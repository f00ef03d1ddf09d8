"""Words that have to be read twice are in no comment, docstring, message or page."""

from __future__ import annotations

import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.pages import ROOT

#: Each with the words to take instead.
WORDS = {
    r"(?:un)?mend(?:s|ed|ing)?": "fix",
    r"to be had": "available",
    r"tells?|told": "say, report, show",
    r"stands?(?! for\b)": "remain, be committed, be",
    r"begun": "started",
    r"whoever": "the person, the runner, the session",
    r"somebody": "a person, another session",
    r"nobody knows": "it is not known",
    r"laid to": "assigned to",
}
ALLOWED = {
    "`tell`": "the function that takes an event",
    "`told`": "a parameter",
    "told.version": "the version in an answer of `repair`",
    "told.new": "the same, of one that was renamed",
}
FILES = sorted(
    path
    for pattern in ("migrator/**/*.py", "docs/*.md", "k8s/**/*", "*.md", "Makefile", "*.yml")
    for path in ROOT.glob(pattern)
    if path.is_file()
)


def prose(path: Path) -> Iterator[tuple[int, str]]:
    """The lines of a page; of code its comments and strings."""
    text = path.read_text()
    if path.suffix != ".py":
        yield from enumerate(text.splitlines(), 1)
        return
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        name = tokenize.tok_name[token.type]
        if name in {"COMMENT", "STRING", "FSTRING_MIDDLE"}:
            yield from enumerate(token.string.splitlines(), token.start[0])


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_text_is_in_plain_words(path: Path) -> None:
    found = []
    for number, line in prose(path):
        rest = re.sub("|".join(map(re.escape, ALLOWED)), "", line)
        for pattern, instead in WORDS.items():
            if hit := re.search(rf"\b(?:{pattern})\b", rest, re.IGNORECASE):
                found.append(f"{number}: {hit[0]} -> {instead}")
    assert found == []
