"""The tables in which other tools keep their history: how each looks, and what its rows mean.

The facts are from the tools' own sources; docs/adopting.md says what each of them proves.
"""

from __future__ import annotations

import hashlib
import re
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import count
from typing import Any

from migrator.errors import ConfigError
from migrator.model import Finding, Migration, number_of

Row = Mapping[str, Any]  #: one row of such a table, by column


@dataclass(frozen=True, slots=True)
class Evidence:
    """What a tool kept of the text that it ran."""

    kind: str  #: CRC32, SHA-256, SHA-384, sha1 or statements
    value: int | str | tuple[str, ...]

    def fits(self, migration: Migration) -> bool:
        """Whether this is the text that ran."""
        return _FITS[self.kind](migration, self.value)

    def __str__(self) -> str:
        value = self.value
        return f"{len(value)} statements" if isinstance(value, tuple) else f"{self.kind} {value}"


@dataclass(frozen=True, slots=True)
class Entry:
    """One migration that a tool holds to be applied."""

    key: str  #: as that tool writes it: 2.1, 20240101120000_init
    number: int | None  #: of its file here; None where it has none, such as 2.1
    name: str | None = None  #: `slug` of its name; None where that tool keeps none
    evidence: Evidence | None = None
    at: str | None = None  #: when, as the database printed it


@dataclass(frozen=True, slots=True)
class Reading:
    """What the rows of one tool say."""

    entries: tuple[Entry, ...] = ()
    up_to: int | None = None  #: all files of a number up to this are applied, without a row each
    repeatable: tuple[str, ...] = ()  #: what ran whenever it had changed; it has no version
    dirty: tuple[Finding, ...] = ()  #: what began and failed, or was given up
    mark: bool = False  #: the newest number is all that the tool keeps


@dataclass(frozen=True, slots=True)
class Tracker:
    """One tool's table."""

    name: str
    table: str
    columns: Mapping[str, str]  #: that it must have, and a pattern for the type of each
    read: Callable[[Sequence[Row]], Reading]
    others: tuple[str, ...] = ()  #: columns that it may have and that are read too
    exact: bool = False  #: it has no other column
    schema: str | None = None  #: where it always lies; None: in the search_path
    not_beside: str | None = None  #: a table beside it that says it is some other tool's
    lock: Callable[[str, str, str], int] | None = None  #: (schema, table, database) -> its key

    def fits(self, columns: Mapping[str, str]) -> bool:
        """Whether a table with these columns (and their types) is this tool's."""
        return all(
            re.fullmatch(pattern, columns.get(name, "")) for name, pattern in self.columns.items()
        ) and not (self.exact and set(columns) - set(self.columns))


def tracker(name: str | None) -> Tracker:
    """The tool of this name; ConfigError for another."""
    if name not in TRACKERS:
        raise ConfigError(
            "adopt takes --from TOOL",
            remedy=f"TOOL is one of {', '.join(TRACKERS)}; seed is the job that this one replaces.",
        )
    return TRACKERS[name]


def slug(name: str) -> str:
    """A name in the letters that our files have: Create Users -> create_users."""
    return re.sub("[^a-z0-9]+", "_", name.lower()).strip("_")


def flyway_checksum(pieces: Iterable[str]) -> int:
    """CRC32 of the text over its lines without their ends, as Java's signed int."""
    crc = 0
    for piece in pieces:
        crc = zlib.crc32(piece.replace("\n", "").replace("\r", "").encode(), crc)
    return _signed(crc)


def statements_of(pieces: Iterable[str]) -> tuple[str, ...]:
    """The statements of a text, with LF line ends, without the comments and blanks around them."""
    from migrator.sql.parts import texts

    return tuple(text.replace("\r\n", "\n") for _, text in texts(pieces))


