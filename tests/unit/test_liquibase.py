"""Liquibase's formatted SQL: its marks line by line, what is honoured, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from migrator.errors import SourceError
from migrator.folder.formats.delimiter import with_semicolons
from migrator.folder.formats.format import OUTSIDE, Pick, Section, WrongTextError
from migrator.folder.formats.liquibase import Liquibase, changeset_version
from migrator.folder.read import read_source
from migrator.sql.script import understand
from tests.builders import a_migration

HEADER = "--liquibase formatted sql\n"


def parts(text: str, path: str = "db/001_a.sql") -> list[Section]:
    return Liquibase().parts(Pick(path, path), text)


def test_each_changeset_is_a_migration_on_its_own_lines() -> None:
    text = (
        "\n  -- Liquibase Formatted SQL\n-- a comment\n\n"
        "--changeset alice:1\nA;\n-- rollback B;\n--rollback C;\n--comment: why\n\n"
        '  -- CHANGESET "Bob B":"two 2" splitStatements:true stripComments:false\nD;\n'
        "/* liquibase rollback\nE;\n*/\n"
        "--changeset eve (generated):170-3 runInTransaction:false\nF;\n--rollback not required\n"
    )
    one, two, three = parts(text)
    assert (one.version, one.text.count("\n")) == ("db/001_a:alice:1", 4)
    assert one.up.split("\n")[5:] == ["A;", "", "", "--comment: why", ""]
    assert (one.down or "").split("\n")[5:] == ["", "B;", "C;", "", ""]
    assert two.version == "db/001_a:Bob_B:two_2"
    assert two.up.split("\n")[10:13] == ["", "D;", ""]
    assert (two.down or "").split("\n")[13:15] == ["E;", ""]
    assert three.version == "db/001_a:eve_generated:170-3"
    assert three.up.split("\n")[15:17] == [OUTSIDE, "F;"]
    assert (three.down or "").split("\n")[15:18] == [OUTSIDE, "", "SELECT;"]


def test_one_that_runs_on_change_is_a_repeatable_without_an_undo() -> None:
    [one] = parts(f"{HEADER}--changeset a:v runOnChange:true\nA;\n--rollback B;\n")
    assert (one.version, one.down) == ("R__db/001_a:a:v", None)


def test_a_checksum_is_of_the_changeset_alone() -> None:
    before = parts(f"{HEADER}--changeset a:1\nA;\n--changeset a:2\nB;\n")
    after = parts(f"{HEADER}\n-- more\n--changeset a:1\nA;\n\n--changeset a:2\nC;\n")
    assert before[0].text == after[0].text
    assert before[1].text != after[1].text


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("A;\n", 1, "does not begin with `--liquibase formatted sql`"),
        ("", 1, "does not begin with"),
        (HEADER, 1, "holds no changeset"),
        (f"{HEADER}A;\n--changeset a:1\nB;\n", 2, "above the first changeset"),
        (f"{HEADER}--changeset a\nB;\n", 2, "cannot read this changeset's name"),
        (f"{HEADER}-changeset a:1\nB;\n", 2, "two dashes"),
        (f"{HEADER}--changeset a:1\nB;\n--changeset a:1\nC;\n", 4, "a:1 is in this file twice"),
        ("--liquibase formatted sql logicalFilePath:x\n", 1, "logicalFilePath:x in the first"),
        (f"{HEADER}--changeset a:1 runAlways:true\nB;\n", 2, "runalways is not supported"),
        (f'{HEADER}--changeset a:1 context:"a or b"\nB;\n', 2, "context is not supported"),
        (f"{HEADER}--changeset a:1 contextFilter:a\nB;\n", 2, "contextfilter is not supported"),
        (f"{HEADER}--changeset a:1 labels:a\nB;\n", 2, "labels is not supported"),
        (f"{HEADER}--changeset a:1 dbms:mysql,h2\nB;\n", 2, "dbms is not supported"),
        (f"{HEADER}--changeset a:1 failOnError:false\nB;\n", 2, "failonerror is not supported"),
        (f"{HEADER}--changeset a:1 logicalFilePath:x\nB;\n", 2, "logicalfilepath"),
        (f"{HEADER}--changeset a:1 runInTransaction: false\nB;\n", 2, "does not read all of"),
        (f"{HEADER}--changeset a:1 surprise:x\nB;\n", 2, "surprise is not supported"),
        (f"{HEADER}--changeset a:1\n--preconditions onFail:HALT\nB;\n", 3, "preconditions"),
        (f"{HEADER}--changeset a:1\n--precondition-sql-check x\nB;\n", 3, "precondition"),
        (f"{HEADER}--property name:x value:y\n--changeset a:1\nB;\n", 2, "property"),
        (f"{HEADER}--changeset a:1\n--ignoreLines:start\nB;\n", 3, "ignoreLines"),
        (f"{HEADER}--include file:x.sql\n", 2, "--include is not supported"),
        (f"{HEADER}--changeset a:1\nB;\n--rollback changesetId:2\n", 4, "names another changeset"),
        (f"{HEADER}--changeset a:1 endDelimiter:\\n/\nB\n/\n", 2, "is a pattern"),
        (f"{HEADER}--changeset a:1 endDelimiter:@@\nB @@ C\n@@\n", 2, "is within a line"),
        (f"{HEADER}--changeset a:{'x' * 250}\nB;\n", 2, "more than 255 characters"),
    ],
)
def test_what_is_not_supported_is_named_with_its_line(text: str, line: int, said: str) -> None:
    with pytest.raises(WrongTextError, match=said) as caught:
        parts(text)
    assert caught.value.line == line


@pytest.mark.parametrize(
    "attributes",
    [
        "dbms:postgresql",
        "dbms:h2,postgresql",
        "runAlways:false",
        "endDelimiter:;",
        "failOnError:true",
    ],
)
def test_what_says_nothing_passes(attributes: str) -> None:
    [one] = parts(f"{HEADER}--changeset a:1 {attributes}\n-- property is theft\nB;\n")
    assert one.up.endswith("B;\n")


def test_another_delimiter_becomes_a_semicolon() -> None:
    text = f"{HEADER}--changeset a:1 endDelimiter:/\nSELECT 'a;\nb'\n/\nSELECT 2 \n/\n"
    [one] = parts(text)
    assert one.up.split("\n")[2:] == ["SELECT 'a;", "b'", ";", "SELECT 2 ", ";", ""]


@pytest.mark.parametrize(
    ("text", "said"),
    [("SELECT '@'", "within a quoted text"), ("SELECT 1 -- x @", "a comment is before")],
)
def test_a_delimiter_that_another_reader_may_miss_is_refused(text: str, said: str) -> None:
    at = text.index("@")
    with pytest.raises(WrongTextError, match=said):
        with_semicolons(text, [(at, at + 1)])


def test_a_text_without_a_delimiter_is_as_it_is() -> None:
    assert with_semicolons("SELECT 'open", []) == "SELECT 'open"


@pytest.mark.parametrize(
    ("file", "text", "found"),
    [
        ("a.xml", "<?xml?>\n<databaseChangeLog\n xmlns", True),
        ("a.yaml", "databaseChangeLog:\n- changeSet:", True),
        ("a.yml", "# x\ndatabaseChangeLog :\n", True),
        ("a.json", '{ "x": 1,\n "databaseChangeLog": []}', True),
        ("pom.xml", "<project/>", False),
    ],
)
def test_a_changelog_that_is_no_sql_is_refused(file: str, text: str, found: bool) -> None:
    folder = {file: text, "b.sql": HEADER}
    picks, findings = Liquibase().pick([*folder], lambda path: folder[path])
    assert [pick.up for pick in picks] == ["b.sql"]
    assert [finding.file for finding in findings] == [file] * found


def test_a_version_can_be_typed() -> None:
    assert changeset_version("a b/c'd.SQL", "Ann (x)", "#1") == "a_b/c_d:Ann_x:1"


def test_such_a_file_among_our_own_is_warned_of() -> None:
    text = f"\n{HEADER}--changeset a:1 context:test\nSELECT 1;\n"
    script, _ = understand(a_migration(2, text))
    assert script
    assert ["formatted for Liquibase" in found.problem for found in script.warnings] == [True]
    script, _ = understand(a_migration(2, text, format="liquibase"))
    assert script
    assert script.warnings == ()


@pytest.mark.parametrize("name", ["{}_a.sql", "{}-a.sql"], ids=["our names", "others"])
def test_a_header_beyond_the_first_files_decides_too(tmp_path: Path, name: str) -> None:
    for number in range(1, 8):
        text = f"{HEADER}--changeset a:{number}\nSELECT 1;\n" if number == 6 else "SELECT 1;\n"
        (tmp_path / name.format(number)).write_text(text)
    with pytest.raises(SourceError, match=r"read as liquibase's \(FOLDER_FORMAT=native") as error:
        read_source(tmp_path)
    assert [one.file for one in error.value.findings] == [
        name.format(n) for n in (1, 2, 3, 4, 5, 7)
    ]


def test_such_a_folder_is_our_own_where_the_setting_says_so(tmp_path: Path) -> None:
    (tmp_path / "1_a.sql").write_text("SELECT 1;\n")
    (tmp_path / "2_b.sql").write_text(f"{HEADER}--changeset a:1\nSELECT 1;\n")
    assert [one.format for one in read_source(tmp_path, "native").migrations] == ["native"] * 2
