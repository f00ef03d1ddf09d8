/* UP */
CREATE TABLE kept (n int);

/*
 * DOWN
 */
DROP TABLE kept;
