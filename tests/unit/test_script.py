from __future__ import annotations

from typing import Any

import pytest

from migrator.model import Allow, Danger, Finding
from migrator.sql.script import (
    Requirement,
    has_undo,
    is_post,
    read_requirements,
    sets_floor,
    understand,
)
from tests.builders import a_migration, a_script


def test_a_migration_becomes_a_script() -> None:
    sql = "-- migrator: lock-timeout 500ms\n-- Migrator: statement-timeout\t30 min \nA;\nB"
    migration = a_migration(1, sql)
    script, findings = understand(migration)
    assert script is not None
    assert not findings
    assert script.migration is migration
    assert (script.statements, script.whole) == (2, True)
    assert (script.lock_timeout_ms, script.statement_timeout_ms) == (500, 1_800_000)


def test_a_no_transaction_file_may_hold_what_no_other_may() -> None:
    sql = "-- migrator: no-transaction\n-- migrator: lock-timeout 1s\nVACUUM;"
    script, findings = understand(a_migration(1, sql))
    assert script is not None
    assert not findings
    assert not script.transactional
    assert (script.lock_timeout_ms, script.statement_timeout_ms) == (1000, None)
    _, [finding] = understand(a_migration(1, "VACUUM;\nSELECT 1;"))
    assert finding.problem == "VACUUM cannot run inside a transaction"


@pytest.mark.parametrize(
    "sql", ["VACUUM;", "-- why\nCREATE INDEX CONCURRENTLY i ON t (a);\nVACUUM t"]
)
def test_a_file_of_such_statements_alone_needs_no_directive(sql: str) -> None:
    assert not a_script(sql).transactional


def test_a_repeatable_of_such_statements_is_refused() -> None:
    _, [finding] = understand(a_migration("R__a", "VACUUM;"))
    assert finding.problem == "VACUUM cannot run inside a transaction"


def test_a_foreign_file_may_be_empty() -> None:
    assert a_script("-- nothing\n", format="goose").statements == 0


def test_a_repeatable_runs_in_a_transaction() -> None:
    script, findings = understand(a_migration("R__a", "\n-- migrator: no-transaction\nVACUUM;"))
    assert script is None
    assert [(f.line, f.problem) for f in findings] == [(2, "a repeatable runs in a transaction")]


def test_a_repeatable_sets_no_floor() -> None:
    _, [finding] = understand(a_migration("R__a", "-- migrator: floor\nSELECT 1;"))
    assert finding.problem == "a repeatable sets no floor"


NEEDS = "-- migrator: requires 002_b  R__c\n--migrator: requires\t003_d\n"


def test_what_a_file_requires_may_take_several_words_and_lines() -> None:
    script, _ = understand(a_migration(1, NEEDS + "SELECT"))
    assert script is not None
    needed = (Requirement("002_b", 1), Requirement("R__c", 1), Requirement("003_d", 2))
    assert script.requires == needed
    assert read_requirements(a_migration(1, NEEDS + "SELECT 'unended")) == needed


@pytest.mark.parametrize(
    ("sql", "floor", "understood"),
    [
        ("-- migrator: floor\nSELECT 1;", True, True),
        ("-- migrator: floor\n-- migrator: no-transaction\nVACUUM;", True, True),
        ("-- migrator: floor\nCOMMIT;", True, False),
        ("SELECT '-- migrator: floor';", False, True),
    ],
)
def test_a_file_may_set_a_floor(sql: str, floor: bool, understood: bool) -> None:
    """`repair` asks it of files that could not run here, too."""
    script, _ = understand(a_migration(1, sql))
    assert (script is not None) is understood
    assert script is None or script.floor is floor
    assert sets_floor(a_migration(1, sql)) is floor


@pytest.mark.parametrize("version", ["001_step", "R__step"])
@pytest.mark.parametrize(
    "sql",
    [
        *("", "\n", ";", "-- nothing\n", "/* nothing */;", "\\restrict x\n\\unrestrict x\n"),
        *("-- migrator: requires 002_b\n", "-- 001_step: what it is for\n\n"),
    ],
)
def test_a_file_without_a_statement_is_not_run(version: str, sql: str) -> None:
    script, [finding] = understand(a_migration(version, sql))
    assert script is None
    assert (finding.file, finding.line) == (f"{version}.sql", None)
    assert finding.problem.startswith("holds no statement")
    assert "`SELECT;`" in finding.remedy
    assert not has_undo(a_migration(version, "SELECT 1;", rollback_sql=sql))


