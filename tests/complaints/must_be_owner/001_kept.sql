CREATE TABLE lost (n int);
ALTER TABLE old ADD COLUMN m int;
