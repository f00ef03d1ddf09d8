"""Other histories of ours in the same database, which a first run looks at.

A changed MIGRATIONS_SCHEMA, or a typo in it, makes an empty history, and all files would run again.
Asked only where our own history is empty, in the message that reads it. Of another history nothing
is evaluated before `fence.question` has its answer under a lock. A database may hold thousands of
them: they are looked at in groups, and the locks of a group are let go before the next one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from migrator.history.fence import Access
from migrator.history.place import Place
from migrator.history.questions import question_of
from migrator.postgres.quoting import do, literal

LET_GO = "MG010"  #: SQLSTATE of our own: a subtransaction ends, and with it its locks
GROUP = 100  #: locks at a time, of the 64 for each of 100 connections that a server has room for
LOOK_DECLARE = """  place text;
  places text[];
  locked text[];
  doubts jsonb;
  rows jsonb;
  histories jsonb := '{}';
"""
#: Equal histories, such as those of tenants, are handed on once. What has gone meanwhile, or may
#: not be read, is none.
LOOK_ROUND = """  FOR places IN
    SELECT array_agg(schema ORDER BY schema) FROM (
      SELECT n.nspname::text AS schema,
             (row_number() OVER (ORDER BY n.nspname) - 1) / {group} AS part
        FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
       WHERE c.relname = 'schema_migrations' AND c.relkind IN ('r', 'p') AND n.nspname <> {schema}
         AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
         AND has_schema_privilege(n.oid, 'USAGE') AND has_table_privilege(c.oid, 'SELECT')
         AND (SELECT count(*) = 3 FROM pg_attribute AS a
               WHERE a.attrelid = c.oid AND a.attname IN ('version', 'applied_at', 'checksum'))
    ) AS found GROUP BY part
  LOOP
    BEGIN
      locked := '{{}}';
      FOREACH place IN ARRAY places LOOP
        BEGIN
          EXECUTE format('LOCK TABLE %I.schema_migrations IN ACCESS SHARE MODE', place);
          locked := locked || place;
        EXCEPTION WHEN {gone} THEN NULL;
        END;
      END LOOP;
      doubts := ({question})->'code';
      FOREACH place IN ARRAY locked LOOP
        CONTINUE WHEN doubts @> jsonb_build_array(
          jsonb_build_object('table', place || '.schema_migrations'));
        BEGIN
          EXECUTE format('SELECT jsonb_agg(jsonb_build_array(h.version::text, h.checksum::text)
                            ORDER BY h.version::text) FROM %I.schema_migrations AS h', place)
            INTO rows;
          IF rows IS NOT NULL THEN
            histories := jsonb_build_object(encode(sha256(convert_to(rows::text, 'UTF8')), 'hex'),
                                            jsonb_build_array(place, rows)) || histories;
          END IF;
        EXCEPTION WHEN {gone} THEN NULL;
        END;
      END LOOP;
      RAISE EXCEPTION USING ERRCODE = '{let_go}', MESSAGE = 'their locks are let go';
    EXCEPTION WHEN SQLSTATE '{let_go}' THEN NULL;
    END;
  END LOOP;
  PERFORM set_config('migrator.others', histories::text, true);
"""
GONE = "undefined_table OR undefined_column OR invalid_schema_name OR insufficient_privilege"


def look_for_others(place: Place) -> str:
    """Statements of a block that put into the setting migrator.others what `others` reads."""
    names = "SELECT t.schema::name, 'schema_migrations'::name FROM unnest(locked) AS t (schema)"
    block = LOOK_ROUND.format(
        schema=literal(place.schema),
        group=GROUP,
        gone=GONE,
        question=question_of(names, place.server_version, Access.READ),
        let_go=LET_GO,
    )
    # a string: what is in a block is parsed each time
    return f"  EXECUTE {literal(do(block, LOOK_DECLARE))};\n"


def others(answer: Mapping[str, Sequence[Any]]) -> dict[str, dict[str, str | None]]:
    """The checksum of each version that another history holds, by its schema."""
    return {schema: dict(rows) for schema, rows in answer.values()}
