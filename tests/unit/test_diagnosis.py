"""What PostgreSQL refused: where in the file it lies, and what it means."""

from __future__ import annotations

from typing import Any

import pytest

from migrator.errors import AccessError, StatementError
from migrator.masking import Hider
from migrator.postgres.refusal import Refusal
from migrator.refusals.diagnosis import (
    LINE_CHARS,
    Location,
    RunState,
    diagnose,
    discreet,
    locate,
    refused_words,
)
from tests.builders import a_big_script, a_script, fly


def spot_of(sql: str, needle: str) -> Location:
    """The place of a needle that stands once in the file, counted another way."""
    assert sql.count(needle) == 1
    before = sql[: sql.index(needle)].split("\n")
    line = sql.split("\n")[len(before) - 1]
    return Location(len(before), len(before[-1]) + 1, line)


ORDERS = "-- orders\nCREATE TABLE t (a int);\n  INSERT INTO\té VALUES (1);\nSELECT nope\n"


@pytest.mark.parametrize("needle", ["CREATE", "é VALUES", "nope"])
def test_a_position_becomes_line_and_column_of_the_file(needle: str) -> None:
    script = a_script(ORDERS)
    (message,) = fly(script)
    refusal = Refusal("42P01", "no", position=message.text.index(needle) + 1)
    assert locate(message, refusal, None) == (spot_of(ORDERS, needle), True)


def test_a_password_on_a_line_of_its_own_is_not_shown() -> None:
    script = a_script("ALTER ROLE app PASSWORD\n  'hunter2' FOO;\n")
    (message,) = fly(script)
    refusal = Refusal("42601", "no", position=message.text.index("FOO") + 1)
    error = diagnose(script, message, refusal, None, RunState([], None, []))
    assert error.details["source_line"] == "  '***' FOO;"
    assert error.details["caret"] == "        ^"
    assert (error.details["line"], error.details["column"]) == (2, 13)


def test_an_error_at_the_end_of_the_file_lies_behind_its_last_character() -> None:
    script = a_script("SELECT 1 +")
    (message,) = fly(script)
    position = message.text.index("\n;\nSET CONSTRAINTS") + 2  # the semicolon that ends the body
    refusal = Refusal("42601", 'syntax error at or near ";"', position=position)
    assert locate(message, refusal, 13) == (Location(1, 11, "SELECT 1 +"), True)


@pytest.mark.parametrize("needle", ["BEGIN ISOLATION", 'INSERT INTO "public"', "COMMIT;\nRESET"])
def test_an_error_in_our_own_part_has_no_place_in_the_file(needle: str) -> None:
    script = a_script(ORDERS)
    (message,) = fly(script)
    refusal = Refusal("42501", "no", position=message.text.index(needle) + 1)
    assert locate(message, refusal, None) == (None, False)


@pytest.mark.parametrize(
    ("answered", "needle", "in_file"),
    [
        pytest.param(None, None, True, id="unknown: of the file, as far as we know"),
        pytest.param(-1, None, False, id="in the guard before it"),
        pytest.param(0, "CREATE", True, id="the first"),
        pytest.param(1, "INSERT", True, id="the second"),
        pytest.param(2, "SELECT", True, id="the last"),
        pytest.param(3, None, False, id="after it, as a deferred constraint is"),
    ],
)
def test_without_a_position_the_statement_that_was_not_answered_is_blamed(
    answered: int | None, needle: str | None, in_file: bool
) -> None:
    script = a_script(ORDERS)
    (message,) = fly(script)
    results = None if answered is None else message.results_before + answered
    spot = spot_of(ORDERS, needle) if needle else None
    assert locate(message, Refusal("23505", "no"), results) == (spot, in_file)


BLOCK = """\
SELECT 1;
DO $$
BEGIN
    PERFORM nope();
    EXECUTE 'DROP TABLE gone';
END $$;
"""
ROUTINE = "SELECT f(1);\nSELECT f(2);\n"


