from __future__ import annotations

import pytest

from migrator.folder.names import gather, is_migration, passed_over, versions
from migrator.model import Finding, Kind

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
        ("E.sql", None, "the name fits no pattern, so that the file would never run"),
    ]


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


@pytest.mark.parametrize(
    ("file", "remedy"),
    [
        ("005_e.sql ", "Rename it to 005_e.sql."),
        ("005_e.sql\n", "Rename it to 005_e.sql."),
        ("005_e.sql\u200b", "Rename it to 005_e.sql."),
        ("005_e.down.sql.", "Rename it to 005_e.down.sql."),
        ("R__e.SQL ", "Rename it to R__e.sql."),
        ("005_e.psql", "Rename it to 005_e.sql."),
        ("005_e.down.pgsql", "Rename it to 005_e.down.sql."),
        ("005-Add-x.PGSQL", "Rename it to 005_add_x.sql."),
        ("005_e.sql.txt", "Rename it to 005_e.sql."),
        ("005_e.up.psql", "Rename it to 005_e.sql."),
        *((f"005_e.{ending}", "Rename it to 005_e.sql.") for ending in ("ddl", "plsql", "sqlx")),
        *(
            (
                f"005_e.sql.{ending}",
                "Write what is made of it into 005_e.sql, and move it out of the folder.",
            )
            for ending in ("j2", "jinja", "tmpl", "erb", "in")
        ),
        ("005_e.sql.gz", "Unpack it to 005_e.sql."),
        ("R__e.sql.zst", "Unpack it to R__e.sql."),
        *(
            (f"005_e.{ending}", "Write what it does into 005_e.sql, and move it out of the folder.")
            for ending in (
                "go",
                "ts",
                "mts",
                "cjs",
                "js",
                "mjs",
                "py",
                "rb",
                "java",
                "PY",
                "sh",
                "kts",
            )
        ),
    ],
)
def test_what_can_only_be_a_migration_fails(file: str, remedy: str) -> None:
    """Unless the migration of its name is there: then it is most likely a copy of it."""
    [finding], warned = passed_over([file])
    assert (finding.file, finding.remedy, warned) == (file, remedy, ())
    assert finding.problem.endswith("only files whose names end in .sql are run")
    assert is_migration(file)
    there = file.partition(".")[0].lower().replace("-", "_").replace("r__", "R__")
    failing, [finding] = passed_over([file, f"{there}.sql"])
    assert (failing, finding.remedy) == (
        (),
        f"Move it out of the folder, if {there}.sql is all of it.",
    )


@pytest.mark.parametrize(
    "file",
    [
        *(
            "005_e",
            "005_e.md",
            "005_e.json",
            "005-notes.txt",
            "20240101",
            "1.2.md",
            "005_e_test.go",
        ),
        *("005_e.d.ts", "005_e.test.js", "005_e.sql.bak", "005_e.sql~", "005_e.yaml", "R__e.orig"),
    ],
)
def test_what_may_be_something_else_is_warned_of(file: str) -> None:
    """Unless the migration of its name is there: notes and backups lie beside it."""
    failing, [finding] = passed_over([file, "001_a.sql"])
    assert (failing, finding.file) == ((), file)
    assert finding.remedy.startswith("Rename it to ")
    assert not is_migration(file)


def test_notes_and_backups_beside_their_migration_are_no_finding() -> None:
    names = ["005_e.sql", "005_e.md", "005_e.sql~", "005_e.down.sql.bak", "R__v.sql", "R__v.txt"]
    assert passed_over(names) == ((), ())


@pytest.mark.parametrize(
    "file", ["README.md", "a.go", "env.py", "1st.md", "seed.sql.gz", "V1__a.java", "R_a.ts", "x"]
)
def test_what_has_no_number_is_not_a_migration(file: str) -> None:
    assert passed_over([file]) == ((), ())
    assert not is_migration(file)


def test_a_name_that_ends_in_sql_is_read_or_refused_by_another_rule() -> None:
    assert passed_over(["001_a.sql", "001_a.SQL", "a.sql"]) == ((), ())
    assert is_migration("a.SQL")
