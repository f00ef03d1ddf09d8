-- Suppliers send invoices (pdf, csv, xlsx); each upload is a batch; a batch becomes products, which
-- are scraped, translated and given images.
--
-- Runs on an empty database, and on one that the old, untracked scripts left whole or halfway: each
-- block states what must be there and adds what is missing. No value of an existing row is changed,
-- and no type of an existing column. Rows that break a rule stop the migration with their number
-- and the remedy. The tables, enums and columns that this file creates carry its name in a comment
-- (COMMENT ON), by which the down file tells them from older ones.
--
-- Everything is in `public`, whatever the search_path. Ids default to gen_random_uuid(), which is
-- part of PostgreSQL; uuid-ossp is here for the service and for older defaults, which are kept.

DO $extension$
BEGIN
    IF EXISTS (SELECT FROM pg_catalog.pg_extension WHERE extname = 'uuid-ossp') THEN
        RETURN;
    END IF;
    -- Supabase keeps extensions out of the schema that its Data API serves
    IF EXISTS (SELECT FROM pg_catalog.pg_namespace WHERE nspname = 'extensions') THEN
        CREATE EXTENSION "uuid-ossp" WITH SCHEMA extensions;
    ELSE
        CREATE EXTENSION "uuid-ossp" WITH SCHEMA public;
    END IF;
    -- on Supabase the platform becomes its owner, and only an owner may comment
    IF (SELECT pg_catalog.pg_has_role(extowner, 'USAGE')
          FROM pg_catalog.pg_extension WHERE extname = 'uuid-ossp') THEN
        COMMENT ON EXTENSION "uuid-ossp" IS 'Created by 001_initial_schema';
    END IF;
END
$extension$;


-- A label that is added to an enum in use cannot be used before this transaction has ended; an enum
-- that nothing uses is made anew, and so is whole at once.
DO $enums$
DECLARE
    wanted record;
    existing record;
    label text;
    previous text;
    definition text;
BEGIN
    FOR wanted IN
        SELECT * FROM (VALUES
            ('file_type', ARRAY['pdf', 'csv', 'xlsx', 'manual']),
            ('batch_status', ARRAY['pending', 'processing', 'completed', 'failed', 'cancelled']),
            ('product_status',
             ARRAY['draft', 'processing', 'review', 'ready', 'published', 'failed']),
            ('image_type', ARRAY['main', 'gallery', 'detail', 'packaging']),
            ('processing_status', ARRAY['pending', 'processing', 'completed', 'failed', 'skipped'])
        ) AS enums (name, labels)
    LOOP
        definition := format(
            'CREATE TYPE public.%I AS ENUM (%s)', wanted.name,
            (SELECT string_agg(quote_literal(u.label), ', ' ORDER BY u.place)
               FROM unnest(wanted.labels) WITH ORDINALITY AS u (label, place))
        );
        SELECT t.oid, t.typtype,
               ARRAY(SELECT e.enumlabel::text FROM pg_catalog.pg_enum AS e
                      WHERE e.enumtypid = t.oid ORDER BY e.enumsortorder) AS labels
          INTO existing
          FROM pg_catalog.pg_type AS t
         WHERE t.typname = wanted.name AND t.typnamespace = 'public'::regnamespace;
        IF NOT FOUND THEN
            EXECUTE definition;
            EXECUTE format('COMMENT ON TYPE public.%I IS %L',
                           wanted.name, 'Created by 001_initial_schema');
        ELSIF existing.typtype <> 'e' THEN
            RAISE EXCEPTION 'public.% exists and is no enum', wanted.name
                USING ERRCODE = 'wrong_object_type',
                      HINT = 'Rename it, then run the migration again.';
        ELSIF NOT existing.labels @> wanted.labels THEN
            BEGIN
                EXECUTE format('DROP TYPE public.%I', wanted.name);
                EXECUTE definition;
            EXCEPTION WHEN dependent_objects_still_exist THEN
                previous := NULL;
                FOREACH label IN ARRAY wanted.labels LOOP
                    IF label <> ALL (existing.labels) THEN
                        EXECUTE format('ALTER TYPE public.%I ADD VALUE %L', wanted.name, label)
                            || coalesce(' AFTER ' || quote_literal(previous),
                                        ' BEFORE ' || quote_literal(existing.labels[1]), '');
                    END IF;
                    previous := label;
                END LOOP;
            END;
        END IF;
    END LOOP;
