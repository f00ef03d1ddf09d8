"""What a role lacks that may not read or create the history, and how to grant it."""

from __future__ import annotations

from migrator.errors import AccessError
from migrator.history.place import Place
from migrator.postgres.quoting import first, identifier, literal
from migrator.postgres.session import LostError, ServerError, Session

#: The role at work, which ALTER ROLE or ALTER DATABASE may SET, and which right it lacks; one row,
#: whether schema and table are there or not.
LACKING = """SELECT current_user::text, CASE
  WHEN space.oid IS NULL
    THEN CASE WHEN NOT has_database_privilege(current_database(), 'CREATE') THEN 'database' END
  WHEN NOT has_schema_privilege(space.oid, 'USAGE') THEN 'schema'
  WHEN history.oid IS NULL
    THEN CASE WHEN NOT has_schema_privilege(space.oid, 'CREATE') THEN 'schema' END
  WHEN NOT pg_has_role(history.relowner, 'USAGE') THEN 'owner'
END
  FROM (SELECT {schema}::name) AS wanted (name)
  LEFT JOIN pg_namespace AS space ON space.nspname = wanted.name
  LEFT JOIN pg_class AS history
    ON history.relnamespace = space.oid AND history.relname = 'schema_migrations'"""


def no_access(what: str, place: Place, error: ServerError, session: Session) -> AccessError:
    refusal, schema = error.refusal, identifier(place.schema)
    role, lacking = _lacking(place, session)
    remedy = "Grant the role what the message names; plpgsql must be there and usable."
    if lacking == "schema":
        remedy = f"As the schema's owner: GRANT USAGE, CREATE ON SCHEMA {schema} TO {role};"
    elif lacking == "database":
        remedy = f"As a superuser or the owner: CREATE SCHEMA {schema} AUTHORIZATION {role};"
    elif lacking == "owner" and what == "create":
        remedy = f"Run as the owner of {place.history}, or as a member of that role."
    return AccessError(
        f"cannot {what} the history in schema {place.schema}: {refusal.sqlstate} {refusal.message}",
        remedy=remedy,
    )


def _lacking(place: Place, session: Session) -> tuple[str, str | None]:
    """The role, and which right it lacks; asked, as the refusal says so in words only."""
    query = LACKING.format(schema=literal(place.schema))
    try:
        session.tidy()
        [(role, lacking)] = session.send(first("/* migrator */", query))
    except (ServerError, LostError):
        return identifier(session.target.params.get("user", "the login role")), None
    return identifier(role), lacking
