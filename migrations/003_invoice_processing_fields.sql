-- What is read from an invoice, where its file is kept, and who makes a product.
--
-- Adds what is missing and changes no value of an existing row; see 001_initial_schema.sql.

DO $columns$
DECLARE
    wanted record;
    existing record;
BEGIN
    FOR wanted IN
        SELECT c.*, format('public.%I', c.tab)::regclass AS relation FROM (VALUES
            ('upload_batches', 'invoice_number', 'text', 'As printed on the invoice.'),
            ('upload_batches', 'invoice_date', 'date', 'As printed on the invoice.'),
            ('upload_batches', 'invoice_currency', 'text', 'ISO 4217, such as USD.'),
            ('upload_batches', 'invoice_subtotal', 'numeric(14,2)', 'The lines, before tax.'),
            ('upload_batches', 'invoice_tax', 'numeric(14,2)', 'All taxes.'),
            ('upload_batches', 'invoice_shipping', 'numeric(14,2)', 'Shipping and handling.'),
            ('upload_batches', 'invoice_total', 'numeric(14,2)', 'What is to be paid.'),
            ('upload_batches', 'confidence_score', 'integer',
             'How sure the reader of the invoice was, 0 to 100.'),
            ('upload_batches', 'parsed_at', 'timestamptz', 'When the invoice was read.'),
            ('upload_batches', 'storage_bucket', 'text', 'Where the uploaded file is kept.'),
            ('upload_batches', 'storage_path', 'text', 'The file''s path in the bucket.'),
            ('upload_batches', 'file_hash', 'text', 'SHA-256 of the file, 64 hex digits.'),
            ('products', 'manufacturer_name', 'text', 'Who makes it, if not the supplier.'),
            ('products', 'manufacturer_sku', 'text', 'The manufacturer''s own number.'),
            ('products', 'manufacturer_url', 'text', 'The manufacturer''s page of it.'),
            ('products', 'barcode', 'text', 'GTIN: EAN or UPC, digits only.')
        ) AS c (tab, col, type, meaning)
    LOOP
        SELECT found.oid::regtype AS type, found.typcategory <> meant.typcategory AS differs
          INTO existing
          FROM pg_catalog.pg_attribute AS a
          JOIN pg_catalog.pg_type AS found ON found.oid = a.atttypid
          JOIN pg_catalog.pg_type AS meant ON meant.oid = wanted.type::regtype
         WHERE a.attrelid = wanted.relation AND a.attname = wanted.col AND NOT a.attisdropped;
        IF NOT FOUND THEN
            EXECUTE format('ALTER TABLE %s ADD COLUMN %I %s',
                           wanted.relation, wanted.col, wanted.type);
            EXECUTE format('COMMENT ON COLUMN %s.%I IS %L', wanted.relation, wanted.col,
                           wanted.meaning || ' Created by 003_invoice_processing_fields');
        ELSIF existing.differs THEN
            RAISE EXCEPTION 'public.%.% is of type % where % is needed',
                wanted.tab, wanted.col, existing.type, wanted.type
                USING ERRCODE = 'datatype_mismatch', HINT = format(
                    'Change it with ALTER TABLE public.%I ALTER COLUMN %I TYPE %s USING …, then '
                    'run the migration again.', wanted.tab, wanted.col, wanted.type);
        END IF;
    END LOOP;
END
$columns$;


-- A key is known by its columns, whatever its name. Several batches may have no file.
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
            ('upload_batches', 'upload_batches_storage_object_key', 'UNIQUE',
             ARRAY['storage_bucket', 'storage_path'])
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
            ('upload_batches', 'chk_invoice_currency', $$invoice_currency ~ '^[A-Z]{3}$'$$),
            ('upload_batches', 'chk_invoice_totals',
             $$invoice_subtotal >= 0 AND invoice_tax >= 0 AND invoice_shipping >= 0
               AND invoice_total >= 0$$),
            ('upload_batches', 'chk_confidence_score', $$confidence_score BETWEEN 0 AND 100$$),
            ('upload_batches', 'chk_storage_object',
             $$(storage_bucket IS NULL) = (storage_path IS NULL)$$),
            ('upload_batches', 'chk_file_hash', $$file_hash ~ '^[0-9a-f]{64}$'$$),
            ('products', 'chk_barcode', $$barcode ~ '^[0-9]{8,14}$'$$)
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


