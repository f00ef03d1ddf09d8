"""The command line: what is understood, what is refused, and that nothing of it is echoed."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from inspect import Parameter, signature
from pathlib import Path
from typing import Any, NoReturn

import pytest

from migrator import __version__
from migrator.cli.main import main
from migrator.commands.table import COMMANDS, Command, Option, function_of
from tests.job import Result

URL = "postgresql://user:s3cret@host/db"


def run(*argv: str, **environment: str) -> Result:
    stdout, stderr = io.StringIO(), io.StringIO()
    code = main(argv, environment, stdout, stderr)
    return Result(code, stderr.getvalue(), stdout.getvalue())


@pytest.fixture
def taken(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What the command `new` gets: it takes a word, a value and a flag here."""
    found: list[dict[str, Any]] = []

    def new(_run: object, name: str, **options: Any) -> dict[str, Any]:
        """Take all of it."""
        found.append({"name": name, **options})
        return {"created": []}

    options = (
        *(Option("to", "how far", "VERSION"), Option("from-files", "whence")),
        Option("pair", "two of them", "OLD NEW"),
    )
    command = Command(words=("NAME",), options=options, needs_database=False)
    monkeypatch.setitem(COMMANDS, "new", command)
    monkeypatch.setattr("migrator.commands.new.new", new)
    forms = {f"--{option.name}": option.value or "" for option in options}
    monkeypatch.setattr("migrator.cli.words.OPTIONS", forms)
    return found


@pytest.mark.parametrize("name", COMMANDS)
def test_the_function_of_a_command_takes_what_the_table_says(name: str) -> None:
    command, parameters = COMMANDS[name], signature(function_of(name)).parameters.values()
    named = {p.name for p in parameters if p.kind is Parameter.KEYWORD_ONLY}
    positional = [p.name for p in parameters if p.kind is Parameter.POSITIONAL_OR_KEYWORD]
    if any(p.kind is Parameter.VAR_KEYWORD for p in parameters):  # `repair`: one of its answers
        assert named | set(positional) <= {"run", *(option.word for option in command.options)}
    else:
        assert named == {option.word for option in command.options}
        assert len(positional) == 1 + len(command.words)


def test_a_colour_that_is_not_known_is_refused() -> None:
    refused = run("up", "--color", "alway")
    assert (refused.code, "; did you mean always?" in refused.error["message"]) == (2, True)
    known = run("upp", "--color", "always")
    assert "there is no command" in known.error["message"]


def test_a_word_that_a_command_needs_is_named(taken: list[dict[str, Any]]) -> None:
    refused = run("new")
    assert (refused.code, refused.error["message"], taken) == (2, "`new` needs NAME", [])


def test_a_command_gets_its_options_by_name(taken: list[dict[str, Any]]) -> None:
    assert run("new", "a").code == 0
    assert run("new", "--from-files", "a", "--to", "003_c").code == 0
    assert taken == [
        {"name": "a", "to": None, "from_files": False, "pair": None},
        {"name": "a", "to": "003_c", "from_files": True, "pair": None},
    ]
    assert "--to VERSION" in run("new", "--help").stdout


def test_an_option_that_is_a_keyword_of_python_has_another_name_there() -> None:
    assert Option("from", "whence", "TOOL").word == "from_"
    assert run("adopt", "--from").error["message"] == "--from needs a value"
    assert run("adopt", "--from", "flyway").error["message"] == "no database is named"


def test_an_option_may_take_two_words(taken: list[dict[str, Any]]) -> None:
    assert run("new", "--pair", "x", "y", "a").code == 0
    assert taken[0]["pair"] == ["x", "y"]
    assert run("new", "a", "--pair", "x").code == 2
    assert "--pair OLD NEW" in run("new", "--help").stdout


def test_an_option_of_another_command_is_refused(taken: list[dict[str, Any]]) -> None:
    result = run("status", "--to", "s3cret", "--from-files")
    assert (result.code, taken) == (2, [])
    assert result.error["message"] == "`status` takes no --to, --from-files"


def test_the_version_is_told() -> None:
    result = run("--version")
    assert (result.code, result.stdout) == (0, f"migrator {__version__}\n")


