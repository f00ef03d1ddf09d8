CREATE TABLE kept (n int);
\i other.sql
