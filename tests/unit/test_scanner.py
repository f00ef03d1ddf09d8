"""What psql would say too is tested against psql in tests/database/test_psql_agrees.py."""

from __future__ import annotations

import sys
import time
import tracemalloc
from collections.abc import Sequence
from itertools import pairwise
from typing import TypeVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from migrator.sql.parts import lay_out
from migrator.sql.scanner import scan
from migrator.sql.statements import (
    Data,
    Directive,
    Found,
    Problem,
    Skipped,
    Statement,
    position,
)

T = TypeVar("T", bound=Found)

WORDS = """
CREATE FUNCTION BEGIN ATOMIC CASE END COPY FROM STDIN SELECT x é 1 ; ( ) ' E' " $$ $a$ $1 \\ \\. - /
/* */
"""
TOKENS = [*WORDS.split(), " ", "\n", "\r", ";\n", "--", "-- migrator: x", "\\restrict a"]
TOKENS += ["COPY t FROM STDIN;\n", "\n\\.\n", "INSERT ", "e'", "E''", "1$", "a$", "U&'", "x'"]
SOUPS = st.lists(st.sampled_from(TOKENS) | st.text(max_size=3)).map("".join)


def found_in(text: str, cuts: Sequence[int] = ()) -> list[Found]:
    """What is found in a text that comes in pieces, cut at these offsets."""
    edges = [0, *cuts, len(text)]
    return list(scan(text[start:end] for start, end in pairwise(edges)))


def of(kind: type[T], text: str) -> list[T]:
    return [found for found in found_in(text) if isinstance(found, kind)]


def statements(text: str) -> list[str]:
    return [text[found.start : found.end] for found in of(Statement, text)]


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
    assert len(of(Statement, f"CREATE FUNCTION {word}; SELECT 2")) == 2


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


@pytest.mark.parametrize(
    ("text", "data", "line"),
    [
        pytest.param("COPY t FROM STDIN;\na;\n\\.\nc;", ["a;\n"], [2], id="lines"),
        pytest.param("\nCOPY t FROM STDIN; -- b;\na\n\n\\.\n", ["a\n\n"], [3], id="comment"),
        pytest.param("COPY t FROM STDIN;\n\\.\nc;", [""], [2], id="none"),
        pytest.param("COPY t FROM STDIN;\na\n\\.", ["a\n"], [2], id="no line end"),
        pytest.param("COPY t FROM STDIN;\na", ["a"], [2], id="no end: psql takes it so"),
        pytest.param("COPY t FROM STDIN;\n\\.x\n\\.\n", ["\\.x\n"], [2], id="not the end"),
        pytest.param("COPY t FROM STDIN;\nx\\.\n\\.\n", ["x\\.\n"], [2], id="nor this"),
        pytest.param("COPY t FROM STDIN;\na\n\\.\r\nc;", ["a\n"], [2], id="CRLF"),
        pytest.param("COPY t FROM STDIN", [""], [1], id="nothing follows"),
        pytest.param(
            "COPY t FROM STDIN; COPY u FROM STDIN;\na\nb\n\\.\nc\n\\.\nd;",
            ["a\nb\n", "c\n"], [2, 5], id="two, one after the other",
        ),
    ],
)  # fmt: skip
def test_the_data_of_a_copy_are_the_lines_up_to_its_end(
    text: str, data: list[str], line: list[int]
) -> None:
    for cuts in (range(0), range(1, len(text))):
        found = [one for one in found_in(text, cuts) if isinstance(one, Data)]
        assert [text[one.start : one.end] for one in found] == data
        assert [one.line for one in found] == line


def test_what_follows_the_data_of_a_copy_has_its_own_place() -> None:
    text = "COPY t FROM STDIN;\na\nb\n\\.\n  SELECT 1;"
    for cuts in (range(0), range(1, len(text))):
        *_, last = found_in(text, cuts)
        assert isinstance(last, Statement)
        assert (last.line, last.column, text[last.start : last.end]) == (5, 3, "SELECT 1")


def test_a_statement_on_the_line_of_a_copy_is_a_problem() -> None:
    """psql runs it after the data: to a reader of the file that is a surprise."""
    problems = of(Problem, "COPY t FROM STDIN; /* x */ SELECT 2;\na\n\\.\nSELECT 3")
    assert [(found.line, found.problem) for found in problems] == [
        (1, "this statement would run after the rows of the COPY on its line")
    ]


def test_the_lines_that_pg_dump_writes_for_psql_are_skipped() -> None:
    text = "\\restrict aB1\nSELECT 1;\n  \\unrestrict aB1  \nSELECT 2;"
    skipped = [text[found.start : found.end] for found in of(Skipped, text)]
    assert skipped == ["\\restrict aB1", "\\unrestrict aB1  "]
    assert [found.line for found in of(Statement, text)] == [2, 4]
    assert not of(Problem, text)


