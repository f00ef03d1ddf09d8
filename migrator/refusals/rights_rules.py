"""Which right a refused statement lacked: by the names in it, and what the catalog says of them.

42501 has one number for an owner and for a privilege, and only its words distinguish them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

Names = Sequence[tuple[str, ...]]  #: of a statement, as `sql.effects.names` gives them

#: What may be named in a statement, and where its name comes: behind the word itself, or behind ON.
OF_ITS_OWN = frozenset(
    (
        *("table", "view", "sequence", "type", "domain", "schema", "index"),
        *("function", "procedure", "routine", "aggregate"),
    )
)
OF_A_TABLE = frozenset(("trigger", "policy", "rule", "statistics"))
OTHER = frozenset(
    (
        *("extension", "publication", "subscription", "server", "language", "event"),
        *("collation", "conversion", "wrapper"),
        *("role", "user", "group", "database"),
    )
)
#: The verbs of statements that make and change such things.
VERBS = frozenset(
    (
        *("create", "alter", "drop", "comment", "security"),
        *("refresh", "reindex", "cluster", "lock"),
    )
)
#: What a thing of such a kind is called in a statement. A relation may be of any word.
CALLED = {
    "ROUTINE": frozenset(("function", "procedure", "routine", "aggregate")),
    "TYPE": frozenset(("type", "domain")),
    "SCHEMA": frozenset(("schema",)),
    "COLLATION": frozenset(("collation",)),
    "CONVERSION": frozenset(("conversion",)),
    "PUBLICATION": frozenset(("publication",)),
    "SUBSCRIPTION": frozenset(("subscription",)),
    "EXTENSION": frozenset(("extension",)),
    "FOREIGN DATA WRAPPER": frozenset(("wrapper",)),
    "SERVER": frozenset(("server",)),
    "LANGUAGE": frozenset(("language",)),
    "EVENT TRIGGER": frozenset(("event",)),
}
#: Names behind which a table is used, and not changed itself.
PRIVILEGES = {
    **{verb: verb.upper() for verb in ("select", "insert", "update", "delete", "truncate")},
    "references": "REFERENCES",
    "copy": "INSERT",
}


@dataclass(frozen=True, slots=True)
class Thing:
    """Something in the database that a statement names."""

    place: int  #: of its name among the statement's words
    kind: str  #: TABLE, VIEW, ROUTINE, … as ALTER … OWNER takes it
    name: str  #: with its schema, quoted where it must be; so are the other names
    owner: str
    ours: bool  #: the acting role has the owner's rights
    member: bool  #: it may take them by SET ROLE
    superuser: bool  #: its owner is one
    lacks: tuple[str, ...] = ()  #: privileges that the acting role has not


@dataclass(frozen=True, slots=True)
class Space:
    """The schema in which a name of a statement is looked for."""

    place: int
    name: str
    usage: bool  #: the acting role may use it
    create: bool  #: it may create in it


@dataclass(frozen=True, slots=True)
class Lacking:
    """The right that was lacking."""

    thing: Thing | None = None  #: whose owner it wants; or on which `privilege` is wanted
    privilege: str = ""
    on: str = ""  #: as GRANT takes it: TABLE public.t, SCHEMA s, DATABASE d


def lacking(
    words: Names, things: Sequence[Thing], spaces: Sequence[Space], database: str
) -> Lacking | None:
    """What the acting role must be given for the statement; None where that is not known."""
    kind = kind_of(words)
    behind = _behind(words, kind)
    making = verb(words) == "create" and kind in OF_ITS_OWN
    if making and kind == "schema":
        return Lacking(privilege="CREATE", on=f"DATABASE {database}")
    for space in spaces:
        wanted = [] if space.usage or len(words[space.place]) == 1 else ["USAGE"]
        if making and space.place == _name(words, behind) and not space.create:
            wanted.append("CREATE")
        if wanted:
            return Lacking(privilege=", ".join(wanted), on=f"SCHEMA {space.name}")
    for thing in _fitting(things, kind, behind):
        privilege = _privilege(words, thing, kind)
        if privilege in thing.lacks:
            return Lacking(thing, privilege, f"TABLE {thing.name}")
        if not (privilege or thing.ours):
            return Lacking(thing)
    return None


def named(words: Names, things: Sequence[Thing]) -> Thing | None:
    """What a statement makes or changes, as it is in the database now.

    Of a trigger, a policy or a rule it is its table: they have no names of their own.
    """
    kind = kind_of(words)
    behind = _behind(words, kind) if kind in OF_A_TABLE else _kind_at(words, kind)
    found = _fitting(things, kind, behind)
    place = _name(words, behind) if kind not in {"", "rule", "statistics"} else None
    return next((thing for thing in found if place in {None, thing.place}), None)


def verb(words: Names) -> str:
    return words[0][0] if words else ""


def kind_of(words: Names) -> str:
    """What a CREATE, ALTER or the like deals with: table, policy, …; empty for other statements."""
    kinds = OF_ITS_OWN | OF_A_TABLE | OTHER
    if verb(words) not in VERBS:
        return ""
    return next((word[0] for word in words if len(word) == 1 and word[0] in kinds), "")


def _behind(words: Names, kind: str) -> int:
    """The place behind which the name comes."""
    if not kind:
        return 0
    place = _kind_at(words, kind)
    if kind in OF_A_TABLE or (kind == "index" and verb(words) == "create"):
        return next((at for at, word in enumerate(words) if at > place and word == ("on",)), place)
    return place


def _kind_at(words: Names, kind: str) -> int:
    return next((at for at, word in enumerate(words) if word == (kind,)), 0)


def _name(words: Names, behind: int) -> int:
    """The place of the name itself."""
    noise = {("if",), ("not",), ("exists",), ("concurrently",), ("only",)}
    noise |= {("trigger",)} if words[behind : behind + 1] == [("event",)] else set()
    return next((at for at, word in enumerate(words) if at > behind and word not in noise), behind)


def _fitting(things: Sequence[Thing], kind: str, behind: int) -> list[Thing]:
    """A word of a statement may be the name of a thing of another kind, too."""
    return [
        thing
        for thing in things
        if thing.place > behind and (thing.kind not in CALLED or kind in CALLED[thing.kind])
    ]


def _privilege(words: Names, thing: Thing, kind: str) -> str:
    """What a statement needs to use the thing; empty where it needs its owner."""
    if kind in OF_A_TABLE or verb(words) in {"grant", "revoke"}:
        return ""
    before = (word[0] for word in reversed(words[: thing.place]) if len(word) == 1)
    return next((PRIVILEGES[word] for word in before if word in PRIVILEGES), "")
