"""Two formats that claim one folder: whether it matters which of them reads it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import takewhile
from math import inf

from migrator.model import NATIVE, Finding, Migration

MOST_LINES = 20  #: of a file, in search of a mark above its statements
_MARKS = frozenset({"+goose up", "+migrate up", "+micrate up"})


class UnfitReadingError(Exception):
    """The other format would refuse a file, and is none for this folder."""


def same(one: Sequence[Migration], other: Sequence[Migration]) -> Finding | None:
    """The first thing that the `other` format would do otherwise with the folder; None: nothing.

    Names do not count. Raises UnfitReadingError. Files are taken apart from the smallest on: one
    that the other refuses spares the rest, and each run asks this again.
    """
    pairs = [*takewhile(_is_of_one_file, zip(one, other, strict=False))]
    found: dict[int, str] = {}
    for place in sorted(range(len(pairs)), key=lambda place: _size(pairs[place][1])):
        if what := _differs(*pairs[place]):
            found[place] = what
    if found:
        first = min(found)
        return _conflict(*pairs[first], found[first])
    if len(pairs) == max(len(one), len(other)):
        return None
    mine, theirs = (made[len(pairs) :] or made for made in (one, other))
    return _conflict(mine[0], theirs[0], "they run other files, or in another order")


def bars_ours(migration: Migration) -> bool:
    """Whether the file has marks by which our own rules refuse it, or lose ends of statements.

    This needs no reading by these rules, which takes 20 ms at 1000 files.
    """
    if migration.whole is None:
        return False
    if migration.format == "drizzle" and migration.pieces is not migration.whole:
        return True
    for line in next(iter(migration.whole), "").split("\n", MOST_LINES)[:MOST_LINES]:
        if line.strip() and not line.startswith("--"):
            return False
        words = line.lstrip("- \t").lower().split()
        if " ".join(words[:2]) in _MARKS or words[:1] == ["migrate:up"]:
            return True
    return False


def _is_of_one_file(pair: tuple[Migration, Migration]) -> bool:
    return pair[0].file == pair[1].file


def _size(migration: Migration) -> float:
    """The characters of a text that is in memory; a large one is not."""
    pieces = migration.pieces
    return sum(map(len, pieces)) if isinstance(pieces, tuple) else inf


def _differs(mine: Migration, theirs: Migration) -> str | None:
    """What of one file's text, undo or transaction the two take otherwise."""
    if mine.pieces is theirs.pieces and mine.rollback_sql == theirs.rollback_sql:
        return None if mine.alone == theirs.alone else _ALONE
    from migrator.sql.script import understand  # only what differs is taken apart

    if _begins_with_mark(theirs):
        raise UnfitReadingError
    their_script, refused = understand(theirs)
    if refused or their_script is None:
        raise UnfitReadingError
    my_script, _ = understand(mine)
    if my_script is None or my_script.transactional != their_script.transactional:
        return _ALONE
    if _sql(mine.pieces) != _sql(theirs.pieces):
        return "they run other parts of its text"
    if _sql((mine.rollback_sql or "",)) != _sql((theirs.rollback_sql or "",)):
        return "they undo it in other ways"
    return None


def _begins_with_mark(migration: Migration) -> bool:
    """Whether a tool's mark is above the first statement, for which our reading refuses a file.

    What is below that is not looked at: a file may be large.
    """
    from migrator.sql.marks import Counts, Mark
    from migrator.sql.scanner import scan
    from migrator.sql.statements import Statement

    head = takewhile(lambda found: not isinstance(found, Statement), scan(migration.pieces))
    return migration.format == NATIVE and any(
        isinstance(found, Mark) and found.marks.counts is Counts.ALWAYS for found in head
    )


_ALONE = "they differ in whether it runs in a transaction"


def _sql(pieces: Iterable[str]) -> tuple[str, ...]:
    """The statements without the comments and blanks around them."""
    from migrator.sql.parts import texts

    return tuple(text for _, text in texts(pieces))


def _conflict(mine: Migration, theirs: Migration, what: str) -> Finding:
    return Finding(
        mine.file,
        f"the folder may be one of {mine.format} or {theirs.format}, and {what}",
        f"Say which: --folder-format {mine.format} (FOLDER_FORMAT={mine.format}), or "
        f"--folder-format {theirs.format} (FOLDER_FORMAT={theirs.format}).",
    )
