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

from migrator.display import regex
from migrator.sql.statements import Data

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
        self._last_cut = 0  # offset behind the last of _CUTS in the window
        self._dropped = 0  # characters of rows that have left the window
        self._resume_line = 0  # the line of the file at `resume`
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
            self._cross(self.resume, keep)
        may_stay, keep = keep is None, self.pos if keep is None else keep
        wanted = 2 * self.stop - keep
        pieces, end = [], len(self.text)
        stop = self._last_cut if self._last_cut > self.stop else 0
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
        if may_stay and not pieces:
            self.stop = stop
            return True
        line, column = self.place_of(keep)
        self.base += keep
        self.text = "".join((self.text[keep:], *pieces))
        self._counted = 0, line, self.base - column + 1
        self.pos, self.stop, self._last_cut = self.pos - keep, stop - keep, stop - keep
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
        if self.resume is None:
            line, _ = self.place_of(self.pos)
            while not (ends := self.text.find("\n", self.pos) + 1) and self._append():
                pass
            self.stop = self.resume = ends or len(self.text)
            self._resume_line = line + self.text.count("\n", self.pos, self.resume)
        line, start = self._resume_line, self.base + self.resume + self._dropped
        at = self.resume - 1  # the end of a line
        while (end := regex(_DATA_END).search(self.text, at)) is None:
            at = self._drop_rows(self.resume)
            if not self._append():
                end = regex(_DATA_END_OF_FILE).search(self.text, at)
                break
        stop, behind = (end.start(1), end.end()) if end else (len(self.text), len(self.text))
        self._resume_line += self.text.count("\n", self.resume, behind)
        self.resume = behind
        return Data(start, self.base + stop + self._dropped, line)

    def _drop_rows(self, start: int) -> int:
        """Drop the rows in the window from `start` on; where to look for their end then."""
        newline = self.text.rfind("\n", max(start - 1, len(self.text) - 4))  # half of their end
        kept = newline + 1 if newline >= 0 else len(self.text)
        self._dropped += kept - start
        self._resume_line += self.text.count("\n", start, kept)
        self._cut_out(start, kept)
        return start - 1 if newline >= 0 else start

    def _cross(self, resume: int, keep: int | None) -> None:
        """Go on behind the rows of a COPY, once the rest of its line is read."""
        if keep is not None or self._dropped:
            self.base += self._dropped + resume - self.stop
            self._cut_out(self.stop, resume)
            resume = self.stop
        else:
            self.pos = self.stop = resume
        self._counted = resume, self._resume_line, self.base + resume
        self.resume, self._dropped = None, 0

    def _cut_out(self, start: int, end: int) -> None:
        if end > start:
            self.text = self.text[:start] + self.text[end:]
            self._last_cut = max(self._last_cut - (end - start), 0)

    def _append(self) -> bool:
        """Put one more piece into the window, whose `stop` stays; False when there is none."""
        piece = next(self._pieces, None)
        self._ended = piece is None
        if piece and (cut := _cut(piece)):
            self._last_cut = len(self.text) + cut
        self.text += piece or ""
        return piece is not None


def _cut(text: str) -> int:
    """Behind the last of _CUTS; 0 when there is none."""
    return max(map(text.rfind, _CUTS)) + 1
