"""The folder beside the history -> Plan: what is to be run, and where the two disagree."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

from migrator.display import CHECKSUM_DIGITS
from migrator.model import Applied, Finding, Migration, Order, is_base, parts_of
from migrator.plan.bases import without_covered
from migrator.plan.order import Needs, closure
from migrator.plan.widths import mixed_widths


class Plan(NamedTuple):
    """What the folder holds beyond the history, and where the two disagree."""

    applied: tuple[Applied, ...]  #: all of the history, in order
    pending: tuple[Migration, ...]  #: not in the history, or a repeatable that changed; in order
    #: Pending, but its place is before the newest applied; of the post phase, that of this phase.
    late: tuple[Migration, ...]
    drifted: tuple[Migration, ...]  #: applied, and the file's text has changed since
    missing: tuple[Applied, ...]  #: applied, no file, older than the folder's newest
    ahead: tuple[Applied, ...]  #: applied, no file, newer than anything in the folder
    held: tuple[Migration, ...]  #: repeatables that would run, were the database not ahead
    gone: tuple[Applied, ...]  #: repeatables that ran and have no file any more
    turned: tuple[Finding, ...]  #: pending, and another place by text than by number
    turned_before: tuple[Finding, ...]  #: the same of what is applied
    #: An applied version without a file -> the one pending file that has its text: likely renamed.
    renamed: dict[str, Migration]

    @property
    def newest(self) -> Applied | None:
        """The applied versioned migration of the highest number."""
        versioned = [row for row in self.applied if not row.repeatable]
        return versioned[-1] if versioned else None

    @property
    def below_floor(self) -> tuple[Applied, ...]:
        """Applied migrations without which an image is too old, and which this folder lacks."""
        return tuple(row for row in (*self.missing, *self.ahead) if row.floor)


def make_plan(
    migrations: Sequence[Migration],
    history: Sequence[Applied],
    needs: Needs | None = None,
    posts: Collection[str] = (),
) -> Plan:
    """Set the folder, in its order, beside the history. Opens and raises nothing.

    A row without a checksum, or whose checksum is that of the file's raw bytes (an older job
    wrote those), counts as unchanged. `needs` moves the place of a file behind all that it comes
    to require: one that waited for a higher number is not late for it. `posts` are versions of the
    post phase, which may run after all higher ones of the pre phase: only their like makes them
    late.
    """
    rows = tuple(sorted(history, key=lambda row: row.order))
    migrations = without_covered(migrations, rows)
    recorded = {row.version: row for row in rows}
    files = {migration.version: migration for migration in migrations}
    versioned = [migration for migration in migrations if not migration.repeatable]
    newest = _newest(rows)
    newest_post = _newest([row for row in rows if row.version in posts]) if posts else None
    # a folder without any file is no older image, but most likely a wrong folder
    last = max((migration.order[:-1] for migration in versioned), default=None)
    absent = [row for row in rows if row.version not in files and not row.repeatable]
    ahead = () if last is None else tuple(row for row in absent if row.order[:-1] > last)
    pending = tuple(m for m in versioned if m.version not in recorded)
    repeat = tuple(m for m in migrations if m.repeatable and _changed(m, recorded))
    turned, turned_before = mixed_widths(versioned, {migration.version for migration in pending})
    return Plan(
        applied=rows,
        pending=pending if ahead else _in_order(migrations, pending + repeat),
        late=tuple(
            m
            for m in pending
            for bound in [newest_post if m.version in posts else newest]
            if bound is not None
            and m.order < bound
            and place_of(m, needs or {}, recorded, files) < bound
        ),
        drifted=tuple(
            m for m in versioned if m.version in recorded and _differs(m, recorded[m.version])
        ),
        missing=tuple(row for row in absent if last is None or row.order[:-1] <= last),
        ahead=ahead,
        held=repeat if ahead else (),
        gone=tuple(row for row in rows if row.repeatable and row.version not in files),
        turned=turned,
        turned_before=turned_before,
        renamed=_renamed(absent, pending) if absent else {},
    )


def _newest(rows: Sequence[Applied]) -> Order | None:
    """Of rows that rise by their order."""
    return next((row.order for row in reversed(rows) if not row.repeatable), None)


def _in_order(
    migrations: Sequence[Migration], some: tuple[Migration, ...]
) -> tuple[Migration, ...]:
    versions = {migration.version for migration in some}
    return tuple(m for m in migrations if m.version in versions)


def ranked(rows: tuple[Applied, ...], migrations: Sequence[Migration]) -> tuple[Applied, ...]:
    """The rows with the ranks of their files, where versions do not say them."""
    ranks = {m.version: m.rank for m in migrations if m.rank}
    if not ranks:
        return rows
    return tuple(row._replace(rank=ranks.get(row.version)) for row in rows)


def behind(
    migrations: Sequence[Migration], base: Sequence[str], folders: Sequence[str] = ()
) -> tuple[Finding, ...]:
    """Which of `migrations` are not among the files of another branch, and are older than its
    newest: once that branch is deployed, they are late. Paths begin below the folder; of several
    `folders` with its name.
    """
    if any(":" in migration.version for migration in migrations):
        return _behind_by_path(migrations, base, folders)
    newest = max((_number_at(_below(path, folders)) for path in base), default=(-1,))
    return tuple(
        Finding(
            migration.file,
            f"is new and has the number {_shown(number)}, but the branch goes up to "
            f"{_shown(newest)}",
            f"Rename it: `new --renumber {migration.version}`.",
        )
        for migration in migrations
        if not (migration.repeatable or is_base(migration.version) or migration.file in base)
        for number in [parts_of(migration.version)]
        if number <= newest
    )


def _below(path: str, folders: Sequence[str]) -> str:
    folder = next((folder for folder in folders if path.startswith(f"{folder}/")), None)
    return path if folder is None else path.removeprefix(f"{folder}/")


def _behind_by_path(
    migrations: Sequence[Migration], base: Sequence[str], folders: Sequence[str]
) -> tuple[Finding, ...]:
    """The same of files that run in the order of their paths, with several migrations in each."""
    paths = (_below(path, folders) for path in base)
    newest = max((path for path in paths if path.lower().endswith(".sql")), default="")
    files = dict.fromkeys(migration.file for migration in migrations)
    problem = f"is new, and its path comes before {newest}, which the branch has"
    return tuple(
        Finding(file, problem, "Give it a path that comes after that one.")
        for file in files
        if _below(file, folders) < newest and file not in base
    )


def _number_at(path: str) -> tuple[int, ...]:
    """The number of a file of another branch: its folder's where that has one, else its own."""
    first, _, rest = path.partition("/")
    if rest and not first[:1].isdigit():
        return _number_at(rest)
    return parts_of(first)


