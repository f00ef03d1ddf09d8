"""A mapping of strings -> Config; SETTINGS holds every setting, as docs/reference.md does."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from enum import Enum
from itertools import combinations
from typing import Any, NamedTuple

from migrator.durations import parse_duration
from migrator.errors import ConfigError
from migrator.model import Phase, Placeholders
from migrator.postgres.url import Target, read_environment, read_url


class OnFinding(Enum):
    """What a finding does to the run."""

    FAIL = "fail"
    WARN = "warn"


class OnLate(Enum):
    """What becomes of a pending migration that is older than the newest applied one."""

    FAIL = "fail"
    APPLY = "apply"
    SKIP = "skip"


class Preflight(Enum):
    """What becomes of pending files that would harm a table in use."""

    OFF = "off"
    WARN = "warn"
    FAIL = "fail"


class LogFormat(Enum):
    """JSON lines, aligned text, or by whether stderr is a terminal."""

    AUTO = "auto"
    JSON = "json"
    TEXT = "text"


class LogLevel(Enum):
    """The least level that is logged."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class Setting(NamedTuple):
    """One setting: `NAME` in the environment, `MIGRATOR_NAME` which wins, `--name` on the line."""

    name: str
    read: Callable[[str], Any]
    default: str | None  #: as it would be written; None = not set
    help: str

    @property
    def flag(self) -> str:
        return "--" + self.name.lower().replace("_", "-")


def _choice(kind: type[Enum]) -> Callable[[str], Enum]:
    def read(text: str) -> Enum:
        try:
            return kind(text.lower())
        except ValueError:
            words = ", ".join(str(choice.value) for choice in kind)
            raise ValueError(f"it must be one of {words}") from None

    return read


def _schema(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z_][\w$]{0,62}", text, re.ASCII) or text.startswith("pg_"):
        raise ValueError("it must be of letters, digits and _, and not begin with pg_")
    return text


def _role(text: str) -> str:
    if text == "none":
        raise ValueError("it must be the name of a role")
    return text


def _names(text: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))


def _schemas(text: str) -> tuple[str, ...]:
    """Names as search_path has them, with or without quotes: "$user", public."""
    return tuple(name.strip('"') for name in _names(text))


def _switch(text: str) -> bool:
    words = {"on": True, "off": False}
    if text.lower() not in words:
        raise ValueError("it must be on or off")
    return words[text.lower()]


def _size(text: str) -> int:
    """Bytes: 10MB, 512 kB, 1GB, as PostgreSQL writes them; a number alone is bytes."""
    found = re.fullmatch(r"([0-9]{1,15})\s*(B|kB|MB|GB|TB)?", text, re.IGNORECASE | re.ASCII)
    if not found:
        raise ValueError("it must be a size, such as 10MB")
    units = ("b", "kb", "mb", "gb", "tb")
    factor: int = 1024 ** units.index((found[2] or "B").lower())
    return int(found[1]) * factor


def _files(text: str) -> int | None:
    """How many, from 1 on; None for auto."""
    if text.lower() == "auto":
        return None
    if not re.fullmatch(r"[1-9][0-9]{0,2}", text, re.ASCII):
        raise ValueError("it must be auto or a number from 1 to 999")
    return int(text)


def _jobs(text: str) -> int:
    if not re.fullmatch(r"[1-9][0-9]?", text, re.ASCII):
        raise ValueError("it must be a number from 1 to 99")
    return int(text)


def _text(text: str) -> str:
    return text


def _folders(text: str) -> str:
    folders_of(text)
    return text


COLON = ":"  #: divides the folders in MIGRATIONS_DIR
#: What FOLDER_FORMAT may be; the tools are those of folder/formats/table.py.
FOLDER_FORMATS = (
    *("auto", "native", "atlas", "dbmate", "diesel", "drizzle", "flyway", "golang-migrate"),
    *("goose", "graphile-migrate", "liquibase", "micrate", "node-pg-migrate", "prisma"),
    *("sql-migrate", "sqlx", "supabase", "tern"),
)


