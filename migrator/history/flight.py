"""One migration -> the messages that guard, run and record it; docs/design.md section 4.

A flight is one simple-protocol message, sent without parameters, so that lock, check, body,
history row and COMMIT travel together and cost one round trip. Short files may share a message:
each is a leg of the flight, with a transaction and guards of its own. A long file, or one with rows
for a COPY, goes in several messages inside the same transaction, between the same guards.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

from migrator.history.fence import DECLARE, Access, Table, Write
from migrator.history.guard import (
    CHECKED,
    SIGN,
    SPENT,
    UNCHECKED,
    Beside,
    closing_check,
    head_query,
    opening,
    still_locked,
)
from migrator.history.message import Message
from migrator.history.place import Limits, Place, as_role, left_alive, marker
from migrator.history.proof import KEPT_TALLY, began, untouched, writing
from migrator.history.questions import asked
from migrator.history.rows import BEGAN_AT, MS, applied
from migrator.history.tally_rules import Tally, tally_query, tally_sum
from migrator.postgres.quoting import (
    HERE,
    TAIL,
    UTF8,
    do,
    first,
    identifier,
    in_utf8,
    literal,
)

if TYPE_CHECKING:
    from migrator.sql.parts import Part, TextReader
    from migrator.sql.script import Script

RECODED = "MG009"  #: the file changed how the session reads text, in the middle of being sent
#: Sent to the client whatever client_min_messages says, and kept by no server log. By the number
#: of its transaction a flight can be asked for when its answer was lost: no table is needed.
REPORT = """  RAISE INFO USING MESSAGE = '{sign}' || jsonb_build_object(
    'run_id', {run_id}, 'xid', pg_current_xact_id()::text, 'ms', migrator_ms,
    'tally', {tally})::text;
