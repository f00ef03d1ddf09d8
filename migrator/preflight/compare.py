"""What two moments of one transaction differ in, as facts about relations that were there before.

A statement is judged by what PostgreSQL did, not by its words: a new filenode is a rewrite, a
counter of sequential scans that rose is a read of all rows, and the locks are our own.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from migrator.model import Danger
from migrator.preflight.facts import LOCK_NAMES, NO_WRITES, NOBODY_ELSE, RANK, Fact
from migrator.preflight.moment import Column, Moment, names_between

ROW_CHANGES = frozenset({"UPDATE", "DELETE", "MERGE"})
#: Statements that read and write rows; what they read in full is no scan behind a lock of theirs.
ROWS_ONLY = ROW_CHANGES | {"INSERT", "SELECT", "WITH", "COPY", "TABLE", "VALUES"}
#: Statements that run code of the user's, which may do anything.
CODE = frozenset({"DO", "CALL", "SELECT", "EXECUTE"})
TWO_WORDS = frozenset({"ALTER", "CREATE", "DROP", "REFRESH", "LOCK", "REINDEX"})
#: What DEBUG1 says where nothing is counted; these texts are not translated (errmsg_internal).
TABLE_SAID = (
    re.compile(r'(?:rewriting|verifying) table "(?P<table>.*)"'),
    re.compile(r'building index ".*" on table "(?P<table>.*)" (?:serially|with request)'),
)
#: By these words the remedy is chosen; the fact itself is not.
CAUSES = tuple(
    (cause, re.compile(pattern, re.IGNORECASE))
    for cause, pattern in (
        ("index", r"^CREATE\s+(?:UNIQUE\s+)?INDEX\b"),
        ("reindex", r"^REINDEX\b"),
        ("refresh", r"^REFRESH\b"),
        ("vacuum", r"^(?:VACUUM|CLUSTER|REPACK)\b"),
        ("not null", r"\bSET\s+NOT\s+NULL\b"),
        ("foreign key", r"\bREFERENCES\b"),
        ("validate", r"\bVALIDATE\s+CONSTRAINT\b"),
        ("unique", r"\b(?:UNIQUE|PRIMARY\s+KEY|EXCLUDE)\b"),
        ("attach", r"\bATTACH\s+PARTITION\b"),
        ("check", r"\bCHECK\b"),
        ("storage", r"\bSET\s+(?:UNLOGGED|LOGGED|TABLESPACE|ACCESS\s+METHOD)\b"),
        ("type", r"\bTYPE\b"),
        ("default", r"\bADD\b"),
    )
)
NEW_KEY = re.compile("^validating foreign key constraint ")


@dataclass(frozen=True, slots=True)
class Ran:
    """One statement that has run."""

    line: int
    text: str  #: never kept: a fact has its first words alone
    alone: bool = False  #: it ran outside a transaction, where its locks cannot be seen
    notices: tuple[str, ...] = ()  #: what the server said meanwhile

    @property
    def word(self) -> str:
        """The first one."""
        return first_words(self.text).partition(" ")[0]


Ranked = tuple[Ran, Moment, Moment]


def may_rename_schemas(text: str) -> bool:
    """Whether a statement may give relations another name without a lock on them."""
    return first_words(text) in CODE | {"ALTER SCHEMA"}


def first_words(text: str) -> str:
    """What a statement is: ALTER TABLE, UPDATE; never a name or a value."""
    words = re.findall(r"[A-Za-z]+", text[:200])[:2]
    kept = words if words and words[0].upper() in TWO_WORDS else words[:1]
    return " ".join(kept).upper()


def cause_of(text: str) -> str:
    """What in a statement is the reason of a scan or a rewrite, by its words; empty if unclear."""
    return next((cause for cause, pattern in CAUSES if pattern.search(text)), "")


def read_facts(start: Moment, steps: Sequence[Ranked]) -> tuple[Fact, ...]:
    """All that the statements of one file did, in their order."""
    end = steps[-1][2] if steps else start
    found: list[tuple[int, Fact]] = []
    shut_at: dict[int, int] = {}
    for step in steps:
        said = list(_Statement(start, *step, shut_at).facts())
        slow = any(fact.danger in {Danger.SCAN, Danger.REWRITE} for _, fact in said)
        found += [pair for pair in said if not (slow and pair[1].danger is Danger.HELD)]
    kept = (fact for oid, fact in found if not _still_resolves(oid, fact, start, end))
    return tuple(dict.fromkeys(kept))


def read_advice(
    before: Mapping[str, Any], after: Mapping[str, Any], steps: Sequence[Ranked]
) -> Iterator[Fact]:
    """What a file has made that is worth a word, by the answers to `look_query.STATE_QUERY`."""
    found = _advice(before, after, steps)
    yield from sorted(found, key=lambda fact: (fact.line, fact.relation, fact.what))


def _advice(
    before: Mapping[str, Any], after: Mapping[str, Any], steps: Sequence[Ranked]
) -> Iterator[Fact]:
    def fact(oid: int, what: str, tables: Mapping[str, Any]) -> Fact:
        line, words = _maker(oid, steps)
        return Fact(line, words, Danger.ADVICE, tables[str(oid)][0], what)

    tables, earlier = after["tables"] or {}, before["tables"] or {}
    known = before["keys"] or {}
    for key, (oid, columns) in (after["keys"] or {}).items():
        if key not in known:
            yield fact(oid, f"key: {columns}", tables)
    for text, (name, secured, roles) in tables.items():
        clients = sorted(set(roles) & {"anon", "authenticated"})
        new = text not in earlier
        granted = not new and set(roles) - set(earlier[text][2])
        if not name.startswith("public."):
            continue
        if new and not roles:
            yield fact(int(text), "grants", tables)
        if clients and not secured and (new or granted):
            yield fact(int(text), f"open: {', '.join(clients)}", tables)
        elif new and not secured:
            yield fact(int(text), "rls", tables)


def _maker(oid: int, steps: Sequence[Ranked]) -> tuple[int, str]:
    """Line and words of the statement that made a table, or locked it for a foreign key."""
    for ran, before, after in steps:
        new = oid in after.relations and oid not in before.relations
        shut = after.locks.get(oid, 0) >= RANK["SHARE ROW EXCLUSIVE"]
        if new or (shut and cause_of(ran.text) == "foreign key"):
            return ran.line, first_words(ran.text)
    return (steps[-1][0].line, first_words(steps[-1][0].text)) if steps else (1, "")


def makes(start: Moment, end: Moment) -> tuple[str, ...]:
    """Relations that the file made."""
    new = (found for oid, found in end.relations.items() if oid not in start.relations)
    return tuple(sorted(found.name for found in new if found.kind not in "iI"))


def renamed(start: Moment, end: Moment) -> tuple[tuple[str, str], ...]:
    """The old and the new name of relations that have another name."""
    both = ((found.name, end.relations.get(oid)) for oid, found in start.relations.items())
    return tuple(
        sorted(
            (old, new.name) for old, new in both if new and new.name != old and new.kind not in "iI"
        )
    )


def shut_by(start: Moment, steps: Sequence[Ranked]) -> tuple[tuple[str, str], ...]:
    """What the file shut to writers, at least, of what was there before it; the strongest lock."""
    found: dict[int, int] = {}
    for _, before, after in steps:
        gone = before.relations.keys() - after.relations.keys()
        for oid, rank in {**after.locks, **dict.fromkeys(gone, RANK[NOBODY_ELSE])}.items():
            if rank >= NO_WRITES and oid in start.relations:
                found[oid] = max(rank, found.get(oid, rank))
    named = ((start.relations[oid], rank) for oid, rank in found.items())
    return tuple(
        sorted((one.name, LOCK_NAMES[rank]) for one, rank in named if one.kind not in "iI")
    )


class _Statement:
    """One statement between two moments, in a file that began at `start`."""

    def __init__(
        self, start: Moment, ran: Ran, before: Moment, after: Moment, shut_at: dict[int, int]
    ) -> None:
        """`shut_at` has the lines by which relations were shut, by oid; this one is added."""
        self.start, self.ran, self.before, self.after = start, ran, before, after
        for oid, rank in after.locks.items():
            if rank == RANK[NOBODY_ELSE]:
                shut_at.setdefault(oid, ran.line)
        self.shut_at = shut_at
        old = [
            (oid, found)
            for oid, found in start.relations.items()
            if found.kind in "rpmvf" and oid in before.relations
        ]
        # the server answers in any order; a facts file is to be the same for the same text
        self.old = dict(sorted(old, key=lambda one: one[1].name))
        self.said = set(_said(ran.notices))
        self.keys = any(NEW_KEY.search(notice) for notice in ran.notices)

    def facts(self) -> Iterator[tuple[int, Fact]]:
        for oid, found in self.old.items():
            newer = self.after.relations.get(oid)
            if newer is None:
                yield self._fact(oid, Danger.DESTROY, "dropped")
                continue
            was = self.before.relations[oid]
            if was.name != newer.name:
                yield self._fact(oid, Danger.BREAKS, f"renamed to {newer.name}")
            if found.kind in "rm" and was.filenode != newer.filenode:
                yield self._new_file(oid, found.kind)
            elif found.kind in "rm":
                yield from self._reads(oid, found.kind)
            yield from self._columns(oid, found.kind)
        yield from self._indexes()
        yield from self._labels()
        yield from self._held()

    def _fact(self, oid: int, danger: Danger, what: str = "", **more: Any) -> tuple[int, Fact]:
        ran, rank = self.ran, self.after.locks.get(oid)
        lock = "" if rank is None else LOCK_NAMES[rank]
        if not lock and oid not in self.after.relations:
            lock = NOBODY_ELSE  # what was dropped has no lock any more
        fact = Fact(
            ran.line,
            first_words(ran.text),
            danger,
            self.old[oid].name,
            what,
            lock or (NOBODY_ELSE if ran.alone else ""),
            also=self._shut_to_writers(oid),
            indexes=sum(found.table == oid for found in self.after.relations.values()),
            names=names_between(self.before, self.after, oid),
            **more,
        )
        return oid, fact

    def _shut_to_writers(self, oid: int) -> tuple[str, ...]:
        return tuple(
            found.name
            for other, found in self.old.items()
            if other != oid and self.after.locks.get(other, -1) >= NO_WRITES
        )

    def _scanned(self, oid: int) -> bool | None:
        """Whether all rows were read; None where that is not known."""
        if self.ran.alone:
            return False
        before, after = self.before.relations[oid].scans, self.after.relations[oid].scans
        if self.before.counted and self.after.counted and after >= before:
            return after > before
        if not self.after.counted:
            return True if self._reported(oid) else self._unknown()
        return None

    def _unknown(self) -> bool | None:
        """Where nothing is counted, DEBUG1 speaks of tables that are checked, not of rows."""
        return None if self.ran.word in ROWS_ONLY | CODE else False

    def _reported(self, oid: int) -> bool:
        """Whether DEBUG1 named it; of a foreign key it names the constraint alone."""
        if self.keys and self.after.locks.get(oid, -1) > self.before.locks.get(oid, -1):
            return True
        return self.after.relations[oid].name.rpartition(".")[2].strip('"') in self.said

    def _new_file(self, oid: int, kind: str) -> tuple[int, Fact]:
        word = self.ran.word
        emptied = word == "TRUNCATE" or (word in CODE and _truncates(self.ran.text))
        if kind == "r" and emptied:
            return self._fact(oid, Danger.DESTROY, "emptied", empties=True)
        return self._fact(oid, Danger.REWRITE, cause_of(self.ran.text))

    def _reads(self, oid: int, kind: str) -> Iterator[tuple[int, Fact]]:
        """Of a table that was read in full: under a lock, or to change its rows."""
        scanned, word = self._scanned(oid), self.ran.word
        rank, had = (moment.locks.get(oid, -1) for moment in (self.after, self.before))
        new = rank > had
        sure = scanned is not None
        read = scanned or (scanned is None and new)
        shuts = rank >= (RANK[NOBODY_ELSE] if kind == "m" else NO_WRITES)
        if shuts and read and (new or word not in ROWS_ONLY):
            yield self._fact(oid, Danger.SCAN, cause_of(self.ran.text), sure=sure)
            return
        held = rank >= RANK[NOBODY_ELSE] and scanned  # that is a danger of its own
        changing = ROW_CHANGES | CODE | {"WITH", "INSERT"}
        if rank >= RANK["ROW EXCLUSIVE"] and not held and word in changing:
            by_index = self._by_index(oid) or new
            if word in {"WITH", "INSERT"} and not _changes_rows(self.ran.text):
                return
            if scanned or ((by_index or scanned is None) and word not in CODE):
                all_rows = bool(scanned) and _is_whole_delete(self.ran.text)
                yield self._fact(oid, Danger.MASS, sure=bool(scanned), empties=all_rows)

    def _by_index(self, oid: int) -> bool:
        before, after = (
            sum(found.scans for found in moment.relations.values() if found.table == oid)
            for moment in (self.before, self.after)
        )
        return after > before

    def _columns(self, oid: int, kind: str) -> Iterator[tuple[int, Fact]]:
        before, after = (moment.columns.get(oid, {}) for moment in (self.before, self.after))
        for number, column in after.items():
            was = before.get(number)
            if was is None:
                if column.required and not column.dropped and kind in "rp":
                    yield self._fact(oid, Danger.FAILS, column.name)
            elif column.dropped and not was.dropped:
                yield self._fact(oid, Danger.DESTROY, f"column {was.name} dropped")
            elif column.name != was.name and not column.dropped:
                yield self._fact(oid, Danger.BREAKS, f"column {was.name} renamed to {column.name}")

    def _indexes(self) -> Iterator[tuple[int, Fact]]:
        """Of indexes that are built anew, without their table."""
        for oid, found in sorted(self.start.relations.items(), key=lambda one: one[1].name):
            was, newer = self.before.relations.get(oid), self.after.relations.get(oid)
            if found.kind != "i" or was is None or newer is None or was.filenode == newer.filenode:
                continue
            table = found.table
            if table not in self.old or table not in self.after.relations:
                continue
            before, after = self.before.relations[table], self.after.relations[table]
            if before.filenode == after.filenode and self.ran.alone:
                yield self._fact(table, Danger.SCAN, "reindex")

    def _labels(self) -> Iterator[tuple[int, Fact]]:
        for oid, (kind, label) in self.before.labels.items():
            newer = self.after.labels.get(oid, (kind, label))[1]
            if oid in self.start.labels and newer != label:
                what = f"label {label} renamed to {newer}"
                words = first_words(self.ran.text)
                yield oid, Fact(self.ran.line, words, Danger.BREAKS, kind, what)

    def _held(self) -> Iterator[tuple[int, Fact]]:
        """What an earlier statement shut, while this one reads a table or shuts another one."""
        shut = [oid for oid in self.old if self._is_shut(self.before, oid)]
        if not shut:
            return
        names = tuple(self.old[oid].name for oid in shut)
        read = [oid for oid in self.old if oid in self.after.relations and self._scanned(oid)]
        for oid in shut[:1]:
            if read:
                slow = tuple(self.old[other].name for other in read)
                oid, fact = self._fact(oid, Danger.HELD, reads=slow)
                yield oid, replace(fact, names=(("line", str(self.shut_at[oid])),))
        for oid in self.old:
            if self._is_shut(self.after, oid) and oid not in shut:
                yield self._fact(oid, Danger.LOCKS, reads=names)

    def _is_shut(self, moment: Moment, oid: int) -> bool:
        return self.old[oid].kind in "rpm" and moment.locks.get(oid) == RANK[NOBODY_ELSE]


def _still_resolves(oid: int, fact: Fact, start: Moment, end: Moment) -> bool:
    """Whether what runs today still finds the name, with all the columns that it had."""
    if fact.danger is Danger.BREAKS and oid in start.relations:
        return _has(end, fact.relation, _names(start.columns.get(oid, {}).values()))
    if fact.danger is Danger.DESTROY and fact.what == "dropped":
        was = start.relations[oid]
        return was.kind in "vmf" and _has(end, was.name, _names(start.columns[oid].values()))
    return False


def _has(moment: Moment, name: str, columns: set[str]) -> bool:
    return any(
        columns <= _names(moment.columns.get(oid, {}).values())
        for oid, found in moment.relations.items()
        if found.name == name
    )


def _names(columns: Iterable[Column]) -> set[str]:
    return {column.name for column in columns if not column.dropped}


def _said(notices: Iterable[str]) -> Iterator[str]:
    for notice in notices:
        for pattern in TABLE_SAID:
            if found := pattern.search(notice):
                yield found["table"]


def _changes_rows(text: str) -> bool:
    return bool(re.search(r"\b(?:UPDATE|DELETE|MERGE)\b", text, re.IGNORECASE))


def _truncates(text: str) -> bool:
    """Of a block, by its words: emptying and rewriting leave the same trace."""
    return bool(re.search(r"\bTRUNCATE\b", text, re.IGNORECASE))


def _is_whole_delete(text: str) -> bool:
    whole = re.match(r"DELETE\s+FROM\b", text, re.IGNORECASE)
    return bool(whole) and not re.search(r"\b(?:WHERE|USING)\b", text, re.IGNORECASE)
