-- Removes what 001_initial_schema created, and WITH IT ALL ROWS of suppliers, upload_batches,
-- products and images.
--
-- Tables, columns, enums, the function and the extension that were there before, left by older
-- scripts, carry no mark of this migration and stay with their rows. So do the keys, checks,
-- indexes, triggers and defaults that such a table was given: they break nothing, and the migration
-- finds them when it runs again. Row level security is off again where the migration turned it on;
-- the grants of PUBLIC, anon and authenticated that it revoked there are not given back. An enum,
-- the function or the extension that something else has come to need stays as well.

DO $tables$
DECLARE
    created record;
BEGIN
    FOR created IN
        SELECT c.oid::regclass AS name
          FROM unnest(ARRAY['images', 'products', 'upload_batches', 'suppliers'])
               WITH ORDINALITY AS t (name, place)
          JOIN pg_catalog.pg_class AS c
            ON c.relname = t.name AND c.relnamespace = 'public'::regnamespace
         WHERE obj_description(c.oid, 'pg_class') LIKE '%Created by 001_initial_schema'
         ORDER BY t.place
    LOOP
        EXECUTE format('DROP TABLE %s', created.name);
    END LOOP;
    FOR created IN
        SELECT c.oid::regclass AS name, a.attname AS col
          FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_attribute AS a ON a.attrelid = c.oid
         WHERE c.relname IN ('images', 'products', 'upload_batches', 'suppliers')
           AND c.relnamespace = 'public'::regnamespace AND NOT a.attisdropped
           AND col_description(c.oid, a.attnum) LIKE '%Created by 001_initial_schema'
    LOOP
        EXECUTE format('ALTER TABLE %s DROP COLUMN %I', created.name, created.col);
    END LOOP;
END
$tables$;


-- Of an older table that the migration closed.
DO $access$
DECLARE
    closed record;
BEGIN
    FOR closed IN
        SELECT p.polrelid::regclass AS name,
               obj_description(p.oid, 'pg_policy') LIKE 'Row level security was off.%'
               AND NOT EXISTS (SELECT FROM pg_catalog.pg_policy AS other
                                WHERE other.polrelid = p.polrelid AND other.oid <> p.oid)
               AS was_open
          FROM pg_catalog.pg_policy AS p JOIN pg_catalog.pg_class AS c ON c.oid = p.polrelid
         WHERE c.relname IN ('images', 'products', 'upload_batches', 'suppliers')
           AND c.relnamespace = 'public'::regnamespace AND p.polname = 'no_data_api'
           AND obj_description(p.oid, 'pg_policy') LIKE '%Created by 001_initial_schema'
    LOOP
        EXECUTE format('DROP POLICY no_data_api ON %s', closed.name);
        IF closed.was_open THEN
            EXECUTE format('ALTER TABLE %s DISABLE ROW LEVEL SECURITY', closed.name);
        END IF;
    END LOOP;
END
$access$;


DO $rest$
DECLARE
    drop_created text;
BEGIN
    FOR drop_created IN
        SELECT 'DROP FUNCTION public.update_updated_at_column()'
         WHERE obj_description(to_regprocedure('public.update_updated_at_column()'), 'pg_proc')
               LIKE '%Created by 001_initial_schema'
        UNION ALL
        SELECT format('DROP TYPE public.%I', t.typname)
          FROM pg_catalog.pg_type AS t
         WHERE t.typnamespace = 'public'::regnamespace
           AND obj_description(t.oid, 'pg_type') LIKE '%Created by 001_initial_schema'
        UNION ALL
        SELECT 'DROP EXTENSION "uuid-ossp"'
          FROM pg_catalog.pg_extension AS e
         WHERE e.extname = 'uuid-ossp'
           AND obj_description(e.oid, 'pg_extension') LIKE '%Created by 001_initial_schema'
    LOOP
        BEGIN
            EXECUTE drop_created;
        EXCEPTION WHEN dependent_objects_still_exist THEN
            RAISE NOTICE '% was left out: %', drop_created, SQLERRM;
        END;
    END LOOP;
END
$rest$;
