"""What psql would say too is tested against psql in tests/database/test_psql_agrees.py."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from migrator.statements import StatementKind, line_text, position, refusals, scan

WORDS = """
CREATE FUNCTION BEGIN ATOMIC CASE END COPY FROM STDIN SELECT x é 1 ; ( ) ' E' " $$ $a$ $1 \\ \\. - /
/* */
"""
TOKENS = [*WORDS.split(), " ", "\n", "\r", ";\n", "--", "-- migrator: x", "\\restrict a"]
SOUPS = st.lists(st.sampled_from(TOKENS) | st.text(max_size=3)).map("".join)


def statements(text: str) -> list[str]:
    found = scan(text)
    return [found.sql[statement.start : statement.end] for statement in found.statements]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("", [], id="nothing"),
        pytest.param(" ;; -- a\n /* b /* c */ */ ;", [], id="comments and semicolons"),
        pytest.param("a; b", ["a", "b"], id="no semicolon at the end"),
        pytest.param("-- x\n a b -- y\n;\n", ["a b"], id="comments around are left out"),
        pytest.param("a -- x;\n b;", ["a -- x;\n b"], id="comments within are kept"),
        pytest.param("a ';''' \";\" $$;$$ $x$;$$;$x$;b", ["a ';''' \";\" $$;$$ $x$;$$;$x$", "b"]),
        pytest.param("a E'\\';' e'\\\\';b", ["a E'\\';' e'\\\\'", "b"], id="escapes"),
        pytest.param("a E'b'\n--c\n'\\';';d", ["a E'b'\n--c\n'\\';'", "d"], id="E goes on"),
        pytest.param("a E'b' '\\';c", ["a E'b' '\\'", "c"], id="E ends without a line end"),
        pytest.param("a$$; b$$; like'\\';c", ["a$$", "b$$", "like'\\'", "c"], id="identifiers"),
        pytest.param("a (b; (c;); d); e", ["a (b; (c;); d)", "e"], id="parentheses"),
        pytest.param("a); b", ["a)", "b"], id="one parenthesis too many"),
        pytest.param("a $1; b $; c", ["a $1", "b $", "c"], id="dollars"),
        pytest.param("a/*/;*/b;c--;\n;d", ["a/*/;*/b", "c", "d"], id="operators or comments"),
    ],
)
def test_a_text_is_split_at_the_semicolons_that_count(text: str, expected: list[str]) -> None:
    assert statements(text) == expected


@pytest.mark.parametrize(
    "head", ["CREATE FUNCTION f()", "create or replace procedure p()", "CREATE PROCEDURE p()"]
)
def test_the_body_of_a_routine_is_one_with_it(head: str) -> None:
    text = f"{head} BEGIN ATOMIC SELECT CASE WHEN a THEN 1 END; (SELECT CASE); SELECT 2; END"
    assert statements(text + "; SELECT 3") == [text, "SELECT 3"]


@pytest.mark.parametrize("word", ["beg\u0131n", '"begin"', "'begin'", "(begin)", "-- begin\n"])
def test_what_is_not_the_word_begin_opens_no_body(word: str) -> None:
    assert len(scan(f"CREATE FUNCTION {word}; SELECT 2").statements) == 2


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("COPY t FROM STDIN;\na;'b\n\\.\nc;", ["COPY t FROM STDIN", "c"]),
        ("COPY t FROM STDIN; b;\na;\n\\.\nc;", ["COPY t FROM STDIN", "b", "c"]),
        (
            "COPY t FROM STDIN; COPY u FROM STDIN;\na;\n\\.\nb;\n\\.",
            ["COPY t FROM STDIN", "COPY u FROM STDIN"],
        ),
        ("COPY t FROM STDIN;\na;\n \\.\nb;", ["COPY t FROM STDIN"]),
        ("COPY t FROM STDIN;", ["COPY t FROM STDIN"]),
        ("COPY t FROM STDIN", ["COPY t FROM STDIN"]),
        ("COPY t FROM STDIN;\n\\.\r\nc", ["COPY t FROM STDIN", "c"]),
        ("COPY t FROM 'stdin';\nc;", ["COPY t FROM 'stdin'", "c"]),
    ],
)
def test_the_data_of_a_copy_is_no_statement(text: str, expected: list[str]) -> None:
    assert statements(text) == expected


def test_the_lines_that_pg_dump_writes_for_psql_are_blanks() -> None:
    found = scan("\\restrict aB1\nSELECT 1;\n  \\unrestrict aB1  \nSELECT 2;")
    assert found.sql == "             \nSELECT 1;\n                   \nSELECT 2;"
    assert [statement.line for statement in found.statements] == [2, 4]
    assert not found.problems


@pytest.mark.parametrize(
    ("text", "line", "problem"),
    [
        ("a;\n b 'c;\n", 2, "this quoted string is never closed"),
        ("a;\n b E'c\\';\n", 2, "this quoted string is never closed"),
        ('a;\n b "c;\n', 2, "this quoted identifier is never closed"),
        ("a;\n b $x$ $$ ;\n", 2, "this dollar-quoted string ($x$) is never closed"),
        ("a;\n /* b /* */ ;\n", 2, "this comment is never closed"),
        ("a;\n\\i other.sql\nb;", 2, "\\i is a command of psql, not SQL"),
        ("a;\n\\restrict\nb;", 2, "\\restrict is a command of psql, not SQL"),
        ("a;\n\\.\nb;", 2, "\\. is a command of psql, not SQL"),
        ("a;\n\\", 2, "\\ is a command of psql, not SQL"),
    ],
)
def test_a_problem_names_the_line_where_it_begins(text: str, line: int, problem: str) -> None:
    found = scan(text)
    assert [(p.line, p.problem) for p in found.problems] == [(line, problem)]


def test_directives_are_found_in_comments_alone() -> None:
    found = scan("--migrator:a\n-- Migrator : b c \nx '-- migrator: d'; -- migrator: e\n-- f")
    assert [(d.line, d.text, d.start) for d in found.directives] == [
        (1, "a", 0),
        (2, "b c", 13),
        (3, "e", 52),
    ]


CONTROL, ALONE = StatementKind.TRANSACTION_CONTROL, StatementKind.NON_TRANSACTIONAL
COPY, SETTING = StatementKind.COPY_DATA, StatementKind.REFUSED_SETTING
PLAIN = StatementKind.PLAIN


@pytest.mark.parametrize(  # tests/database/test_classes.py asks a server about many more
    ("text", "kind", "words"),
    [
        ("begin", CONTROL, "BEGIN"),
        ("START /* x */ TRANSACTION", CONTROL, "START"),
        ("ROLLBACK PREPARED 'x'", CONTROL, "ROLLBACK"),
        ("ROLLBACK TO x", PLAIN, "ROLLBACK"),
        ("PREPARE TRANSACTION 'x'", CONTROL, "PREPARE TRANSACTION"),
        ("PREPARE TRANSACTION $$x$$", CONTROL, "PREPARE TRANSACTION"),
        ("CREATE UNIQUE INDEX -- x\nCONCURRENTLY i", ALONE, "CREATE UNIQUE INDEX CONCURRENTLY"),
        ("REINDEX (VERBOSE, CONCURRENTLY) TABLE t", ALONE, "REINDEX CONCURRENTLY"),
        ("REINDEX (VERBOSE) SCHEMA s", ALONE, "REINDEX SCHEMA"),
        ("CLUSTER (VERBOSE)", ALONE, "CLUSTER of all tables"),
        ("ALTER DATABASE d RENAME TO tablespace", PLAIN, "ALTER"),
        (
            "ALTER TABLE s.t DETACH PARTITION p CONCURRENTLY",
            ALONE,
            "ALTER TABLE ... DETACH PARTITION ... CONCURRENTLY",
        ),
        ("ALTER SUBSCRIPTION s ADD PUBLICATION p", ALONE, "ALTER SUBSCRIPTION ... ADD PUBLICATION"),
        ("COPY s.t (a, b) FROM STDIN WITH (FORMAT csv)", COPY, "COPY ... FROM STDIN"),
        ("COPY t FROM STDOUT", COPY, "COPY ... FROM STDIN"),
        ("COPY t TO STDOUT (FORMAT csv)", COPY, "COPY ... TO STDOUT"),
        ("COPY (SELECT (a) FROM stdin) TO STDOUT", COPY, "COPY ... TO STDOUT"),
        ("COPY (SELECT a FROM stdin) TO 'file'", PLAIN, "COPY"),
        ("COPY t FROM PROGRAM 'x FROM STDIN'", PLAIN, "COPY"),
        ("SET NAMES 'latin1'", SETTING, "SET NAMES"),
        ("SET LOCAL client_encoding TO SQL_ASCII", SETTING, "SET client_encoding"),
        ("SET \"client_encoding\" = 'UTF-8'", PLAIN, "SET"),
        ("SET standard_conforming_strings = off", SETTING, "SET standard_conforming_strings"),
        ("SET SESSION standard_conforming_strings TO DEFAULT", PLAIN, "SET"),
        ("SET search_path = client_encoding, public", PLAIN, "SET"),
        ("with x as (select 1) select 2", PLAIN, "WITH"),
        ("(select 1)", PLAIN, ""),
        ("'x' COMMIT", PLAIN, ""),
    ],
)
def test_a_statement_is_classed_by_its_first_tokens(
    text: str, kind: StatementKind, words: str
) -> None:
    [statement] = scan(text).statements
    assert (statement.kind, statement.words) == (kind, words)


def test_a_long_list_hides_no_word_behind_it() -> None:
    columns = ", ".join(f"c{n}" for n in range(500))
    kinds = {s.kind for s in scan(f"COPY t ({columns}) FROM STDIN").statements}
    assert kinds == {COPY}


TO_ADD = (
    "Put the line `-- migrator: no-transaction` at the top of the file, best of a file that holds "
    "nothing else."
)


@pytest.mark.parametrize(
    ("text", "problem", "remedy"),
    [
        (
            "COMMIT",
            "COMMIT would end or begin a transaction",
            "Remove it: the whole file already runs in one transaction.",
        ),
        (
            "REINDEX TABLE CONCURRENTLY t",
            "REINDEX CONCURRENTLY cannot run inside a transaction",
            TO_ADD,
        ),
        ("VACUUM", "VACUUM cannot run inside a transaction", TO_ADD),
        (
            "COPY t FROM STDIN",
            "COPY ... FROM STDIN is not supported by this version",
            "Write INSERT statements.",
        ),
        (
            "COPY t TO STDOUT",
            "COPY ... TO STDOUT is not supported by this version",
            "Remove it: a migration has nobody to send rows to.",
        ),
        (
            "SET NAMES 'latin1'",
            "SET NAMES would change how the text after it is read",
            "Remove it: files are UTF-8 and their strings standard conforming.",
        ),
    ],
)
def test_every_class_but_plain_is_refused_with_a_remedy(
    text: str, problem: str, remedy: str
) -> None:
    [found] = refusals(scan(f"SELECT 1;\n{text}").statements)
    assert (found.line, found.problem, found.remedy) == (2, problem, remedy)


def test_a_position_is_a_line_and_a_column() -> None:
    text = "é\nab\n"
    assert [position(text, offset) for offset in range(6)] == [
        (1, 1),
        (1, 2),
        (2, 1),
        (2, 2),
        (2, 3),
        (3, 1),
    ]
    assert [line_text(text, line) for line in (1, 2, 3)] == ["é", "ab", ""]


@given(SOUPS)
def test_the_pieces_are_the_text(text: str) -> None:
    found = scan(text)
    assert len(found.sql) == len(text)
    end = 0
    for statement in found.statements:
        assert end <= statement.start < statement.end <= len(text)
        assert statement.line == position(text, statement.start)[0]
        end = statement.end
    if not found.problems and "\\" not in text:  # between statements: blanks and comments alone
        bounds = [0, *(b for s in found.statements for b in (s.start, s.end)), len(text)]
        for start, stop in zip(bounds[::2], bounds[1::2], strict=True):
            assert not scan(text[start:stop]).statements


@given(SOUPS)
def test_a_statement_alone_is_one_statement(text: str) -> None:
    found = scan(text)
    if not found.problems and not found.sql.count("\\"):
        for statement in found.statements:
            [again] = scan(found.sql[statement.start : statement.end]).statements
            assert (again.kind, again.words) == (statement.kind, statement.words)


@pytest.mark.parametrize("head", ["INSERT INTO t VALUES ", "CREATE TABLE ", ""])
@pytest.mark.parametrize(
    "unit",
    [
        *("(1, 'a;', E'\\n'),", "(b'1', (u&\"x\", (", "(((", ")", "b'1',", "E'\\'',", "/* ", "$a "),
        *("E'a' ----------------------------------------\n", "-- x\n", "a.", "- ", "1,", ";"),
    ],
)
def test_the_time_grows_with_the_length_alone(head: str, unit: str) -> None:
    began = time.perf_counter()
    scan(head + unit * (100_000 // len(unit)))
    assert time.perf_counter() - began < 5
