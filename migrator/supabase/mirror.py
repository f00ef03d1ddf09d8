"""The Supabase CLI's history, kept in step while SYNC_SUPABASE_HISTORY is on."""

from __future__ import annotations

from functools import partial

from migrator.database.database import Link
from migrator.database.tries import read_tables
from migrator.history.fence import Table, Write
from migrator.model import Event, Migration


class Sync:
    """What goes there along with the rows of our own history; nothing unless it is asked for."""

    def __init__(self, link: Link) -> None:
        self.link = link
        self._columns: tuple[str, ...] | None = None

    def look(self) -> None:
        """Read once, before the first row, what the CLI's table has; say when there is none.

        Raises AccessError when the role may not write it.
        """
        if self._columns is not None or not self.link.config.sync_supabase_history:
            return
        from migrator.supabase.read import read_mirror  # few runs keep it

        query = partial(read_mirror, lock_timeout_ms=self.link.config.lock_timeout)
        self._columns = read_tables(self.link, query)
        if not self._columns:
            self.link.tell(Event("mirror.absent", "warning"))

    @property
    def tables(self) -> tuple[Table, ...]:
        """The CLI's table while it is kept in step, or none."""
        if not self._columns:
            return ()
        from migrator.supabase.mirror_rules import TABLE

        return (TABLE,)

    def rows(self, migration: Migration) -> tuple[Write, ...]:
        """The statement that goes with the history's row of this migration, or none."""
        if not self._columns or migration.repeatable:  # the CLI knows no repeatables
            return ()
        from migrator.supabase.mirror_rules import mirrored

        return (mirrored(migration.version, migration.pieces, self._columns),)

    def undone(self, migration: Migration) -> tuple[Write, ...]:
        """The statement that takes the row of an undone migration away there, or none."""
        if not self._columns:
            return ()
        from migrator.supabase.mirror_rules import forgotten

        return (forgotten(migration.version),)
