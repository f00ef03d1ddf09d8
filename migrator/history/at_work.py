"""Which runner is at work, asked in the message that reads the history.

It is the backend that holds the runners' lock. Behind a pooler the name of a backend may be that of
its last client: a name counts where the message at work is a runner's, which sets it, or where our
own journal has it. Else the holder has a pid and no name.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from migrator.history.guard import holder_query
from migrator.history.place import Place
from migrator.postgres.quoting import literal

RUNNER = "migrator/"  #: what the name of each runner begins with
SOME_RUNNER, NOT_KNOWN = "a runner whose name is not known", "a session whose name is not known"
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
#: A statement that was sent alone, or one after which the file goes on.
_NEWEST = """SELECT jsonb_build_object('application_name', l.runner, 'version', l.version,
    'run_id', l.run_id, 'since', to_char((
      SELECT min(b.at) FROM {log} AS b WHERE b.run_id = l.run_id AND b.version = l.version
    ) AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'))
  FROM (SELECT * FROM {log} ORDER BY id DESC LIMIT 1) AS l
 WHERE l.event IN ('intent', 'outcome')"""
_FLIGHT = (
    r"/\* migrator (?P<version>.{1,300}), run (?P<run_id>[0-9a-f-]{36})"
    r"(?:, traceparent=[0-9a-f-]{55})? \*/"
)
_STATEMENT = r"/\* migrator:(?P<run_id>[0-9a-f-]{36}):(?P<version>.{1,300}):\d+ \*/"


def look_for_worker(place: Place) -> str:
    """Statements of the block that reads, which add `at_work` and `newest_line` to its answer."""
    holder = holder_query(place.schema)
    return _ASK.format(holder=literal(holder), newest=literal(_NEWEST.format(log=place.log)))


def worker(answer: Mapping[str, Any]) -> dict[str, Any] | None:
    """Who is at work, since when, and on which version, as far as is known; None: nobody is."""
    holder = answer.get("at_work")
    return None if holder is None else identified(holder, answer.get("newest_line"))


def identified(holder: Mapping[str, Any], line: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The holder of the lock, by a name that is proved to be a runner's, or by `who` without one.

    `line` is the journal's newest: of the run whose message is at work, or, where no message says
    which run that is, of a runner of the backend's name.
    """
    found = {key: value for key, value in holder.items() if value is not None}
    marker, name = found.pop("marker", ""), found.pop("application_name", "")
    said = re.fullmatch(_FLIGHT, marker) or re.fullmatch(_STATEMENT, marker)
    found |= said.groupdict() if said else {}
    if marker and name.startswith(RUNNER):
        found["application_name"] = name
    if line is not None and (
        found["run_id"] == line["run_id"] if said else name == line["application_name"]
    ):
        found |= {key: value for key, value in line.items() if value is not None}
    if "pid" in found and "application_name" not in found:
        found["who"] = SOME_RUNNER if marker else NOT_KNOWN
    return found
