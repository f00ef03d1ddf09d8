-- atlas:txtar

-- checks.sql --
SELECT NOT EXISTS (SELECT FROM pg_tables WHERE tablename = 'kept');

-- migration.sql --
CREATE TABLE kept (id int);
INSERT INTO kept VALUES (1);

-- down.sql --
DROP TABLE kept;
