"""Numbers of different widths -> where the order by number is not the order by text.

20250625_x runs before 20240101120000_a, as its number is smaller; as a date it comes later. Shorter
numbers count on, 9 before 10, and nobody reads them as text.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from itertools import combinations, product

from migrator.model import Finding, Migration

DATE_DIGITS = 8  #: of the shortest number that may be a date
OTHERS_SHOWN = 3  #: of the files whose places differ


def mixed_widths(
    migrations: Sequence[Migration], pending: Collection[str]
) -> tuple[tuple[Finding, ...], tuple[Finding, ...]]:
    """What is found of pending files, and of applied ones.

    Of two files whose places differ a pending one is named, else the one of fewer digits.
    """
    widths: dict[int, list[Migration]] = {}
    for migration in migrations:
        widths.setdefault(len(_digits(migration)), []).append(migration)
    turned: dict[Migration, list[Migration]] = {}
    for narrow, wide in combinations(sorted(width for width in widths if width >= DATE_DIGITS), 2):
        for few, many in product(widths[narrow], widths[wide]):
            if (few.number < many.number) != (_digits(few) < _digits(many)):
                late = many.version in pending and few.version not in pending
                one, other = (many, few) if late else (few, many)
                turned.setdefault(one, []).append(other)
    found: tuple[list[Finding], list[Finding]] = [], []
    for migration in sorted(turned, key=lambda m: m.order):
        is_pending = migration.version in pending
        finding = _finding(migration, turned[migration], is_pending=is_pending)
        found[not is_pending].append(finding)
    return tuple(found[0]), tuple(found[1])


def _finding(migration: Migration, others: Sequence[Migration], *, is_pending: bool) -> Finding:
    shown = [migration, *others[:OTHERS_SHOWN]]
    more = ", …" if len(others) > OTHERS_SHOWN else ""
    by_number, by_text = (
        ", ".join(m.version for m in sorted(shown, key=key)) + more
        for key in (lambda m: m.order, lambda m: m.version)
    )
    width, most = len(_digits(migration)), max(len(_digits(other)) for other in others)
    problem = (
        f"its number has {width} digits, and others have {most}: by number the order is "
        f"{by_number}; by text it is {by_text}"
    )
    version = migration.version
    digits, _, name = version.partition("_")
    dated = f"{digits.ljust(most, '0')}_{name}"
    remedy = f"Run `new --renumber {version}`, which makes it the last."
    if not is_pending:
        remedy = (
            f"A new database refuses that: rename it to {dated}.sql, and run "
            f"`repair --rename {version} {dated} --reason WHY`."
        )
    elif width < most:
        remedy = (
            f"Rename it to {dated}.sql; or run `new --renumber {version}`, which makes it the last."
        )
    return Finding(migration.file, problem, remedy)


def _digits(migration: Migration) -> str:
    """Of a number that may be a date: one in parts is none, nor is that of a file of several."""
    first = migration.version.partition("_")[0]
    return first if migration.number >= 0 and first[:1].isdigit() else ""
