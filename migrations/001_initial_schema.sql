-- Suppliers send invoices (pdf, csv, xlsx); each upload is a batch; a batch becomes products, which
-- are scraped, translated and given images.
--
-- Runs on an empty database, and on one that older scripts left whole or halfway: each block states
-- what must be there and adds what is missing. The types, names and values that it finds are kept.
-- What a person must decide stops the migration: all of it is listed, with what to do, and nothing
-- has changed. The tables, columns, enums and the policy that this file creates carry its name in a
-- comment (COMMENT ON), by which the down file tells them from older ones.
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
    elsewhere text;
BEGIN
    FOR wanted IN
        SELECT t.*, c.relkind
          FROM (VALUES
            ('suppliers', 'Whose invoices become products, and how to scrape their shop.'),
            ('upload_batches', 'One uploaded file, or one list entered by hand.'),
            ('products', 'One line of a batch: as supplied, as scraped, as translated to Czech.'),
            ('images', 'The images of a product, in sequence for each type.')
        ) AS t (name, meaning)
          LEFT JOIN pg_catalog.pg_class AS c
            ON c.relname = t.name AND c.relnamespace = 'public'::regnamespace
    LOOP
        IF wanted.relkind IS NULL THEN
            EXECUTE format('CREATE TABLE public.%I ()', wanted.name);
            EXECUTE format('COMMENT ON TABLE public.%I IS %L',
                           wanted.name, wanted.meaning || ' Created by 001_initial_schema');
        ELSIF wanted.relkind NOT IN ('r', 'p') THEN
            RAISE EXCEPTION 'public.% exists and is no table', wanted.name
                USING ERRCODE = 'wrong_object_type', HINT = format(
                    'Rename it, such as with ALTER TABLE public.%I RENAME TO %I, which takes views '
                    'as well; then run the migration again.', wanted.name, wanted.name || '_old');
        END IF;
    END LOOP;

    SELECT string_agg(format('%I.%I', n.nspname, c.relname), ', ' ORDER BY n.nspname, c.relname)
      INTO elsewhere
      FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
     WHERE c.relname IN ('suppliers', 'upload_batches', 'products', 'images')
       AND n.nspname <> 'public' AND n.nspname = ANY (current_schemas(false));
    IF elsewhere IS NOT NULL THEN
        RAISE WARNING 'The search_path has % too: not touched, as this file works on public. If '
                      'the rows are there, roll back and move them to public first.', elsewhere;
    END IF;
END
$tables$;


