"""In what a database differs from what its files make, without what others own there."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import Any

from migrator.model import Finding
from migrator.scratch.platform_rules import in_one_line, of_platform
from migrator.scratch.show_rules import query_of
from migrator.scratch.snapshot import (
    Change,
    Difference,
    Item,
    Snapshot,
    differences,
    fact_is_shown,
)

#: What Supabase and its command line bring; a schema in which the files make something is no such.
SUPABASE_SCHEMAS = frozenset(
    """
    _analytics _realtime _supavisor auth cron extensions graphql graphql_public net pgbouncer pgmq
    pgsodium pgsodium_masks pgtle realtime storage supabase_functions supabase_migrations vault
    """.split()  # noqa: SIM905 - a list would take a line for each word
)
#: By these schemas a database of Supabase is known.
_MARKS = (("schema", "auth"), ("schema", "storage"))
#: What the default privileges of a kind of thing are called in a snapshot.
_PRIVILEGES = {
    **dict.fromkeys(("table", "view", "materialized view", "foreign table"), "tables"),
    "sequence": "sequences",
    **dict.fromkeys(("function", "procedure", "aggregate"), "functions"),
    **dict.fromkeys(("enum", "domain", "range"), "types"),
    "schema": "schemas",
}
_BY_FILES, _THERE = "by the files", "in the database"
_SHOWN_NAMES = 5


@dataclass(frozen=True, slots=True)
class Drift:
    """What a comparison came to."""

    found: tuple[Difference, ...]  #: what fails it
    warned: tuple[str, ...] = ()  #: what depends on more than the files, in sentences
    usual: tuple[str, ...] = ()  #: what the platform, or the database's own defaults, bring

    def as_findings(self) -> list[Finding]:
        """As an error carries them."""
        return [
            Finding(
                difference.item.name,
                difference.in_words(_BY_FILES, _THERE),
                f"Look at it with: {query_of(difference.item)};",
            )
            for difference in self.found
        ]

    def as_dicts(self) -> list[dict[str, Any]]:
        """As --json has them."""
        return [
            {
                "kind": difference.item.kind,
                "name": difference.item.name,
                "change": _CHANGES[difference.change],
                "facts": list(_facts(difference)),
                "sql": query_of(difference.item),
            }
            for difference in self.found
        ]


_CHANGES = {
    Change.GONE: "not in the database",
    Change.NEW: "not by the files",
    Change.CHANGED: "differs",
}


def _facts(difference: Difference) -> Iterator[dict[str, Any]]:
    for word, files, database in difference.facts:
        values = {"files": files, "database": database}
        shown = fact_is_shown(difference.item.kind, word)
        yield {"what": word, **(values if shown else {})}


def find_drift(
    made: Snapshot,
    held: Snapshot,
    *,
    ignored: Sequence[str] = (),
    tables: Collection[str] = (),
    unsure: Collection[tuple[str, str]] = (),
    home: str = "",
) -> Drift:
    """Set what a database holds beside what its files have made elsewhere.

    `ignored` are patterns of names, `tables` the names of tables that other tools keep their
    history in, `unsure` the things that are not compared. `home` is the history's schema, whose
    readers have a grant of ours.
    """
    found: list[Difference] = []
    warned: list[str] = []
    owners: list[Difference] = []
    platform: list[Difference] = []
    by_default: list[Difference] = []
    ours = _Ours(made, held, ignored, tables)
    for difference in _without_parts(differences(made, held)):
        item = difference.item
        if (item.kind, item.name) in unsure or not ours.is_ours(difference):
            continue
        if of_platform(difference):
            platform.append(difference)
            continue
        if any(word == "owner" for word, _, _ in difference.facts):
            owners.append(difference)
        difference = replace(difference, facts=tuple(_counted(difference, home)))
        if difference.change is Change.CHANGED and not difference.facts:
            continue
        if _is_by_default(difference, held):
            by_default.append(difference)
        elif _depends_on_more(difference):
            warned.append(difference.in_words(_BY_FILES, _THERE))
        else:
            found.append(difference)
    usual = [in_one_line(platform)] if platform else []
    if by_default:
        usual.append(f"the database's default privileges give more on {_names(by_default)}")
    return Drift(tuple(found), (*warned, *_owners(owners)), tuple(usual))


def _without_parts(found: Iterable[Difference]) -> Iterator[Difference]:
    """Of a schema that one side lacks the schema alone."""
    found = tuple(found)
    whole = {
        one.item.name
        for one in found
        if one.item.kind == "schema" and one.change is not Change.CHANGED
    }
    return (d for d in found if d.item.kind == "schema" or d.item.schema not in whole)


class _Ours:
    """What is the users', and not to be left out."""

    def __init__(
        self, made: Snapshot, held: Snapshot, ignored: Sequence[str], tables: Collection[str]
    ) -> None:
        self.ignored, self.tables = ignored, tables
        self.supabase = all(key in held and key not in made for key in _MARKS)
        self.made = {name for kind, name in made if kind == "schema"}

    def is_ours(self, difference: Difference) -> bool:
        item = difference.item
        if any(_fits(pattern, item) for pattern in self.ignored):
            return False
        if item.kind == "comment on extension":
            return False  # it comes and goes with the extension
        if difference.change is not Change.NEW:
            return True
        table = (item.of or item.name).rpartition(".")[2]
        return table not in self.tables and not (self.supabase and self._is_supabases(item))

    def _is_supabases(self, item: Item) -> bool:
        own = item.schema or item.name  # of a comment on a schema
        owner = str(item.facts.get("owner", ""))
        return (
            item.kind == "extension"
            or (own in SUPABASE_SCHEMAS and own not in self.made)
            or owner.startswith("supabase_")
            or item.name.startswith(("of supabase_", "supabase_realtime"))
        )


