CREATE TABLE kept (n int);
ALTER TABLE {{schema}}.kept ADD m int;