-- A column is known by its name. Text and an enum may stand in for each other, and so may types of
-- one category, such as integer and numeric.
DO $columns$
DECLARE
    wanted record;
    existing record;
    missing boolean;
    has_rows boolean;
    problems text := '';
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
            ('suppliers', 'identifier_type', 'text', $$'sku'$$, false),  -- for its shop
            ('suppliers', 'scraping_config', 'jsonb', $$'{}'$$, true),
            ('suppliers', 'search_url_template', 'text', NULL, false),
            ('suppliers', 'active', 'boolean', 'true', true),
            ('suppliers', 'created_at', 'timestamptz', 'now()', true),
            ('suppliers', 'updated_at', 'timestamptz', 'now()', true),

            ('upload_batches', 'id', 'uuid', 'gen_random_uuid()', true),
            ('upload_batches', 'supplier_id', 'uuid', NULL, true),
            ('upload_batches', 'batch_name', 'text', NULL, false),
            ('upload_batches', 'file_type', 'public.file_type', NULL, true),
            ('upload_batches', 'file_path', 'text', NULL, false),  -- a list by hand has no file
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
            ('products', 'supplier_sku', 'text', NULL, true),
            ('products', 'supplier_name', 'text', NULL, false),  -- as the invoice has it
            ('products', 'quantity', 'integer', '1', true),
            ('products', 'supplier_price', 'numeric(12,2)', NULL, false),  -- of one piece
            ('products', 'currency', 'text', $$'USD'$$, true),
            ('products', 'scraped_name', 'text', NULL, false),
            ('products', 'scraped_description', 'text', NULL, false),
            ('products', 'scraped_url', 'text', NULL, false),
            ('products', 'scraped_at', 'timestamptz', NULL, false),
            ('products', 'scraping_confidence', 'integer', NULL, false),
            ('products', 'translated_name', 'text', NULL, false),
            ('products', 'translated_description', 'text', NULL, false),
            ('products', 'translated_at', 'timestamptz', NULL, false),
            ('products', 'quality_score', 'integer', NULL, false),
            ('products', 'status', 'public.product_status', $$'draft'$$, true),
            ('products', 'metadata', 'jsonb', $$'{}'$$, true),
            ('products', 'created_at', 'timestamptz', 'now()', true),
            ('products', 'updated_at', 'timestamptz', 'now()', true),

            ('images', 'id', 'uuid', 'gen_random_uuid()', true),
            ('images', 'product_id', 'uuid', NULL, true),
            ('images', 'image_type', 'public.image_type', $$'gallery'$$, true),
            ('images', 'sequence_number', 'integer', '1', true),
            ('images', 'source_url', 'text', NULL, false),
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
        SELECT a.atthasdef, found.oid::regtype AS type,
               translate(found.typcategory, 'E', 'S') <> translate(meant.typcategory, 'E', 'S')
               AS differs
          INTO existing
          FROM pg_catalog.pg_attribute AS a
          JOIN pg_catalog.pg_type AS found ON found.oid = a.atttypid
          JOIN pg_catalog.pg_type AS meant ON meant.oid = wanted.type::regtype
         WHERE a.attrelid = wanted.relation AND a.attname = wanted.col AND NOT a.attisdropped;
        missing := NOT FOUND;
        IF missing AND wanted.required AND wanted.preset IS NULL THEN
            EXECUTE format('SELECT EXISTS (SELECT FROM %s)', wanted.relation) INTO has_rows;
            IF has_rows THEN
                problems := problems || format(
                    E'ALTER TABLE public.%I ADD COLUMN %I %s, and give it a value in every row\n',
                    wanted.tab, wanted.col, wanted.type);
            END IF;
        ELSIF existing.differs THEN
            problems := problems || format(
                E'ALTER TABLE public.%I ALTER COLUMN %I TYPE %s USING …, which is of type %s\n',
                wanted.tab, wanted.col, wanted.type, existing.type);
            CONTINUE;
        END IF;
        CONTINUE WHEN NOT missing AND (existing.atthasdef OR wanted.preset IS NULL
                                       OR NOT wanted.required);
        BEGIN
            IF missing THEN
                EXECUTE format('ALTER TABLE %s ADD COLUMN %I %s', wanted.relation, wanted.col,
                               wanted.type) || coalesce(' DEFAULT ' || wanted.preset, '');
            ELSE
                EXECUTE format('ALTER TABLE %s ALTER COLUMN %I SET DEFAULT %s',
                               wanted.relation, wanted.col, wanted.preset);
            END IF;
            IF missing AND NOT wanted.ours THEN
                EXECUTE format('COMMENT ON COLUMN %s.%I IS %L',
                               wanted.relation, wanted.col, 'Created by 001_initial_schema');
            END IF;
        EXCEPTION WHEN unsafe_new_enum_value_usage OR invalid_text_representation THEN
            problems := problems || format(
                E'ALTER TYPE %s ADD VALUE %s, by itself: the default of public.%I.%I\n',
                coalesce(existing.type, wanted.type::regtype), wanted.preset, wanted.tab,
                wanted.col);
        END;
    END LOOP;
    IF problems <> '' THEN
        RAISE EXCEPTION 'Some columns cannot be taken over as they are'
            USING ERRCODE = 'datatype_mismatch', DETAIL = rtrim(problems, E'\n'),
                  HINT = 'Do what each line of the detail says, then run the migration again.';
    END IF;
END
$columns$;


-- A rule that is there already is kept: a key is known by its columns in any order, a foreign key
-- by its column and target, a check by its name or its condition.
DO $rules$
DECLARE
    rule record;
    broken_rows bigint;
    problems text := '';
