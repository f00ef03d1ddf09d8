SET statement_timeout = 0;
SET timeout_of_a_newer_server = 0;

CREATE TABLE public.kept (n int);