END
$enums$;


DO $tables$
DECLARE
    wanted record;
BEGIN
    FOR wanted IN
        SELECT * FROM (VALUES
            ('suppliers', 'Whose invoices become products, and how to scrape their shop.'),
            ('upload_batches', 'One uploaded file, or one list entered by hand.'),
            ('products', 'One line of a batch: as supplied, as scraped, as translated to Czech.'),
            ('images', 'The images of a product, in sequence for each type.')
        ) AS tables (name, meaning)
    LOOP
        IF to_regclass(format('public.%I', wanted.name)) IS NULL THEN
            EXECUTE format('CREATE TABLE public.%I ()', wanted.name);
            EXECUTE format('COMMENT ON TABLE public.%I IS %L',
                           wanted.name, wanted.meaning || ' Created by 001_initial_schema');
        END IF;
    END LOOP;
END
$tables$;


DO $columns$
DECLARE
    wanted record;
    existing record;
    missing boolean;
    change text;
    empty_rows bigint;
BEGIN
    FOR wanted IN
        SELECT c.*, format('public.%I', c.tab)::regclass AS relation,
               coalesce(obj_description(format('public.%I', c.tab)::regclass, 'pg_class')
                        LIKE '%Created by 001_initial_schema', false) AS ours
          FROM (VALUES
            -- table, column, type, default, must have a value
            ('suppliers', 'id', 'uuid', 'gen_random_uuid()', true),
            ('suppliers', 'code', 'text', NULL, true),
            ('suppliers', 'name', 'text', NULL, true),
            ('suppliers', 'website_url', 'text', NULL, false),
            ('suppliers', 'scraping_config', 'jsonb', $$'{}'$$, true),
            ('suppliers', 'is_active', 'boolean', 'true', true),
            ('suppliers', 'created_at', 'timestamptz', 'now()', true),
            ('suppliers', 'updated_at', 'timestamptz', 'now()', true),

            ('upload_batches', 'id', 'uuid', 'gen_random_uuid()', true),
            ('upload_batches', 'supplier_id', 'uuid', NULL, true),
            ('upload_batches', 'file_name', 'text', NULL, false),  -- a list by hand has no file
            ('upload_batches', 'file_type', 'public.file_type', NULL, true),
            ('upload_batches', 'file_size_bytes', 'bigint', NULL, false),
            ('upload_batches', 'status', 'public.batch_status', $$'pending'$$, true),
            ('upload_batches', 'total_products', 'integer', '0', true),
            ('upload_batches', 'processed_products', 'integer', '0', true),
            ('upload_batches', 'failed_products', 'integer', '0', true),
            ('upload_batches', 'error_message', 'text', NULL, false),
            ('upload_batches', 'created_by', 'uuid', NULL, false),
            ('upload_batches', 'started_at', 'timestamptz', NULL, false),
            ('upload_batches', 'completed_at', 'timestamptz', NULL, false),
            ('upload_batches', 'created_at', 'timestamptz', 'now()', true),
            ('upload_batches', 'updated_at', 'timestamptz', 'now()', true),

            ('products', 'id', 'uuid', 'gen_random_uuid()', true),
            ('products', 'batch_id', 'uuid', NULL, true),
            ('products', 'supplier_id', 'uuid', NULL, true),
            ('products', 'sku', 'text', NULL, true),
            ('products', 'name', 'text', NULL, true),  -- as the invoice has it
            ('products', 'quantity', 'integer', '1', true),
            ('products', 'supplier_price', 'numeric(12,2)', NULL, false),  -- of one piece
            ('products', 'currency', 'text', $$'USD'$$, true),
            ('products', 'scraped_name', 'text', NULL, false),
            ('products', 'scraped_description', 'text', NULL, false),
            ('products', 'scraped_url', 'text', NULL, false),
            ('products', 'scraped_at', 'timestamptz', NULL, false),
            ('products', 'translated_name', 'text', NULL, false),
            ('products', 'translated_description', 'text', NULL, false),
            ('products', 'translated_at', 'timestamptz', NULL, false),
            ('products', 'scraping_confidence', 'integer', NULL, false),
            ('products', 'quality_score', 'integer', NULL, false),
            ('products', 'status', 'public.product_status', $$'draft'$$, true),
            ('products', 'metadata', 'jsonb', $$'{}'$$, true),
            ('products', 'created_at', 'timestamptz', 'now()', true),
            ('products', 'updated_at', 'timestamptz', 'now()', true),

            ('images', 'id', 'uuid', 'gen_random_uuid()', true),
            ('images', 'product_id', 'uuid', NULL, true),
            ('images', 'image_type', 'public.image_type', $$'gallery'$$, true),
            ('images', 'sequence_number', 'integer', '1', true),
            ('images', 'source_url', 'text', NULL, true),
            ('images', 'storage_path', 'text', NULL, false),
            ('images', 'width_px', 'integer', NULL, false),
            ('images', 'height_px', 'integer', NULL, false),
            ('images', 'file_size_bytes', 'bigint', NULL, false),
            ('images', 'processing_status', 'public.processing_status', $$'pending'$$, true),
            ('images', 'error_message', 'text', NULL, false),
            ('images', 'created_at', 'timestamptz', 'now()', true),
            ('images', 'updated_at', 'timestamptz', 'now()', true)
        ) AS c (tab, col, type, preset, required)
    LOOP
        SELECT a.attnotnull, a.atthasdef, found.oid::regtype AS type,
               found.typcategory <> meant.typcategory
               OR meant.typtype = 'e' AND found.oid <> meant.oid AS differs
          INTO existing
          FROM pg_catalog.pg_attribute AS a
          JOIN pg_catalog.pg_type AS found ON found.oid = a.atttypid
          JOIN pg_catalog.pg_type AS meant ON meant.oid = wanted.type::regtype
         WHERE a.attrelid = wanted.relation AND a.attname = wanted.col AND NOT a.attisdropped;
        missing := NOT FOUND;
        IF existing.differs THEN
            RAISE EXCEPTION 'public.%.% is of type % where % is needed',
                wanted.tab, wanted.col, existing.type, wanted.type
                USING ERRCODE = 'datatype_mismatch', HINT = format(
                    'Change it with ALTER TABLE public.%I ALTER COLUMN %I TYPE %s USING …, then '
                    'run the migration again.', wanted.tab, wanted.col, wanted.type);
        END IF;

        change := CASE
            WHEN missing THEN format('ADD COLUMN %I %s', wanted.col, wanted.type)
                || coalesce(' DEFAULT ' || wanted.preset, '')
            WHEN NOT existing.atthasdef AND wanted.preset IS NOT NULL
            THEN format('ALTER COLUMN %I SET DEFAULT %s', wanted.col, wanted.preset)
        END;
        IF change IS NOT NULL THEN
            BEGIN
                EXECUTE format('ALTER TABLE %s ', wanted.relation) || change;
            EXCEPTION WHEN unsafe_new_enum_value_usage THEN
                RAISE EXCEPTION 'The default of public.%.% is %, a label that % did not have',
                    wanted.tab, wanted.col, wanted.preset, wanted.type
                    USING ERRCODE = 'unsafe_new_enum_value_usage', HINT = format(
                        'A new label can be used only after a commit: run ALTER TYPE %s ADD VALUE '
                        '%s by itself, then run the migration again.', wanted.type, wanted.preset);
            END;
        END IF;
        IF missing AND NOT wanted.ours THEN
            EXECUTE format('COMMENT ON COLUMN %s.%I IS %L',
                           wanted.relation, wanted.col, 'Created by 001_initial_schema');
        END IF;

        IF wanted.required AND existing.attnotnull IS NOT TRUE THEN
            EXECUTE format('SELECT count(*) FROM %s WHERE %I IS NULL', wanted.relation, wanted.col)
               INTO empty_rows;
            IF empty_rows > 0 THEN
                RAISE EXCEPTION 'public.%.% must have a value and has none in % rows',
                    wanted.tab, wanted.col, empty_rows
                    USING ERRCODE = 'not_null_violation', HINT = format(
                        'Give them one (%s), then run the migration again.',
                        CASE WHEN missing
                             THEN format('ALTER TABLE public.%I ADD COLUMN %I %s; UPDATE …',
                                         wanted.tab, wanted.col, wanted.type)
                             ELSE format('UPDATE public.%I SET %I = … WHERE %2$I IS NULL',
                                         wanted.tab, wanted.col) END);
            END IF;
            EXECUTE format('ALTER TABLE %s ALTER COLUMN %I SET NOT NULL',
                           wanted.relation, wanted.col);
        END IF;
    END LOOP;
