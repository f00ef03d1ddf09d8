CREATE TABLE kept (id int);
INSERT INTO kept VALUES (1);

---- create above / drop below ----

DROP TABLE kept;
