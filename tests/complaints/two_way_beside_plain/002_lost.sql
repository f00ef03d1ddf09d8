-- migrate:up
CREATE TABLE lost (n int);

-- migrate:down
DROP TABLE lost;
