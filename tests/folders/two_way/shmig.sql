-- Migration: create-kept
-- ====  UP  ====

CREATE TABLE kept (id int);
INSERT INTO kept VALUES (1);

-- ==== DOWN ====

DROP TABLE kept;
