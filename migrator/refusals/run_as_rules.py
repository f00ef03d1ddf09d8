"""Why RUN_AS cannot be set, and what can be typed against it."""

from __future__ import annotations

from migrator.errors import AccessError, ConfigError
from migrator.postgres.quoting import identifier, literal
from migrator.postgres.refusal import Refusal

#: Who asks, and whether the role is there. `SET ROLE` looks at the session's user alone.
ROLE_WHY = """SELECT session_user::text,
  EXISTS (SELECT FROM pg_roles WHERE rolname = {role})"""
#: Unknown, or not granted.
ROLE_REFUSED = frozenset({"22023", "42501", "42704"})
WITH_SET = 160000  #: from this server on a membership may lack the right to SET ROLE


def role_query(role: str) -> str:
    return ROLE_WHY.format(role=literal(role))


def unusable_role(
    role: str, refusal: Refusal, login: str | None, *, there: bool, server_version: int
) -> AccessError:
    """What a run ends with that may not SET ROLE; `login` is None where nobody could be asked."""
    member = "the login role" if login is None else identifier(login)
    option = " WITH SET TRUE" if server_version >= WITH_SET else ""
    grant = f"GRANT {identifier(role)} TO {member}{option};"
    if role == "public" or (role.startswith("pg_") and not there):
        remedy = "Correct --run-as (RUN_AS): PostgreSQL keeps this name for itself."
    elif there:
        remedy = f"As a role that may grant it: {grant}"
    else:
        remedy = (
            f"Correct --run-as (RUN_AS); or, as a role that may create roles: "
            f"CREATE ROLE {identifier(role)}; {grant}"
        )
    return AccessError(
        f"the files cannot run as {role}: {refusal.sqlstate} {refusal.message}", remedy=remedy
    )


def unkept_role(role: str, version: str) -> ConfigError:
    """A statement that shares no message with SET ROLE, over a pooler that may hand it on."""
    return ConfigError(
        f"{version} has statements that cannot share a message with SET ROLE {identifier(role)}, "
        "and a pooler may give the session to another client in between",
        remedy="Set DIRECT_URL to a URL that bypasses the pooler, or run without --run-as "
        "(RUN_AS).",
    )