#: What ADOPT may be beside auto; the tools are those of adopt/tools.py.
ADOPTABLE = (
    *("atlas", "dbmate", "diesel", "drizzle", "flyway", "golang-migrate", "goose"),
    *(
        "graphile-migrate",
        "liquibase",
        "micrate",
        "node-pg-migrate",
        "prisma",
        "sql-migrate",
        "sqlx",
        "supabase",
        "tern",
    ),
)


def _tool(text: str) -> str:
    if text.lower() not in ("auto", *ADOPTABLE):
        raise ValueError(f"it must be one of auto, {', '.join(ADOPTABLE)}")
    return text.lower()


def _format(text: str) -> str:
    if text.lower() not in FOLDER_FORMATS:
        raise ValueError(f"it must be one of {', '.join(FOLDER_FORMATS)}")
    return text.lower()


SETTINGS = (
    Setting("MIGRATIONS_DIR", _folders, "migrations", "the folder of SQL files, or FOLDER:FOLDER"),
    Setting("FOLDER_FORMAT", _format, "auto", "whose rules the folder follows: native, or a tool"),
    Setting(
        "PLACEHOLDERS_DIR",
        _text,
        None,
        "a folder with a file for each placeholder, whose values are shown nowhere",
    ),
    Setting("ADOPT", _tool, None, "a first run takes over the history of this tool; auto: of any"),
    Setting("MIGRATIONS_SCHEMA", _schema, "public", "the schema that holds the history"),
    Setting("HISTORY_READERS", _names, None, "roles that may read the history, comma-separated"),
    Setting("SEARCH_PATH", _schemas, None, "search_path for the files; else the login role's own"),
    Setting("RUN_AS", _role, None, "the role that the files run as; else the login role"),
    Setting("CONNECT_TIMEOUT", parse_duration, "60s", "how long to try to connect, in all"),
    Setting("WAIT_TIMEOUT", parse_duration, "10min", "how long to wait for another runner; `wait`"),
    Setting("LOCK_TIMEOUT", parse_duration, "2s", "how long a statement may wait for a table lock"),
    Setting("LOCK_RETRY_TIMEOUT", parse_duration, "5min", "how long to retry a busy migration"),
    Setting("STATEMENT_TIMEOUT", parse_duration, "0", "limit for one statement; 0 = none"),
    Setting("FILES_PER_FLIGHT", _files, "auto", "how many short files share a message; 1 = none"),
    Setting("JOBS", _jobs, "1", "how many files of a group run at once; 1 = one after another"),
    Setting(
        "BATCH_TIME", parse_duration, "200ms", "how long a batch of a file in batches may last"
    ),
    Setting("MAX_LAG", _size, "0", "a file in batches waits for standbys further behind; 0 = off"),
    Setting(
        "PROGRESS_INTERVAL",
        parse_duration,
        "10s",
        "how often a slow statement is reported; 0 = never",
    ),
    Setting("DEADLINE", parse_duration, None, "limit for the whole run; then code 23"),
    Setting("ON_DRIFT", _choice(OnFinding), "fail", "an applied file has changed: fail or warn"),
    Setting("ON_MISSING", _choice(OnFinding), None, "an applied file is gone: fail or warn"),
    Setting("ON_LATE", _choice(OnLate), "fail", "a late file: fail, apply or skip"),
    Setting("PHASE", _choice(Phase), None, "which files run: pre, post or all [all; `wait`: pre]"),
    Setting("PREFLIGHT", _choice(Preflight), "warn", "harm to tables in use: off, warn or fail"),
    Setting("PREFLIGHT_SIZE", _size, "10MB", "from this size on a table counts as big"),
    Setting(
        "SYNC_SUPABASE_HISTORY",
        _switch,
        "off",
        "keep the history of the Supabase CLI in step: on or off",
    ),
    Setting("LOG_FORMAT", _choice(LogFormat), "auto", "auto, json or text"),
    Setting("LOG_LEVEL", _choice(LogLevel), "info", "debug, info, warning or error"),
    Setting("TERMINATION_LOG", _text, "/dev/termination-log", "the result, if the file exists"),
)
#: Where to connect. No flags: they would be in the process list.
URLS = {
    "DIRECT_URL": "a URL that bypasses the pooler; tried first",
    "DATABASE_URL": "the URL of the database",
    "SUPABASE_DATABASE_URL": "another name for DATABASE_URL",
    "DATABASE_URL_FILE": "a file that holds the URL, such as a mounted secret",
    "SHADOW_DATABASE_URL": "a server to rehearse on, or an empty database",
}
#: What the name of a variable begins with whose value takes the place of a placeholder.
_PLACEHOLDER = "PLACEHOLDER_"
#: What Kubernetes injects for a Service whose name begins with "migrator": no settings of ours.
SERVICE_LINK = (
    r"MIGRATOR_(?:\w+_)?(?:SERVICE_HOST|SERVICE_PORT(?:_\w+)?"
    r"|PORT(?:_\d+_(?:TCP|UDP|SCTP)(?:_(?:PROTO|PORT|ADDR))?)?)"
)


