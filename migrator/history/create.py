"""Creates the history's tables, and admits who may read them; docs/design.md section 3."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from migrator.errors import AccessError, ConfigError
from migrator.history.access import no_access
from migrator.history.fence import DECLARE, Access, Owners
from migrator.history.guard import opening, write
from migrator.history.misfit import is_misfit, misfit
from migrator.history.place import Limits, Place, left_alive
from migrator.history.questions import asked
from migrator.history.read import History
from migrator.history.rows import log_row
from migrator.postgres.quoting import HERE, do, first, identifier, literal
from migrator.postgres.refusal import NO_RIGHT
from migrator.postgres.session import LostError, ServerError, Session

if TYPE_CHECKING:
    from migrator.model import Migration
    from migrator.postgres.refusal import Refusal

NO_SUCH_ROLE = "42704"
#: No IF NOT EXISTS: a table that has appeared since the look is another role's, or another
#: runner's, and is looked at again. Each name has its schema, as these statements run under the
#: search_path that the event triggers of the database expect.
CREATE_HISTORY = """CREATE TABLE {history} (
    version           varchar(255) PRIMARY KEY,
    applied_at        pg_catalog.timestamptz NOT NULL DEFAULT CURRENT_TIMESTAMP,
    execution_time_ms integer,
    checksum          varchar(64),
    rollback_sql      pg_catalog.text,
    kind              pg_catalog.text NOT NULL DEFAULT 'versioned',
    run_id            pg_catalog.uuid,
    floor             boolean NOT NULL DEFAULT false
)"""
#: What an older job's table lacks.
COMPLETE = """ALTER TABLE {history}
    ADD COLUMN IF NOT EXISTS execution_time_ms integer,
    ADD COLUMN IF NOT EXISTS rollback_sql pg_catalog.text,
    ADD COLUMN IF NOT EXISTS kind pg_catalog.text NOT NULL DEFAULT 'versioned',
    ADD COLUMN IF NOT EXISTS run_id pg_catalog.uuid,
    ADD COLUMN IF NOT EXISTS floor boolean NOT NULL DEFAULT false"""
CREATE_LOG = """CREATE TABLE {log} (
    id      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at      pg_catalog.timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    run_id  pg_catalog.uuid NOT NULL,
    version varchar(255),
    event   pg_catalog.text NOT NULL,
    runner  pg_catalog.text NOT NULL,
    detail  pg_catalog.jsonb NOT NULL DEFAULT '{{}}'
)"""
SHUT = (
    "ALTER TABLE {history} ENABLE ROW LEVEL SECURITY",
    "ALTER TABLE {log} ENABLE ROW LEVEL SECURITY",
)
#: Shut to the Data API, where that is. What is to be done is found under HERE.
CLOSE_DECLARE = """  api text := (SELECT string_agg(quote_ident(rolname), ', ') FROM pg_roles
                WHERE rolname IN ('anon', 'authenticated', 'service_role'));
  visitors text := (SELECT string_agg(quote_ident(rolname), ', ') FROM pg_roles
                     WHERE rolname IN ('anon', 'authenticated'));
  commands text[] := '{}';
  command text;
  place text;
"""
CLOSE = """  IF api IS NOT NULL THEN
    commands := ARRAY[format('REVOKE ALL ON {history}, {log} FROM %s', api),
                      format('REVOKE ALL ON SEQUENCE %s FROM %s',
                             pg_get_serial_sequence({log_name}, 'id'), api)];
  END IF;
  FOREACH place IN ARRAY ARRAY[{history_name}, {log_name}] LOOP
    IF visitors IS NOT NULL AND NOT EXISTS (
         SELECT FROM pg_policy
          WHERE polrelid = place::regclass AND polname = 'migrator_closed') THEN
      commands := commands
        || format('CREATE POLICY migrator_closed ON %s TO %s USING (false)', place, visitors);
    END IF;
  END LOOP;
  SET LOCAL search_path TO DEFAULT;
  FOREACH command IN ARRAY commands LOOP
    EXECUTE command;
  END LOOP;
"""
#: For each of HISTORY_READERS.
ADMIT = (
    "GRANT USAGE ON SCHEMA {schema} TO {reader}",
    "GRANT SELECT ON {history} TO {reader}",
    "DROP POLICY IF EXISTS {policy} ON {history}",
    "CREATE POLICY {policy} ON {history} FOR SELECT TO {reader} USING (true)",
)
#: Where event triggers of others find what they name.
THEIRS = "SET LOCAL search_path TO DEFAULT"
#: The rows that are to come, in a table that an older job left.
TRIAL = """INSERT INTO {history}
    (version, execution_time_ms, checksum, rollback_sql, kind, run_id, floor)
