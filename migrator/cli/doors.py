"""The ways into rooms that few runs enter: each is imported when its first file comes."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from migrator.apply.run import Run
    from migrator.database.database import Link
    from migrator.history.fence import Write
    from migrator.history.seen import Seen
    from migrator.model import Migration
    from migrator.report import Done
    from migrator.sql.script import Script


def alone(
    link: Link, script: Script, seen: Collection[tuple[str, str | None]], also: Sequence[Write]
) -> Done:
    """As `apply_alone`, of a migration."""
    from migrator.apply.direction import Applying
    from migrator.no_transaction.run import apply_alone

    return apply_alone(link, script, seen, also, Applying())


def batched(run: Run, script: Script, seen: Seen) -> Done:
    """As `run_batches`."""
    from migrator.batches.run import run_batches

    return run_batches(run, script, seen)


def in_parallel(run: Run, scripts: Sequence[Script], steps: range, seen: Seen) -> None:
    """As `run_group`."""
    from migrator.parallel.run import run_group

    run_group(run, scripts, steps, seen)


def preflight(run: Run, scripts: Sequence[Script], migrations: Sequence[Migration]) -> None:
    """As `pass_gate`."""
    from migrator.preflight.gate import pass_gate

    pass_gate(run, scripts, migrations)
