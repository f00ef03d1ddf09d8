"""What `check` answers in each of its forms."""

from __future__ import annotations

import json

import pytest

from migrator.commands.check_rules import answer_of, check_format, chosen, formatted, refused
from migrator.errors import ConfigError, SourceError
from migrator.model import Allow, Danger, Finding
from migrator.preflight.facts import Fact, Traced
from migrator.preflight.judge import Hazard, Judged, Size
from tests.builders import a_migration

FACT = Fact(3, "ALTER TABLE", Danger.SCAN, "public.orders", "check", "ACCESS EXCLUSIVE")
HAZARD = Hazard("2_a.sql", FACT, Size(1), "It reads 100 %:\nall, of it", "Do it later.")
ALLOW = Allow(1, Danger.SCAN, "orders", "at night")
UNUSED = Finding("2_a.sql", "it meets nothing", "Remove the line.", 2)
JUDGED = Judged((HAZARD,), (HAZARD,), ((HAZARD, ALLOW),), (UNUSED,))


def test_the_files_of_a_branch_are_those_that_the_other_one_has_not() -> None:
    assert chosen([a_migration(1), a_migration(2)], ["001_step.sql"]) == {"002_step"}


def test_a_format_is_one_of_two_or_none() -> None:
    for style in (None, "github", "sarif"):
        check_format(style)
    with pytest.raises(ConfigError, match="--format xml is not known") as caught:
        check_format("xml")
    assert caught.value.remedy == "Write --format github or sarif."


def test_json_has_findings_advice_what_is_allowed_and_all_facts() -> None:
    answer = answer_of([Traced("2_a", "2_a.sql", (FACT,))], JUDGED)
    assert [(one["class"], one["line"]) for one in answer["findings"]] == [
        ("scan", 3),
        ("allow", 2),
    ]
    assert answer["advice"] == [HAZARD.as_dict()]
    assert answer["allowed"] == [{**HAZARD.as_dict(), "reason": "at night"}]
    assert answer["facts"] == [{"file": "2_a.sql", "version": "2_a", **FACT.as_dict()}]


def test_an_annotation_of_github_is_one_line_whatever_it_says() -> None:
    lines = formatted(JUDGED, "./a,b/", "github")["formatted"].splitlines()
    assert lines == [
        "::error file=a%2Cb/2_a.sql,line=3,title=migrator%3A scan::It reads 100 %25:%0Aall, of it. "
        "Do it later.",
        "::error file=a%2Cb/2_a.sql,line=2,title=migrator%3A allow::it meets nothing. "
        "Remove the line.",
        "::notice file=a%2Cb/2_a.sql,line=3,title=migrator%3A scan::It reads 100 %25:%0Aall, of it."
        " Do it later.",
    ]


def test_sarif_has_a_result_for_each_and_every_rule() -> None:
    sarif = json.loads(formatted(JUDGED, "migrations", "sarif")["formatted"])
    [run] = sarif["runs"]
    assert [(one["level"], one["ruleId"]) for one in run["results"]] == [
        ("error", "scan"),
        ("error", "allow"),
        ("note", "scan"),
    ]
    assert run["results"][0]["locations"][0]["physicalLocation"] == {
        "artifactLocation": {"uri": "migrations/2_a.sql"},
        "region": {"startLine": 3},
    }
    known = {rule["id"] for rule in run["tool"]["driver"]["rules"]}
    assert known == {*(danger.value for danger in Danger), "allow", "error"}


def test_without_a_format_nothing_is_printed_alone() -> None:
    assert formatted(JUDGED, "migrations", None) == {}


def test_a_file_that_does_not_run_is_a_finding_of_its_own() -> None:
    error = SourceError("no", remedy="Fix it.", file="2_a.sql")
    assert refused(error, "migrations", "github") == {
        "formatted": "::error file=migrations/2_a.sql,line=1,title=migrator%3A error::no. Fix it.\n"
    }
    findings = (Finding("2_a.sql", "is open", "Close it.", 7), Finding("3_b.sql", "odd", "Fix it."))
    assert refused(SourceError("no", findings=findings), "migrations", "github") == {
        "formatted": "::error file=migrations/2_a.sql,line=7,title=migrator%3A error::"
        "is open. Close it.\n"
        "::error file=migrations/3_b.sql,line=1,title=migrator%3A error::odd. Fix it.\n"
    }
    assert refused(SourceError("no", remedy="Fix it."), "migrations", "github") == {}
