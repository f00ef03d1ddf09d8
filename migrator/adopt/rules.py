"""Another tool's history beside the folder -> what is to be adopted, and what is proved of it."""

from __future__ import annotations

import re
from collections.abc import Container, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any

from migrator.adopt.evidence import RUNNING, running_hashes
from migrator.adopt.readings import Entry, Reading, slug
from migrator.errors import ConfigError, DirtyError, DriftError, MigratorError, MissingError
from migrator.model import Applied, Finding, Kind, Migration, rank_of


class Content(Enum):
    """What is known of a file, beside the text that the other tool ran."""

    EQUAL = "equal"
    DIFFERS = "differs"
    NOT_PROVABLE = "not provable"  #: that tool keeps neither the text nor a hash


@dataclass(frozen=True, slots=True)
class Match:
    """One applied migration of the other tool, and the file that it is here."""

    entry: Entry
    migration: Migration | None
    content: Content
    recorded: bool = False  #: our history has it already
    agreed: bool = False  #: and there with the text that the file has

    @property
    def refused(self) -> bool:
        """What that tool ran is not the file, and nobody has said that this is known."""
        return self.content is Content.DIFFERS and not self.agreed


@dataclass(frozen=True, slots=True)
class Adoption:
    """The other tool's history beside the folder and ours. Finding raises nothing."""

    tool: str
    matches: tuple[Match, ...]  #: rising by number, what has no file last
    pending: tuple[Migration, ...]  #: what that tool does not hold to be applied, nor do we
    repeatable: tuple[str, ...]
    failures: tuple[MigratorError, ...] = ()
    mark: bool = False  #: the tool keeps its newest version alone
    doubts: tuple[Finding, ...] = ()  #: what the tool calls applied and never ran

    def holes(self) -> tuple[Finding, ...]:
        """What the tool's history cannot say, or says that it never ran."""
        found = []
        unproved = [m for m in self.matches if m.content is Content.NOT_PROVABLE and m.migration]
        if self.mark and unproved:
            problem = (
                f"keeps its newest version alone: all {len(unproved)} files up to it count as "
                "applied, also one that was added late and never ran"
            )
            remedy = "Compare the database with the files that were merged late."
            found.append(Finding(self.tool, problem, remedy))
        elif unproved:
            problem = f"kept no text of {len(unproved)} files: that they are what ran is not proved"
            remedy = "Take the files from the commit that was deployed last."
            found.append(Finding(self.tool, problem, remedy))
        problem = f"{self.tool} has applied a newer one, and never this one"
        remedy = "Give --on-late apply or --on-late skip (ON_LATE), or `new --renumber VERSION`."
        late = (Finding(m.file, problem, remedy) for m in self._late)
        return (*found, *self.doubts, *late)

    @property
    def _late(self) -> tuple[Migration, ...]:
        newest = max((m.migration.order for m in self.matches if m.migration), default=None)
        return tuple(m for m in self.pending if newest is not None and m.order < newest)

    def recorded(self) -> tuple[Applied, ...]:
        """The rows that would be written, as the history would hold them."""
        return tuple(
            Applied(m.version, m.number, m.checksum, Kind.ADOPTED, floor=False) for _, m in self.new
        )

    @property
    def new(self) -> tuple[tuple[Match, Migration], ...]:
        """What there is to write."""
        return tuple((m, m.migration) for m in self.matches if m.migration and not m.recorded)

    def rows(self, *, written: bool = False) -> list[dict[str, Any]]:
        """The table for people, before or after it was `written`."""
        rows = [
            {
                "version": match.migration.version if match.migration else None,
                self.tool: match.entry.key,
                "found": "file" if match.migration else "no file",
                "content": match.content.value if match.migration else None,
                "state": _state(match, written=written),
            }
            for match in self.matches
        ]
        late = {m.version for m in self._late}
        absent = {self.tool: None, "found": f"not in {self.tool}", "content": None}
        rows += [
            {"version": m.version, **absent, "state": "late" if m.version in late else "pending"}
            for m in self.pending
        ]
        passed = {"version": None, "found": "repeatable", "content": None, "state": "passed over"}
        return rows + [{**passed, self.tool: name} for name in self.repeatable]

    def raise_failures(self) -> None:
        """Raise the first failure, carrying the findings of all of them."""
        if self.failures:
            message = "; ".join(failure.message for failure in self.failures)
            findings = [finding for failure in self.failures for finding in failure.findings]
            first = self.failures[0]
            raise type(first)(message, findings=findings, remedy=first.remedy)


