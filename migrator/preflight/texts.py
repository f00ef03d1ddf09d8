"""What a fact is called, how long it may take, and the safe way as SQL."""

from __future__ import annotations

import re

from migrator.model import Danger
from migrator.preflight.facts import NO_WRITES, NOBODY_ELSE, RANK, Fact

#: MB a second, at best and at worst: an order of magnitude, and no more [M: 8 of 9 runs inside].
REWRITES, READS = (150.0, 20.0), (800.0, 80.0)
#: Rows a second that go into an index.
INDEXES = (3_000_000.0, 300_000.0)
MB = 1024.0 * 1024.0

#: {0} is the relation; the other names are those of `Fact.names`, or NO_NAMES where it has none.
NOT_NULL_18 = (
    "Here: `ALTER TABLE {0} ADD CONSTRAINT {proof} NOT NULL {column} NOT VALID`; in the next file: "
    "`ALTER TABLE {0} VALIDATE CONSTRAINT {proof}`."
)
PROVE_NOT_NULL = (
    "Here: `ALTER TABLE {0} ADD CONSTRAINT {proof} CHECK ({column} IS NOT NULL) NOT VALID`; in the "
    "next file: `ALTER TABLE {0} VALIDATE CONSTRAINT {proof}`; then `ALTER TABLE {0} ALTER COLUMN "
    "{column} SET NOT NULL`, which reads nothing any more, and `DROP CONSTRAINT {proof}`."
)
PACKED = "Run `VACUUM {0}` without FULL, or pg_repack; or do it when nobody works."
REPACK = (
    "Run `REPACK (CONCURRENTLY) {0}` in a no-transaction file; it is not MVCC-safe: to older "
    "snapshots the table looks empty."
)
EXCLUSION = (
    "Do it while nobody writes {0}: an exclusion constraint has neither CONCURRENTLY nor NOT VALID."
)
SCANS = {
    "index": (
        "In a file of its own under `-- migrator: no-transaction`: "
        "`CREATE {unique}INDEX CONCURRENTLY {index} ON {0} ({columns})`."
    ),
    "reindex": (
        "In a file of its own under `-- migrator: no-transaction`: "
        "`REINDEX TABLE CONCURRENTLY {0}`."
    ),
    "unique": (
        "First `CREATE UNIQUE INDEX CONCURRENTLY {constraint} ON {0} ({columns})` in a "
        "no-transaction file; then `ALTER TABLE {0} ADD CONSTRAINT {constraint} {kind} USING INDEX "
        "{constraint}`. A primary key wants NOT NULL proved before."
    ),
    "attach": (
        "First a CHECK of the partition's bounds on {0}, NOT VALID, and VALIDATE CONSTRAINT in "
        "the next file; then ATTACH PARTITION reads nothing."
    ),
    "validate": (
        "Put `ALTER TABLE {table} VALIDATE CONSTRAINT {constraint}` into a file of its own: in "
        "this one an earlier statement holds the table."
    ),
    "": (
        "Here: `ALTER TABLE {table} ADD CONSTRAINT {constraint} {definition} NOT VALID`; in the "
        "next file: `ALTER TABLE {table} VALIDATE CONSTRAINT {constraint}`."
    ),
}
SAFE_WAYS = {
    Danger.HELD: (
        "Put the statement that shuts {0}{line} into a file of its own, which commits at once, and "
        "this one into the next."
    ),
    Danger.MASS: (
        "Change the rows in batches: a file of its own with `-- migrator: batches {0} by KEY`."
    ),
    Danger.FAILS: (
        "Give {column} a DEFAULT, or `ALTER TABLE {0} ADD COLUMN {column} {type}` without NOT "
        "NULL, fill it, and set NOT NULL in a later file."
    ),
    Danger.DESTROY: (
        "Drop it one release after the last program that uses it is gone, and keep a copy of "
        "what may be wanted again."
    ),
    Danger.LOCKS: "Lock one busy table a file: put this statement into the next file.",
}
#: Of what is renamed, by what it is.
BREAKS = {
    "": (
        "Keep the old name, in the same file: `CREATE VIEW {0} AS SELECT * FROM {new}`; drop the "
        "view in a later release."
    ),
    "column": (
        "Add the column {new} beside {old}, write both, and drop {old} in a later release, when no "
        "program uses it."
    ),
    "label": (
        "Add the label {new} beside {old} (`ALTER TYPE {0} ADD VALUE`), and use {old} no more in a "
        "later release."
    ),
}
ADVICE = {
    "key": "Add `CREATE INDEX ON {0} ({1})`.",
    "rls": "Add `ALTER TABLE {0} ENABLE ROW LEVEL SECURITY`, and policies.",
    "grants": "Add `GRANT SELECT, INSERT, UPDATE, DELETE ON {0} TO authenticated`, or less.",
    "open": "Add `ALTER TABLE {0} ENABLE ROW LEVEL SECURITY`, or take the grant back.",
}
NEW_COLUMN = (
    "Add a column beside {column}, without a default: `ALTER TABLE {0} ADD COLUMN {beside} "
    "{type}`; fill it in batches, and swap the names in a later release."
)
REWRITE_REMEDIES = {
    "default": (
        "`ALTER TABLE {0} ADD COLUMN {column} {type}` without the default, then `ALTER COLUMN "
        "{column} SET DEFAULT …`, and fill the old rows in batches."
    ),
    "refresh": (
        "`REFRESH MATERIALIZED VIEW CONCURRENTLY {0}`, which needs a unique index without a WHERE."
    ),
    "storage": "Do it while nobody uses {0}, or build a new table beside it.",
    "type": NEW_COLUMN,
    "": NEW_COLUMN,
}
#: Where the fact names nothing.
NO_NAMES = {
    **{"index": "name", "constraint": "name", "definition": "…", "kind": "UNIQUE"},
    **{"columns": "…", "column": "column", "type": "type", "unique": "", "line": ""},
}