def _flyway(rows: Sequence[Row]) -> Reading:
    """Where a version is none of our numbers, such as 2.1, files go by their names alone."""
    live: dict[str, Entry] = {}
    baselines: dict[str, Row] = {}
    repeatable: dict[str, None] = {}
    dirty: list[Finding] = []
    for row in sorted(rows, key=lambda row: row["installed_rank"]):
        version, kind = row["version"], row["type"]
        if not row["success"]:
            dirty.append(_dirty(row["script"], "failed", "Run `flyway repair`, and it again"))
        elif version is None:
            if kind not in {"SCHEMA", "DELETE"}:
                repeatable[row["script"]] = None
        elif kind in {"BASELINE", "SQL_BASELINE"}:
            baselines[version] = row
        elif kind.startswith("UNDO") or kind == "DELETE":
            live.pop(version, None)
        else:
            known = kind == "SQL" and row["checksum"] is not None
            evidence = Evidence("CRC32", row["checksum"]) if known else None
            name, number = slug(row["description"] or ""), _plain(version)
            live[version] = Entry(version, number, name or None, evidence, row.get("installed_on"))
    entries, up_to = tuple(live.values()), max(map(_plain_or_0, baselines), default=None)
    if dotted := [version for version in (*live, *baselines) if _plain(version) is None]:
        entries = tuple(replace(entry, number=None) for entry in entries)
        dirty += [
            Finding(
                row["script"],
                f"nobody can say which files its baseline at {version} stands for, as {dotted[0]} "
                "is no number of a file here",
                "Record each file that is applied with `repair --applied VERSION` instead.",
            )
            for version, row in baselines.items()
        ]
    return Reading(entries, up_to, tuple(repeatable), tuple(dirty))


def _dbmate(rows: Sequence[Row]) -> Reading:
    return Reading(tuple(Entry(row["version"], _plain(row["version"])) for row in rows))


def _golang_migrate(rows: Sequence[Row]) -> Reading:
    numbers = [row["version"] for row in rows if row["version"] >= 0]
    dirty = tuple(
        _dirty(str(row["version"]), "is dirty", "Fix the database, `migrate force VERSION`")
        for row in rows
        if row["dirty"]
    )
    entries = tuple(Entry(str(number), number) for number in numbers)
    return Reading(entries, up_to=max(numbers, default=None), mark=True, dirty=dirty)


def _tern(rows: Sequence[Row]) -> Reading:
    """One row; 0 is none."""
    newest = max((row["version"] for row in rows), default=0)
    entries = (Entry(str(newest), newest),) if newest else ()
    return Reading(entries, up_to=newest or None, mark=True)


def _goose(rows: Sequence[Row]) -> Reading:
    """Old releases add a row for each down, so the newest of a version counts; 0 is a seed."""
    newest = {row["version_id"]: row for row in sorted(rows, key=lambda row: row["id"])}
    return Reading(
        tuple(
            Entry(str(number), number, at=row.get("tstamp"))
            for number, row in sorted(newest.items())
            if number and row["is_applied"]
        )
    )


def _supabase(rows: Sequence[Row]) -> Reading:
    entries = []
    for row in rows:
        statements, name = row.get("statements"), row.get("name")
        evidence = None if statements is None else Evidence("statements", tuple(statements))
        number = _plain(row["version"])
        entries.append(Entry(row["version"], number, slug(name) if name else None, evidence))
    return Reading(tuple(entries))


def _prisma(rows: Sequence[Row]) -> Reading:
    """A migration that failed and was applied later has a row of each; the later one counts."""
    applied: dict[str, Entry] = {}
    given_up: dict[str, str] = {}
    for row in sorted(rows, key=lambda row: row["started_at"]):
        full = row["migration_name"]
        if row["rolled_back_at"] is not None:
            given_up.setdefault(full, "was rolled back and not applied since")
        elif row["finished_at"] is None:
            given_up[full] = "began and did not finish"
        else:
            given_up.pop(full, None)
            evidence = Evidence("SHA-256", row["checksum"])
            applied[full] = Entry(full, *_parted(full), evidence, row["finished_at"])
    remedy = "Settle it with `prisma migrate resolve` and apply it with `prisma migrate deploy`"
    dirty = tuple(_dirty(full, problem, remedy) for full, problem in given_up.items())
    return Reading(tuple(applied.values()), dirty=dirty)


def _drizzle(rows: Sequence[Row]) -> Reading:
    """Before 1 no name was kept: a file is known by its hash."""
    places = count(1)
    entries = []
    for row in sorted(rows, key=lambda row: (row["created_at"], row["id"])):
        named = _parted(row["name"]) if row.get("name") else (None, None)
        key = row.get("name") or f"{row['created_at']} (row {next(places)})"
        entries.append(Entry(key, *named, Evidence("SHA-256", row["hash"]), row.get("applied_at")))
    return Reading(tuple(entries))


def _named(rows: Sequence[Row], column: str, at: str) -> Reading:
    """A row for each file, with its name."""
    return Reading(
        tuple(
            Entry(row[column], *_parted(row[column].removesuffix(".sql")), at=row.get(at))
            for row in rows
        )
    )


