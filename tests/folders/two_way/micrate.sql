-- +micrate Up
CREATE TABLE kept (id int);
INSERT INTO kept VALUES (1);

-- +micrate Down
DROP TABLE kept;
