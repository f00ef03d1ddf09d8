"""The window over a text that comes in pieces: as much of it as the token at hand needs.

The grammar (`scanner`) reads from `pos` up to `stop`; `more` moves the window on.

    0 ........ pos ........ stop ........ resume ........ len(text)
     taken     to be read   not yet read  rows of COPYs   what follows the rows

    state                     resume               what may follow
    between COPYs             None                 more: the next pieces, cut where no token goes
                                                   on; rows
    the rest of a COPY's line where its rows end   rows, of a second COPY on that line; more, which
                                                   goes on behind the rows
    the end of the text       None                 nothing: more returns False
"""

from __future__ import annotations

from collections.abc import Iterable

from migrator.sql.statements import Data, regex

_DATA_END = r"\n()\\\.\r?\n"
_DATA_END_OF_FILE = r"\n()\\\.\r?\Z"
_CUTS = (" ", "\n", ",", ";")  # no token but a quote or comment goes on behind these


class Window:
    """A part of the text, which moves over it once.

    `pos` is the offset in `text` behind the newest token. `stop` is where the next ones must end:
    at the end of the file or behind one of _CUTS. psql reads the rest of a line that holds a COPY
    after its rows. There `stop` is the end of that line, `resume` the place behind the rows.
    """

    def __init__(self, pieces: Iterable[str]) -> None:
        self._pieces = iter(pieces)
        self._ended = False  # there are no more pieces
        self.text = ""
        self.pos = self.stop = 0
        self.base = 0  #: offset in the file of the window's first character
        self.resume: int | None = None
        self._dropped = (0, 0)  # characters and lines of rows that have left the window
        self._counted = (0, 1, 0)  # in the window; its line; the offset of that line's start

    def place_of(self, at: int) -> tuple[int, int]:
        """The line and column of `at`, which is never less than at the call before."""
        before, line, begins = self._counted
        if lines := self.text.count("\n", before, at):
            line, begins = line + lines, self.base + self.text.rfind("\n", before, at) + 1
        self._counted = at, line, begins
        return line, self.base + at - begins + 1

    def more(self, keep: int | None = None) -> bool:
        """Move `stop` on, and drop what lies before `keep`, else before `pos`.

        False at the end of the text. What is kept is at least doubled: so the time that is spent
        on a token of any length grows with the length alone.
        """
        if self.resume is not None:
            self._cross(self.resume)
        keep = self.pos if keep is None else keep
        wanted = 2 * self.stop - keep
        pieces, end, stop = [], len(self.text), _cut(self.text, self.stop)
        while not self._ended and (not stop or end < wanted):
            piece = next(self._pieces, None)
            if piece is None:
                self._ended = True
            else:
                stop = end + cut if (cut := _cut(piece)) else stop
                end += len(piece)
                pieces.append(piece)
        stop = end if self._ended else stop
        if stop <= self.stop:
            return False
        line, column = self.place_of(keep)
        self.base += keep
        self.text = "".join((self.text[keep:], *pieces))
        self._counted = 0, line, self.base - column + 1
        self.pos, self.stop = self.pos - keep, stop - keep
        return True

    def find(self, end: str) -> bool:
        """Move `pos` behind `end`, which no window's end cuts apart; False if the text lacks it."""
        while (at := self.text.find(end, self.pos, self.stop)) < 0:
            self.pos = self.stop
            if not self.more():
                return False
        self.pos = at + len(end)
        return True

    def rows(self) -> Data:
        """The rows of a COPY that ends at `pos`: the lines behind its own, up to `\\.`.

        Like psql, `stop` lets the rest of the COPY's line be read as SQL before `more` goes on.
        """
        line, _ = self.place_of(self.pos)
        if self.resume is None:
            while not (ends := self.text.find("\n", self.pos) + 1) and self._append():
                pass
            self.stop = self.resume = ends or len(self.text)
        line += self.text.count("\n", self.pos, self.resume) + self._dropped[1]
        start = self.base + self.resume + self._dropped[0]
        at = self.resume - 1  # the end of a line
        while (end := regex(_DATA_END).search(self.text, at)) is None:
            at = self._drop_rows(self.resume)
            if not self._append():
                end = regex(_DATA_END_OF_FILE).search(self.text, at)
                break
        stop, behind = (end.start(1), end.end()) if end else (len(self.text), len(self.text))
        found = Data(start, self.base + stop + self._dropped[0], line)
        self.resume = behind
        return found

    def _drop_rows(self, start: int) -> int:
        """Drop the rows in the window from `start` on; where to look for their end then."""
        newline = self.text.rfind("\n", max(start - 1, len(self.text) - 4))  # half of their end
        kept = newline + 1 if newline >= 0 else len(self.text)
        chars, lines = self._dropped
        self._dropped = chars + kept - start, lines + self.text.count("\n", start, kept)
        self.text = self.text[:start] + self.text[kept:]
        return start - 1 if newline >= 0 else start

    def _cross(self, resume: int) -> None:
        """Go on behind the rows of a COPY, once the rest of its line is read."""
        line, _ = self.place_of(self.stop)
        chars, lines = self._dropped
        lines += self.text.count("\n", self.stop, resume)
        self.base += chars + resume - self.stop
        self.text = self.text[: self.stop] + self.text[resume:]
        self._counted = self.stop, line + lines, self.base + self.stop
        self.resume, self._dropped = None, (0, 0)

    def _append(self) -> bool:
        """Put one more piece into the window, whose `stop` stays; False when there is none."""
        piece = next(self._pieces, None)
        self._ended = piece is None
        self.text += piece or ""
        return piece is not None


def _cut(text: str, start: int = 0) -> int:
    """Behind the last of _CUTS from `start` on; 0 when there is none."""
    return max(text.rfind(sign, start) for sign in _CUTS) + 1
