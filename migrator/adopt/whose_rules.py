"""Whose history a database holds, and in which table, of those that look like a tool's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from migrator.adopt.tools import Tracker
from migrator.errors import ConfigError
from migrator.history.fence import Table
from migrator.model import NATIVE


@dataclass(frozen=True, slots=True)
class ForeignTable:
    """Where the other tool's table lies."""

    tool: str
    schema: str
    table: str
    columns: tuple[str, ...]  #: those of them that are read
    database: str

    @property
    def place(self) -> Table:
        return Table(self.schema, self.table)

    @property
    def name(self) -> str:
        return self.place.quoted

    def __str__(self) -> str:
        return f"{self.schema}.{self.table}"


def choose_spot(
    tracker: Tracker, found: Mapping[str, Any], wanted: tuple[str, str] | None, ours: str
) -> ForeignTable:
    """The table to read, of those that `look_for_tables` found; ConfigError where there is none.

    Without `wanted` it is the first in the search_path and public that looks like the tool's; one
    in the schema of our own history comes last, as that may be ours.
    """
    if spot := _spot(tracker, found, wanted, ours):
        return spot
    name = f"{wanted[0]}.{wanted[1]}" if wanted else tracker.table
    schemas = [wanted[0]] if wanted else _schemas_of(tracker, found, ours)
    others = _elsewhere(tracker, found, schemas)
    remedy = f"Name it with --table SCHEMA.TABLE, when it is not in {', '.join(schemas)}."
    if others:
        remedy = f"Name it with --table; one such table is {others[0]}."
    raise ConfigError(f"there is no table {name} that looks like {tracker.name}'s", remedy=remedy)


def choose_tool(
    trackers: Sequence[Tracker], found: Mapping[str, Any], ours: str
) -> tuple[Tracker, ForeignTable] | None:
    """The one tool of these that has a table in its usual place; None where there is none.

    Raises ConfigError where several have one, or where one lies in another place: which history is
    that of the folder is not guessed.
    """
    spots = [(tracker, spot) for tracker in trackers if (spot := _spot(tracker, found, None, ours))]
    if len(spots) > 1:
        names = ", ".join(f"{tracker.name} ({spot})" for tracker, spot in spots)
        first = spots[0][0].name
        raise ConfigError(
            f"several tools have left a history: {names}",
            remedy=f"Name the one whose files these are: --adopt {first} (ADOPT={first}).",
        )
    if spots:
        return spots[0]
    for tracker in trackers:
        if others := _elsewhere(tracker, found, _schemas_of(tracker, found, ours)):
            raise ConfigError(
                f"a table of {tracker.name} lies outside the search_path: {others[0]}",
                remedy=f"If it is that of these files: `adopt --from {tracker.name} "
                f"--table {others[0]}`. If it is not, leave out --adopt (ADOPT).",
            )
    return None


#: Tools that keep no text, and the formats of a folder that may be theirs: by a number alone the
#: folder of another service would fit as well.
UNPROVED = {
    **{tool: (tool,) for tool in ("dbmate", "diesel", "golang-migrate", "goose", "micrate")},
    "liquibase": ("liquibase",),
    **{tool: (tool, NATIVE) for tool in ("node-pg-migrate", "sql-migrate", "tern")},
}


def check_fits(tool: str, form: str | None) -> None:
    """Raise ConfigError when nobody has named the tool, and its files look otherwise."""
    if form is None or form in UNPROVED.get(tool, (form,)):
        return
    raise ConfigError(
        f"{tool} has left a history here, and the folder is read as {form}: by numbers alone it "
        "is not known whether these are its files",
        remedy=f"If they are: --adopt {tool} (ADOPT={tool}). If they are not, leave out --adopt "
        "(ADOPT).",
    )


def nothing_left(trackers: Sequence[Tracker], made: str | None) -> None:
    """Raise ConfigError when no tool has left a history, and the database holds tables: `made`."""
    if made is None:
        return
    whose = trackers[0].name if len(trackers) == 1 else "any tool"
    raise ConfigError(
        f"there is no history of {whose} here, and the database is not new: it holds {made}",
        remedy="Where its table has another name: `adopt --from TOOL --table SCHEMA.TABLE`. "
        "Where no tool made what is there, leave out --adopt (ADOPT); docs/adopting.md says how to "
        "begin.",
    )


def _spot(
    tracker: Tracker, found: Mapping[str, Any], wanted: tuple[str, str] | None, ours: str
) -> ForeignTable | None:
    name = wanted[1] if wanted else tracker.table
    tables = {table["schema"]: table for table in found["tables"] if table["table"] == name}
    for schema in [wanted[0]] if wanted else _schemas_of(tracker, found, ours):
        table = tables.get(schema)
        if table is None or not tracker.fits(table["columns"]) or _beside(tracker, table, wanted):
            continue
        names = (*tracker.columns, *tracker.others)
        columns = tuple(name for name in names if name in table["columns"])
        return ForeignTable(tracker.name, schema, name, columns, found["database"])
    return None


def _schemas_of(tracker: Tracker, found: Mapping[str, Any], ours: str) -> list[str]:
    """Where its table is looked for, in this order."""
    usual = [*found["path"], "public", *tracker.schemas]
    path = [tracker.schema] if tracker.schema else usual
    return sorted(dict.fromkeys(path), key=lambda schema: schema == ours)


def _elsewhere(tracker: Tracker, found: Mapping[str, Any], schemas: Sequence[str]) -> list[str]:
    """Tables like the tool's that lie in none of these schemas."""
    return [
        f"{table['schema']}.{table['table']}"
        for table in found["tables"]
        if table["schema"] not in schemas
        and table["table"] == tracker.table
        and tracker.schema is None
        and tracker.fits(table["columns"])
        and not _beside(tracker, table, None)
    ]


def _beside(tracker: Tracker, table: Mapping[str, Any], wanted: tuple[str, str] | None) -> bool:
    """Whether a table beside it says that it is some other tool's; who names it knows better."""
    return wanted is None and tracker.not_beside in table["beside"]
