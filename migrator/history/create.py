"""Creates the history's tables, and admits who may read them; docs/design.md section 3."""

from __future__ import annotations

from migrator.errors import ConfigError
from migrator.history.access import no_access
from migrator.history.fence import DECLARE, Access, Owners
from migrator.history.flight import opening, write
from migrator.history.place import Limits, Place
from migrator.history.questions import asked
from migrator.history.read import History
from migrator.history.rows import log_row
from migrator.postgres.quoting import do, identifier, literal
from migrator.postgres.session import ServerError, Session

NO_RIGHT, NO_SUCH_ROLE = "42501", "42704"
#: No IF NOT EXISTS: a table that has appeared since the look is another role's, or another
#: runner's, and is looked at again.
CREATE = """CREATE TABLE {history} (
    version           varchar(255) PRIMARY KEY,
    applied_at        timestamptz NOT NULL DEFAULT CURRENT_TIMESTAMP,
    execution_time_ms integer,
    checksum          varchar(64),
    rollback_sql      text,
    kind              text NOT NULL DEFAULT 'versioned',
    run_id            uuid,
    floor             boolean NOT NULL DEFAULT false
)"""
#: What an older job's table lacks.
COMPLETE = """ALTER TABLE {history}
    ADD COLUMN IF NOT EXISTS execution_time_ms integer,
    ADD COLUMN IF NOT EXISTS rollback_sql text,
    ADD COLUMN IF NOT EXISTS kind text NOT NULL DEFAULT 'versioned',
    ADD COLUMN IF NOT EXISTS run_id uuid,
    ADD COLUMN IF NOT EXISTS floor boolean NOT NULL DEFAULT false"""
CREATE_LOG = """CREATE TABLE {log} (
    id      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    run_id  uuid NOT NULL,
    version varchar(255),
    event   text NOT NULL,
    runner  text NOT NULL,
    detail  jsonb NOT NULL DEFAULT '{{}}'
)"""
#: Shut to the Data API.
CLOSE = (
    "ALTER TABLE {history} ENABLE ROW LEVEL SECURITY",
    "ALTER TABLE {log} ENABLE ROW LEVEL SECURITY",
    """DO LANGUAGE plpgsql $migrator$
DECLARE
  api text := (SELECT string_agg(quote_ident(rolname), ', ') FROM pg_roles
                WHERE rolname IN ('anon', 'authenticated', 'service_role'));
  visitors text := (SELECT string_agg(quote_ident(rolname), ', ') FROM pg_roles
                     WHERE rolname IN ('anon', 'authenticated'));
  place text;
BEGIN
  IF api IS NOT NULL THEN
    EXECUTE format('REVOKE ALL ON {history}, {log} FROM %s', api);
    EXECUTE format('REVOKE ALL ON SEQUENCE %s FROM %s',
                   pg_get_serial_sequence({log_name}, 'id'), api);
  END IF;
  FOREACH place IN ARRAY ARRAY[{history_name}, {log_name}] LOOP
    IF visitors IS NOT NULL AND NOT EXISTS (
         SELECT FROM pg_policy
          WHERE polrelid = place::regclass AND polname = 'migrator_closed') THEN
      EXECUTE format('CREATE POLICY migrator_closed ON %s TO %s USING (false)', place, visitors);
    END IF;
  END LOOP;
END $migrator$""",
)
#: For each of HISTORY_READERS.
ADMIT = (
    "GRANT USAGE ON SCHEMA {schema} TO {reader}",
    "GRANT SELECT ON {history} TO {reader}",
    "DROP POLICY IF EXISTS {policy} ON {history}",
    "CREATE POLICY {policy} ON {history} FOR SELECT TO {reader} USING (true)",
)


def prepare_history(
    session: Session,
    place: Place,
    limits: Limits,
    history: History,
    owners: Owners = Owners.TRUSTED,
) -> None:
    """Create what is missing of the tables and admit the readers, under the lock.

    What is there is asked about first, with `owners`.

    Raises AccessError, ConfigError for a reader that does not exist, and ServerError for what
    the guard or a busy table refused.
    """
    names = {
        "history": place.history,
        "log": place.log,
        "schema": identifier(place.schema),
        "history_name": literal(place.history),
        "log_name": literal(place.log),
    }
    there = (history.exists, history.log_exists)
    tables = [table for table, exists in zip(place.tables, there, strict=True) if exists]
    statements = opening(place, limits, "prepares its tables", tables=tables, owners=owners)
    statements.append("SET LOCAL client_min_messages = warning")  # what is skipped is meant
    if not history.schema_exists:
        statements.append(f"CREATE SCHEMA {identifier(place.schema)}")
    if not history.exists:
        statements.append(CREATE.format(**names))
    elif not history.complete:
        statements.append(COMPLETE.format(**names))
    if not history.log_exists:
        statements.append(CREATE_LOG.format(**names))
    statements += [statement.format(**names) for statement in CLOSE]
    for reader in history.readers_lacking:
        names |= {
            "reader": identifier(reader),
            "policy": identifier(f"migrator_reads_{reader}"[:63]),
        }
        statements += [statement.format(**names) for statement in ADMIT]
    line = log_row(place, None, "history.prepared", {"readers": list(history.readers_lacking)})
    # an event trigger may have put something on the new tables
    check = asked(place.tables, place.server_version, Access.WRITE, owners)
    statements += [do(check, DECLARE), write(place, [line]), "COMMIT"]
    try:
        session.send(";\n".join(statements))
    except ServerError as error:
        if error.refusal.sqlstate == NO_SUCH_ROLE and history.readers_lacking:
            raise ConfigError(f"HISTORY_READERS: {error.refusal.message}") from error
        if error.refusal.sqlstate == NO_RIGHT:
            raise no_access("create", place, error, session) from error
        raise
