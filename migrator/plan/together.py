"""Which pending files share a message, and when; docs/design.md section 4. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from migrator.sql.script import Script

#: By itself a run joins files from so many pending on, where a round trip takes longer than this.
MANY, TRIP_SECONDS = 8, 0.010
#: How many it joins then: 16 take nearly all of the gain [M: 200 files at 80 ms].
MOST = 16
#: A refused message is in the server's log: no file longer than the first, none longer together.
FILE_CHARS, MESSAGE_CHARS = 64 << 10, 256 << 10


def files_per_flight(wanted: int | None, pending: int, trip_seconds: float) -> int:
    """How many files may share a message; `wanted` is what the setting says, None for auto."""
    if wanted is not None:
        return wanted
    return MOST if pending >= MANY and trip_seconds > TRIP_SECONDS else 1


def count_together(scripts: Sequence[Script], most: int, *, parallel: bool = False) -> int:
    """How many of these, from the first on, go in one message: at least one.

    Where groups run `parallel` none of theirs shares a message.
    """
    count = length = 0
    for script in scripts[:most]:
        length += script.parts[-1].end if script.parts else 0
        if not _may_share(script) or length > MESSAGE_CHARS or (parallel and script.group):
            break
        count += 1
    return max(1, count)


def count_group(scripts: Sequence[Script]) -> int:
    """How many of these, from the first on, are of its group; 1 where it is of none."""
    group = scripts[0].group
    if group is None:
        return 1
    return next((at for at, one in enumerate(scripts) if one.group != group), len(scripts))


def left_with_groups(scripts: Sequence[Script]) -> dict[str, tuple[tuple[str, ...], int]]:
    """Of each file of a group: the others of it, and how many files come behind all of them."""
    found, start = {}, 0
    while start < len(scripts):
        count = count_group(scripts[start:])
        versions = [script.migration.version for script in scripts[start : start + count]]
        start += count
        for version in versions if count > 1 else ():
            others = tuple(other for other in versions if other != version)
            found[version] = others, len(scripts) - start
    return found


def _may_share(script: Script) -> bool:
    own_limits = (script.lock_timeout_ms, script.statement_timeout_ms)
    alone = not script.transactional or script.batches is not None
    if alone or not script.whole or own_limits != (None, None):
        return False
    return script.parts[-1].end <= FILE_CHARS