@pytest.mark.parametrize(
    ("text", "line", "problem"),
    [
        ("a;\n b 'c;\n", 2, "this quoted string is never closed"),
        ("a;\n b E'c\\';\n", 2, "this quoted string is never closed"),
        ('a;\n b "c;\n', 2, "this quoted identifier is never closed"),
        ("a;\n b $x$ $$ ;\n", 2, "this dollar-quoted string ($x$) is never closed"),
        ("a;\n /* b /* */ ;\n", 2, "this comment is never closed"),
        ("a;\n\\i other.sql\nb;", 2, "\\i is a command of psql, not SQL"),
        ("a;\n\\;SELECT 1;", 2, "\\; separates statements in psql alone"),
        ("a;\n\\restrict\nb;", 2, "\\restrict is a command of psql, not SQL"),
        ("a;\n\\.\nb;", 2, "\\. is a command of psql, not SQL"),
        ("a;\n\\", 2, "\\ is a command of psql, not SQL"),
    ],
)
def test_a_problem_names_the_line_where_it_begins(text: str, line: int, problem: str) -> None:
    assert [(found.line, found.problem) for found in of(Problem, text)] == [(line, problem)]


@pytest.mark.parametrize("opened", ["'c;", "E'c;", '"c;', "$x$ c;"])
def test_an_open_quote_may_be_an_earlier_one(opened: str) -> None:
    """In `'it's'; 'b'` the third quote is too many, and the fifth is the open one."""
    [found] = of(Problem, f"a;\n b {opened}\n")
    assert found.remedy.startswith("Close this or an earlier quote")


@pytest.mark.parametrize(
    ("text", "remedy"),
    [
        ("\\connect shop", "A dump: make it again, without --create."),
        ("\\copy t FROM 'rows.csv' CSV", "Write `COPY … FROM stdin;`"),
        ("SELECT 'SELECT 1'\n\\gexec", "Write `DO $$ BEGIN EXECUTE …; END $$;`"),
        ("\\i other.sql", "Put that file's text in its place"),
        ("\\ir other.sql", "Put that file's text in its place"),
        ("\\echo done", "Remove it"),
    ],
)
def test_a_command_of_psql_is_refused_with_what_takes_its_place(text: str, remedy: str) -> None:
    [found] = of(Problem, text)
    assert remedy in found.remedy


def test_directives_are_found_in_comments_alone() -> None:
    text = "--migrator:a\n-- Migrator : b c \nx '-- migrator: d'; -- migrator: e\n-- f"
    assert [(found.line, found.text, found.start) for found in of(Directive, text)] == [
        (1, "a", 0),
        (2, "b c", 13),
        (3, "e", 52),
    ]


@given(SOUPS, st.data())
def test_it_does_not_matter_where_the_text_is_cut(text: str, data: st.DataObject) -> None:
    whole = found_in(text)
    cuts = data.draw(st.lists(st.integers(0, len(text))).map(sorted))
    assert found_in(text, cuts) == whole
    assert found_in(text, range(1, len(text))) == whole


@given(SOUPS)
def test_the_pieces_are_the_text(text: str) -> None:
    """What is no statement, no rows and nothing of psql's is blanks and comments alone."""
    found = found_in(text)
    spans = sorted(
        (one.start, one.end) for one in found if isinstance(one, Statement | Data | Skipped)
    )
    for one in found:
        if isinstance(one, Statement):
            assert (one.line, one.column) == position(text, one.start)
    if any(isinstance(one, Problem) for one in found):
        return
    edges = [0, *(edge for span in spans for edge in span), len(text)]
    if any(isinstance(one, Skipped) for one in found):
        return  # such a line may stand inside a statement
    assert edges == sorted(edges)
    for start, end in zip(edges[::2], edges[1::2], strict=True):
        assert not statements(text[start:end].removeprefix("\\."))


@given(SOUPS)
def test_a_statement_alone_is_one_statement(text: str) -> None:
    if not of(Problem, text) and "\\" not in text:
        for found in of(Statement, text):
            [again] = of(Statement, text[found.start : found.end])
            assert (again.kind, again.words) == (found.kind, found.words)


