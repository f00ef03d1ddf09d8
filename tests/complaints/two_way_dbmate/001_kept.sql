-- migrate:up
CREATE TABLE kept (n int);

-- migrate:down
DROP TABLE kept;
