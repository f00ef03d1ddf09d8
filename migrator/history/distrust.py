"""What is wrong with tables, as `questions` finds it, and the error that it ends a run with."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

from migrator.errors import AccessError
from migrator.history.fence import Owners
from migrator.postgres.quoting import identifier

UNTRUSTED = "MG005"  #: SQLSTATE of our own: an object that another role controls is in the way


class Distrust(NamedTuple):
    """What is wrong with tables, as `question` answers it."""

    code: tuple[Mapping[str, str], ...] = ()  #: table, what, owner of what could run as us
    owners: tuple[Mapping[str, Any], ...] = ()  #: table, owner, owns_schema: who could forge rows

    @classmethod
    def of(cls, answer: Mapping[str, Any]) -> Distrust:
        return cls(tuple(answer["code"]), tuple(answer["owners"]))

    def refuse_code(self, tables: Collection[str] = ()) -> None:
        """AccessError when code of another role could run, in one of `tables` or in any."""
        found = [one for one in self.code if not tables or one["table"] in tables]
        if found:
            raise _refused_code(found)

    def refuse_owners(self, owners: Owners = Owners.TRUSTED) -> None:
        """AccessError when a role for which `owners` does not do may write any row."""
        if owners is Owners.OF_SCHEMA and self.believable:
            return
        if self.owners and owners is not Owners.ANY:
            raise _refused_owner(self.owners[0])

    @property
    def believable(self) -> bool:
        """Whether what the journal says may be acted upon: no stranger can have written it."""
        return not self.code and all(one["owns_schema"] for one in self.owners)


def explain(detail: str | None) -> AccessError:
    """The refusal UNTRUSTED as the error that ends the run."""
    with contextlib.suppress(ValueError, KeyError, TypeError):  # a file may raise our SQLSTATE
        found = Distrust.of(json.loads(detail or ""))
        if found.code:
            return _refused_code(found.code)
        if found.owners:
            return _refused_owner(found.owners[0])
    return AccessError("the history's tables cannot be trusted")


def _refused_code(found: Sequence[Mapping[str, str]]) -> AccessError:
    first = found[0]
    what = "; ".join(dict.fromkeys(f"{one['table']}: {one['what']}" for one in found[:5]))
    owners = ", ".join(dict.fromkeys(one["owner"] for one in found))
    return AccessError(
        f"code of {owners} could run here ({what}); nothing of it was evaluated",
        remedy=f"Find out who put that on {first['table']}. Drop it, or, if it is meant, have it "
        "owned by the role that runs the job; then run again.",
    )


def _refused_owner(found: Mapping[str, Any]) -> AccessError:
    table, owner, role = found["table"], identifier(found["owner"]), identifier(found["role"])
    return AccessError(
        f"{table} belongs to {found['owner']}, a role that {found['role']} has no reason to "
        "trust: it could have written any row",
        remedy=f"If that table is the history: GRANT {owner} TO {role}; or, as a superuser, "
        f"ALTER TABLE {table} OWNER TO {role}; else drop it. Then run again.",
    )
