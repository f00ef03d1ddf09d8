"""What the server is asked about a refusal, where its SQLSTATE alone does not say what to do.

A timeout and a cancel by hand have one SQLSTATE, 57014. They differ in their texts alone, which may
be in any language. So the server is asked for the text that it has for a cancel: it cancels itself
inside a block that catches that, and logs nothing. Of a right that is missing, and of what is there
already, the catalog is asked: which names of the statement it has, and whose they are.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from migrator.errors import MigratorError, StoppedError
from migrator.history.place import Place, as_role
from migrator.postgres.quoting import HERE, ISOLATION, first, identifier, literal
from migrator.postgres.refusal import NO_RIGHT
from migrator.postgres.session import LostError, ServerError, Session
from migrator.refusals.diagnosis import RunState, diagnose, discreet, refused_words
from migrator.refusals.remedies import CANCELLED, THERE, WORDED, Facts
from migrator.refusals.rights_rules import Names, Space, Thing
from migrator.refusals.run_as_rules import ROLE_REFUSED, role_query, unusable_role

if TYPE_CHECKING:
    from migrator.database.database import Link
    from migrator.history.message import Message
    from migrator.postgres.refusal import Refusal
    from migrator.sql.script import Script

#: No reset before it: it must leave what is SET on the session. Each name has its schema.
CANCEL_TEXT = """/* migrator asks how a cancel reads */
DO $migrator$
DECLARE
  said pg_catalog.text;
BEGIN
  BEGIN
    PERFORM pg_catalog.pg_cancel_backend(pg_catalog.pg_backend_pid());
    PERFORM pg_catalog.pg_sleep(1);
  EXCEPTION WHEN query_canceled THEN
    GET STACKED DIAGNOSTICS said = MESSAGE_TEXT;
  END;
  PERFORM pg_catalog.set_config('migrator.cancel_text', said, true);