@pytest.mark.parametrize(
    ("argv", "part"),
    [
        pytest.param(["upp"], "there is no command upp; did you mean up?", id="an unknown command"),
        pytest.param(["up", "u:s3cret@host/db"], "this is too much: …", id="half a URL"),
        pytest.param(["rolbak"], "did you mean rollback?", id="a slip"),
        pytest.param(["help", "statsu"], "did you mean status?", id="a slip behind help"),
        pytest.param(["statsu", "--help"], "did you mean status?", id="a slip before --help"),
        pytest.param(["--s3cret!=x"], "there is no flag …", id="a flag that is no plain word"),
        pytest.param(["rollback", "--too", "3"], "did you mean --to?", id="a slip in a flag"),
        pytest.param(["rollback", "--to"], "Write --to VERSION.", id="an option without its value"),
        pytest.param(["rollback", "--to", ""], "--to needs a value", id="an empty version"),
        pytest.param(["rollback", "--to="], "--to needs a value", id="an empty version behind ="),
        pytest.param(["repair", "--rename", "a"], "--rename needs two values", id="one of two"),
        pytest.param(["repair", "--rename=a"], "--rename takes two values", id="one of two, too"),
        pytest.param([URL], "there is a URL on the command line", id="a URL for a command"),
        pytest.param(["up", URL], "there is a URL on the command line", id="a URL for a word"),
        pytest.param(["-d"], "there is no flag -d", id="an unknown short flag alone"),
        pytest.param(["--log-level", "loud"], "LOG_LEVEL=", id="no level"),
        pytest.param(["new", "No!"], "cannot be a migration's name", id="no name"),
        pytest.param(["new"], "`new` takes a NAME, or --renumber", id="a word too few"),
        pytest.param(
            ["new", "a", "b"], "`new` takes [NAME]; this is too much: b", id="a word too many"
        ),
        pytest.param(["new", "a", "--renumber", "001_a"], "or --renumber VERSION", id="two wishes"),
        pytest.param(
            ["new", "--repeatable", "--renumber", "001_a"], "or --renumber VERSION", id="another"
        ),
        pytest.param(["up", "--graph"], "`up` takes no --graph", id="a graph of another command"),
        pytest.param(["status", "--graph"], "`status` takes no --graph", id="of another, too"),
        pytest.param(["history", "--limit", "0"], "no database is named", id="no URL for a log"),
        pytest.param(
            ["verify", "--base", "--x"], "--base needs a value", id="a flag for a revision"
        ),
        pytest.param(
            ["--database-url", URL],
            "there is a URL on the command line",
            id="a URL for a flag's value",
        ),
        pytest.param(
            [f"--database-url={URL}"], "there is a URL on the command line", id="a URL behind ="
        ),
        pytest.param(["-d", URL], "there is a URL on the command line", id="an unknown short flag"),
        pytest.param([f"--{URL}"], "there is a URL on the command line", id="a URL for a flag"),
        pytest.param(
            ["--lock-timeout"], "--lock-timeout needs a value", id="a flag without its value"
        ),
        pytest.param(
            ["--lock", "2s"], "did you mean --lock-timeout or --lock-retry-", id="a flag cut short"
        ),
        pytest.param(["--json=s3cret"], "--json takes no value", id="a value too many"),
        pytest.param(
            ["--log-level", URL], "there is a URL on the command line", id="a URL for a setting"
        ),
        pytest.param(
            ["--on-late", "postgres://u:s3cret is@h"],
            "there is a URL on the command line",
            id="one with blanks, too",
        ),
        pytest.param(["new", URL], "there is a URL on the command line", id="a URL for a name"),
        pytest.param(["up"], "no database is named", id="no URL at all"),
        pytest.param([], "no database is named", id="up without saying so"),
    ],
)
@pytest.mark.parametrize("log_format", ["json", "text"])
def test_what_cannot_be_understood_is_refused_and_not_echoed(
    argv: list[str], part: str, log_format: str
) -> None:
    result = run(*argv, LOG_FORMAT=log_format, MIGRATIONS_DIR="/nowhere")
    assert result.code == 2
    assert part in result.stderr
    assert "s3cret" not in result.stderr + result.stdout


@pytest.mark.parametrize(
    ("argv", "environment", "is_json"),
    [
        pytest.param([], {}, True, id="by itself"),
        pytest.param([], {"LOG_FORMAT": "text"}, False, id="the environment"),
        pytest.param(
            [], {"LOG_FORMAT": "json", "MIGRATOR_LOG_FORMAT": "text"}, False, id="MIGRATOR_"
        ),
        pytest.param(["--log-format", "text"], {"LOG_FORMAT": "json"}, False, id="a flag"),
        pytest.param(["--log-format=Text"], {"LOG_FORMAT": "json"}, False, id="a flag and ="),
        pytest.param(["--log-format", "nope"], {}, True, id="no format"),
    ],
)
@pytest.mark.parametrize("wrong", [["upp"], ["--on-late", "soon"]])
def test_log_format_holds_for_an_error_of_usage_too(
    argv: list[str], environment: dict[str, str], is_json: bool, wrong: list[str]
) -> None:
    assert run(*wrong, *argv, **environment).stderr.startswith("{") == is_json


def test_a_word_behind_two_dashes_is_no_flag(taken: list[dict[str, Any]]) -> None:
    assert run("new", "--", "--pair").code == 0
    assert taken[0]["name"] == "--pair"


def test_flags_of_one_name_take_values_of_one_form() -> None:
    forms = [(o.name, o.value) for command in COMMANDS.values() for o in command.options]
    assert len(dict(forms)) == len(set(forms))


