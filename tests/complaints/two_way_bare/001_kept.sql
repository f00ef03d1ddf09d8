-- Up
CREATE TABLE kept (n int);

-- Down
DROP TABLE kept;