def safe_way(fact: Fact, server_version: int) -> str:
    """The safe way on a server of this version, as SQL where there is one."""
    if fact.danger is Danger.ADVICE:
        about, _, detail = fact.what.partition(": ")
        return ADVICE[about].format(fact.relation, detail)
    return _way(fact, server_version).format(fact.relation, **_names(fact))


def _way(fact: Fact, server_version: int) -> str:
    if fact.danger is Danger.SCAN:
        if fact.what == "not null":
            return NOT_NULL_18 if server_version >= 180000 else PROVE_NOT_NULL
        if fact.what == "unique" and dict(fact.names).get("kind") == "EXCLUDE":
            return EXCLUSION
        return SCANS.get(fact.what, SCANS[""])
    if fact.danger is Danger.REWRITE:
        if fact.what == "vacuum":
            return REPACK if server_version >= 190000 else PACKED
        return REWRITE_REMEDIES.get(fact.what, REWRITE_REMEDIES[""])
    if fact.danger is Danger.BREAKS:
        return BREAKS.get(fact.what.partition(" ")[0], BREAKS[""])
    return SAFE_WAYS[fact.danger]


def _names(fact: Fact) -> dict[str, str]:
    """The names that a remedy uses, as SQL writes them."""
    found = {**NO_NAMES, "table": fact.relation, **dict(fact.names)}
    column = dict(fact.names).get("column", "")
    if fact.danger is Danger.FAILS and fact.what != column:
        column, found["type"] = fact.what, NO_NAMES["type"]
    found["column"] = _quoted(column) or NO_NAMES["column"]
    found["beside"] = _quoted(f"{column}_new") if column else "name"
    found["proof"] = _quoted(f"{column}_not_null") if column else "name"
    found["unique"] = f"{found['unique']} ".lstrip()
    found["line"] = f" (line {found['line']})" if found["line"] else ""
    old, _, new = fact.what.partition(" renamed to ")
    found["old"] = old.partition(" ")[2]
    found["new"] = new or fact.what.removeprefix("renamed to ")
    return found


def _quoted(name: str) -> str:
    """A name as SQL writes it."""
    plain = re.fullmatch("[a-z_][a-z0-9_]*", name)
    return name if plain or not name else '"' + name.replace('"', '""') + '"'


def duration(fact: Fact, size: int | None, rows: int | None) -> tuple[float, float] | None:
    """Seconds, at best and at worst; None where nothing slow is done, or the size is unknown."""
    if size is None or fact.danger not in {Danger.REWRITE, Danger.SCAN, Danger.HELD, Danger.MASS}:
        return None
    rewrites = fact.danger in {Danger.REWRITE, Danger.MASS}
    speeds = REWRITES if rewrites else READS
    indexes = fact.indexes if rewrites else int(fact.what in {"index", "unique", "reindex"})
    low, high = (
        size / MB / speed + (rows or 0) * indexes / entries
        for speed, entries in zip(speeds, INDEXES, strict=True)
    )
    return low, high