END
$columns$;


-- A key is known by its columns, whatever its name.
DO $keys$
DECLARE
    wanted record;
    leftover regclass;
    values_twice bigint;
    rows_twice bigint;
BEGIN
    FOR wanted IN
        SELECT k.*, format('public.%I', k.tab)::regclass AS relation,
               array_to_string(k.columns, ', ') AS list
          FROM (VALUES
            ('suppliers', 'suppliers_pkey', 'PRIMARY KEY', ARRAY['id']),
            ('suppliers', 'suppliers_code_key', 'UNIQUE', ARRAY['code']),
            ('upload_batches', 'upload_batches_pkey', 'PRIMARY KEY', ARRAY['id']),
            ('products', 'products_pkey', 'PRIMARY KEY', ARRAY['id']),
            ('products', 'products_batch_id_sku_key', 'UNIQUE', ARRAY['batch_id', 'sku']),
            ('images', 'images_pkey', 'PRIMARY KEY', ARRAY['id']),
            ('images', 'images_product_id_image_type_sequence_number_key', 'UNIQUE',
             ARRAY['product_id', 'image_type', 'sequence_number'])
        ) AS k (tab, name, kind, columns)
    LOOP
        CONTINUE WHEN EXISTS (
            SELECT FROM pg_catalog.pg_index AS i
             WHERE i.indrelid = wanted.relation
               AND i.indisunique AND i.indisvalid AND i.indimmediate
               AND (i.indisprimary OR wanted.kind = 'UNIQUE')
               AND i.indpred IS NULL AND i.indexprs IS NULL
               AND i.indnkeyatts = cardinality(wanted.columns)
               AND wanted.columns @> ARRAY(
                   SELECT a.attname::text FROM pg_catalog.pg_attribute AS a
                    WHERE a.attrelid = i.indrelid
                      AND a.attnum = ANY ((i.indkey::int2[])[0:i.indnkeyatts - 1]))
        );
        FOR leftover IN  -- of a CREATE UNIQUE INDEX CONCURRENTLY that failed
            SELECT i.indexrelid::regclass
              FROM pg_catalog.pg_index AS i JOIN pg_catalog.pg_class AS c ON c.oid = i.indexrelid
             WHERE i.indrelid = wanted.relation AND NOT i.indisvalid AND c.relname = wanted.name
        LOOP
            EXECUTE format('DROP INDEX %s', leftover);
        END LOOP;
        EXECUTE format(
            'SELECT count(*), sum(n) FROM (SELECT count(*) AS n FROM %s WHERE num_nulls(%s) = 0 '
            'GROUP BY %2$s HAVING count(*) > 1) AS twice', wanted.relation, wanted.list)
           INTO values_twice, rows_twice;
        IF values_twice > 0 THEN
            RAISE EXCEPTION 'public.% has % values of (%) more than once, in % rows; '
                            'the constraint % cannot be added',
                wanted.tab, values_twice, wanted.list, rows_twice, wanted.name
                USING ERRCODE = 'unique_violation', HINT = format(
                    'Find them with SELECT %1$s, count(*) FROM public.%2$I GROUP BY %1$s HAVING '
                    'count(*) > 1; change or delete all but one of each, then run the migration '
                    'again.', wanted.list, wanted.tab);
        END IF;
        EXECUTE format('ALTER TABLE %s ADD CONSTRAINT %I %s (%s)',
                       wanted.relation, wanted.name, wanted.kind, wanted.list);
    END LOOP;