def _node_pg_migrate(rows: Sequence[Row]) -> Reading:
    return _named(sorted(rows, key=lambda row: row["id"]), "name", "run_on")


def _sql_migrate(rows: Sequence[Row]) -> Reading:
    return _named(rows, "id", "applied_at")


def _diesel(rows: Sequence[Row]) -> Reading:
    return Reading(
        tuple(Entry(row["version"], _plain(row["version"]), at=row.get("run_on")) for row in rows)
    )


def _graphile_migrate(rows: Sequence[Row]) -> Reading:
    return Reading(
        tuple(
            Entry(
                row["filename"],
                number_of(row["filename"]),
                evidence=Evidence("sha1", row["hash"]),
                at=row.get("date"),
            )
            for row in sorted(rows, key=lambda row: row["filename"])
        )
    )


def _sqlx(rows: Sequence[Row]) -> Reading:
    entries = tuple(
        Entry(
            str(row["version"]),
            row["version"],
            evidence=Evidence("SHA-384", row["checksum"].removeprefix("\\x")),
            at=row.get("installed_on"),
        )
        for row in rows
        if row["success"]
    )
    failed = (row for row in rows if not row["success"])
    remedy = "Bring the database in order, and delete or correct its row"
    dirty = tuple(_dirty(str(row["version"]), "failed", remedy) for row in failed)
    return Reading(entries, dirty=dirty)


def _seed(rows: Sequence[Row]) -> Reading:
    entries = []
    for row in rows:
        known = re.fullmatch("[0-9a-f]{64}", row["checksum"] or "")
        evidence = Evidence("SHA-256", known[0]) if known else None
        named = _parted(row["version"].removesuffix(".sql"))
        entries.append(Entry(row["version"], *named, evidence, row["applied_at"]))
    return Reading(tuple(entries))


def _golang_migrate_key(schema: str, table: str, database: str) -> int:
    """golang-migrate's database/util.go, GenerateAdvisoryLockId."""
    crc = zlib.crc32("\0".join((schema, table, database)).encode())
    return crc * 1486364155 % 2**32


def _flyway_key(schema: str, table: str, database: str) -> int:
    """Flyway's PostgreSQLAdvisoryLockTemplate: a number, and Java's hashCode of the table."""
    del database
    units = f'"{schema}"."{table}"'.encode("utf-16-be")
    code = 0
    for high, low in zip(units[::2], units[1::2], strict=True):
        code = (code * 31 + high * 256 + low) % 2**32
    return 77431708279161 + _signed(code)


def _sqlx_key(schema: str, table: str, database: str) -> int:
    """sqlx-postgres' migrate.rs, generate_lock_id."""
    del schema, table
    return 0x3D32AD9E * zlib.crc32(database.encode())


def _fixed(key: int) -> Callable[[str, str, str], int]:
    return lambda schema, table, database: key


def _dirty(key: str, problem: str, remedy: str) -> Finding:
    return Finding(key, f"{problem} with the tool that ran it", f"{remedy}; then adopt.")


def _plain(version: str) -> int | None:
    """The number of 7, 007 or 7.0; None for 7.1."""
    found = re.fullmatch(r"([0-9]+)(?:\.0+)*", version)
    return int(found[1]) if found else None


def _plain_or_0(version: str) -> int:
    return _plain(version) or 0


def _parted(full: str) -> tuple[int | None, str | None]:
    """The number and the slug of 20240101120000_init; of what has no number the slug alone."""
    found = re.fullmatch(r"([0-9]+)(?:[^0-9A-Za-z](.*))?", full, re.DOTALL)
    return (int(found[1]), slug(found[2] or "") or None) if found else (None, slug(full))


def _signed(number: int) -> int:
    return number - 2**32 if number >= 2**31 else number


def _hashes(migration: Migration) -> tuple[str, ...]:
    """Of the bytes, and of the text with either line end: the checkout may be of another kind."""
    return migration.raw_checksum, migration.checksum, _hashed(migration, "sha256", "\r\n")


def _hashed(migration: Migration, name: str, end: str) -> str:
    """The hash of the file's text with these line ends."""
    found = hashlib.new(name)
    for piece in migration.text:
        lines = piece.replace("\r\n", "\n").replace("\r", "\n")
        found.update(lines.replace("\n", end).encode())
    return found.hexdigest()


