CREATE TABLE kept (n int);

-- Down: 3 % of rows
UPDATE kept SET n = 1;
-- undo: DROP TABLE kept;
