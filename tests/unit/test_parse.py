from __future__ import annotations

import pytest

from migrator.model import Finding, Kind
from migrator.plan.order import Requirement
from migrator.sql.script import gather, read_requirements, sets_floor, understand, versions
from tests.builders import a_migration

CANNOT_READ = Finding("003_c.sql", "cannot be read: Permission denied", "Make it readable.")


def test_files_become_migrations_in_the_order_of_their_numbers() -> None:
    files = {"10_b.sql": b"B", "9_a.sql": b"A", "20260101120000_c_2.sql": b"C"}
    migrations, findings = gather(files.items())
    assert [(m.number, m.version, m.file, m.pieces) for m in migrations] == [
        (9, "9_a", "9_a.sql", ("A",)),
        (10, "10_b", "10_b.sql", ("B",)),
        (20260101120000, "20260101120000_c_2", "20260101120000_c_2.sql", ("C",)),
    ]
    assert not findings


def test_a_down_file_becomes_the_rollback_of_its_migration() -> None:
    files = {"001_a.sql": b"A", "001_a.down.sql": b"\xef\xbb\xbfB\r\n", "002_b.sql": b"C"}
    migrations, _ = gather(files.items())
    assert [m.rollback_sql for m in migrations] == ["B\n", None]


@pytest.mark.parametrize(
    "file",
    [
        *("a.sql", "001.sql", "001_.sql", "_a.sql", "001-a.sql", "V1__a.sql", "001_A.sql"),
        *("001_a.SQL", "001_a.up.sql", "001_a b.sql", "001_é.sql", "٣_a.sql", "001_a.sql\n"),
        *("001_a.down.down.sql", "-1_a.sql"),
        *("R__.sql", "R_a.sql", "r__a.sql", "R__A.sql", "R__a-b.sql", "R__a.SQL", "1R__a.sql"),
    ],
)
def test_a_name_that_fits_no_pattern_is_a_finding(file: str) -> None:
    migrations, [finding] = gather([(file, b"\xff")])
    assert not migrations
    assert finding.file == file
    assert "fits no pattern" in finding.problem


def test_repeatables_come_last_and_by_name() -> None:
    files = {"R__b.sql": b"B", "R__0.sql": b"0", "010_z.sql": b"Z"}
    migrations, findings = gather(files.items())
    assert [(m.version, m.number, m.kind) for m in migrations] == [
        ("010_z", 10, Kind.VERSIONED),
        ("R__0", -1, Kind.REPEATABLE),
        ("R__b", -1, Kind.REPEATABLE),
    ]
    assert not findings


def test_a_repeatable_has_no_undo() -> None:
    _, [finding] = gather([("R__a.sql", b""), ("R__a.down.sql", b"")])
    assert (finding.file, finding.problem) == ("R__a.down.sql", "a repeatable has no undo")


def test_all_that_is_wrong_with_a_folder_is_found_at_once() -> None:
    files: dict[str, bytes | Finding] = {
        "001_a.sql": b"",
        "01_b.sql": b"",
        "1_c.sql": b"",
        "002_d.down.sql": b"",
        "003_c.sql": CANNOT_READ,
        "003_c.down.sql": b"",
        "004_e.sql": b"a\r\nb\rc\xe9\n",
        "005_f.sql": b"a\n\nb\0c\0",
        "E.sql": b"",
    }
    migrations, findings = gather(files.items())
    assert not migrations
    assert [(f.file, f.line, f.problem) for f in findings] == [
        ("002_d.down.sql", None, "there is no 002_d.sql that it could undo"),
        ("003_c.sql", None, "cannot be read: Permission denied"),
        ("004_e.sql", 3, "the text is not UTF-8"),
        ("005_f.sql", 3, "the text holds a NUL character"),
        ("01_b.sql", None, "001_a.sql has the same number"),
        ("1_c.sql", None, "001_a.sql has the same number"),
        ("E.sql", None, "the name fits no pattern, so that the file would be lost"),
    ]


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
    _, [finding] = understand(a_migration(1, "VACUUM;"))
    assert finding.problem == "VACUUM cannot run inside a transaction"


