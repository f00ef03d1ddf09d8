CREATE TABLE kept (n int);
INSERT INTO kept VALUES (1);
