\restrict Ab1
SET statement_timeout = 0;

CREATE TABLE public.kept (n int);
COPY public.kept (n) FROM stdin;
1
2
\.

\unrestrict Ab1
