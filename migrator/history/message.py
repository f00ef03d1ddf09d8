"""One message of a flight as it is sent, and of which part of it a refusal is. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple


class Message(NamedTuple):
    """One simple-protocol message of a flight, and which part of the file it carries."""

    sent: bytes  #: its UTF-8; a large one is held once
    results_before: int  #: how many of our own statements come before the file's part
    body_starts: int = 0  #: offset in `text`, in characters, of the file's part
    body_ends: int = 0  #: as `body_starts` where the message carries nothing of the file
    line: int = 1  #: the file's line on which the part begins
    column: int = 1
    statements: int = 0  #: how many the part has
    commits: bool = False  #: it ends the flight: the COMMIT is in it
    results: int = 0  #: how many answers there are up to that of the COMMIT
    legs: tuple[Message, ...] = ()  #: where there are several: this message as each of them sees it
    rows: Iterator[str] | None = None  #: for the COPY in it; to be read before the next message
    rows_line: int = 0  #: the file's line on which they begin

    @property
    def text(self) -> str:
        return self.sent.decode()

    @property
    def body(self) -> str:
        """What of the file the message carries."""
        return self.text[self.body_starts : self.body_ends]

    def blames_file(self, results: int | None) -> bool:
        """Whether a refusal after `results` answers is of the file's own, deferred triggers too.

        A file may raise any SQLSTATE, those of ours too. Where nothing is known it is not.
        """
        return results is not None and 0 <= results - self.results_before <= self.statements

    def is_opened(self, results: int | None) -> bool:
        """Whether a refusal after `results` answers is of our statement right before the file."""
        return results is not None and results == self.results_before - 1

    def is_closed(self, results: int | None) -> bool:
        """Whether a refusal after `results` answers is of our own closing half."""
        return results is not None and results - self.results_before > self.statements
