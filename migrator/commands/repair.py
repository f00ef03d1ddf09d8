"""`repair`: a person's answer about one migration, recorded under the lock and never guessed."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from migrator.commands.repair_rules import (
    Claim,
    Known,
    afterwards,
    assume,
    given_answer,
    in_batches,
    resolve,
)
from migrator.commands.source import read_folder
from migrator.commands.table import Output
from migrator.database.tries import ONCE, ask, persist, read_tables, until_unmoved
from migrator.errors import StoppedError, UnreachableError
from migrator.history.fence import Owners, Table
from migrator.history.guard import head, opening, write
from migrator.history.place import Limits, marker
from migrator.history.undo_texts import read_kept
from migrator.model import Event, Migration
from migrator.plan.progress import Answer
from migrator.plan.repeatables import pending_again
from migrator.postgres.quoting import TAIL, first, literal
from migrator.postgres.session import LostError, ServerError

if TYPE_CHECKING:
    from migrator.apply.run import Run
    from migrator.apply.view import View
    from migrator.history.place import Place
    from migrator.history.read import History


def repair(run: Run, reason: str | None, **answers: str | list[str] | None) -> Output:
    """Record what a person knows about one migration, and why; deletes nothing of the log."""
    return record_answer(run, read_folder(run), given_answer(answers, reason))


def record_answer(run: Run, migrations: tuple[Migration, ...], claim: Claim) -> dict[str, str]:
    """Record the answer; of which version it is, and what is assumed from now on, in words.

    Raises ConfigError when the answer does not fit what is recorded, LockedError, and what ends
    any run.
    """
    return until_unmoved(partial(run.look, migrations), partial(_record, run, migrations, claim))


def _record(
    run: Run, migrations: tuple[Migration, ...], given: Claim, view: View
) -> dict[str, str]:
    history = view.history
    run.prepare(history, Owners.OF_SCHEMA)
    place, seen = run.link.place_of(run.link.connect()), head(history.seen())
    known = Known(migrations, view.plan, history.dirty, place, history.undoing, history.batching)
    claim = resolve(known, given)
    known = replace(known, again=_again(run, migrations, claim, history))
    cursors = _cursors(run, place) if in_batches(known, claim.version) else ()
    known = replace(known, has_cursors=bool(cursors))
    assumed = assume(known, claim)
    fields = {
        "version": claim.version,
        "answer": claim.answer.value,
        "assumed": assumed.words,
        "why": claim.reason,
    }
    run.link.tell(Event("repair.assuming", "warning", fields | assumed.fields))
    limits, what = Limits(run.config.lock_timeout), f"repair {claim.version}"
    begin = opening(
        place, limits, what, seen, tables=(*place.tables, *cursors), owners=Owners.OF_SCHEMA
    )
    record = write(place, assumed.records)
    send = partial(_send, run, ";\n".join((*begin, record, "COMMIT", *TAIL)))
    try:
        persist(run.link, send, ONCE, claim.version, run.config.lock_timeout)
    except LostError as error:
        raise UnreachableError(
            f"the connection was lost while the answer was recorded: {error}",
            version=claim.version,
            outcome=f"unknown: `status` shows the state of {claim.version}",
        ) from error
    run.see(history._replace(rows=afterwards(known, claim)), migrations)
    run.outcome = f"recorded: {assumed.words}"
    return {"version": claim.version, "assumed": assumed.words}


def _cursors(run: Run, place: Place) -> tuple[Table, ...]:
    """The table that says how far files in batches have come, if it is there."""
    from migrator.batches.cursor import cursor_table  # for such files alone

    table = cursor_table(place)
    query = f"SELECT to_regclass({literal(table.quoted)}) IS NOT NULL"
    text = first(marker(place, "looks for its cursor"), query)
    [(there,)] = ask(run.link, lambda session, _place: session.send(text))
    return (table,) if there else ()


def _again(
    run: Run, migrations: tuple[Migration, ...], claim: Claim, history: History
) -> tuple[str, ...]:
    """The repeatables that run again, as what they made may have gone with an applied migration."""
    recorded = {row.version: row for row in history.rows}
    row = recorded.get(claim.version)
    gone = claim.answer is Answer.NOT_APPLIED or claim.version in history.undoing
    if row is None or row.repeatable or not gone or not any(r.repeatable for r in history.rows):
        return ()
    query = partial(read_kept, lock_timeout_ms=run.config.lock_timeout)
    places = {version: kept.place for version, kept in read_tables(run.link, query).items()}
    rows = [row for row in history.rows if row.version in places]
    if claim.version not in places:  # it has gone meanwhile, which the guard will say
        return ()
    return tuple(pending_again(rows, places, [claim.version], migrations)[claim.version])


def _send(run: Run, text: str) -> None:
    session = run.link.connect()
    try:
        session.send(text)
    except ServerError as error:
        run.link.settle(error)
        raise
    except StoppedError as error:
        if not session.surely_rolled_back:
            error.details["outcome"] = "unknown: the answer was being recorded; see `status`"
        raise
