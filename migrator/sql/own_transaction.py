"""A file's own BEGIN and COMMIT, where the job's transaction stands for them.

form                                                            what becomes of it
BEGIN first, COMMIT last, no other transaction control          both are sent as blanks
pairs of them around large objects alone, as pg_dump has them   the same
anything else                                                   refused: it would commit a part
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import replace

from migrator.display import regex
from migrator.sql.parts import Layout, Part, TextReader
from migrator.sql.scanner import scan
from migrator.sql.statements import BEGINS, ENDS, Statement, StatementKind

_CONTROL, _MODE = StatementKind.TRANSACTION_CONTROL, StatementKind.TRANSACTION_MODE
# What pg_dump writes between its BEGIN and COMMIT: a descriptor lives as long as a transaction.
_LARGE_OBJECT = r"SELECT pg_catalog\.(?:lo_open|lowrite|lo_close)\("


def taken_as_ours(layout: Layout, pieces: Iterable[str]) -> Layout:
    """The layout of these pieces without the BEGIN and COMMIT that our own stand for.

    A BEGIN with a mode of its own stays among the special statements, which are refused.
    """
    control = [
        one
        for one in layout.special
        if one.kind is _CONTROL or (one.kind is _MODE and not one.words.startswith("SET"))
    ]
    if _around_all(layout, control) or _around_large_objects(control, pieces):
        return _without(layout, control)
    return layout


def _around_all(layout: Layout, control: Sequence[Statement]) -> bool:
    if len(control) != 2:
        return False
    first, last = control
    begins = first.start == layout.begins and (first.kind is _MODE or first.words in BEGINS)
    return begins and last.end == layout.ends and last.words in ENDS


def _around_large_objects(control: Sequence[Statement], pieces: Iterable[str]) -> bool:
    pairs = all(one.words in (BEGINS, ENDS)[at % 2] for at, one in enumerate(control))
    if not control or len(control) % 2 or not pairs:
        return False
    reader, inside = TextReader(pieces), False
    for found in scan(pieces):
        if not isinstance(found, Statement):
            continue
        if found.kind is _CONTROL:
            inside = not inside
        elif inside:
            head = "".join(reader.take(found.start, min(found.end, found.start + 40)))
            if not regex(_LARGE_OBJECT).match(head):
                return False
    return True


def _without(layout: Layout, dropped: Sequence[Statement]) -> Layout:
    starts = [one.start for one in dropped]

    def less(part: Part) -> Part:
        own = dropped[bisect_left(starts, part.start) : bisect_left(starts, part.end)]
        blank = (*part.skipped, *((one.start, one.end) for one in own))
        return replace(part, statements=part.statements - len(own), skipped=tuple(sorted(blank)))

    parts = map(less, layout.parts)
    return replace(
        layout,
        parts=tuple(part for part in parts if part.statements or layout.whole),
        statements=layout.statements - len(dropped),
        special=tuple(one for one in layout.special if one.kind is not _CONTROL),
    )