END
$migrator$;
SELECT pg_catalog.current_setting('migrator.cancel_text', true), pg_catalog.pg_backend_pid(),
       (SELECT reset_val::pg_catalog.int4 FROM pg_catalog.pg_settings
         WHERE name OPERATOR(pg_catalog.=) 'statement_timeout')"""

#: As CANCEL_TEXT: the search_path is what the file has left, or the login's own.
LOOK_NAMES = """/* migrator asks whose these are */ {isolation};
{path}SELECT pg_catalog.set_config('migrator.path',
  pg_catalog.array_to_json(pg_catalog.current_schemas(false))::pg_catalog.text, true);
{here};
WITH path AS (
  SELECT value AS schema, ordinality AS rank
    FROM jsonb_array_elements_text(current_setting('migrator.path')::jsonb) WITH ORDINALITY
), wanted AS (
  SELECT * FROM jsonb_to_recordset({wanted}) AS w (place integer, schema text, name text)
), seen AS (
  SELECT w.place, w.name, n.oid AS schema, path.rank
    FROM wanted AS w
    JOIN pg_namespace AS n ON w.schema IS NULL OR n.nspname = w.schema
    LEFT JOIN path ON path.schema = n.nspname
   WHERE w.schema IS NOT NULL OR path.rank IS NOT NULL
), found AS (
  SELECT seen.place, seen.rank, c.relowner AS owner, coalesce(i.indrelid, c.oid) AS relation,
         coalesce(i.indrelid, c.oid)::regclass::text AS name,
         CASE c.relkind WHEN 'v' THEN 'VIEW' WHEN 'm' THEN 'MATERIALIZED VIEW'
                        WHEN 'S' THEN 'SEQUENCE' WHEN 'f' THEN 'FOREIGN TABLE'
                        ELSE 'TABLE' END AS kind
    FROM seen JOIN pg_class AS c ON c.relname = seen.name AND c.relnamespace = seen.schema
    LEFT JOIN pg_index AS i ON i.indexrelid = c.oid
   WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S', 'i', 'I')
  UNION ALL
  SELECT seen.place, seen.rank, p.proowner, NULL, p.oid::regprocedure::text, 'ROUTINE'
    FROM seen JOIN pg_proc AS p ON p.proname = seen.name AND p.pronamespace = seen.schema
  UNION ALL
  SELECT seen.place, seen.rank, t.typowner, NULL, t.oid::regtype::text, 'TYPE'
    FROM seen JOIN pg_type AS t ON t.typname = seen.name AND t.typnamespace = seen.schema
    LEFT JOIN pg_class AS c ON c.oid = t.typrelid
   WHERE t.typrelid = 0 OR c.relkind = 'c'
  UNION ALL
  SELECT seen.place, seen.rank, o.owner, NULL, format('%I.%I', n.nspname, seen.name), o.kind
    FROM (SELECT 'COLLATION', collname, collnamespace, collowner FROM pg_collation
          UNION ALL SELECT 'CONVERSION', conname, connamespace, conowner FROM pg_conversion
         ) AS o (kind, name, space, owner)
    JOIN seen ON seen.name = o.name AND seen.schema = o.space
    JOIN pg_namespace AS n ON n.oid = o.space
  UNION ALL
  SELECT w.place, 0, o.owner, NULL, quote_ident(o.name), o.kind
    FROM (SELECT 'SCHEMA', oid, nspname, nspowner FROM pg_namespace WHERE nspname <> 'public'
          UNION ALL SELECT 'PUBLICATION', oid, pubname, pubowner FROM pg_publication
          UNION ALL SELECT 'EXTENSION', oid, extname, extowner FROM pg_extension
          UNION ALL SELECT 'FOREIGN DATA WRAPPER', oid, fdwname, fdwowner
                      FROM pg_foreign_data_wrapper
          UNION ALL SELECT 'SERVER', oid, srvname, srvowner FROM pg_foreign_server
          UNION ALL SELECT 'LANGUAGE', oid, lanname, lanowner FROM pg_language
          UNION ALL SELECT 'EVENT TRIGGER', oid, evtname, evtowner FROM pg_event_trigger
         ) AS o (kind, oid, name, owner)
    JOIN wanted AS w ON w.name = o.name AND w.schema IS NULL
   WHERE o.oid >= 16384  -- not what every new database has
)
SELECT jsonb_build_object(
  'role', quote_ident(current_user), 'database', quote_ident(current_database()),
  'things', (SELECT coalesce(jsonb_agg(jsonb_build_object(
       'place', place, 'kind', kind, 'name', found.name, 'owner', quote_ident(o.rolname),
       'superuser', o.rolsuper, 'ours', pg_has_role(o.oid, 'USAGE'),
       'member', pg_has_role(o.oid, 'MEMBER'),
       'lacks', (SELECT coalesce(jsonb_agg(p), '[]')
                   FROM unnest({privileges}::text[]) AS p
                  WHERE relation IS NOT NULL AND NOT has_table_privilege(relation, p)))
     ORDER BY place, rank), '[]') FROM found JOIN pg_roles AS o ON o.oid = found.owner),
  'spaces', (SELECT coalesce(jsonb_agg(jsonb_build_object(
       'place', place, 'name', schema::regnamespace::text,
       'usage', has_schema_privilege(schema, 'USAGE'),
       'create', has_schema_privilege(schema, 'CREATE')) ORDER BY place), '[]')
     FROM seen WHERE rank = 1 OR rank IS NULL OR place IN (
       SELECT w.place FROM wanted AS w WHERE w.schema IS NOT NULL)))"""
WANTED = "{SELECT,INSERT,UPDATE,DELETE,TRUNCATE,REFERENCES}"
WORDS = 200  #: of a statement that are asked about


def explained(
    link: Link,
    session: Session,
    script: Script,
    message: Message,
    refusal: Refusal,
    answered: int | None,
    run_state: RunState,
    general_timeout_ms: int = 0,
) -> tuple[Refusal, MigratorError]:
    """A refusal as it may be shown and stored, and the error that it is; see `diagnose`."""
    facts = Facts()
    if not refusal.raised:
        words = refused_words(message, refusal, answered) if refusal.sqlstate in WORDED else ()
        path, run_as = link.config.search_path, link.config.run_as
        facts = inquire(session, refusal, words, path, run_as)
    shown = discreet(message, refusal, answered, link.hide)
    found = diagnose(script, message, shown, answered, run_state, general_timeout_ms, facts)
    return shown, found


def check_role(session: Session, _place: Place, role: str) -> None:
    """Raise what a run would end with that may not SET ROLE; nothing stays."""
    try:
        session.send(first("/* migrator */", *as_role(role)))
    except ServerError as error:
        session.tidy()
        if error.refusal.sqlstate not in ROLE_REFUSED:
            raise
        raise explained_role(session, role, error.refusal) from error


def explained_role(session: Session, role: str, refusal: Refusal) -> MigratorError:
    """The refusal of RUN_AS; no transaction is open."""
    login, there = None, refusal.sqlstate == NO_RIGHT
    with contextlib.suppress(ServerError, LostError, StoppedError):
        [(login, there)] = session.send(first("/* migrator */", role_query(role)))
    return unusable_role(role, refusal, login, there=there, server_version=session.server_version)


def inquire(
    session: Session,
    refusal: Refusal,
    words: Names = (),
    search_path: Sequence[str] = (),
    run_as: str | None = None,
) -> Facts:
    """What decides what to do about `refusal`, which left no transaction open."""
    try:
        if refusal.sqlstate == CANCELLED:
            [(text, pid, limit_ms)] = session.send(CANCEL_TEXT)
            timed_out = bool(text) and text != refusal.message
            return Facts((), timed_out, limit_ms, pooled=pid != session.backend_pid)
        if refusal.sqlstate in {NO_RIGHT, *THERE} and words:
            found = session.send(_look(words, search_path, run_as))[0][0]
            return _facts(words, found, session.server_version)
    except (ServerError, LostError, StoppedError):  # a stop is noticed again at once
        pass
    return Facts(words)


def _look(words: Names, search_path: Sequence[str], run_as: str | None) -> str:
    wanted = [
        {"place": place, "schema": parts[-2] if len(parts) > 1 else None, "name": parts[-1]}
        for place, parts in enumerate(words[:WORDS])
    ]
    path = ", ".join(map(identifier, search_path))
    set_path = (f"SET LOCAL search_path TO {path}",) if path else ()
    return LOOK_NAMES.format(
        isolation=ISOLATION,
        path="".join(f"{line};\n" for line in (*as_role(run_as), *set_path)),
        here=HERE,
        wanted=literal(json.dumps(wanted)),
        privileges=literal(WANTED),
    )


def _facts(words: Names, found: dict[str, Any], server_version: int) -> Facts:
    things = (Thing(**{**thing, "lacks": tuple(thing["lacks"])}) for thing in found["things"])
    return Facts(
        words,
        role=found["role"],
        database=found["database"],
        things=tuple(things),
        spaces=tuple(Space(**space) for space in found["spaces"]),
        with_inherit=server_version >= 160000,
    )