END
$keys$;


-- A foreign key is known by its column and the table that it points to, and keeps its name and its
-- action on delete.
DO $foreign_keys$
DECLARE
    wanted record;
    existing record;
    orphans bigint;
BEGIN
    FOR wanted IN
        SELECT f.*, format('public.%I', f.tab)::regclass AS relation,
               format('public.%I', f.target)::regclass AS target_relation
          FROM (VALUES
            ('upload_batches', 'upload_batches_supplier_id_fkey', 'supplier_id', 'suppliers',
             'RESTRICT'),
            ('products', 'products_batch_id_fkey', 'batch_id', 'upload_batches', 'CASCADE'),
            ('products', 'products_supplier_id_fkey', 'supplier_id', 'suppliers', 'RESTRICT'),
            ('images', 'images_product_id_fkey', 'product_id', 'products', 'CASCADE')
        ) AS f (tab, name, col, target, on_delete)
    LOOP
        SELECT c.conname, c.convalidated
          INTO existing
          FROM pg_catalog.pg_constraint AS c
          JOIN pg_catalog.pg_attribute AS a ON a.attrelid = c.conrelid AND a.attname = wanted.col
         WHERE c.conrelid = wanted.relation AND c.contype = 'f'
           AND c.confrelid = wanted.target_relation AND c.conkey = ARRAY[a.attnum]
         ORDER BY c.convalidated DESC
         LIMIT 1;
        CONTINUE WHEN existing.convalidated;
        EXECUTE format(
            'SELECT count(*) FROM %s AS here WHERE here.%I IS NOT NULL '
            'AND NOT EXISTS (SELECT FROM %s AS there WHERE there.id = here.%2$I)',
            wanted.relation, wanted.col, wanted.target_relation)
           INTO orphans;
        IF orphans > 0 THEN
            RAISE EXCEPTION 'public.% has % rows whose % is no id of public.%; '
                            'the constraint % cannot hold',
                wanted.tab, orphans, wanted.col, wanted.target,
                coalesce(existing.conname, wanted.name)
                USING ERRCODE = 'foreign_key_violation', HINT = format(
                    'Find them with SELECT * FROM public.%I WHERE %I NOT IN (SELECT id FROM '
                    'public.%I); correct or delete them, then run the migration again.',
                    wanted.tab, wanted.col, wanted.target);
        END IF;
        IF existing.conname IS NOT NULL THEN
            EXECUTE format('ALTER TABLE %s VALIDATE CONSTRAINT %I',
                           wanted.relation, existing.conname);
        ELSE
            EXECUTE format(
                'ALTER TABLE %s ADD CONSTRAINT %I FOREIGN KEY (%I) REFERENCES %s (id) ON DELETE %s',
                wanted.relation, wanted.name, wanted.col, wanted.target_relation, wanted.on_delete);
        END IF;
    END LOOP;
