"""Values in the place of placeholders, and the places of a file that has them."""

from __future__ import annotations

import pytest

from migrator.commands.report_rules import owing, verdict
from migrator.config import read_config, with_mounted
from migrator.errors import ConfigError, StatementError
from migrator.folder.formats.table import named_format
from migrator.masking import Hider
from migrator.model import FLYWAY, GOOSE, Placeholders
from migrator.postgres.refusal import Refusal
from migrator.refusals.diagnosis import RunState, diagnose, discreet
from migrator.sql.filled import Filled
from migrator.sql.script import understand
from tests.builders import a_migration, fly

VALUES = Placeholders(
    {"APP": "api", "LONG": "a\nbc", "NONE": "", "PW": "s3cret-pw", "PIN": "42", "AGAIN": "${app}"},
    frozenset({"PW", "PIN"}),
)


def filled(text: str, rule: str = FLYWAY, size: int = 0) -> Filled:
    pieces = (
        (text,) if not size else tuple(text[at : at + size] for at in range(0, len(text), size))
    )
    return Filled(pieces, rule, VALUES)


@pytest.mark.parametrize("size", [0, 1, 3])
@pytest.mark.parametrize(
    ("text", "sent"),
    [
        pytest.param("a ${app} b", "a api b", id="one"),
        pytest.param("${app}${App}${APP}", "apiapiapi", id="case makes no difference"),
        pytest.param("-- ${app}\n$f$ '${app}' $f$", "-- api\n$f$ 'api' $f$", id="anywhere"),
        pytest.param("x${none}y", "xy", id="an empty value"),
        pytest.param("${again}", "${app}", id="values are not read again"),
        pytest.param("$${app} $$$${app}", "$${app} $$$${app}", id="two dollars"),
        pytest.param("$$${app}", "$$api", id="three"),
        pytest.param(r"\${app}", r"\api", id="no escape"),
        pytest.param("a $", "a $", id="a dollar at the end"),
        pytest.param("$1, $b$, $x", "$1, $b$, $x", id="other dollars"),
    ],
)
def test_a_placeholder_gets_its_value(text: str, sent: str, size: int) -> None:
    found = filled(text, size=size)
    assert ("".join(found), found.problems) == (sent, [])
    assert "".join(found) == sent, "the same each time"
    assert bool(found) is (sent != text)


@pytest.mark.parametrize("size", [0, 1, 5])
@pytest.mark.parametrize(
    ("text", "line", "column", "says"),
    [
        pytest.param("a\n b ${who} c", 2, 4, "`${who}` has no value", id="unknown"),
        pytest.param("${ app }", 1, 1, "`${ app }` has no value", id="blanks count"),
        pytest.param("${app} ${", 1, 8, "no `}`", id="unclosed at the end"),
        pytest.param("x ${app\n}", 1, 3, "no `}`", id="unclosed on its line"),
        pytest.param("${" + "x" * 201 + "}", 1, 1, "no `}`", id="too long a name"),
    ],
)
def test_a_placeholder_that_gets_none_is_a_finding(
    text: str, line: int, column: int, says: str, size: int
) -> None:
    problem = filled(text, size=size).problems[-1]
    assert (problem.line, f"column {column}: ") == (
        line,
        problem.problem[: len(f"column {column}: ")],
    )
    assert says in problem.problem


def test_the_remedy_names_what_is_to_be_set() -> None:
    [problem] = filled("${app-role.x}").problems
    assert problem.remedy == (
        "Set PLACEHOLDER_APP_ROLE_X, or put a file app_role_x with the value into "
        "--placeholders-dir FOLDER (PLACEHOLDERS_DIR)."
    )


ON, OFF = "-- +goose ENVSUB ON\n", "-- +goose ENVSUB OFF\n"


