-- +migrate Up
CREATE TABLE kept (id int);
INSERT INTO kept VALUES (1);

-- +migrate Down
DROP TABLE kept;