def make_adoption(
    tool: str, reading: Reading, migrations: Sequence[Migration], history: Sequence[Applied]
) -> Adoption:
    """Set another tool's history beside the folder and beside ours. Opens and raises nothing.

    Repeatables of the folder are no part of it: they run, as on a new database.
    """
    versioned = [migration for migration in migrations if not migration.repeatable]
    recorded = {row.version: row.checksum for row in history}
    entries = list(reading.entries)
    named = {entry.number for entry in entries}
    if reading.up_to is not None:
        entries += [
            Entry(f"up to {reading.up_to}", m.number)
            for m in versioned
            if _parts(m) <= (reading.up_to, ()) and m.number not in named
        ]
    matches: list[Match] = []
    taken: dict[str, str] = {}
    passed = list(reading.repeatable)
    repeatables = [migration for migration in migrations if migration.repeatable]
    for entry in entries:
        migration = _file_of(entry, versioned, taken)
        if migration is None and entry.changeset and _changeset(entry.changeset, repeatables):
            passed.append(entry.key)
            continue
        if migration is not None and migration.version in taken:
            migration = None
        if migration is None:
            matches.append(Match(entry, None, Content.NOT_PROVABLE))
            continue
        taken[migration.version] = entry.key
        known = migration.version in recorded
        texts = (None, migration.checksum, migration.raw_checksum)
        agreed = known and recorded[migration.version] in texts
        matches.append(Match(entry, migration, _content(entry, migration), known, agreed))
    adoption = Adoption(
        tool,
        tuple(_chained(sorted(matches, key=_order), versioned)),
        tuple(m for m in migrations if m.version not in taken and m.version not in recorded),
        tuple(passed),
        mark=reading.mark,
        doubts=reading.doubts,
    )
    return replace(adoption, failures=_failures(adoption, reading, versioned, history))


def _file_of(
    entry: Entry, migrations: Sequence[Migration], taken: Container[str] = ()
) -> Migration | None:
    """The file of the entry's number, unless a name and the content speak against it.

    A file with another number counts when its name is the same and its content is proved; so does
    the only one of that name for an entry without a number. One that has neither is known by its
    content, the first file that no other entry has `taken`.
    """
    if entry.changeset is not None:
        return _changeset(entry.changeset, migrations)
    if entry.number is None and entry.name is None:
        free = (m for m in migrations if m.version not in taken)
        return next((m for m in free if _content(entry, m) is Content.EQUAL), None)
    for migration in migrations:
        if migration.number == entry.number and (
            entry.name in (None, _name(migration)) or _content(entry, migration) is Content.EQUAL
        ):
            return migration
    alike = [m for m in migrations if entry.name is not None and _name(m) == entry.name]
    equal = [m for m in alike if _content(entry, m) is Content.EQUAL]
    found = equal or (alike if entry.number is None else [])
    return found[0] if len(found) == 1 else None


def _changeset(version: str, migrations: Sequence[Migration]) -> Migration | None:
    """The changeset of this author and id in the file of this path, which may have other folders
    above it here; None where several have the same end.
    """
    path, _, name = version.partition(":")
    found = []
    for migration in migrations:
        own, _, named = migration.version.removeprefix("R__").partition(":")
        if named == name and own == path:
            return migration
        if named == name and (own.endswith(f"/{path}") or path.endswith(f"/{own}")):
            found.append(migration)
    return found[0] if len(found) == 1 else None


def _chained(matches: Sequence[Match], migrations: Sequence[Migration]) -> list[Match]:
    """The same, where a hash is over all files up to its own: the first that does not fit differs.

    Of those behind it nothing is proved. A file may have been added since, or have run later.
    """
    if not any(m.entry.evidence and m.entry.evidence.kind == RUNNING for m in matches):
        return list(matches)
    whole, broken, found = running_hashes(migrations), False, []
    for match in matches:
        evidence, migration = match.entry.evidence, match.migration
        if evidence is None or migration is None:
            found.append(match)
            continue
        fits = evidence.value in whole[migration.version]
        if not (fits or broken):
            ran = [m.migration for m in matches if m.migration and _ran_before(m, match)]
            fits = evidence.value in running_hashes(ran)[migration.version]
        content = Content.NOT_PROVABLE if broken else Content.DIFFERS
        found.append(replace(match, content=Content.EQUAL if fits else content))
        broken = broken or not fits
    return found