@pytest.mark.parametrize("size", [0, 1, 7])
@pytest.mark.parametrize(
    ("line", "sent"),
    [
        pytest.param("$APP ${APP}", "api api", id="names"),
        pytest.param("$APP$APP", "apiapi", id="side by side"),
        pytest.param("${WHO:-me} ${NONE:-me} ${APP:-me}", "me me api", id="if empty"),
        pytest.param("${WHO-me} ${NONE-me}.", "me .", id="if unset"),
        pytest.param("${WHO:-${APP:-x} $$}", "api $", id="nested"),
        pytest.param("${APP?why} ${NONE?why}.", "api .", id="required"),
        pytest.param("${APP:1} ${APP:0:1} ${APP:-2}", "pi a api", id="parts"),
        pytest.param("${APP: -2} ${APP:9} ${APP:0:-1} ${APP:-9:2}", "pi  ap api", id="edges"),
        pytest.param("${APP:2:-2}.", ".", id="nothing is left"),
        pytest.param(r"\$APP $$APP \\$APP", r"$APP $APP \\api", id="escapes"),
        pytest.param("DO $$ x $$", "DO $ x $", id="a dollar quote is none"),
        pytest.param("$(x) a$", "$(x) a$", id="no placeholders"),
        pytest.param("a \\ b", "a \\ b", id="a backslash"),
        pytest.param("-- $APP costs $1", "-- api costs $1", id="a comment"),
    ],
)
def test_goose_reads_a_section_by_its_own_rules(line: str, sent: str, size: int) -> None:
    text = f"$APP $1\n{ON}{line}\n{OFF}$APP\n"
    found = filled(text, GOOSE, size)
    assert ("".join(found), found.problems) == (f"$APP $1\n{ON}{sent}\n{OFF}$APP\n", [])


@pytest.mark.parametrize(
    ("line", "column", "says"),
    [
        pytest.param("a $WHO", 3, "`$WHO` has no value", id="unknown"),
        pytest.param("${APP:1} ${WHO:0:2}", 10, "`${WHO:0:2}` has no value", id="a part"),
        pytest.param("${WHO?ask Ann}", 1, "has no value: ask Ann", id="required"),
        pytest.param("${WHO?}", 1, "`${WHO?}` has no value", id="required without words"),
        pytest.param("$1", 1, "no name follows", id="a number"),
        pytest.param("$body$", 1, "`$body` has no value", id="a dollar quote"),
        pytest.param("${APP!}", 1, "cannot read", id="an unknown operator"),
        pytest.param("${APP:x}", 1, "cannot read", id="no number"),
        pytest.param("${APP:-x", 1, "no `}`", id="unclosed"),
        pytest.param("${PW:0:3}", 1, "could not be hidden", id="a part of a secret"),
    ],
)
def test_what_goose_could_not_read_is_a_finding(line: str, column: int, says: str) -> None:
    [problem] = filled(f"{ON}{line}", GOOSE).problems
    assert (problem.line, problem.problem.partition(":")[0]) == (2, f"column {column}")
    assert says in problem.problem


@pytest.mark.parametrize(
    ("sent", "end", "written"),
    [
        pytest.param((1, 2), False, (1, 2), id="before"),
        pytest.param((1, 3), False, (1, 3), id="the value begins"),
        pytest.param((2, 1), False, (1, 3), id="in the value"),
        pytest.param((2, 1), True, (1, 10), id="in it, as an end"),
        pytest.param((1, 3), True, (1, 3), id="its beginning, as an end"),
        pytest.param((2, 3), False, (1, 10), id="behind it"),
        pytest.param((2, 5), False, (1, 12), id="further on its line"),
        pytest.param((3, 4), False, (2, 4), id="on the next line"),
    ],
)
def test_a_place_is_that_of_the_file(
    sent: tuple[int, int], end: bool, written: tuple[int, int]
) -> None:
    found = filled("x ${long} yz\nabcde\n")
    assert "".join(found) == "x a\nbc yz\nabcde\n"
    assert found.place(*sent, end=end) == written


@pytest.mark.parametrize("size", [0, 1, 4])
def test_a_line_is_shown_as_it_is_written(size: int) -> None:
    found = filled("a\nb ${long} c\nd", size=size)
    assert [found.line(line) for line in (1, 2, 3)] == ["a", "b ${long} c", "d"]