def test_a_repeatable_runs_in_a_transaction() -> None:
    script, findings = understand(a_migration("R__a", "\n-- migrator: no-transaction\nVACUUM;"))
    assert script is None
    assert [(f.line, f.problem) for f in findings] == [(2, "a repeatable runs in a transaction")]


def test_a_repeatable_sets_no_floor() -> None:
    _, [finding] = understand(a_migration("R__a", "-- migrator: floor\nSELECT 1;"))
    assert finding.problem == "a repeatable sets no floor"


NEEDS = "-- migrator: requires 002_b  R__c\n--migrator: requires\t003_d\n"


def test_what_a_file_requires_may_take_several_words_and_lines() -> None:
    script, _ = understand(a_migration(1, NEEDS))
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


@pytest.mark.parametrize("sql", ["", "\n", "-- nothing\n", "/* nothing */;"])
def test_a_file_without_a_statement_is_a_script_too(sql: str) -> None:
    script, findings = understand(a_migration(1, sql))
    assert script is not None
    assert script.statements == 0
    assert not findings
    assert script.lock_timeout_ms is script.statement_timeout_ms is None


@pytest.mark.parametrize(
    ("sql", "line", "problem"),
    [
        ("-- migrator: no-transaction please", 1, "the directive no-transaction takes no words"),
        ("-- migrator: floor 5", 1, "the directive floor takes no words"),
        ("A;\n-- migrator: no-transaction", 2, "the directive no-transaction stands after"),
        (
            "-- migrator: no-transaction\n-- migrator: no-transaction",
            2,
            "the directive no-transaction is given twice",
        ),
        ("-- migrator: no-transaction\nCOPY t FROM STDIN", 2, "COPY ... FROM STDIN cannot stand"),
        ("\n-- migrator: requires \n", 2, "the directive requires names no version"),
        ("A;\n-- migrator: requires 002_b", 2, "the directive requires stands after"),
        ('-- migrator: allow drop "x"', 1, "the directive allow is not supported"),
        ("-- migrator: speed 5s", 1, '"speed" is not a directive'),
        ("-- migrator:", 1, '"" is not a directive'),
        ("-- migrator: lock-timeout 5", 1, 'lock-timeout: "5" is not a duration'),
        ("-- migrator: lock-timeout", 1, 'lock-timeout: "" is not a duration'),
        ("A;\n-- migrator: lock-timeout 5s", 2, "the directive lock-timeout stands after"),
        ("A -- migrator: lock-timeout 5s\n;", 1, "the directive lock-timeout stands after"),
        (
            "-- migrator: lock-timeout 5s\n-- migrator: lock-timeout 5s",
            2,
            "the directive lock-timeout is given twice",
        ),
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


@pytest.mark.parametrize(
    "mark",
    ["-- migrate:up", "--migrate:down transaction:false", "-- +goose Up", "-- +migrate Down"],
)
def test_a_file_of_a_tool_that_keeps_up_and_down_together_is_refused(mark: str) -> None:
    """Both parts would run, one after the other, and the tables be gone."""
    script, findings = understand(a_migration(1, f"SELECT 1;\n{mark}\nDROP TABLE t;\n"))
    assert script is None
    assert [(finding.line, "another tool" in finding.problem) for finding in findings] == [
        (2, True)
    ]


def test_such_a_mark_inside_a_statement_is_text() -> None:
    script, findings = understand(a_migration(1, "SELECT $$\n-- migrate:up\n$$;\n"))
    assert (script is not None, findings) == (True, ())


def test_versions_go_by_the_names_alone() -> None:
    names = [
        "010_c.sql",
        "9_b.sql",
        "9_a.sql",
        "9_a.down.sql",
        "R__v.sql",
        "x.sql",
        "008_gone.down.sql",
    ]
    assert versions(names) == ("9_a", "9_b", "010_c")