@pytest.mark.parametrize(
    ("sql", "answered", "refusal", "needle"),
    [
        pytest.param(
            BLOCK,
            1,
            {"context": "PL/pgSQL function inline_code_block line 3 at PERFORM"},
            "PERFORM",
            id="the line of a DO block",
        ),
        pytest.param(
            BLOCK,
            1,
            {
                "internal_query": "DROP TABLE gone",
                "internal_position": 12,
                "context": "PL/pgSQL function inline_code_block line 4 at EXECUTE",
            },
            "gone",
            id="the very word of a query in it",
        ),
        pytest.param(
            BLOCK,
            1,
            {
                "internal_query": "SELECT nope()",
                "internal_position": 8,
                "context": "PL/pgSQL function inline_code_block line 3 at PERFORM",
            },
            "PERFORM",
            id="a query that stands there in other words",
        ),
        pytest.param(
            BLOCK,
            1,
            {"context": "PL/pgSQL function inline_code_block line 1 at SQL statement"},
            "$$\nBEGIN",
            id="the block's first line",
        ),
        pytest.param(
            BLOCK,
            1,
            {"context": "PL/pgSQL function inline_code_block line 99 at RAISE"},
            "END $$",
            id="a line that it does not have",
        ),
        pytest.param(BLOCK, 1, {"context": "somewhere else"}, "DO $$", id="a DO block, no line"),
        pytest.param(
            ROUTINE,
            1,
            {"context": "PL/pgSQL function f(integer) line 3 at RAISE"},
            "SELECT f(2)",
            id="a function that the statement calls",
        ),
        pytest.param(
            ROUTINE,
            0,
            {"context": "PL/pgSQL function inline_code_block line 3 at RAISE"},
            "SELECT f(1)",
            id="a block that it hides in a function",
        ),
    ],
)
def test_an_error_inside_a_block_is_found_there(
    sql: str, answered: int, refusal: dict[str, Any], needle: str
) -> None:
    script = a_script(sql)
    (message,) = fly(script)
    results = message.results_before + answered
    spot, in_file = locate(message, Refusal("P0001", "no", **refusal), results)
    expected = spot_of(sql, needle)
    if needle.startswith("$$"):  # right behind the quote there is nothing but the line's end
        assert expected.column
        expected = Location(expected.line, expected.column + 2, expected.text)
    assert (spot, in_file) == (expected, True)


@pytest.mark.parametrize(
    ("number", "results", "line"),
    [
        pytest.param(0, 0, None, id="the guard before the groups"),
        pytest.param(1, 1, 3, id="the second statement of the first group"),
        pytest.param(1, 2, None, id="none beyond the group"),
        pytest.param(2, 0, 4, id="the second group's only one"),
        pytest.param(5, 0, None, id="the guard behind the groups"),
    ],
)
def test_a_statement_of_a_group_is_found(number: int, results: int, line: int | None) -> None:
    script = a_big_script()
    message = fly(script)[number]
    spot, in_file = locate(message, Refusal("22012", "no"), results)
    assert (spot.line if spot else None, in_file) == (line, line is not None)


def test_a_position_in_a_group_counts_from_the_groups_beginning() -> None:
    script = a_big_script()
    message = fly(script)[4]
    at = message.body_starts + 8
    spot, in_file = locate(message, Refusal("42601", "no", position=at), None)
    assert (spot, in_file) == (Location(6, 8, f"SELECT '{'x' * 10}'"), True)


@pytest.mark.parametrize(
    ("position", "results", "column"),
    [pytest.param(8, None, 12, id="a position"), pytest.param(None, 0, 5, id="none")],
)
def test_in_a_group_that_begins_within_a_line_the_column_is_the_files(
    position: int | None, results: int | None, column: int
) -> None:
    script = a_script("COPY t FROM stdin;\n\\.\n/**/SELECT nope;")
    message = fly(script)[2]
    at = None if position is None else message.body_starts + position
    refusal = Refusal("42703", "no", position=at)
    spot, _ = locate(message, refusal, results)
    assert spot == Location(3, column, "SELECT nope", cut=4)
    error = diagnose(script, message, refusal, results, RunState((), None, ()))
    assert (error.details["source_line"], len(error.details["caret"])) == (
        "SELECT nope",
        column - 4,
    )


