"""The lines of files that commit in parts, `batches` and `assert`, and what is wrong with them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from migrator.sql.asserts import (
    ASSERT_NOT_HERE,
    ASSERT_REMEDY,
    ASSERT_TAKES,
    Assertion,
    read_assertion,
)
from migrator.sql.batched import (
    BATCHES_REMEDY,
    BATCHES_TAKE,
    OF_ALONE,
    Batches,
    batch_problems,
    read_batches,
)
from migrator.sql.parts import Layout
from migrator.sql.statements import Directive, Problem


class InParts(NamedTuple):
    """What such lines of a file say."""

    batches: Batches | None
    asserts: tuple[Assertion, ...]

    def problems(self, layout: Layout, pieces: Iterable[str], *, alone: bool) -> Iterator[Problem]:
        """Why a file cannot have them; `alone` are those under no-transaction."""
        if self.batches is not None and alone:
            yield Problem(self.batches.line, *OF_ALONE)
        elif self.batches is not None:
            yield from batch_problems(self.batches, layout, pieces)
        elif not alone:
            yield from (Problem(assertion.line, *ASSERT_NOT_HERE) for assertion in self.asserts)


def read_in_parts(directives: Sequence[Directive]) -> InParts:
    """What can be read of them."""
    batches: list[Batches] = []
    asserts: list[Assertion] = []
    for directive in directives:
        name, _, value = directive.text.replace("\t", " ").partition(" ")
        if name == "batches" and (found := read_batches(value, directive.line)):
            batches.append(found)
        if name == "assert" and (one := read_assertion(value, directive.line)):
            asserts.append(one)
    return InParts(next(iter(batches), None), tuple(asserts))


def wrong_line(name: str, value: str) -> tuple[str, str] | None:
    """Why the words of such a line cannot be used, and the remedy."""
    if name == "assert":
        return None if read_assertion(value, 1) else (ASSERT_TAKES, ASSERT_REMEDY)
    return None if read_batches(value, 1) else (BATCHES_TAKE, BATCHES_REMEDY)
