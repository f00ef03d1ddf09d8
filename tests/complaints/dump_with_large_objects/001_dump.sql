CREATE TABLE public.kept (n int);
SELECT pg_catalog.lo_create('16400');

BEGIN;

SELECT pg_catalog.lo_open('16400', 131072);
SELECT pg_catalog.lowrite(0, '\x6f6e65');
SELECT pg_catalog.lo_close(0);

COMMIT;
