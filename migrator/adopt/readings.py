"""The rows of other tools' tables, and what each tool means by them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import count
from typing import Any

from migrator.adopt.evidence import RUNNING, Evidence
from migrator.folder.formats.liquibase import changeset_version
from migrator.model import Finding, number_of

Row = Mapping[str, Any]  #: one row of such a table, by column
#: Bits of the type of a revision of Atlas's.
_BASELINE, _RESOLVED = 1, 4
#: Of a path of Liquibase's, which takes it for the same without.
_PATH_START = re.compile(r"\A(?:classpath:)?(?:[A-Za-z]:)?(?:\./|/)*")


@dataclass(frozen=True, slots=True)
class Entry:
    """One migration that a tool holds to be applied."""

    key: str  #: as that tool writes it: 2.1, 20240101120000_init
    number: int | None  #: of its file here; None where it has none, such as 2.1
    name: str | None = None  #: `slug` of its name; None where that tool keeps none
    evidence: Evidence | None = None
    at: str | None = None  #: when, as the database printed it
    changeset: str | None = None  #: its version, by the path that the tool has of its file


@dataclass(frozen=True, slots=True)
class Reading:
    """What the rows of one tool say."""

    entries: tuple[Entry, ...] = ()
    up_to: int | None = None  #: all files of a number up to this are applied, without a row each
    repeatable: tuple[str, ...] = ()  #: what ran whenever it had changed; it has no version
    dirty: tuple[Finding, ...] = ()  #: what began and failed, or was given up
    mark: bool = False  #: the newest number is all that the tool keeps
    doubts: tuple[Finding, ...] = ()  #: what it calls applied and never ran


def slug(name: str) -> str:
    """A name in the letters that our files have: Create Users -> create_users."""
    return re.sub("[^a-z0-9]+", "_", name.lower()).strip("_")


def read_flyway(rows: Sequence[Row]) -> Reading:
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


def read_dbmate(rows: Sequence[Row]) -> Reading:
    return Reading(tuple(Entry(row["version"], _plain(row["version"])) for row in rows))


def read_golang_migrate(rows: Sequence[Row]) -> Reading:
    numbers = [row["version"] for row in rows if row["version"] >= 0]
    dirty = tuple(
        _dirty(str(row["version"]), "is dirty", "Fix the database, `migrate force VERSION`")
        for row in rows
        if row["dirty"]
    )
    entries = tuple(Entry(str(number), number) for number in numbers)
    return Reading(entries, up_to=max(numbers, default=None), mark=True, dirty=dirty)


def read_tern(rows: Sequence[Row]) -> Reading:
    """One row; 0 is none."""
    newest = max((row["version"] for row in rows), default=0)
    entries = (Entry(str(newest), newest),) if newest else ()
    return Reading(entries, up_to=newest or None, mark=True)


def read_goose(rows: Sequence[Row]) -> Reading:
    """Old releases add a row for each down, so the newest of a version counts; 0 is a seed."""
    newest = {row["version_id"]: row for row in sorted(rows, key=lambda row: row["id"])}
    return Reading(
        tuple(
            Entry(str(number), number, at=row.get("tstamp"))
            for number, row in sorted(newest.items())
            if number and row["is_applied"]
        )
    )


def read_supabase(rows: Sequence[Row]) -> Reading:
    entries = []
    for row in rows:
        statements, name = row.get("statements"), row.get("name")
        evidence = None if statements is None else Evidence("statements", tuple(statements))
        number = _plain(row["version"])
        entries.append(Entry(row["version"], number, slug(name) if name else None, evidence))
    return Reading(tuple(entries))


def read_prisma(rows: Sequence[Row]) -> Reading:
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


def read_drizzle(rows: Sequence[Row]) -> Reading:
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


def read_node_pg_migrate(rows: Sequence[Row]) -> Reading:
    return _named(sorted(rows, key=lambda row: row["id"]), "name", "run_on")


def read_sql_migrate(rows: Sequence[Row]) -> Reading:
    return _named(rows, "id", "applied_at")


def read_diesel(rows: Sequence[Row]) -> Reading:
    return Reading(
        tuple(Entry(row["version"], _plain(row["version"]), at=row.get("run_on")) for row in rows)
    )


def read_graphile_migrate(rows: Sequence[Row]) -> Reading:
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


def read_sqlx(rows: Sequence[Row]) -> Reading:
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


def read_liquibase(rows: Sequence[Row]) -> Reading:
    """Identity is path, id and author; the form of the text that its MD5 is of has changed.

    What failed and ran later has two rows; one that only sets a tag made nothing.
    """
    live: dict[str, Entry] = {}
    failed: dict[str, Finding] = {}
    doubts = []
    for row in sorted(rows, key=lambda row: row["orderexecuted"] or 0):
        path, identity, author = (row[name] or "" for name in ("filename", "id", "author"))
        key, kind = f"{path}::{identity}::{author}", row["exectype"]
        if row.get("description") == "tagDatabase":
            continue
        if kind == "FAILED":
            failed[key] = _dirty(key, "failed", "Correct the changeset, run `liquibase update`")
        elif kind != "SKIPPED":
            failed.pop(key, None)
            below = _PATH_START.sub("", path.replace("\\", "/"))
            version = changeset_version(below, author, identity)
            live[key] = Entry(key, None, at=row.get("dateexecuted"), changeset=version)
        if kind == "MARK_RAN":
            problem = "was marked as run by Liquibase, which never ran it"
            doubts.append(Finding(key, problem, "See whether the database has what it makes."))
    return Reading(tuple(live.values()), dirty=tuple(failed.values()), doubts=tuple(doubts))


def read_atlas(rows: Sequence[Row]) -> Reading:
    """A baseline stands for all files up to it; a revision that was resolved counts as applied."""
    entries, dirty, bases = [], [], []
    for row in sorted(rows, key=lambda row: row["version"]):
        version, kind = row["version"], row["type"]
        number = _plain(version)
        if version.startswith("."):  # what Atlas Cloud keeps of itself
            continue
        if kind & _BASELINE:
            bases.append(number or 0)
            continue
        if not kind & _RESOLVED and (row["error"] or row["applied"] < row["total"]):
            remedy = "Bring the database in order, and `atlas migrate set VERSION`"
            dirty.append(_dirty(version, "is applied in part", remedy))
        name = slug(row["description"] or "") or None
        evidence = Evidence(RUNNING, row["hash"]) if row["hash"] else None
        entries.append(Entry(version, number, name, evidence, row.get("executed_at")))
    return Reading(tuple(entries), max(bases, default=None), dirty=tuple(dirty))


def read_seed(rows: Sequence[Row]) -> Reading:
    entries = []
    for row in rows:
        known = re.fullmatch("[0-9a-f]{64}", row["checksum"] or "")
        evidence = Evidence("SHA-256", known[0]) if known else None
        named = _parted(row["version"].removesuffix(".sql"))
        entries.append(Entry(row["version"], *named, evidence, row["applied_at"]))
    return Reading(tuple(entries))


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
