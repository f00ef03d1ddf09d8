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
        ("-- DOWN: drop the table", Half.DOWN, ""),
        ("-- Up - the table", Half.UP, ""),
        ("-- Undo script \u2014 takes the table away", Half.DOWN, ""),
        ("-- Rollback -> and the rows", Half.DOWN, ""),
        ("/* DOWN */", Half.DOWN, ""),
        ("/*\n * Undo:\n **********/", Half.DOWN, ""),
        ("/* Down: drop the table */", Half.DOWN, ""),
        ("/* +goose Down */", Half.DOWN, "goose"),
        ("/* migrate:up */", Half.UP, "dbmate"),
        ("/* -- ==== DOWN ==== */", Half.DOWN, "shmig"),
        ("/* Down Migration */", Half.DOWN, "node-pg-migrate"),
    ],
)
def test_a_mark_is_known_however_it_is_written(comment: str, half: Half, tool: str) -> None:
    found = find_mark(comment)
    assert found
    assert (found[0], found[1].tool) == (half, tool)


@pytest.mark.parametrize(
    "comment",
    [
        *("-- goose up", "-- migrate up", "-- migrate:upper", "-- gooseUp", "-- see +goose Up"),
        *("-- upload", "-- Up to here", "-- down, or what is left of it", "-- scale down"),
        *("-- undo: DROP TABLE t;", "-- rollback is not possible", "--", "-- ----", "-- ups and"),
        *("-- 001_down.sql --", "-- UNDO log", "-- atlas:txmode none", "-- Down-time: 3"),
        *("/* Down\n * and more */", "/* -- migrate:down\nDROP TABLE t; */", "/* undo: DELETE; */"),
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
        pytest.param("A; /* /* x */ Down */\nB;", None, id="in a nested comment"),
        pytest.param("A;\n/* DOWN */\nB;", (2, ""), id="a block comment of its own"),
        pytest.param("A;\n/* DOWN */ B;", (2, ""), id="a block comment before a statement"),
        pytest.param("A; /* DOWN */\nB;", None, id="a block comment behind a statement"),
        pytest.param("A;\n/*\n * Down\n */\nB;", (2, ""), id="a block comment of three lines"),
        pytest.param("A;\n/* migrate:down */\nB;", (2, "dbmate"), id="a tool's in a block"),
        pytest.param("A;\n/* migrate:down */\n", None, id="which no tool reads"),
        pytest.param("A;\n/* Down" + " " * 90 + "*/ B;", None, id="a block comment too long"),
        pytest.param("A;\n-- Down: the t\nDROP TABLE t;", (2, ""), id="words and an undo"),
        pytest.param("A;\n/* Undo: t */\nDELETE FROM t;", (2, ""), id="words in a block, an undo"),
        pytest.param("A;\n-- Down: the t\nBEGIN;\nDROP TABLE t;", (2, ""), id="a BEGIN between"),
        pytest.param("-- Up: a\nA;\n-- Down: b\nWITH x;", (3, ""), id="words for both ways"),
        pytest.param("-- Down: b\nWITH x;\n-- Up: a\nA;\n", None, id="words, and down comes first"),
        pytest.param("A;\n-- Down: 3 % of rows\nUPDATE t;", None, id="words over no undo"),
        pytest.param("-- Down: 3 % of rows\nDELETE FROM t;", None, id="words at the top"),
        pytest.param("A;\n-- Down: DROP t\n", None, id="words over nothing"),
        pytest.param(
            "A;\n-- Down: the t\n-- Up: b\nDROP t;", None, id="words with nothing between"
        ),
        pytest.param("COPY t FROM stdin;\n-- Down\n\\.\nB;", None, id="in the rows of a COPY"),
    ],
)
def test_where_a_mark_counts(sql: str, expected: tuple[int, str] | None) -> None:
    assert refused(sql) == expected


def test_of_an_undo_the_way_up_is_the_other_half() -> None:
    assert refused("-- Down\nB;\n", Half.UP) is None
    assert refused("-- Down\nB;\n-- Up\nA;", Half.UP) == (3, "")
    assert refused("DROP TABLE t;\n-- Up: the t\nCREATE TABLE t ();", Half.UP) == (2, "")


def test_a_mark_is_found_wherever_the_text_is_cut() -> None:
    sql = "A;\n/* DOWN */\nB;"
    for cut in range(len(sql)):
        [placed] = lay_out((sql[:cut], sql[cut:])).marks
        assert (placed.mark.line, placed.mark.text, placed.before) == (2, "/* DOWN */", 1)
