"""Settings: each one's reading, which of its names wins, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest

from migrator.config import (
    SETTINGS,
    URLS,
    LogFormat,
    LogLevel,
    OnFinding,
    OnLate,
    Preflight,
    read_config,
)
from migrator.errors import ConfigError
from migrator.model import Phase, Placeholders

DEFAULTS = {
    "targets": (),
    "shadow": None,
    "migrations_dir": "migrations",
    "folder_format": "auto",
    "adopt": None,
    "migrations_schema": "public",
    "history_readers": (),
    "search_path": (),
    "run_as": None,
    "connect_timeout": 60_000,
    "wait_timeout": 600_000,
    "lock_timeout": 2_000,
    "lock_retry_timeout": 300_000,
    "statement_timeout": 0,
    "batch_time": 200,
    "max_lag": 0,
    "files_per_flight": None,
    "jobs": 1,
    "progress_interval": 10_000,
    "deadline": None,
    "on_drift": OnFinding.FAIL,
    "on_missing": None,
    "on_late": OnLate.FAIL,
    "phase": None,
    "preflight": Preflight.WARN,
    "preflight_size": 10 * 1024 * 1024,
    "sync_supabase_history": False,
    "log_format": LogFormat.AUTO,
    "log_level": LogLevel.INFO,
    "placeholders": Placeholders(),
    "placeholders_dir": None,
    "termination_log": "/dev/termination-log",
}


def refused(environment: dict[str, str]) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        read_config(environment)
    return caught.value


def test_an_empty_environment_gives_the_defaults() -> None:
    config = read_config({})
    assert {name: getattr(config, name) for name in DEFAULTS} == DEFAULTS
    assert set(DEFAULTS) == set(config._fields)


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        pytest.param("MIGRATIONS_DIR", "/sql", "/sql", id="a folder"),
        pytest.param("MIGRATIONS_DIR", " ", "migrations", id="blank is not set"),
        pytest.param("MIGRATIONS_SCHEMA", "Ops_2", "Ops_2", id="a schema as it is written"),
        pytest.param("HISTORY_READERS", "a, b,,a", ("a", "b"), id="roles, each once"),
        pytest.param("SEARCH_PATH", "app,public", ("app", "public"), id="a search path"),
        pytest.param("ADOPT", "Golang-Migrate", "golang-migrate", id="a tool"),
        pytest.param("CONNECT_TIMEOUT", "500ms", 500, id="a duration"),
        pytest.param("WAIT_TIMEOUT", "1h", 3_600_000, id="a longer one"),
        pytest.param("LOCK_TIMEOUT", "0", 0, id="no lock timeout"),
        pytest.param("LOCK_RETRY_TIMEOUT", "1d", 86_400_000, id="a day of retries"),
        pytest.param("STATEMENT_TIMEOUT", "30min", 1_800_000, id="a statement timeout"),
        pytest.param("JOBS", "4", 4, id="files of a group at once"),
        pytest.param("FILES_PER_FLIGHT", "16", 16, id="files that share a message"),
        pytest.param("FILES_PER_FLIGHT", "Auto", None, id="files as the run sees fit"),
        pytest.param("DEADLINE", "10min", 600_000, id="a deadline"),
        pytest.param("ON_DRIFT", "WARN", OnFinding.WARN, id="a choice in capitals"),
        pytest.param("ON_MISSING", "fail", OnFinding.FAIL, id="missing files"),
        pytest.param("ON_LATE", "skip", OnLate.SKIP, id="late files"),
        pytest.param("PREFLIGHT", "fail", Preflight.FAIL, id="a gate"),
        pytest.param("PHASE", "Post", Phase.POST, id="a phase"),
        pytest.param("PREFLIGHT_SIZE", "512 kB", 512 * 1024, id="a size"),
        pytest.param("PREFLIGHT_SIZE", "1048576", 1024 * 1024, id="a size in bytes"),
        pytest.param("SYNC_SUPABASE_HISTORY", "On", True, id="a switch that is on"),
        pytest.param("SYNC_SUPABASE_HISTORY", "off", False, id="a switch that is off"),
        pytest.param("LOG_FORMAT", "json", LogFormat.JSON, id="a format"),
        pytest.param("LOG_LEVEL", "debug", LogLevel.DEBUG, id="a level"),
        pytest.param("TERMINATION_LOG", "/tmp/t", "/tmp/t", id="a file"),
    ],
)
def test_a_setting_is_read(name: str, text: str, value: Any) -> None:
    assert getattr(read_config({name: text}), name.lower()) == value


def test_every_setting_is_read_somewhere_above() -> None:
    assert {setting.name.lower() for setting in SETTINGS} == set(DEFAULTS) - {
        *("targets", "shadow", "placeholders"),
    }
    assert [s.flag for s in SETTINGS if "_" in s.flag or not s.flag.startswith("--")] == []


@pytest.mark.parametrize(
    ("name", "text", "part"),
    [
        pytest.param("ADOPT", "yoyo", "one of auto, atlas", id="a tool that is not known"),
        pytest.param("FOLDER_FORMAT", "yoyo", "one of auto, ", id="a format of no tool"),
        pytest.param("CONNECT_TIMEOUT", "soon", "write 500ms, 2s", id="a duration"),
        pytest.param("LOCK_TIMEOUT", "5", "write 500ms, 2s", id="a duration without a unit"),
        pytest.param("DEADLINE", "99d", "too long", id="a duration too long"),
        pytest.param("ON_DRIFT", "ignore", "fail, warn", id="a choice"),
        pytest.param("ON_LATE", "warn", "fail, apply, skip", id="a choice of another setting"),
        pytest.param("SYNC_SUPABASE_HISTORY", "yes", "on or off", id="a switch"),
        pytest.param("PHASE", "deploy", "pre, post, all", id="a phase of none"),
        pytest.param("PREFLIGHT", "on", "off, warn, fail", id="a gate"),
        pytest.param("PREFLIGHT_SIZE", "big", "a size, such as 10MB", id="a size"),
        pytest.param("FILES_PER_FLIGHT", "0", "auto or a number from 1", id="no file"),
        pytest.param("JOBS", "0", "a number from 1 to 99", id="no job"),
        pytest.param("JOBS", "auto", "a number from 1 to 99", id="jobs"),
        pytest.param("FILES_PER_FLIGHT", "many", "auto or a number from 1", id="files"),
        pytest.param("LOG_FORMAT", "xml", "auto, json, text", id="a format"),
        pytest.param("LOG_LEVEL", "loud", "debug, info, warning, error", id="a level"),
        pytest.param("RUN_AS", "none", "the name of a role", id="no role"),
        pytest.param("MIGRATIONS_SCHEMA", "a-b", "letters, digits and _", id="a schema"),
        pytest.param("MIGRATIONS_SCHEMA", "pg_x", "not begin with pg_", id="a reserved schema"),
        pytest.param("MIGRATIONS_SCHEMA", "a" * 64, "letters", id="a schema too long"),
        pytest.param("MIGRATIONS_SCHEMA", "schéma", "letters", id="a schema beyond ASCII"),
    ],
)
def test_an_unreadable_value_is_refused_by_name(name: str, text: str, part: str) -> None:
    error = refused({name: text})
    assert error.message.startswith(f"{name}={text} cannot be used: ")
    assert part in error.message


@pytest.mark.parametrize(
    ("environment", "flags", "wait_timeout"),
    [
        pytest.param({"WAIT_TIMEOUT": "1s"}, {}, 1_000, id="the plain name"),
        pytest.param({"MIGRATOR_WAIT_TIMEOUT": "2s"}, {}, 2_000, id="with our prefix"),
        pytest.param(
            {"WAIT_TIMEOUT": "1s", "MIGRATOR_WAIT_TIMEOUT": "2s"}, {}, 2_000, id="the prefix wins"
        ),
        pytest.param(
            {"WAIT_TIMEOUT": "1s", "MIGRATOR_WAIT_TIMEOUT": ""}, {}, 1_000, id="unless it is empty"
        ),
        pytest.param(
            {"MIGRATOR_WAIT_TIMEOUT": "2s"}, {"WAIT_TIMEOUT": "3s"}, 3_000, id="a flag overrules"
        ),
    ],
)
def test_a_setting_has_two_names_and_a_flag(
    environment: dict[str, str], flags: dict[str, str], wait_timeout: int
) -> None:
    assert read_config(environment, flags).wait_timeout == wait_timeout


def test_unknown_settings_are_refused_all_at_once() -> None:
    error = refused({"MIGRATOR_WAIT_TIME": "s3cret", "MIGRATOR_DATABASE": "x", "LOCK_TIME": "1"})
    assert error.message == "unknown settings: MIGRATOR_DATABASE, MIGRATOR_WAIT_TIME"


@pytest.mark.parametrize(
    "name",
    [
        "MIGRATOR_PORT",
        "MIGRATOR_PORT_5432_TCP",
        "MIGRATOR_PORT_5432_TCP_ADDR",
        "MIGRATOR_PORT_5432_TCP_PORT",
        "MIGRATOR_PORT_5432_TCP_PROTO",
        "MIGRATOR_PORT_53_UDP",
        "MIGRATOR_SERVICE_HOST",
        "MIGRATOR_SERVICE_PORT",
        "MIGRATOR_SERVICE_PORT_HTTP",
        "MIGRATOR_DB_SERVICE_HOST",
        "MIGRATOR_DB_SERVICE_PORT",
        "MIGRATOR_DB_PORT_5432_TCP_ADDR",
    ],
)
def test_the_links_that_kubernetes_injects_are_no_settings(name: str) -> None:
    assert read_config({name: "tcp://10.0.0.1:5432"}) == read_config({})


@pytest.mark.parametrize(
    "name", ["MIGRATOR_PORT_X", "MIGRATOR_HOST", "MIGRATOR_SERVICE", "MIGRATOR_"]
)
def test_what_only_looks_like_a_link_is_refused(name: str) -> None:
    assert name in refused({name: "1"}).message


def test_pgoptions_are_refused_even_beside_a_url() -> None:
    error = refused({"PGOPTIONS": "-c lock_timeout=1", "DATABASE_URL": "postgresql://h/d"})
    assert "PGOPTIONS" in error.message
    assert "LOCK_TIMEOUT" in error.remedy


@pytest.mark.parametrize(
    ("environment", "targets"),
    [
        pytest.param({}, [], id="none"),
        pytest.param({"DATABASE_URL": "postgresql://a"}, ["DATABASE_URL @a:5432/"], id="one"),
        pytest.param({"DATABASE_URL": " "}, [], id="a blank one"),
        pytest.param(
            {"DATABASE_URL": "postgresql://a", "DIRECT_URL": "postgresql://b"},
            ["DIRECT_URL @b:5432/", "DATABASE_URL @a:5432/"],
            id="the direct one first",
        ),
        pytest.param({"DIRECT_URL": "postgresql://b"}, ["DIRECT_URL @b:5432/"], id="it alone"),
        pytest.param(
            {"SUPABASE_DATABASE_URL": "postgresql://c"},
            ["SUPABASE_DATABASE_URL @c:5432/"],
            id="the alias",
        ),
        pytest.param(
            {"SUPABASE_DATABASE_URL": "postgresql://c", "DATABASE_URL": "postgresql://a"},
            ["DATABASE_URL @a:5432/"],
            id="not beside DATABASE_URL",
        ),
        pytest.param(
            {"DATABASE_URL": "postgresql://a", "MIGRATOR_DATABASE_URL": "postgresql://d"},
            ["DATABASE_URL @d:5432/"],
            id="our prefix wins",
        ),
        pytest.param({"PGHOST": "e", "PGUSER": "u"}, ["PGHOST u@e:5432/"], id="libpq's own"),
        pytest.param(
            {"PGHOST": "e", "PGUSER": "u", "DATABASE_URL": "postgresql://a"},
            ["DATABASE_URL u@a:5432/"],
            id="libpq's own fill up a URL",
        ),
    ],
)
def test_where_to_connect_comes_in_many_ways(
    environment: dict[str, str], targets: list[str]
) -> None:
    found = read_config(environment).targets
    assert [f"{target.name} {target}" for target in found] == targets


def test_a_url_that_cannot_be_read_is_refused_by_its_name() -> None:
    assert refused({"DIRECT_URL": "s3cret"}).message == "DIRECT_URL is no PostgreSQL URL"


def test_the_secrets_are_those_of_all_targets() -> None:
    urls = {"DATABASE_URL": "postgresql://u:s3one@a", "DIRECT_URL": "postgresql://u:s3two@b"}
    config = read_config(urls)
    assert set(config.secrets) == {"s3one", "s3two"}
    assert not any(word in repr(config) for word in config.secrets)


def test_urls_have_no_flags() -> None:
    assert not set(URLS) & {setting.name for setting in SETTINGS}


def test_the_scratch_database_is_named_by_its_own_url_alone() -> None:
    environment = {"PGHOST": "prod", "PGPASSWORD": "of-prod", "SHADOW_DATABASE_URL": " "}
    assert read_config(environment).shadow is None
    url = "postgresql://tester:hidden@scratch/db"
    config = read_config({**environment, "MIGRATOR_SHADOW_DATABASE_URL": url})
    assert config.shadow is not None
    assert (str(config.shadow), config.shadow.params["password"]) == (
        "tester@scratch:5432/db",
        "hidden",
    )
    assert config.secrets == ("of-prod", "hidden")
