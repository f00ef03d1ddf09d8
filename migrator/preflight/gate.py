"""The gate of `up`: what is pending is judged by the facts that came with it, before any flight."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from migrator.apply.run import Run
from migrator.config import Preflight
from migrator.errors import PolicyError
from migrator.model import Finding, Migration
from migrator.postgres.session import ServerError
from migrator.preflight.facts import Traced
from migrator.preflight.judge import Hazard, Judged, judge_files, without
from migrator.preflight.live import is_filled, look_at
from migrator.preflight.store import read_stored
from migrator.sql.script import Script

NO_FACTS = "without valid facts, so nothing is known of what they do: {}"
MAKE_FACTS = "Run `check --write` when the image is built."
UNMEASURABLE = "the sizes of the tables cannot be read, so nothing is judged: {}"
MEASURE = "Let the role read pg_class and pg_relation_size, or set PREFLIGHT=off."


def pass_gate(run: Run, scripts: Sequence[Script], migrations: Sequence[Migration]) -> None:
    """Warn of what harms a table in use; PolicyError under PREFLIGHT=fail, or if it surely fails.

    One query, and one more for each statement that changes many rows or needs a table without
    any; none where no pending file has valid facts. What is allowed is kept for the log.
    """
    strict = run.config.preflight is Preflight.FAIL
    traced = tuple(read_stored(run.config.migrations_dir, migrations, scripts))
    unknown = _without_facts(scripts, traced, strict=strict)
    if not traced:
        if unknown:
            raise _refusal(unknown)
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
    findings = (*unknown, *judged.findings)
    if (strict and findings) or sure:
        raise _refusal(findings)
    run.warn([*findings, *(_said(hazard, a.reason) for hazard, a in judged.allowed)])
    run.allowed = _kept(judged, scripts)


def _without_facts(
    scripts: Sequence[Script], traced: Sequence[Traced], *, strict: bool
) -> tuple[Finding, ...]:
    """One finding on all files that are not judged.

    None where no file is, unless what is not known may not pass.
    """
    known = {one.version for one in traced}
    lacking = [s.migration.file for s in scripts if s.migration.version not in known]
    if not lacking or not (traced or strict):
        return ()
    return (Finding(".preflight", NO_FACTS.format(", ".join(lacking)), MAKE_FACTS),)


def _kept(judged: Judged, scripts: Sequence[Script]) -> dict[str, list[dict[str, Any]]]:
    """What each version was allowed, as its line of the log has it."""
    kept: dict[str, list[dict[str, Any]]] = {}
    filled = {script.migration.file: script for script in scripts}
    for hazard, allow in judged.allowed:
        script, fact = filled[hazard.file], hazard.fact
        reason = script.filled.without_secrets(allow.reason) if script.filled else allow.reason
        found = {"class": fact.danger.value, "relation": fact.relation, "line": fact.line}
        kept.setdefault(script.migration.version, []).append({**found, "reason": reason})
    return kept


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
