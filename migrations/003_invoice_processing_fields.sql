-- What is read from an invoice, where its file is kept, and who makes a product.
--
-- Adds what is missing and keeps what it finds; see 001_initial_schema.sql.

DO $columns$
DECLARE
    wanted record;
    existing record;
    problems text := '';
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
        SELECT found.oid::regtype AS type,
               translate(found.typcategory, 'E', 'S') <> translate(meant.typcategory, 'E', 'S')
               AS differs
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
            problems := problems || format(
                E'ALTER TABLE public.%I ALTER COLUMN %I TYPE %s USING …, which is of type %s\n',
                wanted.tab, wanted.col, wanted.type, existing.type);
        END IF;
    END LOOP;
    IF problems <> '' THEN
        RAISE EXCEPTION 'Some columns cannot be taken over as they are'
            USING ERRCODE = 'datatype_mismatch', DETAIL = rtrim(problems, E'\n'),
                  HINT = 'Do what each line of the detail says, then run the migration again.';
    END IF;
END
$columns$;


-- A key is known by its columns in any order, a check by its name or its condition. Several batches
-- may have no file.
DO $rules$
DECLARE
    rule record;
    broken_rows bigint;
    problems text := '';
BEGIN
    FOR rule IN
        SELECT k.tab,
               coalesce('REINDEX INDEX ' || existing.name,  -- left by CONCURRENTLY, invalid
                        format('ALTER TABLE public.%I ADD UNIQUE (%s)', k.tab, k.columns))
               AS change,
               format('(%1$s) IN (SELECT %1$s FROM public.%2$I GROUP BY %1$s HAVING count(*) > 1)',
                      k.columns, k.tab) AS broken
          FROM (VALUES ('upload_batches', 'storage_bucket, storage_path')) AS k (tab, columns)
          LEFT JOIN LATERAL (
            SELECT i.indexrelid::regclass AS name, i.indisvalid AS valid
              FROM pg_catalog.pg_index AS i
             WHERE i.indrelid = format('public.%I', k.tab)::regclass AND i.indpred IS NULL
               AND i.indisunique
               AND ARRAY(SELECT pg_get_indexdef(i.indexrelid, place, true)
                           FROM generate_series(1, i.indnkeyatts) AS place ORDER BY 1)
                   = ARRAY(SELECT col FROM string_to_table(k.columns, ', ') AS col ORDER BY 1)
             ORDER BY i.indisvalid DESC LIMIT 1
        ) AS existing ON true
         WHERE existing.valid IS NOT TRUE
        UNION ALL
        SELECT c.tab, format('ALTER TABLE public.%I ', c.tab) || coalesce(
                   'VALIDATE CONSTRAINT ' || quote_ident(existing.conname),
                   format('ADD CONSTRAINT %I CHECK (%s)', c.name, c.condition)),
               format('NOT (%s)', coalesce(existing.condition, c.condition))
          FROM (VALUES
            -- each condition as PostgreSQL shows it, except for casts and brackets
            ('upload_batches', 'chk_invoice_currency', $$invoice_currency ~ '^[A-Z]{3}$'$$),
            ('upload_batches', 'chk_invoice_totals',
             'invoice_subtotal >= 0 AND invoice_tax >= 0 AND invoice_shipping >= 0 '
             'AND invoice_total >= 0'),
            ('upload_batches', 'chk_invoice_confidence',
             'confidence_score >= 0 AND confidence_score <= 100'),
            ('upload_batches', 'chk_storage_object',
             '(storage_bucket IS NULL) = (storage_path IS NULL)'),
            ('upload_batches', 'chk_file_hash', $$file_hash ~ '^[0-9a-f]{64}$'$$),
            ('products', 'chk_barcode', $$barcode ~ '^[0-9]{8,14}$'$$)
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
        EXCEPTION WHEN integrity_constraint_violation THEN
            EXECUTE format('SELECT count(*) FROM public.%I WHERE %s', rule.tab, rule.broken)
               INTO broken_rows;
            problems := problems || format(E'%s rows: SELECT * FROM public.%I WHERE %s\n',
                                           broken_rows, rule.tab, rule.broken);
        END;
    END LOOP;
    IF problems <> '' THEN
        RAISE EXCEPTION 'Some rows break a rule of these tables'
            USING ERRCODE = 'integrity_constraint_violation', DETAIL = rtrim(problems, E'\n'),
                  HINT = 'Find them with the queries of the detail, correct or delete them, then '
                         'run the migration again.';
    END IF;
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
            ('upload_batches', 'supplier_id, invoice_number'),
            ('upload_batches', 'invoice_date'),
            ('upload_batches', 'file_hash'),
            ('products', 'manufacturer_name, manufacturer_sku'),
            ('products', 'barcode')
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


-- An older view of the name is kept under another one, and the down file brings it back. Its owner
-- and its grants are those of the new view as well, except where a Data API serves it; the roles
-- that lose access are named. With security_invoker (PostgreSQL 15) a view shows no more than its reader
-- may see in the tables. One in the place of an older view that showed them with the rights of its
-- owner does the same, if that owner may read all three; else, before PostgreSQL 15, its grants are
-- not passed on.
DO $view$
DECLARE
    read_tables CONSTANT regclass[] := '{public.upload_batches,public.suppliers,public.products}';
    older record;
    kept record;
    had_access oid[];
    losers text;
    api_roles text := (SELECT string_agg(quote_ident(rolname), ', ' ORDER BY rolname)
                         FROM pg_catalog.pg_roles WHERE rolname IN ('anon', 'authenticated'));
    invoker boolean := current_setting('server_version_num')::int >= 150000;
BEGIN
    SELECT c.oid, c.relkind, c.relowner,
           coalesce(obj_description(c.oid, 'pg_class'), '')
           LIKE '%Created by 003_invoice_processing_fields' AS ours,
           coalesce(c.reloptions::text ~ 'security_invoker=(true|on|yes|1)', false) AS invoker,
           (SELECT bool_and(has_table_privilege(c.relowner, t, 'SELECT'))
              FROM unnest(read_tables) AS t) AS owner_reads
      INTO older
      FROM pg_catalog.pg_class AS c
     WHERE c.relname = 'invoice_summary' AND c.relnamespace = 'public'::regnamespace;
    IF older.ours THEN
        RETURN;
    ELSIF older.relkind <> 'v' THEN
        RAISE EXCEPTION 'public.invoice_summary exists and is no view'
            USING ERRCODE = 'wrong_object_type', HINT =
                'Rename it, such as with ALTER TABLE public.invoice_summary RENAME TO '
                'invoice_summary_old; then run the migration again.';
    ELSIF older.relkind = 'v' THEN
        had_access := ARRAY(SELECT oid FROM pg_catalog.pg_roles
                             WHERE NOT rolsuper AND rolname !~ '^pg_'
                               AND has_any_column_privilege(oid, older.oid, 'SELECT'));
        invoker := invoker AND (older.invoker OR NOT older.owner_reads OR api_roles IS NOT NULL);
        ALTER VIEW public.invoice_summary RENAME TO invoice_summary_before_003;
        RAISE WARNING 'The older view public.invoice_summary is called invoice_summary_before_003 '
                      'from now on: what reads it by its name gets the columns of the new view, '
                      'which takes no INSERT, UPDATE or DELETE';
    END IF;

    EXECUTE format($sql$
        CREATE VIEW public.invoice_summary %s AS
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
    $sql$, CASE WHEN invoker THEN 'WITH (security_invoker = true)' ELSE '' END);
    COMMENT ON VIEW public.invoice_summary IS
        'Each invoice with the sum of its products. Created by 003_invoice_processing_fields';

    EXECUTE 'REVOKE ALL ON TABLE public.invoice_summary FROM '
            || concat_ws(', ', 'PUBLIC', api_roles, (
               SELECT string_agg(quote_ident(r.rolname), ', ')  -- granted by default
                 FROM pg_catalog.pg_class AS c, aclexplode(c.relacl) AS a
                 JOIN pg_catalog.pg_roles AS r ON r.oid = a.grantee
                WHERE c.oid = 'public.invoice_summary'::regclass AND a.grantee <> c.relowner
                  AND older.oid IS NOT NULL));
    IF to_regrole('service_role') IS NOT NULL THEN  -- not by default since 30 October 2026
        GRANT SELECT ON TABLE public.invoice_summary TO service_role;
    END IF;
    IF older.oid IS NULL THEN
        RETURN;
    END IF;

    FOR kept IN
        SELECT acl.right_to, coalesce(quote_ident(r.rolname), 'PUBLIC') AS grantee,
               CASE WHEN bool_or(acl.is_grantable) AND r.oid IS NOT NULL
                    THEN ' WITH GRANT OPTION' ELSE '' END AS option
          FROM (SELECT a.grantee, a.privilege_type AS right_to, a.is_grantable
                  FROM pg_catalog.pg_class AS c,
                       aclexplode(coalesce(c.relacl, acldefault('r', c.relowner))) AS a
                 WHERE c.oid = older.oid
                UNION ALL
                SELECT a.grantee, format('%s (%I)', a.privilege_type, old.attname), a.is_grantable
                  FROM pg_catalog.pg_attribute AS old
                  JOIN pg_catalog.pg_attribute AS new
                    ON new.attname = old.attname
                   AND new.attrelid = 'public.invoice_summary'::regclass,
                       aclexplode(old.attacl) AS a
                 WHERE old.attrelid = older.oid AND NOT old.attisdropped) AS acl
          LEFT JOIN pg_catalog.pg_roles AS r ON r.oid = acl.grantee
         WHERE (invoker OR older.owner_reads)
           AND (api_roles IS NULL OR r.rolname NOT IN ('anon', 'authenticated'))
         GROUP BY acl.right_to, r.rolname, r.oid
    LOOP
        EXECUTE format('GRANT %s ON TABLE public.invoice_summary TO %s%s',
                       kept.right_to, kept.grantee, kept.option);
    END LOOP;
    IF older.owner_reads THEN
        BEGIN
            EXECUTE format('ALTER VIEW public.invoice_summary OWNER TO %I',
                           pg_get_userbyid(older.relowner));
        EXCEPTION WHEN insufficient_privilege THEN
            NULL;  -- it has every right to the view, by the loop above
        END;
    END IF;
    IF api_roles IS NOT NULL THEN  -- the older one shows the tables with the rights of its owner
        EXECUTE 'REVOKE ALL ON TABLE public.invoice_summary_before_003 FROM PUBLIC, ' || api_roles;
    END IF;

    SELECT string_agg(quote_ident(rolname), ', ' ORDER BY rolname) INTO losers
      FROM pg_catalog.pg_roles AS r
     WHERE r.oid = ANY (had_access) AND NOT (
           has_any_column_privilege(r.oid, 'public.invoice_summary', 'SELECT')
           AND (NOT invoker OR (SELECT bool_and(has_any_column_privilege(r.oid, t, 'SELECT'))
                                  FROM unnest(read_tables) AS t)));
    IF losers IS NOT NULL THEN
        RAISE WARNING 'These roles lose access to public.invoice_summary until grants % it: %',
            CASE WHEN invoker THEN 'on the view and its tables give' ELSE 'on the view give' END,
            losers;
    END IF;
END
$view$;
