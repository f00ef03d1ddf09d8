CREATE TABLE kept (n int);

---- create above / drop below ----

DROP TABLE kept;
