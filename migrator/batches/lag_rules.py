"""Who reads the server's WAL, and whether a file in batches waits for them."""

from __future__ import annotations

from collections.abc import Iterable

#: Standbys, as far as the role may see how far they are; and slots that are in use, of which any
#: role sees that.
READERS = """SELECT 'standby' AS kind, r.application_name::text AS name,
       pg_wal_lsn_diff(pg_current_wal_lsn(), r.replay_lsn)::bigint AS bytes
  FROM pg_stat_replication AS r WHERE r.state IS DISTINCT FROM 'backup'
UNION ALL
SELECT 'slot', s.slot_name::text,
       pg_wal_lsn_diff(pg_current_wal_lsn(), coalesce(s.confirmed_flush_lsn, s.restart_lsn))::bigint
  FROM pg_replication_slots AS s WHERE s.active AND NOT s.temporary"""
UNSEEN = (
    "MAX_LAG is set, and neither a standby nor a slot can be seen: nothing is waited for",
    "Let the role see them: GRANT pg_read_all_stats to it. Without any, leave MAX_LAG out.",
)


def furthest_behind(rows: Iterable[tuple[str, str, int | None]]) -> tuple[str, int] | None:
    """The reader that is furthest behind and by how many bytes; None where none can be seen.

    A slot of a standby says when it has flushed, not when it has replayed: it counts only where no
    standby is seen.
    """
    known = [(kind, name, size) for kind, name, size in rows if size is not None]
    standbys = [one for one in known if one[0] == "standby"]
    found = max(standbys or known, key=lambda one: one[2], default=None)
    return None if found is None else (f"{found[0]} {found[1]}", found[2])
