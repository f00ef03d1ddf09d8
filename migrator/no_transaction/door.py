"""The way into this room, which costs a run without such files no import."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from migrator.database.database import Link
    from migrator.history.fence import Write
    from migrator.report import Done
    from migrator.sql.script import Script


def alone(
    link: Link, script: Script, seen: Collection[tuple[str, str | None]], also: Sequence[Write]
) -> Done:
    """As `apply_alone`, of a migration."""
    from migrator.apply.direction import Applying
    from migrator.no_transaction.run import apply_alone  # seldom needed

    return apply_alone(link, script, seen, also, Applying())