SELECT t.version, 2147483647, t.checksum, repeat('x', t.undo_chars), t.kind, {run_id}, false
  FROM (VALUES {rows}) AS t (version, checksum, undo_chars, kind)"""
#: Event triggers that are in force, and the functions that they call.
IN_FORCE = """SELECT t.evtname::text, p.proname::text
  FROM pg_event_trigger AS t JOIN pg_proc AS p ON p.oid = t.evtfoid
 WHERE t.evtenabled <> 'D' ORDER BY t.evtname"""


def prepare_history(
    session: Session,
    place: Place,
    limits: Limits,
    history: History,
    owners: Owners = Owners.TRUSTED,
    coming: Sequence[Migration] = (),
    *,
    keep: bool = True,
) -> None:
    """Create what is missing of the tables and admit the readers, under the lock.

    What is there is asked about first, with `owners`. A table that is taken over must take the
    rows of what is `coming`, which are written and rolled back; all of it, unless it is to `keep`.

    Raises AccessError, ConfigError for a reader that does not exist, and ServerError for what
    the guard or a busy table refused.
    """
    there = (history.exists, history.log_exists)
    tables = [table for table, exists in zip(place.tables, there, strict=True) if exists]
    statements = opening(place, limits, "prepares its tables", tables=tables, owners=owners)
    statements += ["SET LOCAL client_min_messages = warning", THEIRS]  # what is skipped is meant
    statements += _making(place, history)
    line = log_row(place, None, "history.prepared", {"readers": list(history.readers_lacking)})
    # an event trigger may have put something on the new tables
    check = asked(place.tables, place.server_version, Access.WRITE, owners)
    statements += [HERE, do(check, DECLARE)]
    if history.exists and not history.complete and coming:
        statements += ["SAVEPOINT trial", _trial(place, coming), "ROLLBACK TO trial"]
    statements += [write(place, [line]), "COMMIT" if keep else "ROLLBACK", *left_alive(place)]
    try:
        session.send(";\n".join(statements))
    except ServerError as error:
        raise _meant(error, session, place, history) from error


def _making(place: Place, history: History) -> list[str]:
    """The statements that create what is missing, shut it to others and admit the readers."""
    names = {
        "history": place.history,
        "log": place.log,
        "schema": identifier(place.schema),
        "history_name": literal(place.history),
        "log_name": literal(place.log),
    }
    statements = []
    if not history.schema_exists:
        statements.append(f"CREATE SCHEMA {identifier(place.schema)}")
    if not history.exists:
        statements.append(CREATE_HISTORY.format(**names))
    elif not history.complete:
        statements.append(COMPLETE.format(**names))
    if not history.log_exists:
        statements.append(CREATE_LOG.format(**names))
    statements += [statement.format(**names) for statement in SHUT]
    statements += [HERE, do(CLOSE.format(**names), CLOSE_DECLARE), THEIRS]
    for reader in history.readers_lacking:
        names |= {
            "reader": identifier(reader),
            "policy": identifier(f"migrator_reads_{reader}"[:63]),
        }
        statements += [statement.format(**names) for statement in ADMIT]
    if history.readers_lacking:
        from migrator.history.status_view import make_status_view

        statements += [HERE, make_status_view(place, history.readers_lacking), THEIRS]
    return statements


def _trial(place: Place, coming: Sequence[Migration]) -> str:
    rows = (
        f"({literal(m.version)}, {literal(m.checksum)}, {len(m.rollback_sql or '')}, "
        f"{literal(m.kind.value)})"
        for m in coming
    )
    words = {"history": place.history, "run_id": f"{literal(place.run_id)}::uuid"}
    return TRIAL.format(rows=", ".join(rows), **words)


def _meant(error: ServerError, session: Session, place: Place, history: History) -> Exception:
    """What the refusal means for the run; itself where the guard or a busy table refused."""
    refusal = error.refusal
    if triggers := _event_triggers(refusal, session):
        disabled, enabled = (
            " ".join(f"ALTER EVENT TRIGGER {identifier(name)} {what};" for name in triggers)
            for what in ("DISABLE", "ENABLE")
        )
        return AccessError(
            f"the event trigger {', '.join(triggers)} refused what creates the history in schema "
            f"{place.schema}: {refusal.sqlstate} {refusal.message}",
            remedy=f"Correct its function; or, as a superuser: {disabled} run again, then "
            f"{enabled}",
        )
    if refusal.sqlstate == NO_SUCH_ROLE and history.readers_lacking:
        return ConfigError(f"HISTORY_READERS: {refusal.message}")
    if refusal.sqlstate == NO_RIGHT:
        return no_access("create", place, error, session)
    if history.exists and is_misfit(refusal, place):
        return misfit(place, refusal, "nothing was changed", history.columns)
    return error


def _event_triggers(refusal: Refusal, session: Session) -> list[str]:
    """Those whose functions the refusal comes from, in whatever language it is."""
    if not refusal.context or refusal.sqlstate.startswith("MG"):
        return []
    try:
        session.tidy()
        found = session.send(first("/* migrator */", IN_FORCE))
    except (ServerError, LostError):
        return []
    words = set(re.findall(r"\w+", refusal.context))
    return [name for name, function in found if function in words]