def test_a_refusal_is_the_answer_in_json_too() -> None:
    result = run("status", "--json")
    assert json.loads(result.stdout) == {
        key: value
        for key, value in result.report.items()
        if key not in {"timestamp", "level", "event"}
    }
    assert result.error["type"] == "ConfigError"
    assert result.error["remedy"].startswith("Set DATABASE_URL")


@pytest.mark.parametrize(
    "environment",
    [
        pytest.param({}, id="a flag"),
        pytest.param({"MIGRATIONS_DIR": "/elsewhere"}, id="a flag before the environment"),
    ],
)
def test_a_setting_may_be_a_flag(environment: Mapping[str, str], tmp_path: Path) -> None:
    result = run("new", "add_orders", "--migrations-dir", str(tmp_path), **environment)
    assert result.code == 0, result.stderr
    made = sorted(path.name for path in tmp_path.iterdir())
    assert made == ["001_add_orders.down.sql", "001_add_orders.sql"]
    assert result.stdout.split() == [str(tmp_path / name) for name in reversed(made)]


@pytest.mark.parametrize(
    ("environment", "part"),
    [
        pytest.param({"DATABASE_URL": "s3cret"}, "DATABASE_URL is no", id="no URL"),
        pytest.param({"DATABASE_URL": f"{URL}?s3cret=x"}, "parameter 1", id="a parameter"),
        pytest.param({"DATABASE_URL_FILE": "/nowhere"}, "No such file", id="no file"),
        pytest.param({"DATABASE_URL_FILE": URL}, "No such file", id="a URL for a file"),
        pytest.param({"DATABASE_URL_FILE": "/dev/null"}, "is empty", id="an empty file"),
        pytest.param(
            {"DATABASE_URL_FILE": "/nowhere", "DATABASE_URL": URL}, "both", id="a file and a URL"
        ),
        pytest.param({"PGOPTIONS": "-c s3cret=1"}, "PGOPTIONS", id="PGOPTIONS"),
        pytest.param({"MIGRATOR_PASSWORD": "s3cret"}, "MIGRATOR_PASSWORD", id="unknown"),
    ],
)
def test_a_setting_that_cannot_be_used_is_refused_and_not_echoed(
    environment: dict[str, str], part: str
) -> None:
    result = run("up", **environment)
    assert result.code == 2
    assert part in result.error["message"]
    assert "s3cret" not in result.stderr


def test_a_file_that_is_not_utf_8_holds_no_url(tmp_path: Path) -> None:
    file = tmp_path / "url"
    file.write_bytes(b"postgresql://u:s3cret\xff@h/d")
    result = run("up", DATABASE_URL_FILE=str(file))
    assert (result.code, "not UTF-8" in result.error["message"]) == (2, True)
    assert "s3cret" not in result.stderr


def test_an_env_file_is_read_beneath_the_environment(tmp_path: Path) -> None:
    file = tmp_path / ".env"
    file.write_text(f"DATABASE_URL='{URL}'\nON_LATE=never # no such word\n")
    result = run("status", "--env-file", str(file))
    assert result.code == 2
    assert "ON_LATE=never" in result.error["message"]
    offline = run("new", "A", "--env-file", str(file), ON_LATE="skip")
    assert "cannot be a migration's name" in offline.error["message"], "the environment wins"
    assert "s3cret" not in result.stderr + offline.stderr


@pytest.mark.parametrize(
    ("written", "part"),
    [
        pytest.param(None, "--env-file=PATH cannot be read: No such file", id="no file"),
        pytest.param(b"A=\xff", "--env-file=PATH cannot be read: it is not UTF-8", id="no text"),
        pytest.param(b"ON_LATE=skip\nA='s3cret", "PATH:2: a quote is not closed", id="no end"),
    ],
)
def test_an_env_file_that_cannot_be_read_is_refused(
    tmp_path: Path, written: bytes | None, part: str
) -> None:
    file = tmp_path / ".env"
    if written is not None:
        file.write_bytes(written)
    result = run("status", "--env-file", str(file))
    assert result.code == 2
    assert part.replace("PATH", str(file)) in result.error["message"]
    assert "s3cret" not in result.stderr


def test_a_bug_of_ours_is_code_1_with_a_traceback_and_without_a_secret(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fails(_run: object, **_options: object) -> NoReturn:
        """Fail."""
        raise KeyError(URL, "s3cret")

    monkeypatch.setattr("migrator.commands.up.up", fails)
    result = run("up", DATABASE_URL=URL)
    assert result.code == 1
    assert "KeyError" in result.error["traceback"]
    assert "s3cret" not in result.stderr


@pytest.mark.parametrize("name", ["TERMINATION_LOG", "MIGRATOR_TERMINATION_LOG"])
def test_the_result_goes_to_the_termination_log_where_there_is_one(
    name: str, tmp_path: Path
) -> None:
    there, missing = tmp_path / "there", tmp_path / "missing"
    there.write_text("")
    result = run("up", **{name: str(there)})
    assert json.loads(there.read_text())["error"] == result.error
    run("up", **{name: str(missing)})
    assert not missing.exists()