"""
#: How the session reads texts after all: a pooler may have kept a SET of ours from the server.
ANSWER = "SELECT pg_catalog.current_setting('client_encoding')"
#: `committed`, `aborted` or `in progress`, for as long as the server remembers.
BECAME = """/* migrator asks what became of a flight */
SELECT pg_catalog.pg_xact_status('{xid}'::pg_catalog.xid8)"""


class Around(NamedTuple):
    """What a flight does beyond a usual one."""

    before: Sequence[str] = ()  #: statements behind the guard, which may refuse as it does
    checks: str = ""  #: statements of the closing block, before anything is written
    tables: Sequence[Table] = ()  #: that they read or write, beside ours
    #: Flies beside these others; None: beside none. See docs/design.md section 17.
    beside: Beside | None = None


NOTHING_MORE = Around()


class Leg(NamedTuple):
    """One migration of a flight."""

    script: Script
    seen: str  #: the head that the history must have
    writes: Sequence[Write] | None = None  #: None: it is recorded as applied
    also: Sequence[Write] = ()  #: go with that
    around: Around = NOTHING_MORE
    tally: Tally | None = None  #: looked at instead of the head, which need not be known then


def make_flight(
    legs: Sequence[Leg], place: Place, limits: Limits, tables: Sequence[Table] = ()
) -> Iterator[Message]:
    """The messages that guard, run and record one migration, or the one message for several.

    Each of several is `whole`. They write into `tables` beside ours. The messages are made one by
    one, so that a large file is never held whole. Raises what reading the file again does.
    """
    from migrator.sql.parts import TextReader  # a run with nothing pending does not need it

    if all(leg.script.whole for leg in legs):
        yield _join_legs(legs, place, limits, tables)
        return
    [leg] = legs
    script, before = leg.script, _before(leg, place, limits, tables)
    reader = TextReader(script.pieces)
    mark = marker(place, script.migration.version) + " "
    yield Message(_join(before).encode(), len(before))
    for part in script.parts:
        yield _part(reader, part, mark, "" if part.data else f"\n;\n{UTF8}")
    # what the file says by then is read by the settings that it may have left
    last = [do(in_utf8(RECODED)), *_closing(leg, place), *_ending(place)]
    yield Message((mark + _join(last)).encode(), 1, commits=True)


def _join_legs(
    legs: Sequence[Leg], place: Place, limits: Limits, tables: Sequence[Table]
) -> Message:
    from migrator.sql.parts import TextReader

    found: list[Message] = []
    answers = length = 0
    for leg in legs:
        before = _before(leg, place, limits, tables, behind=bool(found))
        closing = _closing(leg, place, behind=bool(found))
        ending = _ending(place) if leg is legs[-1] else ()
        [whole], reader = leg.script.parts, TextReader(leg.script.pieces)
        end = "\n;\n" + _join((*closing, *ending))
        message = _part(reader, whole, _join(before), end, answers + len(before))
        answers += len(before) + message.statements + len(closing)
        found.append(
            message._replace(
                body_starts=length + message.body_starts,
                body_ends=length + message.body_ends,
                results=answers,
                commits=True,
            )
        )
        length += message.body_ends + len(end)
    if len(found) == 1:
        return found[0]
    sent = b"".join(message.sent for message in found)
    views = tuple(message._replace(sent=sent) for message in found)
    return views[0]._replace(legs=views)


def _before(
    leg: Leg, place: Place, limits: Limits, tables: Sequence[Table], *, behind: bool = False
) -> list[str]:
    path = ", ".join(identifier(name) for name in limits.search_path) or "DEFAULT"
    version, around = leg.script.migration.version, leg.around
    all_tables = (*place.tables, *tables, *around.tables)
    return [
        *opening(
            place,
            limits,
            version,
            leg.seen,
            tally=leg.tally,
            tables=all_tables,
            behind=behind,
            beside=around.beside,
        ),
        *around.before,
        CHECKED,
        f"SET LOCAL search_path TO {path}",
        *as_role(limits.run_as),
    ]


def log_alone(place: Place, line: Write) -> str:
    """A message that writes a line of the log and nothing else."""
    check = asked(place.tables, place.server_version, Access.WRITE)
    return first(
        marker(place, "writes its log"),
        "SET LOCAL lock_timeout = 1000",
        "SET LOCAL statement_timeout = 2000",
        do(check + writing(*place.tables, [line]), DECLARE),
    )


def _closing(leg: Leg, place: Place, *, behind: bool = False) -> list[str]:
    """What follows the file, up to the COMMIT."""
    (history, log), besides = place.tables, leg.around.beside or ()
    writes = (*(leg.writes or applied(leg.script, place)), *leg.also)
    record = (
        still_locked(place, "the file ended its own transaction")
        + untouched(history, log, place.run_id, _unlike(leg, place))
        + leg.around.checks
        + (closing_check(place, leg.seen, besides) if leg.around.beside is not None else "")
        # behind another leg the transaction's own time is that of the message
        + began(place.run_id, "clock_timestamp()" if behind else "transaction_timestamp()")
        + f"  {MS} := {SPENT.format(since=BEGAN_AT)};\n"
        + writing(history, log, writes, known=True)
        + REPORT.format(sign=SIGN, run_id=literal(place.run_id), tally=KEPT_TALLY)
    )
    return [
        "SET CONSTRAINTS ALL IMMEDIATE",
        "RESET SESSION AUTHORIZATION",
        "RESET ROLE",
        HERE,
        UNCHECKED,
        do(record, DECLARE),
        "COMMIT",
    ]


def _unlike(leg: Leg, place: Place) -> str:
    if leg.tally is None:
        query = head_query(place.history, leg.around.beside or ())
        return f"({query}) <> {literal(leg.seen)}"
    return f"({tally_query(place)}) <> {tally_sum(place, leg.tally)}"


def _ending(place: Place) -> tuple[str, ...]:
    return (*TAIL, *left_alive(place), ANSWER)


def _part(
    reader: TextReader,
    part: Part,
    start: str = "",
    end: str = "",
    results_before: int = 0,
) -> Message:
    """A part of the file, between our own statements where it goes along with them."""
    return Message(
        b"".join((start.encode(), *reader.encoded(part), end.encode())),
        results_before,
        body_starts=len(start),
        body_ends=len(start) + part.end - part.start,
        line=part.line,
        column=part.column,
        statements=part.statements,
        rows=reader.take(part.data.start, part.data.end) if part.data else None,
        rows_line=part.data.line if part.data else 0,
    )


def _join(statements: Sequence[str]) -> str:
    return "".join(f"{statement};\n" for statement in statements)
