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
    r"stands?(?! for\b)|standing": "remain, be committed, be",
    r"parted|parts? (?:them|us|a)": "divide, cut, separate",
    r"begun": "started",
    r"whoever": "the person, the runner, the session",
    r"somebody": "a person, another session",
    r"nobody knows": "it is not known",
    r"laid to": "assigned to",
}
ALLOWED = {"`tell`": "the function that takes an event"}
#: What no name is made of.
NO_NAMES = frozenset(("told", "tells", "begun", "stand", "stands", "standing", "mend", "whoever"))
DESIGN = ROOT / "docs" / "design.md"
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


def names(path: Path) -> set[str]:
    """The names in the code of a file."""
    tokens = tokenize.generate_tokens(io.StringIO(path.read_text()).readline)
    return {token.string for token in tokens if token.type == tokenize.NAME}


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_text_is_in_plain_words(path: Path) -> None:
    found = []
    for number, line in prose(path):
        rest = re.sub("|".join(map(re.escape, ALLOWED)), "", line)
        for pattern, instead in WORDS.items():
            if hit := re.search(rf"\b(?:{pattern})\b", rest, re.IGNORECASE):
                found.append(f"{number}: {hit[0]} -> {instead}")
    assert found == []


@pytest.mark.parametrize(
    "path", [path for path in FILES if path.suffix == ".py"], ids=lambda p: str(p.relative_to(ROOT))
)
def test_a_name_is_made_of_plain_words(path: Path) -> None:
    found = {name for name in names(path) if NO_NAMES & set(name.lower().split("_"))}
    assert found == set()


def test_the_design_has_one_sentence_a_line() -> None:
    """So that a change of a contract is a change of one line."""
    text = re.sub(r"^```.*?^```", "", DESIGN.read_text(), flags=re.MULTILINE | re.DOTALL)
    code_and_leads = r"`[^`]*`|^\s*(?:- |\d+\. )?\*\*.*?\*\* |^#+ \d+\. "
    lines = [re.sub(code_and_leads, "X", line) for line in text.splitlines()]
    several = [
        line
        for line in lines
        if not line.startswith("|")
        and re.search(r"[.?!][)*]*(?: \[M[^]]*\])? (?:[A-Z]|psql |psycopg2 |libpq )", line)
    ]
    assert several == []
