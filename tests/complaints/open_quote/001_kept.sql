CREATE TABLE kept (t text);
INSERT INTO kept VALUES ('it's one');
SELECT 1;
