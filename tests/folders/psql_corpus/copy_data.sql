CREATE TABLE t (a text, b text);
COPY t FROM STDIN;
a;b	'c
SELECT 1;	$$
-- x	/* y
\\.	\N
\.
SELECT 2; COPY t (a,
   b) FROM stdin WITH (FORMAT csv); SELECT 3;
"x;
y",'z
\.
SELECT 4;
COPY t FROM STDIN; COPY t FROM STDIN; SELECT 5; -- '
first;	'
\.
second;	$$
\.
SELECT count(*) FROM t;
COPY (SELECT a FROM t WHERE b = ';') TO STDOUT; SELECT 6;
COPY t FROM STDIN
;
last	;