def _fits(pattern: str, item: Item) -> bool:
    """Whether a pattern names the thing, what it is a part of, or its schema."""
    names = (item.name, item.of, item.schema)
    return any(fnmatchcase(name, pattern) for name in names if name is not None)


def _counted(difference: Difference, home: str) -> Iterator[tuple[str, Any, Any]]:
    """The facts that differ, but for the owner and the USAGE of the history's readers."""
    for word, files, database in difference.facts:
        if word == "grants" and (difference.item.kind, difference.item.name) == ("schema", home):
            database = [line for line in database if line in files or not line.endswith(" USAGE")]
        if word != "owner" and files != database:
            yield word, files, database


def _depends_on_more(difference: Difference) -> bool:
    """Whether the version of the server or of an extension may be the reason.

    Until PostgreSQL 15 everybody had the right to create in `public`, and an upgrade keeps that.
    """
    if (difference.item.kind, difference.item.name) == ("schema", "public"):
        return difference.change is Change.CHANGED
    granted = any(word == "grants" for word, _, _ in difference.facts)
    return difference.of_circumstance and not granted


def _is_by_default(difference: Difference, held: Snapshot) -> bool:
    """Whether no more differs than grants that the database's default privileges give."""
    if [word for word, _, _ in difference.facts] != ["grants"]:
        return False
    _, files, database = difference.facts[0]
    kind = _PRIVILEGES.get(difference.item.kind, "")
    given = {
        line
        for item in held.values()
        if item.kind == "default privileges"
        and item.schema in (None, difference.item.schema)
        and re.search(rf" for {kind}(?: in |$)", item.name)
        for line in item.facts["grants"]
    }
    return set(files) <= set(database) and set(database) - set(files) <= given


def _owners(found: Sequence[Difference]) -> Iterator[str]:
    """One sentence for each pair of owners."""
    pairs: dict[tuple[str, str], list[Difference]] = {}
    for difference in found:
        for word, files, database in difference.facts:
            if word == "owner":
                pairs.setdefault((files, database), []).append(difference)
    for (files, database), some in pairs.items():
        yield f"owner {files} {_BY_FILES}, {database} {_THERE}: {_names(some)}"


def _names(found: Sequence[Difference]) -> str:
    names = [f"{one.item.kind} {one.item.name}" for one in found]
    more = f" and {len(names) - _SHOWN_NAMES} more" if len(names) > _SHOWN_NAMES else ""
    return ", ".join(names[:_SHOWN_NAMES]) + more


def split_patterns(text: str | None) -> tuple[str, ...]:
    """The patterns of a list with commas."""
    return tuple(part.strip() for part in (text or "").split(",") if part.strip())


def touched(before: Snapshot, after: Snapshot) -> frozenset[tuple[str, str]]:
    """The things that came, went or changed in between."""
    found = differences(before, after)
    return frozenset((one.item.kind, one.item.name) for one in found)
