CREATE TABLE kept (n int);
COMMIT;
CREATE TABLE lost (n int);