BEGIN
    FOR rule IN
        SELECT n.tab, format('ALTER TABLE public.%I ALTER COLUMN %I SET NOT NULL', n.tab, col)
               AS change, format('%I IS NULL', col) AS broken
          FROM (VALUES
            ('suppliers', 'id, code, name, scraping_config, active, created_at, updated_at'),
            ('upload_batches', 'id, supplier_id, file_type, status, total_products, '
                               'processed_products, failed_products, created_at, updated_at'),
            ('products', 'id, batch_id, supplier_id, supplier_sku, quantity, currency, status, '
                         'metadata, created_at, updated_at'),
            ('images', 'id, product_id, image_type, sequence_number, processing_status, '
                       'created_at, updated_at')
        ) AS n (tab, columns), string_to_table(n.columns, ', ') AS col
        UNION ALL
        SELECT k.tab,
               coalesce('REINDEX INDEX ' || existing.name,  -- left by CONCURRENTLY, invalid
                        format('ALTER TABLE public.%I ADD %s (%s)', k.tab, k.kind, k.columns)),
               format('(%1$s) IN (SELECT %1$s FROM public.%2$I GROUP BY %1$s HAVING count(*) > 1)',
                      k.columns, k.tab)
          FROM (VALUES
            ('suppliers', 'PRIMARY KEY', 'id'),
            ('suppliers', 'UNIQUE', 'code'),
            ('upload_batches', 'PRIMARY KEY', 'id'),
            ('products', 'PRIMARY KEY', 'id'),
            ('products', 'UNIQUE', 'batch_id, supplier_sku'),
            ('images', 'PRIMARY KEY', 'id')
        ) AS k (tab, kind, columns)
          LEFT JOIN LATERAL (
            SELECT i.indexrelid::regclass AS name, i.indisvalid AS valid
              FROM pg_catalog.pg_index AS i
             WHERE i.indrelid = format('public.%I', k.tab)::regclass AND i.indpred IS NULL
               AND i.indisunique AND (i.indisprimary OR k.kind = 'UNIQUE')
               AND ARRAY(SELECT pg_get_indexdef(i.indexrelid, place, true)
                           FROM generate_series(1, i.indnkeyatts) AS place ORDER BY 1)
                   = ARRAY(SELECT col FROM string_to_table(k.columns, ', ') AS col ORDER BY 1)
             ORDER BY i.indisvalid DESC LIMIT 1
        ) AS existing ON true
         WHERE existing.valid IS NOT TRUE
        UNION ALL
        SELECT f.tab, format('ALTER TABLE public.%I ', f.tab) || coalesce(
                   'VALIDATE CONSTRAINT ' || quote_ident(existing.conname),
                   format('ADD FOREIGN KEY (%I) REFERENCES public.%I (id) ON DELETE %s',
                          f.col, f.target, f.on_delete)),
               format('%I NOT IN (SELECT id FROM public.%I)', f.col, f.target)
          FROM (VALUES
            ('upload_batches', 'supplier_id', 'suppliers', 'RESTRICT'),
            ('products', 'batch_id', 'upload_batches', 'CASCADE'),
            ('products', 'supplier_id', 'suppliers', 'RESTRICT'),
            ('images', 'product_id', 'products', 'CASCADE')
        ) AS f (tab, col, target, on_delete)
          LEFT JOIN LATERAL (
            SELECT c.conname, c.convalidated
              FROM pg_catalog.pg_constraint AS c
              JOIN pg_catalog.pg_attribute AS a ON a.attrelid = c.conrelid AND a.attname = f.col
             WHERE c.conrelid = format('public.%I', f.tab)::regclass AND c.contype = 'f'
               AND c.confrelid = format('public.%I', f.target)::regclass
               AND c.conkey = ARRAY[a.attnum]
             ORDER BY c.convalidated DESC LIMIT 1
        ) AS existing ON true
         WHERE existing.convalidated IS NOT TRUE
        UNION ALL
        SELECT c.tab, format('ALTER TABLE public.%I ', c.tab) || coalesce(
                   'VALIDATE CONSTRAINT ' || quote_ident(existing.conname),
                   format('ADD CONSTRAINT %I CHECK (%s)', c.name, c.condition)),
               format('NOT (%s)', coalesce(existing.condition, c.condition))
          FROM (VALUES
            -- each condition as PostgreSQL shows it, except for casts and brackets
            ('suppliers', 'suppliers_code_check', $$code <> ''$$),
            ('upload_batches', 'upload_batches_file_size_bytes_check', 'file_size_bytes >= 0'),
            ('upload_batches', 'upload_batches_counts_check',
             'total_products >= 0 AND processed_products >= 0 AND failed_products >= 0'),
            ('products', 'products_supplier_sku_check', $$supplier_sku <> ''$$),
            ('products', 'products_quantity_check', 'quantity >= 0'),
            ('products', 'products_supplier_price_check', 'supplier_price >= 0'),
            ('products', 'products_currency_check', $$currency ~ '^[A-Z]{3}$'$$),
            ('products', 'chk_confidence_score',
             'scraping_confidence >= 0 AND scraping_confidence <= 100'),
            ('products', 'products_quality_score_check',
             'quality_score >= 0 AND quality_score <= 100'),
            ('images', 'images_sequence_number_check', 'sequence_number > 0'),
            ('images', 'images_width_px_check', 'width_px > 0'),
            ('images', 'images_height_px_check', 'height_px > 0'),
            ('images', 'images_file_size_bytes_check', 'file_size_bytes > 0')
        ) AS c (tab, name, condition)
          LEFT JOIN LATERAL (
            SELECT k.conname, k.convalidated, pg_get_expr(k.conbin, k.conrelid) AS condition
              FROM pg_catalog.pg_constraint AS k
             WHERE k.conrelid = format('public.%I', c.tab)::regclass AND k.contype = 'c'
               AND (k.conname = c.name OR translate(c.condition, '()', '') = regexp_replace(
                    translate(pg_get_expr(k.conbin, k.conrelid), '()', ''),
                    '::[a-z]+( varying| precision)?', '', 'g'))
             ORDER BY k.convalidated DESC LIMIT 1
        ) AS existing ON true
         WHERE existing.convalidated IS NOT TRUE
    LOOP
        BEGIN
            EXECUTE rule.change;
        EXCEPTION WHEN integrity_constraint_violation OR invalid_foreign_key THEN
            EXECUTE format('SELECT count(*) FROM public.%I WHERE %s', rule.tab, rule.broken)
               INTO broken_rows;
            problems := problems || CASE WHEN broken_rows = 0 THEN SQLERRM ELSE format(
                '%s rows: SELECT * FROM public.%I WHERE %s', broken_rows, rule.tab, rule.broken)
                END || E'\n';
        END;
    END LOOP;

    -- what 003_invoice_processing_fields will ask of rows, where its columns are there already
    FOR rule IN
        SELECT * FROM (VALUES
            ('upload_batches', 'chk_invoice_currency', $$NOT (invoice_currency ~ '^[A-Z]{3}$')$$),
            ('upload_batches', 'chk_invoice_totals', 'invoice_subtotal < 0'),
            ('upload_batches', 'chk_invoice_totals', 'invoice_tax < 0'),
            ('upload_batches', 'chk_invoice_totals', 'invoice_shipping < 0'),
            ('upload_batches', 'chk_invoice_totals', 'invoice_total < 0'),
            ('upload_batches', 'chk_invoice_confidence',
             'confidence_score < 0 OR confidence_score > 100'),
            ('upload_batches', 'chk_storage_object',
             '(storage_bucket IS NULL) <> (storage_path IS NULL)'),
            ('upload_batches', 'chk_file_hash', $$NOT (file_hash ~ '^[0-9a-f]{64}$')$$),
            ('upload_batches', NULL,
             '(storage_bucket, storage_path) IN (SELECT storage_bucket, storage_path '
             'FROM public.upload_batches '
             'GROUP BY storage_bucket, storage_path HAVING count(*) > 1)'),
            ('products', 'chk_barcode', $$NOT (barcode ~ '^[0-9]{8,14}$')$$)
        ) AS c (tab, name, broken)
    LOOP
        CONTINUE WHEN EXISTS (SELECT FROM pg_catalog.pg_constraint
                               WHERE conrelid = format('public.%I', rule.tab)::regclass
                                 AND conname = rule.name);
        BEGIN
            EXECUTE format('SELECT count(*) FROM public.%I WHERE %s', rule.tab, rule.broken)
               INTO broken_rows;
            IF broken_rows > 0 THEN
                problems := problems || format(E'%s rows: SELECT * FROM public.%I WHERE %s\n',
                                               broken_rows, rule.tab, rule.broken);
            END IF;
        EXCEPTION WHEN undefined_column OR undefined_function THEN
            NULL;  -- it adds the column, or names the one of another type
        END;
    END LOOP;
    IF problems <> '' THEN
        RAISE EXCEPTION 'Some rows break a rule of these tables'
            USING ERRCODE = 'integrity_constraint_violation', DETAIL = rtrim(problems, E'\n'),
                  HINT = 'Find them with the queries of the detail, correct or delete them, then '
                         'run the migration again.';
    END IF;

    FOR rule IN
        SELECT c.conrelid::regclass AS tab, quote_ident(c.conname) AS name,
               regexp_replace(pg_get_constraintdef(c.oid), ' DEFERRABLE.*', '') AS definition
          FROM pg_catalog.pg_constraint AS c JOIN pg_catalog.pg_class AS t ON t.oid = c.conrelid
         WHERE t.relname IN ('suppliers', 'upload_batches', 'products', 'images')
           AND t.relnamespace = 'public'::regnamespace
           AND c.contype IN ('p', 'u') AND c.condeferrable
    LOOP
        RAISE WARNING '% of % is deferrable: INSERT … ON CONFLICT cannot use it. If that is not '
                      'meant: ALTER TABLE % DROP CONSTRAINT %, ADD CONSTRAINT % %',
            rule.name, rule.tab, rule.tab, rule.name, rule.name, rule.definition;
    END LOOP;
