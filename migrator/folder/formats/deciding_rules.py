"""Two formats that claim one folder: whether it matters which of them reads it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import zip_longest

from migrator.model import Finding, Migration


class UnfitReadingError(Exception):
    """The other format would refuse a file, and is none for this folder."""


def same(one: Sequence[Migration], other: Sequence[Migration]) -> Finding | None:
    """The first thing that the `other` format would do otherwise with the folder; None: nothing.

    Names do not count. Raises UnfitReadingError.
    """
    found: Finding | None = None
    for mine, theirs in zip_longest(one, other):
        if mine is None or theirs is None or mine.file != theirs.file:
            first, second = mine or one[0], theirs or other[0]
            return found or _conflict(first, second, "they run other files, or in another order")
        if what := _differs(mine, theirs):
            found = found or _conflict(mine, theirs, what)
    return found


def _differs(mine: Migration, theirs: Migration) -> str | None:
    """What of one file's text, undo or transaction the two take otherwise."""
    if mine.pieces is theirs.pieces and mine.rollback_sql == theirs.rollback_sql:
        return None if mine.alone == theirs.alone else _ALONE
    from migrator.sql.script import understand  # only what differs is taken apart

    my_script, _ = understand(mine)
    their_script, refused = understand(theirs)
    if refused or their_script is None:
        raise UnfitReadingError
    if my_script is None or my_script.transactional != their_script.transactional:
        return _ALONE
    if _sql(mine.pieces) != _sql(theirs.pieces):
        return "they run other parts of its text"
    if _sql((mine.rollback_sql or "",)) != _sql((theirs.rollback_sql or "",)):
        return "they undo it in other ways"
    return None


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
