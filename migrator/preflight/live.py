"""The live database: how large the tables are, and what its planner expects of a statement.

Everything is asked in a READ ONLY transaction. A table that another session has shut is measured
by what the catalog says of it.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from migrator.database.database import Link
from migrator.database.tries import ask
from migrator.history.place import Place, marker
from migrator.model import Danger
from migrator.postgres.quoting import CLEAN, READ_ONLY_HERE, first, identifier, literal
from migrator.postgres.session import ServerError, Session
from migrator.preflight.facts import Fact, Traced
from migrator.preflight.judge import Size, Sizes
from migrator.sql.parts import texts
from migrator.sql.script import Script

MEASURED = """CASE WHEN c.relkind = 'p' THEN
    (SELECT coalesce(sum(pg_relation_size(t.relid)), 0) FROM pg_partition_tree(c.oid) AS t
      WHERE t.isleaf) ELSE pg_relation_size(c.oid) END"""
#: Takes no lock on a table; 0 for what was never vacuumed.
ESTIMATED = """CASE WHEN c.relkind = 'p' THEN
    (SELECT coalesce(sum(l.relpages), 0) FROM pg_partition_tree(c.oid) AS t
       JOIN pg_class AS l ON l.oid = t.relid) ELSE c.relpages END
  * current_setting('block_size')::int8"""
#: Rows that were inserted, updated and deleted since the server began to count.
_COUNTED = """pg_stat_get_tuples_inserted({0}) + pg_stat_get_tuples_updated({0})
    + pg_stat_get_tuples_deleted({0})"""
ROWS_WRITTEN = f"""CASE WHEN c.relkind = 'p' THEN
    (SELECT coalesce(sum({_COUNTED.format("t.relid")}), 0) FROM pg_partition_tree(c.oid) AS t
      WHERE t.isleaf) ELSE {_COUNTED.format("c.oid")} END"""  # noqa: S608
WRITES_QUERY = f"""SELECT jsonb_build_object(
  'at', extract(epoch FROM clock_timestamp()),
  'written', (SELECT coalesce(jsonb_object_agg(
        quote_ident(n.nspname) || '.' || quote_ident(c.relname), {ROWS_WRITTEN}), '{{{{}}}}')
      FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
     WHERE c.relkind IN ('r', 'p') AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
       AND ({{names}} IS NULL OR c.oid IN (SELECT to_regclass(w.name)
             FROM jsonb_array_elements_text({{names}}) AS w (name)))))"""  # noqa: S608
SIZES = """SELECT jsonb_build_object(
  'at', extract(epoch FROM clock_timestamp()),
  'supabase', (SELECT count(*) = 2 FROM pg_roles WHERE rolname IN ('anon', 'authenticated')),
  'granted', (SELECT coalesce(jsonb_agg(DISTINCT r.rolname), '[]')
      FROM pg_default_acl AS d CROSS JOIN LATERAL aclexplode(d.defaclacl) AS g
      JOIN pg_roles AS r ON r.oid = g.grantee
     WHERE d.defaclrole = {maker} AND d.defaclobjtype = 'r'
       AND d.defaclnamespace IN (0, to_regnamespace('public'))
       AND r.rolname IN ('anon', 'authenticated', 'service_role')),
  'relations', (SELECT coalesce(jsonb_object_agg(w.name, jsonb_build_array(
        c.relkind, {bytes}, CASE WHEN c.relkind = 'p' THEN
          (SELECT sum(greatest(l.reltuples, 0)) FROM pg_partition_tree(c.oid) AS t
             JOIN pg_class AS l ON l.oid = t.relid WHERE t.isleaf)
          WHEN c.reltuples >= 0 THEN c.reltuples END,
        (SELECT t.relpages FROM pg_class AS t WHERE t.oid = c.reltoastrelid)
          * current_setting('block_size')::int8, {written})), '{{}}')
      FROM jsonb_array_elements_text({names}) AS w (name)
      JOIN pg_class AS c ON c.oid = to_regclass(w.name)),
  'types', (SELECT coalesce(jsonb_agg(w.name), '[]')
      FROM jsonb_array_elements_text({names}) AS w (name)
     WHERE to_regtype(w.name) IS NOT NULL AND to_regclass(w.name) IS NULL))"""
LOCK_MS = 1_000  #: that the measuring of a table may wait
EXPLAIN_MS = 2_000  #: that the planner may take
SEEN_SECONDS = 1.0  #: sessions report what they wrote once a second: what is shorter proves nothing
DML = frozenset({"UPDATE", "DELETE", "MERGE", "WITH", "INSERT"})


@dataclass(frozen=True, slots=True)
class Writes:
    """What the server had counted at one moment, by table."""

    at: float  #: seconds, by the server's clock
    written: Mapping[str, int]

    def rates_until(self, later: Writes) -> dict[str, float]:
        """Rows a second; none where the time between is too short to say."""
        seconds = later.at - self.at
        if seconds < SEEN_SECONDS:
            return {}
        both = self.written.keys() & later.written.keys()
        return {name: max(0, later.written[name] - self.written[name]) / seconds for name in both}


@dataclass(frozen=True, slots=True)
class Measures:
    """What the live database says."""

    sizes: Sizes
    supabase: bool
    granted: tuple[str, ...]  #: the API's roles to whom a new table is granted by default
    server_version: int
    writes: Writes  #: as they were counted then


def count_writes(link: Link, names: Collection[str] | None = None) -> Writes:
    """One look at the counters of these tables, or of all."""
    wanted = "NULL::jsonb" if names is None else literal(json.dumps(list(names))) + "::jsonb"

    def look(session: Session, place: Place) -> Writes:
        try:
            query = WRITES_QUERY.format(names=wanted)
            found = session.send(first(marker(place, "counts writes"), query))[0][0]
        except ServerError:
            session.tidy()
            return Writes(0, {})  # no more than a figure is lost
        return Writes(float(found["at"]), found["written"])

    return ask(link, look)


def look_at(link: Link, traced: Sequence[Traced], scripts: Sequence[Script]) -> Measures:
    """Sizes of all that the facts name, in one query; then the plans of what changes many rows."""
    facts = [fact for one in traced for fact in one.facts]
    names = sorted({name for fact in facts for name in (fact.relation, *fact.reads)})
    # what a pending file renames is asked for by both names
    names += [old for one in traced for old, _ in one.renames]
    found = ask(link, partial(_measure, names=names, run_as=link.config.run_as))
    by_name = {name: _size(*values[:4]) for name, values in found["relations"].items()}
    written = {name: values[4] for name, values in found["relations"].items()}
    by_name |= {name: Size(0) for name in found["types"]}
    texts_of = {script.migration.file: script for script in scripts}
    changes: dict[tuple[str, int], int] = {}
    for one in traced:
        for fact in one.facts:
            size = by_name.get(fact.relation)
            if fact.danger is Danger.MASS and size and one.file in texts_of and size.bytes:
                rows = _expected(link, texts_of[one.file], fact)
                changes |= {} if rows is None else {(one.file, fact.line): rows}
    sizes = Sizes(by_name, changes=changes)
    version = link.connect().server_version
    writes = Writes(float(found["at"]), written)
    return Measures(sizes, found["supabase"], tuple(found["granted"]), version, writes)


def _measure(
    session: Session, place: Place, names: Iterable[str], run_as: str | None
) -> dict[str, Any]:
    maker = "current_user::regrole"
    if run_as is not None:
        maker = f"to_regrole({literal(identifier(run_as))})"
    wanted = literal(json.dumps(list(names))) + "::jsonb"
    mark = marker(place, "measures tables")
    limit = f"SET LOCAL lock_timeout = {LOCK_MS}"
    for way in (MEASURED, ESTIMATED):
        try:
            query = SIZES.format(bytes=way, names=wanted, written=ROWS_WRITTEN, maker=maker)
            found: dict[str, Any] = session.send(first(mark, limit, query))[0][0]
            return found
        except ServerError:
            session.tidy()
            if way is ESTIMATED:
                raise
    raise AssertionError("one of the two ways returns or raises")


def _size(kind: str, measured: float | None, rows: float | None, toast: float | None) -> Size:
    if kind in "vf" or measured is None:
        return Size(0)  # a view has no rows of its own, and is in use
    count = None if rows is None else int(rows)
    return Size(int(measured), count, int(toast or 0), filled=measured > 0)


def _expected(link: Link, script: Script, fact: Fact) -> int | None:
    """Rows that the live planner expects the statement to change; None where it cannot say."""
    found = next(
        (
            text
            for one, text in texts(script.pieces)
            if script.place(one.line, one.column)[0] == fact.line
        ),
        None,
    )
    if found is None or fact.words.partition(" ")[0] not in DML:
        return None
    return ask(link, partial(_explain, text=found, path=link.config.search_path))


def _explain(session: Session, place: Place, text: str, path: Sequence[str]) -> int | None:
    names = ", ".join(map(identifier, path)) or "DEFAULT"
    lines = (
        f"{marker(place, 'asks the planner')} {CLEAN[0]}",
        *CLEAN[1:],
        "BEGIN READ ONLY",
        f"SET LOCAL statement_timeout = {EXPLAIN_MS}",
        f"SET LOCAL lock_timeout = {LOCK_MS}",
        f"SET LOCAL search_path TO {names}",
        f"EXPLAIN (FORMAT JSON) {text}",
    )
    try:
        rows = session.send(";\n".join(lines))
        return sum(_changed(rows[0][0][0]["Plan"]))
    except (ServerError, LookupError, TypeError):
        return None
    finally:
        with contextlib.suppress(ServerError):
            session.tidy()


def _changed(plan: Mapping[str, Any]) -> Iterator[int]:
    """The rows that go into each node that changes a table."""
    children = plan.get("Plans", ())
    upsert = plan.get("Conflict Resolution") == "UPDATE"
    if plan.get("Node Type") == "ModifyTable" and (upsert or plan.get("Operation") != "Insert"):
        yield sum(
            int(child["Plan Rows"])
            for child in children
            if child.get("Parent Relationship") in {"Outer", "Member"}
        )
    for child in children:
        yield from _changed(child)


def is_filled(link: Link, relation: str) -> bool | None:
    """Whether the live table has a row now; None where that cannot be seen."""
    query = f"SELECT EXISTS (SELECT FROM {relation})"  # noqa: S608 - quoted by quote_ident

    def look(session: Session, place: Place) -> bool | None:
        limit = f"SET LOCAL lock_timeout = {LOCK_MS}"
        try:
            mark = marker(place, "looks for a row")
            return bool(session.send(first(mark, READ_ONLY_HERE, limit, query))[0][0])
        except ServerError:
            session.tidy()
            return None

    return ask(link, look)