@pytest.mark.parametrize("head", ["INSERT INTO t VALUES ", "CREATE TABLE ", ""])
@pytest.mark.parametrize(
    "unit",
    [
        *("(1, 'a;', E'\\n'),", "(b'1', (u&\"x\", (", "(((", ")", "b'1',", "E'\\'',", "/* ", "$a "),
        *("E'a' ----------------------------------------\n", "-- x\n", "a.", "- ", "1,", ";"),
    ],
)
def test_the_time_grows_with_the_length_alone(head: str, unit: str) -> None:
    text = head + unit * (100_000 // len(unit))
    began = time.process_time()  # whatever else the machine does
    found_in(text, range(1000, len(text), 1000))
    assert time.process_time() - began < 5


@pytest.mark.parametrize(
    "string", ["E'{}\\'{}'", "$x${}$y${}$x$", "'{}''{}'", '"{}""{}"'], ids=lambda text: text[:2]
)
def test_a_string_goes_on_over_pieces_that_do_not_end_it(string: str) -> None:
    text = "SELECT " + string.format("a " * 300, "b " * 300) + "; SELECT 2"
    found = [statement for statement in scan(list(text)) if isinstance(statement, Statement)]
    assert [text[statement.start : statement.end] for statement in found] == text.split("; ")


LONG = [  # what goes before, what is repeated, what ends it
    pytest.param("SELECT E'a'", " ", ";", id="blanks behind an escape string"),
    pytest.param("SELECT E'a'", "\n", ";", id="line ends behind one"),
    pytest.param("SELECT E'a'", " -- x\n", ";", id="comments behind one"),
    pytest.param("SELECT E'a'", "\n'\\''", ";", id="an escape string that goes on"),
    pytest.param("SELECT E'a'", "E'a'", ";", id="escape strings"),
    pytest.param("SELECT ", "1$", ";", id="digits and dollars"),
    pytest.param("SELECT ", "$1", ";", id="dollars and digits"),
    pytest.param("SELECT ", "ae'a'", ";", id="words before quotes"),
    pytest.param("SELECT ", "e", "'a';", id="a long word before a quote"),
    pytest.param("SELECT ", "1$a$e'", ";", id="all edges"),
    pytest.param("", "\\restrict a\nSELECT 1;\n", "", id="what pg_dump writes for psql"),
    pytest.param("SELECT 1\n", "\\restrict a\n", ";", id="the same in one statement"),
    pytest.param("", "COPY t FROM stdin;\n1\n\\.\n", "", id="COPYs"),
    pytest.param("SELECT ", "$a$ $b$ $b$", "$a$;", id="dollar quotes"),
    pytest.param("", "/*", "", id="open comments"),
    pytest.param("", "/* Down */ a;\n", "", id="marks and statements"),
    pytest.param("", "-- Down\nCOMMIT;\n", "", id="marks and statements of a class of their own"),
    pytest.param("", "-- Down\n", "", id="marks"),
    pytest.param("INSERT INTO t VALUES ", "((1)),", "(2);", id="rows"),
]


@pytest.mark.parametrize(("before", "unit", "after"), LONG)
def test_the_steps_grow_with_the_length_alone(before: str, unit: str, after: str) -> None:
    """Counted are the calls of Python's functions and of `re`'s."""

    def steps(length: int) -> int:
        text = before + unit * (length // len(unit)) + after
        pieces = [text[at : at + 1024] for at in range(0, len(text), 1024)]
        count = 0

        def note(_frame: object, event: str, _arg: object) -> None:
            nonlocal count
            count += event in {"call", "c_call"}

        sys.setprofile(note)
        try:
            lay_out(pieces, limit=1000)
        finally:
            sys.setprofile(None)
        return count

    steps(1000)  # patterns are compiled at their first use
    assert steps(20_000) < 2.5 * steps(10_000) + 100


@pytest.mark.parametrize(("before", "unit", "after"), LONG[:3])
def test_the_memory_is_a_few_times_the_longest_token_at_most(
    before: str, unit: str, after: str
) -> None:
    text = before + unit * (1_000_000 // len(unit)) + after
    pieces = [text[at : at + 65536] for at in range(0, len(text), 65536)]
    for _ in scan(["SELECT E'a' - 1$a$e'"]):
        pass  # patterns are compiled at their first use
    tracemalloc.start()
    try:
        for _ in scan(pieces):
            pass
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 5_000_000


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        (
            "A;\nCREATE TABLE a\u00a0(id int);",
            2,
            "U+00A0 (NO-BREAK SPACE) in column 15 is a letter",
        ),
        ("SELECT \u2018x\u2019", 1, "U+2018 (LEFT SINGLE QUOTATION MARK) in column 8"),
        ("SELECT 1, a\u200bE'x';", 1, "U+200B (ZERO WIDTH SPACE) in column 12"),
        ("A;\n\ufeffB;", 2, "U+FEFF (ZERO WIDTH NO-BREAK SPACE) in column 1"),
        ("SELECT a\x80", 1, "U+0080 (a control character) in column 9"),
    ],
)
def test_a_letter_that_looks_like_a_sign_is_a_problem(text: str, line: int, words: str) -> None:
    for cuts in (range(0), range(1, len(text))):
        [found] = [one for one in found_in(text, cuts) if isinstance(one, Problem)]
        assert found.line == line
        assert found.problem.startswith(words)


def test_such_a_letter_may_be_quoted_or_within_a_word() -> None:
    quoted = "'\u00a0', \"\u00a0\", E'\u00a0\\'\u00a0', $$\u00a0$$"
    text = f"SELECT {quoted} -- \u00a0\n/* \u00a0 */, \u0645\u200c\u0645"
    assert of(Problem, text) == []


def test_it_is_reported_once_in_a_line_and_of_a_hundred_lines() -> None:
    assert len(of(Problem, "SELECT \u00a0 \u00a0\n" * 150)) == 100
