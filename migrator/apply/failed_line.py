"""The line of the log that says what ended a run; nothing depends on it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from migrator.apply.direction import Direction
from migrator.database.database import Link
from migrator.errors import BusyError, MigratorError
from migrator.history.flight import log_alone
from migrator.history.rows import log_row
from migrator.postgres.session import LostError, ServerError
from migrator.report import blockers_in_words

LOG_SECONDS = 3.0  #: it may be done without


def log_failure(link: Link, direction: Direction, version: str, detail: dict[str, Any]) -> None:
    """Write the line of a version that failed, with what had held it up."""
    detail = {**detail, **link.held_up}
    if (left := direction.left.get(version)) is not None:
        detail["pending"] = left + 1  # itself, too
    with (
        contextlib.suppress(ServerError, LostError, MigratorError),
        link.watch.limited(LOG_SECONDS),
    ):
        session = link.connect()
        place = link.place_of(session)
        line = log_row(place, version, direction.failed, detail)
        session.send(log_alone(place, line))


@contextlib.contextmanager
def logging_busy(link: Link, direction: Direction) -> Iterator[None]:
    """Within, what ends for want of a lock leaves such a line, as a refused statement does."""
    try:
        yield
    except BusyError as error:
        version, sqlstate = error.details["version"], error.details["sqlstate"]
        said = error.message.removesuffix(blockers_in_words(error.details))
        detail = {"sqlstate": sqlstate, "message": said.removeprefix(f"{version}: ")}
        log_failure(link, direction, version, detail)
        raise
