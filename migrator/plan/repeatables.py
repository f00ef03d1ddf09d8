"""Which repeatables an undo makes pending again; docs/design.md section 11."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import Enum

from migrator.model import Applied, Finding, Migration
from migrator.plan.order import closure
from migrator.sql.script import read_requirements


class Why(Enum):
    """Why a repeatable may have lost what it made by the undo of a migration."""

    RAN_AFTER = "ran after"
    REQUIRES = "requires"


#: What is pending again, each with why.
Again = Mapping[str, Why]


def pending_again(
    rows: Sequence[Applied],
    places: Mapping[str, int],
    undone: Sequence[str],
    folder: Sequence[Migration],
) -> dict[str, Again]:
    """For each version of `undone`, in that order, the repeatables that go along with it.

    `places` rise with the moment of application. A flight that follows another one was composed
    after that one's commit, as its guard has seen it, so its moment is no earlier; two of one
    moment count as one after the other, since repeatables run last.
    """
    left = {row.version for row in rows if row.repeatable and undone}
    needs = {
        file.version: [need.version for need in read_requirements(file)]
        for file in folder
        if file.repeatable and left
    }
    found: dict[str, Again] = {}
    for version in undone:
        later = {one for one in left if places[one] >= places[version]}
        again = dict.fromkeys(sorted(later), Why.RAN_AFTER)
        for repeatable in sorted(left - later):
            if not closure(repeatable, needs).isdisjoint({version, *later}):
                again[repeatable] = Why.REQUIRES
        left -= again.keys()
        found[version] = again
    return found


def announced(version: str, again: Again) -> list[Finding]:
    """What is said beforehand of the repeatables that go along with the undo of `version`."""
    return [
        Finding(
            f"{repeatable}.sql",
            f"{why.value} {version}, and is pending again once that is undone: `wait` of an image "
            "that holds it waits until the next `up`",
            "Run `up` of the image that is to run from then on.",
        )
        for repeatable, why in again.items()
    ]
