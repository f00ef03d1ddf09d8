CREATE TABLE lost (n int);
CREATE TABLE old (n int);