class Config(NamedTuple):
    """All settings of a run. Durations are in milliseconds; 0 means no limit."""

    targets: tuple[Target, ...]  #: tried in order: DIRECT_URL, then DATABASE_URL
    shadow: Target | None  #: SHADOW_DATABASE_URL
    migrations_dir: str
    folder_format: str
    placeholders_dir: str | None
    adopt: str | None  #: the tool whose history the first run takes over, or auto
    migrations_schema: str
    history_readers: tuple[str, ...]
    search_path: tuple[str, ...]
    run_as: str | None
    connect_timeout: int
    wait_timeout: int
    lock_timeout: int
    lock_retry_timeout: int
    statement_timeout: int
    files_per_flight: int | None  #: None: by how many are pending, and how far away the server is
    jobs: int
    batch_time: int
    max_lag: int  #: bytes
    progress_interval: int
    deadline: int | None
    on_drift: OnFinding
    on_missing: OnFinding | None  #: None: fail for what is older than our newest, else warn
    on_late: OnLate
    phase: Phase | None  #: None: all, and to `wait` the files of the pre phase
    preflight: Preflight
    preflight_size: int  #: bytes
    sync_supabase_history: bool
    log_format: LogFormat
    log_level: LogLevel
    termination_log: str
    placeholders: Placeholders

    @property
    def secrets(self) -> tuple[str, ...]:
        targets = self.targets if self.shadow is None else (*self.targets, self.shadow)
        return tuple(dict.fromkeys(word for target in targets for word in target.secrets))


def folders_of(places: str) -> tuple[str, ...]:
    """The folders that MIGRATIONS_DIR names. Raises ValueError where that cannot be meant."""
    if COLON not in places:
        return (places,)
    names = [name.strip() for name in places.split(COLON)]
    if not all(names):
        raise ValueError("a colon divides two folders, and one of them has no name")
    folders = tuple(name.rstrip("/") or "/" for name in names)
    for one, other in combinations((f"{name.rstrip('/')}/" for name in folders), 2):
        if one.startswith(other) or other.startswith(one):
            raise ValueError(f"{one} and {other} hold the same files")
    return folders


def first_folder(places: str) -> str:
    """Where `new` writes, and where the facts of `check --write` lie."""
    return folders_of(places)[0]


