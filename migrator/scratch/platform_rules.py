"""Which differences are the platform's own: what Supabase grants by default, before and since.

Until 30 October 2026 (new projects: 30 May) a new table, sequence or function in `public` was
granted to the roles of the Data API whole; since then they hold what DEFAULTS has in second place,
besides what a file grants them. Things that were there before keep their grants.
"""

from __future__ import annotations

from collections.abc import Sequence

from migrator.scratch.snapshot import Change, Difference

API_ROLES = frozenset({"anon", "authenticated", "service_role"})
#: Whom the platform's default privileges name besides.
ITS_OWN = API_ROLES | {"postgres", "owner"}
NO_RIGHTS: frozenset[str] = frozenset()
ROW_RIGHTS = frozenset({"SELECT", "INSERT", "UPDATE", "DELETE"})
LASTING_RIGHTS = frozenset({"REFERENCES", "TRIGGER", "TRUNCATE"})
OF_TABLES = (ROW_RIGHTS | LASTING_RIGHTS, LASTING_RIGHTS, NO_RIGHTS)
DEFAULTS = {
    **dict.fromkeys(("table", "view", "materialized view", "foreign table"), OF_TABLES),
    "sequence": (frozenset({"SELECT", "UPDATE", "USAGE"}), frozenset({"UPDATE"}), NO_RIGHTS),
    **dict.fromkeys(("function", "procedure"), (frozenset({"EXECUTE"}), NO_RIGHTS)),
    "schema": (frozenset({"USAGE"}), NO_RIGHTS),
}
MAINTAIN = frozenset({"MAINTAIN"})  # PostgreSQL 17; it goes with TRUNCATE


def of_platform(difference: Difference) -> bool:
    """Whether no more differs than what Supabase grants by default, in one state or the other."""
    kind, change = difference.item.kind, difference.change
    before, after = _grants(difference)
    roles = {line.partition(" ")[0] for line in set(before) ^ set(after)}
    if kind == "default privileges":
        # files may make some that name no API role, and these must not be gone
        known = ITS_OWN if roles & API_ROLES or change is Change.NEW else API_ROLES
        states = DEFAULTS.get(difference.item.name.partition(" for ")[2].split("s ")[0], ())
    elif change is Change.CHANGED and [word for word, _, _ in difference.facts] == ["grants"]:
        known = API_ROLES | {"postgres"} if kind == "schema" else API_ROLES
        states = DEFAULTS.get(kind, ())
    else:
        return False
    checked = roles if kind == "schema" else roles & API_ROLES
    return roles <= known and all(
        _by_default(_rights(before, role), _rights(after, role), states) for role in checked
    )


def _by_default(
    before: frozenset[str], after: frozenset[str], states: Sequence[frozenset[str]]
) -> bool:
    """Whether both are states of the platform, or one has what lasts besides what was granted."""
    return {before, after} <= set(states) or before ^ after in states[1:2]


def _grants(difference: Difference) -> tuple[Sequence[str], Sequence[str]]:
    """The lines of both sides, "anon SELECT"; none of a side that has no such thing."""
    held = difference.item.facts.get("grants", ())
    if difference.change is Change.CHANGED:
        return next(
            ((old, new) for word, old, new in difference.facts if word == "grants"), ((), ())
        )
    return (held, ()) if difference.change is Change.GONE else ((), held)


def _rights(lines: Sequence[str], role: str) -> frozenset[str]:
    found = (line.partition(" ") for line in lines)
    return frozenset(right for name, _, right in found if name == role) - MAINTAIN


def in_one_line(found: Sequence[Difference]) -> str:
    """What such differences come to, for a person."""
    things = [d.item.name for d in found if d.item.kind not in {"default privileges", "schema"}]
    more = f" and {len(things) - SHOWN} more" if len(things) > SHOWN else ""
    return "Supabase's own grants to anon, authenticated and service_role differ" + (
        f" on {', '.join(things[:SHOWN])}{more}" if things else ""
    )


SHOWN = 5
