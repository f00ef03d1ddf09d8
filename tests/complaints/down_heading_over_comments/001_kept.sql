-- Up migration
CREATE TABLE kept (n int);

-- Down migration
-- DROP TABLE kept;
