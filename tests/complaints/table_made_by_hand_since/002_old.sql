CREATE TABLE old (n int);
