"""The gate of `up`: what is pending is judged by the facts that came with it, before any flight."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from time import monotonic
from typing import Any

from migrator.apply.run import Run
from migrator.config import Preflight
from migrator.errors import PolicyError
from migrator.model import Finding, Migration
from migrator.postgres.session import ServerError
from migrator.preflight.facts import Traced
from migrator.preflight.judge import Hazard, Judged, advisable, judge_files, without
from migrator.preflight.live import SEEN_SECONDS, count_writes, is_filled, look_at
from migrator.preflight.store import read_stored
from migrator.sql.script import Script

NO_FACTS = "without valid facts, so nothing is known of what they do: {}"
NOTHING_KNOWN = "what pending files do to tables in use is not known"
WARN_ALONE = "PREFLIGHT=warn (--preflight warn) lets it pass."
MAKE_FACTS = "Run `check --write` when the image is built."
UNMEASURABLE = "the sizes of the tables cannot be read, so nothing is judged: {}"
MEASURE = "Let the role read pg_class and pg_relation_size, or set PREFLIGHT=off."


@dataclass(frozen=True, slots=True)
class Outlook:
    """What is known of the pending files before any of them is sent."""

    judged: Judged
    unknown: tuple[Finding, ...] = ()  #: on the files that are not judged
    strict: bool = False  #: PREFLIGHT=fail
    sure: bool = False  #: something would be refused in any case
    locks: Mapping[str, Sequence[tuple[str, str]]] = field(default_factory=dict)  #: by version

    @property
    def refusal(self) -> PolicyError | None:
        """What `up` ends with; None: all of it may pass."""
        findings = (*self.unknown, *self.judged.findings)
        if not findings or not (self.strict or self.sure):
            return None
        if not self.judged.findings:  # nothing was found to harm: nothing is known
            return PolicyError(
                NOTHING_KNOWN,
                remedy=f"{self.unknown[0].remedy} {WARN_ALONE}",
                findings=findings,
                outcome="nothing was changed",
            )
        files = ", ".join(dict.fromkeys(finding.file for finding in findings))
        return PolicyError(
            f"would harm tables in use: {files}", findings=findings, outcome="nothing was changed"
        )

    @property
    def warnings(self) -> tuple[Finding, ...]:
        """What is said where it may pass."""
        allowed = (_said(hazard, allow.reason) for hazard, allow in self.judged.allowed)
        return (*self.unknown, *self.judged.findings, *allowed)

    def as_dict(self) -> dict[str, Any] | None:
        """What `plan` and `report` show; None where no file is judged."""
        if not (self.locks or self.unknown):
            return None
        return {
            "findings": [hazard.as_row() for hazard in self.judged.counted],
            "advice": [hazard.as_row() for hazard in self.judged.advice],
            "allowed": [
                {**hazard.as_row(), "reason": allow.reason} for hazard, allow in self.judged.allowed
            ],
            "other": [one.as_dict() for one in (*self.unknown, *self.judged.unused)],
        }


def pass_gate(run: Run, scripts: Sequence[Script], migrations: Sequence[Migration]) -> None:
    """Warn of what harms a table in use; PolicyError under PREFLIGHT=fail, or if it surely fails.

    What is allowed is kept for the log.
    """
    found = look_ahead(run, scripts, migrations)
    if refusal := found.refusal:
        raise refusal
    run.warn(found.warnings)
    run.allowed = _kept(found.judged, scripts)


def look_ahead(run: Run, scripts: Sequence[Script], migrations: Sequence[Migration]) -> Outlook:
    """Judge what is pending by its facts and the live database.

    One query, and one more for each statement that changes many rows or needs a table without
    any; none where no pending file has valid facts.
    """
    strict, started = run.config.preflight is Preflight.FAIL, monotonic()
    traced = tuple(read_stored(run.config.migrations_dir, migrations, scripts))
    unknown = _without_facts(scripts, traced, strict=strict)
    if not traced:
        return Outlook(Judged(()), unknown, strict)
    try:
        measures = look_at(run.link, traced, scripts)
    except ServerError as error:
        finding = Finding(".preflight", UNMEASURABLE.format(error), MEASURE)
        return Outlook(Judged(()), (*unknown, finding), strict)
    useful = advisable(traced, supabase=measures.supabase, granted=measures.granted)
    allows = {script.migration.file: script.allows for script in scripts}
    limit, version = run.config.preflight_size, measures.server_version
    judged = judge_files(useful, measures.sizes, limit, allows, version)
    if judged.counted and monotonic() - started > SEEN_SECONDS:  # nothing waits for it
        later = count_writes(run.link, {hazard.fact.relation for hazard in judged.counted})
        sizes = measures.sizes.with_writes(measures.writes.rates_until(later))
        judged = judge_files(useful, sizes, limit, allows, version)
    judged, sure = _looked_for_rows(run, judged)
    locks = {one.version: one.locks for one in traced}
    return Outlook(judged, unknown, strict, sure, locks)


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


def _said(hazard: Hazard, reason: str) -> Finding:
    problem = f"{hazard.message}; allowed: {reason}"
    return Finding(hazard.file, problem, "Nothing is to be done.", hazard.fact.line)