def _shown(number: tuple[int, ...]) -> str:
    return ".".join(map(str, number))


def _changed(migration: Migration, recorded: Mapping[str, Applied]) -> bool:
    """Whether the repeatable never ran, or ran last with another text."""
    row = recorded.get(migration.version)
    return row is None or row.checksum != migration.checksum


def place_of(
    migration: Migration | Applied,
    needs: Needs,
    recorded: Mapping[str, Applied],
    files: Mapping[str, Migration],
) -> Order:
    """Where the order by need puts a file: where the last of what it comes to require is."""
    needed = closure(migration.version, needs)
    return max(found.order for v in needed if (found := files.get(v) or recorded.get(v)))


def _renamed(absent: Sequence[Applied], pending: Sequence[Migration]) -> dict[str, Migration]:
    """Which file has whose text, where no two have the same."""
    texts: dict[str | None, list[Migration]] = {}
    for migration in pending:
        for checksum in {migration.checksum, migration.raw_checksum}:
            texts.setdefault(checksum, []).append(migration)
    times = Counter(row.checksum for row in absent)
    alone = {row.version: texts.get(row.checksum, []) for row in absent if times[row.checksum] == 1}
    return {version: files[0] for version, files in alone.items() if len(files) == 1}


def _differs(migration: Migration, row: Applied) -> bool:
    return row.checksum not in (None, migration.checksum, migration.raw_checksum)


def short(checksum: str | None) -> str:
    """As much of it as a person compares."""
    return (checksum or "none")[:CHECKSUM_DIGITS]
