from __future__ import annotations

from pathlib import Path

import pytest

from migrator.sql.marks import TWO_WAY, Half, find_mark, other_half
from migrator.sql.parts import lay_out

FOLDER = Path(__file__).parents[1] / "folders" / "two_way"
STEM = {marks.tool: marks.tool.lower().translate(str.maketrans(" -", "__")) for marks in TWO_WAY}


def refused(sql: str, other: Half = Half.DOWN) -> tuple[int, str] | None:
    """The line for which a text may not run, and the tool."""
    layout = lay_out((sql,))
    mark = other_half(layout.marks, layout.statements, other)
    return (mark.line, mark.marks.tool) if mark else None


def test_every_tool_of_the_table_has_its_file() -> None:
    assert {stem or "bare" for stem in STEM.values()} == {path.stem for path in FOLDER.iterdir()}


@pytest.mark.parametrize("tool", STEM)
def test_a_file_of_the_tool_is_known_by_its_marks(tool: str) -> None:
    sql = (FOLDER / f"{STEM[tool] or 'bare'}.sql").read_text()
    found = refused(sql)
    assert found is not None
    line, named = found
    assert named == tool
    assert sql.split("\n")[line:], "the line of the mark is the file's"
    assert "DROP" not in "".join(sql.split("\n")[:line])
    assert refused(sql.replace("\n", "\r\n")) == found
    assert refused(sql.upper()) == found


@pytest.mark.parametrize(
    ("comment", "half", "tool"),
    [
        ("--migrate:down transaction:false", Half.DOWN, "dbmate"),
        ("-- +goose Up", Half.UP, "goose"),
        ("-- +goose down", Half.DOWN, "goose"),
        ("--\t+migrate Down notransaction", Half.DOWN, "sql-migrate"),
        ("-- +micrate Up", Half.UP, "micrate"),
        ("---- create above / drop below ----", Half.DOWN, "tern"),
        ("--//@UNDO -- and why", Half.DOWN, "MyBatis Migrations"),
        ("-- rambler  up", Half.UP, "rambler"),
        ("-- ==== DOWN ====", Half.DOWN, "shmig"),
        ("# --- !Ups", None, ""),
        ("--- !Ups", Half.UP, "Play"),
        ("-- the !Downs of 3.sql", Half.DOWN, "Play"),
        ("-- atlas:txtar", Half.UP, "Atlas"),
        ("-- down.sql --", Half.DOWN, "Atlas"),
        ("---- UP migration: more", Half.UP, "node-pg-migrate"),
        ("-- Down Migration", Half.DOWN, "node-pg-migrate"),
        ("-- Up", Half.UP, ""),
        ("--UP", Half.UP, ""),
        ("-- === [down]: ===", Half.DOWN, ""),
        ("-- @undo", Half.DOWN, ""),
        ("-- migration: down", Half.DOWN, ""),
        ("-- DOWN SCRIPT ---------", Half.DOWN, ""),
        ("-- Rollback:", Half.DOWN, ""),
        ("-- down.sql", Half.DOWN, ""),
        ("-- Down (rollback)", Half.DOWN, ""),
        ("-- Down part", Half.DOWN, ""),
        ("-- Section: down", Half.DOWN, ""),
        ("-- downgrade", Half.DOWN, ""),
        ("-- Revert", Half.DOWN, ""),
        ("-- reverse migration", Half.DOWN, ""),
        ("-- Backward", Half.DOWN, ""),
    ],
)
def test_a_mark_is_known_however_it_is_written(comment: str, half: Half | None, tool: str) -> None:
    found = find_mark(comment)
    assert (found and (found[0], found[1].tool)) == (half and (half, tool))


@pytest.mark.parametrize(
    "comment",
    [
        *("-- goose up", "-- migrate up", "-- migrate:upper", "-- gooseUp", "-- see +goose Up"),
        *("-- upload", "-- Up to here", "-- down, or what is left of it", "-- scale down"),
        *("-- undo: DROP TABLE t;", "-- rollback is not possible", "--", "-- ----", "-- ups and"),
        *("-- 001_down.sql --", "-- UNDO log", "-- atlas:txmode none"),
    ],
)
def test_what_a_person_writes_is_no_mark(comment: str) -> None:
    assert find_mark(comment) is None


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        pytest.param("A;\n-- migrate:up", (2, "dbmate"), id="a sure mark, whatever follows"),
        pytest.param(
            "-- +goose Up\nA;\n-- +goose Down", (3, "goose"), id="the other half is named"
        ),
        pytest.param("A\n-- //@UNDO\nB;", (2, "MyBatis Migrations"), id="a semicolon is missing"),
        pytest.param("# --- !Ups\nA;\n# --- !Downs\nB;", (3, "Play"), id="MySQL's comments"),
        pytest.param("A; ---- create above / drop below ----\nB;", (1, "tern"), id="behind one"),
        pytest.param("-- Up\nA;\n-- Down\nB;", (3, ""), id="lines that say no more"),
        pytest.param("-- Down\nB;\n-- Up\nA;", (1, ""), id="down comes first"),
        pytest.param("A;\n -- Down\n\n/* x */ B", (2, ""), id="indented"),
        pytest.param("-- Down\n-- Up\nA;\n-- Down\nB", (4, ""), id="the second of two"),
        pytest.param("-- Up\nA;\n-- Down\n-- B;\n", None, id="nothing but comments behind"),
        pytest.param("-- Down\n-- B;\n-- Up\nA;\n", None, id="nothing before the counterpart"),
        pytest.param("-- Up Migration\nA;\n", None, id="no down at all"),
        pytest.param("A; -- Down\nB;", None, id="a remark behind a statement"),
        pytest.param("A (\n-- down\n'down'\n-- up\n);", None, id="within a statement"),
        pytest.param("A $$\n-- migrate:down\nB;\n$$;", None, id="in a body"),
        pytest.param("A '\n-- migrate:down\nB;\n';", None, id="in a string"),
        pytest.param('A "\n-- Down\nB;\n";', None, id="in a name"),
        pytest.param("A; /*\n-- migrate:down\nB;\n*/", None, id="in a block comment"),
        pytest.param("COPY t FROM stdin;\n-- Down\n\\.\nB;", None, id="in the rows of a COPY"),
    ],
)
def test_where_a_mark_counts(sql: str, expected: tuple[int, str] | None) -> None:
    assert refused(sql) == expected


def test_of_an_undo_the_way_up_is_the_other_half() -> None:
    assert refused("-- Down\nB;\n", Half.UP) is None
    assert refused("-- Down\nB;\n-- Up\nA;", Half.UP) == (3, "")