def _same_sha1(migration: Migration, value: str) -> bool:
    """graphile-migrate's hash.ts: over the hash of the file before and the body."""
    head, _, body = "".join(migration.text).partition("\n\n")
    said = dict(re.findall(r"(?m)^--! (\w+):? ?(.*)$", head))
    before = "" if said.get("Previous", "-") == "-" else said["Previous"]
    text = f"{before}\n{body.strip()}".strip() + "\n"
    computed = f"sha1:{hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()}"
    return value == (said.get("Hash") if "AllowInvalidHash" in said else computed)


def _same_statements(migration: Migration, value: Iterable[str]) -> bool:
    ran = "\n;\n".join(value)  # a part may end in a comment
    return statements_of((ran,)) == statements_of(migration.text)


_FITS: dict[str, Callable[[Migration, Any], bool]] = {
    "CRC32": lambda migration, value: flyway_checksum(migration.text) == value,
    "SHA-256": lambda migration, value: value in _hashes(migration),
    "SHA-384": lambda migration, value: (
        value in {_hashed(migration, "sha384", end) for end in ("\n", "\r\n")}
    ),
    "sha1": _same_sha1,
    "statements": _same_statements,
}
_WORDS = "character varying|text"
_TIME = "timestamp with.* time zone"
_TERN = _fixed(9628173550095224)
TRACKERS = {
    one.name: one
    for one in (
        Tracker(
            "flyway",
            "flyway_schema_history",
            {
                "installed_rank": "integer",
                "version": _WORDS,
                "description": _WORDS,
                "type": _WORDS,
                "script": _WORDS,
                "checksum": "integer",
                "success": "boolean",
            },
            _flyway,
            others=("installed_on",),
            lock=_flyway_key,
        ),
        Tracker(
            "dbmate",
            "schema_migrations",
            {"version": _WORDS},
            _dbmate,
            exact=True,
            not_beside="ar_internal_metadata",
        ),
        Tracker(
            "golang-migrate",
            "schema_migrations",
            {"version": "bigint", "dirty": "boolean"},
            _golang_migrate,
            lock=_golang_migrate_key,
        ),
        Tracker(
            "goose",
            "goose_db_version",
            {"id": "integer|bigint", "version_id": "bigint", "is_applied": "boolean"},
            _goose,
            others=("tstamp",),
            lock=_fixed(4097083626),
        ),
        Tracker(
            "supabase",
            "schema_migrations",
            {"version": _WORDS},
            _supabase,
            others=("statements", "name"),
            schema="supabase_migrations",
        ),
        Tracker(
            "prisma",
            "_prisma_migrations",
            {
                "migration_name": _WORDS,
                "checksum": _WORDS,
                "started_at": "timestamp with.* time zone",
                "finished_at": "timestamp with.* time zone",
                "rolled_back_at": "timestamp with.* time zone",
            },
            _prisma,
            lock=_fixed(72707369),
        ),
        Tracker(
            "drizzle",
            "__drizzle_migrations",
            {"id": "integer", "hash": _WORDS, "created_at": "bigint"},
            _drizzle,
            others=("name", "applied_at"),
            schema="drizzle",
        ),
        Tracker(
            "diesel",
            "__diesel_schema_migrations",
            {"version": _WORDS, "run_on": _TIME},
            _diesel,
        ),
        Tracker(
            "sql-migrate",
            "gorp_migrations",
            {"id": _WORDS, "applied_at": _TIME},
            _sql_migrate,
        ),
        Tracker(
            "micrate",
            "micrate_db_version",
            {"id": "integer|bigint", "version_id": "bigint", "is_applied": "boolean"},
            _goose,
            others=("tstamp",),
        ),
        Tracker("tern", "schema_version", {"version": "integer"}, _tern, exact=True, lock=_TERN),
        Tracker(
            "node-pg-migrate",
            "pgmigrations",
            {"id": "integer", "name": _WORDS, "run_on": _TIME},
            _node_pg_migrate,
            lock=_fixed(7241865325823964),
        ),
        Tracker(
            "sqlx",
            "_sqlx_migrations",
            {"version": "bigint", "success": "boolean", "checksum": "bytea"},
            _sqlx,
            others=("installed_on",),
            lock=_sqlx_key,
        ),
        Tracker(
            "graphile-migrate",
            "migrations",
            {"hash": _WORDS, "filename": _WORDS, "date": _TIME},
            _graphile_migrate,
            schema="graphile_migrate",
            lock=_fixed(4727445306447283),
        ),
        Tracker(
            "seed",
            "schema_migrations",
            {"version": _WORDS, "applied_at": "timestamp with.* time zone", "checksum": _WORDS},
            _seed,
        ),
    )
}