END
$foreign_keys$;


-- A check is known by its name on its table, and keeps its condition.
DO $checks$
DECLARE
    wanted record;
    existing record;
    condition text;
    violating bigint;
BEGIN
    FOR wanted IN
        SELECT c.*, format('public.%I', c.tab)::regclass AS relation FROM (VALUES
            ('suppliers', 'suppliers_code_check', $$code <> ''$$),
            ('upload_batches', 'upload_batches_file_size_bytes_check', $$file_size_bytes >= 0$$),
            ('upload_batches', 'upload_batches_counts_check',
             $$total_products >= 0 AND processed_products >= 0 AND failed_products >= 0$$),
            ('products', 'products_sku_check', $$sku <> ''$$),
            ('products', 'products_quantity_check', $$quantity >= 0$$),
            ('products', 'products_supplier_price_check', $$supplier_price >= 0$$),
            ('products', 'products_currency_check', $$currency ~ '^[A-Z]{3}$'$$),
            ('products', 'products_scraping_confidence_check',
             $$scraping_confidence BETWEEN 0 AND 100$$),
            ('products', 'products_quality_score_check', $$quality_score BETWEEN 0 AND 100$$),
            ('images', 'images_sequence_number_check', $$sequence_number > 0$$),
            ('images', 'images_width_px_check', $$width_px > 0$$),
            ('images', 'images_height_px_check', $$height_px > 0$$),
            ('images', 'images_file_size_bytes_check', $$file_size_bytes > 0$$)
        ) AS c (tab, name, condition)
    LOOP
        SELECT c.convalidated, pg_get_expr(c.conbin, c.conrelid) AS condition
          INTO existing
          FROM pg_catalog.pg_constraint AS c
         WHERE c.conrelid = wanted.relation AND c.conname = wanted.name AND c.contype = 'c';
        CONTINUE WHEN existing.convalidated;
        condition := coalesce(existing.condition, wanted.condition);
        EXECUTE format('SELECT count(*) FROM %s WHERE NOT (%s)', wanted.relation, condition)
           INTO violating;
        IF violating > 0 THEN
            RAISE EXCEPTION 'public.% has % rows that break the constraint %',
                wanted.tab, violating, wanted.name
                USING ERRCODE = 'check_violation', HINT = format(
                    'Find them with SELECT * FROM public.%I WHERE NOT (%s); correct them, then run '
                    'the migration again.', wanted.tab, condition);
        END IF;
        IF existing.condition IS NOT NULL THEN
            EXECUTE format('ALTER TABLE %s VALIDATE CONSTRAINT %I', wanted.relation, wanted.name);
        ELSE
            EXECUTE format('ALTER TABLE %s ADD CONSTRAINT %I CHECK (%s)',
                           wanted.relation, wanted.name, wanted.condition);
        END IF;
    END LOOP;
