"""The one question between two statements of a file: what this transaction holds and has changed.

It is asked inside the file's own transaction, so it sets nothing, and each name has its schema.
`pg_stat_get_xact_numscans` counts a sequential scan when it begins, on an empty table too: there
PostgreSQL itself says whether a statement reads all rows. (The view over it costs 5 ms more.)
"""

from __future__ import annotations

#: The users' own: neither the system's nor temporary ones, nor the history's tables.
OWN_RELATIONS = r"""(SELECT c.*, n.nspname FROM pg_catalog.pg_class AS c
    JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
   WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
     AND c.oid >= 16384 AND c.relkind IN ('r', 'p', 'm', 'v', 'f', 'i', 'I')
     AND c.relname !~ '^schema_migrations(_log|_cursor)?$')"""
_MOMENT = """/* migrator looks at what a statement did */
WITH ours AS MATERIALIZED {ours}
SELECT pg_catalog.json_build_object(
  'relations', (SELECT pg_catalog.json_object_agg(c.oid, pg_catalog.json_build_array(
        pg_catalog.quote_ident(c.nspname) || '.' || pg_catalog.quote_ident(c.relname),
        c.relkind, pg_catalog.pg_relation_filenode(c.oid)::pg_catalog.int8,
        i.indrelid::pg_catalog.int8, pg_catalog.pg_stat_get_xact_numscans(c.oid),
        CASE WHEN i.indexprs IS NULL AND i.indpred IS NULL THEN
          (SELECT coalesce(pg_catalog.string_agg(
                    pg_catalog.quote_ident(a.attname), ', ' ORDER BY k.at), '')
             FROM unnest(i.indkey::pg_catalog.int2[]) WITH ORDINALITY AS k (number, at)
             JOIN pg_catalog.pg_attribute AS a
               ON a.attrelid = i.indrelid AND a.attnum = k.number
            WHERE k.at <= i.indnkeyatts) ELSE '' END,
        coalesce(i.indisunique, false)))
      FROM ours AS c LEFT JOIN pg_catalog.pg_index AS i ON i.indexrelid = c.oid),
  'columns', (SELECT pg_catalog.json_object_agg(found.oid, found.columns) FROM (
      SELECT a.attrelid AS oid, pg_catalog.json_object_agg(a.attnum, pg_catalog.json_build_array(
          a.attname, a.attisdropped,
          a.attnotnull AND NOT a.atthasdef AND a.attidentity = '', a.attnotnull,
          pg_catalog.format_type(a.atttypid, a.atttypmod))) AS columns
        FROM pg_catalog.pg_attribute AS a JOIN ours AS c ON c.oid = a.attrelid
       WHERE a.attnum > 0 AND c.relkind NOT IN ('i', 'I') GROUP BY 1) AS found),
  'constraints', (SELECT pg_catalog.json_object_agg(k.oid, pg_catalog.json_build_array(
        k.conrelid::pg_catalog.int8, pg_catalog.quote_ident(k.conname), k.contype, k.convalidated,
        (SELECT coalesce(pg_catalog.string_agg(
                  pg_catalog.quote_ident(a.attname), ', ' ORDER BY o.at), '')
           FROM unnest(k.conkey) WITH ORDINALITY AS o (number, at)
           JOIN pg_catalog.pg_attribute AS a ON a.attrelid = k.conrelid AND a.attnum = o.number),
        CASE k.contype WHEN 'f' THEN pg_catalog.pg_get_constraintdef(k.oid) ELSE '' END,
        k.confrelid::pg_catalog.int8))
      FROM pg_catalog.pg_constraint AS k JOIN ours AS c ON c.oid = k.conrelid
     WHERE k.conparentid = 0 AND k.contype <> 't'),
  'labels', (SELECT pg_catalog.json_object_agg(e.oid, pg_catalog.json_build_array(
        pg_catalog.quote_ident(n.nspname) || '.' || pg_catalog.quote_ident(t.typname),
        e.enumlabel))
      FROM pg_catalog.pg_enum AS e JOIN pg_catalog.pg_type AS t ON t.oid = e.enumtypid
      JOIN pg_catalog.pg_namespace AS n ON n.oid = t.typnamespace),
  'locks', (SELECT pg_catalog.json_agg(pg_catalog.json_build_array(
        l.relation::pg_catalog.int8, l.mode))
      FROM pg_catalog.pg_locks AS l
     WHERE l.pid = pg_catalog.pg_backend_pid() AND l.locktype = 'relation'
       AND l.relation >= 16384),
  'counted', pg_catalog.current_setting('track_counts')::pg_catalog.bool)"""
#: What is asked once, before and after a file: foreign keys without an index that begins with
#: their columns, tables without row level security, and what the roles of a Data API may do.
_STATE = """/* migrator looks at what a file has made */
WITH ours AS MATERIALIZED {ours}
SELECT pg_catalog.json_build_object(
  'keys', (SELECT pg_catalog.json_object_agg(k.oid, pg_catalog.json_build_array(
        k.conrelid::pg_catalog.int8,
        (SELECT pg_catalog.string_agg(pg_catalog.quote_ident(a.attname), ', ' ORDER BY o.at)
           FROM unnest(k.conkey) WITH ORDINALITY AS o (number, at)
           JOIN pg_catalog.pg_attribute AS a ON a.attrelid = k.conrelid AND a.attnum = o.number)))
      FROM pg_catalog.pg_constraint AS k JOIN ours AS c ON c.oid = k.conrelid
     WHERE k.conparentid = 0 AND k.contype = 'f'
       AND NOT EXISTS (SELECT FROM pg_catalog.pg_index AS i
        WHERE i.indrelid = k.conrelid AND i.indisvalid AND i.indpred IS NULL
          AND (SELECT pg_catalog.array_agg(x.number) FROM unnest(i.indkey::pg_catalog.int2[])
                 WITH ORDINALITY AS x (number, at)
                WHERE x.at <= pg_catalog.cardinality(k.conkey)) @> k.conkey)),
  'tables', (SELECT pg_catalog.json_object_agg(c.oid, pg_catalog.json_build_array(
        pg_catalog.quote_ident(c.nspname) || '.' || pg_catalog.quote_ident(c.relname),
        c.relrowsecurity,
        (SELECT coalesce(pg_catalog.json_agg(DISTINCT r.rolname), '[]')
           FROM pg_catalog.aclexplode(c.relacl) AS g
           JOIN pg_catalog.pg_roles AS r ON r.oid = g.grantee
          WHERE r.rolname IN ('anon', 'authenticated', 'service_role'))))
      FROM ours AS c WHERE c.relkind IN ('r', 'p')))"""
#: What this transaction has touched is locked by it until its end; a schema's name is not.
TOUCHED = """ AND c.oid IN (SELECT l.relation FROM pg_catalog.pg_locks AS l
     WHERE l.pid = pg_catalog.pg_backend_pid() AND l.locktype = 'relation'))"""
CHANGES_QUERY = _MOMENT.replace("{ours}", OWN_RELATIONS.removesuffix(")") + TOUCHED)
MOMENT_QUERY, STATE_QUERY = (text.replace("{ours}", OWN_RELATIONS) for text in (_MOMENT, _STATE))