def _ran_before(one: Match, other: Match) -> bool:
    """Whether it is no later than the other; what a baseline covers has no time."""
    return one.entry.at is None or other.entry.at is None or one.entry.at <= other.entry.at


def _name(migration: Migration) -> str:
    """What follows the number, in the letters that our files have."""
    version = migration.version
    if re.match("[VB][0-9]", version):
        return slug(version.partition("__")[2])
    return slug(re.sub(r"\A(?:\d{4}-\d\d-\d\d-\d{6}|\d+)", "", version))


def _parts(migration: Migration) -> tuple[int, tuple[int, ...]]:
    """All parts of its number: 2.1 is above 2."""
    return migration.number, rank_of(migration.version)[0]


def _content(entry: Entry, migration: Migration) -> Content:
    if entry.evidence is None:
        return Content.NOT_PROVABLE
    return Content.EQUAL if entry.evidence.fits(migration) else Content.DIFFERS


def _order(match: Match) -> tuple[bool, int, str]:
    if match.migration is None:
        return True, match.entry.number or 0, match.entry.key
    return False, match.migration.number, match.migration.version


def _state(match: Match, *, written: bool) -> str:
    if match.migration is None or match.refused:
        return "refused"
    if match.recorded:
        return "recorded"
    return "adopted" if written else "to adopt"


def _failures(
    adoption: Adoption,
    reading: Reading,
    migrations: Sequence[Migration],
    history: Sequence[Applied],
) -> tuple[MigratorError, ...]:
    """Why nothing may be written, the worst first."""
    tool = adoption.tool
    failures: list[MigratorError] = []
    if reading.dirty:
        keys = ", ".join(finding.file for finding in reading.dirty)
        remedy = f"Bring the history of {tool} in order with {tool} first; nothing was written."
        message = f"the history of {tool} is not clean: {keys}"
        failures.append(DirtyError(message, findings=reading.dirty, remedy=remedy))
    if gone := [match for match in adoption.matches if match.migration is None]:
        keys = ", ".join(match.entry.key for match in gone)
        remedy = (
            "Put the files that ran into the folder, unchanged; docs/adopting.md says under which "
            "names."
        )
        found = tuple(_without_file(match.entry, tool, migrations) for match in gone)
        message = f"no file for what {tool} has applied: {keys}"
        failures.append(MissingError(message, findings=found, remedy=remedy))
    changed = [(m, m.migration) for m in adoption.matches if m.migration and m.refused]
    if changed:
        found = tuple(_changed(match, migration, tool) for match, migration in changed)
        files = ", ".join(finding.file for finding in found)
        failures.append(DriftError(f"not what {tool} ran: {files}", findings=found))
    own = [row.version for row in history if row.kind is not Kind.ADOPTED]
    if own and adoption.new:
        versions = ", ".join(migration.version for _, migration in adoption.new)
        failures.append(
            ConfigError(
                f"this history was started without {tool}, it holds {own[-1]}, and {tool} has "
                f"applied what it lacks: {versions}",
                remedy="Adopt before the first `up`. Now `up` would run these files: record each "
                "that is applied with `repair --applied VERSION --reason WHY`.",
            )
        )
    return tuple(failures)


def _without_file(entry: Entry, tool: str, migrations: Sequence[Migration]) -> Finding:
    problem = f"{tool} has applied it, and the folder has no file for it"
    alike = [
        m.file
        for m in migrations
        if m.number == entry.number or (entry.name is not None and _name(m) == entry.name)
    ]
    if alike:
        problem += f" ({', '.join(alike)} is not shown to be it)"
    if entry.changeset is not None:
        path, identity, author = entry.key.split("::", 2)
        remedy = f"Put it there as it ran: `--changeset {author}:{identity}` in {path}."
        return Finding(entry.key, problem, remedy)
    what = f"NNN_{entry.name}.sql" if entry.name else "NNN_name.sql"
    number = "a number" if entry.number is None else f"the number {entry.number}"
    return Finding(entry.key, problem, f"Put the file that ran there as {what}, with {number}.")


def _changed(match: Match, migration: Migration, tool: str) -> Finding:
    return Finding(
        migration.file,
        f"is not what {tool} ran as {match.entry.key} ({match.entry.evidence})",
        "Restore the text that ran; put the change into a new migration.",
    )
