-- Up Migration
CREATE TABLE kept (id int);
INSERT INTO kept VALUES (1);

-- Down Migration
DROP TABLE kept;