DO $indexes$
DECLARE
    wanted record;
    existing record;
BEGIN
    FOR wanted IN
        SELECT i.*, format('public.%I', i.tab)::regclass AS relation FROM (VALUES
            ('upload_batches', 'idx_upload_batches_invoice_number', 'supplier_id, invoice_number'),
            ('upload_batches', 'idx_upload_batches_invoice_date', 'invoice_date'),
            ('upload_batches', 'idx_upload_batches_file_hash', 'file_hash'),
            ('products', 'idx_products_manufacturer', 'manufacturer_name, manufacturer_sku'),
            ('products', 'idx_products_barcode', 'barcode')
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


-- An older view of the name whose columns cannot be replaced is dropped and made anew. With
-- security_invoker (PostgreSQL 15) the view shows no more than its reader may see in the tables.
DO $view$
DECLARE
    definition text;
    stranger text;
    invoker text := CASE WHEN current_setting('server_version_num')::int >= 150000
                         THEN 'WITH (security_invoker = true)' ELSE '' END;
BEGIN
    IF EXISTS (SELECT FROM pg_catalog.pg_class
                WHERE oid = to_regclass('public.invoice_summary') AND relkind <> 'v') THEN
        RAISE EXCEPTION 'public.invoice_summary exists and is no view'
            USING ERRCODE = 'wrong_object_type',
                  HINT = 'Rename it, then run the migration again.';
    END IF;
    definition := format($sql$
        CREATE OR REPLACE VIEW public.invoice_summary %s AS
        SELECT b.id AS batch_id,
               b.supplier_id,
               s.code AS supplier_code,
               b.invoice_number,
               b.invoice_date,
               b.invoice_currency,
               b.invoice_total,
               lines.product_count,
               lines.piece_count,
               lines.products_total,
               b.invoice_subtotal - lines.products_total AS unexplained_total,
               b.confidence_score
          FROM public.upload_batches AS b
          JOIN public.suppliers AS s ON s.id = b.supplier_id
         CROSS JOIN LATERAL (
               SELECT count(*) AS product_count,
                      coalesce(sum(p.quantity), 0)::bigint AS piece_count,
                      coalesce(sum(p.quantity * p.supplier_price), 0) AS products_total
                 FROM public.products AS p
                WHERE p.batch_id = b.id
               ) AS lines
         WHERE b.invoice_number IS NOT NULL
    $sql$, invoker);
    BEGIN
        EXECUTE definition;
    EXCEPTION WHEN invalid_table_definition THEN
        BEGIN
            DROP VIEW public.invoice_summary;
        EXCEPTION WHEN dependent_objects_still_exist THEN
            RAISE EXCEPTION 'An older public.invoice_summary has other columns, and is in use'
                USING ERRCODE = 'dependent_objects_still_exist', HINT =
                    'DROP VIEW public.invoice_summary names what uses it: drop that, run the '
                    'migration again, and put it back.';
        END;
        EXECUTE definition;
    END;
    COMMENT ON VIEW public.invoice_summary IS
        'Each invoice with the sum of its products. Created by 003_invoice_processing_fields';

    REVOKE ALL ON TABLE public.invoice_summary FROM PUBLIC;
    FOR stranger IN
        SELECT rolname FROM pg_catalog.pg_roles WHERE rolname IN ('anon', 'authenticated')
    LOOP
        EXECUTE format('REVOKE ALL ON TABLE public.invoice_summary FROM %I', stranger);
    END LOOP;
    IF to_regrole('service_role') IS NOT NULL THEN
        GRANT SELECT ON TABLE public.invoice_summary TO service_role;
    END IF;
END
$view$;