END
$rules$;


-- An index is known by the columns that it begins with.
DO $indexes$
DECLARE
    change text;
BEGIN
    FOR change IN
        SELECT coalesce('REINDEX INDEX ' || existing.name,  -- left by CONCURRENTLY, invalid
                        format('CREATE INDEX ON public.%I (%s)', x.tab, x.columns))
          FROM (VALUES
            ('upload_batches', 'supplier_id'),
            ('upload_batches', 'status'),
            ('upload_batches', 'created_at'),
            ('products', 'batch_id'),
            ('products', 'supplier_id'),
            ('products', 'supplier_sku'),
            ('products', 'status'),
            ('images', 'product_id'),
            ('images', 'processing_status')
        ) AS x (tab, columns)
          LEFT JOIN LATERAL (
            SELECT i.indexrelid::regclass AS name, i.indisvalid AS valid
              FROM pg_catalog.pg_index AS i
             WHERE i.indrelid = format('public.%I', x.tab)::regclass AND i.indpred IS NULL
               AND pg_get_indexdef(i.indexrelid) ~ format('USING btree \(%s[ ,)]', x.columns)
             ORDER BY i.indisvalid DESC LIMIT 1
        ) AS existing ON true
         WHERE existing.valid IS NOT TRUE
    LOOP
        EXECUTE change;
    END LOOP;
