-- Removes the supplier that 002_seed_data inserted, with what was edited in its row since. One that
-- an older script had inserted stays, and so does one that has batches or products by now.

DELETE FROM public.suppliers AS s
 WHERE s.id = '5d1f6a3e-0c57-4f0e-9a53-7e2b8f4c1d01'
   AND NOT EXISTS (SELECT FROM public.upload_batches AS b WHERE b.supplier_id = s.id)
   AND NOT EXISTS (SELECT FROM public.products AS p WHERE p.supplier_id = s.id);