ROWS = "COPY t FROM stdin;\n1\nx\n\\.\n"


@pytest.mark.parametrize(
    ("context", "spot"),
    [
        pytest.param('COPY t, line 2, column a: "x"', Location(3, None, ""), id="a bad row"),
        pytest.param(
            'SQL statement "SELECT 1"\nPL/pgSQL function f() line 9 at IF\nCOPY t, line 2',
            Location(3, None, ""),
            id="a trigger of a row",
        ),
        pytest.param(None, Location(1, 1, "COPY t FROM stdin"), id="none of the rows"),
    ],
)
def test_a_bad_row_of_a_copy_is_named_by_the_line_of_the_file(
    context: str | None, spot: Location
) -> None:
    script = a_script(ROWS)
    message = fly(script)[1]
    refusal = Refusal("22P02", "no", context=context)
    assert locate(message, refusal, 1) == (spot, True)
    error = diagnose(script, message, refusal, 1, RunState((), None, ()))
    place = "007_orders.sql:3: " if context else "007_orders.sql:1:1: "
    assert error.message.startswith(place)
    assert error.details["line"] == spot.line


def told(
    sql: str,
    refusal: Refusal,
    run_state: RunState | None = None,
    answered: int = 0,
) -> Any:
    """What a refusal means after so many answers of the file's part."""
    script = a_script(sql)
    (message,) = fly(script)
    run_state = run_state or RunState((), None, ())
    results = message.results_before + answered
    return diagnose(script, message, refusal, results, run_state)


@pytest.mark.parametrize(
    ("run_state", "outcome"),
    [
        pytest.param(
            RunState(["001_a", "002_b"], "002_b", ["008_x"]),
            "007_orders was rolled back; applied by this run and committed: 001_a, 002_b; "
            "not tried: 008_x",
            id="after others",
        ),
        pytest.param(
            RunState((), "006_z", ()),
            "007_orders was rolled back; the database is at 006_z",
            id="the first of the run",
        ),
        pytest.param(
            RunState((), None, ()),
            "007_orders was rolled back; nothing is applied",
            id="the first of all",
        ),
    ],
)
def test_it_says_what_the_database_is_like_now(run_state: RunState, outcome: str) -> None:
    error = told("SELECT 1", Refusal("22012", "no"), run_state)
    assert isinstance(error, StatementError)
    assert error.details["outcome"] == outcome


def test_a_file_that_ended_its_transaction_is_told_that_its_part_stands() -> None:
    error = told("SELECT 1", Refusal("MG003", "the file ended its own transaction"), answered=5)
    assert "before its own COMMIT is committed" in error.details["outcome"]
    assert "Take the statement" in error.remedy


@pytest.mark.parametrize("answered", [0, 1], ids=["in its statement", "in a deferred trigger"])
@pytest.mark.parametrize("code", ["MG003", "MG007", "MG009"])
def test_a_file_that_raises_our_sqlstate_is_told_nothing_of_ours(code: str, answered: int) -> None:
    error = told("SELECT 1", Refusal(code, "no"), answered=answered)
    assert error.details["outcome"] == "007_orders was rolled back; nothing is applied"
    assert error.message.endswith(f"ERROR {code}: no")
    assert error.remedy == StatementError.remedy


@pytest.mark.parametrize("code", ["MG003", "MG007", "MG009"])
@pytest.mark.parametrize("answered", [None, 3, 99])
def test_a_refusal_that_is_ours_or_may_be_has_our_remedy(code: str, answered: int | None) -> None:
    script = a_script("SELECT 1")
    (message,) = fly(script)
    error = diagnose(script, message, Refusal(code, "no"), answered, RunState((), None, ()))
    assert error.remedy != StatementError.remedy