END
$checks$;


-- The keys serve products.batch_id and images.product_id as well.
DO $indexes$
DECLARE
    wanted record;
    existing record;
BEGIN
    FOR wanted IN
        SELECT i.*, format('public.%I', i.tab)::regclass AS relation FROM (VALUES
            ('upload_batches', 'idx_upload_batches_supplier_id', 'supplier_id'),
            ('upload_batches', 'idx_upload_batches_status', 'status'),
            ('upload_batches', 'idx_upload_batches_created_at', 'created_at'),
            ('products', 'idx_products_supplier_id', 'supplier_id'),
            ('products', 'idx_products_sku', 'sku'),
            ('products', 'idx_products_status', 'status'),
            ('images', 'idx_images_processing_status', 'processing_status')
        ) AS i (tab, name, columns)
    LOOP
        SELECT c.oid, i.indrelid, i.indisvalid
          INTO existing
          FROM pg_catalog.pg_class AS c
          LEFT JOIN pg_catalog.pg_index AS i ON i.indexrelid = c.oid
         WHERE c.relname = wanted.name AND c.relnamespace = 'public'::regnamespace;
        IF FOUND AND existing.indrelid IS DISTINCT FROM wanted.relation::oid THEN
            RAISE EXCEPTION 'public.% exists and is no index on public.%', wanted.name, wanted.tab
                USING ERRCODE = 'duplicate_table',
                      HINT = 'Rename it, then run the migration again.';
        END IF;
        CONTINUE WHEN existing.indisvalid;
        IF existing.oid IS NOT NULL THEN  -- of a CREATE INDEX CONCURRENTLY that failed
            EXECUTE format('DROP INDEX public.%I', wanted.name);
        END IF;
        EXECUTE format('CREATE INDEX %I ON %s (%s)', wanted.name, wanted.relation, wanted.columns);
    END LOOP;