END
$indexes$;


-- A trigger is known by the function that it calls.
DO $triggers$
DECLARE
    tab text;
    api_role text;
BEGIN
    IF to_regprocedure('public.update_updated_at_column()') IS NULL THEN
        CREATE FUNCTION public.update_updated_at_column() RETURNS trigger
            LANGUAGE plpgsql SET search_path = '' AS
            'BEGIN NEW.updated_at := now(); RETURN NEW; END';
        COMMENT ON FUNCTION public.update_updated_at_column() IS 'Created by 001_initial_schema';
        REVOKE ALL ON FUNCTION public.update_updated_at_column() FROM PUBLIC;
        FOR api_role IN
            SELECT rolname FROM pg_catalog.pg_roles WHERE rolname IN ('anon', 'authenticated')
        LOOP
            EXECUTE format('REVOKE ALL ON FUNCTION public.update_updated_at_column() FROM %I',
                           api_role);
        END LOOP;
    END IF;
    FOREACH tab IN ARRAY ARRAY['suppliers', 'upload_batches', 'products', 'images'] LOOP
        IF NOT EXISTS (
            SELECT FROM pg_catalog.pg_trigger
             WHERE tgrelid = format('public.%I', tab)::regclass
               AND tgfoid = 'public.update_updated_at_column()'::regprocedure
        ) THEN
            EXECUTE format('CREATE TRIGGER update_%1$s_updated_at BEFORE UPDATE ON public.%1$I '
                           'FOR EACH ROW EXECUTE FUNCTION public.update_updated_at_column()', tab);
        END IF;
    END LOOP;