def test_an_undo_of_begin_and_commit_alone_undoes_nothing() -> None:
    undo = a_migration("007_a", "BEGIN;\nCOMMIT;\n", file="007_a.down.sql", undoes=True)
    script, [finding] = understand(undo)
    assert script is None
    assert finding.problem == "holds no statement but BEGIN and COMMIT: nothing would be undone"
    assert "`SELECT;`" in finding.remedy


@pytest.mark.parametrize("sql", ["SELECT;", "-- migrator: no-transaction\n;;SELECT"])
def test_a_deliberate_no_op_is_a_statement(sql: str) -> None:
    script, findings = understand(a_migration(1, sql))
    assert script is not None
    assert (script.statements, findings) == (1, ())
    assert script.lock_timeout_ms is script.statement_timeout_ms is None
    assert has_undo(a_migration(1, rollback_sql=sql))


def test_what_cannot_be_read_is_no_empty_text() -> None:
    """An undo that is refused for what it says is not one that is missing."""
    assert has_undo(a_migration(1, rollback_sql="\\i undo.sql\n"))
    assert not has_undo(a_migration(1))
    _, [finding] = understand(a_migration(1, "\\i 001.sql\n"))
    assert finding.problem.startswith("\\i is a command of psql")


@pytest.mark.parametrize(
    ("sql", "line", "problem"),
    [
        ("-- migrator: no-transaction please", 1, "the directive no-transaction takes no words"),
        ("-- migrator: floor 5", 1, "the directive floor takes no words"),
        ("A;\n-- migrator: no-transaction", 2, "the directive no-transaction comes after"),
        (
            "-- migrator: no-transaction\n-- migrator: no-transaction",
            2,
            "the directive no-transaction is given twice",
        ),
        ("-- migrator: no-transaction\nCOPY t FROM STDIN", 2, "COPY ... FROM STDIN cannot run"),
        ("\n-- migrator: requires \n", 2, "the directive requires names no version"),
        ("A;\n-- migrator: requires 002_b", 2, "the directive requires comes after"),
        ('-- migrator: allow drop "x"', 1, "the directive allow needs a class, a relation"),
        ("-- migrator: speed 5s", 1, '"speed" is not a directive'),
        ("-- migrator:", 1, '"" is not a directive'),
        ("-- migrator: lock-timeout 5", 1, 'lock-timeout: "5" is not a duration'),
        ("-- migrator: lock-timeout", 1, 'lock-timeout: "" is not a duration'),
        ("A;\n-- migrator: lock-timeout 5s", 2, "the directive lock-timeout comes after"),
        ("A -- migrator: lock-timeout 5s\n;", 1, "the directive lock-timeout comes after"),
        (
            "-- migrator: lock-timeout 5s\n-- migrator: lock-timeout 5s",
            2,
            "the directive lock-timeout is given twice",
        ),
        ("-- migrator: phase", 1, "the directive phase takes pre or post"),
        ("-- migrator: phase all", 1, "the directive phase takes pre or post"),
        (
            "-- migrator: phase post\n-- migrator: phase pre\nA;",
            2,
            "the directive phase is given twice",
        ),
        ("A;\n-- migrator: phase post", 2, "the directive phase comes after"),
        ("A;\n\nB 'C;", 3, "this quoted string is never closed"),
        ("A;\n\\i b.sql", 2, "\\i is a command of psql, not SQL"),
        ("A;\nCOMMIT;", 2, "COMMIT would end or begin a transaction"),
    ],
)
def test_what_cannot_be_sent_is_a_finding_with_its_line(sql: str, line: int, problem: str) -> None:
    script, [finding] = understand(a_migration(7, sql))
    assert script is None
    assert (finding.file, finding.line) == ("007_step.sql", line)
    assert finding.problem.startswith(problem)


def test_the_findings_of_a_file_come_in_the_order_of_its_lines() -> None:
    sql = "-- migrator: x\nVACUUM;\n-- migrator: y\n\\i z\nCOMMIT;\nSELECT 'a"
    _, findings = understand(a_migration(1, sql))
    assert [finding.line for finding in findings] == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize("sql", ["-- Migrator: Jane\nA;", "A;\n-- MIGRATOR: see the wiki\n"])
def test_a_heading_with_a_name_is_a_comment(sql: str) -> None:
    script, findings = understand(a_migration(1, sql))
    assert (script is not None, findings) == (True, ())


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("-- migrator: no transaction", "no-transaction"),
        ("-- Migrator: No_Transaction", "no-transaction"),
        ("-- migrator: locktimeout 5s", "lock-timeout"),
    ],
)
def test_a_slip_of_a_directive_is_asked_about(text: str, meant: str) -> None:
    _, [finding] = understand(a_migration(1, f"{text}\nA;"))
    assert finding.remedy.startswith(f"Did you mean {meant}? This version knows ")