def message_of(
    fact: Fact,
    size: int | None,
    rows: int | None,
    seconds: tuple[float, float] | None,
    changed: int | None = None,
    writes: float | None = None,
) -> str:
    """What the statement does to which table, who is shut out, and for how long about."""
    found = measure(size, rows, writes)
    does = what_it_does(fact, changed, f"{fact.relation} ({found})" if found else fact.relation)
    if fact.danger is Danger.MASS:
        return does + (f", for {how_long(seconds)}" if seconds else "")
    if shut := shut_out(fact):
        return f"{does}: {shut}, " + (f"for {how_long(seconds)}" if seconds else "meanwhile")
    return does


def what_it_does(fact: Fact, changed: int | None = None, table: str | None = None) -> str:
    """What the statement does to its relation, which may be given with its size."""
    return f"{fact.words} {_does(fact, changed, table or fact.relation)}"


def _does(fact: Fact, changed: int | None, table: str) -> str:
    maybe = "" if fact.sure else "may "
    others = ", ".join(fact.reads)
    if fact.danger is Danger.REWRITE:
        return f"rewrites {table} behind {fact.lock or NOBODY_ELSE}"
    if fact.danger is Danger.SCAN:
        return f"{maybe}read{'' if maybe else 's'} all of {table} behind {fact.lock}"
    if fact.danger is Danger.HELD:
        return f"reads all of {others} while an earlier statement of the file holds {table}"
    if fact.danger is Danger.MASS:
        count = f"about {_count(changed)} rows" if changed else "many rows"
        return f"changes {count} of {table} in one transaction, which keeps them locked"
    if fact.danger is Danger.FAILS:
        column = f"the column {fact.what}, NOT NULL without a default,"
        return f"adds {column} to {table}: it is refused as soon as there is a row"
    if fact.danger is Danger.LOCKS:
        return f"waits for {table} while the file keeps {others} shut"
    if fact.danger is Danger.ADVICE:
        return _ADVISED[fact.what.partition(": ")[0]].format(
            fact.relation, fact.what.partition(": ")[2]
        )
    return f"of {table}: {fact.what}" if fact.danger is Danger.DESTROY else _broken(fact)


_ADVISED = {
    "key": "makes a foreign key of {0} ({1}) that no index begins with: each DELETE reads it all",
    "rls": "makes {0} without row level security, in a schema that the Data API shows",
    "grants": "makes {0}, which no role of the Data API may read or write by default",
    "open": "grants {0} to {1}, without row level security",
}


def _broken(fact: Fact) -> str:
    return f"of {fact.relation}: {fact.what}; programs that run now find the old name no more"


def shut_out(fact: Fact) -> str:
    """Who has to wait meanwhile; empty where it is over at once, or rows alone are locked."""
    if fact.danger not in {Danger.REWRITE, Danger.SCAN, Danger.HELD}:
        return ""
    rank = RANK.get(fact.lock, RANK[NOBODY_ELSE])
    who = "nobody reads or writes it" if rank == RANK[NOBODY_ELSE] else "nobody writes it"
    if rank < NO_WRITES:
        who = "others wait for its rows"
    return who + (f", nor {', '.join(fact.also)}" if fact.also else "")


def measure(size: int | None, rows: int | None, writes: float | None = None) -> str:
    """How large a table is and how often it is written; empty where that is not known."""
    if size is None:
        return ""
    found = [f"{size / MB:.0f} MB" if size >= MB else f"{size / 1024:.0f} kB"]
    found += [f"{_count(rows)} row{'' if rows == 1 else 's'}"] if rows is not None else []
    if writes is not None:
        found.append(f"about {writes:,.0f} writes a second" if writes >= 1 else "few writes")
    return ", ".join(found)


def _count(number: int) -> str:
    if number >= 1_000_000:
        return f"{number / 1_000_000:.1f} M"
    return f"{number:,}"


def how_long(seconds: tuple[float, float]) -> str:
    """A range that is an estimate, and says so."""
    low, high = seconds
    if high < 1:
        return "about a second"
    return f"about {_seconds(low)} to {_seconds(high)}"


def _seconds(value: float) -> str:
    if value >= 120:
        return f"{value / 60:.0f} min"
    return f"{value:.0f} s" if value >= 1 else "1 s"