END
$triggers$;


-- A table that this file creates is closed to all but its owner and the roles that bypass row level
-- security: others need a grant and a policy. An older table keeps its grants, except where a Data
-- API serves it to anyone who has the public key (Supabase: the roles anon and authenticated). Then
-- it is closed too, and the roles that lose access are named. A table with policies of its own was
-- opened on purpose: it is kept.
DO $access$
DECLARE
    api_roles text := (SELECT string_agg(quote_ident(rolname), ', ' ORDER BY rolname)
                         FROM pg_catalog.pg_roles WHERE rolname IN ('anon', 'authenticated'));
    tab record;
BEGIN
    FOR tab IN
        SELECT format('public.%I', c.relname) AS name, c.relrowsecurity AS closed, created.here,
               EXISTS (SELECT FROM pg_catalog.pg_policy WHERE polrelid = c.oid) AS has_policy,
               (SELECT string_agg(quote_ident(r.rolname), ', ' ORDER BY r.rolname)
                  FROM pg_catalog.pg_roles AS r
                 WHERE NOT r.rolsuper AND NOT r.rolbypassrls AND r.rolname !~ '^pg_'
                   AND NOT pg_has_role(r.oid, c.relowner, 'USAGE')
                   AND (has_any_column_privilege(r.oid, c.oid, 'SELECT, INSERT, UPDATE')
                        OR has_table_privilege(r.oid, c.oid, 'DELETE'))) AS losers
          FROM pg_catalog.pg_class AS c
         CROSS JOIN LATERAL (
            SELECT coalesce(obj_description(c.oid, 'pg_class')
                            LIKE '%Created by 001_initial_schema', false) AS here) AS created
         WHERE c.relname IN ('suppliers', 'upload_batches', 'products', 'images')
           AND c.relnamespace = 'public'::regnamespace
           AND (created.here OR api_roles IS NOT NULL)
           AND NOT EXISTS (SELECT FROM pg_catalog.pg_policy
                            WHERE polrelid = c.oid AND polname <> 'no_data_api')
    LOOP
        EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', tab.name);
        EXECUTE format('REVOKE ALL ON TABLE %s FROM %s',
                       tab.name, concat_ws(', ', 'PUBLIC', api_roles));
        IF api_roles IS NOT NULL AND NOT tab.has_policy THEN
            EXECUTE format('CREATE POLICY no_data_api ON %s TO %s USING (false)',
                           tab.name, api_roles);
            EXECUTE format('COMMENT ON POLICY no_data_api ON %s IS %L', tab.name,
                           CASE WHEN tab.closed THEN '' ELSE 'Row level security was off. ' END
                           || 'Created by 001_initial_schema');
        END IF;
        IF NOT tab.here AND NOT tab.closed AND tab.losers IS NOT NULL THEN
            RAISE WARNING '% is closed: row level security is on, and these roles lose access '
                          'until a policy gives it: %', tab.name, tab.losers;
        END IF;
    END LOOP;

    IF to_regrole('service_role') IS NOT NULL THEN  -- not by default since 30 October 2026
        GRANT SELECT, INSERT, UPDATE, DELETE
            ON public.suppliers, public.upload_batches, public.products, public.images
            TO service_role;
    END IF;
END
$access$;