@pytest.mark.parametrize(
    ("sql", "post"),
    [
        ("-- migrator: phase post\nA;", True),
        ("-- why\n/* a */ -- migrator:  phase   post\nA;", True),
        ("-- migrator: phase pre\nA;", False),
        ("A;\n-- migrator: phase post\n", False),
        ("-- migrator: phase post\n\\i other faults\n'", True),
        ("A;", False),
        ("", False),
    ],
)
def test_the_phase_is_read_from_the_lines_above_the_first_statement(sql: str, post: bool) -> None:
    assert is_post(a_migration(7, sql)) is post


@pytest.mark.parametrize("values", [{"undoes": True}, {"version": "after"}])
def test_an_undo_and_a_hook_have_no_phase(values: dict[str, Any]) -> None:
    script, [finding] = understand(a_migration(7, "-- migrator: phase post\nA;")._replace(**values))
    assert (script, finding.line, finding.problem) == (None, 1, "only a migration has a phase")


@pytest.mark.parametrize("before", ["", "-- migrator: no-transaction\n"])
def test_what_acts_from_the_next_session_on_is_a_warning(before: str) -> None:
    sql = f"{before}SELECT 1;\nALTER ROLE r SET search_path = a;\n"
    script, findings = understand(a_migration(1, sql))
    assert (script is not None, findings) == (True, ())
    assert script is not None
    [warning] = script.warnings
    assert warning.line == sql.count("\n")
    assert warning.problem.startswith("ALTER ROLE ... SET search_path acts from the next session")


@pytest.mark.parametrize(
    ("file", "sql", "line", "problem", "remedy"),
    [
        (
            "007_a.sql",
            "SELECT 1;\n-- //@UNDO \nDROP TABLE t;",
            2,
            "`-- //@UNDO` is a mark of MyBatis Migrations: up and down would both run",
            "Move the down half to 007_a.down.sql and remove the marks.",
        ),
        (
            "007_a.sql",
            "SELECT 1;\n--Down:\nDROP TABLE t;",
            2,
            "`--Down:` is a mark of another tool, and a statement follows it: up and down would "
            "both run",
            "Move the down half to 007_a.down.sql and remove the marks. Of a heading that means "
            "nothing of the kind, change the words.",
        ),
        (
            "007_a.down.sql",
            "-- Down\nDROP TABLE t;\n-- Up\nSELECT 1;",
            3,
            "`-- Up` is a mark of another tool, and a statement follows it: up and down would "
            "both run",
            "Move the up half to 007_a.sql and remove the marks. Of a heading that means "
            "nothing of the kind, change the words.",
        ),
        (
            "R__a.sql",
            "SELECT 1;\n-- migrate:down\nDROP TABLE t;",
            2,
            "`-- migrate:down` is a mark of dbmate: up and down would both run",
            "Remove the down half and the marks: a repeatable has no undo.",
        ),
    ],
)
def test_a_file_that_holds_both_ways_is_refused(
    file: str, sql: str, line: int, problem: str, remedy: str
) -> None:
    """Both parts would run, one after the other, and the tables be gone."""
    version = file.partition(".")[0]
    undoes = file.endswith(".down.sql")
    script, findings = understand(a_migration(version, sql, file=file, undoes=undoes))
    assert script is None
    assert findings == (Finding(file, problem, remedy, line),)


@pytest.mark.parametrize(
    ("sql", "runs"),
    [
        ("BEGIN;\nA;\n-- Down\n-- B;\nCOMMIT;", True),
        ("BEGIN;\nA;\nCOMMIT;\n-- Down\n-- B;", True),
        ("BEGIN;\n-- Down\nB;\nCOMMIT;", False),
    ],
)
def test_a_commit_is_no_statement_that_a_mark_would_run(sql: str, runs: bool) -> None:
    assert (understand(a_migration(1, sql))[0] is not None) is runs


def test_an_undo_may_be_headed_as_one() -> None:
    sql = "-- Down migration\nDROP TABLE t;"
    script, findings = understand(a_migration("007_a", sql, file="007_a.down.sql", undoes=True))
    assert (script is not None, findings) == (True, ())


def test_a_file_says_what_it_may_do() -> None:
    script = a_script('-- migrator: allow scan app.orders "at night"\nSELECT 1')
    assert script.allows == (Allow(1, Danger.SCAN, "app.orders", "at night"),)