def read_config(environment: Mapping[str, str], flags: Mapping[str, str] | None = None) -> Config:
    """The settings of `environment`, overruled by `flags` (by setting name).

    DATABASE_URL_FILE must have been resolved into DATABASE_URL by the caller, who may open
    files. Raises ConfigError; whether a target is needed at all is the command's to say.
    """
    _refuse_unknown(environment)
    values = dict(environment)
    for name in (*(setting.name for setting in SETTINGS), *URLS):
        if environment.get(f"MIGRATOR_{name}"):
            values[name] = environment[f"MIGRATOR_{name}"]
    values |= flags or {}
    found = {setting.name.lower(): _read(setting, values) for setting in SETTINGS}
    found["history_readers"] = found["history_readers"] or ()
    found["search_path"] = found["search_path"] or ()
    found["placeholders"] = Placeholders(_placeholders(environment))
    return Config(targets=_targets(values), shadow=_shadow(values), **found)


def with_mounted(config: Config, files: Mapping[str, str]) -> Config:
    """The settings with the values of PLACEHOLDERS_DIR, by the names of its files.

    Raises ConfigError where a name has two values.
    """
    values, hidden = dict(config.placeholders.values), set()
    for name, value in files.items():
        key = Placeholders.key(name)
        if key in values:
            place = f"another file of {config.placeholders_dir}"
            if key not in hidden:
                place = f"{_PLACEHOLDER}{key}"
            raise ConfigError(
                f"the placeholder {key} has two values: from {name} in PLACEHOLDERS_DIR, and from "
                f"{place}",
                remedy="Remove one of them.",
            )
        values[key] = value
        hidden.add(key)
    return config._replace(placeholders=Placeholders(values, frozenset(hidden)))


def _placeholders(environment: Mapping[str, str]) -> dict[str, str]:
    """The values by their names, those of MIGRATOR_PLACEHOLDER_X before those of PLACEHOLDER_X."""
    found: dict[str, str] = {}
    for prefix in (_PLACEHOLDER, f"MIGRATOR_{_PLACEHOLDER}"):
        for name, value in environment.items():
            if name.startswith(prefix):
                found[Placeholders.key(name.removeprefix(prefix))] = value
    return found


def _read(setting: Setting, values: Mapping[str, str]) -> Any:
    text = values.get(setting.name, "").strip() or setting.default
    if text is None:
        return None
    try:
        return setting.read(text)
    except ValueError as error:
        raise ConfigError(f"{setting.name}={text} cannot be used: {error}") from None


def _refuse_unknown(environment: Mapping[str, str]) -> None:
    known = {f"MIGRATOR_{name}" for name in (*(setting.name for setting in SETTINGS), *URLS)}
    unknown = sorted(
        name
        for name in environment
        if name.startswith("MIGRATOR_")
        and name not in known
        and not name.startswith(f"MIGRATOR_{_PLACEHOLDER}")
        and not re.fullmatch(SERVICE_LINK, name)
    )
    if unknown:
        raise ConfigError(f"unknown settings: {', '.join(unknown)}")
    if environment.get("PGOPTIONS"):
        raise ConfigError(
            "PGOPTIONS is set, which poolers refuse or drop in silence",
            remedy="Unset it; use --search-path, --lock-timeout and "
            "--statement-timeout (SEARCH_PATH, LOCK_TIMEOUT, STATEMENT_TIMEOUT).",
        )


def _targets(values: Mapping[str, str]) -> tuple[Target, ...]:
    urls = [
        read_url(values[name], name, values)
        for name in ("DIRECT_URL", "DATABASE_URL", "SUPABASE_DATABASE_URL")
        if values.get(name, "").strip()
    ]
    if not urls:
        target = read_environment(values)
        return (target,) if target else ()
    direct = tuple(target for target in urls if target.name == "DIRECT_URL")
    return direct + tuple(target for target in urls if target.name != "DIRECT_URL")[:1]


def _shadow(values: Mapping[str, str]) -> Target | None:
    """Only from its own URL: libpq's `PG*` mean the database that is migrated."""
    url = values.get("SHADOW_DATABASE_URL", "").strip()
    return read_url(url, "SHADOW_DATABASE_URL") if url else None
