"""A view of how things are, for monitoring: who reads the history may read it, and it has no texts.

It is made with the history's tables where HISTORY_READERS names a role, and no run reads it.
"""

from __future__ import annotations

from collections.abc import Sequence

from migrator.history.place import Place
from migrator.postgres.quoting import do, identifier, literal

VIEW_NAME = "schema_migrations_status"
CREATE_VIEW = """CREATE VIEW {view} AS SELECT
    newest.run_id AS last_run_id,
    newest.at AS last_run_at,
    (SELECT max(l.at) FROM {log} AS l WHERE l.event IN ('applied', 'rolled_back'))
      AS last_success_at,
    failed.at AS last_failure_at,
    failed.version AS last_failure_version,
    failed.detail ->> 'sqlstate' AS last_failure_code,
    coalesce(failed.id > (SELECT max(l.id) FROM {log} AS l
                           WHERE l.event IN ('applied', 'rolled_back')), failed.id IS NOT NULL)
      AS failing,
    (SELECT count(*) FROM {history}) AS applied,
    (SELECT h.version FROM {history} AS h WHERE h.kind <> 'repeatable'
      ORDER BY substring(h.version FROM '^[0-9]+')::numeric DESC NULLS LAST, h.version DESC LIMIT 1)
      AS current_version,
    (SELECT (l.detail ->> 'pending')::integer FROM {log} AS l
      WHERE l.event IN ('applied', 'failed') ORDER BY l.id DESC LIMIT 1) AS pending
  FROM (SELECT) AS one
  LEFT JOIN LATERAL (SELECT l.* FROM {log} AS l ORDER BY l.id DESC LIMIT 1) AS newest ON true
  LEFT JOIN LATERAL (SELECT l.* FROM {log} AS l WHERE l.event IN ('failed', 'rollback_failed')
                      ORDER BY l.id DESC LIMIT 1) AS failed ON true"""
#: What an ALTER DEFAULT PRIVILEGES may have given away goes again. A right that is missing, or
#: another's object of that name, costs the view and not the run.
_MAKE = """  IF to_regclass({name}) IS NULL THEN
    EXECUTE {create};
    EXECUTE format('REVOKE ALL ON {quoted} FROM PUBLIC%s', (
      SELECT string_agg(', ' || quote_ident(rolname), '') FROM pg_roles
       WHERE rolname IN ('anon', 'authenticated', 'service_role')));
  END IF;
{grants}EXCEPTION WHEN OTHERS THEN
  RAISE WARNING 'migrator: % was not made or not granted to HISTORY_READERS: %',
    {name}, SQLERRM;
"""
#: Of a role `r` that is to read: whether the view is missing to it, and this role may change that.
READER_LACKS_VIEW = """(CASE WHEN to_regclass({name}) IS NULL
  THEN has_schema_privilege(to_regnamespace({space})::oid, 'CREATE')
  ELSE NOT has_table_privilege(r.oid, to_regclass({name}), 'SELECT')
   AND EXISTS (SELECT FROM pg_class AS v WHERE v.oid = to_regclass({name}) AND v.relkind = 'v'
                  AND pg_has_role(v.relowner, 'USAGE')) END)"""


def status_view(place: Place) -> str:
    """Its name, quoted and with its schema."""
    return f"{identifier(place.schema)}.{VIEW_NAME}"


def make_status_view(place: Place, readers: Sequence[str]) -> str:
    """A block that makes what is missing of it, under HERE; never fails."""
    view = status_view(place)
    create = CREATE_VIEW.format(view=view, history=place.history, log=place.log)
    grants = (f"GRANT SELECT ON {view} TO {identifier(reader)}" for reader in readers)
    return do(
        _MAKE.format(
            name=literal(view),
            create=literal(create),
            quoted=view.replace("'", "''").replace("%", "%%"),
            grants="".join(f"  EXECUTE {literal(grant)};\n" for grant in grants),
        )
    )


def reader_lacks_view(place: Place) -> str:
    """An expression over a row of pg_roles, `r`."""
    name, space = literal(status_view(place)), literal(identifier(place.schema))
    return READER_LACKS_VIEW.format(name=name, space=space)
