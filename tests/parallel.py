"""Files of a group that meet: none of them ends before all have been at work at once."""

from __future__ import annotations

from collections.abc import Sequence

FIRST = {"001_first.sql": "CREATE TABLE met (n int PRIMARY KEY);\n"}
PARALLEL = "-- migrator: parallel g\n"
#: Each holds a lock of its own, and waits for those of the others, or for what they have left.
MEET = """
SELECT pg_advisory_xact_lock(71, {n});
INSERT INTO met VALUES ({n});
DO $$ BEGIN
  WHILE EXISTS (
    SELECT FROM unnest(ARRAY[{others}]::int[]) AS other
     WHERE NOT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND classid = 71
                          AND objid = other AND granted)
       AND NOT EXISTS (SELECT FROM met WHERE n = other)) LOOP
    PERFORM pg_sleep(0.01);
  END LOOP;
END $$;
"""


def meeting(numbers: Sequence[int], more: str = "") -> dict[str, str]:
    """Files of one group that wait for each other."""
    files = {}
    for n in numbers:
        others = ", ".join(str(other) for other in numbers if other != n)
        files[f"{n:03}_m.sql"] = PARALLEL + MEET.format(n=n, others=others) + more
    return files
