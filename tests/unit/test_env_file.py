"""The reader of .env files, and what of a file counts beside the environment."""

from __future__ import annotations

import pytest

from migrator.cli.env_file import beneath, names_database, read_env_file
from migrator.errors import ConfigError
from tests.env_lines import READ, REFUSED, REFUSED_BY_US

SECRET = "s3cret"


def found(text: str, **environment: str) -> dict[str, str]:
    read = read_env_file(text, ".env", environment)
    return {name: value for name, value in read.items() if name in {"A", "B", "C"}}


@pytest.mark.parametrize("text", READ)
def test_a_file_is_read_as_compose_reads_it(text: str) -> None:
    assert found(text) == READ[text]


@pytest.mark.parametrize("text", [*REFUSED, *REFUSED_BY_US])
def test_a_file_that_cannot_be_read_names_the_line(text: str) -> None:
    line = {**REFUSED, **REFUSED_BY_US}[text]
    with pytest.raises(ConfigError, match=rf"^\.env:{line}: ") as caught:
        found(text)
    assert caught.value.remedy


@pytest.mark.parametrize(
    "text",
    [
        f"DATABASE_URL=postgresql://u:{SECRET}$w@h/d",
        f'DATABASE_URL="{SECRET}',
        f"DATABASE_URL='{SECRET}'x{SECRET}",
        f"DATABASE_URL={SECRET}${{",
        f"{SECRET} is no name=1",
    ],
)
def test_no_error_quotes_a_value(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        found(text)
    assert SECRET not in f"{caught.value.message} {caught.value.remedy} {caught.value.details}"


def test_a_dollar_in_a_url_is_not_dropped_in_silence() -> None:
    with pytest.raises(ConfigError, match=r"DATABASE_URL holds \$w, and no variable w is set"):
        found("DATABASE_URL=postgresql://u:p$w@h/d")
    text = "DATABASE_URL='postgresql://u:p$w@h/d'"
    assert read_env_file(text, ".env", {}) == {"DATABASE_URL": "postgresql://u:p$w@h/d"}


def test_an_unset_variable_is_nothing_in_what_the_job_does_not_read() -> None:
    assert read_env_file("OTHER=a${B}c", ".env", {}) == {"OTHER": "ac"}


def test_the_environment_wins_in_the_file_itself() -> None:
    assert found("B=1\nA=$B", B="9") == {"A": "9", "B": "9"}
    assert found("B=1\nA=${B:-d}", B="") == {"A": "d", "B": ""}
    assert found("A", A="9") == {"A": "9"}


@pytest.mark.parametrize(
    ("environment", "file", "together"),
    [
        pytest.param({}, {"ON_LATE": "skip"}, {"ON_LATE": "skip"}, id="a setting of the file"),
        pytest.param({"ON_LATE": "fail"}, {"ON_LATE": "skip"}, {"ON_LATE": "fail"}, id="both"),
        pytest.param(
            {"ON_LATE": "fail"}, {"MIGRATOR_ON_LATE": "skip"}, {"ON_LATE": "fail"}, id="two forms"
        ),
        pytest.param({}, {"NODE_ENV": "x", "HOSTNAME": "y", "PATH": "z"}, {}, id="no setting"),
        pytest.param({}, {"MIGRATOR_LATE": "x"}, {"MIGRATOR_LATE": "x"}, id="a wrong setting"),
        pytest.param({}, {"PGOPTIONS": "-c x=y"}, {"PGOPTIONS": "-c x=y"}, id="PGOPTIONS"),
        pytest.param(
            {"DATABASE_URL": "a"},
            {"DIRECT_URL": "b", "PGPASSWORD": "c", "SHADOW_DATABASE_URL": "d"},
            {"DATABASE_URL": "a", "SHADOW_DATABASE_URL": "d"},
            id="a URL of the environment: nothing of the file's place",
        ),
        pytest.param(
            {"PGHOST": "a"}, {"DATABASE_URL": "b", "PGPASSWORD": "c"}, {"PGHOST": "a"}, id="PGHOST"
        ),
        pytest.param(
            {"DATABASE_URL": ""}, {"DIRECT_URL": "b"}, {"DATABASE_URL": ""}, id="an empty URL"
        ),
        pytest.param(
            {"PGSSLMODE": "require", "PGUSER": "a"},
            {"DATABASE_URL": "b", "PGUSER": "c"},
            {"DATABASE_URL": "b", "PGSSLMODE": "require", "PGUSER": "a"},
            id="what names no database goes together",
        ),
    ],
)
def test_what_a_file_adds(
    environment: dict[str, str], file: dict[str, str], together: dict[str, str]
) -> None:
    assert beneath(environment, file) == together


def test_an_empty_variable_names_a_database_too() -> None:
    assert names_database({"DATABASE_URL": ""})
    assert names_database({"MIGRATOR_DIRECT_URL": "x"})
    assert not names_database({"SHADOW_DATABASE_URL": "x", "PGPASSWORD": "y"})
