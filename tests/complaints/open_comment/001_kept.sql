CREATE TABLE kept (n int);
/* and /* then */
SELECT 1;