@pytest.mark.parametrize(
    ("sql", "refusal", "answered", "words"),
    [
        pytest.param("SELECT 1; DROP TABLE S.t", {}, 1, "drop table s.t", id="by the answers"),
        pytest.param("SELECT 1; DROP TABLE t", {}, 2, "", id="our own"),
        pytest.param(
            "SELECT 1; DROP TABLE t", {"position": "DROP"}, 0, "drop table t", id="by place"
        ),
        pytest.param(
            "DO $$\nBEGIN\n  PERFORM 1;\n  DROP TABLE t;\n  DROP TABLE u;\nEND $$;",
            {"context": "PL/pgSQL function inline_code_block line 4 at SQL statement"},
            0,
            "drop table t",
            id="in a DO block",
        ),
        pytest.param(
            "SELECT f()", {"internal_query": "DROP TABLE x"}, 0, "drop table x", id="in a routine"
        ),
    ],
)
def test_the_words_of_the_refused_statement(
    sql: str, refusal: dict[str, Any], answered: int, words: str
) -> None:
    (message,) = fly(a_script(sql))
    if "position" in refusal:
        refusal = {"position": message.text.index(refusal["position"]) + 1}
    found = refused_words(
        message, Refusal("42501", "no", **refusal), message.results_before + answered
    )
    assert " ".join(map(".".join, found)) == words


def test_a_right_that_our_own_part_lacks_is_an_access_error() -> None:
    script = a_script("SELECT 1")
    (message,) = fly(script)
    refusal = Refusal("42501", "permission denied for table schema_migrations")
    ours = diagnose(script, message, refusal, 1, RunState((), None, ()))
    assert isinstance(ours, AccessError)
    assert isinstance(told("SELECT 1", refusal), StatementError)


def test_a_caret_stands_under_the_column_behind_tabs_too() -> None:
    script = a_script("\tSELECT\tnope")
    (message,) = fly(script)
    refusal = Refusal("42703", "no", position=message.text.index("nope") + 1)
    error = diagnose(script, message, refusal, None, RunState((), None, ()))
    assert (error.details["source_line"], error.details["caret"]) == (
        "\tSELECT\tnope",
        "\t      \t^",
    )


def test_of_a_long_line_the_part_around_the_column_is_shown() -> None:
    script = a_script("SELECT '" + "x" * 5000 + "', nope")
    (message,) = fly(script)
    refusal = Refusal("42703", "no", position=message.text.index("nope") + 1)
    error = diagnose(script, message, refusal, None, RunState((), None, ()))
    line, caret = error.details["source_line"], error.details["caret"]
    assert len(line) <= LINE_CHARS
    assert line[len(caret) - 1 :] == "nope"


def refused(sql: str, needle: str | None, **values: Any) -> Any:
    """What becomes of a refusal at `needle`, as it is shown."""
    script = a_script(sql)
    (message,) = fly(script)
    at = None if needle is None else message.text.index(needle) + 1
    refusal = Refusal(**{"sqlstate": "22023", "message": "no", "position": at, **values})
    results = message.results_before if needle is None else None
    shown = discreet(message, refusal, results, Hider())
    return diagnose(script, message, shown, results, RunState((), None, ()))


def test_a_caret_stays_under_its_column_behind_a_hidden_literal() -> None:
    error = refused("SELECT crypt('hunter2-long', nope), 'tail'", "nope")
    assert error.details["source_line"] == "SELECT crypt('***', nope), '***'"
    assert error.details["caret"] == "                    ^"
    assert error.details["column"] == 30


def test_a_caret_at_a_hidden_literal_stands_under_its_beginning() -> None:
    error = refused("SELECT crypt('hunter2-long')", "'hunter2")
    assert (error.details["source_line"], error.details["caret"]) == (
        "SELECT crypt('***')",
        "             ^",
    )


def test_the_literals_of_what_deals_in_secrets_are_hidden_in_each_text() -> None:
    error = refused(
        "SELECT crypt('hunter2-long', 'ab')",
        None,
        message='near "hunter2-long" and "hunter2"',
        detail="Key (a)=(ab) is there",
        hint="Say 'ab' or hunter2-long",
        context="SQL statement \"SELECT crypt('hunter2-long', 'ab')\"",
    )
    assert error.message == '007_orders.sql:1:1: ERROR 22023: near "***" and "***"'
    assert error.details["detail"] == "Key (a)=(***) is there"
    assert error.details["hint"] == "Say '***' or ***"
    assert "hunter2" not in error.details["context"]
    assert error.details["source_line"] == "SELECT crypt('***', '***')"


