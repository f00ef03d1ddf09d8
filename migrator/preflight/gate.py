"""The gate of `up`: what is pending is judged by the facts that came with it, before any flight."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from migrator.apply.run import Run
from migrator.config import Preflight
from migrator.errors import PolicyError
from migrator.model import Finding, Migration
from migrator.postgres.session import ServerError
from migrator.preflight.judge import Hazard, Judged, judge_files, without
from migrator.preflight.live import is_filled, look_at
from migrator.preflight.store import read_stored
from migrator.sql.script import Script

NO_FACTS = Finding(
    ".preflight",
    "no pending file has facts that are valid, so nothing is known of what they do",
    "Run `check --write` when the image is built.",
)
UNMEASURABLE = "the sizes of the tables cannot be read, so nothing is judged: {}"
MEASURE = "Let the role read pg_class and pg_relation_size, or set PREFLIGHT=off."


def pass_gate(run: Run, scripts: Sequence[Script], migrations: Sequence[Migration]) -> None:
    """Warn of what harms a table in use; PolicyError under PREFLIGHT=fail, or if it surely fails.

    One query, and one more for each statement that changes many rows or needs a table without
    any; none where no pending file has valid facts.
    """
    strict = run.config.preflight is Preflight.FAIL
    pending = [script.migration for script in scripts]
    traced = tuple(read_stored(run.config.migrations_dir, migrations, pending))
    if not traced:
        run.warn([NO_FACTS] if strict else [])
        return
    try:
        measures = look_at(run.link, traced, scripts)
    except ServerError as error:
        finding = Finding(".preflight", UNMEASURABLE.format(error), MEASURE)
        if strict:
            raise _refusal([finding]) from error
        run.warn([finding])
        return
    allows = {script.migration.file: script.allows for script in scripts}
    limit, version = run.config.preflight_size, measures.server_version
    judged = judge_files(traced, measures.sizes, limit, allows, version)
    judged, sure = _looked_for_rows(run, judged)
    if judged.findings and (strict or sure):
        raise _refusal(judged.findings)
    run.warn([*judged.findings, *(_said(hazard, a.reason) for hazard, a in judged.allowed)])


def _looked_for_rows(run: Run, judged: Judged) -> tuple[Judged, bool]:
    """Without what needs a table to be empty that is so now; whether one surely is not."""
    empty: list[Hazard] = []
    sure = False
    for hazard in judged.sure_to_fail:
        filled = is_filled(run.link, hazard.fact.relation)
        sure = sure or filled is True
        empty += [hazard] if filled is False else []
    return without(judged, empty), sure


def _refusal(findings: Iterable[Finding]) -> PolicyError:
    found = tuple(findings)
    files = ", ".join(dict.fromkeys(finding.file for finding in found))
    return PolicyError(
        f"would harm tables in use: {files}", findings=found, outcome="nothing was changed"
    )


def _said(hazard: Hazard, reason: str) -> Finding:
    problem = f"{hazard.message}; allowed: {reason}"
    return Finding(hazard.file, problem, "Nothing is to be done.", hazard.fact.line)
