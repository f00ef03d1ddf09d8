-- Removes the view, and the columns that 003_invoice_processing_fields added, WITH THEIR VALUES:
-- invoice, storage and manufacturer fields. Their indexes and checks go with them.
--
-- Columns that were there before, left by older scripts, carry no mark of this migration and stay
-- with their values and checks. An older invoice_summary has its name again.

DROP VIEW IF EXISTS public.invoice_summary;
ALTER VIEW IF EXISTS public.invoice_summary_before_003 RENAME TO invoice_summary;

DO $columns$
DECLARE
    created record;
BEGIN
    FOR created IN
        SELECT c.oid::regclass AS name, a.attname AS col
          FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_attribute AS a ON a.attrelid = c.oid
         WHERE c.relname IN ('upload_batches', 'products')
           AND c.relnamespace = 'public'::regnamespace AND NOT a.attisdropped
           AND col_description(c.oid, a.attnum) LIKE '%Created by 003_invoice_processing_fields'
    LOOP
        EXECUTE format('ALTER TABLE %s DROP COLUMN %I', created.name, created.col);
    END LOOP;
END
$columns$;
