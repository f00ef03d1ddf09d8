"""Which runner is at work, asked in the message that reads the history.

It is the backend that holds the runners' lock. What our own journal says of it comes first: behind
a pooler the name of a backend may be that of its last client. To a role with few rights the server
shows a pid and a name alone, and that must do.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from migrator.history.flight import holder_query
from migrator.history.place import Place
from migrator.postgres.quoting import literal

#: A block within the one that reads; a right that was taken from everybody costs the answer alone.
_ASK = """  DECLARE
    worker jsonb;
    line jsonb;
  BEGIN
    EXECUTE {holder} INTO worker;
    IF worker IS NOT NULL AND reads_log AND NOT row_security_active(log) AND fence->'code' = '[]'
       AND answer->'log' ?& ARRAY['id', 'at', 'run_id', 'version', 'event', 'runner'] THEN
      EXECUTE {newest} INTO line;
    END IF;
    answer := answer || jsonb_build_object('at_work', worker, 'newest_line', line);
  EXCEPTION WHEN insufficient_privilege THEN NULL;
  END;
"""
#: `marker` is what our message begins with, nothing where another's statement is the newest there,
#: and null where the server does not show it.
_MARKER = """,
    'marker', CASE WHEN activity.query <> '<insufficient privilege>'
      THEN coalesce(substring(activity.query from '^/\\* migrator[^*]+\\*/'), '') END"""
#: A statement that was sent alone, or one after which the file goes on.
_NEWEST = """SELECT jsonb_build_object('application_name', l.runner, 'version', l.version,
    'run_id', l.run_id, 'since', to_char((
      SELECT min(b.at) FROM {log} AS b WHERE b.run_id = l.run_id AND b.version = l.version
    ) AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'))
  FROM (SELECT * FROM {log} ORDER BY id DESC LIMIT 1) AS l
 WHERE l.event IN ('intent', 'outcome')"""
_FLIGHT = re.compile(r"/\* migrator (?P<version>.{1,300}), run (?P<run_id>[0-9a-f-]{36}) \*/")
_STATEMENT = re.compile(r"/\* migrator:(?P<run_id>[0-9a-f-]{36}):(?P<version>.{1,300}):\d+ \*/")


def look_for_worker(place: Place) -> str:
    """Statements of the block that reads, which add `at_work` and `newest_line` to its answer."""
    holder = holder_query(place.schema, _MARKER)
    return _ASK.format(holder=literal(holder), newest=literal(_NEWEST.format(log=place.log)))


def worker(answer: Mapping[str, Any]) -> dict[str, Any] | None:
    """Who is at work, since when, and on which version, as far as is known; None: nobody is."""
    holder = answer.get("at_work")
    if holder is None:
        return None
    marker = holder.pop("marker")
    said = _FLIGHT.fullmatch(marker or "") or _STATEMENT.fullmatch(marker or "")
    found = {**holder, **(said.groupdict() if said else {})}
    line = answer.get("newest_line")
    if line is not None and (marker is None or found.get("run_id") == line["run_id"]):
        found |= line
    return {key: value for key, value in found.items() if value is not None}
