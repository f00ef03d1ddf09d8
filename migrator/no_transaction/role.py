"""RUN_AS in a file whose statements cannot share a transaction.

A statement that runs in a transaction shares its message with SET LOCAL ROLE, so that nothing stays
on the session. A statement that goes alone cannot: the session has the role for as long as that
statement and the looks at it take, and only where the session is known to be ours alone. From a
SET ROLE of its own on, a file runs as the role that it chose.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from migrator.errors import MigratorError
from migrator.history import journal
from migrator.no_transaction.hold import Hold
from migrator.no_transaction.steps import FileStatement, steps
from migrator.postgres.refusal import Refusal
from migrator.postgres.session import ServerError
from migrator.refusals.run_as_rules import ROLE_REFUSED, unkept_role
from migrator.sql.effects import Act, sets_role

IN_COMPANY = frozenset({Act.ATOMIC, Act.SESSION})


class Role:
    """The role that the statements of one file run as, under one hold of the lock."""

    def __init__(self, hold: Hold) -> None:
        self._hold = hold
        self.name = hold.config.run_as  #: None: the session's own, or the file's

    def check(self) -> None:
        """ConfigError when a statement needs the role on a session that a pooler may hand on."""
        name = self.name
        if name is None:
            return
        for step in steps(self._hold.script):
            if _is_chosen(step):
                return
            if step.effect.act not in IN_COMPANY:
                self._check_kept(name)

    def heed(self, step: FileStatement) -> None:
        """A statement of the file's own has run that sets the session."""
        if _is_chosen(step):
            self.name = None

    @contextlib.contextmanager
    def kept(self) -> Iterator[None]:
        """Within, the session has the role: for what goes alone."""
        if self.name is None:
            yield
            return
        self._check_kept(self.name)
        try:
            self._hold.send(journal.take_role(self._hold.place, self.name))
        except ServerError as error:
            if error.refusal.sqlstate not in ROLE_REFUSED:
                raise
            raise self.refused(error.refusal) from error
        try:
            yield
        finally:
            if self._hold.session.alive and not self._hold.link.watch.stopped_by:
                self._hold.send(journal.DROP_ROLE)

    def refused(self, refusal: Refusal) -> MigratorError:
        """What a SET ROLE that was refused ends the run with."""
        from migrator.database.inquiry import explained_role  # only when it was

        self._hold.session.tidy()
        return explained_role(self._hold.session, self._hold.config.run_as or "", refusal)

    def _check_kept(self, name: str) -> None:
        if not self._hold.keeps_session:
            raise unkept_role(name, self._hold.version)


def _is_chosen(step: FileStatement) -> bool:
    return step.effect.act is Act.SESSION and sets_role(step.text)
