"""`-- migrator: assert before QUERY` and `assert after QUERY`: what must be true around a file."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class When(Enum):
    """On which side of the file a query must be true."""

    BEFORE = "before"
    AFTER = "after"


ASSERT_TAKES = "the directive assert needs before or after, and a query"
ASSERT_REMEDY = "Write `assert before QUERY` or `assert after QUERY`; the query gives one boolean."
ASSERT_NOT_HERE = (
    "the file runs in one transaction, which assert is not for",
    "Let a DO block in the file RAISE what is wrong: all of it is rolled back then.",
)


@dataclass(frozen=True, slots=True)
class Assertion:
    """One such line."""

    line: int  #: 1-based
    when: When
    query: str


def read_assertion(value: str, line: int) -> Assertion | None:
    """before QUERY or after QUERY, or None."""
    word, _, query = value.strip().partition(" ")
    query = query.strip().removesuffix(";").strip()
    sides = {side.value: side for side in When}
    return Assertion(line, sides[word], query) if query and word in sides else None


def asserting(assertion: Assertion) -> str:
    """A query of one boolean; a comment at its end does no harm."""
    return f"SELECT (\n{assertion.query}\n)::pg_catalog.bool"