def test_the_values_of_files_are_not_in_what_is_hashed() -> None:
    assert filled("").without_secrets("a s3cret-pw 42") == "a *** ***"


HEAD = "-- migrator: placeholders\n"


def test_a_native_file_has_placeholders_under_its_directive_only() -> None:
    plain, _ = understand(a_migration(1, "SELECT '${app}';"), VALUES)
    script, _ = understand(a_migration(1, f"{HEAD}SELECT '${{app}}';"), VALUES)
    assert plain is not None
    assert plain.filled is None
    assert "".join(plain.pieces) == "SELECT '${app}';"
    assert script is not None
    assert "".join(script.pieces) == f"{HEAD}SELECT 'api';"
    assert "".join(script.migration.pieces) == f"{HEAD}SELECT '${{app}}';"


def test_the_rule_of_a_format_needs_no_directive() -> None:
    script, _ = understand(a_migration(1, "SELECT '${app}';", placeholders=FLYWAY), VALUES)
    assert script is not None
    assert "".join(script.pieces) == "SELECT 'api';"
    nothing, _ = understand(a_migration(1, "SELECT;", placeholders=FLYWAY), VALUES)
    assert nothing is not None
    assert nothing.filled is None


@pytest.mark.parametrize(
    ("sql", "line", "says"),
    [
        pytest.param(f"{HEAD}SELECT ${{x}};", 2, "column 8", id="no value"),
        pytest.param(f"SELECT;\n{HEAD}", 2, "after a statement", id="too late"),
        pytest.param("-- migrator: placeholders on\nSELECT;", 1, "takes no words", id="words"),
        pytest.param(f"{HEAD}SELECT '${{long}}';\nVACUUM;", 3, "no-transaction", id="a line below"),
        pytest.param(
            f'-- migrator: no-transaction\n{HEAD}CREATE INDEX CONCURRENTLY "${{pw}}" ON t (a);',
            3,
            "name from PLACEHOLDERS_DIR",
            id="a secret name",
        ),
        pytest.param(
            f'-- migrator: no-transaction\n{HEAD}DROP DATABASE "${{pin}}";',
            3,
            "name from PLACEHOLDERS_DIR",
            id="a short secret name",
        ),
    ],
)
def test_findings_have_the_lines_of_the_file(sql: str, line: int, says: str) -> None:
    _, [finding] = understand(a_migration(1, sql), VALUES)
    assert finding.line == line
    assert says in str(finding)


def test_a_no_transaction_file_may_take_names_from_variables() -> None:
    sql = f"-- migrator: no-transaction\n{HEAD}CREATE INDEX CONCURRENTLY ${{app}}_42 ON t (a);"
    script, findings = understand(a_migration(1, sql), VALUES)
    assert script is not None, findings


def refused(sql: str, at: str, message: str = "no") -> StatementError:
    """What a refusal at `at` of the text that is sent ends with."""
    script, _ = understand(a_migration(1, sql), VALUES)
    assert script is not None
    [sent] = fly(script)
    refusal = Refusal("42601", message, position=sent.text.index(at) + 1)
    shown = discreet(sent, refusal, None, Hider((), VALUES.secrets))
    error = diagnose(script, sent, shown, None, RunState((), None, ()))
    assert isinstance(error, StatementError)
    return error


def test_an_error_has_line_column_and_text_of_the_file() -> None:
    error = refused(f"{HEAD}SELECT '${{long}}', '${{pw}}', bad;\n", "bad")
    assert error.message.startswith("001_step.sql:2:28: ")
    assert error.details["source_line"] == "SELECT '${long}', '${pw}', bad;"
    assert error.details["caret"] == " " * 27 + "^"


