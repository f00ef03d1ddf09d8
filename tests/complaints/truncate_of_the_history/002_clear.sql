CREATE TABLE lost (n int);
TRUNCATE schema_migrations;
