-- Up
CREATE TABLE kept (id int);
INSERT INTO kept VALUES (1);

-- Down
DROP TABLE kept;
