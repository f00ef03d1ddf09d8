"""Have the history's tables as they should be before a run sends anything, or foresee it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from migrator.database.database import Link, MovedError
from migrator.database.tries import HISTORY, REPEATABLE, ask, persist
from migrator.history.create import prepare_history
from migrator.history.fence import Owners
from migrator.history.place import Limits, Place
from migrator.history.read import History
from migrator.model import Event, Migration
from migrator.postgres.session import ServerError, Session

#: What was not there when it was looked for: a schema, a table or its type.
APPEARED = frozenset({"42P06", "42P07", "23505", "42710"})


def prepare(link: Link, history: History, owners: Owners, coming: Sequence[Migration]) -> None:
    """Nothing is sent when they are as they should be.

    Raises AccessError when the server is read-only, when a role for which `owners` does not do may
    have written what they hold, or when a table that is taken over does not take the rows of what
    is `coming`; MovedError when they were made meanwhile.
    """
    history.distrust.refuse_owners(owners)
    if history.read_only:
        raise link.read_only()
    if history.readers_lacking or not history.complete:
        send = partial(_prepare, link, history, owners, coming)
        persist(link, send, REPEATABLE, HISTORY, link.config.lock_timeout)


def _prepare(link: Link, history: History, owners: Owners, coming: Sequence[Migration]) -> None:
    limits, session = Limits(link.config.lock_timeout), link.connect()
    try:
        prepare_history(session, link.place_of(session), limits, history, owners, coming)
    except ServerError as error:
        link.settle(error)
        if error.refusal.sqlstate in APPEARED:
            raise MovedError from error
        raise
    link.tell(Event("history.prepared", "info", {"schema": link.config.migrations_schema}))


def foresee(link: Link, history: History, coming: Sequence[Migration]) -> None:
    """Raise what would keep `up` from applying what is `coming`; nothing stays."""
    if history.read_only:
        raise link.read_only()
    if (role := link.config.run_as) is not None:
        from migrator.database.inquiry import check_role  # for those who use it

        ask(link, partial(check_role, role=role))
    if history.complete:
        return
    limits = Limits(link.config.lock_timeout)

    def attempt(session: Session, place: Place) -> None:
        try:
            prepare_history(session, place, limits, history, coming=coming, keep=False)
        except ServerError as error:
            session.tidy()
            link.refuse_distrusted(error, "nothing was changed")

    ask(link, attempt)
