-- migrate:up
CREATE TABLE kept (id int);
INSERT INTO kept VALUES (1);

-- migrate:down
DROP TABLE kept;