def test_a_statement_beside_one_that_deals_in_secrets_is_told_whole() -> None:
    sql = "ALTER ROLE a PASSWORD 'orders-long'; SELECT 'orders-long'::int"
    error = refused(sql, "'orders-long'::", message='invalid: "orders-long"')
    assert error.message.endswith('invalid: "orders-long"')
    assert error.details["source_line"] == "ALTER ROLE a PASSWORD '***'; SELECT 'orders-long'::int"


def test_what_a_statement_calls_may_deal_in_secrets() -> None:
    context = "SQL statement \"ALTER ROLE a PASSWORD 'made-of-it'\"\nPL/pgSQL function f() line 1"
    error = refused(
        "SELECT f('hunter2-long')", None, message="not made-of-it, hunter2-long", context=context
    )
    assert error.message.endswith("not ***, ***")
    assert error.details["source_line"] == "SELECT f('***')"


@pytest.mark.parametrize("sqlstate", ["23502", "23514", "44000"])
def test_the_values_of_a_row_that_is_refused_are_shown_in_no_language(sqlstate: str) -> None:
    detail = "Fehlgeschlagene Zeile enthält (1, a (b), null)."
    error = refused("SELECT 1", None, sqlstate=sqlstate, detail=detail)
    assert error.details["detail"] == "Fehlgeschlagene Zeile enthält (***)."
    assert refused("SELECT 1", None, sqlstate="23505", detail=detail).details["detail"] == detail
    assert refused("SELECT 1", None, sqlstate=sqlstate, detail="none").details["detail"] == "none"
    cut = refused("SELECT 1", None, sqlstate=sqlstate, detail="Zeile (1, a").details["detail"]
    assert cut == "Zeile (***"


@pytest.mark.parametrize(
    ("sqlstate", "context", "left"),
    [
        ("22P02", 'COPY t, line 2, column a: "x"', 'COPY t, line 2, column a: "x"'),
        ("23502", 'COPY t, line 2, column a: "x"', 'COPY t, line 2, column a: "***"'),
        ("22P04", 'COPY t, line 2: "x\ny"', 'COPY t, line 2: "***"'),
        ("22P04", "COPY t, Zeile 2: »x\ny«", 'COPY t, Zeile 2: »***"'),
        ("22P04", "COPY t, line 2", "COPY t, line 2"),
    ],
)
def test_a_whole_row_of_a_copy_is_not_shown(sqlstate: str, context: str, left: str) -> None:
    error = refused("SELECT 1", None, sqlstate=sqlstate, context=context)
    assert error.details["context"] == left


def test_an_argument_in_double_quotes_is_no_name_of_a_column() -> None:
    error = refused(
        'SELECT crypt(\n"hunter2")',
        '"hunter2"',
        sqlstate="42703",
        message='column "hunter2" does not exist',
    )
    assert "hunter2" not in error.message + error.details["source_line"]
    other = refused('SELECT "nope"', '"nope"', sqlstate="42703", message='column "nope" is not')
    assert other.message.endswith('column "nope" is not')


def test_a_text_of_any_length_is_cut() -> None:
    error = refused("SELECT 1", None, message="x" * 10_000, detail="y" * 10_000)
    assert error.details["detail"] == "y" * 2_000 + "… 8000 more"
    assert error.message.endswith("x… 8000 more")


@pytest.mark.parametrize("inside", [False, True], ids=["in the file", "in a query of a block"])
def test_a_password_in_the_wrong_quotes_is_never_quoted(inside: bool) -> None:
    sql = 'ALTER ROLE a PASSWORD "hunter2-long"'
    said = 'syntax error at or near ""hunter2-long""'
    if inside:
        at = sql.index('"') + 1
        values: dict[str, Any] = {"internal_query": sql, "internal_position": at}
        error = refused("SELECT f()", None, sqlstate="42601", message=said, **values)
    else:
        error = refused(sql, '"hunter2', sqlstate="42601", message=said)
    assert "syntax error in the place of a password" in error.message
    assert "hunter2" not in f"{error.message} {error.details}"