END
$indexes$;


DO $function$
BEGIN
    IF to_regprocedure('public.update_updated_at_column()') IS NULL THEN
        CREATE FUNCTION public.update_updated_at_column() RETURNS trigger
            LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
        COMMENT ON FUNCTION public.update_updated_at_column() IS 'Created by 001_initial_schema';
    END IF;
END
$function$;

CREATE OR REPLACE FUNCTION public.update_updated_at_column() RETURNS trigger
    LANGUAGE plpgsql SET search_path = '' AS $body$
BEGIN
    NEW.updated_at := now();
    RETURN NEW;
END
$body$;

CREATE OR REPLACE TRIGGER update_suppliers_updated_at
    BEFORE UPDATE ON public.suppliers
    FOR EACH ROW EXECUTE FUNCTION public.update_updated_at_column();
CREATE OR REPLACE TRIGGER update_upload_batches_updated_at
    BEFORE UPDATE ON public.upload_batches
    FOR EACH ROW EXECUTE FUNCTION public.update_updated_at_column();
CREATE OR REPLACE TRIGGER update_products_updated_at
    BEFORE UPDATE ON public.products
    FOR EACH ROW EXECUTE FUNCTION public.update_updated_at_column();
CREATE OR REPLACE TRIGGER update_images_updated_at
    BEFORE UPDATE ON public.images
    FOR EACH ROW EXECUTE FUNCTION public.update_updated_at_column();


-- Nothing here is for the Data API: row level security is on, the public roles hold no grant, and a
-- policy says so. A table with policies of its own was opened on purpose and keeps its grants. The
-- three roles exist on Supabase only.
DO $access$
DECLARE
    tab text;
    stranger text;
BEGIN
    FOREACH tab IN ARRAY ARRAY['suppliers', 'upload_batches', 'products', 'images'] LOOP
        EXECUTE format('ALTER TABLE public.%I ENABLE ROW LEVEL SECURITY', tab);
        CONTINUE WHEN EXISTS (
            SELECT FROM pg_catalog.pg_policy
             WHERE polrelid = format('public.%I', tab)::regclass AND polname <> 'no_data_api'
        );
        EXECUTE format('REVOKE ALL ON TABLE public.%I FROM PUBLIC', tab);
        FOR stranger IN
            SELECT rolname FROM pg_catalog.pg_roles WHERE rolname IN ('anon', 'authenticated')
        LOOP
            EXECUTE format('REVOKE ALL ON TABLE public.%I FROM %I', tab, stranger);
        END LOOP;
        IF to_regrole('anon') IS NOT NULL AND to_regrole('authenticated') IS NOT NULL
           AND NOT EXISTS (SELECT FROM pg_catalog.pg_policy
                            WHERE polrelid = format('public.%I', tab)::regclass) THEN
            EXECUTE format('CREATE POLICY no_data_api ON public.%I TO anon, authenticated '
                           'USING (false)', tab);
        END IF;
    END LOOP;

    REVOKE ALL ON FUNCTION public.update_updated_at_column() FROM PUBLIC;
    FOR stranger IN
        SELECT rolname FROM pg_catalog.pg_roles WHERE rolname IN ('anon', 'authenticated')
    LOOP
        EXECUTE format('REVOKE ALL ON FUNCTION public.update_updated_at_column() FROM %I',
                       stranger);
    END LOOP;
    IF to_regrole('service_role') IS NOT NULL THEN
        GRANT SELECT, INSERT, UPDATE, DELETE
            ON public.suppliers, public.upload_batches, public.products, public.images
            TO service_role;
    END IF;
END
$access$;
