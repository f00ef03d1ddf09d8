-- // First migration.
-- Migration SQL that makes the change goes here.
CREATE TABLE kept (id int);
INSERT INTO kept VALUES (1);

-- //@UNDO
-- SQL to undo the change goes here.
DROP TABLE kept;
