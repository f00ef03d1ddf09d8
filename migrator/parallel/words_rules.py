"""What a failure in a group leaves, in words. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from migrator.errors import MigratorError
from migrator.history.message import Message


def explain_group(
    failures: Sequence[tuple[str, MigratorError]],
    applied: Sequence[str],
    left: Sequence[str],
    unknown: Sequence[str] = (),
) -> MigratorError:
    """The first refusal, which the run ends with; it names the others, and what became of the rest.

    `applied` are those of the group that are, `left` those that are not for another reason, and
    `unknown` those whose connection was lost.
    """
    (version, first), *others = failures
    said = [str(first.details.get("outcome") or f"{version} was rolled back")]
    if others:
        names = ", ".join(other for other, _ in others)
        first.message += f"; refused too: {names}"
        first.details["refused_too"] = [
            {"version": other, "message": error.message, "remedy": error.remedy}
            for other, error in others
        ]
        said.append(f"so {_were(others)} {names}")
    if applied:
        said.append(f"of its group {', '.join(applied)} {_are(applied)} applied")
    if left:
        said.append(f"{', '.join(left)} {_are(left)} not applied")
    if unknown:
        said.append(
            f"unknown: the connection was lost while {', '.join(unknown)} ran; see `status`"
        )
    first.details["outcome"] = "; ".join(said)
    return first


def explain_stop(
    rolled_back: Sequence[str], unknown: Sequence[str], refused: Sequence[str] = ()
) -> str:
    """What a stop left of the files that were under way; `refused` are those that were before."""
    said = []
    if unknown:
        running = f"{', '.join(unknown)} {_were(unknown)} running"
        said.append(f"unknown: {running}, and the server did not answer any more; see `status`")
    if rolled_back:
        said.append(f"{', '.join(rolled_back)} {_were(rolled_back)} rolled back")
    if refused:
        said.append(
            f"{', '.join(refused)} {_were(refused)} refused before: the server's log says why"
        )
    return "; ".join(said or ["nothing was under way"])


def is_within(message: Message, position: int | None) -> bool:
    """Whether a refusal of the whole message, which was not read, points into the file's text."""
    return position is not None and message.body_starts < position <= message.body_ends


def _were(some: Sequence[object]) -> str:
    return "was" if len(some) == 1 else "were"


def _are(some: Sequence[object]) -> str:
    return "is" if len(some) == 1 else "are"
