CREATE TABLE lost (n int);
INSERT INTO nobody VALUES (1);