def test_a_literal_is_hidden_where_it_is_written() -> None:
    sql = f"{HEAD}CREATE ROLE ${{app}} PASSWORD 'hunter2 ${{pw}}' bad;\n"
    error = refused(sql, "bad")
    assert error.details["source_line"] == "CREATE ROLE ${app} PASSWORD '***' bad;"
    assert error.details["caret"] == " " * 34 + "^"
    broken = refused(f"{HEAD}CREATE ROLE ${{app}} PASSWORD\n  bad ${{pw}};\n", "bad")
    assert broken.details["source_line"] == "  ***"
    several = refused(f"{HEAD}CREATE ROLE x PASSWORD '${{pw}}\nabc' bad;\n", "bad")
    assert several.details["source_line"] == "'***' bad;"


@pytest.mark.parametrize(
    ("message", "shown"),
    [
        pytest.param('relation "S3CRET-PW" is not there', 'relation "***" is not there', id="case"),
        pytest.param('near "cret-p"', 'near "***"', id="a piece in quotes"),
        pytest.param("pin 42, not 421 or x42", "pin ***, not 421 or x42", id="a short one"),
    ],
)
def test_what_the_server_says_has_no_value_of_a_file(message: str, shown: str) -> None:
    error = refused(f"{HEAD}SELECT '${{pw}}', ${{pin}}, bad;", "bad", message)
    assert error.message.endswith(shown)


def test_a_value_is_hidden_in_each_form_that_a_text_may_quote() -> None:
    long = "x" * 80
    hide = Hider((), ["it's", "line one\nline two", long])
    assert hide("it''s it's") == "*** ***"
    assert hide("near line two") == "near ***"
    assert hide(f"truncated to {'x' * 63}") == "truncated to ***"


def test_values_come_from_variables_and_from_files() -> None:
    names = {"PLACEHOLDER_A": "1", "PLACEHOLDER_b": "2", "MIGRATOR_PLACEHOLDER_A": "3"}
    config = read_config({**names, "PLACEHOLDERS_DIR": "/run/values"})
    assert config.placeholders_dir == "/run/values"
    both = with_mounted(config, {"c-d": "4"}).placeholders
    assert [both.find(name) for name in ("a", "B", "c.d", "e")] == ["3", "2", "4", None]
    assert both.secrets == ("4",)
    assert "4" not in repr(both)


@pytest.mark.parametrize(
    ("files", "says"),
    [
        pytest.param({"a": "1"}, "PLACEHOLDER_A", id="a variable"),
        pytest.param({"b-c": "1", "B_C": "2"}, "another file of /run/values", id="a file"),
    ],
)
def test_a_name_has_one_value(files: dict[str, str], says: str) -> None:
    config = read_config({"PLACEHOLDER_A": "1", "PLACEHOLDERS_DIR": "/run/values"})
    with pytest.raises(ConfigError, match=says):
        with_mounted(config, files)


def test_a_literal_on_another_line_hides_nothing_of_the_line() -> None:
    sql = f"{HEAD}CREATE ROLE ${{app}} PASSWORD 'hunter2'\n  bad;\n"
    assert refused(sql, "bad").details["source_line"] == "  bad;"


def test_a_row_of_a_copy_has_the_line_of_the_file() -> None:
    sql = f"{HEAD}COPY t FROM stdin;\n${{long}}\nx\n\\.\n"
    script, _ = understand(a_migration(1, sql), VALUES)
    assert script is not None
    sent = next(message for message in fly(script) if message.rows is not None)
    refusal = Refusal("22P02", "no", context="COPY t, line 3, column a: x")
    error = diagnose(script, sent, refusal, None, RunState((), None, ()))
    assert error.details["line"] == 4


def test_a_section_of_goose_goes_on_below_the_next_mark() -> None:
    text = f"{ON}-- +goose Up\nA;\n-- +goose Down\nB;\n{OFF}C;\n"
    cut = named_format("goose").cut(text)
    assert cut.up == f"{ON}\nA;\n\n\n\n\n"
    assert cut.down == f"{ON}\n\n\nB;\n{OFF}C;\n"


def test_an_owed_hook_is_what_up_would_run() -> None:
    assert verdict((), (), (), "after.sql") == "`up` would run after.sql, which is owed."
    assert [finding.file for finding in owing("after.sql")] == ["after.sql"]
    assert owing(None) == []
