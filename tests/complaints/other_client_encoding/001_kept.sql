SET client_encoding = 'LATIN1';
CREATE TABLE kept (n int);
