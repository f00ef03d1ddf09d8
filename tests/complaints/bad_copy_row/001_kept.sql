CREATE TABLE kept (n int);
COPY kept (n) FROM stdin;
1
two
\.
