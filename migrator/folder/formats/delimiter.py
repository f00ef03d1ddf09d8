"""Files whose statements end with another delimiter than a semicolon."""

from __future__ import annotations

from migrator.folder.formats.format import WrongTextError, line_of


def with_semicolons(text: str, ends: list[tuple[int, int]]) -> str:
    """The text with a semicolon in the place of each delimiter, whose `ends` are given.

    Lines keep their numbers. Raises WrongTextError where a delimiter is within a quoted text, a
    comment or a body, as it is not certain what the tool makes of it.
    """
    from migrator.sql.scanner import scan  # needed for such files alone
    from migrator.sql.statements import Problem

    pieces, at = [], 0
    for start, end in [*ends, (len(text), len(text))]:
        piece = text[at:start]
        if any(isinstance(found, Problem) for found in scan((piece,))) and ends:
            raise WrongTextError(
                "a delimiter is within a quoted text, a comment or a body",
                "Write the file with semicolons, and without a delimiter of its own.",
                line_of(text, start),
            )
        lines = "\n" * text.count("\n", start, end)
        pieces += [
            piece,
            f"\n;{lines[1:]}" if text[start:end][:1] == "\n" else f"{_semicolon(piece)}{lines}",
        ]
        at = end
    return "".join(pieces[:-1])


def _semicolon(piece: str) -> str:
    """One that no comment at the end of the piece hides."""
    last = piece.rpartition("\n")[2]
    if "--" not in last:
        return ";"
    raise WrongTextError(
        "a comment is before a delimiter, in the same line",
        "Move the comment to a line of its own.",
    )
