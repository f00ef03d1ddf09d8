CREATE TABLE kept (n int);
CREATE INDEX CONCURRENTLY kept_n ON kept (n);
