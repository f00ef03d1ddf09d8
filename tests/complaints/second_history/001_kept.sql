CREATE TABLE IF NOT EXISTS public.kept (n int);
