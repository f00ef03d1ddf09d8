-- UP: make the table
CREATE TABLE kept (n int);

-- DOWN: drop the table
DROP TABLE kept;