def test_a_syntax_error_elsewhere_is_quoted() -> None:
    """Also one in front of the password, which is no reason to hide the server's words."""
    sql = "ALTER ROEL a PASSWORD 'hunter2-long'"
    error = refused(sql, "ROEL", sqlstate="42601", message='syntax error at or near "ROEL"')
    assert error.message.endswith('syntax error at or near "ROEL"')
    other = refused(sql.replace("ROEL", "ROLE"), "'hunter2", message="near a password")
    assert other.message.endswith("near a password")


TWO = "SELECT crypt('hunter2-long', 'ab'), 'abc-first' ;\nSELECT 'orders-long'::int"


@pytest.mark.parametrize(
    ("needle", "shown"),
    [
        pytest.param("'hunter2", "*** *** orders-long", id="the one that deals in secrets"),
        pytest.param("'abc-first", "*** *** orders-long", id="its last literal"),
        pytest.param("'orders", "hunter2-long abc-first orders-long", id="the one behind it"),
        pytest.param(None, "*** *** orders-long", id="the first, by the count of answers"),
    ],
)
def test_the_literals_of_the_statement_that_was_refused_are_hidden(
    needle: str | None, shown: str
) -> None:
    error = refused(TWO, needle, message="hunter2-long abc-first orders-long")
    assert error.message.endswith(f": {shown}")


def test_when_the_statement_is_not_known_the_literals_of_all_that_deal_in_secrets_are() -> None:
    script = a_script(TWO)
    (message,) = fly(script)
    refusal = Refusal("22023", "hunter2-long abc-first orders-long")
    assert discreet(message, refusal, None, Hider()).message == "*** *** orders-long"


def test_what_is_called_hides_the_literals_of_the_caller_and_of_no_plain_neighbour() -> None:
    error = refused(
        "SELECT f('made-of-it'); SELECT 'orders-long'; SELECT crypt('hunter2-long', 'a')",
        None,
        message="made-of-it orders-long hunter2-long",
        context='SQL statement "ALTER ROLE a PASSWORD $1"',
    )
    assert error.message.endswith(": *** orders-long ***")


def test_the_rows_of_a_copy_into_what_deals_in_secrets_are_hidden_wherever_they_are_quoted() -> (
    None
):
    script = a_script("COPY tokens FROM stdin;\nhunter2\n\\.\n")
    message = fly(script)[1]
    refusal = Refusal("22P02", 'invalid: "hunter2"', context='COPY tokens, line 1, column a: "x"')
    shown = discreet(message, refusal, 0, Hider())
    assert shown.message == 'invalid: "***"'
    other = a_script("COPY orders FROM stdin;\nhunter2\n\\.\n")
    refusal = Refusal("22P02", 'invalid: "hunter2"', context='COPY orders, line 1, column a: "x"')
    assert discreet(fly(other)[1], refusal, 0, Hider()).message == 'invalid: "hunter2"'


@pytest.mark.parametrize(
    ("sql", "needle", "values", "named"),
    [
        pytest.param("SELECT :x", ":x", {}, True, id="in the file"),
        pytest.param(
            "SELECT f()",
            None,
            {"internal_query": "SELECT :x", "internal_position": 8},
            True,
            id="in a query of a function",
        ),
        pytest.param("SELECT :x", None, {}, False, id="nobody knows where"),
    ],
)
def test_a_placeholder_that_nothing_fills_is_named(
    sql: str, needle: str | None, values: dict[str, Any], named: bool
) -> None:
    error = refused(sql, needle, sqlstate="42601", message='syntax error at or near ":"', **values)
    assert ("`:x`" in error.remedy) is named


def test_a_server_that_counts_bytes_is_understood() -> None:
    sent = "SELECT 'é', 'é' FROM gone".encode()
    found = Refusal("42P01", "", position=sent.index(b"gone") + 1).in_characters(sent)
    assert found.position == len("SELECT 'é', 'é' FROM ") + 1
    assert found.internal_position is None
    inner = Refusal("42601", "", internal_position=4, internal_query="é x").in_characters(sent)
    assert (inner.position, inner.internal_position) == (None, 3)
