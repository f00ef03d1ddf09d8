"""before.sql and after.sql: what runs around the migrations of a run; docs/design.md section 4."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING

from migrator.errors import MigratorError, SourceError
from migrator.history.guard import looking
from migrator.history.rows import MS, held_up, log_row
from migrator.model import AFTER, Finding, Migration, Placeholders
from migrator.plan.progress import HOOK, HOOK_FAILED, HOOK_OWED, Way
from migrator.postgres.quoting import literal
from migrator.report import what_remains
from migrator.sql.script import Script, understand

if TYPE_CHECKING:
    from migrator.history.fence import Write
    from migrator.history.place import Place
    from migrator.postgres.session import Session
    from migrator.supabase.mirror import Sync

FIND_HOOK = """SELECT run_id::text, (detail ->> 'execution_time_ms')::int FROM {log}
 WHERE run_id = {run_id} AND version = {version} AND event = {event} LIMIT 1"""


class Hooking:
    """A hook is run: nothing is recorded of it but a line of the log."""

    way = Way.FORTH
    called = "the hook {}"
    busy = "the hook {} was rolled back"
    failed = HOOK_FAILED
    left: Mapping[str, int] = MappingProxyType({})

    def record(self, script: Script, place: Place, spent_ms: str = MS) -> tuple[Write, ...]:
        checksum = literal(script.migration.checksum)
        detail = f"jsonb_build_object('execution_time_ms', {spent_ms}, 'checksum', {checksum})"
        detail += held_up(script)
        return (log_row(place, script.migration.version, HOOK, detail),)

    def also(self, sync: Sync, migration: Migration) -> tuple[Write, ...]:
        return ()

    def find(self, session: Session, place: Place, version: str) -> tuple[str | None, int] | None:
        find = FIND_HOOK.format(
            log=place.log,
            run_id=literal(place.run_id),
            version=literal(version),
            event=literal(HOOK),
        )
        rows = session.send(looking(place, version, find))
        return (rows[0][0], rows[0][1] or 0) if rows else None


def owed(place: Place) -> Write:
    """That the hook after the migrations must run; it goes with the first of them."""
    return log_row(place, AFTER, HOOK_OWED, {})


def read_hooks(hooks: Sequence[Migration], values: Placeholders) -> dict[str, Script]:
    """The hooks by their moments. Raises SourceError with all that is wrong with them."""
    scripts: dict[str, Script] = {}
    findings: list[Finding] = []
    for hook in hooks:
        script, found = understand(hook, values)
        findings += found
        if script is not None and not script.transactional:
            problem = "a hook runs in a transaction, and it holds what cannot"
            findings.append(Finding(hook.file, problem, "Put that into a migration of its own."))
        if script is not None:
            scripts[hook.version] = script
    if findings:
        raise SourceError("a hook cannot run", findings=findings)
    return scripts


def explain_hook(error: MigratorError, script: Script, applied: Sequence[str]) -> None:
    """Say what the failure of a hook leaves, unless it is unknown whether it ran."""
    if str(error.details.get("outcome", "")).startswith("unknown"):
        return
    file = script.migration.file
    if script.migration.version != AFTER:
        error.details["outcome"] = f"{file} was rolled back, and no migration was started"
        return
    done = what_remains(applied) if applied else "all migrations are applied"
    error.details["outcome"] = (
        f"{done}; {file} was rolled back and is owed: the next `up` runs it, with nothing pending "
        "too"
    )
